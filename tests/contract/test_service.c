/* A service as its operator meets it: options, settings, start, signals. */
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "support/shop.h"

static struct shop shop;

static int open_shop(void **state)
{
    (void)state;
    shop_open(&shop);
    return 0;
}

static int close_shop(void **state)
{
    (void)state;
    shop_close(&shop);
    return 0;
}

struct run {
    int status;
    char *output; /* of both streams */
};

/* Starts a service's program; environment lines NAME=value. */
static pid_t spawn(const char *name, const char *const *arguments, const char *const *environment, int output)
{
    char path[600];
    char *argv[8] = {(char *)(uintptr_t)name};
    shop_binary(name, path, sizeof path);
    for (int i = 0; arguments && arguments[i]; i++)
        argv[i + 1] = (char *)(uintptr_t)arguments[i];
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    setenv("OTEL_SDK_DISABLED", "true", 1);
    setenv("TLS_MODE", "off", 1);
    for (; environment && *environment; environment++)
        putenv((char *)(uintptr_t)*environment);
    execv(path, argv);
    _exit(127);
}

static char *read_all(int fd)
{
    char *text = mem_alloc(1);
    size_t used = 0;
    char chunk[4096];
    for (ssize_t n; (n = read(fd, chunk, sizeof chunk)) > 0; used += (size_t)n) {
        text = mem_resize(text, used + (size_t)n + 1, 1);
        memcpy(text + used, chunk, (size_t)n);
        text[used + (size_t)n] = '\0';
    }
    return text;
}

static struct run run(const char *name, const char *const *arguments, const char *const *environment)
{
    int ends[2], status;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = spawn(name, arguments, environment, ends[1]);
    close(ends[1]);
    struct run result = {.output = read_all(ends[0])};
    close(ends[0]);
    waitpid(pid, &status, 0);
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result;
}

static void expect_run(const char *name, const char *const *arguments, const char *const *environment, int status,
                       const char *words)
{
    struct run result = run(name, arguments, environment);
    if (result.status != status || !strstr(result.output, words))
        fprintf(stderr, "expected %d and \"%s\", got %d and: %s\n", status, words, result.status, result.output);
    assert_int_equal(result.status, status);
    assert_non_null(strstr(result.output, words));
    free(result.output);
}

static void test_options_do_what_help_says(void **state)
{
    (void)state;
    expect_run("user-service", (const char *[]){"--help", NULL}, NULL, 0, "--migrate-only");
    expect_run("user-service", (const char *[]){"--version", NULL}, NULL, 0, "user-service " BODEGA_VERSION);
    expect_run("user-service", (const char *[]){"--print-config", NULL}, NULL, 0, "statement_timeout_ms: 5000");
    expect_run("user-service", (const char *[]){"--licenses", NULL}, NULL, 0, "Apache License");
    expect_run("user-service", (const char *[]){"--nonsense", NULL}, NULL, 2, "usage:");
    expect_run("user-service", (const char *[]){"extra", NULL}, NULL, 2, "unexpected argument \"extra\"");
}

static void test_wrong_settings_stop_the_start(void **state)
{
    (void)state;
    char path[300];
    snprintf(path, sizeof path, "%s/wrong.yaml", shop.directory);
    FILE *file = fopen(path, "w");
    fputs("rpc:\n  listen: 127.0.0.1:0\n  messages: 7\n", file);
    fclose(file);
    expect_run("user-service", (const char *[]){"--config", path, NULL}, NULL, 2, "wrong.yaml:3: ");
    unlink(path);
    expect_run("user-service", (const char *[]){"--config", path, NULL}, NULL, 2, "wrong.yaml");
    expect_run("user-service", NULL, (const char *[]){"DATABASE_URL=", NULL}, 2, "database.url");
    expect_run("user-service", NULL, (const char *[]){"DATABASE_URL=postgres://x/y", "RPC_LISTEN=nowhere", NULL}, 2,
               "RPC_LISTEN");
    expect_run("user-service", NULL, (const char *[]){"DATABASE_URL=nonsense://x", "RPC_LISTEN=127.0.0.1:0", NULL}, 2,
               "url");
    expect_run("inventory-service", NULL,
               (const char *[]){"DATABASE_URL=postgres://x/y", "REDIS_URL=http://x", "RPC_LISTEN=127.0.0.1:0", NULL}, 2,
               "redis");
    expect_run("user-service", NULL, (const char *[]){"DATABASE_URL=postgres://x/y", "LOG_LEVEL=loud", NULL}, 2,
               "LOG_LEVEL");
}

/* Plain text is never what nobody asked for. */
static void test_a_service_without_certificates_does_not_start_unless_told(void **state)
{
    (void)state;
    expect_run("user-service", NULL, (const char *[]){"DATABASE_URL=postgres://x/y", "TLS_MODE=", NULL}, 2,
               "user-service: tls.cert_file: must be set (or environment variable TLS_CERT_FILE): the PEM file of this "
               "service's certificate. Plain text between services needs tls.mode: off (or TLS_MODE=off)\n");
    expect_run("api-gateway", NULL, (const char *[]){"TLS_MODE=mutual", "TLS_CERT_FILE=/x.crt", NULL}, 2,
               "tls.key_file: must be set");
    const char *const files[] = {"DATABASE_URL=postgres://x/y", "TLS_MODE=mutual",    "TLS_CERT_FILE=/no/such.crt",
                                 "TLS_KEY_FILE=/no/such.key",   "TLS_CA_FILE=/no/ca", NULL};
    expect_run("user-service", NULL, files, 2, "user-service: tls.ca_file: /no/ca: No such file or directory\n");
    expect_run("user-service", NULL, (const char *[]){"DATABASE_URL=postgres://x/y", "TLS_MODE=plain", NULL}, 2,
               "TLS_MODE: expected mutual or off, got \"plain\"");
}

static void expect_of_file(const char *text, const char *const *environment, const char *words)
{
    char path[300];
    snprintf(path, sizeof path, "%s/names.yaml", shop.directory);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    expect_run("order-service", (const char *[]){"--config", path, NULL}, environment, 2, words);
    unlink(path);
}

/* Nobody would be let in, or nobody believed. */
static void test_lists_of_names_that_name_nobody_stop_the_start(void **state)
{
    (void)state;
    static const char *const usual[] = {"DATABASE_URL=postgres://x/y", "REDIS_URL=redis://x", NULL};
    static const char *const mutual[] = {"DATABASE_URL=postgres://x/y",
                                         "REDIS_URL=redis://x",
                                         "TLS_MODE=mutual",
                                         "TLS_CERT_FILE=/x.crt",
                                         "TLS_KEY_FILE=/x.key",
                                         "TLS_CA_FILE=/x.ca",
                                         NULL};
    expect_of_file("tls:\n  allow: ''\n", usual,
                   "names.yaml:2: tls.allow: expected DNS or URI names, separated by commas, got \"\"\n");
    expect_of_file("tls:\n\n  allow: ' , ,'\n", usual,
                   "names.yaml:3: tls.allow: expected DNS or URI names, separated by commas, got \" , ,\"\n");
    expect_of_file("tls: {allow_internal: ','}\n", usual,
                   "names.yaml:1: tls.allow_internal: expected DNS or URI names");
    expect_of_file("tls:\n  peers:\n    user-service: ''\n", usual,
                   "names.yaml:3: tls.peers.user-service: expected a DNS or URI name, got \"\"\n");
    expect_of_file("tls: {peers: {inventory-service: 'a, b'}}\n", usual,
                   "names.yaml:1: tls.peers.inventory-service: expected a DNS or URI name, got \"a, b\"\n");
    expect_run("user-service", NULL, (const char *[]){"DATABASE_URL=postgres://x/y", "TLS_ALLOW=, ", NULL}, 2,
               "environment variable TLS_ALLOW: expected DNS or URI names, separated by commas, got \", \"\n");
    expect_of_file(
        "tls:\n  allow: api-gateway,stock.example\n", mutual,
        "order-service: tls.allow_internal (or environment variable TLS_ALLOW_INTERNAL): expected names that "
        "tls.allow has, got \"inventory-service\"\n");
    expect_of_file("tls:\n  allow: api-gateway,stock.example\n  allow_internal: Stock.example\n", mutual,
                   "order-service: tls.ca_file: /x.ca: No such file or directory\n");
}

static void test_wrong_telemetry_settings_stop_the_start(void **state)
{
    (void)state;
    char path[300], variable[320];
    snprintf(path, sizeof path, "%s/wrong-otel.yaml", shop.directory);
    snprintf(variable, sizeof variable, "OTEL_CONFIG_FILE=%s", path);
    const char *const environment[] = {"DATABASE_URL=postgres://x/y", "RPC_LISTEN=127.0.0.1:0",
                                       "ADMIN_LISTEN=127.0.0.1:0", variable, NULL};
    FILE *file = fopen(path, "w");
    fputs("file_format: \"1.0\"\ntracer_provider:\n  sampler: {sometimes: {}}\n  processors: [{simple: {exporter: "
          "{console: }}}]\n",
          file);
    fclose(file);
    expect_run("user-service", NULL, environment, 2, "wrong-otel.yaml:3:");
    unlink(path);
    expect_run("user-service", NULL, environment, 2, "wrong-otel.yaml");
}

static void test_a_taken_address_stops_the_start(void **state)
{
    (void)state;
    char setting[64], url[300];
    snprintf(url, sizeof url, "DATABASE_URL=%s", shop.postgres.url);
    snprintf(setting, sizeof setting, "RPC_LISTEN=127.0.0.1:%d", shop.services[SHOP_USER].port);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", shop.services[SHOP_USER].port);
    expect_run("user-service", NULL, (const char *[]){url, setting, NULL}, 2, address);
    snprintf(setting, sizeof setting, "HTTP_LISTEN=127.0.0.1:%d", shop.services[SHOP_GATEWAY].port);
    expect_run("api-gateway", NULL, (const char *[]){setting, NULL}, 2, "cannot listen");
    /* A listener that does not share its port, unlike our own. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof any;
    assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(listen(fd, 1), 0);
    getsockname(fd, (struct sockaddr *)&any, &length);
    snprintf(setting, sizeof setting, "HTTP_LISTEN=127.0.0.1:%d", ntohs(any.sin_port));
    expect_run("api-gateway", NULL, (const char *[]){setting, NULL}, 2, strchr(setting, '=') + 1);
    close(fd);
}

static void test_migrations_can_be_run_alone(void **state)
{
    (void)state;
    char url[300];
    snprintf(url, sizeof url, "DATABASE_URL=%s", shop.postgres.url);
    expect_run("user-service", (const char *[]){"--migrate-only", NULL}, (const char *[]){url, NULL}, 0, "up to date");
    expect_run("user-service", (const char *[]){"--migrate-only", NULL},
               (const char *[]){"DATABASE_URL=postgres://postgres@127.0.0.1:1/x", NULL}, 1, "127.0.0.1");
}

static void test_a_changed_migration_stops_the_start(void **state)
{
    (void)state;
    char url[300];
    free(shop_sql(&shop, "update schema_migrations set sha256 = repeat('0', 64) where version = 3"));
    snprintf(url, sizeof url, "DATABASE_URL=%s", shop.postgres.url);
    expect_run("user-service", NULL, (const char *[]){url, "RPC_LISTEN=127.0.0.1:0", NULL}, 1,
               "003_create_inventory.sql");
    free(shop_sql(&shop, "delete from schema_migrations where version = 3"));
    expect_run("user-service", (const char *[]){"--migrate-only", NULL}, (const char *[]){url, NULL}, 0, "up to date");
}

/* Reads on until the words have been said. */
static void await_words(int fd, const char *words)
{
    char text[8192] = "";
    size_t used = 0;
    while (!strstr(text, words)) {
        ssize_t n = read(fd, text + used, sizeof text - 1 - used);
        if (n <= 0)
            fprintf(stderr, "expected \"%s\", got: %s\n", words, text);
        assert_true(n > 0);
        text[used += (size_t)n] = '\0';
    }
}

static void test_a_migration_waits_for_a_database_that_is_away_as_long_as_it_is_told(void **state)
{
    (void)state;
    const char *const away[] = {"DATABASE_URL=postgres://postgres@127.0.0.1:1/x", NULL};
    expect_run("user-service", (const char *[]){"--migrate-only", "--wait", "1", NULL}, away, 1, "waiting: database: ");
    expect_run("user-service", (const char *[]){"--migrate-only", "--wait", "-1", NULL}, away, 2,
               "--wait: expected seconds from 0 to 3600, got \"-1\"");
    char url[300];
    snprintf(url, sizeof url, "DATABASE_URL=%s", shop.postgres.url);
    test_postgres_stop(&shop.postgres);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = spawn("user-service", (const char *[]){"--migrate-only", "--wait", "600", NULL},
                      (const char *[]){url, NULL}, ends[1]);
    close(ends[1]);
    await_words(ends[0], "waiting: ");
    test_postgres_start(&shop.postgres);
    await_words(ends[0], "up to date");
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(ends[0]);
    shop_wait_ready(&shop);
}

static pid_t start_until(const char *name, const char *const *environment, const char *words, int *out_fd)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = spawn(name, NULL, environment, ends[1]);
    close(ends[1]);
    await_words(ends[0], words);
    *out_fd = ends[0];
    return pid;
}

static void stop_cleanly(pid_t pid, int fd)
{
    int status;
    kill(pid, SIGTERM);
    waitpid(pid, &status, 0);
    close(fd);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_a_service_waits_for_its_database_and_can_be_stopped_meanwhile(void **state)
{
    (void)state;
    int fd;
    pid_t pid =
        start_until("user-service",
                    (const char *[]){"DATABASE_URL=postgres://postgres@127.0.0.1:1/x", "RPC_LISTEN=127.0.0.1:0", NULL},
                    "\"waiting\"", &fd);
    stop_cleanly(pid, fd);
}

/* A connection whose own end is the port: as a client's may be that began before the service did. */
static int connect_from(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, to = from;
    from.sin_port = htons((uint16_t)port);
    to.sin_port = htons((uint16_t)shop.redis.port);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* At once, without the minute in which a closed connection's port is kept. */
static void reset(int fd)
{
    const struct linger none = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
    close(fd);
}

struct settings_lines {
    char database[300], listen[64], peers[3][64];
    const char *environment[6];
};

/* Of one more process of a service of the shop, that listens on another port. */
static void settings_on_port(struct settings_lines *lines, const char *listen, int port)
{
    static const char *const peers[] = {"USER_SERVICE_ADDR", "INVENTORY_SERVICE_ADDR", "ORDER_SERVICE_ADDR"};
    snprintf(lines->database, sizeof lines->database, "DATABASE_URL=%s", shop.postgres.url);
    snprintf(lines->listen, sizeof lines->listen, "%s=127.0.0.1:%d", listen, port);
    lines->environment[0] = lines->database;
    lines->environment[1] = lines->listen;
    for (int i = 0; i < 3; i++) {
        snprintf(lines->peers[i], sizeof lines->peers[i], "%s=127.0.0.1:%d", peers[i], shop.services[i].port);
        lines->environment[2 + i] = lines->peers[i];
    }
    lines->environment[5] = NULL;
}

static void wait_for_connections_port(const char *name, const char *listen, bool stopped_meanwhile)
{
    int port = test_free_port(), connection = connect_from(port), fd;
    struct settings_lines lines;
    settings_on_port(&lines, listen, port);
    pid_t pid = start_until(name, lines.environment, listen, &fd); /* the line names the setting */
    if (!stopped_meanwhile) {
        reset(connection);
        await_words(fd, "\"ready\"");
    }
    stop_cleanly(pid, fd);
    if (stopped_meanwhile)
        reset(connection);
}

static void test_a_port_that_a_connection_has_for_a_moment_is_waited_for(void **state)
{
    (void)state;
    wait_for_connections_port("user-service", "RPC_LISTEN", false);
    wait_for_connections_port("api-gateway", "HTTP_LISTEN", false);
}

static void test_a_service_that_waits_for_its_port_can_be_stopped(void **state)
{
    (void)state;
    wait_for_connections_port("user-service", "RPC_LISTEN", true);
}

/* The built-in one only: several services on one machine meet there. */
static void test_a_taken_admin_port_is_done_without(void **state)
{
    (void)state;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(9464)};
    struct settings_lines lines;
    int output, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&any, sizeof any) == 0) /* else somebody has it already */
        assert_int_equal(listen(fd, 1), 0);
    settings_on_port(&lines, "RPC_LISTEN", test_free_port());
    pid_t pid = start_until("user-service", lines.environment, "no admin port", &output);
    await_words(output, "\"ready\"");
    stop_cleanly(pid, output);
    close(fd);
    expect_run("user-service", NULL,
               (const char *[]){lines.database, "RPC_LISTEN=127.0.0.1:0", "ADMIN_LISTEN=127.0.0.1:1x", NULL}, 2,
               "ADMIN_LISTEN");
}

static void *slow_order(void *arg)
{
    char *user = shop_add_user(&shop);
    char body[300];
    snprintf(body, sizeof body,
             "{\"user_id\":\"%s\",\"product_id\":\"60000000-0000-4000-8000-000000000001\",\"quantity\":1}", user);
    free(user);
    http_call(&shop, "POST", "/api/orders", body, NULL, arg);
    return NULL;
}

/* A lock on the product holds the order up, for as long as the test wants. */
struct lock {
    PGconn *connection;
};

static struct lock lock_product(void)
{
    struct lock lock = {PQconnectdb(shop.postgres.url)};
    PQclear(PQexec(lock.connection, "begin"));
    PQclear(PQexec(lock.connection,
                   "select 1 from inventory where product_id = '60000000-0000-4000-8000-000000000001' for update"));
    return lock;
}

static void unlock_product(struct lock lock)
{
    PQclear(PQexec(lock.connection, "rollback"));
    PQfinish(lock.connection);
}

static void wait_for_lock_waiter(void)
{
    while (shop_sql_number(&shop, "select count(*) from pg_stat_activity where wait_event_type = 'Lock'") == 0)
        poll(NULL, 0, 2);
}

static struct lock stop_with_an_order_in_flight(pthread_t *thread, struct answer *answer)
{
    shop_add_product(&shop, "60000000-0000-4000-8000-000000000001", 10);
    struct lock lock = lock_product();
    assert_int_equal(pthread_create(thread, NULL, slow_order, answer), 0);
    wait_for_lock_waiter();
    kill(shop.services[SHOP_GATEWAY].pid, SIGTERM);
    return lock;
}

static void test_a_stopping_gateway_finishes_the_request_in_flight(void **state)
{
    (void)state;
    pthread_t thread;
    struct answer answer;
    struct lock lock = stop_with_an_order_in_flight(&thread, &answer);
    char *log;
    for (; log = shop_log(&shop, SHOP_GATEWAY), !strstr(log, "\"stopping\""); free(log))
        poll(NULL, 0, 2);
    free(log);
    unlock_product(lock);
    pthread_join(thread, NULL);
    assert_answer(&answer, 200);
    answer_done(&answer);
    assert_int_equal(shop_await_exit(&shop, SHOP_GATEWAY), 0);
    shop_start(&shop, SHOP_GATEWAY);
    shop_wait_ready(&shop);
}

static void test_a_second_signal_ends_at_once(void **state)
{
    (void)state;
    pthread_t thread;
    struct answer answer;
    struct lock lock = stop_with_an_order_in_flight(&thread, &answer);
    /* The second signal counts once the first was taken. */
    int status = 0;
    while (waitpid(shop.services[SHOP_GATEWAY].pid, &status, WNOHANG) == 0) {
        kill(shop.services[SHOP_GATEWAY].pid, SIGTERM);
        poll(NULL, 0, 5);
    }
    shop.services[SHOP_GATEWAY].pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    unlock_product(lock);
    pthread_join(thread, NULL);
    assert_int_equal(answer.status, 0);
    answer_done(&answer);
    shop_start(&shop, SHOP_GATEWAY);
    shop_wait_ready(&shop);
}

static void test_every_request_leaves_a_log_line(void **state)
{
    (void)state;
    struct answer answer;
    const char *const headers[] = {"traceparent: 00-11111111111111111111111111111111-2222222222222222-01", NULL};
    http_call(&shop, "GET", "/api/users/00000000-0000-4000-8000-0000000000ff", NULL, headers, &answer);
    assert_answer(&answer, 404);
    answer_done(&answer);
    for (int service = SHOP_USER; service <= SHOP_GATEWAY; service += SHOP_GATEWAY - SHOP_USER) {
        char *log;
        for (; log = shop_log(&shop, service), !strstr(log, "\"trace_id\":\"11111111111111111111111111111111\"");
             free(log))
            poll(NULL, 0, 2);
        free(log);
    }
    char *log = shop_log(&shop, SHOP_GATEWAY);
    char *line = strstr(log, "\"trace_id\":\"11111111111111111111111111111111\"");
    line[strcspn(line, "\n")] = '\0';
    assert_non_null(strstr(line, "\"method\":\"GET\""));
    assert_non_null(strstr(line, "\"route\":\"/api/users/:id\""));
    assert_non_null(strstr(line, "\"status\":404"));
    assert_non_null(strstr(line, "\"duration_ms\":"));
    free(log);
}

/* --- dead letters */

static void tell_redis(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisContext *context = redisConnect("127.0.0.1", shop.redis.port);
    redisReply *reply = redisvCommand(context, format, args);
    assert_true(reply && reply->type != REDIS_REPLY_ERROR);
    freeReplyObject(reply);
    redisFree(context);
    va_end(args);
}

/* An order that exists, and whose reservation waits for its event; that one is a dead letter. */
static void bury_order(unsigned number, const char *letter_id)
{
    char id[37];
    snprintf(id, sizeof id, "d0000000-0000-4000-8000-%012u", number);
    free(shop_sql(&shop, "insert into reservations (order_id, product_id, quantity) values ('%s', '%s', 1)", id, id));
    tell_redis("XADD orders:created:dead %s data {\"order_id\":\"%s\"} source orders:created source_id 1-1 group"
               " inventory deliveries 5 reason because",
               letter_id, id);
}

static long committed(void)
{
    return shop_sql_number(&shop, "select count(*) from reservations where state = 'committed' and order_id::text like"
                                  " 'd0000000%%'");
}

static void await_committed(long count)
{
    int64_t until_ns = clock_now_ns() + 30 * NS_PER_S;
    while (committed() < count) {
        assert_true(clock_now_ns() < until_ns);
        usleep(2000);
    }
}

static void run_inventory(const char *option, const char *value, int status, const char *words)
{
    char database[300], redis[300];
    snprintf(database, sizeof database, "DATABASE_URL=%s", shop.postgres.url);
    snprintf(redis, sizeof redis, "REDIS_URL=%s", shop.redis.url);
    expect_run("inventory-service", (const char *[]){option, value, NULL}, (const char *[]){database, redis, NULL},
               status, words);
}

static void test_dead_letters_are_shown_and_put_back(void **state)
{
    (void)state;
    enum { LETTERS = 230 };
    char id[32];
    run_inventory("--dead-letters", NULL, 0, "0 dead letters");
    for (unsigned i = 1; i <= LETTERS; i++) {
        snprintf(id, sizeof id, "%u-7", i);
        bury_order(i, id);
    }
    run_inventory("--dead-letters", NULL, 0, "orders:created:dead  230-7  because  (was 1-1)\n    {\"order_id\":");
    run_inventory("--dead-letters", NULL, 0, "230 dead letters");
    tell_redis("XADD orders:cancelled:dead 1-1 data %s reason because source_id 2-2", "a\033[2Jb");
    run_inventory("--dead-letters", NULL, 0,
                  "orders:cancelled:dead  1-1  because  (was 2-2)\n    a?[2Jb\n231 dead letters");
    tell_redis("XDEL orders:cancelled:dead 1-1");
    run_inventory("--replay-dead-letters", "3-7", 0, "1 dead letter replayed");
    await_committed(1);
    run_inventory("--replay-dead-letters", "3-7", 1, "no dead letter has the id 3-7");
    run_inventory("--replay-dead-letters", "all", 0, "229 dead letters replayed");
    await_committed(LETTERS);
    run_inventory("--dead-letters", NULL, 0, "0 dead letters");
}

static void test_wrong_questions_about_dead_letters_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "3", "3-", "-3", "3-4-5", "every", "3-4x"};
    for (size_t i = 0; i < array_count(wrong); i++)
        run_inventory("--replay-dead-letters", wrong[i], 2, "expected an id such as");
    run_inventory("--replay-dead-letters", NULL, 2, "usage:");
    expect_run("user-service", (const char *[]){"--dead-letters", NULL},
               (const char *[]){"DATABASE_URL=postgres://nobody", NULL}, 0, "no dead letters");
}

static void test_several_loops_serve_together(void **state)
{
    (void)state;
    static const char *const loops[] = {"LOOPS=3", NULL};
    for (int i = 0; i < SHOP_SERVICES; i++)
        assert_int_equal(shop_stop(&shop, i), 0);
    shop.settings = loops;
    for (int i = 0; i < SHOP_SERVICES; i++)
        shop_start(&shop, i);
    shop_wait_ready(&shop);
    for (int i = 0; i < 50; i++)
        free(shop_add_user(&shop));
    struct answer answer;
    http_call(&shop, "GET", "/ready", NULL, NULL, &answer);
    assert_answer(&answer, 200);
    answer_done(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_do_what_help_says),
        cmocka_unit_test(test_wrong_settings_stop_the_start),
        cmocka_unit_test(test_a_service_without_certificates_does_not_start_unless_told),
        cmocka_unit_test(test_lists_of_names_that_name_nobody_stop_the_start),
        cmocka_unit_test(test_wrong_telemetry_settings_stop_the_start),
        cmocka_unit_test(test_a_taken_address_stops_the_start),
        cmocka_unit_test(test_migrations_can_be_run_alone),
        cmocka_unit_test(test_a_migration_waits_for_a_database_that_is_away_as_long_as_it_is_told),
        cmocka_unit_test(test_a_changed_migration_stops_the_start),
        cmocka_unit_test(test_a_service_waits_for_its_database_and_can_be_stopped_meanwhile),
        cmocka_unit_test(test_a_port_that_a_connection_has_for_a_moment_is_waited_for),
        cmocka_unit_test(test_a_service_that_waits_for_its_port_can_be_stopped),
        cmocka_unit_test(test_a_taken_admin_port_is_done_without),
        cmocka_unit_test(test_a_stopping_gateway_finishes_the_request_in_flight),
        cmocka_unit_test(test_a_second_signal_ends_at_once),
        cmocka_unit_test(test_every_request_leaves_a_log_line),
        cmocka_unit_test(test_dead_letters_are_shown_and_put_back),
        cmocka_unit_test(test_wrong_questions_about_dead_letters_are_refused),
        cmocka_unit_test(test_several_loops_serve_together),
    };
    return cmocka_run_group_tests_name("service", tests, open_shop, close_shop);
}
