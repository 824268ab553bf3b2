/* The client of the tests on a cluster: a user, a product and a steady load of orders and reads at one address, in the
 * open loop of tests/load/client.h, until SIGINT or SIGTERM or for a number of requests. It runs in a pod of its own,
 * as process 1 of an image that has nothing else.
 *
 * With ADMIN_EMAIL and ADMIN_PASSWORD it logs in first and does everything as that admin; a token lasts 15 minutes.
 *
 * Nothing is repeated but requests whose connection ended before a byte of the answer came, as every HTTP client with
 * kept connections does; each order has a key of its own. Whatever is not 2xx counts as failed.
 *
 * Standard output has a line for each answer: "order ID TRACE" or "read KIND TRACE", "failed NUMBER STATUS TRACE BODY"
 * (TRACE is "-" unless --sampled), and at the end "sum {...}". The exit status is 1 when something failed. */
#include <getopt.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fetch.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "load/client.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, FETCH_TIMEOUT_MS = 20000, STOCK = 1000000000 };
/* Of a request's whole time, its wait for a connection included: a slow machine is no failure. The gateway itself
 * answers 504 after 5 s. */
enum { GIVE_UP_MS = 120000 };
enum { ID_BYTES = 37, HOST_BYTES = 256, TOKEN_BYTES = 512, BODY_SHOWN = 200, RATE_MAX = 5000, CONNECTIONS_MAX = 256 };

static const char help[] =
    "load: the client of the tests on a cluster\n"
    "\n"
    "usage: load [OPTION...] HOST:PORT    load SIGNAL    sends INT, TERM or QUIT to process 1\n"
    "\n"
    "  --rate N          requests a second, default 50\n"
    "  --connections N   at most, default 16\n"
    "  --count N         so many requests; default: until SIGINT or SIGTERM\n"
    "  --reads           no orders, GET /api/users/:id alone\n"
    "  --sampled         with a traceparent that asks for a trace; the others leave it to the shop\n";

/* What is asked, in turn. */
enum kind { ORDER, USER, INVENTORY, KINDS };
static const char *const kind_names[KINDS] = {"order", "user", "inventory"};
static const enum kind turns[] = {ORDER, USER, ORDER, INVENTORY};

struct visit {
    struct load_plan plan;
    struct load load;
    char host[HOST_BYTES];
    bool reads, sampled;
    uint64_t run; /* the first half of every trace id, and in every key */
    char user[ID_BYTES], product[ID_BYTES];
    char token[TOKEN_BYTES]; /* "": none */
};

static struct visit visit = {
    .plan = {.port_count = 1, .connections = 16, .rate = 50, .give_up_ms = GIVE_UP_MS},
};

/* --- requests */

static enum kind kind_of(const struct visit *of, uint64_t number)
{
    return of->reads ? USER : turns[number % array_count(turns)];
}

static void print_trace(const struct visit *of, uint64_t number, char out[33])
{
    snprintf(out, 33, of->sampled ? "%016llx%016llx" : "-", (unsigned long long)of->run,
             (unsigned long long)number + 1);
}

static size_t print_order(const struct visit *of, uint64_t number, const char *headers, char *out)
{
    char body[256];
    int bytes =
        snprintf(body, sizeof body, "{\"user_id\":\"%s\",\"product_id\":\"%s\",\"quantity\":1}", of->user, of->product);
    return (size_t)snprintf(out, LOAD_REQUEST_BYTES_MAX,
                            "POST /api/orders HTTP/1.1\r\n%sIdempotency-Key: %llx-%llu\r\n"
                            "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                            headers, (unsigned long long)of->run, (unsigned long long)number, bytes, body);
}

static size_t write_request(void *arg, uint64_t number, char out[LOAD_REQUEST_BYTES_MAX])
{
    const struct visit *of = arg;
    char trace[33], headers[HOST_BYTES + TOKEN_BYTES + 128];
    enum kind kind = kind_of(of, number);
    print_trace(of, number, trace);
    int bytes = snprintf(headers, sizeof headers, "Host: %s\r\n", of->host);
    if (of->token[0])
        bytes += snprintf(headers + bytes, sizeof headers - (size_t)bytes, "Authorization: Bearer %s\r\n", of->token);
    if (of->sampled)
        snprintf(headers + bytes, sizeof headers - (size_t)bytes, "traceparent: 00-%s-%s-01\r\n", trace, trace + 16);
    if (kind == ORDER)
        return print_order(of, number, headers, out);
    return (size_t)snprintf(out, LOAD_REQUEST_BYTES_MAX, "GET /api/%s/%s HTTP/1.1\r\n%s\r\n",
                            kind == USER ? "users" : "inventory", kind == USER ? of->user : of->product, headers);
}

static bool read_id(const char *body, char out[ID_BYTES])
{
    const char *at = strstr(body, "\"id\":\"");
    return at && sscanf(at + 6, "%36[0-9a-f-]", out) == 1;
}

static void answered(void *arg, uint64_t number, int status, const char *body)
{
    const struct visit *of = arg;
    enum kind kind = kind_of(of, number);
    char trace[33], id[ID_BYTES] = "-";
    print_trace(of, number, trace);
    if (status < 200 || status > 299)
        printf("failed %llu %d %s %.*s\n", (unsigned long long)number, status, trace, BODY_SHOWN, body);
    else if (kind == ORDER && read_id(body, id))
        printf("order %s %s\n", id, trace);
    else
        printf("read %s %s\n", kind_names[kind], trace);
}

/* --- before it begins */

static enum err ask(struct request *req, const char *method, const char *path, const char *body, struct fetched *out)
{
    const char *const headers[] = {arena_print(req->arena, "Authorization: Bearer %s", visit.token), NULL};
    const struct fetch call = {
        .method = method,
        .url = arena_print(req->arena, "http://%s%s", visit.host, path),
        .headers = visit.token[0] ? headers : NULL,
        .body = body,
        .timeout_ms = FETCH_TIMEOUT_MS,
    };
    enum err err = fetch(req, &call, out);
    if (!err && out->status != 200)
        err = fail(req, ERR_INTERNAL, "%s %s: status %d: %s", method, path, out->status, out->body.data);
    return err;
}

static enum err log_in(struct request *req)
{
    const char *email = getenv("ADMIN_EMAIL"), *password = getenv("ADMIN_PASSWORD");
    struct fetched answer;
    if (!email || !password)
        return ERR_OK;
    enum err err = ask(req, "POST", "/api/auth/login",
                       arena_print(req->arena, "{\"email\":\"%s\",\"password\":\"%s\"}", email, password), &answer);
    const char *token = err ? NULL : strstr(answer.body.data, "\"access_token\":\"");
    if (!err && (!token || sscanf(token + 16, "%511[^\"]", visit.token) != 1))
        err = fail(req, ERR_INTERNAL, "the log-in brings no token: %s", answer.body.data);
    return err;
}

static enum err make_user_and_product(struct request *req)
{
    struct fetched answer;
    const char *body = arena_print(req->arena, "{\"email\":\"load-%llx@bodega.example\",\"name\":\"Load\"}",
                                   (unsigned long long)visit.run);
    enum err err = ask(req, "POST", "/api/users", body, &answer);
    if (!err && !read_id(answer.body.data, visit.user))
        err = fail(req, ERR_INTERNAL, "the new user has no id: %s", answer.body.data);
    if (err)
        return err;
    snprintf(visit.product, sizeof visit.product, "%s", uuid_print(req->arena, uuid_v7()));
    return ask(req, "PUT", arena_print(req->arena, "/api/inventory/%s", visit.product),
               arena_print(req->arena, "{\"quantity\":%d}", STOCK), &answer);
}

static enum err prepare(void)
{
    struct arena arena;
    struct request req;
    arena_init(&arena, 16384);
    request_init(&req, &arena, NULL);
    memcpy(&visit.run, req.trace.trace_id, sizeof visit.run);
    enum err err = log_in(&req);
    if (!err)
        err = make_user_and_product(&req);
    if (err)
        fprintf(stderr, "load: %s\n", req.failure.detail);
    arena_done(&arena);
    return err;
}

/* --- options */

static bool find_host(const char *text)
{
    const struct addrinfo wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    const char *colon = strrchr(text, ':');
    if (!colon || strlen(text) >= sizeof visit.host)
        return false;
    snprintf(visit.host, sizeof visit.host, "%.*s", (int)(colon - text), text);
    int error = getaddrinfo(visit.host, colon + 1, &wanted, &found);
    if (error) {
        fprintf(stderr, "load: %s: %s\n", text, gai_strerror(error));
        return false;
    }
    const struct sockaddr_in *address = (const struct sockaddr_in *)(const void *)found->ai_addr;
    visit.plan.address = address->sin_addr;
    visit.plan.ports[0] = ntohs(address->sin_port);
    freeaddrinfo(found);
    memcpy(visit.host, text, strlen(text) + 1);
    return true;
}

static bool read_options(int argc, char **argv)
{
    static const struct option table[] = {
        {"rate", required_argument, NULL, 'r'},  {"connections", required_argument, NULL, 'c'},
        {"count", required_argument, NULL, 'n'}, {"reads", no_argument, NULL, 'g'},
        {"sampled", no_argument, NULL, 's'},     {0},
    };
    struct load_plan *plan = &visit.plan;
    for (int letter; (letter = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        if (letter == '?')
            return false;
        if (letter == 'g')
            visit.reads = true;
        if (letter == 's')
            visit.sampled = true;
        if (letter == 'r')
            plan->rate = strtod(optarg, NULL);
        if (letter == 'c')
            plan->connections = (unsigned)strtoul(optarg, NULL, 10);
        if (letter == 'n')
            plan->count = strtoull(optarg, NULL, 10);
    }
    return optind == argc - 1 && plan->rate > 0 && plan->rate <= RATE_MAX && plan->connections > 0 &&
           plan->connections <= CONNECTIONS_MAX;
}

/* --- running */

static void stop(int number)
{
    (void)number;
    atomic_store(&visit.load.stop, true);
}

static int run(void)
{
    struct load *load = &visit.load;
    visit.plan.write = write_request;
    visit.plan.answered = answered;
    visit.plan.arg = &visit;
    load_run(&visit.plan, load);
    uint64_t failed = load->refused + load->other + load->failed;
    printf(
        "sum {\"answered\":%llu,\"failed\":%llu,\"resent\":%llu,\"unconnected\":%llu,\"seconds\":%.1f,\"p50_ms\":%.1f,"
        "\"p99_ms\":%.1f,\"max_ms\":%.1f}\n",
        (unsigned long long)load->taken, (unsigned long long)failed, (unsigned long long)load->resent,
        (unsigned long long)load->unconnected, (double)load->took_ns / NS_PER_S,
        load_percentile_ms(&load->taken_times, 0.5), load_percentile_ms(&load->taken_times, 0.99),
        load_percentile_ms(&load->taken_times, 1));
    return failed ? EXIT_FAILED : 0;
}

static int send_signal(const char *name)
{
    int number = strcmp(name, "INT") == 0 ? SIGINT : strcmp(name, "TERM") == 0 ? SIGTERM : SIGQUIT;
    if (kill(1, number) == 0)
        return 0;
    perror("load: process 1");
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    if (argc == 2 && (!strcmp(argv[1], "INT") || !strcmp(argv[1], "TERM") || !strcmp(argv[1], "QUIT")))
        return send_signal(argv[1]);
    bool asks_for_help = argc == 2 && strcmp(argv[1], "--help") == 0;
    if (asks_for_help || !read_options(argc, argv)) {
        fputs(help, asks_for_help ? stdout : stderr);
        return asks_for_help ? 0 : EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    setvbuf(stdout, NULL, _IOLBF, 0);
    return !find_host(argv[optind]) || prepare() ? EXIT_FAILED : run();
}
