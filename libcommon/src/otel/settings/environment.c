/* The OTEL_* variables, where no file is given. An empty one counts as unset; a wrong one is warned about and counts as
 * unset too. Source: OpenTelemetry specification, configuration/sdk-environment-variables and protocol/exporter. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/log.h"
#include "common/mem.h"
#include "otel/settings/defaults.h"
#include "otel/settings/node.h"
#include "otel/settings/pairs.h"

static const char *variable(const char *name)
{
    const char *text = getenv(name);
    return text && *text ? text : NULL;
}

static void ignore(const char *name, const char *expected, const char *got)
{
    log_event(LOG_WARN, "environment variable is wrong and counts as unset", log_text("variable", name),
              log_text("expected", expected), log_text("got", got));
}

/* --- values */

static bool parse_int(const char *text, int min, int *out)
{
    size_t digits = strspn(text, "0123456789");
    long long integer = digits && digits <= 10 && !text[digits] ? atoll(text) : -1;
    if (integer < min || integer > INT_MAX)
        return false;
    *out = (int)integer;
    return true;
}

static void read_int(const char *name, int *out)
{
    const char *text = variable(name);
    if (text && !parse_int(text, 0, out))
        ignore(name, "an integer from 0 to 2147483647", text);
}

static void read_count(const char *name, unsigned *out)
{
    int count = (int)*out;
    read_int(name, &count);
    *out = (unsigned)count;
}

static void read_size(const char *name, unsigned *out)
{
    const char *text = variable(name);
    int size;
    if (!text)
        return;
    if (parse_int(text, 1, &size) && size <= QUEUE_SIZE_MAX)
        *out = (unsigned)size;
    else
        ignore(name, "an integer from 1 to 1048576", text);
}

static void read_bool(const char *name, bool *out)
{
    const char *text = variable(name);
    if (!text)
        return;
    *out = strcasecmp(text, "true") == 0;
    if (!*out && strcasecmp(text, "false") != 0)
        ignore(name, "true or false", text);
}

/* The index into names, or initial. */
static int read_choice(const char *name, const char *const *names, const char *expected, int initial)
{
    const char *text = variable(name);
    for (int i = 0; text && names[i]; i++)
        if (strcasecmp(text, names[i]) == 0)
            return i;
    if (text)
        ignore(name, expected, text);
    return initial;
}

/* --- what stands for all signals */

static void read_resource(struct sdk_settings *settings)
{
    const char *attributes = variable("OTEL_RESOURCE_ATTRIBUTES"), *service = variable("OTEL_SERVICE_NAME");
    if (attributes && !attributes_parse(&settings->arena, settings, attributes))
        ignore("OTEL_RESOURCE_ATTRIBUTES", PAIRS_EXPECTED, attributes);
    if (service) {
        const struct otel_attribute name =
            otel_text("service.name", arena_text(&settings->arena, service, strlen(service)));
        attributes_append(settings, &name, 1);
    }
    settings->detect_host = settings->detect_process = settings->detect_container = settings->detect_service = true;
}

static void read_propagators(struct sdk_settings *settings)
{
    const char *text = variable("OTEL_PROPAGATORS");
    if (text && propagators_parse(settings, text))
        return;
    if (text)
        ignore("OTEL_PROPAGATORS", "tracecontext, baggage, both with a comma between, or none", text);
    settings->propagate_tracecontext = settings->propagate_baggage = true;
}

static void read_log_level(struct sdk_settings *settings)
{
    const char *text = variable("OTEL_LOG_LEVEL");
    if (text && !severity_parse(text, &settings->log_level))
        ignore("OTEL_LOG_LEVEL", "trace, debug, info, warn, error or fatal", text);
}

static void read_limits(struct sdk_settings *settings)
{
    struct limit_settings *spans = &settings->span_limits, *logs = &settings->log_limits;
    read_int("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", &spans->attribute_value_length);
    read_count("OTEL_ATTRIBUTE_COUNT_LIMIT", &spans->attribute_count);
    *logs = *spans;
    read_int("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", &spans->attribute_value_length);
    read_count("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", &spans->attribute_count);
    read_count("OTEL_SPAN_EVENT_COUNT_LIMIT", &spans->event_count);
    read_count("OTEL_SPAN_LINK_COUNT_LIMIT", &spans->link_count);
    read_count("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", &spans->event_attribute_count);
    read_count("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", &spans->link_attribute_count);
    read_int("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", &logs->attribute_value_length);
    read_count("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", &logs->attribute_count);
}

/* --- sampler */

static double sampler_ratio(void)
{
    const char *text = variable("OTEL_TRACES_SAMPLER_ARG");
    struct scalar scalar = text ? scalar_resolve(text, strlen(text)) : (struct scalar){.type = SCALAR_NULL};
    bool number = scalar.type == SCALAR_INT || scalar.type == SCALAR_REAL;
    if (number && scalar.real >= 0 && scalar.real <= 1)
        return scalar.real;
    if (text)
        ignore("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1", text);
    return 1;
}

static void read_sampler(struct sdk_settings *settings)
{
    static const char *const names[] = {"always_on",
                                        "always_off",
                                        "traceidratio",
                                        "parentbased_always_on",
                                        "parentbased_always_off",
                                        "parentbased_traceidratio",
                                        NULL};
    static const enum sampler_kind kinds[] = {SAMPLER_ALWAYS_ON, SAMPLER_ALWAYS_OFF, SAMPLER_TRACE_ID_RATIO};
    enum { RATIO = 2, FIRST_PARENT_BASED = 3 };
    int chosen =
        read_choice("OTEL_TRACES_SAMPLER", names,
                    "always_on, always_off, traceidratio, or one of them behind parentbased_", FIRST_PARENT_BASED);
    struct sampler_settings *root = arena_new(&settings->arena, struct sampler_settings);
    root->kind = kinds[chosen % FIRST_PARENT_BASED];
    root->ratio = chosen % FIRST_PARENT_BASED == RATIO ? sampler_ratio() : 1;
    settings->sampler.root = root;
    if (chosen < FIRST_PARENT_BASED)
        settings->sampler = *root;
}

/* --- OTLP exporters: each option for the signal, else for all */

static const char *const signal_names[] = {
    [SIGNAL_TRACES] = "TRACES", [SIGNAL_METRICS] = "METRICS", [SIGNAL_LOGS] = "LOGS"};
static const char *const signal_paths[] = {
    [SIGNAL_TRACES] = "v1/traces", [SIGNAL_METRICS] = "v1/metrics", [SIGNAL_LOGS] = "v1/logs"};

struct option {
    const char *name;
    bool (*fits)(const char *text);
    const char *expected;
    bool secret;
};

static bool fits_any(const char *text)
{
    return *text != '\0';
}

static bool fits_timeout(const char *text)
{
    int timeout;
    return parse_int(text, 0, &timeout);
}

static bool fits_compression(const char *text)
{
    return strcasecmp(text, "gzip") == 0 || strcasecmp(text, "none") == 0;
}

static bool fits_protocol(const char *text)
{
    return strcasecmp(text, "grpc") == 0 || strcasecmp(text, "http/protobuf") == 0;
}

static bool fits_bool(const char *text)
{
    return strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0;
}

static bool fits_headers(const char *text)
{
    struct arena arena;
    struct exporter_settings unused = {0};
    arena_init(&arena, 4096);
    bool good = headers_parse(&arena, &unused, text);
    arena_done(&arena);
    return good;
}

/* Also tells whether it was said for this signal. */
static const char *read_option(struct arena *arena, enum signal signal, const struct option *option, bool *out_own)
{
    const char *const names[] = {
        arena_print(arena, "OTEL_EXPORTER_OTLP_%s_%s", signal_names[signal], option->name),
        arena_print(arena, "OTEL_EXPORTER_OTLP_%s", option->name),
    };
    for (unsigned i = 0; i < array_count(names); i++) {
        const char *text = variable(names[i]);
        if (text && option->fits(text)) {
            *out_own = i == 0;
            return arena_text(arena, text, strlen(text));
        }
        if (text)
            ignore(names[i], option->expected, option->secret ? "something else" : text);
    }
    return NULL;
}

static const char *read_text(struct arena *arena, enum signal signal, const char *name)
{
    bool own;
    return read_option(arena, signal, &(const struct option){name, fits_any, "a text"}, &own);
}

static void read_endpoint(struct arena *arena, enum signal signal, struct exporter_settings *exporter)
{
    static const struct option url = {"ENDPOINT", endpoint_is_url, URL_EXPECTED, true};
    static const struct option target = {"ENDPOINT", endpoint_is_target, TARGET_EXPECTED, true};
    bool http = exporter->kind == EXPORT_OTLP_HTTP, own;
    const char *text = read_option(arena, signal, http ? &url : &target, &own);
    if (text && http && !own)
        text = arena_print(arena, "%s%s%s", text, text[strlen(text) - 1] == '/' ? "" : "/", signal_paths[signal]);
    exporter->endpoint = text;
    exporter_complete(arena, exporter, signal);
}

static void read_tls(struct arena *arena, enum signal signal, struct tls_settings *tls)
{
    static const struct option insecure = {"INSECURE", fits_bool, "true or false"};
    bool own;
    const char *text = read_option(arena, signal, &insecure, &own);
    tls->insecure = text && strcasecmp(text, "true") == 0;
    tls->ca_file = read_text(arena, signal, "CERTIFICATE");
    tls->key_file = read_text(arena, signal, "CLIENT_KEY");
    tls->cert_file = read_text(arena, signal, "CLIENT_CERTIFICATE");
    if (!tls->key_file == !tls->cert_file)
        return;
    ignore("OTEL_EXPORTER_OTLP_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE with it, and the other way round",
           NULL);
    tls->key_file = tls->cert_file = NULL;
}

static void read_otlp(struct arena *arena, enum signal signal, struct exporter_settings *exporter)
{
    static const struct option protocol = {"PROTOCOL", fits_protocol, "grpc or http/protobuf"};
    static const struct option headers = {"HEADERS", fits_headers, "headers as " PAIRS_EXPECTED, true};
    static const struct option compression = {"COMPRESSION", fits_compression, "gzip or none"};
    static const struct option timeout = {"TIMEOUT", fits_timeout, "milliseconds, an integer from 0 to 2147483647"};
    bool own;
    const char *text = read_option(arena, signal, &protocol, &own);
    exporter->kind = text && strcasecmp(text, "grpc") != 0 ? EXPORT_OTLP_HTTP : EXPORT_OTLP_GRPC;
    read_endpoint(arena, signal, exporter);
    read_tls(arena, signal, &exporter->tls);
    if ((text = read_option(arena, signal, &headers, &own)))
        headers_parse(arena, exporter, text);
    if ((text = read_option(arena, signal, &compression, &own)))
        exporter->gzip = strcasecmp(text, "gzip") == 0;
    if ((text = read_option(arena, signal, &timeout, &own)))
        parse_int(text, 0, &exporter->timeout_ms);
}

/* --- which exporters */

enum chosen { CHOSE_NONE, CHOSE_OTLP, CHOSE_CONSOLE, CHOSE_STDOUT, CHOSE_PROMETHEUS, CHOICES };

static bool choose(const char *word, size_t length, bool metrics, bool chosen[CHOICES])
{
    static const char *const names[CHOICES] = {"none", "otlp", "console", "otlp/stdout", "prometheus"};
    for (unsigned i = 0; i < CHOICES; i++)
        if (strlen(names[i]) == length && strncasecmp(word, names[i], length) == 0 &&
            (metrics || i != CHOSE_PROMETHEUS)) {
            chosen[i] = true;
            return true;
        }
    return false;
}

static bool choose_all(const char *text, bool metrics, bool chosen[CHOICES])
{
    for (;;) {
        text += strspn(text, " \t");
        size_t item = strcspn(text, ","), length = strcspn(text, ", \t");
        if (length + strspn(text + length, " \t") != item || !choose(text, length, metrics, chosen))
            return false;
        if (!text[item])
            return true;
        text += item + 1;
    }
}

static void read_exporters(const char *name, bool metrics, bool chosen[CHOICES])
{
    const char *text = variable(name);
    if (text && choose_all(text, metrics, chosen))
        return;
    if (text)
        ignore(name, metrics ? "otlp, console, prometheus, otlp/stdout or none" : "otlp, console, otlp/stdout or none",
               text);
    memset(chosen, 0, CHOICES * sizeof *chosen);
    chosen[CHOSE_OTLP] = true;
}

/* --- traces and logs */

struct batch_variables {
    const char *exporters, *schedule_delay, *export_timeout, *max_queue_size, *max_export_batch_size;
    int delay_ms;
};

static const struct batch_variables span_variables = {"OTEL_TRACES_EXPORTER",           "OTEL_BSP_SCHEDULE_DELAY",
                                                      "OTEL_BSP_EXPORT_TIMEOUT",        "OTEL_BSP_MAX_QUEUE_SIZE",
                                                      "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", SPAN_DELAY_MS};
static const struct batch_variables log_variables = {
    "OTEL_LOGS_EXPORTER",       "OTEL_BLRP_SCHEDULE_DELAY",        "OTEL_BLRP_EXPORT_TIMEOUT",
    "OTEL_BLRP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", LOG_DELAY_MS};

static struct processor_settings read_batch(const struct batch_variables *names)
{
    struct processor_settings batch = processor_defaults(names->delay_ms);
    read_int(names->schedule_delay, &batch.schedule_delay_ms);
    read_int(names->export_timeout, &batch.export_timeout_ms);
    read_size(names->max_queue_size, &batch.max_queue_size);
    read_size(names->max_export_batch_size, &batch.max_export_batch_size);
    if (batch.max_export_batch_size > batch.max_queue_size) {
        ignore(names->max_export_batch_size, "no more than the queue's size", variable(names->max_export_batch_size));
        batch.max_export_batch_size = 0;
    }
    processor_complete(&batch);
    return batch;
}

static const struct processor_settings *read_processors(struct arena *arena, enum signal signal,
                                                        const struct batch_variables *names, unsigned *out_count)
{
    bool chosen[CHOICES] = {false};
    struct processor_settings batch = read_batch(names), *all = arena_array(arena, struct processor_settings, CHOICES);
    unsigned count = 0;
    read_exporters(names->exporters, false, chosen);
    if (chosen[CHOSE_OTLP]) {
        all[count] = batch;
        read_otlp(arena, signal, &all[count++].exporter);
    }
    if (chosen[CHOSE_STDOUT]) {
        all[count] = batch;
        all[count++].exporter.kind = EXPORT_OTLP_FILE;
    }
    if (chosen[CHOSE_CONSOLE]) {
        all[count] = batch;
        all[count].batch = false; /* as the specification pairs them */
        all[count++].exporter.kind = EXPORT_CONSOLE;
    }
    *out_count = count;
    return all;
}

/* --- metrics */

static struct reader_settings periodic(enum exporter_kind kind, int interval_ms)
{
    struct reader_settings reader = reader_defaults();
    reader.exporter.kind = kind;
    reader.interval_ms = interval_ms;
    read_int("OTEL_METRIC_EXPORT_INTERVAL", &reader.interval_ms);
    read_int("OTEL_METRIC_EXPORT_TIMEOUT", &reader.timeout_ms);
    reader_complete(&reader);
    return reader;
}

static struct reader_settings read_otlp_reader(struct arena *arena)
{
    static const char *const preferences[] = {"cumulative", "delta", "lowmemory", NULL};
    struct reader_settings reader = periodic(EXPORT_OTLP_GRPC, METRIC_INTERVAL_MS);
    read_otlp(arena, SIGNAL_METRICS, &reader.exporter);
    reader.exporter.temporality =
        (enum temporality_preference)read_choice("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preferences,
                                                 "cumulative, delta or lowmemory", PREFER_CUMULATIVE);
    reader.exporter.default_histogram =
        read_choice("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", histogram_names,
                    "explicit_bucket_histogram or base2_exponential_bucket_histogram", DEFAULT_HISTOGRAM_EXPLICIT);
    return reader;
}

static struct reader_settings read_prometheus_reader(struct arena *arena)
{
    struct reader_settings reader = reader_defaults();
    const char *host = variable("OTEL_EXPORTER_PROMETHEUS_HOST"), *port = variable("OTEL_EXPORTER_PROMETHEUS_PORT");
    int number;
    reader.pull = true;
    reader.exporter.kind = EXPORT_PROMETHEUS;
    if (host)
        reader.exporter.host = arena_text(arena, host, strlen(host));
    if (port && parse_int(port, 0, &number) && number <= 65535)
        reader.exporter.port = number;
    else if (port)
        ignore("OTEL_EXPORTER_PROMETHEUS_PORT", "an integer from 0 to 65535", port);
    return reader;
}

static void read_metrics(struct sdk_settings *settings)
{
    bool chosen[CHOICES] = {false};
    struct reader_settings *readers = arena_array(&settings->arena, struct reader_settings, CHOICES);
    unsigned count = 0;
    read_exporters("OTEL_METRICS_EXPORTER", true, chosen);
    if (chosen[CHOSE_OTLP])
        readers[count++] = read_otlp_reader(&settings->arena);
    if (chosen[CHOSE_STDOUT])
        readers[count++] = periodic(EXPORT_OTLP_FILE, METRIC_INTERVAL_MS);
    if (chosen[CHOSE_CONSOLE])
        readers[count++] = periodic(EXPORT_CONSOLE, CONSOLE_INTERVAL_MS);
    if (chosen[CHOSE_PROMETHEUS])
        readers[count++] = read_prometheus_reader(&settings->arena);
    settings->readers = readers;
    settings->reader_count = count;
    settings->exemplar_filter = (enum exemplar_filter)read_choice(
        "OTEL_METRICS_EXEMPLAR_FILTER", exemplar_names, "trace_based, always_on or always_off", EXEMPLARS_TRACE_BASED);
}

/* --- together */

enum err settings_from_environment(struct sdk_settings **out, char *message, size_t message_bytes)
{
    struct sdk_settings *settings = settings_new();
    if (message_bytes)
        *message = '\0'; /* nothing that is wrong here is an error */
    read_bool("OTEL_SDK_DISABLED", &settings->disabled);
    read_log_level(settings);
    read_resource(settings);
    read_propagators(settings);
    read_limits(settings);
    read_sampler(settings);
    settings->span_processors =
        read_processors(&settings->arena, SIGNAL_TRACES, &span_variables, &settings->span_processor_count);
    settings->log_processors =
        read_processors(&settings->arena, SIGNAL_LOGS, &log_variables, &settings->log_processor_count);
    read_metrics(settings);
    *out = settings;
    return ERR_OK;
}
