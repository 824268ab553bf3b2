/* Records that are not in use wait in a ring, with the memory of their arenas: up to a number, the rest is freed. Those
 * in use are bounded by the queues of the processors. */
#include <pthread.h>
#include <stdlib.h>

#include "common/mem.h"
#include "otel/logs/internal.h"
#include "otel/sdk/ring.h"
#include "otel/sdk/thread.h"

enum { IDLE_MAX = 1024, RECORD_CHUNK_BYTES = 2048 };

struct pooled {
    struct log_record record;
    const char *home_end; /* of the arena's one chunk, while it has no more */
    _Atomic(unsigned) users;
};

static struct ring idle;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void own_end(void);

/* What this thread released last is what it takes next, while it is in this core's cache. */
static _Thread_local struct {
    struct pooled *record;
    struct thread_own end;
} own = {.end.give_back = own_end};

static void pooled_free(struct pooled *pooled)
{
    arena_done(&pooled->record.arena);
    free(pooled);
}

static void own_end(void)
{
    if (own.record)
        pooled_free(own.record);
    own.record = NULL;
}

static void pool_init(void)
{
    ring_init(&idle, IDLE_MAX);
}

/* By the thread that takes it: the one that exported it is to leave its memory alone. */
static void clear(struct pooled *pooled)
{
    struct arena arena = pooled->record.arena;
    arena_reset(&arena);
    pooled->home_end = arena.end;
    pooled->record = (struct log_record){.arena = arena};
}

static struct pooled *pooled_new(void)
{
    struct pooled *pooled = mem_alloc(sizeof *pooled);
    arena_init(&pooled->record.arena, RECORD_CHUNK_BYTES);
    arena_alloc_raw(&pooled->record.arena, 1);
    return pooled;
}

static struct pooled *pooled_take(void)
{
    struct pooled *pooled = own.record;
    own.record = NULL;
    if (!own.end.watched) {
        pthread_once(&once, pool_init);
        thread_watch(&own.end);
    }
    if (!pooled)
        pooled = ring_take(&idle);
    return pooled ? pooled : pooled_new();
}

struct log_record *log_record_take(unsigned users)
{
    struct pooled *pooled = pooled_take();
    clear(pooled);
    atomic_store_explicit(&pooled->users, users, memory_order_relaxed);
    return &pooled->record;
}

void log_record_release(void *record)
{
    struct pooled *pooled = container_of(record, struct pooled, record);
    bool last = atomic_load_explicit(&pooled->users, memory_order_acquire) == 1 ||
                atomic_fetch_sub_explicit(&pooled->users, 1, memory_order_acq_rel) == 1;
    if (!last)
        return;
    if (pooled->record.arena.end != pooled->home_end)
        clear(pooled); /* a large record's memory is not kept */
    if (own.end.watched && !own.record)
        own.record = pooled;
    else if (!ring_put(&idle, pooled, NULL))
        pooled_free(pooled);
}

void log_records_free(void)
{
    struct pooled *pooled;
    pthread_once(&once, pool_init);
    while ((pooled = ring_take(&idle)) != NULL)
        pooled_free(pooled);
}
