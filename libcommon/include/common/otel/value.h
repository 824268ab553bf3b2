/* Attributes: keyed values of every type that OpenTelemetry knows.
 *
 * A value points at memory of its maker; whoever keeps one copies it. Keys are non-empty UTF-8,
 * values may be empty; invalid UTF-8 leaves the process as U+FFFD. Nested values beyond
 * OTEL_DEPTH_MAX levels become empty. Any thread.
 * Source: OpenTelemetry specification, common/README (AnyValue, attribute). */
#ifndef COMMON_OTEL_VALUE_H
#define COMMON_OTEL_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { OTEL_DEPTH_MAX = 8 };

enum otel_type {
    OTEL_EMPTY,
    OTEL_TEXT,
    OTEL_BOOL,
    OTEL_INT,
    OTEL_REAL,
    OTEL_BYTES,
    OTEL_TEXTS, /* arrays of one type */
    OTEL_BOOLS,
    OTEL_INTS,
    OTEL_REALS,
    OTEL_VALUES, /* an array of anything */
    OTEL_MAP,    /* attributes */
};

struct otel_value {
    enum otel_type type;
    uint32_t count; /* bytes of a text (without a NUL) or of bytes; elements of an array or map */
    union {
        const char *text; /* NUL-terminated only where its maker did so */
        bool boolean;
        int64_t integer;
        double real;
        const uint8_t *bytes;
        const char *const *texts; /* each NUL-terminated; NULL is an empty value */
        const bool *booleans;
        const int64_t *integers;
        const double *reals;
        const struct otel_value *values;
        const struct otel_attribute *map;
    };
};

struct otel_attribute {
    const char *key;
    struct otel_value value;
};

/* A NULL text is an empty value, not an error. */
static inline struct otel_value otel_value_text(const char *text)
{
    if (!text)
        return (struct otel_value){.type = OTEL_EMPTY};
    return (struct otel_value){.type = OTEL_TEXT, .count = (uint32_t)strlen(text), .text = text};
}

static inline struct otel_attribute otel_text(const char *key, const char *text)
{
    return (struct otel_attribute){key, otel_value_text(text)};
}

/* The counts of 0 are there for gcc: members that are left out cost the caller a way through memory. */
static inline struct otel_attribute otel_bool(const char *key, bool boolean)
{
    struct otel_attribute attribute = {key, {.type = OTEL_BOOL, .count = 0, .integer = 0}};
    attribute.value.boolean = boolean;
    return attribute;
}

static inline struct otel_attribute otel_int(const char *key, int64_t integer)
{
    return (struct otel_attribute){key, {.type = OTEL_INT, .count = 0, .integer = integer}};
}

static inline struct otel_attribute otel_real(const char *key, double real)
{
    return (struct otel_attribute){key, {.type = OTEL_REAL, .count = 0, .real = real}};
}

static inline struct otel_attribute otel_bytes(const char *key, const void *bytes, uint32_t count)
{
    return (struct otel_attribute){key, {.type = OTEL_BYTES, .count = count, .bytes = (const uint8_t *)bytes}};
}

static inline struct otel_attribute otel_texts(const char *key, const char *const *texts, uint32_t count)
{
    return (struct otel_attribute){key, {.type = OTEL_TEXTS, .count = count, .texts = texts}};
}

static inline struct otel_attribute otel_bools(const char *key, const bool *booleans, uint32_t count)
{
    return (struct otel_attribute){key, {.type = OTEL_BOOLS, .count = count, .booleans = booleans}};
}

static inline struct otel_attribute otel_ints(const char *key, const int64_t *integers, uint32_t count)
{
    return (struct otel_attribute){key, {.type = OTEL_INTS, .count = count, .integers = integers}};
}

static inline struct otel_attribute otel_reals(const char *key, const double *reals, uint32_t count)
{
    return (struct otel_attribute){key, {.type = OTEL_REALS, .count = count, .reals = reals}};
}

/* Attributes that are given over and over, as those of all spans of one route: checked, copied and encoded once. Does
 * not change; the last of equal keys counts, those with an empty or NULL key are left out. Freed when nobody uses it
 * any more; NULL is allowed. */
struct otel_attribute_set *otel_attribute_set_new(const struct otel_attribute *attributes, unsigned count);
void otel_attribute_set_free(struct otel_attribute_set *set);

/* Two arguments at once, the attributes and their number: otel_span_set_all(span, OTEL_LIST(otel_int("a", 1))). */
#define OTEL_LIST(...)                                                                                                 \
    ((const struct otel_attribute[]){__VA_ARGS__}),                                                                    \
        (unsigned)(sizeof((const struct otel_attribute[]){__VA_ARGS__}) / sizeof(struct otel_attribute))

#endif
