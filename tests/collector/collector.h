/* What the parts of the collector share: a small OTLP receiver for tests and local runs.
 *
 *   main.c      options, start and end          receive.c   one export: fault, decode, count, keep
 *   grpc.c      OTLP/gRPC                       decode.c    gzip, bounded; protobuf, bounded
 *   web.c       OTLP/HTTP                       faults.c    what the tests want to go wrong
 *   tls.c       a TLS end before a plain port   counts.c    what came and what was answered
 *   store.c     the last traces and logs        series.c    the last values of each metric series
 *   describe.c  protobuf to JSON                wait.c      "tell me when there are 20 spans"
 *   api.c       the JSON API                    page.c trace_page.c metrics_page.c html.c chart.c assets.c   the pages
 *
 * One loop, one thread: no locks. What came is kept packed, as protobuf, and decoded again when somebody looks.
 * Source: OTLP 1.11. */
#ifndef COLLECTOR_H
#define COLLECTOR_H

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include "common/fiber.h"
#include "common/http.h"
#include "common/list.h"
#include "common/loop.h"
#include "common/request.h"
#include "otlp_logs.pb-c.h"
#include "otlp_metrics.pb-c.h"
#include "otlp_trace.pb-c.h"

/* The generated names are as long as OTLP's packages. */
#define OTLP_COMMON(name)   Opentelemetry__Proto__Common__V1__##name
#define OTLP_RESOURCE(name) Opentelemetry__Proto__Resource__V1__##name
#define OTLP_TRACE(name)    Opentelemetry__Proto__Trace__V1__##name
#define OTLP_METRICS(name)  Opentelemetry__Proto__Metrics__V1__##name
#define OTLP_LOGS(name)     Opentelemetry__Proto__Logs__V1__##name

enum {
    TRACE_ID_BYTES = 16,
    SPAN_ID_BYTES = 8,
    MESSAGE_BYTES_MAX = 16 << 20, /* as it comes, and again unpacked from gzip */
    TRACES = 1000,                /* kept unless the options say otherwise */
    TRACES_MAX = 100000,
    TRACE_SPANS_MAX = 512,
    TRACE_BYTES_MAX = 4 << 20,
    STORE_BYTES_MAX = 256 << 20, /* of all spans together; the same for the logs */
    LOGS_MAX = 10000,
    SERIES_MAX = 2000,
    SAMPLES_MAX = 60, /* of a series */
    FAULTS_MAX = 32,
    WAITERS_MAX = 64,
};

enum signal_kind { SIGNAL_TRACES, SIGNAL_METRICS, SIGNAL_LOGS, SIGNALS };
enum protocol { PROTOCOL_GRPC, PROTOCOL_HTTP, PROTOCOLS };

extern const char *const signal_names[SIGNALS];     /* "traces" */
extern const char *const protocol_names[PROTOCOLS]; /* "grpc" */

struct collector;

/* --- decode.c */

/* The inflated bytes of a gzip or zlib stream; NULL data when it is none or has more than MESSAGE_BYTES_MAX. */
struct bytes decode_inflate(struct arena *arena, struct bytes packed);
/* NULL when the bytes are no such message, nest deeper than 64 messages, or hold more than 500,000 of them. */
void *decode_message(struct arena *arena, const ProtobufCMessageDescriptor *form, struct bytes packed);
struct bytes encode_message(struct arena *arena, const void *message);

/* --- receive.c */

struct delivery_header {
    const char *name, *value;
};

enum { DELIVERY_HEADERS_MAX = 64 };

/* One export as it came. */
struct delivery {
    enum protocol protocol;
    enum signal_kind signal;
    struct bytes body;
    bool compressed;
    struct delivery_header headers[DELIVERY_HEADERS_MAX];
    unsigned header_count;
};

/* What it is answered. */
struct verdict {
    enum err code;           /* for gRPC */
    int status;              /* for HTTP */
    const char *message;     /* of a failure */
    const char *retry_after; /* HTTP header; NULL: none */
    int retry_delay_ms;      /* of a RetryInfo; less than 0: none */
    struct bytes body;       /* packed: the response, or a google.rpc.Status */
};

void deliver(struct request *req, const struct delivery *delivery, struct verdict *verdict);

/* --- faults.c: each delivery takes the first fault that matches it */

enum fault_kind { FAULT_NONE, FAULT_FAIL, FAULT_HANG, FAULT_PARTIAL, FAULT_SLOW };

struct fault {
    enum fault_kind kind;
    int signal, protocol; /* less than 0: all */
    int64_t requests;     /* left; less than 0: without end */
    enum err code;
    int status, retry_delay_ms, delay_ms;
    int64_t rejected;
    char message[256], retry_after[64];
};

struct faults {
    struct fault table[FAULTS_MAX];
    unsigned count;
    struct list held; /* deliveries that a fault holds up */
};

void faults_init(struct faults *faults);
/* Adds one from JSON; ERR_INVALID_ARGUMENT with the reason, ERR_RESOURCE_EXHAUSTED when there are too many. */
enum err faults_add(struct request *req, struct faults *faults, struct bytes text);
/* Forgets them all; held deliveries go on. */
void faults_clear(struct faults *faults);
json_t *faults_describe(const struct faults *faults);
/* Takes what is due for this delivery; its kind is FAULT_NONE when nothing is. */
struct fault faults_take(struct faults *faults, enum signal_kind signal, enum protocol protocol);
/* Holds the fiber until a time (CLOCK_NEVER for a hang) or until the faults are cleared: ERR_OK; ERR_CANCELLED when the
 * caller went. */
enum err faults_hold(struct request *req, struct faults *faults, int64_t until_ns);

/* --- counts.c */

enum { CODES_MAX = 24 };

struct flow {
    uint64_t requests, compressed, bytes, plain_bytes, items, rejected;
    struct {
        int code;
        uint64_t count;
    } codes[CODES_MAX];
    unsigned code_count;
    json_t *headers; /* of the last request */
};

struct counts {
    struct flow flows[PROTOCOLS][SIGNALS];
    uint64_t items[SIGNALS];                /* accepted */
    uint64_t requests, malformed, unknown;  /* unknown: no such gRPC method */
    uint64_t invalid_items;                 /* refused by OTLP's own rules: ids, times, buckets */
    char invalid_reason[128];               /* of the last one */
    uint64_t duplicate_spans;               /* accepted, but kept once */
    uint64_t dropped_traces, dropped_spans; /* pushed out, or beyond a bound */
    uint64_t dropped_logs, dropped_series;
    uint64_t tls_connections, tls_failures, tls_refused;
};

void counts_request(struct counts *counts, const struct delivery *delivery);
void counts_answer(struct counts *counts, const struct delivery *delivery, int code);
void counts_wipe(struct counts *counts);
json_t *counts_describe(const struct collector *collector);

/* --- store.c */

/* Who sends: a resource and a scope with their schema URLs, packed; shared by all that came from there. */
struct origin {
    struct list list;
    unsigned refs;
    uint64_t hash;
    char *service; /* service.name, "unknown" when there is none */
    size_t resource_bytes, scope_bytes;
    uint8_t packed[]; /* ResourceSpans without spans, ScopeSpans without spans; other signals look the same */
};

struct kept_span {
    struct list list;
    struct origin *origin;
    uint8_t span_id[SPAN_ID_BYTES], parent_id[SPAN_ID_BYTES];
    bool is_root, is_error;
    uint64_t start_ns, end_ns;
    size_t bytes;
    uint8_t packed[];
};

struct kept_trace {
    struct list list;  /* oldest first */
    struct list chain; /* of its bucket */
    uint8_t id[TRACE_ID_BYTES];
    struct list spans; /* as they came */
    unsigned span_count, dropped;
    size_t bytes;
};

struct kept_log {
    struct list list; /* oldest first */
    struct origin *origin;
    uint8_t trace_id[TRACE_ID_BYTES]; /* zeros: none */
    size_t bytes;
    uint8_t packed[];
};

enum { BUCKETS = 1024 };

struct store {
    struct list traces, trace_buckets[BUCKETS];
    unsigned trace_count, traces_max;
    struct list logs;
    unsigned log_count;
    size_t span_bytes, log_bytes;
    struct list origin_buckets[BUCKETS];
};

/* FNV-1a; hash is 0 or that of what stands before. */
uint64_t digest(uint64_t hash, const void *data, size_t bytes);

void store_init(struct store *store, unsigned traces_max);
void store_wipe(struct store *store);
/* Finds or makes it and takes a reference. resource and scope: a Resource… and a Scope… message of any signal. */
struct origin *origin_take(struct store *store, struct arena *arena, struct bytes resource, struct bytes scope);
void origin_give(struct origin *origin);
void store_span(struct store *store, struct counts *counts, struct origin *origin, const OTLP_TRACE(Span) * span);
void store_log(struct store *store, struct counts *counts, struct origin *origin, const OTLP_LOGS(LogRecord) * record);
struct kept_trace *store_trace(const struct store *store, const uint8_t id[TRACE_ID_BYTES]); /* or NULL */
unsigned store_trace_logs(const struct store *store, const uint8_t id[TRACE_ID_BYTES]);
bool trace_has_service(const struct kept_trace *trace, const char *service);
/* The root, or the earliest span when the root is not here. */
const struct kept_span *trace_root(const struct kept_trace *trace);
void trace_times(const struct kept_trace *trace, uint64_t *out_start_ns, uint64_t *out_end_ns);
bool trace_has_error(const struct kept_trace *trace);

/* --- series.c */

struct sample {
    uint64_t time_ns;
    double value;          /* of a histogram or summary its count */
    double rate, p50, p95; /* of the time since the sample before; NAN: unknown */
};

struct series {
    struct list list; /* the least recently updated first */
    struct list chain;
    struct origin *origin;
    uint64_t hash;
    size_t key_bytes, bytes;
    uint8_t *key;    /* origin, name and attributes */
    uint8_t *packed; /* a Metric with its last point alone */
    char *name;
    uint64_t updates;
    struct sample samples[SAMPLES_MAX]; /* a ring */
    unsigned sample_count, sample_next;
};

struct series_table {
    struct list all, buckets[BUCKETS];
    unsigned count;
};

void series_init(struct series_table *table);
void series_wipe(struct series_table *table);
/* Takes a metric with its points; returns how many of them were valid. */
unsigned series_update(struct series_table *table, struct counts *counts, struct arena *arena, struct origin *origin,
                       OTLP_METRICS(Metric) * metric);
OTLP_METRICS(Metric) * series_last(const struct series *series, struct arena *arena);
/* Samples in the order of time; index 0 is the oldest. */
const struct sample *series_sample(const struct series *series, unsigned index);

size_t metric_points(const OTLP_METRICS(Metric) * metric);
/* The attributes of the only point. */
OTLP_COMMON(KeyValue) * *metric_attributes(const OTLP_METRICS(Metric) * metric, size_t *out_count);

/* --- describe.c: new references; texts are made valid UTF-8 */

json_t *describe_text(const char *text);
json_t *describe_id(const uint8_t *id, size_t bytes);
json_t *describe_attributes(OTLP_COMMON(KeyValue) * *attributes, size_t count);
json_t *describe_span(struct arena *arena, const struct kept_span *span);
json_t *describe_log(struct arena *arena, const struct kept_log *log);
json_t *describe_series(struct arena *arena, const struct series *series);
const char *span_kind_name(int kind);
const char *span_status_name(int code);
/* An attribute's value on one line. */
const char *value_text(struct arena *arena, const OTLP_COMMON(AnyValue) * value);

/* --- wait.c */

struct waiters {
    struct list list;
    unsigned count;
};

void waiters_init(struct waiters *waiters);
/* Something came: wakes those who have what they waited for. */
void waiters_look(struct collector *collector);
http_handler api_wait;

/* --- the whole */

struct collector {
    struct worker worker;
    bool discard; /* whatever comes is accepted, counted as a request, and not read */
    struct counts counts;
    struct faults faults;
    struct store store;
    struct series_table series;
    struct waiters waiters;
};

struct collector *collector_of(const struct request *req);

/* --- api.c */

extern const struct http_route page_routes[];
extern const unsigned page_route_count;

/* Reads a trace id of 32 digits; ERR_INVALID_ARGUMENT recorded otherwise. */
enum err read_trace_id(struct request *req, const char *text, uint8_t out[TRACE_ID_BYTES]);
/* The query parameter as a number from 0 to max; fallback when there is none. */
enum err read_number(struct request *req, const char *name, int64_t fallback, int64_t max, int64_t *out);
enum err answer_json(struct request *req, struct response *res, json_t *taken);

/* --- pages */

http_handler show_traces, show_trace, show_metrics, show_style, show_script;

/* --- the ends that listen */

extern const struct http_route otlp_routes[];
extern const unsigned otlp_route_count;

struct grpc_end;
struct tls_files {
    const char *certificate, *key, *client_ca; /* NULL: none */
};

/* NULL when the address cannot be taken or the files are no good (told on stderr). */
struct grpc_end *grpc_end_open(struct collector *collector, const char *listen, const struct tls_files *tls);
int grpc_end_port(const struct grpc_end *end);
void grpc_end_close(struct grpc_end *end); /* fiber only */

struct tls_end;
/* Forwards to a plain port of this machine. */
struct tls_end *tls_end_open(struct collector *collector, const char *listen, const struct tls_files *tls,
                             int plain_port);
int tls_end_port(const struct tls_end *end);
void tls_end_close(struct tls_end *end); /* fiber only */

#endif
