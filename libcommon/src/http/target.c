/* The request target. Segments are cut at the slashes as received and decoded afterwards, once:
 * an encoded slash stays inside its segment. */
#include "http/internal.h"

#include <string.h>
#include <strings.h>

#include "common/hash.h"
#include "common/utf8.h"

/* The byte that "%XX" at text stands for; 0, which may not be encoded either, when it is none. */
static char escaped_byte(const char *text, size_t length)
{
    if (length < 3)
        return 0;
    int high = hash_digit(text[1]), low = hash_digit(text[2]);
    return (char)(high < 0 || low < 0 ? 0 : high << 4 | low);
}

static bool is_utf8(const char *text)
{
    for (size_t step; *text; text += step)
        if ((step = utf8_sequence(text)) == 0)
            return false;
    return true;
}

/* Decodes in place and ends the text with a NUL, which must have room behind it. */
static bool decode(char *text, size_t length, size_t *out_length)
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '%') {
            c = escaped_byte(text + i, length - i);
            if (!c)
                return false;
            i += 2;
        }
        text[used++] = c;
    }
    text[used] = '\0';
    if (out_length)
        *out_length = used;
    return is_utf8(text);
}

/* Too many segments are left as none at all: no route has so many, and "*" is asked for elsewhere. */
static bool read_segments(struct exchange *exchange, size_t length)
{
    char *at = arena_text(exchange->req.arena, exchange->path + 1, length - 1);
    char *end = at + length - 1;
    for (unsigned count = 0;; count++) {
        char *slash = memchr(at, '/', (size_t)(end - at));
        size_t segment_length = (size_t)((slash ? slash : end) - at);
        size_t decoded_length;
        if (!decode(at, segment_length, &decoded_length))
            return false;
        if (count < SEGMENTS_MAX)
            exchange->segments[count] = (struct text){at, decoded_length};
        exchange->segment_count = count + 1;
        if (!slash)
            return true;
        at = slash + 1;
    }
}

static void read_pair(struct exchange *exchange, char *pair)
{
    char *value = strchrnul(pair, '=');
    if (*value)
        *value++ = '\0';
    if (!decode(pair, strlen(pair), NULL) || !decode(value, strlen(value), NULL)) {
        exchange_refuse(exchange, 400, ERR_INVALID_ARGUMENT, "The query is not well encoded.");
        return;
    }
    if (http_query(&exchange->req, pair)) {
        exchange_refuse(exchange, 400, ERR_INVALID_ARGUMENT, "A query parameter is given twice.");
        return;
    }
    if (exchange->query_count == QUERY_MAX) {
        exchange_refuse(exchange, 400, ERR_INVALID_ARGUMENT, "The query has too many parameters.");
        return;
    }
    exchange->query[exchange->query_count].name = pair;
    exchange->query[exchange->query_count++].value = value;
}

static void read_query(struct exchange *exchange, const char *query)
{
    char *rest = arena_text(exchange->req.arena, query, strlen(query));
    for (char *c = rest; (c = strchr(c, '+'));)
        *c = ' ';
    for (char *pair; (pair = strsep(&rest, "&"));)
        if (*pair && !exchange->refusal.status)
            read_pair(exchange, pair);
}

static bool is_visible_ascii(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c <= ' ' || *c >= 0x7f || *c == '#')
            return false;
    return true;
}

/* Of http://host/path only the path counts; every other form than /path is none of ours. */
static const char *origin_form(const char *target)
{
    if (strncasecmp(target, "http://", 7) != 0)
        return target;
    const char *path = strpbrk(target + 7, "/?");
    return !path || *path == '?' ? "/" : path;
}

void target_read(struct exchange *exchange, bool options)
{
    if (options && strcmp(exchange->target, "*") == 0) {
        exchange->path = exchange->target;
        return;
    }
    const char *path = origin_form(exchange->target);
    if (path[0] != '/' || !is_visible_ascii(path)) {
        exchange_refuse(exchange, 400, ERR_INVALID_ARGUMENT, "The request target is not a path.");
        return;
    }
    const char *query = strchr(exchange->target, '?');
    size_t length = strcspn(path, "?");
    exchange->path = arena_text(exchange->req.arena, path, length);
    if (!read_segments(exchange, length))
        exchange_refuse(exchange, 400, ERR_INVALID_ARGUMENT, "The path is not well encoded.");
    else if (query)
        read_query(exchange, query + 1);
}

const char *http_query(const struct request *req, const char *name)
{
    const struct exchange *exchange = req->transport;
    for (unsigned i = 0; i < exchange->query_count; i++)
        if (strcmp(exchange->query[i].name, name) == 0)
            return exchange->query[i].value;
    return NULL;
}

const char *http_param(const struct request *req, const char *name)
{
    const struct exchange *exchange = req->transport;
    const struct route *route = exchange->route;
    size_t length = strlen(name);
    for (unsigned i = 0; route && i < route->count; i++) {
        const struct text *segment = &route->segments[i];
        if (segment->length == length + 1 && segment->start[0] == ':' && memcmp(segment->start + 1, name, length) == 0)
            return exchange->segments[i].start;
    }
    return NULL;
}

enum err http_param_uuid(struct request *req, const char *name, struct uuid *out)
{
    if (uuid_parse(http_param(req, name), out))
        return ERR_OK;
    return fail(req, ERR_INVALID_ARGUMENT, "%s: expected a UUID", name);
}
