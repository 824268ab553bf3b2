#include "otel/metrics/reader.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "otel/logs/bridge.h"
#include "otel/sdk/keep.h"

enum { READER_ARENA_BYTES = 2048 };

/* --- its thread */

static bool send(struct reader *reader, struct collection *collection, int64_t deadline_ns)
{
    struct export_batch batch = {.signal = SIGNAL_METRICS,
                                 .resource = &reader->resource,
                                 .count = collection->count,
                                 .metrics = collection->metrics};
    if (collection->count == 0)
        return true;
    struct export_result result = exporting_send(&reader->exporting, &batch, collection->point_count, deadline_ns);
    return result.ok && result.rejected == 0;
}

static void collect_now(struct reader *reader, struct collection *collection)
{
    int64_t start_ns = clock_now_ns();
    collect(collection, reader->id, reader->last_wall_ns);
    reader->last_wall_ns = collection->wall_ns;
    component_operation(&reader->component, (double)(clock_now_ns() - start_ns) / NS_PER_S, NULL);
}

static bool export_now(struct reader *reader, int64_t deadline_ns)
{
    struct collection collection;
    collection_init(&collection);
    collect_now(reader, &collection);
    bool ok = send(reader, &collection, deadline_ns);
    collection_done(&collection);
    return ok;
}

static void collect_retired(struct reader *reader, struct collection *collection)
{
    pthread_mutex_lock(&collect_lock);
    collection->wall_ns = clock_wall_ns();
    for (unsigned i = 0; i < reader->retired_count; i++) {
        collect_store(collection, reader->retired[i], reader->last_wall_ns);
        store_give(reader->retired[i]);
    }
    free(reader->retired);
    reader->retired = NULL;
    reader->retired_count = 0;
    pthread_mutex_unlock(&collect_lock);
}

/* On their own: beside new points of the same names they would contradict them. */
static bool export_retired(struct reader *reader, int64_t deadline_ns)
{
    struct collection collection;
    collection_init(&collection);
    collect_retired(reader, &collection);
    bool ok = send(reader, &collection, deadline_ns);
    collection_done(&collection);
    return ok;
}

static int64_t export_deadline(const struct reader *reader)
{
    int timeout_ms = reader->settings.timeout_ms;
    return timeout_ms > 0 ? clock_now_ns() + timeout_ms * NS_PER_MS : CLOCK_NEVER;
}

static int64_t interval_ns(const struct reader *reader)
{
    return (reader->settings.interval_ms > 0 ? reader->settings.interval_ms : 1) * NS_PER_MS;
}

static void sleep_until(struct reader *reader, int64_t at_ns)
{
    struct timespec at = {.tv_sec = at_ns / NS_PER_S, .tv_nsec = at_ns % NS_PER_S};
    pthread_cond_clockwait(&reader->changed, &reader->lock, CLOCK_MONOTONIC, &at);
}

/* One turn of a running reader, with its lock. */
static void take_turn(struct reader *reader, int64_t *next_ns)
{
    uint64_t round = reader->asked;
    int64_t now_ns = clock_now_ns(), asked_deadline_ns = reader->deadline_ns;
    bool asked = round != reader->answered, due = now_ns >= *next_ns, retires = reader->retires;
    if (!asked && !due && !retires) {
        sleep_until(reader, *next_ns);
        return;
    }
    reader->retires = false;
    pthread_mutex_unlock(&reader->lock);
    int64_t deadline_ns = export_deadline(reader);
    if (asked && asked_deadline_ns < deadline_ns)
        deadline_ns = asked_deadline_ns;
    bool ok = export_retired(reader, deadline_ns);
    if (asked || due)
        ok &= export_now(reader, deadline_ns);
    while (*next_ns <= now_ns)
        *next_ns += interval_ns(reader);
    pthread_mutex_lock(&reader->lock);
    if (!asked)
        return;
    reader->answered = round;
    reader->answer = ok;
    pthread_cond_broadcast(&reader->changed);
}

static void *run(void *arg)
{
    struct reader *reader = arg;
    bridge_mute();
    pthread_mutex_lock(&reader->lock);
    while (reader->state == READER_WAITING)
        pthread_cond_wait(&reader->changed, &reader->lock);
    int64_t next_ns = clock_now_ns() + interval_ns(reader);
    while (reader->state == READER_RUNNING)
        take_turn(reader, &next_ns);
    bool leaves = reader->state == READER_LEAVING;
    int64_t deadline_ns = reader->deadline_ns;
    pthread_mutex_unlock(&reader->lock);
    if (leaves)
        reader->answer = export_retired(reader, deadline_ns);
    return NULL;
}

/* --- from outside */

static void set_state(struct reader *reader, int state, int64_t deadline_ns)
{
    pthread_mutex_lock(&reader->lock);
    reader->state = state;
    reader->deadline_ns = deadline_ns;
    pthread_cond_broadcast(&reader->changed);
    pthread_mutex_unlock(&reader->lock);
}

void reader_start(struct reader *reader)
{
    set_state(reader, READER_RUNNING, CLOCK_NEVER);
}

void reader_retire(struct reader *reader, struct store *store)
{
    reader->retired = mem_resize(reader->retired, reader->retired_count + 1, sizeof(struct store *));
    reader->retired[reader->retired_count++] = store_take(store);
}

void reader_wake(struct reader *reader)
{
    pthread_mutex_lock(&reader->lock);
    reader->retires = true;
    pthread_cond_broadcast(&reader->changed);
    pthread_mutex_unlock(&reader->lock);
}

uint64_t reader_ask(struct reader *reader, int64_t deadline_ns)
{
    pthread_mutex_lock(&reader->lock);
    uint64_t round = ++reader->asked;
    reader->deadline_ns = deadline_ns;
    pthread_cond_broadcast(&reader->changed);
    pthread_mutex_unlock(&reader->lock);
    return round;
}

bool reader_await(struct reader *reader, uint64_t round, int64_t deadline_ns)
{
    pthread_mutex_lock(&reader->lock);
    while (reader->answered < round && clock_now_ns() < deadline_ns)
        sleep_until(reader, deadline_ns);
    bool ok = reader->answered >= round && reader->answer;
    pthread_mutex_unlock(&reader->lock);
    return ok;
}

void reader_leave(struct reader *reader, int64_t deadline_ns)
{
    if (reader->pull)
        return;
    exporting_hurry(&reader->exporting, deadline_ns);
    set_state(reader, READER_LEAVING, deadline_ns);
}

static void reader_free(struct reader *reader)
{
    for (unsigned i = 0; i < reader->retired_count; i++)
        store_give(reader->retired[i]);
    free(reader->retired);
    component_remove(&reader->component);
    if (!reader->pull)
        exporting_close(&reader->exporting);
    pthread_cond_destroy(&reader->changed);
    pthread_mutex_destroy(&reader->lock);
    arena_done(&reader->arena);
    free(reader);
}

bool reader_close(struct reader *reader)
{
    if (!reader->pull)
        pthread_join(reader->thread, NULL);
    bool ok = reader->pull || reader->answer;
    reader_free(reader);
    return ok;
}

void reader_discard(struct reader *reader)
{
    if (!reader->pull)
        set_state(reader, READER_DISCARDED, 0);
    reader_close(reader);
}

/* --- opening */

static struct reader *reader_new(const struct reader_settings *settings, const struct sdk_resource *resource, int id)
{
    struct reader *reader = mem_alloc(sizeof *reader);
    arena_init(&reader->arena, READER_ARENA_BYTES);
    reader->id = id;
    reader->pull = settings->pull;
    reader->settings = *settings;
    reader->settings.exporter = exporter_settings_copy(&reader->arena, &settings->exporter);
    reader->resource = resource_copy(&reader->arena, resource);
    pthread_mutex_init(&reader->lock, NULL);
    pthread_cond_init(&reader->changed, NULL);
    reader->component.role = COMPONENT_READER;
    reader->component.signal = SIGNAL_METRICS;
    reader->component.type =
        settings->pull ? exporter_type(EXPORT_PROMETHEUS, SIGNAL_METRICS) : "periodic_metric_reader";
    list_init(&reader->component.list);
    return reader;
}

/* The thread takes no signals: they are the business of the program's own threads. */
static int start_thread(struct reader *reader)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&reader->thread, NULL, run, reader);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        pthread_setname_np(reader->thread, "otel-metrics");
    return rc;
}

static void abandon(struct reader *reader)
{
    pthread_cond_destroy(&reader->changed);
    pthread_mutex_destroy(&reader->lock);
    arena_done(&reader->arena);
    free(reader);
}

struct reader *reader_open(const struct reader_settings *settings, const struct sdk_resource *resource, int id,
                           char *message, size_t message_bytes)
{
    struct reader *reader = reader_new(settings, resource, id);
    if (!reader->pull && !exporting_open(&reader->exporting, &settings->exporter, SIGNAL_METRICS, &reader->arena,
                                         message, message_bytes)) {
        abandon(reader);
        return NULL;
    }
    int rc = reader->pull ? 0 : start_thread(reader);
    if (rc == 0) {
        component_add(&reader->component);
        return reader;
    }
    snprintf(message, message_bytes, "cannot start a metric reader's thread: %s", strerrordesc_np(rc));
    exporting_close(&reader->exporting);
    abandon(reader);
    return NULL;
}

bool reader_matches(const struct reader *reader, const struct reader_settings *settings,
                    const struct sdk_resource *resource)
{
    return reader_settings_equal(&reader->settings, settings) && resource_equal(&reader->resource, resource);
}

struct stream_reader reader_streams(const struct reader *reader)
{
    return (struct stream_reader){.id = reader->id,
                                  .cumulative = reader->pull,
                                  .preference = reader->settings.exporter.temporality,
                                  .default_histogram = reader->settings.exporter.default_histogram,
                                  .limits = reader->settings.cardinality_limits};
}
