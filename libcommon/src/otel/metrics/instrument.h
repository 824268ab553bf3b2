/* Meters and their instruments: made once, never freed.
 *
 * What a recording needs hangs from the instrument as its route: the stores of its streams under the current settings.
 * It is read within a guard and replaced by the pipeline (pipeline.c) under the registry's lock. */
#ifndef OTEL_METRICS_INSTRUMENT_H
#define OTEL_METRICS_INSTRUMENT_H

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/otel/metrics.h"
#include "otel/metrics/reservoir.h"
#include "otel/sdk/guard.h"

struct store;
struct point;

/* Immutable once published. NULL: nobody collects. */
struct route {
    unsigned count;
    struct store *stores[];
};

struct otel_callback {
    struct otel_callback *next;
    struct instrument *instrument;
    void (*observe)(struct otel_observation *observation, void *arg);
    void *arg;
};

/* A longer one takes the place of a shorter one, which may still be in somebody's hands. */
struct description {
    struct description *shorter;
    char text[];
};

struct instrument {
    _Atomic(struct instrument *) next; /* all, oldest first */
    struct instrument *sibling;        /* of the same meter; the registry's lock, as the rest that is not constant */
    const struct sdk_scope *scope;
    const char *name, *unit; /* never NULL */
    _Atomic(struct description *) description;
    enum instrument_kind kind;
    bool integer;
    const double *bounds; /* advice, or NULL */
    unsigned bound_count;
    const char *const *keys;
    _Atomic(struct route *) route;
    struct bound *bound; /* its bound handles */
    unsigned bound_handles;
    _Atomic(struct otel_callback *) callbacks; /* removed under the collection's lock */
    enum { WARNED_OF_WORDS = 1, WARNED_OF_NAME = 2, WARNED_OF_VIEW = 4 } warned; /* each once */
};

/* The instrument narrowed to one attribute set. */
struct bound {
    struct bound *next;
    uint64_t hash;
    struct instrument *instrument;
    const struct otel_attribute *attributes; /* sorted */
    unsigned attribute_count;
    _Atomic(struct binding *) binding; /* never NULL */
};

struct binding {
    /* The short way, open to threads with slots below that: the lanes of the only stream, when it is a sum of whole
     * numbers, or an explicit histogram. */
    unsigned short_slots;
    struct sum_lane *sums;
    char *histograms;
    int64_t least; /* that may be added: 0 for counters */
    unsigned count;
    struct binding_lane {
        struct store *store;
        struct point *point;
        const struct otel_attribute *left_out; /* of the bound attributes, those that the stream does not keep */
        unsigned left_out_count;
    } lanes[];
};

extern pthread_mutex_t registry_lock;

/* All instruments, oldest first. */
struct instrument *instruments_first(void);

static inline struct instrument *instrument_next(const struct instrument *instrument)
{
    return atomic_load_explicit(&instrument->next, memory_order_acquire);
}

/* In a guard, or under collect_lock or registry_lock. */
static inline const struct route *instrument_route(const struct instrument *instrument)
{
    return atomic_load_explicit(&instrument->route, memory_order_acquire);
}

/* An instrument that takes everything and does nothing when the name or unit is malformed. */
struct instrument *instrument_get(struct otel_meter *meter, enum instrument_kind kind, const char *name,
                                  const struct otel_instrument_options *options);
/* Warns, once an instrument, when one of its streams has the name of another stream. Under the registry's lock. */
void instrument_check_names(struct instrument *instrument);

static inline const char *instrument_description(const struct instrument *instrument)
{
    return atomic_load_explicit(&instrument->description, memory_order_acquire)->text;
}

/* Under the registry's lock: what bound has to reach for route. */
struct binding *binding_new(const struct bound *bound, const struct route *route);
void binding_free(struct binding *binding);

/* False: the value cannot be recorded. */
static inline bool measurement_make(struct measurement *out, const struct instrument *instrument, double value)
{
    bool never_falls = instrument->kind == INSTRUMENT_COUNTER || instrument->kind == INSTRUMENT_OBSERVABLE_COUNTER;
    if (!isfinite(value) || (never_falls && value < 0))
        return false;
    *out = (struct measurement){.real = value};
    if (!instrument->integer)
        return true;
    if (value < -9223372036854775808.0 || value >= 9223372036854775808.0) /* 2^63 */
        return false;
    out->integer = (int64_t)value;
    out->real = (double)out->integer;
    return true;
}

#endif
