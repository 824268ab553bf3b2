#include "otel/metrics/exponential.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

enum { CAPACITY_FIRST = 160 };

/* --- which bucket */

/* The first `digits` binary digits of log2(significand), which is in [1, 2): squaring a number doubles its logarithm,
 * and whether the square is 2 or more is the next digit. With 126 bits the error stays far below what could matter. */
static int32_t logarithm_digits(double significand, int digits)
{
    __uint128_t x = (__uint128_t)(uint64_t)ldexp(significand, 63) << 64;
    int32_t result = 0;
    for (int i = 0; i < digits; i++) {
        uint64_t high = (uint64_t)(x >> 64), low = (uint64_t)x;
        __uint128_t square = (__uint128_t)high * high + ((__uint128_t)high * low >> 63);
        bool digit = square >> 127;
        x = digit ? square : square << 1;
        result = result * 2 + digit;
    }
    return result;
}

/* floor(log2(significand) * 2^scale) for a significand that is no power of two, so that no bound is ever met exactly.
 * The library's logarithm decides unless it lies too near to a whole number. */
static int32_t sub_bucket(double significand, int scale)
{
    static const double margin = 0x1p-28;
    double place = log2(significand) * (1 << scale);
    int32_t whole = (int32_t)place;
    double rest = place - whole;
    if (rest > margin && rest < 1 - margin)
        return whole;
    return logarithm_digits(significand, scale);
}

/* value = significand * 2^exponent with a significand in [1, 2), by the bits of a double. */
static double split(double value, int *out_exponent)
{
    enum { FRACTION_BITS = 52, BIAS = 1023 };
    static const uint64_t fraction_mask = (UINT64_C(1) << FRACTION_BITS) - 1;
    int scaled = 0;
    uint64_t bits;
    if (value < DBL_MIN) { /* subnormal */
        value *= 0x1p54;
        scaled = 54;
    }
    memcpy(&bits, &value, sizeof bits);
    *out_exponent = (int)(bits >> FRACTION_BITS) - BIAS - scaled;
    bits = (bits & fraction_mask) | (uint64_t)BIAS << FRACTION_BITS;
    memcpy(&value, &bits, sizeof value);
    return value;
}

int32_t exponential_index(double value, int scale)
{
    int exponent;
    double significand = split(value, &exponent);
    bool power_of_two = significand == 1;
    if (scale <= 0)
        return (exponent - power_of_two) >> -scale;
    if (power_of_two)
        return exponent * (1 << scale) - 1;
    return exponent * (1 << scale) + sub_bucket(significand, scale);
}

/* --- buckets of one sign */

static void range_grow(struct exponential_range *range, unsigned needed, unsigned size)
{
    unsigned capacity = range->capacity ? range->capacity : CAPACITY_FIRST;
    while (capacity < needed)
        capacity *= 2;
    if (capacity > size)
        capacity = size;
    range->counts = mem_resize(range->counts, capacity, sizeof *range->counts);
    memset(range->counts + range->capacity, 0, sizeof *range->counts * (capacity - range->capacity));
    range->capacity = capacity;
}

static void range_halve(struct exponential_range *range, int steps)
{
    if (range->count == 0)
        return;
    int32_t first = range->first >> steps;
    unsigned last = 0;
    for (unsigned i = 0; i < range->count; i++) {
        uint64_t taken = range->counts[i];
        last = (unsigned)(((range->first + (int32_t)i) >> steps) - first);
        range->counts[i] = 0;
        range->counts[last] += taken;
    }
    range->first = first;
    range->count = last + 1;
}

/* The lowest and highest index that the range would have with [low, high] added. */
static void range_span(const struct exponential_range *range, int32_t *low, int32_t *high)
{
    if (range->count == 0)
        return;
    int32_t last = range->first + (int32_t)range->count - 1;
    *low = range->first < *low ? range->first : *low;
    *high = last > *high ? last : *high;
}

/* The span fits. */
static void range_cover(struct exponential_range *range, int32_t low, int32_t high, unsigned size)
{
    range_span(range, &low, &high);
    unsigned needed = (unsigned)(high - low) + 1;
    if (needed > range->capacity)
        range_grow(range, needed, size);
    if (range->count > 0 && low < range->first) {
        unsigned shift = (unsigned)(range->first - low);
        memmove(range->counts + shift, range->counts, sizeof *range->counts * range->count);
        memset(range->counts, 0, sizeof *range->counts * shift);
    }
    range->first = low;
    range->count = needed;
}

static int steps_to_fit(const struct exponential_range *range, int32_t low, int32_t high, unsigned size)
{
    int steps = 0;
    range_span(range, &low, &high);
    while ((int64_t)(high >> steps) - (low >> steps) >= size)
        steps++;
    return steps;
}

static void range_reset(struct exponential_range *range)
{
    if (range->count)
        memset(range->counts, 0, sizeof *range->counts * range->count);
    range->count = 0;
}

/* --- both */

void exponential_reset(struct exponential *e)
{
    e->scale = e->max_scale;
    e->count = e->zero_count = 0;
    e->sum = 0;
    e->min = INFINITY;
    e->max = -INFINITY;
    range_reset(&e->positive);
    range_reset(&e->negative);
}

void exponential_init(struct exponential *e, int max_scale, unsigned size)
{
    *e = (struct exponential){.max_scale = max_scale, .size = size};
    range_grow(&e->positive, 1, size);
    exponential_reset(e);
}

void exponential_done(struct exponential *e)
{
    free(e->positive.counts);
    free(e->negative.counts);
    *e = (struct exponential){0};
}

static void lower_scale(struct exponential *e, int steps)
{
    if (steps == 0)
        return;
    range_halve(&e->positive, steps);
    range_halve(&e->negative, steps);
    e->scale -= steps;
}

void exponential_add(struct exponential *e, double value)
{
    e->count++;
    e->sum += value;
    e->min = value < e->min ? value : e->min;
    e->max = value > e->max ? value : e->max;
    if (value == 0) {
        e->zero_count++;
        return;
    }
    struct exponential_range *range = value > 0 ? &e->positive : &e->negative;
    int32_t index = exponential_index(fabs(value), e->scale);
    int steps = steps_to_fit(range, index, index, e->size);
    lower_scale(e, steps);
    index >>= steps;
    range_cover(range, index, index, e->size);
    range->counts[index - range->first]++;
}

static int steps_to_join(const struct exponential_range *into, int into_steps, const struct exponential_range *from,
                         int from_steps, unsigned size)
{
    if (from->count == 0)
        return 0;
    struct exponential_range lowered = {into->first >> into_steps};
    if (into->count)
        lowered.count = (unsigned)(((into->first + (int32_t)into->count - 1) >> into_steps) - lowered.first) + 1;
    return steps_to_fit(&lowered, from->first >> from_steps, (from->first + (int32_t)from->count - 1) >> from_steps,
                        size);
}

static void range_join(struct exponential_range *into, const struct exponential_range *from, int steps, unsigned size)
{
    if (from->count == 0)
        return;
    range_cover(into, from->first >> steps, (from->first + (int32_t)from->count - 1) >> steps, size);
    for (unsigned i = 0; i < from->count; i++)
        into->counts[((from->first + (int32_t)i) >> steps) - into->first] += from->counts[i];
}

void exponential_merge(struct exponential *into, const struct exponential *from)
{
    int scale = into->scale < from->scale ? into->scale : from->scale;
    int into_steps = into->scale - scale, from_steps = from->scale - scale;
    int positive = steps_to_join(&into->positive, into_steps, &from->positive, from_steps, into->size);
    int negative = steps_to_join(&into->negative, into_steps, &from->negative, from_steps, into->size);
    int more = positive > negative ? positive : negative;
    lower_scale(into, into_steps + more);
    range_join(&into->positive, &from->positive, from_steps + more, into->size);
    range_join(&into->negative, &from->negative, from_steps + more, into->size);
    into->count += from->count;
    into->zero_count += from->zero_count;
    into->sum += from->sum;
    into->min = fmin(into->min, from->min);
    into->max = fmax(into->max, from->max);
}
