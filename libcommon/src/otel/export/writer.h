/* Exporters that write lines: OTLP/JSON to a file or standard output, and text for people to standard output. */
#ifndef OTEL_EXPORT_WRITER_H
#define OTEL_EXPORT_WRITER_H

#include "otel/sdk/exporter.h"

/* For open.c. NULL with a message. */
extern const struct exporter_methods file_methods[], console_methods[];
struct exporter *file_exporter_open(const struct exporter_settings *settings, enum signal signal, char *message,
                                    size_t message_bytes);
struct exporter *console_exporter_open(const struct exporter_settings *settings, enum signal signal, char *message,
                                       size_t message_bytes);

/* Lines for people. Stable; one a span, log record or data point, and one more for each of a span's events and links:
 *
 *   span <start> <milliseconds>ms <kind> "<name>" trace_id=… span_id=… parent_span_id=… status=<status> scope=<name>
 *        {key=value …}
 *     event <time> "<name>" {key=value …}
 *     link trace_id=… span_id=… {key=value …}
 *   log <time> <severity> <body> event_name=… trace_id=… span_id=… scope=… {key=value …}
 *   metric <time> <name> <type> <value> <unit> scope=… {key=value …}
 *
 * (each on one line). Texts are quoted and escaped as in JSON; what is empty is left out. The value of a histogram is
 * count=… sum=… min=… max=… buckets=[≤bound:count …]; of an exponential one scale=… zero=… positive=… negative=… in the
 * place of buckets, as <offset>[count …]. */
void console_print(struct buffer *out, const struct export_batch *batch);

#endif
