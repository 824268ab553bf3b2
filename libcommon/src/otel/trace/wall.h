/* Wall time from one reading of the monotonic clock: both clocks of a span then agree, and its duration is true even
 * when the wall clock is stepped meanwhile. */
#ifndef OTEL_TRACE_WALL_H
#define OTEL_TRACE_WALL_H

#include <stdint.h>

/* What to add to the monotonic time now_ns (clock_now_ns()) to have the wall time. Any thread. */
int64_t wall_offset_ns(int64_t now_ns);

#endif
