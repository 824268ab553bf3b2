/* An HTTP client for tools: one call after the other, and blocking, so never on a loop.
 *
 * http:// and https:// (TLS 1.2 or newer, the system's authorities); redirects are not followed. What comes back lives
 * in the request's arena. Whatever status comes is ERR_OK; ERR_UNAVAILABLE or ERR_DEADLINE_EXCEEDED, with a detail,
 * when none does; ERR_RESOURCE_EXHAUSTED for a body beyond FETCH_BODY_BYTES_MAX. A program that uses it ignores
 * SIGPIPE. Source: RFC 9110; libcurl. */
#ifndef COMMON_FETCH_H
#define COMMON_FETCH_H

#include "common/request.h"

enum { FETCH_BODY_BYTES_MAX = 4 << 20 };

struct fetch {
    const char *method; /* "GET" */
    const char *url;
    const char *const *headers; /* "Name: value", NULL-terminated; or NULL */
    const char *body;           /* NULL: none. Its type is application/json unless headers say */
    const char *wanted;         /* a header of the answer to keep, or NULL */
    int timeout_ms;             /* for all of it */
};

struct fetched {
    int status;
    struct bytes body;  /* NUL-terminated beyond size */
    const char *wanted; /* NULL: not there */
};

enum err fetch(struct request *req, const struct fetch *call, struct fetched *out);

#endif
