/* Declarative configurations: any bytes give settings that keep their promises, or a message that names the place. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/otel/value.h"
#include "common/utf8.h"
#include "fuzz/fuzz.h"
#include "otel/sdk/settings.h"

static const char name[] = "otel.yaml";

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_level_set(LOG_OFF);
    setenv("TEXT", "value", 1);
    setenv("NUMBER", "512", 1);
    setenv("RATIO", "0.25", 1);
    setenv("REFERENCE", "${TEXT}", 1);
    setenv("LONG", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 1);
    return 0;
}

static void check_exporter(const struct exporter_settings *exporter)
{
    bool otlp = exporter->kind == EXPORT_OTLP_GRPC || exporter->kind == EXPORT_OTLP_HTTP;
    FUZZ_CHECK(exporter_settings_equal(exporter, exporter));
    FUZZ_CHECK(!otlp || (exporter->endpoint && *exporter->endpoint));
    FUZZ_CHECK(exporter->timeout_ms >= 0 && exporter->output_stream && exporter->host &&
               exporter->translation_strategy);
    FUZZ_CHECK(exporter->port >= 0 && exporter->port <= 65535);
    FUZZ_CHECK(!exporter->tls.key_file == !exporter->tls.cert_file);
    FUZZ_CHECK(exporter->header_count <= 64 && exporter->kind != EXPORT_NONE);
    for (unsigned i = 0; i < exporter->header_count; i++) {
        FUZZ_CHECK(*exporter->headers[i].name);
        for (const char *c = exporter->headers[i].value; *c; c++)
            FUZZ_CHECK(*c >= ' ' && *c <= '~');
    }
}

static void check_processors(const struct processor_settings *processors, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        FUZZ_CHECK(processors[i].max_queue_size >= 1 && processors[i].max_export_batch_size >= 1);
        FUZZ_CHECK(processors[i].max_export_batch_size <= processors[i].max_queue_size);
        FUZZ_CHECK(processors[i].schedule_delay_ms >= 1 && processors[i].export_timeout_ms >= 0);
        check_exporter(&processors[i].exporter);
    }
}

static void check_sampler(const struct sampler_settings *sampler)
{
    FUZZ_CHECK(sampler->ratio >= 0 && sampler->ratio <= 1);
    if (sampler->kind != SAMPLER_PARENT_BASED)
        return;
    const struct sampler_settings *const delegates[] = {
        sampler->root, sampler->remote_parent_sampled, sampler->remote_parent_not_sampled,
        sampler->local_parent_sampled, sampler->local_parent_not_sampled};
    for (unsigned i = 0; i < 5; i++) {
        FUZZ_CHECK(delegates[i]);
        check_sampler(delegates[i]);
    }
}

static void check_readers(const struct sdk_settings *settings)
{
    for (unsigned i = 0; i < settings->reader_count; i++) {
        const struct reader_settings *reader = &settings->readers[i];
        FUZZ_CHECK(reader->pull == (reader->exporter.kind == EXPORT_PROMETHEUS));
        FUZZ_CHECK(reader->interval_ms >= 1 && reader->timeout_ms >= 0);
        for (unsigned kind = 0; kind < INSTRUMENT_KINDS; kind++)
            FUZZ_CHECK(reader->cardinality_limits[kind] >= 1);
        check_exporter(&reader->exporter);
    }
}

static void check_views(const struct sdk_settings *settings)
{
    for (unsigned i = 0; i < settings->view_count; i++) {
        const struct view_settings *view = &settings->views[i];
        FUZZ_CHECK(view->instrument_type >= -1 && view->instrument_type < INSTRUMENT_KINDS);
        FUZZ_CHECK(view->max_scale >= -10 && view->max_scale <= 20 && view->max_size >= 2);
        for (unsigned b = 1; b < view->bound_count; b++)
            FUZZ_CHECK(view->boundaries[b] > view->boundaries[b - 1]);
    }
}

static void check_resource(const struct sdk_settings *settings)
{
    for (unsigned i = 0; i < settings->resource_attribute_count; i++) {
        const struct otel_attribute *attribute = &settings->resource_attributes[i];
        FUZZ_CHECK(attribute->key && *attribute->key && attribute->value.type != OTEL_EMPTY);
        FUZZ_CHECK(attribute->value.type != OTEL_TEXT || strlen(attribute->value.text) == attribute->value.count);
    }
}

static void check_settings(const struct sdk_settings *settings)
{
    check_processors(settings->span_processors, settings->span_processor_count);
    check_processors(settings->log_processors, settings->log_processor_count);
    check_sampler(&settings->sampler);
    check_readers(settings);
    check_views(settings);
    check_resource(settings);
    FUZZ_CHECK(settings->log_limits.attribute_value_length >= UNLIMITED);
    FUZZ_CHECK(settings->span_limits.attribute_value_length >= UNLIMITED);
}

/* The same bytes give the same settings. */
static void check_again(const struct sdk_settings *settings, const char *text, size_t bytes)
{
    struct sdk_settings *again = NULL;
    char message[256];
    FUZZ_CHECK(settings_parse(&again, name, text, bytes, message, sizeof message) == ERR_OK);
    FUZZ_CHECK(views_equal(settings, again));
    FUZZ_CHECK(settings->span_processor_count == again->span_processor_count);
    for (unsigned i = 0; i < settings->span_processor_count; i++)
        FUZZ_CHECK(processor_settings_equal(&settings->span_processors[i], &again->span_processors[i]));
    for (unsigned i = 0; i < settings->reader_count; i++)
        FUZZ_CHECK(reader_settings_equal(&settings->readers[i], &again->readers[i]));
    settings_free(again);
}

/* "otel.yaml:line:column: ...", readable, within the text. */
static void check_message(const char *message, const char *text, size_t bytes)
{
    unsigned line = 0, column = 0, lines = 1;
    int used = 0;
    for (size_t i = 0; i < bytes; i++)
        lines += text[i] == '\n' || text[i] == '\r' || text[i] == '\x85' || text[i] == '\xa8' || text[i] == '\xa9';
    FUZZ_CHECK(sscanf(message, "otel.yaml:%u:%u: %n", &line, &column, &used) == 2 && used > 0 && message[used]);
    FUZZ_CHECK(line >= 1 && column >= 1 && line <= lines + 1);
    for (const char *c = message; *c; c++)
        FUZZ_CHECK((unsigned char)*c >= ' ');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct sdk_settings *settings = NULL;
    const char *text = (const char *)data;
    char message[1024] = "";
    enum err err = settings_parse(&settings, name, text, bytes, message, sizeof message);
    if (err) {
        FUZZ_CHECK(err == ERR_INVALID_ARGUMENT && !settings);
        check_message(message, text, bytes);
        return 0;
    }
    FUZZ_CHECK(settings && !*message);
    check_settings(settings);
    check_again(settings, text, bytes);
    settings_free(settings);
    return 0;
}
