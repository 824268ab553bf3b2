/* Cells: where measurements add up. One layout serves the recording threads and the totals of the collection.
 *
 * A cell of a thread's own is written by that thread alone; a shared one by many at once. Who reads a cell has seen to
 * it that nobody writes (collect.c). Memory belongs to the caller: cell_bytes(), aligned to 16. */
#ifndef OTEL_METRICS_CELL_H
#define OTEL_METRICS_CELL_H

#include <stdatomic.h>

#include "otel/metrics/exponential.h"
#include "otel/metrics/stream.h"

struct measurement {
    int64_t integer; /* of instruments of whole numbers */
    double real;     /* always */
};

union number {
    uint64_t integer; /* wraps around */
    double real;
};

struct sum_cell { /* sums and last values */
    uint64_t count;
    union number value;
};

struct histogram_cell {
    double sum, min, max; /* min above max: empty */
    uint64_t counts[];
};

struct exponential_cell {
    atomic_flag taken; /* its parts change together */
    struct exponential exponential;
};

size_t cell_bytes(const struct stream *stream);
void cell_init(const struct stream *stream, void *cell);
void cell_done(const struct stream *stream, void *cell);
/* May this stream's cells be a thread's own, to be joined later? */
bool cell_divides(const struct stream *stream);

void cell_add(const struct stream *stream, void *cell, const struct measurement *measurement);
void cell_add_shared(const struct stream *stream, void *cell, const struct measurement *measurement);
/* Adds from to into and empties from; false when it was empty. */
bool cell_move(const struct stream *stream, void *into, void *from);
void cell_reset(const struct stream *stream, void *cell);

/* The first bucket whose upper bound is not below value. */
static inline unsigned bucket_of(const double *bounds, unsigned count, double value)
{
    unsigned low = 0;
    while (count > 0) {
        unsigned half = count / 2;
        bool above = value > bounds[low + half];
        low = above ? low + half + 1 : low;
        count = above ? count - half - 1 : half;
    }
    return low;
}

static inline void histogram_add(const struct stream *stream, struct histogram_cell *cell, double value)
{
    cell->counts[bucket_of(stream->bounds, stream->bound_count, value)]++;
    cell->sum += value;
    if (value < cell->min)
        cell->min = value;
    if (value > cell->max)
        cell->max = value;
}

#endif
