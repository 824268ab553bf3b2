/* Collected metrics as Prometheus text format 0.0.4 or OpenMetrics 1.0.
 *
 * Cumulative metrics only. What has no form in the text is left out: exponential histograms, and metrics whose type
 * contradicts that of another one of the same name (warned about once).
 * Source: OpenTelemetry specification, compatibility/prometheus_and_openmetrics; OpenMetrics 1.0. */
#ifndef OTEL_METRICS_PROMETHEUS_H
#define OTEL_METRICS_PROMETHEUS_H

#include "otel/sdk/buffer.h"

struct text_format {
    bool openmetrics;
    bool utf8; /* names may hold any character, in quotes (escaping=allow-utf-8) */
};

/* settings are those of the pull exporter. */
void prometheus_write(struct buffer *out, const struct metric *metrics, unsigned count,
                      const struct sdk_resource *resource, const struct exporter_settings *settings,
                      const struct text_format *format);
/* The Content-Type; static. */
const char *prometheus_content_type(const struct text_format *format);

/* --- names (prometheus_names.c) */

struct translation {
    bool escapes;  /* to [a-zA-Z0-9_:] */
    bool suffixes; /* of units */
    bool total;    /* counters' samples end in _total, their families do not */
};

/* As the configuration's translation_strategy and the format want it together. */
struct translation translation_of(const char *strategy, const struct text_format *format);
/* The name of the metric's family. *out_unit becomes the unit's word, or "". All in arena. */
const char *family_name(struct arena *arena, const struct metric *metric, const struct translation *translation,
                        const char **out_unit);
/* key as the name of a label. */
const char *label_name(struct arena *arena, const char *key, bool escapes);
/* value as the value of a label (prometheus_values.c). */
const char *label_value(struct arena *arena, const struct otel_value *value);
/* [a-zA-Z_:][a-zA-Z0-9_:]*, without the colon for labels. */
bool name_is_plain(const char *name, bool colons);

#endif
