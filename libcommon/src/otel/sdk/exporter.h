/* An exporter: sends a batch somewhere, on the thread of the processor or reader that owns it, one call at a time.
 *
 * export blocks until the batch is away, refused for good, or the deadline has passed; retries happen inside.
 * What could not be sent is dropped by the caller, which counts it. */
#ifndef OTEL_SDK_EXPORTER_H
#define OTEL_SDK_EXPORTER_H

#include "otel/sdk/model.h"

enum signal { SIGNAL_TRACES, SIGNAL_METRICS, SIGNAL_LOGS };

struct export_batch {
    enum signal signal;
    const struct sdk_resource *resource;
    unsigned count;
    union {
        struct span_record *const *spans;
        struct log_record *const *logs;
        const struct metric *metrics;
    };
};

struct export_result {
    bool ok;
    unsigned rejected; /* by a partial success */
    const char *error; /* error.type: a gRPC code's name, an HTTP status, "timeout"; static; NULL when ok */
};

struct exporter {
    const struct exporter_methods *methods;
    enum signal signal;
};

struct exporter_methods {
    const char *type; /* otel.component.type: "otlp_grpc_span_exporter" ... by signal, see exporter_type() */
    struct export_result (*export)(struct exporter *exporter, const struct export_batch *batch, int64_t deadline_ns);
    /* Any thread: whatever runs or comes has to end by the deadline (the process stops). */
    void (*hurry)(struct exporter *exporter, int64_t deadline_ns);
    void (*free)(struct exporter *exporter); /* nothing runs any more */
};

/* export/open.c: NULL with a message that names what is wrong (a certificate that cannot be read, a path that cannot be
 * written). Never for an endpoint that does not answer. settings are kept: they must outlive it. */
struct exporter *exporter_open(const struct exporter_settings *settings, enum signal signal, char *message,
                               size_t message_bytes);
/* The semantic conventions' otel.component.type for kind and signal; static. */
const char *exporter_type(enum exporter_kind kind, enum signal signal);

/* --- the OTLP codec, export/otlp.c: grows out, never fails */
struct buffer { /* sdk/buffer.h has its verbs */
    uint8_t *data;
    size_t size, capacity;
};
/* ExportTraceServiceRequest, ExportMetricsServiceRequest or ExportLogsServiceRequest, grouped by scope. */
void otlp_encode(struct buffer *out, const struct export_batch *batch);
/* The same as one OTLP/JSON object (hex ids, 64-bit integers as text), without newline. */
void otlp_encode_json(struct buffer *out, const struct export_batch *batch);

#endif
