/* OpenTelemetry for C: the SDK's life.
 *
 * One SDK a process. Settings come from the declarative file that OTEL_CONFIG_FILE names, else from the OTEL_*
 * variables. A watched file takes effect when it changes, whole or not at all. Telemetry never blocks its
 * caller and never fails it: queues are bounded, what does not fit is dropped and counted (otel.sdk.* metrics).
 * start and stop from one thread; the rest any thread. Source: OpenTelemetry specification 1.60, configuration/sdk. */
#ifndef COMMON_OTEL_H
#define COMMON_OTEL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "common/otel/logs.h"
#include "common/otel/metrics.h"
#include "common/otel/propagation.h"
#include "common/otel/trace.h"

struct otel_options {
    const char *service_name;    /* when the settings name none; NULL: unknown_service:<process> */
    const char *service_version; /* NULL: none */
    const char *config_file;     /* NULL: $OTEL_CONFIG_FILE; when that is unset too, the OTEL_* variables */
    bool watch;                  /* take over changes of the file within 2 s */
};

/* options may be NULL. ERR_INVALID_ARGUMENT: nothing was started, message says file, line, column, key and what was
 * expected. An endpoint that does not answer is no error. */
enum err otel_start(const struct otel_options *options, char *message, size_t message_bytes);
/* Reads the file again, now. False: the old settings stay; logged and counted. */
bool otel_reload(void);
/* Exports what is queued. False when not all of it left within the time. */
bool otel_flush(int timeout_ms);
/* Flushes and ends; what comes later is not recorded. False when not all of it left within the time. */
bool otel_stop(int timeout_ms);

/* The present metrics in Prometheus' text format 0.0.4, or OpenMetrics 1.0 with exemplars when openmetrics; the caller
 * frees. Sets *out_content_type to a static text. */
char *otel_metrics_text(bool openmetrics, const char **out_content_type, size_t *out_bytes);

#endif
