/* Clocks. Monotonic times are nanoseconds since an unknown start; wall times are
 * nanoseconds since 1970-01-01 UTC. Any thread. Source: RFC 3339 for the text form. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define NS_PER_US   INT64_C(1000)
#define NS_PER_MS   INT64_C(1000000)
#define NS_PER_S    INT64_C(1000000000)
#define CLOCK_NEVER INT64_MAX

enum { CLOCK_TEXT_BYTES = 40 };

int64_t clock_now_ns(void);
int64_t clock_wall_ns(void);
/* "2026-01-31T12:00:00.123456Z": microseconds, UTC; returns out. */
char *clock_format(int64_t wall_ns, char out[CLOCK_TEXT_BYTES]);
/* Reads any RFC 3339 time with an offset; false, and out untouched, for anything else. */
bool clock_parse(const char *text, int64_t *out_wall_ns);

#endif
