/* Samplers: whether a span is recorded, from its trace id, its parent and its tracestate.
 *
 * Built from their settings into an arena; immutable but for a note that something was warned about. Any thread.
 * Source: OpenTelemetry specification, trace/sdk (samplers), trace/tracestate-probability-sampling. */
#ifndef OTEL_TRACE_SAMPLER_H
#define OTEL_TRACE_SAMPLER_H

#include "common/trace.h"
#include "otel/sdk/settings.h"

enum { RANDOMNESS_BITS = 56 };

struct sampler;

struct sampler *sampler_new(struct arena *arena, const struct sampler_settings *settings);

struct sampling_question {
    const struct trace_context *parent; /* its tracestate counts, even when it has no ids */
    const uint8_t *trace_id;            /* of the span to be */
    bool is_root, is_random;            /* the W3C flag of the trace id */
};

enum { SAMPLING_RECORD = 1, SAMPLING_RESTATE = 2 };

struct sampling {
    unsigned decision;     /* SAMPLING_RESTATE: the tracestate changes, see sampling_state() */
    const char *th;        /* the threshold to tell in it, or NULL */
    const char *complaint; /* to be logged, outside of the guard; or NULL */
};

void sampler_ask(struct sampler *sampler, const struct sampling_question *question, struct sampling *out);
/* The tracestate with th in place of what `ot` said, every other member and sub-key kept; NULL: none is left. */
const char *sampling_state(const struct sampling *sampling, const char *state, struct arena *arena);

#endif
