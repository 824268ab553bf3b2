/* The request: what one piece of work carries from its start to its end.
 *
 * http and rpc make one for each call, background fibers make their own. It belongs to the
 * fiber that serves it; everything reached from it lives in its arena and dies with it. */
#ifndef COMMON_REQUEST_H
#define COMMON_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/fiber.h"
#include "common/trace.h"
#include "common/uuid.h"

struct background;
struct db;
struct gate;
struct loop;
struct rpc_client;
struct stream;

struct bytes {
    const char *data; /* not NUL-terminated unless said so */
    size_t size;
};

/* What went wrong, told to the client and logged once at the request's end. */
struct failure {
    enum err err;
    int http_status;       /* 0: err_http_status(err) */
    const char *title;     /* NULL: the status's own */
    const char *detail;    /* for the client: no SQL, no secret */
    int retry_after_s;     /* 0: none */
    const char *challenge; /* of a 401, its WWW-Authenticate; NULL: "Bearer" */
};

/* Who may call a route or a method, as its table says; common/auth.h has the rules. */
enum access {
    ACCESS_USER,     /* users, for what is theirs; what a table does not say is this */
    ACCESS_ADMIN,    /* users whose role it is */
    ACCESS_PUBLIC,   /* everybody */
    ACCESS_INTERNAL, /* other services, for themselves: those that the service's table names, by their certificates */
};

enum role { ROLE_CUSTOMER, ROLE_ADMIN };

/* Who asks, by a signed token that was verified; NULL in the request means nobody has said. */
struct principal {
    struct uuid id;
    enum role role;
    const char *authorization; /* as it came; goes along with every call that the request makes */
};

/* What a loop offers to the requests that run on it; one for each loop, set up by service. */
struct worker {
    struct loop *loop;
    struct db *db; /* NULL: the service has none, the same below */
    struct stream *stream;
    struct rpc_client *const *peers; /* in the order of the service's table */
    const void *settings;            /* the service's settings struct */
    struct background *background;   /* the service's background tasks */
    struct gate *gate;               /* who may call */
};

struct request {
    struct arena *arena;
    const struct worker *worker;
    int64_t deadline_ns; /* monotonic; CLOCK_NEVER for none */
    struct trace_context trace;
    const struct principal *principal;
    const char *peer_name; /* of the service that calls, as its certificate proves: the first name in it that may call;
                              NULL over HTTP and plain text */
    struct failure failure;
    struct bytes body;          /* of an HTTP request; NUL-terminated beyond size */
    bool cancelled;             /* the caller has gone */
    struct fiber_wait *waiting; /* private */
    void *transport;            /* private to http and rpc */
};

/* An HTTP answer that the handler fills; memory from the request's arena. */
struct response {
    int status;               /* 0: 200, or what the error says */
    const char *content_type; /* NULL: none */
    struct bytes body;
    struct response_header {
        const char *name, *value;
        struct response_header *next;
    } * headers;
};

/* An empty value leaves out a header that the server would add by itself (Retry-After). */
void response_header(struct request *req, struct response *res, const char *name, const char *value);

/* Begins a background request on a worker: an arena of its own, no deadline, a new trace. */
void request_init(struct request *req, struct arena *arena, const struct worker *worker);

/* Records what went wrong and returns err. The last record counts: the nearest to the client knows best. */
enum err fail(struct request *req, enum err err, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* With an HTTP status and a title of its own. */
enum err fail_as(struct request *req, enum err err, int http_status, const char *title, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Reads an id that came as text; the failure names the field. */
enum err request_uuid(struct request *req, const char *field, const char *text, struct uuid *out);

/* fiber_wait() bounded by the request: ERR_DEADLINE_EXCEEDED, or ERR_CANCELLED when the caller went, both recorded. */
enum err request_wait(struct request *req, struct fiber_wait *wait);
/* The caller has gone: ends the current wait and every later one. Loop thread. */
void request_cancel(struct request *req);
/* Checks the deadline and cancellation without waiting. */
enum err request_check(struct request *req);

#endif
