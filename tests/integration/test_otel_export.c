/* The exporters against a real receiver: what arrives, what is tried again and what is not, and what ends a wait. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "otel/export/output.h"
#include "otel/export/writer.h"
#include "otel/sdk/buffer.h"
#include "otel/sdk/exporter.h"
#include "support/collector.h"
#include "support/server.h"

enum { SPANS_MAX = 600, SOON_S = 60 };

static struct test_collector collector;

static int64_t after_ms(int64_t ms)
{
    return clock_now_ns() + ms * NS_PER_MS;
}

static int64_t soon(void)
{
    return after_ms(SOON_S * 1000);
}

/* --- what is sent */

static const struct sdk_scope scope = {"tests", "1.0", NULL};
static const struct otel_attribute service[] = {{"service.name", {.type = OTEL_TEXT, .count = 6, .text = "tester"}}};
static const struct sdk_resource resource = {service, 1, NULL};

static struct span_record spans[SPANS_MAX];
static struct span_record *span_pointers[SPANS_MAX];

/* Distinct spans, so that the receiver sees none of them twice. */
static struct export_batch span_batch(unsigned count)
{
    static unsigned serial;
    for (unsigned i = 0; i < count; i++) {
        unsigned number = ++serial;
        spans[i] = (struct span_record){.scope = &scope,
                                        .trace_id = {1},
                                        .name = "work",
                                        .kind = OTEL_SPAN_INTERNAL,
                                        .start_wall_ns = clock_wall_ns(),
                                        .end_wall_ns = clock_wall_ns() + 1000};
        memcpy(spans[i].trace_id + 8, &number, sizeof number);
        memcpy(spans[i].span_id, &number, sizeof number);
        span_pointers[i] = &spans[i];
    }
    return (struct export_batch){
        .signal = SIGNAL_TRACES, .resource = &resource, .count = count, .spans = span_pointers};
}

static struct log_record a_log;
static struct log_record *const log_pointer = &a_log;

static struct export_batch log_batch(void)
{
    a_log = (struct log_record){.scope = &scope,
                                .time_wall_ns = clock_wall_ns(),
                                .observed_wall_ns = clock_wall_ns(),
                                .severity = OTEL_INFO,
                                .body = otel_value_text("hello")};
    return (struct export_batch){.signal = SIGNAL_LOGS, .resource = &resource, .count = 1, .logs = &log_pointer};
}

static struct metric_point points[2];
static struct metric a_metric;

static struct export_batch metric_batch(void)
{
    for (unsigned i = 0; i < 2; i++)
        points[i] = (struct metric_point){
            .start_wall_ns = clock_wall_ns() - NS_PER_S, .wall_ns = clock_wall_ns(), .integer = i + 1};
    points[1].attributes = service;
    points[1].attribute_count = 1;
    a_metric = (struct metric){.scope = &scope,
                               .name = "count",
                               .description = "",
                               .unit = "1",
                               .type = METRIC_SUM,
                               .integer = true,
                               .monotonic = true,
                               .temporality = TEMPORALITY_CUMULATIVE,
                               .points = points,
                               .point_count = 2};
    return (struct export_batch){.signal = SIGNAL_METRICS, .resource = &resource, .count = 1, .metrics = &a_metric};
}

/* --- how it is sent */

static struct exporter_settings settings;
static char endpoint[256];

static struct exporter *open_kind(enum exporter_kind kind, enum signal signal)
{
    static const char *const paths[] = {"traces", "metrics", "logs"};
    char message[512] = "";
    settings.kind = kind;
    if (!settings.endpoint) {
        if (kind == EXPORT_OTLP_GRPC)
            snprintf(endpoint, sizeof endpoint, "http://%s", collector.grpc);
        else
            snprintf(endpoint, sizeof endpoint, "http://%s/v1/%s", collector.http, paths[signal]);
        settings.endpoint = endpoint;
    }
    struct exporter *exporter = exporter_open(&settings, signal, message, sizeof message);
    if (!exporter)
        print_error("%s\n", message);
    assert_non_null(exporter);
    assert_int_equal(exporter->signal, signal);
    assert_string_equal(exporter->methods->type, exporter_type(kind, signal));
    return exporter;
}

static struct exporter *open_traces(enum exporter_kind kind)
{
    settings = (struct exporter_settings){.timeout_ms = 10000, .response_bytes_max = 4 << 20};
    return open_kind(kind, SIGNAL_TRACES);
}

static void give(struct exporter *exporter)
{
    exporter->methods->free(exporter);
}

static struct export_result deliver(struct exporter *exporter, struct export_batch batch, int64_t deadline_ns)
{
    return exporter->methods->export(exporter, &batch, deadline_ns);
}

static const enum exporter_kind both[] = {EXPORT_OTLP_GRPC, EXPORT_OTLP_HTTP};
static const char *const names[] = {"grpc", "http"};

static long count_of(enum exporter_kind kind, const char *what)
{
    char path[100];
    snprintf(path, sizeof path, "%s.%s", names[kind == EXPORT_OTLP_HTTP], what);
    return collector_count(&collector, path);
}

static void refused_as(struct export_result result, const char *error)
{
    assert_false(result.ok);
    assert_string_equal(result.error, error);
}

/* --- what is logged meanwhile */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text_seen[65536];

static void see_line(const struct log_line *line)
{
    pthread_mutex_lock(&log_lock);
    size_t used = strlen(log_text_seen);
    used += (size_t)snprintf(log_text_seen + used, 256, "%s", line->message);
    for (unsigned i = 0; i < line->count; i++) {
        char value[300];
        if (line->fields[i].type == LOG_FIELD_TEXT)
            snprintf(value, sizeof value, "%s", line->fields[i].text);
        else
            snprintf(value, sizeof value, "%lld", (long long)line->fields[i].integer);
        used += (size_t)snprintf(log_text_seen + used, 400, " %s=%s", line->fields[i].key, value);
    }
    strcpy(log_text_seen + used, "\n");
    assert_true(used < sizeof log_text_seen - 4096);
    pthread_mutex_unlock(&log_lock);
}

static unsigned lines_with(const char *text)
{
    unsigned count = 0;
    pthread_mutex_lock(&log_lock);
    for (const char *at = log_text_seen; (at = strstr(at, text)); at++)
        count++;
    pthread_mutex_unlock(&log_lock);
    return count;
}

static int begin_test(void **state)
{
    (void)state;
    collector_clear_faults(&collector);
    collector_wipe(&collector);
    log_text_seen[0] = '\0';
    settings = (struct exporter_settings){.timeout_ms = 10000, .response_bytes_max = 4 << 20};
    return 0;
}

/* --- arriving */

static void send_all_signals(enum exporter_kind kind)
{
    struct export_batch batches[] = {span_batch(3), metric_batch(), log_batch()};
    for (unsigned i = 0; i < array_count(batches); i++) {
        settings.endpoint = NULL;
        struct exporter *exporter = open_kind(kind, batches[i].signal);
        struct export_result result = deliver(exporter, batches[i], soon());
        assert_true(result.ok);
        assert_int_equal(result.rejected, 0);
        assert_null(result.error);
        give(exporter);
    }
}

static void test_all_signals_arrive(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(both); i++) {
        static const struct header_settings headers[] = {{"X-Tenant", "blue"}, {"X-Empty", ""}};
        begin_test(NULL);
        settings.headers = headers;
        settings.header_count = 2;
        send_all_signals(both[i]);
        assert_int_equal(count_of(both[i], "requests"), 3);
        assert_int_equal(count_of(both[i], "compressed"), 0);
        json_t *counts = collector_get(&collector, "/counts");
        assert_int_equal(json_integer_value(collector_at(counts, "spans")), 3);
        assert_int_equal(json_integer_value(collector_at(counts, "points")), 2);
        assert_int_equal(json_integer_value(collector_at(counts, "logs")), 1);
        assert_int_equal(json_integer_value(collector_at(counts, "malformed")), 0);
        assert_int_equal(json_integer_value(collector_at(counts, "invalid")), 0);
        json_t *seen = collector_at(collector_at(counts, names[i]), "traces.headers");
        assert_string_equal(json_string_value(json_object_get(seen, "x-tenant")), "blue");
        assert_string_equal(json_string_value(json_object_get(seen, "x-empty")), "");
        const char *agent = json_string_value(json_object_get(seen, "user-agent"));
        assert_int_equal(strncmp(agent, "OTel-OTLP-Exporter-C/" BODEGA_VERSION, 21 + strlen(BODEGA_VERSION)), 0);
        json_decref(counts);
    }
}

static void test_all_signals_arrive_compressed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(both); i++) {
        begin_test(NULL);
        settings.gzip = true;
        settings.endpoint = NULL;
        struct exporter *exporter = open_kind(both[i], SIGNAL_TRACES);
        assert_true(deliver(exporter, span_batch(500), soon()).ok);
        assert_true(deliver(exporter, span_batch(500), soon()).ok);
        give(exporter);
        assert_int_equal(collector_count(&collector, "spans"), 1000);
        assert_int_equal(count_of(both[i], "compressed"), 2);
    }
}

static void test_nothing_is_sent_for_an_empty_batch(void **state)
{
    (void)state;
    struct exporter *exporter = open_traces(EXPORT_OTLP_GRPC);
    assert_true(deliver(exporter, span_batch(0), soon()).ok);
    give(exporter);
    assert_int_equal(collector_count(&collector, "requests"), 0);
}

static void test_endpoints_without_a_scheme_go_where_insecure_says(void **state)
{
    (void)state;
    char target[300];
    const char *const forms[] = {"%s", "dns:///%s", "ipv4:%s"};
    for (unsigned i = 0; i < array_count(forms); i++) {
        size_t prefix = strcspn(forms[i], "%");
        snprintf(target, sizeof target, "%.*s%s", (int)prefix, forms[i], collector.grpc);
        settings.endpoint = target;
        settings.tls.insecure = true;
        struct exporter *exporter = open_kind(EXPORT_OTLP_GRPC, SIGNAL_TRACES);
        assert_true(deliver(exporter, span_batch(1), soon()).ok);
        give(exporter);
        settings.tls.insecure = false;
        exporter = open_kind(EXPORT_OTLP_GRPC, SIGNAL_TRACES);
        assert_false(deliver(exporter, span_batch(1), after_ms(200)).ok);
        give(exporter);
    }
    assert_int_equal(collector_count(&collector, "spans"), array_count(forms));
}

/* localhost is this machine's loopback address, of either family. */
static void test_localhost_is_found_on_either_address(void **state)
{
    (void)state;
    char target[64], v6[32];
    snprintf(target, sizeof target, "http://localhost:%d", collector.grpc_port);
    settings.endpoint = target;
    struct exporter *exporter = open_kind(EXPORT_OTLP_GRPC, SIGNAL_TRACES);
    assert_true(deliver(exporter, span_batch(1), soon()).ok);
    give(exporter);

    struct test_collector other;
    int port = test_free_port();
    snprintf(v6, sizeof v6, "[::1]:%d", port);
    const char *options[] = {"--grpc", v6, NULL};
    collector_open(&other, options);
    snprintf(target, sizeof target, "http://localhost:%d", port);
    exporter = open_kind(EXPORT_OTLP_GRPC, SIGNAL_TRACES);
    assert_true(deliver(exporter, span_batch(1), soon()).ok);
    give(exporter);
    snprintf(target, sizeof target, "http://[::1]:%d", port);
    exporter = open_kind(EXPORT_OTLP_GRPC, SIGNAL_TRACES);
    assert_true(deliver(exporter, span_batch(1), soon()).ok);
    give(exporter);
    assert_int_equal(collector_count(&other, "spans"), 2);
    collector_close(&other);
}

static void test_a_large_batch_leaves_in_several_messages(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(both); i++) {
        begin_test(NULL);
        struct exporter *exporter = open_traces(both[i]);
        settings.request_bytes_max = 2000;
        struct export_batch batch = span_batch(100);
        char long_name[4096];
        memset(long_name, 'x', sizeof long_name - 1);
        long_name[sizeof long_name - 1] = '\0';
        spans[7].name = long_name; /* alone beyond the limit */
        struct export_result result = deliver(exporter, batch, soon());
        assert_true(result.ok);
        assert_int_equal(result.rejected, 1);
        assert_string_equal(result.error, "message_too_large");
        assert_int_equal(collector_count(&collector, "spans"), 99);
        assert_true(collector_count(&collector, "requests") >= 4);
        batch.count = 1;
        batch.spans = &span_pointers[7];
        refused_as(deliver(exporter, batch, soon()), "message_too_large");
        give(exporter);
    }
}

/* --- trying again */

static void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void fault(const char *format, ...)
{
    char json[400];
    va_list args;
    va_start(args, format);
    vsnprintf(json, sizeof json, format, args);
    va_end(args);
    collector_fault(&collector, json);
}

static void test_grpc_repeats_exactly_what_the_protocol_names(void **state)
{
    (void)state;
    struct exporter *exporter = open_traces(EXPORT_OTLP_GRPC);
    for (int code = 1; code <= 16; code++) {
        bool repeats = code == 1 || code == 4 || code == 10 || code == 11 || code == 14 || code == 15;
        bool exhausted = code == 8;
        collector_wipe(&collector);
        fault("{\"kind\":\"fail\",\"requests\":1,\"code\":%d,\"retry_delay_ms\":1}", code);
        struct export_result result = deliver(exporter, span_batch(1), soon());
        assert_int_equal(result.ok, repeats || exhausted);
        assert_int_equal(collector_count(&collector, "requests"), repeats || exhausted ? 2 : 1);
        assert_int_equal(collector_count(&collector, "spans"), repeats || exhausted);
        if (!result.ok)
            assert_string_equal(result.error, err_name(code));
    }
    collector_wipe(&collector);
    fault("{\"kind\":\"fail\",\"requests\":1,\"code\":8}");
    refused_as(deliver(exporter, span_batch(1), soon()), "RESOURCE_EXHAUSTED");
    assert_int_equal(collector_count(&collector, "requests"), 1);
    give(exporter);
}

static void test_http_repeats_exactly_what_the_protocol_names(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *error;
    } final[] = {{301, "301"}, {307, "307"}, {400, "400"}, {401, "401"}, {404, "404"},    {408, "408"},
                 {413, "413"}, {500, "500"}, {501, "501"}, {505, "505"}, {599, "_OTHER"}, {418, "_OTHER"}};
    static const int repeated[] = {429, 502, 503, 504};
    struct exporter *exporter = open_traces(EXPORT_OTLP_HTTP);
    for (unsigned i = 0; i < array_count(final); i++) {
        collector_wipe(&collector);
        fault("{\"kind\":\"fail\",\"requests\":1,\"status\":%d,\"retry_after\":\"1\"}", final[i].status);
        refused_as(deliver(exporter, span_batch(1), soon()), final[i].error);
        assert_int_equal(collector_count(&collector, "requests"), 1);
    }
    for (unsigned i = 0; i < array_count(repeated); i++) {
        collector_wipe(&collector);
        fault("{\"kind\":\"fail\",\"requests\":1,\"status\":%d}", repeated[i]);
        assert_true(deliver(exporter, span_batch(1), soon()).ok);
        assert_int_equal(collector_count(&collector, "requests"), 2);
        assert_int_equal(collector_count(&collector, "spans"), 1);
    }
    give(exporter);
}

/* A receiver that asks for half a minute is not asked again at once, neither by this export nor by the next. */
static void test_the_delay_that_a_receiver_asks_for_is_kept(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(both); i++) {
        begin_test(NULL);
        struct exporter *exporter = open_traces(both[i]);
        fault("{\"kind\":\"fail\",\"requests\":1,\"code\":14,\"retry_delay_ms\":30000,\"retry_after\":\"30\"}");
        assert_false(deliver(exporter, span_batch(1), after_ms(3000)).ok);
        refused_as(deliver(exporter, span_batch(1), after_ms(300)), "timeout");
        assert_int_equal(collector_count(&collector, "requests"), 1);
        /* Nor does haste help, and it does not wait for what cannot be. */
        exporter->methods->hurry(exporter, after_ms(20000));
        refused_as(deliver(exporter, span_batch(1), soon()), "timeout");
        assert_int_equal(collector_count(&collector, "requests"), 1);
        give(exporter);
    }
}

static void test_it_arrives_after_the_delay_that_was_asked_for(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(both); i++) {
        begin_test(NULL);
        struct exporter *exporter = open_traces(both[i]);
        fault("{\"kind\":\"fail\",\"requests\":1,\"code\":14,\"retry_delay_ms\":1000,\"retry_after\":\"1\"}");
        int64_t earliest = after_ms(1000);
        assert_true(deliver(exporter, span_batch(1), soon()).ok);
        assert_true(clock_now_ns() >= earliest); /* waiting longer than that is no fault of ours */
        assert_int_equal(collector_count(&collector, "requests"), 2);
        give(exporter);
    }
}

static void test_a_receiver_that_starts_late_still_gets_it(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(both); i++) {
        begin_test(NULL);
        struct exporter *exporter = open_traces(both[i]);
        assert_true(deliver(exporter, span_batch(1), soon()).ok);
        collector_kill(&collector);
        assert_false(deliver(exporter, span_batch(1), after_ms(2500)).ok);
        assert_int_equal(lines_with("telemetry is not delivered"), 1);
        collector_start(&collector);
        assert_true(deliver(exporter, span_batch(1), soon()).ok);
        assert_int_equal(lines_with("telemetry is delivered again"), 1);
        assert_int_equal(collector_count(&collector, "spans"), 1);
        give(exporter);
    }
}

/* --- time */

static void test_a_receiver_that_hangs_costs_the_deadline(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(both); i++) {
        begin_test(NULL);
        struct exporter *exporter = open_traces(both[i]);
        fault("{\"kind\":\"hang\"}");
        int64_t deadline = after_ms(300);
        struct export_result result = deliver(exporter, span_batch(1), deadline);
        refused_as(result, both[i] == EXPORT_OTLP_GRPC ? "DEADLINE_EXCEEDED" : "timeout");
        assert_true(clock_now_ns() >= deadline - NS_PER_MS);
        refused_as(deliver(exporter, span_batch(1), after_ms(-1)), "timeout");
        give(exporter);
    }
}

static void test_one_attempt_is_given_up_and_the_next_succeeds(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(both); i++) {
        begin_test(NULL);
        struct exporter *exporter = open_traces(both[i]);
        settings.timeout_ms = 200;
        fault("{\"kind\":\"hang\",\"requests\":1}");
        assert_true(deliver(exporter, span_batch(1), soon()).ok);
        assert_true(collector_count(&collector, "requests") >= 2);
        give(exporter);
    }
}

struct sending {
    struct exporter *exporter;
    struct export_result result;
    pthread_t thread;
};

static void *send_one(void *arg)
{
    struct sending *sending = arg;
    sending->result = deliver(sending->exporter, span_batch(1), CLOCK_NEVER);
    return NULL;
}

static void sending_start(struct sending *sending, struct exporter *exporter)
{
    *sending = (struct sending){.exporter = exporter};
    assert_int_equal(pthread_create(&sending->thread, NULL, send_one, sending), 0);
}

static void sending_join(struct sending *sending)
{
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += SOON_S;
    assert_int_equal(pthread_timedjoin_np(sending->thread, NULL, &limit), 0);
}

static void test_haste_ends_an_attempt_that_hangs(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(both); i++) {
        begin_test(NULL);
        struct exporter *exporter = open_traces(both[i]);
        settings.timeout_ms = 0;
        fault("{\"kind\":\"hang\"}");
        struct sending sending;
        sending_start(&sending, exporter);
        json_decref(collector_wait(&collector, "held=1"));
        exporter->methods->hurry(exporter, after_ms(SOON_S * 1000)); /* wakes, and changes little */
        exporter->methods->hurry(exporter, after_ms(50));
        sending_join(&sending);
        assert_false(sending.result.ok);
        give(exporter);
    }
}

static void test_haste_ends_a_pause(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(both); i++) {
        begin_test(NULL);
        struct exporter *exporter = open_traces(both[i]);
        fault("{\"kind\":\"fail\",\"code\":14,\"retry_delay_ms\":600000,\"retry_after\":\"600\"}");
        struct sending sending;
        sending_start(&sending, exporter);
        json_decref(collector_wait(&collector, "requests=1"));
        exporter->methods->hurry(exporter, after_ms(20000));
        sending_join(&sending);
        refused_as(sending.result, both[i] == EXPORT_OTLP_GRPC ? "UNAVAILABLE" : "503");
        assert_int_equal(collector_count(&collector, "requests"), 1);
        give(exporter);
    }
}

static void test_haste_before_an_export_counts_too(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(both); i++) {
        begin_test(NULL);
        struct exporter *exporter = open_traces(both[i]);
        exporter->methods->hurry(exporter, clock_now_ns());
        refused_as(deliver(exporter, span_batch(1), CLOCK_NEVER), "timeout");
        assert_int_equal(collector_count(&collector, "requests"), 0);
        give(exporter);
    }
}

/* --- answers */

static void test_a_partial_success_is_counted_told_once_and_not_repeated(void **state)
{
    (void)state;
    for (unsigned i = 0; i < array_count(both); i++) {
        begin_test(NULL);
        struct exporter *exporter = open_traces(both[i]);
        fault("{\"kind\":\"partial\",\"rejected\":2,\"message\":\"too old\"}");
        for (unsigned round = 0; round < 3; round++) {
            struct export_result result = deliver(exporter, span_batch(5), soon());
            assert_true(result.ok);
            assert_int_equal(result.rejected, 2);
        }
        assert_int_equal(collector_count(&collector, "requests"), 3);
        assert_int_equal(lines_with("telemetry was rejected in part"), 1);
        assert_int_equal(lines_with("detail=too old rejected=2"), 1);
        collector_clear_faults(&collector);
        fault("{\"kind\":\"partial\",\"rejected\":900,\"message\":\"all\"}");
        assert_int_equal(deliver(exporter, span_batch(5), soon()).rejected, 5);
        assert_int_equal(lines_with("rejected in part"), 1); /* one a minute */
        give(exporter);
    }
}

static void test_a_warning_rejects_nothing(void **state)
{
    (void)state;
    struct exporter *exporter = open_traces(EXPORT_OTLP_HTTP);
    fault("{\"kind\":\"partial\",\"rejected\":0,\"message\":\"please upgrade\"}");
    struct export_result result = deliver(exporter, span_batch(1), soon());
    assert_true(result.ok);
    assert_int_equal(result.rejected, 0);
    assert_int_equal(lines_with("the telemetry receiver warns"), 1);
    give(exporter);
}

static void test_lost_telemetry_is_told_without_secrets(void **state)
{
    (void)state;
    static const struct header_settings headers[] = {{"authorization", "Bearer hush-hush"}};
    char url[200];
    snprintf(url, sizeof url, "http://me:hush-hush@%s/v1/traces?token=hush-hush", collector.http);
    settings.endpoint = url;
    settings.headers = headers;
    settings.header_count = 1;
    struct exporter *exporter = open_kind(EXPORT_OTLP_HTTP, SIGNAL_TRACES);
    fault("{\"kind\":\"fail\",\"status\":403,\"message\":\"go away\"}");
    for (unsigned i = 0; i < 3; i++)
        refused_as(deliver(exporter, span_batch(4), soon()), "403");
    assert_int_equal(
        lines_with("telemetry is not delivered exporter=otlp_http_span_exporter endpoint=http://127.0.0.1:"), 1);
    assert_int_equal(lines_with("/v1/traces error=403 detail=go away lost=4"), 1);
    assert_int_equal(lines_with("not delivered"), 1); /* one a minute */
    collector_clear_faults(&collector);
    assert_true(deliver(exporter, span_batch(1), soon()).ok);
    assert_int_equal(lines_with("delivered again"), 1);
    assert_int_equal(lines_with("lost=8"), 1);
    assert_int_equal(lines_with("hush-hush"), 0);
    give(exporter);
}

/* --- receivers that are none: a socket that answers each connection with the same bytes */

struct odd_server {
    int fd, port;
    const char *answer; /* NULL: closes at once */
    size_t answer_bytes;
    atomic_uint connections;
    pthread_t thread;
};

static void answer_connection(const struct odd_server *server, int fd)
{
    char request[65536];
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    if (server->answer && poll(&readable, 1, 5000) == 1 && read(fd, request, sizeof request) > 0)
        for (size_t sent = 0; sent < server->answer_bytes;) {
            ssize_t n = write(fd, server->answer + sent, server->answer_bytes - sent);
            if (n <= 0)
                break;
            sent += (size_t)n;
        }
    shutdown(fd, SHUT_WR);
    while (poll(&readable, 1, 5000) == 1 && read(fd, request, sizeof request) > 0)
        ;
    close(fd);
}

static void *serve_oddly(void *arg)
{
    struct odd_server *server = arg;
    for (int fd; (fd = accept(server->fd, NULL, NULL)) >= 0;) {
        atomic_fetch_add(&server->connections, 1);
        answer_connection(server, fd);
    }
    return NULL;
}

static void odd_server_open(struct odd_server *server, const char *answer, size_t bytes)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    *server = (struct odd_server){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .answer = answer};
    server->answer_bytes = bytes;
    assert_int_equal(bind(server->fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(server->fd, 8), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&at, &length), 0);
    server->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve_oddly, server), 0);
}

static void odd_server_close(struct odd_server *server)
{
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->fd);
}

static struct export_result send_to_odd(const char *answer, size_t bytes, int64_t wait_ms, unsigned *connections)
{
    struct odd_server server;
    char url[64];
    odd_server_open(&server, answer, bytes);
    begin_test(NULL);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1/traces", server.port);
    settings.endpoint = url;
    struct exporter *exporter = open_kind(EXPORT_OTLP_HTTP, SIGNAL_TRACES);
    struct export_result result = deliver(exporter, span_batch(1), after_ms(wait_ms));
    give(exporter);
    odd_server_close(&server);
    *connections = atomic_load(&server.connections);
    return result;
}

#define send_to_text(text, wait_ms, connections) send_to_odd((text), sizeof(text) - 1, (wait_ms), (connections))

static void test_odd_answers_of_success_are_told_but_not_repeated(void **state)
{
    (void)state;
    unsigned connections;
    assert_true(send_to_text("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n<html", 20000,
                             &connections)
                    .ok);
    assert_int_equal(connections, 1);
    assert_int_equal(lines_with("is the endpoint an OTLP receiver?"), 1);
    assert_true(
        send_to_text("HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 2\r\n\r\n\x0a\x63",
                     20000, &connections)
            .ok);
    assert_int_equal(lines_with("no protobuf message of the expected kind"), 1);
    assert_true(send_to_text("HTTP/1.1 204 No Content\r\n\r\n", 20000, &connections).ok);
    assert_int_equal(lines_with("cannot be read"), 0);
}

static void test_an_endless_answer_is_cut_off(void **state)
{
    (void)state;
    static char answer[6 << 20] = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n\r\n";
    unsigned connections;
    assert_true(send_to_odd(answer, sizeof answer, 20000, &connections).ok);
    assert_int_equal(connections, 1);
    assert_int_equal(lines_with("longer than the limit"), 1);
}

static void test_a_receiver_that_hangs_up_is_asked_again(void **state)
{
    (void)state;
    unsigned connections;
    struct export_result result = send_to_odd(NULL, 0, 4000, &connections);
    assert_false(result.ok);
    assert_true(connections >= 2);
    result = send_to_text("garbage\r\n\r\n", 1000, &connections);
    assert_false(result.ok);
}

static void test_a_dead_reader_does_not_end_the_process(void **state)
{
    (void)state;
    struct odd_server server;
    char url[64];
    signal(SIGPIPE, SIG_DFL);
    odd_server_open(&server, NULL, 0);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/v1/traces", server.port);
    settings.endpoint = url;
    struct exporter *exporter = open_kind(EXPORT_OTLP_HTTP, SIGNAL_TRACES);
    assert_false(deliver(exporter, span_batch(SPANS_MAX), after_ms(500)).ok);
    give(exporter);
    odd_server_close(&server);
}

/* --- TLS */

static struct test_certificates certificates;
static struct test_collector secure;

static void open_secure(bool with_client)
{
    const char *options[] = {"--tls-cert",
                             certificates.server,
                             "--tls-key",
                             certificates.server_key,
                             with_client ? "--client-ca" : NULL,
                             certificates.ca,
                             NULL};
    collector_open(&secure, options);
}

static struct exporter *open_secure_exporter(enum exporter_kind kind, struct tls_settings tls)
{
    static char url[128];
    settings.tls = tls;
    settings.endpoint = url;
    if (kind == EXPORT_OTLP_GRPC)
        snprintf(url, sizeof url, "https://localhost:%d", secure.grpc_port);
    else
        snprintf(url, sizeof url, "https://localhost:%d/v1/traces", secure.http_port);
    return open_kind(kind, SIGNAL_TRACES);
}

static void test_tls_wants_the_right_authority(void **state)
{
    (void)state;
    open_secure(false);
    for (unsigned i = 0; i < array_count(both); i++) {
        struct tls_settings trusting = {.ca_file = certificates.ca}, strange = {.ca_file = certificates.client};
        struct exporter *exporter = open_secure_exporter(both[i], trusting);
        assert_true(deliver(exporter, span_batch(2), soon()).ok);
        assert_true(deliver(exporter, span_batch(2), soon()).ok);
        give(exporter);
        exporter = open_secure_exporter(both[i], strange);
        assert_false(deliver(exporter, span_batch(1), after_ms(300)).ok);
        give(exporter);
    }
    assert_int_equal(collector_count(&secure, "spans"), 8);
    collector_close(&secure);
}

static void test_a_client_shows_its_certificate(void **state)
{
    (void)state;
    open_secure(true);
    for (unsigned i = 0; i < array_count(both); i++) {
        struct tls_settings known = {
            .ca_file = certificates.ca, .cert_file = certificates.client, .key_file = certificates.client_key};
        struct tls_settings unknown = {.ca_file = certificates.ca};
        struct exporter *exporter = open_secure_exporter(both[i], known);
        assert_true(deliver(exporter, span_batch(3), soon()).ok);
        give(exporter);
        exporter = open_secure_exporter(both[i], unknown);
        assert_false(deliver(exporter, span_batch(1), after_ms(300)).ok);
        give(exporter);
    }
    assert_int_equal(collector_count(&secure, "spans"), 6);
    collector_close(&secure);
}

static void copy_file(const char *from, const char *to)
{
    char content[16384], beside[400];
    FILE *in = fopen(from, "r");
    assert_non_null(in);
    size_t bytes = fread(content, 1, sizeof content, in);
    fclose(in);
    snprintf(beside, sizeof beside, "%s.new", to);
    FILE *out = fopen(beside, "w");
    assert_non_null(out);
    fwrite(content, 1, bytes, out);
    fclose(out);
    assert_int_equal(rename(beside, to), 0);
}

static void test_replaced_certificates_are_taken_over(void **state)
{
    (void)state;
    open_secure(false);
    for (unsigned i = 0; i < array_count(both); i++) {
        char ca[400];
        snprintf(ca, sizeof ca, "%s/changing.pem", certificates.home.directory);
        copy_file(certificates.client, ca);
        struct exporter *exporter = open_secure_exporter(both[i], (struct tls_settings){.ca_file = ca});
        assert_false(deliver(exporter, span_batch(1), after_ms(300)).ok);
        copy_file("/dev/null", ca); /* half written: the old ones stay */
        assert_false(deliver(exporter, span_batch(1), after_ms(300)).ok);
        copy_file(certificates.ca, ca);
        assert_true(deliver(exporter, span_batch(1), soon()).ok);
        give(exporter);
    }
    collector_close(&secure);
}

/* --- settings that cannot work */

static void refused_with(const char *expected)
{
    char message[512] = "";
    struct exporter *exporter = exporter_open(&settings, SIGNAL_TRACES, message, sizeof message);
    if (!strstr(message, expected))
        print_error("expected '%s' in '%s'\n", expected, message);
    assert_null(exporter);
    assert_non_null(strstr(message, expected));
    assert_null(strstr(message, "hush-hush"));
}

static void test_wrong_settings_are_named(void **state)
{
    (void)state;
    char nothing[400], text[400];
    snprintf(nothing, sizeof nothing, "%s/nothing.pem", certificates.home.directory);
    snprintf(text, sizeof text, "%s/text.pem", certificates.home.directory);
    copy_file("/dev/null", text);
    for (unsigned i = 0; i < array_count(both); i++) {
        begin_test(NULL);
        settings.kind = both[i];
        settings.endpoint = "ftp://hush-hush";
        refused_with("endpoint: expected http:// or https://");
        settings.endpoint = "https://localhost:1";
        settings.tls = (struct tls_settings){.ca_file = nothing};
        refused_with("nothing.pem: No such file or directory");
        settings.tls = (struct tls_settings){.ca_file = text};
        refused_with("text.pem: holds no certificate in PEM");
        settings.tls = (struct tls_settings){.ca_file = certificates.home.directory};
        refused_with("cannot be read");
        settings.tls = (struct tls_settings){.cert_file = certificates.client};
        refused_with("client certificate and key are only of use together");
        settings.tls.key_file = text;
        refused_with("text.pem: holds no private key in PEM that can be read");
        settings.tls.key_file = certificates.server_key;
        refused_with("is not the key of the certificate");
        settings.tls = (struct tls_settings){.cert_file = text, .key_file = certificates.server_key};
        refused_with("text.pem: holds no certificate in PEM");
        static const struct header_settings names_with_space = {"bad name", "hush-hush"};
        static const struct header_settings value_with_line = {"x-key", "hush-hush\nx"};
        static const struct header_settings own = {"Content-Type", "hush-hush"};
        const struct header_settings *const wrong[] = {&names_with_space, &value_with_line, &own};
        settings.tls = (struct tls_settings){0};
        settings.header_count = 1;
        for (unsigned h = 0; h < array_count(wrong); h++) {
            settings.headers = wrong[h];
            refused_with(wrong[h]->name);
        }
    }
    begin_test(NULL);
    settings.kind = EXPORT_OTLP_GRPC;
    settings.endpoint = "http://me:hush-hush@localhost:4317";
    refused_with("endpoint: OTLP/gRPC takes no user");
    settings.endpoint = "http://localhost:4317/v1/traces";
    refused_with("endpoint: OTLP/gRPC takes no path");
    settings.kind = EXPORT_PROMETHEUS;
    refused_with("prometheus_http_text_metric_exporter");
    settings.kind = EXPORT_NONE;
    refused_with("none");
}

/* --- files and standard output */

static char *content_of(const char *path)
{
    char *content = mem_alloc(1 << 20);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    content[fread(content, 1, (1 << 20) - 1, file)] = '\0';
    fclose(file);
    return content;
}

static unsigned lines_in(const char *text)
{
    unsigned count = 0;
    for (; (text = strchr(text, '\n')); text++)
        count++;
    return count;
}

static void test_a_file_gets_a_line_of_json_for_each_batch(void **state)
{
    (void)state;
    char path[400], url[500], moved[500];
    snprintf(path, sizeof path, "%s/spans of today.jsonl", certificates.home.directory);
    snprintf(url, sizeof url, "file://%s/spans%%20of%%20today.jsonl", certificates.home.directory);
    snprintf(moved, sizeof moved, "%s.1", path);
    settings.output_stream = url;
    struct exporter *exporter = open_kind(EXPORT_OTLP_FILE, SIGNAL_TRACES);
    assert_true(deliver(exporter, span_batch(3), soon()).ok);
    assert_true(deliver(exporter, span_batch(1), soon()).ok);
    assert_true(deliver(exporter, span_batch(0), soon()).ok);
    scoped_free char *content = content_of(path);
    assert_int_equal(lines_in(content), 2);
    *strchr(content, '\n') = '\0';
    json_t *line = json_loads(content, 0, NULL);
    assert_int_equal(json_array_size(collector_at(line, "resourceSpans.0.scopeSpans.0.spans")), 3);
    json_decref(line);
    /* Log rotation: what comes next goes to a new file. */
    assert_int_equal(rename(path, moved), 0);
    assert_true(deliver(exporter, span_batch(1), soon()).ok);
    scoped_free char *fresh = content_of(path);
    assert_int_equal(lines_in(fresh), 1);
    give(exporter);
    /* Appended to by the next process. */
    exporter = open_kind(EXPORT_OTLP_FILE, SIGNAL_TRACES);
    assert_true(deliver(exporter, span_batch(1), soon()).ok);
    give(exporter);
    scoped_free char *longer = content_of(path);
    assert_int_equal(lines_in(longer), 2);
}

static void test_a_file_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    settings.kind = EXPORT_OTLP_FILE;
    settings.output_stream = "file:///no/such/folder/x";
    refused_with("/no/such/folder/x: No such file or directory");
    settings.output_stream = "stderr";
    refused_with("output_stream: expected stdout or file:///path, got stderr");
    settings.output_stream = "file://relative";
    refused_with("output_stream");
    settings.output_stream = "file:///dev/full";
    struct exporter *exporter = open_kind(EXPORT_OTLP_FILE, SIGNAL_TRACES);
    refused_as(deliver(exporter, span_batch(2), soon()), "ENOSPC");
    assert_int_equal(lines_with("endpoint=/dev/full error=ENOSPC detail=cannot write lost=2"), 1);
    give(exporter);
}

/* Standard output becomes a pipe for the time of run. */
static void with_stdout(int fd, void (*run)(void))
{
    fflush(stdout);
    int before = dup(STDOUT_FILENO);
    assert_true(before >= 0);
    assert_int_equal(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    run();
    assert_int_equal(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
    close(before);
}

static struct export_result stdout_result;
static int64_t stdout_wait_ms;

static void send_to_stdout(void)
{
    struct exporter *exporter = open_kind(settings.kind, SIGNAL_TRACES);
    stdout_result = deliver(exporter, span_batch(SPANS_MAX), after_ms(stdout_wait_ms));
    give(exporter);
}

static void send_line_to_stdout(void)
{
    struct exporter *exporter = open_kind(settings.kind, SIGNAL_TRACES);
    stdout_result = deliver(exporter, span_batch(1), after_ms(stdout_wait_ms));
    give(exporter);
}

static size_t drain(int fd, char *out, size_t room)
{
    size_t used = 0;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (ssize_t n; used < room - 1 && (n = read(fd, out + used, room - 1 - used)) > 0;)
        used += (size_t)n;
    out[used] = '\0';
    return used;
}

static void test_a_reader_of_standard_output_that_sleeps_costs_the_deadline(void **state)
{
    (void)state;
    static char text[1 << 20];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    settings.kind = EXPORT_OTLP_FILE;
    stdout_wait_ms = 300;
    with_stdout(ends[1], send_to_stdout); /* more than a pipe holds */
    refused_as(stdout_result, "timeout");
    assert_true(drain(ends[0], text, sizeof text) > 0);
    stdout_wait_ms = 20000;
    with_stdout(ends[1], send_line_to_stdout);
    assert_true(stdout_result.ok);
    /* What was cut off has got its end of line. */
    drain(ends[0], text, sizeof text);
    assert_int_equal(text[0], '\n');
    json_t *line = json_loads(text, 0, NULL);
    assert_non_null(line);
    json_decref(line);
    /* Whoever has gone away ends nobody. */
    close(ends[0]);
    with_stdout(ends[1], send_line_to_stdout);
    refused_as(stdout_result, "EPIPE");
    close(ends[1]);
}

static void print_to_pipe(void)
{
    struct export_batch batches[] = {span_batch(1), metric_batch(), log_batch()};
    for (unsigned i = 0; i < array_count(batches); i++) {
        struct exporter *exporter = open_kind(EXPORT_CONSOLE, batches[i].signal);
        exporter->methods->hurry(exporter, soon());
        assert_true(deliver(exporter, batches[i], soon()).ok);
        give(exporter);
    }
}

static void test_the_console_shows_all_signals(void **state)
{
    (void)state;
    char text[4096];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    settings.kind = EXPORT_CONSOLE;
    with_stdout(ends[1], print_to_pipe);
    drain(ends[0], text, sizeof text);
    assert_int_equal(lines_in(text), 4);
    assert_non_null(strstr(text, "ms internal \"work\" trace_id=01000000"));
    assert_non_null(strstr(text, " count sum 2 1 scope=tests {service.name=\"tester\"}\n"));
    assert_non_null(strstr(text, " info \"hello\" scope=tests\n"));
    close(ends[0]);
    close(ends[1]);
}

static void printed_as(const struct export_batch *batch, const char *expected)
{
    struct buffer out = {0};
    console_print(&out, batch);
    buffer_char(&out, '\0');
    assert_string_equal((char *)out.data, expected);
    buffer_free(&out);
}

static void test_console_lines_have_a_stable_form(void **state)
{
    (void)state;
    const int64_t at = INT64_C(1800000000) * NS_PER_S;
    const char *list[] = {"a", NULL};
    const struct otel_attribute inner[] = {otel_bool("yes", true)};
    const struct otel_attribute attributes[] = {otel_text("text", "two\nlines \x1b[31m"),
                                                otel_real("real", 0.5),
                                                otel_bytes("bytes", "\x01\xff", 2),
                                                otel_texts("list", list, 2),
                                                {"strange key", {.type = OTEL_MAP, .count = 1, .map = inner}}};
    struct event_record event = {.wall_ns = at, .name = "e", .attributes = inner, .attribute_count = 1};
    struct link_record link = {.trace_id = {1}, .span_id = {2}};
    struct span_record span = {.scope = &scope,
                               .trace_id = {0xab},
                               .span_id = {0xcd},
                               .parent_span_id = {0xef},
                               .name = "GET /",
                               .kind = OTEL_SPAN_SERVER,
                               .start_wall_ns = at,
                               .end_wall_ns = at + 1500000,
                               .attributes = (struct otel_attribute *)(uintptr_t)attributes,
                               .attribute_count = 5,
                               .events = &event,
                               .event_count = 1,
                               .links = &link,
                               .link_count = 1,
                               .status = OTEL_STATUS_ERROR,
                               .status_message = "broken"};
    struct span_record *const one_span[] = {&span};
    printed_as(&(struct export_batch){.signal = SIGNAL_TRACES, .count = 1, .spans = one_span},
               "span 2027-01-15T08:00:00.000000Z 1.5ms server \"GET /\" trace_id=ab000000000000000000000000000000 "
               "span_id=cd00000000000000 parent_span_id=ef00000000000000 status=error \"broken\" scope=tests "
               "{text=\"two\\nlines \\u001b[31m\" real=0.5 bytes=0x01ff list=[\"a\" null] \"strange key\"={yes=true}}\n"
               "  event 2027-01-15T08:00:00.000000Z \"e\" {yes=true}\n"
               "  link trace_id=01000000000000000000000000000000 span_id=0200000000000000\n");

    struct log_record log = {.scope = &scope, .observed_wall_ns = at, .severity = 10, .event_name = "login"};
    struct log_record *const one_log[] = {&log};
    printed_as(&(struct export_batch){.signal = SIGNAL_LOGS, .count = 1, .logs = one_log},
               "log 2027-01-15T08:00:00.000000Z info2 event_name=login scope=tests\n");
    log.severity = OTEL_SEVERITY_NONE;
    printed_as(&(struct export_batch){.signal = SIGNAL_LOGS, .count = 1, .logs = one_log},
               "log 2027-01-15T08:00:00.000000Z unspecified event_name=login scope=tests\n");

    const double bounds[] = {0.5};
    const uint64_t counts[] = {3, 4};
    struct metric_point point = {.wall_ns = at,
                                 .count = 7,
                                 .has_sum = true,
                                 .sum = 9.5,
                                 .has_min_max = true,
                                 .min = 0.25,
                                 .max = 3,
                                 .buckets = counts,
                                 .bucket_count = 2,
                                 .scale = 3,
                                 .positive = counts,
                                 .positive_count = 2,
                                 .positive_offset = -4};
    struct metric metric = {.scope = &scope,
                            .name = "time",
                            .unit = "s",
                            .type = METRIC_HISTOGRAM,
                            .bounds = bounds,
                            .bound_count = 1,
                            .points = &point,
                            .point_count = 1};
    struct export_batch metrics = {.signal = SIGNAL_METRICS, .count = 1, .metrics = &metric};
    printed_as(&metrics, "metric 2027-01-15T08:00:00.000000Z time histogram count=7 sum=9.5 min=0.25 max=3 "
                         "buckets=[\xe2\x89\xa4"
                         "0.5:3 \xe2\x89\xa4Infinity:4] s scope=tests\n");
    metric.type = METRIC_EXPONENTIAL;
    printed_as(&metrics, "metric 2027-01-15T08:00:00.000000Z time exponential_histogram count=7 sum=9.5 min=0.25 max=3 "
                         "scale=3 zero=0 positive=-4[3 4] s scope=tests\n");
    metric.type = METRIC_GAUGE;
    point.real = 2.5;
    printed_as(&metrics, "metric 2027-01-15T08:00:00.000000Z time gauge 2.5 s scope=tests\n");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_all_signals_arrive, begin_test),
        cmocka_unit_test_setup(test_all_signals_arrive_compressed, begin_test),
        cmocka_unit_test_setup(test_nothing_is_sent_for_an_empty_batch, begin_test),
        cmocka_unit_test_setup(test_endpoints_without_a_scheme_go_where_insecure_says, begin_test),
        cmocka_unit_test_setup(test_localhost_is_found_on_either_address, begin_test),
        cmocka_unit_test_setup(test_a_large_batch_leaves_in_several_messages, begin_test),
        cmocka_unit_test_setup(test_grpc_repeats_exactly_what_the_protocol_names, begin_test),
        cmocka_unit_test_setup(test_http_repeats_exactly_what_the_protocol_names, begin_test),
        cmocka_unit_test_setup(test_the_delay_that_a_receiver_asks_for_is_kept, begin_test),
        cmocka_unit_test_setup(test_it_arrives_after_the_delay_that_was_asked_for, begin_test),
        cmocka_unit_test_setup(test_a_receiver_that_starts_late_still_gets_it, begin_test),
        cmocka_unit_test_setup(test_a_receiver_that_hangs_costs_the_deadline, begin_test),
        cmocka_unit_test_setup(test_one_attempt_is_given_up_and_the_next_succeeds, begin_test),
        cmocka_unit_test_setup(test_haste_ends_an_attempt_that_hangs, begin_test),
        cmocka_unit_test_setup(test_haste_ends_a_pause, begin_test),
        cmocka_unit_test_setup(test_haste_before_an_export_counts_too, begin_test),
        cmocka_unit_test_setup(test_a_partial_success_is_counted_told_once_and_not_repeated, begin_test),
        cmocka_unit_test_setup(test_a_warning_rejects_nothing, begin_test),
        cmocka_unit_test_setup(test_lost_telemetry_is_told_without_secrets, begin_test),
        cmocka_unit_test_setup(test_odd_answers_of_success_are_told_but_not_repeated, begin_test),
        cmocka_unit_test_setup(test_an_endless_answer_is_cut_off, begin_test),
        cmocka_unit_test_setup(test_a_receiver_that_hangs_up_is_asked_again, begin_test),
        cmocka_unit_test_setup(test_a_dead_reader_does_not_end_the_process, begin_test),
        cmocka_unit_test_setup(test_tls_wants_the_right_authority, begin_test),
        cmocka_unit_test_setup(test_a_client_shows_its_certificate, begin_test),
        cmocka_unit_test_setup(test_replaced_certificates_are_taken_over, begin_test),
        cmocka_unit_test_setup(test_wrong_settings_are_named, begin_test),
        cmocka_unit_test_setup(test_a_file_gets_a_line_of_json_for_each_batch, begin_test),
        cmocka_unit_test_setup(test_a_file_that_cannot_be_written_is_named, begin_test),
        cmocka_unit_test_setup(test_a_reader_of_standard_output_that_sleeps_costs_the_deadline, begin_test),
        cmocka_unit_test_setup(test_the_console_shows_all_signals, begin_test),
        cmocka_unit_test_setup(test_console_lines_have_a_stable_form, begin_test),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    log_sink_set(see_line);
    collector_open(&collector, NULL);
    certificates_open(&certificates);
    int failed = cmocka_run_group_tests_name("otel_export", tests, NULL, NULL);
    certificates_close(&certificates);
    collector_close(&collector);
    curl_global_cleanup();
    return failed;
}
