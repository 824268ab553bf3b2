/* The listening socket. We accept ourselves and hand connections to libmicrohttpd: so a loop takes several
 * at a time, the limit holds for all loops together, and who is one too many gets an answer. */
#include "http/internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"

enum { ACCEPTS_A_TURN = 16, BACKLOG = 4096, ACCEPT_AGAIN_MS = 100 };

static enum err not_bound(const char *listen, const char *reason)
{
    log_event(LOG_ERROR, "cannot listen", log_text("address", listen), log_text("reason", reason));
    return ERR_UNAVAILABLE;
}

/* Splits host:port, [v6]:port or :port; host becomes empty for every address. */
static bool split_address(const char *listen, char *host, size_t host_bytes, int *port)
{
    const char *colon = strrchr(listen, ':');
    if (!colon)
        return false;
    size_t length = (size_t)(colon - listen);
    if (length >= 2 && listen[0] == '[' && colon[-1] == ']') {
        listen++;
        length -= 2;
    }
    char *end;
    long number = strtol(colon + 1, &end, 10);
    if (length >= host_bytes || end == colon + 1 || *end || number < 0 || number > 65535)
        return false;
    memcpy(host, listen, length);
    host[length] = '\0';
    *port = (int)number;
    return true;
}

static int open_socket(const struct addrinfo *address)
{
    static const int on = 1, off = 0;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && address->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return fd;
}

static int close_failed(int fd)
{
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return -1;
}

/* A socket that does not share its port finds out whether another process has it: sharing would take half of the
 * connections in silence. */
static bool is_free(const struct addrinfo *address)
{
    int fd = open_socket(address);
    if (fd < 0 || bind(fd, address->ai_addr, address->ai_addrlen) < 0) {
        close_failed(fd);
        return false;
    }
    close(fd);
    return true;
}

static int bind_socket(const struct addrinfo *address, bool first)
{
    static const int on = 1;
    if (first && !is_free(address))
        return -1;
    int fd = open_socket(address);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    return close_failed(fd);
}

/* IPv6 first when every address is meant: such a socket takes IPv4 as well. */
static int bind_first(const struct addrinfo *addresses, bool every, bool first)
{
    int fd = -1;
    for (const struct addrinfo *a = addresses; every && a && fd < 0; a = a->ai_next)
        if (a->ai_family == AF_INET6)
            fd = bind_socket(a, first);
    for (const struct addrinfo *a = addresses; a && fd < 0; a = a->ai_next)
        fd = bind_socket(a, first);
    return fd;
}

static int bound_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return 0;
    /* The port is at the same place in both families. */
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

/* --- accepting */

static void accept_later(struct http_server *server)
{
    if (!server->accept_failing)
        log_event(LOG_ERROR, "cannot accept connections for now", log_text("reason", strerror(errno)));
    server->accept_failing = true;
    server->stats.refused_connections++;
    loop_watch(server->loop, &server->listener, 0);
    loop_timer_start(server->loop, &server->accept_timer, loop_now_ns(server->loop) + ACCEPT_AGAIN_MS * NS_PER_MS);
}

static void accept_again(struct loop_timer *timer)
{
    struct http_server *server = container_of(timer, struct http_server, accept_timer);
    loop_watch(server->loop, &server->listener, EPOLLIN);
}

static void refuse(struct http_server *server, int fd, const struct sockaddr *address)
{
    server->stats.refused_connections++;
    answer_busy(fd);
    if (server->lingering < LINGERING_MAX)
        connection_linger(connection_new(server, fd, address), fd);
    else
        close(fd);
}

void listener_admit(struct http_server *server, int fd, const struct sockaddr *address, socklen_t length)
{
    struct connection *connection = connection_new(server, fd, address);
    connection->counted = true;
    server->stats.connections++;
    server->arriving = connection;
    /* On failure it has closed fd and, when it got so far, told connection_event() of the end. */
    MHD_add_connection(server->daemon, fd, address, length);
    if (server->arriving) {
        server->arriving = NULL;
        connection_free(connection);
    }
}

static bool accept_one(struct http_server *server)
{
    struct sockaddr_storage storage;
    struct sockaddr *address = (struct sockaddr *)&storage;
    socklen_t length = sizeof storage;
    int fd = accept4(server->listener.fd, address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        bool passing = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
        if (!passing)
            accept_later(server);
        return passing && errno != EAGAIN;
    }
    server->accept_failing = false;
    struct http_share *share = server->share;
    if (atomic_fetch_add(&share->connections, 1) >= (unsigned)server->settings->connections_max) {
        atomic_fetch_sub(&share->connections, 1);
        refuse(server, fd, address);
    } else {
        listener_admit(server, fd, address, length);
    }
    return true;
}

static void accept_some(struct http_server *server, unsigned most)
{
    for (unsigned i = 0; i < most && accept_one(server); i++)
        ;
    server_run(server);
}

void listener_accept_last(struct http_server *server)
{
    accept_some(server, BACKLOG);
}

static void listener_ready(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    accept_some(container_of(watch, struct http_server, listener), ACCEPTS_A_TURN);
}

enum err listener_open(struct http_server *server)
{
    char host[256], service[8];
    int port;
    const char *listen = server->settings->listen;
    if (!split_address(listen, host, sizeof host, &port))
        return not_bound(listen, "expected address:port");
    if (port == 0)
        port = server->share->port;
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses;
    int status = getaddrinfo(host[0] ? host : NULL, service, &hints, &addresses);
    if (status)
        return not_bound(listen, gai_strerror(status));
    int fd = bind_first(addresses, !host[0], server->share->port == 0);
    int saved = errno;
    freeaddrinfo(addresses);
    if (fd < 0)
        return not_bound(listen, strerror(saved));
    server->share->port = bound_port(fd);
    server->accept_timer.fire = accept_again;
    server->listener = (struct loop_watch){.fd = fd, .ready = listener_ready};
    loop_watch(server->loop, &server->listener, EPOLLIN);
    return ERR_OK;
}

void listener_close(struct http_server *server)
{
    if (server->listener.fd < 0)
        return;
    loop_timer_stop(server->loop, &server->accept_timer);
    loop_watch(server->loop, &server->listener, 0);
    close(server->listener.fd);
    server->listener.fd = -1;
}
