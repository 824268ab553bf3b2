#include "otel/metrics/collect.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "otel/sdk/copy.h"

enum { COLLECTION_ARENA_BYTES = 16384 };

pthread_mutex_t collect_lock = PTHREAD_MUTEX_INITIALIZER;

void collection_init(struct collection *collection)
{
    *collection = (struct collection){0};
    arena_init(&collection->arena, COLLECTION_ARENA_BYTES);
}

void collection_reset(struct collection *collection)
{
    for (unsigned i = 0; i < collection->store_count; i++)
        store_give(collection->stores[i]);
    free(collection->stores);
    free(collection->metrics);
    struct arena arena = collection->arena;
    arena_reset(&arena);
    *collection = (struct collection){.arena = arena};
}

void collection_done(struct collection *collection)
{
    collection_reset(collection);
    arena_done(&collection->arena);
}

/* --- totals */

static void for_all_stores(void (*visit)(struct store *store, unsigned bank), unsigned bank)
{
    for (struct instrument *i = instruments_first(); i; i = instrument_next(i)) {
        const struct route *route = instrument_route(i);
        for (unsigned s = 0; route && s < route->count; s++)
            visit(route->stores[s], bank);
    }
}

static void reclaim_and_drain(struct store *store, unsigned bank)
{
    store_reclaim(store);
    store_drain(store, bank);
}

int64_t collect_drain(void)
{
    unsigned bank = atomic_load_explicit(&metrics_bank, memory_order_relaxed);
    atomic_store(&metrics_bank, bank ^ 1);
    guard_wait();
    int64_t wall_ns = clock_wall_ns();
    for_all_stores(reclaim_and_drain, bank);
    return wall_ns;
}

/* --- what a reader gets */

static void *copy_counts(struct arena *arena, const uint64_t *counts, unsigned count)
{
    return arena_copy(arena, counts, sizeof *counts * count);
}

static void put_explicit(struct metric_point *out, const struct stream *stream, const struct histogram_cell *cell,
                         struct arena *arena)
{
    out->bucket_count = stream->bound_count + 1;
    out->buckets = copy_counts(arena, cell->counts, out->bucket_count);
    for (unsigned i = 0; i < out->bucket_count; i++)
        out->count += cell->counts[i];
    out->sum = cell->sum;
    out->min = cell->min;
    out->max = cell->max;
}

static void put_exponential(struct metric_point *out, const struct exponential *e, struct arena *arena)
{
    out->count = e->count;
    out->zero_count = e->zero_count;
    out->scale = e->scale;
    out->sum = e->sum;
    out->min = e->min;
    out->max = e->max;
    out->positive_offset = e->positive.count ? e->positive.first : 0;
    out->positive_count = e->positive.count;
    out->positive = copy_counts(arena, e->positive.counts, e->positive.count);
    out->negative_offset = e->negative.count ? e->negative.first : 0;
    out->negative_count = e->negative.count;
    out->negative = copy_counts(arena, e->negative.counts, e->negative.count);
}

/* A total that has fallen was started anew. */
static union number difference(const struct stream *stream, union number now, union number before)
{
    bool fallen = stream->integer ? (int64_t)now.integer < (int64_t)before.integer : now.real < before.real;
    if (stream->monotonic && fallen)
        return now;
    if (stream->integer)
        now.integer -= before.integer;
    else
        now.real -= before.real;
    return now;
}

static void put_number(struct metric_point *out, const struct store *store, const struct point *point)
{
    const struct stream *stream = &store->stream;
    union number value = ((const struct sum_cell *)(const void *)point->totals)->value;
    if (stream->asynchronous && stream->temporality == TEMPORALITY_DELTA && stream->aggregation == AGGREGATE_SUM)
        value = difference(stream, value, point->previous);
    if (stream->integer)
        out->integer = (int64_t)value.integer;
    else
        out->real = value.real;
}

static void put_point(struct metric_point *out, struct collection *collection, const struct store *store,
                      struct point *point, int64_t since_wall_ns)
{
    const struct stream *stream = &store->stream;
    struct reservoir *reservoir = atomic_load_explicit(&point->reservoir, memory_order_acquire);
    bool delta = stream->temporality == TEMPORALITY_DELTA;
    out->attributes = point->attributes;
    out->attribute_count = point->attribute_count;
    out->start_wall_ns = delta ? store->interval_start_wall_ns : point->start_wall_ns;
    out->wall_ns = collection->wall_ns;
    out->has_sum = stream->has_sum;
    out->has_min_max = stream->has_min_max;
    if (stream->aggregation == AGGREGATE_EXPLICIT)
        put_explicit(out, stream, (const void *)point->totals, &collection->arena);
    else if (stream->aggregation == AGGREGATE_EXPONENTIAL)
        put_exponential(out, &((const struct exponential_cell *)(const void *)point->totals)->exponential,
                        &collection->arena);
    else
        put_number(out, store, point);
    if (reservoir)
        out->exemplars = reservoir_collect(reservoir, since_wall_ns, &collection->arena, &out->exemplar_count);
}

static enum metric_type type_of(const struct stream *stream)
{
    switch (stream->aggregation) {
    case AGGREGATE_EXPLICIT:
        return METRIC_HISTOGRAM;
    case AGGREGATE_EXPONENTIAL:
        return METRIC_EXPONENTIAL;
    case AGGREGATE_LAST_VALUE:
        return METRIC_GAUGE;
    default:
        return METRIC_SUM;
    }
}

static struct metric *add_metric(struct collection *out, const struct store *store)
{
    const struct stream *stream = &store->stream;
    const char *description = stream->description ? stream->description : instrument_description(store->instrument);
    out->metrics = mem_resize(out->metrics, out->count + 1, sizeof *out->metrics);
    struct metric *metric = &out->metrics[out->count++];
    *metric = (struct metric){.scope = store->instrument->scope,
                              .name = stream->name,
                              .description = description,
                              .unit = store->instrument->unit,
                              .type = type_of(stream),
                              .integer = stream->integer,
                              .monotonic = stream->monotonic,
                              .temporality = stream->temporality,
                              .bounds = stream->bounds,
                              .bound_count = stream->bound_count};
    return metric;
}

static unsigned count_points(const struct store *store)
{
    unsigned count = 0;
    for (const struct point *p = atomic_load_explicit(&store->points, memory_order_acquire); p; p = p->next)
        count += point_counts(store, p);
    return count;
}

static void put_points(struct collection *out, struct store *store, struct metric *metric, unsigned count,
                       int64_t since_wall_ns)
{
    struct metric_point *points = arena_array(&out->arena, struct metric_point, count);
    /* Points that came after the count were not drained and do not count. */
    for (struct point *p = atomic_load_explicit(&store->points, memory_order_acquire); p; p = p->next)
        if (point_counts(store, p))
            put_point(&points[metric->point_count++], out, store, p, since_wall_ns);
    metric->points = points;
    out->point_count += metric->point_count;
}

void collect_store(struct collection *out, struct store *store, int64_t since_wall_ns)
{
    bool delta = store->cyclic && !store->stream.asynchronous;
    if (delta)
        store_resurrect(store);
    unsigned count = count_points(store);
    if (count > 0) {
        out->stores = mem_resize(out->stores, out->store_count + 1, sizeof(struct store *));
        out->stores[out->store_count++] = store_take(store);
        put_points(out, store, add_metric(out, store), count, since_wall_ns);
    }
    if (store->cyclic)
        store_next_cycle(store, out->wall_ns);
}

void collect(struct collection *out, int reader, int64_t since_wall_ns)
{
    uint64_t bit = UINT64_C(1) << reader;
    pthread_mutex_lock(&collect_lock);
    collect_observe(reader);
    out->wall_ns = collect_drain();
    for (struct instrument *i = instruments_first(); i; i = instrument_next(i)) {
        const struct route *route = instrument_route(i);
        for (unsigned s = 0; route && s < route->count; s++)
            if (route->stores[s]->readers & bit)
                collect_store(out, route->stores[s], since_wall_ns);
    }
    pthread_mutex_unlock(&collect_lock);
}
