#include "otel/settings/pairs.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/hash.h"
#include "otel/settings/node.h"

static const char space[] = " \t";

/* Trims and decodes; NULL for a broken escape and what is no text afterwards. */
static const char *decode(struct arena *arena, const char *text, size_t length)
{
    while (length > 0 && strchr(space, text[0]))
        text++, length--;
    while (length > 0 && strchr(space, text[length - 1]))
        length--;
    char *out = arena_alloc(arena, length + 1), *end = out;
    for (size_t i = 0; i < length; i++) {
        if (text[i] != '%') {
            *end++ = text[i];
            continue;
        }
        int high = i + 2 < length ? hash_digit(text[i + 1]) : -1, low = high < 0 ? -1 : hash_digit(text[i + 2]);
        if (low < 0)
            return NULL;
        *end++ = (char)(high << 4 | low);
        i += 2;
    }
    return scalar_is_utf8(out, (size_t)(end - out)) ? out : NULL;
}

static bool read_pair(struct arena *arena, const char *text, size_t length, struct pair *out)
{
    const char *equals = memchr(text, '=', length);
    if (!equals)
        return false;
    size_t key = (size_t)(equals - text);
    out->key = decode(arena, text, key);
    out->value = decode(arena, equals + 1, length - key - 1);
    return out->key && *out->key && out->value;
}

static bool is_blank(const char *text, size_t length)
{
    return strspn(text, space) >= length;
}

bool pairs_parse(struct arena *arena, const char *text, struct pair **out, unsigned *out_count)
{
    unsigned count = 0, commas = 0;
    for (const char *c = text; *c; c++)
        commas += *c == ',';
    if (commas >= PAIRS_MAX)
        return false;
    struct pair *pairs = arena_array(arena, struct pair, commas + 1);
    for (;;) {
        size_t length = strcspn(text, ",");
        if (!is_blank(text, length) && !read_pair(arena, text, length, &pairs[count++]))
            return false;
        if (text[length] == '\0')
            break;
        text += length + 1;
    }
    *out = pairs;
    *out_count = count;
    return true;
}

/* --- headers */

/* RFC 9110: tchar */
static bool is_token(const char *text)
{
    if (!*text)
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("!#$%&'*+-.^_`|~", *text))
            return false;
    return true;
}

static bool is_header_value(const char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            return false;
    return true;
}

static bool is_header(const char *name, const char *value)
{
    return is_token(name) && is_header_value(value);
}

bool headers_set(struct arena *arena, struct exporter_settings *exporter, const char *name, const char *value)
{
    if (!is_header(name, value) || exporter->header_count == HEADERS_MAX)
        return false;
    struct header_settings *headers = arena_array(arena, struct header_settings, exporter->header_count + 1);
    unsigned count = 0;
    for (unsigned i = 0; i < exporter->header_count; i++)
        if (strcasecmp(exporter->headers[i].name, name) != 0)
            headers[count++] = exporter->headers[i];
    headers[count++] = (struct header_settings){name, value};
    exporter->headers = headers;
    exporter->header_count = count;
    return true;
}

bool headers_parse(struct arena *arena, struct exporter_settings *exporter, const char *text)
{
    struct pair *pairs;
    unsigned count;
    if (!pairs_parse(arena, text, &pairs, &count))
        return false;
    if (count > HEADERS_MAX - exporter->header_count)
        return false;
    for (unsigned i = 0; i < count; i++)
        if (!is_header(pairs[i].key, pairs[i].value))
            return false;
    for (unsigned i = 0; i < count; i++)
        headers_set(arena, exporter, pairs[i].key, pairs[i].value);
    return true;
}

/* --- attributes */

void attributes_append(struct sdk_settings *settings, const struct otel_attribute *attributes, unsigned count)
{
    unsigned before = settings->resource_attribute_count;
    struct otel_attribute *all = arena_array(&settings->arena, struct otel_attribute, before + count);
    if (before)
        memcpy(all, settings->resource_attributes, before * sizeof *all);
    if (count)
        memcpy(all + before, attributes, count * sizeof *all);
    settings->resource_attributes = all;
    settings->resource_attribute_count = before + count;
}

bool attributes_parse(struct arena *arena, struct sdk_settings *settings, const char *text)
{
    struct pair *pairs;
    unsigned count;
    if (!pairs_parse(arena, text, &pairs, &count))
        return false;
    struct otel_attribute *attributes = arena_array(arena, struct otel_attribute, count);
    for (unsigned i = 0; i < count; i++)
        attributes[i] = otel_text(pairs[i].key, pairs[i].value);
    attributes_append(settings, attributes, count);
    return true;
}
