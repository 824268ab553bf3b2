#include <stdio.h>

#include "otel/export/sender.h"
#include "otel/export/writer.h"

struct exporter *exporter_open(const struct exporter_settings *settings, enum signal signal, char *message,
                               size_t message_bytes)
{
    switch (settings->kind) {
    case EXPORT_OTLP_GRPC:
        return grpc_exporter_open(settings, signal, message, message_bytes);
    case EXPORT_OTLP_HTTP:
        return http_exporter_open(settings, signal, message, message_bytes);
    case EXPORT_OTLP_FILE:
        return file_exporter_open(settings, signal, message, message_bytes);
    case EXPORT_CONSOLE:
        return console_exporter_open(settings, signal, message, message_bytes);
    case EXPORT_PROMETHEUS:
    case EXPORT_NONE:
        break;
    }
    snprintf(message, message_bytes, "%s: nothing that is sent", exporter_type(settings->kind, signal));
    return NULL;
}

const char *exporter_type(enum exporter_kind kind, enum signal signal)
{
    switch (kind) {
    case EXPORT_OTLP_GRPC:
        return grpc_methods[signal].type;
    case EXPORT_OTLP_HTTP:
        return http_methods[signal].type;
    case EXPORT_OTLP_FILE:
        return file_methods[signal].type;
    case EXPORT_CONSOLE:
        return console_methods[signal].type;
    case EXPORT_PROMETHEUS:
        return "prometheus_http_text_metric_exporter";
    case EXPORT_NONE:
        break;
    }
    return "none";
}
