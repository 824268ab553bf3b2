/* A base-2 exponential histogram: buckets (base^index, base^(index+1)] with base = 2^(2^-scale).
 *
 * The scale starts at its maximum and falls as the range of the values needs it, until at most `size` buckets hold
 * each sign. One thread at a time. Memory grows up to the size and is kept until exponential_done().
 * Source: OpenTelemetry specification, metrics/data-model, ExponentialHistogram. */
#ifndef OTEL_METRICS_EXPONENTIAL_H
#define OTEL_METRICS_EXPONENTIAL_H

#include <stdbool.h>
#include <stdint.h>

struct exponential_range { /* the buckets of one sign */
    int32_t first;         /* index of counts[0] */
    unsigned count, capacity;
    uint64_t *counts;
};

struct exponential {
    int max_scale, scale;
    unsigned size;
    uint64_t count, zero_count;
    double sum, min, max; /* min above max: empty */
    struct exponential_range positive, negative;
};

void exponential_init(struct exponential *e, int max_scale, unsigned size);
void exponential_done(struct exponential *e);
void exponential_reset(struct exponential *e);
/* value is finite. */
void exponential_add(struct exponential *e, double value);
void exponential_merge(struct exponential *into, const struct exponential *from);

/* The bucket of a finite value above 0, exact for every such value. */
int32_t exponential_index(double value, int scale);

#endif
