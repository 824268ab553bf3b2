/* Protobuf to JSON: every field that OTLP has. Times are integers of nanoseconds; ids are hexadecimal; an attribute is
 * {key, type, value}, so that an integer 1 and a double 1 stay apart; bytes are hexadecimal too. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "collector/collector.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/utf8.h"

#define VALUE_CASE(kind)  OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_##kind
#define NO_VALUE          OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE__NOT_SET
#define METRIC_CASE(kind) OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_##kind

enum { TEXT_BYTES_MAX = 1 << 20, LINE_BYTES_MAX = 4096 };

/* --- plain values */

json_t *describe_text(const char *text)
{
    json_t *plain = json_string(text);
    if (plain)
        return plain;
    size_t used = 0, room = 3 * strnlen(text, TEXT_BYTES_MAX) + 4;
    scoped_free char *clean = mem_alloc(room);
    while (*text && used + 4 < room) {
        size_t step = utf8_sequence(text);
        memcpy(clean + used, step ? text : "\xef\xbf\xbd", step ? step : 3);
        used += step ? step : 3;
        text += step ? step : 1;
    }
    return json_stringn(clean, used);
}

json_t *describe_id(const uint8_t *id, size_t bytes)
{
    char text[2 * 64 + 1];
    return json_string(hash_hex(id, bytes < 64 ? bytes : 64, text));
}

static json_t *describe_bytes(ProtobufCBinaryData data)
{
    size_t bytes = data.len < TEXT_BYTES_MAX ? data.len : TEXT_BYTES_MAX;
    scoped_free char *text = mem_alloc(2 * bytes + 1);
    return json_string(hash_hex(data.data, bytes, text));
}

/* JSON has no NaN and no infinity. */
static json_t *describe_real(double value)
{
    if (isfinite(value))
        return json_real(value);
    return json_string(isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
}

static json_t *describe_count(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static void set(json_t *object, const char *name, json_t *taken)
{
    json_object_set_new(object, name, taken);
}

/* --- attributes */

static json_t *describe_value(const OTLP_COMMON(AnyValue) * value, const char **out_type)
{
    switch ((int)(value ? value->value_case : NO_VALUE)) {
    case VALUE_CASE(STRING_VALUE):
        *out_type = "string";
        return describe_text(value->string_value);
    case VALUE_CASE(BOOL_VALUE):
        *out_type = "bool";
        return json_boolean(value->bool_value);
    case VALUE_CASE(INT_VALUE):
        *out_type = "int";
        return json_integer(value->int_value);
    case VALUE_CASE(DOUBLE_VALUE):
        *out_type = "double";
        return describe_real(value->double_value);
    case VALUE_CASE(BYTES_VALUE):
        *out_type = "bytes";
        return describe_bytes(value->bytes_value);
    case VALUE_CASE(KVLIST_VALUE):
        *out_type = "kvlist";
        return describe_attributes(value->kvlist_value->values, value->kvlist_value->n_values);
    case VALUE_CASE(ARRAY_VALUE): {
        json_t *list = json_array();
        const char *type;
        for (size_t i = 0; i < value->array_value->n_values; i++) {
            json_t *item = describe_value(value->array_value->values[i], &type);
            json_array_append_new(list, json_pack("{s:s, s:o}", "type", type, "value", item));
        }
        *out_type = "array";
        return list;
    }
    default:
        *out_type = "empty";
        return json_null();
    }
}

json_t *describe_attributes(OTLP_COMMON(KeyValue) * *attributes, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const char *type;
        json_t *value = describe_value(attributes[i]->value, &type);
        json_array_append_new(
            list, json_pack("{s:o, s:s, s:o}", "key", describe_text(attributes[i]->key), "type", type, "value", value));
    }
    return list;
}

static const char *array_text(struct arena *arena, const OTLP_COMMON(ArrayValue) * array)
{
    const char *text = "[";
    for (size_t i = 0; i < array->n_values && strlen(text) < LINE_BYTES_MAX; i++)
        text = arena_print(arena, "%s%s%s", text, i ? ", " : "", value_text(arena, array->values[i]));
    return arena_print(arena, "%s]", text);
}

static const char *list_text(struct arena *arena, const OTLP_COMMON(KeyValueList) * list)
{
    const char *text = "{";
    for (size_t i = 0; i < list->n_values && strlen(text) < LINE_BYTES_MAX; i++)
        text = arena_print(arena, "%s%s%s: %s", text, i ? ", " : "", list->values[i]->key,
                           value_text(arena, list->values[i]->value));
    return arena_print(arena, "%s}", text);
}

const char *value_text(struct arena *arena, const OTLP_COMMON(AnyValue) * value)
{
    switch ((int)(value ? value->value_case : NO_VALUE)) {
    case VALUE_CASE(STRING_VALUE):
        return value->string_value;
    case VALUE_CASE(BOOL_VALUE):
        return value->bool_value ? "true" : "false";
    case VALUE_CASE(INT_VALUE):
        return arena_print(arena, "%lld", (long long)value->int_value);
    case VALUE_CASE(DOUBLE_VALUE):
        return arena_print(arena, "%.15g", value->double_value);
    case VALUE_CASE(BYTES_VALUE):
        return arena_print(arena, "%zu bytes", value->bytes_value.len);
    case VALUE_CASE(ARRAY_VALUE):
        return array_text(arena, value->array_value);
    case VALUE_CASE(KVLIST_VALUE):
        return list_text(arena, value->kvlist_value);
    default:
        return "";
    }
}

/* --- who sent it */

static json_t *describe_entities(const OTLP_RESOURCE(Resource) * resource)
{
    json_t *list = json_array();
    for (size_t i = 0; i < resource->n_entity_refs; i++) {
        const OTLP_COMMON(EntityRef) *entity = resource->entity_refs[i];
        json_t *ids = json_array(), *others = json_array();
        for (size_t k = 0; k < entity->n_id_keys; k++)
            json_array_append_new(ids, describe_text(entity->id_keys[k]));
        for (size_t k = 0; k < entity->n_description_keys; k++)
            json_array_append_new(others, describe_text(entity->description_keys[k]));
        json_array_append_new(list,
                              json_pack("{s:o, s:o, s:o, s:o}", "type", describe_text(entity->type), "schema_url",
                                        describe_text(entity->schema_url), "id_keys", ids, "description_keys", others));
    }
    return list;
}

static void set_resource(json_t *out, struct arena *arena, const struct origin *origin)
{
    const OTLP_TRACE(ResourceSpans) *holder =
        decode_message(arena, &opentelemetry__proto__trace__v1__resource_spans__descriptor,
                       (struct bytes){(const char *)origin->packed, origin->resource_bytes});
    if (!holder)
        return;
    const OTLP_RESOURCE(Resource) *resource = holder->resource;
    json_t *json = json_object();
    set(json, "schema_url", describe_text(holder->schema_url));
    set(json, "attributes",
        resource ? describe_attributes(resource->attributes, resource->n_attributes) : json_array());
    set(json, "dropped_attributes_count", describe_count(resource ? resource->dropped_attributes_count : 0));
    set(json, "entity_refs", resource ? describe_entities(resource) : json_array());
    set(out, "resource", json);
}

static void set_scope(json_t *out, struct arena *arena, const struct origin *origin)
{
    const OTLP_TRACE(ScopeSpans) *holder =
        decode_message(arena, &opentelemetry__proto__trace__v1__scope_spans__descriptor,
                       (struct bytes){(const char *)origin->packed + origin->resource_bytes, origin->scope_bytes});
    if (!holder)
        return;
    const OTLP_COMMON(InstrumentationScope) *scope = holder->scope;
    json_t *json = json_object();
    set(json, "schema_url", describe_text(holder->schema_url));
    set(json, "name", describe_text(scope ? scope->name : ""));
    set(json, "version", describe_text(scope ? scope->version : ""));
    set(json, "attributes", scope ? describe_attributes(scope->attributes, scope->n_attributes) : json_array());
    set(json, "dropped_attributes_count", describe_count(scope ? scope->dropped_attributes_count : 0));
    set(out, "scope", json);
}

static void set_origin(json_t *out, struct arena *arena, const struct origin *origin)
{
    set(out, "service", describe_text(origin->service));
    set_resource(out, arena, origin);
    set_scope(out, arena, origin);
}

/* --- spans */

const char *span_kind_name(int kind)
{
    static const char *const names[] = {"unspecified", "internal", "server", "client", "producer", "consumer"};
    return kind >= 0 && kind < (int)array_count(names) ? names[kind] : "unknown";
}

const char *span_status_name(int code)
{
    static const char *const names[] = {"unset", "ok", "error"};
    return code >= 0 && code < (int)array_count(names) ? names[code] : "unknown";
}

static json_t *describe_event(const OTLP_TRACE(Span__Event) * event)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "name", describe_text(event->name), "time",
                     describe_count(event->time_unix_nano), "attributes",
                     describe_attributes(event->attributes, event->n_attributes), "dropped_attributes_count",
                     describe_count(event->dropped_attributes_count));
}

static json_t *describe_link(const OTLP_TRACE(Span__Link) * link)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "trace_id", describe_id(link->trace_id.data, link->trace_id.len),
                     "span_id", describe_id(link->span_id.data, link->span_id.len), "trace_state",
                     describe_text(link->trace_state), "flags", describe_count(link->flags), "attributes",
                     describe_attributes(link->attributes, link->n_attributes), "dropped_attributes_count",
                     describe_count(link->dropped_attributes_count));
}

static void set_events_and_links(json_t *out, const OTLP_TRACE(Span) * span)
{
    json_t *events = json_array(), *links = json_array();
    for (size_t i = 0; i < span->n_events; i++)
        json_array_append_new(events, describe_event(span->events[i]));
    for (size_t i = 0; i < span->n_links; i++)
        json_array_append_new(links, describe_link(span->links[i]));
    set(out, "events", events);
    set(out, "links", links);
}

json_t *describe_span(struct arena *arena, const struct kept_span *kept)
{
    json_t *out = json_object();
    const OTLP_TRACE(Span) *span = decode_message(arena, &opentelemetry__proto__trace__v1__span__descriptor,
                                                  (struct bytes){(const char *)kept->packed, kept->bytes});
    if (!span)
        return out;
    set(out, "trace_id", describe_id(span->trace_id.data, span->trace_id.len));
    set(out, "span_id", describe_id(span->span_id.data, span->span_id.len));
    set(out, "parent_span_id", describe_id(span->parent_span_id.data, span->parent_span_id.len));
    set(out, "name", describe_text(span->name));
    set(out, "kind", json_string(span_kind_name((int)span->kind)));
    set(out, "start", describe_count(span->start_time_unix_nano));
    set(out, "end", describe_count(span->end_time_unix_nano));
    set(out, "trace_state", describe_text(span->trace_state));
    set(out, "flags", describe_count(span->flags));
    set(out, "status", json_string(span_status_name(span->status ? (int)span->status->code : 0)));
    set(out, "status_message", describe_text(span->status ? span->status->message : ""));
    set(out, "attributes", describe_attributes(span->attributes, span->n_attributes));
    set(out, "dropped_attributes_count", describe_count(span->dropped_attributes_count));
    set_events_and_links(out, span);
    set(out, "dropped_events_count", describe_count(span->dropped_events_count));
    set(out, "dropped_links_count", describe_count(span->dropped_links_count));
    set_origin(out, arena, kept->origin);
    return out;
}

/* --- logs */

json_t *describe_log(struct arena *arena, const struct kept_log *kept)
{
    json_t *out = json_object();
    const OTLP_LOGS(LogRecord) *record = decode_message(arena, &opentelemetry__proto__logs__v1__log_record__descriptor,
                                                        (struct bytes){(const char *)kept->packed, kept->bytes});
    if (!record)
        return out;
    const char *type;
    json_t *body = describe_value(record->body, &type);
    set(out, "time", describe_count(record->time_unix_nano));
    set(out, "observed_time", describe_count(record->observed_time_unix_nano));
    set(out, "severity_number", json_integer((int)record->severity_number));
    set(out, "severity_text", describe_text(record->severity_text));
    set(out, "event_name", describe_text(record->event_name));
    set(out, "body_type", json_string(type));
    set(out, "body", body);
    set(out, "attributes", describe_attributes(record->attributes, record->n_attributes));
    set(out, "dropped_attributes_count", describe_count(record->dropped_attributes_count));
    set(out, "flags", describe_count(record->flags));
    set(out, "trace_id", describe_id(record->trace_id.data, record->trace_id.len));
    set(out, "span_id", describe_id(record->span_id.data, record->span_id.len));
    set_origin(out, arena, kept->origin);
    return out;
}

/* --- metrics */

static json_t *describe_exemplars(OTLP_METRICS(Exemplar) * *exemplars, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const OTLP_METRICS(Exemplar) *exemplar = exemplars[i];
        bool whole = exemplar->value_case == OPENTELEMETRY__PROTO__METRICS__V1__EXEMPLAR__VALUE_AS_INT;
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:o, s:o, s:o}", "time", describe_count(exemplar->time_unix_nano), "value",
                            whole ? json_integer(exemplar->as_int) : describe_real(exemplar->as_double), "trace_id",
                            describe_id(exemplar->trace_id.data, exemplar->trace_id.len), "span_id",
                            describe_id(exemplar->span_id.data, exemplar->span_id.len), "attributes",
                            describe_attributes(exemplar->filtered_attributes, exemplar->n_filtered_attributes)));
    }
    return list;
}

static json_t *describe_counts(const uint64_t *counts, size_t size)
{
    json_t *list = json_array();
    for (size_t i = 0; i < size; i++)
        json_array_append_new(list, describe_count(counts[i]));
    return list;
}

#define SET_COMMON(out, point)                                                                                         \
    do {                                                                                                               \
        set((out), "start_time", describe_count((point)->start_time_unix_nano));                                       \
        set((out), "time", describe_count((point)->time_unix_nano));                                                   \
        set((out), "flags", describe_count((point)->flags));                                                           \
        set((out), "attributes", describe_attributes((point)->attributes, (point)->n_attributes));                     \
    } while (0)

/* sum, min and max may be absent. */
#define SET_SUMMED(out, point)                                                                                         \
    do {                                                                                                               \
        set((out), "count", describe_count((point)->count));                                                           \
        if ((point)->_sum_case)                                                                                        \
            set((out), "sum", describe_real((point)->sum));                                                            \
        if ((point)->_min_case)                                                                                        \
            set((out), "min", describe_real((point)->min));                                                            \
        if ((point)->_max_case)                                                                                        \
            set((out), "max", describe_real((point)->max));                                                            \
        set((out), "exemplars", describe_exemplars((point)->exemplars, (point)->n_exemplars));                         \
    } while (0)

static void set_number(json_t *out, const OTLP_METRICS(NumberDataPoint) * point)
{
    SET_COMMON(out, point);
    if (point->value_case == OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_INT)
        set(out, "value", json_integer(point->as_int));
    if (point->value_case == OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_DOUBLE)
        set(out, "value", describe_real(point->as_double));
    set(out, "exemplars", describe_exemplars(point->exemplars, point->n_exemplars));
}

static void set_histogram(json_t *out, const OTLP_METRICS(HistogramDataPoint) * point)
{
    json_t *bounds = json_array();
    for (size_t i = 0; i < point->n_explicit_bounds; i++)
        json_array_append_new(bounds, describe_real(point->explicit_bounds[i]));
    SET_COMMON(out, point);
    SET_SUMMED(out, point);
    set(out, "bounds", bounds);
    set(out, "buckets", describe_counts(point->bucket_counts, point->n_bucket_counts));
}

static json_t *describe_range(const OTLP_METRICS(ExponentialHistogramDataPoint__Buckets) * range)
{
    return json_pack("{s:i, s:o}", "offset", range ? range->offset : 0, "buckets",
                     describe_counts(range ? range->bucket_counts : NULL, range ? range->n_bucket_counts : 0));
}

static void set_exponential(json_t *out, const OTLP_METRICS(ExponentialHistogramDataPoint) * point)
{
    SET_COMMON(out, point);
    SET_SUMMED(out, point);
    set(out, "scale", json_integer(point->scale));
    set(out, "zero_count", describe_count(point->zero_count));
    set(out, "zero_threshold", describe_real(point->zero_threshold));
    set(out, "positive", describe_range(point->positive));
    set(out, "negative", describe_range(point->negative));
}

static void set_summary(json_t *out, const OTLP_METRICS(SummaryDataPoint) * point)
{
    json_t *quantiles = json_array();
    for (size_t i = 0; i < point->n_quantile_values; i++)
        json_array_append_new(quantiles,
                              json_pack("{s:o, s:o}", "quantile", describe_real(point->quantile_values[i]->quantile),
                                        "value", describe_real(point->quantile_values[i]->value)));
    SET_COMMON(out, point);
    set(out, "count", describe_count(point->count));
    set(out, "sum", describe_real(point->sum));
    set(out, "quantiles", quantiles);
}

static const char *temporality_name(int temporality)
{
    static const char *const names[] = {"unspecified", "delta", "cumulative"};
    return temporality >= 0 && temporality < (int)array_count(names) ? names[temporality] : "unknown";
}

static void set_data(json_t *out, const OTLP_METRICS(Metric) * metric)
{
    const char *type = "gauge";
    int temporality = -1;
    switch ((int)metric->data_case) {
    case METRIC_CASE(GAUGE):
        set_number(out, metric->gauge->data_points[0]);
        break;
    case METRIC_CASE(SUM):
        type = "sum";
        temporality = (int)metric->sum->aggregation_temporality;
        set(out, "monotonic", json_boolean(metric->sum->is_monotonic));
        set_number(out, metric->sum->data_points[0]);
        break;
    case METRIC_CASE(HISTOGRAM):
        type = "histogram";
        temporality = (int)metric->histogram->aggregation_temporality;
        set_histogram(out, metric->histogram->data_points[0]);
        break;
    case METRIC_CASE(EXPONENTIAL_HISTOGRAM):
        type = "exponential_histogram";
        temporality = (int)metric->exponential_histogram->aggregation_temporality;
        set_exponential(out, metric->exponential_histogram->data_points[0]);
        break;
    default:
        type = "summary";
        set_summary(out, metric->summary->data_points[0]);
    }
    set(out, "type", json_string(type));
    if (temporality >= 0)
        set(out, "temporality", json_string(temporality_name(temporality)));
}

static void set_figure(json_t *out, const char *name, double value)
{
    if (!isnan(value))
        set(out, name, describe_real(value));
}

static json_t *describe_history(const struct series *series)
{
    json_t *history = json_array();
    for (unsigned i = 0; i < series->sample_count; i++) {
        const struct sample *sample = series_sample(series, i);
        json_t *json = json_pack("{s:I}", "time", (json_int_t)sample->time_ns);
        set_figure(json, "value", sample->value);
        set_figure(json, "rate", sample->rate);
        set_figure(json, "p50", sample->p50);
        set_figure(json, "p95", sample->p95);
        json_array_append_new(history, json);
    }
    return history;
}

json_t *describe_series(struct arena *arena, const struct series *series)
{
    json_t *out = json_object();
    const OTLP_METRICS(Metric) *metric = series_last(series, arena);
    if (!metric)
        return out;
    set(out, "name", describe_text(metric->name));
    set(out, "description", describe_text(metric->description));
    set(out, "unit", describe_text(metric->unit));
    set_data(out, metric);
    set(out, "metadata", describe_attributes(metric->metadata, metric->n_metadata));
    set(out, "updates", describe_count(series->updates));
    set(out, "history", describe_history(series));
    set_origin(out, arena, series->origin);
    return out;
}
