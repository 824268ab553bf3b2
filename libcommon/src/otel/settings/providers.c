/* The traces' and the logs' provider: processors with their exporters, limits, sampler. */
#include <limits.h>

#include "common/mem.h"
#include "otel/settings/sections.h"

#define AT(member)        offsetof(struct sdk_settings, member)
#define LIMIT(member)     offsetof(struct limit_settings, member)
#define PROCESSOR(member) offsetof(struct processor_settings, member)

/* --- limits */

static enum err read_depth(const struct reading *reading, const struct node *node, void *out)
{
    static const struct field field = {"attribute_value_depth_limit", FIELD_COUNT, .min = 1, .max = INT_MAX};
    unsigned depth;
    (void)out;
    enum err err = schema_field(reading, node, &field, &depth);
    if (err || depth >= OTEL_DEPTH_MAX)
        return err;
    return node_wrong(reading, node, "less than %d is not supported by this SDK, got %u", OTEL_DEPTH_MAX, depth);
}

/* The first three are those of logs, and the general ones. */
static const struct field limit_fields[] = {
    {"attribute_value_length_limit", FIELD_INT, LIMIT(attribute_value_length), 0, INT_MAX},
    {"attribute_count_limit", FIELD_COUNT, LIMIT(attribute_count), 0, INT_MAX},
    {"attribute_value_depth_limit", FIELD_NULLABLE, .read = read_depth},
    {"event_count_limit", FIELD_COUNT, LIMIT(event_count), 0, INT_MAX},
    {"link_count_limit", FIELD_COUNT, LIMIT(link_count), 0, INT_MAX},
    {"event_attribute_count_limit", FIELD_COUNT, LIMIT(event_attribute_count), 0, INT_MAX},
    {"link_attribute_count_limit", FIELD_COUNT, LIMIT(link_attribute_count), 0, INT_MAX},
};
enum { GENERAL_LIMITS = 3 };

static enum err read_span_limits(const struct reading *reading, const struct node *node, void *out)
{
    return schema_map(reading, node, TABLE(limit_fields), out);
}

static enum err read_log_limits(const struct reading *reading, const struct node *node, void *out)
{
    return schema_map(reading, node, limit_fields, GENERAL_LIMITS, out);
}

enum err read_attribute_limits(const struct reading *reading, const struct node *node, void *out)
{
    struct sdk_settings *settings = out;
    enum err err = schema_map(reading, node, limit_fields, GENERAL_LIMITS, &settings->span_limits);
    return err ? err : schema_map(reading, node, limit_fields, GENERAL_LIMITS, &settings->log_limits);
}

/* --- processors */

enum { PROCESSOR_BATCH, PROCESSOR_SIMPLE };

static const struct field batch_fields[] = {
    {"schedule_delay", FIELD_INT, PROCESSOR(schedule_delay_ms), 0, INT_MAX},
    {"export_timeout", FIELD_INT, PROCESSOR(export_timeout_ms), 0, INT_MAX},
    {"max_queue_size", FIELD_COUNT, PROCESSOR(max_queue_size), 1, QUEUE_SIZE_MAX},
    {"max_export_batch_size", FIELD_COUNT, PROCESSOR(max_export_batch_size), 1, QUEUE_SIZE_MAX},
    {"exporter", FIELD_NODE, PROCESSOR(exporter), .required = true, .read = read_exporter},
};

static const struct field simple_fields[] = {
    {"exporter", FIELD_NODE, PROCESSOR(exporter), .required = true, .read = read_exporter},
};

static const struct variant processors[] = {
    {"batch", PROCESSOR_BATCH, .not_null = true, .fields = batch_fields, array_count(batch_fields)},
    {"simple", PROCESSOR_SIMPLE, .not_null = true, .fields = simple_fields, array_count(simple_fields)},
    {"event_to_span_event_bridge/development", .refused = true}, /* of logs */
};

static enum err read_processor(const struct reading *reading, const struct node *node, enum signal signal,
                               struct processor_settings *processor)
{
    int kind;
    size_t count = array_count(processors) - (signal == SIGNAL_TRACES);
    *processor = processor_defaults(signal == SIGNAL_TRACES ? SPAN_DELAY_MS : LOG_DELAY_MS);
    enum err err = schema_variant(reading, node, processors, count, processor, &kind);
    if (err)
        return err;
    processor->batch = kind == PROCESSOR_BATCH;
    if (processor->max_export_batch_size > processor->max_queue_size)
        return node_wrong(reading, node->first, "max_export_batch_size %u is larger than max_queue_size %u",
                          processor->max_export_batch_size, processor->max_queue_size);
    processor_complete(processor);
    exporter_complete(reading->arena, &processor->exporter, signal);
    return ERR_OK;
}

static enum err read_span_processor(const struct reading *reading, const struct node *node, void *out)
{
    return read_processor(reading, node, SIGNAL_TRACES, out);
}

static enum err read_log_processor(const struct reading *reading, const struct node *node, void *out)
{
    return read_processor(reading, node, SIGNAL_LOGS, out);
}

static enum err read_span_processors(const struct reading *reading, const struct node *node, void *out)
{
    struct sdk_settings *settings = out;
    const void *items;
    enum err err = schema_list(reading, node, 1, sizeof(struct processor_settings), read_span_processor, &items,
                               &settings->span_processor_count);
    if (!err)
        settings->span_processors = items;
    return err;
}

static enum err read_log_processors(const struct reading *reading, const struct node *node, void *out)
{
    struct sdk_settings *settings = out;
    const void *items;
    enum err err = schema_list(reading, node, 1, sizeof(struct processor_settings), read_log_processor, &items,
                               &settings->log_processor_count);
    if (!err)
        settings->log_processors = items;
    return err;
}

/* --- providers */

static const struct variant id_generators[] = {
    {"random", 0},
};

static enum err read_id_generator(const struct reading *reading, const struct node *node, void *out)
{
    int kind;
    return schema_variant(reading, node, TABLE(id_generators), out, &kind);
}

static const struct field tracer_fields[] = {
    {"processors", FIELD_NODE, .required = true, .read = read_span_processors},
    {"limits", FIELD_NODE, AT(span_limits), .read = read_span_limits},
    {"sampler", FIELD_NODE, AT(sampler), .read = read_sampler},
    {"id_generator", FIELD_NODE, .read = read_id_generator},
    {"tracer_configurator/development", FIELD_REFUSED},
};

static const struct field logger_fields[] = {
    {"processors", FIELD_NODE, .required = true, .read = read_log_processors},
    {"limits", FIELD_NODE, AT(log_limits), .read = read_log_limits},
    {"logger_configurator/development", FIELD_REFUSED},
};

enum err read_tracer_provider(const struct reading *reading, const struct node *node, void *out)
{
    return schema_map(reading, node, TABLE(tracer_fields), out);
}

enum err read_logger_provider(const struct reading *reading, const struct node *node, void *out)
{
    return schema_map(reading, node, TABLE(logger_fields), out);
}
