/* Producers meet the thread only in the ring and in wake_at: the number of waiting records at which a sleeping thread
 * wants to be woken, 0 while it is awake. The ring's head and wake_at are written and then read crosswise, all of it
 * sequentially consistent, so that either the producer sees that the thread sleeps or the thread sees the record. */
#include "otel/sdk/batch.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "otel/logs/bridge.h"
#include "otel/sdk/export.h"
#include "otel/sdk/keep.h"
#include "otel/sdk/ring.h"

/* A simple processor has no queue of its own in the specification, nor a limit of an export's time. */
enum { SIMPLE_QUEUE_SIZE = 2048, SIMPLE_TIMEOUT_MS = 30000 };

struct batch_processor {
    struct arena arena;                 /* of the copies */
    struct processor_settings settings; /* as they were given; its exporter's live in exporting */
    struct sdk_resource resource;
    unsigned batch_max, enough;   /* enough: to leave without waiting for more */
    int64_t delay_ns, timeout_ns; /* timeout CLOCK_NEVER: none */
    const struct record_kind *kind;
    struct exporting exporting;
    struct component component;

    struct ring ring;
    _Atomic(uint64_t) wake_at;
    sem_t bell;

    pthread_t thread;
    void **records; /* of the batch that is being exported */
    int64_t due_ns; /* thread only: when a smaller batch leaves, too */

    _Atomic(uint64_t) flush_to; /* a position of the ring that somebody waits for */
    _Atomic(int64_t) stop_ns;   /* deadline; CLOCK_NEVER: not stopping */

    pthread_mutex_t lock; /* the rest */
    pthread_cond_t progress;
    uint64_t done_to; /* the position that was reached */
    uint64_t lost;    /* records that were not exported, ever */
};

/* --- the alarm */

static void ring_bell(struct batch_processor *batch)
{
    if (atomic_exchange(&batch->wake_at, 0) != 0)
        sem_post(&batch->bell);
}

static uint64_t waiting(const struct batch_processor *batch)
{
    return ring_count(&batch->ring);
}

static bool stopping(const struct batch_processor *batch)
{
    return atomic_load(&batch->stop_ns) != CLOCK_NEVER;
}

static bool told_to_hurry(const struct batch_processor *batch)
{
    return stopping(batch) || atomic_load(&batch->flush_to) > ring_tail(&batch->ring);
}

static void sleep_until(struct batch_processor *batch, int64_t at_ns)
{
    struct timespec at = {.tv_sec = at_ns / NS_PER_S, .tv_nsec = at_ns % NS_PER_S};
    int rc;
    do
        rc = at_ns == CLOCK_NEVER ? sem_wait(&batch->bell) : sem_clockwait(&batch->bell, CLOCK_MONOTONIC, &at);
    while (rc < 0 && errno == EINTR);
    if (rc < 0 && atomic_exchange(&batch->wake_at, 0) == 0)
        sem_wait(&batch->bell); /* somebody woke us in the same moment */
}

/* Sleeps until count records wait, at_ns has come, or somebody flushes or stops. */
static void wait_for(struct batch_processor *batch, uint64_t count, int64_t at_ns)
{
    atomic_store(&batch->wake_at, count);
    bool needless = waiting(batch) >= count || told_to_hurry(batch);
    if (needless && atomic_exchange(&batch->wake_at, 0) != 0)
        return;
    sleep_until(batch, at_ns);
}

/* --- exporting */

static unsigned take(struct batch_processor *batch)
{
    unsigned count = 0, most = batch->batch_max;
    while (count < most && waiting(batch) > 0) {
        unsigned taken = ring_take_many(&batch->ring, batch->records + count, most - count);
        count += taken;
        if (taken == 0)
            sched_yield(); /* the next one's producer is between two instructions */
    }
    return count;
}

static void release(const struct batch_processor *batch, void *const *records, unsigned count)
{
    if (batch_takes_encoded(batch)) {
        encoded_release(records, count);
        return;
    }
    for (unsigned i = 0; i < count; i++)
        batch->kind->release(records[i]);
}

static int64_t export_deadline(const struct batch_processor *batch)
{
    int64_t stop_ns = atomic_load(&batch->stop_ns);
    if (batch->timeout_ns == CLOCK_NEVER)
        return stop_ns;
    int64_t deadline_ns = clock_now_ns() + batch->timeout_ns;
    return deadline_ns < stop_ns ? deadline_ns : stop_ns;
}

static uint64_t send(struct batch_processor *batch, unsigned count)
{
    struct export_batch out = {.signal = batch->kind->signal, .resource = &batch->resource, .count = count};
    out.encoded = batch_takes_encoded(batch);
    if (out.encoded)
        out.records = (struct encoded_record *const *)batch->records;
    else if (batch->kind->signal == SIGNAL_TRACES)
        out.spans = (struct span_record *const *)batch->records;
    else
        out.logs = (struct log_record *const *)batch->records;
    struct export_result result = exporting_send(&batch->exporting, &out, count, export_deadline(batch));
    if (!result.ok)
        return count;
    return result.rejected < count ? result.rejected : count;
}

static void tell_progress(struct batch_processor *batch, uint64_t lost)
{
    pthread_mutex_lock(&batch->lock);
    batch->done_to = ring_tail(&batch->ring);
    batch->lost += lost;
    pthread_cond_broadcast(&batch->progress);
    pthread_mutex_unlock(&batch->lock);
}

static void set_due(struct batch_processor *batch)
{
    batch->due_ns = batch->delay_ns > 0 ? clock_now_ns() + batch->delay_ns : CLOCK_NEVER;
}

static void export_one_batch(struct batch_processor *batch)
{
    unsigned count = take(batch);
    atomic_fetch_add_explicit(&batch->component.done, count, memory_order_relaxed);
    uint64_t lost = send(batch, count);
    release(batch, batch->records, count);
    tell_progress(batch, lost);
    set_due(batch);
}

/* True when a batch is to leave now, after at most one sleep. A simple processor's thread is woken by each record.
 * Others look at the queue every schedule_delay_ms, so that the first record of a quiet time wakes nobody: that would
 * cost its maker several microseconds. */
static bool await_batch(struct batch_processor *batch)
{
    uint64_t count = waiting(batch);
    if (count >= batch->enough || (count > 0 && told_to_hurry(batch)))
        return true;
    if (clock_now_ns() >= batch->due_ns) {
        set_due(batch);
        return count > 0;
    }
    wait_for(batch, batch->enough, batch->due_ns);
    return false;
}

static void *run(void *arg)
{
    struct batch_processor *batch = arg;
    bridge_mute();
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &(struct sched_param){0}); /* wakes up behind who works */
    set_due(batch);
    while (!stopping(batch))
        if (await_batch(batch))
            export_one_batch(batch);
    while (waiting(batch) > 0 && clock_now_ns() < atomic_load(&batch->stop_ns))
        export_one_batch(batch);
    return NULL;
}

/* --- from outside */

bool batch_takes_encoded(const struct batch_processor *batch)
{
    return batch->exporting.exporter->methods->takes_encoded;
}

bool batch_is_full(const struct batch_processor *batch)
{
    return ring_is_full(&batch->ring);
}

void batch_drop(struct batch_processor *batch)
{
    component_failed(&batch->component, "queue_full", 1);
}

bool batch_add(struct batch_processor *batch, void *record)
{
    uint64_t position;
    if (!ring_put(&batch->ring, record, &position)) {
        batch_drop(batch);
        release(batch, &record, 1);
        return false;
    }
    uint64_t wake_at = atomic_load(&batch->wake_at);
    if (wake_at != 0 && position + 1 - ring_tail(&batch->ring) >= wake_at)
        ring_bell(batch);
    return true;
}

static bool wait_for_progress(struct batch_processor *batch, uint64_t position, int64_t deadline_ns)
{
    struct timespec at = {.tv_sec = deadline_ns / NS_PER_S, .tv_nsec = deadline_ns % NS_PER_S};
    int rc = 0;
    while (rc == 0 && batch->done_to < position)
        rc = pthread_cond_clockwait(&batch->progress, &batch->lock, CLOCK_MONOTONIC, &at);
    return batch->done_to >= position;
}

/* What a flush waits for. */
struct flush {
    uint64_t position, lost;
};

static struct flush flush_begin(struct batch_processor *batch)
{
    pthread_mutex_lock(&batch->lock);
    struct flush flush = {.position = ring_head(&batch->ring), .lost = batch->lost};
    if (flush.position > atomic_load(&batch->flush_to))
        atomic_store(&batch->flush_to, flush.position);
    pthread_mutex_unlock(&batch->lock);
    ring_bell(batch);
    return flush;
}

static bool flush_end(struct batch_processor *batch, struct flush flush, int64_t deadline_ns)
{
    pthread_mutex_lock(&batch->lock);
    bool ok = wait_for_progress(batch, flush.position, deadline_ns) && batch->lost == flush.lost;
    pthread_mutex_unlock(&batch->lock);
    return ok;
}

bool batch_flush(struct batch_processor *batch, int64_t deadline_ns)
{
    return batches_flush(&batch, 1, deadline_ns);
}

bool batches_flush(struct batch_processor *const *batches, unsigned count, int64_t deadline_ns)
{
    struct flush *flushes = mem_array(count, sizeof *flushes);
    bool ok = true;
    for (unsigned i = 0; i < count; i++)
        flushes[i] = flush_begin(batches[i]);
    for (unsigned i = 0; i < count; i++)
        ok &= flush_end(batches[i], flushes[i], deadline_ns);
    free(flushes);
    return ok;
}

/* The record as the heir takes such. */
static void *as_taken_by(const struct batch_processor *batch, const struct batch_processor *heir, void *record)
{
    bool encoded = batch_takes_encoded(batch);
    if (encoded == batch_takes_encoded(heir))
        return record;
    void *other = encoded ? batch->kind->decode(record) : batch->kind->encode(record, 1);
    release(batch, &record, 1);
    return other;
}

/* What the thread left behind. */
static uint64_t hand_on(struct batch_processor *batch, struct batch_processor *heir)
{
    uint64_t count = 0;
    for (void *record; (record = ring_take(&batch->ring)); count++) {
        if (heir)
            batch_add(heir, as_taken_by(batch, heir, record));
        else
            release(batch, &record, 1);
    }
    if (count > 0 && !heir)
        component_failed(&batch->component, "shutdown", count);
    return count;
}

static void batch_free(struct batch_processor *batch)
{
    component_remove(&batch->component);
    ring_done(&batch->ring);
    pthread_cond_destroy(&batch->progress);
    pthread_mutex_destroy(&batch->lock);
    sem_destroy(&batch->bell);
    arena_done(&batch->arena);
    free(batch->records);
    free(batch);
}

/* Returns how many records had been lost before. */
static uint64_t stop_begin(struct batch_processor *batch, int64_t deadline_ns)
{
    pthread_mutex_lock(&batch->lock);
    uint64_t lost = batch->lost;
    pthread_mutex_unlock(&batch->lock);
    atomic_store(&batch->stop_ns, deadline_ns == CLOCK_NEVER ? CLOCK_NEVER - 1 : deadline_ns);
    exporting_hurry(&batch->exporting, deadline_ns);
    ring_bell(batch);
    return lost;
}

static bool stop_end(struct batch_processor *batch, uint64_t lost_before, struct batch_processor *heir)
{
    pthread_join(batch->thread, NULL);
    bool ok = hand_on(batch, heir) == 0 && batch->lost == lost_before;
    exporting_close(&batch->exporting);
    batch_free(batch);
    return ok;
}

bool batch_stop(struct batch_processor *batch, int64_t deadline_ns, struct batch_processor *heir)
{
    return batches_stop(&batch, &heir, 1, deadline_ns);
}

bool batches_stop(struct batch_processor *const *batches, struct batch_processor *const *heirs, unsigned count,
                  int64_t deadline_ns)
{
    uint64_t *lost = mem_array(count, sizeof *lost);
    bool ok = true;
    for (unsigned i = 0; i < count; i++)
        lost[i] = stop_begin(batches[i], deadline_ns);
    for (unsigned i = 0; i < count; i++)
        ok &= stop_end(batches[i], lost[i], heirs[i]);
    free(lost);
    return ok;
}

/* --- start */

bool batch_matches(const struct batch_processor *batch, const struct processor_settings *settings,
                   const struct sdk_resource *resource)
{
    struct processor_settings own = batch->settings;
    own.exporter = batch->exporting.settings;
    return processor_settings_equal(&own, settings) && resource_equal(&batch->resource, resource);
}

static const char *component_type(bool batch, enum signal signal)
{
    if (signal == SIGNAL_TRACES)
        return batch ? "batching_span_processor" : "simple_span_processor";
    return batch ? "batching_log_processor" : "simple_log_processor";
}

static int64_t timeout_ns(int timeout_ms)
{
    return timeout_ms > 0 ? timeout_ms * NS_PER_MS : CLOCK_NEVER;
}

static struct batch_processor *batch_new(const struct processor_settings *settings, const struct sdk_resource *resource,
                                         const struct record_kind *kind)
{
    struct batch_processor *batch = mem_alloc(sizeof *batch);
    bool simple = !settings->batch;
    unsigned queue_size = simple || settings->max_queue_size == 0 ? SIMPLE_QUEUE_SIZE : settings->max_queue_size;
    unsigned batch_max = simple || settings->max_export_batch_size == 0 ? 1 : settings->max_export_batch_size;
    batch->settings = *settings;
    batch->batch_max = batch_max < queue_size ? batch_max : queue_size;
    batch->delay_ns = simple ? 0 : settings->schedule_delay_ms * NS_PER_MS;
    batch->enough = batch->delay_ns > 0 ? batch->batch_max : 1;
    batch->timeout_ns = timeout_ns(simple ? SIMPLE_TIMEOUT_MS : settings->export_timeout_ms);
    batch->kind = kind;
    batch->stop_ns = CLOCK_NEVER;
    batch->records = mem_array(batch->batch_max, sizeof *batch->records);
    arena_init(&batch->arena, 2048);
    batch->resource = resource_copy(&batch->arena, resource);
    ring_init(&batch->ring, queue_size);
    sem_init(&batch->bell, 0, 0);
    pthread_mutex_init(&batch->lock, NULL);
    pthread_cond_init(&batch->progress, NULL);
    batch->component.role = COMPONENT_PROCESSOR;
    batch->component.signal = kind->signal;
    batch->component.type = component_type(settings->batch, kind->signal);
    batch->component.queue = &batch->ring;
    batch->component.queue_capacity = queue_size;
    list_init(&batch->component.list);
    component_add(&batch->component);
    return batch;
}

/* The thread takes no signals: they are the business of the program's own threads. */
static int start_thread(struct batch_processor *batch)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&batch->thread, NULL, run, batch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        pthread_setname_np(batch->thread, batch->kind->signal == SIGNAL_TRACES ? "otel-spans" : "otel-logs");
    return rc;
}

struct batch_processor *batch_start(const struct processor_settings *settings, const struct sdk_resource *resource,
                                    const struct record_kind *kind, char *message, size_t message_bytes)
{
    struct batch_processor *batch = batch_new(settings, resource, kind);
    if (!exporting_open(&batch->exporting, &settings->exporter, kind->signal, &batch->arena, message, message_bytes)) {
        batch_free(batch);
        return NULL;
    }
    int rc = start_thread(batch);
    if (rc == 0)
        return batch;
    snprintf(message, message_bytes, "cannot start an exporter's thread: %s", strerrordesc_np(rc));
    exporting_close(&batch->exporting);
    batch_free(batch);
    return NULL;
}
