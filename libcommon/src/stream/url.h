/* Where Redis is and how to get in: redis://[user:password@]host[:port][/database], the same with rediss:// for TLS, or
 * unix://[user:password@]/path[?db=database]. User and password are percent-decoded; a user may come without a
 * password, which then comes from elsewhere. The strings live until stream_url_done(). Source: the provisional URI
 * schemes "redis" and "rediss" (IANA). */
#ifndef STREAM_URL_H
#define STREAM_URL_H

#include <stdbool.h>
#include <stddef.h>

struct stream_url {
    bool secure;      /* TLS */
    const char *host; /* NULL: a unix socket */
    int port;
    const char *path;     /* of the unix socket, or NULL */
    const char *user;     /* NULL: the default user */
    const char *password; /* NULL: none is sent */
    int database;
    char *peer;   /* "host:port" or the path: what logs may show */
    char *memory; /* private, like the next */
    size_t memory_bytes;
};

/* False, and out untouched, for anything else; reason says why and holds no secret. */
bool stream_url_parse(const char *url, struct stream_url *out, const char **reason);
void stream_url_done(struct stream_url *url);

#endif
