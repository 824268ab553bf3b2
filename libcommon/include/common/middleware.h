/* The seam: one place where telemetry, logging and authentication see every call.
 *
 * http, rpc, db and stream announce each call with call_begin() and call_end() around it.
 * Registered middleware sees them in order of registration, and their ends in reverse.
 * Register before the loops start; from then on the list is read-only. Callbacks run on
 * the loop's thread, inside the call's fiber, and must not wait unless noted. */
#ifndef COMMON_MIDDLEWARE_H
#define COMMON_MIDDLEWARE_H

#include "common/clock.h"
#include "common/request.h"

enum call_kind {
    CALL_HTTP_SERVER,
    CALL_RPC_SERVER,
    CALL_RPC_CLIENT,
    CALL_DB,
    CALL_STREAM_SEND,
    CALL_STREAM_RECEIVE,
    CALL_STREAM_PROCESS,
    CALL_STREAM_SETTLE,
};

enum { MIDDLEWARE_MAX = 8 };

/* What the tracing keeps for the calls of one connection, one after the other. Whoever has the connection drops it. */
struct call_memo {
    void *data; /* NULL: nothing */
    void (*drop)(void *data);
};

struct call {
    enum call_kind kind;
    const char *name;                  /* "/api/users/:id", "user.User/GetUser", a statement's name, a stream's key */
    const char *method;                /* HTTP method; the statement's summary; NULL elsewhere */
    const char *text;                  /* HTTP path; the statement's text; NULL elsewhere */
    const char *peer;                  /* the other side as address:port or target, where known */
    const char *place;                 /* the database's name; the consumer group; NULL elsewhere */
    const char *message_id;            /* at the end: of the message sent, or at the begin: of the one processed */
    const struct trace_context *links; /* contexts of the messages received, NULL elsewhere; invalid ones among them */
    unsigned link_count;
    enum access access;            /* of server kinds: what the table says */
    const struct carrier *carrier; /* to extract from (server, process) or inject into (client, send); or NULL */
    unsigned items;                /* rows or messages, where that says something */
    int status;                    /* at the end: HTTP status or gRPC code */
    const char *code;              /* at the end: SQLSTATE of a statement that failed; NULL elsewhere */
    int64_t begin_ns;              /* monotonic */
    int64_t end_ns;                /* private: see call_took_ns() */
    struct trace_context outer;    /* private: restored by call_end */
    void *span;                    /* private to the tracing */
    struct call_memo *memo;        /* of an HTTP connection; NULL elsewhere */
    void *state[MIDDLEWARE_MAX];   /* one for each middleware, NULL at first */
};

struct middleware {
    const char *name;
    /* An error here ends the call before it runs (server kinds only): authentication's place, which may wait. May be
     * NULL. */
    enum err (*begin)(struct request *req, struct call *call, void **state);
    void (*end)(struct request *req, struct call *call, enum err err, void **state); /* or NULL */
};

void middleware_use(const struct middleware *middleware);

/* Who makes the calls' spans; at most one. Without it a call joins or starts a trace and records nothing. begin sets
 * req->trace to the context of a new span: server and process kinds read the carrier, the others write to it. end runs
 * after every middleware. */
struct tracing {
    void (*begin)(struct request *req, struct call *call);
    void (*end)(struct request *req, struct call *call, enum err err);
};

void middleware_trace_by(const struct tracing *tracing);

/* Does the kind take its context from the other side? */
bool call_joins_trace(enum call_kind kind);

/* From its begin to its end, when the first middleware asked. */
static inline int64_t call_took_ns(struct call *call)
{
    if (!call->end_ns)
        call->end_ns = clock_now_ns();
    return call->end_ns - call->begin_ns;
}

/* Sets begin_ns, joins or starts the trace, then asks each middleware. After an error call_end() is still owed. */
enum err call_begin(struct request *req, struct call *call);
void call_end(struct request *req, struct call *call, enum err err);

#endif
