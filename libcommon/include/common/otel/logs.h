/* Logs: records for the backend, joined to the current span.
 *
 * Emitting copies, never fails and never blocks; a full queue drops and counts. Lines of common/log.h go the same way
 * by themselves once otel_start() ran. Any thread. Source: OpenTelemetry specification, logs/api. */
#ifndef COMMON_OTEL_LOGS_H
#define COMMON_OTEL_LOGS_H

#include "common/otel/value.h"
#include "common/trace.h"

struct otel_logger;

/* As otel_tracer(). */
struct otel_logger *otel_logger(const char *name, const char *version, const char *schema_url);

enum otel_severity { /* OTLP's numbers; 2 to 4 more of each between them */
                     OTEL_SEVERITY_NONE = 0,
                     OTEL_TRACE_LEVEL = 1,
                     OTEL_DEBUG = 5,
                     OTEL_INFO = 9,
                     OTEL_WARN = 13,
                     OTEL_ERROR = 17,
                     OTEL_FATAL = 21,
};

struct otel_log {
    int64_t time_wall_ns;     /* when it happened; 0: unknown */
    int64_t observed_wall_ns; /* 0: now */
    enum otel_severity severity;
    const char *severity_text; /* NULL: none */
    const char *event_name;    /* NULL: no event */
    struct otel_value body;
    const struct otel_attribute *attributes;
    unsigned attribute_count;
    const struct trace_context *context; /* NULL: the current one */
};

bool otel_logger_enabled(const struct otel_logger *logger, enum otel_severity severity);
void otel_logger_emit(struct otel_logger *logger, const struct otel_log *log);

#endif
