#include "stream/url.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "common/mem.h"

enum { PORT = 6379, DATABASES_MAX = 1000000 };

static bool starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Ends text at the first of c and returns what follows; NULL without one. */
static char *cut(char *text, char c)
{
    char *at = strchr(text, c);
    if (at)
        *at++ = '\0';
    return at;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool percent_decode(char *text)
{
    char *out = text;
    for (; *text; text++) {
        if (*text != '%') {
            *out++ = *text;
            continue;
        }
        int high = hex_digit(text[1]), low = high < 0 ? -1 : hex_digit(text[2]);
        if (low < 0 || high + low == 0)
            return false;
        *out++ = (char)(high << 4 | low);
        text += 2;
    }
    *out = '\0';
    return true;
}

static bool parse_number(const char *text, int max, int *out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 7 || text[digits] != '\0' || atoi(text) > max)
        return false;
    *out = atoi(text);
    return true;
}

/* "user:password@" in front of the rest; returns the rest. */
static char *parse_login(char *text, struct stream_url *url, const char **reason)
{
    char *at = strrchr(text, '@');
    if (!at)
        return text;
    *at = '\0';
    char *password = cut(text, ':');
    if (!percent_decode(text) || (password && !percent_decode(password))) {
        *reason = "bad percent-encoding of user or password";
        return NULL;
    }
    url->user = *text ? text : NULL;
    url->password = password && *password ? password : NULL;
    return at + 1;
}

static const char *parse_unix(char *text, struct stream_url *url)
{
    const char *reason = NULL;
    char *query = cut(text, '?');
    if (query && (!starts(query, "db=") || !parse_number(query + 3, DATABASES_MAX, &url->database)))
        return "expected ?db=<number> behind the path";
    text = parse_login(text, url, &reason);
    if (!text)
        return reason;
    if (*text != '/')
        return "expected unix:///path";
    if (strlen(text) >= sizeof((struct sockaddr_un *)0)->sun_path - 1)
        return "the path of the socket is too long";
    url->path = text;
    url->peer = mem_text(text);
    return NULL;
}

static const char *parse_host(char *text, struct stream_url *url)
{
    char *port;
    url->port = PORT;
    if (*text == '[') {
        char *end = strchr(text, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return "expected [v6 address]:port";
        port = end[1] == ':' ? end + 2 : NULL;
        *end = '\0';
        text++;
    } else {
        port = cut(text, ':');
    }
    if (!*text)
        return "a host is missing";
    if (port && (!parse_number(port, 65535, &url->port) || url->port == 0))
        return "expected a port from 1 to 65535";
    url->host = text;
    url->peer = mem_print(strchr(text, ':') ? "[%s]:%d" : "%s:%d", text, url->port);
    return NULL;
}

static const char *parse_tcp(char *text, struct stream_url *url)
{
    const char *reason = NULL;
    /* A password may hold a slash only in its encoded form. */
    char *database = cut(text, '/');
    if (database && *database && !parse_number(database, DATABASES_MAX, &url->database))
        return "expected a database's number behind the host";
    text = parse_login(text, url, &reason);
    return text ? parse_host(text, url) : reason;
}

bool stream_url_parse(const char *url, struct stream_url *out, const char **reason)
{
    struct stream_url parsed = {0};
    *reason = "expected redis://host:port, rediss://host:port or unix:///path";
    if (!url)
        return false;
    parsed.secure = starts(url, "rediss://");
    parsed.memory = mem_text(url);
    parsed.memory_bytes = strlen(url);
    if (starts(url, "redis://") || parsed.secure)
        *reason = parse_tcp(strstr(parsed.memory, "://") + 3, &parsed);
    else if (starts(url, "unix://"))
        *reason = parse_unix(parsed.memory + strlen("unix://"), &parsed);
    if (*reason) {
        stream_url_done(&parsed);
        return false;
    }
    *out = parsed;
    return true;
}

void stream_url_done(struct stream_url *url)
{
    free(url->peer);
    if (url->memory)
        explicit_bzero(url->memory, url->memory_bytes);
    free(url->memory);
    *url = (struct stream_url){0};
}
