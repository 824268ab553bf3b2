#include <string.h>

#include "common/log.h"
#include "common/otel/trace.h"
#include "otel/sdk/copy.h"
#include "otel/sdk/self.h"
#include "otel/trace/ids.h"
#include "otel/trace/pipeline.h"
#include "otel/trace/record.h"
#include "otel/trace/wall.h"

enum { FLAG_SAMPLED = 1, FLAG_RANDOM = 2 };

const struct trace_context otel_no_parent;

/* --- start */

static bool is_zero(const void *bytes, size_t count)
{
    uint64_t any = 0, word;
    for (size_t i = 0; i < count; i += sizeof word) {
        memcpy(&word, (const char *)bytes + i, sizeof word);
        any |= word;
    }
    return any == 0;
}

/* The new span's place in its trace: everything but the sampled flag and the sampler's tracestate. True: it is the
 * root. */
static bool context_begin(struct otel_span *span, const struct trace_context *parent)
{
    span->context =
        (struct trace_context){.flags = FLAG_RANDOM, .state = parent->state, .baggage = parent->baggage, .span = span};
    id_span(span->context.span_id);
    if (is_zero(parent->trace_id, sizeof parent->trace_id)) {
        id_trace(span->context.trace_id);
        return true;
    }
    memcpy(span->context.trace_id, parent->trace_id, sizeof parent->trace_id);
    span->context.flags = parent->flags & FLAG_RANDOM;
    return is_zero(parent->span_id, sizeof parent->span_id);
}

/* The tracestate of a local parent may be its record's, which may end before this span does. */
static bool state_is_borrowed(const struct trace_context *parent)
{
    return parent->state && parent->span;
}

static void state_keep(struct otel_span *span, const struct sampling *sampling)
{
    struct arena *arena = &span->record->arena;
    span->context.state = sampling->decision & SAMPLING_RESTATE ? sampling_state(sampling, span->context.state, arena)
                                                                : text_copy(arena, span->context.state);
}

static void times_begin(struct span_record *record, int64_t start_wall_ns)
{
    struct moment start = {.wall_ns = start_wall_ns};
    if (!start_wall_ns)
        start = wall_now();
    record->start_wall_ns = start.wall_ns;
    record->start_ticks = start.ticks;
}

static void record_begin(struct otel_span *span, const struct otel_tracer *tracer, const char *name,
                         const struct trace_context *parent, bool root, const struct otel_span_options *options)
{
    struct span_record *record = span->record;
    record->scope = (const struct sdk_scope *)tracer;
    memcpy(record->trace_id, span->context.trace_id, sizeof record->trace_id);
    memcpy(record->span_id, span->context.span_id, sizeof record->span_id);
    if (!root)
        memcpy(record->parent_span_id, parent->span_id, sizeof record->parent_span_id);
    record->flags = span_flags(span->context.flags, !root && parent->remote);
    record->state = span->context.state;
    record_name(record, name, options->name_lives);
    record->kind = options->kind ? options->kind : OTEL_SPAN_INTERNAL;
    if (options->set)
        record_fold(record, options->set);
    for (unsigned i = 0; i < options->attribute_count; i++)
        record_attribute(record, &options->attributes[i]);
    for (unsigned i = 0; i < options->link_count; i++)
        record_link(record, &options->links[i]);
    times_begin(record, options->start_wall_ns);
}

static enum span_origin origin_of(const struct trace_context *parent, bool root)
{
    if (root)
        return ORIGIN_NONE;
    return parent->remote ? ORIGIN_REMOTE : ORIGIN_LOCAL;
}

/* Returns what the sampler complains about, or NULL. */
static const char *start_in(struct traces_pipeline *pipeline, struct otel_span *span, const struct otel_tracer *tracer,
                            const char *name, const struct trace_context *parent,
                            const struct otel_span_options *options)
{
    bool root = context_begin(span, parent);
    const struct sampling_question question = {.parent = parent,
                                               .trace_id = span->context.trace_id,
                                               .is_root = root,
                                               .is_random = span->context.flags & FLAG_RANDOM};
    struct sampling sampling;
    sampler_ask(pipeline->sampler, &question, &sampling);
    span->recording = sampling.decision & SAMPLING_RECORD;
    self_span_started(origin_of(parent, root), span->recording ? SAMPLED_RECORD : SAMPLED_DROP);
    if (sampling.decision || state_is_borrowed(parent)) {
        span->record = record_take(&pipeline->limits);
        state_keep(span, &sampling);
    }
    if (span->recording) {
        span->context.flags |= FLAG_SAMPLED;
        record_begin(span, tracer, name, parent, root, options);
    }
    return sampling.complaint;
}

/* No SDK: the parent's context goes on. */
static void start_without(struct otel_span *span, const struct trace_context *parent)
{
    static const struct limit_settings none;
    span->context = *parent;
    span->context.span = span;
    if (!state_is_borrowed(parent))
        return;
    span->record = record_take(&none);
    state_keep(span, &(struct sampling){0});
}

void otel_span_start(struct otel_span *span, struct otel_tracer *tracer, const char *name,
                     const struct otel_span_options *options)
{
    static const struct otel_span_options defaults;
    if (!span)
        return;
    const char *complaint = NULL;
    options = options ? options : &defaults;
    const struct trace_context *parent = options->parent ? options->parent : trace_current();
    parent = parent ? parent : &otel_no_parent;
    span->record = NULL;
    span->recording = span->entered = false;
    struct guard_thread *guard = guard_enter();
    struct traces_pipeline *pipeline = atomic_load(&traces_current);
    if (pipeline)
        complaint = start_in(pipeline, span, tracer, name, parent, options);
    else
        start_without(span, parent);
    guard_exit(guard);
    if (complaint)
        log_event(LOG_WARN, complaint);
}

/* --- the current span */

void otel_span_enter(struct otel_span *span)
{
    if (!span || span->entered)
        return;
    span->outer = trace_attach(&span->context);
    span->entered = true;
}

/* The entered span that context is, not one that it is a copy of; or NULL. */
static struct otel_span *entered_span(const struct trace_context *context)
{
    return context && context->span && context == &context->span->context && context->span->entered ? context->span
                                                                                                    : NULL;
}

/* A span that ends before those that were entered inside of it is taken out from among them. */
static void leave(struct otel_span *span)
{
    if (!span->entered)
        return;
    span->entered = false;
    if (trace_current() == &span->context) {
        trace_attach(span->outer);
        return;
    }
    struct otel_span *inner = entered_span(trace_current());
    while (inner && inner->outer != &span->context)
        inner = entered_span(inner->outer);
    if (inner)
        inner->outer = span->outer;
}

struct otel_span *otel_span_current(void)
{
    const struct trace_context *current = trace_current();
    return current ? current->span : NULL;
}

/* --- what is told about it */

void otel_span_put(struct otel_span *span, const char *key, size_t key_bytes, struct otel_value value)
{
    record_put(span->record, key, key_bytes, value);
}

void otel_span_set_all(struct otel_span *span, const struct otel_attribute *attributes, unsigned count)
{
    for (unsigned i = 0; otel_span_recording(span) && i < count; i++)
        record_attribute(span->record, &attributes[i]);
}

void otel_span_set_shared(struct otel_span *span, const struct otel_attribute_set *set)
{
    if (otel_span_recording(span) && set)
        record_fold(span->record, set);
}

/* Now, by the clock that the span started with. */
static int64_t now_of(const struct span_record *record)
{
    return record->start_ticks ? wall_since(record->start_wall_ns, record->start_ticks) : wall_now().wall_ns;
}

void otel_span_event(struct otel_span *span, const char *name, const struct otel_attribute *attributes, unsigned count)
{
    if (otel_span_recording(span))
        record_event(span->record, name ? name : "", now_of(span->record), attributes, count);
}

void otel_span_event_at(struct otel_span *span, const char *name, int64_t wall_ns,
                        const struct otel_attribute *attributes, unsigned count)
{
    if (otel_span_recording(span))
        record_event(span->record, name ? name : "", wall_ns, attributes, count);
}

void otel_span_link(struct otel_span *span, const struct trace_context *context,
                    const struct otel_attribute *attributes, unsigned count)
{
    if (otel_span_recording(span))
        record_link(span->record, &(struct otel_link){context, attributes, count});
}

void otel_span_status(struct otel_span *span, enum otel_status status, const char *description)
{
    if (otel_span_recording(span))
        record_status(span->record, status, description);
}

void otel_span_rename(struct otel_span *span, const char *name)
{
    if (otel_span_recording(span))
        record_name(span->record, name, false);
}

void otel_span_exception(struct otel_span *span, const char *type, const char *message, const char *stacktrace)
{
    struct otel_attribute attributes[3];
    unsigned count = 0;
    if (type)
        attributes[count++] = otel_text("exception.type", type);
    if (message)
        attributes[count++] = otel_text("exception.message", message);
    if (stacktrace)
        attributes[count++] = otel_text("exception.stacktrace", stacktrace);
    otel_span_event(span, "exception", attributes, count);
}

/* --- end */

static bool beyond_limits(const struct span_record *record)
{
    return record->attributes_dropped > 0 || record->events_dropped > 0 || record->links_dropped > 0;
}

/* True when somebody should hear of the limits: once a pipeline. */
static bool deliver(struct span_record *record)
{
    bool tell = false;
    struct guard_thread *guard = guard_enter();
    struct traces_pipeline *pipeline = atomic_load(&traces_current);
    if (pipeline && pipeline->processors.count > 0) {
        tell = beyond_limits(record) && !atomic_exchange(&pipeline->told_of_limits, true);
        pipeline_deliver(pipeline, record);
    } else {
        record_release(record);
    }
    guard_exit(guard);
    return tell;
}

void otel_span_end(struct otel_span *span)
{
    otel_span_end_at(span, 0);
}

void otel_span_end_at(struct otel_span *span, int64_t wall_ns)
{
    if (!span)
        return;
    leave(span);
    struct span_record *record = span->record;
    if (!record)
        return;
    bool recording = span->recording;
    span->record = NULL;
    span->recording = false;
    span->context.state = NULL; /* it lived in the record */
    if (!recording) {
        record_release(record);
        return;
    }
    record->end_wall_ns = wall_ns ? wall_ns : now_of(record);
    self_span_ended(SAMPLED_RECORD);
    if (deliver(record))
        log_event(LOG_WARN, "attributes, events or links of a span were dropped: they were beyond its limits or had no "
                            "key; further cases are counted in the spans only");
}
