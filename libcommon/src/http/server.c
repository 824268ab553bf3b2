/* Opening, running, draining, closing. libmicrohttpd has an epoll set of its own, which the loop watches;
 * what it could not finish in one round, and what fibers have answered since, runs in the same turn of the
 * loop by a timer that is due at once, all of it together. */
#include "http/internal.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/log.h"
#include "common/mem.h"

/* Beside the head itself its table of headers and the answer's head have to fit. */
enum { REQUESTS_LEAST = 40, MEMORY_BESIDE_HEAD = 16384, REST_MS = 1 };

static pthread_mutex_t shares_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list shares = {&shares, &shares};

static struct http_share *share_take(const struct http_settings *settings)
{
    pthread_mutex_lock(&shares_lock);
    struct http_share *share = NULL;
    list_each (node, &shares) {
        struct http_share *s = container_of(node, struct http_share, list);
        if (s->settings == settings)
            share = s;
    }
    if (!share) {
        share = mem_alloc(sizeof *share);
        share->settings = settings;
        limit_init(&share->requests, REQUESTS_LEAST, (unsigned)settings->requests_max, settings->latency_target_ms);
        list_append(&shares, &share->list);
    }
    share->servers++;
    return share; /* still locked: the first one finds the port */
}

static void share_give(struct http_share *share)
{
    pthread_mutex_lock(&shares_lock);
    if (--share->servers == 0) {
        list_remove(&share->list);
        free(share);
    }
    pthread_mutex_unlock(&shares_lock);
}

/* --- running */

void server_run_soon(struct http_server *server)
{
    loop_timer_start(server->loop, &server->run_timer, loop_now_ns(server->loop));
}

/* A run takes 32 connections at most; the others have theirs in the next turn, behind what has ended meanwhile. After
 * one that turned somebody away the next is a millisecond later, unless an answer waits: else each refusal would wake
 * the loop, and take the processor from those who work. */
void server_run(struct http_server *server)
{
    uint64_t refused = server->stats.refused_requests;
    MHD_run(server->daemon);
    bool refuses = server->stats.refused_requests > refused;
    MHD_UNSIGNED_LONG_LONG wait_ms;
    if (MHD_get_timeout(server->daemon, &wait_ms) == MHD_YES && wait_ms == 0)
        loop_timer_start(server->loop, &server->run_timer, loop_now_ns(server->loop) + 1);
    else if (refuses)
        loop_timer_start(server->loop, &server->run_timer, loop_now_ns(server->loop) + REST_MS * NS_PER_MS);
    loop_watch(server->loop, &server->daemon_watch, refuses ? 0 : EPOLLIN);
}

static void run_now(struct loop_timer *timer)
{
    server_run(container_of(timer, struct http_server, run_timer));
}

static void daemon_ready(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    server_run(container_of(watch, struct http_server, daemon_watch));
}

/* --- opening */

/* Paths and queries are decoded by us, once and after they are split. */
static size_t leave_encoded(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls;
    (void)mhd;
    return strlen(text);
}

static bool start_daemon(struct http_server *server)
{
    const struct http_settings *settings = server->settings;
    size_t memory = (size_t)settings->uri_bytes_max + (size_t)settings->header_bytes_max + MEMORY_BESIDE_HEAD;
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO, 0, NULL, NULL,
        exchange_handle, server, MHD_OPTION_URI_LOG_CALLBACK, exchange_begin, server, MHD_OPTION_NOTIFY_COMPLETED,
        exchange_completed, server, MHD_OPTION_NOTIFY_CONNECTION, connection_event, server,
        MHD_OPTION_UNESCAPE_CALLBACK, leave_encoded, NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)settings->connections_max + LINGERING_MAX, MHD_OPTION_END);
    return server->daemon != NULL;
}

static void server_free(struct http_server *server)
{
    for (struct list *node; (node = list_take(&server->idle_exchanges));)
        exchange_free(container_of(node, struct exchange, list));
    busy_done(&server->busy);
    free(server->routes);
    share_give(server->share);
    free(server);
}

static void drain_over(struct loop_timer *timer)
{
    struct http_server *server = container_of(timer, struct http_server, drain_timer);
    server->drained(server->drained_arg);
}

static struct http_server *server_new(const struct worker *worker, const struct http_settings *settings,
                                      const struct http_route *routes, unsigned route_count)
{
    struct http_server *server = mem_alloc(sizeof *server);
    server->loop = worker->loop;
    server->worker = worker;
    server->settings = settings;
    server->routes = routes_new(routes, route_count);
    server->route_count = route_count;
    server->listener.fd = -1;
    server->run_timer.fire = run_now;
    server->departure_timer.fire = exchanges_look;
    server->drain_timer.fire = drain_over;
    list_init(&server->connections);
    list_init(&server->serving);
    list_init(&server->idle_exchanges);
    busy_init(&server->busy);
    return server;
}

enum err http_server_open(struct http_server **out, const struct worker *worker, const struct http_settings *settings,
                          const struct http_route *routes, unsigned route_count)
{
    struct http_server *server = server_new(worker, settings, routes, route_count);
    server->share = share_take(settings);
    enum err err = listener_open(server);
    pthread_mutex_unlock(&shares_lock);
    if (!err && !start_daemon(server)) {
        log_event(LOG_ERROR, "cannot start the HTTP server");
        listener_close(server);
        err = ERR_UNAVAILABLE;
    }
    if (err) {
        server_free(server);
        return err;
    }
    server->daemon_watch.fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    server->daemon_watch.ready = daemon_ready;
    loop_watch(server->loop, &server->daemon_watch, EPOLLIN);
    *out = server;
    return ERR_OK;
}

int http_server_port(const struct http_server *server)
{
    return server->share->port;
}

struct http_stats http_stats(const struct http_server *server)
{
    struct http_stats stats = server->stats;
    stats.requests_limit = limit_now(&server->share->requests);
    return stats;
}

/* --- ending */

/* A request that has come already is still read and answered: only the end of the stream is brought forward. */
static void end_idle(struct http_server *server)
{
    list_each (node, &server->connections) {
        struct connection *connection = container_of(node, struct connection, list);
        if (connection->phase == PHASE_IDLE || connection->phase == PHASE_FRESH)
            shutdown(connection->fd, SHUT_RD);
    }
}

void http_server_drain(struct http_server *server, void (*done)(void *arg), void *arg)
{
    server->draining = true;
    server->drained = done;
    server->drained_arg = arg;
    if (server->listener.fd >= 0)
        listener_accept_last(server);
    listener_close(server);
    end_idle(server);
    if (list_empty(&server->connections))
        loop_timer_start(server->loop, &server->drain_timer, loop_now_ns(server->loop));
}

static void cancel_requests(struct http_server *server)
{
    list_each (node, &server->serving)
        request_cancel(&container_of(node, struct exchange, list)->req);
    if (server->stats.in_flight == 0)
        return;
    assert(fiber_current());
    fiber_wait(&server->ended, CLOCK_NEVER);
}

static void close_lingering(struct http_server *server)
{
    list_each_safe (node, &server->connections)
        connection_close(container_of(node, struct connection, list));
}

void http_server_close(struct http_server *server)
{
    if (!server)
        return;
    server->closing = true;
    listener_close(server);
    cancel_requests(server);
    MHD_run(server->daemon); /* sends what was answered last */
    loop_watch(server->loop, &server->daemon_watch, 0);
    MHD_stop_daemon(server->daemon);
    close_lingering(server);
    loop_timer_stop(server->loop, &server->run_timer);
    loop_timer_stop(server->loop, &server->departure_timer);
    loop_timer_stop(server->loop, &server->drain_timer);
    server_free(server);
}
