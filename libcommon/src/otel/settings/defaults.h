/* What counts where nobody says anything; the same for file and environment. */
#ifndef OTEL_SETTINGS_DEFAULTS_H
#define OTEL_SETTINGS_DEFAULTS_H

#include "otel/sdk/exporter.h"

enum {
    QUEUE_SIZE_MAX = 1 << 20, /* the queue is allocated whole */
    CARDINALITY_LIMIT_MAX = 1 << 20,
    HISTOGRAM_SIZE_MAX = 1 << 14,
    SPAN_DELAY_MS = 5000,
    LOG_DELAY_MS = 1000,
    METRIC_INTERVAL_MS = 60000,
    CONSOLE_INTERVAL_MS = 10000, /* from the environment */
};

enum { PROPAGATE_TRACECONTEXT, PROPAGATE_BAGGAGE };

/* Without any provider and propagator. */
struct sdk_settings *settings_new(void);
struct exporter_settings exporter_defaults(void);
struct processor_settings processor_defaults(int schedule_delay_ms);
struct reader_settings reader_defaults(void);
struct view_settings view_defaults(void);
/* The endpoint of an OTLP exporter that was not told one. */
void exporter_complete(struct arena *arena, struct exporter_settings *exporter, enum signal signal);
/* A batch that nobody sized is no larger than its queue. Waits of 0 become 1 ms: nobody is meant to spin. */
void processor_complete(struct processor_settings *processor);
void reader_complete(struct reader_settings *reader);

extern const struct sampler_settings sampler_always_on, sampler_always_off;
/* parent_based without anything said. */
struct sampler_settings sampler_defaults(void);

/* --- checks that file and environment share */

/* http:// or https:// with a host; for gRPC host:port too, and neither user nor path. */
#define URL_EXPECTED    "an http:// or https:// URL"
#define TARGET_EXPECTED "http://host:port, https://host:port or host:port"
bool endpoint_is_url(const char *text);
bool endpoint_is_target(const char *text);
/* Names of the schema; the index of each is its enum. NULL-terminated. */
extern const char *const temporality_names[], *const histogram_names[], *const exemplar_names[];
/* A list with commas between; "none" is none. False, and nothing changed, for what we do not have. */
bool propagators_parse(struct sdk_settings *settings, const char *text);
bool severity_parse(const char *text, enum otel_severity *out); /* "info", "warn2" ... */
extern const char *const severity_names[];

#endif
