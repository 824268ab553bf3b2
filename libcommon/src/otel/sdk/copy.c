#include "otel/sdk/copy.h"

#include <stdint.h>
#include <string.h>

#include "common/utf8.h"

enum { CAPACITY_FIRST = 8, SEQUENCE_BYTES_MAX = 4, KEY_BYTES_MIN = sizeof(uint64_t) };

static const char replacement[] = "\xef\xbf\xbd";

/* --- texts */

/* The copy ends with a NUL. */
static inline __attribute__((always_inline)) bool copy_ascii(char *out, const char *text, size_t bytes)
{
    out[bytes] = '\0';
    return ascii_copy(out, text, bytes);
}

/* Bytes of the sequence at text, which need not end with a NUL; 0 when there is no valid one. */
static size_t sequence_within(const char *text, size_t bytes)
{
    if (bytes >= SEQUENCE_BYTES_MAX)
        return utf8_sequence(text);
    char padded[SEQUENCE_BYTES_MAX] = {0};
    memcpy(padded, text, bytes);
    return utf8_sequence(padded);
}

/* Writes at most length_max characters to out, unless it is NULL; returns the bytes. */
static size_t clean(const char *text, size_t bytes, int length_max, char *out)
{
    size_t written = 0;
    for (int length = 0; bytes > 0 && length != length_max; length++) {
        size_t sequence = sequence_within(text, bytes);
        const char *from = sequence ? text : replacement;
        size_t count = sequence ? sequence : sizeof replacement - 1;
        if (out)
            memcpy(out + written, from, count);
        written += count;
        text += sequence ? sequence : 1;
        bytes -= sequence ? sequence : 1;
    }
    return written;
}

/* ASCII has as many characters as bytes. */
static size_t cut(size_t bytes, int length_max)
{
    return length_max >= 0 && bytes > (size_t)length_max ? (size_t)length_max : bytes;
}

static __attribute__((noinline)) char *copy_clean(struct arena *arena, const char *text, size_t *bytes, int length_max)
{
    size_t copied = clean(text, *bytes, length_max, NULL);
    char *copy = arena_alloc(arena, copied + KEY_BYTES_MIN); /* zeroed: a NUL, and what a key is padded with */
    clean(text, *bytes, length_max, copy);
    *bytes = copied;
    return copy;
}

static void copy_text(struct arena *arena, const char *text, size_t bytes, int length_max, struct otel_value *out)
{
    size_t copied = cut(bytes, length_max);
    char *copy = arena_alloc_raw(arena, copied + 1);
    if (!copy_ascii(copy, text, copied)) {
        copied = bytes;
        copy = copy_clean(arena, text, &copied, length_max);
    }
    out->type = OTEL_TEXT;
    out->count = (uint32_t)copied;
    out->text = copy;
}

const char *text_copy(struct arena *arena, const char *text)
{
    struct otel_value copy;
    if (!text)
        return NULL;
    copy_text(arena, text, strlen(text), -1, &copy);
    return copy.text;
}

/* --- values */

static const char *const *copy_texts(struct arena *arena, const struct otel_value *value, int length_max)
{
    const char **texts = arena_alloc_raw(arena, sizeof *texts * value->count);
    for (uint32_t i = 0; i < value->count; i++) {
        const char *text = value->texts[i];
        struct otel_value copy = {0};
        if (text)
            copy_text(arena, text, strlen(text), length_max, &copy);
        texts[i] = copy.text;
    }
    return texts;
}

static void copy_at(struct arena *arena, const struct otel_value *value, int length_max, int depth,
                    struct otel_value *out);

static const struct otel_value *copy_values(struct arena *arena, const struct otel_value *value, int length_max,
                                            int depth)
{
    struct otel_value *values = arena_alloc_raw(arena, sizeof *values * value->count);
    for (uint32_t i = 0; i < value->count; i++)
        copy_at(arena, &value->values[i], length_max, depth + 1, &values[i]);
    return values;
}

static const struct otel_attribute *copy_map(struct arena *arena, const struct otel_value *value, int length_max,
                                             int depth)
{
    struct otel_attribute *map = arena_alloc_raw(arena, sizeof *map * value->count);
    for (uint32_t i = 0; i < value->count; i++) {
        const char *key = value->map[i].key;
        map[i].key = text_copy(arena, key ? key : "");
        copy_at(arena, &value->map[i].value, length_max, depth + 1, &map[i].value);
    }
    return map;
}

static __attribute__((noinline)) void copy_array(struct arena *arena, const struct otel_value *value, int length_max,
                                                 int depth, struct otel_value *out)
{
    *out = *value;
    switch (value->type) {
    case OTEL_BYTES:
        out->count = (uint32_t)cut(value->count, length_max);
        out->bytes = arena_copy(arena, value->bytes, out->count);
        break;
    case OTEL_TEXTS:
        out->texts = copy_texts(arena, value, length_max);
        break;
    case OTEL_BOOLS:
        out->booleans = arena_copy(arena, value->booleans, sizeof *value->booleans * value->count);
        break;
    case OTEL_INTS:
        out->integers = arena_copy(arena, value->integers, sizeof *value->integers * value->count);
        break;
    case OTEL_REALS:
        out->reals = arena_copy(arena, value->reals, sizeof *value->reals * value->count);
        break;
    case OTEL_VALUES:
        out->values = copy_values(arena, value, length_max, depth);
        break;
    case OTEL_MAP:
        out->map = copy_map(arena, value, length_max, depth);
        break;
    default:
        break;
    }
}

static void copy_at(struct arena *arena, const struct otel_value *value, int length_max, int depth,
                    struct otel_value *out)
{
    if (value->type >= OTEL_TEXTS && depth > OTEL_DEPTH_MAX)
        *out = (struct otel_value){.type = OTEL_EMPTY};
    else if (value->type == OTEL_TEXT)
        copy_text(arena, value->text, value->count, length_max, out);
    else if (value->type >= OTEL_BYTES)
        copy_array(arena, value, length_max, depth, out);
    else
        *out = *value;
}

struct otel_value value_copy(struct arena *arena, const struct otel_value *value, int length_max)
{
    struct otel_value copy;
    copy_at(arena, value, length_max, 1, &copy);
    return copy;
}

/* --- lists: keys are padded to eight bytes, so that most comparisons are one of numbers */

/* Most keys are new, and most of these are known to be by their bit. */
static inline struct otel_attribute *find(const struct attribute_list *list, const char *key, size_t key_bytes,
                                          uint64_t begins)
{
    if (!(list->seen & key_bit(begins, key_bytes)))
        return NULL;
    for (unsigned i = 0; i < list->count; i++) {
        uint64_t word;
        memcpy(&word, list->items[i].key, sizeof word);
        if (word == begins && strcmp(list->items[i].key, key) == 0)
            return &list->items[i];
    }
    return NULL;
}

bool attributes_have(const struct attribute_list *list, const char *key, size_t key_bytes)
{
    return key_bytes > 0 && find(list, key, key_bytes, key_begins(key, key_bytes)) != NULL;
}

static void grow(struct arena *arena, struct attribute_list *list, unsigned count_max)
{
    unsigned capacity = list->capacity ? list->capacity * 2 : CAPACITY_FIRST;
    if (capacity > count_max)
        capacity = count_max;
    struct otel_attribute *items = arena_alloc_raw(arena, sizeof *items * capacity);
    if (list->count)
        memcpy(items, list->items, sizeof *items * list->count);
    list->items = items;
    list->capacity = capacity;
}

/* The text of an item has the number of bytes that it has room for ahead of it: setting a key over and over does not
 * fill the arena. */
static char *give_room(char *room, size_t bytes)
{
    uint32_t capacity = (uint32_t)bytes;
    memcpy(room, &capacity, sizeof capacity);
    return room + sizeof capacity;
}

static size_t room_of(const struct otel_value *value)
{
    uint32_t capacity = 0;
    if (value->type == OTEL_TEXT)
        memcpy(&capacity, value->text - sizeof capacity, sizeof capacity);
    return capacity;
}

/* old may be empty. */
static void replace_text(struct arena *arena, struct otel_value *old, const struct otel_value *value, int length_max)
{
    size_t room = room_of(old), copied = cut(value->count, length_max);
    char *text = old->type == OTEL_TEXT ? (char *)(uintptr_t)old->text : NULL;
    if (!text || copied > room || !copy_ascii(text, value->text, copied)) {
        copied = clean(value->text, value->count, length_max, NULL);
        if (!text || copied > room) {
            room = copied > 2 * room ? copied : 2 * room;
            text = give_room(arena_alloc_raw(arena, sizeof(uint32_t) + room + 1), room);
        }
        clean(value->text, value->count, length_max, text);
        text[copied] = '\0';
    }
    old->type = OTEL_TEXT;
    old->count = (uint32_t)copied;
    old->text = text;
}

static void replace(struct arena *arena, struct otel_value *old, const struct otel_value *value, int length_max)
{
    if (value->type == OTEL_TEXT)
        replace_text(arena, old, value, length_max);
    else
        copy_at(arena, value, length_max, 1, old);
}

/* Out of the way of what is usual: values that are neither ASCII nor a scalar. */
static __attribute__((noinline)) void put_value(struct arena *arena, struct otel_value *out, struct otel_value value,
                                                int length_max)
{
    replace(arena, out, &value, length_max);
}

/* A key that is not ASCII may be another one, once it is cleaned. */
static __attribute__((noinline)) void put_cleaned(struct arena *arena, struct attribute_list *list, const char *key,
                                                  size_t key_bytes, struct otel_value value, int length_max)
{
    const char *cleaned = copy_clean(arena, key, &key_bytes, -1);
    uint64_t begins = key_begins(cleaned, key_bytes);
    struct otel_attribute *item = find(list, cleaned, key_bytes, begins);
    if (!item) {
        item = &list->items[list->count++];
        list->seen |= key_bit(begins, key_bytes);
        item->value = (struct otel_value){.type = OTEL_EMPTY};
    }
    item->key = cleaned;
    replace(arena, &item->value, &value, length_max);
}

/* Key and text lie side by side: one allocation for both. */
static inline void append(struct arena *arena, struct attribute_list *list, const char *key, size_t key_bytes,
                          uint64_t begins, struct otel_value value, int length_max)
{
    size_t key_room = key_bytes + 1 < KEY_BYTES_MIN ? KEY_BYTES_MIN : key_bytes + 1;
    bool is_text = value.type == OTEL_TEXT;
    size_t copied = is_text ? cut(value.count, length_max) : 0;
    char *key_copy = arena_alloc_raw(arena, key_room + (is_text ? sizeof(uint32_t) + copied + 1 : 0));
    memcpy(key_copy, &begins, KEY_BYTES_MIN);
    if (!copy_ascii(key_copy, key, key_bytes)) {
        put_cleaned(arena, list, key, key_bytes, value, length_max);
        return;
    }
    struct otel_attribute *item = &list->items[list->count++];
    list->seen |= key_bit(begins, key_bytes);
    item->key = key_copy;
    if (value.type > OTEL_REAL) {
        item->value.type = OTEL_EMPTY;
        put_value(arena, &item->value, value, length_max);
        return;
    }
    item->value = value;
    if (!is_text)
        return;
    char *text = give_room(key_copy + key_room, copied);
    item->value.count = (uint32_t)copied;
    item->value.text = text;
    if (!copy_ascii(text, value.text, copied))
        put_value(arena, &item->value, value, length_max);
}

void attributes_put(struct arena *arena, struct attribute_list *list, const char *key, size_t key_bytes,
                    struct otel_value value, unsigned count_max, int length_max)
{
    if (key_bytes == 0) {
        list->dropped++;
        return;
    }
    uint64_t begins = key_begins(key, key_bytes);
    struct otel_attribute *old = find(list, key, key_bytes, begins);
    if (old) {
        put_value(arena, &old->value, value, length_max);
        return;
    }
    if (list->count >= count_max) {
        list->dropped++;
        return;
    }
    if (list->count == list->capacity)
        grow(arena, list, count_max);
    append(arena, list, key, key_bytes, begins, value, length_max);
}

void attributes_set(struct arena *arena, struct attribute_list *list, const struct otel_attribute *attribute,
                    unsigned count_max, int length_max)
{
    size_t key_bytes = attribute->key ? strlen(attribute->key) : 0;
    attributes_put(arena, list, attribute->key, key_bytes, attribute->value, count_max, length_max);
}

/* --- sets */

/* Where key belongs among the first count, which are sorted. */
static unsigned place_of(const struct otel_attribute *attributes, unsigned count, const char *key, bool *out_there)
{
    unsigned low = 0, high = count;
    *out_there = false;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        int order = strcmp(attributes[middle].key, key);
        if (order == 0) {
            *out_there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

unsigned attributes_sort(struct otel_attribute *attributes, unsigned count)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        struct otel_attribute next = attributes[i];
        bool there;
        if (!next.key || !next.key[0])
            continue;
        unsigned place = place_of(attributes, kept, next.key, &there);
        if (!there) {
            memmove(&attributes[place + 1], &attributes[place], sizeof next * (kept - place));
            kept++;
        }
        attributes[place] = next;
    }
    return kept;
}

static bool equal_at(const struct otel_value *a, const struct otel_value *b, int depth);

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool texts_equal(const struct otel_value *a, const struct otel_value *b)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (!same_text(a->texts[i], b->texts[i]))
            return false;
    return true;
}

static bool values_equal(const struct otel_value *a, const struct otel_value *b, int depth)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (!equal_at(&a->values[i], &b->values[i], depth + 1))
            return false;
    return true;
}

static bool holds(const struct otel_value *map, const struct otel_attribute *wanted, int depth)
{
    for (uint32_t i = 0; i < map->count; i++)
        if (same_text(map->map[i].key, wanted->key))
            return equal_at(&map->map[i].value, &wanted->value, depth + 1);
    return false;
}

static bool maps_equal(const struct otel_value *a, const struct otel_value *b, int depth)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (!holds(b, &a->map[i], depth))
            return false;
    return true;
}

/* What value_copy() would keep. */
static enum otel_type type_at(const struct otel_value *value, int depth)
{
    return value->type >= OTEL_TEXTS && depth > OTEL_DEPTH_MAX ? OTEL_EMPTY : value->type;
}

static size_t element_bytes(enum otel_type type)
{
    switch (type) {
    case OTEL_TEXT:
    case OTEL_BYTES:
        return 1;
    case OTEL_BOOLS:
        return sizeof(bool);
    case OTEL_INTS:
        return sizeof(int64_t);
    case OTEL_REALS:
        return sizeof(double);
    default:
        return 0;
    }
}

static bool same_bytes(const void *a, const void *b, size_t bytes)
{
    return bytes == 0 || memcmp(a, b, bytes) == 0;
}

static bool equal_at(const struct otel_value *a, const struct otel_value *b, int depth)
{
    enum otel_type type = type_at(a, depth);
    if (type != type_at(b, depth))
        return false;
    switch (type) {
    case OTEL_EMPTY:
        return true;
    case OTEL_BOOL:
        return a->boolean == b->boolean;
    case OTEL_INT:
        return a->integer == b->integer;
    case OTEL_REAL:
        return same_bytes(&a->real, &b->real, sizeof a->real);
    case OTEL_TEXTS:
        return a->count == b->count && texts_equal(a, b);
    case OTEL_VALUES:
        return a->count == b->count && values_equal(a, b, depth);
    case OTEL_MAP:
        return a->count == b->count && maps_equal(a, b, depth);
    default:
        return a->count == b->count && same_bytes(a->bytes, b->bytes, element_bytes(type) * a->count);
    }
}

bool value_equal(const struct otel_value *a, const struct otel_value *b)
{
    return equal_at(a, b, 1);
}

bool attributes_equal(const struct otel_attribute *a, const struct otel_attribute *b, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(a[i].key, b[i].key) != 0 || !value_equal(&a[i].value, &b[i].value))
            return false;
    return true;
}

/* --- hashing: eight bytes a step, each step a wide multiplication whose halves are folded */

static uint64_t mix(uint64_t hash, uint64_t word)
{
    __uint128_t wide = (__uint128_t)(hash ^ word ^ UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xd6e8feb86659fd93);
    return (uint64_t)wide ^ (uint64_t)(wide >> 64);
}

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t bytes)
{
    const char *next = data;
    uint64_t word;
    hash = mix(hash, bytes);
    for (; bytes >= sizeof word; next += sizeof word, bytes -= sizeof word) {
        memcpy(&word, next, sizeof word);
        hash = mix(hash, word);
    }
    word = 0;
    if (bytes)
        memcpy(&word, next, bytes);
    return mix(hash, word);
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return text ? hash_bytes(hash, text, strlen(text)) : mix(hash, 0);
}

static uint64_t hash_at(uint64_t hash, const struct otel_value *value, int depth)
{
    enum otel_type type = type_at(value, depth);
    uint64_t word = 0;
    hash = mix(hash, type);
    switch (type) {
    case OTEL_EMPTY:
        return hash;
    case OTEL_BOOL:
        return mix(hash, value->boolean);
    case OTEL_INT:
        return mix(hash, (uint64_t)value->integer);
    case OTEL_REAL:
        memcpy(&word, &value->real, sizeof word);
        return mix(hash, word);
    case OTEL_TEXTS:
        for (uint32_t i = 0; i < value->count; i++)
            hash = hash_text(hash, value->texts[i]);
        return hash;
    case OTEL_VALUES:
        for (uint32_t i = 0; i < value->count; i++)
            hash = hash_at(hash, &value->values[i], depth + 1);
        return hash;
    case OTEL_MAP:
        for (uint32_t i = 0; i < value->count; i++) /* in any order */
            word += hash_at(hash_text(0, value->map[i].key), &value->map[i].value, depth + 1);
        return mix(hash, word);
    default:
        return hash_bytes(hash, value->bytes, element_bytes(type) * value->count);
    }
}

uint64_t attributes_hash(const struct otel_attribute *attributes, unsigned count)
{
    uint64_t hash = count;
    for (unsigned i = 0; i < count; i++)
        hash = hash_at(hash_text(hash, attributes[i].key), &attributes[i].value, 1);
    return hash;
}
