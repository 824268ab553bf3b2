#include <stdatomic.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "otel/logs/internal.h"
#include "otel/sdk/copy.h"
#include "otel/sdk/guard.h"
#include "otel/sdk/self.h"

/* A logger has nothing but its scope, and is it. */
struct otel_logger {
    struct sdk_scope scope;
};

struct otel_logger *otel_logger(const char *name, const char *version, const char *schema_url)
{
    if (!name || !*name)
        log_event(LOG_WARN, "a logger without a name was asked for", log_text("version", version));
    return (struct otel_logger *)(uintptr_t)sdk_scope(name, version, schema_url);
}

bool otel_logger_enabled(const struct otel_logger *logger, enum otel_severity severity)
{
    (void)severity;
    struct guard_thread *self = guard_enter();
    const struct logs_pipeline *pipeline = atomic_load(&logs_current);
    bool enabled = logger && pipeline && pipeline->processors.count > 0;
    guard_exit(self);
    return enabled;
}

static void take_context(struct log_record *record, const struct trace_context *context)
{
    if (!context)
        context = trace_current();
    if (!context || !trace_valid(context)) {
        memset(record->trace_id, 0, sizeof record->trace_id);
        memset(record->span_id, 0, sizeof record->span_id);
        record->flags = 0;
        return;
    }
    memcpy(record->trace_id, context->trace_id, sizeof record->trace_id);
    memcpy(record->span_id, context->span_id, sizeof record->span_id);
    record->flags = context->flags;
}

/* The specification wants to be told of lost attributes, at most once a record; once in all is enough. */
static void tell_dropped(unsigned dropped, unsigned limit)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    if (dropped > 0 && !atomic_flag_test_and_set(&told))
        log_event(LOG_WARN, "attributes of log records are dropped: told once", log_int("dropped", dropped),
                  log_int("attribute_count_limit", limit));
}

static void take_attributes(struct log_record *record, const struct otel_log *log, const struct limit_settings *limits)
{
    struct attribute_list list = {0};
    for (unsigned i = 0; i < log->attribute_count; i++)
        attributes_set(&record->arena, &list, &log->attributes[i], limits->attribute_count,
                       limits->attribute_value_length);
    record->attributes = list.items;
    record->attribute_count = list.count;
    record->attributes_dropped = list.dropped;
}

/* All but what has to be copied. */
static void record_begin(struct log_record *record, const struct sdk_scope *scope, const struct otel_log *log)
{
    record->scope = scope;
    record->time_wall_ns = log->time_wall_ns;
    record->observed_wall_ns = log->observed_wall_ns ? log->observed_wall_ns : clock_wall_ns();
    record->severity = log->severity;
    take_context(record, log->context);
}

static void record_fill(struct log_record *record, const struct otel_log *log, const struct limit_settings *limits)
{
    record->severity_text = text_copy(&record->arena, log->severity_text);
    record->event_name = text_copy(&record->arena, log->event_name);
    record->body = value_copy(&record->arena, &log->body, UNLIMITED);
    take_attributes(record, log, limits);
}

/* Encoded from the caller's own memory. False: it has to be copied first. */
static bool emit_plain(const struct logs_pipeline *pipeline, const struct sdk_scope *scope, const struct otel_log *log)
{
    const struct processors *processors = &pipeline->processors;
    struct log_record record __attribute__((uninitialized));
    record_begin(&record, scope, log);
    record.severity_text = log->severity_text;
    record.event_name = log->event_name;
    record.body = log->body;
    record.attributes = log->attributes;
    record.attribute_count = log->attribute_count;
    record.attributes_dropped = 0;
    struct encoded_record *encoded = encoded_plain_log(&record, &pipeline->limits, processors->encoded_count);
    if (encoded)
        processors_add(processors, true, encoded);
    return encoded != NULL;
}

/* others: processors that take records as they are. */
static void emit_copied(const struct logs_pipeline *pipeline, const struct sdk_scope *scope, const struct otel_log *log,
                        bool encoded, unsigned others)
{
    const struct processors *processors = &pipeline->processors;
    struct log_record *record = log_record_take(others > 0 ? others : 1);
    record_begin(record, scope, log);
    record_fill(record, log, &pipeline->limits);
    unsigned dropped = record->attributes_dropped;
    if (encoded)
        processors_add(processors, true, encoded_log(record, processors->encoded_count));
    if (others > 0)
        processors_add(processors, false, record);
    else
        log_record_release(record);
    tell_dropped(dropped, pipeline->limits.attribute_count);
}

static void emit(const struct logs_pipeline *pipeline, const struct sdk_scope *scope, const struct otel_log *log)
{
    const struct processors *processors = &pipeline->processors;
    self_log_created();
    if (processors->count == 0)
        return;
    unsigned others = processors->count - processors->encoded_count;
    bool encoded = processors_want_encoded(processors);
    if (!encoded && others == 0)
        return;
    if (others > 0 || !emit_plain(pipeline, scope, log))
        emit_copied(pipeline, scope, log, encoded, others);
}

void otel_logger_emit(struct otel_logger *logger, const struct otel_log *log)
{
    struct guard_thread *self = guard_enter();
    const struct logs_pipeline *pipeline = atomic_load(&logs_current);
    if (logger && pipeline)
        emit(pipeline, &logger->scope, log);
    guard_exit(self);
}
