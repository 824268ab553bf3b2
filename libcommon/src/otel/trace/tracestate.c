/* Members are slices of the text they were read from; there are at most 32, so twins are looked for one by one. */
#include <stdint.h>
#include <string.h>

#include "common/otel/propagation.h"
#include "otel/trace/w3c.h"

enum { KEY_BYTES_MAX = 256, VALUE_BYTES_MAX = 256, LONG_MEMBER_BYTES = 128 };

struct member {
    const char *text;
    size_t key_bytes, bytes; /* the value begins behind the key and '=' */
};

struct members {
    unsigned count;
    struct member items[TRACESTATE_MEMBERS_MAX];
};

static bool is_digit_or_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool key_valid(const char *key, size_t bytes)
{
    if (bytes == 0 || bytes > KEY_BYTES_MAX || !is_digit_or_letter(*key))
        return false;
    for (size_t i = 1; i < bytes; i++)
        if (!is_digit_or_letter(key[i]) && (key[i] == '\0' || !strchr("_-*/@", key[i])))
            return false;
    return true;
}

static bool value_valid(const char *value, size_t bytes)
{
    if (bytes == 0 || bytes > VALUE_BYTES_MAX || value[bytes - 1] == ' ')
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (value[i] < ' ' || value[i] > '~' || value[i] == ',' || value[i] == '=')
            return false;
    return true;
}

static const struct member *members_find(const struct members *members, const char *key, size_t bytes)
{
    for (unsigned i = 0; i < members->count; i++)
        if (members->items[i].key_bytes == bytes && memcmp(members->items[i].text, key, bytes) == 0)
            return &members->items[i];
    return NULL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static bool members_take(struct members *members, const char *text, size_t bytes)
{
    while (bytes > 0 && is_space(*text))
        text++, bytes--;
    while (bytes > 0 && is_space(text[bytes - 1]))
        bytes--;
    if (bytes == 0)
        return true;
    const char *equals = memchr(text, '=', bytes);
    if (!equals || members->count == TRACESTATE_MEMBERS_MAX)
        return false;
    struct member member = {.text = text, .key_bytes = (size_t)(equals - text), .bytes = bytes};
    if (!key_valid(text, member.key_bytes) || !value_valid(equals + 1, bytes - member.key_bytes - 1) ||
        members_find(members, text, member.key_bytes))
        return false;
    members->items[members->count++] = member;
    return true;
}

static bool members_read(struct members *out, const char *text)
{
    out->count = 0;
    while (*text) {
        size_t bytes = strcspn(text, ",");
        if (!members_take(out, text, bytes))
            return false;
        text += bytes + (text[bytes] == ',');
    }
    return true;
}

static size_t members_bytes(const struct members *members)
{
    size_t bytes = members->count;
    for (unsigned i = 0; i < members->count; i++)
        bytes += members->items[i].bytes;
    return bytes > 0 ? bytes - 1 : 0;
}

static void members_remove(struct members *members, unsigned at)
{
    members->count--;
    memmove(&members->items[at], &members->items[at + 1], (members->count - at) * sizeof members->items[0]);
}

/* The specification's way to shorten: whole members, the long ones first, then from the end. */
static void members_fit(struct members *members, unsigned kept)
{
    for (unsigned i = members->count; i-- > kept && members_bytes(members) > TRACESTATE_BYTES_MAX;)
        if (members->items[i].bytes > LONG_MEMBER_BYTES)
            members_remove(members, i);
    while (members->count > kept && members_bytes(members) > TRACESTATE_BYTES_MAX)
        members->count--;
}

static const char *members_print(const struct members *members, struct arena *arena)
{
    if (members->count == 0)
        return NULL;
    char *text = arena_alloc_raw(arena, members_bytes(members) + 1);
    char *next = text;
    for (unsigned i = 0; i < members->count; i++) {
        if (i > 0)
            *next++ = ',';
        memcpy(next, members->items[i].text, members->items[i].bytes);
        next += members->items[i].bytes;
    }
    *next = '\0';
    return text;
}

const char *tracestate_clean(const char *text, struct arena *arena)
{
    struct members members;
    if (!members_read(&members, text))
        return NULL;
    members_fit(&members, 0);
    return members_print(&members, arena);
}

/* What the caller's context holds may be of the caller's own making; malformed counts as none. */
static void members_of(const struct trace_context *context, struct members *out)
{
    if (!context->state || !members_read(out, context->state))
        out->count = 0;
}

const char *otel_tracestate_get(const struct trace_context *context, const char *key, struct arena *arena)
{
    struct members members;
    members_of(context, &members);
    const struct member *member = members_find(&members, key, strlen(key));
    if (!member)
        return NULL;
    return arena_text(arena, member->text + member->key_bytes + 1, member->bytes - member->key_bytes - 1);
}

bool otel_tracestate_set(struct trace_context *context, const char *key, const char *value, struct arena *arena)
{
    size_t key_bytes = strlen(key);
    if (!key_valid(key, key_bytes) || (value && !value_valid(value, strlen(value))))
        return false;
    struct members old, members = {0};
    members_of(context, &old);
    if (value) {
        const char *text = arena_print(arena, "%s=%s", key, value);
        members.items[members.count++] = (struct member){text, key_bytes, strlen(text)};
    }
    const struct member *same = members_find(&old, key, key_bytes);
    for (unsigned i = 0; i < old.count && members.count < TRACESTATE_MEMBERS_MAX; i++)
        if (&old.items[i] != same)
            members.items[members.count++] = old.items[i];
    members_fit(&members, value ? 1 : 0);
    if (members_bytes(&members) > TRACESTATE_BYTES_MAX)
        return false;
    context->state = members_print(&members, arena);
    return true;
}
