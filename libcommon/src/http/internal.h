/* What the parts of the HTTP server share.
 *
 *   listener.c    the listening socket: accepts, refuses beyond the limit, drains
 *   connection.c  time limits of a connection, and its gentle end
 *   exchange.c    one request and its answer, as libmicrohttpd calls us
 *   head.c        the request's head: framing, limits, header table
 *   target.c      the request target: path segments and query, percent-decoded once
 *   route.c       the route table
 *   answer.c      problem+json and the way out */
#ifndef HTTP_INTERNAL_H
#define HTTP_INTERNAL_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "common/http.h"
#include "common/limit.h"
#include "common/list.h"
#include "common/loop.h"
#include "common/middleware.h"

enum {
    HEADERS_MAX = 100,
    QUERY_MAX = 64,
    SEGMENTS_MAX = 16,
    LINGERING_MAX = 256,
    PEER_BYTES = 64,
};

/* Servers with the same settings, one for each loop: they share the port and the limits. */
struct http_share {
    struct list list;
    const struct http_settings *settings;
    unsigned servers;
    int port;
    atomic_uint connections;
    struct limit requests;
};

struct text {
    const char *start; /* NUL-terminated where it was decoded */
    size_t length;
};

struct route {
    const struct http_route *http;
    unsigned count;
    struct text segments[SEGMENTS_MAX]; /* a parameter's starts with the colon */
};

/* The answer to requests beyond the limit, made once for all of a second that ask for the same. */
struct busy {
    struct arena arena;
    struct MHD_Response *response; /* NULL: none yet */
    const char *path;
    bool closes;
    struct trace_context trace;
    int64_t until_ns;
};

struct http_server {
    struct loop *loop;
    const struct worker *worker;
    const struct http_settings *settings;
    struct http_share *share;
    struct route *routes;
    unsigned route_count;
    struct MHD_Daemon *daemon;
    struct loop_watch daemon_watch;
    struct loop_timer run_timer, departure_timer;
    struct loop_watch listener; /* fd -1: not listening any more */
    struct loop_timer accept_timer;
    bool accept_failing;
    struct connection *arriving; /* handed to libmicrohttpd at this moment */
    struct list connections;
    struct list serving; /* exchanges whose fiber runs */
    struct list idle_exchanges;
    unsigned idle_exchange_count, lingering;
    struct busy busy;
    struct http_stats stats;
    bool draining, closing;
    struct loop_timer drain_timer;
    void (*drained)(void *arg);
    void *drained_arg;
    struct fiber_wait ended; /* close waits for the last fiber */
};

enum phase { PHASE_FRESH, PHASE_RECEIVING, PHASE_SERVING, PHASE_SENDING, PHASE_IDLE, PHASE_LINGERING };

struct connection {
    struct list list;
    struct http_server *server;
    int fd;
    enum phase phase;
    int64_t expires_ns;
    struct loop_timer timer;
    bool counted; /* among the connections: refused ones are not */
    bool unread;  /* the client may still be sending when it is closed */
    size_t discarded;
    struct loop_watch watch; /* while lingering */
    char peer[PEER_BYTES];
    struct call_memo memo;
};

struct header {
    const char *name, *value;
    uint32_t name_length, value_length;
};

struct refusal {
    int status; /* 0: none */
    enum err err;
    const char *detail;
};

enum stage { STAGE_HEAD, STAGE_BODY, STAGE_SERVING, STAGE_ANSWERED };

struct exchange {
    struct request req;
    struct arena arena;
    struct response res;
    struct list list; /* in serving or idle_exchanges */
    struct http_server *server;
    struct connection *connection;
    struct MHD_Connection *mhd;
    struct carrier carrier;
    enum stage stage;
    bool suspended;
    bool admitted;
    int64_t admitted_ns;
    bool last;  /* the connection ends with this answer */
    bool early; /* answer before the body has come */
    bool queued;
    struct refusal refusal;
    /* the request line */
    const char *method; /* as told to middleware: a known one or _OTHER */
    const char *target; /* as received, cut at the limit */
    size_t target_bytes;
    const char *path; /* of target, up to the query */
    struct text segments[SEGMENTS_MAX];
    unsigned segment_count;
    const struct route *route;
    http_handler *handler;
    const char *allow;
    struct {
        const char *name, *value;
    } query[QUERY_MAX];
    unsigned query_count;
    /* the rest of the head and the body */
    bool http_1_1, expects_continue, chunked;
    uint64_t content_length;
    struct header headers[HEADERS_MAX];
    unsigned header_count;
    char *body;
    size_t body_bytes, body_room;
    char trace_text[TRACE_PARENT_BYTES];
};

/* server.c */
void server_run_soon(struct http_server *server);
void server_run(struct http_server *server);

/* listener.c */
enum err listener_open(struct http_server *server);
/* All that wait: closing the socket would reset them. */
void listener_accept_last(struct http_server *server);
/* Takes over a connection, which share->connections counts already. */
void listener_admit(struct http_server *server, int fd, const struct sockaddr *address, socklen_t length);
void listener_close(struct http_server *server);

/* connection.c */
struct connection *connection_new(struct http_server *server, int fd, const struct sockaddr *address);
void connection_free(struct connection *connection);
void connection_enter(struct connection *connection, enum phase phase);
/* Ends one that lingers. */
void connection_close(struct connection *connection);
/* Discards what still comes, so that the answer before is not lost to a reset; takes fd over. */
void connection_linger(struct connection *connection, int fd);
void connection_event(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode code);

/* exchange.c */
void *exchange_begin(void *cls, const char *target, struct MHD_Connection *mhd);
enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                const char *version, const char *data, size_t *data_bytes, void **context);
void exchange_completed(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code);
void exchange_free(struct exchange *exchange);
/* Cancels the requests of clients that have gone. */
void exchanges_look(struct loop_timer *departure_timer);
/* Only the first refusal counts. */
void exchange_refuse(struct exchange *exchange, int status, enum err err, const char *detail);

/* head.c */
void head_read(struct exchange *exchange, const char *url, const char *method, const char *version);
bool head_is_type(const struct exchange *exchange, const char *type);

/* target.c */
void target_read(struct exchange *exchange, bool options);

/* route.c */
struct route *routes_new(const struct http_route *routes, unsigned count);
void route_find(struct exchange *exchange, const char *method);

/* answer.c */
/* Makes the answer complete: the problem document, Retry-After, traceresponse. */
void answer_finish(struct exchange *exchange, enum err err);
bool answer_queue(struct exchange *exchange);
/* 503 for a request that is one too many. */
bool answer_queue_busy(struct exchange *exchange);
void busy_init(struct busy *busy);
void busy_done(struct busy *busy);
/* Writes it to the socket past libmicrohttpd, as the connection's last. */
void answer_write(struct exchange *exchange, int fd);
/* 503 for a connection that is one too many. */
void answer_busy(int fd);

#endif
