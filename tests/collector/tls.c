/* libmicrohttpd is built without TLS, so a plain port gets a TLS end in front: each connection is a fiber that carries
 * bytes both ways between a TLS session and a plain connection. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collector/collector.h"
#include "common/clock.h"
#include "common/mem.h"

enum { TUNNELS_MAX = 128, BACKLOG = 128, HANDSHAKE_MS = 10000, PIECE_BYTES = 16384 };

struct tls_end {
    struct collector *collector;
    SSL_CTX *context;
    struct loop_watch listener;
    int port, plain_port;
    struct list tunnels;
    unsigned count;
    bool closing;
    struct fiber_wait empty;
};

/* Bytes that one side has sent and the other has not taken yet. */
struct pipe {
    char data[PIECE_BYTES];
    size_t begin, end;
    bool ended;  /* the source will send no more */
    bool passed; /* and the sink was told */
};

struct side {
    struct loop_watch watch;
    struct tunnel *tunnel;
    uint32_t wants;
};

struct tunnel {
    struct list list;
    struct tls_end *end;
    SSL *ssl;
    struct side outside, inside; /* the TLS and the plain connection */
    struct pipe inward, outward;
    struct fiber_wait *waiting;
    bool broken;
};

/* --- waiting for a descriptor */

static void ready(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct tunnel *tunnel = container_of(watch, struct side, watch)->tunnel;
    if (tunnel->waiting)
        fiber_wake(tunnel->waiting, ERR_OK);
}

static bool wait_ready(struct tunnel *tunnel, int64_t deadline_ns)
{
    struct loop *loop = tunnel->end->collector->worker.loop;
    struct fiber_wait wait = {0};
    tunnel->waiting = &wait;
    loop_watch(loop, &tunnel->outside.watch, tunnel->outside.wants);
    loop_watch(loop, &tunnel->inside.watch, tunnel->inside.wants);
    enum err err = fiber_wait(&wait, deadline_ns);
    loop_watch(loop, &tunnel->outside.watch, 0);
    loop_watch(loop, &tunnel->inside.watch, 0);
    tunnel->waiting = NULL;
    tunnel->outside.wants = tunnel->inside.wants = 0;
    return err == ERR_OK && !tunnel->end->closing;
}

/* What TLS waits for; false when the session is over. */
static bool wants_more(struct tunnel *tunnel, int result)
{
    int error = SSL_get_error(tunnel->ssl, result);
    ERR_clear_error();
    if (error == SSL_ERROR_WANT_READ)
        tunnel->outside.wants |= EPOLLIN;
    else if (error == SSL_ERROR_WANT_WRITE)
        tunnel->outside.wants |= EPOLLOUT;
    else
        return false;
    return true;
}

/* --- carrying; each returns whether something moved */

static bool read_outside(struct tunnel *tunnel)
{
    struct pipe *pipe = &tunnel->inward;
    if (pipe->ended || pipe->end > 0)
        return false;
    int count = SSL_read(tunnel->ssl, pipe->data, sizeof pipe->data);
    if (count > 0)
        pipe->end = (size_t)count;
    else if (!wants_more(tunnel, count))
        pipe->ended = true;
    return count > 0 || pipe->ended;
}

static bool write_outside(struct tunnel *tunnel)
{
    struct pipe *pipe = &tunnel->outward;
    if (pipe->begin == pipe->end)
        return false;
    int count = SSL_write(tunnel->ssl, pipe->data + pipe->begin, (int)(pipe->end - pipe->begin));
    if (count > 0)
        pipe->begin += (size_t)count;
    else if (!wants_more(tunnel, count))
        tunnel->broken = true;
    if (pipe->begin == pipe->end)
        pipe->begin = pipe->end = 0;
    return count > 0;
}

static bool read_inside(struct tunnel *tunnel)
{
    struct pipe *pipe = &tunnel->outward;
    if (pipe->ended || pipe->end > 0)
        return false;
    ssize_t count = read(tunnel->inside.watch.fd, pipe->data, sizeof pipe->data);
    if (count > 0)
        pipe->end = (size_t)count;
    else if (count < 0 && errno == EAGAIN)
        tunnel->inside.wants |= EPOLLIN;
    else
        pipe->ended = true;
    return count > 0 || pipe->ended;
}

static bool write_inside(struct tunnel *tunnel)
{
    struct pipe *pipe = &tunnel->inward;
    if (pipe->begin == pipe->end) {
        if (!pipe->ended || pipe->passed)
            return false;
        shutdown(tunnel->inside.watch.fd, SHUT_WR);
        return pipe->passed = true;
    }
    ssize_t count = send(tunnel->inside.watch.fd, pipe->data + pipe->begin, pipe->end - pipe->begin, MSG_NOSIGNAL);
    if (count > 0)
        pipe->begin += (size_t)count;
    else if (errno == EAGAIN)
        tunnel->inside.wants |= EPOLLOUT;
    else
        tunnel->broken = true;
    if (pipe->begin == pipe->end)
        pipe->begin = pipe->end = 0;
    return count > 0;
}

static void carry(struct tunnel *tunnel)
{
    for (;;) {
        bool moved = read_outside(tunnel);
        moved |= write_inside(tunnel);
        moved |= read_inside(tunnel);
        moved |= write_outside(tunnel);
        bool over = tunnel->outward.ended && tunnel->outward.begin == tunnel->outward.end;
        if (tunnel->broken || over || (!moved && !wait_ready(tunnel, CLOCK_NEVER)))
            break;
        if (moved)
            tunnel->outside.wants = tunnel->inside.wants = 0;
    }
    SSL_shutdown(tunnel->ssl);
}

/* --- a connection */

static bool shake_hands(struct tunnel *tunnel)
{
    int64_t deadline_ns = clock_now_ns() + HANDSHAKE_MS * NS_PER_MS;
    for (;;) {
        int result = SSL_accept(tunnel->ssl);
        if (result == 1)
            return true;
        if (!wants_more(tunnel, result) || !wait_ready(tunnel, deadline_ns))
            return false;
    }
}

static bool connect_inside(struct tunnel *tunnel)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)tunnel->end->plain_port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    tunnel->inside.watch.fd = fd;
    return fd >= 0 && (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EINPROGRESS);
}

static void tunnel_free(struct tunnel *tunnel)
{
    struct tls_end *end = tunnel->end;
    SSL_free(tunnel->ssl);
    ERR_clear_error();
    close(tunnel->outside.watch.fd);
    if (tunnel->inside.watch.fd >= 0)
        close(tunnel->inside.watch.fd);
    list_remove(&tunnel->list);
    free(tunnel);
    end->count--;
    if (end->closing && end->count == 0)
        fiber_wake(&end->empty, ERR_OK);
}

static void serve(void *arg)
{
    struct tunnel *tunnel = arg;
    struct counts *counts = &tunnel->end->collector->counts;
    if (!shake_hands(tunnel)) {
        counts->tls_failures++;
    } else if (connect_inside(tunnel)) {
        counts->tls_connections++;
        carry(tunnel);
    }
    tunnel_free(tunnel);
}

static struct tunnel *tunnel_new(struct tls_end *end, int fd)
{
    struct tunnel *tunnel = mem_alloc(sizeof *tunnel);
    tunnel->end = end;
    tunnel->outside = (struct side){.watch = {.ready = ready, .fd = fd}, .tunnel = tunnel};
    tunnel->inside = (struct side){.watch = {.ready = ready, .fd = -1}, .tunnel = tunnel};
    tunnel->ssl = SSL_new(end->context);
    SSL_set_fd(tunnel->ssl, fd);
    list_append(&end->tunnels, &tunnel->list);
    end->count++;
    return tunnel;
}

static void arrived(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct tls_end *end = container_of(watch, struct tls_end, listener);
    int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (end->count == TUNNELS_MAX) {
        end->collector->counts.tls_refused++;
        close(fd);
        return;
    }
    fiber_start(end->collector->worker.loop, serve, tunnel_new(end, fd));
}

/* --- opening and closing */

static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_bytes, const unsigned char *in,
                           unsigned int in_bytes, void *arg)
{
    (void)ssl;
    (void)arg;
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *found;
    if (SSL_select_next_proto(&found, out_bytes, ours, sizeof ours - 1, in, in_bytes) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = found;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *context_new(const struct tls_files *tls)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_alpn_select_cb(context, select_protocol, NULL);
    bool good = SSL_CTX_use_certificate_chain_file(context, tls->certificate) == 1 &&
                SSL_CTX_use_PrivateKey_file(context, tls->key, SSL_FILETYPE_PEM) == 1;
    if (good && tls->client_ca) {
        good = SSL_CTX_load_verify_locations(context, tls->client_ca, NULL) == 1;
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    if (good)
        return context;
    fprintf(stderr, "otlp-collector: the TLS files are no good\n");
    ERR_clear_error();
    SSL_CTX_free(context);
    return NULL;
}

static int bind_to(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    close(fd);
    return -1;
}

/* "127.0.0.1:4318", "[::1]:0" or ":4318". */
static int listen_on(const char *listen)
{
    const char *colon = strrchr(listen, ':');
    if (!colon)
        return -1;
    size_t length = (size_t)(colon - listen);
    bool bracketed = length >= 2 && listen[0] == '[' && listen[length - 1] == ']';
    scoped_free char *host = mem_print("%.*s", (int)(bracketed ? length - 2 : length), listen + bracketed);
    struct addrinfo *addresses = NULL,
                    hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    if (getaddrinfo(*host ? host : NULL, colon + 1, &hints, &addresses) != 0)
        return -1;
    int fd = bind_to(addresses);
    freeaddrinfo(addresses);
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof address;
    getsockname(fd, (struct sockaddr *)&address, &bytes);
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

struct tls_end *tls_end_open(struct collector *collector, const char *listen, const struct tls_files *tls,
                             int plain_port)
{
    SSL_CTX *context = context_new(tls);
    if (!context)
        return NULL;
    int fd = listen_on(listen);
    if (fd < 0) {
        fprintf(stderr, "otlp-collector: cannot listen on %s\n", listen);
        SSL_CTX_free(context);
        return NULL;
    }
    struct tls_end *end = mem_alloc(sizeof *end);
    end->collector = collector;
    end->context = context;
    end->plain_port = plain_port;
    end->port = port_of(fd);
    end->listener = (struct loop_watch){.ready = arrived, .fd = fd};
    list_init(&end->tunnels);
    loop_watch(collector->worker.loop, &end->listener, EPOLLIN);
    return end;
}

int tls_end_port(const struct tls_end *end)
{
    return end->port;
}

void tls_end_close(struct tls_end *end)
{
    if (!end)
        return;
    end->closing = true;
    loop_watch(end->collector->worker.loop, &end->listener, 0);
    close(end->listener.fd);
    list_each (node, &end->tunnels) {
        struct tunnel *tunnel = container_of(node, struct tunnel, list);
        if (tunnel->waiting)
            fiber_wake(tunnel->waiting, ERR_CANCELLED);
    }
    if (end->count > 0)
        fiber_wait(&end->empty, CLOCK_NEVER);
    SSL_CTX_free(end->context);
    free(end);
}
