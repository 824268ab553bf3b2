/* Copies of values and attributes into an arena, within limits; comparing and hashing them. Any thread. */
#ifndef OTEL_SDK_COPY_H
#define OTEL_SDK_COPY_H

#include <endian.h>
#include <string.h>

#include "common/arena.h"
#include "common/otel/value.h"

/* Texts, also inside arrays and maps, are cut to length_max characters (UTF-8; -1: not at all) and NUL-terminated;
 * bytes to length_max bytes. Invalid UTF-8 becomes U+FFFD; arrays and maps deeper than OTEL_DEPTH_MAX become empty. */
struct otel_value value_copy(struct arena *arena, const struct otel_value *value, int length_max);
/* The same for a single text, whole; NULL gives NULL. */
const char *text_copy(struct arena *arena, const char *text);
/* A list of attributes that grows up to count_max: the last value of a key counts, an attribute with an empty or NULL
 * key or one beyond the limit is dropped and counted. Begins as {0}, or with room of the caller's own. */
struct attribute_list {
    struct otel_attribute *items;
    unsigned count, capacity, dropped;
    uint64_t seen; /* private: a bit for each key, by its beginning and length; several may share one */
};
void attributes_set(struct arena *arena, struct attribute_list *list, const struct otel_attribute *attribute,
                    unsigned count_max, int length_max);
/* The same for a key whose length is known. */
void attributes_put(struct arena *arena, struct attribute_list *list, const char *key, size_t key_bytes,
                    struct otel_value value, unsigned count_max, int length_max);

bool attributes_have(const struct attribute_list *list, const char *key, size_t key_bytes);

static inline uint64_t little16(const char *bytes)
{
    uint16_t word;
    memcpy(&word, bytes, sizeof word);
    return le16toh(word);
}

static inline uint64_t little32(const char *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return le32toh(word);
}

/* Less than eight bytes, and zeros behind them. Read as two numbers that overlap: a number that is put together in
 * memory is waited for. */
static inline uint64_t short_word(const char *text, size_t bytes)
{
    if (bytes >= 4)
        return htole64(little32(text) | little32(text + bytes - 4) << (bytes - 4) * 8);
    if (bytes >= 2)
        return htole64(little16(text) | little16(text + bytes - 2) << (bytes - 2) * 8);
    return htole64(bytes > 0 ? (unsigned char)*text : 0);
}

/* A key's first eight bytes, behind a short one zeros, and its bit in an attribute_list's seen. */
static inline uint64_t key_begins(const char *key, size_t bytes)
{
    uint64_t word;
    if (bytes + 1 < sizeof word)
        return short_word(key, bytes);
    memcpy(&word, key, sizeof word);
    return word;
}

static inline uint64_t key_bit(uint64_t begins, size_t key_bytes)
{
    return UINT64_C(1) << ((begins + key_bytes) * UINT64_C(0x9e3779b97f4a7c15) >> 58);
}

/* Less than eight bytes, by two moves that overlap. */
static inline void copy_short(char *out, const char *text, size_t bytes)
{
    if (bytes >= 4) {
        memcpy(out, text, 4);
        memcpy(out + bytes - 4, text + bytes - 4, 4);
    } else if (bytes >= 2) {
        memcpy(out, text, 2);
        memcpy(out + bytes - 2, text + bytes - 2, 2);
    } else if (bytes > 0) {
        *out = *text;
    }
}

/* Copies what is ASCII all through, as nearly all texts are, in one go; no NUL. False: it is not. */
static inline __attribute__((always_inline)) bool ascii_copy(void *out, const char *text, size_t bytes)
{
    uint64_t any = 0, word;
    char *to = out;
    size_t i = 0;
    for (; i + sizeof word <= bytes; i += sizeof word) {
        memcpy(&word, text + i, sizeof word);
        memcpy(to + i, &word, sizeof word);
        any |= word;
    }
    if (i < bytes && i > 0) { /* the last eight bytes, some of them once more */
        memcpy(&word, text + bytes - sizeof word, sizeof word);
        memcpy(to + bytes - sizeof word, &word, sizeof word);
        any |= word;
    } else if (i < bytes) {
        any = short_word(text, bytes);
        copy_short(to, text, bytes);
    }
    return (any & UINT64_C(0x8080808080808080)) == 0;
}

/* Of sets: sorted by key with the last of each key, without empty keys. Returns the new count. */
unsigned attributes_sort(struct otel_attribute *attributes, unsigned count);
/* By type and content: reals by their bits, maps without regard to order, as deep as value_copy() goes. */
bool value_equal(const struct otel_value *a, const struct otel_value *b);
bool attributes_equal(const struct otel_attribute *a, const struct otel_attribute *b, unsigned count);
uint64_t attributes_hash(const struct otel_attribute *attributes, unsigned count);

#endif
