/* Tracing: tracers and spans.
 *
 * A span lives in its owner's memory, from otel_span_start() to otel_span_end(), on one thread at a time. A span that
 * is sampled records into memory of the SDK's own; one that is not is only its context. What is set is copied, within
 * the span limits; beyond them it is dropped and counted in the span. After the end, and on NULL, every call is
 * without effect. No call fails, blocks or, once warm, allocates.
 * The current context (common/trace.h: trace_current, trace_attach) is the fiber's or the thread's own; its `span` is
 * the live span, if there is one. Starting a span does not make it current: otel_span_enter() does.
 * Before otel_start() and after otel_stop() spans are not recorded and carry their parent's context.
 * Source: OpenTelemetry specification, trace/api. */
#ifndef COMMON_OTEL_TRACE_H
#define COMMON_OTEL_TRACE_H

#include "common/otel/value.h"
#include "common/trace.h"

struct otel_tracer;
struct span_record;

/* The tracer of an instrumentation scope; equal arguments give the same one, which lives as long as the process.
 * Any thread. Version and schema URL may be NULL. At most 1,000 scopes; beyond that the last one stands for all. */
struct otel_tracer *otel_tracer(const char *name, const char *version, const char *schema_url);
/* Would a span be worth starting at all? False when no processor would see it. */
bool otel_tracer_enabled(const struct otel_tracer *tracer);

enum otel_span_kind { /* OTLP's numbers */
                      OTEL_SPAN_INTERNAL = 1,
                      OTEL_SPAN_SERVER,
                      OTEL_SPAN_CLIENT,
                      OTEL_SPAN_PRODUCER,
                      OTEL_SPAN_CONSUMER,
};

enum otel_status { OTEL_STATUS_UNSET, OTEL_STATUS_OK, OTEL_STATUS_ERROR }; /* OTLP's numbers */

struct otel_link {
    const struct trace_context *context; /* an invalid one counts when it has a tracestate or attributes */
    const struct otel_attribute *attributes;
    unsigned attribute_count;
};

struct otel_span_options {
    enum otel_span_kind kind;                /* 0: internal */
    bool name_lives;                         /* the name is UTF-8 and stays until the span's end: it is not copied */
    const struct trace_context *parent;      /* NULL: the current one; &otel_no_parent: none, a new trace */
    const struct otel_attribute *attributes; /* samplers see these */
    unsigned attribute_count;
    const struct otel_attribute_set *set; /* further ones that many spans have; or NULL; lives until the span's end */
    const struct otel_link *links;
    unsigned link_count;
    int64_t start_wall_ns; /* 0: now */
};

extern const struct trace_context otel_no_parent;

struct otel_span {
    struct trace_context context; /* read-only: this span's, flags with the sampling decision; context.span is itself */
    struct span_record *record;   /* private: the SDK's memory, or NULL; the rest is private too */
    const struct trace_context *outer; /* current before otel_span_enter() */
    bool recording, entered;
};

/* options may be NULL. A parent with a trace id but no span id makes a root of that trace; its tracestate and baggage
 * count, too. The context's baggage is the parent's own memory; its tracestate that, or the SDK's, and NULL from the
 * end on. Attributes and links that are known here are better given here than set later: samplers may look at them. */
void otel_span_start(struct otel_span *span, struct otel_tracer *tracer, const char *name,
                     const struct otel_span_options *options);
/* Makes the span's context current until its end (same fiber or thread). */
void otel_span_enter(struct otel_span *span);
/* The span of the current context, or NULL. */
struct otel_span *otel_span_current(void);
static inline bool otel_span_recording(const struct otel_span *span)
{
    return span && span->recording;
}

/* The last value of a key counts. */
void otel_span_set_all(struct otel_span *span, const struct otel_attribute *attributes, unsigned count);
/* The same with a set, which lives until the span's end; three a span, with that of its options, cost next to nothing.
 */
void otel_span_set_shared(struct otel_span *span, const struct otel_attribute_set *set);
/* Private: all in registers, and the key's length where the compiler knows it. */
void otel_span_put(struct otel_span *span, const char *key, size_t key_bytes, struct otel_value value);
static inline void otel_span_set(struct otel_span *span, struct otel_attribute attribute)
{
    if (otel_span_recording(span))
        otel_span_put(span, attribute.key, attribute.key ? strlen(attribute.key) : 0, attribute.value);
}
void otel_span_event(struct otel_span *span, const char *name, const struct otel_attribute *attributes, unsigned count);
void otel_span_event_at(struct otel_span *span, const char *name, int64_t wall_ns,
                        const struct otel_attribute *attributes, unsigned count);
void otel_span_link(struct otel_span *span, const struct trace_context *context,
                    const struct otel_attribute *attributes, unsigned count);
/* OK is final; the description counts for an error only. */
void otel_span_status(struct otel_span *span, enum otel_status status, const char *description);
void otel_span_rename(struct otel_span *span, const char *name);
/* An `exception` event; message and stacktrace may be NULL. Does not set the status. */
void otel_span_exception(struct otel_span *span, const char *type, const char *message, const char *stacktrace);
void otel_span_end(struct otel_span *span);
void otel_span_end_at(struct otel_span *span, int64_t wall_ns); /* 0: now */

#endif
