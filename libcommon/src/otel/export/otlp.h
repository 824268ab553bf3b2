/* The parts of the OTLP codec. Each writes one record, backwards, as the message in field. */
#ifndef OTEL_EXPORT_OTLP_H
#define OTEL_EXPORT_OTLP_H

#include "otel/export/wire.h"

/* Number of the field that holds a scope's records, whatever the signal. */
enum { OTLP_SCOPE_RECORDS = 2, OTLP_SPAN_ATTRIBUTES = 9 };

void otlp_put_span(struct wire *wire, unsigned field, const struct span_record *span);
void otlp_put_log(struct wire *wire, unsigned field, const struct log_record *log);
/* A record that is in nobody's arena yet: checked and written in one pass. False when a copy of it would be another (by
 * limits, keys, or texts that are not ASCII) or has to be looked at closely; then the wire is of no use any more. */
bool otlp_put_plain_log(struct wire *wire, unsigned field, const struct log_record *log,
                        const struct limit_settings *limits);
void otlp_put_metric(struct wire *wire, unsigned field, const struct metric *metric);

/* Repeated KeyValue. */
void otlp_put_attributes(struct wire *wire, unsigned field, const struct otel_attribute *attributes, unsigned count);
/* AnyValue. */
void otlp_put_value(struct wire *wire, unsigned field, const struct otel_value *value);

/* An element of an array of whatever type, as a value of its own. */
struct otel_value otlp_element(const struct otel_value *array, uint32_t index);
/* Exemplars of histograms hold the measured value as a real number, like the histogram's sum. */
bool otlp_has_integers(const struct metric *metric);

static inline bool otlp_is_zero(const uint8_t *id, unsigned bytes)
{
    uint8_t any = 0;
    for (unsigned i = 0; i < bytes; i++)
        any |= id[i];
    return any == 0;
}

#endif
