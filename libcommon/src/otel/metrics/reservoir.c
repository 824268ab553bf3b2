#include "otel/metrics/reservoir.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "otel/sdk/copy.h"

enum { EXPONENTIAL_SAMPLES_MAX = 20, ATTRIBUTE_BYTES = 256 };

_Atomic(int) exemplar_filter = EXEMPLARS_TRACE_BASED;

struct sample {
    uint64_t seen; /* candidates for this place since the last collection */
    struct exemplar exemplar;
    struct arena arena; /* of its attributes; kept for the next */
};

struct reservoir {
    atomic_flag taken;
    bool aligned; /* one sample a bucket */
    uint64_t random;
    uint64_t seen;
    unsigned count;
    struct sample samples[];
};

static bool is_aligned(const struct stream *stream)
{
    return stream->aggregation == AGGREGATE_EXPLICIT && stream->bound_count > 0;
}

static unsigned sample_count(const struct stream *stream)
{
    if (is_aligned(stream))
        return stream->bound_count + 1;
    if (stream->aggregation != AGGREGATE_EXPONENTIAL)
        return 1;
    return stream->max_size < EXPONENTIAL_SAMPLES_MAX ? stream->max_size : EXPONENTIAL_SAMPLES_MAX;
}

struct reservoir *reservoir_new(const struct stream *stream)
{
    unsigned count = sample_count(stream);
    struct reservoir *reservoir = mem_alloc(sizeof *reservoir + sizeof *reservoir->samples * count);
    atomic_flag_clear(&reservoir->taken);
    reservoir->aligned = is_aligned(stream);
    reservoir->random = (uint64_t)clock_now_ns() ^ (uintptr_t)reservoir;
    reservoir->count = count;
    for (unsigned i = 0; i < count; i++)
        arena_init(&reservoir->samples[i].arena, ATTRIBUTE_BYTES);
    return reservoir;
}

void reservoir_free(struct reservoir *reservoir)
{
    for (unsigned i = 0; reservoir && i < reservoir->count; i++)
        arena_done(&reservoir->samples[i].arena);
    free(reservoir);
}

/* A number below limit, by a splitmix step: good enough for sampling. */
static uint64_t random_below(struct reservoir *reservoir, uint64_t limit)
{
    uint64_t x = reservoir->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint64_t)((__uint128_t)(x ^ x >> 31) * limit >> 64);
}

/* Where the measurement goes; NULL: nowhere. */
static struct sample *choose(struct reservoir *reservoir, const struct stream *stream, double value)
{
    if (reservoir->aligned) {
        struct sample *sample = &reservoir->samples[bucket_of(stream->bounds, stream->bound_count, value)];
        return random_below(reservoir, ++sample->seen) == 0 ? sample : NULL;
    }
    uint64_t place = reservoir->seen++;
    if (place >= reservoir->count)
        place = random_below(reservoir, reservoir->seen);
    return place < reservoir->count ? &reservoir->samples[place] : NULL;
}

static const struct otel_attribute *copy_all(struct arena *arena, const struct otel_attribute *attributes,
                                             unsigned count)
{
    struct otel_attribute *copy = count ? arena_array(arena, struct otel_attribute, count) : NULL;
    for (unsigned i = 0; i < count; i++) {
        copy[i].key = text_copy(arena, attributes[i].key);
        copy[i].value = value_copy(arena, &attributes[i].value, UNLIMITED);
    }
    return copy;
}

static void fill(struct sample *sample, const struct measurement *measurement, const struct trace_context *context,
                 const struct otel_attribute *left_out, unsigned count)
{
    struct exemplar *exemplar = &sample->exemplar;
    arena_reset(&sample->arena);
    *exemplar = (struct exemplar){.wall_ns = clock_wall_ns(),
                                  .value = measurement->real,
                                  .integer = measurement->integer,
                                  .attributes = copy_all(&sample->arena, left_out, count),
                                  .attribute_count = count,
                                  .has_trace = context && trace_valid(context)};
    if (!exemplar->has_trace)
        return;
    memcpy(exemplar->trace_id, context->trace_id, sizeof exemplar->trace_id);
    memcpy(exemplar->span_id, context->span_id, sizeof exemplar->span_id);
}

void reservoir_offer(struct reservoir *reservoir, const struct stream *stream, const struct measurement *measurement,
                     const struct trace_context *context, const struct otel_attribute *left_out, unsigned count)
{
    if (atomic_flag_test_and_set_explicit(&reservoir->taken, memory_order_acquire))
        return;
    struct sample *sample = choose(reservoir, stream, measurement->real);
    if (sample)
        fill(sample, measurement, context, left_out, count);
    atomic_flag_clear_explicit(&reservoir->taken, memory_order_release);
}

const struct exemplar *reservoir_collect(struct reservoir *reservoir, int64_t since_wall_ns, struct arena *arena,
                                         unsigned *out_count)
{
    struct exemplar *exemplars = arena_array(arena, struct exemplar, reservoir->count);
    unsigned count = 0;
    while (atomic_flag_test_and_set_explicit(&reservoir->taken, memory_order_acquire))
        sched_yield();
    for (unsigned i = 0; i < reservoir->count; i++) {
        struct sample *sample = &reservoir->samples[i];
        sample->seen = 0;
        if (sample->exemplar.wall_ns == 0 || sample->exemplar.wall_ns < since_wall_ns)
            continue;
        exemplars[count] = sample->exemplar;
        exemplars[count].attributes = copy_all(arena, sample->exemplar.attributes, sample->exemplar.attribute_count);
        count++;
    }
    reservoir->seen = 0;
    atomic_flag_clear_explicit(&reservoir->taken, memory_order_release);
    *out_count = count;
    return exemplars;
}
