/* Asynchronous instruments: their callbacks, run for one reader at a time. */
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "otel/metrics/collect.h"
#include "otel/sdk/copy.h"

struct otel_observation {
    const struct route *route;
    const struct instrument *instrument;
    uint64_t reader; /* its bit */
};

void otel_observation_add(struct otel_observation *observation, double value, const struct otel_attribute *attributes,
                          unsigned count)
{
    struct measurement measurement;
    const struct route *route = observation->route;
    if (!measurement_make(&measurement, observation->instrument, value))
        return;
    struct otel_attribute *sorted = mem_array(count + 1, sizeof *sorted);
    if (count)
        memcpy(sorted, attributes, sizeof *sorted * count);
    count = attributes_sort(sorted, count);
    for (unsigned i = 0; i < route->count; i++)
        if (route->stores[i]->readers & observation->reader)
            store_observe(route->stores[i], &measurement, sorted, count);
    free(sorted);
}

static bool begin_rounds(const struct route *route, uint64_t reader)
{
    bool any = false;
    for (unsigned i = 0; i < route->count; i++) {
        if (!(route->stores[i]->readers & reader))
            continue;
        store_begin_round(route->stores[i]);
        any = true;
    }
    return any;
}

static void observe(const struct instrument *instrument, uint64_t reader)
{
    const struct route *route = instrument_route(instrument);
    struct otel_observation observation = {route, instrument, reader};
    if (!route || route->count == 0 || !route->stores[0]->stream.asynchronous || !begin_rounds(route, reader))
        return;
    for (struct otel_callback *c = atomic_load_explicit(&instrument->callbacks, memory_order_acquire); c; c = c->next)
        c->observe(&observation, c->arg);
}

void collect_observe(int reader)
{
    for (struct instrument *i = instruments_first(); i; i = instrument_next(i))
        observe(i, UINT64_C(1) << reader);
}

static enum instrument_kind kind_of(enum otel_observable observable)
{
    switch (observable) {
    case OTEL_OBSERVABLE_COUNTER:
        return INSTRUMENT_OBSERVABLE_COUNTER;
    case OTEL_OBSERVABLE_UP_DOWN_COUNTER:
        return INSTRUMENT_OBSERVABLE_UP_DOWN_COUNTER;
    default:
        return INSTRUMENT_OBSERVABLE_GAUGE;
    }
}

struct otel_callback *otel_observe(struct otel_meter *meter, enum otel_observable kind, const char *name,
                                   const struct otel_instrument_options *options,
                                   void (*observe_now)(struct otel_observation *observation, void *arg), void *arg)
{
    struct otel_callback *callback = mem_alloc(sizeof *callback);
    struct instrument *instrument = instrument_get(meter, kind_of(kind), name, options);
    *callback = (struct otel_callback){.instrument = instrument, .observe = observe_now, .arg = arg};
    pthread_mutex_lock(&registry_lock);
    callback->next = atomic_load_explicit(&instrument->callbacks, memory_order_relaxed);
    atomic_store_explicit(&instrument->callbacks, callback, memory_order_release);
    pthread_mutex_unlock(&registry_lock);
    return callback;
}

static void unlink_callback(struct otel_callback *callback)
{
    struct instrument *instrument = callback->instrument;
    struct otel_callback *before = atomic_load(&instrument->callbacks);
    if (before == callback) {
        atomic_store(&instrument->callbacks, callback->next);
        return;
    }
    while (before->next != callback)
        before = before->next;
    before->next = callback->next;
}

void otel_observe_stop(struct otel_callback *callback)
{
    if (!callback)
        return;
    pthread_mutex_lock(&collect_lock);
    pthread_mutex_lock(&registry_lock);
    unlink_callback(callback);
    pthread_mutex_unlock(&registry_lock);
    pthread_mutex_unlock(&collect_lock);
    free(callback);
}
