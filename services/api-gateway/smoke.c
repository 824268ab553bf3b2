#include "smoke.h"

#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/fetch.h"
#include "common/json.h"
#include "common/mem.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, TIMEOUT_S = 60, TIMEOUT_MAX_S = 3600, CALL_TIMEOUT_MS = 10000 };
enum { NAP_MS = 200, STOCK = 5, QUANTITY = 2, URL_BYTES = 1024, ARENA_BYTES = 65536, PASSWORD_BYTES = 512 };

struct smoke {
    const char *base; /* without a slash at its end */
    const char *admin, *password_file, *metrics;
    int64_t until_ns;
    struct request req;
    const char *token, *admin_token; /* "Authorization: Bearer …", or NULL */
    const char *user, *product, *order;
};

/* What one of the shop's answers says; members that it does not have stay as they are. */
struct said {
    const char *id, *status, *access_token;
    int64_t quantity;
};

static const struct json_field said_fields[] = {
    {"id", offsetof(struct said, id), JSON_FIELD_TEXT, .optional = true},
    {"status", offsetof(struct said, status), JSON_FIELD_TEXT, .optional = true},
    {"access_token", offsetof(struct said, access_token), JSON_FIELD_TEXT, .optional = true},
    {"quantity", offsetof(struct said, quantity), JSON_FIELD_INT, .optional = true},
};

static const struct json_shape said_shape = JSON_SHAPE(struct said, said_fields);

/* --- asking */

static int time_left_ms(const struct smoke *smoke)
{
    int64_t ms = (smoke->until_ns - clock_now_ns()) / NS_PER_MS;
    return ms < 1 ? 1 : ms > CALL_TIMEOUT_MS ? CALL_TIMEOUT_MS : (int)ms;
}

static bool time_is_over(const struct smoke *smoke)
{
    return clock_now_ns() >= smoke->until_ns;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = NAP_MS * NS_PER_MS}, NULL);
}

/* Asks once, expects status 200, and reads the answer. */
static enum err ask(struct smoke *smoke, struct fetch call, const char *path, struct fetched *out, struct said *said)
{
    struct request *req = &smoke->req;
    call.url = arena_print(req->arena, "%s%s", smoke->base, path);
    call.timeout_ms = time_left_ms(smoke);
    enum err err = fetch(req, &call, out);
    if (!err && out->status != 200)
        err = fail(req, ERR_INTERNAL, "status %d: %s", out->status, out->body.data);
    return err || !said ? err : json_parse(req, "answer", out->body, &said_shape, said);
}

static enum err post(struct smoke *smoke, const char *path, const char *token, const char *body, struct said *said)
{
    struct fetched answer;
    const char *const headers[] = {token, NULL};
    return ask(smoke, (struct fetch){.method = "POST", .headers = headers, .body = body}, path, &answer, said);
}

/* --- the steps; each says what it found */

__attribute__((format(printf, 2, 3))) static enum err done(const char *what, const char *format, ...)
{
    va_list args;
    printf("ok      %-10s ", what);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    return ERR_OK;
}

static enum err await_ready(struct smoke *smoke)
{
    struct fetched answer;
    enum err err;
    while ((err = ask(smoke, (struct fetch){.method = "GET"}, "/ready", &answer, NULL)) && !time_is_over(smoke))
        nap();
    return err ? err : done("ready", "%s", smoke->base);
}

static enum err log_in(struct smoke *smoke, const char *email, const char *password, const char **out)
{
    struct said said = {0};
    enum err err =
        post(smoke, "/api/auth/login", NULL,
             arena_print(smoke->req.arena, "{\"email\":\"%s\",\"password\":\"%s\"}", email, password), &said);
    if (!err && !said.access_token)
        err = fail(&smoke->req, ERR_INTERNAL, "the answer has no access_token");
    if (err)
        return err;
    *out = arena_print(smoke->req.arena, "Authorization: Bearer %s", said.access_token);
    return done("log-in", "%s", email);
}

static enum err log_in_as_admin(struct smoke *smoke)
{
    char password[PASSWORD_BYTES] = "";
    if (!smoke->admin)
        return ERR_OK;
    FILE *file = fopen(smoke->password_file, "r");
    bool read = file && fgets(password, sizeof password, file);
    if (file)
        fclose(file);
    if (!read)
        return fail(&smoke->req, ERR_INVALID_ARGUMENT, "%s cannot be read, or is empty", smoke->password_file);
    password[strcspn(password, "\r\n\"\\")] = '\0';
    return log_in(smoke, smoke->admin, password, &smoke->admin_token);
}

/* A user who can log in where logging in is tried at all. */
static enum err make_user(struct smoke *smoke)
{
    struct arena *arena = smoke->req.arena;
    struct said said = {0};
    const char *email = arena_print(arena, "smoke-%s@bodega.example", uuid_print(arena, uuid_v7()));
    const char *password = uuid_print(arena, uuid_v7());
    const char *body =
        smoke->admin
            ? arena_print(arena, "{\"email\":\"%s\",\"name\":\"Smoke test\",\"password\":\"%s\"}", email, password)
            : arena_print(arena, "{\"email\":\"%s\",\"name\":\"Smoke test\"}", email);
    enum err err = post(smoke, "/api/users", NULL, body, &said);
    if (!err && !said.id)
        err = fail(&smoke->req, ERR_INTERNAL, "the answer has no id");
    if (err)
        return err;
    smoke->user = said.id;
    done("user", "%s", said.id);
    return smoke->admin ? log_in(smoke, email, password, &smoke->token) : ERR_OK;
}

static enum err set_stock(struct smoke *smoke)
{
    struct arena *arena = smoke->req.arena;
    struct said said = {0};
    struct fetched answer;
    const char *const headers[] = {smoke->admin_token, NULL};
    smoke->product = uuid_print(arena, uuid_v7());
    const struct fetch call = {
        .method = "PUT", .headers = headers, .body = arena_print(arena, "{\"quantity\":%d}", STOCK)};
    enum err err = ask(smoke, call, arena_print(arena, "/api/inventory/%s", smoke->product), &answer, &said);
    return err ? err : done("stock", "%d of %s", STOCK, smoke->product);
}

/* Sampled, whatever the shop's sampler says of traces that begin with it. */
static enum err place_order(struct smoke *smoke, const char *key, const char **out_id)
{
    char parent[TRACE_PARENT_BYTES];
    struct arena *arena = smoke->req.arena;
    struct trace_context trace = smoke->req.trace, told;
    trace.flags |= 1;
    struct said said = {0};
    struct fetched answer;
    const char *const headers[] = {
        arena_print(arena, "Idempotency-Key: %s", key),
        arena_print(arena, "traceparent: %s", trace_format(&trace, parent)),
        smoke->token,
        NULL,
    };
    const char *body = arena_print(arena, "{\"user_id\":\"%s\",\"product_id\":\"%s\",\"quantity\":%d}", smoke->user,
                                   smoke->product, QUANTITY);
    const struct fetch call = {.method = "POST", .headers = headers, .body = body, .wanted = "traceresponse"};
    enum err err = ask(smoke, call, "/api/orders", &answer, &said);
    if (!err && (!said.id || !said.status || strcmp(said.status, "pending") != 0))
        err = fail(&smoke->req, ERR_INTERNAL, "expected a pending order, got %s", answer.body.data);
    if (!err && (!answer.wanted || !trace_parse(answer.wanted, &told) ||
                 memcmp(told.trace_id, trace.trace_id, sizeof told.trace_id) != 0))
        err = fail(&smoke->req, ERR_INTERNAL, "traceresponse is not of the trace that was sent: %s",
                   answer.wanted ? answer.wanted : "there is none");
    if (!err)
        *out_id = said.id;
    return err;
}

static enum err order_once(struct smoke *smoke)
{
    const char *key = uuid_print(smoke->req.arena, uuid_v7()), *again = NULL;
    enum err err = place_order(smoke, key, &smoke->order);
    if (!err)
        err = place_order(smoke, key, &again);
    if (!err && strcmp(again, smoke->order) != 0)
        err = fail(&smoke->req, ERR_INTERNAL, "the same Idempotency-Key made a second order, %s", again);
    return err ? err : done("order", "%s", smoke->order);
}

static enum err await_stock(struct smoke *smoke, int64_t expected)
{
    struct request *req = &smoke->req;
    const char *path = arena_print(req->arena, "/api/inventory/%s", smoke->product);
    for (;;) {
        struct said said = {.quantity = -1};
        struct fetched answer;
        enum err err = ask(smoke, (struct fetch){.method = "GET"}, path, &answer, &said);
        if (err || said.quantity == expected)
            return err ? err : done("stock", "%d left", (int)expected);
        if (time_is_over(smoke))
            return fail(req, ERR_INTERNAL, "expected a stock of %d, not %d", (int)expected, (int)said.quantity);
        nap();
    }
}

static enum err take_stock(struct smoke *smoke)
{
    return await_stock(smoke, STOCK - QUANTITY);
}

/* The stock comes back by way of the stream. */
static enum err cancel(struct smoke *smoke)
{
    struct said said = {0};
    enum err err =
        post(smoke, arena_print(smoke->req.arena, "/api/orders/%s/cancel", smoke->order), smoke->token, NULL, &said);
    if (!err && (!said.status || strcmp(said.status, "cancelled") != 0))
        err = fail(&smoke->req, ERR_INTERNAL, "the order is not cancelled");
    if (err)
        return err;
    done("cancel", "%s", smoke->order);
    return await_stock(smoke, STOCK);
}

/* How many spans a receiver has taken, by the gateway's own count. */
static double spans_taken(const char *metrics)
{
    static const char name[] = "otel_sdk_exporter_span_exported_total{";
    double sum = 0;
    for (const char *line = metrics; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *end = strchrnul(line, '\n'), *value = memrchr(line, ' ', (size_t)(end - line));
        const char *error = strstr(line, "error_type=");
        if (strncmp(line, name, sizeof name - 1) == 0 && value && (!error || error > end))
            sum += strtod(value, NULL);
    }
    return sum;
}

static enum err await_trace(struct smoke *smoke)
{
    struct request *req = &smoke->req;
    if (!smoke->metrics)
        return ERR_OK;
    for (;;) {
        struct fetched answer;
        const struct fetch call = {.method = "GET", .url = smoke->metrics, .timeout_ms = time_left_ms(smoke)};
        enum err err = fetch(req, &call, &answer);
        double taken = err || answer.status != 200 ? 0 : spans_taken(answer.body.data);
        if (taken > 0)
            return done("trace", "%.0f spans were taken by the receiver", taken);
        if (time_is_over(smoke))
            return err ? err : fail(req, ERR_INTERNAL, "no span was taken by a receiver, says %s", smoke->metrics);
        nap();
    }
}

static const struct {
    const char *name;
    enum err (*run)(struct smoke *smoke);
} steps[] = {
    {"ready", await_ready}, {"log-in", log_in_as_admin}, {"user", make_user}, {"stock", set_stock},
    {"order", order_once},  {"stock", take_stock},       {"cancel", cancel},  {"trace", await_trace},
};

static int run(struct smoke *smoke)
{
    for (unsigned i = 0; i < array_count(steps); i++) {
        enum err err = steps[i].run(smoke);
        if (err) {
            printf("failed  %-10s %s\n", steps[i].name, smoke->req.failure.detail);
            return EXIT_FAILED;
        }
    }
    return 0;
}

/* --- options */

static void print_help(FILE *to)
{
    fprintf(to, "api-gateway smoke: makes a user, stock, an order and its cancellation in a running shop\n\n"
                "usage: api-gateway smoke [OPTION...] URL\n\n"
                "  URL                         the gateway's, such as http://127.0.0.1:8080\n"
                "  --timeout SECONDS           for all of it; 60\n"
                "  --admin EMAIL               log in as this admin, where the stock is set by admins only\n"
                "  --admin-password-file FILE  with the admin's password\n"
                "  --metrics URL               the gateway's /metrics: a receiver must have taken spans\n\n"
                "exit status: 0 when all of it works, 1 when something does not, 2 for wrong options\n");
}

__attribute__((format(printf, 1, 2))) static int complain(const char *format, ...)
{
    va_list args;
    fputs("api-gateway smoke: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("; see --help\n", stderr);
    return EXIT_USAGE;
}

static int check_options(struct smoke *smoke, int argc, char **argv)
{
    static char base[URL_BYTES];
    if (optind != argc - 1)
        return complain("expected one URL");
    if (!smoke->admin != !smoke->password_file)
        return complain("--admin and --admin-password-file go together");
    size_t length = strlen(argv[optind]);
    if (length >= sizeof base)
        return complain("the URL is longer than %d bytes", URL_BYTES - 1);
    memcpy(base, argv[optind], length + 1);
    while (length > 0 && base[length - 1] == '/')
        base[--length] = '\0';
    smoke->base = base;
    return -1;
}

/* Returns -1 to go on, otherwise the exit status. */
static int read_options(struct smoke *smoke, int argc, char **argv)
{
    static const struct option known[] = {
        {"timeout", required_argument, NULL, 't'},
        {"admin", required_argument, NULL, 'a'},
        {"admin-password-file", required_argument, NULL, 'p'},
        {"metrics", required_argument, NULL, 'm'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    long timeout_s = TIMEOUT_S;
    char *end;
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 't':
            timeout_s = strtol(optarg, &end, 10);
            if (*end || timeout_s < 1 || timeout_s > TIMEOUT_MAX_S)
                return complain("--timeout: expected seconds from 1 to %d, got \"%s\"", TIMEOUT_MAX_S, optarg);
            break;
        case 'a':
            smoke->admin = optarg;
            break;
        case 'p':
            smoke->password_file = optarg;
            break;
        case 'm':
            smoke->metrics = optarg;
            break;
        case 'h':
            print_help(stdout);
            return 0;
        default:
            return EXIT_USAGE;
        }
    }
    smoke->until_ns = clock_now_ns() + timeout_s * NS_PER_S;
    return check_options(smoke, argc, argv);
}

int smoke_main(int argc, char **argv)
{
    struct arena arena;
    struct smoke smoke = {0};
    int status = read_options(&smoke, argc, argv);
    if (status >= 0)
        return status;
    signal(SIGPIPE, SIG_IGN);
    arena_init(&arena, ARENA_BYTES);
    request_init(&smoke.req, &arena, NULL);
    status = run(&smoke);
    arena_done(&arena);
    return status;
}
