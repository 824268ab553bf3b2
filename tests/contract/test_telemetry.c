/* What the four real processes tell a real receiver: one order as one trace with its logs and metrics, sampling by the
 * mounted file, receivers that fail, and the end under load. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "support/collector.h"
#include "support/shop.h"

enum { SETTINGS_MAX = 16, WAIT_MS = 60000 };

static struct test_collector collector;
static struct shop shop;
static char lines[SETTINGS_MAX][512];
static const char *settings[SETTINGS_MAX + 1];

/* --- opening */

static void set(const char *name, const char *value)
{
    unsigned i = 0;
    while (settings[i])
        i++;
    assert_true(i < SETTINGS_MAX);
    snprintf(lines[i], sizeof lines[i], "%s=%s", name, value);
    settings[i] = lines[i];
    settings[i + 1] = NULL;
}

static void set_usual(void)
{
    settings[0] = NULL;
    set("OTEL_SDK_DISABLED", "false");
    set("OTEL_BSP_SCHEDULE_DELAY", "50");
    set("OTEL_BLRP_SCHEDULE_DELAY", "50");
    set("OTEL_METRIC_EXPORT_INTERVAL", "500");
}

/* Plain OTLP over gRPC. */
static void open_receiver(void)
{
    char url[64];
    collector_open(&collector, NULL);
    snprintf(url, sizeof url, "http://%s", collector.grpc);
    set_usual();
    set("OTEL_EXPORTER_OTLP_ENDPOINT", url);
}

static void open_shop(void)
{
    shop.settings = settings;
    shop_open(&shop);
}

static void end_all(void)
{
    shop_close(&shop);
    collector_close(&collector);
}

/* --- one order */

/* The trace of an answer's traceresponse. */
static const char *trace_of(const struct answer *answer)
{
    static char id[33];
    const char *header = answer_header(answer, "traceresponse");
    assert_non_null(header);
    assert_int_equal(strlen(header), 55);
    snprintf(id, sizeof id, "%.32s", header + 3);
    return id;
}

static bool is_sampled(const struct answer *answer)
{
    const char *header = answer_header(answer, "traceresponse");
    return header && strlen(header) == 55 && (header[54] - '0') % 2 == 1;
}

static json_t *span_of(json_t *trace, const char *service, const char *name)
{
    json_t *span;
    size_t i;
    json_array_foreach(json_object_get(trace, "spans"), i, span)
    {
        if (strcmp(json_string_value(json_object_get(span, "name")), name) == 0 &&
            strcmp(json_string_value(json_object_get(span, "service")), service) == 0)
            return span;
    }
    char *text = json_dumps(trace, JSON_INDENT(1));
    fprintf(stderr, "no span %s of %s in %s\n", name, service, text);
    free(text);
    assert_true(false);
    return NULL;
}

static const char *text_in(json_t *span, const char *member)
{
    const char *text = json_string_value(json_object_get(span, member));
    return text ? text : "";
}

static void assert_child(json_t *child, json_t *parent)
{
    assert_string_equal(text_in(child, "parent_span_id"), text_in(parent, "span_id"));
}

static void assert_attribute(json_t *span, const char *key, const char *value)
{
    const char *found = json_string_value(collector_attribute(span, key));
    assert_non_null(found);
    assert_string_equal(found, value);
}

/* Gateway → rpc client → order → rpc client → inventory → database; order → database; relay → send; process. */
static void assert_whole(json_t *trace)
{
    json_t *root = span_of(trace, "api-gateway", "POST /api/orders");
    json_t *asked = span_of(trace, "api-gateway", "order.Order/CreateOrder");
    json_t *order = span_of(trace, "order-service", "order.Order/CreateOrder");
    json_t *deducts = span_of(trace, "order-service", "inventory.Inventory/DeductInventory");
    json_t *deduct = span_of(trace, "inventory-service", "inventory.Inventory/DeductInventory");
    json_t *taken = span_of(trace, "inventory-service", "INSERT reservations");
    json_t *written = span_of(trace, "order-service", "INSERT outbox, orders");
    json_t *sent = span_of(trace, "order-service", "send orders:created");
    json_t *processed = span_of(trace, "inventory-service", "process orders:created");
    assert_child(asked, root);
    assert_child(order, asked);
    assert_child(deducts, order);
    assert_child(deduct, deducts);
    assert_child(taken, deduct);
    assert_child(written, order);
    assert_child(sent, order);
    assert_child(processed, sent);
    json_t *link = collector_at(processed, "links.0.span_id");
    assert_non_null(link);
    assert_string_equal(json_string_value(link), text_in(sent, "span_id"));
    assert_attribute(root, "http.route", "/api/orders");
    assert_attribute(taken, "db.system.name", "postgresql");
    assert_attribute(sent, "messaging.destination.name", "orders:created");
    assert_non_null(collector_attribute(order, "bodega.order.id"));
}

static void place_order(struct answer *out)
{
    static const char *const product = "10000000-0000-4000-8000-000000000001";
    char body[300];
    scoped_free char *user = shop_add_user(&shop);
    shop_add_product(&shop, product, 100);
    snprintf(body, sizeof body, "{\"user_id\":\"%s\",\"product_id\":\"%s\",\"quantity\":1}", user, product);
    http_call(&shop, "POST", "/api/orders", body, NULL, out);
    assert_answer(out, 200);
}

/* The spans of one order: root, two rpc pairs, order_start, order_insert, reservation_take, send, process, commit. */
enum { ORDER_SPANS = 11, ORDER_LOGS = 3 };

static void assert_logs(const char *trace)
{
    json_t *logs = collector_get(&collector, "/api/logs?trace_id=%s", trace), *log;
    size_t i;
    unsigned requests = 0;
    json_array_foreach(json_object_get(logs, "logs"), i, log)
    {
        const char *body = json_string_value(json_object_get(log, "body"));
        requests += body && strcmp(body, "request") == 0;
    }
    assert_int_equal(requests, ORDER_LOGS);
    json_decref(logs);
}

static void assert_metric(const char *service, const char *name)
{
    int64_t until_ns = clock_now_ns() + WAIT_MS * NS_PER_MS;
    for (;;) {
        json_t *found = collector_get(&collector, "/api/metrics?service=%s&name=%s", service, name);
        size_t count = 0;
        json_t *list;
        const char *key;
        json_object_foreach(found, key, list) count += json_is_array(list) ? json_array_size(list) : 0;
        json_decref(found);
        if (count > 0)
            return;
        if (clock_now_ns() > until_ns)
            fprintf(stderr, "no metric %s of %s\n", name, service);
        assert_true(clock_now_ns() < until_ns);
        json_decref(collector_wait(&collector, "points=%ld",
                                   collector_count(&collector, "grpc.metrics.items") +
                                       collector_count(&collector, "http.metrics.items") + 1));
    }
}

static void assert_order_arrives(void)
{
    struct answer answer;
    place_order(&answer);
    char trace[40];
    snprintf(trace, sizeof trace, "%s", trace_of(&answer));
    json_decref(collector_wait(&collector, "spans=%d&logs=%d&trace_id=%s", ORDER_SPANS, ORDER_LOGS, trace));
    json_t *whole = collector_get(&collector, "/api/traces/%s", trace);
    assert_whole(whole);
    json_decref(whole);
    assert_logs(trace);
    assert_metric("api-gateway", "http.server.request.duration");
    assert_metric("api-gateway", "http_requests_total");
    assert_metric("order-service", "bodega.orders.requested");
    assert_metric("order-service", "rpc.server.call.duration");
    assert_metric("inventory-service", "db.client.operation.duration");
    assert_metric("user-service", "process.cpu.time");
    answer_done(&answer);
}

static void test_an_order_is_one_trace_over_grpc(void **state)
{
    (void)state;
    open_receiver();
    open_shop();
    assert_order_arrives();
    assert_int_equal(collector_count(&collector, "grpc.traces.compressed"), 0);
    end_all();
}

static void test_an_order_is_one_trace_over_grpc_with_gzip_and_tls(void **state)
{
    (void)state;
    char url[64];
    struct test_certificates certificates;
    certificates_open(&certificates);
    const char *const options[] = {"--tls-cert",  certificates.server, "--tls-key", certificates.server_key,
                                   "--client-ca", certificates.ca,     NULL};
    collector_open(&collector, options);
    snprintf(url, sizeof url, "https://%s", collector.grpc);
    set_usual();
    set("OTEL_EXPORTER_OTLP_ENDPOINT", url);
    set("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    set("OTEL_EXPORTER_OTLP_CERTIFICATE", certificates.ca);
    set("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificates.client);
    set("OTEL_EXPORTER_OTLP_CLIENT_KEY", certificates.client_key);
    open_shop();
    assert_order_arrives();
    assert_true(collector_count(&collector, "grpc.traces.compressed") > 0);
    end_all();
    certificates_close(&certificates);
}

static void test_an_order_is_one_trace_over_http(void **state)
{
    (void)state;
    char url[64];
    collector_open(&collector, NULL);
    snprintf(url, sizeof url, "http://%s", collector.http);
    set_usual();
    set("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    set("OTEL_EXPORTER_OTLP_ENDPOINT", url);
    open_shop();
    assert_order_arrives();
    assert_true(collector_count(&collector, "http.traces.requests") > 0);
    end_all();
}

static void test_an_order_is_one_trace_over_http_with_gzip_and_tls(void **state)
{
    (void)state;
    char url[64];
    struct test_certificates certificates;
    certificates_open(&certificates);
    const char *const options[] = {"--tls-cert", certificates.server, "--tls-key", certificates.server_key, NULL};
    collector_open(&collector, options);
    snprintf(url, sizeof url, "https://%s", collector.http);
    set_usual();
    set("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    set("OTEL_EXPORTER_OTLP_ENDPOINT", url);
    set("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    set("OTEL_EXPORTER_OTLP_CERTIFICATE", certificates.ca);
    open_shop();
    assert_order_arrives();
    assert_true(collector_count(&collector, "http.traces.compressed") > 0);
    end_all();
    certificates_close(&certificates);
}

/* --- the requests of one connection */

struct caller {
    const char *path, *host, *agent;
    int status;
};

/* The span of one request says who asked for what; returns the caller's port. */
static json_int_t assert_asked(const struct caller *caller)
{
    char host[80], agent[80];
    snprintf(host, sizeof host, "Host: %s:81", caller->host);
    snprintf(agent, sizeof agent, "User-Agent: %s", caller->agent);
    const char *const headers[] = {host, agent, NULL};
    struct answer answer;
    http_call(&shop, "GET", caller->path, NULL, headers, &answer);
    assert_answer(&answer, caller->status);
    json_decref(collector_wait(&collector, "spans=%d&trace_id=%s", 4, trace_of(&answer)));
    json_t *trace = collector_get(&collector, "/api/traces/%s", trace_of(&answer));
    json_t *root = span_of(trace, "api-gateway", "GET /api/users/:id");
    assert_attribute(root, "http.request.method", "GET");
    assert_attribute(root, "http.route", "/api/users/:id");
    assert_attribute(root, "url.path", caller->path);
    assert_attribute(root, "server.address", caller->host);
    assert_attribute(root, "user_agent.original", caller->agent);
    assert_attribute(root, "network.peer.address", "127.0.0.1");
    assert_attribute(root, "client.address", "127.0.0.1");
    assert_int_equal(json_integer_value(collector_attribute(root, "server.port")), 81);
    assert_int_equal(json_integer_value(collector_attribute(root, "http.response.status_code")), caller->status);
    json_t *served = span_of(trace, "user-service", "user.User/GetUser");
    assert_attribute(served, "rpc.system.name", "grpc");
    assert_attribute(served, "rpc.response.status_code", caller->status == 200 ? "OK" : "NOT_FOUND");
    json_int_t port = json_integer_value(collector_attribute(root, "network.peer.port"));
    json_decref(trace);
    answer_done(&answer);
    return port;
}

static void test_the_requests_of_a_connection_are_told_apart(void **state)
{
    (void)state;
    open_receiver();
    open_shop();
    scoped_free char *user = shop_add_user(&shop);
    char path[80];
    snprintf(path, sizeof path, "/api/users/%s", user);
    static const char nobody[] = "/api/users/00000000-0000-4000-8000-000000000001";
    const struct caller callers[] = {
        {path, "one.example", "first/1", 200},  {path, "one.example", "first/1", 200},
        {path, "one.example", "second/2", 200}, {nobody, "two.example", "second/2", 404},
        {path, "two.example", "second/2", 200}, {path, "one.example", "first/1", 200},
    };
    json_int_t port = assert_asked(&callers[0]);
    for (unsigned i = 1; i < array_count(callers); i++)
        assert_int_equal(assert_asked(&callers[i]), port); /* the same connection */
    end_all();
}

/* --- load */

struct load {
    unsigned requests;
    atomic_uint answered, sampled, failed;
};

static void *run_load(void *arg)
{
    struct load *load = arg;
    for (unsigned i = 0; i < load->requests; i++) {
        struct answer answer;
        http_call(&shop, "GET", "/health", NULL, NULL, &answer);
        atomic_fetch_add(answer.status == 200 ? &load->answered : &load->failed, 1);
        if (answer.status == 200 && is_sampled(&answer))
            atomic_fetch_add(&load->sampled, 1);
        answer_done(&answer);
    }
    return NULL;
}

static void load_all(struct load *load, unsigned threads)
{
    pthread_t ids[8];
    for (unsigned i = 0; i < threads; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, run_load, load), 0);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
}

/* --- the mounted file, swapped as a ConfigMap's mount is */

static char mount[400];
static unsigned versions;

static void write_file(const char *path, const char *ratio)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(
        file,
        "file_format: \"1.0\"\n"
        "tracer_provider:\n"
        "  sampler: {parent_based: {root: {trace_id_ratio_based: {ratio: %s}}}}\n"
        "  processors:\n"
        "    - batch: {schedule_delay: 50, max_queue_size: 65536, exporter: {otlp_grpc: {endpoint: \"http://%s\"}}}\n",
        ratio, collector.grpc);
    assert_int_equal(fclose(file), 0);
}

static void mount_ratio(const char *ratio)
{
    char folder[450], path[500], data[450], fresh[450], name[40];
    snprintf(name, sizeof name, "..v%u", ++versions);
    snprintf(folder, sizeof folder, "%s/%s", mount, name);
    snprintf(path, sizeof path, "%s/otel.yaml", folder);
    snprintf(data, sizeof data, "%s/..data", mount);
    snprintf(fresh, sizeof fresh, "%s/..data_tmp", mount);
    assert_int_equal(mkdir(folder, 0755), 0);
    write_file(path, ratio);
    assert_int_equal(symlink(name, fresh), 0);
    assert_int_equal(rename(fresh, data), 0);
}

static void open_mount(const char *ratio)
{
    char path[450];
    snprintf(mount, sizeof mount, "/tmp/bodega-mount-XXXXXX");
    assert_non_null(mkdtemp(mount));
    mount_ratio(ratio);
    snprintf(path, sizeof path, "%s/otel.yaml", mount);
    assert_int_equal(symlink("..data/otel.yaml", path), 0);
}

static void close_mount(void)
{
    scoped_free char *command = mem_print("rm -rf '%s'", mount);
    assert_int_equal(system(command), 0);
}

/* As often as the line was logged, the file was taken over. */
static unsigned reloads_of(enum shop_service service)
{
    scoped_free char *log = shop_log(&shop, service);
    unsigned count = 0;
    for (const char *at = log; (at = strstr(at, "telemetry settings taken over")); at++)
        count++;
    return count;
}

static void await_reloads(unsigned wanted)
{
    int64_t until_ns = clock_now_ns() + WAIT_MS * NS_PER_MS;
    while (reloads_of(SHOP_GATEWAY) < wanted) {
        assert_true(clock_now_ns() < until_ns);
        usleep(5000);
    }
}

static double sampled_share(unsigned requests)
{
    struct load load = {.requests = requests / 4};
    load_all(&load, 4);
    assert_int_equal(atomic_load(&load.failed), 0);
    return (double)atomic_load(&load.sampled) / requests;
}

static void test_the_mounted_ratio_decides_how_many_are_sampled(void **state)
{
    (void)state;
    char path[450];
    collector_open(&collector, NULL);
    open_mount("0");
    snprintf(path, sizeof path, "%s/otel.yaml", mount);
    settings[0] = NULL;
    set("OTEL_CONFIG_FILE", path);
    open_shop();
    assert_true(sampled_share(1000) == 0);
    struct load during = {.requests = 4000};
    pthread_t loader;
    pthread_create(&loader, NULL, run_load, &during);
    mount_ratio("0.25");
    await_reloads(1);
    pthread_join(loader, NULL);
    assert_int_equal(atomic_load(&during.failed), 0);
    double share = sampled_share(20000);
    assert_true(share > 0.23 && share < 0.27);
    mount_ratio("1.0");
    await_reloads(2);
    collector_wipe(&collector);
    assert_true(sampled_share(2000) == 1);
    json_decref(collector_wait(&collector, "spans=2000"));
    mount_ratio("often");
    mount_ratio("1.00");
    assert_true(sampled_share(400) == 1); /* a bad file changes nothing */
    end_all();
    close_mount();
}

/* --- receivers that fail, and the end */

static void test_a_receiver_that_hangs_costs_spans_but_no_request(void **state)
{
    (void)state;
    open_receiver();
    set("OTEL_EXPORTER_OTLP_TIMEOUT", "1000");
    set("OTEL_BSP_EXPORT_TIMEOUT", "2000");
    open_shop();
    collector_fault(&collector, "{\"kind\":\"hang\",\"signal\":\"traces\"}");
    struct load load = {.requests = 2000};
    load_all(&load, 4);
    assert_int_equal(atomic_load(&load.answered), 8000);
    collector_clear_faults(&collector);
    collector_wipe(&collector);
    struct load after = {.requests = 50};
    load_all(&after, 4);
    json_decref(collector_wait(&collector, "spans=200"));
    assert_metric("api-gateway", "otel.sdk.processor.span.processed");
    end_all();
}

static void test_a_receiver_that_is_not_there_yet_is_found_later(void **state)
{
    (void)state;
    open_receiver();
    collector_stop(&collector);
    open_shop();
    struct load load = {.requests = 100};
    load_all(&load, 4);
    assert_int_equal(atomic_load(&load.answered), 400);
    collector_start(&collector);
    assert_order_arrives();
    end_all();
}

static void test_no_span_of_an_answered_request_is_missing_at_the_end(void **state)
{
    (void)state;
    open_receiver();
    set("OTEL_BSP_SCHEDULE_DELAY", "60000"); /* nothing but the end, and full batches, send spans */
    set("OTEL_BSP_MAX_QUEUE_SIZE", "65536");
    open_shop();
    collector_wipe(&collector);
    struct load load = {.requests = 3000};
    pthread_t loader;
    pthread_create(&loader, NULL, run_load, &load);
    while (atomic_load(&load.answered) < 500)
        usleep(1000);
    assert_int_equal(shop_stop(&shop, SHOP_GATEWAY), 0);
    pthread_join(loader, NULL);
    long answered = (long)atomic_load(&load.answered);
    assert_true(answered >= 500);
    json_decref(collector_wait(&collector, "spans=%ld", answered));
    end_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_order_is_one_trace_over_grpc),
        cmocka_unit_test(test_an_order_is_one_trace_over_grpc_with_gzip_and_tls),
        cmocka_unit_test(test_an_order_is_one_trace_over_http),
        cmocka_unit_test(test_an_order_is_one_trace_over_http_with_gzip_and_tls),
        cmocka_unit_test(test_the_requests_of_a_connection_are_told_apart),
        cmocka_unit_test(test_the_mounted_ratio_decides_how_many_are_sampled),
        cmocka_unit_test(test_a_receiver_that_hangs_costs_spans_but_no_request),
        cmocka_unit_test(test_a_receiver_that_is_not_there_yet_is_found_later),
        cmocka_unit_test(test_no_span_of_an_answered_request_is_missing_at_the_end),
    };
    return cmocka_run_group_tests_name("telemetry", tests, NULL, NULL);
}
