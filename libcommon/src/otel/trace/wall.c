/* The wall time and the rate of the ticks are measured anew every REFRESH_NS by whoever comes first; the others go on
 * with what was measured before. So a stepped wall clock is followed within that time. What differs by less than
 * STEP_NS is approached smoothly: spans of one moment are not to disagree for an error of the measurement. */
#include "otel/trace/wall.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"

#ifdef __x86_64__
#include <x86intrin.h>
#endif

#define REFRESH_NS   (100 * NS_PER_MS)
#define STEP_NS      (20 * NS_PER_US)
#define CALIBRATE_NS (5 * NS_PER_MS)
#define RATE_NS      NS_PER_S /* the least time to take the rate from, later on */

enum { RATE_BITS = 32, SMOOTH = 8, TOLERANCE = 100 };

/* Written under the lock by an odd version, then an even one. */
static struct {
    _Atomic(uint64_t) version, ticks, rate, refresh_ticks; /* rate: ns a tick, RATE_BITS of it behind the point */
    _Atomic(int64_t) wall_ns;
    _Atomic(int64_t) ahead_ns, refresh_ns; /* of the wall time to the monotonic one; each stands for itself */
} base;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool counter_is_good;

/* All three clocks at one time. */
struct reading {
    uint64_t ticks;
    int64_t monotonic_ns, wall_ns;
};

static struct reading rate_from; /* under the lock */

static inline uint64_t ticks_now(void)
{
#ifdef __x86_64__
    if (__builtin_expect(counter_is_good, 1))
        return __rdtsc();
#endif
    return (uint64_t)clock_now_ns();
}

static inline int64_t to_ns(uint64_t ticks, uint64_t rate)
{
    return (int64_t)((__uint128_t)ticks * rate >> RATE_BITS);
}

/* A reading that was interrupted is off by the time that it took: the fastest of some counts. */
static struct reading read_clocks(void)
{
    struct reading best = {0};
    uint64_t fastest = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        uint64_t before = ticks_now();
        int64_t monotonic_ns = clock_now_ns(), wall_ns = clock_wall_ns();
        uint64_t took = ticks_now() - before;
        if (took >= fastest)
            continue;
        fastest = took;
        best = (struct reading){before + took / 2, monotonic_ns, wall_ns};
    }
    return best;
}

static uint64_t rate_between(const struct reading *from, const struct reading *to)
{
    uint64_t ns = (uint64_t)(to->monotonic_ns - from->monotonic_ns), ticks = to->ticks - from->ticks;
    return (uint64_t)(((__uint128_t)ns << RATE_BITS) / (ticks ? ticks : 1));
}

static void publish(const struct reading *now, int64_t wall_ns, uint64_t rate)
{
    uint64_t version = atomic_load_explicit(&base.version, memory_order_relaxed);
    atomic_exchange(&base.version, version + 1);
    atomic_store_explicit(&base.ticks, now->ticks, memory_order_release);
    atomic_store_explicit(&base.wall_ns, wall_ns, memory_order_release);
    atomic_store_explicit(&base.rate, rate, memory_order_release);
    atomic_store_explicit(&base.refresh_ticks, ((uint64_t)REFRESH_NS << RATE_BITS) / rate, memory_order_release);
    atomic_store_explicit(&base.version, version + 2, memory_order_release);
    atomic_store_explicit(&base.ahead_ns, wall_ns - now->monotonic_ns, memory_order_relaxed);
    atomic_store_explicit(&base.refresh_ns, now->monotonic_ns + REFRESH_NS, memory_order_release);
}

static __attribute__((noinline)) void refresh(void)
{
    if (pthread_mutex_trylock(&lock) != 0)
        return;
    struct reading now = read_clocks();
    uint64_t rate = atomic_load(&base.rate), elapsed = now.ticks - atomic_load(&base.ticks);
    int64_t predicted_ns = atomic_load(&base.wall_ns) + to_ns(elapsed, rate);
    int64_t error_ns = now.wall_ns - predicted_ns;
    if (counter_is_good && now.monotonic_ns - rate_from.monotonic_ns >= RATE_NS) {
        uint64_t measured = now.ticks > rate_from.ticks ? rate_between(&rate_from, &now) : 0;
        if (measured > rate - rate / TOLERANCE && measured < rate + rate / TOLERANCE)
            rate = measured; /* else the counter was set meanwhile */
        rate_from = now;
    }
    publish(&now, llabs(error_ns) > STEP_NS ? now.wall_ns : predicted_ns + error_ns / SMOOTH, rate);
    pthread_mutex_unlock(&lock);
}

/* The kernel gives the counter up when it is not the same, and steady, on all processors. */
static bool kernel_trusts_counter(void)
{
#ifdef __x86_64__
    char name[16] = "";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (!file)
        return false;
    bool is_tsc = fgets(name, sizeof name, file) && strcmp(name, "tsc\n") == 0;
    fclose(file);
    return is_tsc;
#else
    return false;
#endif
}

static void measure_first(void)
{
    uint64_t rate = UINT64_C(1) << RATE_BITS;
    counter_is_good = kernel_trusts_counter();
    rate_from = read_clocks();
    struct reading now = rate_from;
    if (counter_is_good) {
        nanosleep(&(struct timespec){.tv_nsec = CALIBRATE_NS}, NULL);
        now = read_clocks();
        rate = rate_between(&rate_from, &now);
    }
    publish(&now, now.wall_ns, rate);
}

void wall_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, measure_first);
}

struct moment wall_now(void)
{
    uint64_t now, elapsed, version;
    int64_t wall_ns;
    do {
        version = atomic_load_explicit(&base.version, memory_order_acquire);
        uint64_t ticks = atomic_load_explicit(&base.ticks, memory_order_acquire);
        uint64_t rate = atomic_load_explicit(&base.rate, memory_order_acquire);
        wall_ns = atomic_load_explicit(&base.wall_ns, memory_order_acquire);
        now = ticks_now();
        elapsed = now - ticks;
        wall_ns += to_ns(elapsed, rate);
    } while ((version & 1) || version != atomic_load_explicit(&base.version, memory_order_relaxed));
    if (__builtin_expect(elapsed > atomic_load_explicit(&base.refresh_ticks, memory_order_relaxed), 0)) {
        refresh();
        wall_ns = clock_wall_ns();
    }
    return (struct moment){wall_ns, now};
}

int64_t wall_since(int64_t start_wall_ns, uint64_t start_ticks)
{
    uint64_t now = ticks_now();
    if (now < start_ticks) /* a machine that was put to sleep and woke up elsewhere */
        return wall_now().wall_ns;
    return start_wall_ns + to_ns(now - start_ticks, atomic_load_explicit(&base.rate, memory_order_relaxed));
}

int64_t wall_of(int64_t monotonic_ns)
{
    int64_t refresh_ns = atomic_load_explicit(&base.refresh_ns, memory_order_acquire);
    if (refresh_ns == 0)
        return 0;
    if (__builtin_expect(monotonic_ns > refresh_ns, 0))
        refresh();
    return monotonic_ns + atomic_load_explicit(&base.ahead_ns, memory_order_relaxed);
}
