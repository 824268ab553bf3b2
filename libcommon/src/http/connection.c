/* Time limits and the gentle end of a connection. Each has one timer that is never moved while requests
 * come and go: it fires at least once in the shorter of the two limits and looks whether the phase's time is
 * over. So the limits are exact and cost nothing a request. The request line has to come within the idle
 * limit, the rest of the request, like the reading of the answer, within receive_timeout_ms. */
#include "http/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/mem.h"

enum { LINGER_BYTES_MAX = 1 << 20, LINGER_MS = 1000, DISCARD_BYTES = 65536 };

static int64_t limit_ns(const struct connection *connection)
{
    const struct http_settings *settings = connection->server->settings;
    switch (connection->phase) {
    case PHASE_SERVING:
        return CLOCK_NEVER; /* the request's deadline bounds it */
    case PHASE_IDLE:
        return settings->keepalive_timeout_ms * NS_PER_MS;
    case PHASE_LINGERING:
        return LINGER_MS * NS_PER_MS;
    case PHASE_FRESH:
    case PHASE_RECEIVING:
    case PHASE_SENDING:
        break;
    }
    return settings->receive_timeout_ms * NS_PER_MS;
}

void connection_enter(struct connection *connection, enum phase phase)
{
    connection->phase = phase;
    int64_t limit = limit_ns(connection);
    connection->expires_ns = limit == CLOCK_NEVER ? CLOCK_NEVER : loop_now_ns(connection->server->loop) + limit;
}

static void start_timer(struct connection *connection)
{
    const struct http_settings *settings = connection->server->settings;
    int shorter_ms = settings->receive_timeout_ms < settings->keepalive_timeout_ms ? settings->receive_timeout_ms
                                                                                   : settings->keepalive_timeout_ms;
    int64_t at_ns = loop_now_ns(connection->server->loop) + shorter_ms * NS_PER_MS;
    if (at_ns > connection->expires_ns)
        at_ns = connection->expires_ns;
    loop_timer_start(connection->server->loop, &connection->timer, at_ns);
}

void connection_close(struct connection *connection)
{
    loop_watch(connection->server->loop, &connection->watch, 0);
    close(connection->fd);
    connection->server->lingering--;
    connection_free(connection);
}

static void time_passed(struct loop_timer *timer)
{
    struct connection *connection = container_of(timer, struct connection, timer);
    if (loop_now_ns(connection->server->loop) < connection->expires_ns) {
        start_timer(connection);
        return;
    }
    if (connection->phase == PHASE_LINGERING) {
        connection_close(connection);
        return;
    }
    if (connection->phase != PHASE_IDLE)
        connection->server->stats.timeouts++;
    /* libmicrohttpd sees the end of the stream and closes. */
    shutdown(connection->fd, SHUT_RDWR);
}

static void format_peer(const struct sockaddr *address, char out[PEER_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "";
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)address;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(out, PEER_BYTES, "%s:%u", host, ntohs(v4->sin_port));
        return;
    }
    const struct sockaddr_in6 *v6 = (const void *)address;
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], host, sizeof host);
        snprintf(out, PEER_BYTES, "%s:%u", host, ntohs(v6->sin6_port));
        return;
    }
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    snprintf(out, PEER_BYTES, "[%s]:%u", host, ntohs(v6->sin6_port));
}

struct connection *connection_new(struct http_server *server, int fd, const struct sockaddr *address)
{
    struct connection *connection = mem_alloc(sizeof *connection);
    connection->server = server;
    connection->fd = fd;
    connection->timer.fire = time_passed;
    format_peer(address, connection->peer);
    list_append(&server->connections, &connection->list);
    connection_enter(connection, PHASE_FRESH);
    start_timer(connection);
    return connection;
}

void connection_free(struct connection *connection)
{
    struct http_server *server = connection->server;
    loop_timer_stop(server->loop, &connection->timer);
    list_remove(&connection->list);
    if (connection->memo.data)
        connection->memo.drop(connection->memo.data);
    if (connection->counted) {
        server->stats.connections--;
        atomic_fetch_sub(&server->share->connections, 1);
    }
    free(connection);
    if (server->draining && list_empty(&server->connections))
        loop_timer_start(server->loop, &server->drain_timer, loop_now_ns(server->loop));
}

static void discard(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct connection *connection = container_of(watch, struct connection, watch);
    char scratch[DISCARD_BYTES];
    ssize_t got = recv(watch->fd, scratch, sizeof scratch, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    connection->discarded += got > 0 ? (size_t)got : 0;
    if (got <= 0 || connection->discarded > LINGER_BYTES_MAX)
        connection_close(connection);
}

void connection_linger(struct connection *connection, int fd)
{
    struct http_server *server = connection->server;
    connection->fd = fd;
    server->lingering++;
    shutdown(fd, SHUT_WR);
    connection_enter(connection, PHASE_LINGERING);
    loop_timer_start(server->loop, &connection->timer, connection->expires_ns);
    connection->watch = (struct loop_watch){.fd = fd, .ready = discard};
    loop_watch(server->loop, &connection->watch, EPOLLIN);
}

/* Closing with unread bytes would reset the connection and may take the answer away from the client. */
static bool has_unread(const struct connection *connection)
{
    char first;
    return connection->unread || recv(connection->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* libmicrohttpd closes its descriptor right after telling of the end: a duplicate keeps the socket. */
static void ended(struct connection *connection)
{
    struct http_server *server = connection->server;
    bool gently = !server->closing && server->lingering < LINGERING_MAX && has_unread(connection);
    int fd = gently ? fcntl(connection->fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd < 0)
        connection_free(connection);
    else
        connection_linger(connection, fd);
}

void connection_event(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode code)
{
    (void)mhd;
    struct http_server *server = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = server->arriving;
        server->arriving = NULL;
        return;
    }
    ended(*context);
}
