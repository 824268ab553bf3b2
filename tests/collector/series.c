/* The series of the metrics: one for each origin, name and set of attributes. Each keeps its last point, as a packed
 * metric that has this point alone, and a figure for each of the last reports: what the charts show. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/collector.h"
#include "common/log.h"
#include "common/mem.h"

#define METRIC_CASE(kind) OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_##kind
#define IS_DELTA(data)                                                                                                 \
    ((data)->aggregation_temporality ==                                                                                \
     OPENTELEMETRY__PROTO__METRICS__V1__AGGREGATION_TEMPORALITY__AGGREGATION_TEMPORALITY_DELTA)

enum { NO_RECORDED_VALUE = 1, EXPONENTIAL_BUCKETS_MAX = 1024 };

void series_init(struct series_table *table)
{
    list_init(&table->all);
    table->count = 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        list_init(&table->buckets[i]);
}

static void series_free(struct series_table *table, struct series *series)
{
    list_remove(&series->list);
    list_remove(&series->chain);
    table->count--;
    origin_give(series->origin);
    free(series->key);
    free(series->packed);
    free(series->name);
    free(series);
}

void series_wipe(struct series_table *table)
{
    while (!list_empty(&table->all))
        series_free(table, container_of(table->all.next, struct series, list));
}

OTLP_METRICS(Metric) * series_last(const struct series *series, struct arena *arena)
{
    return decode_message(arena, &opentelemetry__proto__metrics__v1__metric__descriptor,
                          (struct bytes){(const char *)series->packed, series->bytes});
}

const struct sample *series_sample(const struct series *series, unsigned index)
{
    unsigned oldest = (series->sample_next + SAMPLES_MAX - series->sample_count) % SAMPLES_MAX;
    return &series->samples[(oldest + index) % SAMPLES_MAX];
}

/* --- a metric's points, whatever its kind */

/* Where the points are: each kind has n_data_points and data_points as its first fields. */
struct points {
    size_t *count;
    ProtobufCMessage ***list;
};

static struct points points_of(OTLP_METRICS(Metric) * metric)
{
    switch ((int)metric->data_case) {
    case METRIC_CASE(GAUGE):
        return (struct points){&metric->gauge->n_data_points, (ProtobufCMessage ***)&metric->gauge->data_points};
    case METRIC_CASE(SUM):
        return (struct points){&metric->sum->n_data_points, (ProtobufCMessage ***)&metric->sum->data_points};
    case METRIC_CASE(HISTOGRAM):
        return (struct points){&metric->histogram->n_data_points,
                               (ProtobufCMessage ***)&metric->histogram->data_points};
    case METRIC_CASE(EXPONENTIAL_HISTOGRAM):
        return (struct points){&metric->exponential_histogram->n_data_points,
                               (ProtobufCMessage ***)&metric->exponential_histogram->data_points};
    case METRIC_CASE(SUMMARY):
        return (struct points){&metric->summary->n_data_points, (ProtobufCMessage ***)&metric->summary->data_points};
    default:
        return (struct points){NULL, NULL};
    }
}

size_t metric_points(const OTLP_METRICS(Metric) * metric)
{
    struct points points = points_of((OTLP_METRICS(Metric) *)(uintptr_t)metric);
    return points.count ? *points.count : 0;
}

/* What all kinds have in common, of a metric with one point. */
struct figure {
    uint64_t start_ns, time_ns;
    OTLP_COMMON(KeyValue) * *attributes;
    size_t attribute_count;
    bool empty;           /* no recorded value */
    bool delta, counting; /* counting: it only grows, so it has a rate */
    double value;
};

#define FIGURE_OF(point)                                                                                               \
    .start_ns = (point)->start_time_unix_nano, .time_ns = (point)->time_unix_nano, .attributes = (point)->attributes,  \
    .attribute_count = (point)->n_attributes, .empty = ((point)->flags & NO_RECORDED_VALUE) != 0

static double number_of(const OTLP_METRICS(NumberDataPoint) * point)
{
    if (point->value_case == OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_INT)
        return (double)point->as_int;
    return point->value_case == OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_DOUBLE ? point->as_double
                                                                                                      : NAN;
}

static struct figure figure_of(const OTLP_METRICS(Metric) * metric)
{
    switch ((int)metric->data_case) {
    case METRIC_CASE(GAUGE): {
        const OTLP_METRICS(NumberDataPoint) *point = metric->gauge->data_points[0];
        return (struct figure){FIGURE_OF(point), .value = number_of(point)};
    }
    case METRIC_CASE(SUM): {
        const OTLP_METRICS(NumberDataPoint) *point = metric->sum->data_points[0];
        return (struct figure){FIGURE_OF(point), .value = number_of(point), .delta = IS_DELTA(metric->sum),
                               .counting = metric->sum->is_monotonic};
    }
    case METRIC_CASE(HISTOGRAM): {
        const OTLP_METRICS(HistogramDataPoint) *point = metric->histogram->data_points[0];
        return (struct figure){FIGURE_OF(point), .value = (double)point->count, .delta = IS_DELTA(metric->histogram),
                               .counting = true};
    }
    case METRIC_CASE(EXPONENTIAL_HISTOGRAM): {
        const OTLP_METRICS(ExponentialHistogramDataPoint) *point = metric->exponential_histogram->data_points[0];
        return (struct figure){FIGURE_OF(point), .value = (double)point->count,
                               .delta = IS_DELTA(metric->exponential_histogram), .counting = true};
    }
    default: {
        const OTLP_METRICS(SummaryDataPoint) *point = metric->summary->data_points[0];
        return (struct figure){FIGURE_OF(point), .value = (double)point->count, .counting = true};
    }
    }
}

OTLP_COMMON(KeyValue) * *metric_attributes(const OTLP_METRICS(Metric) * metric, size_t *out_count)
{
    struct figure figure = figure_of(metric);
    *out_count = figure.attribute_count;
    return figure.attributes;
}

/* --- what OTLP refuses */

static const char *fault_of_histogram(const OTLP_METRICS(HistogramDataPoint) * point)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < point->n_bucket_counts; i++)
        sum += point->bucket_counts[i];
    for (size_t i = 1; i < point->n_explicit_bounds; i++)
        if (!(point->explicit_bounds[i] > point->explicit_bounds[i - 1]))
            return "a histogram's bounds have to grow";
    if (point->n_bucket_counts == 0 && point->n_explicit_bounds == 0)
        return NULL;
    if (point->n_bucket_counts != point->n_explicit_bounds + 1)
        return "a histogram has to have one bucket more than bounds";
    return sum == point->count ? NULL : "a histogram's buckets have to add up to its count";
}

static uint64_t bucket_sum(const OTLP_METRICS(ExponentialHistogramDataPoint__Buckets) * buckets)
{
    uint64_t sum = 0;
    for (size_t i = 0; buckets && i < buckets->n_bucket_counts; i++)
        sum += buckets->bucket_counts[i];
    return sum;
}

static const char *fault_of_exponential(const OTLP_METRICS(ExponentialHistogramDataPoint) * point)
{
    uint64_t sum = point->zero_count + bucket_sum(point->positive) + bucket_sum(point->negative);
    return sum == point->count ? NULL : "an exponential histogram's buckets have to add up to its count";
}

static bool lacks_temporality(const OTLP_METRICS(Metric) * metric)
{
    switch ((int)metric->data_case) {
    case METRIC_CASE(SUM):
        return metric->sum->aggregation_temporality == 0;
    case METRIC_CASE(HISTOGRAM):
        return metric->histogram->aggregation_temporality == 0;
    case METRIC_CASE(EXPONENTIAL_HISTOGRAM):
        return metric->exponential_histogram->aggregation_temporality == 0;
    default:
        return false;
    }
}

/* What is wrong with a metric of one point; NULL: nothing. */
static const char *fault_of(const OTLP_METRICS(Metric) * metric)
{
    struct figure figure = figure_of(metric);
    if (!*metric->name)
        return "a metric has to have a name";
    if (lacks_temporality(metric))
        return "a metric has to have a temporality";
    if (figure.time_ns == 0 || figure.time_ns < figure.start_ns)
        return "a data point has to have a time, not before its start";
    if (metric->data_case == METRIC_CASE(HISTOGRAM))
        return fault_of_histogram(metric->histogram->data_points[0]);
    if (metric->data_case == METRIC_CASE(EXPONENTIAL_HISTOGRAM))
        return fault_of_exponential(metric->exponential_histogram->data_points[0]);
    return isnan(figure.value) && metric->data_case != METRIC_CASE(GAUGE) ? "a data point has to have a value" : NULL;
}

/* --- quantiles of what came between two points */

/* Buckets by their upper bounds, growing. */
struct buckets {
    double *upper, *count;
    size_t size;
};

static struct buckets buckets_new(struct arena *arena, size_t size)
{
    return (struct buckets){arena_array(arena, double, size + 1), arena_array(arena, double, size + 1), size};
}

static struct buckets explicit_buckets(struct arena *arena, const OTLP_METRICS(HistogramDataPoint) * point,
                                       const OTLP_METRICS(HistogramDataPoint) * before)
{
    struct buckets buckets = buckets_new(arena, point->n_bucket_counts);
    bool same = before && before->n_bucket_counts == point->n_bucket_counts &&
                before->start_time_unix_nano == point->start_time_unix_nano && before->count <= point->count;
    for (size_t i = 0; i < buckets.size; i++) {
        buckets.upper[i] = i < point->n_explicit_bounds ? point->explicit_bounds[i] : INFINITY;
        buckets.count[i] = (double)(point->bucket_counts[i] - (same ? before->bucket_counts[i] : 0));
    }
    return buckets;
}

static uint64_t count_at(const OTLP_METRICS(ExponentialHistogramDataPoint__Buckets) * buckets, int64_t index)
{
    int64_t at = buckets ? index - buckets->offset : -1;
    return at >= 0 && at < (int64_t)buckets->n_bucket_counts ? buckets->bucket_counts[at] : 0;
}

/* Durations have no negative values, so only zero and the positive range count. */
static struct buckets exponential_buckets(struct arena *arena,
                                          const OTLP_METRICS(ExponentialHistogramDataPoint) * point,
                                          const OTLP_METRICS(ExponentialHistogramDataPoint) * before)
{
    size_t size = point->positive ? point->positive->n_bucket_counts : 0;
    if (size > EXPONENTIAL_BUCKETS_MAX)
        size = 0;
    struct buckets buckets = buckets_new(arena, size + 1);
    bool same = before && before->scale == point->scale &&
                before->start_time_unix_nano == point->start_time_unix_nano && before->count <= point->count;
    buckets.upper[0] = point->zero_threshold;
    buckets.count[0] = (double)(point->zero_count - (same ? before->zero_count : 0));
    for (size_t i = 0; i < size; i++) {
        int64_t index = (int64_t)point->positive->offset + (int64_t)i;
        uint64_t count = point->positive->bucket_counts[i] - (same ? count_at(before->positive, index) : 0);
        buckets.upper[i + 1] = exp2(ldexp((double)(index + 1), -point->scale));
        buckets.count[i + 1] = (double)count;
    }
    return buckets;
}

static double quantile(const struct buckets *buckets, double share)
{
    double total = 0, below = 0;
    for (size_t i = 0; i < buckets->size; i++)
        total += buckets->count[i];
    for (size_t i = 0; total > 0 && i < buckets->size; i++) {
        if (below + buckets->count[i] >= share * total && buckets->count[i] > 0) {
            double lower = i > 0 ? buckets->upper[i - 1] : 0;
            double upper = isinf(buckets->upper[i]) ? lower : buckets->upper[i];
            return lower + (upper - lower) * (share * total - below) / buckets->count[i];
        }
        below += buckets->count[i];
    }
    return NAN;
}

static struct buckets buckets_between(struct arena *arena, const OTLP_METRICS(Metric) * metric,
                                      const OTLP_METRICS(Metric) * before, bool delta)
{
    bool comparable = before && before->data_case == metric->data_case && !delta;
    if (metric->data_case == METRIC_CASE(HISTOGRAM))
        return explicit_buckets(arena, metric->histogram->data_points[0],
                                comparable ? before->histogram->data_points[0] : NULL);
    if (metric->data_case == METRIC_CASE(EXPONENTIAL_HISTOGRAM))
        return exponential_buckets(arena, metric->exponential_histogram->data_points[0],
                                   comparable ? before->exponential_histogram->data_points[0] : NULL);
    return (struct buckets){0};
}

/* --- keeping */

static double rate_of(const struct figure *now, const struct figure *before)
{
    if (!now->counting)
        return NAN;
    bool grown = before && !now->delta && before->start_ns == now->start_ns && now->value >= before->value;
    uint64_t since_ns = grown ? before->time_ns : now->start_ns;
    if (since_ns == 0 || now->time_ns <= since_ns || (!now->delta && !grown))
        return NAN;
    return (now->value - (grown ? before->value : 0)) / ((double)(now->time_ns - since_ns) / 1e9);
}

static void add_sample(struct arena *arena, struct series *series, const OTLP_METRICS(Metric) * metric)
{
    const OTLP_METRICS(Metric) *last = series->packed ? series_last(series, arena) : NULL;
    struct figure figure = figure_of(metric), before = {0};
    if (last)
        before = figure_of(last);
    struct buckets buckets = buckets_between(arena, metric, last, figure.delta);
    series->samples[series->sample_next] = (struct sample){
        .time_ns = figure.time_ns,
        .value = figure.empty ? NAN : figure.value,
        .rate = rate_of(&figure, last ? &before : NULL),
        .p50 = quantile(&buckets, 0.5),
        .p95 = quantile(&buckets, 0.95),
    };
    series->sample_next = (series->sample_next + 1) % SAMPLES_MAX;
    if (series->sample_count < SAMPLES_MAX)
        series->sample_count++;
}

static void keep_last(struct series *series, const OTLP_METRICS(Metric) * metric)
{
    series->bytes = protobuf_c_message_get_packed_size(&metric->base);
    series->packed = mem_resize(series->packed, series->bytes + 1, 1);
    protobuf_c_message_pack(&metric->base, series->packed);
    series->updates++;
}

static int by_bytes(const void *a, const void *b)
{
    const struct bytes *x = a, *y = b;
    int order = memcmp(x->data, y->data, x->size < y->size ? x->size : y->size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* Origin, name and attributes, these in an order of their own. */
static struct bytes key_of(struct arena *arena, const struct origin *origin, const OTLP_METRICS(Metric) * metric)
{
    size_t count, name_bytes = strlen(metric->name) + 1;
    OTLP_COMMON(KeyValue) **attributes = metric_attributes(metric, &count);
    struct bytes *parts = arena_array(arena, struct bytes, count + 1);
    size_t bytes = sizeof origin + name_bytes;
    for (size_t i = 0; i < count; i++) {
        parts[i] = encode_message(arena, attributes[i]);
        bytes += parts[i].size;
    }
    qsort(parts, count, sizeof *parts, by_bytes);
    char *key = arena_alloc_raw(arena, bytes), *at = key;
    memcpy(at, &origin, sizeof origin);
    memcpy(at += sizeof origin, metric->name, name_bytes);
    at += name_bytes;
    for (size_t i = 0; i < count; at += parts[i++].size)
        memcpy(at, parts[i].data, parts[i].size);
    return (struct bytes){key, bytes};
}

static struct series *find(struct series_table *table, uint64_t hash, struct bytes key)
{
    list_each (node, &table->buckets[hash % BUCKETS]) {
        struct series *series = container_of(node, struct series, chain);
        if (series->hash == hash && series->key_bytes == key.size && memcmp(series->key, key.data, key.size) == 0)
            return series;
    }
    return NULL;
}

static struct series *add(struct series_table *table, struct counts *counts, struct origin *origin, uint64_t hash,
                          struct bytes key, const char *name)
{
    if (table->count == SERIES_MAX) {
        counts->dropped_series++;
        series_free(table, container_of(table->all.next, struct series, list));
    }
    struct series *series = mem_alloc(sizeof *series);
    series->hash = hash;
    series->key = mem_alloc(key.size);
    memcpy(series->key, key.data, key.size);
    series->key_bytes = key.size;
    series->name = mem_text(name);
    series->origin = origin;
    origin->refs++;
    list_init(&series->list);
    list_append(&table->buckets[hash % BUCKETS], &series->chain);
    table->count++;
    return series;
}

/* metric has one point. */
static void update(struct series_table *table, struct counts *counts, struct arena *arena, struct origin *origin,
                   const OTLP_METRICS(Metric) * metric)
{
    struct bytes key = key_of(arena, origin, metric);
    uint64_t hash = digest(0, key.data, key.size);
    struct series *series = find(table, hash, key);
    if (!series)
        series = add(table, counts, origin, hash, key, metric->name);
    add_sample(arena, series, metric);
    keep_last(series, metric);
    list_remove(&series->list);
    list_append(&table->all, &series->list);
}

unsigned series_update(struct series_table *table, struct counts *counts, struct arena *arena, struct origin *origin,
                       OTLP_METRICS(Metric) * metric)
{
    struct points points = points_of(metric);
    size_t count = points.count ? *points.count : 0;
    ProtobufCMessage **list = points.list ? *points.list : NULL;
    unsigned valid = 0;
    for (size_t i = 0; i < count; i++) {
        *points.count = 1;
        *points.list = &list[i];
        const char *fault = fault_of(metric);
        if (fault) {
            counts->invalid_items++;
            snprintf(counts->invalid_reason, sizeof counts->invalid_reason, "%s", fault);
            log_event(LOG_WARN, "a data point is not valid", log_text("metric", metric->name),
                      log_text("reason", fault));
            continue;
        }
        update(table, counts, arena, origin, metric);
        valid++;
    }
    if (count > 0) {
        *points.count = count;
        *points.list = list;
    }
    return valid;
}
