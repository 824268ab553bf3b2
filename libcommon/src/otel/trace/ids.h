/* Random ids, a generator for each thread: seeded by the kernel, anew in a forked child. Never zero. Not for secrets.
 * Source: xoshiro256++ (Blackman, Vigna); W3C Trace Context 2, randomness of trace ids. */
#ifndef OTEL_TRACE_IDS_H
#define OTEL_TRACE_IDS_H

#include <stdint.h>

void id_trace(uint8_t out[16]);
void id_span(uint8_t out[8]);

#endif
