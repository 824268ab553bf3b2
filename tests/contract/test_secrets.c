/* A shop with TLS everywhere, as in a cluster: services, PostgreSQL and Redis show certificates and want passwords.
 * Secrets are planted wherever one can come in; then everything that the shop has said is searched for them. */
#include <curl/curl.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "support/collector.h"
#include "support/shop.h"

#define PRODUCT "50000000-0000-4000-8000-000000000001"

/* Words that come from nowhere else. */
#define DATABASE_SECRET "plantedDatabasePassword"
#define DATABASE_NEXT   "plantedDatabaseSecond"
#define REDIS_SECRET    "plantedRedisPassword"
#define REDIS_NEXT      "plantedRedisSecond"
#define USER_SECRET     "plantedUserPassword"
#define BEARER          "plantedBearerToken"
#define HEADER_SECRET   "plantedOtlpHeader"
#define URL_SECRET      "plantedUrlPassword"

static const char *const planted[] = {DATABASE_SECRET, DATABASE_NEXT, REDIS_SECRET,  REDIS_NEXT,
                                      USER_SECRET,     BEARER,        HEADER_SECRET, URL_SECRET};

static struct shop shop;
static struct test_collector collector;
static struct test_certificates certificates;
static int admin_ports[SHOP_SERVICES];
static char lines[17][700];
static const char *settings[18];
static char *heard; /* what was answered, and what programs printed */

/* --- the shop */

static void set(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void set(const char *name, const char *format, ...)
{
    unsigned i = 0;
    va_list args;
    while (settings[i])
        i++;
    assert_true(i < array_count(lines));
    int length = snprintf(lines[i], sizeof lines[i], "%s=", name);
    va_start(args, format);
    vsnprintf(lines[i] + length, sizeof lines[i] - (size_t)length, format, args);
    va_end(args);
    settings[i] = lines[i];
}

static void hear(const char *text)
{
    char *longer = mem_print("%s%s\n", heard ? heard : "", text ? text : "");
    free(heard);
    heard = longer;
}

static char *shop_file(const char *name)
{
    return mem_print("%s/%s", shop.directory, name);
}

static void write_file(const char *name, const char *text)
{
    scoped_free char *path = shop_file(name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void issue(const char *service)
{
    char names[80];
    scoped_free char *certificate = mem_print("%s/%s.crt", shop.directory, service);
    scoped_free char *key = mem_print("%s/%s.key", shop.directory, service);
    snprintf(names, sizeof names, "DNS:%s", service);
    certificates_issue(&certificates, names, certificate, key);
}

static void write_settings(const struct shop *s, int service)
{
    const char *name = s->services[service].name;
    scoped_free char *file = mem_print("%s.yaml", name);
    scoped_free char *text =
        mem_print("admin: {listen: 127.0.0.1:%d}\ntls: {cert_file: %s/%s.crt, key_file: %s/%s.key, ca_file: %s}\n",
                  admin_ports[service], s->directory, name, s->directory, name, certificates.ca);
    write_file(file, text);
}

static void tell_redis(const char *format, const char *word)
{
    redisContext *direct = redisConnect("127.0.0.1", shop.redis.port);
    freeReplyObject(redisCommand(direct, "AUTH " REDIS_SECRET)); /* one of them is right while there is one */
    freeReplyObject(redisCommand(direct, "AUTH " REDIS_NEXT));
    redisReply *reply = redisCommand(direct, format, word);
    assert_non_null(reply);
    assert_int_not_equal(reply->type, REDIS_REPLY_ERROR);
    freeReplyObject(reply);
    redisFree(direct);
}

static void do_sql(const char *command)
{
    scoped_free char *done = shop_sql(&shop, "%s", command);
    (void)done;
}

static void prepare(struct shop *s)
{
    for (int i = 0; i < SHOP_SERVICES; i++) {
        issue(s->services[i].name);
        admin_ports[i] = test_free_port();
        write_settings(s, i);
    }
    test_postgres_secure(&s->postgres, &certificates);
    do_sql("create role shop superuser login password '" DATABASE_SECRET "'");
    test_postgres_rule(&s->postgres, "hostssl all shop 127.0.0.1/32 scram-sha-256");
    tell_redis("CONFIG SET requirepass %s", REDIS_SECRET);
    write_file("database-password", DATABASE_SECRET "\n");
    write_file("redis-password", REDIS_SECRET);
    set("DATABASE_URL", "postgresql://shop@localhost:%d/ecommerce?sslmode=verify-full&sslrootcert=%s", s->postgres.port,
        certificates.ca);
    set("DATABASE_PASSWORD_FILE", "%s/database-password", s->directory);
    set("REDIS_URL", "rediss://localhost:%d", s->redis.tls_port);
    set("REDIS_PASSWORD_FILE", "%s/redis-password", s->directory);
    set("REDIS_TLS_CA_FILE", "%s", certificates.ca);
    set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://%s", collector.grpc);
    set("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=%s", HEADER_SECRET);
    set("OTEL_SDK_DISABLED", "false");
    set("OTEL_BSP_SCHEDULE_DELAY", "50");
    set("OTEL_BLRP_SCHEDULE_DELAY", "50");
    set("OTEL_METRIC_EXPORT_INTERVAL", "500");
    set("TLS_MODE", "%s", ""); /* unset: the files say where the certificates are */
    set("ADMIN_LISTEN", "%s", "");
    set("AUTH_MODE", "off"); /* the planted token is none */
    set("LOG_LEVEL", "debug");
}

static int open_all(void **state)
{
    (void)state;
    certificates_open(&certificates);
    collector_open(&collector, NULL);
    shop.settings = settings;
    shop.certificates = &certificates;
    shop.prepare = prepare;
    shop_open(&shop);
    shop_add_product(&shop, PRODUCT, 100000);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    shop_close(&shop);
    collector_close(&collector);
    certificates_close(&certificates);
    free(heard);
    return 0;
}

/* --- requests, each with a token; what is answered is heard */

static int call(const char *method, const char *path, const char *body)
{
    static const char *const headers[] = {"Authorization: Bearer " BEARER, NULL};
    struct answer answer;
    http_call(&shop, method, path, body, headers, &answer);
    hear(answer.headers);
    hear(answer.body);
    answer_done(&answer);
    return answer.status;
}

static char *new_user(void)
{
    static unsigned number;
    char body[200];
    struct answer answer;
    snprintf(body, sizeof body, "{\"email\":\"u%u@example.com\",\"name\":\"U\",\"password\":\"" USER_SECRET "\"}",
             ++number);
    http_call(&shop, "POST", "/api/users", body, NULL, &answer);
    hear(answer.body);
    assert_int_equal(answer.status, 200);
    char *id = mem_text(answer_text(&answer, "id"));
    answer_done(&answer);
    return id;
}

static int order_for(const char *user)
{
    char body[200];
    snprintf(body, sizeof body, "{\"user_id\":\"%s\",\"product_id\":\"" PRODUCT "\",\"quantity\":1}", user);
    return call("POST", "/api/orders", body);
}

static void await_log(enum shop_service service, const char *words)
{
    int64_t give_up_ns = clock_now_ns() + 30 * NS_PER_S;
    bool found = false;
    while (!found && clock_now_ns() < give_up_ns) {
        scoped_free char *log = shop_log(&shop, service);
        found = strstr(log, words) != NULL;
        if (!found)
            poll(NULL, 0, 20);
    }
    if (!found)
        fprintf(stderr, "%s does not say: %s\n", shop.services[service].name, words);
    assert_true(found);
}

/* --- all over TLS */

static void test_a_shop_with_tls_everywhere_takes_orders(void **state)
{
    (void)state;
    scoped_free char *user = new_user();
    assert_int_equal(order_for(user), 200);
    assert_true(shop_sql_number(&shop, "select count(*) from pg_stat_ssl s join pg_stat_activity a using (pid) "
                                       "where a.usename = 'shop' and s.ssl") >= 3);
    assert_int_equal(shop_sql_number(&shop, "select count(*) from pg_stat_ssl s join pg_stat_activity a using (pid) "
                                            "where a.usename = 'shop' and not s.ssl"),
                     0);
    int64_t give_up_ns = clock_now_ns() + 30 * NS_PER_S;
    while (shop_sql_number(&shop, "select count(*) from reservations where state = 'committed'") == 0 &&
           clock_now_ns() < give_up_ns)
        poll(NULL, 0, 10);
    assert_true(shop_sql_number(&shop, "select count(*) from reservations where state = 'committed'") > 0);
}

static void test_certificates_are_replaced_while_orders_come(void **state)
{
    (void)state;
    scoped_free char *user = new_user();
    for (int i = 0; i < SHOP_SERVICES; i++)
        issue(shop.services[i].name); /* in place: the certificate first, its key behind it */
    for (int i = 0; i < SHOP_SERVICES; i++) {
        int64_t give_up_ns = clock_now_ns() + 30 * NS_PER_S;
        bool taken = false;
        while (!taken && clock_now_ns() < give_up_ns) {
            scoped_free char *log = shop_log(&shop, i);
            taken = strstr(log, "changed TLS files are in use") != NULL;
            assert_int_equal(order_for(user), 200);
        }
        assert_true(taken);
    }
    /* A service that comes back meets the others' new connections with the new certificate. */
    assert_int_equal(shop_stop(&shop, SHOP_USER), 0);
    shop_start(&shop, SHOP_USER);
    shop_wait_ready(&shop);
    assert_int_equal(order_for(user), 200);
}

/* --- secrets */

static void fail_in_many_ways(void)
{
    static const char *const bodies[] = {
        "{\"email\":\"a@b.example\",\"name\":\"A\",\"password\":\"" USER_SECRET,
        "{\"email\":\"a@b.example\",\"name\":\"A\",\"password\":\"" USER_SECRET "\",\"password\":\"" USER_SECRET "\"}",
        "{\"email\":\"a@b.example\",\"name\":7,\"password\":\"" USER_SECRET "\"}",
        "{\"email\":\"none\",\"name\":\"A\",\"password\":\"" USER_SECRET "\"}",
        "[\"" USER_SECRET "\"]",
        USER_SECRET,
    };
    for (unsigned i = 0; i < array_count(bodies); i++)
        assert_int_equal(call("POST", "/api/users", bodies[i]), 400);
    assert_int_equal(call("GET", "/api/users/00000000-0000-4000-8000-000000000000", NULL), 404);
    assert_int_equal(call("GET", "/api/nothing", NULL), 404);
    assert_int_equal(call("DELETE", "/api/orders", NULL), 405);
}

/* Both refuse the password that the services have, until the files have the next one. */
static void change_passwords(void)
{
    scoped_free char *user = new_user();
    do_sql("alter role shop password '" DATABASE_NEXT "'");
    tell_redis("CONFIG SET requirepass %s", REDIS_NEXT);
    do_sql("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'shop'");
    tell_redis("CLIENT KILL TYPE %s SKIPME yes", "normal");
    await_log(SHOP_USER, "password authentication failed");
    await_log(SHOP_ORDER, "WRONGPASS");
    call("POST", "/api/users", "{\"email\":\"late@b.example\",\"name\":\"A\",\"password\":\"" USER_SECRET "\"}");
    order_for(user);
    call("GET", "/ready", NULL);
    write_file("database-password", DATABASE_NEXT "\n");
    write_file("redis-password", REDIS_NEXT "\n");
    int64_t give_up_ns = clock_now_ns() + 30 * NS_PER_S;
    while (order_for(user) != 200 && clock_now_ns() < give_up_ns)
        poll(NULL, 0, 20);
    assert_int_equal(order_for(user), 200);
}

/* What a program says and prints. */
static void hear_run(const char *environment, const char *arguments)
{
    char program[600], chunk[4096];
    shop_binary("order-service", program, sizeof program);
    scoped_free char *command = mem_print("env %s timeout 20 %s %s 2>&1", environment, program, arguments);
    FILE *output = popen(command, "r");
    assert_non_null(output);
    for (size_t bytes; (bytes = fread(chunk, 1, sizeof chunk - 1, output)) > 0;) {
        chunk[bytes] = '\0';
        hear(chunk);
    }
    pclose(output);
}

static void start_in_wrong_ways(void)
{
    const char *usual = "TLS_MODE=off OTEL_SDK_DISABLED=true RPC_LISTEN=127.0.0.1:0 ADMIN_LISTEN=127.0.0.1:0";
    static const char *const wrong[] = {
        "DATABASE_URL=nonsense://u:" URL_SECRET "@x REDIS_URL=redis://x",
        "DATABASE_URL=postgres://u:" URL_SECRET "%zz@x/y REDIS_URL=redis://x",
        "DATABASE_URL=postgres://u:" URL_SECRET "@x/y REDIS_URL=http://:" URL_SECRET "@x",
        "DATABASE_URL=postgres://u:" URL_SECRET "@x/y REDIS_URL=redis://a:" URL_SECRET "%zz@x",
        "DATABASE_URL=postgres://u:" URL_SECRET "@x/y DATABASE_PASSWORD=" URL_SECRET
        " DATABASE_PASSWORD_FILE=/x REDIS_URL=redis://x",
    };
    for (unsigned i = 0; i < array_count(wrong); i++) {
        scoped_free char *environment = mem_print("%s %s", usual, wrong[i]);
        hear_run(environment, "");
        hear_run(environment, "--print-config");
    }
    /* A key where a certificate belongs. */
    scoped_free char *swapped = mem_print("TLS_MODE=mutual TLS_CERT_FILE=%s TLS_KEY_FILE=%s TLS_CA_FILE=%s %s",
                                          certificates.server_key, certificates.server, certificates.ca, wrong[2]);
    hear_run(swapped, "");
}

static void hear_admin(int port)
{
    char path[64];
    struct shop other = {0};
    struct answer answer;
    snprintf(other.base_url, sizeof other.base_url, "http://127.0.0.1:%d", port);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s", i ? "/readyz" : "/metrics");
        http_call(&other, "GET", path, NULL, NULL, &answer);
        assert_int_equal(answer.status, 200);
        hear(answer.body);
        answer_done(&answer);
    }
}

static void hear_api(const char *path)
{
    char *text = NULL;
    assert_int_equal(collector_call(&collector, "GET", path, NULL, &text), 200);
    hear(text);
    free(text);
}

static void hear_telemetry(void)
{
    json_t *traces = collector_get(&collector, "/api/traces?limit=1000"), *trace;
    size_t i;
    assert_true(json_array_size(json_object_get(traces, "traces")) > 10);
    json_array_foreach(json_object_get(traces, "traces"), i, trace)
    {
        char path[64];
        snprintf(path, sizeof path, "/api/traces/%s", json_string_value(json_object_get(trace, "trace_id")));
        hear_api(path);
    }
    json_decref(traces);
    hear_api("/api/logs?limit=1000");
    hear_api("/api/metrics");
}

/* A line out of the middle of a key. */
static char *key_line(const char *path)
{
    char line[200] = "";
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (unsigned i = 0; i < 2; i++)
        assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    assert_true(strlen(line) > 40);
    return mem_text(line);
}

static void assert_not_heard(const char *secret, const char *where)
{
    const char *at = strstr(heard, secret);
    if (at)
        fprintf(stderr, "%s is told in %.*s\n", where, 300, at - heard > 200 ? at - 200 : heard);
    assert_null(at);
}

static void test_no_secret_is_ever_told(void **state)
{
    (void)state;
    scoped_free char *user = new_user();
    fail_in_many_ways();
    change_passwords();
    start_in_wrong_ways();
    json_decref(collector_wait(&collector, "spans=100&logs=20"));
    hear_telemetry();
    for (int i = 0; i < SHOP_SERVICES; i++) {
        scoped_free char *log = shop_log(&shop, i);
        hear(log);
        hear_admin(admin_ports[i]);
    }
    /* It is there to be found: an id that was asked for, the file of a password, a span, a metric. */
    assert_non_null(strstr(heard, user));
    assert_non_null(strstr(heard, "password authentication failed"));
    assert_non_null(strstr(heard, "INSERT users"));
    assert_non_null(strstr(heard, "bodega_tls_certificate_expires_in_seconds"));
    assert_non_null(strstr(heard, "database.url"));
    for (unsigned i = 0; i < array_count(planted); i++)
        assert_not_heard(planted[i], planted[i]);
    for (int i = 0; i < SHOP_SERVICES; i++) {
        scoped_free char *name = mem_print("%s.key", shop.services[i].name);
        scoped_free char *path = shop_file(name), *line = key_line(path);
        assert_not_heard(line, name);
    }
    scoped_free char *line = key_line(certificates.server_key);
    assert_not_heard(line, "server.key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_shop_with_tls_everywhere_takes_orders),
        cmocka_unit_test(test_certificates_are_replaced_while_orders_come),
        cmocka_unit_test(test_no_secret_is_ever_told),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
