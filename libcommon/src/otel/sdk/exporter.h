/* An exporter: sends a batch somewhere, on the thread of the processor or reader that owns it, one call at a time.
 *
 * export blocks until the batch is away, refused for good, or the deadline has passed; retries happen inside.
 * What could not be sent is dropped by the caller, which counts it. */
#ifndef OTEL_SDK_EXPORTER_H
#define OTEL_SDK_EXPORTER_H

#include <stdatomic.h>

#include "otel/sdk/model.h"

enum signal { SIGNAL_TRACES, SIGNAL_METRICS, SIGNAL_LOGS };

/* A span or log record as the field of OTLP's protobuf that it becomes, whoever made it having encoded it while it was
 * in that core's cache. Its bytes mostly lie behind those of the record before, so that the exporting thread has them
 * sent from there, and reads none. */
struct encoded_record {
    const struct sdk_scope *scope;
    const uint8_t *bytes;
    struct encoded_chunk *chunk; /* that bytes are in */
    _Atomic(uint32_t) users;     /* private */
    uint32_t size;
};

struct export_batch {
    enum signal signal;
    const struct sdk_resource *resource;
    bool encoded; /* records instead of spans or logs */
    unsigned count;
    union {
        struct encoded_record *const *records;
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
    bool takes_encoded;                      /* spans and log records have to come encoded */
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
struct otlp_message { /* or a part of one */
    const uint8_t *data;
    size_t size;
};
struct otlp_piece {
    const uint8_t *data;
    size_t size;
    struct encoded_chunk *chunk; /* NULL: in the request's own room */
};
/* A message in pieces, one behind the other. {0} is an empty one; its memory is used again by the next. */
struct otlp_request {
    struct buffer room;
    struct otlp_piece *pieces;
    unsigned count, capacity;
    size_t size; /* of all */
};
/* export/encoded.c: each of users will release it, on any thread. */
struct encoded_record *encoded_span(const struct span_record *span, unsigned users);
struct encoded_record *encoded_log(const struct log_record *log, unsigned users);
/* NULL: it has to be copied, within the limits, first. */
struct encoded_record *encoded_plain_log(const struct log_record *log, const struct limit_settings *limits,
                                         unsigned users);
void encoded_release(void *const *records, unsigned count);
/* The bytes stay where they are until chunk has been let go once for each hold, even when the records are released. */
void encoded_hold(struct encoded_chunk *chunk);
void encoded_let_go(void *chunk);
/* Attributes as a span has them; in the arena's memory. */
struct otlp_message encoded_attributes(struct arena *arena, const struct otel_attribute *attributes, unsigned count);
/* export/decode.c: fills an empty record; its memory is in out's arena. */
void encoded_read_span(const struct encoded_record *record, struct span_record *out);
void encoded_read_log(const struct encoded_record *record, struct log_record *out);
/* ExportTraceServiceRequest, ExportMetricsServiceRequest or ExportLogsServiceRequest, grouped by scope; size 0 when
 * there is nothing to tell. Replaces what request held. Encoded records become pieces where they lie: they must not be
 * released, or their chunks be held, as long as those are read. */
void otlp_encode(struct otlp_request *request, const struct export_batch *batch);
void otlp_request_free(struct otlp_request *request);
/* In one piece: in room's memory, unless it is in one already. */
struct otlp_message otlp_join(const struct otlp_request *request, struct buffer *room);
/* The same as one OTLP/JSON object (hex ids, 64-bit integers as text), without newline. */
void otlp_encode_json(struct buffer *out, const struct export_batch *batch);

#endif
