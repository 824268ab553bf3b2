/* A thread writes the bytes of its records one behind the other into a chunk of memory, one for each signal, and what
 * else is to be said of them from the chunk's end: exporters read the latter only, and send the former in runs. Whoever
 * releases the last record of a chunk that is full gives it back. The chunk given back last is used next, while it is
 * still in a cache. A record that is large has a chunk of its own. */
#include <pthread.h>
#include <stdlib.h>

#include "common/mem.h"
#include "otel/export/otlp.h"
#include "otel/sdk/buffer.h"
#include "otel/sdk/cache.h"
#include "otel/sdk/thread.h"

enum {
    CHUNK_BYTES = 32768,
    LARGE_BYTES = CHUNK_BYTES / 4,
    CHUNKS_KEPT = 64,
    SCRATCH_KEPT_MAX = 65536,
    FETCHED_BYTES = 512,
    STILL_WRITTEN = 1 << 30
};

struct encoded_chunk {
    struct encoded_chunk *next;
    _Atomic(uint32_t) left; /* holds, records not released, and STILL_WRITTEN less those that have been made */
    bool alone;             /* of one large record */
    _Alignas(8) uint8_t data[];
};

struct writing {
    struct encoded_chunk *chunk; /* NULL: none yet */
    uint8_t *next;               /* free up to last */
    struct encoded_record *last;
    uint32_t made;
};

static struct {
    pthread_mutex_t lock;
    struct encoded_chunk *first;
    unsigned count;
} spare = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void own_end(void);

static _Thread_local struct {
    struct buffer scratch;
    struct writing spans, logs;
    struct thread_own end;
} own = {.end.give_back = own_end};

/* --- chunks */

static struct encoded_chunk *chunk_new(size_t bytes, bool alone)
{
    struct encoded_chunk *chunk = mem_resize(NULL, 1, sizeof *chunk + bytes);
    chunk->left = alone ? 1 : STILL_WRITTEN;
    chunk->alone = alone;
    return chunk;
}

static struct encoded_chunk *chunk_take(void)
{
    pthread_mutex_lock(&spare.lock);
    struct encoded_chunk *chunk = spare.first;
    if (chunk) {
        spare.first = chunk->next;
        spare.count--;
    }
    pthread_mutex_unlock(&spare.lock);
    if (!chunk)
        return chunk_new(CHUNK_BYTES, false);
    chunk->left = STILL_WRITTEN;
    return chunk;
}

static void chunk_give(struct encoded_chunk *chunk)
{
    pthread_mutex_lock(&spare.lock);
    bool keep = !chunk->alone && spare.count < CHUNKS_KEPT;
    if (keep) {
        chunk->next = spare.first;
        spare.first = chunk;
        spare.count++;
    }
    pthread_mutex_unlock(&spare.lock);
    if (!keep)
        free(chunk);
}

static void leave(struct encoded_chunk *chunk, uint32_t count)
{
    if (count > 0 && atomic_fetch_sub_explicit(&chunk->left, count, memory_order_acq_rel) == count)
        chunk_give(chunk);
}

void encoded_hold(struct encoded_chunk *chunk)
{
    atomic_fetch_add_explicit(&chunk->left, 1, memory_order_relaxed);
}

void encoded_let_go(void *chunk)
{
    leave(chunk, 1);
}

static void writing_end(struct writing *writing)
{
    if (writing->chunk)
        leave(writing->chunk, STILL_WRITTEN - writing->made);
    writing->chunk = NULL;
}

static void own_end(void)
{
    writing_end(&own.spans);
    writing_end(&own.logs);
    buffer_free(&own.scratch);
}

/* --- records */

/* The exporting thread read the chunk last. Until the next record comes, the memory for it can. */
static void fetch_ahead(const struct writing *writing)
{
    size_t free_bytes = (size_t)((uint8_t *)writing->last - writing->next);
    fetch_to_write(writing->next, free_bytes < FETCHED_BYTES ? free_bytes : FETCHED_BYTES);
    fetch_to_write(writing->last - 1, sizeof *writing->last);
}

static void writing_begin(struct writing *writing)
{
    writing_end(writing);
    writing->chunk = chunk_take();
    writing->next = writing->chunk->data;
    writing->last = (struct encoded_record *)(void *)(writing->chunk->data + CHUNK_BYTES);
    writing->made = 0;
}

static struct encoded_record *place(struct writing *writing, const uint8_t *bytes, size_t size)
{
    if (!writing->chunk || (size_t)((uint8_t *)writing->last - writing->next) < sizeof *writing->last + size)
        writing_begin(writing);
    struct encoded_record *record = --writing->last;
    record->bytes = memcpy(writing->next, bytes, size);
    record->chunk = writing->chunk;
    writing->next += size;
    writing->made++;
    fetch_ahead(writing);
    return record;
}

static struct encoded_record *place_alone(const uint8_t *bytes, size_t size)
{
    struct encoded_chunk *chunk = chunk_new(sizeof(struct encoded_record) + size, true);
    struct encoded_record *record = (struct encoded_record *)(void *)chunk->data;
    record->bytes = memcpy(record + 1, bytes, size);
    record->chunk = chunk;
    return record;
}

static struct encoded_record *keep(struct writing *writing, const struct wire *wire, const struct sdk_scope *scope,
                                   unsigned users)
{
    size_t size = wire_mark(wire);
    struct encoded_record *record =
        size > LARGE_BYTES ? place_alone(wire->next, size) : place(writing, wire->next, size);
    record->scope = scope;
    record->size = (uint32_t)size;
    atomic_store_explicit(&record->users, users, memory_order_relaxed);
    if (own.scratch.capacity > SCRATCH_KEPT_MAX)
        buffer_free(&own.scratch);
    return record;
}

static void start(struct wire *wire)
{
    thread_watch(&own.end);
    wire_start(wire, &own.scratch);
}

struct encoded_record *encoded_span(const struct span_record *span, unsigned users)
{
    struct wire wire __attribute__((uninitialized));
    start(&wire);
    otlp_put_span(&wire, OTLP_SCOPE_RECORDS, span);
    return keep(&own.spans, &wire, span->scope, users);
}

struct encoded_record *encoded_log(const struct log_record *log, unsigned users)
{
    struct wire wire __attribute__((uninitialized));
    start(&wire);
    otlp_put_log(&wire, OTLP_SCOPE_RECORDS, log);
    return keep(&own.logs, &wire, log->scope, users);
}

struct encoded_record *encoded_plain_log(const struct log_record *log, const struct limit_settings *limits,
                                         unsigned users)
{
    struct wire wire __attribute__((uninitialized));
    start(&wire);
    if (!otlp_put_plain_log(&wire, OTLP_SCOPE_RECORDS, log, limits))
        return NULL;
    return keep(&own.logs, &wire, log->scope, users);
}

struct otlp_message encoded_attributes(struct arena *arena, const struct otel_attribute *attributes, unsigned count)
{
    struct wire wire __attribute__((uninitialized));
    start(&wire);
    otlp_put_attributes(&wire, OTLP_SPAN_ATTRIBUTES, attributes, count);
    size_t size = wire_mark(&wire);
    return (struct otlp_message){.data = arena_copy(arena, wire.next, size), .size = size};
}

static bool is_last_user(struct encoded_record *record)
{
    return atomic_load_explicit(&record->users, memory_order_acquire) == 1 ||
           atomic_fetch_sub_explicit(&record->users, 1, memory_order_acq_rel) == 1;
}

/* Neighbours mostly lie in the same chunk, which is then told once of all of them. */
void encoded_release(void *const *records, unsigned count)
{
    struct encoded_chunk *chunk = NULL;
    uint32_t released = 0;
    for (unsigned i = 0; i < count; i++) {
        struct encoded_record *record = records[i];
        if (!is_last_user(record))
            continue;
        if (record->chunk != chunk) {
            leave(chunk, released);
            chunk = record->chunk;
            released = 0;
        }
        released++;
    }
    leave(chunk, released);
}
