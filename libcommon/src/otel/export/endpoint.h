/* Where an exporter sends: the parts of a URL, and how logs call it. Source: RFC 3986, OTLP exporter specification. */
#ifndef OTEL_EXPORT_ENDPOINT_H
#define OTEL_EXPORT_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

enum { ENDPOINT_HOST_MAX = 256, ENDPOINT_SHOWN_MAX = 400 };

struct endpoint {
    bool secure, has_scheme;
    bool has_user;                  /* a name or password stands before the host */
    bool has_path;                  /* more than "/" */
    char host[ENDPOINT_HOST_MAX];   /* an IPv6 address without its brackets */
    int port;                       /* 80 and 443 when not given */
    char shown[ENDPOINT_SHOWN_MAX]; /* without user, password, query and fragment, which may be secrets */
};

/* http://… or https://…, and host:port when scheme_optional: then secure is as plain says. False with a message, which
 * does not repeat the text. */
bool endpoint_read(const char *text, bool scheme_optional, bool plain, struct endpoint *out, char *message,
                   size_t message_bytes);

#endif
