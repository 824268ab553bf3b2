/* An HTTP/1.1 server for fibers, on libmicrohttpd inside the loop.
 *
 * A struct http_server belongs to one loop; those opened with the same settings share port and limits.
 * Each request runs its route's handler in a fiber; what a handler returns as an error becomes
 * problem+json. When the client goes, or ends its side, while the handler waits, the request is cancelled. Strings
 * handed out belong to the request's arena. Loop thread only. The server itself answers: unknown path 404, known path
 * with another method 405 + Allow, OPTIONS 204 + Allow, HEAD like GET without body, body over the limit 413, other
 * content type on POST and PUT with a body 415, bad percent-encoding 400, URI 414, headers 431, too many requests 503 +
 * Retry-After (counted, seen by no middleware; those of a second share a trace and a log line). Every answer carries
 * traceresponse. Source: RFC 9110, 9112, 9457; W3C Trace Context. */
#ifndef COMMON_HTTP_H
#define COMMON_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/request.h"
#include "common/uuid.h"

struct http_server;

typedef enum err http_handler(struct request *req, struct response *res);

struct http_route {
    const char *method; /* "GET"; HEAD and OPTIONS come by themselves */
    const char *path;   /* "/api/users/:id": a segment with a colon is a parameter */
    http_handler *handler;
    const char *content_type; /* of the body that it takes; NULL: application/json */
    enum access access;
    bool probe; /* never turned away because of too many requests */
};

struct http_settings {
    const char *listen; /* address:port; port 0 takes a free one */
    int body_bytes_max;
    int header_bytes_max;
    int uri_bytes_max;
    int connections_max;      /* of all loops; beyond it 503 and closed */
    int requests_max;         /* running on all loops, at most; beyond it 503 */
    int latency_target_ms;    /* when most take longer, fewer are let in: limit.h; 0: always requests_max */
    int receive_timeout_ms;   /* to send a whole request, and to read the answer */
    int keepalive_timeout_ms; /* idle between requests; the next request line has to come within it */
    int deadline_ms;          /* of a request */
    bool unseen;              /* its requests pass no middleware: for probes and scrapes */
};

/* ERR_UNAVAILABLE when the address cannot be bound (logged with the reason). The table and settings are kept. */
enum err http_server_open(struct http_server **out, const struct worker *worker, const struct http_settings *settings,
                          const struct http_route *routes, unsigned route_count);
int http_server_port(const struct http_server *server);
/* Stops listening; connections are closed as their request in flight ends, idle ones at once. done runs when none is
 * left. */
void http_server_drain(struct http_server *server, void (*done)(void *arg), void *arg);
/* Cancels what runs, waits for its end and frees; NULL is allowed. In a fiber of the loop, but not one that serves a
 * request; anywhere when nothing is in flight. */
void http_server_close(struct http_server *server);

/* Of the current request. */
const char *http_param(const struct request *req,
                       const char *name); /* path parameter, percent-decoded; never NULL for a name in the route */
const char *http_query(const struct request *req, const char *name);  /* decoded, or NULL */
const char *http_header(const struct request *req, const char *name); /* any case, or NULL */
/* One header after the other, as they came; false beyond the last. */
bool http_header_at(const struct request *req, unsigned index, const char **out_name, const char **out_value);
const char *http_peer(const struct request *req); /* address:port of the connection's other end */
/* A path parameter that must be a UUID: ERR_INVALID_ARGUMENT recorded otherwise. */
enum err http_param_uuid(struct request *req, const char *name, struct uuid *out);

struct http_stats {
    uint64_t requests, refused_connections, refused_requests, timeouts, departures;
    unsigned connections, in_flight;
    unsigned requests_limit; /* as it is now, of all loops */
};

struct http_stats http_stats(const struct http_server *server);

#endif
