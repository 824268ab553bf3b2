/* The way out: problem documents, headers that every answer has, and the answer that does not pass
 * through libmicrohttpd. A body lives in the request's arena until exchange_completed(). */
#include "http/internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include "common/hash.h"
#include "common/log.h"
#include "common/utf8.h"

enum { RETRY_AFTER_S = 1, BUSY_BYTES = 2048 };

/* --- problem+json */

/* Writes the text as the inside of a JSON string, or only counts when out is NULL; what is no UTF-8 becomes U+FFFD. */
static size_t escape(const char *text, char *out)
{
    size_t used = 0;
    while (*text) {
        char piece[8];
        size_t step = utf8_sequence(text), bytes = step;
        const char *from = text;
        if (step == 0) {
            from = "\xef\xbf\xbd";
            step = 1;
            bytes = 3;
        } else if (*text == '"' || *text == '\\') {
            bytes = (size_t)snprintf(piece, sizeof piece, "\\%c", *text);
            from = piece;
        } else if ((unsigned char)*text < ' ') {
            bytes = (size_t)snprintf(piece, sizeof piece, "\\u%04x", (unsigned)*text);
            from = piece;
        }
        if (out)
            memcpy(out + used, from, bytes);
        used += bytes;
        text += step;
    }
    return used;
}

static const char *escaped(struct arena *arena, const char *text)
{
    size_t length = escape(text, NULL);
    char *copy = arena_alloc_raw(arena, length + 1);
    escape(text, copy);
    copy[length] = '\0';
    return copy;
}

struct problem {
    int status;
    const char *title, *detail, *instance;
    const struct trace_context *trace;
};

static struct bytes print_problem(struct arena *arena, const struct problem *problem)
{
    char trace_id[33];
    const char *text = arena_print(arena,
                                   "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\","
                                   "\"instance\":\"%s\",\"trace_id\":\"%s\"}",
                                   escaped(arena, problem->title), problem->status, escaped(arena, problem->detail),
                                   escaped(arena, problem->instance), hash_hex(problem->trace->trace_id, 16, trace_id));
    return (struct bytes){text, strlen(text)};
}

static struct bytes print_unavailable(struct arena *arena, const char *detail, const char *instance,
                                      const struct trace_context *trace)
{
    struct problem problem = {503, MHD_get_reason_phrase_for(503), detail, instance, trace};
    return print_problem(arena, &problem);
}

/* Who can be answered has not gone: it is the server that ends. */
static int failed_status(const struct failure *failure, enum err err)
{
    if (failure->err == err && failure->http_status)
        return failure->http_status;
    return err == ERR_CANCELLED ? 503 : err_http_status(err);
}

static const char *failed_detail(const struct failure *failure, enum err err, int status)
{
    if (status == 500)
        return "The server failed; the trace id tells which request it was.";
    if (failure->err == err && failure->detail)
        return failure->detail;
    return MHD_get_reason_phrase_for((unsigned)status);
}

static void fill_problem(struct exchange *exchange, enum err err)
{
    struct request *req = &exchange->req;
    const struct failure *failure = &req->failure;
    int status = failed_status(failure, err);
    bool titled = failure->err == err && failure->title;
    struct problem problem = {
        .status = status,
        .title = titled ? failure->title : MHD_get_reason_phrase_for((unsigned)status),
        .detail = failed_detail(failure, err, status),
        .instance = exchange->path ? exchange->path : exchange->target,
        .trace = &req->trace,
    };
    exchange->res.status = status;
    exchange->res.content_type = "application/problem+json";
    exchange->res.body = print_problem(&exchange->arena, &problem);
}

/* --- headers */

static bool has_header(const struct response *res, const char *name)
{
    for (const struct response_header *h = res->headers; h; h = h->next)
        if (strcasecmp(h->name, name) == 0)
            return true;
    return false;
}

static void add_missing(struct exchange *exchange, const char *name, const char *value)
{
    if (!has_header(&exchange->res, name))
        response_header(&exchange->req, &exchange->res, name, value);
}

static void add_for_status(struct exchange *exchange)
{
    const struct failure *failure = &exchange->req.failure;
    int seconds = failure->retry_after_s;
    if (exchange->res.status == 503)
        add_missing(exchange, "Retry-After",
                    arena_print(&exchange->arena, "%d", seconds > 0 ? seconds : RETRY_AFTER_S));
    if (exchange->res.status == 401)
        add_missing(exchange, "WWW-Authenticate", failure->challenge ? failure->challenge : "Bearer");
    if (exchange->allow)
        add_missing(exchange, "Allow", exchange->allow);
}

void answer_finish(struct exchange *exchange, enum err err)
{
    struct response *res = &exchange->res;
    if (err)
        fill_problem(exchange, err);
    if (res->status == 0)
        res->status = 200;
    add_for_status(exchange);
    trace_format(&exchange->req.trace, exchange->trace_text);
}

/* --- through libmicrohttpd */

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    if (MHD_add_response_header(response, name, value) != MHD_YES)
        log_event(LOG_ERROR, "a response header is not valid and left out", log_text("name", name));
}

static void add_headers(const struct exchange *exchange, struct MHD_Response *response)
{
    const struct response *res = &exchange->res;
    if (res->content_type)
        add_header(response, "Content-Type", res->content_type);
    add_header(response, "traceresponse", exchange->trace_text);
    for (const struct response_header *h = res->headers; h; h = h->next)
        if (*h->value)
            add_header(response, h->name, h->value);
    if (exchange->last || exchange->server->draining)
        add_header(response, "Connection", "close");
}

static struct MHD_Response *response_of(struct bytes body, enum MHD_ResponseMemoryMode mode)
{
    /* It takes a pointer to non-const, which it does not write to. */
    union {
        const void *from;
        void *to;
    } data = {.from = body.data};
    return MHD_create_response_from_buffer(body.size, data.to, mode);
}

bool answer_queue(struct exchange *exchange)
{
    struct MHD_Response *response = response_of(exchange->res.body, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return false;
    add_headers(exchange, response);
    exchange->queued = MHD_queue_response(exchange->mhd, (unsigned)exchange->res.status, response) == MHD_YES;
    MHD_destroy_response(response);
    return exchange->queued;
}

/* --- to requests beyond the limit */

void busy_init(struct busy *busy)
{
    arena_init(&busy->arena, BUSY_BYTES);
}

static void forget(struct busy *busy)
{
    if (busy->response)
        MHD_destroy_response(busy->response); /* those who are being answered keep it */
    busy->response = NULL;
    arena_reset(&busy->arena);
}

void busy_done(struct busy *busy)
{
    forget(busy);
    arena_done(&busy->arena);
}

/* All of a second have one trace: nothing was done for them, so what it leads to is this line. */
static void begin_second(struct http_server *server)
{
    struct busy *busy = &server->busy;
    forget(busy);
    busy->until_ns = loop_now_ns(server->loop) + NS_PER_S;
    busy->trace = trace_new();
    const struct trace_context *outer = trace_attach(&busy->trace);
    log_event(LOG_WARN, "requests are turned away", log_int("limit", limit_now(&server->share->requests)),
              log_int("so_far", (int64_t)server->stats.refused_requests));
    trace_attach(outer);
}

static bool is_made(const struct busy *busy, const char *path, bool closes)
{
    return busy->response && busy->closes == closes && strcmp(busy->path, path) == 0;
}

static void make(struct busy *busy, const char *path, bool closes)
{
    char trace_text[TRACE_PARENT_BYTES];
    forget(busy);
    busy->path = arena_text(&busy->arena, path, strlen(path));
    busy->closes = closes;
    struct bytes body = print_unavailable(&busy->arena, "Too many requests are in work.", path, &busy->trace);
    busy->response = response_of(body, MHD_RESPMEM_MUST_COPY);
    if (!busy->response)
        return;
    add_header(busy->response, "Content-Type", "application/problem+json");
    add_header(busy->response, "Retry-After", arena_print(&busy->arena, "%d", RETRY_AFTER_S));
    add_header(busy->response, "traceresponse", trace_format(&busy->trace, trace_text));
    if (closes)
        add_header(busy->response, "Connection", "close");
}

bool answer_queue_busy(struct exchange *exchange)
{
    struct http_server *server = exchange->server;
    struct busy *busy = &server->busy;
    bool closes = exchange->last || server->draining;
    if (loop_now_ns(server->loop) >= busy->until_ns)
        begin_second(server);
    if (!is_made(busy, exchange->path, closes))
        make(busy, exchange->path, closes);
    if (!busy->response)
        return false;
    exchange->queued = MHD_queue_response(exchange->mhd, 503, busy->response) == MHD_YES;
    return exchange->queued;
}

/* --- past it */

static void put(int fd, const char *text, size_t length)
{
    /* What a fresh socket does not take at once is not worth waiting for. */
    if (send(fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return;
}

static const char *http_date(struct arena *arena)
{
    time_t now = time(NULL);
    struct tm tm;
    char text[40];
    gmtime_r(&now, &tm);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    return arena_text(arena, text, strlen(text));
}

static void write_last(struct arena *arena, int fd, const struct response *res, const char *trace_text)
{
    const char *headers = "";
    for (const struct response_header *h = res->headers; h; h = h->next)
        headers = arena_print(arena, "%s%s: %s\r\n", headers, h->name, h->value);
    const char *text =
        arena_print(arena,
                    "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\nContent-Type: %s\r\n"
                    "Content-Length: %zu\r\ntraceresponse: %s\r\n%s\r\n%.*s",
                    res->status, MHD_get_reason_phrase_for((unsigned)res->status), http_date(arena), res->content_type,
                    res->body.size, trace_text, headers, (int)res->body.size, res->body.data);
    put(fd, text, strlen(text));
}

void answer_write(struct exchange *exchange, int fd)
{
    exchange->queued = true;
    write_last(&exchange->arena, fd, &exchange->res, exchange->trace_text);
}

void answer_busy(int fd)
{
    struct arena arena;
    arena_init(&arena, 2048);
    struct trace_context trace = trace_new();
    char trace_text[TRACE_PARENT_BYTES];
    struct response_header retry = {.name = "Retry-After", .value = "1"};
    struct response res = {
        .status = 503,
        .content_type = "application/problem+json",
        .body = print_unavailable(&arena, "Too many connections are open.", "", &trace),
        .headers = &retry,
    };
    write_last(&arena, fd, &res, trace_format(&trace, trace_text));
    arena_done(&arena);
}
