#include "otel/trace/record.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/sanitizer.h"
#include "common/mem.h"
#include "otel/sdk/cache.h"
#include "otel/sdk/copy.h"
#include "otel/sdk/set.h"
#include "otel/sdk/thread.h"

enum { CAPACITY_FIRST = 4, ATTRIBUTES_AT_HOME = 12, IN_HAND_MAX = 64, MOVED_AT_ONCE = IN_HAND_MAX / 2 };

struct pooled_record {
    _Alignas(CACHE_LINE_BYTES) struct span_record record;
    struct limit_settings limits;
    char *home, *home_end; /* the arena's one chunk, while it has no more */
    _Atomic(unsigned) users;
    struct otel_attribute first[ATTRIBUTES_AT_HOME];
};

/* Taken as they were given last: as few as can be go round, and stay in a cache. */
static struct {
    pthread_mutex_t lock;
    unsigned count;
    struct pooled_record *records[RECORDS_KEPT];
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Records that this thread took from the pool in one go, or used last. */
struct hand {
    unsigned count;
    struct thread_own end;
    struct pooled_record *records[IN_HAND_MAX];
};

static void hand_empty(void);

static _Thread_local struct hand hand = {.end.give_back = hand_empty};

static struct pooled_record *pooled(struct span_record *record)
{
    return (struct pooled_record *)record;
}

static bool is_at_home(const struct pooled_record *record)
{
    return record->record.arena.end == record->home_end;
}

static void reset(struct pooled_record *record)
{
    arena_reset(&record->record.arena);
    record->home = record->record.arena.next;
    record->home_end = record->record.arena.end;
}

/* The same, without a look at the chunk: it may still be in the exporting thread's cache. */
static void reset_at_home(struct pooled_record *record)
{
#ifdef HAVE_ASAN
    reset(record);
#else
    record->record.arena.next = record->home;
#endif
}

static struct pooled_record *record_new(void)
{
    struct pooled_record *fresh = mem_aligned(_Alignof(struct pooled_record), sizeof *fresh);
    arena_init(&fresh->record.arena, RECORD_CHUNK_BYTES);
    arena_alloc_raw(&fresh->record.arena, 1);
    reset(fresh);
    return fresh;
}

static void record_free(struct pooled_record *record)
{
    arena_done(&record->record.arena);
    free(record);
}

static void give_back(unsigned count)
{
    unsigned kept = 0;
    pthread_mutex_lock(&pool.lock);
    for (; kept < count && pool.count < RECORDS_KEPT; kept++)
        pool.records[pool.count++] = hand.records[--hand.count];
    pthread_mutex_unlock(&pool.lock);
    for (; kept < count; kept++)
        record_free(hand.records[--hand.count]);
}

static void hand_empty(void)
{
    give_back(hand.count);
}

static __attribute__((noinline)) struct pooled_record *fill_hand(void)
{
    thread_watch(&hand.end);
    pthread_mutex_lock(&pool.lock);
    while (pool.count > 0 && hand.count < MOVED_AT_ONCE)
        hand.records[hand.count++] = pool.records[--pool.count];
    pthread_mutex_unlock(&pool.lock);
    return hand.count > 0 ? hand.records[--hand.count] : record_new();
}

static void clear(struct pooled_record *taken)
{
    struct span_record *record = &taken->record;
    memset(record->parent_span_id, 0, sizeof record->parent_span_id);
    record->list = (struct attribute_list){.items = taken->first, .capacity = ATTRIBUTES_AT_HOME};
    record->event_count = record->event_capacity = record->events_dropped = 0;
    record->link_count = record->link_capacity = record->links_dropped = 0;
    record->status = OTEL_STATUS_UNSET;
    record->state = record->status_message = NULL;
    record->set_count = 0;
}

/* What the last span left in the record is cleared here and not when it was released: the exporting thread then writes
 * next to nothing to memory that this one is about to fill. */
struct span_record *record_take(const struct limit_settings *limits)
{
    struct pooled_record *taken = hand.count > 0 ? hand.records[--hand.count] : fill_hand();
    reset_at_home(taken);
    clear(taken);
    taken->limits = *limits;
    if (hand.count > 0)
        record_fetch(&hand.records[hand.count - 1]->record); /* for the next span */
    atomic_store_explicit(&taken->users, 1, memory_order_relaxed);
    return &taken->record;
}

void record_fetch(const struct span_record *record)
{
    fetch_to_write(record, offsetof(struct pooled_record, first));
}

void record_share(struct span_record *record, unsigned users)
{
    atomic_store_explicit(&pooled(record)->users, users, memory_order_relaxed);
}

void record_release(void *record)
{
    struct pooled_record *released = record;
    bool last = atomic_load_explicit(&released->users, memory_order_acquire) == 1 ||
                atomic_fetch_sub_explicit(&released->users, 1, memory_order_acq_rel) == 1;
    if (!last)
        return;
    if (!is_at_home(released))
        reset(released); /* a large span's memory is not kept */
    if (hand.count == IN_HAND_MAX)
        give_back(MOVED_AT_ONCE);
    thread_watch(&hand.end);
    hand.records[hand.count++] = released;
}

void record_name(struct span_record *record, const char *name, bool lives)
{
    name = name ? name : "";
    record->name_is_lent = lives;
    record->name = lives ? name : text_copy(&record->arena, name);
}

static unsigned count_in_sets(const struct span_record *record)
{
    unsigned count = 0;
    for (unsigned i = 0; i < record->set_count; i++)
        count += record->sets[i]->list.count;
    return count;
}

static bool is_in_sets(const struct span_record *record, const char *key, size_t key_bytes)
{
    for (unsigned i = 0; i < record->set_count; i++)
        if (attributes_have(&record->sets[i]->list, key, key_bytes))
            return true;
    return false;
}

static void unfold(struct span_record *record);

void record_put(struct span_record *record, const char *key, size_t key_bytes, struct otel_value value)
{
    const struct limit_settings *limits = &pooled(record)->limits;
    if (is_in_sets(record, key, key_bytes))
        unfold(record);
    attributes_put(&record->arena, &record->list, key, key_bytes, value,
                   limits->attribute_count - count_in_sets(record), limits->attribute_value_length);
}

void record_attribute(struct span_record *record, const struct otel_attribute *attribute)
{
    record_put(record, attribute->key, attribute->key ? strlen(attribute->key) : 0, attribute->value);
}

static void put_each(struct span_record *record, const struct otel_attribute_set *set)
{
    for (unsigned i = 0; i < set->list.count; i++)
        record_attribute(record, &set->list.items[i]);
}

static void unfold(struct span_record *record)
{
    unsigned count = record->set_count;
    record->set_count = 0;
    for (unsigned i = 0; i < count; i++)
        put_each(record, record->sets[i]);
}

static bool shares_a_key(const struct span_record *record, const struct otel_attribute_set *set)
{
    uint64_t seen = record->list.seen;
    for (unsigned i = 0; i < record->set_count; i++)
        seen |= record->sets[i]->list.seen;
    if (!(seen & set->list.seen))
        return false;
    for (unsigned i = 0; i < set->list.count; i++) {
        const char *key = set->list.items[i].key;
        size_t bytes = strlen(key);
        if (attributes_have(&record->list, key, bytes) || is_in_sets(record, key, bytes))
            return true;
    }
    return false;
}

void record_fold(struct span_record *record, const struct otel_attribute_set *set)
{
    unsigned others = record->list.count + count_in_sets(record);
    if (record->set_count < SPAN_SETS_MAX && set_within(set, others, &pooled(record)->limits) &&
        !shares_a_key(record, set))
        record->sets[record->set_count++] = set;
    else
        put_each(record, set);
}

void record_own(struct span_record *record)
{
    unfold(record);
    if (record->name_is_lent)
        record_name(record, record->name, false);
}

/* Room for one more of what items points to; false at the limit. */
static bool make_room(struct arena *arena, void **items, size_t bytes, unsigned count, unsigned *capacity,
                      unsigned most)
{
    if (count >= most)
        return false;
    if (count < *capacity)
        return true;
    unsigned more = *capacity ? *capacity * 2 : CAPACITY_FIRST;
    *capacity = more < most ? more : most;
    void *grown = arena_alloc_raw(arena, bytes * *capacity);
    if (count)
        memcpy(grown, *items, bytes * count);
    *items = grown;
    return true;
}

static struct attribute_list copy_all(struct span_record *record, const struct otel_attribute *attributes,
                                      unsigned count, unsigned count_max)
{
    struct attribute_list list = {0};
    for (unsigned i = 0; i < count; i++)
        attributes_set(&record->arena, &list, &attributes[i], count_max, pooled(record)->limits.attribute_value_length);
    return list;
}

void record_event(struct span_record *record, const char *name, int64_t wall_ns,
                  const struct otel_attribute *attributes, unsigned count)
{
    const struct limit_settings *limits = &pooled(record)->limits;
    void *events = record->events;
    if (!make_room(&record->arena, &events, sizeof *record->events, record->event_count, &record->event_capacity,
                   limits->event_count)) {
        record->events_dropped++;
        return;
    }
    record->events = events;
    struct attribute_list list = copy_all(record, attributes, count, limits->event_attribute_count);
    record->events[record->event_count++] = (struct event_record){.wall_ns = wall_ns,
                                                                  .name = text_copy(&record->arena, name),
                                                                  .attributes = list.items,
                                                                  .attribute_count = list.count,
                                                                  .attributes_dropped = list.dropped};
}

static bool worth_linking(const struct otel_link *link)
{
    return link->context && (trace_valid(link->context) || link->attribute_count > 0 ||
                             (link->context->state && link->context->state[0]));
}

void record_link(struct span_record *record, const struct otel_link *link)
{
    const struct limit_settings *limits = &pooled(record)->limits;
    void *links = record->links;
    if (!worth_linking(link))
        return;
    if (!make_room(&record->arena, &links, sizeof *record->links, record->link_count, &record->link_capacity,
                   limits->link_count)) {
        record->links_dropped++;
        return;
    }
    record->links = links;
    struct attribute_list list =
        copy_all(record, link->attributes, link->attribute_count, limits->link_attribute_count);
    struct link_record *copy = &record->links[record->link_count++];
    *copy = (struct link_record){.flags = span_flags(link->context->flags, link->context->remote),
                                 .state = text_copy(&record->arena, link->context->state),
                                 .attributes = list.items,
                                 .attribute_count = list.count,
                                 .attributes_dropped = list.dropped};
    memcpy(copy->trace_id, link->context->trace_id, sizeof copy->trace_id);
    memcpy(copy->span_id, link->context->span_id, sizeof copy->span_id);
}

void record_status(struct span_record *record, enum otel_status status, const char *description)
{
    if (status == OTEL_STATUS_UNSET || record->status == OTEL_STATUS_OK)
        return;
    record->status = status;
    bool told = status == OTEL_STATUS_ERROR && description && description[0];
    record->status_message = told ? text_copy(&record->arena, description) : NULL;
}
