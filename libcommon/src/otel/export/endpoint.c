#include "otel/export/endpoint.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { PORT_MAX = 65535 };

static bool refuse(char *message, size_t message_bytes, const char *reason)
{
    snprintf(message, message_bytes, "endpoint: %s", reason);
    return false;
}

static bool is_clean(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f)
            return false;
    return true;
}

static const char *take_scheme(const char *text, struct endpoint *out)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (int secure = 0; secure < 2; secure++) {
        size_t length = strlen(schemes[secure]);
        if (strncasecmp(text, schemes[secure], length) != 0)
            continue;
        out->has_scheme = true;
        out->secure = secure;
        return text + length;
    }
    return text;
}

/* [v6] or a name; returns what follows, NULL when there is no host. */
static const char *take_host(const char *text, const char *end, struct endpoint *out)
{
    bool bracketed = *text == '[';
    text += bracketed;
    size_t room = (size_t)(end - text);
    const char *stop = memchr(text, bracketed ? ']' : ':', room);
    if (bracketed && !stop)
        return NULL;
    size_t length = stop ? (size_t)(stop - text) : room;
    if (length == 0 || length >= sizeof out->host)
        return NULL;
    memcpy(out->host, text, length);
    out->host[length] = '\0';
    return text + length + bracketed;
}

static bool take_port(const char *text, const char *end, struct endpoint *out)
{
    out->port = out->secure ? 443 : 80;
    if (text == end)
        return true;
    if (*text++ != ':' || text == end)
        return false;
    int port = 0;
    for (; text < end && *text >= '0' && *text <= '9' && port <= PORT_MAX; text++)
        port = 10 * port + (*text - '0');
    out->port = port;
    return text == end && port >= 1 && port <= PORT_MAX;
}

static void show(struct endpoint *out, const char *path, size_t path_bytes)
{
    bool v6 = strchr(out->host, ':') != NULL;
    snprintf(out->shown, sizeof out->shown, "%s://%s%s%s:%d%.*s", out->secure ? "https" : "http", v6 ? "[" : "",
             out->host, v6 ? "]" : "", out->port, (int)(path_bytes < 100 ? path_bytes : 100), path);
}

bool endpoint_read(const char *text, bool scheme_optional, bool plain, struct endpoint *out, char *message,
                   size_t message_bytes)
{
    *out = (struct endpoint){.secure = !plain};
    if (!text || !is_clean(text))
        return refuse(message, message_bytes, "expected a URL without spaces");
    const char *begin = take_scheme(text, out);
    if (!out->has_scheme && (!scheme_optional || strstr(text, "://")))
        return refuse(message, message_bytes, "expected http:// or https://");
    const char *path = begin + strcspn(begin, "/?#");
    const char *at = memrchr(begin, '@', (size_t)(path - begin));
    out->has_user = at != NULL;
    out->has_path = path[0] && strcmp(path, "/") != 0;
    const char *rest = take_host(at ? at + 1 : begin, path, out);
    if (!rest)
        return refuse(message, message_bytes, "expected a host of at most 255 characters");
    if (!take_port(rest, path, out))
        return refuse(message, message_bytes, "expected a port from 1 to 65535 after the host");
    show(out, path, strcspn(path, "?#"));
    return true;
}
