/* Trace context: who a piece of work belongs to, as it travels between processes.
 *
 * Values only, no ownership; any thread. Strings of a parsed context belong to the
 * arena that was given. Source: W3C Trace Context level 2. */
#ifndef COMMON_TRACE_H
#define COMMON_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"

enum { TRACE_PARENT_BYTES = 56 }; /* of the text form, with the NUL */

struct otel_span;

struct trace_context {
    uint8_t trace_id[16];
    uint8_t span_id[8];
    uint8_t flags;          /* 1 = sampled, 2 = random trace id */
    const char *state;      /* tracestate, or NULL */
    const char *baggage;    /* or NULL */
    bool remote;            /* came from another process */
    struct otel_span *span; /* the live span of this context (common/otel/trace.h), or NULL */
};

/* Where a context is read from or written to: request headers, gRPC metadata, message fields. */
struct carrier {
    const char *(*get)(const struct carrier *carrier, const char *key); /* NULL: not there; several: joined by commas */
    void (*set)(const struct carrier *carrier, const char *key, const char *value); /* copies */
};

/* A new trace with a new span, not sampled. */
struct trace_context trace_new(void);
/* The same trace with a new span id. */
struct trace_context trace_child(const struct trace_context *parent);
bool trace_valid(const struct trace_context *trace);
/* "00-<trace id>-<span id>-<flags>" with its NUL; returns out. */
char *trace_format(const struct trace_context *trace, char out[TRACE_PARENT_BYTES]);
/* False, and out untouched, unless text is a valid traceparent. state and baggage become NULL. */
bool trace_parse(const char *text, struct trace_context *out);

/* Reads traceparent, tracestate and baggage; copies of at most 512 and 8192 bytes go into arena. False: no context. */
bool trace_extract(const struct carrier *carrier, struct arena *arena, struct trace_context *out);
void trace_inject(const struct trace_context *trace, const struct carrier *carrier);

/* The context that this fiber, or outside of fibers this thread, works in: log lines, spans and exemplars join it. NULL
 * for none. It is pointed to, not copied: its owner attaches the one before again ahead of its end. */
const struct trace_context *trace_current(void);
const struct trace_context *trace_attach(const struct trace_context *trace); /* returns the one before */

#endif
