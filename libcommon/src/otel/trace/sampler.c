#include "otel/trace/sampler.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/hash.h"
#include "common/otel/propagation.h"

enum { HEX_DIGITS = RANDOMNESS_BITS / 4, PRECISION_DIGITS = 4, OT_BYTES_MAX = 256 };

#define RANDOMNESS_MAX (UINT64_C(1) << RANDOMNESS_BITS)

struct sampler {
    enum sampler_kind kind;
    uint64_t threshold; /* what is below it is rejected */
    char th[HEX_DIGITS + 1];
    struct sampler *root, *remote_parent_sampled, *remote_parent_not_sampled, *local_parent_sampled,
        *local_parent_not_sampled;
    atomic_bool complained;
};

/* --- thresholds */

static uint64_t threshold_of(double ratio)
{
    if (!(ratio > 0))
        return RANDOMNESS_MAX;
    return ratio >= 1 ? 0 : RANDOMNESS_MAX - (uint64_t)llround(ldexp(ratio, RANDOMNESS_BITS));
}

/* Rounds to as many digits as the specification recommends, not counting leading f's. */
static uint64_t threshold_round(uint64_t threshold, double ratio)
{
    int exponent;
    if (threshold == 0 || threshold == RANDOMNESS_MAX)
        return threshold;
    frexp(ratio, &exponent);
    int digits = PRECISION_DIGITS + -exponent / 4;
    if (digits >= HEX_DIGITS)
        return threshold;
    uint64_t unit = UINT64_C(1) << (HEX_DIGITS - digits) * 4;
    return (threshold + unit / 2) / unit * unit;
}

static void threshold_print(uint64_t threshold, char out[HEX_DIGITS + 1])
{
    snprintf(out, HEX_DIGITS + 1, "%014llx", (unsigned long long)(threshold % RANDOMNESS_MAX));
    size_t length = HEX_DIGITS;
    while (length > 1 && out[length - 1] == '0')
        out[--length] = '\0';
}

struct sampler *sampler_new(struct arena *arena, const struct sampler_settings *settings)
{
    struct sampler *sampler = arena_new(arena, struct sampler);
    sampler->kind = settings->kind;
    sampler->threshold = threshold_of(settings->ratio);
    if (settings->kind == SAMPLER_PROBABILITY)
        sampler->threshold = threshold_round(sampler->threshold, settings->ratio);
    threshold_print(sampler->threshold, sampler->th);
    if (settings->kind != SAMPLER_PARENT_BASED)
        return sampler;
    sampler->root = sampler_new(arena, settings->root);
    sampler->remote_parent_sampled = sampler_new(arena, settings->remote_parent_sampled);
    sampler->remote_parent_not_sampled = sampler_new(arena, settings->remote_parent_not_sampled);
    sampler->local_parent_sampled = sampler_new(arena, settings->local_parent_sampled);
    sampler->local_parent_not_sampled = sampler_new(arena, settings->local_parent_not_sampled);
    return sampler;
}

/* --- OpenTelemetry's member of the tracestate: ot=th:c;rv:6e6d1a75832a2f */

struct slice {
    const char *text;
    size_t length;
};

static struct slice trimmed(struct slice slice)
{
    for (; slice.length > 0 && (*slice.text == ' ' || *slice.text == '\t'); slice.length--)
        slice.text++;
    while (slice.length > 0 && (slice.text[slice.length - 1] == ' ' || slice.text[slice.length - 1] == '\t'))
        slice.length--;
    return slice;
}

/* The next part of a list, and moves behind it; false at the end. */
static bool next_part(struct slice *list, char separator, struct slice *out)
{
    if (list->length == 0)
        return false;
    const char *end = memchr(list->text, separator, list->length);
    size_t length = end ? (size_t)(end - list->text) : list->length;
    *out = (struct slice){list->text, length};
    list->text += length + (end != NULL);
    list->length -= length + (end != NULL);
    return true;
}

static bool begins(struct slice slice, const char *prefix)
{
    size_t length = strlen(prefix);
    return slice.length >= length && memcmp(slice.text, prefix, length) == 0;
}

static struct slice ot_member(const char *state)
{
    struct slice list = {state, state ? strlen(state) : 0}, member;
    while (next_part(&list, ',', &member)) {
        member = trimmed(member);
        if (begins(member, "ot="))
            return (struct slice){member.text + 3, member.length - 3};
    }
    return (struct slice){NULL, 0};
}

/* "th:" or "rv:": what follows; an empty slice when it is not there. */
static struct slice ot_value(struct slice ot, const char *key)
{
    struct slice part;
    while (next_part(&ot, ';', &part))
        if (begins(part, key))
            return (struct slice){part.text + strlen(key), part.length - strlen(key)};
    return (struct slice){NULL, 0};
}

static bool randomness_parse(struct slice text, uint64_t *out)
{
    uint8_t bytes[HEX_DIGITS / 2];
    uint64_t value = 0;
    if (text.length != HEX_DIGITS || !hash_unhex(text.text, sizeof bytes, bytes))
        return false;
    for (unsigned i = 0; i < sizeof bytes; i++)
        value = value << 8 | bytes[i];
    *out = value;
    return true;
}

const char *sampling_state(const struct sampling *sampling, const char *state, struct arena *arena)
{
    char value[OT_BYTES_MAX + 1];
    size_t length = 0, th_bytes = sampling->th ? strlen(sampling->th) + 4 : 0;
    struct slice ot = ot_member(state), part;
    while (next_part(&ot, ';', &part)) {
        if (part.length == 0 || begins(part, "th:") || length + part.length + 1 > OT_BYTES_MAX)
            continue;
        memcpy(value + length, part.text, part.length);
        length += part.length;
        value[length++] = ';';
    }
    if (th_bytes > 0 && length + th_bytes <= OT_BYTES_MAX)
        length += (size_t)snprintf(value + length, th_bytes, "th:%s", sampling->th);
    else if (length > 0)
        length--; /* the last semicolon */
    value[length] = '\0';
    struct trace_context context = {.state = state};
    if (!otel_tracestate_set(&context, "ot", length > 0 ? value : NULL, arena)) /* what was there is malformed */
        context.state = sampling->th ? arena_print(arena, "ot=th:%s", sampling->th) : NULL;
    return context.state;
}

/* --- decisions */

static uint64_t randomness_of_trace(const uint8_t trace_id[16])
{
    uint64_t low;
    memcpy(&low, trace_id + 8, sizeof low);
    return __builtin_bswap64(low) & (RANDOMNESS_MAX - 1);
}

static const char *complain_once(struct sampler *sampler, const char *complaint)
{
    if (atomic_load_explicit(&sampler->complained, memory_order_relaxed) || atomic_exchange(&sampler->complained, true))
        return NULL;
    return complaint;
}

/* The specification leaves the hash of the trace id open and will have this sampler replaced by the probability
 * sampler: so it is that one's, without a word in the tracestate. */
static void ask_ratio(struct sampler *sampler, const struct sampling_question *question, struct sampling *out)
{
    if (randomness_of_trace(question->trace_id) >= sampler->threshold)
        out->decision = SAMPLING_RECORD;
    if (!question->is_root)
        out->complaint = complain_once(
            sampler, "the trace_id_ratio_based sampler decides about child spans, which may tear traces apart: "
                     "use it as the root of a parent_based sampler");
}

static __attribute__((noinline)) void ask_probability(struct sampler *sampler, const struct sampling_question *question,
                                                      struct sampling *out)
{
    struct slice ot = ot_member(question->parent->state);
    uint64_t randomness;
    bool is_explicit = randomness_parse(ot_value(ot, "rv:"), &randomness);
    if (!is_explicit)
        randomness = randomness_of_trace(question->trace_id);
    if (randomness >= sampler->threshold) {
        out->decision = SAMPLING_RECORD | SAMPLING_RESTATE;
        out->th = sampler->th;
    } else if (ot_value(ot, "th:").text) {
        out->decision = SAMPLING_RESTATE;
    }
    if (!is_explicit && !question->is_root && !question->is_random)
        out->complaint = complain_once(
            sampler, "the probability sampler presumes that trace ids are random, but a caller does not say so: "
                     "it should support W3C Trace Context level 2");
}

static struct sampler *delegate_of(const struct sampler *sampler, const struct sampling_question *question)
{
    if (question->is_root)
        return sampler->root;
    bool sampled = question->parent->flags & 1;
    if (question->parent->remote)
        return sampled ? sampler->remote_parent_sampled : sampler->remote_parent_not_sampled;
    return sampled ? sampler->local_parent_sampled : sampler->local_parent_not_sampled;
}

void sampler_ask(struct sampler *sampler, const struct sampling_question *question, struct sampling *out)
{
    out->decision = 0;
    out->th = out->complaint = NULL;
    while (sampler->kind == SAMPLER_PARENT_BASED)
        sampler = delegate_of(sampler, question);
    switch (sampler->kind) {
    case SAMPLER_TRACE_ID_RATIO:
        ask_ratio(sampler, question, out);
        break;
    case SAMPLER_PROBABILITY:
        ask_probability(sampler, question, out);
        break;
    case SAMPLER_ALWAYS_ON:
        out->decision = SAMPLING_RECORD;
        break;
    case SAMPLER_ALWAYS_OFF:
    case SAMPLER_PARENT_BASED:
        break;
    }
}
