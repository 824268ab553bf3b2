/* The OTLP codec against an independent reader: what was encoded is decoded by code generated from proto/, and every
 * field is compared with the model. JSON must say the same as the binary form. */
#include <float.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "otel/export/items.h"
#include "otel/export/otlp.h"
#include "otel/export/print.h"
#include "otel/sdk/buffer.h"
#include "otlp_collector_logs.pb-c.h"
#include "otlp_collector_metrics.pb-c.h"
#include "otlp_collector_trace.pb-c.h"

#define OTLP(name)      Opentelemetry__Proto__##name
#define ANY_CASE(name)  OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_##name
#define METRIC_CASE(it) OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_##it

typedef OTLP(Common__V1__AnyValue) any_value;
typedef OTLP(Common__V1__KeyValue) key_value;

/* --- random records: few distinct ones of each kind, so that empty, zero and extreme ones all come */

static uint64_t seed;

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static unsigned draw_below(unsigned limit)
{
    return (unsigned)(draw() % limit);
}

static int64_t draw_integer(void)
{
    static const int64_t edges[] = {0, 1, -1, 127, 128, 16383, 16384, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    return draw() & 1 ? edges[draw_below(array_count(edges))] : (int64_t)(draw() >> draw_below(64));
}

static uint64_t draw_unsigned(void)
{
    return draw() >> draw_below(64);
}

static double draw_real(void)
{
    static const double edges[] = {0,       -0.0,         1,       0.1, -1.5,     1e300,
                                   DBL_MIN, DBL_TRUE_MIN, 1.0 / 3, NAN, INFINITY, -INFINITY};
    return draw() & 1 ? edges[draw_below(array_count(edges))] : (double)draw_integer() / 1e6;
}

static const char *draw_text(struct arena *arena)
{
    static const char *const pieces[] = {"a", "GET /api", "\"", "\\", "\n", "\x01", "\x7f", "ü", "€", "😀", "/", " "};
    char text[256] = "";
    for (unsigned i = draw_below(12); i-- > 0;)
        strcat(text, pieces[draw_below(array_count(pieces))]);
    if (draw_below(20) == 0)
        return arena_print(arena, "%0*d", 200, 7); /* a length of two bytes */
    return arena_text(arena, text, strlen(text));
}

static const char *draw_optional(struct arena *arena)
{
    return draw() & 1 ? draw_text(arena) : NULL;
}

static void draw_id(uint8_t *id, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        id[i] = (uint8_t)(draw() | 1);
}

static struct otel_attribute *draw_attributes(struct arena *arena, unsigned *out_count, unsigned depth);

static struct otel_value draw_value(struct arena *arena, unsigned depth)
{
    enum otel_type type = (enum otel_type)draw_below(depth < 3 ? OTEL_MAP + 1 : OTEL_BYTES + 1);
    struct otel_value value = {.type = type, .count = draw_below(4)};
    const char **texts = arena_array(arena, const char *, 4);
    bool *booleans = arena_array(arena, bool, 4);
    int64_t *integers = arena_array(arena, int64_t, 4);
    double *reals = arena_array(arena, double, 4);
    struct otel_value *values = arena_array(arena, struct otel_value, 4);
    for (unsigned i = 0; i < 4; i++) {
        texts[i] = draw_optional(arena);
        booleans[i] = draw() & 1;
        integers[i] = draw_integer();
        reals[i] = draw_real();
    }
    switch (type) {
    case OTEL_EMPTY:
        break;
    case OTEL_TEXT:
        return otel_value_text(draw_text(arena));
    case OTEL_BOOL:
        value.boolean = booleans[0];
        break;
    case OTEL_INT:
        value.integer = integers[0];
        break;
    case OTEL_REAL:
        value.real = reals[0];
        break;
    case OTEL_BYTES:
        value.bytes = (const uint8_t *)integers;
        value.count = draw_below(20);
        break;
    case OTEL_TEXTS:
        value.texts = texts;
        break;
    case OTEL_BOOLS:
        value.booleans = booleans;
        break;
    case OTEL_INTS:
        value.integers = integers;
        break;
    case OTEL_REALS:
        value.reals = reals;
        break;
    case OTEL_VALUES:
        for (unsigned i = 0; i < value.count; i++)
            values[i] = draw_value(arena, depth + 1);
        value.values = values;
        break;
    case OTEL_MAP:
        value.map = draw_attributes(arena, &value.count, depth + 1);
    }
    return value;
}

static struct otel_attribute *draw_attributes(struct arena *arena, unsigned *out_count, unsigned depth)
{
    *out_count = draw_below(5);
    struct otel_attribute *attributes = arena_array(arena, struct otel_attribute, *out_count);
    for (unsigned i = 0; i < *out_count; i++)
        attributes[i] = (struct otel_attribute){arena_print(arena, "key.%u", i), draw_value(arena, depth)};
    return attributes;
}

static const struct sdk_scope scopes[] = {
    {"one", NULL, NULL}, {"two", "1.2.3", NULL}, {"three", "", "https://example.org/schema/3"}, {"", NULL, NULL}};

static const struct sdk_scope *draw_scope(void)
{
    return &scopes[draw_below(array_count(scopes))];
}

static struct sdk_resource draw_resource(struct arena *arena)
{
    struct sdk_resource resource = {.schema_url = draw() & 1 ? "https://example.org/schema/1" : NULL};
    resource.attributes = draw_attributes(arena, &resource.attribute_count, 0);
    return resource;
}

static struct span_record *draw_span(struct arena *arena)
{
    struct span_record *span = arena_new(arena, struct span_record);
    span->scope = draw_scope();
    draw_id(span->trace_id, 16);
    draw_id(span->span_id, 8);
    if (draw() & 1)
        draw_id(span->parent_span_id, 8);
    span->flags = draw() & 1 ? (uint32_t)draw() : 0;
    span->state = draw_optional(arena);
    span->name = draw_text(arena);
    span->kind = (enum otel_span_kind)(1 + draw_below(5));
    span->start_wall_ns = draw_integer();
    span->end_wall_ns = draw_integer();
    span->attributes = draw_attributes(arena, &span->attribute_count, 0);
    span->attributes_dropped = draw_below(3);
    span->event_count = draw_below(3);
    span->events = arena_array(arena, struct event_record, span->event_count);
    for (unsigned i = 0; i < span->event_count; i++) {
        struct event_record *event = &span->events[i];
        *event = (struct event_record){draw_integer(), draw_text(arena), NULL, 0, draw_below(300)};
        event->attributes = draw_attributes(arena, &event->attribute_count, 0);
    }
    span->events_dropped = draw_below(3);
    span->link_count = draw_below(3);
    span->links = arena_array(arena, struct link_record, span->link_count);
    for (unsigned i = 0; i < span->link_count; i++) {
        struct link_record *link = &span->links[i];
        draw_id(link->trace_id, 16);
        draw_id(link->span_id, 8);
        link->flags = draw_below(2) * 0x301;
        link->state = draw_optional(arena);
        link->attributes = draw_attributes(arena, &link->attribute_count, 0);
        link->attributes_dropped = draw_below(3);
    }
    span->links_dropped = draw_below(3);
    span->status = (enum otel_status)draw_below(3);
    span->status_message = span->status == OTEL_STATUS_ERROR ? draw_optional(arena) : NULL;
    return span;
}

static struct log_record *draw_log(struct arena *arena)
{
    struct log_record *log = arena_new(arena, struct log_record);
    log->scope = draw_scope();
    log->time_wall_ns = draw_integer();
    log->observed_wall_ns = draw_integer();
    log->severity = (enum otel_severity)draw_below(25);
    log->severity_text = draw_optional(arena);
    log->event_name = draw_optional(arena);
    log->body = draw_value(arena, 0);
    log->attributes = draw_attributes(arena, &log->attribute_count, 0);
    log->attributes_dropped = draw_below(3);
    if (draw() & 1) {
        draw_id(log->trace_id, 16);
        draw_id(log->span_id, 8);
        log->flags = 1;
    }
    return log;
}

static struct exemplar *draw_exemplars(struct arena *arena, unsigned *out_count)
{
    *out_count = draw_below(3);
    struct exemplar *exemplars = arena_array(arena, struct exemplar, *out_count);
    for (unsigned i = 0; i < *out_count; i++) {
        struct exemplar *exemplar = &exemplars[i];
        exemplar->wall_ns = draw_integer();
        exemplar->value = draw_real();
        exemplar->integer = draw_integer();
        exemplar->attributes = draw_attributes(arena, &exemplar->attribute_count, 0);
        exemplar->has_trace = draw() & 1;
        draw_id(exemplar->trace_id, 16);
        draw_id(exemplar->span_id, 8);
    }
    return exemplars;
}

static uint64_t *draw_counts(struct arena *arena, unsigned count)
{
    uint64_t *counts = arena_array(arena, uint64_t, count);
    for (unsigned i = 0; i < count; i++)
        counts[i] = draw_unsigned();
    return counts;
}

static void draw_histogram(struct arena *arena, const struct metric *metric, struct metric_point *point)
{
    point->count = draw_unsigned();
    point->has_sum = draw() & 1;
    point->sum = draw_real();
    point->has_min_max = draw() & 1;
    point->min = draw_real();
    point->max = draw_real();
    if (metric->type == METRIC_HISTOGRAM && draw() & 1) {
        point->bucket_count = metric->bound_count + 1;
        point->buckets = draw_counts(arena, point->bucket_count);
    }
    point->scale = (int)draw_below(31) - 10;
    point->zero_count = draw_unsigned();
    point->zero_threshold = draw() & 1 ? 1e-9 : 0;
    point->positive_offset = (int)draw_below(3000) - 1500;
    point->negative_offset = (int)draw_below(3) - 1;
    point->positive_count = draw_below(161);
    point->negative_count = draw_below(3);
    point->positive = draw_counts(arena, point->positive_count);
    point->negative = draw_counts(arena, point->negative_count);
}

static struct metric draw_metric(struct arena *arena)
{
    static const double bounds[] = {-1, 0, 0.005, 5, 1e10};
    struct metric metric = {
        .scope = draw_scope(),
        .name = draw_text(arena),
        .description = draw_text(arena),
        .unit = "ms",
        .type = (enum metric_type)draw_below(4),
        .integer = draw() & 1,
        .monotonic = draw() & 1,
        .temporality = (enum temporality)(1 + draw_below(2)),
        .bounds = bounds,
        .bound_count = draw_below(array_count(bounds) + 1),
        .point_count = draw_below(4),
    };
    struct metric_point *points = arena_array(arena, struct metric_point, metric.point_count);
    metric.points = points;
    for (unsigned i = 0; i < metric.point_count; i++) {
        struct metric_point *point = &points[i];
        point->attributes = draw_attributes(arena, &point->attribute_count, 0);
        point->start_wall_ns = draw_integer();
        point->wall_ns = draw_integer();
        point->integer = draw_integer();
        point->real = draw_real();
        point->exemplars = draw_exemplars(arena, &point->exemplar_count);
        draw_histogram(arena, &metric, point);
    }
    return metric;
}

/* --- comparing the model with what was decoded */

static void same_text(const char *expected, const char *decoded)
{
    assert_string_equal(expected ? expected : "", decoded);
}

static void same_real(double expected, double decoded)
{
    assert_memory_equal(&expected, &decoded, sizeof expected);
}

static void same_id(const uint8_t *expected, bool there, unsigned bytes, ProtobufCBinaryData decoded)
{
    assert_int_equal(decoded.len, there ? bytes : 0);
    if (there)
        assert_memory_equal(expected, decoded.data, bytes);
}

static bool is_zero(const uint8_t *id, unsigned bytes)
{
    static const uint8_t zero[16];
    return memcmp(id, zero, bytes) == 0;
}

static void same_attributes(const struct otel_attribute *expected, unsigned count, key_value **decoded,
                            size_t decoded_count);

static void same_value(const struct otel_value *expected, const any_value *decoded);

static struct otel_value value_at(const struct otel_value *array, unsigned index)
{
    switch (array->type) {
    case OTEL_TEXTS:
        return otel_value_text(array->texts[index]);
    case OTEL_BOOLS:
        return otel_bool("", array->booleans[index]).value;
    case OTEL_INTS:
        return otel_int("", array->integers[index]).value;
    case OTEL_REALS:
        return otel_real("", array->reals[index]).value;
    default:
        return array->values[index];
    }
}

static void same_array(const struct otel_value *expected, const any_value *decoded)
{
    assert_int_equal(decoded->value_case, ANY_CASE(ARRAY_VALUE));
    assert_int_equal(decoded->array_value->n_values, expected->count);
    for (unsigned i = 0; i < expected->count; i++) {
        struct otel_value value = value_at(expected, i);
        same_value(&value, decoded->array_value->values[i]);
    }
}

static void same_value(const struct otel_value *expected, const any_value *decoded)
{
    assert_non_null(decoded);
    switch (expected->type) {
    case OTEL_EMPTY:
        assert_int_equal(decoded->value_case, ANY_CASE(_NOT_SET));
        break;
    case OTEL_TEXT:
        assert_int_equal(decoded->value_case, ANY_CASE(STRING_VALUE));
        assert_int_equal(strlen(decoded->string_value), expected->count);
        assert_memory_equal(expected->text, decoded->string_value, expected->count);
        break;
    case OTEL_BOOL:
        assert_int_equal(decoded->value_case, ANY_CASE(BOOL_VALUE));
        assert_int_equal(decoded->bool_value, expected->boolean);
        break;
    case OTEL_INT:
        assert_int_equal(decoded->value_case, ANY_CASE(INT_VALUE));
        assert_true(decoded->int_value == expected->integer);
        break;
    case OTEL_REAL:
        assert_int_equal(decoded->value_case, ANY_CASE(DOUBLE_VALUE));
        same_real(expected->real, decoded->double_value);
        break;
    case OTEL_BYTES:
        assert_int_equal(decoded->value_case, ANY_CASE(BYTES_VALUE));
        same_id(expected->bytes, true, expected->count, decoded->bytes_value);
        break;
    case OTEL_MAP:
        assert_int_equal(decoded->value_case, ANY_CASE(KVLIST_VALUE));
        same_attributes(expected->map, expected->count, decoded->kvlist_value->values, decoded->kvlist_value->n_values);
        break;
    default:
        same_array(expected, decoded);
    }
}

static void same_attributes(const struct otel_attribute *expected, unsigned count, key_value **decoded,
                            size_t decoded_count)
{
    assert_int_equal(decoded_count, count);
    for (unsigned i = 0; i < count; i++) {
        assert_string_equal(expected[i].key, decoded[i]->key);
        same_value(&expected[i].value, decoded[i]->value);
    }
}

static void same_scope(const struct sdk_scope *expected, const OTLP(Common__V1__InstrumentationScope) * decoded,
                       const char *schema_url)
{
    same_text(expected->name, decoded->name);
    same_text(expected->version, decoded->version);
    same_text(expected->schema_url, schema_url);
}

static void same_resource(const struct sdk_resource *expected, const OTLP(Resource__V1__Resource) * decoded,
                          const char *schema_url)
{
    same_attributes(expected->attributes, expected->attribute_count, decoded->attributes, decoded->n_attributes);
    same_text(expected->schema_url, schema_url);
}

static void same_span(const struct span_record *expected, const OTLP(Trace__V1__Span) * decoded)
{
    same_id(expected->trace_id, true, 16, decoded->trace_id);
    same_id(expected->span_id, true, 8, decoded->span_id);
    same_id(expected->parent_span_id, !is_zero(expected->parent_span_id, 8), 8, decoded->parent_span_id);
    same_text(expected->state, decoded->trace_state);
    same_text(expected->name, decoded->name);
    assert_int_equal(decoded->kind, expected->kind);
    assert_true(decoded->start_time_unix_nano == (uint64_t)expected->start_wall_ns);
    assert_true(decoded->end_time_unix_nano == (uint64_t)expected->end_wall_ns);
    assert_true(decoded->flags == expected->flags);
    same_attributes(expected->attributes, expected->attribute_count, decoded->attributes, decoded->n_attributes);
    assert_int_equal(decoded->dropped_attributes_count, expected->attributes_dropped);
    assert_int_equal(decoded->dropped_events_count, expected->events_dropped);
    assert_int_equal(decoded->dropped_links_count, expected->links_dropped);
    assert_int_equal(decoded->n_events, expected->event_count);
    for (unsigned i = 0; i < expected->event_count; i++) {
        const struct event_record *event = &expected->events[i];
        assert_true(decoded->events[i]->time_unix_nano == (uint64_t)event->wall_ns);
        same_text(event->name, decoded->events[i]->name);
        same_attributes(event->attributes, event->attribute_count, decoded->events[i]->attributes,
                        decoded->events[i]->n_attributes);
        assert_int_equal(decoded->events[i]->dropped_attributes_count, event->attributes_dropped);
    }
    assert_int_equal(decoded->n_links, expected->link_count);
    for (unsigned i = 0; i < expected->link_count; i++) {
        const struct link_record *link = &expected->links[i];
        same_id(link->trace_id, true, 16, decoded->links[i]->trace_id);
        same_id(link->span_id, true, 8, decoded->links[i]->span_id);
        same_text(link->state, decoded->links[i]->trace_state);
        same_attributes(link->attributes, link->attribute_count, decoded->links[i]->attributes,
                        decoded->links[i]->n_attributes);
        assert_int_equal(decoded->links[i]->dropped_attributes_count, link->attributes_dropped);
        assert_int_equal(decoded->links[i]->flags, link->flags);
    }
    assert_int_equal(decoded->status ? (int)decoded->status->code : 0, expected->status);
    same_text(expected->status_message, decoded->status ? decoded->status->message : "");
}

static void same_log(const struct log_record *expected, const OTLP(Logs__V1__LogRecord) * decoded)
{
    assert_true(decoded->time_unix_nano == (uint64_t)expected->time_wall_ns);
    assert_true(decoded->observed_time_unix_nano == (uint64_t)expected->observed_wall_ns);
    assert_int_equal(decoded->severity_number, expected->severity);
    same_text(expected->severity_text, decoded->severity_text);
    same_text(expected->event_name, decoded->event_name);
    if (expected->body.type == OTEL_EMPTY)
        assert_null(decoded->body);
    else
        same_value(&expected->body, decoded->body);
    same_attributes(expected->attributes, expected->attribute_count, decoded->attributes, decoded->n_attributes);
    assert_int_equal(decoded->dropped_attributes_count, expected->attributes_dropped);
    same_id(expected->trace_id, !is_zero(expected->trace_id, 16), 16, decoded->trace_id);
    same_id(expected->span_id, !is_zero(expected->span_id, 8), 8, decoded->span_id);
    assert_int_equal(decoded->flags, expected->flags);
}

static void same_exemplars(const struct metric_point *expected, bool integer, OTLP(Metrics__V1__Exemplar) * *decoded,
                           size_t count)
{
    assert_int_equal(count, expected->exemplar_count);
    for (unsigned i = 0; i < count; i++) {
        const struct exemplar *exemplar = &expected->exemplars[i];
        assert_true(decoded[i]->time_unix_nano == (uint64_t)exemplar->wall_ns);
        same_attributes(exemplar->attributes, exemplar->attribute_count, decoded[i]->filtered_attributes,
                        decoded[i]->n_filtered_attributes);
        same_id(exemplar->trace_id, exemplar->has_trace, 16, decoded[i]->trace_id);
        same_id(exemplar->span_id, exemplar->has_trace, 8, decoded[i]->span_id);
        if (integer)
            assert_true(decoded[i]->as_int == exemplar->integer);
        else
            same_real(exemplar->value, decoded[i]->as_double);
        assert_int_equal(decoded[i]->value_case, integer
                                                     ? OPENTELEMETRY__PROTO__METRICS__V1__EXEMPLAR__VALUE_AS_INT
                                                     : OPENTELEMETRY__PROTO__METRICS__V1__EXEMPLAR__VALUE_AS_DOUBLE);
    }
}

static void same_number(const struct metric *metric, const struct metric_point *expected,
                        const OTLP(Metrics__V1__NumberDataPoint) * decoded)
{
    assert_true(decoded->start_time_unix_nano == (uint64_t)expected->start_wall_ns);
    assert_true(decoded->time_unix_nano == (uint64_t)expected->wall_ns);
    same_attributes(expected->attributes, expected->attribute_count, decoded->attributes, decoded->n_attributes);
    same_exemplars(expected, metric->integer, decoded->exemplars, decoded->n_exemplars);
    if (metric->integer) {
        assert_int_equal(decoded->value_case, OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_INT);
        assert_true(decoded->as_int == expected->integer);
    } else {
        assert_int_equal(decoded->value_case, OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_DOUBLE);
        same_real(expected->real, decoded->as_double);
    }
}

#define SAME_SUMMARY(expected, decoded)                                                                                \
    do {                                                                                                               \
        assert_true((decoded)->start_time_unix_nano == (uint64_t)(expected)->start_wall_ns);                           \
        assert_true((decoded)->time_unix_nano == (uint64_t)(expected)->wall_ns);                                       \
        assert_true((decoded)->count == (expected)->count);                                                            \
        same_attributes((expected)->attributes, (expected)->attribute_count, (decoded)->attributes,                    \
                        (decoded)->n_attributes);                                                                      \
        same_exemplars((expected), false, (decoded)->exemplars, (decoded)->n_exemplars);                               \
        assert_int_equal((decoded)->_sum_case != 0, (expected)->has_sum);                                              \
        assert_int_equal((decoded)->_min_case != 0, (expected)->has_min_max);                                          \
        assert_int_equal((decoded)->_max_case != 0, (expected)->has_min_max);                                          \
        if ((expected)->has_sum)                                                                                       \
            same_real((expected)->sum, (decoded)->sum);                                                                \
        if ((expected)->has_min_max)                                                                                   \
            same_real((expected)->min, (decoded)->min);                                                                \
        if ((expected)->has_min_max)                                                                                   \
            same_real((expected)->max, (decoded)->max);                                                                \
    } while (0)

static void same_counts(const uint64_t *expected, unsigned count, const uint64_t *decoded, size_t decoded_count)
{
    assert_int_equal(decoded_count, count);
    if (count)
        assert_memory_equal(expected, decoded, count * sizeof *expected);
}

static void same_histogram(const struct metric *metric, const struct metric_point *expected,
                           const OTLP(Metrics__V1__HistogramDataPoint) * decoded)
{
    SAME_SUMMARY(expected, decoded);
    same_counts(expected->buckets, expected->bucket_count, decoded->bucket_counts, decoded->n_bucket_counts);
    assert_int_equal(decoded->n_explicit_bounds, expected->buckets ? metric->bound_count : 0);
    if (decoded->n_explicit_bounds)
        assert_memory_equal(metric->bounds, decoded->explicit_bounds, metric->bound_count * sizeof(double));
}

static void same_exponential(const struct metric_point *expected,
                             const OTLP(Metrics__V1__ExponentialHistogramDataPoint) * decoded)
{
    SAME_SUMMARY(expected, decoded);
    assert_int_equal(decoded->scale, expected->scale);
    assert_true(decoded->zero_count == expected->zero_count);
    same_real(expected->zero_threshold, decoded->zero_threshold);
    if (expected->positive_count) {
        assert_int_equal(decoded->positive->offset, expected->positive_offset);
        same_counts(expected->positive, expected->positive_count, decoded->positive->bucket_counts,
                    decoded->positive->n_bucket_counts);
    }
    if (expected->negative_count) {
        assert_int_equal(decoded->negative->offset, expected->negative_offset);
        same_counts(expected->negative, expected->negative_count, decoded->negative->bucket_counts,
                    decoded->negative->n_bucket_counts);
    }
}

static void same_metric(const struct metric *expected, const OTLP(Metrics__V1__Metric) * decoded)
{
    same_text(expected->name, decoded->name);
    same_text(expected->description, decoded->description);
    same_text(expected->unit, decoded->unit);
    size_t count = expected->point_count;
    switch (expected->type) {
    case METRIC_GAUGE:
        assert_int_equal(decoded->data_case, METRIC_CASE(GAUGE));
        assert_int_equal(decoded->gauge->n_data_points, count);
        for (size_t i = 0; i < count; i++)
            same_number(expected, &expected->points[i], decoded->gauge->data_points[i]);
        break;
    case METRIC_SUM:
        assert_int_equal(decoded->data_case, METRIC_CASE(SUM));
        assert_int_equal(decoded->sum->n_data_points, count);
        assert_int_equal(decoded->sum->aggregation_temporality, expected->temporality);
        assert_int_equal(decoded->sum->is_monotonic, expected->monotonic);
        for (size_t i = 0; i < count; i++)
            same_number(expected, &expected->points[i], decoded->sum->data_points[i]);
        break;
    case METRIC_HISTOGRAM:
        assert_int_equal(decoded->data_case, METRIC_CASE(HISTOGRAM));
        assert_int_equal(decoded->histogram->n_data_points, count);
        assert_int_equal(decoded->histogram->aggregation_temporality, expected->temporality);
        for (size_t i = 0; i < count; i++)
            same_histogram(expected, &expected->points[i], decoded->histogram->data_points[i]);
        break;
    case METRIC_EXPONENTIAL:
        assert_int_equal(decoded->data_case, METRIC_CASE(EXPONENTIAL_HISTOGRAM));
        assert_int_equal(decoded->exponential_histogram->n_data_points, count);
        assert_int_equal(decoded->exponential_histogram->aggregation_temporality, expected->temporality);
        for (size_t i = 0; i < count; i++)
            same_exponential(&expected->points[i], decoded->exponential_histogram->data_points[i]);
    }
}

/* --- the binary form as JSON, by reflection: what the JSON encoder has to say too */

static json_t *json_of_message(const ProtobufCMessage *message);

static void camel_case(const char *name, char *out)
{
    for (; *name; name++)
        *out++ = *name == '_' ? (char)(*++name - 'a' + 'A') : *name;
    *out = '\0';
}

static json_t *json_of_unsigned(uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return json_string(text);
}

static json_t *json_of_signed(int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return json_string(text);
}

static json_t *json_of_real(double value)
{
    if (isfinite(value))
        return json_real(value);
    return json_string(isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
}

static json_t *json_of_bytes(const ProtobufCBinaryData *data, bool hex)
{
    struct buffer text = {0};
    if (hex)
        print_hex(&text, data->data, data->len);
    else
        print_base64(&text, data->data, data->len);
    json_t *json = json_stringn(text.size ? (const char *)text.data : "", text.size);
    buffer_free(&text);
    return json;
}

static json_t *json_of_value(const ProtobufCFieldDescriptor *field, const void *value)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return json_of_message(*(ProtobufCMessage *const *)value);
    case PROTOBUF_C_TYPE_STRING:
        return json_string(*(char *const *)value);
    case PROTOBUF_C_TYPE_BYTES:
        return json_of_bytes(value, strstr(field->name, "_id") != NULL);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_of_real(*(const double *)value);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)value);
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_UINT64:
        return json_of_unsigned(*(const uint64_t *)value);
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_INT64:
        return json_of_signed(*(const int64_t *)value);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer(*(const uint32_t *)value);
    default:
        return json_integer(*(const int32_t *)value);
    }
}

static size_t bytes_of_value(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(void *);
    default: /* repeated numbers have 64 bits in OTLP */
        return 8;
    }
}

static bool is_default(const ProtobufCFieldDescriptor *field, const void *value)
{
    static const char zero[16];
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(void *const *)value == NULL;
    case PROTOBUF_C_TYPE_STRING:
        return **(char *const *)value == '\0';
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)value)->len == 0;
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_INT64:
        return memcmp(value, zero, 8) == 0;
    default:
        return memcmp(value, zero, 4) == 0;
    }
}

static json_t *json_of_list(const ProtobufCFieldDescriptor *field, const char *items, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_of_value(field, items + i * bytes_of_value(field)));
    return list;
}

static json_t *json_of_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *base = (const char *)message;
    const char *value = base + field->offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count = *(const size_t *)(base + field->quantifier_offset);
        /* The elements of an array are said even when there are none. */
        bool always = strcmp(field->name, "values") == 0;
        return count || always ? json_of_list(field, *(char *const *)value, count) : NULL;
    }
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(base + field->quantifier_offset) == field->id ? json_of_value(field, value) : NULL;
    return is_default(field, value) ? NULL : json_of_value(field, value);
}

static json_t *json_of_message(const ProtobufCMessage *message)
{
    json_t *object = json_object();
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        json_t *value = json_of_field(message, field);
        char name[128];
        camel_case(field->name, name);
        if (value)
            json_object_set_new(object, name, value);
    }
    return object;
}

static void same_json(const json_t *expected, const json_t *found)
{
    assert_non_null(found);
    if (json_is_number(expected)) {
        assert_true(json_is_number(found));
        same_real(json_number_value(expected), json_number_value(found));
        return;
    }
    assert_int_equal(json_typeof(found), json_typeof(expected));
    if (json_is_object(expected)) {
        const char *name;
        json_t *member;
        assert_int_equal(json_object_size(found), json_object_size(expected));
        json_object_foreach((json_t *)(uintptr_t)expected, name, member)
            same_json(member, json_object_get(found, name));
    } else if (json_is_array(expected)) {
        assert_int_equal(json_array_size(found), json_array_size(expected));
        for (size_t i = 0; i < json_array_size(expected); i++)
            same_json(json_array_get(expected, i), json_array_get(found, i));
    } else {
        assert_true(json_equal(expected, found));
    }
}

static void json_says_the_same(const struct export_batch *batch, const ProtobufCMessage *decoded)
{
    struct buffer text = {0};
    otlp_encode_json(&text, batch);
    assert_null(memchr(text.data, '\n', text.size));
    json_error_t error;
    json_t *found = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!found)
        fail_msg("%s at %d: %.*s", error.text, error.position, (int)text.size, text.data);
    json_t *expected = json_of_message(decoded);
    same_json(expected, found);
    json_decref(expected);
    json_decref(found);
    buffer_free(&text);
}

/* --- round trips */

enum { ROUNDS = 300, RECORDS_MAX = 40 };

static void check_spans(const struct export_batch *batch, const struct buffer *encoded)
{
    OTLP(Collector__Trace__V1__ExportTraceServiceRequest) *decoded =
        opentelemetry__proto__collector__trace__v1__export_trace_service_request__unpack(NULL, encoded->size,
                                                                                         encoded->data);
    assert_non_null(decoded);
    assert_int_equal(decoded->n_resource_spans, 1);
    const OTLP(Trace__V1__ResourceSpans) *resource = decoded->resource_spans[0];
    same_resource(batch->resource, resource->resource, resource->schema_url);
    size_t seen = 0;
    for (size_t s = 0; s < array_count(scopes); s++) {
        const OTLP(Trace__V1__ScopeSpans) *group = NULL;
        for (size_t i = 0; i < resource->n_scope_spans; i++)
            if (strcmp(resource->scope_spans[i]->scope->name, scopes[s].name) == 0)
                group = resource->scope_spans[i];
        size_t next = 0;
        for (unsigned i = 0; i < batch->count; i++) {
            if (batch->spans[i]->scope != &scopes[s])
                continue;
            assert_non_null(group);
            same_scope(&scopes[s], group->scope, group->schema_url);
            assert_true(next < group->n_spans);
            same_span(batch->spans[i], group->spans[next++]);
        }
        assert_int_equal(next, group ? group->n_spans : 0);
        seen += next;
    }
    assert_int_equal(seen, batch->count);
    json_says_the_same(batch, &decoded->base);
    protobuf_c_message_free_unpacked(&decoded->base, NULL);
}

static void check_logs(const struct export_batch *batch, const struct buffer *encoded)
{
    OTLP(Collector__Logs__V1__ExportLogsServiceRequest) *decoded =
        opentelemetry__proto__collector__logs__v1__export_logs_service_request__unpack(NULL, encoded->size,
                                                                                       encoded->data);
    assert_non_null(decoded);
    const OTLP(Logs__V1__ResourceLogs) *resource = decoded->resource_logs[0];
    same_resource(batch->resource, resource->resource, resource->schema_url);
    size_t seen = 0;
    for (size_t g = 0; g < resource->n_scope_logs; g++) {
        const OTLP(Logs__V1__ScopeLogs) *group = resource->scope_logs[g];
        size_t next = 0;
        for (unsigned i = 0; i < batch->count; i++) {
            if (strcmp(batch->logs[i]->scope->name, group->scope->name) != 0)
                continue;
            same_scope(batch->logs[i]->scope, group->scope, group->schema_url);
            same_log(batch->logs[i], group->log_records[next++]);
        }
        assert_int_equal(next, group->n_log_records);
        seen += next;
    }
    assert_int_equal(seen, batch->count);
    json_says_the_same(batch, &decoded->base);
    protobuf_c_message_free_unpacked(&decoded->base, NULL);
}

static void check_metrics(const struct export_batch *batch, const struct buffer *encoded)
{
    OTLP(Collector__Metrics__V1__ExportMetricsServiceRequest) *decoded =
        opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__unpack(NULL, encoded->size,
                                                                                             encoded->data);
    assert_non_null(decoded);
    const OTLP(Metrics__V1__ResourceMetrics) *resource = decoded->resource_metrics[0];
    same_resource(batch->resource, resource->resource, resource->schema_url);
    for (size_t g = 0; g < resource->n_scope_metrics; g++) {
        const OTLP(Metrics__V1__ScopeMetrics) *group = resource->scope_metrics[g];
        size_t next = 0;
        for (unsigned i = 0; i < batch->count; i++) {
            if (strcmp(batch->metrics[i].scope->name, group->scope->name) != 0 || batch->metrics[i].point_count == 0)
                continue;
            same_scope(batch->metrics[i].scope, group->scope, group->schema_url);
            same_metric(&batch->metrics[i], group->metrics[next++]);
        }
        assert_int_equal(next, group->n_metrics);
    }
    json_says_the_same(batch, &decoded->base);
    protobuf_c_message_free_unpacked(&decoded->base, NULL);
}

/* Read back and encoded once more, it is the same to the last byte. */
static struct encoded_record *there_and_back(enum signal signal, const struct encoded_record *record)
{
    struct span_record span = {0};
    struct log_record log = {0};
    struct arena *arena = signal == SIGNAL_TRACES ? &span.arena : &log.arena;
    arena_init(arena, 4096);
    if (signal == SIGNAL_TRACES)
        encoded_read_span(record, &span);
    else
        encoded_read_log(record, &log);
    struct encoded_record *again = signal == SIGNAL_TRACES ? encoded_span(&span, 1) : encoded_log(&log, 1);
    arena_done(arena);
    return again;
}

static void release(struct encoded_record *record)
{
    void *released = record;
    encoded_release(&released, 1);
}

static void assert_read_back(enum signal signal, const struct encoded_record *record)
{
    struct encoded_record *again = there_and_back(signal, record);
    assert_ptr_equal(again->scope, record->scope);
    assert_int_equal(again->size, record->size);
    assert_memory_equal(again->bytes, record->bytes, record->size);
    release(again);
}

/* Behind what out holds. */
static void encode(struct buffer *out, const struct export_batch *batch)
{
    struct otlp_request request = {0};
    struct buffer room = {0};
    otlp_encode(&request, batch);
    struct otlp_message message = otlp_join(&request, &room);
    assert_int_equal(message.size, request.size);
    buffer_add(out, message.data, message.size);
    buffer_free(&room);
    otlp_request_free(&request);
}

/* Records that were encoded one by one make the same message. */
static void encoded_before_is_the_same(const struct export_batch *batch, const struct buffer *expected)
{
    struct encoded_record *records[RECORDS_MAX];
    struct export_batch before = *batch;
    struct buffer out = {0};
    before.encoded = true;
    before.records = records;
    for (unsigned i = 0; i < batch->count; i++)
        records[i] = batch->signal == SIGNAL_TRACES ? encoded_span(batch->spans[i], 1) : encoded_log(batch->logs[i], 1);
    encode(&out, &before);
    assert_int_equal(out.size, expected->size);
    assert_memory_equal(out.data, expected->data, out.size);
    for (unsigned i = 0; i < batch->count; i++) {
        assert_read_back(batch->signal, records[i]);
    }
    encoded_release((void *const *)records, batch->count);
    buffer_free(&out);
}

static void round_trip(enum signal signal, void (*check)(const struct export_batch *, const struct buffer *))
{
    seed = 0x9e3779b97f4a7c15;
    struct arena arena;
    arena_init(&arena, 65536);
    struct buffer encoded = {0};
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct sdk_resource resource = draw_resource(&arena);
        struct span_record *spans[RECORDS_MAX];
        struct log_record *logs[RECORDS_MAX];
        struct metric metrics[RECORDS_MAX];
        struct export_batch batch = {.signal = signal, .resource = &resource, .count = 1 + draw_below(RECORDS_MAX)};
        for (unsigned i = 0; i < batch.count; i++) {
            spans[i] = draw_span(&arena);
            logs[i] = draw_log(&arena);
            metrics[i] = draw_metric(&arena);
        }
        if (signal == SIGNAL_TRACES)
            batch.spans = spans;
        else if (signal == SIGNAL_LOGS)
            batch.logs = logs;
        else
            batch.metrics = metrics;
        buffer_reset(&encoded);
        encode(&encoded, &batch);
        if (signal != SIGNAL_METRICS)
            encoded_before_is_the_same(&batch, &encoded);
        if (batch_items(&batch) > 0)
            check(&batch, &encoded);
        else
            assert_int_equal(encoded.size, 0);
        arena_reset(&arena);
    }
    buffer_free(&encoded);
    arena_done(&arena);
}

static void test_every_field_of_a_span_arrives(void **state)
{
    (void)state;
    round_trip(SIGNAL_TRACES, check_spans);
}

static void test_every_field_of_a_log_record_arrives(void **state)
{
    (void)state;
    round_trip(SIGNAL_LOGS, check_logs);
}

static void test_every_field_of_a_metric_arrives(void **state)
{
    (void)state;
    round_trip(SIGNAL_METRICS, check_metrics);
}

/* --- particular cases */

static const struct sdk_resource no_resource = {0};

static void test_a_batch_of_nothing_is_no_bytes(void **state)
{
    (void)state;
    struct metric metric = {.scope = &scopes[0], .name = "empty", .description = "", .unit = ""};
    struct buffer out = {0};
    struct export_batch batch = {.signal = SIGNAL_METRICS, .resource = &no_resource, .count = 1, .metrics = &metric};
    encode(&out, &batch);
    otlp_encode_json(&out, &batch);
    batch.count = 0;
    encode(&out, &batch);
    otlp_encode_json(&out, &batch);
    assert_int_equal(out.size, 0);
    buffer_free(&out);
}

static void test_a_room_is_used_for_one_message_after_the_other(void **state)
{
    (void)state;
    seed = 7;
    struct arena arena;
    arena_init(&arena, 65536);
    struct log_record *logs[64];
    for (unsigned i = 0; i < array_count(logs); i++)
        logs[i] = draw_log(&arena);
    struct export_batch batch = {.signal = SIGNAL_LOGS, .resource = &no_resource, .count = 1, .logs = logs};
    struct otlp_request request = {0};
    struct buffer once = {0};
    for (; batch.count <= array_count(logs); batch.count++) {
        otlp_encode(&request, &batch);
        buffer_reset(&once);
        encode(&once, &batch);
        assert_int_equal(request.count, 1);
        assert_int_equal(request.size, once.size);
        assert_memory_equal(request.pieces[0].data, once.data, once.size);
    }
    buffer_free(&once);
    otlp_request_free(&request);
    arena_done(&arena);
}

/* --- encoded records' memory */

enum { MAKERS = 3, MADE_EACH = 20000, KEPT = 512 };

/* True: it was taken as it is, and says what otlp_put_log() would have said. */
static bool plain(const struct log_record *log, unsigned count_max, int length_max)
{
    const struct limit_settings limits = {.attribute_count = count_max, .attribute_value_length = length_max};
    struct encoded_record *record = encoded_plain_log(log, &limits, 1);
    if (!record)
        return false;
    struct encoded_record *usual = encoded_log(log, 1);
    assert_int_equal(record->size, usual->size);
    assert_memory_equal(record->bytes, usual->bytes, usual->size);
    release(usual);
    release(record);
    return true;
}

static bool attributes_plain(const struct otel_attribute *attributes, unsigned count)
{
    return plain(&(struct log_record){.scope = &scopes[0], .attributes = attributes, .attribute_count = count}, 5, 5);
}

static void test_what_needs_no_copy_is_told_from_what_does(void **state)
{
    (void)state;
    const struct otel_attribute many[] = {otel_text("aaaaaaaa.1", "12345"), otel_int("aaaaaaaa.2", 1),
                                          otel_real("c", 1), otel_bool("d", true), otel_text("e", "")};
    const struct log_record whole = {.scope = &scopes[0],
                                     .time_wall_ns = 1,
                                     .observed_wall_ns = 2,
                                     .severity = OTEL_INFO,
                                     .severity_text = "info",
                                     .event_name = "event",
                                     .body = otel_value_text("what was said, longer than a limit of attributes"),
                                     .attributes = many,
                                     .attribute_count = 5,
                                     .attributes_dropped = 3,
                                     .trace_id = {1},
                                     .span_id = {2},
                                     .flags = 1};
    struct log_record other = whole;
    assert_true(plain(&whole, 5, 5));
    assert_true(plain(&whole, 5, -1));
    assert_false(plain(&whole, 4, 5));
    assert_false(plain(&whole, 5, 4));
    assert_true(attributes_plain(NULL, 0));
    assert_false(attributes_plain(OTEL_LIST(otel_int("a", 1), otel_int("a", 2))));
    assert_false(attributes_plain(OTEL_LIST(otel_int("", 1))));
    assert_false(attributes_plain(OTEL_LIST(otel_int(NULL, 1))));
    assert_false(attributes_plain(OTEL_LIST(otel_int("12345678\xff", 1))));
    assert_false(attributes_plain(OTEL_LIST(otel_text("a", "\xff"))));
    assert_false(attributes_plain(OTEL_LIST(otel_bytes("a", "b", 1))));
    other.severity_text = "na\xc3\xafve";
    assert_false(plain(&other, 5, 5));
    other = whole;
    other.event_name = "caf\xc3\xa9";
    assert_false(plain(&other, 5, 5));
    other = whole;
    other.body = otel_value_text("\xff");
    assert_false(plain(&other, 5, 5));
}

/* --- a message of records where they lie */

enum { OF_EACH = 100 };

struct numbered {
    int64_t first;
    void *records[OF_EACH];
};

/* Records of one thread, each with a time of its own. */
static void *make_numbered(void *arg)
{
    struct numbered *numbered = arg;
    for (int i = 0; i < OF_EACH; i++) {
        struct log_record log = {
            .scope = &scopes[0], .time_wall_ns = numbered->first + i, .body = otel_value_text("as it was")};
        numbered->records[i] = encoded_log(&log, 1);
    }
    return NULL;
}

/* Two threads' records that came in turns, all but one in ten, which another exporter's queue had no room for. */
static unsigned take_turns(void **out)
{
    struct numbered of[2] = {{.first = 1}, {.first = 1 + OF_EACH}};
    unsigned count = 0;
    pthread_t maker;
    for (int i = 0; i < 2; i++) {
        pthread_create(&maker, NULL, make_numbered, &of[i]);
        pthread_join(maker, NULL);
    }
    for (int i = 0; i < OF_EACH; i++) {
        for (int j = 0; j < 2; j++) {
            if (i % 10 == 9)
                encoded_release(&of[j].records[i], 1);
            else
                out[count++] = of[j].records[i];
        }
    }
    return count;
}

static void has_each_once(const struct otlp_request *request, unsigned count)
{
    struct buffer room = {0};
    bool seen[2 * OF_EACH + 1] = {false};
    struct otlp_message message = otlp_join(request, &room);
    assert_int_equal(message.size, request->size);
    OTLP(Collector__Logs__V1__ExportLogsServiceRequest) *decoded =
        opentelemetry__proto__collector__logs__v1__export_logs_service_request__unpack(NULL, message.size,
                                                                                       message.data);
    assert_non_null(decoded);
    const OTLP(Logs__V1__ScopeLogs) *group = decoded->resource_logs[0]->scope_logs[0];
    same_scope(&scopes[0], group->scope, group->schema_url);
    assert_int_equal(group->n_log_records, count);
    for (unsigned i = 0; i < count; i++) {
        uint64_t number = group->log_records[i]->time_unix_nano;
        assert_true(number >= 1 && number <= 2 * OF_EACH && !seen[number]);
        seen[number] = true;
        assert_string_equal(group->log_records[i]->body->string_value, "as it was");
    }
    protobuf_c_message_free_unpacked(&decoded->base, NULL);
    buffer_free(&room);
}

/* Fills the memory that has been given back. */
static void write_over(void)
{
    enum { MANY = 5000 };
    static void *records[MANY];
    struct log_record log = {.scope = &scopes[1], .body = otel_value_text("something else")};
    for (int i = 0; i < MANY; i++)
        records[i] = encoded_log(&log, 1);
    encoded_release(records, MANY);
}

static void test_a_message_is_sent_from_where_its_records_lie(void **state)
{
    (void)state;
    void *records[2 * OF_EACH];
    unsigned count = take_turns(records);
    struct otlp_request request = {0};
    otlp_encode(&request, &(struct export_batch){.signal = SIGNAL_LOGS,
                                                 .resource = &no_resource,
                                                 .encoded = true,
                                                 .count = count,
                                                 .records = (struct encoded_record *const *)records});
    has_each_once(&request, count);
    assert_true(request.count <= 2 * (OF_EACH / 10) + 2); /* runs, and what is around them */
    for (unsigned i = 0; i < request.count; i++)
        if (request.pieces[i].chunk)
            encoded_hold(request.pieces[i].chunk);
    encoded_release(records, count);
    write_over();
    has_each_once(&request, count);
    for (unsigned i = 0; i < request.count; i++)
        if (request.pieces[i].chunk)
            encoded_let_go(request.pieces[i].chunk);
    otlp_request_free(&request);
}

/* --- records of many threads */

static _Atomic(struct encoded_record *) kept[MAKERS][KEPT];

/* Texts of all sizes, some beyond what a chunk of memory takes. */
static void *make_records(void *arg)
{
    _Atomic(struct encoded_record *) *place = arg;
    static char text[300000];
    for (unsigned i = 0; i < MADE_EACH; i++) {
        uint32_t size = i % 1000 == 999 ? sizeof text : i % 700;
        struct log_record log = {.scope = &scopes[i % 2], .body = {.type = OTEL_TEXT, .count = size, .text = text}};
        struct encoded_record *old = atomic_exchange(&place[i % KEPT], encoded_log(&log, 2));
        for (int user = 0; old && user < 2; user++)
            release(old);
    }
    return NULL;
}

/* The other side: takes whatever lies there, looks and lets go. */
static void *take_records(void *arg)
{
    atomic_bool *stop = arg;
    unsigned bad = 0;
    for (unsigned i = 0; !atomic_load(stop); i++) {
        struct encoded_record *record = atomic_exchange(&kept[i % MAKERS][i / MAKERS % KEPT], NULL);
        if (!record)
            continue;
        bad += record->bytes[0] != (OTLP_SCOPE_RECORDS << 3 | WIRE_BYTES);
        encoded_release((void *[]){record, record}, 2);
    }
    return (void *)(uintptr_t)bad;
}

static void test_encoded_records_of_many_threads_are_released_by_others(void **state)
{
    (void)state;
    pthread_t makers[MAKERS], taker;
    atomic_bool stop = false;
    void *bad;
    pthread_create(&taker, NULL, take_records, &stop);
    for (unsigned i = 0; i < MAKERS; i++)
        pthread_create(&makers[i], NULL, make_records, kept[i]);
    for (unsigned i = 0; i < MAKERS; i++)
        pthread_join(makers[i], NULL);
    atomic_store(&stop, true);
    pthread_join(taker, &bad);
    assert_null(bad);
    static void *rest[MAKERS * KEPT];
    unsigned count = 0;
    for (unsigned i = 0; i < MAKERS * KEPT; i++)
        if (kept[i / KEPT][i % KEPT])
            rest[count++] = kept[i / KEPT][i % KEPT];
    encoded_release(rest, count);
    encoded_release(rest, count);
}

static void test_values_nested_too_deep_become_empty(void **state)
{
    (void)state;
    enum { LEVELS = 40 };
    struct otel_value nested[LEVELS];
    nested[0] = otel_value_text("at the bottom");
    for (unsigned i = 1; i < LEVELS; i++)
        nested[i] = (struct otel_value){.type = OTEL_VALUES, .count = 1, .values = &nested[i - 1]};
    struct log_record log = {.scope = &scopes[0], .body = nested[LEVELS - 1]};
    struct log_record *logs[] = {&log};
    struct export_batch batch = {.signal = SIGNAL_LOGS, .resource = &no_resource, .count = 1, .logs = logs};
    struct buffer out = {0};
    encode(&out, &batch);
    OTLP(Collector__Logs__V1__ExportLogsServiceRequest) *decoded =
        opentelemetry__proto__collector__logs__v1__export_logs_service_request__unpack(NULL, out.size, out.data);
    assert_non_null(decoded);
    const any_value *value = decoded->resource_logs[0]->scope_logs[0]->log_records[0]->body;
    unsigned depth = 0;
    while (value->array_value->n_values > 0) {
        value = value->array_value->values[0];
        depth++;
    }
    assert_int_equal(depth, OTEL_DEPTH_MAX);
    json_says_the_same(&batch, &decoded->base);
    protobuf_c_message_free_unpacked(&decoded->base, NULL);
    buffer_free(&out);
}

static void json_text_is(struct otel_value body, const char *expected)
{
    struct log_record log = {.scope = &scopes[0], .body = body};
    struct log_record *logs[] = {&log};
    struct export_batch batch = {.signal = SIGNAL_LOGS, .resource = &no_resource, .count = 1, .logs = logs};
    struct buffer out = {0};
    otlp_encode_json(&out, &batch);
    buffer_char(&out, '\0');
    assert_non_null(strstr((const char *)out.data, expected));
    buffer_free(&out);
}

static void test_json_is_as_the_protocol_writes_it(void **state)
{
    (void)state;
    json_text_is(otel_int("", INT64_MIN).value, "\"body\":{\"intValue\":\"-9223372036854775808\"}");
    json_text_is(otel_real("", 0.1).value, "\"body\":{\"doubleValue\":0.1}");
    json_text_is(otel_real("", -INFINITY).value, "\"body\":{\"doubleValue\":\"-Infinity\"}");
    json_text_is(otel_bytes("", "\x00\xff", 2).value, "\"body\":{\"bytesValue\":\"AP8=\"}");
    json_text_is(otel_bool("", false).value, "\"body\":{\"boolValue\":false}");
    json_text_is((struct otel_value){.type = OTEL_TEXT, .count = 4, .text = "a\xff\0b"},
                 "\"body\":{\"stringValue\":\"a\xef\xbf\xbd\\u0000b\"}");
    /* Three bytes of a sequence of four, and nothing behind them. */
    json_text_is((struct otel_value){.type = OTEL_TEXT, .count = 3, .text = "\xf0\x9f\x98\x80"},
                 "\"stringValue\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void test_a_batch_splits_down_to_single_items(void **state)
{
    (void)state;
    struct metric_point points[5] = {{.integer = 0}, {.integer = 1}, {.integer = 2}, {.integer = 3}, {.integer = 4}};
    struct metric metric = {.scope = &scopes[0], .points = points, .point_count = 5};
    struct export_batch halves[2], batch = {.signal = SIGNAL_METRICS, .count = 1, .metrics = &metric};
    struct metric spare[2];
    assert_true(batch_split(&batch, halves, spare));
    assert_int_equal(batch_items(&halves[0]), 2);
    assert_int_equal(batch_items(&halves[1]), 3);
    assert_int_equal(halves[1].metrics[0].points[0].integer, 2);
    metric.point_count = 1;
    assert_false(batch_split(&batch, halves, spare));
    struct span_record *spans[3] = {0};
    struct export_batch traces = {.signal = SIGNAL_TRACES, .count = 3, .spans = spans};
    assert_true(batch_split(&traces, halves, spare));
    assert_int_equal(halves[0].count, 1);
    assert_int_equal(halves[1].count, 2);
    assert_ptr_equal(halves[1].spans, spans + 1);
    traces.count = 1;
    assert_false(batch_split(&traces, halves, spare));
}

static void test_a_large_buffer_is_given_back(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    buffer_reserve(&buffer, 1000);
    buffer_print(&buffer, "%0*d", 5000, 1);
    assert_int_equal(buffer.size, 5000);
    buffer_reset(&buffer);
    assert_true(buffer.capacity >= 5000);
    buffer_reserve(&buffer, BUFFER_KEPT_MAX + 1);
    buffer_reset(&buffer);
    assert_int_equal(buffer.capacity, 0);
    buffer_free(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_of_a_span_arrives),
        cmocka_unit_test(test_every_field_of_a_log_record_arrives),
        cmocka_unit_test(test_every_field_of_a_metric_arrives),
        cmocka_unit_test(test_a_batch_of_nothing_is_no_bytes),
        cmocka_unit_test(test_a_room_is_used_for_one_message_after_the_other),
        cmocka_unit_test(test_what_needs_no_copy_is_told_from_what_does),
        cmocka_unit_test(test_a_message_is_sent_from_where_its_records_lie),
        cmocka_unit_test(test_encoded_records_of_many_threads_are_released_by_others),
        cmocka_unit_test(test_values_nested_too_deep_become_empty),
        cmocka_unit_test(test_json_is_as_the_protocol_writes_it),
        cmocka_unit_test(test_a_batch_splits_down_to_single_items),
        cmocka_unit_test(test_a_large_buffer_is_given_back),
    };
    return cmocka_run_group_tests_name("otel_otlp", tests, NULL, NULL);
}
