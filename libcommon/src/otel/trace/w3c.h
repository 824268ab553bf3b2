/* The texts of the W3C headers, checked: what came from outside is kept only after these saw it. Total on any bytes,
 * linear in them; results are bounded and live in the arena.
 * Source: W3C Trace Context 2 §3.3, W3C Baggage §3.3. */
#ifndef OTEL_TRACE_W3C_H
#define OTEL_TRACE_W3C_H

#include "common/arena.h"

enum {
    TRACESTATE_MEMBERS_MAX = 32,
    TRACESTATE_BYTES_MAX = 512,
    BAGGAGE_ENTRIES_MAX = 64,
    BAGGAGE_BYTES_MAX = 8192,
};

/* The members without empty ones and outer white space, cut to 512 bytes by whole members; NULL when malformed or
 * empty. */
const char *tracestate_clean(const char *text, struct arena *arena);
/* The well-formed entries, the last one of each key, as many as fit; NULL when there are none. */
const char *baggage_clean(const char *text, struct arena *arena);

#endif
