/* The whole SDK against the build's own collector: all three signals, joined, and a reload that moves them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/collector.h"

#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/otel/otel.h"

enum { WAIT_MS = 10000 };

static char config[] = "/tmp/test_otel_delivery.XXXXXX", message[512];
static const struct otel_options options = {.service_name = "delivery", .service_version = "2", .config_file = config};

static void configure(const char *kind, const char *address, bool with_path)
{
    static const char *const sections[][3] = {
        {"traces", "tracer_provider: { processors: [ { batch: { schedule_delay: 60000", "} } ] }"},
        {"logs", "logger_provider: { processors: [ { batch: { schedule_delay: 60000", "} } ] }"},
        {"metrics", "meter_provider: { readers: [ { periodic: { interval: 60000", "} } ] }"},
    };
    char fresh[80];
    snprintf(fresh, sizeof fresh, "%s.new", config);
    FILE *file = fopen(fresh, "w");
    fputs("file_format: \"1.0\"\n", file);
    for (size_t i = 0; i < array_count(sections); i++)
        fprintf(file, "%s, exporter: { %s: { endpoint: \"http://%s%s%s\", compression: gzip } } %s\n", sections[i][1],
                kind, address, with_path ? "/v1/" : "", with_path ? sections[i][0] : "", sections[i][2]);
    fclose(file);
    rename(fresh, config);
}

static void configure_grpc(const struct test_collector *collector)
{
    configure("otlp_grpc", collector->grpc, false);
}

static void configure_http(const struct test_collector *collector)
{
    configure("otlp_http", collector->http, true);
}

static int set_up(void **state)
{
    (void)state;
    close(mkstemp(config));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    otel_stop(WAIT_MS);
    unlink(config);
    strcpy(config + strlen(config) - 6, "XXXXXX");
    return 0;
}

static void start(void)
{
    enum err err = otel_start(&options, message, sizeof message);
    if (err)
        print_message("%s\n", message);
    assert_int_equal(err, ERR_OK);
}

/* A span with a line in it, and a count; the trace's id as text. */
static void do_work(char out_trace_id[33])
{
    struct otel_span span;
    otel_span_start(&span, otel_tracer("delivery", NULL, NULL), "work", NULL);
    otel_span_enter(&span);
    log_event(LOG_INFO, "a line", log_int("n", 1));
    otel_counter_add(otel_counter(otel_meter("delivery", NULL, NULL), "delivery.work", NULL), 1, NULL, 0);
    hash_hex(span.context.trace_id, 16, out_trace_id);
    otel_span_end(&span);
}

static void deliver(void (*configure_for)(const struct test_collector *collector))
{
    struct test_collector collector;
    char trace_id[33];
    collector_open(&collector, NULL);
    configure_for(&collector);
    start();
    do_work(trace_id);
    assert_true(otel_stop(WAIT_MS));
    json_decref(collector_wait(&collector, "trace_id=%s&spans=1&logs=1&points=1", trace_id));
    json_t *names = collector_get(&collector, "/api/metrics");
    char *text = json_dumps(names, 0);
    assert_non_null(strstr(text, "delivery.work"));
    assert_non_null(strstr(text, "otel.sdk.span.started"));
    free(text);
    json_decref(names);
    collector_close(&collector);
}

static void test_trace_log_and_metric_arrive_over_grpc_and_belong_together(void **state)
{
    (void)state;
    deliver(configure_grpc);
}

static void test_trace_log_and_metric_arrive_over_http_and_belong_together(void **state)
{
    (void)state;
    deliver(configure_http);
}

static void test_reload_moves_all_signals_to_another_collector(void **state)
{
    (void)state;
    struct test_collector first, second;
    char before[33], after[33];
    collector_open(&first, NULL);
    collector_open(&second, NULL);
    configure_grpc(&first);
    start();
    do_work(before);
    configure_http(&second);
    assert_true(otel_reload());
    do_work(after);
    assert_true(otel_stop(WAIT_MS));
    json_decref(collector_wait(&first, "trace_id=%s&spans=1&logs=1", before));
    json_decref(collector_wait(&second, "trace_id=%s&spans=1&logs=1", after));
    collector_close(&first);
    collector_close(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_trace_log_and_metric_arrive_over_grpc_and_belong_together, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_trace_log_and_metric_arrive_over_http_and_belong_together, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_reload_moves_all_signals_to_another_collector, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("otel delivery", tests, NULL, NULL);
}
