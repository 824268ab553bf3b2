#include "otel/metrics/accept.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Part of a header, between two separators, without the blanks around it. */
struct span {
    const char *text;
    size_t length;
};

static struct span trimmed(const char *text, size_t length)
{
    while (length > 0 && strchr(" \t", *text)) {
        text++;
        length--;
    }
    while (length > 0 && strchr(" \t", text[length - 1]))
        length--;
    return (struct span){text, length};
}

/* The next part, up to separator; false at the end. */
static bool next_part(struct span *rest, char separator, struct span *out)
{
    if (!rest->text)
        return false;
    const char *end = memchr(rest->text, separator, rest->length);
    size_t length = end ? (size_t)(end - rest->text) : rest->length;
    *out = trimmed(rest->text, length);
    *rest = end ? (struct span){end + 1, rest->length - length - 1} : (struct span){0};
    return true;
}

static bool is(struct span span, const char *text)
{
    return span.length == strlen(text) && strncasecmp(span.text, text, span.length) == 0;
}

/* The value of the parameter, when part is that one; quotes are taken off. */
static bool parameter(struct span part, const char *name, struct span *out)
{
    struct span rest = part, key;
    next_part(&rest, '=', &key);
    if (!is(key, name) || !rest.text)
        return false;
    *out = trimmed(rest.text, rest.length);
    if (out->length >= 2 && out->text[0] == '"' && out->text[out->length - 1] == '"')
        *out = (struct span){out->text + 1, out->length - 2};
    return true;
}

/* In thousandths; what is no weight counts as 0. */
static int weight_of(struct span value)
{
    char text[8] = {0};
    if (value.length == 0 || value.length >= sizeof text)
        return 0;
    memcpy(text, value.text, value.length);
    char *end;
    double weight = strtod(text, &end);
    return *end || !(weight >= 0 && weight <= 1) ? 0 : (int)(weight * 1000 + 0.5);
}

struct offer {
    int weight;
    struct text_format format;
    bool known;
};

static struct offer read_offer(struct span range)
{
    struct offer offer = {.weight = 1000};
    struct span type, part, value, version = {0};
    bool utf8 = false;
    next_part(&range, ';', &type);
    while (next_part(&range, ';', &part)) {
        if (parameter(part, "q", &value))
            offer.weight = weight_of(value);
        else if (parameter(part, "version", &value))
            version = value;
        else if (parameter(part, "escaping", &value))
            utf8 = is(value, "allow-utf-8");
    }
    bool one = version.text && is(version, "1.0.0");
    if (is(type, "application/openmetrics-text")) {
        offer.known = !version.text || one || is(version, "0.0.1");
        offer.format = (struct text_format){.openmetrics = true, .utf8 = utf8 && one};
    } else if (is(type, "text/plain")) {
        offer.known = !version.text || one || is(version, "0.0.4");
        offer.format = (struct text_format){.utf8 = utf8 && one};
    } else {
        offer.known = is(type, "text/*") || is(type, "*/*");
    }
    return offer;
}

struct text_format accept_format(const char *accept)
{
    struct offer best = {0};
    struct span rest = {accept, accept ? strlen(accept) : 0}, range;
    while (next_part(&rest, ',', &range)) {
        struct offer offer = read_offer(range);
        if (offer.known && offer.weight > best.weight)
            best = offer;
    }
    return best.format;
}

bool accept_gzip(const char *accept_encoding)
{
    struct span rest = {accept_encoding, accept_encoding ? strlen(accept_encoding) : 0}, coding, name, part, value;
    while (next_part(&rest, ',', &coding)) {
        int weight = 1000;
        next_part(&coding, ';', &name);
        while (next_part(&coding, ';', &part))
            if (parameter(part, "q", &value))
                weight = weight_of(value);
        if (is(name, "gzip"))
            return weight > 0;
    }
    return false;
}
