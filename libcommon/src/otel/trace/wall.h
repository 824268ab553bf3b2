/* The time of spans: wall time, and durations that are true even when the wall clock is stepped meanwhile.
 *
 * A reading costs less than half of clock_gettime()'s where the kernel itself keeps time by the processor's time stamp
 * counter; elsewhere it is clock_gettime()'s monotonic clock. Any thread, after wall_init(). */
#ifndef OTEL_TRACE_WALL_H
#define OTEL_TRACE_WALL_H

#include <stdint.h>

void wall_init(void); /* measures for some milliseconds; once, further calls are harmless */

struct moment {
    int64_t wall_ns;
    uint64_t ticks; /* of whatever clock it is; never 0 */
};

struct moment wall_now(void);
/* The wall time that it is now by the clock as it stood at start. */
int64_t wall_since(int64_t start_wall_ns, uint64_t start_ticks);
/* The wall time of a moment that clock_now_ns() told just now; 0 before wall_init(). */
int64_t wall_of(int64_t monotonic_ns);

#endif
