#include "otel/trace/wall.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "common/clock.h"

/* The offset is measured anew every REFRESH_NS, so that a stepped clock is followed by then; smaller differences than
 * STEP_NS are the measurement's own, and following them would make spans of one moment disagree. NTP's slewing moves
 * both clocks alike. */
#define REFRESH_NS (100 * NS_PER_MS)
#define STEP_NS    (20 * NS_PER_US)

static _Atomic(int64_t) offset_ns, refresh_at_ns;

/* A reading that was interrupted is off by the time that it took: the shortest of three counts. */
static int64_t measure(void)
{
    int64_t best_ns = CLOCK_NEVER, offset = 0;
    for (int i = 0; i < 3; i++) {
        int64_t before = clock_now_ns(), wall = clock_wall_ns(), after = clock_now_ns();
        if (after - before >= best_ns)
            continue;
        best_ns = after - before;
        offset = wall - (before + best_ns / 2);
    }
    return offset;
}

static __attribute__((noinline)) void refresh(int64_t now_ns)
{
    int64_t measured = measure();
    if (llabs(measured - atomic_load(&offset_ns)) > STEP_NS)
        atomic_store(&offset_ns, measured);
    atomic_store(&refresh_at_ns, now_ns + REFRESH_NS); /* last: who sees this sees an offset */
}

int64_t wall_offset_ns(int64_t now_ns)
{
    if (__builtin_expect(now_ns >= atomic_load_explicit(&refresh_at_ns, memory_order_acquire), 0))
        refresh(now_ns);
    return atomic_load_explicit(&offset_ns, memory_order_relaxed);
}
