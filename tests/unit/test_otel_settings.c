/* The SDK's settings: the declarative file key by key, what is refused and where, substitution by the specification's
 * own table, and the OTEL_* variables. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/support.h"

#include "common/log.h"
#include "common/mem.h"
#include "otel/sdk/settings.h"
#include "otel/settings/node.h"

/* --- log lines, as the settings write them */

static struct {
    unsigned lines;
    char all[4096];
} logged;

static void keep_line(const struct log_line *line)
{
    size_t used = strlen(logged.all);
    logged.lines += line->level == LOG_WARN;
    used += (size_t)snprintf(logged.all + used, sizeof logged.all - used, "%s", line->message);
    for (unsigned i = 0; i < line->count && used < sizeof logged.all; i++)
        if (line->fields[i].type == LOG_FIELD_TEXT)
            used += (size_t)snprintf(logged.all + used, sizeof logged.all - used, " %s",
                                     line->fields[i].text ? line->fields[i].text : "");
}

/* Variables of earlier tests, and of whoever runs these, must not count. */
static void clear_environment(void)
{
    for (char **entry = environ; *entry;) {
        size_t length = strcspn(*entry, "=");
        char name[128];
        if (strncmp(*entry, "OTEL_", 5) != 0 || length >= sizeof name) {
            entry++;
            continue;
        }
        memcpy(name, *entry, length);
        name[length] = '\0';
        unsetenv(name);
    }
}

static int set_up(void **state)
{
    (void)state;
    memset(&logged, 0, sizeof logged);
    clear_environment();
    return 0;
}

/* --- reading */

#define HEAD "file_format: \"1.0\"\n"
/* A provider with one processor and room for more keys. */
#define TRACER HEAD "tracer_provider:\n  processors: [{simple: {exporter: {console: }}}]\n"
#define METER  HEAD "meter_provider:\n  readers: [{periodic: {exporter: {console: }}}]\n"
#define EXPORT HEAD "tracer_provider:\n  processors:\n    - batch:\n        exporter:\n          "

static char message[1024];

static struct sdk_settings *load(const char *yaml)
{
    struct sdk_settings *settings = NULL;
    message[0] = '\0';
    enum err err = settings_parse(&settings, "otel.yaml", yaml, strlen(yaml), message, sizeof message);
    assert_string_equal(message, "");
    assert_int_equal(err, ERR_OK);
    assert_non_null(settings);
    return settings;
}

static void refuse_bytes(const char *yaml, size_t bytes, const char *expected)
{
    struct sdk_settings *settings = NULL;
    assert_int_equal(settings_parse(&settings, "otel.yaml", yaml, bytes, message, sizeof message),
                     ERR_INVALID_ARGUMENT);
    assert_string_equal(message, expected);
    assert_null(settings);
}

static void refuse(const char *yaml, const char *expected)
{
    refuse_bytes(yaml, strlen(yaml), expected);
}

static void accept(const char *yaml)
{
    settings_free(load(yaml));
}

/* --- the root */

static void test_a_file_without_sections_has_defaults_and_no_providers(void **state)
{
    (void)state;
    struct sdk_settings *settings = load(HEAD);
    assert_false(settings->disabled);
    assert_int_equal(settings->log_level, OTEL_SEVERITY_NONE);
    assert_int_equal(settings->span_processor_count + settings->log_processor_count + settings->reader_count, 0);
    assert_false(settings->propagate_tracecontext || settings->propagate_baggage);
    assert_false(settings->detect_host || settings->detect_process || settings->detect_container ||
                 settings->detect_service);
    assert_int_equal(settings->resource_attribute_count, 0);
    assert_int_equal(settings->span_limits.attribute_value_length, UNLIMITED);
    assert_int_equal(settings->span_limits.attribute_count, 128);
    assert_int_equal(settings->span_limits.event_attribute_count, 128);
    assert_int_equal(settings->sampler.kind, SAMPLER_PARENT_BASED);
    assert_int_equal(settings->sampler.root->kind, SAMPLER_ALWAYS_ON);
    assert_int_equal(settings->sampler.remote_parent_not_sampled->kind, SAMPLER_ALWAYS_OFF);
    assert_int_equal(logged.lines, 0);
    settings_free(settings);
    settings_free(NULL);
}

static void test_versions_one_point_something_are_read_and_newer_ones_warned_about(void **state)
{
    (void)state;
    accept("file_format: \"1.0\"\n");
    accept("file_format: \"1.1\"\n");
    accept("file_format: 1.2\n");
    assert_int_equal(logged.lines, 0);
    accept("file_format: \"1.3\"\n");
    assert_int_equal(logged.lines, 1);
    refuse("file_format: \"2.0\"\n",
           "otel.yaml:1:14: file_format: expected version \"1.0\", \"1.1\" or \"1.2\", got \"2.0\"");
    refuse("file_format: \"0.4\"\n",
           "otel.yaml:1:14: file_format: expected version \"1.0\", \"1.1\" or \"1.2\", got \"0.4\"");
    refuse("file_format: 1\n", "otel.yaml:1:14: file_format: expected version \"1.0\", \"1.1\" or \"1.2\", got 1");
    refuse("file_format: \"1.0-rc.3\"\n",
           "otel.yaml:1:14: file_format: expected version \"1.0\", \"1.1\" or \"1.2\", got \"1.0-rc.3\"");
    refuse("file_format:\n", "otel.yaml:1:13: file_format: expected version \"1.0\", \"1.1\" or \"1.2\", got nothing");
    refuse("disabled: true\n", "otel.yaml:1:1: file_format must be set");
}

static void test_sections_of_others_are_warned_about_and_left_alone(void **state)
{
    (void)state;
    accept(HEAD "instrumentation/development: {java: {x: [1]}}\ndistribution: {other: {a: b}}\ntracer_providr: 5\n");
    assert_int_equal(logged.lines, 3);
    assert_non_null(strstr(logged.all, "tracer_providr"));
}

static void test_what_stands_for_all_signals_is_read(void **state)
{
    (void)state;
    struct sdk_settings *settings =
        load(HEAD "disabled: true\nlog_level: warn2\npropagator: {composite: [{baggage: {}}], composite_list: "
                  "\"tracecontext, baggage\"}\n");
    assert_true(settings->disabled);
    assert_int_equal(settings->log_level, OTEL_WARN + 1);
    assert_true(settings->propagate_tracecontext && settings->propagate_baggage);
    settings_free(settings);
    refuse(
        HEAD "log_level: loud\n",
        "otel.yaml:2:12: log_level: expected one of trace, trace2, trace3, trace4, debug, debug2, debug3, debug4, "
        "info, "
        "info2, info3, info4, warn, warn2, warn3, warn4, error, error2, error3, error4, fatal, fatal2, fatal3, fatal4, "
        "got \"loud\"");
    refuse(HEAD "disabled: \"true\"\n", "otel.yaml:2:11: disabled: expected true or false, got \"true\"");
}

static void test_null_is_the_default_where_the_schema_allows_it_and_an_error_elsewhere(void **state)
{
    (void)state;
    struct sdk_settings *settings = load(HEAD "disabled:\nlog_level: null\npropagator: {composite_list: ~}\n");
    assert_false(settings->disabled);
    assert_int_equal(settings->log_level, OTEL_SEVERITY_NONE);
    settings_free(settings);
    refuse(HEAD "propagator:\n", "otel.yaml:2:12: propagator: expected a mapping, got nothing");
    refuse(HEAD "tracer_provider:\n", "otel.yaml:2:17: tracer_provider: expected a mapping, got nothing");
    refuse(TRACER "  limits:\n", "otel.yaml:4:10: tracer_provider.limits: expected a mapping, got nothing");
    refuse(TRACER "  sampler: null\n",
           "otel.yaml:4:12: tracer_provider.sampler: expected a mapping with one of always_on, always_off, "
           "trace_id_ratio_based, parent_based, probability/development, got nothing");
    refuse(HEAD "propagator: {composite: }\n",
           "otel.yaml:2:25: propagator.composite: expected a list of propagators, got nothing");
}

static void test_propagators_that_we_do_not_have_are_refused(void **state)
{
    (void)state;
    refuse(HEAD "propagator:\n  composite:\n    - tracecontext:\n    - b3:\n",
           "otel.yaml:5:7: propagator.composite[1]: b3 is not supported by this SDK, expected one of tracecontext, "
           "baggage");
    refuse(HEAD "propagator:\n  composite:\n    - mine:\n",
           "otel.yaml:4:7: propagator.composite[0]: expected one of tracecontext, baggage, got \"mine\"");
    refuse(HEAD "propagator: {composite_list: \"baggage,jaeger\"}\n",
           "otel.yaml:2:30: propagator.composite_list: expected tracecontext, baggage, both with a comma between, or "
           "none, "
           "got \"baggage,jaeger\"");
    struct sdk_settings *settings = load(HEAD "propagator: {composite_list: none}\n");
    assert_false(settings->propagate_tracecontext || settings->propagate_baggage);
    settings_free(settings);
}

/* --- resource */

static const struct otel_attribute *attribute(const struct sdk_settings *settings, const char *key)
{
    const struct otel_attribute *found = NULL;
    for (unsigned i = 0; i < settings->resource_attribute_count; i++)
        if (strcmp(settings->resource_attributes[i].key, key) == 0)
            found = &settings->resource_attributes[i]; /* the last one counts */
    assert_non_null(found);
    return found;
}

static const char attributes_yaml[] = HEAD "resource:\n"
                                           "  attributes:\n"
                                           "    - {name: service.name, value: shop}\n"
                                           "    - {name: flag, value: true, type: bool}\n"
                                           "    - {name: count, value: 0x10, type: int}\n"
                                           "    - {name: real, value: 2, type: double}\n"
                                           "    - {name: texts, value: [a, \"2\"], type: string_array}\n"
                                           "    - {name: flags, value: [true, False], type: bool_array}\n"
                                           "    - {name: counts, value: [-1, 0o17], type: int_array}\n"
                                           "    - {name: reals, value: [1.5, 2e3], type: double_array}\n"
                                           "    - {name: nothing, value: }\n"
                                           "    - {name: usual, value: text, type: null}\n"
                                           "  attributes_list: \"service.name=other, key%2C=v%3D1,\"\n"
                                           "  schema_url: https://example.com/1\n";

static void test_resource_attributes_of_every_type_are_read_and_count_more_than_the_list(void **state)
{
    (void)state;
    struct sdk_settings *settings = load(attributes_yaml);
    assert_int_equal(settings->resource_attribute_count, 11);
    assert_string_equal(attribute(settings, "service.name")->value.text, "shop");
    assert_string_equal(attribute(settings, "key,")->value.text, "v=1");
    assert_true(attribute(settings, "flag")->value.boolean);
    assert_int_equal(attribute(settings, "count")->value.integer, 16);
    assert_true(attribute(settings, "real")->value.real == 2);
    assert_int_equal(attribute(settings, "texts")->value.count, 2);
    assert_string_equal(attribute(settings, "texts")->value.texts[1], "2");
    assert_int_equal(attribute(settings, "flags")->value.type, OTEL_BOOLS);
    assert_false(attribute(settings, "flags")->value.booleans[1]);
    assert_int_equal(attribute(settings, "counts")->value.integers[0], -1);
    assert_int_equal(attribute(settings, "counts")->value.integers[1], 15);
    assert_true(attribute(settings, "reals")->value.reals[1] == 2000);
    assert_string_equal(attribute(settings, "usual")->value.text, "text");
    assert_string_equal(settings->resource_schema_url, "https://example.com/1");
    settings_free(settings);
}

#define ATTRIBUTE(text) HEAD "resource:\n  attributes:\n    - " text "\n"

static void test_attributes_that_are_not_of_their_type_are_refused(void **state)
{
    (void)state;
    refuse(ATTRIBUTE("{name: a, value: 5}"),
           "otel.yaml:4:24: resource.attributes[0].value: expected a text, got 5; quote it");
    refuse(ATTRIBUTE("{name: a, value: \"5\", type: int}"),
           "otel.yaml:4:24: resource.attributes[0].value: expected an integer of 64 bits, as type says, got \"5\"");
    refuse(ATTRIBUTE("{name: a, value: 99999999999999999999, type: int}"),
           "otel.yaml:4:24: resource.attributes[0].value: expected an integer of 64 bits, as type says, got "
           "99999999999999999999");
    refuse(ATTRIBUTE("{name: a, value: yes, type: bool}"),
           "otel.yaml:4:24: resource.attributes[0].value: expected true or false, as type says, got \"yes\"");
    refuse(ATTRIBUTE("{name: a, value: x, type: double}"),
           "otel.yaml:4:24: resource.attributes[0].value: expected a number, as type says, got \"x\"");
    refuse(ATTRIBUTE("{name: a, value: [], type: int_array}"),
           "otel.yaml:4:24: resource.attributes[0].value: expected a list with 1 item or more, got an empty one");
    refuse(ATTRIBUTE("{name: a, value: [1, x], type: double_array}"),
           "otel.yaml:4:28: resource.attributes[0].value[1]: expected a number, as type says, got \"x\"");
    refuse(ATTRIBUTE("{name: a, value: b, type: text}"), "otel.yaml:4:33: resource.attributes[0].type: expected one of "
                                                         "string, bool, int, double, string_array, bool_array, "
                                                         "int_array, double_array, got \"text\"");
    refuse(ATTRIBUTE("{name: a}"), "otel.yaml:4:7: resource.attributes[0]: value must be set");
    refuse(ATTRIBUTE("{value: a}"), "otel.yaml:4:7: resource.attributes[0]: name must be set");
    refuse(ATTRIBUTE("{name: \"\", value: a}"),
           "otel.yaml:4:14: resource.attributes[0].name: expected a text that is not empty, got \"\"");
    refuse(
        HEAD "resource: {attributes_list: \"a=%zz\"}\n",
        "otel.yaml:2:29: resource.attributes_list: expected key=value pairs with commas between, percent-encoded, got "
        "\"a=%zz\"");
}

static void test_detectors_are_chosen_and_filtered(void **state)
{
    (void)state;
    struct sdk_settings *settings = load(
        HEAD
        "resource:\n  detection/development:\n    attributes: {included: [host.*, process.*], excluded: [host.id]}\n"
        "    detectors: [{host: }, {process: {}}]\n");
    assert_true(settings->detect_host && settings->detect_process);
    assert_false(settings->detect_container || settings->detect_service);
    assert_string_equal(settings->detected_included[1], "process.*");
    assert_null(settings->detected_included[2]);
    assert_string_equal(settings->detected_excluded[0], "host.id");
    settings_free(settings);
    settings = load(HEAD "resource: {detection/development: {detectors: [{container: }, {service: }]}}\n");
    assert_true(settings->detect_container && settings->detect_service);
    assert_null(settings->detected_included);
    settings_free(settings);
    refuse(HEAD "resource: {detection/development: {detectors: [{os: }]}}\n",
           "otel.yaml:2:49: resource.detection/development.detectors[0]: expected one of container, host, process, "
           "service, "
           "got \"os\"");
    refuse(HEAD "resource: {detection/development: {detectors: }}\n",
           "otel.yaml:2:47: resource.detection/development.detectors: expected a list of detectors, got nothing");
    refuse(HEAD "resource: {detection/development: {detectors: [{host: {all: true}}]}}\n",
           "otel.yaml:2:56: resource.detection/development.detectors[0].host: unknown key, expected none, got \"all\"");
}

/* --- limits */

static void test_limits_of_a_signal_count_more_than_the_general_ones(void **state)
{
    (void)state;
    struct sdk_settings *settings =
        load(TRACER "  limits: {attribute_count_limit: 7, attribute_value_length_limit: , event_count_limit: 0, "
                    "link_count_limit: 3, event_attribute_count_limit: 4, link_attribute_count_limit: 5}\n"
                    "logger_provider:\n  processors: [{simple: {exporter: {console: }}}]\n  limits: "
                    "{attribute_value_length_limit: 9}\n"
                    "attribute_limits: {attribute_value_length_limit: 100, attribute_count_limit: 50, "
                    "attribute_value_depth_limit: 64}\n");
    assert_int_equal(settings->span_limits.attribute_count, 7);
    assert_int_equal(settings->span_limits.attribute_value_length, 100);
    assert_int_equal(settings->span_limits.event_count, 0);
    assert_int_equal(settings->span_limits.link_count, 3);
    assert_int_equal(settings->span_limits.event_attribute_count, 4);
    assert_int_equal(settings->span_limits.link_attribute_count, 5);
    assert_int_equal(settings->log_limits.attribute_count, 50);
    assert_int_equal(settings->log_limits.attribute_value_length, 9);
    settings_free(settings);
    refuse(HEAD "attribute_limits: {attribute_count_limit: -1}\n",
           "otel.yaml:2:43: attribute_limits.attribute_count_limit: expected an integer from 0 to 2147483647, got -1");
    refuse(HEAD "attribute_limits: {event_count_limit: 1}\n",
           "otel.yaml:2:20: attribute_limits: unknown key, expected one of attribute_value_length_limit, "
           "attribute_count_limit, attribute_value_depth_limit, got \"event_count_limit\"");
    refuse(
        TRACER "  limits: {attribute_value_depth_limit: 3}\n",
        "otel.yaml:4:41: tracer_provider.limits.attribute_value_depth_limit: less than 8 is not supported by this SDK, "
        "got 3");
}

static void test_whole_numbers_may_be_written_as_reals_and_in_other_bases(void **state)
{
    (void)state;
    struct sdk_settings *settings =
        load(TRACER "  limits: {event_count_limit: 5.0, link_count_limit: 0x1F, attribute_count_limit: +1e2}\n");
    assert_int_equal(settings->span_limits.event_count, 5);
    assert_int_equal(settings->span_limits.link_count, 31);
    assert_int_equal(settings->span_limits.attribute_count, 100);
    settings_free(settings);
    static const char *const wrong[] = {"5.5", ".nan",  ".inf", "2147483648", "1_000",
                                        "0xg", "\"5\"", "[5]",  "true",       "1e400"};
    for (size_t i = 0; i < array_count(wrong); i++) {
        char yaml[256], expected[256];
        snprintf(yaml, sizeof yaml, TRACER "  limits: {event_count_limit: %s}\n", wrong[i]);
        struct sdk_settings *none = NULL;
        snprintf(expected, sizeof expected,
                 "otel.yaml:4:31: tracer_provider.limits.event_count_limit: expected an integer");
        assert_int_equal(settings_parse(&none, "otel.yaml", yaml, strlen(yaml), message, sizeof message),
                         ERR_INVALID_ARGUMENT);
        assert_memory_equal(message, expected, strlen(expected));
    }
}

/* --- samplers */

static void test_samplers_are_read_with_their_delegates(void **state)
{
    (void)state;
    struct sdk_settings *settings = load(TRACER "  sampler:\n"
                                                "    parent_based:\n"
                                                "      root: {trace_id_ratio_based: {ratio: 0.25}}\n"
                                                "      remote_parent_sampled: {probability/development: {ratio: 1}}\n"
                                                "      remote_parent_not_sampled: {parent_based: }\n"
                                                "      local_parent_sampled: {always_off: {}}\n"
                                                "      local_parent_not_sampled: {trace_id_ratio_based: }\n");
    const struct sampler_settings *s = &settings->sampler;
    assert_int_equal(s->kind, SAMPLER_PARENT_BASED);
    assert_int_equal(s->root->kind, SAMPLER_TRACE_ID_RATIO);
    assert_true(s->root->ratio == 0.25);
    assert_int_equal(s->remote_parent_sampled->kind, SAMPLER_PROBABILITY);
    assert_int_equal(s->remote_parent_not_sampled->kind, SAMPLER_PARENT_BASED);
    assert_int_equal(s->remote_parent_not_sampled->root->kind, SAMPLER_ALWAYS_ON);
    assert_int_equal(s->local_parent_sampled->kind, SAMPLER_ALWAYS_OFF);
    assert_true(s->local_parent_not_sampled->ratio == 1);
    settings_free(settings);
}

#define SAMPLERS "one of always_on, always_off, trace_id_ratio_based, parent_based, probability/development"

static void test_samplers_have_exactly_one_key_that_is_known(void **state)
{
    (void)state;
    refuse(TRACER "  sampler:\n    sometimes:\n",
           "otel.yaml:5:5: tracer_provider.sampler: expected " SAMPLERS ", got \"sometimes\"");
    refuse(TRACER "  sampler: always_on\n",
           "otel.yaml:4:12: tracer_provider.sampler: expected a mapping with " SAMPLERS ", got \"always_on\"");
    refuse(TRACER "  sampler: {}\n",
           "otel.yaml:4:12: tracer_provider.sampler: expected exactly one key, " SAMPLERS "; got 0 keys");
    refuse(TRACER "  sampler: {always_on: , always_off: }\n",
           "otel.yaml:4:12: tracer_provider.sampler: expected exactly one key, " SAMPLERS "; got 2 keys");
    refuse(TRACER "  sampler: {jaeger_remote/development: {}}\n",
           "otel.yaml:4:13: tracer_provider.sampler: jaeger_remote/development is not supported by this SDK, "
           "expected " SAMPLERS);
    refuse(
        TRACER "  sampler: {trace_id_ratio_based: {ratio: 1.5}}\n",
        "otel.yaml:4:43: tracer_provider.sampler.trace_id_ratio_based.ratio: expected a number from 0 to 1, got 1.5");
    refuse(TRACER "  sampler: {always_on: yes}\n",
           "otel.yaml:4:24: tracer_provider.sampler.always_on: expected a mapping, got \"yes\"");
    refuse(TRACER "  sampler: {parent_based: {root: }}\n",
           "otel.yaml:4:34: tracer_provider.sampler.parent_based.root: expected a mapping with " SAMPLERS
           ", got nothing");
}

static void test_the_id_generator_is_the_random_one(void **state)
{
    (void)state;
    accept(TRACER "  id_generator: {random: }\n");
    refuse(TRACER "  id_generator: {mine: }\n",
           "otel.yaml:4:18: tracer_provider.id_generator: expected random, got \"mine\"");
    refuse(TRACER "  tracer_configurator/development: {}\n",
           "otel.yaml:4:3: tracer_provider: tracer_configurator/development is not supported by this SDK");
}

/* --- processors and exporters */

static void test_processors_have_the_signals_defaults(void **state)
{
    (void)state;
    struct sdk_settings *settings =
        load(HEAD "tracer_provider:\n  processors:\n    - batch: {exporter: {otlp_grpc: }}\n"
                  "    - simple: {exporter: {console: {}}}\n"
                  "logger_provider:\n  processors:\n    - batch: {exporter: {otlp_http: }}\n");
    assert_int_equal(settings->span_processor_count, 2);
    const struct processor_settings *spans = settings->span_processors, *logs = settings->log_processors;
    assert_true(spans[0].batch);
    assert_int_equal(spans[0].schedule_delay_ms, 5000);
    assert_int_equal(spans[0].export_timeout_ms, 30000);
    assert_int_equal(spans[0].max_queue_size, 2048);
    assert_int_equal(spans[0].max_export_batch_size, 512);
    assert_int_equal(spans[0].exporter.kind, EXPORT_OTLP_GRPC);
    assert_string_equal(spans[0].exporter.endpoint, "http://localhost:4317");
    assert_int_equal(spans[0].exporter.timeout_ms, 10000);
    assert_int_equal(spans[0].exporter.request_bytes_max, 67108864);
    assert_int_equal(spans[0].exporter.response_bytes_max, 4194304);
    assert_false(spans[0].exporter.gzip);
    assert_false(spans[1].batch);
    assert_int_equal(spans[1].exporter.kind, EXPORT_CONSOLE);
    assert_int_equal(logs[0].schedule_delay_ms, 1000);
    assert_string_equal(logs[0].exporter.endpoint, "http://localhost:4318/v1/logs");
    settings_free(settings);
}

static void test_processors_are_read(void **state)
{
    (void)state;
    struct sdk_settings *settings = load(
        HEAD
        "tracer_provider:\n  processors:\n    - batch: {schedule_delay: 0, export_timeout: 0, max_queue_size: 100, "
        "exporter: {otlp_file/development: {output_stream: file:///tmp/spans.jsonl}}}\n"
        "    - batch: {schedule_delay: 7, export_timeout: 8, max_queue_size: 10, max_export_batch_size: 10, exporter: "
        "{otlp_file/development: }}\n");
    const struct processor_settings *spans = settings->span_processors;
    assert_int_equal(spans[0].schedule_delay_ms, 1); /* so that nobody spins */
    assert_int_equal(spans[0].export_timeout_ms, 0);
    assert_int_equal(spans[0].max_export_batch_size, 100);
    assert_string_equal(spans[0].exporter.output_stream, "file:///tmp/spans.jsonl");
    assert_int_equal(spans[1].schedule_delay_ms, 7);
    assert_int_equal(spans[1].export_timeout_ms, 8);
    assert_int_equal(spans[1].max_export_batch_size, 10);
    assert_string_equal(spans[1].exporter.output_stream, "stdout");
    settings_free(settings);
}

static void test_processors_that_cannot_work_are_refused(void **state)
{
    (void)state;
    refuse(HEAD "tracer_provider: {}\n", "otel.yaml:2:18: tracer_provider: processors must be set");
    refuse(HEAD "tracer_provider: {processors: []}\n",
           "otel.yaml:2:31: tracer_provider.processors: expected a list with 1 item or more, got an empty one");
    refuse(HEAD "tracer_provider: {processors: [{batch: }]}\n",
           "otel.yaml:2:40: tracer_provider.processors[0].batch: expected a mapping, got nothing");
    refuse(HEAD "tracer_provider: {processors: [{batch: {}}]}\n",
           "otel.yaml:2:40: tracer_provider.processors[0].batch: exporter must be set");
    refuse(HEAD "tracer_provider: {processors: [{batch: {exporter: }}]}\n",
           "otel.yaml:2:51: tracer_provider.processors[0].batch.exporter: expected a mapping with one of otlp_http, "
           "otlp_grpc, otlp_file/development, console, got nothing");
    refuse(HEAD "tracer_provider: {processors: [{batch: {max_queue_size: 0, exporter: {console: }}}]}\n",
           "otel.yaml:2:57: tracer_provider.processors[0].batch.max_queue_size: expected an integer from 1 to 1048576, "
           "got 0");
    refuse(
        HEAD "tracer_provider: {processors: [{batch: {max_queue_size: 5, max_export_batch_size: 6, exporter: {console: "
             "}}}]}\n",
        "otel.yaml:2:40: tracer_provider.processors[0].batch: max_export_batch_size 6 is larger than max_queue_size 5");
    refuse(HEAD "tracer_provider: {processors: [{simple: {exporter: {zipkin: {}}}}]}\n",
           "otel.yaml:2:53: tracer_provider.processors[0].simple.exporter: expected one of otlp_http, otlp_grpc, "
           "otlp_file/development, console, got \"zipkin\"");
    refuse(HEAD "tracer_provider: {processors: [{event_to_span_event_bridge/development: }]}\n",
           "otel.yaml:2:33: tracer_provider.processors[0]: expected one of batch, simple, got "
           "\"event_to_span_event_bridge/development\"");
    refuse(HEAD "logger_provider: {processors: [{event_to_span_event_bridge/development: }]}\n",
           "otel.yaml:2:33: logger_provider.processors[0]: event_to_span_event_bridge/development is not supported by "
           "this "
           "SDK, expected one of batch, simple");
}

static void test_otlp_exporters_are_read(void **state)
{
    (void)state;
    struct sdk_settings *settings =
        load(EXPORT "otlp_grpc:\n"
                    "            endpoint: collector:4317\n"
                    "            tls: {ca_file: /ca, key_file: /key, cert_file: /cert, insecure: true}\n"
                    "            headers:\n"
                    "              - {name: API-Key, value: \"1234\"}\n"
                    "              - {name: left-out, value: }\n"
                    "            headers_list: \"api-key=no,tenant=a%20b\"\n"
                    "            compression: gzip\n"
                    "            timeout: 0\n"
                    "            max_request_size: 0\n"
                    "            max_response_size: 1\n");
    const struct exporter_settings *e = &settings->span_processors[0].exporter;
    assert_string_equal(e->endpoint, "collector:4317");
    assert_string_equal(e->tls.ca_file, "/ca");
    assert_string_equal(e->tls.key_file, "/key");
    assert_string_equal(e->tls.cert_file, "/cert");
    assert_true(e->tls.insecure && e->gzip);
    assert_int_equal(e->header_count, 2);
    assert_string_equal(e->headers[0].name, "tenant");
    assert_string_equal(e->headers[0].value, "a b");
    assert_string_equal(e->headers[1].name, "API-Key");
    assert_string_equal(e->headers[1].value, "1234");
    assert_int_equal(e->timeout_ms, 0);
    assert_int_equal(e->request_bytes_max, 0);
    assert_int_equal(e->response_bytes_max, 1);
    settings_free(settings);
    settings =
        load(EXPORT "otlp_http:\n            endpoint: https://[::1]:4318/base/v1/traces?x=1\n            encoding: "
                    "protobuf\n            compression: none\n            tls:\n");
    assert_string_equal(settings->span_processors[0].exporter.endpoint, "https://[::1]:4318/base/v1/traces?x=1");
    assert_false(settings->span_processors[0].exporter.gzip);
    settings_free(settings);
}

#define AT "tracer_provider.processors[0].batch.exporter."

static void test_otlp_exporters_that_cannot_work_are_refused(void **state)
{
    (void)state;
    refuse(EXPORT "{otlp_http: {endpoint: \"localhost:4318\"}}\n",
           "otel.yaml:6:34: " AT "otlp_http.endpoint: expected an http:// or https:// URL, got \"localhost:4318\"");
    refuse(EXPORT "{otlp_grpc: {endpoint: \"http://a/path\"}}\n",
           "otel.yaml:6:34: " AT "otlp_grpc.endpoint: expected http://host:port, https://host:port or host:port, got "
           "\"http://a/path\"");
    refuse(EXPORT "{otlp_http: {endpoint: \"ftp://user:word@host\"}}\n",
           "otel.yaml:6:34: " AT "otlp_http.endpoint: expected an http:// or https:// URL, got something else");
    refuse(EXPORT "{otlp_http: {compression: zstd}}\n",
           "otel.yaml:6:37: " AT "otlp_http.compression: expected gzip or none, got \"zstd\"");
    refuse(EXPORT "{otlp_http: {encoding: json}}\n",
           "otel.yaml:6:34: " AT "otlp_http.encoding: json is not supported by this SDK, expected protobuf");
    refuse(EXPORT "{otlp_http: {encoding: xml}}\n",
           "otel.yaml:6:34: " AT "otlp_http.encoding: expected protobuf, got \"xml\"");
    refuse(EXPORT "{otlp_http: {tls: {insecure: true}}}\n",
           "otel.yaml:6:30: " AT
           "otlp_http.tls: unknown key, expected one of ca_file, key_file, cert_file, got \"insecure\"");
    refuse(EXPORT "{otlp_grpc: {tls: {ca_file: ca.pem}}}\n",
           "otel.yaml:6:39: " AT "otlp_grpc.tls.ca_file: expected an absolute path, got \"ca.pem\"");
    refuse(EXPORT "{otlp_grpc: {tls: {key_file: /key}}}\n",
           "otel.yaml:6:29: " AT "otlp_grpc.tls: cert_file must be set too");
    refuse(EXPORT "{otlp_grpc: {tls: {cert_file: /cert}}}\n",
           "otel.yaml:6:29: " AT "otlp_grpc.tls: key_file must be set too");
    refuse(EXPORT "{otlp_grpc: {timeout: -1}}\n",
           "otel.yaml:6:33: " AT "otlp_grpc.timeout: expected an integer from 0 to 2147483647, got -1");
    refuse(EXPORT "{otlp_grpc: {temporality_preference: delta}}\n",
           "otel.yaml:6:24: " AT
           "otlp_grpc: unknown key, expected one of endpoint, tls, headers_list, headers, compression, "
           "timeout, max_request_size, max_response_size, got \"temporality_preference\"");
    refuse(EXPORT "{otlp_file/development: {output_stream: \"file://x\"}}\n",
           "otel.yaml:6:51: " AT
           "otlp_file/development.output_stream: expected stdout or file:///path, got \"file://x\"");
    refuse(EXPORT "{console: {color: true}}\n",
           "otel.yaml:6:22: " AT "console: unknown key, expected none, got \"color\"");
}

/* Whatever is wrong with headers, what stands in them stays there. */
static void test_no_message_shows_what_stands_in_headers(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "headers: [{name: a, value: \"s3cret\\n\"}]",
        "headers: [{name: a, value: [s3cret]}]",
        "headers: [{name: a, value: {s3cret: 1, s3cret: 2}}]",
        "headers: [{name: a, value: {s3cret: 1}}]",
        "headers: [{name: \"s3cret with spaces\", value: a}]",
        "headers: [{name: a, s3cret: b}]",
        "headers: [{s3cret: b}]",
        "headers: [{name: a, \"s3cret\": \"${bad-s3cret}\"}]",
        "headers: [{name: a, value: \"${bad-s3cret}\"}]",
        "headers: [s3cret]",
        "headers: s3cret",
        "headers: {s3cret: s3cret}",
        "headers: [{name: a, value: *s3cret}]",
        "headers: [{name: a, value: !s3cret x}]",
        "headers_list: s3cret",
        "headers_list: \"a=b,s3cret=%zz\"",
        "headers_list: \"a=s3cret\\n\"",
        "headers_list: [s3cret]",
        "headers_list: {s3cret: a, s3cret: b}",
        "headers_list: {s3cret: {a: 1, a: 2}}",
    };
    for (size_t i = 0; i < array_count(wrong); i++) {
        char yaml[512];
        struct sdk_settings *none = NULL;
        snprintf(yaml, sizeof yaml, EXPORT "{otlp_http: {%s}}\n", wrong[i]);
        assert_int_equal(settings_parse(&none, "otel.yaml", yaml, strlen(yaml), message, sizeof message),
                         ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(message, "otel.yaml:6:"));
        if (strstr(message, "s3cret"))
            assert_string_equal(message, wrong[i]); /* shows both */
    }
}

static void test_headers_are_bounded(void **state)
{
    (void)state;
    char yaml[8192] = EXPORT "otlp_http:\n            headers_list: \"";
    for (unsigned i = 0; i <= 64; i++)
        snprintf(yaml + strlen(yaml), sizeof yaml - strlen(yaml), "h%u=v,", i);
    strcat(yaml, "\"\n");
    refuse(yaml,
           "otel.yaml:7:27: " AT "otlp_http.headers_list: expected headers as key=value pairs with commas between, "
           "percent-encoded, got something else");
    strcpy(yaml, EXPORT "otlp_http:\n            headers:\n");
    for (unsigned i = 0; i <= 64; i++)
        snprintf(yaml + strlen(yaml), sizeof yaml - strlen(yaml), "              - {name: h%u, value: v}\n", i);
    refuse(yaml, "otel.yaml:72:17: " AT "otlp_http.headers[64]: more than 64 headers");
}

/* --- metrics */

static void test_readers_are_read(void **state)
{
    (void)state;
    struct sdk_settings *settings = load(
        HEAD
        "meter_provider:\n  exemplar_filter: always_off\n  readers:\n    - periodic: {exporter: {otlp_http: }}\n"
        "    - periodic: {interval: 1000, timeout: 500, max_export_batch_size/development: , exporter: {otlp_grpc: "
        "{temporality_preference: low_memory, default_histogram_aggregation: base2_exponential_bucket_histogram}}, "
        "cardinality_limits: {default: 10, gauge: 5, up_down_counter: }}\n"
        "    - pull: {exporter: {prometheus/development: {host: 0.0.0.0, port: 0, scope_info_enabled: false, "
        "target_info_enabled/development: false, resource_constant_labels: {excluded: [process.*]}, "
        "translation_strategy: no_translation/development}}}\n"
        "    - pull: {exporter: {prometheus/development: }}\n"
        "    - periodic: {interval: 0, exporter: {console: }}\n");
    assert_int_equal(settings->reader_count, 5);
    assert_int_equal(settings->exemplar_filter, EXEMPLARS_ALWAYS_OFF);
    const struct reader_settings *r = settings->readers;
    assert_false(r[0].pull);
    assert_int_equal(r[0].interval_ms, 60000);
    assert_int_equal(r[0].timeout_ms, 30000);
    assert_int_equal(r[0].cardinality_limits[INSTRUMENT_HISTOGRAM], 2000);
    assert_string_equal(r[0].exporter.endpoint, "http://localhost:4318/v1/metrics");
    assert_int_equal(r[0].exporter.temporality, PREFER_CUMULATIVE);
    assert_int_equal(r[1].interval_ms, 1000);
    assert_int_equal(r[1].timeout_ms, 500);
    assert_int_equal(r[1].cardinality_limits[INSTRUMENT_GAUGE], 5);
    assert_int_equal(r[1].cardinality_limits[INSTRUMENT_UP_DOWN_COUNTER], 10);
    assert_int_equal(r[1].exporter.temporality, PREFER_LOW_MEMORY);
    assert_int_equal(r[1].exporter.default_histogram, DEFAULT_HISTOGRAM_EXPONENTIAL);
    assert_true(r[2].pull && r[2].exporter.without_scope_info && r[2].exporter.without_target_info);
    assert_string_equal(r[2].exporter.host, "0.0.0.0");
    assert_int_equal(r[2].exporter.port, 0);
    assert_string_equal(r[2].exporter.resource_labels_included[0], "*");
    assert_string_equal(r[2].exporter.resource_labels_excluded[0], "process.*");
    assert_string_equal(r[2].exporter.translation_strategy, "no_translation/development");
    assert_string_equal(r[3].exporter.host, "localhost");
    assert_int_equal(r[3].exporter.port, 9464);
    assert_null(r[3].exporter.resource_labels_included);
    assert_string_equal(r[3].exporter.translation_strategy, "underscore_escaping_with_suffixes");
    assert_false(r[3].exporter.without_scope_info);
    assert_int_equal(r[4].interval_ms, 1);
    settings_free(settings);
}

static void test_prometheus_takes_the_names_of_version_one_point_zero(void **state)
{
    (void)state;
    struct sdk_settings *settings = load(
        HEAD "meter_provider: {readers: [{pull: {exporter: {prometheus/development: {without_scope_info: true, "
             "without_target_info/development: true, with_resource_constant_labels: {included: [service.*]}}}}}]}\n");
    const struct exporter_settings *e = &settings->readers[0].exporter;
    assert_true(e->without_scope_info && e->without_target_info);
    assert_string_equal(e->resource_labels_included[0], "service.*");
    settings_free(settings);
}

static void test_readers_that_cannot_work_are_refused(void **state)
{
    (void)state;
    refuse(HEAD "meter_provider: {readers: [{push: }]}\n",
           "otel.yaml:2:29: meter_provider.readers[0]: expected one of periodic, pull, got \"push\"");
    refuse(HEAD "meter_provider: {readers: [{pull: {exporter: {console: }}}]}\n",
           "otel.yaml:2:47: meter_provider.readers[0].pull.exporter: expected prometheus/development, got \"console\"");
    refuse(HEAD "meter_provider: {readers: [{periodic: {exporter: {console: }, producers: [{opencensus: }]}}]}\n",
           "otel.yaml:2:63: meter_provider.readers[0].periodic: producers is not supported by this SDK");
    refuse(HEAD
           "meter_provider: {readers: [{periodic: {exporter: {console: }, max_export_batch_size/development: 5}}]}\n",
           "otel.yaml:2:63: meter_provider.readers[0].periodic: max_export_batch_size/development is not supported by "
           "this "
           "SDK");
    refuse(
        HEAD "meter_provider: {readers: [{periodic: {exporter: {console: {temporality_preference: both}}}}]}\n",
        "otel.yaml:2:85: meter_provider.readers[0].periodic.exporter.console.temporality_preference: expected one of "
        "cumulative, delta, low_memory, got \"both\"");
    refuse(HEAD "meter_provider: {readers: [{pull: {exporter: {prometheus/development: {port: 65536}}}}]}\n",
           "otel.yaml:2:78: meter_provider.readers[0].pull.exporter.prometheus/development.port: expected an integer "
           "from 0 to "
           "65535, got 65536");
    refuse(METER "  meter_configurator/development: {}\n",
           "otel.yaml:4:3: meter_provider: meter_configurator/development is not supported by this SDK");
}

static void test_views_are_read(void **state)
{
    (void)state;
    struct sdk_settings *settings = load(
        METER
        "  views:\n"
        "    - selector: {instrument_name: a, instrument_type: up_down_counter, unit: s, meter_name: m, meter_version: "
        "1.0.0, meter_schema_url: u}\n"
        "      stream: {name: b, description: d, aggregation_cardinality_limit: 5, attribute_keys: {included: [k, l]}, "
        "aggregation: {explicit_bucket_histogram: {boundaries: [-1, 0.5, 1e3], record_min_max: false}}}\n"
        "    - {selector: {}, stream: {aggregation: {drop: }}}\n"
        "    - {selector: {}, stream: {aggregation: {explicit_bucket_histogram: {boundaries: []}}}}\n"
        "    - {selector: {}, stream: {aggregation: {base2_exponential_bucket_histogram: {max_scale: -10, max_size: "
        "2}}}}\n"
        "    - {selector: {instrument_name: \"http.*\"}, stream: {aggregation: {sum: {}}}}\n");
    assert_int_equal(settings->view_count, 5);
    const struct view_settings *v = settings->views;
    assert_string_equal(v[0].instrument_name, "a");
    assert_int_equal(v[0].instrument_type, INSTRUMENT_UP_DOWN_COUNTER);
    assert_string_equal(v[0].meter_version, "1.0.0");
    assert_string_equal(v[0].name, "b");
    assert_string_equal(v[0].description, "d");
    assert_int_equal(v[0].cardinality_limit, 5);
    assert_string_equal(v[0].keys_included[1], "l");
    assert_null(v[0].keys_excluded);
    assert_int_equal(v[0].aggregation, AGGREGATE_EXPLICIT);
    assert_int_equal(v[0].bound_count, 3);
    assert_true(v[0].boundaries[2] == 1000);
    assert_false(v[0].record_min_max);
    assert_int_equal(v[1].instrument_type, -1);
    assert_null(v[1].instrument_name);
    assert_int_equal(v[1].aggregation, AGGREGATE_DROP);
    assert_true(v[1].record_min_max && !v[1].has_boundaries);
    assert_true(v[2].has_boundaries && v[2].bound_count == 0);
    assert_int_equal(v[3].max_scale, -10);
    assert_int_equal(v[3].max_size, 2);
    assert_int_equal(v[4].aggregation, AGGREGATE_SUM);
    assert_int_equal(v[4].max_scale, 20);
    assert_int_equal(v[4].max_size, 160);
    settings_free(settings);
}

static void test_views_that_cannot_work_are_refused(void **state)
{
    (void)state;
    refuse(METER "  views: [{selector: {}}]\n", "otel.yaml:4:11: meter_provider.views[0]: stream must be set");
    refuse(
        METER "  views: [{selector: {instrument_type: timer}, stream: {}}]\n",
        "otel.yaml:4:40: meter_provider.views[0].selector.instrument_type: expected one of counter, gauge, histogram, "
        "observable_counter, observable_gauge, observable_up_down_counter, up_down_counter, got \"timer\"");
    refuse(METER "  views: [{selector: {instrument_name: \"a*\"}, stream: {name: b}}]\n",
           "otel.yaml:4:11: meter_provider.views[0]: stream.name needs a selector.instrument_name without wildcards");
    refuse(METER
           "  views: [{selector: {}, stream: {aggregation: {explicit_bucket_histogram: {boundaries: [1, 1]}}}}]\n",
           "otel.yaml:4:89: meter_provider.views[0].stream.aggregation.explicit_bucket_histogram.boundaries: expected "
           "boundaries in ascending order");
    refuse(METER
           "  views: [{selector: {}, stream: {aggregation: {explicit_bucket_histogram: {boundaries: [.inf]}}}}]\n",
           "otel.yaml:4:90: meter_provider.views[0].stream.aggregation.explicit_bucket_histogram.boundaries[0]: "
           "expected a "
           "finite number, got .inf");
    refuse(METER
           "  views: [{selector: {}, stream: {aggregation: {base2_exponential_bucket_histogram: {max_scale: 21}}}}]\n",
           "otel.yaml:4:97: meter_provider.views[0].stream.aggregation.base2_exponential_bucket_histogram.max_scale: "
           "expected "
           "an integer from -10 to 20, got 21");
    refuse(METER "  views: [{selector: {}, stream: {attribute_keys: {included: []}}}]\n",
           "otel.yaml:4:62: meter_provider.views[0].stream.attribute_keys.included: expected a list with 1 item or "
           "more, got "
           "an empty one");
    refuse(
        METER "  views: [{selector: {}, stream: {attribute_keys: {included: [1]}}}]\n",
        "otel.yaml:4:63: meter_provider.views[0].stream.attribute_keys.included[0]: expected a text, got 1; quote it");
}

/* --- YAML */

static void test_broken_yaml_is_refused_at_its_place(void **state)
{
    (void)state;
    refuse("", "otel.yaml:1:1: expected a mapping with the key file_format, got nothing");
    refuse("# nothing\n", "otel.yaml:2:1: expected a mapping with the key file_format, got nothing");
    refuse("- a\n", "otel.yaml:1:1: expected a mapping, got a list");
    refuse("text\n", "otel.yaml:1:1: expected a mapping, got \"text\"");
    refuse("a: b: c\n", "otel.yaml:1:5: mapping values are not allowed in this context");
    refuse("a: [1\n", "otel.yaml:2:1: did not find expected ',' or ']', while parsing a flow sequence");
    refuse(HEAD "--- \n" HEAD, "otel.yaml:2:1: a second document is not supported");
    refuse(HEAD "a: 1\nb: 2\na: 3\n", "otel.yaml:4:1: duplicate key \"a\", it is on line 2 too");
    refuse(HEAD "other: {x: {y: 1, y: 2}}\n", "otel.yaml:2:19: other.x: duplicate key \"y\", it is on line 2 too");
    refuse(HEAD "? [a]\n: b\n", "otel.yaml:2:3: expected a key");
    refuse(HEAD "a: &x 1\n", "otel.yaml:2:4: anchors and aliases are not supported");
    refuse(HEAD "a: &x [1]\n", "otel.yaml:2:4: anchors and aliases are not supported");
    refuse(HEAD "a: &x {}\n", "otel.yaml:2:4: anchors and aliases are not supported");
    refuse(HEAD "a: *x\n", "otel.yaml:2:4: anchors and aliases are not supported");
    refuse(HEAD "a: !!str 1\n", "otel.yaml:2:4: tags are not supported");
    refuse(HEAD "a: \"\\0\"\n", "otel.yaml:2:4: a: expected UTF-8 without NUL characters");
    refuse(HEAD "\"\\0\": a\n", "otel.yaml:2:1: expected a key without NUL characters");
    refuse(HEAD "other: {\"A key\": \"\\0\"}\n", "otel.yaml:2:18: other.?: expected UTF-8 without NUL characters");
    refuse_bytes(HEAD "\xc3\xa9: a\nb: c\xff\n", 31, "otel.yaml:3:5: invalid leading UTF-8 octet");
    refuse_bytes(HEAD "a: \0\n", 24, "otel.yaml:2:4: control characters are not allowed");
    accept("\xef\xbb\xbf" HEAD);
}

static char *repeated(const char *begin, const char *unit, unsigned count, const char *end)
{
    size_t length = strlen(unit);
    char *text = mem_alloc(strlen(begin) + length * count + strlen(end) + 1), *at = stpcpy(text, begin);
    for (unsigned i = 0; i < count; i++)
        at = stpcpy(at, unit);
    strcpy(at, end);
    return text;
}

static void test_size_depth_and_numbers_are_bounded(void **state)
{
    (void)state;
    scoped_free char *deep = repeated(HEAD "a: ", "[", 40, "\n");
    scoped_free char *many = repeated(HEAD "a: [", "1,", SETTINGS_NODES_MAX, "]\n");
    scoped_free char *large = repeated(HEAD, "# a comment\n", SETTINGS_FILE_BYTES_MAX / 12, "\n");
    refuse(deep, "otel.yaml:2:35: "
                 "a[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: "
                 "nested deeper than 32 levels");
    refuse(large, "otel.yaml:1:1: larger than 1048576 bytes");
    struct sdk_settings *none = NULL;
    assert_int_equal(settings_parse(&none, "otel.yaml", many, strlen(many), message, sizeof message),
                     ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(message, "more than 65536 values"));
    char keys[8192] = HEAD;
    for (unsigned i = 0; i <= SETTINGS_KEYS_MAX; i++)
        snprintf(keys + strlen(keys), sizeof keys - strlen(keys), "key%u: 1\n", i);
    refuse(keys, "otel.yaml:257:1: too many keys");
}

static void test_what_the_environment_puts_in_is_bounded(void **state)
{
    (void)state;
    enum { LONG = 100000 };
    scoped_free char *value = repeated("", "x", LONG, "");
    scoped_free char *yaml = repeated(HEAD "a: ", "${OTEL_T_LONG}", SETTINGS_TEXT_BYTES_MAX / LONG + 1, "\n");
    setenv("OTEL_T_LONG", value, 1);
    refuse(yaml, "otel.yaml:2:4: a: too much text, with what the environment puts in");
    setenv("OTEL_T_LONG", "\xff", 1);
    refuse(HEAD "a: ${OTEL_T_LONG}\n", "otel.yaml:2:4: a: expected UTF-8 without NUL characters");
}

/* --- substitution: the table of the specification */

static void set_table_variables(void)
{
    setenv("STRING_VALUE", "value", 1);
    setenv("BOOL_VALUE", "true", 1);
    setenv("INT_VALUE", "1", 1);
    setenv("FLOAT_VALUE", "1.1", 1);
    setenv("HEX_VALUE", "0xdeadbeef", 1);
    setenv("INVALID_MAP_VALUE", "value\nkey:value", 1);
    setenv("DO_NOT_REPLACE_ME", "Never use this value", 1);
    setenv("REPLACE_ME", "${DO_NOT_REPLACE_ME}", 1);
    setenv("VALUE_WITH_ESCAPE", "value$$", 1);
    setenv("EMPTY_VALUE", "", 1);
    setenv("env", "named env", 1);
    unsetenv("UNDEFINED_KEY");
}

static const struct {
    const char *input, *text;
    enum scalar_type type;
} substitutions[] = {
    {"${STRING_VALUE}", "value", SCALAR_TEXT},
    {"${BOOL_VALUE}", "true", SCALAR_BOOL},
    {"${INT_VALUE}", "1", SCALAR_INT},
    {"${FLOAT_VALUE}", "1.1", SCALAR_REAL},
    {"${HEX_VALUE}", "0xdeadbeef", SCALAR_INT},
    {"\"${STRING_VALUE}\"", "value", SCALAR_TEXT},
    {"\"${BOOL_VALUE}\"", "true", SCALAR_TEXT},
    {"'${INT_VALUE}'", "1", SCALAR_TEXT},
    {"\"${FLOAT_VALUE}\"", "1.1", SCALAR_TEXT},
    {"\"${HEX_VALUE}\"", "0xdeadbeef", SCALAR_TEXT},
    {"${env:STRING_VALUE}", "value", SCALAR_TEXT},
    {"${INVALID_MAP_VALUE}", "value\nkey:value", SCALAR_TEXT},
    {"foo ${STRING_VALUE} ${FLOAT_VALUE}", "foo value 1.1", SCALAR_TEXT},
    {"${UNDEFINED_KEY}", "", SCALAR_NULL},
    {"\"${UNDEFINED_KEY}\"", "", SCALAR_TEXT},
    {"${UNDEFINED_KEY:-fallback}", "fallback", SCALAR_TEXT},
    {"${EMPTY_VALUE:-fallback}", "fallback", SCALAR_TEXT},
    {"${UNDEFINED_KEY:-}", "", SCALAR_NULL},
    {"${UNDEFINED_KEY:-a :-b c}", "a :-b c", SCALAR_TEXT},
    {"${env:UNDEFINED_KEY:-5}", "5", SCALAR_INT},
    {"${REPLACE_ME}", "${DO_NOT_REPLACE_ME}", SCALAR_TEXT},
    {"${UNDEFINED_KEY:-${STRING_VALUE}}", "${STRING_VALUE}", SCALAR_TEXT},
    {"$${STRING_VALUE}", "${STRING_VALUE}", SCALAR_TEXT},
    {"$$${STRING_VALUE}", "$value", SCALAR_TEXT},
    {"$$$${STRING_VALUE}", "$${STRING_VALUE}", SCALAR_TEXT},
    {"$${STRING_VALUE:-fallback}", "${STRING_VALUE:-fallback}", SCALAR_TEXT},
    {"$${STRING_VALUE:-${STRING_VALUE}}", "${STRING_VALUE:-value}", SCALAR_TEXT},
    {"${UNDEFINED_KEY:-$${UNDEFINED_KEY}}", "${UNDEFINED_KEY:-${UNDEFINED_KEY}}", SCALAR_TEXT},
    {"${VALUE_WITH_ESCAPE}", "value$$", SCALAR_TEXT},
    {"a $$ b", "a $ b", SCALAR_TEXT},
    {"a $ b", "a $ b", SCALAR_TEXT},
    {"${env}", "named env", SCALAR_TEXT},
    {"${env:-x}", "named env", SCALAR_TEXT},
    {"\"${}\"", "${}", SCALAR_TEXT},
    {"\"${STRING_VALUE\"", "${STRING_VALUE", SCALAR_TEXT},
};

static void test_substitution_follows_the_specification(void **state)
{
    (void)state;
    set_table_variables();
    for (size_t i = 0; i < array_count(substitutions); i++) {
        struct arena arena;
        struct node *root;
        char yaml[128];
        arena_init(&arena, 4096);
        const struct reading reading = {.name = "otel.yaml",
                                        .scratch = &arena,
                                        .arena = &arena,
                                        .message = message,
                                        .message_bytes = sizeof message};
        snprintf(yaml, sizeof yaml, "key: %s\n", substitutions[i].input);
        assert_int_equal(node_parse(&reading, yaml, strlen(yaml), &root), ERR_OK);
        assert_string_equal(root->first->text, substitutions[i].text);
        assert_int_equal(node_scalar(root->first).type, substitutions[i].type);
        arena_done(&arena);
    }
}

static void test_keys_are_not_substituted(void **state)
{
    (void)state;
    set_table_variables();
    refuse(HEAD "resource: {\"${STRING_VALUE}\": value}\n",
           "otel.yaml:2:12: resource: unknown key, expected one of attributes_list, attributes, schema_url, "
           "detection/development, got \"${STRING_VALUE}\"");
}

static void test_invalid_references_are_errors(void **state)
{
    (void)state;
    static const char *const wrong[] = {"${STRING_VALUE:?error}",
                                        "${1API_KEY}",
                                        "${API_$KEY}",
                                        "${sys:x}",
                                        "${env:}",
                                        "${env:1}",
                                        "${A:}",
                                        "${A-b}",
                                        "${ A}",
                                        "${A:-a\\nb}"};
    for (size_t i = 0; i < array_count(wrong); i++) {
        char yaml[128];
        snprintf(yaml, sizeof yaml, HEAD "other:\n  key: \"%s\"\n", wrong[i]);
        refuse(
            yaml,
            "otel.yaml:3:8: other.key: invalid reference to an environment variable, expected ${NAME}, ${env:NAME} or "
            "${NAME:-default}; a $ of its own is $$");
    }
}

/* --- plain scalars */

static void test_plain_scalars_are_those_of_the_core_schema(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum scalar_type type;
        double real;
    } scalars[] = {
        {"", SCALAR_NULL, 0},
        {"~", SCALAR_NULL, 0},
        {"NULL", SCALAR_NULL, 0},
        {"nULL", SCALAR_TEXT, 0},
        {"True", SCALAR_BOOL, 0},
        {"FALSE", SCALAR_BOOL, 0},
        {"yes", SCALAR_TEXT, 0},
        {"-12", SCALAR_INT, -12},
        {"+12", SCALAR_INT, 12},
        {"012", SCALAR_INT, 12},
        {"0o17", SCALAR_INT, 15},
        {"0o8", SCALAR_TEXT, 0},
        {"0xFf", SCALAR_INT, 255},
        {"0x", SCALAR_TEXT, 0},
        {"0xffffffffffffffffff", SCALAR_REAL, INFINITY},
        {"9223372036854775808", SCALAR_REAL, 9223372036854775808.0},
        {"1.", SCALAR_REAL, 1},
        {".5", SCALAR_REAL, .5},
        {"-1.5e-1", SCALAR_REAL, -.15},
        {".", SCALAR_TEXT, 0},
        {"+", SCALAR_TEXT, 0},
        {"1e", SCALAR_TEXT, 0},
        {"1.2.3", SCALAR_TEXT, 0},
        {"-.INF", SCALAR_REAL, -INFINITY},
        {"+.inf", SCALAR_REAL, INFINITY},
        {"e5", SCALAR_TEXT, 0},
    };
    for (size_t i = 0; i < array_count(scalars); i++) {
        struct scalar scalar = scalar_resolve(scalars[i].text, strlen(scalars[i].text));
        assert_int_equal(scalar.type, scalars[i].type);
        assert_true(scalar.real == scalars[i].real);
    }
    assert_true(isnan(scalar_resolve(".NaN", 4).real));
    assert_int_equal(scalar_resolve("1\0", 2).type, SCALAR_TEXT);
}

/* --- files */

static void test_files_are_read_and_unreadable_ones_told(void **state)
{
    (void)state;
    char directory[] = "/tmp/test_otel_settings_XXXXXX", path[64], expected[128];
    struct sdk_settings *settings = NULL;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/otel.yaml", directory);
    snprintf(expected, sizeof expected, "%s: cannot be read: No such file or directory", path);
    assert_int_equal(settings_read(&settings, path, message, sizeof message), ERR_NOT_FOUND);
    assert_string_equal(message, expected);
    assert_int_equal(settings_read(&settings, directory, message, sizeof message), ERR_INVALID_ARGUMENT);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(HEAD "disabled: true\n", file);
    fclose(file);
    assert_int_equal(settings_read(&settings, path, message, sizeof message), ERR_OK);
    assert_true(settings->disabled);
    settings_free(settings);
    if (geteuid() != 0) {
        chmod(path, 0);
        assert_int_equal(settings_read(&settings, path, message, sizeof message), ERR_PERMISSION_DENIED);
    }
    unlink(path);
    rmdir(directory);
}

/* --- comparing */

static const char full_yaml[] = HEAD
    "tracer_provider:\n  processors:\n    - batch:\n        schedule_delay: 1\n        exporter:\n          "
    "otlp_grpc:\n"
    "            endpoint: http://a:1\n            tls: {ca_file: /ca}\n            headers_list: \"a=b,c=d\"\n"
    "meter_provider:\n  readers:\n    - periodic: {interval: 5, exporter: {console: {temporality_preference: delta}}}\n"
    "    - pull: {exporter: {prometheus/development: {port: 1, resource_constant_labels: {included: [x, y]}}}}\n"
    "  views:\n    - selector: {instrument_name: n}\n      stream: {name: m, attribute_keys: {excluded: [q]}, "
    "aggregation: "
    "{explicit_bucket_histogram: {boundaries: [1, 2]}}}\n";

static bool same(const struct sdk_settings *a, const struct sdk_settings *b)
{
    return processor_settings_equal(&a->span_processors[0], &b->span_processors[0]) &&
           reader_settings_equal(&a->readers[0], &b->readers[0]) &&
           reader_settings_equal(&a->readers[1], &b->readers[1]) && views_equal(a, b);
}

/* The text with its first `from` replaced. */
static char *changed(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    return mem_print("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void test_settings_are_equal_by_value_and_every_change_counts(void **state)
{
    (void)state;
    static const char *const changes[][2] = {
        {"schedule_delay: 1", "schedule_delay: 2"},
        {"http://a:1", "http://a:2"},
        {"/ca", "/cb"},
        {"c=d", "c=e"},
        {"a=b,", ""},
        {"interval: 5", "interval: 6"},
        {"delta", "cumulative"},
        {"port: 1", "port: 2"},
        {"[x, y]", "[x]"},
        {"[x, y]", "[x, z]"},
        {"instrument_name: n", "instrument_name: o"},
        {"name: m, ", ""},
        {"[q]", "[r]"},
        {"[1, 2]", "[1, 3]"},
        {"[1, 2]", "[1]"},
        {"excluded", "included"},
        {"tls: {ca_file: /ca}", "timeout: 1"},
        {"http://a:1\n", "http://a:1\n            compression: gzip\n"},
    };
    struct sdk_settings *a = load(full_yaml), *b = load(full_yaml);
    assert_true(same(a, b));
    settings_free(b);
    for (size_t i = 0; i < array_count(changes); i++) {
        scoped_free char *text = changed(full_yaml, changes[i][0], changes[i][1]);
        b = load(text);
        if (same(a, b))
            assert_string_equal(changes[i][0], changes[i][1]); /* shows both */
        settings_free(b);
    }
    settings_free(a);
}

/* --- the environment */

static struct sdk_settings *from_environment(void)
{
    struct sdk_settings *settings = NULL;
    assert_int_equal(settings_from_environment(&settings, message, sizeof message), ERR_OK);
    assert_string_equal(message, "");
    return settings;
}

static void test_without_variables_everything_goes_to_the_local_collector(void **state)
{
    (void)state;
    struct sdk_settings *settings = from_environment();
    assert_int_equal(logged.lines, 0);
    assert_false(settings->disabled);
    assert_int_equal(settings->span_processor_count, 1);
    assert_int_equal(settings->log_processor_count, 1);
    assert_int_equal(settings->reader_count, 1);
    assert_int_equal(settings->span_processors[0].exporter.kind, EXPORT_OTLP_GRPC);
    assert_string_equal(settings->span_processors[0].exporter.endpoint, "http://localhost:4317");
    assert_int_equal(settings->span_processors[0].schedule_delay_ms, 5000);
    assert_int_equal(settings->log_processors[0].schedule_delay_ms, 1000);
    assert_int_equal(settings->readers[0].interval_ms, 60000);
    assert_true(settings->propagate_tracecontext && settings->propagate_baggage);
    assert_true(settings->detect_host && settings->detect_process && settings->detect_container &&
                settings->detect_service);
    assert_int_equal(settings->sampler.kind, SAMPLER_PARENT_BASED);
    assert_int_equal(settings->sampler.root->kind, SAMPLER_ALWAYS_ON);
    assert_int_equal(settings->exemplar_filter, EXEMPLARS_TRACE_BASED);
    settings_free(settings);
}

static void set_all(const char *const variables[][2], size_t count)
{
    for (size_t i = 0; i < count; i++)
        setenv(variables[i][0], variables[i][1], 1);
}

static void test_general_variables_are_read(void **state)
{
    (void)state;
    static const char *const variables[][2] = {
        {"OTEL_SDK_DISABLED", "TRUE"},
        {"OTEL_LOG_LEVEL", "Debug"},
        {"OTEL_RESOURCE_ATTRIBUTES", "service.name=a,k%3D=v%2C1"},
        {"OTEL_SERVICE_NAME", "shop"},
        {"OTEL_PROPAGATORS", "baggage"},
        {"OTEL_TRACES_SAMPLER", "parentbased_traceidratio"},
        {"OTEL_TRACES_SAMPLER_ARG", "0.25"},
        {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100"},
        {"OTEL_ATTRIBUTE_COUNT_LIMIT", "10"},
        {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "11"},
        {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "12"},
        {"OTEL_SPAN_EVENT_COUNT_LIMIT", "13"},
        {"OTEL_SPAN_LINK_COUNT_LIMIT", "14"},
        {"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "15"},
        {"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "16"},
        {"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "17"},
        {"OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", ""},
        {"OTEL_METRICS_EXEMPLAR_FILTER", "always_on"},
    };
    set_all(variables, array_count(variables));
    struct sdk_settings *settings = from_environment();
    assert_int_equal(logged.lines, 0);
    assert_true(settings->disabled);
    assert_int_equal(settings->log_level, OTEL_DEBUG);
    assert_string_equal(attribute(settings, "service.name")->value.text, "shop");
    assert_string_equal(attribute(settings, "k=")->value.text, "v,1");
    assert_true(settings->propagate_baggage && !settings->propagate_tracecontext);
    assert_int_equal(settings->sampler.kind, SAMPLER_PARENT_BASED);
    assert_int_equal(settings->sampler.root->kind, SAMPLER_TRACE_ID_RATIO);
    assert_true(settings->sampler.root->ratio == 0.25);
    const struct limit_settings *spans = &settings->span_limits, *logs = &settings->log_limits;
    assert_int_equal(spans->attribute_count, 11);
    assert_int_equal(spans->attribute_value_length, 12);
    assert_int_equal(spans->event_count, 13);
    assert_int_equal(spans->link_count, 14);
    assert_int_equal(spans->event_attribute_count, 15);
    assert_int_equal(spans->link_attribute_count, 16);
    assert_int_equal(logs->attribute_count, 17);
    assert_int_equal(logs->attribute_value_length, 100);
    assert_int_equal(settings->exemplar_filter, EXEMPLARS_ALWAYS_ON);
    settings_free(settings);
}

static void test_every_sampler_of_the_environment_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum sampler_kind kind, root;
    } samplers[] = {
        {"always_on", SAMPLER_ALWAYS_ON, 0},
        {"always_off", SAMPLER_ALWAYS_OFF, 0},
        {"traceidratio", SAMPLER_TRACE_ID_RATIO, 0},
        {"PARENTBASED_always_on", SAMPLER_PARENT_BASED, SAMPLER_ALWAYS_ON},
        {"parentbased_always_off", SAMPLER_PARENT_BASED, SAMPLER_ALWAYS_OFF},
        {"parentbased_traceidratio", SAMPLER_PARENT_BASED, SAMPLER_TRACE_ID_RATIO},
    };
    for (size_t i = 0; i < array_count(samplers); i++) {
        setenv("OTEL_TRACES_SAMPLER", samplers[i].name, 1);
        struct sdk_settings *settings = from_environment();
        assert_int_equal(settings->sampler.kind, samplers[i].kind);
        if (settings->sampler.kind == SAMPLER_PARENT_BASED)
            assert_int_equal(settings->sampler.root->kind, samplers[i].root);
        settings_free(settings);
    }
    assert_int_equal(logged.lines, 0);
}

static void test_otlp_variables_of_a_signal_count_more_than_the_general_ones(void **state)
{
    (void)state;
    static const char *const variables[][2] = {
        {"OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/base"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://metrics"},
        {"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"},
        {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "logs:4317"},
        {"OTEL_EXPORTER_OTLP_LOGS_INSECURE", "true"},
        {"OTEL_EXPORTER_OTLP_HEADERS", "api-key=1%2C2, b = c "},
        {"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "only=this"},
        {"OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"},
        {"OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "none"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT", "5000"},
        {"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "0"},
        {"OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca"},
        {"OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key"},
        {"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert"},
        {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "LowMemory"},
        {"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "BASE2_exponential_bucket_histogram"},
        {"OTEL_METRIC_EXPORT_INTERVAL", "1000"},
        {"OTEL_METRIC_EXPORT_TIMEOUT", "900"},
    };
    set_all(variables, array_count(variables));
    struct sdk_settings *settings = from_environment();
    assert_int_equal(logged.lines, 0);
    const struct exporter_settings *spans = &settings->span_processors[0].exporter,
                                   *logs = &settings->log_processors[0].exporter,
                                   *metrics = &settings->readers[0].exporter;
    assert_int_equal(spans->kind, EXPORT_OTLP_HTTP);
    assert_string_equal(spans->endpoint, "http://collector:4318/base/v1/traces");
    assert_int_equal(spans->header_count, 1);
    assert_string_equal(spans->headers[0].name, "only");
    assert_string_equal(metrics->endpoint, "https://metrics");
    assert_int_equal(metrics->header_count, 2);
    assert_string_equal(metrics->headers[0].value, "1,2");
    assert_string_equal(metrics->headers[1].value, "c");
    assert_int_equal(metrics->timeout_ms, 0);
    assert_true(metrics->gzip);
    assert_int_equal(metrics->temporality, PREFER_LOW_MEMORY);
    assert_int_equal(metrics->default_histogram, DEFAULT_HISTOGRAM_EXPONENTIAL);
    assert_int_equal(settings->readers[0].interval_ms, 1000);
    assert_int_equal(settings->readers[0].timeout_ms, 900);
    assert_int_equal(logs->kind, EXPORT_OTLP_GRPC);
    assert_string_equal(logs->endpoint, "logs:4317");
    assert_true(logs->tls.insecure && !logs->gzip);
    assert_string_equal(logs->tls.ca_file, "/ca");
    assert_string_equal(logs->tls.key_file, "/key");
    assert_string_equal(logs->tls.cert_file, "/cert");
    assert_int_equal(logs->timeout_ms, 5000);
    settings_free(settings);
}

static void test_exporters_are_chosen_by_lists(void **state)
{
    (void)state;
    static const char *const variables[][2] = {
        {"OTEL_TRACES_EXPORTER", "none"},
        {"OTEL_LOGS_EXPORTER", "console, otlp ,otlp/stdout"},
        {"OTEL_METRICS_EXPORTER", "prometheus,console,otlp/stdout"},
        {"OTEL_EXPORTER_PROMETHEUS_HOST", "0.0.0.0"},
        {"OTEL_EXPORTER_PROMETHEUS_PORT", "9999"},
        {"OTEL_BLRP_SCHEDULE_DELAY", "1"},
        {"OTEL_BLRP_EXPORT_TIMEOUT", "2"},
        {"OTEL_BLRP_MAX_QUEUE_SIZE", "3"},
        {"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "2"},
    };
    set_all(variables, array_count(variables));
    struct sdk_settings *settings = from_environment();
    assert_int_equal(logged.lines, 0);
    assert_int_equal(settings->span_processor_count, 0);
    assert_int_equal(settings->log_processor_count, 3);
    const struct processor_settings *logs = settings->log_processors;
    assert_int_equal(logs[0].exporter.kind, EXPORT_OTLP_GRPC);
    assert_int_equal(logs[0].schedule_delay_ms, 1);
    assert_int_equal(logs[0].export_timeout_ms, 2);
    assert_int_equal(logs[0].max_queue_size, 3);
    assert_int_equal(logs[0].max_export_batch_size, 2);
    assert_int_equal(logs[1].exporter.kind, EXPORT_OTLP_FILE);
    assert_int_equal(logs[2].exporter.kind, EXPORT_CONSOLE);
    assert_false(logs[2].batch);
    assert_int_equal(settings->reader_count, 3);
    assert_int_equal(settings->readers[0].interval_ms, 60000);
    assert_int_equal(settings->readers[1].exporter.kind, EXPORT_CONSOLE);
    assert_int_equal(settings->readers[1].interval_ms, 10000);
    assert_true(settings->readers[2].pull);
    assert_string_equal(settings->readers[2].exporter.host, "0.0.0.0");
    assert_int_equal(settings->readers[2].exporter.port, 9999);
    settings_free(settings);
}

static const char *const wrong_variables[][2] = {
    {"OTEL_SDK_DISABLED", "yes"},
    {"OTEL_LOG_LEVEL", "loud"},
    {"OTEL_RESOURCE_ATTRIBUTES", "a=b,c"},
    {"OTEL_PROPAGATORS", "b3"},
    {"OTEL_TRACES_SAMPLER", "jaeger_remote"},
    {"OTEL_ATTRIBUTE_COUNT_LIMIT", "-1"},
    {"OTEL_SPAN_EVENT_COUNT_LIMIT", "9999999999"},
    {"OTEL_BSP_SCHEDULE_DELAY", "5s"},
    {"OTEL_BSP_MAX_QUEUE_SIZE", "0"},
    {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5000"},
    {"OTEL_BLRP_MAX_QUEUE_SIZE", "2000000"},
    {"OTEL_TRACES_EXPORTER", "zipkin"},
    {"OTEL_LOGS_EXPORTER", "prometheus"},
    {"OTEL_METRICS_EXPORTER", "otlp,prometheus,logging"},
    {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"},
    {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "gopher://x"},
    {"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "s3cret"},
    {"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"},
    {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-5"},
    {"OTEL_EXPORTER_OTLP_TRACES_INSECURE", "1"},
    {"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/key"},
    {"OTEL_METRIC_EXPORT_INTERVAL", "1.5"},
    {"OTEL_METRICS_EXEMPLAR_FILTER", "sometimes"},
    {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "low_memory"},
    {"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "sum"},
};

static void test_wrong_variables_are_warned_about_and_count_as_unset(void **state)
{
    (void)state;
    struct sdk_settings *usual = from_environment();
    set_all(wrong_variables, array_count(wrong_variables));
    struct sdk_settings *settings = from_environment();
    assert_int_equal(logged.lines, array_count(wrong_variables));
    assert_null(strstr(logged.all, "s3cret"));
    assert_false(settings->disabled);
    assert_int_equal(settings->log_level, OTEL_SEVERITY_NONE);
    assert_int_equal(settings->resource_attribute_count, 0);
    assert_true(settings->propagate_tracecontext && settings->propagate_baggage);
    assert_int_equal(settings->sampler.root->kind, SAMPLER_ALWAYS_ON);
    assert_int_equal(settings->span_limits.attribute_count, 128);
    assert_int_equal(settings->span_limits.event_count, 128);
    assert_true(processor_settings_equal(&usual->span_processors[0], &settings->span_processors[0]));
    assert_true(processor_settings_equal(&usual->log_processors[0], &settings->log_processors[0]));
    assert_int_equal(settings->reader_count, 1);
    assert_true(reader_settings_equal(&usual->readers[0], &settings->readers[0]));
    settings_free(usual);
    settings_free(settings);
}

static void test_a_wrong_sampler_argument_or_port_counts_as_unset(void **state)
{
    (void)state;
    setenv("OTEL_TRACES_SAMPLER", "traceidratio", 1);
    setenv("OTEL_TRACES_SAMPLER_ARG", "1.5", 1);
    setenv("OTEL_METRICS_EXPORTER", "prometheus", 1);
    setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "70000", 1);
    struct sdk_settings *settings = from_environment();
    assert_int_equal(logged.lines, 2);
    assert_true(settings->sampler.ratio == 1);
    assert_int_equal(settings->readers[0].exporter.port, 9464);
    settings_free(settings);
}

static void test_a_wrong_variable_of_a_signal_leaves_the_general_one(void **state)
{
    (void)state;
    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4317", 1);
    setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "nonsense at all", 1);
    struct sdk_settings *settings = from_environment();
    assert_int_equal(logged.lines, 1);
    assert_string_equal(settings->span_processors[0].exporter.endpoint, "http://general:4317");
    settings_free(settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_file_without_sections_has_defaults_and_no_providers, set_up),
        cmocka_unit_test_setup(test_versions_one_point_something_are_read_and_newer_ones_warned_about, set_up),
        cmocka_unit_test_setup(test_sections_of_others_are_warned_about_and_left_alone, set_up),
        cmocka_unit_test_setup(test_what_stands_for_all_signals_is_read, set_up),
        cmocka_unit_test_setup(test_null_is_the_default_where_the_schema_allows_it_and_an_error_elsewhere, set_up),
        cmocka_unit_test_setup(test_propagators_that_we_do_not_have_are_refused, set_up),
        cmocka_unit_test_setup(test_resource_attributes_of_every_type_are_read_and_count_more_than_the_list, set_up),
        cmocka_unit_test_setup(test_attributes_that_are_not_of_their_type_are_refused, set_up),
        cmocka_unit_test_setup(test_detectors_are_chosen_and_filtered, set_up),
        cmocka_unit_test_setup(test_limits_of_a_signal_count_more_than_the_general_ones, set_up),
        cmocka_unit_test_setup(test_whole_numbers_may_be_written_as_reals_and_in_other_bases, set_up),
        cmocka_unit_test_setup(test_samplers_are_read_with_their_delegates, set_up),
        cmocka_unit_test_setup(test_samplers_have_exactly_one_key_that_is_known, set_up),
        cmocka_unit_test_setup(test_the_id_generator_is_the_random_one, set_up),
        cmocka_unit_test_setup(test_processors_have_the_signals_defaults, set_up),
        cmocka_unit_test_setup(test_processors_are_read, set_up),
        cmocka_unit_test_setup(test_processors_that_cannot_work_are_refused, set_up),
        cmocka_unit_test_setup(test_otlp_exporters_are_read, set_up),
        cmocka_unit_test_setup(test_otlp_exporters_that_cannot_work_are_refused, set_up),
        cmocka_unit_test_setup(test_no_message_shows_what_stands_in_headers, set_up),
        cmocka_unit_test_setup(test_headers_are_bounded, set_up),
        cmocka_unit_test_setup(test_readers_are_read, set_up),
        cmocka_unit_test_setup(test_prometheus_takes_the_names_of_version_one_point_zero, set_up),
        cmocka_unit_test_setup(test_readers_that_cannot_work_are_refused, set_up),
        cmocka_unit_test_setup(test_views_are_read, set_up),
        cmocka_unit_test_setup(test_views_that_cannot_work_are_refused, set_up),
        cmocka_unit_test_setup(test_broken_yaml_is_refused_at_its_place, set_up),
        cmocka_unit_test_setup(test_size_depth_and_numbers_are_bounded, set_up),
        cmocka_unit_test_setup(test_what_the_environment_puts_in_is_bounded, set_up),
        cmocka_unit_test_setup(test_substitution_follows_the_specification, set_up),
        cmocka_unit_test_setup(test_keys_are_not_substituted, set_up),
        cmocka_unit_test_setup(test_invalid_references_are_errors, set_up),
        cmocka_unit_test_setup(test_plain_scalars_are_those_of_the_core_schema, set_up),
        cmocka_unit_test_setup(test_files_are_read_and_unreadable_ones_told, set_up),
        cmocka_unit_test_setup(test_settings_are_equal_by_value_and_every_change_counts, set_up),
        cmocka_unit_test_setup(test_without_variables_everything_goes_to_the_local_collector, set_up),
        cmocka_unit_test_setup(test_general_variables_are_read, set_up),
        cmocka_unit_test_setup(test_every_sampler_of_the_environment_is_known, set_up),
        cmocka_unit_test_setup(test_otlp_variables_of_a_signal_count_more_than_the_general_ones, set_up),
        cmocka_unit_test_setup(test_exporters_are_chosen_by_lists, set_up),
        cmocka_unit_test_setup(test_wrong_variables_are_warned_about_and_count_as_unset, set_up),
        cmocka_unit_test_setup(test_a_wrong_sampler_argument_or_port_counts_as_unset, set_up),
        cmocka_unit_test_setup(test_a_wrong_variable_of_a_signal_leaves_the_general_one, set_up),
    };
    log_sink_set(keep_line);
    return cmocka_run_group_tests_name("otel settings", tests, NULL, NULL);
}
