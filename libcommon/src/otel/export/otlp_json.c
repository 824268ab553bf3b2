/* OTLP/JSON: the protobuf JSON mapping with hex ids and numeric enumerations. Fields that are zero or empty are left
 * out, as the binary form does. */
#include "otel/export/items.h"
#include "otel/export/otlp.h"
#include "otel/export/print.h"

/* --- objects and their members: a comma is due unless the object or array has just begun */

static void comma(struct buffer *out)
{
    uint8_t last = out->data[out->size - 1];
    if (last != '{' && last != '[')
        buffer_char(out, ',');
}

static void open_element(struct buffer *out, char bracket)
{
    comma(out);
    buffer_char(out, bracket);
}

static void key(struct buffer *out, const char *name)
{
    comma(out);
    buffer_char(out, '"');
    buffer_text(out, name);
    buffer_text(out, "\":");
}

static void open_member(struct buffer *out, const char *name, char bracket)
{
    key(out, name);
    buffer_char(out, bracket);
}

static void close(struct buffer *out, char bracket)
{
    buffer_char(out, bracket);
}

static void put_text(struct buffer *out, const char *name, const char *text)
{
    if (!text || !*text)
        return;
    key(out, name);
    print_quoted(out, text, strlen(text));
}

static void put_number(struct buffer *out, const char *name, uint64_t value)
{
    if (value == 0)
        return;
    key(out, name);
    print_unsigned(out, value);
}

static void put_signed(struct buffer *out, const char *name, int value)
{
    if (value == 0)
        return;
    key(out, name);
    print_int(out, value);
}

/* 64 bits are more than a JSON number is sure to hold, so they are texts. */
static void quoted_unsigned(struct buffer *out, uint64_t value)
{
    buffer_char(out, '"');
    print_unsigned(out, value);
    buffer_char(out, '"');
}

static void put_unsigned64(struct buffer *out, const char *name, uint64_t value)
{
    if (value == 0)
        return;
    key(out, name);
    quoted_unsigned(out, value);
}

static void put_signed64(struct buffer *out, const char *name, int64_t value)
{
    key(out, name);
    buffer_char(out, '"');
    print_int(out, value);
    buffer_char(out, '"');
}

static void real(struct buffer *out, double value)
{
    const char *special = print_not_finite(value);
    if (special)
        print_quoted(out, special, strlen(special));
    else
        print_real(out, value);
}

static void put_real(struct buffer *out, const char *name, double value)
{
    key(out, name);
    real(out, value);
}

static void put_id(struct buffer *out, const char *name, const uint8_t *id, unsigned bytes)
{
    if (otlp_is_zero(id, bytes))
        return;
    key(out, name);
    buffer_char(out, '"');
    print_hex(out, id, bytes);
    buffer_char(out, '"');
}

/* --- values */

static void put_any(struct buffer *out, const struct otel_value *value, unsigned depth);

static void put_elements(struct buffer *out, const struct otel_value *array, unsigned depth)
{
    open_member(out, "arrayValue", '{');
    open_member(out, "values", '[');
    for (uint32_t i = 0; depth < OTEL_DEPTH_MAX && i < array->count; i++) {
        struct otel_value value = otlp_element(array, i);
        comma(out);
        put_any(out, &value, depth + 1);
    }
    close(out, ']');
    close(out, '}');
}

static void put_attribute(struct buffer *out, const struct otel_attribute *attribute, unsigned depth)
{
    open_element(out, '{');
    key(out, "key");
    print_quoted(out, attribute->key, strlen(attribute->key));
    key(out, "value");
    put_any(out, &attribute->value, depth);
    close(out, '}');
}

static void put_map(struct buffer *out, const struct otel_value *map, unsigned depth)
{
    open_member(out, "kvlistValue", '{');
    open_member(out, "values", '[');
    for (uint32_t i = 0; depth < OTEL_DEPTH_MAX && i < map->count; i++)
        put_attribute(out, &map->map[i], depth + 1);
    close(out, ']');
    close(out, '}');
}

static void put_bytes(struct buffer *out, const struct otel_value *value)
{
    key(out, "bytesValue");
    buffer_char(out, '"');
    print_base64(out, value->bytes, value->count);
    buffer_char(out, '"');
}

static void put_member_of_any(struct buffer *out, const struct otel_value *value, unsigned depth)
{
    switch (value->type) {
    case OTEL_EMPTY:
        break;
    case OTEL_TEXT:
        key(out, "stringValue");
        print_quoted(out, value->text, value->count);
        break;
    case OTEL_BOOL:
        key(out, "boolValue");
        buffer_text(out, value->boolean ? "true" : "false");
        break;
    case OTEL_INT:
        put_signed64(out, "intValue", value->integer);
        break;
    case OTEL_REAL:
        put_real(out, "doubleValue", value->real);
        break;
    case OTEL_BYTES:
        put_bytes(out, value);
        break;
    case OTEL_MAP:
        put_map(out, value, depth);
        break;
    default:
        put_elements(out, value, depth);
    }
}

static void put_any(struct buffer *out, const struct otel_value *value, unsigned depth)
{
    buffer_char(out, '{');
    put_member_of_any(out, value, depth);
    close(out, '}');
}

static void put_named_attributes(struct buffer *out, const char *name, const struct otel_attribute *attributes,
                                 unsigned count)
{
    if (count == 0)
        return;
    open_member(out, name, '[');
    for (unsigned i = 0; i < count; i++)
        put_attribute(out, &attributes[i], 0);
    close(out, ']');
}

static void put_attributes(struct buffer *out, const struct otel_attribute *attributes, unsigned count)
{
    put_named_attributes(out, "attributes", attributes, count);
}

/* --- spans */

static void put_events(struct buffer *out, const struct span_record *span)
{
    if (span->event_count == 0)
        return;
    open_member(out, "events", '[');
    for (unsigned i = 0; i < span->event_count; i++) {
        const struct event_record *event = &span->events[i];
        open_element(out, '{');
        put_unsigned64(out, "timeUnixNano", (uint64_t)event->wall_ns);
        put_text(out, "name", event->name);
        put_attributes(out, event->attributes, event->attribute_count);
        put_number(out, "droppedAttributesCount", event->attributes_dropped);
        close(out, '}');
    }
    close(out, ']');
}

static void put_links(struct buffer *out, const struct span_record *span)
{
    if (span->link_count == 0)
        return;
    open_member(out, "links", '[');
    for (unsigned i = 0; i < span->link_count; i++) {
        const struct link_record *link = &span->links[i];
        open_element(out, '{');
        put_id(out, "traceId", link->trace_id, sizeof link->trace_id);
        put_id(out, "spanId", link->span_id, sizeof link->span_id);
        put_text(out, "traceState", link->state);
        put_attributes(out, link->attributes, link->attribute_count);
        put_number(out, "droppedAttributesCount", link->attributes_dropped);
        put_number(out, "flags", link->flags);
        close(out, '}');
    }
    close(out, ']');
}

static void put_status(struct buffer *out, const struct span_record *span)
{
    if (span->status == OTEL_STATUS_UNSET)
        return;
    open_member(out, "status", '{');
    put_text(out, "message", span->status_message);
    put_number(out, "code", span->status);
    close(out, '}');
}

static void put_span(struct buffer *out, const struct span_record *span)
{
    open_element(out, '{');
    put_id(out, "traceId", span->trace_id, sizeof span->trace_id);
    put_id(out, "spanId", span->span_id, sizeof span->span_id);
    put_text(out, "traceState", span->state);
    put_id(out, "parentSpanId", span->parent_span_id, sizeof span->parent_span_id);
    put_text(out, "name", span->name);
    put_number(out, "kind", span->kind);
    put_unsigned64(out, "startTimeUnixNano", (uint64_t)span->start_wall_ns);
    put_unsigned64(out, "endTimeUnixNano", (uint64_t)span->end_wall_ns);
    put_attributes(out, span->attributes, span->attribute_count);
    put_number(out, "droppedAttributesCount", span->attributes_dropped);
    put_events(out, span);
    put_number(out, "droppedEventsCount", span->events_dropped);
    put_links(out, span);
    put_number(out, "droppedLinksCount", span->links_dropped);
    put_status(out, span);
    put_number(out, "flags", span->flags);
    close(out, '}');
}

/* --- logs */

static void put_log(struct buffer *out, const struct log_record *log)
{
    open_element(out, '{');
    put_unsigned64(out, "timeUnixNano", (uint64_t)log->time_wall_ns);
    put_number(out, "severityNumber", log->severity);
    put_text(out, "severityText", log->severity_text);
    if (log->body.type != OTEL_EMPTY) {
        key(out, "body");
        put_any(out, &log->body, 0);
    }
    put_attributes(out, log->attributes, log->attribute_count);
    put_number(out, "droppedAttributesCount", log->attributes_dropped);
    put_number(out, "flags", log->flags);
    put_id(out, "traceId", log->trace_id, sizeof log->trace_id);
    put_id(out, "spanId", log->span_id, sizeof log->span_id);
    put_unsigned64(out, "observedTimeUnixNano", (uint64_t)log->observed_wall_ns);
    put_text(out, "eventName", log->event_name);
    close(out, '}');
}

/* --- metrics */

static void put_exemplars(struct buffer *out, const struct metric *metric, const struct metric_point *point)
{
    if (point->exemplar_count == 0)
        return;
    open_member(out, "exemplars", '[');
    for (unsigned i = 0; i < point->exemplar_count; i++) {
        const struct exemplar *exemplar = &point->exemplars[i];
        open_element(out, '{');
        put_unsigned64(out, "timeUnixNano", (uint64_t)exemplar->wall_ns);
        if (otlp_has_integers(metric))
            put_signed64(out, "asInt", exemplar->integer);
        else
            put_real(out, "asDouble", exemplar->value);
        if (exemplar->has_trace) {
            put_id(out, "spanId", exemplar->span_id, sizeof exemplar->span_id);
            put_id(out, "traceId", exemplar->trace_id, sizeof exemplar->trace_id);
        }
        put_named_attributes(out, "filteredAttributes", exemplar->attributes, exemplar->attribute_count);
        close(out, '}');
    }
    close(out, ']');
}

static void put_counts(struct buffer *out, const uint64_t *counts, unsigned count)
{
    open_member(out, "bucketCounts", '[');
    for (unsigned i = 0; i < count; i++) {
        comma(out);
        quoted_unsigned(out, counts[i]);
    }
    close(out, ']');
}

static void put_bounds(struct buffer *out, const double *bounds, unsigned count)
{
    if (count == 0)
        return;
    open_member(out, "explicitBounds", '[');
    for (unsigned i = 0; i < count; i++) {
        comma(out);
        real(out, bounds[i]);
    }
    close(out, ']');
}

/* What both kinds of histogram have. */
static void put_summary(struct buffer *out, const struct metric_point *point)
{
    put_unsigned64(out, "count", point->count);
    if (point->has_sum)
        put_real(out, "sum", point->sum);
    if (!point->has_min_max)
        return;
    put_real(out, "min", point->min);
    put_real(out, "max", point->max);
}

static void put_histogram(struct buffer *out, const struct metric *metric, const struct metric_point *point)
{
    put_summary(out, point);
    if (!point->buckets || point->bucket_count == 0)
        return;
    put_counts(out, point->buckets, point->bucket_count);
    put_bounds(out, metric->bounds, metric->bound_count);
}

static void put_buckets(struct buffer *out, const char *name, int offset, const uint64_t *counts, unsigned count)
{
    if (count == 0)
        return;
    open_member(out, name, '{');
    put_signed(out, "offset", offset);
    put_counts(out, counts, count);
    close(out, '}');
}

static void put_exponential(struct buffer *out, const struct metric_point *point)
{
    put_summary(out, point);
    put_signed(out, "scale", point->scale);
    put_unsigned64(out, "zeroCount", point->zero_count);
    put_buckets(out, "positive", point->positive_offset, point->positive, point->positive_count);
    put_buckets(out, "negative", point->negative_offset, point->negative, point->negative_count);
    if (point->zero_threshold > 0)
        put_real(out, "zeroThreshold", point->zero_threshold);
}

static void put_point(struct buffer *out, const struct metric *metric, const struct metric_point *point)
{
    open_element(out, '{');
    put_attributes(out, point->attributes, point->attribute_count);
    put_unsigned64(out, "startTimeUnixNano", (uint64_t)point->start_wall_ns);
    put_unsigned64(out, "timeUnixNano", (uint64_t)point->wall_ns);
    if (metric->type == METRIC_HISTOGRAM)
        put_histogram(out, metric, point);
    else if (metric->type == METRIC_EXPONENTIAL)
        put_exponential(out, point);
    else if (metric->integer)
        put_signed64(out, "asInt", point->integer);
    else
        put_real(out, "asDouble", point->real);
    put_exemplars(out, metric, point);
    close(out, '}');
}

static void put_metric(struct buffer *out, const struct metric *metric)
{
    static const char *const data_names[] = {[METRIC_GAUGE] = "gauge",
                                             [METRIC_SUM] = "sum",
                                             [METRIC_HISTOGRAM] = "histogram",
                                             [METRIC_EXPONENTIAL] = "exponentialHistogram"};
    open_element(out, '{');
    put_text(out, "name", metric->name);
    put_text(out, "description", metric->description);
    put_text(out, "unit", metric->unit);
    open_member(out, data_names[metric->type], '{');
    open_member(out, "dataPoints", '[');
    for (unsigned i = 0; i < metric->point_count; i++)
        put_point(out, metric, &metric->points[i]);
    close(out, ']');
    if (metric->type != METRIC_GAUGE)
        put_number(out, "aggregationTemporality", metric->temporality);
    if (metric->type == METRIC_SUM && metric->monotonic) {
        key(out, "isMonotonic");
        buffer_text(out, "true");
    }
    close(out, '}');
    close(out, '}');
}

/* --- envelopes */

static const struct envelope {
    const char *resources, *scopes, *records;
} envelopes[] = {
    [SIGNAL_TRACES] = {"resourceSpans", "scopeSpans", "spans"},
    [SIGNAL_METRICS] = {"resourceMetrics", "scopeMetrics", "metrics"},
    [SIGNAL_LOGS] = {"resourceLogs", "scopeLogs", "logRecords"},
};

static void put_record(struct buffer *out, const struct export_batch *batch, int index)
{
    switch (batch->signal) {
    case SIGNAL_TRACES:
        put_span(out, batch->spans[index]);
        break;
    case SIGNAL_LOGS:
        put_log(out, batch->logs[index]);
        break;
    case SIGNAL_METRICS:
        put_metric(out, &batch->metrics[index]);
    }
}

static void put_group(struct buffer *out, const struct export_batch *batch, const struct scope_groups *groups,
                      const struct scope_group *group)
{
    open_element(out, '{');
    open_member(out, "scope", '{');
    put_text(out, "name", group->scope->name);
    put_text(out, "version", group->scope->version);
    close(out, '}');
    open_member(out, envelopes[batch->signal].records, '[');
    for (int i = group->first; i != NO_ITEM; i = groups->next[i])
        put_record(out, batch, i);
    close(out, ']');
    put_text(out, "schemaUrl", group->scope->schema_url);
    close(out, '}');
}

static void put_resource(struct buffer *out, const struct export_batch *batch, const struct scope_groups *groups)
{
    buffer_char(out, '{');
    open_member(out, "resource", '{');
    put_attributes(out, batch->resource->attributes, batch->resource->attribute_count);
    close(out, '}');
    open_member(out, envelopes[batch->signal].scopes, '[');
    for (unsigned i = 0; i < groups->count; i++)
        put_group(out, batch, groups, &groups->groups[i]);
    close(out, ']');
    put_text(out, "schemaUrl", batch->resource->schema_url);
    close(out, '}');
}

void otlp_encode_json(struct buffer *out, const struct export_batch *batch)
{
    struct scope_groups groups;
    scope_groups_make(&groups, batch, false);
    if (groups.count > 0) {
        buffer_char(out, '{');
        open_member(out, envelopes[batch->signal].resources, '[');
        put_resource(out, batch, &groups);
        close(out, ']');
        close(out, '}');
    }
    scope_groups_free(&groups);
}
