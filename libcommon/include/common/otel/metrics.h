/* Metrics: meters and instruments.
 *
 * Instruments are made once and live as long as the process; making one with the same name, kind, unit and number again
 * gives the same one. Recording never fails, blocks or, for attributes seen before, allocates. Beyond the cardinality
 * limit (2,000 unless set) a recording goes to the point with otel.metric.overflow=true.
 * A bound instrument has its attributes fixed: the way for hot paths. Negative additions to a counter, and NaN or
 * infinite values, are dropped. A malformed name or unit: the instrument works as no-op and an error is logged once.
 * Recordings made while a sampled context is current may become exemplars. Any thread.
 * Source: OpenTelemetry specification, metrics/api. */
#ifndef COMMON_OTEL_METRICS_H
#define COMMON_OTEL_METRICS_H

#include "common/otel/value.h"

struct otel_meter;

/* As otel_tracer(). */
struct otel_meter *otel_meter(const char *name, const char *version, const char *schema_url);

enum otel_number { OTEL_NUMBER_INT, OTEL_NUMBER_REAL };

struct otel_instrument_options {
    const char *unit;        /* UCUM, at most 63 ASCII characters; NULL: none */
    const char *description; /* NULL: none */
    enum otel_number number;
    const double *bounds; /* advice for histograms: upper bounds, ascending; NULL: the SDK's default */
    unsigned bound_count;
    const char *const
        *attribute_keys; /* advice: NULL-terminated keys to keep unless a view says otherwise; NULL: all */
};

struct otel_counter;
struct otel_up_down_counter;
struct otel_gauge;
struct otel_histogram;

/* options may be NULL. */
struct otel_counter *otel_counter(struct otel_meter *meter, const char *name,
                                  const struct otel_instrument_options *options);
struct otel_up_down_counter *otel_up_down_counter(struct otel_meter *meter, const char *name,
                                                  const struct otel_instrument_options *options);
struct otel_gauge *otel_gauge(struct otel_meter *meter, const char *name,
                              const struct otel_instrument_options *options);
struct otel_histogram *otel_histogram(struct otel_meter *meter, const char *name,
                                      const struct otel_instrument_options *options);

/* The value is converted to the instrument's number. */
void otel_counter_add(struct otel_counter *counter, double value, const struct otel_attribute *attributes,
                      unsigned count);
void otel_up_down_counter_add(struct otel_up_down_counter *counter, double value,
                              const struct otel_attribute *attributes, unsigned count);
void otel_gauge_set(struct otel_gauge *gauge, double value, const struct otel_attribute *attributes, unsigned count);
void otel_histogram_record(struct otel_histogram *histogram, double value, const struct otel_attribute *attributes,
                           unsigned count);
/* Does anybody collect this instrument? For measurements that are dear to make. */
bool otel_histogram_enabled(const struct otel_histogram *histogram);
bool otel_counter_enabled(const struct otel_counter *counter);

struct otel_bound_counter;
struct otel_bound_histogram;

/* Bound ones are found again by equal attributes, and live as long as the process. */
struct otel_bound_counter *otel_counter_bind(struct otel_counter *counter, const struct otel_attribute *attributes,
                                             unsigned count);
struct otel_bound_histogram *otel_histogram_bind(struct otel_histogram *histogram,
                                                 const struct otel_attribute *attributes, unsigned count);
struct otel_bound_counter *otel_up_down_counter_bind(struct otel_up_down_counter *counter,
                                                     const struct otel_attribute *attributes, unsigned count);
/* Whole numbers on a counter of whole numbers take the shortest way. */
void otel_bound_add(struct otel_bound_counter *counter, int64_t value);
void otel_bound_add_real(struct otel_bound_counter *counter, double value);
void otel_bound_record(struct otel_bound_histogram *histogram, double value);

/* Asynchronous instruments: observe is called at each collection, on a thread of the SDK's, once for each reader,
 * and tells what is now (for counters: the total). It must not wait for a loop. */
enum otel_observable { OTEL_OBSERVABLE_COUNTER, OTEL_OBSERVABLE_UP_DOWN_COUNTER, OTEL_OBSERVABLE_GAUGE };

struct otel_observation; /* valid during the call only */
struct otel_callback;

struct otel_callback *otel_observe(struct otel_meter *meter, enum otel_observable kind, const char *name,
                                   const struct otel_instrument_options *options,
                                   void (*observe)(struct otel_observation *observation, void *arg), void *arg);
void otel_observation_add(struct otel_observation *observation, double value, const struct otel_attribute *attributes,
                          unsigned count);
/* After it has returned observe runs no more. Not from within observe. NULL is allowed. */
void otel_observe_stop(struct otel_callback *callback);

#endif
