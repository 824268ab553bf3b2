/* The collector of the tests is tested itself: with messages that are packed here, over libcurl, over grpc core and
 * over libcommon's client. */
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "support/collector.h"
#include "support/shop.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/compression.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "common/loop.h"
#include "common/mem.h"
#include "common/rpc.h"
#include "otlp_collector_logs.pb-c.h"
#include "otlp_collector_metrics.pb-c.h"
#include "otlp_collector_trace.pb-c.h"
#include "otlp_status.pb-c.h"

#define COMMON(name)  Opentelemetry__Proto__Common__V1__##name
#define TRACE(name)   Opentelemetry__Proto__Trace__V1__##name
#define METRICS(name) Opentelemetry__Proto__Metrics__V1__##name
#define LOGS(name)    Opentelemetry__Proto__Logs__V1__##name
#define EXPORT_TRACES Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest

#define TRACES_METHOD  "opentelemetry.proto.collector.trace.v1.TraceService/Export"
#define METRICS_METHOD "opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
#define LOGS_METHOD    "opentelemetry.proto.collector.logs.v1.LogsService/Export"

enum { START_NS_S = 1700000000 };

static struct test_collector collector;
static struct arena arena;

/* --- making messages */

static void *message_new(const ProtobufCMessageDescriptor *form)
{
    void *message = arena_alloc(&arena, form->sizeof_message);
    protobuf_c_message_init(form, message);
    return message;
}

/* Appends to a repeated field of messages. */
static void *append(size_t *count, void *list, const ProtobufCMessageDescriptor *form)
{
    void ***items = list, **larger = arena_array(&arena, void *, *count + 1);
    if (*count > 0)
        memcpy(larger, *items, *count * sizeof *larger);
    larger[*count] = message_new(form);
    *items = larger;
    return larger[(*count)++];
}

static struct bytes packed(const void *message)
{
    uint8_t *data = arena_alloc(&arena, protobuf_c_message_get_packed_size(message) + 1);
    size_t bytes = protobuf_c_message_pack(message, data);
    return (struct bytes){(char *)data, bytes};
}

static char *text(const char *from)
{
    return arena_text(&arena, from, strlen(from));
}

static ProtobufCBinaryData id(size_t bytes, unsigned number)
{
    uint8_t *data = arena_alloc(&arena, bytes);
    data[0] = 0xab;
    data[bytes - 2] = (uint8_t)(number >> 8);
    data[bytes - 1] = (uint8_t)number;
    return (ProtobufCBinaryData){bytes, data};
}

static const char *trace_path(unsigned number)
{
    return arena_print(&arena, "/api/traces/ab00000000000000000000000000%04x", number);
}

static COMMON(AnyValue) * attribute(size_t *count, void *list, const char *key)
{
    COMMON(KeyValue) *pair = append(count, list, &opentelemetry__proto__common__v1__key_value__descriptor);
    pair->key = text(key);
    pair->value = message_new(&opentelemetry__proto__common__v1__any_value__descriptor);
    return pair->value;
}

static void text_attribute(size_t *count, void *list, const char *key, const char *value)
{
    COMMON(AnyValue) *any = attribute(count, list, key);
    any->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE;
    any->string_value = text(value);
}

static Opentelemetry__Proto__Resource__V1__Resource *resource_of(const char *service)
{
    Opentelemetry__Proto__Resource__V1__Resource *resource =
        message_new(&opentelemetry__proto__resource__v1__resource__descriptor);
    text_attribute(&resource->n_attributes, &resource->attributes, "service.name", service);
    return resource;
}

/* An export of one service; spans are appended to *out. */
static EXPORT_TRACES *traces_of(const char *service, TRACE(ScopeSpans) * *out)
{
    EXPORT_TRACES *export =
        message_new(&opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor);
    TRACE(ResourceSpans) *resource = append(&export->n_resource_spans, &export->resource_spans,
                                            &opentelemetry__proto__trace__v1__resource_spans__descriptor);
    resource->resource = resource_of(service);
    resource->schema_url = text("https://opentelemetry.io/schemas/1.44.0");
    *out = append(&resource->n_scope_spans, &resource->scope_spans,
                  &opentelemetry__proto__trace__v1__scope_spans__descriptor);
    (*out)->scope = message_new(&opentelemetry__proto__common__v1__instrumentation_scope__descriptor);
    (*out)->scope->name = text("tests");
    (*out)->scope->version = text("1.2");
    return export;
}

static TRACE(Span) * span(TRACE(ScopeSpans) * scope, unsigned trace, unsigned number, unsigned parent, const char *name)
{
    TRACE(Span) *span = append(&scope->n_spans, &scope->spans, &opentelemetry__proto__trace__v1__span__descriptor);
    span->trace_id = id(16, trace);
    span->span_id = id(8, number);
    if (parent)
        span->parent_span_id = id(8, parent);
    span->name = text(name);
    span->kind = OPENTELEMETRY__PROTO__TRACE__V1__SPAN__SPAN_KIND__SPAN_KIND_SERVER;
    span->start_time_unix_nano = START_NS_S * UINT64_C(1000000000) + number * 1000;
    span->end_time_unix_nano = span->start_time_unix_nano + 5000000;
    return span;
}

static struct bytes one_span(unsigned trace, unsigned number)
{
    TRACE(ScopeSpans) * scope;
    EXPORT_TRACES *export = traces_of("tester", &scope);
    span(scope, trace, number, 0, "work");
    return packed(export);
}

static Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceRequest *logs_of(const char *service,
                                                                                    LOGS(ScopeLogs) * *out)
{
    Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceRequest *export =
        message_new(&opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor);
    LOGS(ResourceLogs) *resource = append(&export->n_resource_logs, &export->resource_logs,
                                          &opentelemetry__proto__logs__v1__resource_logs__descriptor);
    resource->resource = resource_of(service);
    *out =
        append(&resource->n_scope_logs, &resource->scope_logs, &opentelemetry__proto__logs__v1__scope_logs__descriptor);
    return export;
}

static LOGS(LogRecord) * log_record(LOGS(ScopeLogs) * scope, unsigned trace, const char *body)
{
    LOGS(LogRecord) *record =
        append(&scope->n_log_records, &scope->log_records, &opentelemetry__proto__logs__v1__log_record__descriptor);
    record->time_unix_nano = START_NS_S * UINT64_C(1000000000);
    record->severity_number = OPENTELEMETRY__PROTO__LOGS__V1__SEVERITY_NUMBER__SEVERITY_NUMBER_WARN;
    record->severity_text = text("WARN");
    record->body = message_new(&opentelemetry__proto__common__v1__any_value__descriptor);
    record->body->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE;
    record->body->string_value = text(body);
    if (trace) {
        record->trace_id = id(16, trace);
        record->span_id = id(8, 1);
    }
    return record;
}

static struct bytes one_log(unsigned trace, const char *body)
{
    LOGS(ScopeLogs) * scope;
    void *export = logs_of("tester", &scope);
    log_record(scope, trace, body);
    return packed(export);
}

static Opentelemetry__Proto__Collector__Metrics__V1__ExportMetricsServiceRequest *
metrics_of(const char *service, METRICS(ScopeMetrics) * *out)
{
    Opentelemetry__Proto__Collector__Metrics__V1__ExportMetricsServiceRequest *export =
        message_new(&opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__descriptor);
    METRICS(ResourceMetrics) *resource = append(&export->n_resource_metrics, &export->resource_metrics,
                                                &opentelemetry__proto__metrics__v1__resource_metrics__descriptor);
    resource->resource = resource_of(service);
    *out = append(&resource->n_scope_metrics, &resource->scope_metrics,
                  &opentelemetry__proto__metrics__v1__scope_metrics__descriptor);
    return export;
}

static METRICS(Metric) * metric(METRICS(ScopeMetrics) * scope, const char *name, const char *unit, int data_case)
{
    METRICS(Metric) *metric =
        append(&scope->n_metrics, &scope->metrics, &opentelemetry__proto__metrics__v1__metric__descriptor);
    metric->name = text(name);
    metric->unit = text(unit);
    metric->data_case = (METRICS(Metric__DataCase))data_case;
    return metric;
}

#define SET_TIMES(point, second)                                                                                       \
    do {                                                                                                               \
        (point)->start_time_unix_nano = START_NS_S * UINT64_C(1000000000);                                             \
        (point)->time_unix_nano = (START_NS_S + (uint64_t)(second)) * UINT64_C(1000000000);                            \
    } while (0)

static METRICS(NumberDataPoint) * gauge_point(METRICS(ScopeMetrics) * scope, const char *name, int64_t value)
{
    METRICS(Metric) *gauge = metric(scope, name, "By", OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_GAUGE);
    gauge->gauge = message_new(&opentelemetry__proto__metrics__v1__gauge__descriptor);
    METRICS(NumberDataPoint) *point = append(&gauge->gauge->n_data_points, &gauge->gauge->data_points,
                                             &opentelemetry__proto__metrics__v1__number_data_point__descriptor);
    SET_TIMES(point, 1);
    point->value_case = OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_INT;
    point->as_int = value;
    return point;
}

static METRICS(NumberDataPoint) * sum_point(METRICS(ScopeMetrics) * scope, const char *name, double value, int second)
{
    METRICS(Metric) *sum = metric(scope, name, "{order}", OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_SUM);
    sum->sum = message_new(&opentelemetry__proto__metrics__v1__sum__descriptor);
    sum->sum->aggregation_temporality = 2;
    sum->sum->is_monotonic = true;
    METRICS(NumberDataPoint) *point = append(&sum->sum->n_data_points, &sum->sum->data_points,
                                             &opentelemetry__proto__metrics__v1__number_data_point__descriptor);
    SET_TIMES(point, second);
    point->value_case = OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_DOUBLE;
    point->as_double = value;
    return point;
}

/* Four buckets, bounds 0.1, 0.2 and 0.4 s. */
static METRICS(HistogramDataPoint) *
    histogram_point(METRICS(ScopeMetrics) * scope, const char *name, const uint64_t buckets[4], int second)
{
    METRICS(Metric) *histogram = metric(scope, name, "s", OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_HISTOGRAM);
    histogram->histogram = message_new(&opentelemetry__proto__metrics__v1__histogram__descriptor);
    histogram->histogram->aggregation_temporality = 2;
    METRICS(HistogramDataPoint) *point =
        append(&histogram->histogram->n_data_points, &histogram->histogram->data_points,
               &opentelemetry__proto__metrics__v1__histogram_data_point__descriptor);
    SET_TIMES(point, second);
    point->n_bucket_counts = 4;
    point->bucket_counts = arena_copy(&arena, buckets, 4 * sizeof *buckets);
    point->n_explicit_bounds = 3;
    point->explicit_bounds = arena_copy(&arena, (double[]){0.1, 0.2, 0.4}, 3 * sizeof(double));
    for (unsigned i = 0; i < 4; i++)
        point->count += buckets[i];
    point->_sum_case = OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM_DATA_POINT___SUM_SUM;
    point->sum = 1.5;
    point->_max_case = OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM_DATA_POINT___MAX_MAX;
    point->max = 0.7;
    return point;
}

static METRICS(ExponentialHistogramDataPoint) *
    exponential_point(METRICS(ScopeMetrics) * scope, const char *name, uint64_t low, uint64_t high, int second)
{
    METRICS(Metric) *histogram =
        metric(scope, name, "s", OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_EXPONENTIAL_HISTOGRAM);
    histogram->exponential_histogram =
        message_new(&opentelemetry__proto__metrics__v1__exponential_histogram__descriptor);
    histogram->exponential_histogram->aggregation_temporality = 2;
    METRICS(ExponentialHistogramDataPoint) *point =
        append(&histogram->exponential_histogram->n_data_points, &histogram->exponential_histogram->data_points,
               &opentelemetry__proto__metrics__v1__exponential_histogram_data_point__descriptor);
    SET_TIMES(point, second);
    point->scale = 0;
    point->positive =
        message_new(&opentelemetry__proto__metrics__v1__exponential_histogram_data_point__buckets__descriptor);
    point->positive->offset = 1; /* (2, 4] and (4, 8] */
    point->positive->n_bucket_counts = 2;
    point->positive->bucket_counts = arena_copy(&arena, (uint64_t[]){low, high}, 2 * sizeof(uint64_t));
    point->zero_count = 1;
    point->count = low + high + 1;
    return point;
}

/* --- OTLP/HTTP */

struct reply {
    int status; /* 0: none came */
    struct bytes body;
    char headers[4096];
};

static size_t keep_body(char *data, size_t unit, size_t count, void *arg)
{
    struct reply *reply = arg;
    char *larger = arena_alloc(&arena, reply->body.size + unit * count + 1);
    memcpy(larger, reply->body.data ? reply->body.data : "", reply->body.size);
    memcpy(larger + reply->body.size, data, unit * count);
    reply->body = (struct bytes){larger, reply->body.size + unit * count};
    return unit * count;
}

static size_t keep_header(char *data, size_t unit, size_t count, void *arg)
{
    struct reply *reply = arg;
    size_t used = strlen(reply->headers);
    if (used + unit * count < sizeof reply->headers)
        memcpy(reply->headers + used, data, unit * count);
    return unit * count;
}

struct posting {
    const char *path, *type, *encoding, *header;
    const struct test_certificates *tls;
    bool with_client_certificate;
    long timeout_ms;
};

static void set_tls(CURL *curl, const struct posting *posting)
{
    if (!posting->tls)
        return;
    curl_easy_setopt(curl, CURLOPT_CAINFO, posting->tls->ca);
    if (!posting->with_client_certificate)
        return;
    curl_easy_setopt(curl, CURLOPT_SSLCERT, posting->tls->client);
    curl_easy_setopt(curl, CURLOPT_SSLKEY, posting->tls->client_key);
}

static struct reply post_with(const struct posting *posting, struct bytes body)
{
    struct reply reply = {0};
    long status = 0;
    CURL *curl = curl_easy_init();
    const char *url = arena_print(&arena, "http%s://%s%s", posting->tls ? "s" : "", collector.http, posting->path);
    struct curl_slist *headers = NULL;
    headers = curl_slist_append(
        headers, arena_print(&arena, "Content-Type: %s", posting->type ? posting->type : "application/x-protobuf"));
    if (posting->encoding)
        headers = curl_slist_append(headers, arena_print(&arena, "Content-Encoding: %s", posting->encoding));
    if (posting->header)
        headers = curl_slist_append(headers, posting->header);
    headers = curl_slist_append(headers, "Expect:");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, posting->timeout_ms ? posting->timeout_ms : 20000L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)body.size);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, keep_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &reply);
    set_tls(curl, posting);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    reply.status = (int)status;
    return reply;
}

static struct reply post(const char *path, struct bytes body)
{
    return post_with(&(struct posting){.path = path}, body);
}

static void assert_posted(const char *path, struct bytes body)
{
    struct reply reply = post(path, body);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body.size, 0); /* a response without partial_success is empty */
}

static struct bytes gzipped(struct bytes plain)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    uLong room = deflateBound(&stream, plain.size);
    char *out = arena_alloc(&arena, room);
    stream.next_in = (Bytef *)(uintptr_t)plain.data;
    stream.avail_in = (uInt)plain.size;
    stream.next_out = (Bytef *)out;
    stream.avail_out = (uInt)room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    size_t bytes = room - stream.avail_out;
    deflateEnd(&stream);
    return (struct bytes){out, bytes};
}

/* --- OTLP/gRPC, by grpc core itself */

struct calling {
    const char *method;
    bool gzip;
    grpc_channel_credentials *credentials; /* NULL: plain; taken */
    const char *metadata;                  /* value of x-test; NULL: none */
    int timeout_ms;
};

struct call_reply {
    int code;
    const char *text;
    struct bytes message;
    struct bytes details; /* grpc-status-details-bin */
};

static struct bytes bytes_of(grpc_slice slice)
{
    return (struct bytes){arena_text(&arena, (const char *)GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice)),
                          GRPC_SLICE_LENGTH(slice)};
}

static struct bytes bytes_of_buffer(grpc_byte_buffer *buffer)
{
    if (!buffer)
        return (struct bytes){NULL, 0};
    grpc_byte_buffer_reader reader;
    grpc_byte_buffer_reader_init(&reader, buffer);
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    struct bytes bytes = bytes_of(slice);
    grpc_slice_unref(slice);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(buffer);
    return bytes;
}

static struct call_reply run_call(grpc_channel *channel, grpc_completion_queue *queue, const struct calling *calling,
                                  struct bytes body)
{
    struct call_reply reply = {0};
    grpc_metadata custom = {.key = grpc_slice_from_static_string("x-test")};
    custom.value = grpc_slice_from_static_string(calling->metadata ? calling->metadata : "");
    grpc_slice data = grpc_slice_from_copied_buffer(body.data, body.size), status_text = grpc_empty_slice();
    grpc_byte_buffer *out = grpc_raw_byte_buffer_create(&data, 1), *in = NULL;
    grpc_metadata_array first, last;
    grpc_status_code status = GRPC_STATUS_UNKNOWN;
    grpc_metadata_array_init(&first);
    grpc_metadata_array_init(&last);
    grpc_slice method = grpc_slice_from_static_string(arena_print(&arena, "/%s", calling->method));
    gpr_timespec deadline =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                     gpr_time_from_millis(calling->timeout_ms ? calling->timeout_ms : 20000, GPR_TIMESPAN));
    grpc_call *call =
        grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue, method, NULL, deadline, NULL);
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                      {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = out},
                      {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
                      {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &first},
                      {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &in},
                      {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    ops[0].data.send_initial_metadata.metadata = &custom;
    ops[0].data.send_initial_metadata.count = calling->metadata ? 1 : 0;
    ops[5].data.recv_status_on_client.trailing_metadata = &last;
    ops[5].data.recv_status_on_client.status = &status;
    ops[5].data.recv_status_on_client.status_details = &status_text;
    assert_int_equal(grpc_call_start_batch(call, ops, 6, &reply, NULL), GRPC_CALL_OK);
    grpc_completion_queue_pluck(queue, &reply, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    reply.code = (int)status;
    reply.text = bytes_of(status_text).data;
    reply.message = bytes_of_buffer(in);
    for (size_t i = 0; i < last.count; i++)
        if (grpc_slice_str_cmp(last.metadata[i].key, "grpc-status-details-bin") == 0)
            reply.details = bytes_of(last.metadata[i].value);
    grpc_slice_unref(status_text);
    grpc_slice_unref(data);
    grpc_byte_buffer_destroy(out);
    grpc_metadata_array_destroy(&first);
    grpc_metadata_array_destroy(&last);
    grpc_call_unref(call);
    return reply;
}

static struct call_reply call_with(const struct calling *calling, struct bytes body)
{
    grpc_init();
    grpc_arg algorithm = {.type = GRPC_ARG_INTEGER,
                          .key = (char *)(uintptr_t)GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM,
                          .value.integer = calling->gzip ? GRPC_COMPRESS_GZIP : GRPC_COMPRESS_NONE};
    grpc_channel_args args = {1, &algorithm};
    grpc_channel_credentials *credentials =
        calling->credentials ? calling->credentials : grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(collector.grpc, credentials, &args);
    grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);
    struct call_reply reply = run_call(channel, queue, calling, body);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_pluck(queue, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_destroy(queue);
    grpc_channel_destroy(channel);
    grpc_channel_credentials_release(credentials);
    grpc_shutdown();
    return reply;
}

static struct call_reply call(const char *method, struct bytes body)
{
    return call_with(&(struct calling){.method = method}, body);
}

/* --- the fixture */

static int open_all(void **state)
{
    (void)state;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    arena_init(&arena, 65536);
    collector_open(&collector, NULL);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    collector_close(&collector);
    arena_done(&arena);
    curl_global_cleanup();
    return 0;
}

static int wiped(void **state)
{
    (void)state;
    arena_reset(&arena);
    collector_clear_faults(&collector);
    collector_wipe(&collector);
    return 0;
}

static const char *text_at(json_t *json, const char *path)
{
    const char *found = json_string_value(collector_at(json, path));
    return found ? found : "";
}

static long number_at(json_t *json, const char *path)
{
    return (long)json_integer_value(collector_at(json, path));
}

static char *page(const char *path, int status)
{
    scoped_free char *html = NULL;
    assert_int_equal(collector_call(&collector, "GET", path, NULL, &html), status);
    return text(html);
}

/* --- what it reads */

static void fill_span(TRACE(Span) * span)
{
    span->flags = 0x301;
    span->trace_state = text("ot=th:8");
    span->dropped_attributes_count = 1;
    span->dropped_events_count = 2;
    span->dropped_links_count = 3;
    span->status = message_new(&opentelemetry__proto__trace__v1__status__descriptor);
    span->status->code = OPENTELEMETRY__PROTO__TRACE__V1__STATUS__STATUS_CODE__STATUS_CODE_ERROR;
    span->status->message = text("gone");
    TRACE(Span__Event) *event =
        append(&span->n_events, &span->events, &opentelemetry__proto__trace__v1__span__event__descriptor);
    event->name = text("exception");
    event->time_unix_nano = 42;
    text_attribute(&event->n_attributes, &event->attributes, "exception.type", "E");
    TRACE(Span__Link) *link =
        append(&span->n_links, &span->links, &opentelemetry__proto__trace__v1__span__link__descriptor);
    link->trace_id = id(16, 77);
    link->span_id = id(8, 78);
    link->trace_state = text("a=b");
    link->flags = 0x101;
}

static void add_attributes(TRACE(Span) * span)
{
    size_t *count = &span->n_attributes;
    void *list = &span->attributes;
    text_attribute(count, list, "text", "grüß");
    COMMON(AnyValue) *value = attribute(count, list, "yes");
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_BOOL_VALUE;
    value->bool_value = true;
    value = attribute(count, list, "whole");
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_INT_VALUE;
    value->int_value = INT64_MIN;
    value = attribute(count, list, "real");
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_DOUBLE_VALUE;
    value->double_value = 1;
    value = attribute(count, list, "bytes");
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_BYTES_VALUE;
    value->bytes_value = id(4, 1);
    value = attribute(count, list, "array");
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_ARRAY_VALUE;
    value->array_value = message_new(&opentelemetry__proto__common__v1__array_value__descriptor);
    COMMON(AnyValue) *item = append(&value->array_value->n_values, &value->array_value->values,
                                    &opentelemetry__proto__common__v1__any_value__descriptor);
    item->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE;
    item->string_value = text("a");
    value = attribute(count, list, "map");
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_KVLIST_VALUE;
    value->kvlist_value = message_new(&opentelemetry__proto__common__v1__key_value_list__descriptor);
    text_attribute(&value->kvlist_value->n_values, &value->kvlist_value->values, "k", "v");
    attribute(count, list, "empty");
}

static void assert_type(json_t *span, unsigned place, const char *type)
{
    char path[64];
    snprintf(path, sizeof path, "attributes.%u.type", place);
    assert_string_equal(text_at(span, path), type);
}

static void test_a_span_is_kept_with_every_field(void **state)
{
    (void)state;
    TRACE(ScopeSpans) * scope;
    EXPORT_TRACES *export = traces_of("tester", &scope);
    TRACE(Span) *sent = span(scope, 1, 2, 9, "work");
    fill_span(sent);
    add_attributes(sent);
    assert_posted("/v1/traces", packed(export));
    json_t *trace = collector_get(&collector, "%s", trace_path(1));
    json_t *got = collector_at(trace, "spans.0");
    assert_string_equal(text_at(got, "trace_id"), "ab000000000000000000000000000001");
    assert_string_equal(text_at(got, "span_id"), "ab00000000000002");
    assert_string_equal(text_at(got, "parent_span_id"), "ab00000000000009");
    assert_string_equal(text_at(got, "kind"), "server");
    assert_int_equal(number_at(got, "end") - number_at(got, "start"), 5000000);
    assert_string_equal(text_at(got, "trace_state"), "ot=th:8");
    assert_int_equal(number_at(got, "flags"), 0x301);
    assert_int_equal(number_at(got, "dropped_attributes_count"), 1);
    assert_int_equal(number_at(got, "dropped_events_count"), 2);
    assert_int_equal(number_at(got, "dropped_links_count"), 3);
    assert_string_equal(text_at(got, "status"), "error");
    assert_string_equal(text_at(got, "status_message"), "gone");
    assert_string_equal(text_at(got, "events.0.name"), "exception");
    assert_int_equal(number_at(got, "events.0.time"), 42);
    assert_string_equal(json_string_value(collector_attribute(collector_at(got, "events.0"), "exception.type")), "E");
    assert_string_equal(text_at(got, "links.0.span_id"), "ab0000000000004e");
    assert_string_equal(text_at(got, "links.0.trace_state"), "a=b");
    assert_int_equal(number_at(got, "links.0.flags"), 0x101);
    assert_string_equal(text_at(got, "scope.name"), "tests");
    assert_string_equal(text_at(got, "resource.schema_url"), "https://opentelemetry.io/schemas/1.44.0");
    assert_string_equal(text_at(got, "service"), "tester");
    static const char *const types[] = {"string", "bool", "int", "double", "bytes", "array", "kvlist", "empty"};
    for (unsigned i = 0; i < array_count(types); i++)
        assert_type(got, i, types[i]);
    assert_string_equal(json_string_value(collector_attribute(got, "text")), "grüß");
    assert_true(json_integer_value(collector_attribute(got, "whole")) == INT64_MIN);
    assert_true(json_is_real(collector_attribute(got, "real")));
    assert_string_equal(json_string_value(collector_attribute(got, "bytes")), "ab000001");
    assert_string_equal(text_at(got, "attributes.5.value.0.value"), "a");
    assert_string_equal(text_at(got, "attributes.6.value.0.value"), "v");
    assert_false(json_is_true(collector_at(trace, "rooted")));
    json_decref(trace);
}

static void test_a_log_record_is_found_by_its_trace(void **state)
{
    (void)state;
    LOGS(ScopeLogs) * scope;
    void *export = logs_of("tester", &scope);
    log_record(scope, 1, "first")->event_name = text("shop.order");
    log_record(scope, 2, "second");
    log_record(scope, 0, "third");
    assert_posted("/v1/logs", packed(export));
    json_t *logs = collector_get(&collector, "/api/logs?trace_id=ab000000000000000000000000000001");
    assert_int_equal(json_array_size(collector_at(logs, "logs")), 1);
    assert_string_equal(text_at(logs, "logs.0.body"), "first");
    assert_string_equal(text_at(logs, "logs.0.event_name"), "shop.order");
    assert_string_equal(text_at(logs, "logs.0.severity_text"), "WARN");
    assert_int_equal(number_at(logs, "logs.0.severity_number"), 13);
    assert_string_equal(text_at(logs, "logs.0.span_id"), "ab00000000000001");
    json_decref(logs);
    logs = collector_get(&collector, "/api/logs?service=tester&limit=2");
    assert_int_equal(json_array_size(collector_at(logs, "logs")), 2);
    assert_string_equal(text_at(logs, "logs.0.body"), "third");
    assert_string_equal(text_at(logs, "logs.0.trace_id"), "");
    json_decref(logs);
}

static void add_exemplar(METRICS(HistogramDataPoint) * point)
{
    METRICS(Exemplar) *exemplar =
        append(&point->n_exemplars, &point->exemplars, &opentelemetry__proto__metrics__v1__exemplar__descriptor);
    exemplar->value_case = OPENTELEMETRY__PROTO__METRICS__V1__EXEMPLAR__VALUE_AS_DOUBLE;
    exemplar->as_double = 0.25;
    exemplar->trace_id = id(16, 1);
    exemplar->span_id = id(8, 1);
}

static void add_summary(METRICS(ScopeMetrics) * scope)
{
    METRICS(Metric) *holder = metric(scope, "summary", "s", OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_SUMMARY);
    holder->summary = message_new(&opentelemetry__proto__metrics__v1__summary__descriptor);
    METRICS(SummaryDataPoint) *point = append(&holder->summary->n_data_points, &holder->summary->data_points,
                                              &opentelemetry__proto__metrics__v1__summary_data_point__descriptor);
    SET_TIMES(point, 1);
    point->count = 4;
    METRICS(SummaryDataPoint__ValueAtQuantile) *quantile =
        append(&point->n_quantile_values, &point->quantile_values,
               &opentelemetry__proto__metrics__v1__summary_data_point__value_at_quantile__descriptor);
    quantile->quantile = 0.5;
    quantile->value = 3;
}

static json_t *only_series(json_t *answer, const char *name)
{
    json_t *found = collector_named(collector_at(answer, "metrics"), name);
    assert_non_null(found);
    return found;
}

static void test_every_kind_of_metric_is_kept(void **state)
{
    (void)state;
    METRICS(ScopeMetrics) * scope;
    void *export = metrics_of("tester", &scope);
    gauge_point(scope, "gauge", 7);
    METRICS(NumberDataPoint) *point = sum_point(scope, "sum", 2.5, 1);
    text_attribute(&point->n_attributes, &point->attributes, "outcome", "created");
    add_exemplar(histogram_point(scope, "histogram", (uint64_t[]){1, 2, 3, 4}, 1));
    exponential_point(scope, "exponential", 5, 6, 1);
    add_summary(scope);
    assert_posted("/v1/metrics", packed(export));
    assert_int_equal(collector_count(&collector, "points"), 5);
    json_t *answer = collector_get(&collector, "/api/metrics?service=tester");
    assert_int_equal(number_at(only_series(answer, "gauge"), "value"), 7);
    assert_string_equal(text_at(only_series(answer, "gauge"), "type"), "gauge");
    json_t *sum = only_series(answer, "sum");
    assert_true(json_real_value(collector_at(sum, "value")) == 2.5);
    assert_true(json_is_true(collector_at(sum, "monotonic")));
    assert_string_equal(text_at(sum, "temporality"), "cumulative");
    assert_string_equal(json_string_value(collector_attribute(sum, "outcome")), "created");
    json_t *histogram = only_series(answer, "histogram");
    assert_int_equal(number_at(histogram, "count"), 10);
    assert_int_equal(number_at(histogram, "buckets.3"), 4);
    assert_true(json_real_value(collector_at(histogram, "bounds.2")) == 0.4);
    assert_true(json_real_value(collector_at(histogram, "max")) == 0.7);
    assert_null(collector_at(histogram, "min"));
    assert_string_equal(text_at(histogram, "exemplars.0.trace_id"), "ab000000000000000000000000000001");
    json_t *exponential = only_series(answer, "exponential");
    assert_int_equal(number_at(exponential, "positive.offset"), 1);
    assert_int_equal(number_at(exponential, "positive.buckets.1"), 6);
    assert_int_equal(number_at(exponential, "zero_count"), 1);
    assert_null(collector_at(exponential, "sum"));
    assert_true(json_real_value(collector_at(only_series(answer, "summary"), "quantiles.0.value")) == 3);
    json_decref(answer);
}

/* 40 requests in 10 s, half of them in (0.1, 0.2]. */
static void test_history_has_rates_and_quantiles(void **state)
{
    (void)state;
    METRICS(ScopeMetrics) * scope;
    void *export = metrics_of("tester", &scope);
    histogram_point(scope, "http.server.request.duration", (uint64_t[]){5, 0, 0, 0}, 10);
    sum_point(scope, "orders", 100, 10);
    exponential_point(scope, "exponential", 4, 0, 10);
    assert_posted("/v1/metrics", packed(export));
    export = metrics_of("tester", &scope);
    histogram_point(scope, "http.server.request.duration", (uint64_t[]){15, 20, 10, 0}, 20);
    sum_point(scope, "orders", 150, 20);
    exponential_point(scope, "exponential", 4, 10, 20);
    assert_posted("/v1/metrics", packed(export));
    json_t *answer = collector_get(&collector, "/api/metrics?name=http.server.request.duration");
    json_t *last = collector_at(only_series(answer, "http.server.request.duration"), "history.1");
    assert_float_equal(json_real_value(collector_at(last, "rate")), 4, 1e-9);
    assert_float_equal(json_real_value(collector_at(last, "p50")), 0.15, 1e-9);
    assert_float_equal(json_real_value(collector_at(last, "p95")), 0.36, 1e-9);
    json_decref(answer);
    answer = collector_get(&collector, "/api/metrics?name=orders");
    last = collector_at(only_series(answer, "orders"), "history.1");
    assert_float_equal(json_real_value(collector_at(last, "rate")), 5, 1e-9);
    assert_null(collector_at(last, "p50"));
    json_decref(answer);
    answer = collector_get(&collector, "/api/metrics?name=exponential");
    last = collector_at(only_series(answer, "exponential"), "history.1");
    assert_float_equal(json_real_value(collector_at(last, "p50")), 6, 1e-9);
    json_decref(answer);
}

static void test_attributes_in_another_order_are_the_same_series(void **state)
{
    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        METRICS(ScopeMetrics) * scope;
        void *export = metrics_of("tester", &scope);
        METRICS(NumberDataPoint) *point = gauge_point(scope, "gauge", turn);
        text_attribute(&point->n_attributes, &point->attributes, turn ? "b" : "a", turn ? "2" : "1");
        text_attribute(&point->n_attributes, &point->attributes, turn ? "a" : "b", turn ? "1" : "2");
        assert_posted("/v1/metrics", packed(export));
    }
    assert_int_equal(collector_count(&collector, "kept.series"), 1);
}

/* --- the ways in */

static void test_http_takes_gzip(void **state)
{
    (void)state;
    struct bytes plain = one_span(1, 1), small = gzipped(plain);
    struct posting posting = {.path = "/v1/traces", .encoding = "gzip", .header = "X-Api-Key: secret"};
    assert_int_equal(post_with(&posting, small).status, 200);
    json_t *counts = collector_get(&collector, "/counts");
    assert_int_equal(number_at(counts, "spans"), 1);
    assert_int_equal(number_at(counts, "http.traces.compressed"), 1);
    assert_int_equal(number_at(counts, "http.traces.bytes"), small.size);
    assert_int_equal(number_at(counts, "http.traces.plain_bytes"), plain.size);
    assert_int_equal(number_at(counts, "http.traces.codes.200"), 1);
    assert_string_equal(text_at(counts, "http.traces.headers.x-api-key"), "secret");
    json_decref(counts);
}

static void test_grpc_takes_three_signals_with_metadata(void **state)
{
    (void)state;
    METRICS(ScopeMetrics) * scope;
    void *metrics = metrics_of("tester", &scope);
    gauge_point(scope, "gauge", 1);
    struct calling calling = {.method = TRACES_METHOD, .metadata = "hello"};
    struct call_reply reply = call_with(&calling, one_span(1, 1));
    assert_int_equal(reply.code, 0);
    assert_int_equal(reply.message.size, 0);
    assert_int_equal(call(METRICS_METHOD, packed(metrics)).code, 0);
    assert_int_equal(call(LOGS_METHOD, one_log(1, "x")).code, 0);
    json_t *counts = collector_get(&collector, "/counts");
    assert_int_equal(number_at(counts, "spans"), 1);
    assert_int_equal(number_at(counts, "points"), 1);
    assert_int_equal(number_at(counts, "logs"), 1);
    assert_int_equal(number_at(counts, "grpc.requests"), 3);
    assert_int_equal(number_at(counts, "grpc.traces.codes.0"), 1);
    assert_string_equal(text_at(counts, "grpc.traces.headers.x-test"), "hello");
    json_decref(counts);
}

static void test_grpc_takes_gzip(void **state)
{
    (void)state;
    TRACE(ScopeSpans) * scope;
    EXPORT_TRACES *export = traces_of("tester", &scope);
    for (unsigned i = 1; i <= 50; i++)
        span(scope, 1, i, 0, "the same name again and again");
    struct calling calling = {.method = TRACES_METHOD, .gzip = true};
    assert_int_equal(call_with(&calling, packed(export)).code, 0);
    json_t *counts = collector_get(&collector, "/counts");
    assert_int_equal(number_at(counts, "spans"), 50);
    assert_int_equal(number_at(counts, "grpc.traces.compressed"), 1);
    assert_true(number_at(counts, "grpc.traces.bytes") < number_at(counts, "grpc.traces.plain_bytes"));
    json_decref(counts);
}

static void call_from_libcommon(struct request *req, void *arg)
{
    static const struct rpc_client_settings settings = {
        .target = collector.grpc, .message_bytes_max = 65536, .calls_max = 4, .keepalive_ms = 10000};
    static const struct rpc_procedure procedure =
        RPC_PROCEDURE(TRACES_METHOD, opentelemetry__proto__collector__trace__v1__export_trace_service_request,
                      opentelemetry__proto__collector__trace__v1__export_trace_service_response);
    struct rpc_client *client = rpc_client_open(loop_current(), "collector", &settings);
    Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse *response = NULL;
    assert_int_equal(rpc_call(req, client, &procedure, arg, &response), ERR_OK);
    assert_null(response->partial_success);
    rpc_client_close(client);
}

static void test_libcommons_client_can_export(void **state)
{
    (void)state;
    TRACE(ScopeSpans) * scope;
    EXPORT_TRACES *export = traces_of("tester", &scope);
    span(scope, 1, 1, 0, "work");
    test_in_fiber(NULL, call_from_libcommon, export);
    assert_int_equal(collector_count(&collector, "grpc.traces.items"), 1);
}

static void test_what_is_no_otlp_is_refused(void **state)
{
    (void)state;
    struct bytes body = one_span(1, 1);
    struct posting posting = {.path = "/v1/traces", .type = "application/json"};
    assert_int_equal(post_with(&posting, body).status, 415);
    posting = (struct posting){.path = "/v1/traces", .encoding = "br"};
    assert_int_equal(post_with(&posting, body).status, 415);
    assert_int_equal(post("/v1/profiles", body).status, 404);
    assert_int_equal(call("opentelemetry.proto.collector.trace.v1.TraceService/Import", body).code, 12);
    assert_int_equal(collector_count(&collector, "unknown"), 1);
    assert_int_equal(collector_count(&collector, "spans"), 0);
}

/* --- bytes that do harm */

static void assert_malformed(const struct posting *posting, struct bytes body)
{
    struct reply reply = post_with(posting, body);
    assert_int_equal(reply.status, 400);
    Google__Rpc__Status *status = google__rpc__status__unpack(NULL, reply.body.size, (const uint8_t *)reply.body.data);
    assert_non_null(status);
    assert_int_equal(status->code, ERR_INVALID_ARGUMENT);
    google__rpc__status__free_unpacked(status, NULL);
}

static void test_malformed_messages_are_refused(void **state)
{
    (void)state;
    static const struct posting plain = {.path = "/v1/traces"}, gzip = {.path = "/v1/traces", .encoding = "gzip"};
    assert_malformed(&plain, (struct bytes){"\x0a\x05no", 4});
    assert_malformed(&plain, (struct bytes){"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11});
    assert_malformed(&gzip, (struct bytes){"no gzip", 7});
    struct bytes small = gzipped(one_span(1, 1));
    assert_malformed(&gzip, (struct bytes){small.data, small.size - 4});
    assert_int_equal(call(TRACES_METHOD, (struct bytes){"\x0a\x05no", 4}).code, ERR_INVALID_ARGUMENT);
    assert_int_equal(collector_count(&collector, "malformed"), 5);
}

static void test_a_bomb_is_not_inflated(void **state)
{
    (void)state;
    static const struct posting gzip = {.path = "/v1/logs", .encoding = "gzip"};
    size_t bytes = 40 << 20;
    char *body = arena_alloc(&arena, bytes + 1);
    memset(body, 'x', bytes);
    assert_malformed(&gzip, gzipped(one_log(1, body)));
}

static void nest(COMMON(AnyValue) * value, unsigned depth)
{
    for (; depth > 0; depth--) {
        value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_ARRAY_VALUE;
        value->array_value = message_new(&opentelemetry__proto__common__v1__array_value__descriptor);
        value = append(&value->array_value->n_values, &value->array_value->values,
                       &opentelemetry__proto__common__v1__any_value__descriptor);
    }
}

static struct bytes nested(unsigned depth)
{
    TRACE(ScopeSpans) * scope;
    EXPORT_TRACES *export = traces_of("tester", &scope);
    TRACE(Span) *holder = span(scope, 1, 1, 0, "deep");
    nest(attribute(&holder->n_attributes, &holder->attributes, "deep"), depth);
    return packed(export);
}

static void test_deep_nesting_is_refused(void **state)
{
    (void)state;
    static const struct posting plain = {.path = "/v1/traces"};
    assert_malformed(&plain, nested(2000));
    assert_posted("/v1/traces", nested(28));
    json_decref(collector_get(&collector, "%s", trace_path(1)));
    page("/trace/ab000000000000000000000000000001", 200);
}

static void test_too_many_tiny_messages_are_refused(void **state)
{
    (void)state;
    static const struct posting plain = {.path = "/v1/traces"};
    size_t bytes = 2000000;
    char *empty = arena_alloc(&arena, bytes);
    for (size_t i = 0; i < bytes; i += 2)
        empty[i] = 0x0a; /* an empty ResourceSpans */
    assert_malformed(&plain, (struct bytes){empty, bytes});
}

/* --- what OTLP itself refuses */

static void assert_rejected(struct reply reply, long count, const char *reason)
{
    assert_int_equal(reply.status, 200);
    Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse *response =
        opentelemetry__proto__collector__trace__v1__export_trace_service_response__unpack(
            NULL, reply.body.size, (const uint8_t *)reply.body.data);
    assert_non_null(response);
    assert_non_null(response->partial_success);
    assert_int_equal(response->partial_success->rejected_spans, count);
    assert_non_null(strstr(response->partial_success->error_message, reason));
    opentelemetry__proto__collector__trace__v1__export_trace_service_response__free_unpacked(response, NULL);
}

static void test_invalid_spans_are_rejected_one_by_one(void **state)
{
    (void)state;
    TRACE(ScopeSpans) * scope;
    EXPORT_TRACES *export = traces_of("tester", &scope);
    span(scope, 1, 1, 0, "good");
    span(scope, 1, 2, 0, "bad id")->trace_id.len = 3;
    memset(span(scope, 1, 3, 0, "zero id")->span_id.data, 0, 8);
    span(scope, 1, 4, 5, "bad parent")->parent_span_id.len = 7;
    span(scope, 1, 5, 0, "");
    span(scope, 1, 6, 0, "ends before it starts")->end_time_unix_nano = 1;
    fill_span(span(scope, 1, 7, 0, "bad link"));
    scope->spans[6]->links[0]->span_id.len = 0;
    assert_rejected(post("/v1/traces", packed(export)), 6, "link");
    assert_int_equal(collector_count(&collector, "spans"), 1);
    assert_int_equal(collector_count(&collector, "invalid"), 6);
    assert_int_equal(collector_count(&collector, "http.traces.rejected"), 6);
}

static void test_invalid_points_and_records_are_rejected(void **state)
{
    (void)state;
    METRICS(ScopeMetrics) * scope;
    void *export = metrics_of("tester", &scope);
    gauge_point(scope, "good", 1);
    gauge_point(scope, "", 1);
    gauge_point(scope, "no time", 1)->time_unix_nano = 0;
    sum_point(scope, "no value", 1, 1)->value_case = 0;
    sum_point(scope, "no temporality", 1, 1);
    scope->metrics[4]->sum->aggregation_temporality = 0;
    histogram_point(scope, "does not add up", (uint64_t[]){1, 1, 1, 1}, 1)->count = 5;
    histogram_point(scope, "bounds", (uint64_t[]){1, 1, 1, 1}, 1)->explicit_bounds[1] = 0.1;
    histogram_point(scope, "buckets", (uint64_t[]){1, 1, 1, 0}, 1)->n_bucket_counts = 3;
    exponential_point(scope, "does not add up either", 1, 1, 1)->count = 9;
    assert_rejected(post("/v1/metrics", packed(export)), 8, "add up");
    LOGS(ScopeLogs) * logs;
    export = logs_of("tester", &logs);
    log_record(logs, 1, "good");
    log_record(logs, 1, "bad trace")->trace_id.len = 15;
    log_record(logs, 1, "bad span")->span_id.len = 1;
    log_record(logs, 1, "bad severity")->severity_number = (LOGS(SeverityNumber))25;
    assert_rejected(post("/v1/logs", packed(export)), 3, "severity");
    assert_int_equal(collector_count(&collector, "points"), 1);
    assert_int_equal(collector_count(&collector, "logs"), 1);
}

static void test_a_span_that_comes_twice_is_kept_once(void **state)
{
    (void)state;
    assert_posted("/v1/traces", one_span(1, 1));
    assert_posted("/v1/traces", one_span(1, 1));
    assert_int_equal(collector_count(&collector, "spans"), 2);
    assert_int_equal(collector_count(&collector, "duplicate_spans"), 1);
    json_t *trace = collector_get(&collector, "%s", trace_path(1));
    assert_int_equal(json_array_size(collector_at(trace, "spans")), 1);
    json_decref(trace);
}

/* --- faults */

static void test_a_failure_lasts_as_many_requests_as_told(void **state)
{
    (void)state;
    collector_fault(&collector, "{\"kind\":\"fail\",\"requests\":2,\"retry_after\":\"7\",\"message\":\"busy\"}");
    struct reply reply = post("/v1/traces", one_span(1, 1));
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.headers, "Retry-After: 7\r\n"));
    assert_int_equal(call(TRACES_METHOD, one_span(1, 1)).code, ERR_UNAVAILABLE);
    assert_posted("/v1/traces", one_span(1, 1));
    assert_int_equal(collector_count(&collector, "spans"), 1);
    assert_int_equal(collector_count(&collector, "grpc.traces.codes.14"), 1);
    assert_int_equal(collector_count(&collector, "http.traces.codes.503"), 1);
}

static void test_a_503_can_come_without_retry_after(void **state)
{
    (void)state;
    collector_fault(&collector, "{\"kind\":\"fail\",\"requests\":1}");
    struct reply reply = post("/v1/traces", one_span(1, 1));
    assert_int_equal(reply.status, 503);
    assert_null(strstr(reply.headers, "Retry-After"));
}

static void test_retry_info_travels_in_the_metadata(void **state)
{
    (void)state;
    collector_fault(&collector, "{\"kind\":\"fail\",\"code\":8,\"retry_delay_ms\":1500,\"message\":\"slowly\"}");
    struct call_reply reply = call(LOGS_METHOD, one_log(1, "x"));
    assert_int_equal(reply.code, ERR_RESOURCE_EXHAUSTED);
    assert_string_equal(reply.text, "slowly");
    Google__Rpc__Status *status =
        google__rpc__status__unpack(NULL, reply.details.size, (const uint8_t *)reply.details.data);
    assert_non_null(status);
    assert_int_equal(status->code, ERR_RESOURCE_EXHAUSTED);
    assert_string_equal(status->details[0]->type_url, "type.googleapis.com/google.rpc.RetryInfo");
    Google__Rpc__RetryInfo *info =
        google__rpc__retry_info__unpack(NULL, status->details[0]->value.len, status->details[0]->value.data);
    assert_int_equal(info->retry_delay->seconds, 1);
    assert_int_equal(info->retry_delay->nanos, 500000000);
    google__rpc__retry_info__free_unpacked(info, NULL);
    google__rpc__status__free_unpacked(status, NULL);
}

static void test_a_fault_can_be_of_one_signal_and_protocol(void **state)
{
    (void)state;
    collector_fault(&collector, "{\"kind\":\"fail\",\"signal\":\"logs\",\"protocol\":\"http\",\"status\":400}");
    assert_posted("/v1/traces", one_span(1, 1));
    assert_int_equal(call(LOGS_METHOD, one_log(1, "x")).code, 0);
    assert_int_equal(post("/v1/logs", one_log(1, "x")).status, 400);
}

static void test_partial_success_rejects_the_last_items(void **state)
{
    (void)state;
    collector_fault(&collector, "{\"kind\":\"partial\",\"rejected\":2,\"message\":\"no room\",\"requests\":1}");
    TRACE(ScopeSpans) * scope;
    EXPORT_TRACES *export = traces_of("tester", &scope);
    for (unsigned i = 1; i <= 5; i++)
        span(scope, 1, i, 0, "work");
    assert_rejected(post("/v1/traces", packed(export)), 2, "no room");
    assert_int_equal(collector_count(&collector, "spans"), 3);
    collector_fault(&collector, "{\"kind\":\"partial\",\"message\":\"only a warning\"}");
    assert_rejected(post("/v1/traces", packed(export)), 0, "only a warning");
    METRICS(ScopeMetrics) * metrics;
    collector_clear_faults(&collector);
    collector_fault(&collector, "{\"kind\":\"partial\",\"rejected\":1}");
    void *points = metrics_of("tester", &metrics);
    gauge_point(metrics, "kept", 1);
    gauge_point(metrics, "refused", 1);
    assert_rejected(post("/v1/metrics", packed(points)), 1, "");
    assert_int_equal(collector_count(&collector, "kept.series"), 1);
}

struct sender {
    pthread_t thread;
    struct bytes body;
    struct posting posting;
    int status;
};

static size_t ignore_body(char *data, size_t unit, size_t count, void *arg)
{
    (void)data;
    (void)arg;
    return unit * count;
}

/* libcurl alone: the arena belongs to the test's thread. */
static void *send_body(void *arg)
{
    struct sender *sender = arg;
    char url[64];
    long status = 0;
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/x-protobuf");
    snprintf(url, sizeof url, "http://%s/v1/traces", collector.http);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 20000L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, sender->body.data);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)sender->body.size);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore_body);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    sender->status = (int)status;
    return NULL;
}

static void sender_start(struct sender *sender, unsigned trace)
{
    *sender = (struct sender){.body = one_span(trace, 1)};
    assert_int_equal(pthread_create(&sender->thread, NULL, send_body, sender), 0);
}

static int sender_end(struct sender *sender)
{
    pthread_join(sender->thread, NULL);
    return sender->status;
}

static void test_what_hangs_is_let_go_with_the_faults(void **state)
{
    (void)state;
    struct sender sender;
    collector_fault(&collector, "{\"kind\":\"hang\"}");
    sender_start(&sender, 1);
    json_decref(collector_wait(&collector, "held=1"));
    assert_int_equal(call_with(&(struct calling){.method = TRACES_METHOD, .timeout_ms = 200}, one_span(1, 1)).code,
                     ERR_DEADLINE_EXCEEDED);
    collector_clear_faults(&collector);
    assert_int_equal(sender_end(&sender), 503);
    assert_posted("/v1/traces", one_span(1, 1));
}

static void test_a_slow_request_is_taken_in_the_end(void **state)
{
    (void)state;
    collector_fault(&collector, "{\"kind\":\"slow\",\"delay_ms\":30}");
    assert_posted("/v1/traces", one_span(1, 1));
    assert_int_equal(collector_count(&collector, "spans"), 1);
}

static void test_a_fault_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]",
        "{}",
        "{\"kind\":\"none\"}",
        "{\"kind\":\"fail\",\"requests\":-1}",
        "{\"kind\":\"fail\",\"code\":17}",
        "{\"kind\":\"fail\",\"status\":100}",
        "{\"kind\":\"fail\",\"signal\":\"profiles\"}",
        "{\"kind\":\"fail\",\"retry_after\":5}",
        "{\"kind\":\"fail\",\"requets\":5}",
        "{\"kind\":\"fail\",\"kind\":\"hang\"}",
    };
    for (unsigned i = 0; i < array_count(bad); i++)
        assert_int_equal(collector_call(&collector, "POST", "/faults", bad[i], NULL), 400);
    for (unsigned i = 0; i < 32; i++)
        collector_fault(&collector, "{\"kind\":\"slow\",\"requests\":0}");
    assert_int_equal(collector_call(&collector, "POST", "/faults", "{\"kind\":\"slow\"}", NULL), 503);
    json_t *faults = collector_get(&collector, "/faults");
    assert_int_equal(json_array_size(collector_at(faults, "faults")), 32);
    json_decref(faults);
}

/* --- waiting */

static void test_waiting_ends_as_soon_as_enough_has_come(void **state)
{
    (void)state;
    struct sender senders[3];
    collector_fault(&collector, "{\"kind\":\"slow\",\"delay_ms\":20}");
    for (unsigned i = 0; i < 3; i++)
        sender_start(&senders[i], i + 1);
    json_t *counts = collector_wait(&collector, "spans=3&requests=3");
    assert_int_equal(number_at(counts, "spans"), 3);
    json_decref(counts);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(sender_end(&senders[i]), 200);
    json_decref(collector_wait(&collector, "spans=1&trace_id=ab000000000000000000000000000002"));
}

static void test_waiting_has_a_limit(void **state)
{
    (void)state;
    assert_posted("/v1/logs", one_log(1, "x"));
    assert_int_equal(collector_call(&collector, "GET", "/api/wait?logs=2&timeout_ms=20", NULL, NULL), 504);
    const char *other = "/api/wait?logs=1&trace_id=ab000000000000000000000000000009&timeout_ms=20";
    assert_int_equal(collector_call(&collector, "GET", other, NULL, NULL), 504);
    assert_int_equal(collector_call(&collector, "GET", "/api/wait?spans=x", NULL, NULL), 400);
    assert_int_equal(collector_call(&collector, "GET", "/api/wait?spans=1&trace_id=x", NULL, NULL), 400);
    json_decref(collector_wait(&collector, "logs=1&trace_id=ab000000000000000000000000000001"));
}

/* --- bounds */

static void test_old_traces_make_room(void **state)
{
    (void)state;
    TRACE(ScopeSpans) * scope;
    EXPORT_TRACES *export = traces_of("tester", &scope);
    for (unsigned trace = 1; trace <= 1003; trace++)
        span(scope, trace, 1, 0, "work");
    assert_posted("/v1/traces", packed(export));
    assert_int_equal(collector_count(&collector, "kept.traces"), 1000);
    assert_int_equal(collector_count(&collector, "dropped.traces"), 3);
    assert_int_equal(collector_call(&collector, "GET", trace_path(3), NULL, NULL), 404);
    assert_int_equal(collector_call(&collector, "GET", trace_path(4), NULL, NULL), 200);
}

static void test_a_trace_has_so_many_spans(void **state)
{
    (void)state;
    TRACE(ScopeSpans) * scope;
    EXPORT_TRACES *export = traces_of("tester", &scope);
    for (unsigned number = 1; number <= 520; number++)
        span(scope, 1, number, 0, "work");
    assert_posted("/v1/traces", packed(export));
    assert_int_equal(collector_count(&collector, "spans"), 520);
    assert_int_equal(collector_count(&collector, "dropped.spans"), 8);
    json_t *traces = collector_get(&collector, "/api/traces");
    assert_int_equal(number_at(traces, "traces.0.spans"), 512);
    assert_int_equal(number_at(traces, "traces.0.dropped"), 8);
    json_decref(traces);
    assert_non_null(strstr(page("/trace/ab000000000000000000000000000001", 200), "8 more spans were dropped"));
}

static void test_old_logs_and_series_make_room(void **state)
{
    (void)state;
    LOGS(ScopeLogs) * logs;
    void *export = logs_of("tester", &logs);
    for (unsigned i = 0; i < 2002; i++)
        log_record(logs, 1, "x");
    for (unsigned i = 0; i < 5; i++)
        assert_posted("/v1/logs", packed(export));
    assert_int_equal(collector_count(&collector, "kept.logs"), 10000);
    assert_int_equal(collector_count(&collector, "dropped.logs"), 10);
    METRICS(ScopeMetrics) * metrics;
    export = metrics_of("tester", &metrics);
    for (unsigned i = 0; i < 2004; i++)
        gauge_point(metrics, arena_print(&arena, "gauge.%u", i), i);
    assert_posted("/v1/metrics", packed(export));
    assert_int_equal(collector_count(&collector, "kept.series"), 2000);
    assert_int_equal(collector_count(&collector, "dropped.series"), 4);
    json_t *gone = collector_get(&collector, "/api/metrics?name=gauge.3");
    assert_int_equal(json_array_size(collector_at(gone, "metrics")), 0);
    json_decref(gone);
    page("/metrics", 200);
}

static void test_wiping_leaves_nothing(void **state)
{
    (void)state;
    assert_posted("/v1/traces", one_span(1, 1));
    assert_posted("/v1/logs", one_log(1, "x"));
    collector_wipe(&collector);
    json_t *counts = collector_get(&collector, "/counts");
    assert_int_equal(number_at(counts, "requests"), 0);
    assert_int_equal(number_at(counts, "kept.traces"), 0);
    assert_int_equal(number_at(counts, "kept.span_bytes"), 0);
    assert_int_equal(number_at(counts, "kept.log_bytes"), 0);
    json_decref(counts);
}

/* --- the lists and the pages */

static void test_the_list_is_newest_first_and_by_service(void **state)
{
    (void)state;
    TRACE(ScopeSpans) * scope;
    assert_posted("/v1/traces", one_span(1, 1));
    EXPORT_TRACES *export = traces_of("other", &scope);
    span(scope, 2, 1, 0, "root");
    fill_span(span(scope, 2, 2, 1, "child"));
    assert_posted("/v1/traces", packed(export));
    json_t *list = collector_get(&collector, "/api/traces");
    assert_int_equal(json_array_size(collector_at(list, "traces")), 2);
    assert_string_equal(text_at(list, "traces.0.name"), "root");
    assert_int_equal(number_at(list, "traces.0.spans"), 2);
    assert_int_equal(number_at(list, "traces.0.duration"), 5001000);
    assert_true(json_is_true(collector_at(list, "traces.0.error")));
    assert_true(json_is_false(collector_at(list, "traces.1.error")));
    json_decref(list);
    list = collector_get(&collector, "/api/traces?service=tester&limit=5");
    assert_int_equal(json_array_size(collector_at(list, "traces")), 1);
    assert_string_equal(text_at(list, "traces.0.services.0"), "tester");
    json_decref(list);
    assert_int_equal(collector_call(&collector, "GET", "/api/traces?limit=many", NULL, NULL), 400);
    assert_int_equal(collector_call(&collector, "GET", "/api/traces/xyz", NULL, NULL), 400);
    const char *filtered = page("/?service=other", 200);
    assert_non_null(strstr(filtered, "/trace/ab000000000000000000000000000002"));
    assert_null(strstr(filtered, "/trace/ab000000000000000000000000000001"));
}

static void send_hostile(const char *name)
{
    TRACE(ScopeSpans) * scope;
    EXPORT_TRACES *export = traces_of(name, &scope);
    TRACE(Span) *hostile = span(scope, 1, 1, 0, name);
    fill_span(hostile);
    hostile->events[0]->name = hostile->status->message = hostile->trace_state = text(name);
    scope->scope->name = text(name);
    text_attribute(&hostile->n_attributes, &hostile->attributes, name, name);
    text_attribute(&hostile->links[0]->n_attributes, &hostile->links[0]->attributes, name, name);
    assert_posted("/v1/traces", packed(export));
    LOGS(ScopeLogs) * logs;
    void *records = logs_of(name, &logs);
    LOGS(LogRecord) *record = log_record(logs, 1, name);
    record->severity_text = record->event_name = text(name);
    text_attribute(&record->n_attributes, &record->attributes, name, name);
    assert_posted("/v1/logs", packed(records));
    METRICS(ScopeMetrics) * metrics;
    void *points = metrics_of(name, &metrics);
    METRICS(NumberDataPoint) *point = sum_point(metrics, text(arena_print(&arena, "orders%s", name)), 1, 1);
    metrics->metrics[0]->unit = metrics->metrics[0]->description = text(name);
    text_attribute(&point->n_attributes, &point->attributes, name, name);
    assert_posted("/v1/metrics", packed(points));
}

static void test_hostile_values_are_escaped(void **state)
{
    (void)state;
    static const char *const pages[] = {"/", "/trace/ab000000000000000000000000000001", "/metrics",
                                        "/metrics?name=%3Cxss%3E%22'&service=%22%3E%3Cxss%3E", "/?service=%3Cxss%3E"};
    send_hostile("<xss>\"'&$\x01\xff</script>");
    for (unsigned i = 0; i < array_count(pages); i++) {
        const char *html = page(pages[i], 200);
        assert_null(strstr(html, "<xss>"));
        assert_null(strchr(html, '\x01'));
        assert_null(strchr(html, '\xff'));
        assert_null(strstr(html, "</script>\xef"));
    }
    assert_non_null(strstr(page(pages[1], 200), "&lt;xss&gt;&quot;&#39;&amp;$"));
    json_t *trace = collector_get(&collector, "%s", trace_path(1));
    assert_string_equal(text_at(trace, "spans.0.name"), "<xss>\"'&$\x01\xef\xbf\xbd</script>");
    json_decref(trace);
    json_decref(collector_get(&collector, "/api/logs"));
    json_decref(collector_get(&collector, "/api/metrics"));
}

static unsigned occurrences(const char *html, const char *needle)
{
    unsigned count = 0;
    for (const char *at = html; (at = strstr(at, needle)); at++)
        count++;
    return count;
}

static void test_the_waterfall_shows_every_span_once(void **state)
{
    (void)state;
    TRACE(ScopeSpans) * scope;
    EXPORT_TRACES *export = traces_of("tester", &scope);
    span(scope, 1, 1, 0, "root");
    span(scope, 1, 2, 1, "child");
    span(scope, 1, 3, 2, "grandchild");
    span(scope, 1, 4, 1, "sister");
    span(scope, 1, 5, 99, "orphan");
    span(scope, 1, 6, 7, "one half of a circle");
    span(scope, 1, 7, 6, "the other half");
    span(scope, 1, 8, 8, "its own parent");
    assert_posted("/v1/traces", packed(export));
    assert_posted("/v1/logs", one_log(1, "a line of this trace"));
    assert_posted("/v1/logs", one_log(2, "a line of another"));
    const char *html = page("/trace/ab000000000000000000000000000001", 200);
    assert_int_equal(occurrences(html, "<details class=\"span"), 8);
    assert_int_equal(occurrences(html, "parent not here"), 2); /* the orphan and the one that is its own parent */
    const char *child = strstr(html, "id=\"sab00000000000003\"");
    assert_non_null(child);
    assert_non_null(strstr(child, "--d:2"));
    assert_non_null(strstr(html, "a line of this trace"));
    assert_null(strstr(html, "a line of another"));
    page("/trace/ab000000000000000000000000000002", 404);
    page("/trace/xyz", 400);
}

static void test_the_pages_load_nothing_from_elsewhere(void **state)
{
    (void)state;
    assert_non_null(strstr(page("/", 200), "No trace yet"));
    assert_non_null(strstr(page("/metrics", 200), "No metric yet"));
    assert_non_null(strstr(page("/style.css", 200), "prefers-color-scheme"));
    assert_non_null(strstr(page("/page.js", 200), "fetch("));
    METRICS(ScopeMetrics) * scope;
    for (int second = 10; second <= 30; second += 10) {
        void *export = metrics_of("tester", &scope);
        uint64_t count = (uint64_t)second;
        for (unsigned i = 0; i < 8; i++) {
            METRICS(HistogramDataPoint) *point =
                histogram_point(scope, "http.server.request.duration", (uint64_t[]){count, count, i, 0}, second);
            text_attribute(&point->n_attributes, &point->attributes, "http.route", arena_print(&arena, "/r/%u", i));
        }
        gauge_point(scope, "process.memory.usage", second * 1000000);
        METRICS(NumberDataPoint) *point = sum_point(scope, "otel.sdk.processor.span.processed", second, second);
        text_attribute(&point->n_attributes, &point->attributes, "error.type", "queue_full");
        assert_posted("/v1/metrics", packed(export));
    }
    const char *html = page("/metrics", 200);
    assert_null(strstr(html, "http://"));
    assert_null(strstr(html, "https://"));
    assert_non_null(strstr(html, "Requests per second"));
    assert_non_null(strstr(html, "and 2 more"));
    assert_non_null(strstr(html, "MiB"));
    assert_non_null(strstr(html, "queue_full"));
    assert_non_null(strstr(page("/metrics?name=memory", 200), "1 series"));
}

/* --- the program */

static void test_it_starts_again_on_its_ports(void **state)
{
    (void)state;
    assert_posted("/v1/traces", one_span(1, 1));
    assert_int_equal(collector_stop(&collector), 0);
    collector_start(&collector);
    assert_posted("/v1/traces", one_span(1, 1));
    collector_kill(&collector);
    assert_int_equal(post("/v1/traces", one_span(1, 1)).status, 0);
    collector_start(&collector);
    assert_int_equal(collector_count(&collector, "requests"), 0);
    assert_int_equal(call(TRACES_METHOD, one_span(1, 1)).code, 0);
}

static void test_it_ends_while_requests_hang(void **state)
{
    (void)state;
    struct sender sender;
    collector_fault(&collector, "{\"kind\":\"hang\"}");
    sender_start(&sender, 1);
    json_decref(collector_wait(&collector, "held=1"));
    assert_int_equal(collector_stop(&collector), 0);
    sender_end(&sender);
    collector_start(&collector);
}

static void test_as_many_traces_are_kept_as_asked_for(void **state)
{
    (void)state;
    TRACE(ScopeSpans) * scope;
    EXPORT_TRACES *export = traces_of("tester", &scope);
    for (unsigned trace = 1; trace <= 3; trace++)
        span(scope, trace, 1, 0, "work");
    collector_stop(&collector);
    collector.options[0] = "--traces";
    collector.options[1] = "2";
    collector_start(&collector);
    assert_posted("/v1/traces", packed(export));
    assert_int_equal(collector_count(&collector, "kept.traces"), 2);
    assert_int_equal(collector_count(&collector, "dropped.traces"), 1);
    collector_stop(&collector);
    collector.options[0] = NULL;
    collector_start(&collector);
}

static int status_of(const char *const *arguments)
{
    char program[600];
    int status;
    shop_binary("otlp-collector", program, sizeof program);
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
            _exit(126);
        execv(program, (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_wrong_options_are_told(void **state)
{
    (void)state;
    assert_int_equal(status_of((const char *[]){"otlp-collector", "--help", NULL}), 0);
    assert_int_equal(status_of((const char *[]){"otlp-collector", "--nonsense", NULL}), 2);
    assert_int_equal(status_of((const char *[]){"otlp-collector", "--grpc", "nonsense", NULL}), 2);
    assert_int_equal(status_of((const char *[]){"otlp-collector", "--tls-cert", "x", NULL}), 2);
    assert_int_equal(
        status_of((const char *[]){"otlp-collector", "--grpc", collector.grpc, "--http", "", "--page", "", NULL}), 2);
    assert_int_equal(
        status_of((const char *[]){"otlp-collector", "--grpc", "", "--http", collector.http, "--page", "", NULL}), 2);
    assert_int_equal(status_of((const char *[]){"otlp-collector", "--grpc", "", "--http", "127.0.0.1:0", "--page", "",
                                                "--tls-cert", "/none", "--tls-key", "/none", NULL}),
                     2);
    assert_int_equal(status_of((const char *[]){"otlp-collector", "--grpc", "127.0.0.1:0", "--http", "", "--page", "",
                                                "--tls-cert", "/none", "--tls-key", "/none", NULL}),
                     2);
    assert_int_equal(status_of((const char *[]){"otlp-collector", "--fault", "{}", NULL}), 2);
    assert_int_equal(status_of((const char *[]){"otlp-collector", "--traces", "0", NULL}), 2);
}

/* --- TLS, with a collector of its own */

static struct test_certificates certificates;

static int open_tls(void **state)
{
    (void)state;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    arena_init(&arena, 65536);
    certificates_open(&certificates);
    static const char *options[] = {
        "--tls-cert",  certificates.server, "--tls-key", certificates.server_key,
        "--client-ca", certificates.ca,     "--fault",   "{\"kind\":\"slow\",\"requests\":0}",
        NULL};
    collector_open(&collector, options);
    return 0;
}

static int close_tls(void **state)
{
    int status = close_all(state);
    certificates_close(&certificates);
    return status;
}

static void test_http_over_tls_wants_a_client_certificate(void **state)
{
    (void)state;
    TRACE(ScopeSpans) * scope;
    EXPORT_TRACES *export = traces_of("tester", &scope);
    char *name = arena_alloc(&arena, 5001);
    memset(name, 'n', 5000);
    for (unsigned i = 1; i <= 200; i++)
        span(scope, 1, i, 0, name);
    struct posting posting = {.path = "/v1/traces", .tls = &certificates, .with_client_certificate = true};
    assert_int_equal(post_with(&posting, packed(export)).status, 200);
    posting.with_client_certificate = false;
    assert_int_equal(post_with(&posting, packed(export)).status, 0);
    assert_int_equal(post("/v1/traces", packed(export)).status, 0);
    assert_int_equal(collector_count(&collector, "spans"), 200);
    assert_int_equal(collector_count(&collector, "tls.connections"), 1);
    assert_int_equal(collector_count(&collector, "tls.failures"), 2);
}

static char *file_text(const char *path)
{
    char *data = arena_alloc(&arena, 16384);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_true(fread(data, 1, 16383, file) > 0);
    fclose(file);
    return data;
}

static grpc_channel_credentials *tls_credentials(bool with_client_certificate)
{
    grpc_ssl_pem_key_cert_pair pair = {.private_key = file_text(certificates.client_key),
                                       .cert_chain = file_text(certificates.client)};
    return grpc_ssl_credentials_create(file_text(certificates.ca), with_client_certificate ? &pair : NULL, NULL, NULL);
}

static void test_grpc_over_tls_wants_a_client_certificate(void **state)
{
    (void)state;
    grpc_init();
    struct calling calling = {.method = TRACES_METHOD, .credentials = tls_credentials(true)};
    assert_int_equal(call_with(&calling, one_span(1, 1)).code, 0);
    calling.credentials = tls_credentials(false);
    assert_int_equal(call_with(&calling, one_span(1, 1)).code, ERR_UNAVAILABLE);
    assert_int_equal(call(TRACES_METHOD, one_span(1, 1)).code, ERR_UNAVAILABLE);
    grpc_shutdown();
    assert_int_equal(collector_count(&collector, "grpc.traces.items"), 1);
}

#define TEST(name) cmocka_unit_test_setup((name), wiped)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_span_is_kept_with_every_field),
        TEST(test_a_log_record_is_found_by_its_trace),
        TEST(test_every_kind_of_metric_is_kept),
        TEST(test_history_has_rates_and_quantiles),
        TEST(test_attributes_in_another_order_are_the_same_series),
        TEST(test_http_takes_gzip),
        TEST(test_grpc_takes_three_signals_with_metadata),
        TEST(test_grpc_takes_gzip),
        TEST(test_libcommons_client_can_export),
        TEST(test_what_is_no_otlp_is_refused),
        TEST(test_malformed_messages_are_refused),
        TEST(test_a_bomb_is_not_inflated),
        TEST(test_deep_nesting_is_refused),
        TEST(test_too_many_tiny_messages_are_refused),
        TEST(test_invalid_spans_are_rejected_one_by_one),
        TEST(test_invalid_points_and_records_are_rejected),
        TEST(test_a_span_that_comes_twice_is_kept_once),
        TEST(test_a_failure_lasts_as_many_requests_as_told),
        TEST(test_a_503_can_come_without_retry_after),
        TEST(test_retry_info_travels_in_the_metadata),
        TEST(test_a_fault_can_be_of_one_signal_and_protocol),
        TEST(test_partial_success_rejects_the_last_items),
        TEST(test_what_hangs_is_let_go_with_the_faults),
        TEST(test_a_slow_request_is_taken_in_the_end),
        TEST(test_a_fault_that_makes_no_sense_is_refused),
        TEST(test_waiting_ends_as_soon_as_enough_has_come),
        TEST(test_waiting_has_a_limit),
        TEST(test_old_traces_make_room),
        TEST(test_a_trace_has_so_many_spans),
        TEST(test_old_logs_and_series_make_room),
        TEST(test_wiping_leaves_nothing),
        TEST(test_the_list_is_newest_first_and_by_service),
        TEST(test_hostile_values_are_escaped),
        TEST(test_the_waterfall_shows_every_span_once),
        TEST(test_the_pages_load_nothing_from_elsewhere),
        TEST(test_it_starts_again_on_its_ports),
        TEST(test_it_ends_while_requests_hang),
        TEST(test_as_many_traces_are_kept_as_asked_for),
        TEST(test_wrong_options_are_told),
    };
    const struct CMUnitTest tls_tests[] = {
        TEST(test_http_over_tls_wants_a_client_certificate),
        TEST(test_grpc_over_tls_wants_a_client_certificate),
    };
    int failed = cmocka_run_group_tests_name("collector", tests, open_all, close_all);
    return failed + cmocka_run_group_tests_name("collector over TLS", tls_tests, open_tls, close_tls);
}
