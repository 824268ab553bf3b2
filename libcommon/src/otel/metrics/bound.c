/* Bound instruments: their points are found once for each pipeline. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "otel/metrics/store.h"
#include "otel/sdk/copy.h"

enum { BOUND_MAX = 4096, ATTRIBUTES_LOCAL = 32 };

struct otel_bound_counter {
    struct bound bound;
};

struct otel_bound_histogram {
    struct bound bound;
};

/* --- making */

static const struct otel_attribute *copy_left_out(const struct otel_attribute *left_out, unsigned count)
{
    struct otel_attribute *copy = count ? mem_array(count, sizeof *copy) : NULL;
    if (count)
        memcpy(copy, left_out, sizeof *copy * count);
    return copy;
}

static void bind_lane(struct binding_lane *lane, struct store *store, const struct bound *bound)
{
    unsigned count = bound->attribute_count;
    struct otel_attribute *split = mem_array(count + 1, sizeof *split);
    unsigned kept = stream_split(&store->stream, bound->attributes, count, split);
    lane->store = store;
    lane->point = store_pin(store, split, kept);
    lane->left_out = copy_left_out(split + kept, count - kept);
    lane->left_out_count = count - kept;
    free(split);
}

struct binding *binding_new(const struct bound *bound, const struct route *route)
{
    unsigned count = route ? route->count : 0;
    struct binding *binding = mem_alloc(sizeof *binding + sizeof *binding->lanes * count);
    binding->count = count;
    binding->least = bound->instrument->kind == INSTRUMENT_COUNTER ? 0 : INT64_MIN;
    for (unsigned i = 0; i < count; i++)
        bind_lane(&binding->lanes[i], route->stores[i], bound);
    if (count != 1)
        return binding;
    const struct stream *stream = &route->stores[0]->stream;
    char *lanes = atomic_load(&binding->lanes[0].point->lanes);
    if (stream->aggregation == AGGREGATE_SUM && stream->integer)
        binding->sums = (struct sum_lane *)(void *)lanes;
    else if (stream->aggregation == AGGREGATE_EXPLICIT)
        binding->histograms = lanes;
    binding->short_slots = binding->sums || binding->histograms ? lane_count() : 0;
    return binding;
}

void binding_free(struct binding *binding)
{
    for (unsigned i = 0; i < binding->count; i++)
        free((void *)(uintptr_t)binding->lanes[i].left_out);
    free(binding);
}

static struct bound *find_bound(const struct instrument *instrument, const struct otel_attribute *attributes,
                                unsigned count)
{
    uint64_t hash = attributes_hash(attributes, count);
    for (struct bound *b = instrument->bound; b; b = b->next)
        if (b->hash == hash && b->attribute_count == count && attributes_equal(b->attributes, attributes, count))
            return b;
    return NULL;
}

static void copy_to_bound(struct bound *bound, const struct otel_attribute *attributes, unsigned count)
{
    struct arena arena; /* never freed, as the handle */
    arena_init(&arena, sizeof *attributes * (count + 1) + 64 * count);
    struct otel_attribute *copy = arena_array(&arena, struct otel_attribute, count);
    for (unsigned i = 0; i < count; i++) {
        copy[i].key = text_copy(&arena, attributes[i].key);
        copy[i].value = value_copy(&arena, &attributes[i].value, UNLIMITED);
    }
    bound->attributes = copy;
    bound->attribute_count = count;
    bound->hash = attributes_hash(copy, count);
}

static struct bound *add_bound(struct instrument *instrument, const struct otel_attribute *attributes, unsigned count)
{
    struct bound *bound = mem_alloc(sizeof *bound);
    copy_to_bound(bound, attributes, count);
    bound->instrument = instrument;
    bound->binding = binding_new(bound, atomic_load_explicit(&instrument->route, memory_order_relaxed));
    bound->next = instrument->bound;
    instrument->bound = bound;
    if (++instrument->bound_handles == BOUND_MAX)
        log_event(LOG_WARN, "too many bound handles: further ones count as overflow",
                  log_text("instrument", instrument->name), log_int("most", BOUND_MAX));
    return bound;
}

static struct bound *find_or_add(struct instrument *instrument, const struct otel_attribute *attributes, unsigned count)
{
    static const struct otel_attribute overflow = {"otel.metric.overflow", {.type = OTEL_BOOL, .boolean = true}};
    struct bound *bound = find_bound(instrument, attributes, count);
    if (bound)
        return bound;
    if (instrument->bound_handles < BOUND_MAX)
        return add_bound(instrument, attributes, count);
    bound = find_bound(instrument, &overflow, 1);
    return bound ? bound : add_bound(instrument, &overflow, 1);
}

static struct bound *bind(struct instrument *instrument, const struct otel_attribute *attributes, unsigned count)
{
    struct otel_attribute local[ATTRIBUTES_LOCAL];
    struct otel_attribute *sorted = count <= ATTRIBUTES_LOCAL ? local : mem_array(count, sizeof *sorted);
    if (count)
        memcpy(sorted, attributes, sizeof *sorted * count);
    count = attributes_sort(sorted, count);
    pthread_mutex_lock(&registry_lock);
    struct bound *bound = find_or_add(instrument, sorted, count);
    pthread_mutex_unlock(&registry_lock);
    if (sorted != local)
        free(sorted);
    return bound;
}

struct otel_bound_counter *otel_counter_bind(struct otel_counter *counter, const struct otel_attribute *attributes,
                                             unsigned count)
{
    return (struct otel_bound_counter *)bind((struct instrument *)counter, attributes, count);
}

struct otel_bound_counter *otel_up_down_counter_bind(struct otel_up_down_counter *counter,
                                                     const struct otel_attribute *attributes, unsigned count)
{
    return (struct otel_bound_counter *)bind((struct instrument *)counter, attributes, count);
}

struct otel_bound_histogram *otel_histogram_bind(struct otel_histogram *histogram,
                                                 const struct otel_attribute *attributes, unsigned count)
{
    return (struct otel_bound_histogram *)bind((struct instrument *)histogram, attributes, count);
}

/* --- recording */

static void record_all(const struct binding *binding, unsigned slot, const struct measurement *measurement)
{
    for (unsigned i = 0; i < binding->count; i++) {
        const struct binding_lane *lane = &binding->lanes[i];
        point_record(lane->store, lane->point, slot, measurement, lane->left_out, lane->left_out_count);
    }
}

static __attribute__((noinline)) void offer(const struct binding *binding, const struct trace_context *context,
                                            struct measurement measurement)
{
    const struct binding_lane *lane = &binding->lanes[0];
    point_offer(lane->store, lane->point, &measurement, context, lane->left_out, lane->left_out_count);
}

static __attribute__((noinline)) void add_slowly(const struct binding *binding, unsigned slot, int64_t value)
{
    struct measurement measurement = {.integer = value, .real = (double)value};
    if (value >= binding->least)
        record_all(binding, slot, &measurement);
}

void otel_bound_add(struct otel_bound_counter *counter, int64_t value)
{
    struct guard_thread *self = guard_enter();
    const struct binding *binding = atomic_load_explicit(&counter->bound.binding, memory_order_acquire);
    const struct trace_context *context;
    if (binding->sums && self->slot < binding->short_slots && value >= binding->least) {
        unsigned bank = atomic_load_explicit(&metrics_bank, memory_order_acquire);
        struct sum_cell *cell = &binding->sums[self->slot].bank[bank];
        cell->count++;
        cell->value.integer += (uint64_t)value;
        if (exemplar_wanted(&context))
            offer(binding, context, (struct measurement){value, (double)value});
    } else {
        add_slowly(binding, self->slot, value);
    }
    guard_exit(self);
}

void otel_bound_add_real(struct otel_bound_counter *counter, double value)
{
    struct measurement measurement;
    if (!measurement_make(&measurement, counter->bound.instrument, value))
        return;
    struct guard_thread *self = guard_enter();
    record_all(atomic_load_explicit(&counter->bound.binding, memory_order_acquire), self->slot, &measurement);
    guard_exit(self);
}

static inline void record_shortly(const struct binding *binding, unsigned slot, double value)
{
    const struct store *store = binding->lanes[0].store;
    unsigned bank = atomic_load_explicit(&metrics_bank, memory_order_acquire);
    histogram_add(&store->stream, point_lane(store, binding->histograms, slot, bank), value);
}

void otel_bound_record(struct otel_bound_histogram *histogram, double value)
{
    struct measurement measurement;
    const struct trace_context *context;
    if (!measurement_make(&measurement, histogram->bound.instrument, value))
        return;
    struct guard_thread *self = guard_enter();
    const struct binding *binding = atomic_load_explicit(&histogram->bound.binding, memory_order_acquire);
    if (binding->histograms && self->slot < binding->short_slots) {
        record_shortly(binding, self->slot, measurement.real);
        if (exemplar_wanted(&context))
            offer(binding, context, measurement);
    } else {
        record_all(binding, self->slot, &measurement);
    }
    guard_exit(self);
}
