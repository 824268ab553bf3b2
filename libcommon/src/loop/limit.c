#include "common/limit.h"

#include "common/clock.h"

enum { WINDOW_MS = 100, SAMPLES_LEAST = 16, STEP_DOWN = 10, STEP_DOWN_FAST = 2, STEP_UP = 16, FIRST_LEASTS = 4 };

void limit_init(struct limit *limit, unsigned least, unsigned most, int target_ms)
{
    limit->most = most;
    limit->least = least < most ? least : most;
    limit->target_ns = target_ms * NS_PER_MS;
    limit->first = target_ms > 0 && least * FIRST_LEASTS < most ? least * FIRST_LEASTS : most;
    atomic_store(&limit->now, limit->first);
}

static void note(atomic_bool *flag)
{
    if (!atomic_load_explicit(flag, memory_order_relaxed))
        atomic_store_explicit(flag, true, memory_order_relaxed);
}

bool limit_enter(struct limit *limit)
{
    unsigned now = atomic_load_explicit(&limit->now, memory_order_relaxed);
    unsigned before = atomic_fetch_add_explicit(&limit->in_flight, 1, memory_order_relaxed);
    if (before * 2 >= now)
        note(&limit->busy);
    if (before < now)
        return true;
    note(&limit->full);
    atomic_fetch_sub_explicit(&limit->in_flight, 1, memory_order_relaxed);
    return false;
}

/* Down while most are slow and it does not suffice, above where it began while it is used: the faster, the fewer are
 * quick. Else up: as far as it began by itself, beyond that when most are quick and somebody was turned away. */
static unsigned next(const struct limit *limit, unsigned quick, unsigned slow, bool busy, bool full)
{
    unsigned now = limit_now(limit);
    if (slow > quick && (full || (busy && now > limit->first))) {
        unsigned lower = now - now / (slow / 8 > quick ? STEP_DOWN_FAST : STEP_DOWN);
        return lower < limit->least ? limit->least : lower;
    }
    unsigned higher = now + 1 + now / STEP_UP, most = full ? limit->most : limit->first;
    return now >= most ? now : higher > most ? most : higher;
}

/* One thread a window. */
static void end_window(struct limit *limit, int64_t ends_ns, int64_t now_ns)
{
    unsigned quick = atomic_load_explicit(&limit->quick, memory_order_relaxed);
    unsigned slow = atomic_load_explicit(&limit->slow, memory_order_relaxed);
    if (quick + slow < SAMPLES_LEAST ||
        !atomic_compare_exchange_strong(&limit->window_ends_ns, &ends_ns, now_ns + WINDOW_MS * NS_PER_MS))
        return;
    bool busy = atomic_exchange(&limit->busy, false), full = atomic_exchange(&limit->full, false);
    atomic_store(&limit->now, next(limit, quick, slow, busy, full));
    atomic_store(&limit->quick, 0);
    atomic_store(&limit->slow, 0);
}

void limit_leave(struct limit *limit, int64_t begin_ns, int64_t now_ns)
{
    atomic_fetch_sub_explicit(&limit->in_flight, 1, memory_order_relaxed);
    if (limit->target_ns == 0)
        return;
    bool slow = now_ns - begin_ns > limit->target_ns;
    atomic_fetch_add_explicit(slow ? &limit->slow : &limit->quick, 1, memory_order_relaxed);
    int64_t ends_ns = atomic_load_explicit(&limit->window_ends_ns, memory_order_relaxed);
    if (now_ns >= ends_ns)
        end_window(limit, ends_ns, now_ns);
}

unsigned limit_in_flight(const struct limit *limit)
{
    return atomic_load_explicit(&limit->in_flight, memory_order_relaxed);
}

unsigned limit_now(const struct limit *limit)
{
    return atomic_load_explicit(&limit->now, memory_order_relaxed);
}
