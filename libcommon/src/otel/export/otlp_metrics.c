#include "otel/export/otlp.h"

/* --- lists of numbers, packed */

static void put_fixed64s(struct wire *wire, unsigned field, const uint64_t *values, unsigned count)
{
    if (count == 0)
        return;
    size_t mark = wire_mark(wire);
    wire_need(wire, sizeof *values * count);
    for (unsigned i = count; i-- > 0;) {
        uint64_t little = htole64(values[i]);
        wire->next -= sizeof little;
        memcpy(wire->next, &little, sizeof little);
    }
    wire_close(wire, field, mark);
}

static void put_doubles(struct wire *wire, unsigned field, const double *values, unsigned count)
{
    if (count == 0)
        return;
    size_t mark = wire_mark(wire);
    wire_need(wire, sizeof *values * count);
    for (unsigned i = count; i-- > 0;) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bits = htole64(bits);
        wire->next -= sizeof bits;
        memcpy(wire->next, &bits, sizeof bits);
    }
    wire_close(wire, field, mark);
}

/* --- points */

bool otlp_has_integers(const struct metric *metric)
{
    return metric->integer && (metric->type == METRIC_GAUGE || metric->type == METRIC_SUM);
}

static void put_exemplar(struct wire *wire, unsigned field, const struct metric *metric,
                         const struct exemplar *exemplar)
{
    size_t mark = wire_mark(wire);
    otlp_put_attributes(wire, 7, exemplar->attributes, exemplar->attribute_count);
    if (otlp_has_integers(metric))
        wire_fixed64(wire, 6, (uint64_t)exemplar->integer);
    if (exemplar->has_trace) {
        wire_bytes(wire, 5, exemplar->trace_id, sizeof exemplar->trace_id);
        wire_bytes(wire, 4, exemplar->span_id, sizeof exemplar->span_id);
    }
    if (!otlp_has_integers(metric))
        wire_double(wire, 3, exemplar->value);
    wire_number64(wire, 2, (uint64_t)exemplar->wall_ns);
    wire_close(wire, field, mark);
}

static void put_exemplars(struct wire *wire, unsigned field, const struct metric *metric,
                          const struct metric_point *point)
{
    for (unsigned i = point->exemplar_count; i-- > 0;)
        put_exemplar(wire, field, metric, &point->exemplars[i]);
}

static void put_times(struct wire *wire, const struct metric_point *point)
{
    wire_number64(wire, 3, (uint64_t)point->wall_ns);
    wire_number64(wire, 2, (uint64_t)point->start_wall_ns);
}

static void put_min_max(struct wire *wire, unsigned field, const struct metric_point *point)
{
    if (!point->has_min_max)
        return;
    wire_double(wire, field + 1, point->max);
    wire_double(wire, field, point->min);
}

static void put_number(struct wire *wire, const struct metric *metric, const struct metric_point *point)
{
    otlp_put_attributes(wire, 7, point->attributes, point->attribute_count);
    if (metric->integer)
        wire_fixed64(wire, 6, (uint64_t)point->integer);
    put_exemplars(wire, 5, metric, point);
    if (!metric->integer)
        wire_double(wire, 4, point->real);
    put_times(wire, point);
}

static void put_histogram(struct wire *wire, const struct metric *metric, const struct metric_point *point)
{
    put_min_max(wire, 11, point);
    otlp_put_attributes(wire, 9, point->attributes, point->attribute_count);
    put_exemplars(wire, 8, metric, point);
    if (point->buckets) {
        put_doubles(wire, 7, metric->bounds, metric->bound_count);
        put_fixed64s(wire, 6, point->buckets, point->bucket_count);
    }
    if (point->has_sum)
        wire_double(wire, 5, point->sum);
    wire_number64(wire, 4, point->count);
    put_times(wire, point);
}

static void put_buckets(struct wire *wire, unsigned field, int offset, const uint64_t *counts, unsigned count)
{
    if (count == 0)
        return;
    size_t mark = wire_mark(wire);
    for (unsigned i = count; i-- > 0;) {
        wire_need(wire, WIRE_SCALAR_MAX);
        wire_raw_varint(wire, counts[i]);
    }
    wire_close(wire, 2, mark);
    if (offset)
        wire_sint32(wire, 1, offset);
    wire_close(wire, field, mark);
}

static void put_exponential(struct wire *wire, const struct metric *metric, const struct metric_point *point)
{
    if (point->zero_threshold > 0)
        wire_double(wire, 14, point->zero_threshold);
    put_min_max(wire, 12, point);
    put_exemplars(wire, 11, metric, point);
    put_buckets(wire, 9, point->negative_offset, point->negative, point->negative_count);
    put_buckets(wire, 8, point->positive_offset, point->positive, point->positive_count);
    wire_number64(wire, 7, point->zero_count);
    if (point->scale)
        wire_sint32(wire, 6, point->scale);
    if (point->has_sum)
        wire_double(wire, 5, point->sum);
    wire_number64(wire, 4, point->count);
    put_times(wire, point);
    otlp_put_attributes(wire, 1, point->attributes, point->attribute_count);
}

/* --- metrics */

static void put_points(struct wire *wire, const struct metric *metric)
{
    for (unsigned i = metric->point_count; i-- > 0;) {
        size_t mark = wire_mark(wire);
        if (metric->type == METRIC_HISTOGRAM)
            put_histogram(wire, metric, &metric->points[i]);
        else if (metric->type == METRIC_EXPONENTIAL)
            put_exponential(wire, metric, &metric->points[i]);
        else
            put_number(wire, metric, &metric->points[i]);
        wire_close(wire, 1, mark);
    }
}

void otlp_put_metric(struct wire *wire, unsigned field, const struct metric *metric)
{
    static const unsigned data_fields[] = {
        [METRIC_GAUGE] = 5, [METRIC_SUM] = 7, [METRIC_HISTOGRAM] = 9, [METRIC_EXPONENTIAL] = 10};
    size_t mark = wire_mark(wire);
    if (metric->type == METRIC_SUM)
        wire_count(wire, 3, metric->monotonic);
    if (metric->type != METRIC_GAUGE)
        wire_count(wire, 2, metric->temporality);
    put_points(wire, metric);
    wire_close(wire, data_fields[metric->type], mark);
    wire_text(wire, 3, metric->unit);
    wire_text(wire, 2, metric->description);
    wire_text(wire, 1, metric->name);
    wire_close(wire, field, mark);
}
