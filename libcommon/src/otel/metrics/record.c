/* Recording. Each kind of instrument is an instrument to the inside. */
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "otel/metrics/store.h"
#include "otel/sdk/copy.h"

enum { ATTRIBUTES_LOCAL = 32 };

struct otel_counter {
    struct instrument instrument;
};

struct otel_up_down_counter {
    struct instrument instrument;
};

struct otel_gauge {
    struct instrument instrument;
};

struct otel_histogram {
    struct instrument instrument;
};

struct otel_counter *otel_counter(struct otel_meter *meter, const char *name,
                                  const struct otel_instrument_options *options)
{
    return (struct otel_counter *)instrument_get(meter, INSTRUMENT_COUNTER, name, options);
}

struct otel_up_down_counter *otel_up_down_counter(struct otel_meter *meter, const char *name,
                                                  const struct otel_instrument_options *options)
{
    return (struct otel_up_down_counter *)instrument_get(meter, INSTRUMENT_UP_DOWN_COUNTER, name, options);
}

struct otel_gauge *otel_gauge(struct otel_meter *meter, const char *name, const struct otel_instrument_options *options)
{
    return (struct otel_gauge *)instrument_get(meter, INSTRUMENT_GAUGE, name, options);
}

struct otel_histogram *otel_histogram(struct otel_meter *meter, const char *name,
                                      const struct otel_instrument_options *options)
{
    return (struct otel_histogram *)instrument_get(meter, INSTRUMENT_HISTOGRAM, name, options);
}

static bool is_set(const struct otel_attribute *attributes, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!attributes[i].key || !attributes[i].key[0] ||
            (i > 0 && strcmp(attributes[i - 1].key, attributes[i].key) >= 0))
            return false;
    return true;
}

static void record_to(const struct route *route, unsigned slot, const struct measurement *measurement,
                      const struct otel_attribute *attributes, unsigned count)
{
    for (unsigned i = 0; i < route->count; i++)
        store_record(route->stores[i], slot, measurement, attributes, count);
}

/* Sorted and each key once, which callers with constant attributes may be by themselves. */
static void record_sorted(const struct route *route, unsigned slot, const struct measurement *measurement,
                          const struct otel_attribute *attributes, unsigned count)
{
    struct otel_attribute local[ATTRIBUTES_LOCAL] __attribute__((uninitialized));
    struct otel_attribute *sorted = count <= ATTRIBUTES_LOCAL ? local : mem_array(count, sizeof *sorted);
    memcpy(sorted, attributes, sizeof *sorted * count);
    record_to(route, slot, measurement, sorted, attributes_sort(sorted, count));
    if (sorted != local)
        free(sorted);
}

static void record(struct instrument *instrument, double value, const struct otel_attribute *attributes, unsigned count)
{
    struct measurement measurement;
    if (!measurement_make(&measurement, instrument, value))
        return;
    struct guard_thread *self = guard_enter();
    const struct route *route = atomic_load_explicit(&instrument->route, memory_order_acquire);
    if (route && is_set(attributes, count))
        record_to(route, self->slot, &measurement, attributes, count);
    else if (route)
        record_sorted(route, self->slot, &measurement, attributes, count);
    guard_exit(self);
}

void otel_counter_add(struct otel_counter *counter, double value, const struct otel_attribute *attributes,
                      unsigned count)
{
    record(&counter->instrument, value, attributes, count);
}

void otel_up_down_counter_add(struct otel_up_down_counter *counter, double value,
                              const struct otel_attribute *attributes, unsigned count)
{
    record(&counter->instrument, value, attributes, count);
}

void otel_gauge_set(struct otel_gauge *gauge, double value, const struct otel_attribute *attributes, unsigned count)
{
    record(&gauge->instrument, value, attributes, count);
}

void otel_histogram_record(struct otel_histogram *histogram, double value, const struct otel_attribute *attributes,
                           unsigned count)
{
    record(&histogram->instrument, value, attributes, count);
}

static bool is_enabled(const struct instrument *instrument)
{
    struct guard_thread *self = guard_enter();
    const struct route *route = atomic_load_explicit(&instrument->route, memory_order_acquire);
    bool enabled = route && route->count > 0;
    guard_exit(self);
    return enabled;
}

bool otel_histogram_enabled(const struct otel_histogram *histogram)
{
    return is_enabled(&histogram->instrument);
}

bool otel_counter_enabled(const struct otel_counter *counter)
{
    return is_enabled(&counter->instrument);
}
