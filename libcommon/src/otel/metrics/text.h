#ifndef OTEL_METRICS_TEXT_H
#define OTEL_METRICS_TEXT_H

#include "otel/metrics/prometheus.h"
#include "otel/metrics/reader.h"

/* Collects and appends the text. Under pull_lock. */
void reader_write_text(struct reader *reader, const struct text_format *format, struct buffer *out);

#endif
