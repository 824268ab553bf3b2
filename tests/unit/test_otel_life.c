/* The SDK from start to stop, with real settings files, exporting into files. */
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "support/support.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/otel/otel.h"
#include "otel/sdk/change.h"
#include "otel/sdk/self.h"

enum { WAIT_MS = 10000, MESSAGE_BYTES = 512 };

static char directory[] = "/tmp/test_otel_life.XXXXXX";
static char config[64], traces[64], metrics[64], logs[64], other[64], message[MESSAGE_BYTES];
static struct otel_options options = {.service_name = "life", .service_version = "1", .config_file = config};

/* --- files */

static void write_file(const char *path, const char *text)
{
    char fresh[80];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *file = fopen(fresh, "w");
    fputs(text, file);
    fclose(file);
    rename(fresh, path);
}

/* What a file holds, for the caller to free; empty when there is none. */
static char *read_file(const char *path)
{
    struct stat status = {0};
    stat(path, &status);
    char *text = mem_alloc((size_t)status.st_size + 1);
    FILE *file = fopen(path, "r");
    if (file) {
        assert_int_equal(fread(text, 1, (size_t)status.st_size, file), status.st_size);
        fclose(file);
    }
    return text;
}

/* By strchr(): ThreadSanitizer's strstr() looks at all of the text each time. */
static unsigned count_in(const char *path, const char *what)
{
    scoped_free char *text = read_file(path);
    unsigned count = 0;
    for (const char *at = text; (at = strchr(at, *what)) != NULL; at++)
        count += strncmp(at, what, strlen(what)) == 0;
    return count;
}

/* A whole configuration; traces go to the given file. */
static void configure(const char *sampler, const char *traces_to, const char *more)
{
    char text[4096];
    snprintf(
        text, sizeof text,
        "file_format: \"1.0\"\n"
        "%s\n"
        "tracer_provider:\n"
        "  sampler: { %s: }\n"
        "  processors:\n"
        "    - batch: { schedule_delay: 60000, max_queue_size: 100000, exporter: { otlp_file/development: { "
        "output_stream: \"file://%s\" } } "
        "}\n"
        "meter_provider:\n"
        "  readers:\n"
        "    - periodic: { interval: 60000, exporter: { otlp_file/development: { output_stream: \"file://%s\" } } }\n"
        "logger_provider:\n"
        "  processors:\n"
        "    - batch: { schedule_delay: 60000, max_queue_size: 100000, exporter: { otlp_file/development: { "
        "output_stream: \"file://%s\" } } "
        "}\n",
        more, sampler, traces_to, metrics, logs);
    write_file(config, text);
}

static void start(void)
{
    enum err err = otel_start(&options, message, sizeof message);
    if (err)
        print_message("%s\n", message);
    assert_int_equal(err, ERR_OK);
}

static void record_span(const char *name)
{
    struct otel_span span;
    otel_span_start(&span, otel_tracer("life", NULL, NULL), name, NULL);
    otel_span_end(&span);
}

static int set_up_all(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(config, sizeof config, "%s/otel.yaml", directory);
    snprintf(traces, sizeof traces, "%s/traces.jsonl", directory);
    snprintf(metrics, sizeof metrics, "%s/metrics.jsonl", directory);
    snprintf(logs, sizeof logs, "%s/logs.jsonl", directory);
    snprintf(other, sizeof other, "%s/other.jsonl", directory);
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    return rmdir(directory);
}

static int set_up(void **state)
{
    (void)state;
    log_level_set(LOG_INFO);
    options.watch = false;
    configure("always_on", traces, "");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    otel_stop(WAIT_MS);
    const char *const paths[] = {config, traces, metrics, logs, other};
    for (size_t i = 0; i < array_count(paths); i++)
        unlink(paths[i]);
    return 0;
}

/* --- start and stop */

static void test_all_three_signals_arrive_with_the_resource(void **state)
{
    (void)state;
    const char *const files[] = {traces, metrics, logs};
    start();
    struct otel_counter *counter = otel_counter(otel_meter("life", NULL, NULL), "life.count", NULL);
    record_span("work");
    otel_counter_add(counter, 3, NULL, 0);
    log_event(LOG_INFO, "a line");
    assert_true(otel_flush(WAIT_MS));
    assert_int_equal(count_in(traces, "\"work\""), 1);
    assert_int_equal(count_in(metrics, "\"life.count\""), 1);
    assert_int_equal(count_in(logs, "\"a line\""), 1);
    assert_true(otel_stop(WAIT_MS));
    for (size_t i = 0; i < array_count(files); i++) {
        assert_true(count_in(files[i], "\"telemetry.sdk.name\"") > 0);
        assert_true(count_in(files[i], "\"life\"") > 0);
    }
}

static void test_line_inside_a_span_belongs_to_it(void **state)
{
    (void)state;
    struct otel_span span;
    char id[33];
    start();
    otel_span_start(&span, otel_tracer("life", NULL, NULL), "work", NULL);
    otel_span_enter(&span);
    log_event(LOG_INFO, "inside");
    for (unsigned i = 0; i < 16; i++)
        snprintf(id + 2 * i, 3, "%02x", span.context.trace_id[i]);
    otel_span_end(&span);
    assert_true(otel_stop(WAIT_MS));
    assert_int_equal(count_in(logs, id), 1);
    assert_int_equal(count_in(traces, id), 1);
}

static void test_stop_and_start_can_be_repeated_and_left_out(void **state)
{
    (void)state;
    assert_true(otel_stop(WAIT_MS));
    assert_true(otel_flush(WAIT_MS));
    assert_false(otel_reload());
    for (unsigned round = 0; round < 3; round++) {
        start();
        record_span("work");
        assert_true(otel_stop(WAIT_MS));
        record_span("after the end");
        assert_true(otel_stop(WAIT_MS));
    }
    assert_int_equal(count_in(traces, "\"work\""), 3);
    assert_int_equal(count_in(traces, "after the end"), 0);
}

static void test_second_start_is_refused_and_the_first_goes_on(void **state)
{
    (void)state;
    start();
    assert_int_equal(otel_start(&options, message, sizeof message), ERR_FAILED_PRECONDITION);
    assert_non_null(strstr(message, "before"));
    record_span("work");
    assert_true(otel_flush(WAIT_MS));
    assert_int_equal(count_in(traces, "\"work\""), 1);
}

static void test_wrong_settings_start_nothing_and_say_where(void **state)
{
    (void)state;
    write_file(config, "file_format: \"1.0\"\ntracer_provider:\n  no_such_key: 1\n");
    assert_int_equal(otel_start(&options, message, sizeof message), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(message, ":3:"));
    assert_non_null(strstr(message, "no_such_key"));
    unlink(config);
    assert_int_not_equal(otel_start(&options, message, sizeof message), ERR_OK);
    assert_non_null(strstr(message, config));
    configure("always_on", "/no/such/directory/traces.jsonl", "");
    assert_int_equal(otel_start(&options, message, sizeof message), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(message, "/no/such/directory"));
    assert_false(otel_tracer_enabled(otel_tracer("life", NULL, NULL)));
    assert_false(otel_logger_enabled(otel_logger("life", NULL, NULL), OTEL_INFO));
    configure("always_on", traces, "");
    start();
}

static void test_failed_start_ends_its_watch(void **state)
{
    (void)state;
    options.watch = true;
    write_file(config, "nonsense");
    assert_int_not_equal(otel_start(&options, message, sizeof message), ERR_OK);
    configure("always_on", traces, "");
    start();
}

static void test_disabled_starts_nothing_but_applies_the_propagators(void **state)
{
    (void)state;
    configure("always_on", traces, "disabled: true\npropagator: { composite: [ { baggage: } ] }");
    start();
    assert_string_equal(otel_propagation_fields()[0], "baggage");
    assert_null(otel_propagation_fields()[1]);
    record_span("work");
    assert_true(otel_flush(WAIT_MS));
    configure("always_on", traces, "propagator: { composite: [ { tracecontext: }, { baggage: } ] }");
    assert_true(otel_reload());
    assert_string_equal(otel_propagation_fields()[0], "traceparent");
    record_span("enabled");
    configure("always_on", traces, "disabled: true");
    assert_true(otel_reload());
    record_span("disabled again");
    assert_true(otel_stop(WAIT_MS));
    assert_int_equal(count_in(traces, "\"enabled\""), 1);
    assert_int_equal(count_in(traces, "\"work\""), 0);
    assert_int_equal(count_in(traces, "disabled again"), 0);
}

static void test_environment_counts_without_a_file(void **state)
{
    (void)state;
    static const struct otel_options no_file = {.service_name = "life"};
    setenv("OTEL_SDK_DISABLED", "true", 1);
    assert_int_equal(otel_start(&no_file, message, sizeof message), ERR_OK);
    assert_false(otel_tracer_enabled(otel_tracer("life", NULL, NULL)));
    assert_false(otel_reload());
    assert_true(otel_stop(WAIT_MS));
    unsetenv("OTEL_SDK_DISABLED");
    setenv("OTEL_CONFIG_FILE", config, 1);
    assert_int_equal(otel_start(NULL, message, sizeof message), ERR_OK);
    assert_true(otel_tracer_enabled(otel_tracer("life", NULL, NULL)));
    assert_true(otel_stop(WAIT_MS));
    unsetenv("OTEL_CONFIG_FILE");
}

static void test_log_level_is_the_files_while_it_names_one(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum log_level level;
    } steps[] = {{"log_level: debug", LOG_DEBUG},
                 {"log_level: warn2", LOG_WARN},
                 {"log_level: fatal", LOG_ERROR},
                 {"log_level: info", LOG_INFO},
                 {"", LOG_WARN}};
    log_level_set(LOG_WARN);
    start();
    assert_int_equal(log_level_get(), LOG_WARN);
    for (size_t i = 0; i < array_count(steps); i++) {
        configure("always_on", traces, steps[i].text);
        assert_true(otel_reload());
        assert_int_equal(log_level_get(), steps[i].level);
    }
}

/* --- reloads */

static void test_reload_changes_the_sampler_and_loses_nothing(void **state)
{
    (void)state;
    start();
    record_span("before");
    configure("always_off", traces, "");
    assert_true(otel_reload());
    record_span("unsampled");
    configure("always_on", other, "");
    assert_true(otel_reload());
    record_span("elsewhere");
    assert_true(otel_stop(WAIT_MS));
    assert_int_equal(count_in(traces, "\"before\""), 1);
    assert_int_equal(count_in(traces, "\"unsampled\""), 0);
    assert_int_equal(count_in(other, "\"elsewhere\""), 1);
    assert_int_equal(count_in(logs, "telemetry settings taken over"), 2);
}

static void test_bad_file_changes_nothing_and_is_told_and_counted(void **state)
{
    (void)state;
    start();
    write_file(config, "file_format: \"1.0\"\ntracer_provider: 7\n");
    assert_false(otel_reload());
    configure("always_off", "/no/such/directory/traces.jsonl", "log_level: debug");
    assert_false(otel_reload());
    unlink(config);
    assert_false(otel_reload());
    record_span("work");
    assert_int_equal(log_level_get(), LOG_INFO);
    assert_true(otel_stop(WAIT_MS));
    assert_int_equal(count_in(traces, "\"work\""), 1);
    assert_int_equal(count_in(logs, "telemetry settings refused"), 3);
    assert_int_equal(count_in(metrics, "\"libcommon.otel.config.reloads\""), 1);
}

static void test_same_content_does_nothing(void **state)
{
    (void)state;
    start();
    configure("always_on", traces, "");
    assert_true(otel_reload());
    write_file(config, "nonsense");
    assert_false(otel_reload());
    configure("always_on", traces, "");
    assert_true(otel_reload());
    assert_true(otel_stop(WAIT_MS));
    assert_int_equal(count_in(logs, "telemetry settings taken over"), 0);
}

/* Until the file's text has come to the log level, by a file's change alone. */
static bool wait_level(enum log_level level)
{
    for (int64_t until_ns = clock_now_ns() + WAIT_MS * NS_PER_MS; clock_now_ns() < until_ns; poll(NULL, 0, 5))
        if (log_level_get() == level)
            return true;
    return false;
}

static void test_watched_file_takes_effect_by_itself(void **state)
{
    (void)state;
    options.watch = true;
    start();
    configure("always_on", traces, "log_level: debug");
    assert_true(wait_level(LOG_DEBUG));
    write_file(config, "nonsense");
    configure("always_on", traces, "log_level: error");
    assert_true(wait_level(LOG_ERROR));
    assert_true(otel_stop(WAIT_MS));
    configure("always_on", traces, "log_level: debug");
    assert_int_equal(log_level_get(), LOG_ERROR);
}

/* --- under load */

struct load {
    atomic_bool stop;
    atomic_uint rounds;
};

static void *work(void *arg)
{
    enum { ROUNDS_AT_ONCE = 4 };
    struct load *load = arg;
    struct otel_logger *logger = otel_logger("life", NULL, NULL);
    struct otel_counter *counter = otel_counter(otel_meter("life", NULL, NULL), "life.busy", NULL);
    struct otel_log log = {.severity = OTEL_INFO, .body = otel_value_text("busy line")};
    while (!atomic_load(&load->stop)) {
        record_span("busy");
        otel_logger_emit(logger, &log);
        otel_counter_add(counter, 1, NULL, 0);
        if (atomic_fetch_add(&load->rounds, 1) % ROUNDS_AT_ONCE == 0)
            poll(NULL, 0, 1);
    }
    return NULL;
}

static void await_rounds(struct load *load, unsigned more)
{
    unsigned until = atomic_load(&load->rounds) + more;
    int64_t until_ns = clock_now_ns() + WAIT_MS * NS_PER_MS;
    while (atomic_load(&load->rounds) < until && clock_now_ns() < until_ns)
        poll(NULL, 0, 1);
}

static void test_reloads_under_load_lose_nothing(void **state)
{
    (void)state;
    enum { WORKERS = 3, RELOADS = 10, ROUNDS_BETWEEN = 200 };
    pthread_t threads[WORKERS];
    struct load load = {0};
    start();
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], NULL, work, &load);
    for (unsigned i = 0; i < RELOADS; i++) {
        await_rounds(&load, ROUNDS_BETWEEN);
        configure("always_on", i % 2 ? traces : other,
                  i % 3 ? "" : "resource: { attributes: [ { name: n, value: v } ] }");
        assert_true(otel_reload());
    }
    atomic_store(&load.stop, true);
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(otel_stop(WAIT_MS));
    unsigned rounds = atomic_load(&load.rounds);
    assert_true(rounds >= RELOADS * ROUNDS_BETWEEN);
    assert_int_equal(count_in(traces, "\"name\":\"busy\"") + count_in(other, "\"name\":\"busy\""), rounds);
    assert_int_equal(count_in(logs, "\"busy line\""), rounds);
}

/* --- an endpoint that takes connections and says nothing */

static int listen_silently(int *out_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *out_port = ntohs(address.sin_port);
    return fd;
}

static void configure_silent(int port)
{
    char text[1024];
    snprintf(text, sizeof text,
             "file_format: \"1.0\"\n"
             "tracer_provider:\n"
             "  processors:\n"
             "    - batch: { schedule_delay: 1, exporter: { otlp_http: { endpoint: \"http://127.0.0.1:%d/v1/traces\" } "
             "} }\n",
             port);
    write_file(config, text);
}

static void test_stop_gives_up_on_a_silent_endpoint(void **state)
{
    (void)state;
    enum { PATIENCE_MS = 300 };
    int port, fd = listen_silently(&port);
    configure_silent(port);
    start();
    record_span("lost");
    assert_false(otel_flush(PATIENCE_MS));
    assert_false(otel_stop(PATIENCE_MS));
    close(fd);
}

static void test_what_a_silent_endpoint_did_not_take_leaves_by_the_next_one(void **state)
{
    (void)state;
    enum { SPANS = 50 };
    int port, fd = listen_silently(&port);
    configure_silent(port);
    start();
    record_span("first");
    assert_false(otel_flush(100)); /* the first one is under way */
    for (unsigned i = 0; i < SPANS; i++)
        record_span("waiting");
    configure("always_on", traces, "");
    assert_true(otel_reload());
    record_span("new");
    assert_true(otel_stop(WAIT_MS));
    assert_int_equal(count_in(traces, "\"waiting\""), SPANS);
    assert_int_equal(count_in(traces, "\"new\""), 1);
    close(fd);
}

static void test_changes_are_named(void **state)
{
    (void)state;
    static const struct otel_attribute attribute = {.key = "a"};
    static const char *const patterns[] = {"a*", NULL}, *const others[] = {"b*", NULL};
    const struct sampler_settings on = {.kind = SAMPLER_ALWAYS_ON};
    const struct processor_settings processor = {.batch = true}, simple = {.batch = false};
    const struct reader_settings reader = {.interval_ms = 1}, slower = {.interval_ms = 2};
    struct sampler_settings ratio = {.kind = SAMPLER_TRACE_ID_RATIO, .ratio = 0.5};
    struct sdk_settings a = {.sampler = {SAMPLER_PARENT_BASED, 0, &on, &on, &on, &on, &on},
                             .span_processors = &processor,
                             .span_processor_count = 1,
                             .readers = &reader,
                             .reader_count = 1,
                             .detected_included = patterns};
    struct sdk_settings b = a;
    char text[200];
    assert_string_equal(settings_changes(&a, &b, text, sizeof text), "nothing");
    b.sampler.local_parent_not_sampled = &ratio;
    assert_string_equal(settings_changes(&a, &b, text, sizeof text), "traces");
    b = a;
    b.span_processors = &simple;
    b.detected_included = others;
    assert_string_equal(settings_changes(&a, &b, text, sizeof text), "traces, resource");
    b = a;
    b.readers = &slower;
    b.log_limits.attribute_count = 7;
    b.propagate_baggage = true;
    assert_string_equal(settings_changes(&a, &b, text, sizeof text), "metrics, logs, propagators");
    assert_string_equal(settings_changes(&a, &b, text, 12), "metrics, lo");
    b = a;
    b.resource_attributes = &attribute;
    b.resource_attribute_count = 1;
    b.disabled = true;
    b.log_level = OTEL_INFO;
    assert_string_equal(settings_changes(&a, &b, text, sizeof text), "disabled, resource, log level");
    b = a;
    b.detected_included = NULL;
    b.resource_schema_url = "https://example.org";
    assert_string_equal(settings_changes(&a, &b, text, sizeof text), "resource");
}

/* --- the SDK's own metrics */

static json_t *last_line(const char *path)
{
    scoped_free char *text = read_file(path);
    size_t length = strlen(text);
    assert_true(length > 1);
    text[length - 1] = '\0';
    char *line = strrchr(text, '\n');
    return json_loads(line ? line + 1 : text, 0, NULL);
}

static bool has_attribute(const json_t *point, const char *key, const char *value)
{
    size_t i;
    json_t *attribute;
    json_array_foreach(
        json_object_get(point, "attributes"), i,
        attribute) if (strcmp(json_string_value(json_object_get(attribute, "key")), key) ==
                       0) return strcmp(json_string_value(json_object_get(json_object_get(attribute, "value"),
                                                                          "stringValue")),
                                        value) == 0;
    return !*value;
}

/* The value of the last collection's point with that attribute ("": without it), summed over all such points. */
static long long sum_of(const char *metric, const char *key, const char *value)
{
    json_t *request = last_line(metrics), *scope, *one, *point;
    json_t *scopes = json_object_get(json_array_get(json_object_get(request, "resourceMetrics"), 0), "scopeMetrics");
    size_t s, m, p;
    long long sum = 0;
    json_array_foreach(scopes, s, scope)
        json_array_foreach(json_object_get(scope, "metrics"), m,
                           one) if (strcmp(json_string_value(json_object_get(one, "name")), metric) == 0)
            json_array_foreach(json_object_get(json_object_get(one, "sum"), "dataPoints"), p,
                               point) if (has_attribute(point, key, value)) sum +=
        atoll(json_string_value(json_object_get(point, "asInt")));
    json_decref(request);
    return sum;
}

static void record_child(const char *name, bool remote)
{
    struct trace_context parent = trace_new();
    parent.remote = remote;
    parent.flags = 1;
    struct otel_span span;
    otel_span_start(&span, otel_tracer("life", NULL, NULL), name, &(struct otel_span_options){.parent = &parent});
    otel_span_end(&span);
}

static void test_spans_are_counted_by_origin_and_result(void **state)
{
    (void)state;
    struct otel_span live;
    start();
    assert_true(otel_flush(WAIT_MS));
    long long none = sum_of("otel.sdk.span.started", "otel.span.parent.origin", "none");
    long long local = sum_of("otel.sdk.span.started", "otel.span.parent.origin", "local");
    long long remote = sum_of("otel.sdk.span.started", "otel.span.parent.origin", "remote");
    long long dropped = sum_of("otel.sdk.span.started", "otel.span.sampling_result", "DROP");
    long long lived = sum_of("otel.sdk.span.live", "otel.span.sampling_result", "RECORD_AND_SAMPLE");
    record_span("root");
    record_child("child", false);
    record_child("child", true);
    record_child("child", true);
    otel_span_start(&live, otel_tracer("life", NULL, NULL), "live", NULL);
    assert_true(otel_flush(WAIT_MS));
    assert_int_equal(sum_of("otel.sdk.span.started", "otel.span.parent.origin", "none"), none + 2);
    assert_int_equal(sum_of("otel.sdk.span.started", "otel.span.parent.origin", "local"), local + 1);
    assert_int_equal(sum_of("otel.sdk.span.started", "otel.span.parent.origin", "remote"), remote + 2);
    assert_int_equal(sum_of("otel.sdk.span.live", "otel.span.sampling_result", "RECORD_AND_SAMPLE"), lived + 1);
    otel_span_end(&live);
    configure("always_off", traces, "");
    assert_true(otel_reload());
    record_span("dropped");
    assert_true(otel_flush(WAIT_MS));
    assert_int_equal(sum_of("otel.sdk.span.started", "otel.span.sampling_result", "DROP"), dropped + 1);
    assert_int_equal(sum_of("otel.sdk.span.live", "otel.span.sampling_result", "RECORD_AND_SAMPLE"), lived);
}

static void test_counts_of_replaced_components_go_on(void **state)
{
    (void)state;
    static const char metric[] = "otel.sdk.processor.span.processed", key[] = "otel.component.type";
    start();
    assert_true(otel_flush(WAIT_MS));
    long long before = sum_of(metric, key, "batching_span_processor");
    for (unsigned i = 0; i < 6; i++) {
        record_span("work");
        configure("always_on", i % 2 ? traces : other, "");
        assert_true(otel_reload());
    }
    assert_true(otel_flush(WAIT_MS));
    assert_int_equal(sum_of(metric, key, "batching_span_processor"), before + 6);
    assert_int_equal(count_in(metrics, "\"batching_span_processor/2\""), 0);
}

static void test_failures_are_counted_by_error_and_never_forgotten(void **state)
{
    (void)state;
    enum { ERRORS = COMPONENT_ERRORS_MAX + 3 };
    static char errors[ERRORS][16];
    static const char metric[] = "otel.sdk.exporter.span.exported", key[] = "error.type";
    struct component component = {
        .role = COMPONENT_EXPORTER, .signal = SIGNAL_TRACES, .type = "life_exporter", .server_address = "example.org"};
    start();
    list_init(&component.list);
    component_add(&component);
    assert_string_equal(component.name, "life_exporter/0");
    for (unsigned i = 0; i < ERRORS; i++) {
        snprintf(errors[i], sizeof errors[i], "E%u", i);
        component_failed(&component, errors[i], 10 + i);
        component_failed(&component, errors[i], 1);
    }
    assert_true(otel_flush(WAIT_MS));
    assert_int_equal(sum_of(metric, key, "E0"), 11);
    assert_int_equal(sum_of(metric, key, "_OTHER"), 4 * 11 + 15 + 16 + 17 + 18);
    component_remove(&component);
    component_add(&component);
    component_remove(&component);
    component_remove(&component);
    assert_true(otel_flush(WAIT_MS));
    assert_true(sum_of(metric, key, "E0") >= 11);
    assert_int_equal(sum_of("otel.sdk.exporter.span.inflight", "otel.component.name", "life_exporter/0"), 0);
}

static void test_series_of_removed_components_are_bounded(void **state)
{
    (void)state;
    enum { ADDRESSES = 200 };
    struct component component = {.role = COMPONENT_EXPORTER, .signal = SIGNAL_LOGS, .type = "life_exporter"};
    list_init(&component.list);
    start();
    for (unsigned i = 0; i < ADDRESSES; i++) {
        component.server_address = "example.org";
        component.server_port = 1000 + (int)i;
        component_add(&component);
        assert_string_equal(component.name, "life_exporter/0");
        component_remove(&component);
    }
    unlink(metrics);
    assert_true(otel_flush(WAIT_MS));
    assert_in_range(count_in(metrics, "\"life_exporter/0\""), 1, 64);
}

static void test_own_metrics_have_the_conventions_names(void **state)
{
    (void)state;
    static const char *const names[] = {
        "otel.sdk.span.started",
        "otel.sdk.span.live",
        "otel.sdk.processor.span.processed",
        "otel.sdk.processor.span.queue.size",
        "otel.sdk.processor.span.queue.capacity",
        "otel.sdk.exporter.span.inflight",
        "otel.sdk.exporter.span.exported",
        "otel.sdk.log.created",
        "otel.sdk.processor.log.processed",
        "otel.sdk.processor.log.queue.size",
        "otel.sdk.processor.log.queue.capacity",
        "otel.sdk.exporter.log.inflight",
        "otel.sdk.exporter.log.exported",
        "otel.sdk.exporter.metric_data_point.inflight",
        "otel.sdk.exporter.metric_data_point.exported",
        "otel.sdk.metric_reader.collection.duration",
        "otel.sdk.exporter.operation.duration",
        "libcommon.otel.config.reloads",
    };
    start();
    record_span("work");
    log_event(LOG_INFO, "a line");
    assert_true(otel_flush(WAIT_MS));
    assert_true(otel_stop(WAIT_MS));
    for (size_t i = 0; i < array_count(names); i++) {
        char quoted[80];
        snprintf(quoted, sizeof quoted, "\"%s\"", names[i]);
        if (count_in(metrics, quoted) == 0)
            print_message("missing: %s\n", names[i]);
        assert_true(count_in(metrics, quoted) > 0);
    }
    assert_true(count_in(metrics, "\"batching_span_processor/0\"") > 0);
    assert_true(count_in(metrics, "\"batching_log_processor/0\"") > 0);
}

int main(void)
{
#define LIFE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        LIFE_TEST(test_all_three_signals_arrive_with_the_resource),
        LIFE_TEST(test_line_inside_a_span_belongs_to_it),
        LIFE_TEST(test_stop_and_start_can_be_repeated_and_left_out),
        LIFE_TEST(test_second_start_is_refused_and_the_first_goes_on),
        LIFE_TEST(test_wrong_settings_start_nothing_and_say_where),
        LIFE_TEST(test_failed_start_ends_its_watch),
        LIFE_TEST(test_disabled_starts_nothing_but_applies_the_propagators),
        LIFE_TEST(test_environment_counts_without_a_file),
        LIFE_TEST(test_log_level_is_the_files_while_it_names_one),
        LIFE_TEST(test_reload_changes_the_sampler_and_loses_nothing),
        LIFE_TEST(test_bad_file_changes_nothing_and_is_told_and_counted),
        LIFE_TEST(test_same_content_does_nothing),
        LIFE_TEST(test_watched_file_takes_effect_by_itself),
        LIFE_TEST(test_reloads_under_load_lose_nothing),
        LIFE_TEST(test_stop_gives_up_on_a_silent_endpoint),
        LIFE_TEST(test_what_a_silent_endpoint_did_not_take_leaves_by_the_next_one),
        LIFE_TEST(test_changes_are_named),
        LIFE_TEST(test_spans_are_counted_by_origin_and_result),
        LIFE_TEST(test_counts_of_replaced_components_go_on),
        LIFE_TEST(test_failures_are_counted_by_error_and_never_forgotten),
        LIFE_TEST(test_series_of_removed_components_are_bounded),
        LIFE_TEST(test_own_metrics_have_the_conventions_names),
    };
    return cmocka_run_group_tests_name("otel life", tests, set_up_all, tear_down_all);
}
