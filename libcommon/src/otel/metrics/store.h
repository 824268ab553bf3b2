/* A store: the points of one stream.
 *
 * Recording: a lock-free look-up of the attributes, then an addition to a cell of the point; a set that is not there
 * yet takes the store's lock. Each point has two banks of cells. metrics_bank says which one is recorded to; the
 * collection (collect.c) flips it, waits until nobody records to the old one, and moves that to the totals.
 * Beside the shared cells a bound point has lanes: cells of one thread each, without atomic operations.
 * Points without measurements since the last collection leave a delta store; they wait in limbo until the next
 * collection has seen that no thread had still been recording to them. Asynchronous streams use totals only.
 * Recording and pinning inside a guard, any thread; the rest under the collection's lock. */
#ifndef OTEL_METRICS_STORE_H
#define OTEL_METRICS_STORE_H

#include "otel/metrics/instrument.h"

extern _Atomic(unsigned) metrics_bank; /* 0 or 1 */

/* The cells of a thread, both banks in one cache line. */
struct sum_lane {
    _Alignas(64) struct sum_cell bank[2];
};

struct point {
    uint64_t hash;
    const struct otel_attribute *attributes; /* sorted */
    unsigned attribute_count;
    _Atomic(uint32_t) cycle; /* the last one that used it, when the store has cycles */
    _Atomic(bool) pinned;    /* a bound handle has it */
    _Atomic(char *) lanes;
    _Atomic(struct reservoir *) reservoir;
    int64_t start_wall_ns;
    struct arena arena;
    struct point *next;
    /* of the collection */
    bool fresh, ever;      /* measured since the last emission; at all */
    union number previous; /* of asynchronous deltas */
    char *totals;          /* a cell */
    _Alignas(16) char banks[];
};

struct store {
    struct stream stream;
    struct arena arena;
    struct instrument *instrument;
    uint64_t readers; /* ids of those that collect it, as bits; changed under collect_lock and registry_lock */
    uint64_t readers_before, readers_next; /* of a commit */
    _Atomic(unsigned) references;
    size_t cell_bytes, lane_bytes;
    _Atomic(struct point_table *) table;
    _Atomic(struct point *) points;
    struct point *overflow;
    bool cyclic;             /* the limit counts the points of one cycle, the time between two collections */
    _Atomic(uint32_t) cycle; /* from 1 */
    _Atomic(unsigned) live;  /* points that count against the limit */
    unsigned pinned;         /* of them for good */
    pthread_mutex_t lock;    /* who adds or removes points and tables */
    struct point_table *outgrown, *dead;
    struct point *limbo;
    int64_t interval_start_wall_ns; /* the last collection, or the store's start */
};

/* One reference. */
struct store *store_new(const struct stream *stream, struct instrument *instrument, int64_t wall_ns);
struct store *store_take(struct store *store);
void store_give(struct store *store); /* the last one frees: nobody records to it any more */

/* attributes: sorted, no key twice. context is the trace when wanted says that this may become an exemplar. */
void store_record(struct store *store, unsigned slot, const struct measurement *measurement,
                  const struct otel_attribute *attributes, unsigned count);
/* The same for a point that was found before. */
void point_record(struct store *store, struct point *point, unsigned slot, const struct measurement *measurement,
                  const struct otel_attribute *left_out, unsigned left_out_count);
void point_offer(struct store *store, struct point *point, const struct measurement *measurement,
                 const struct trace_context *context, const struct otel_attribute *left_out, unsigned left_out_count);
/* The point for attributes, for good. attributes: what the stream keeps. */
struct point *store_pin(struct store *store, const struct otel_attribute *attributes, unsigned count);
/* Splits attributes into those that stream keeps, in front, and the rest, behind; out has room for count. Returns the
 * number of the former. */
unsigned stream_split(const struct stream *stream, const struct otel_attribute *attributes, unsigned count,
                      struct otel_attribute *out);

static inline bool stream_keeps_all(const struct stream *stream)
{
    return !stream->keys_included && !stream->keys_excluded;
}

/* How many threads have lanes of their own. */
unsigned lane_count(void);

static inline void *point_lane(const struct store *store, char *lanes, unsigned slot, unsigned bank)
{
    return lanes + slot * store->lane_bytes + bank * store->cell_bytes;
}

/* --- the collection's side */

/* Moves a bank that nobody records to into the totals. */
void store_drain(struct store *store, unsigned bank);
/* Frees what the last waiting made free. Between the wait and the drain. */
void store_reclaim(struct store *store);
/* A new round of observations: those of the last one are forgotten but for deltas. */
void store_begin_round(struct store *store);
void store_observe(struct store *store, const struct measurement *measurement, const struct otel_attribute *attributes,
                   unsigned count);
/* Brings points back that were recorded to while they left. Before the emission of a delta store. */
void store_resurrect(struct store *store);
/* After the emission at wall_ns of a store whose points come and go: the next cycle. */
void store_next_cycle(struct store *store, int64_t wall_ns);
/* Is this point in what is to be emitted? */
bool point_counts(const struct store *store, const struct point *point);

#endif
