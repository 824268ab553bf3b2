/* Counts of spans and logs are sharded: each thread adds to the shard of its slot without a lock prefix, the collection
 * sums them up. Counts of components live in the components; what a removed one had counted stays in the tally of its
 * name, where the next one of that name goes on. */
#include "otel/sdk/self.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/otel/metrics.h"
#include "otel/sdk/guard.h"

enum { ORIGINS = ORIGIN_REMOTE + 1, RESULTS = SAMPLED_RECORD + 1, SHARDS = 256, TALLIES_MAX = 64 };

static const char *const origin_names[ORIGINS] = {"none", "local", "remote"};
static const char *const result_names[RESULTS] = {"DROP", "RECORD_ONLY", "RECORD_AND_SAMPLE"};
static const char *const outcome_names[] = {"refused", "applied"};
/* The semantic conventions' word for an error that has no name. */
static const char other_error[] = "_OTHER";

/* --- spans, logs, reloads */

struct shard {
    _Alignas(64) _Atomic(uint64_t) started[ORIGINS][RESULTS];
    _Atomic(uint64_t) ended[RESULTS], logs;
};

/* The last one is shared by the threads that have no slot below it. */
static struct shard shards[SHARDS];
static _Atomic(uint64_t) reloads[array_count(outcome_names)];

static inline unsigned my_shard(void)
{
    const struct guard_thread *self = guard_self ? guard_self : guard_join();
    return self->slot < SHARDS - 1 ? self->slot : SHARDS - 1;
}

/* Release, so that whoever sees an end sees its start as well. */
static inline void shard_add(_Atomic(uint64_t) *count, unsigned shard)
{
    if (__builtin_expect(shard == SHARDS - 1, 0))
        atomic_fetch_add_explicit(count, 1, memory_order_release);
    else
        atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_release);
}

void self_span_started(enum span_origin origin, enum sampling_result result)
{
    unsigned shard = my_shard();
    shard_add(&shards[shard].started[origin][result], shard);
}

void self_span_ended(enum sampling_result result)
{
    unsigned shard = my_shard();
    shard_add(&shards[shard].ended[result], shard);
}

void self_log_created(void)
{
    unsigned shard = my_shard();
    shard_add(&shards[shard].logs, shard);
}

void self_reloaded(bool ok)
{
    atomic_fetch_add(&reloads[ok], 1);
}

static uint64_t started(unsigned origin, unsigned result)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < SHARDS; i++)
        sum += atomic_load_explicit(&shards[i].started[origin][result], memory_order_acquire);
    return sum;
}

static uint64_t ended(unsigned result)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < SHARDS; i++)
        sum += atomic_load_explicit(&shards[i].ended[result], memory_order_acquire);
    return sum;
}

static void observe_started(struct otel_observation *observation, void *arg)
{
    (void)arg;
    for (unsigned origin = 0; origin < ORIGINS; origin++)
        for (unsigned result = 0; result < RESULTS; result++)
            otel_observation_add(observation, (double)started(origin, result),
                                 OTEL_LIST(otel_text("otel.span.parent.origin", origin_names[origin]),
                                           otel_text("otel.span.sampling_result", result_names[result])));
}

static void observe_live(struct otel_observation *observation, void *arg)
{
    (void)arg;
    for (unsigned result = SAMPLED_RECORD_ONLY; result < RESULTS; result++) {
        uint64_t before = ended(result), live = 0; /* ends first: a live span is never less than none */
        for (unsigned origin = 0; origin < ORIGINS; origin++)
            live += started(origin, result);
        otel_observation_add(observation, (double)(live - before),
                             OTEL_LIST(otel_text("otel.span.sampling_result", result_names[result])));
    }
}

static void observe_logs(struct otel_observation *observation, void *arg)
{
    (void)arg;
    uint64_t sum = 0;
    for (unsigned i = 0; i < SHARDS; i++)
        sum += atomic_load_explicit(&shards[i].logs, memory_order_relaxed);
    otel_observation_add(observation, (double)sum, NULL, 0);
}

static void observe_reloads(struct otel_observation *observation, void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < array_count(outcome_names); i++)
        otel_observation_add(observation, (double)atomic_load(&reloads[i]),
                             OTEL_LIST(otel_text("libcommon.otel.config.outcome", outcome_names[i])));
}

/* --- components */

/* All that was ever counted under one name and address. */
struct tally {
    struct list list;
    struct component *component; /* the one that counts now, or NULL */
    enum component_role role;
    enum signal signal;
    const char *type;
    char name[sizeof((struct component *)NULL)->name];
    char *server_address; /* own copy, or NULL */
    int server_port;
    uint64_t done; /* by those that were removed; the same below */
    struct {
        const char *error;
        uint64_t count;
    } failed[COMPONENT_ERRORS_MAX];
};

/* Only held for moments, and nothing else is locked under it but the collection's own memory. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list tallies = {&tallies, &tallies}; /* in the order of their components' removal, present ones last */
static unsigned tally_count;

static bool name_taken(const char *name)
{
    list_each (node, &tallies) {
        const struct tally *tally = container_of(node, struct tally, list);
        if (tally->component && strcmp(tally->name, name) == 0)
            return true;
    }
    return false;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static struct tally *tally_find(const struct component *component)
{
    list_each (node, &tallies) {
        struct tally *tally = container_of(node, struct tally, list);
        if (strcmp(tally->name, component->name) == 0 && same_text(tally->server_address, component->server_address) &&
            tally->server_port == component->server_port)
            return tally;
    }
    return NULL;
}

/* Gives up the series that has been without a component for longest. */
static void tallies_bound(void)
{
    struct tally *oldest = container_of(tallies.next, struct tally, list);
    if (tally_count < TALLIES_MAX || oldest->component)
        return;
    list_remove(&oldest->list);
    free(oldest->server_address);
    free(oldest);
    tally_count--;
}

static struct tally *tally_new(const struct component *component)
{
    tallies_bound();
    struct tally *tally = mem_alloc(sizeof *tally);
    list_init(&tally->list);
    tally->role = component->role;
    tally->signal = component->signal;
    tally->type = component->type;
    memcpy(tally->name, component->name, sizeof tally->name);
    tally->server_address = mem_text(component->server_address);
    tally->server_port = component->server_port;
    tally_count++;
    return tally;
}

void component_add(struct component *component)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0;; i++) {
        snprintf(component->name, sizeof component->name, "%s/%u", component->type, i);
        if (!name_taken(component->name))
            break;
    }
    struct tally *tally = tally_find(component);
    if (!tally)
        tally = tally_new(component);
    tally->component = component;
    list_remove(&tally->list);
    list_append(&tallies, &tally->list);
    pthread_mutex_unlock(&lock);
}

static void tally_failed(struct tally *tally, const char *error, uint64_t count)
{
    unsigned i = 0;
    while (i < COMPONENT_ERRORS_MAX - 1 && tally->failed[i].error && strcmp(tally->failed[i].error, error) != 0)
        i++;
    tally->failed[i].error = i < COMPONENT_ERRORS_MAX - 1 ? error : other_error;
    tally->failed[i].count += count;
}

static void tally_take(struct tally *tally, struct component *component)
{
    tally->done += atomic_load(&component->done);
    for (unsigned i = 0; i < COMPONENT_ERRORS_MAX; i++) {
        const char *error = atomic_load(&component->failed[i].error);
        if (error)
            tally_failed(tally, error, atomic_load(&component->failed[i].count));
    }
    tally->component = NULL;
}

/* Its tally moves behind the others that have no component, before those that have. */
static void tally_retire(struct tally *tally)
{
    list_remove(&tally->list);
    struct list *present = tallies.next;
    while (present != &tallies && !container_of(present, struct tally, list)->component)
        present = present->next;
    list_append(present, &tally->list);
}

void component_remove(struct component *component)
{
    pthread_mutex_lock(&lock);
    list_each_safe (node, &tallies) {
        struct tally *tally = container_of(node, struct tally, list);
        if (tally->component != component)
            continue;
        tally_take(tally, component);
        tally_retire(tally);
        break;
    }
    pthread_mutex_unlock(&lock);
}

void component_failed(struct component *component, const char *error, uint64_t count)
{
    unsigned i = 0;
    for (; i < COMPONENT_ERRORS_MAX - 1; i++) {
        const char *here = NULL;
        if (atomic_compare_exchange_strong(&component->failed[i].error, &here, error) || strcmp(here, error) == 0)
            break;
    }
    if (i == COMPONENT_ERRORS_MAX - 1)
        atomic_store(&component->failed[i].error, other_error);
    atomic_fetch_add(&component->failed[i].count, count);
}

/* --- what is told about components */

enum { COMPONENT_ATTRIBUTES_MAX = 5 };

static unsigned describe(struct otel_attribute *out, const char *type, const char *name, const char *address, int port)
{
    unsigned count = 0;
    out[count++] = otel_text("otel.component.name", name);
    out[count++] = otel_text("otel.component.type", type);
    if (address) {
        out[count++] = otel_text("server.address", address);
        if (port > 0)
            out[count++] = otel_int("server.port", port);
    }
    return count;
}

enum quantity { QUEUE_SIZE, QUEUE_CAPACITY, DONE, INFLIGHT };

struct component_metric {
    const char *name, *unit, *description;
    enum component_role role;
    enum signal signal;
    enum quantity quantity;
};

#define SPANS  "{span}"
#define LOGS   "{log_record}"
#define POINTS "{data_point}"

static const struct component_metric component_metrics[] = {
    {"otel.sdk.processor.span.queue.size", SPANS,
     "The number of spans in the queue of a given instance of an SDK span processor.", COMPONENT_PROCESSOR,
     SIGNAL_TRACES, QUEUE_SIZE},
    {"otel.sdk.processor.span.queue.capacity", SPANS,
     "The maximum number of spans the queue of a given instance of an SDK span processor can hold.",
     COMPONENT_PROCESSOR, SIGNAL_TRACES, QUEUE_CAPACITY},
    {"otel.sdk.processor.span.processed", SPANS,
     "The number of spans for which the processing has finished, either successful or failed.", COMPONENT_PROCESSOR,
     SIGNAL_TRACES, DONE},
    {"otel.sdk.exporter.span.inflight", SPANS,
     "The number of spans which were passed to the exporter, but that have not been exported yet (neither successful, "
     "nor failed).",
     COMPONENT_EXPORTER, SIGNAL_TRACES, INFLIGHT},
    {"otel.sdk.exporter.span.exported", SPANS,
     "The number of spans for which the export has finished, either successful or failed.", COMPONENT_EXPORTER,
     SIGNAL_TRACES, DONE},
    {"otel.sdk.processor.log.queue.size", LOGS,
     "The number of log records in the queue of a given instance of an SDK log processor.", COMPONENT_PROCESSOR,
     SIGNAL_LOGS, QUEUE_SIZE},
    {"otel.sdk.processor.log.queue.capacity", LOGS,
     "The maximum number of log records the queue of a given instance of an SDK Log Record processor can hold.",
     COMPONENT_PROCESSOR, SIGNAL_LOGS, QUEUE_CAPACITY},
    {"otel.sdk.processor.log.processed", LOGS,
     "The number of log records for which the processing has finished, either successful or failed.",
     COMPONENT_PROCESSOR, SIGNAL_LOGS, DONE},
    {"otel.sdk.exporter.log.inflight", LOGS,
     "The number of log records which were passed to the exporter, but that have not been exported yet (neither "
     "successful, nor failed).",
     COMPONENT_EXPORTER, SIGNAL_LOGS, INFLIGHT},
    {"otel.sdk.exporter.log.exported", LOGS,
     "The number of log records for which the export has finished, either successful or failed.", COMPONENT_EXPORTER,
     SIGNAL_LOGS, DONE},
    {"otel.sdk.exporter.metric_data_point.inflight", POINTS,
     "The number of metric data points which were passed to the exporter, but that have not been exported yet (neither "
     "successful, nor failed).",
     COMPONENT_EXPORTER, SIGNAL_METRICS, INFLIGHT},
    {"otel.sdk.exporter.metric_data_point.exported", POINTS,
     "The number of metric data points for which the export has finished, either successful or failed.",
     COMPONENT_EXPORTER, SIGNAL_METRICS, DONE},
};

/* What the present component has counted comes on top. */
static void observe_outcomes(struct otel_observation *observation, const struct tally *tally,
                             struct otel_attribute *attributes, unsigned count)
{
    struct tally all = *tally;
    if (tally->component)
        tally_take(&all, tally->component);
    otel_observation_add(observation, (double)all.done, attributes, count);
    for (unsigned i = 0; i < COMPONENT_ERRORS_MAX; i++) {
        if (!all.failed[i].error)
            continue;
        attributes[count] = otel_text("error.type", all.failed[i].error);
        otel_observation_add(observation, (double)all.failed[i].count, attributes, count + 1);
    }
}

static void observe_tally(struct otel_observation *observation, const struct component_metric *metric,
                          const struct tally *tally)
{
    struct otel_attribute attributes[COMPONENT_ATTRIBUTES_MAX];
    unsigned count = describe(attributes, tally->type, tally->name, tally->server_address, tally->server_port);
    struct component *component = tally->component;
    if (metric->quantity == DONE) {
        observe_outcomes(observation, tally, attributes, count);
        return;
    }
    if (!component)
        return;
    uint64_t now = metric->quantity == QUEUE_SIZE       ? ring_count(component->queue)
                   : metric->quantity == QUEUE_CAPACITY ? component->queue_capacity
                                                        : atomic_load(&component->inflight);
    otel_observation_add(observation, (double)now, attributes, count);
}

static void observe_components(struct otel_observation *observation, void *arg)
{
    const struct component_metric *metric = arg;
    pthread_mutex_lock(&lock);
    list_each (node, &tallies) {
        const struct tally *tally = container_of(node, struct tally, list);
        if (tally->role == metric->role && tally->signal == metric->signal)
            observe_tally(observation, metric, tally);
    }
    pthread_mutex_unlock(&lock);
}

static _Atomic(struct otel_histogram *) export_duration, collection_duration;

void component_operation(struct component *component, double seconds, const char *error)
{
    bool reader = component->role == COMPONENT_READER;
    struct otel_histogram *histogram = atomic_load(reader ? &collection_duration : &export_duration);
    if (!histogram)
        return;
    struct otel_attribute attributes[COMPONENT_ATTRIBUTES_MAX];
    unsigned count =
        describe(attributes, component->type, component->name, component->server_address, component->server_port);
    if (error)
        attributes[count++] = otel_text("error.type", error);
    otel_histogram_record(histogram, seconds, attributes, count);
}

/* --- instruments */

static void observe(struct otel_meter *meter, enum otel_observable kind, const char *name, const char *unit,
                    const char *description, void (*observer)(struct otel_observation *observation, void *arg),
                    const void *arg)
{
    struct otel_instrument_options options = {.unit = unit, .description = description};
    otel_observe(meter, kind, name, &options, observer, (void *)(uintptr_t)arg);
}

static void make_instruments(void)
{
    static const struct otel_instrument_options collecting = {
        .unit = "s",
        .description = "The duration of the collect operation of the metric reader.",
        .number = OTEL_NUMBER_REAL};
    static const struct otel_instrument_options exporting = {
        .unit = "s",
        .description = "The duration of exporting a batch of telemetry records.",
        .number = OTEL_NUMBER_REAL};
    struct otel_meter *meter = otel_meter("libcommon.otel.sdk", BODEGA_VERSION, NULL);
    observe(meter, OTEL_OBSERVABLE_COUNTER, "otel.sdk.span.started", SPANS, "The number of created spans.",
            observe_started, NULL);
    observe(meter, OTEL_OBSERVABLE_UP_DOWN_COUNTER, "otel.sdk.span.live", SPANS,
            "The number of created spans with `recording=true` for which the end operation has not been called yet.",
            observe_live, NULL);
    observe(meter, OTEL_OBSERVABLE_COUNTER, "otel.sdk.log.created", LOGS,
            "The number of log records submitted to an enabled `Logger`.", observe_logs, NULL);
    observe(meter, OTEL_OBSERVABLE_COUNTER, "libcommon.otel.config.reloads", "{reload}",
            "The number of changed configuration files that were applied or refused.", observe_reloads, NULL);
    for (unsigned i = 0; i < array_count(component_metrics); i++)
        observe(meter,
                component_metrics[i].quantity == DONE ? OTEL_OBSERVABLE_COUNTER : OTEL_OBSERVABLE_UP_DOWN_COUNTER,
                component_metrics[i].name, component_metrics[i].unit, component_metrics[i].description,
                observe_components, &component_metrics[i]);
    atomic_store(&collection_duration,
                 otel_histogram(meter, "otel.sdk.metric_reader.collection.duration", &collecting));
    atomic_store(&export_duration, otel_histogram(meter, "otel.sdk.exporter.operation.duration", &exporting));
}

void self_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_instruments);
}
