/* Bytes for the real HTTP server, over a socket pair in its own loop. The first byte says how they are sent: the low
 * four bits in pieces of so many bytes (0: at once), 0x40 with the end of the stream right behind them, 0x80 the client
 * goes away without reading.
 *
 * Every connection ends; what comes back is well-formed and framed; every answer belongs to the request in its place;
 * what the server takes, a strict reader takes too and sees end at the same byte; and the server goes on serving. */
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/hash.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "fuzz/fuzz.h"
#include "fuzz/http_strict.h"
#include "http/internal.h"

enum { CALLS_MAX = 2048, OUTPUT_MAX = 1 << 20, TAKEN_MAX = 16384, TARGET_MAX = 600 };

static struct loop *loop;
static struct worker worker;
static struct http_server *server;

/* --- what the server took, in order */

struct taken {
    char method[16], target[TARGET_MAX], trace[TRACE_PARENT_BYTES];
    int status;
    bool is_head, refused;
    const char *body; /* of one that reached its handler */
    size_t body_bytes;
};

static struct taken calls[CALLS_MAX];
static unsigned call_count;
static char bodies[TAKEN_MAX];
static size_t bodies_used;

static void take_note(struct request *req, struct call *call, enum err err, void **state)
{
    (void)err;
    (void)state;
    const struct exchange *exchange = req->transport;
    FUZZ_CHECK(call_count < CALLS_MAX && bodies_used + req->body.size <= TAKEN_MAX);
    struct taken *taken = &calls[call_count++];
    *taken = (struct taken){
        .status = call->status, .is_head = strcmp(call->method, "HEAD") == 0, .body_bytes = req->body.size};
    taken->refused = exchange->refusal.status != 0;
    snprintf(taken->method, sizeof taken->method, "%s", call->method);
    snprintf(taken->target, sizeof taken->target, "%s", exchange->target);
    trace_format(&req->trace, taken->trace);
    taken->body = memcpy(bodies + bodies_used, req->body.data, req->body.size);
    bodies_used += req->body.size;
}

static const struct middleware recorder = {.name = "recorder", .end = take_note};

/* --- handlers */

static enum err show(struct request *req, struct response *res)
{
    const char *query = http_query(req, "q"), *header = http_header(req, "X-Echo");
    const char *text =
        arena_print(req->arena, "id=%s q=%s x=%s", http_param(req, "id"), query ? query : "-", header ? header : "-");
    res->content_type = "text/plain";
    res->body = (struct bytes){text, strlen(text)};
    return ERR_OK;
}

static enum err echo(struct request *req, struct response *res)
{
    FUZZ_CHECK(req->body.data[req->body.size] == '\0');
    res->body = req->body;
    return ERR_OK;
}

/* Parks, so that the connection is suspended. */
static enum err echo_later(struct request *req, struct response *res)
{
    fiber_yield();
    return echo(req, res);
}

static enum err nothing(struct request *req, struct response *res)
{
    (void)req;
    res->status = 204;
    return ERR_OK;
}

struct order {
    const char *name;
    int64_t quantity;
};

static const struct json_field order_fields[] = {
    {"name", offsetof(struct order, name), JSON_FIELD_TEXT, .optional = true},
    {"quantity", offsetof(struct order, quantity), JSON_FIELD_INT, .min = 1, .max = 10},
};
static const struct json_shape order_shape = JSON_SHAPE(struct order, order_fields);

static enum err make(struct request *req, struct response *res)
{
    struct order order = {0};
    enum err err = json_read(req, &order_shape, &order);
    return err ? err : json_write(req, res, 200, &order_shape, &order);
}

static const struct http_route routes[] = {
    {"GET", "/things/:id", show}, {"PUT", "/things/:id", echo}, {"POST", "/things/:id/cancel", nothing},
    {"POST", "/orders", make},    {"POST", "/echo", echo},      {"POST", "/later", echo_later},
};

/* --- the client: acts whenever the server has nothing left to do */

struct client {
    struct loop_hook hook; /* first */
    struct loop_task turn;
    int fd;
    const char *data;
    size_t left, piece;
    bool end_at_once, leaves;
    bool shut;         /* has said that nothing more comes */
    bool kept;         /* all was sent, the server has done what it could, and the connection is open */
    bool closed, gone; /* by the server; by us */
    char output[OUTPUT_MAX];
    size_t output_bytes;
};

static struct client client;

static void no_work(struct loop_task *task)
{
    (void)task;
}

static void turn_again(void)
{
    client.turn.run = no_work;
    loop_post(loop, &client.turn);
}

static bool receive(void)
{
    ssize_t got = recv(client.fd, client.output + client.output_bytes, OUTPUT_MAX - client.output_bytes, MSG_DONTWAIT);
    FUZZ_CHECK(client.output_bytes < OUTPUT_MAX);
    if (got > 0)
        client.output_bytes += (size_t)got;
    else if (got == 0 || errno != EAGAIN)
        client.closed = true;
    return got > 0;
}

static void hang_up(void)
{
    close(client.fd);
    client.gone = true;
    turn_again();
}

static void send_piece(void)
{
    size_t bytes = client.piece && client.piece < client.left ? client.piece : client.left;
    ssize_t sent = send(client.fd, client.data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    client.left = sent == (ssize_t)bytes ? client.left - bytes : 0; /* the server had enough */
    client.data += bytes;
    if (client.left == 0 && client.end_at_once)
        client.shut = shutdown(client.fd, SHUT_WR) == 0;
    if (client.left == 0 && client.leaves)
        hang_up();
    else
        turn_again();
}

static void act(struct loop_hook *hook)
{
    (void)hook;
    if (client.gone) {
        FUZZ_CHECK(list_empty(&server->connections) && server->stats.connections == 0 && server->lingering == 0);
        FUZZ_CHECK(server->stats.in_flight == 0 && fiber_count(loop) == 0);
        loop_stop(loop);
    } else if (receive()) {
        turn_again();
    } else if (client.closed) {
        hang_up();
    } else if (client.left > 0) {
        send_piece();
    } else {
        FUZZ_CHECK(!client.shut); /* the end of the stream ends the connection */
        client.kept = client.shut = true;
        shutdown(client.fd, SHUT_WR);
        turn_again();
    }
}

static void nothing_yet(struct loop_hook *hook)
{
    (void)hook;
}

static void talk(const char *data, size_t bytes, uint8_t how)
{
    static const struct sockaddr_in address = {.sin_family = AF_INET};
    int pair[2];
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    call_count = 0;
    bodies_used = 0;
    client.fd = pair[0];
    client.data = data;
    client.left = bytes;
    client.piece = how & 0x0f;
    client.end_at_once = how & 0x40;
    client.leaves = how & 0x80;
    client.shut = client.kept = client.closed = client.gone = false;
    client.output_bytes = 0;
    client.hook.idle = nothing_yet;
    client.hook.rest = act;
    loop_hook_add(loop, &client.hook);
    atomic_fetch_add(&server->share->connections, 1);
    listener_admit(server, pair[1], (const struct sockaddr *)&address, sizeof address);
    server_run_soon(server);
    loop_run(loop);
    loop_hook_remove(loop, &client.hook);
}

/* --- what came back */

struct answer {
    int status;
    bool last, from_library;
    char trace[TRACE_PARENT_BYTES];
    const char *type;
    size_t type_length;
    const char *body;
    size_t body_bytes;
};

struct output {
    const char *at, *end;
};

/* A line without its CR LF, and no control character in it. */
static const char *take_line(struct output *output, size_t *out_length)
{
    const char *start = output->at, *end = memmem(start, (size_t)(output->end - start), "\r\n", 2);
    FUZZ_CHECK(end);
    for (const char *c = start; c < end; c++)
        FUZZ_CHECK(((unsigned char)*c >= ' ' || *c == '\t') && *c != 0x7f);
    output->at = end + 2;
    *out_length = (size_t)(end - start);
    return start;
}

static bool is_header(const char *line, const char *name, const char **out_value)
{
    size_t length = strlen(name);
    *out_value = line + length + 2;
    return strncasecmp(line, name, length) == 0 && line[length] == ':';
}

static void take_headers(struct output *output, struct answer *answer, long *out_length)
{
    size_t length;
    *out_length = -1;
    answer->from_library = true;
    for (const char *line, *value; (line = take_line(output, &length)), length > 0;) {
        const char *colon = memchr(line, ':', length);
        FUZZ_CHECK(colon && colon > line && colon + 1 < line + length && colon[1] == ' ');
        for (const char *c = line; c < colon; c++)
            FUZZ_CHECK(isalnum((unsigned char)*c) || *c == '-');
        FUZZ_CHECK(!is_header(line, "Transfer-Encoding", &value));
        if (is_header(line, "Content-Length", &value)) {
            FUZZ_CHECK(*out_length < 0 && isdigit((unsigned char)*value));
            *out_length = atol(value);
        } else if (is_header(line, "Connection", &value)) {
            answer->last = strncasecmp(value, "close", 5) == 0;
        } else if (is_header(line, "Content-Type", &value)) {
            answer->type = value;
            answer->type_length = length - (size_t)(value - line);
        } else if (is_header(line, "traceresponse", &value)) {
            answer->from_library = false;
            FUZZ_CHECK(length == (size_t)(value - line) + TRACE_PARENT_BYTES - 1);
            memcpy(answer->trace, value, TRACE_PARENT_BYTES - 1);
        }
    }
}

static void take_answer(struct output *output, bool is_head, struct answer *out)
{
    size_t line_length;
    long length;
    *out = (struct answer){0};
    const char *line = take_line(output, &line_length);
    FUZZ_CHECK(line_length > 13 && memcmp(line, "HTTP/1.1 ", 9) == 0 && line[12] == ' ');
    out->status = atoi(line + 9);
    FUZZ_CHECK(out->status >= 100 && out->status <= 599);
    take_headers(output, out, &length);
    if (out->status == 100)
        return;
    FUZZ_CHECK(length >= 0 || out->status == 204);
    /* Of a method with a NUL behind HEAD the two of us disagree; it is refused, and the connection ends. */
    bool bare = is_head && !(out->last && output->at < output->end);
    out->body_bytes = length < 0 || bare ? 0 : (size_t)length;
    FUZZ_CHECK(out->body_bytes <= (size_t)(output->end - output->at));
    out->body = output->at;
    output->at += out->body_bytes;
}

static void check_json(const struct answer *answer)
{
    static const char problem[] = "application/problem+json", plain[] = "application/json";
    bool json = answer->type_length == sizeof problem - 1 && memcmp(answer->type, problem, sizeof problem - 1) == 0;
    json |= answer->type_length == sizeof plain - 1 && memcmp(answer->type, plain, sizeof plain - 1) == 0;
    if (!json || answer->body_bytes == 0)
        return;
    json_t *value = json_loadb(answer->body, answer->body_bytes, JSON_REJECT_DUPLICATES, NULL);
    FUZZ_CHECK(value);
    json_decref(value);
}

/* The answer is the one to this call. */
static void check_answer(const struct answer *answer, const struct taken *taken)
{
    FUZZ_CHECK(answer->status == taken->status);
    FUZZ_CHECK(answer->from_library ? answer->last && answer->status >= 400 : strcmp(answer->trace, taken->trace) == 0);
    check_json(answer);
}

/* The request that the strict reader finds at this place is the one that was served. */
static void check_request(const struct strict_request *strict, const struct taken *taken)
{
    size_t known = strlen(taken->method), compared = strlen(taken->target);
    if (strcmp(taken->method, "_OTHER") != 0)
        FUZZ_CHECK(known == strict->method_length && memcmp(taken->method, strict->method, known) == 0);
    FUZZ_CHECK(compared == strict->target_length && memcmp(taken->target, strict->target, compared) == 0);
    if (taken->refused)
        return;
    FUZZ_CHECK(taken->body_bytes == strict->body_bytes);
    FUZZ_CHECK(memcmp(taken->body, strict->body, strict->body_bytes) == 0);
}

static void check_talk(const char *data, size_t bytes)
{
    static struct strict_request strict;
    struct output output = {client.output, client.output + client.output_bytes};
    size_t used = 0;
    unsigned answers = 0;
    struct answer answer = {0};
    while (output.at < output.end) {
        FUZZ_CHECK(!answer.last);
        take_answer(&output, answers < call_count && calls[answers].is_head, &answer);
        if (answer.status == 100)
            continue;
        if (answers < call_count)
            check_answer(&answer, &calls[answers]);
        else
            FUZZ_CHECK(answer.from_library && answer.last && answer.status >= 400);
        answers++;
        if (answer.last && answer.status >= 400)
            continue;
        FUZZ_CHECK(strict_read(data + used, bytes - used, &strict) == STRICT_GOOD);
        check_request(&strict, &calls[answers - 1]);
        used += strict.bytes;
    }
    /* After a head that filled libmicrohttpd's memory there may be none left for the refusal. */
    if (answers < call_count)
        FUZZ_CHECK(answers + 1 == call_count && calls[answers].refused && client.closed && !client.kept);
    /* Nor is a good request swallowed. */
    if (client.kept)
        FUZZ_CHECK(strict_read(data + used, bytes - used, &strict) != STRICT_GOOD);
}

static void check_still_serving(void)
{
    static const char request[] = "GET /things/1?q=2 HTTP/1.1\r\nHost: test\r\n\r\n";
    static const char body[] = "id=1 q=2 x=-";
    talk(request, sizeof request - 1, 0);
    check_talk(request, sizeof request - 1);
    FUZZ_CHECK(call_count == 1 && calls[0].status == 200 && client.kept);
    FUZZ_CHECK(memcmp(client.output + client.output_bytes - (sizeof body - 1), body, sizeof body - 1) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const struct http_settings settings = {
        .listen = "127.0.0.1:0",
        .body_bytes_max = 1000,
        .header_bytes_max = 2000,
        .uri_bytes_max = 500,
        .connections_max = 10,
        .requests_max = 10,
        .receive_timeout_ms = 60000,
        .keepalive_timeout_ms = 60000,
        .deadline_ms = 60000,
    };
    (void)argc, (void)argv;
    log_level_set(LOG_OFF);
    middleware_use(&recorder);
    loop = loop_new();
    worker.loop = loop;
    FUZZ_CHECK(http_server_open(&server, &worker, &settings, routes, array_count(routes)) == ERR_OK);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    talk((const char *)data + 1, bytes - 1, data[0]);
    if (!client.leaves)
        check_talk((const char *)data + 1, bytes - 1);
    check_still_serving();
    return 0;
}
