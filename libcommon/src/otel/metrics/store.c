#include "otel/metrics/store.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "otel/metrics/pattern.h"
#include "otel/sdk/cache.h"
#include "otel/sdk/copy.h"

enum {
    TABLE_FIRST = 16,
    ATTRIBUTES_LOCAL = 32,
    POINT_ARENA_BYTES = 192,
    STORE_ARENA_BYTES = 512,
    LANES_MIN = 8,
    LANES_MAX = 32
};

_Atomic(unsigned) metrics_bank;

/* Open addressing, at most half full; points are only added. Who removes builds another one. */
struct point_table {
    struct point_table *next;
    unsigned count, mask;
    _Atomic(struct point *) slots[];
};

static const struct otel_attribute overflow_attribute = {"otel.metric.overflow", {.type = OTEL_BOOL, .boolean = true}};

unsigned lane_count(void)
{
    static _Atomic(unsigned) count;
    unsigned lanes = atomic_load_explicit(&count, memory_order_relaxed);
    if (lanes)
        return lanes;
    long wanted = 2 * sysconf(_SC_NPROCESSORS_ONLN);
    lanes = wanted < LANES_MIN ? LANES_MIN : wanted > LANES_MAX ? LANES_MAX : (unsigned)wanted;
    atomic_store_explicit(&count, lanes, memory_order_relaxed);
    return lanes;
}

/* --- the table */

static struct point_table *table_new(unsigned size)
{
    struct point_table *table = mem_alloc(sizeof *table + sizeof *table->slots * size);
    table->mask = size - 1;
    return table;
}

static struct point *table_find(const struct point_table *table, uint64_t hash, const struct otel_attribute *attributes,
                                unsigned count)
{
    struct point *point;
    for (unsigned i = (unsigned)hash & table->mask;
         (point = atomic_load_explicit(&table->slots[i], memory_order_acquire)); i = (i + 1) & table->mask)
        if (point->hash == hash && point->attribute_count == count &&
            attributes_equal(point->attributes, attributes, count))
            return point;
    return NULL;
}

static void table_add(struct point_table *table, struct point *point)
{
    unsigned i = (unsigned)point->hash & table->mask;
    while (atomic_load_explicit(&table->slots[i], memory_order_relaxed))
        i = (i + 1) & table->mask;
    atomic_store_explicit(&table->slots[i], point, memory_order_release);
    table->count++;
}

static struct point_table *table_of(struct store *store)
{
    return atomic_load_explicit(&store->table, memory_order_acquire);
}

/* A table of the present points with room for more; the old one is still being read. */
static void table_rebuild(struct store *store, unsigned points)
{
    unsigned size = TABLE_FIRST;
    while (size < points * 2)
        size *= 2;
    struct point_table *old = table_of(store), *table = table_new(size);
    for (struct point *p = atomic_load(&store->points); p; p = p->next)
        if (p != store->overflow)
            table_add(table, p);
    atomic_store_explicit(&store->table, table, memory_order_release);
    old->next = store->outgrown;
    store->outgrown = old;
}

static void free_tables(struct point_table *table)
{
    for (struct point_table *next; table; table = next) {
        next = table->next;
        free(table);
    }
}

/* --- points */

static struct point *point_new(struct store *store)
{
    bool banks = !store->stream.asynchronous;
    struct point *point = mem_alloc(sizeof *point + store->cell_bytes * (banks ? 3 : 1));
    point->totals = point->banks + (banks ? 2 * store->cell_bytes : 0);
    for (char *cell = point->banks; cell <= point->totals; cell += store->cell_bytes)
        cell_init(&store->stream, cell);
    point->start_wall_ns = store->stream.asynchronous ? store->interval_start_wall_ns : clock_wall_ns();
    arena_init(&point->arena, POINT_ARENA_BYTES);
    return point;
}

static void point_free(struct store *store, struct point *point)
{
    char *lanes = atomic_load(&point->lanes);
    for (char *cell = point->banks; cell <= point->totals; cell += store->cell_bytes)
        cell_done(&store->stream, cell);
    reservoir_free(atomic_load(&point->reservoir));
    free(lanes);
    arena_done(&point->arena);
    free(point);
}

static void link_point(struct store *store, struct point *point)
{
    point->next = atomic_load_explicit(&store->points, memory_order_relaxed);
    atomic_store_explicit(&store->points, point, memory_order_release);
}

static void add_point(struct store *store, struct point *point)
{
    struct point_table *table = table_of(store);
    link_point(store, point);
    if ((table->count + 1) * 2 > table->mask + 1)
        table_rebuild(store, (table->count + 1) * 2);
    else
        table_add(table, point);
}

static void copy_attributes(struct point *point, const struct otel_attribute *attributes, unsigned count)
{
    struct otel_attribute *copy = arena_array(&point->arena, struct otel_attribute, count);
    for (unsigned i = 0; i < count; i++) {
        copy[i].key = text_copy(&point->arena, attributes[i].key);
        copy[i].value = value_copy(&point->arena, &attributes[i].value, UNLIMITED);
    }
    point->attributes = copy;
    point->attribute_count = count;
}

static bool is_full(const struct store *store)
{
    return atomic_load_explicit(&store->live, memory_order_relaxed) >= store->stream.limit;
}

static void count_live(struct store *store, struct point *point)
{
    atomic_store_explicit(&point->cycle, atomic_load_explicit(&store->cycle, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_fetch_add_explicit(&store->live, 1, memory_order_relaxed);
}

static bool is_current(const struct store *store, const struct point *point)
{
    return !store->cyclic || atomic_load_explicit(&point->cycle, memory_order_relaxed) ==
                                 atomic_load_explicit(&store->cycle, memory_order_relaxed);
}

/* A point of an earlier cycle counts in this one too. */
static struct point *admit(struct store *store, struct point *point)
{
    if (is_current(store, point))
        return point;
    if (!point->pinned && is_full(store))
        return store->overflow;
    if (store->stream.asynchronous)
        cell_reset(&store->stream, point->totals);
    count_live(store, point);
    if (point->pinned)
        atomic_fetch_sub_explicit(&store->live, 1, memory_order_relaxed);
    return point;
}

/* Attributes with invalid UTF-8 are kept otherwise than they came: then that is what is looked for. */
static struct point *add_copy(struct store *store, uint64_t hash, const struct otel_attribute *attributes,
                              unsigned count)
{
    if (is_full(store))
        return store->overflow;
    struct point *point = point_new(store);
    copy_attributes(point, attributes, count);
    if (!attributes_equal(point->attributes, attributes, count)) {
        hash = attributes_hash(point->attributes, count);
        struct point *known = table_find(table_of(store), hash, point->attributes, count);
        if (known) {
            point_free(store, point);
            return admit(store, known);
        }
    }
    point->hash = hash;
    count_live(store, point);
    add_point(store, point);
    return point;
}

static struct point *find_or_add(struct store *store, uint64_t hash, const struct otel_attribute *attributes,
                                 unsigned count)
{
    struct point *point = table_find(table_of(store), hash, attributes, count);
    return point ? admit(store, point) : add_copy(store, hash, attributes, count);
}

static struct point *store_point(struct store *store, const struct otel_attribute *attributes, unsigned count)
{
    uint64_t hash = attributes_hash(attributes, count);
    struct point *point = table_find(table_of(store), hash, attributes, count);
    if (point && is_current(store, point))
        return point;
    if (is_full(store) && !(point && point->pinned))
        return store->overflow;
    pthread_mutex_lock(&store->lock);
    point = find_or_add(store, hash, attributes, count);
    pthread_mutex_unlock(&store->lock);
    return point;
}

/* --- the store */

struct store *store_new(const struct stream *stream, struct instrument *instrument, int64_t wall_ns)
{
    struct store *store = mem_alloc(sizeof *store);
    arena_init(&store->arena, STORE_ARENA_BYTES);
    store->stream = stream_copy(&store->arena, stream);
    store->instrument = instrument;
    store->references = 1;
    store->cell_bytes = cell_bytes(stream);
    store->lane_bytes = (2 * store->cell_bytes + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
    store->cyclic = stream->asynchronous || stream->delta_points;
    store->cycle = 1;
    store->interval_start_wall_ns = wall_ns;
    pthread_mutex_init(&store->lock, NULL);
    store->table = table_new(TABLE_FIRST);
    store->overflow = point_new(store);
    store->overflow->attributes = &overflow_attribute;
    store->overflow->attribute_count = 1;
    link_point(store, store->overflow);
    return store;
}

struct store *store_take(struct store *store)
{
    atomic_fetch_add(&store->references, 1);
    return store;
}

static void free_points(struct store *store, struct point *point)
{
    for (struct point *next; point; point = next) {
        next = point->next;
        point_free(store, point);
    }
}

void store_give(struct store *store)
{
    if (atomic_fetch_sub(&store->references, 1) > 1)
        return;
    free_points(store, store->points);
    free_points(store, store->limbo);
    free_tables(store->outgrown);
    free_tables(store->dead);
    free(store->table);
    pthread_mutex_destroy(&store->lock);
    arena_done(&store->arena);
    free(store);
}

/* --- recording */

unsigned stream_split(const struct stream *stream, const struct otel_attribute *attributes, unsigned count,
                      struct otel_attribute *out)
{
    unsigned kept = 0, left_out = count;
    for (unsigned i = 0; i < count; i++)
        if (pattern_keeps(stream->keys_included, stream->keys_excluded, attributes[i].key))
            out[kept++] = attributes[i];
        else
            out[--left_out] = attributes[i];
    return kept;
}

/* Racing threads each make one; the first one stays. */
static struct reservoir *reservoir_of(struct store *store, struct point *point)
{
    struct reservoir *reservoir = atomic_load_explicit(&point->reservoir, memory_order_acquire);
    if (reservoir)
        return reservoir;
    struct reservoir *made = reservoir_new(&store->stream);
    if (atomic_compare_exchange_strong(&point->reservoir, &reservoir, made))
        return made;
    reservoir_free(made);
    return reservoir;
}

void point_offer(struct store *store, struct point *point, const struct measurement *measurement,
                 const struct trace_context *context, const struct otel_attribute *left_out, unsigned left_out_count)
{
    reservoir_offer(reservoir_of(store, point), &store->stream, measurement, context, left_out, left_out_count);
}

static unsigned bank_now(void)
{
    return atomic_load_explicit(&metrics_bank, memory_order_acquire);
}

/* bank: from before the point was looked up. A point that has left the table by then is drained of that bank once more;
 * who takes the bank later may take the next one, and what is put there leaves with the point. */
static void record_in(unsigned bank, struct store *store, struct point *point, unsigned slot,
                      const struct measurement *measurement, const struct otel_attribute *left_out,
                      unsigned left_out_count)
{
    char *lanes = atomic_load_explicit(&point->lanes, memory_order_acquire);
    if (lanes && slot < lane_count())
        cell_add(&store->stream, point_lane(store, lanes, slot, bank), measurement);
    else
        cell_add_shared(&store->stream, point->banks + bank * store->cell_bytes, measurement);
    const struct trace_context *context;
    if (exemplar_wanted(&context))
        point_offer(store, point, measurement, context, left_out, left_out_count);
}

void point_record(struct store *store, struct point *point, unsigned slot, const struct measurement *measurement,
                  const struct otel_attribute *left_out, unsigned left_out_count)
{
    record_in(bank_now(), store, point, slot, measurement, left_out, left_out_count);
}

static void record_split(unsigned bank, struct store *store, unsigned slot, const struct measurement *measurement,
                         const struct otel_attribute *attributes, unsigned count)
{
    struct otel_attribute local[ATTRIBUTES_LOCAL] __attribute__((uninitialized));
    struct otel_attribute *split = count <= ATTRIBUTES_LOCAL ? local : mem_array(count, sizeof *split);
    unsigned kept = stream_split(&store->stream, attributes, count, split);
    record_in(bank, store, store_point(store, split, kept), slot, measurement, split + kept, count - kept);
    if (split != local)
        free(split);
}

void store_record(struct store *store, unsigned slot, const struct measurement *measurement,
                  const struct otel_attribute *attributes, unsigned count)
{
    unsigned bank = bank_now();
    if (stream_keeps_all(&store->stream))
        record_in(bank, store, store_point(store, attributes, count), slot, measurement, NULL, 0);
    else
        record_split(bank, store, slot, measurement, attributes, count);
}

static void add_lanes(struct store *store, struct point *point)
{
    unsigned lanes = lane_count();
    char *memory = mem_aligned(CACHE_LINE_BYTES, store->lane_bytes * lanes);
    for (unsigned slot = 0; slot < lanes; slot++)
        for (unsigned bank = 0; bank < 2; bank++)
            cell_init(&store->stream, point_lane(store, memory, slot, bank));
    atomic_store_explicit(&point->lanes, memory, memory_order_release);
}

struct point *store_pin(struct store *store, const struct otel_attribute *attributes, unsigned count)
{
    pthread_mutex_lock(&store->lock);
    struct point *point = find_or_add(store, attributes_hash(attributes, count), attributes, count);
    if (!point->pinned && point != store->overflow)
        store->pinned++;
    point->pinned = true;
    if (cell_divides(&store->stream) && !atomic_load(&point->lanes))
        add_lanes(store, point);
    pthread_mutex_unlock(&store->lock);
    return point;
}

/* --- collecting */

static void point_drain(struct store *store, struct point *point, unsigned bank)
{
    char *lanes = atomic_load_explicit(&point->lanes, memory_order_acquire);
    bool any = cell_move(&store->stream, point->totals, point->banks + bank * store->cell_bytes);
    for (unsigned slot = 0; lanes && slot < lane_count(); slot++)
        any |= cell_move(&store->stream, point->totals, point_lane(store, lanes, slot, bank));
    if (any)
        point->fresh = point->ever = true;
}

void store_drain(struct store *store, unsigned bank)
{
    if (store->stream.asynchronous)
        return;
    for (struct point *p = atomic_load_explicit(&store->points, memory_order_acquire); p; p = p->next)
        point_drain(store, p, bank);
    for (struct point *p = store->limbo; p; p = p->next)
        point_drain(store, p, bank);
}

void store_reclaim(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    free_tables(store->dead);
    store->dead = store->outgrown;
    store->outgrown = NULL;
    pthread_mutex_unlock(&store->lock);
}

static void begin_cycle(struct store *store)
{
    atomic_fetch_add_explicit(&store->cycle, 1, memory_order_relaxed);
    atomic_store_explicit(&store->live, store->pinned, memory_order_relaxed);
}

void store_begin_round(struct store *store)
{
    begin_cycle(store);
    cell_reset(&store->stream, store->overflow->totals);
    store->overflow->fresh = false;
    for (struct point *p = store->points; p; p = p->next)
        p->fresh = false;
}

static void observe_split(struct store *store, const struct measurement *measurement,
                          const struct otel_attribute *split, unsigned kept, unsigned count)
{
    const struct trace_context *context;
    struct point *point = store_point(store, split, kept);
    cell_add(&store->stream, point->totals, measurement);
    point->fresh = true;
    if (exemplar_wanted(&context))
        point_offer(store, point, measurement, context, split + kept, count - kept);
}

void store_observe(struct store *store, const struct measurement *measurement, const struct otel_attribute *attributes,
                   unsigned count)
{
    struct otel_attribute local[ATTRIBUTES_LOCAL] __attribute__((uninitialized));
    struct otel_attribute *split = count <= ATTRIBUTES_LOCAL ? local : mem_array(count, sizeof *split);
    unsigned kept = stream_split(&store->stream, attributes, count, split);
    observe_split(store, measurement, split, kept, count);
    if (split != local)
        free(split);
}

static void bring_back(struct store *store, struct point *point)
{
    struct point *known = table_find(table_of(store), point->hash, point->attributes, point->attribute_count);
    if (!known) {
        add_point(store, point);
        return;
    }
    cell_move(&store->stream, known->totals, point->totals);
    known->fresh = true;
    point_free(store, point);
}

void store_resurrect(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    for (struct point *p = store->limbo, *next; p; p = next) {
        next = p->next;
        if (p->fresh)
            bring_back(store, p);
        else
            point_free(store, p);
    }
    store->limbo = NULL;
    pthread_mutex_unlock(&store->lock);
}

bool point_counts(const struct store *store, const struct point *point)
{
    return store->cyclic ? point->fresh : point->ever;
}

static void finish_point(struct store *store, struct point *point)
{
    const struct sum_cell *sum = (const struct sum_cell *)(void *)point->totals;
    if (store->stream.asynchronous)
        point->previous = sum->value;
    else
        cell_reset(&store->stream, point->totals);
}

/* Takes the points out that were not measured in the cycle that ends. */
static bool take_stale(struct store *store)
{
    bool any = false;
    struct point *list = atomic_load(&store->points), *kept = NULL, **end = &kept;
    for (struct point *p = list, *next; p; p = next) {
        next = p->next;
        if (p->fresh || p->pinned || p == store->overflow) {
            finish_point(store, p);
            *end = p;
            end = &p->next;
            continue;
        }
        p->next = store->limbo;
        store->limbo = p;
        any = true;
    }
    *end = NULL;
    atomic_store_explicit(&store->points, kept, memory_order_release);
    return any;
}

static unsigned count_points(const struct store *store)
{
    unsigned count = 0;
    for (const struct point *p = store->points; p; p = p->next)
        count++;
    return count;
}

void store_next_cycle(struct store *store, int64_t wall_ns)
{
    pthread_mutex_lock(&store->lock);
    if (take_stale(store))
        table_rebuild(store, count_points(store));
    if (store->stream.asynchronous) {
        free_points(store, store->limbo);
        store->limbo = NULL;
    } else {
        for (struct point *p = store->points; p; p = p->next)
            p->fresh = false;
        begin_cycle(store);
    }
    store->interval_start_wall_ns = wall_ns;
    pthread_mutex_unlock(&store->lock);
}
