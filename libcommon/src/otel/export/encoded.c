/* A thread writes its records one behind the other into a chunk of memory; whoever releases the last record of a chunk
 * that is full gives it back. The chunk given back last is used next, while it is still in a cache. A record that is
 * large has a chunk of its own. */
#include <pthread.h>
#include <stdlib.h>

#include "common/mem.h"
#include "otel/export/otlp.h"
#include "otel/sdk/buffer.h"

enum {
    CHUNK_BYTES = 32768,
    LARGE_BYTES = CHUNK_BYTES / 4,
    CHUNKS_KEPT = 64,
    SCRATCH_KEPT_MAX = 65536,
    FETCHED_BYTES = 512,
    CACHE_LINE_BYTES = 64,
    STILL_WRITTEN = 1 << 30
};

struct encoded_chunk {
    struct encoded_chunk *next;
    _Atomic(uint32_t) left; /* records not released, and STILL_WRITTEN less those that have been made */
    _Alignas(8) uint8_t data[];
};

static struct {
    pthread_mutex_t lock;
    struct encoded_chunk *first;
    unsigned count;
} spare = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* This thread's. */
static _Thread_local struct {
    struct buffer scratch;
    struct encoded_chunk *chunk; /* NULL: none yet */
    size_t used;
    uint32_t made;
    bool watched; /* all of it is given back when the thread ends */
} own;

static pthread_key_t own_key;

/* --- chunks */

static struct encoded_chunk *chunk_new(size_t bytes)
{
    struct encoded_chunk *chunk = mem_resize(NULL, 1, sizeof *chunk + bytes);
    chunk->left = STILL_WRITTEN;
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
        return chunk_new(CHUNK_BYTES);
    chunk->left = STILL_WRITTEN;
    return chunk;
}

static void chunk_give(struct encoded_chunk *chunk)
{
    pthread_mutex_lock(&spare.lock);
    bool keep = spare.count < CHUNKS_KEPT;
    if (keep) {
        chunk->next = spare.first;
        spare.first = chunk;
        spare.count++;
    }
    pthread_mutex_unlock(&spare.lock);
    if (!keep)
        free(chunk);
}

/* True: the chunk was written to the end, and its last record has been released. */
static bool chunk_leave(struct encoded_chunk *chunk, uint32_t count)
{
    return atomic_fetch_sub_explicit(&chunk->left, count, memory_order_acq_rel) == count;
}

static void own_close(void)
{
    if (own.chunk && chunk_leave(own.chunk, STILL_WRITTEN - own.made))
        chunk_give(own.chunk);
    own.chunk = NULL;
}

static void own_end(void *unused)
{
    (void)unused;
    own_close();
    buffer_free(&own.scratch);
    own.watched = false;
}

static void make_key(void)
{
    pthread_key_create(&own_key, own_end);
}

static void own_watch(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    pthread_setspecific(own_key, &own);
    own.watched = true;
}

/* --- records */

/* The exporting thread read the chunk last. Until the next record comes, the memory for it can. */
static void fetch_ahead(void)
{
    size_t end = own.used + FETCHED_BYTES < CHUNK_BYTES ? own.used + FETCHED_BYTES : CHUNK_BYTES;
    for (size_t at = own.used; at < end; at += CACHE_LINE_BYTES)
        __builtin_prefetch(own.chunk->data + at, 1);
}

static struct encoded_record *place(size_t bytes)
{
    if (!own.chunk || CHUNK_BYTES - own.used < bytes) {
        own_close();
        own.chunk = chunk_take();
        own.used = own.made = 0;
    }
    struct encoded_record *record = (struct encoded_record *)(own.chunk->data + own.used);
    own.used += bytes;
    own.made++;
    fetch_ahead();
    record->chunk = own.chunk;
    return record;
}

static struct encoded_record *place_alone(size_t bytes)
{
    struct encoded_chunk *chunk = chunk_new(bytes);
    struct encoded_record *record = (struct encoded_record *)chunk->data;
    record->chunk = chunk;
    return record;
}

static bool is_alone(const struct encoded_record *record)
{
    return record->size > LARGE_BYTES;
}

static struct encoded_record *keep(const struct wire *wire, const struct sdk_scope *scope, unsigned users)
{
    size_t size = wire_mark(wire);
    size_t bytes = (sizeof(struct encoded_record) + size + 7) & ~(size_t)7;
    struct encoded_record *record = size > LARGE_BYTES ? place_alone(bytes) : place(bytes);
    record->scope = scope;
    record->size = (uint32_t)size;
    atomic_store_explicit(&record->users, users, memory_order_relaxed);
    memcpy(record->bytes, wire->next, size);
    if (own.scratch.capacity > SCRATCH_KEPT_MAX)
        buffer_free(&own.scratch);
    return record;
}

static void start(struct wire *wire)
{
    if (!own.watched)
        own_watch();
    wire_start(wire, &own.scratch);
}

struct encoded_record *encoded_span(const struct span_record *span, unsigned users)
{
    struct wire wire __attribute__((uninitialized));
    start(&wire);
    otlp_put_span(&wire, OTLP_SCOPE_RECORDS, span);
    return keep(&wire, span->scope, users);
}

struct encoded_record *encoded_log(const struct log_record *log, unsigned users)
{
    struct wire wire __attribute__((uninitialized));
    start(&wire);
    otlp_put_log(&wire, OTLP_SCOPE_RECORDS, log);
    return keep(&wire, log->scope, users);
}

struct encoded_record *encoded_plain_log(const struct log_record *log, const struct limit_settings *limits,
                                         unsigned users)
{
    struct wire wire __attribute__((uninitialized));
    start(&wire);
    return otlp_put_plain_log(&wire, OTLP_SCOPE_RECORDS, log, limits) ? keep(&wire, log->scope, users) : NULL;
}

struct otlp_message encoded_attributes(struct arena *arena, const struct otel_attribute *attributes, unsigned count)
{
    struct wire wire __attribute__((uninitialized));
    start(&wire);
    otlp_put_attributes(&wire, OTLP_SPAN_ATTRIBUTES, attributes, count);
    size_t size = wire_mark(&wire);
    return (struct otlp_message){.data = arena_copy(arena, wire.next, size), .size = size};
}

static void leave(struct encoded_chunk *chunk, uint32_t count)
{
    if (count > 0 && chunk_leave(chunk, count))
        chunk_give(chunk);
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
        if (is_alone(record)) {
            free(record->chunk);
            continue;
        }
        if (record->chunk != chunk) {
            leave(chunk, released);
            chunk = record->chunk;
            released = 0;
        }
        released++;
    }
    leave(chunk, released);
}
