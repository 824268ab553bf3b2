/* What a batch holds: its items (spans, log records, data points), by scope, and parts of it. */
#ifndef OTEL_EXPORT_ITEMS_H
#define OTEL_EXPORT_ITEMS_H

#include "otel/sdk/exporter.h"

enum { NO_ITEM = -1 };

/* The records of one scope: a chain through next. */
struct scope_group {
    const struct sdk_scope *scope;
    int first, last;
};

struct scope_groups {
    struct scope_group *groups; /* in the order in which their first record stands */
    unsigned count, capacity;
    int *next; /* the one after each, NO_ITEM at the end */
};

/* descending: the chains run from the last record to the first. Metrics without points are in no group. */
void scope_groups_make(struct scope_groups *out, const struct export_batch *batch, bool descending);
void scope_groups_free(struct scope_groups *groups);

/* Spans, log records or data points. */
uint64_t batch_items(const struct export_batch *batch);
/* Halves it; a single metric by its points, which spare then holds. False when there is only one item. */
bool batch_split(const struct export_batch *batch, struct export_batch halves[2], struct metric spare[2]);

#endif
