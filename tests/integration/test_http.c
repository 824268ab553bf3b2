/* The HTTP server over loopback: a loop in a thread of its own, raw sockets on this side. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http.h"
#include "common/json.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/middleware.h"
#include "support/support.h"

/* --- what middleware saw */

struct seen {
    unsigned count;
    int status;
    enum err err;
    char name[64], method[16], text[128], peer[64], trace[TRACE_PARENT_BYTES];
};

static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static struct seen seen;

static enum err seen_begin(struct request *req, struct call *call, void **state)
{
    (void)call;
    *state = req;
    if (http_header(req, "X-Deny"))
        return fail(req, ERR_UNAUTHENTICATED, "no token");
    return ERR_OK;
}

static void seen_end(struct request *req, struct call *call, enum err err, void **state)
{
    assert_ptr_equal(*state, req);
    pthread_mutex_lock(&seen_lock);
    seen.count++;
    seen.status = call->status;
    seen.err = err;
    snprintf(seen.name, sizeof seen.name, "%s", call->name);
    snprintf(seen.method, sizeof seen.method, "%s", call->method);
    snprintf(seen.text, sizeof seen.text, "%s", call->text);
    snprintf(seen.peer, sizeof seen.peer, "%s", call->peer);
    trace_format(&req->trace, seen.trace);
    pthread_mutex_unlock(&seen_lock);
}

static const struct middleware recorder = {.name = "recorder", .begin = seen_begin, .end = seen_end};

static struct seen last_seen(void)
{
    pthread_mutex_lock(&seen_lock);
    struct seen copy = seen;
    pthread_mutex_unlock(&seen_lock);
    return copy;
}

/* --- handlers */

static enum err text_answer(struct request *req, struct response *res, const char *text)
{
    (void)req;
    res->content_type = "text/plain";
    res->body = (struct bytes){text, strlen(text)};
    return ERR_OK;
}

static enum err health(struct request *req, struct response *res)
{
    return text_answer(req, res, "OK");
}

static enum err show(struct request *req, struct response *res)
{
    const char *query = http_query(req, "q");
    const char *header = http_header(req, "x-echo");
    assert_null(http_param(req, "nothing"));
    return text_answer(
        req, res,
        arena_print(req->arena, "id=%s q=%s x=%s", http_param(req, "id"), query ? query : "-", header ? header : "-"));
}

static enum err show_uuid(struct request *req, struct response *res)
{
    struct uuid id;
    enum err err = http_param_uuid(req, "id", &id);
    if (err)
        return err;
    return text_answer(req, res, uuid_format(id, arena_alloc(req->arena, UUID_TEXT_BYTES)));
}

struct order {
    int64_t quantity;
};

static const struct json_field order_fields[] = {
    {"quantity", offsetof(struct order, quantity), JSON_FIELD_INT, .min = 1, .max = 10},
};
static const struct json_shape order_shape = JSON_SHAPE(struct order, order_fields);

static enum err make(struct request *req, struct response *res)
{
    struct order order;
    enum err err = json_read(req, &order_shape, &order);
    return err ? err : json_write(req, res, 200, &order_shape, &order);
}

static enum err echo(struct request *req, struct response *res)
{
    assert_int_equal(req->body.data[req->body.size], '\0');
    res->content_type = "application/octet-stream";
    res->body = req->body;
    return ERR_OK;
}

static enum err nothing(struct request *req, struct response *res)
{
    (void)req;
    res->status = 204;
    return ERR_OK;
}

static enum err slow(struct request *req, struct response *res)
{
    const char *ms = http_query(req, "ms");
    fiber_sleep_until(clock_now_ns() + (ms ? atoi(ms) : 1) * NS_PER_MS);
    return text_answer(req, res, arena_print(req->arena, "slept %s", http_query(req, "id")));
}

/* Waits until told, the way a query or a call does. */
static struct fiber_queue gate;

static enum err gated(struct request *req, struct response *res)
{
    fiber_queue_wait(&gate, CLOCK_NEVER);
    return text_answer(req, res, "through");
}

static enum err forever(struct request *req, struct response *res)
{
    (void)res;
    struct fiber_wait wait = {0};
    return request_wait(req, &wait);
}

static enum err big(struct request *req, struct response *res)
{
    size_t bytes = (size_t)atol(http_query(req, "bytes"));
    char *text = arena_alloc_raw(req->arena, bytes);
    memset(text, 'b', bytes);
    res->body = (struct bytes){text, bytes};
    response_header(req, res, "Cache-Control", "no-store");
    response_header(req, res, "X-Bad", "a\r\nb");
    return ERR_OK;
}

static enum err broken(struct request *req, struct response *res)
{
    const char *as = http_query(req, "as");
    if (strcmp(as, "bare") == 0)
        return ERR_NOT_FOUND;
    if (strcmp(as, "titled") == 0)
        return fail_as(req, ERR_FAILED_PRECONDITION, 400, "Insufficient inventory", "only \"%d\" left\n\xff", 3);
    if (strcmp(as, "stale") == 0) {
        fail(req, ERR_NOT_FOUND, "an attempt that was made good");
        return ERR_PERMISSION_DENIED;
    }
    if (strcmp(as, "busy") == 0) {
        enum err err = fail(req, ERR_UNAVAILABLE, "database down");
        req->failure.retry_after_s = 7;
        return err;
    }
    if (strcmp(as, "unready") == 0) {
        res->status = 503;
        return text_answer(req, res, "not ready");
    }
    return fail(req, ERR_INTERNAL, "secret");
}

static const struct http_route routes[] = {
    {"GET", "/health", health},       {"GET", "/things/:id", show},
    {"PUT", "/things/:id", echo},     {"POST", "/orders", make},
    {"POST", "/echo", echo},          {"GET", "/echo", echo},
    {"GET", "/uuids/:id", show_uuid}, {"POST", "/things/:id/cancel", nothing},
    {"GET", "/slow", slow},           {"GET", "/gated", gated},
    {"GET", "/forever", forever},     {"GET", "/big", big},
    {"GET", "/broken", broken},       {"GET", "/alive", health, .probe = true},
};

/* --- the server */

struct house {
    struct loop *loop;
    struct worker worker;
    struct http_settings settings;
    struct http_server *server;
    pthread_t thread;
    sem_t drained;
};

static struct http_settings usual(void)
{
    return (struct http_settings){
        .listen = "127.0.0.1:0",
        .body_bytes_max = 65536,
        .header_bytes_max = 16384,
        .uri_bytes_max = 8192,
        .connections_max = 1000,
        .requests_max = 1000,
        .receive_timeout_ms = 10000,
        .keepalive_timeout_ms = 60000,
        .deadline_ms = 5000,
    };
}

static void *run_loop(void *arg)
{
    struct house *house = arg;
    loop_run(house->loop);
    return NULL;
}

static void start(struct house *house, struct http_settings settings)
{
    *house = (struct house){.settings = settings, .loop = loop_new()};
    house->worker.loop = house->loop;
    sem_init(&house->drained, 0, 0);
    assert_int_equal(http_server_open(&house->server, &house->worker, &house->settings, routes, array_count(routes)),
                     ERR_OK);
    assert_int_equal(pthread_create(&house->thread, NULL, run_loop, house), 0);
}

struct errand {
    struct loop_task task;
    struct house *house;
    void (*fn)(struct house *house, void *arg);
    void *arg;
    sem_t done;
};

static void run_errand_fiber(void *arg)
{
    struct errand *errand = arg;
    errand->fn(errand->house, errand->arg);
    sem_post(&errand->done);
}

static void run_errand(struct loop_task *task)
{
    struct errand *errand = container_of(task, struct errand, task);
    fiber_start(errand->house->loop, run_errand_fiber, errand);
}

/* Runs fn in a fiber of the server's loop and waits for its end. */
static void in_house(struct house *house, void (*fn)(struct house *house, void *arg), void *arg)
{
    struct errand errand = {.task.run = run_errand, .house = house, .fn = fn, .arg = arg};
    sem_init(&errand.done, 0, 0);
    loop_post(house->loop, &errand.task);
    while (sem_wait(&errand.done) < 0 && errno == EINTR)
        ;
    sem_destroy(&errand.done);
}

static void close_server(struct house *house, void *arg)
{
    (void)arg;
    http_server_close(house->server);
    house->server = NULL;
}

static void stop(struct house *house)
{
    in_house(house, close_server, NULL);
    loop_stop(house->loop);
    pthread_join(house->thread, NULL);
    assert_int_equal(fiber_count(house->loop), 0);
    loop_free(house->loop);
    sem_destroy(&house->drained);
}

static void copy_stats(struct house *house, void *arg)
{
    *(struct http_stats *)arg = http_stats(house->server);
}

static struct http_stats stats_of(struct house *house)
{
    struct http_stats stats;
    in_house(house, copy_stats, &stats);
    return stats;
}

static void note_drained(void *arg)
{
    struct house *house = arg;
    sem_post(&house->drained);
}

static void drain(struct house *house, void *arg)
{
    (void)arg;
    http_server_drain(house->server, note_drained, house);
}

static void open_gate(struct house *house, void *arg)
{
    (void)house;
    unsigned wanted = *(unsigned *)arg;
    while (gate.count < wanted)
        fiber_sleep_until(clock_now_ns() + NS_PER_MS);
    fiber_queue_wake_all(&gate, ERR_OK);
}

static void await_gate(struct house *house, void *arg)
{
    (void)house;
    while (gate.count < *(unsigned *)arg)
        fiber_sleep_until(clock_now_ns() + NS_PER_MS);
}

static void await_in_flight(struct house *house, void *arg)
{
    while (http_stats(house->server).in_flight < *(unsigned *)arg)
        fiber_sleep_until(clock_now_ns() + NS_PER_MS);
}

static struct house shared;

static int set_up(void **state)
{
    (void)state;
    start(&shared, usual());
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stop(&shared);
    return 0;
}

/* --- the client */

struct reply {
    int status;
    char head[16384];
    char body[300000];
    size_t body_bytes;
};

static int connect_to(const struct house *house)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)http_server_port(house->server));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void put_bytes(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the server had enough; its answer tells */
        text += sent;
        length -= (size_t)sent;
    }
}

static void put(int fd, const char *text)
{
    put_bytes(fd, text, strlen(text));
}

static bool get_byte(int fd, char *out)
{
    return recv(fd, out, 1, 0) == 1;
}

static const char *header_of(const struct reply *reply, const char *name)
{
    static char value[8192];
    size_t length = strlen(name);
    for (const char *line = strstr(reply->head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':') {
            const char *start = line + 2 + length + 2;
            snprintf(value, sizeof value, "%.*s", (int)strcspn(start, "\r"), start);
            return value;
        }
    }
    return NULL;
}

/* Byte by byte, so that nothing of the next answer is taken. */
static bool get_reply(int fd, struct reply *reply, bool head_only)
{
    size_t used = 0;
    memset(reply->head, 0, sizeof reply->head);
    while (used < 4 || memcmp(reply->head + used - 4, "\r\n\r\n", 4) != 0) {
        assert_true(used < sizeof reply->head - 1);
        if (!get_byte(fd, reply->head + used++))
            return false;
    }
    assert_int_equal(sscanf(reply->head, "HTTP/1.1 %d ", &reply->status), 1);
    const char *length = header_of(reply, "Content-Length");
    reply->body_bytes = 0;
    size_t wanted = length && !head_only ? (size_t)atol(length) : 0;
    assert_true(wanted < sizeof reply->body);
    while (reply->body_bytes < wanted) {
        ssize_t got = recv(fd, reply->body + reply->body_bytes, wanted - reply->body_bytes, 0);
        if (got <= 0)
            return false;
        reply->body_bytes += (size_t)got;
    }
    reply->body[reply->body_bytes] = '\0';
    return true;
}

static bool at_end(int fd)
{
    char c;
    return recv(fd, &c, 1, 0) == 0;
}

static struct reply ask_bytes(struct house *house, const char *request, size_t length)
{
    static struct reply reply;
    int fd = connect_to(house);
    put_bytes(fd, request, length);
    assert_true(get_reply(fd, &reply, memcmp(request, "HEAD ", 5) == 0));
    close(fd);
    return reply;
}

static struct reply ask(const char *request)
{
    return ask_bytes(&shared, request, strlen(request));
}

#define HOST "Host: test\r\n"
#define JSON "Content-Type: application/json\r\n"

static void assert_body(const struct reply *reply, int status, const char *body)
{
    assert_string_equal(reply->body, body);
    assert_int_equal(reply->status, status);
}

static void assert_header(const struct reply *reply, const char *name, const char *value)
{
    const char *found = header_of(reply, name);
    if (!value) {
        assert_null(found);
        return;
    }
    assert_non_null(found);
    assert_string_equal(found, value);
}

/* A problem document, as middleware was told of it. */
static void assert_problem(const struct reply *reply, int status, const char *part)
{
    char number[32];
    snprintf(number, sizeof number, "\"status\":%d,", status);
    assert_header(reply, "Content-Type", "application/problem+json");
    if (!strstr(reply->body, part))
        print_error("not in %s: %s\n", reply->body, part);
    assert_non_null(strstr(reply->body, part));
    assert_non_null(strstr(reply->body, number));
    assert_non_null(strstr(reply->body, "{\"type\":\"about:blank\",\"title\":\""));
    assert_non_null(strstr(reply->body, "\"detail\":\""));
    assert_non_null(strstr(reply->body, "\"instance\":\""));
    assert_non_null(header_of(reply, "traceresponse"));
    char trace_id[64];
    snprintf(trace_id, sizeof trace_id, "\"trace_id\":\"%.32s\"}", header_of(reply, "traceresponse") + 3);
    assert_non_null(strstr(reply->body, trace_id));
    assert_int_equal(reply->status, status);
}

/* Asks on a connection of its own and expects it to be closed after the answer. */
static struct reply ask_last(const char *request, size_t length)
{
    static struct reply reply;
    int fd = connect_to(&shared);
    put_bytes(fd, request, length);
    assert_true(get_reply(fd, &reply, false));
    assert_header(&reply, "Connection", "close");
    assert_true(at_end(fd));
    close(fd);
    return reply;
}

static void refuses_and_closes(const char *request, int status)
{
    struct seen before = last_seen();
    struct reply reply = ask_last(request, strlen(request));
    if (reply.status != status)
        print_error("for %s\n", request);
    assert_problem(&reply, status, "");
    struct seen after = last_seen();
    assert_int_equal(after.count, before.count + 1);
    assert_int_equal(after.status, status);
}

static void refuses(const char *request, int status)
{
    struct reply reply = ask(request);
    if (reply.status != status)
        print_error("for %s\n", request);
    assert_problem(&reply, status, "");
    assert_header(&reply, "Connection", NULL);
    assert_int_equal(last_seen().status, status);
}

/* --- answers */

static void test_a_handler_answers(void **state)
{
    (void)state;
    struct reply reply = ask("GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_body(&reply, 200, "OK");
    assert_header(&reply, "Content-Type", "text/plain");
    assert_header(&reply, "Content-Length", "2");
    assert_header(&reply, "Connection", NULL);
    assert_non_null(header_of(&reply, "Date"));
    assert_int_equal(strlen(header_of(&reply, "traceresponse")), 55);
}

static void test_middleware_sees_route_method_path_and_status(void **state)
{
    (void)state;
    struct reply reply = ask("GET /things/7?q=1 HTTP/1.1\r\n" HOST
                             "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n");
    struct seen s = last_seen();
    assert_string_equal(s.name, "/things/:id");
    assert_string_equal(s.method, "GET");
    assert_string_equal(s.text, "/things/7");
    assert_int_equal(s.status, 200);
    assert_memory_equal(s.peer, "127.0.0.1:", 10);
    assert_header(&reply, "traceresponse", s.trace);
    assert_memory_equal(s.trace, "00-0af7651916cd43dd8448eb211c80319c-", 36);
    assert_string_equal(s.trace + 52, "-01");
}

static void test_middleware_can_refuse(void **state)
{
    (void)state;
    struct reply reply = ask("GET /health HTTP/1.1\r\n" HOST "X-Deny: 1\r\n\r\n");
    assert_problem(&reply, 401, "\"title\":\"Unauthorized\"");
    assert_header(&reply, "WWW-Authenticate", "Bearer");
    assert_int_equal(last_seen().err, ERR_UNAUTHENTICATED);
}

static void test_errors_become_problem_documents(void **state)
{
    (void)state;
    struct reply reply = ask("GET /broken?as=titled HTTP/1.1\r\n" HOST "\r\n");
    assert_problem(&reply, 400,
                   "\"title\":\"Insufficient inventory\",\"status\":400,\"detail\":\"only \\\"3\\\" "
                   "left\\u000a\xef\xbf\xbd\",\"instance\":\"/broken\"");
    reply = ask("GET /broken?as=bare HTTP/1.1\r\n" HOST "\r\n");
    assert_problem(&reply, 404, "\"title\":\"Not Found\",\"status\":404,\"detail\":\"Not Found\"");
    reply = ask("GET /broken?as=stale HTTP/1.1\r\n" HOST "\r\n");
    assert_problem(&reply, 403, "\"detail\":\"Forbidden\"");
    reply = ask("GET /broken?as=busy HTTP/1.1\r\n" HOST "\r\n");
    assert_problem(&reply, 503, "\"detail\":\"database down\"");
    assert_header(&reply, "Retry-After", "7");
    reply = ask("GET /broken?as=unready HTTP/1.1\r\n" HOST "\r\n");
    assert_body(&reply, 503, "not ready");
    assert_header(&reply, "Retry-After", "1");
    reply = ask("GET /broken?as=internal HTTP/1.1\r\n" HOST "\r\n");
    assert_problem(&reply, 500, "\"title\":\"Internal Server Error\"");
    assert_null(strstr(reply.body, "secret"));
}

static void test_a_large_answer_arrives_whole(void **state)
{
    (void)state;
    struct reply reply = ask("GET /big?bytes=250000 HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body_bytes, 250000);
    assert_int_equal(strspn(reply.body, "b"), 250000);
    assert_header(&reply, "Cache-Control", "no-store");
    assert_header(&reply, "Content-Type", NULL);
    assert_header(&reply, "X-Bad", NULL);
}

/* --- methods and paths */

static void test_head_answers_like_get_without_body(void **state)
{
    (void)state;
    struct reply reply;
    int fd = connect_to(&shared);
    put(fd, "HEAD /health HTTP/1.1\r\n" HOST "\r\nGET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(fd, &reply, true));
    assert_int_equal(reply.status, 200);
    assert_header(&reply, "Content-Length", "2");
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "OK");
    put(fd, "HEAD /nowhere HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(fd, &reply, true));
    assert_int_equal(reply.status, 404);
    assert_true(atoi(header_of(&reply, "Content-Length")) > 50);
    close(fd);
    assert_string_equal(last_seen().method, "HEAD");
}

static void test_options_lists_methods(void **state)
{
    (void)state;
    struct reply reply = ask("OPTIONS /things/1 HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(reply.status, 204);
    assert_header(&reply, "Allow", "GET, HEAD, PUT, OPTIONS");
    assert_string_equal(last_seen().name, "/things/:id");
    reply = ask("OPTIONS /orders HTTP/1.1\r\n" HOST "\r\n");
    assert_header(&reply, "Allow", "POST, OPTIONS");
    reply = ask("OPTIONS * HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(reply.status, 204);
    assert_header(&reply, "Allow", "GET, HEAD, PUT, POST, OPTIONS");
    assert_non_null(header_of(&reply, "traceresponse"));
    refuses("OPTIONS /nowhere HTTP/1.1\r\n" HOST "\r\n", 404);
}

static void test_another_method_is_not_allowed(void **state)
{
    (void)state;
    struct reply reply = ask("DELETE /things/1 HTTP/1.1\r\n" HOST "\r\n");
    assert_problem(&reply, 405, "\"title\":\"Method Not Allowed\"");
    assert_header(&reply, "Allow", "GET, HEAD, PUT, OPTIONS");
    assert_string_equal(last_seen().name, "/things/:id");
    refuses("HEAD-LESS /health HTTP/1.1\r\n" HOST "\r\n", 405);
    assert_string_equal(last_seen().method, "_OTHER");
    refuses("get /health HTTP/1.1\r\n" HOST "\r\n", 405);
    refuses("TRACE /health HTTP/1.1\r\n" HOST "\r\n", 405);
    reply = ask("HEAD /orders HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(reply.status, 405);
    assert_header(&reply, "Allow", "POST, OPTIONS");
}

static void test_an_unknown_path_is_not_found(void **state)
{
    (void)state;
    refuses("GET / HTTP/1.1\r\n" HOST "\r\n", 404);
    assert_string_equal(last_seen().name, "unmatched");
    refuses("GET /health/ HTTP/1.1\r\n" HOST "\r\n", 404);
    refuses("GET /things/ HTTP/1.1\r\n" HOST "\r\n", 404);
    refuses("GET //health HTTP/1.1\r\n" HOST "\r\n", 404);
    refuses("GET /Health HTTP/1.1\r\n" HOST "\r\n", 404);
    refuses("GET /a/../health HTTP/1.1\r\n" HOST "\r\n", 404);
    refuses("GET /healthy HTTP/1.1\r\n" HOST "\r\n", 404);
    refuses("GET /1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18 HTTP/1.1\r\n" HOST "\r\n", 404);
    struct reply reply = ask("GET /x?a=%22 HTTP/1.1\r\n" HOST "\r\n");
    assert_problem(&reply, 404, "\"instance\":\"/x\"");
}

static void test_segments_are_decoded_once(void **state)
{
    (void)state;
    struct reply reply = ask("GET /things/a%2Fb%20%2541 HTTP/1.1\r\n" HOST "\r\n");
    assert_body(&reply, 200, "id=a/b %41 q=- x=-");
    reply = ask("GET /%74hings/%c3%a9+ HTTP/1.1\r\n" HOST "\r\n");
    assert_body(&reply, 200, "id=\xc3\xa9+ q=- x=-");
    reply = ask("GET http://test/things/1 HTTP/1.1\r\n" HOST "\r\n");
    assert_body(&reply, 200, "id=1 q=- x=-");
    refuses("GET HTTP://test?x HTTP/1.1\r\n" HOST "\r\n", 404);
    refuses("GET /%2Fhealth HTTP/1.1\r\n" HOST "\r\n", 404);
}

static void test_bad_encoding_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "/things/%00",     "/things/%zz",      "/things/%4",  "/things/%",          "/nowhere/%0g/%",
        "/things/%ff",     "/things/\xc3\xa9", "/things/a#b", "things/1",           "*",
        "/things/1?q=%00", "/things/1?%zz=1",  "test:80",     "ftp://test/things/1"};
    for (size_t i = 0; i < array_count(bad); i++) {
        char request[256];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "\r\n", bad[i]);
        refuses(request, 400);
    }
}

static void test_query_parameters_are_decoded(void **state)
{
    (void)state;
    struct reply reply = ask("GET /things/1?a&q=x+y%2B%26%3D=z&&b= HTTP/1.1\r\n" HOST "\r\n");
    assert_body(&reply, 200, "id=1 q=x y+&==z x=-");
    reply = ask("GET /things/1?q HTTP/1.1\r\n" HOST "\r\n");
    assert_body(&reply, 200, "id=1 q= x=-");
    reply = ask("GET /things/1? HTTP/1.1\r\n" HOST "\r\n");
    assert_body(&reply, 200, "id=1 q=- x=-");
    refuses("GET /things/1?q=1&q=1 HTTP/1.1\r\n" HOST "\r\n", 400);
    refuses("GET /things/1?q=1&%71 HTTP/1.1\r\n" HOST "\r\n", 400);
}

static void test_too_many_query_parameters_are_refused(void **state)
{
    (void)state;
    char request[8192] = "GET /things/1?a";
    for (unsigned i = 0; i < 64; i++)
        snprintf(request + strlen(request), 16, "&p%u", i);
    strcat(request, " HTTP/1.1\r\n" HOST "\r\n");
    refuses(request, 400);
    /* More than libmicrohttpd's memory for them, which it must not come to see. */
    memset(request, '&', 8000);
    memcpy(request, "GET /things/1?", 14);
    for (unsigned i = 15; i < 8000; i += 2)
        request[i] = 'a';
    strcpy(request + 8000, " HTTP/1.1\r\n" HOST "\r\n");
    refuses(request, 400);
}

static void test_a_parameter_can_be_a_uuid(void **state)
{
    (void)state;
    struct reply reply = ask("GET /uuids/0190A4D0-0000-7000-8000-00000000000F HTTP/1.1\r\n" HOST "\r\n");
    assert_body(&reply, 200, "0190a4d0-0000-7000-8000-00000000000f");
    reply = ask("GET /uuids/17 HTTP/1.1\r\n" HOST "\r\n");
    assert_problem(&reply, 400, "\"detail\":\"id: expected a UUID\"");
}

/* --- bodies */

static void test_a_json_body_is_read(void **state)
{
    (void)state;
    struct reply reply = ask("POST /orders HTTP/1.1\r\n" HOST "Content-Type: Application/JSON ; charset=utf-8\r\n"
                             "Content-Length: 14\r\n\r\n{\"quantity\":3}");
    assert_body(&reply, 200, "{\"quantity\":3}");
    assert_header(&reply, "Content-Type", "application/json");
    reply = ask("POST /orders HTTP/1.1\r\n" HOST JSON "Content-Length: 15\r\n\r\n{\"quantity\":30}");
    assert_problem(&reply, 400, "quantity: expected an integer from 1 to 10");
}

static void test_a_body_that_is_no_json_by_type_is_refused(void **state)
{
    (void)state;
    refuses("POST /orders HTTP/1.1\r\n" HOST "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 415);
    refuses("PUT /things/1 HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}", 415);
    refuses("PUT /things/1 HTTP/1.1\r\n" HOST "Content-Type: application/jsonl\r\nContent-Length: 2\r\n\r\n{}", 415);
    refuses("POST /orders HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 415);
}

static void test_no_body_needs_no_type(void **state)
{
    (void)state;
    struct reply reply = ask("POST /things/1/cancel HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(reply.status, 204);
    assert_header(&reply, "Allow", NULL);
    reply = ask("POST /things/1/cancel HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
    assert_int_equal(reply.status, 204);
    reply = ask("POST /things/1/cancel HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_int_equal(reply.status, 204);
    reply = ask("POST /orders HTTP/1.1\r\n" HOST "\r\n");
    assert_problem(&reply, 400, "body: missing");
}

static void test_chunks_are_put_together(void **state)
{
    (void)state;
    struct reply reply = ask("POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: Chunked\r\n\r\n"
                             "5;x=y\r\n{\"a\":\r\n002\r\n1}\r\n0\r\nX-Trailer: 1\r\n\r\n");
    assert_body(&reply, 200, "{\"a\":1}");
}

static void test_a_body_in_pieces_is_put_together(void **state)
{
    (void)state;
    struct reply reply;
    static const char request[] = "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 20000\r\n\r\n";
    int fd = connect_to(&shared);
    for (const char *c = request; *c; c++)
        put_bytes(fd, c, 1);
    char piece[1000];
    for (unsigned i = 0; i < 20; i++) {
        memset(piece, (int)('a' + i), sizeof piece);
        put_bytes(fd, piece, sizeof piece);
    }
    assert_true(get_reply(fd, &reply, false));
    assert_int_equal(reply.body_bytes, 20000);
    for (unsigned i = 0; i < 20000; i++)
        assert_int_equal(reply.body[i], 'a' + i / 1000);
    close(fd);
}

static void test_the_body_of_a_get_is_read_and_left_alone(void **state)
{
    (void)state;
    struct reply reply;
    int fd = connect_to(&shared);
    put(fd, "GET /health HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabcGET /echo HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "OK");
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "");
    close(fd);
}

static char *body_request(const char *head, size_t body_bytes, size_t *out_length)
{
    char *request = mem_alloc(strlen(head) + body_bytes + 1);
    char *at = stpcpy(request, head);
    memset(at, 'x', body_bytes);
    *out_length = (size_t)(at - request) + body_bytes;
    return request;
}

static void test_the_largest_body_is_taken(void **state)
{
    (void)state;
    size_t length;
    scoped_free char *request =
        body_request("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 65536\r\n\r\n", 65536, &length);
    struct reply reply = ask_bytes(&shared, request, length);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body_bytes, 65536);
}

static void test_a_body_over_the_limit_is_refused(void **state)
{
    (void)state;
    size_t length;
    /* The whole of it is sent, much more than buffers hold, and the answer still arrives. */
    scoped_free char *request =
        body_request("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 900000\r\n\r\n", 900000, &length);
    struct reply reply = ask_last(request, length);
    assert_problem(&reply, 413, "\"title\":\"Content Too Large\"");
    assert_int_equal(last_seen().status, 413);
    refuses_and_closes("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 65537\r\n\r\n", 413);
    refuses_and_closes("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 65537\r\nExpect: 100-continue\r\n\r\n",
                       413);
}

static void test_chunks_over_the_limit_are_refused_while_they_come(void **state)
{
    (void)state;
    size_t length;
    scoped_free char *request = body_request(
        "POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\nf4240\r\n", 800000, &length);
    struct seen before = last_seen();
    struct reply reply = ask_last(request, length);
    assert_problem(&reply, 413, "\"instance\":\"/echo\"");
    assert_non_null(header_of(&reply, "Date"));
    assert_int_equal(last_seen().count, before.count + 1);
    assert_int_equal(last_seen().status, 413);
    scoped_free char *unknown =
        body_request("POST /nowhere HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nf4240\r\n", 800000, &length);
    reply = ask_last(unknown, length);
    assert_problem(&reply, 413, "");
}

static void test_a_body_still_on_its_way_does_not_reset_the_connection(void **state)
{
    (void)state;
    static struct reply reply;
    char piece[1000] = {0};
    int fd = connect_to(&shared);
    put(fd, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 100000\r\n\r\n");
    assert_true(get_reply(fd, &reply, false));
    assert_problem(&reply, 413, "");
    assert_true(at_end(fd));
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(send(fd, piece, sizeof piece, MSG_NOSIGNAL), sizeof piece);
    close(fd);
}

static void test_a_refused_body_is_swallowed_and_the_connection_stays(void **state)
{
    (void)state;
    struct reply reply;
    int fd = connect_to(&shared);
    put(fd, "POST /nowhere HTTP/1.1\r\n" HOST
            "Content-Length: 20\r\n\r\nGET /health HTTP/1.1GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(fd, &reply, false));
    assert_problem(&reply, 404, "");
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "OK");
    close(fd);
}

static void test_continue_is_said_before_the_body(void **state)
{
    (void)state;
    struct reply reply;
    int fd = connect_to(&shared);
    put(fd, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nExpect: 100-Continue\r\n\r\n");
    assert_true(get_reply(fd, &reply, true));
    assert_int_equal(reply.status, 100);
    put(fd, "{}");
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "{}");
    /* Without a body it means nothing, and the next request is there already. */
    put(fd, "GET /health HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\nGET /things/1 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(fd, &reply, true));
    assert_int_equal(reply.status, 100);
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "OK");
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "id=1 q=- x=-");
    close(fd);
    refuses_and_closes("POST /nowhere HTTP/1.1\r\n" HOST "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n", 404);
    refuses_and_closes("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n", 415);
    refuses_and_closes("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nExpect: miracle\r\n\r\n", 417);
}

/* --- heads */

static void test_headers_are_found_in_any_case(void **state)
{
    (void)state;
    struct reply reply = ask("GET /things/1 HTTP/1.1\r\nhOST: test\r\nX-ECHO:  first \t\r\nx-echo: second\r\n\r\n");
    assert_body(&reply, 200, "id=1 q=- x=first");
    reply = ask("GET /things/1 HTTP/1.1\r\nX-Echo:\r\n" HOST "\r\n");
    assert_body(&reply, 200, "id=1 q=- x=");
}

static void test_malformed_heads_are_refused(void **state)
{
    (void)state;
    refuses_and_closes("GET /health HTTP/1.1\r\nHost: test\nX: 1\r\n\r\n", 400);
    refuses_and_closes("GET /health HTTP/1.1\nHost: test\n\n", 400);
    refuses_and_closes("GET /health HTTP/1.1\nHost: test\r\n\r\n", 400);
    refuses_and_closes("GET /health HTTP/1.1\r\nHost: test\r\n\n", 400);
    refuses_and_closes("GET /health HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", 400);
    refuses_and_closes("GET /health HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\nY: c\r\n\r\n", 400);
    refuses_and_closes("GET /health HTTP/1.1\r\n" HOST "Content-Length : 3\r\n\r\n", 400);
    refuses_and_closes("GET /health HTTP/1.1\r\n" HOST "X\x01: 3\r\n\r\n", 400);
    refuses_and_closes("GET /health HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n", 400);
    refuses_and_closes("GET  /health HTTP/1.1\r\n" HOST "\r\n", 400);
    refuses_and_closes("GET /health  HTTP/1.1\r\n" HOST "\r\n", 400);
    refuses_and_closes("GET /hea lth HTTP/1.1\r\n" HOST "\r\n", 400);
    refuses_and_closes("GET /hea\rlth HTTP/1.1\r\n" HOST "\r\n", 400);
    refuses_and_closes("G(T /health HTTP/1.1\r\n" HOST "\r\n", 400);
    static const char with_nul[] = "GET /health HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n";
    struct reply reply = ask_last(with_nul, sizeof with_nul - 1);
    assert_problem(&reply, 400, "");
    static const char nul_last[] = "GET /health HTTP/1.1\r\nX: a\0\r\n" HOST "\r\n";
    reply = ask_last(nul_last, sizeof nul_last - 1);
    assert_problem(&reply, 400, "");
    static const char nul_in_path[] = "GET /health\0x HTTP/1.1\r\n" HOST "\r\n";
    reply = ask_last(nul_in_path, sizeof nul_in_path - 1);
    assert_problem(&reply, 400, "");
}

static void test_what_could_be_smuggled_is_refused(void **state)
{
    (void)state;
    refuses_and_closes("POST /echo HTTP/1.1\r\n" HOST JSON
                       "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
                       400);
    refuses_and_closes("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400);
    refuses_and_closes("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400);
    refuses_and_closes("POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400);
    refuses_and_closes("POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: identity\r\n\r\n", 400);
    refuses_and_closes("POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n", 400);
    refuses_and_closes("POST /echo HTTP/1.1\r\n" HOST JSON
                       "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                       400);
    refuses_and_closes("POST /echo HTTP/1.0\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    refuses_and_closes("POST /echo HTTP/1.1\r\n" HOST JSON JSON "Content-Length: 2\r\n\r\n{}", 400);
    refuses_and_closes("POST /echo HTTP/1.1\r\n" HOST "Idempotency-Key: a\r\nIdempotency-Key: a\r\n\r\n", 400);
    refuses_and_closes("GET /health HTTP/1.1\r\n" HOST HOST "\r\n", 400);
    refuses_and_closes("GET /health HTTP/1.1\r\n\r\n", 400);
    refuses_and_closes("GET /health HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
    refuses_and_closes("GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n", 400);
    refuses_and_closes("GET /health HTTP/1.1\r\nHost: \xe9\r\n\r\n", 400);
}

/* What libmicrohttpd answers itself: the right status, the end of the connection, and middleware is told. Some
 * of its versions say the same twice. */
static void library_refuses(const char *request, int status)
{
    static struct reply reply;
    struct seen before = last_seen();
    int fd = connect_to(&shared);
    put(fd, request);
    assert_true(get_reply(fd, &reply, false));
    assert_header(&reply, "Connection", "close");
    assert_int_equal(reply.status, status);
    char rest[1024];
    ssize_t got;
    while ((got = recv(fd, rest, sizeof rest, 0)) > 0)
        ;
    assert_int_equal(got, 0);
    close(fd);
    struct seen after = last_seen();
    assert_int_equal(after.count, before.count + 1);
    assert_int_equal(after.status, status);
}

static void test_lengths_and_chunks_that_are_none_are_refused(void **state)
{
    (void)state;
    library_refuses("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2x\r\n\r\n{}", 400);
    library_refuses("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: -1\r\n\r\n{}", 400);
    library_refuses("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: +2\r\n\r\n{}", 400);
    library_refuses("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2, 2\r\n\r\n{}", 400);
    library_refuses("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 99999999999999999999999\r\n\r\n{}", 413);
    library_refuses("POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400);
    library_refuses("POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n", 400);
    library_refuses("POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n", 400);
    library_refuses("POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\n0\r\n\r\n", 400);
    library_refuses("POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n2;a\rb\r\n{}\r\n", 400);
    library_refuses("POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n", 400);
    library_refuses("GET /health HTTP/1.1\r\nno colon\r\n\r\n", 400);
    library_refuses("GET /health HTTP/1.1\r\n" HOST ": no name\r\n\r\n", 400);
    library_refuses("GET /health HTTP/1.1\r\n" HOST "X: a\r\n:\nGET /health HTTP/1.1\r\n" HOST "\r\n", 400);
}

static void test_a_nul_ends_no_line(void **state)
{
    (void)state;
    static const char in_front[] = "\0x\r\nGET /health HTTP/1.1\r\n" HOST "\r\n";
    struct reply reply = ask_last(in_front, sizeof in_front - 1);
    assert_int_equal(reply.status, 400);
    static const char before_lf[] = "GET /health HTTP/1.1\r\nHost: test\0\n\r\n";
    reply = ask_last(before_lf, sizeof before_lf - 1);
    assert_int_equal(reply.status, 400);
}

static void test_versions_that_are_none_are_refused(void **state)
{
    (void)state;
    struct reply reply = ask("GET /health HTTP/2.0\r\n" HOST "\r\n");
    assert_int_equal(reply.status, 505);
    reply = ask("GET /health HTTP/0.9\r\n\r\n");
    assert_int_equal(reply.status, 505);
    reply = ask("GET /health\r\n\r\n");
    assert_int_equal(reply.status, 400);
    reply = ask("GET /health http/1.1\r\n\r\n");
    assert_int_equal(reply.status, 400);
    int fd = connect_to(&shared);
    put(fd, "\x16\x03\x01\x02\r\n\r\n");
    assert_true(at_end(fd));
    close(fd);
}

static char *long_request(size_t uri_bytes, size_t header_bytes, size_t each)
{
    char *request = mem_alloc(uri_bytes + 2 * header_bytes + 256);
    char *at = stpcpy(request, "GET /things/");
    memset(at, 'u', uri_bytes - 8);
    at = stpcpy(at + uri_bytes - 8, " HTTP/1.1\r\n" HOST);
    for (size_t left = header_bytes; left > 0;) {
        size_t now = left > each ? each : left;
        at = stpcpy(at, "a:");
        memset(at, 'h', now - 4);
        at = stpcpy(at + now - 4, "\r\n");
        left -= now;
    }
    strcpy(at, "\r\n");
    return request;
}

static void test_heads_up_to_the_limits_are_taken(void **state)
{
    (void)state;
    /* 16384 less "GET  HTTP/1.1\r\n", the Host line and the empty line, which count */
    scoped_free char *one = long_request(8192, 16384 - 15 - 12 - 2, 16384);
    struct reply reply = ask(one);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body_bytes, 8192 - 8 + strlen("id= q=- x=-"));
    scoped_free char *many = long_request(8192, 16384 - 15 - 12 - 2, 170);
    reply = ask(many);
    assert_int_equal(reply.status, 200);
}

static void test_heads_over_the_limits_are_refused(void **state)
{
    (void)state;
    scoped_free char *uri = long_request(8193, 100, 100);
    refuses_and_closes(uri, 414);
    scoped_free char *longer_uri = long_request(12000, 100, 100);
    refuses_and_closes(longer_uri, 414);
    scoped_free char *headers = long_request(100, 16384, 16384);
    refuses_and_closes(headers, 431);
    scoped_free char *count = long_request(100, 1000, 10);
    refuses_and_closes(count, 431);
}

static void test_heads_beyond_everything_are_refused_too(void **state)
{
    (void)state;
    size_t length;
    scoped_free char *uri = long_request(200000, 100, 100);
    struct reply reply = ask_last(uri, strlen(uri));
    assert_int_equal(reply.status, 414);
    scoped_free char *headers = long_request(100, 200000, 200000);
    library_refuses(headers, 431);
    scoped_free char *count = long_request(100, 16000, 4);
    library_refuses(count, 431);
    scoped_free char *extension =
        body_request("POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n2;", 100000, &length);
    library_refuses(extension, 400);
    char cookies[12000] = "GET /health HTTP/1.1\r\n" HOST "Cookie: ";
    for (size_t at = strlen(cookies); at < sizeof cookies - 8; at += 2)
        memcpy(cookies + at, "c;", 3);
    strcat(cookies, "\r\n\r\n");
    library_refuses(cookies, 431);
    /* Nobody spins: an answer comes as before. */
    reply = ask("GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_body(&reply, 200, "OK");
}

/* --- connections */

static void test_a_connection_is_used_again(void **state)
{
    (void)state;
    struct reply reply;
    while (stats_of(&shared).connections > 0)
        usleep(1000);
    int fd = connect_to(&shared);
    for (unsigned i = 0; i < 50; i++) {
        put(fd, "GET /health HTTP/1.1\r\n" HOST "\r\n");
        assert_true(get_reply(fd, &reply, false));
        assert_body(&reply, 200, "OK");
    }
    assert_int_equal(stats_of(&shared).connections, 1);
    put(fd, "GET /health HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    assert_true(get_reply(fd, &reply, false));
    assert_header(&reply, "Connection", "close");
    assert_true(at_end(fd));
    close(fd);
}

static void test_http_1_0_works(void **state)
{
    (void)state;
    struct reply reply;
    int fd = connect_to(&shared);
    put(fd, "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "OK");
    put(fd, "GET /health HTTP/1.0\r\n\r\n");
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "OK");
    assert_true(at_end(fd));
    close(fd);
}

static void test_pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct reply reply;
    int fd = connect_to(&shared);
    char requests[4096] = "\r\n";
    for (unsigned i = 0; i < 20; i++)
        snprintf(requests + strlen(requests), 128, "GET /%s%u HTTP/1.1\r\n" HOST "\r\n",
                 i % 3 ? "things/" : "slow?ms=2&id=", i);
    put(fd, requests);
    for (unsigned i = 0; i < 20; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, i % 3 ? "id=%u q=- x=-" : "slept %u", i);
        assert_true(get_reply(fd, &reply, false));
        assert_body(&reply, 200, expected);
    }
    close(fd);
}

static void test_a_client_that_sends_no_more_is_answered(void **state)
{
    (void)state;
    static const char *const requests[] = {"GET /health HTTP/1.1\r\n" HOST "\r\n",
                                           "GET /slow?ms=20&id=1 HTTP/1.1\r\n" HOST "\r\n"};
    for (size_t i = 0; i < array_count(requests); i++) {
        struct reply reply;
        int fd = connect_to(&shared);
        put(fd, requests[i]);
        shutdown(fd, SHUT_WR);
        assert_true(get_reply(fd, &reply, false));
        assert_body(&reply, 200, i ? "slept 1" : "OK");
        assert_true(at_end(fd));
        close(fd);
    }
}

static void test_handlers_wait_side_by_side(void **state)
{
    (void)state;
    enum { CLIENTS = 200 };
    int fds[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        fds[i] = connect_to(&shared);
        put(fds[i], "GET /gated HTTP/1.1\r\n" HOST "\r\n");
    }
    unsigned wanted = CLIENTS;
    in_house(&shared, open_gate, &wanted);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < CLIENTS; i++) {
            struct reply reply;
            assert_true(get_reply(fds[i], &reply, false));
            assert_body(&reply, 200, round ? "OK" : "through");
            put(fds[i], "GET /health HTTP/1.1\r\n" HOST "\r\n");
        }
    }
    assert_int_equal(stats_of(&shared).in_flight, 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        close(fds[i]);
}

static void test_a_client_that_hangs_up_cancels_its_request(void **state)
{
    (void)state;
    unsigned one = 1, before = (unsigned)stats_of(&shared).departures;
    int fd = connect_to(&shared), other = connect_to(&shared);
    put(fd, "GET /forever HTTP/1.1\r\n" HOST "\r\n");
    in_house(&shared, await_in_flight, &one);
    close(fd);
    while (stats_of(&shared).in_flight > 0)
        usleep(1000);
    assert_int_equal(stats_of(&shared).departures, before + 1);
    struct reply reply;
    put(other, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(other, &reply, false));
    assert_body(&reply, 200, "OK");
    close(other);
}

static void test_a_client_that_leaves_hurts_nobody(void **state)
{
    (void)state;
    static const char *const starts[] = {"",
                                         "GET",
                                         "GET /health HTTP/1.1\r\nHo",
                                         "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 100\r\n\r\n{",
                                         "POST /echo HTTP/1.1\r\n" HOST JSON
                                         "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
                                         "GET /gated HTTP/1.1\r\n" HOST "\r\n",
                                         "GET /big?bytes=250000 HTTP/1.1\r\n" HOST "\r\n"};
    for (unsigned reset = 0; reset < 2; reset++) {
        for (size_t i = 0; i < array_count(starts); i++) {
            int fd = connect_to(&shared);
            put(fd, starts[i]);
            struct linger linger = {.l_onoff = (int)reset};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
            unsigned wanted = 1;
            if (strstr(starts[i], "gated"))
                in_house(&shared, await_gate, &wanted);
            close(fd);
            if (strstr(starts[i], "gated"))
                in_house(&shared, open_gate, &wanted);
        }
    }
    struct reply reply = ask("GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_body(&reply, 200, "OK");
    while (stats_of(&shared).connections > 1)
        usleep(1000);
}

static void test_the_deadline_ends_a_wait(void **state)
{
    (void)state;
    struct house house;
    struct http_settings settings = usual();
    settings.deadline_ms = 20;
    start(&house, settings);
    struct reply reply;
    int fd = connect_to(&house);
    put(fd, "GET /forever HTTP/1.1\r\n" HOST "\r\nGET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(fd, &reply, false));
    assert_problem(&reply, 504, "\"title\":\"Gateway Timeout\"");
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "OK");
    close(fd);
    stop(&house);
}

/* --- limits */

static void test_slow_clients_are_cut_off(void **state)
{
    (void)state;
    struct house house;
    struct http_settings settings = usual();
    settings.receive_timeout_ms = 60;
    start(&house, settings);
    static const char *const starts[] = {"", "GET /hea", "GET /health HTTP/1.1\r\n", "GET /health HTTP/1.1\r\n" HOST,
                                         "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 100\r\n\r\n{"};
    for (size_t i = 0; i < array_count(starts); i++) {
        int fd = connect_to(&house);
        put(fd, starts[i]);
        assert_true(at_end(fd));
        close(fd);
    }
    assert_int_equal(stats_of(&house).timeouts, array_count(starts));
    stop(&house);
}

static void test_dripping_bytes_gain_no_time(void **state)
{
    (void)state;
    struct house house;
    struct http_settings settings = usual();
    settings.receive_timeout_ms = 100;
    start(&house, settings);
    int fd = connect_to(&house);
    struct timeval limit = {.tv_usec = 5000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    put(fd, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 60000\r\n\r\n");
    char c;
    unsigned drops = 0;
    while (recv(fd, &c, 1, 0) < 0 && errno == EAGAIN && ++drops < 2000)
        put(fd, "x");
    assert_true(drops < 2000);
    close(fd);
    stop(&house);
}

static void test_idle_connections_are_closed(void **state)
{
    (void)state;
    struct house house;
    struct http_settings settings = usual();
    settings.keepalive_timeout_ms = 50;
    start(&house, settings);
    struct reply reply;
    int fd = connect_to(&house);
    put(fd, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(fd, &reply, false));
    assert_true(at_end(fd));
    close(fd);
    assert_int_equal(stats_of(&house).timeouts, 0);
    stop(&house);
}

static void test_a_handler_may_take_longer_than_the_client_s_limits(void **state)
{
    (void)state;
    struct house house;
    struct http_settings settings = usual();
    settings.receive_timeout_ms = settings.keepalive_timeout_ms = 20;
    start(&house, settings);
    struct reply reply;
    int fd = connect_to(&house);
    put(fd, "GET /slow?ms=100&id=1 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "slept 1");
    close(fd);
    assert_int_equal(stats_of(&house).timeouts, 0);
    stop(&house);
}

static void test_an_answer_that_nobody_reads_is_given_up(void **state)
{
    (void)state;
    struct house house;
    struct http_settings settings = usual();
    settings.receive_timeout_ms = 60;
    start(&house, settings);
    int fd = connect_to(&house);
    put(fd, "GET /big?bytes=30000000 HTTP/1.1\r\n" HOST "\r\n");
    while (stats_of(&house).timeouts == 0)
        usleep(1000);
    while (stats_of(&house).connections > 0)
        usleep(1000);
    close(fd);
    stop(&house);
}

static void test_one_connection_too_many_is_told_so(void **state)
{
    (void)state;
    struct house house;
    struct http_settings settings = usual();
    settings.connections_max = 2;
    start(&house, settings);
    struct reply reply;
    int first = connect_to(&house), second = connect_to(&house);
    put(second, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(second, &reply, false));
    int third = connect_to(&house);
    put(third, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(third, &reply, false));
    assert_problem(&reply, 503, "\"title\":\"Service Unavailable\"");
    assert_header(&reply, "Retry-After", "1");
    assert_header(&reply, "Connection", "close");
    assert_true(at_end(third));
    close(third);
    struct http_stats stats = stats_of(&house);
    assert_int_equal(stats.connections, 2);
    assert_int_equal(stats.refused_connections, 1);
    close(first);
    while (stats_of(&house).connections > 1)
        usleep(1000);
    third = connect_to(&house);
    put(third, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(third, &reply, false));
    assert_body(&reply, 200, "OK");
    close(second);
    close(third);
    stop(&house);
}

/* Two requests hold the only two places. */
static void start_full(struct house *house, int fds[2])
{
    struct http_settings settings = usual();
    settings.requests_max = 2;
    start(house, settings);
    unsigned two = 2;
    for (unsigned i = 0; i < two; i++) {
        fds[i] = connect_to(house);
        put(fds[i], "GET /gated HTTP/1.1\r\n" HOST "\r\n");
    }
    in_house(house, await_gate, &two);
}

static void end_full(struct house *house, const int fds[2])
{
    struct reply reply;
    unsigned two = 2;
    in_house(house, open_gate, &two);
    for (unsigned i = 0; i < two; i++) {
        assert_true(get_reply(fds[i], &reply, false));
        assert_body(&reply, 200, "through");
        close(fds[i]);
    }
}

static void assert_turned_away(int fd, const char *request, const char *path)
{
    struct reply reply;
    char instance[64];
    snprintf(instance, sizeof instance, "\"instance\":\"%s\"", path);
    put(fd, request);
    assert_true(get_reply(fd, &reply, false));
    assert_problem(&reply, 503, "\"title\":\"Service Unavailable\"");
    assert_problem(&reply, 503, "Too many requests are in work.");
    assert_problem(&reply, 503, instance);
    assert_header(&reply, "Retry-After", "1");
    assert_header(&reply, "Connection", NULL);
}

static void test_one_request_too_many_is_told_so(void **state)
{
    (void)state;
    struct house house;
    struct reply reply;
    int fds[2];
    start_full(&house, fds);
    int fd = connect_to(&house);
    assert_turned_away(fd, "GET /health HTTP/1.1\r\n" HOST "\r\n", "/health");
    assert_turned_away(fd, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}", "/echo");
    put(fd, "GET /alive HTTP/1.1\r\n" HOST "\r\n"); /* a probe is never refused */
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "OK");
    end_full(&house, fds);
    put(fd, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "OK");
    close(fd);
    assert_int_equal(stats_of(&house).refused_requests, 2);
    stop(&house);
}

static unsigned count_of(const char *text, const char *part)
{
    unsigned count = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        count++;
    return count;
}

static void test_who_is_turned_away_in_one_second_shares_a_trace_and_a_log_line(void **state)
{
    (void)state;
    enum { TIMES = 50 };
    struct house house;
    struct reply reply;
    int fds[2], saved = dup(STDERR_FILENO);
    char trace[64] = "", log[65536], path[] = "/tmp/bodega-log-XXXXXX";
    int file = mkstemp(path);
    unlink(path);
    dup2(file, STDERR_FILENO);
    log_init("test", LOG_WARN);
    start_full(&house, fds);
    int fd = connect_to(&house);
    unsigned traces = 0;
    int64_t begin_ns = clock_now_ns();
    for (unsigned i = 0; i < TIMES; i++) {
        put(fd, i % 2 ? "GET /health HTTP/1.1\r\n" HOST "\r\n" : "GET /things/7 HTTP/1.1\r\n" HOST "\r\n");
        assert_true(get_reply(fd, &reply, false));
        assert_problem(&reply, 503, i % 2 ? "\"instance\":\"/health\"" : "\"instance\":\"/things/7\"");
        const char *now = header_of(&reply, "traceresponse");
        traces += strcmp(trace, now) != 0;
        snprintf(trace, sizeof trace, "%s", now);
    }
    int64_t seconds = (clock_now_ns() - begin_ns) / NS_PER_S;
    close(fd);
    end_full(&house, fds);
    stop(&house);
    log_init("test", LOG_OFF);
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t bytes = pread(file, log, sizeof log - 1, 0);
    close(file);
    log[bytes > 0 ? bytes : 0] = '\0';
    assert_in_range(traces, 1, seconds + 1);
    assert_int_equal(count_of(log, "requests are turned away"), traces);
    trace[35] = '\0';
    assert_non_null(strstr(log, trace + 3));
}

/* A client that asks again at once has its answer a millisecond later, and costs no more than that. */
static void test_a_server_that_turns_away_rests_between_looks(void **state)
{
    (void)state;
    enum { TIMES = 100 };
    struct house house;
    int fds[2];
    start_full(&house, fds);
    int fd = connect_to(&house);
    int64_t begin_ns = clock_now_ns();
    for (unsigned i = 0; i < TIMES; i++)
        assert_turned_away(fd, "GET /health HTTP/1.1\r\n" HOST "\r\n", "/health");
    assert_true(clock_now_ns() - begin_ns >= TIMES * NS_PER_MS * 8 / 10);
    close(fd);
    end_full(&house, fds);
    stop(&house);
}

/* The request has come when the drain begins. */
static void ask_and_drain(struct house *house, void *arg)
{
    put(*(int *)arg, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    drain(house, NULL);
}

static void test_who_is_turned_away_while_the_server_drains_is_told_to_go(void **state)
{
    (void)state;
    struct house house;
    struct reply reply;
    int fds[2];
    start_full(&house, fds);
    int fd = connect_to(&house);
    assert_turned_away(fd, "GET /health HTTP/1.1\r\n" HOST "\r\n", "/health");
    in_house(&house, ask_and_drain, &fd);
    assert_true(get_reply(fd, &reply, false));
    assert_problem(&reply, 503, "Too many requests are in work.");
    assert_header(&reply, "Connection", "close");
    close(fd);
    end_full(&house, fds);
    stop(&house);
}

/* --- crowds */

enum { CROWD = 200, A_TURN_MOST = 64 };

/* All have sent a request when the loop comes to look, and one that waited goes through. */
struct crowd {
    struct loop_hook hook;
    struct house *house;
    int fds[CROWD], gated;
    uint64_t before, last;
    uint64_t most_a_turn, until_gated; /* requests that a turn took at most; that came before the one that waited */
};

static void look_at_crowd(struct loop_hook *hook)
{
    struct crowd *crowd = container_of(hook, struct crowd, hook);
    uint64_t now = http_stats(crowd->house->server).requests;
    if (now - crowd->last > crowd->most_a_turn)
        crowd->most_a_turn = now - crowd->last;
    crowd->last = now;
    char first;
    if (crowd->until_gated == 0 && recv(crowd->gated, &first, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        crowd->until_gated = now - crowd->before;
}

static void crowd_in(struct house *house, void *arg)
{
    struct crowd *crowd = arg;
    crowd->before = crowd->last = http_stats(house->server).requests;
    for (unsigned i = 0; i < CROWD; i++)
        put(crowd->fds[i], "GET /health HTTP/1.1\r\n" HOST "\r\n");
    fiber_queue_wake_all(&gate, ERR_OK);
    loop_hook_add(house->loop, &crowd->hook);
}

static void crowd_out(struct house *house, void *arg)
{
    loop_hook_remove(house->loop, &((struct crowd *)arg)->hook);
}

static void test_a_crowd_of_requests_does_not_hold_up_those_in_work(void **state)
{
    (void)state;
    struct house house;
    struct reply reply;
    unsigned one = 1;
    start(&house, usual());
    struct crowd crowd = {.hook.idle = look_at_crowd, .house = &house, .gated = connect_to(&house)};
    for (unsigned i = 0; i < CROWD; i++) {
        crowd.fds[i] = connect_to(&house);
        put(crowd.fds[i], "GET /health HTTP/1.1\r\n" HOST "\r\n");
        assert_true(get_reply(crowd.fds[i], &reply, false));
    }
    put(crowd.gated, "GET /gated HTTP/1.1\r\n" HOST "\r\n");
    in_house(&house, await_gate, &one);
    in_house(&house, crowd_in, &crowd);
    for (unsigned i = 0; i < CROWD; i++) {
        assert_true(get_reply(crowd.fds[i], &reply, false));
        assert_body(&reply, 200, "OK");
        close(crowd.fds[i]);
    }
    assert_true(get_reply(crowd.gated, &reply, false));
    assert_body(&reply, 200, "through");
    close(crowd.gated);
    in_house(&house, crowd_out, &crowd);
    assert_in_range(crowd.most_a_turn, 1, A_TURN_MOST);
    assert_in_range(crowd.until_gated, 1, A_TURN_MOST);
    stop(&house);
}

static void crowd_at_the_end(struct house *house, void *arg)
{
    struct crowd *crowd = arg;
    for (unsigned i = 0; i < CROWD; i++) {
        crowd->fds[i] = connect_to(house);
        put(crowd->fds[i], "GET /health HTTP/1.1\r\n" HOST "\r\n");
    }
    drain(house, NULL);
}

static void test_a_crowd_that_comes_just_before_the_end_is_served(void **state)
{
    (void)state;
    struct house house;
    struct crowd crowd;
    struct reply reply;
    start(&house, usual());
    in_house(&house, crowd_at_the_end, &crowd);
    for (unsigned i = 0; i < CROWD; i++) {
        assert_true(get_reply(crowd.fds[i], &reply, false));
        assert_body(&reply, 200, "OK");
        close(crowd.fds[i]);
    }
    while (sem_wait(&house.drained) < 0)
        ;
    stop(&house);
}

static void test_accepting_goes_on_after_descriptors_ran_out(void **state)
{
    (void)state;
    int spare = connect_to(&shared);
    close(spare);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)http_server_port(shared.server));
    struct rlimit limit, none;
    getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t before = stats_of(&shared).refused_connections;
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    while (stats_of(&shared).refused_connections == before)
        usleep(1000);
    setrlimit(RLIMIT_NOFILE, &limit);
    struct reply reply;
    put(fd, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(fd, &reply, false));
    assert_body(&reply, 200, "OK");
    close(fd);
}

/* --- the end */

static void test_draining_ends_idle_connections_and_lets_requests_finish(void **state)
{
    (void)state;
    struct house house;
    start(&house, usual());
    struct reply reply;
    int idle = connect_to(&house), fresh = connect_to(&house), busy = connect_to(&house);
    put(idle, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_reply(idle, &reply, false));
    put(busy, "GET /gated HTTP/1.1\r\n" HOST "\r\n");
    unsigned one = 1;
    in_house(&house, await_gate, &one);
    int port = http_server_port(house.server);
    in_house(&house, drain, NULL);
    assert_true(at_end(idle));
    assert_true(at_end(fresh));
    int refused = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)port);
    assert_int_equal(connect(refused, (struct sockaddr *)&address, sizeof address), -1);
    assert_int_equal(sem_trywait(&house.drained), -1);
    in_house(&house, open_gate, &one);
    assert_true(get_reply(busy, &reply, false));
    assert_body(&reply, 200, "through");
    assert_header(&reply, "Connection", "close");
    assert_true(at_end(busy));
    assert_int_equal(sem_wait(&house.drained), 0);
    assert_int_equal(stats_of(&house).connections, 0);
    close(idle);
    close(fresh);
    close(busy);
    close(refused);
    stop(&house);
}

static void test_draining_without_connections_ends_at_once(void **state)
{
    (void)state;
    struct house house;
    start(&house, usual());
    in_house(&house, drain, NULL);
    assert_int_equal(sem_wait(&house.drained), 0);
    stop(&house);
}

static void test_closing_ends_what_waits(void **state)
{
    (void)state;
    struct house house;
    start(&house, usual());
    struct reply reply;
    int fd = connect_to(&house), other = connect_to(&house), half = connect_to(&house);
    put(fd, "GET /forever HTTP/1.1\r\n" HOST "\r\n");
    put(half, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 100\r\n\r\n{");
    unsigned one = 1;
    in_house(&house, await_in_flight, &one);
    stop(&house);
    assert_true(get_reply(fd, &reply, false));
    assert_problem(&reply, 503, "the caller has gone");
    assert_true(at_end(other));
    close(fd);
    close(other);
    close(half);
}

static void test_two_loops_share_port_and_limits(void **state)
{
    (void)state;
    struct house one, two;
    struct http_settings settings = usual();
    start(&one, settings);
    two = (struct house){.loop = loop_new()};
    two.worker.loop = two.loop;
    sem_init(&two.drained, 0, 0);
    assert_int_equal(http_server_open(&two.server, &two.worker, &one.settings, routes, array_count(routes)), ERR_OK);
    assert_int_equal(http_server_port(one.server), http_server_port(two.server));
    assert_int_equal(pthread_create(&two.thread, NULL, run_loop, &two), 0);
    struct reply reply;
    while (stats_of(&one).requests == 0 || stats_of(&two).requests == 0) {
        static const char request[] = "GET /health HTTP/1.1\r\n" HOST "\r\n";
        reply = ask_bytes(&one, request, sizeof request - 1);
        assert_body(&reply, 200, "OK");
    }
    stop(&two);
    stop(&one);
}

static void test_an_address_that_cannot_be_bound_is_an_error(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "192.0.2.1:80", "[::1:80", "", "no-such-host.invalid:80"};
    struct worker worker = {.loop = loop_new()};
    for (size_t i = 0; i < array_count(bad); i++) {
        struct http_server *server = NULL;
        struct http_settings settings = usual();
        settings.listen = bad[i];
        assert_int_equal(http_server_open(&server, &worker, &settings, routes, 1), ERR_UNAVAILABLE);
        assert_null(server);
    }
    static const char *const good[] = {":0", "[::1]:0", "localhost:0", "0.0.0.0:0"};
    for (size_t i = 0; i < array_count(good); i++) {
        struct http_server *server = NULL;
        struct http_settings settings = usual();
        settings.listen = good[i];
        enum err err = http_server_open(&server, &worker, &settings, routes, 1);
        if (err && good[i][0] == '[')
            continue; /* a machine without IPv6 */
        assert_int_equal(err, ERR_OK);
        assert_true(http_server_port(server) > 0);
        http_server_close(server);
    }
    http_server_close(NULL);
    loop_free(worker.loop);
}

/* --- a client that others use */

static size_t count_bytes(char *data, size_t size, size_t count, void *arg)
{
    (void)data;
    *(size_t *)arg += size * count;
    return size * count;
}

static void test_curl_is_served(void **state)
{
    (void)state;
    CURL *curl = curl_easy_init();
    char url[128];
    size_t received = 0;
    long status;
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, count_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &received);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/big?bytes=200000", http_server_port(shared.server));
    curl_easy_setopt(curl, CURLOPT_URL, url);
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    assert_int_equal(received, 200000);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/echo", http_server_port(shared.server));
    scoped_free char *body = mem_alloc(60001);
    memset(body, ' ', 60000);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect: 100-continue");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    received = 0;
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    assert_int_equal(status, 200);
    assert_int_equal(received, 60000);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_handler_answers),
        cmocka_unit_test(test_middleware_sees_route_method_path_and_status),
        cmocka_unit_test(test_middleware_can_refuse),
        cmocka_unit_test(test_errors_become_problem_documents),
        cmocka_unit_test(test_a_large_answer_arrives_whole),
        cmocka_unit_test(test_head_answers_like_get_without_body),
        cmocka_unit_test(test_options_lists_methods),
        cmocka_unit_test(test_another_method_is_not_allowed),
        cmocka_unit_test(test_an_unknown_path_is_not_found),
        cmocka_unit_test(test_segments_are_decoded_once),
        cmocka_unit_test(test_bad_encoding_is_refused),
        cmocka_unit_test(test_query_parameters_are_decoded),
        cmocka_unit_test(test_too_many_query_parameters_are_refused),
        cmocka_unit_test(test_a_parameter_can_be_a_uuid),
        cmocka_unit_test(test_a_json_body_is_read),
        cmocka_unit_test(test_a_body_that_is_no_json_by_type_is_refused),
        cmocka_unit_test(test_no_body_needs_no_type),
        cmocka_unit_test(test_chunks_are_put_together),
        cmocka_unit_test(test_a_body_in_pieces_is_put_together),
        cmocka_unit_test(test_the_body_of_a_get_is_read_and_left_alone),
        cmocka_unit_test(test_the_largest_body_is_taken),
        cmocka_unit_test(test_a_body_over_the_limit_is_refused),
        cmocka_unit_test(test_chunks_over_the_limit_are_refused_while_they_come),
        cmocka_unit_test(test_a_body_still_on_its_way_does_not_reset_the_connection),
        cmocka_unit_test(test_a_refused_body_is_swallowed_and_the_connection_stays),
        cmocka_unit_test(test_continue_is_said_before_the_body),
        cmocka_unit_test(test_headers_are_found_in_any_case),
        cmocka_unit_test(test_malformed_heads_are_refused),
        cmocka_unit_test(test_what_could_be_smuggled_is_refused),
        cmocka_unit_test(test_lengths_and_chunks_that_are_none_are_refused),
        cmocka_unit_test(test_a_nul_ends_no_line),
        cmocka_unit_test(test_versions_that_are_none_are_refused),
        cmocka_unit_test(test_heads_up_to_the_limits_are_taken),
        cmocka_unit_test(test_heads_over_the_limits_are_refused),
        cmocka_unit_test(test_heads_beyond_everything_are_refused_too),
        cmocka_unit_test(test_a_connection_is_used_again),
        cmocka_unit_test(test_http_1_0_works),
        cmocka_unit_test(test_pipelined_requests_are_answered_in_order),
        cmocka_unit_test(test_a_client_that_sends_no_more_is_answered),
        cmocka_unit_test(test_handlers_wait_side_by_side),
        cmocka_unit_test(test_a_client_that_hangs_up_cancels_its_request),
        cmocka_unit_test(test_a_client_that_leaves_hurts_nobody),
        cmocka_unit_test(test_the_deadline_ends_a_wait),
        cmocka_unit_test(test_slow_clients_are_cut_off),
        cmocka_unit_test(test_dripping_bytes_gain_no_time),
        cmocka_unit_test(test_idle_connections_are_closed),
        cmocka_unit_test(test_a_handler_may_take_longer_than_the_client_s_limits),
        cmocka_unit_test(test_an_answer_that_nobody_reads_is_given_up),
        cmocka_unit_test(test_one_connection_too_many_is_told_so),
        cmocka_unit_test(test_one_request_too_many_is_told_so),
        cmocka_unit_test(test_who_is_turned_away_in_one_second_shares_a_trace_and_a_log_line),
        cmocka_unit_test(test_a_server_that_turns_away_rests_between_looks),
        cmocka_unit_test(test_who_is_turned_away_while_the_server_drains_is_told_to_go),
        cmocka_unit_test(test_a_crowd_of_requests_does_not_hold_up_those_in_work),
        cmocka_unit_test(test_a_crowd_that_comes_just_before_the_end_is_served),
        cmocka_unit_test(test_accepting_goes_on_after_descriptors_ran_out),
        cmocka_unit_test(test_draining_ends_idle_connections_and_lets_requests_finish),
        cmocka_unit_test(test_draining_without_connections_ends_at_once),
        cmocka_unit_test(test_closing_ends_what_waits),
        cmocka_unit_test(test_two_loops_share_port_and_limits),
        cmocka_unit_test(test_an_address_that_cannot_be_bound_is_an_error),
        cmocka_unit_test(test_curl_is_served),
    };
    log_init("test", LOG_OFF);
    middleware_use(&recorder);
    fiber_queue_init(&gate);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests_name("http", tests, set_up, tear_down);
    curl_global_cleanup();
    return failed;
}
