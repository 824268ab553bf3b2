/* Copies of values and attributes into an arena, within limits; comparing and hashing them. Any thread. */
#ifndef OTEL_SDK_COPY_H
#define OTEL_SDK_COPY_H

#include "common/arena.h"
#include "common/otel/value.h"

/* Texts, also inside arrays and maps, are cut to length_max characters (UTF-8; -1: not at all) and NUL-terminated;
 * invalid UTF-8 becomes U+FFFD; deeper than OTEL_DEPTH_MAX becomes empty. */
struct otel_value value_copy(struct arena *arena, const struct otel_value *value, int length_max);
/* A list of attributes that grows up to count_max: the last value of a key counts, an attribute with an empty or NULL
 * key or one beyond the limit is dropped and counted. */
struct attribute_list {
    struct otel_attribute *items;
    unsigned count, capacity, dropped;
};
void attributes_set(struct arena *arena, struct attribute_list *list, const struct otel_attribute *attribute,
                    unsigned count_max, int length_max);

/* Of sets: sorted by key with the last of each key, without empty keys. Returns the new count. */
unsigned attributes_sort(struct otel_attribute *attributes, unsigned count);
bool value_equal(const struct otel_value *a, const struct otel_value *b);
bool attributes_equal(const struct otel_attribute *a, const struct otel_attribute *b, unsigned count);
uint64_t attributes_hash(const struct otel_attribute *attributes, unsigned count);

#endif
