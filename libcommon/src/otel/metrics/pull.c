#include "otel/metrics/pull.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "otel/export/gzip.h"
#include "otel/metrics/accept.h"
#include "otel/metrics/pipeline.h"
#include "otel/metrics/text.h"

enum { CONNECTIONS_MAX = 32, REQUEST_SECONDS = 10, CONNECTION_BYTES_MAX = 16384, BACKLOG = 64 };

struct pull_server {
    char *host;
    int port;
    struct MHD_Daemon *daemon;
    struct gzip *gzip;     /* its thread's */
    struct reader *reader; /* pull_lock */
};

/* --- answers */

static enum MHD_Result queue(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response)
{
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static struct MHD_Response *plain(const char *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; charset=utf-8");
    return response;
}

static enum MHD_Result refuse_method(struct MHD_Connection *connection)
{
    struct MHD_Response *response = plain("Only GET and HEAD.\n");
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    return queue(connection, MHD_HTTP_METHOD_NOT_ALLOWED, response);
}

static bool write_text(struct pull_server *server, const struct text_format *format, struct buffer *out)
{
    pthread_mutex_lock(&pull_lock);
    bool ready = server->reader != NULL;
    if (ready)
        reader_write_text(server->reader, format, out);
    pthread_mutex_unlock(&pull_lock);
    return ready;
}

static bool compress(struct pull_server *server, struct MHD_Connection *connection, struct buffer *text)
{
    struct buffer small = {0};
    if (!accept_gzip(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT_ENCODING)))
        return false;
    if (!server->gzip)
        server->gzip = gzip_new();
    gzip_pack(server->gzip, text->data, text->size, &small);
    buffer_free(text);
    *text = small;
    return true;
}

static enum MHD_Result answer_metrics(struct pull_server *server, struct MHD_Connection *connection)
{
    struct buffer text = {0};
    struct text_format format =
        accept_format(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
    if (!write_text(server, &format, &text))
        return queue(connection, MHD_HTTP_SERVICE_UNAVAILABLE, plain("Not yet.\n"));
    bool packed = compress(server, connection, &text);
    struct MHD_Response *response = MHD_create_response_from_buffer(text.size, text.data, MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, prometheus_content_type(&format));
    MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, "Accept, Accept-Encoding");
    if (packed)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
    return queue(connection, MHD_HTTP_OK, response);
}

/* libmicrohttpd calls it first for the head, then for the body, of which nobody wants any. */
static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *path, const char *method,
                              const char *version, const char *body, size_t *body_bytes, void **state)
{
    static char seen;
    (void)version, (void)body;
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    if (*body_bytes > 0) {
        *body_bytes = 0;
        return MHD_YES;
    }
    if (strcmp(path, "/metrics") != 0)
        return queue(connection, MHD_HTTP_NOT_FOUND, plain("Metrics are at /metrics.\n"));
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return refuse_method(connection);
    return answer_metrics(arg, connection);
}

/* --- the socket */

static int try_address(const struct addrinfo *address)
{
    static const int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* IPv4 first: a name like localhost means both, and scrapers try that one. */
static int bind_any(const struct addrinfo *addresses)
{
    static const int families[] = {AF_INET, AF_INET6};
    for (size_t i = 0; i < array_count(families); i++)
        for (const struct addrinfo *a = addresses; a; a = a->ai_next) {
            int fd = a->ai_family == families[i] ? try_address(a) : -1;
            if (fd >= 0 || (a->ai_family == families[i] && errno == EADDRINUSE))
                return fd;
        }
    return -1;
}

static int open_socket(const char *host, int port, char *message, size_t message_bytes)
{
    char service[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *addresses;
    snprintf(service, sizeof service, "%d", port);
    int status = getaddrinfo(host, service, &hints, &addresses);
    int fd = status == 0 ? bind_any(addresses) : -1;
    if (fd < 0)
        snprintf(message, message_bytes, "the Prometheus exporter cannot listen on %s:%d: %s", host, port,
                 status ? gai_strerror(status) : strerrordesc_np(errno));
    if (status == 0)
        freeaddrinfo(addresses);
    return fd;
}

/* --- life */

/* Its thread takes no signals: they are the business of the program's own threads. */
static struct MHD_Daemon *start_daemon(struct pull_server *server, int fd)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL, 0, NULL, NULL, handle, server, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)REQUEST_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES_MAX, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return daemon;
}

struct pull_server *pull_server_open(const char *host, int port, char *message, size_t message_bytes)
{
    int fd = open_socket(host, port, message, message_bytes);
    if (fd < 0)
        return NULL;
    struct pull_server *server = mem_alloc(sizeof *server);
    server->daemon = start_daemon(server, fd);
    if (!server->daemon) {
        snprintf(message, message_bytes, "the Prometheus exporter on %s:%d does not start", host, port);
        close(fd);
        free(server);
        return NULL;
    }
    server->host = mem_text(host);
    server->port = port;
    return server;
}

bool pull_server_is_at(const struct pull_server *server, const char *host, int port)
{
    return server->port == port && strcmp(server->host, host) == 0;
}

void pull_server_set(struct pull_server *server, struct reader *reader)
{
    server->reader = reader;
}

void pull_server_close(struct pull_server *server)
{
    if (!server)
        return;
    MHD_stop_daemon(server->daemon);
    gzip_free(server->gzip);
    free(server->host);
    free(server);
}
