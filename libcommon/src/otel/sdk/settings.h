/* What the SDK is told: the declarative configuration as plain structs, wherever it came from (YAML file or OTEL_*
 * variables). Filled with the specification's defaults, so that nobody below asks twice. Everything lives in one
 * arena and is immutable once read. Node names are those of the configuration's schema 1.0; times in ms. */
#ifndef OTEL_SDK_SETTINGS_H
#define OTEL_SDK_SETTINGS_H

#include "common/arena.h"
#include "common/err.h"
#include "common/otel/logs.h"
#include "common/otel/value.h"

enum { UNLIMITED = -1 }; /* attribute_value_length_limit null or missing */

struct header_settings {
    const char *name, *value; /* the value may be a secret: never printed */
};

struct tls_settings {
    const char *ca_file, *key_file, *cert_file; /* NULL: the system's; none */
    bool insecure;                              /* OTLP/gRPC with an endpoint without scheme: plain text */
};

enum exporter_kind {
    EXPORT_OTLP_GRPC,
    EXPORT_OTLP_HTTP,
    EXPORT_OTLP_FILE,
    EXPORT_CONSOLE,
    EXPORT_PROMETHEUS,
    EXPORT_NONE
};
enum temporality_preference { PREFER_CUMULATIVE, PREFER_DELTA, PREFER_LOW_MEMORY };
enum { DEFAULT_HISTOGRAM_EXPLICIT, DEFAULT_HISTOGRAM_EXPONENTIAL };

struct exporter_settings {
    enum exporter_kind kind;
    const char *endpoint; /* OTLP/HTTP: the whole URL with its path; OTLP/gRPC: http(s)://host:port */
    struct tls_settings tls;
    const struct header_settings *headers;
    unsigned header_count;
    bool gzip;
    int timeout_ms;                          /* 0: none */
    unsigned request_bytes_max;              /* OTLP/gRPC and OTLP/HTTP, before compression; 0: none */
    unsigned response_bytes_max;             /* the same, after decompression */
    const char *output_stream;               /* OTLP file: "stdout" or "file:///path" */
    enum temporality_preference temporality; /* metrics only, the same below */
    int default_histogram;
    const char *host; /* Prometheus pull */
    int port;
    bool without_scope_info, without_target_info;
    const char *const *resource_labels_included,
        *const *resource_labels_excluded; /* NULL-terminated patterns; NULL: none */
    const char *translation_strategy;
};

struct processor_settings { /* of spans and of logs */
    bool batch;             /* false: simple */
    int schedule_delay_ms, export_timeout_ms;
    unsigned max_queue_size, max_export_batch_size;
    struct exporter_settings exporter;
};

enum sampler_kind {
    SAMPLER_ALWAYS_ON,
    SAMPLER_ALWAYS_OFF,
    SAMPLER_TRACE_ID_RATIO,
    SAMPLER_PARENT_BASED,
    SAMPLER_PROBABILITY, /* probability/development: consistent, with ot=th */
};

struct sampler_settings {
    enum sampler_kind kind;
    double ratio;
    const struct sampler_settings *root, *remote_parent_sampled, *remote_parent_not_sampled, *local_parent_sampled,
        *local_parent_not_sampled; /* of SAMPLER_PARENT_BASED: never NULL */
};

struct limit_settings {
    int attribute_value_length; /* in characters; UNLIMITED */
    unsigned attribute_count, event_count, link_count, event_attribute_count, link_attribute_count;
};

enum instrument_kind { /* the order of the schema's instrument_type */
                       INSTRUMENT_COUNTER,
                       INSTRUMENT_GAUGE,
                       INSTRUMENT_HISTOGRAM,
                       INSTRUMENT_OBSERVABLE_COUNTER,
                       INSTRUMENT_OBSERVABLE_GAUGE,
                       INSTRUMENT_OBSERVABLE_UP_DOWN_COUNTER,
                       INSTRUMENT_UP_DOWN_COUNTER,
                       INSTRUMENT_KINDS,
};

enum aggregation_kind {
    AGGREGATE_DEFAULT,
    AGGREGATE_DROP,
    AGGREGATE_EXPLICIT,
    AGGREGATE_EXPONENTIAL,
    AGGREGATE_LAST_VALUE,
    AGGREGATE_SUM,
};

struct view_settings {
    /* selector: NULL or -1 matches all; the name may hold * and ? */
    const char *instrument_name, *unit, *meter_name, *meter_version, *meter_schema_url;
    int instrument_type; /* enum instrument_kind */
    /* stream: NULL keeps what the instrument says */
    const char *name, *description;
    enum aggregation_kind aggregation;
    const double *boundaries; /* NULL: the default ones; with bound_count 0 and has_boundaries: none */
    unsigned bound_count;
    bool has_boundaries;
    bool record_min_max;
    int max_scale;
    unsigned max_size;
    unsigned cardinality_limit;                              /* 0: the reader's */
    const char *const *keys_included, *const *keys_excluded; /* NULL-terminated; NULL: all; none */
};

struct reader_settings {
    bool pull;
    int interval_ms, timeout_ms; /* periodic */
    struct exporter_settings exporter;
    unsigned cardinality_limits[INSTRUMENT_KINDS];
};

enum exemplar_filter { EXEMPLARS_TRACE_BASED, EXEMPLARS_ALWAYS_ON, EXEMPLARS_ALWAYS_OFF };

struct sdk_settings {
    struct arena arena;
    bool disabled;
    enum otel_severity log_level; /* least severity of common/log.h; OTEL_SEVERITY_NONE: not told */
    const struct otel_attribute
        *resource_attributes; /* as the file or OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME say, best last */
    unsigned resource_attribute_count;
    const char *resource_schema_url;
    bool detect_host, detect_process, detect_container, detect_service; /* resource detectors */
    /* which of the detected attributes count: NULL-terminated patterns with * and ?; NULL: all; none */
    const char *const *detected_included, *const *detected_excluded;
    bool propagate_tracecontext, propagate_baggage;
    struct sampler_settings sampler;
    struct limit_settings span_limits, log_limits;
    const struct processor_settings *span_processors, *log_processors;
    unsigned span_processor_count, log_processor_count;
    const struct reader_settings *readers;
    unsigned reader_count;
    const struct view_settings *views;
    unsigned view_count;
    enum exemplar_filter exemplar_filter;
};

/* Reads a declarative configuration; name is what messages call it. ERR_INVALID_ARGUMENT with
 * "otel.yaml:12:5: tracer_provider.sampler: expected ..., got ..." otherwise; any bytes give one or the other.
 * The caller frees. */
enum err settings_parse(struct sdk_settings **out, const char *name, const char *text, size_t bytes, char *message,
                        size_t message_bytes);
/* Reads the file; the same, and ERR_NOT_FOUND or ERR_PERMISSION_DENIED with the reason. */
enum err settings_read(struct sdk_settings **out, const char *path, char *message, size_t message_bytes);
/* From the OTEL_* variables. Wrong values are warned about and ignored, as the specification wants. */
enum err settings_from_environment(struct sdk_settings **out, char *message, size_t message_bytes);
void settings_free(struct sdk_settings *settings); /* NULL is allowed */

/* By value, strings and lists too. */
bool exporter_settings_equal(const struct exporter_settings *a, const struct exporter_settings *b);
bool processor_settings_equal(const struct processor_settings *a, const struct processor_settings *b);
bool reader_settings_equal(const struct reader_settings *a, const struct reader_settings *b);
bool views_equal(const struct sdk_settings *a, const struct sdk_settings *b);

/* Tells that a watched file has changed, also by the swap of a directory's symlink (a ConfigMap mount). A thread of its
 * own calls changed() at most once for what changed together, within 2 s. It polls every second where inotify does not
 * work. Start it before reading the file: what changed earlier is not told. NULL, logged: no thread to be had. */
struct settings_watch;
struct settings_watch *settings_watch_start(const char *path, void (*changed)(void *arg), void *arg);
void settings_watch_stop(struct settings_watch *watch); /* after it changed() runs no more; not from within */

#endif
