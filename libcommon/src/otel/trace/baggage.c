/* Baggage stays the text of its header. Whoever wants an entry reads the text; most processes only pass it on. */
#include <stdint.h>
#include <string.h>

#include "common/hash.h"
#include "common/otel/propagation.h"
#include "otel/sdk/copy.h"
#include "otel/trace/w3c.h"

struct slice {
    const char *text;
    size_t bytes;
};

struct entry {
    struct slice key, value, properties; /* the value percent-encoded; properties without the first ';' */
};

struct entries {
    unsigned count;
    size_t bytes; /* of the text that they make */
    struct entry items[BAGGAGE_ENTRIES_MAX];
};

static bool is_token(struct slice slice)
{
    for (size_t i = 0; i < slice.bytes; i++) {
        char c = slice.text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return slice.bytes > 0;
}

/* baggage-octet */
static bool stands_for_itself(char c)
{
    return c > ' ' && c <= '~' && !strchr("\",;\\", c);
}

static bool is_value(struct slice slice)
{
    for (size_t i = 0; i < slice.bytes; i++) {
        if (!stands_for_itself(slice.text[i]))
            return false;
        if (slice.text[i] != '%')
            continue;
        if (slice.bytes - i < 3 || hash_digit(slice.text[i + 1]) < 0 || hash_digit(slice.text[i + 2]) < 0)
            return false;
    }
    return true;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct slice trimmed(const char *text, size_t bytes)
{
    while (bytes > 0 && is_space(*text))
        text++, bytes--;
    while (bytes > 0 && is_space(text[bytes - 1]))
        bytes--;
    return (struct slice){text, bytes};
}

/* Cuts off what comes before the separator, which goes too; all when there is none. */
static struct slice cut(struct slice *rest, char separator)
{
    const char *end = memchr(rest->text, separator, rest->bytes);
    struct slice first = {rest->text, end ? (size_t)(end - rest->text) : rest->bytes};
    size_t gone = first.bytes + (end ? 1 : 0);
    rest->text += gone;
    rest->bytes -= gone;
    return trimmed(first.text, first.bytes);
}

static bool are_properties(struct slice rest)
{
    for (;;) {
        bool last = !memchr(rest.text, ';', rest.bytes);
        struct slice value = cut(&rest, ';');
        if (!is_token(cut(&value, '=')) || !is_value(trimmed(value.text, value.bytes)))
            return false;
        if (last)
            return true;
    }
}

static bool entry_read(struct entry *out, struct slice text)
{
    bool has_properties = memchr(text.text, ';', text.bytes) != NULL;
    struct slice pair = cut(&text, ';');
    if (!memchr(pair.text, '=', pair.bytes) || (has_properties && !are_properties(text)))
        return false;
    out->key = cut(&pair, '=');
    out->value = trimmed(pair.text, pair.bytes);
    out->properties = trimmed(text.text, text.bytes);
    return is_token(out->key) && is_value(out->value);
}

/* The next well-formed entry; false at the end. */
static bool entry_next(struct entry *out, struct slice *rest)
{
    while (rest->bytes > 0)
        if (entry_read(out, cut(rest, ',')))
            return true;
    return false;
}

static size_t entry_bytes(const struct entry *entry)
{
    size_t properties = entry->properties.bytes;
    return entry->key.bytes + 1 + entry->value.bytes + (properties > 0 ? 1 + properties : 0);
}

static struct entry *entries_find(struct entries *entries, struct slice key)
{
    for (unsigned i = 0; i < entries->count; i++)
        if (entries->items[i].key.bytes == key.bytes && memcmp(entries->items[i].key.text, key.text, key.bytes) == 0)
            return &entries->items[i];
    return NULL;
}

/* Takes the place of the one with the same key. False, and nothing changed, beyond the limits. */
static bool entries_put(struct entries *entries, const struct entry *entry)
{
    struct entry *same = entries_find(entries, entry->key);
    size_t bytes = entries->bytes + entry_bytes(entry);
    bytes = same ? bytes - entry_bytes(same) : bytes + (entries->count > 0 ? 1 : 0);
    if (bytes > BAGGAGE_BYTES_MAX || (!same && entries->count == BAGGAGE_ENTRIES_MAX))
        return false;
    entries->bytes = bytes;
    if (!same)
        same = &entries->items[entries->count++];
    *same = *entry;
    return true;
}

static void entries_read(struct entries *out, const char *text)
{
    struct slice rest = {text, text ? strlen(text) : 0};
    struct entry entry;
    out->count = 0;
    out->bytes = 0;
    while (entry_next(&entry, &rest))
        entries_put(out, &entry);
}

static char *put(char *to, struct slice slice)
{
    memcpy(to, slice.text, slice.bytes);
    return to + slice.bytes;
}

static const char *entries_print(const struct entries *entries, struct arena *arena)
{
    if (entries->count == 0)
        return NULL;
    char *text = arena_alloc_raw(arena, entries->bytes + 1);
    char *next = text;
    for (unsigned i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->items[i];
        if (i > 0)
            *next++ = ',';
        next = put(next, entry->key);
        *next++ = '=';
        next = put(next, entry->value);
        if (entry->properties.bytes > 0)
            *next++ = ';';
        next = put(next, entry->properties);
    }
    *next = '\0';
    return text;
}

const char *baggage_clean(const char *text, struct arena *arena)
{
    struct entries entries;
    entries_read(&entries, text);
    return entries_print(&entries, arena);
}

/* A decoded NUL would end the text early, so it is replaced as broken UTF-8 is. */
static const char *decoded(struct slice value, struct arena *arena)
{
    char *text = arena_alloc_raw(arena, value.bytes + 1);
    uint32_t count = 0;
    for (size_t i = 0; i < value.bytes; i++) {
        char c = value.text[i];
        if (c == '%') {
            c = (char)(hash_digit(value.text[i + 1]) << 4 | hash_digit(value.text[i + 2]));
            i += 2;
        }
        text[count++] = c ? c : '\xff';
    }
    text[count] = '\0';
    struct otel_value raw = {.type = OTEL_TEXT, .count = count, .text = text};
    return value_copy(arena, &raw, -1).text;
}

static struct slice encoded(const char *value, struct arena *arena)
{
    static const char digits[] = "0123456789ABCDEF";
    struct otel_value raw = otel_value_text(value);
    struct otel_value clean = value_copy(arena, &raw, -1);
    char *text = arena_alloc_raw(arena, 3 * (size_t)clean.count + 1);
    size_t bytes = 0;
    for (uint32_t i = 0; i < clean.count; i++) {
        char c = clean.text[i];
        if (stands_for_itself(c) && c != '%') {
            text[bytes++] = c;
            continue;
        }
        text[bytes++] = '%';
        text[bytes++] = digits[(uint8_t)c >> 4];
        text[bytes++] = digits[(uint8_t)c & 15];
    }
    return (struct slice){text, bytes};
}

static struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

const char *otel_baggage_get(const struct trace_context *context, const char *key, struct arena *arena)
{
    struct entries entries;
    entries_read(&entries, context->baggage);
    const struct entry *entry = entries_find(&entries, slice_of(key));
    return entry ? decoded(entry->value, arena) : NULL;
}

bool otel_baggage_set(struct trace_context *context, const char *key, const char *value, const char *metadata,
                      struct arena *arena)
{
    struct entry entry = {.key = slice_of(key), .properties = {"", 0}};
    if (metadata)
        entry.properties = trimmed(metadata, strlen(metadata));
    if (!value || !is_token(entry.key) || (entry.properties.bytes > 0 && !are_properties(entry.properties)) ||
        strlen(value) > BAGGAGE_BYTES_MAX)
        return false;
    entry.value = encoded(value, arena);
    struct entries entries;
    entries_read(&entries, context->baggage);
    if (!entries_put(&entries, &entry))
        return false;
    context->baggage = entries_print(&entries, arena);
    return true;
}

void otel_baggage_remove(struct trace_context *context, const char *key, struct arena *arena)
{
    struct entries entries;
    entries_read(&entries, context->baggage);
    struct entry *entry = entries_find(&entries, slice_of(key));
    if (!entry)
        return;
    struct entry *last = &entries.items[entries.count - 1];
    entries.bytes -= entry_bytes(entry) + (entries.count > 1 ? 1 : 0);
    memmove(entry, entry + 1, (size_t)(last - entry) * sizeof *entry);
    entries.count--;
    context->baggage = entries_print(&entries, arena);
}

void otel_baggage_each(const struct trace_context *context, struct arena *arena,
                       bool (*visit)(const char *key, const char *value, const char *metadata, void *arg), void *arg)
{
    struct entries entries;
    entries_read(&entries, context->baggage);
    for (unsigned i = 0; i < entries.count; i++) {
        const struct entry *entry = &entries.items[i];
        const struct slice *properties = &entry->properties;
        if (!visit(arena_text(arena, entry->key.text, entry->key.bytes), decoded(entry->value, arena),
                   properties->bytes > 0 ? arena_text(arena, properties->text, properties->bytes) : NULL, arg))
            return;
    }
}
