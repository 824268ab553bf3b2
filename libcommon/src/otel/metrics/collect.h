/* Collection: what one reader is to be given now.
 *
 * collect_lock is held by whoever collects or changes what is collected; recording threads never take it. Callbacks run
 * under it. Lock order: pull_lock (pipeline.h), collect_lock, registry_lock, a store's lock. */
#ifndef OTEL_METRICS_COLLECT_H
#define OTEL_METRICS_COLLECT_H

#include "otel/metrics/store.h"

struct collection {
    struct arena arena;
    int64_t wall_ns;
    struct metric *metrics; /* with at least one point each; in the order of their instruments */
    unsigned count;
    size_t point_count;
    struct store **stores; /* held: points' attributes and names are theirs */
    unsigned store_count;
};

extern pthread_mutex_t collect_lock;

void collection_init(struct collection *collection);
/* Gives back what it holds; usable again. */
void collection_reset(struct collection *collection);
void collection_done(struct collection *collection);

/* Everything of the reader; exemplars from since_wall_ns on. Takes collect_lock. */
void collect(struct collection *out, int reader, int64_t since_wall_ns);

/* --- under collect_lock */
/* Runs the callbacks for one reader. */
void collect_observe(int reader);
/* Brings the totals of all stores up to date; returns the time of that. */
int64_t collect_drain(void);
/* What store has now. */
void collect_store(struct collection *out, struct store *store, int64_t since_wall_ns);

#endif
