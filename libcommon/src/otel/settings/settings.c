/* The life of settings, and what they are where nobody says anything. */
#include "otel/sdk/settings.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"
#include "otel/export/endpoint.h"
#include "otel/settings/defaults.h"

const struct sampler_settings sampler_always_on = {.kind = SAMPLER_ALWAYS_ON},
                              sampler_always_off = {.kind = SAMPLER_ALWAYS_OFF};

const char *const temporality_names[] = {"cumulative", "delta", "low_memory", NULL};
const char *const histogram_names[] = {"explicit_bucket_histogram", "base2_exponential_bucket_histogram", NULL};
const char *const exemplar_names[] = {"trace_based", "always_on", "always_off", NULL};
const char *const severity_names[] = {"trace",  "trace2", "trace3", "trace4", "debug",  "debug2", "debug3",
                                      "debug4", "info",   "info2",  "info3",  "info4",  "warn",   "warn2",
                                      "warn3",  "warn4",  "error",  "error2", "error3", "error4", "fatal",
                                      "fatal2", "fatal3", "fatal4", NULL};

struct sampler_settings sampler_defaults(void)
{
    return (struct sampler_settings){
        .kind = SAMPLER_PARENT_BASED,
        .root = &sampler_always_on,
        .remote_parent_sampled = &sampler_always_on,
        .remote_parent_not_sampled = &sampler_always_off,
        .local_parent_sampled = &sampler_always_on,
        .local_parent_not_sampled = &sampler_always_off,
    };
}

struct exporter_settings exporter_defaults(void)
{
    return (struct exporter_settings){
        .timeout_ms = 10000,
        .request_bytes_max = 64 << 20,
        .response_bytes_max = 4 << 20,
        .output_stream = "stdout",
        .host = "localhost",
        .port = 9464,
        .translation_strategy = "underscore_escaping_with_suffixes",
    };
}

struct processor_settings processor_defaults(int schedule_delay_ms)
{
    return (struct processor_settings){
        .batch = true,
        .schedule_delay_ms = schedule_delay_ms,
        .export_timeout_ms = 30000,
        .max_queue_size = 2048,
        .exporter = exporter_defaults(),
    };
}

static int at_least_one(int ms)
{
    return ms > 0 ? ms : 1;
}

void processor_complete(struct processor_settings *processor)
{
    const unsigned usual = 512;
    if (!processor->max_export_batch_size)
        processor->max_export_batch_size = processor->max_queue_size < usual ? processor->max_queue_size : usual;
    processor->schedule_delay_ms = at_least_one(processor->schedule_delay_ms);
}

void reader_complete(struct reader_settings *reader)
{
    reader->interval_ms = at_least_one(reader->interval_ms);
}

struct reader_settings reader_defaults(void)
{
    struct reader_settings reader = {
        .interval_ms = METRIC_INTERVAL_MS, .timeout_ms = 30000, .exporter = exporter_defaults()};
    for (unsigned i = 0; i < INSTRUMENT_KINDS; i++)
        reader.cardinality_limits[i] = 2000;
    return reader;
}

struct view_settings view_defaults(void)
{
    return (struct view_settings){.instrument_type = -1, .record_min_max = true, .max_scale = 20, .max_size = 160};
}

void exporter_complete(struct arena *arena, struct exporter_settings *exporter, enum signal signal)
{
    static const char *const names[] = {
        [SIGNAL_TRACES] = "traces", [SIGNAL_METRICS] = "metrics", [SIGNAL_LOGS] = "logs"};
    if (exporter->endpoint)
        return;
    if (exporter->kind == EXPORT_OTLP_GRPC)
        exporter->endpoint = "http://localhost:4317";
    if (exporter->kind == EXPORT_OTLP_HTTP)
        exporter->endpoint = arena_print(arena, "http://localhost:4318/v1/%s", names[signal]);
}

struct sdk_settings *settings_new(void)
{
    struct sdk_settings *settings = mem_alloc(sizeof *settings);
    arena_init(&settings->arena, 4096);
    settings->sampler = sampler_defaults();
    settings->span_limits = settings->log_limits = (struct limit_settings){
        .attribute_value_length = UNLIMITED,
        .attribute_count = 128,
        .event_count = 128,
        .link_count = 128,
        .event_attribute_count = 128,
        .link_attribute_count = 128,
    };
    return settings;
}

void settings_free(struct sdk_settings *settings)
{
    if (!settings)
        return;
    arena_done(&settings->arena);
    free(settings);
}

/* --- checks */

bool endpoint_is_url(const char *text)
{
    struct endpoint endpoint;
    char message[128];
    return endpoint_read(text, false, true, &endpoint, message, sizeof message);
}

bool endpoint_is_target(const char *text)
{
    struct endpoint endpoint;
    char message[128];
    return endpoint_read(text, true, false, &endpoint, message, sizeof message) && !endpoint.has_user &&
           !endpoint.has_path;
}

bool severity_parse(const char *text, enum otel_severity *out)
{
    for (unsigned i = 0; severity_names[i]; i++)
        if (strcasecmp(text, severity_names[i]) == 0) {
            *out = (enum otel_severity)(OTEL_TRACE_LEVEL + i);
            return true;
        }
    return false;
}

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && strncasecmp(text, word, length) == 0;
}

bool propagators_parse(struct sdk_settings *settings, const char *text)
{
    bool tracecontext = false, baggage = false;
    for (;;) {
        text += strspn(text, " \t");
        size_t item = strcspn(text, ","), length = strcspn(text, ", \t");
        if (length + strspn(text + length, " \t") != item)
            return false;
        tracecontext |= is_word(text, length, "tracecontext");
        baggage |= is_word(text, length, "baggage");
        if (!is_word(text, length, "tracecontext") && !is_word(text, length, "baggage") &&
            !is_word(text, length, "none"))
            return false;
        if (!text[item])
            break;
        text += item + 1;
    }
    settings->propagate_tracecontext |= tracecontext;
    settings->propagate_baggage |= baggage;
    return true;
}
