/* One request and its answer. libmicrohttpd calls in this order: exchange_begin() with the request line,
 * exchange_handle() with the head, with each piece of the body and when all is there, exchange_completed().
 * An answer can be queued in the first and the last of those calls to exchange_handle(); in the first it
 * ends the connection. While a handler's fiber waits, the connection is suspended: libmicrohttpd does not
 * look at it, so we look now and then whether the client is still there. */
#include "http/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/log.h"
#include "common/mem.h"

enum { ARENA_BYTES = 8192, BODY_FIRST_BYTES = 4096, IDLE_EXCHANGES_MAX = 256, LOOK_MS = 100 };

/* --- life */

/* Several fields of one name are one list (RFC 9110, 5.3). */
static const char *carry(const struct carrier *carrier, const char *key)
{
    const struct exchange *exchange = container_of(carrier, const struct exchange, carrier);
    const char *name, *value, *joined = NULL;
    for (unsigned i = 0; http_header_at(&exchange->req, i, &name, &value); i++)
        if ((*name | 0x20) == *key && strcasecmp(name, key) == 0) /* most differ in their first letters */
            joined = joined ? arena_print(exchange->req.arena, "%s,%s", joined, value) : value;
    return joined;
}

static struct exchange *exchange_take(struct http_server *server)
{
    struct list *node = list_take(&server->idle_exchanges);
    if (node) {
        server->idle_exchange_count--;
        return container_of(node, struct exchange, list);
    }
    struct exchange *exchange = mem_alloc(sizeof *exchange);
    exchange->server = server;
    exchange->carrier.get = carry;
    arena_init(&exchange->arena, ARENA_BYTES);
    list_init(&exchange->list);
    return exchange;
}

void exchange_free(struct exchange *exchange)
{
    arena_done(&exchange->arena);
    free(exchange);
}

static void exchange_give(struct exchange *exchange)
{
    struct http_server *server = exchange->server;
    if (server->idle_exchange_count >= IDLE_EXCHANGES_MAX) {
        exchange_free(exchange);
        return;
    }
    arena_reset(&exchange->arena);
    list_append(server->idle_exchanges.next, &exchange->list); /* first: its memory is in the cache */
    server->idle_exchange_count++;
}

static void start(struct exchange *exchange, struct connection *connection, struct MHD_Connection *mhd)
{
    struct http_server *server = exchange->server;
    exchange->connection = connection;
    exchange->mhd = mhd;
    exchange->stage = STAGE_HEAD;
    exchange->suspended = exchange->last = exchange->early = exchange->queued = exchange->admitted = false;
    exchange->refusal = (struct refusal){0};
    exchange->res = (struct response){0};
    exchange->method = exchange->path = exchange->allow = NULL;
    exchange->segment_count = exchange->query_count = exchange->header_count = 0;
    exchange->route = NULL;
    exchange->handler = NULL;
    exchange->http_1_1 = exchange->expects_continue = exchange->chunked = false;
    exchange->content_length = 0;
    exchange->body = NULL;
    exchange->body_bytes = exchange->body_room = 0;
    int64_t deadline_ns = loop_now_ns(server->loop) + server->settings->deadline_ms * NS_PER_MS;
    exchange->req = (struct request){
        .arena = &exchange->arena,
        .worker = server->worker,
        .deadline_ns = deadline_ns,
        .body = {"", 0},
        .transport = exchange,
    };
}

/* libmicrohttpd would parse the query now, into its own bounded memory, and spin when that is full. It
 * finds an empty one instead: the character after the question mark is in its buffer, which it gave us. */
static void hide_query(const char *target)
{
    char *query = strchr(target, '?');
    if (query)
        query[1] = '\0';
}

void *exchange_begin(void *cls, const char *target, struct MHD_Connection *mhd)
{
    struct http_server *server = cls;
    struct connection *connection = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    struct exchange *exchange = exchange_take(server);
    start(exchange, connection, mhd);
    exchange->target_bytes = strlen(target);
    exchange->target = arena_text(&exchange->arena, target, strnlen(target, (size_t)server->settings->uri_bytes_max));
    hide_query(target);
    connection_enter(connection, PHASE_RECEIVING);
    return exchange;
}

const char *http_peer(const struct request *req)
{
    const struct exchange *exchange = req->transport;
    return exchange->connection->peer;
}

void exchange_refuse(struct exchange *exchange, int status, enum err err, const char *detail)
{
    if (exchange->refusal.status == 0)
        exchange->refusal = (struct refusal){.status = status, .err = err, .detail = detail};
}

/* --- serving */

static enum err seen_begin(struct exchange *exchange, struct call *call)
{
    if (!exchange->server->settings->unseen)
        return call_begin(&exchange->req, call);
    exchange->req.trace = trace_new();
    return ERR_OK;
}

static void seen_end(struct exchange *exchange, struct call *call, enum err err)
{
    if (!exchange->server->settings->unseen)
        call_end(&exchange->req, call, err);
}

/* What the server answers by itself (OPTIONS, a wrong path) tells nobody's things. */
static enum access access_of(const struct exchange *exchange)
{
    const struct http_route *route = exchange->route ? exchange->route->http : NULL;
    return route && exchange->handler == route->handler ? route->access : ACCESS_PUBLIC;
}

static void announce(struct exchange *exchange, struct call *call)
{
    *call = (struct call){
        .kind = CALL_HTTP_SERVER,
        .name = exchange->route ? exchange->route->http->path : "unmatched",
        .method = exchange->method ? exchange->method : "_OTHER",
        .text = exchange->path ? exchange->path : exchange->target,
        .peer = exchange->connection->peer,
        .access = access_of(exchange),
        .carrier = &exchange->carrier,
        .memo = &exchange->connection->memo,
    };
}

static enum err run_handler(struct exchange *exchange, struct call *call)
{
    struct request *req = &exchange->req;
    const struct refusal *refusal = &exchange->refusal;
    enum err err = seen_begin(exchange, call);
    if (refusal->status)
        return fail_as(req, refusal->err, refusal->status, NULL, "%s", refusal->detail);
    return err ? err : exchange->handler(req, &exchange->res);
}

static void leave(struct exchange *exchange)
{
    struct http_server *server = exchange->server;
    list_remove(&exchange->list);
    server->stats.in_flight--;
    if (exchange->admitted)
        limit_leave(&server->share->requests, exchange->admitted_ns, clock_now_ns());
    exchange->stage = STAGE_ANSWERED;
    if (exchange->suspended) {
        exchange->suspended = false;
        MHD_resume_connection(exchange->mhd);
        server_run_soon(server);
    }
    if (server->closing && server->stats.in_flight == 0)
        fiber_wake(&server->ended, ERR_OK);
}

static void serve(void *arg)
{
    struct exchange *exchange = arg;
    struct call call;
    announce(exchange, &call);
    enum err err = run_handler(exchange, &call);
    answer_finish(exchange, err);
    call.status = exchange->res.status;
    seen_end(exchange, &call, err);
    leave(exchange);
}

/* --- clients that go while they are waited for */

/* A client that has ended its side counts as gone, as everywhere. */
static bool has_gone(const struct exchange *exchange)
{
    char first;
    ssize_t got = recv(exchange->connection->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

static void look_again_later(struct http_server *server)
{
    if (!server->departure_timer.index)
        loop_timer_start(server->loop, &server->departure_timer, loop_now_ns(server->loop) + LOOK_MS * NS_PER_MS);
}

/* Not during a drain: then it is us who have ended the stream of some. */
void exchanges_look(struct loop_timer *timer)
{
    struct http_server *server = container_of(timer, struct http_server, departure_timer);
    if (list_empty(&server->serving) || server->draining)
        return;
    list_each (node, &server->serving) {
        struct exchange *exchange = container_of(node, struct exchange, list);
        if (exchange->req.cancelled || !has_gone(exchange))
            continue;
        server->stats.departures++;
        request_cancel(&exchange->req);
    }
    look_again_later(server);
}

static void serve_in_fiber(struct exchange *exchange)
{
    struct http_server *server = exchange->server;
    exchange->stage = STAGE_SERVING;
    connection_enter(exchange->connection, PHASE_SERVING);
    server->stats.requests++;
    server->stats.in_flight++;
    list_append(&server->serving, &exchange->list);
    fiber_start(server->loop, serve, exchange);
    if (exchange->stage == STAGE_ANSWERED)
        return;
    exchange->suspended = true;
    look_again_later(server);
    MHD_suspend_connection(exchange->mhd);
}

static enum MHD_Result answer(struct exchange *exchange)
{
    connection_enter(exchange->connection, PHASE_SENDING);
    return answer_queue(exchange) ? MHD_YES : MHD_NO;
}

/* Probes are always let in, and what is refused anyway is no work. */
static bool admit(struct exchange *exchange)
{
    if (exchange->refusal.status || (exchange->route && exchange->route->http->probe))
        return true;
    exchange->admitted = limit_enter(&exchange->server->share->requests);
    if (exchange->admitted)
        exchange->admitted_ns = clock_now_ns();
    return exchange->admitted;
}

/* As cheap as it can be, without fiber, span and middleware: this is done most often when there is no time for it. */
static enum MHD_Result turn_away(struct exchange *exchange)
{
    exchange->server->stats.refused_requests++;
    exchange->stage = STAGE_ANSWERED;
    connection_enter(exchange->connection, PHASE_SENDING);
    return answer_queue_busy(exchange) ? MHD_YES : MHD_NO;
}

static enum MHD_Result serve_and_answer(struct exchange *exchange)
{
    if (!admit(exchange))
        return turn_away(exchange);
    serve_in_fiber(exchange);
    return exchange->stage == STAGE_ANSWERED ? answer(exchange) : MHD_YES;
}

/* --- receiving */

static const char *known_method(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    for (size_t i = 0; i < array_count(known); i++)
        if (strcmp(method, known[i]) == 0)
            return known[i];
    return "_OTHER";
}

static void check_type(struct exchange *exchange)
{
    bool takes_body = strcmp(exchange->method, "POST") == 0 || strcmp(exchange->method, "PUT") == 0;
    const char *type = exchange->route ? exchange->route->http->content_type : NULL;
    if (!type)
        type = "application/json";
    if (takes_body && !head_is_type(exchange, type))
        exchange_refuse(exchange, 415, ERR_INVALID_ARGUMENT,
                        arena_print(&exchange->arena, "The body must be %s.", type));
}

static enum MHD_Result take_head(struct exchange *exchange, const char *url, const char *method, const char *version)
{
    exchange->stage = STAGE_BODY;
    exchange->method = known_method(method);
    head_read(exchange, url, method, version);
    if (!exchange->early) {
        target_read(exchange, strcmp(method, "OPTIONS") == 0);
        if (!exchange->refusal.status)
            route_find(exchange, method);
        if (exchange->content_length > 0)
            check_type(exchange);
    }
    bool has_body = exchange->content_length > 0 || exchange->chunked;
    if (exchange->refusal.status && has_body && exchange->expects_continue)
        exchange->early = true;
    if (!exchange->early)
        return MHD_YES;
    exchange->last = true;
    exchange->connection->unread = true;
    return serve_and_answer(exchange);
}

static void keep(struct exchange *exchange, const char *data, size_t bytes)
{
    if (exchange->body_bytes + bytes >= exchange->body_room) {
        size_t room = exchange->body_room ? exchange->body_room : BODY_FIRST_BYTES;
        while (room <= exchange->body_bytes + bytes)
            room *= 2;
        char *larger = arena_alloc_raw(&exchange->arena, room);
        if (exchange->body_bytes)
            memcpy(larger, exchange->body, exchange->body_bytes);
        exchange->body = larger;
        exchange->body_room = room;
    }
    memcpy(exchange->body + exchange->body_bytes, data, bytes);
    exchange->body[exchange->body_bytes + bytes] = '\0';
}

/* False when the body is larger than allowed; of one that is refused anyway only the size is kept. */
static bool take_body(struct exchange *exchange, const char *data, size_t bytes)
{
    if (bytes > (size_t)exchange->server->settings->body_bytes_max - exchange->body_bytes)
        return false;
    if (!exchange->refusal.status)
        keep(exchange, data, bytes);
    exchange->body_bytes += bytes;
    return true;
}

/* In the middle of a body libmicrohttpd takes no answer: it goes past it, and the connection is closed. */
static enum MHD_Result break_off(struct exchange *exchange)
{
    if (exchange->stage == STAGE_BODY) {
        exchange->refusal = (struct refusal){413, ERR_INVALID_ARGUMENT, "The body is too large."};
        exchange->last = true;
        exchange->connection->unread = true;
        serve_in_fiber(exchange);
    }
    if (exchange->stage != STAGE_ANSWERED)
        return MHD_YES;
    answer_write(exchange, exchange->connection->fd);
    return MHD_NO;
}

static enum MHD_Result all_received(struct exchange *exchange)
{
    if (exchange->chunked && exchange->body_bytes > 0)
        check_type(exchange);
    if (exchange->body && !exchange->refusal.status)
        exchange->req.body = (struct bytes){exchange->body, exchange->body_bytes};
    return serve_and_answer(exchange);
}

enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                const char *version, const char *data, size_t *data_bytes, void **context)
{
    (void)mhd;
    struct http_server *server = cls;
    struct exchange *exchange = *context;
    if (exchange->stage == STAGE_HEAD)
        return server->closing ? MHD_NO : take_head(exchange, url, method, version);
    if (*data_bytes > 0) {
        if (exchange->stage != STAGE_BODY || !take_body(exchange, data, *data_bytes))
            return break_off(exchange);
        *data_bytes = 0;
        return MHD_YES;
    }
    if (exchange->stage == STAGE_BODY)
        return server->closing ? MHD_NO : all_received(exchange);
    return exchange->stage == STAGE_ANSWERED ? answer(exchange) : MHD_YES;
}

/* --- the end */

static void tell_of_foreign_answer(void *arg)
{
    struct exchange *exchange = arg;
    struct call call;
    announce(exchange, &call);
    call.status = exchange->refusal.status;
    enum err err = seen_begin(exchange, &call);
    err = fail_as(&exchange->req, ERR_INVALID_ARGUMENT, call.status, NULL, "The request is malformed.");
    seen_end(exchange, &call, err);
    exchange_give(exchange);
}

/* What libmicrohttpd answered by itself (malformed chunks, a head beyond all limits) is seen by middleware too. */
static bool answered_by_library(const struct exchange *exchange, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *status = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_HTTP_STATUS);
    return status && !exchange->queued && exchange->stage <= STAGE_BODY;
}

void exchange_completed(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code)
{
    (void)code;
    struct http_server *server = cls;
    struct exchange *exchange = *context;
    if (!exchange)
        return;
    *context = NULL;
    connection_enter(exchange->connection, PHASE_IDLE);
    if (!server->closing && answered_by_library(exchange, mhd)) {
        exchange->connection->unread = true;
        exchange->refusal.status = (int)MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_HTTP_STATUS)->http_status;
        server->stats.requests++;
        fiber_start(server->loop, tell_of_foreign_answer, exchange);
        return;
    }
    exchange_give(exchange);
}
