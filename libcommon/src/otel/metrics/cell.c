#include "otel/metrics/cell.h"

#include <math.h>
#include <sched.h>
#include <string.h>

static unsigned bucket_count(const struct stream *stream)
{
    return stream->bound_count + 1;
}

size_t cell_bytes(const struct stream *stream)
{
    size_t bytes = sizeof(struct sum_cell);
    if (stream->aggregation == AGGREGATE_EXPLICIT)
        bytes = sizeof(struct histogram_cell) + sizeof(uint64_t) * bucket_count(stream);
    else if (stream->aggregation == AGGREGATE_EXPONENTIAL)
        bytes = sizeof(struct exponential_cell);
    return (bytes + 15) & ~(size_t)15;
}

bool cell_divides(const struct stream *stream)
{
    return stream->aggregation == AGGREGATE_SUM || stream->aggregation == AGGREGATE_EXPLICIT;
}

static void histogram_reset(const struct stream *stream, struct histogram_cell *cell)
{
    cell->sum = 0;
    cell->min = INFINITY;
    cell->max = -INFINITY;
    memset(cell->counts, 0, sizeof *cell->counts * bucket_count(stream));
}

void cell_init(const struct stream *stream, void *cell)
{
    struct exponential_cell *exponential = cell;
    if (stream->aggregation == AGGREGATE_EXPLICIT) {
        histogram_reset(stream, cell);
    } else if (stream->aggregation == AGGREGATE_EXPONENTIAL) {
        atomic_flag_clear(&exponential->taken);
        exponential_init(&exponential->exponential, stream->max_scale, stream->max_size);
    } else {
        *(struct sum_cell *)cell = (struct sum_cell){0};
    }
}

void cell_done(const struct stream *stream, void *cell)
{
    if (stream->aggregation == AGGREGATE_EXPONENTIAL)
        exponential_done(&((struct exponential_cell *)cell)->exponential);
}

void cell_reset(const struct stream *stream, void *cell)
{
    if (stream->aggregation == AGGREGATE_EXPLICIT)
        histogram_reset(stream, cell);
    else if (stream->aggregation == AGGREGATE_EXPONENTIAL)
        exponential_reset(&((struct exponential_cell *)cell)->exponential);
    else
        *(struct sum_cell *)cell = (struct sum_cell){0};
}

/* --- one thread */

static void sum_add(const struct stream *stream, struct sum_cell *cell, const struct measurement *measurement)
{
    cell->count++;
    if (stream->integer)
        cell->value.integer += (uint64_t)measurement->integer;
    else
        cell->value.real += measurement->real;
}

static void last_set(const struct stream *stream, struct sum_cell *cell, const struct measurement *measurement)
{
    cell->count++;
    if (stream->integer)
        cell->value.integer = (uint64_t)measurement->integer;
    else
        cell->value.real = measurement->real;
}

void cell_add(const struct stream *stream, void *cell, const struct measurement *measurement)
{
    if (stream->aggregation == AGGREGATE_SUM)
        sum_add(stream, cell, measurement);
    else if (stream->aggregation == AGGREGATE_LAST_VALUE)
        last_set(stream, cell, measurement);
    else if (stream->aggregation == AGGREGATE_EXPLICIT)
        histogram_add(stream, cell, measurement->real);
    else
        exponential_add(&((struct exponential_cell *)cell)->exponential, measurement->real);
}

/* --- many threads: nobody reads meanwhile, so the order among the fields does not matter */

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double real_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void real_add_shared(double *sum, double value)
{
    uint64_t *bits = (uint64_t *)(void *)sum;
    uint64_t old = __atomic_load_n(bits, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(bits, &old, bits_of(real_of(old) + value), true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
        ;
}

static void min_shared(double *least, double value)
{
    uint64_t *bits = (uint64_t *)(void *)least;
    uint64_t old = __atomic_load_n(bits, __ATOMIC_RELAXED);
    while (value < real_of(old) &&
           !__atomic_compare_exchange_n(bits, &old, bits_of(value), true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static void max_shared(double *most, double value)
{
    uint64_t *bits = (uint64_t *)(void *)most;
    uint64_t old = __atomic_load_n(bits, __ATOMIC_RELAXED);
    while (value > real_of(old) &&
           !__atomic_compare_exchange_n(bits, &old, bits_of(value), true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static void sum_add_shared(const struct stream *stream, struct sum_cell *cell, const struct measurement *measurement)
{
    if (stream->integer)
        __atomic_fetch_add(&cell->value.integer, (uint64_t)measurement->integer, __ATOMIC_RELAXED);
    else
        real_add_shared(&cell->value.real, measurement->real);
    __atomic_store_n(&cell->count, 1, __ATOMIC_RELAXED);
}

static void last_set_shared(const struct stream *stream, struct sum_cell *cell, const struct measurement *measurement)
{
    uint64_t bits = stream->integer ? (uint64_t)measurement->integer : bits_of(measurement->real);
    __atomic_store_n(&cell->value.integer, bits, __ATOMIC_RELAXED);
    __atomic_store_n(&cell->count, 1, __ATOMIC_RELAXED);
}

static void histogram_add_shared(const struct stream *stream, struct histogram_cell *cell, double value)
{
    unsigned bucket = bucket_of(stream->bounds, stream->bound_count, value);
    __atomic_fetch_add(&cell->counts[bucket], 1, __ATOMIC_RELAXED);
    real_add_shared(&cell->sum, value);
    min_shared(&cell->min, value);
    max_shared(&cell->max, value);
}

static void exponential_add_shared(struct exponential_cell *cell, double value)
{
    enum { SPINS_MAX = 64 };
    for (unsigned spins = 0; atomic_flag_test_and_set_explicit(&cell->taken, memory_order_acquire); spins++)
        if (spins >= SPINS_MAX)
            sched_yield();
    exponential_add(&cell->exponential, value);
    atomic_flag_clear_explicit(&cell->taken, memory_order_release);
}

void cell_add_shared(const struct stream *stream, void *cell, const struct measurement *measurement)
{
    if (stream->aggregation == AGGREGATE_SUM)
        sum_add_shared(stream, cell, measurement);
    else if (stream->aggregation == AGGREGATE_LAST_VALUE)
        last_set_shared(stream, cell, measurement);
    else if (stream->aggregation == AGGREGATE_EXPLICIT)
        histogram_add_shared(stream, cell, measurement->real);
    else
        exponential_add_shared(cell, measurement->real);
}

/* --- joining */

static bool sum_move(const struct stream *stream, struct sum_cell *into, struct sum_cell *from)
{
    if (from->count == 0)
        return false;
    if (stream->aggregation == AGGREGATE_LAST_VALUE)
        into->value = from->value;
    else if (stream->integer)
        into->value.integer += from->value.integer;
    else
        into->value.real += from->value.real;
    into->count += from->count;
    *from = (struct sum_cell){0};
    return true;
}

static bool histogram_move(const struct stream *stream, struct histogram_cell *into, struct histogram_cell *from)
{
    if (from->min > from->max)
        return false;
    for (unsigned i = 0; i < bucket_count(stream); i++)
        into->counts[i] += from->counts[i];
    into->sum += from->sum;
    into->min = fmin(into->min, from->min);
    into->max = fmax(into->max, from->max);
    histogram_reset(stream, from);
    return true;
}

static bool exponential_move(struct exponential *into, struct exponential *from)
{
    if (from->count == 0)
        return false;
    exponential_merge(into, from);
    exponential_reset(from);
    return true;
}

bool cell_move(const struct stream *stream, void *into, void *from)
{
    if (stream->aggregation == AGGREGATE_EXPLICIT)
        return histogram_move(stream, into, from);
    if (stream->aggregation == AGGREGATE_EXPONENTIAL)
        return exponential_move(&((struct exponential_cell *)into)->exponential,
                                &((struct exponential_cell *)from)->exponential);
    return sum_move(stream, into, from);
}
