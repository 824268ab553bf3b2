/* One export, whichever way it came. What OTLP's own rules refuse (an id of zeros, a span that ends before it
 * starts, buckets that do not fit their bounds) is refused as a collector would: by partial success. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "collector/collector.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "otlp_collector_logs.pb-c.h"
#include "otlp_collector_metrics.pb-c.h"
#include "otlp_collector_trace.pb-c.h"
#include "otlp_status.pb-c.h"

#define COLLECTOR_TRACE(name)   Opentelemetry__Proto__Collector__Trace__V1__##name
#define COLLECTOR_METRICS(name) Opentelemetry__Proto__Collector__Metrics__V1__##name
#define COLLECTOR_LOGS(name)    Opentelemetry__Proto__Collector__Logs__V1__##name

const char *const signal_names[SIGNALS] = {"traces", "metrics", "logs"};
const char *const protocol_names[PROTOCOLS] = {"grpc", "http"};

/* An export being taken in. */
struct intake {
    struct collector *collector;
    struct arena *arena;
    int64_t refuse; /* so many of the last items, because a fault says so */
    uint64_t items, rejected, total;
};

struct collector *collector_of(const struct request *req)
{
    return container_of(req->worker, struct collector, worker);
}

/* --- taking in */

static bool all_zero(ProtobufCBinaryData id)
{
    for (size_t i = 0; i < id.len; i++)
        if (id.data[i])
            return false;
    return true;
}

static bool refused(struct intake *intake, const char *reason)
{
    struct counts *counts = &intake->collector->counts;
    counts->invalid_items++;
    snprintf(counts->invalid_reason, sizeof counts->invalid_reason, "%s", reason);
    log_event(LOG_WARN, "an item is not valid", log_text("reason", reason));
    return false;
}

/* Counts the item; false when the fault wants it refused. */
static bool is_wanted(struct intake *intake)
{
    intake->items++;
    return intake->items + (uint64_t)intake->refuse <= intake->total;
}

static void count_item(struct intake *intake, bool accepted)
{
    if (!accepted)
        intake->rejected++;
}

/* Resource… and Scope… messages are packed without what they hold. */
static struct origin *take_origin(struct intake *intake, const ProtobufCMessage *resource, size_t *resource_items,
                                  const ProtobufCMessage *scope, size_t *scope_items)
{
    size_t resource_count = *resource_items, scope_count = *scope_items;
    *resource_items = *scope_items = 0;
    struct bytes resource_packed = encode_message(intake->arena, resource);
    struct bytes scope_packed = encode_message(intake->arena, scope);
    *resource_items = resource_count;
    *scope_items = scope_count;
    return origin_take(&intake->collector->store, intake->arena, resource_packed, scope_packed);
}

static bool span_is_valid(struct intake *intake, const OTLP_TRACE(Span) * span)
{
    if (span->trace_id.len != TRACE_ID_BYTES || all_zero(span->trace_id))
        return refused(intake, "a span's trace_id has to be 16 bytes, not all zero");
    if (span->span_id.len != SPAN_ID_BYTES || all_zero(span->span_id))
        return refused(intake, "a span's span_id has to be 8 bytes, not all zero");
    if (span->parent_span_id.len != 0 && (span->parent_span_id.len != SPAN_ID_BYTES || all_zero(span->parent_span_id)))
        return refused(intake, "a span's parent_span_id has to be empty or 8 bytes, not all zero");
    if (span->start_time_unix_nano == 0 || span->end_time_unix_nano < span->start_time_unix_nano)
        return refused(intake, "a span has to have a start and to end after it");
    if (!*span->name)
        return refused(intake, "a span has to have a name");
    for (size_t i = 0; i < span->n_links; i++)
        if (span->links[i]->trace_id.len != TRACE_ID_BYTES || span->links[i]->span_id.len != SPAN_ID_BYTES)
            return refused(intake, "a link's ids have to be 16 and 8 bytes");
    return true;
}

static bool take_span(struct intake *intake, struct origin *origin, const OTLP_TRACE(Span) * span)
{
    if (!is_wanted(intake) || !span_is_valid(intake, span))
        return false;
    store_span(&intake->collector->store, &intake->collector->counts, origin, span);
    return true;
}

static void take_traces(struct intake *intake, const void *message)
{
    const COLLECTOR_TRACE(ExportTraceServiceRequest) *export = message;
    for (size_t r = 0; r < export->n_resource_spans; r++) {
        OTLP_TRACE(ResourceSpans) *resource = export->resource_spans[r];
        for (size_t s = 0; s < resource->n_scope_spans; s++) {
            OTLP_TRACE(ScopeSpans) *scope = resource->scope_spans[s];
            size_t count = scope->n_spans;
            struct origin *origin =
                take_origin(intake, &resource->base, &resource->n_scope_spans, &scope->base, &scope->n_spans);
            for (size_t i = 0; i < count; i++)
                count_item(intake, take_span(intake, origin, scope->spans[i]));
            origin_give(origin);
        }
    }
}

static bool log_is_valid(struct intake *intake, const OTLP_LOGS(LogRecord) * record)
{
    if (record->trace_id.len != 0 && record->trace_id.len != TRACE_ID_BYTES)
        return refused(intake, "a log record's trace_id has to be empty or 16 bytes");
    if (record->span_id.len != 0 && record->span_id.len != SPAN_ID_BYTES)
        return refused(intake, "a log record's span_id has to be empty or 8 bytes");
    if (record->severity_number < 0 || record->severity_number > 24)
        return refused(intake, "a log record's severity_number has to be 0 to 24");
    return true;
}

static bool take_log(struct intake *intake, struct origin *origin, const OTLP_LOGS(LogRecord) * record)
{
    if (!is_wanted(intake) || !log_is_valid(intake, record))
        return false;
    store_log(&intake->collector->store, &intake->collector->counts, origin, record);
    return true;
}

static void take_logs(struct intake *intake, const void *message)
{
    const COLLECTOR_LOGS(ExportLogsServiceRequest) *export = message;
    for (size_t r = 0; r < export->n_resource_logs; r++) {
        OTLP_LOGS(ResourceLogs) *resource = export->resource_logs[r];
        for (size_t s = 0; s < resource->n_scope_logs; s++) {
            OTLP_LOGS(ScopeLogs) *scope = resource->scope_logs[s];
            size_t count = scope->n_log_records;
            struct origin *origin =
                take_origin(intake, &resource->base, &resource->n_scope_logs, &scope->base, &scope->n_log_records);
            for (size_t i = 0; i < count; i++)
                count_item(intake, take_log(intake, origin, scope->log_records[i]));
            origin_give(origin);
        }
    }
}

/* A metric's points are taken together: a fault that refuses some refuses all points of the last metrics. */
static void take_metric(struct intake *intake, struct origin *origin, OTLP_METRICS(Metric) * metric)
{
    size_t points = metric_points(metric);
    uint64_t accepted = 0;
    intake->items += points;
    if (intake->items + (uint64_t)intake->refuse <= intake->total)
        accepted = series_update(&intake->collector->series, &intake->collector->counts, intake->arena, origin, metric);
    intake->rejected += points - accepted;
}

static void take_metrics(struct intake *intake, const void *message)
{
    const COLLECTOR_METRICS(ExportMetricsServiceRequest) *export = message;
    for (size_t r = 0; r < export->n_resource_metrics; r++) {
        OTLP_METRICS(ResourceMetrics) *resource = export->resource_metrics[r];
        for (size_t s = 0; s < resource->n_scope_metrics; s++) {
            OTLP_METRICS(ScopeMetrics) *scope = resource->scope_metrics[s];
            size_t count = scope->n_metrics;
            struct origin *origin =
                take_origin(intake, &resource->base, &resource->n_scope_metrics, &scope->base, &scope->n_metrics);
            for (size_t i = 0; i < count; i++)
                take_metric(intake, origin, scope->metrics[i]);
            origin_give(origin);
        }
    }
}

/* --- how many there are */

static uint64_t total_traces(const void *message)
{
    const COLLECTOR_TRACE(ExportTraceServiceRequest) *export = message;
    uint64_t total = 0;
    for (size_t r = 0; r < export->n_resource_spans; r++)
        for (size_t s = 0; s < export->resource_spans[r]->n_scope_spans; s++)
            total += export->resource_spans[r]->scope_spans[s]->n_spans;
    return total;
}

static uint64_t total_logs(const void *message)
{
    const COLLECTOR_LOGS(ExportLogsServiceRequest) *export = message;
    uint64_t total = 0;
    for (size_t r = 0; r < export->n_resource_logs; r++)
        for (size_t s = 0; s < export->resource_logs[r]->n_scope_logs; s++)
            total += export->resource_logs[r]->scope_logs[s]->n_log_records;
    return total;
}

static uint64_t total_metrics(const void *message)
{
    const COLLECTOR_METRICS(ExportMetricsServiceRequest) *export = message;
    uint64_t total = 0;
    for (size_t r = 0; r < export->n_resource_metrics; r++)
        for (size_t s = 0; s < export->resource_metrics[r]->n_scope_metrics; s++)
            for (size_t m = 0; m < export->resource_metrics[r]->scope_metrics[s]->n_metrics; m++)
                total += metric_points(export->resource_metrics[r]->scope_metrics[s]->metrics[m]);
    return total;
}

/* --- answers */

/* The three responses differ in their names alone: partial_success = 1 {rejected = 1, error_message = 2}. */
static struct bytes print_response(struct arena *arena, uint64_t rejected, const char *message)
{
    COLLECTOR_TRACE(ExportTraceServiceResponse) response;
    COLLECTOR_TRACE(ExportTracePartialSuccess) partial;
    opentelemetry__proto__collector__trace__v1__export_trace_service_response__init(&response);
    opentelemetry__proto__collector__trace__v1__export_trace_partial_success__init(&partial);
    partial.rejected_spans = (int64_t)rejected;
    if (*message)
        partial.error_message = arena_print(arena, "%s", message);
    if (rejected > 0 || *message)
        response.partial_success = &partial;
    return encode_message(arena, &response);
}

static struct bytes print_status(struct arena *arena, const struct verdict *verdict)
{
    Google__Rpc__Duration delay = GOOGLE__RPC__DURATION__INIT;
    Google__Rpc__RetryInfo info = GOOGLE__RPC__RETRY_INFO__INIT;
    Google__Rpc__Any any = GOOGLE__RPC__ANY__INIT;
    Google__Rpc__Any *details[] = {&any};
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    status.code = (int)verdict->code;
    status.message = arena_print(arena, "%s", verdict->message);
    if (verdict->retry_delay_ms >= 0) {
        delay.seconds = verdict->retry_delay_ms / 1000;
        delay.nanos = verdict->retry_delay_ms % 1000 * (int)NS_PER_MS;
        info.retry_delay = &delay;
        struct bytes packed = encode_message(arena, &info);
        any.type_url = arena_print(arena, "type.googleapis.com/google.rpc.RetryInfo");
        any.value = (ProtobufCBinaryData){packed.size, (uint8_t *)(uintptr_t)packed.data};
        status.details = details;
        status.n_details = 1;
    }
    return encode_message(arena, &status);
}

static void refuse_all(struct request *req, struct verdict *verdict, enum err code, int status, const char *message)
{
    verdict->code = code;
    verdict->status = status;
    verdict->message = message;
    verdict->body = print_status(req->arena, verdict);
}

/* --- the whole */

struct signal_form {
    const ProtobufCMessageDescriptor *form;
    uint64_t (*total)(const void *message);
    void (*take)(struct intake *intake, const void *message);
};

static const struct signal_form forms[SIGNALS] = {
    {&opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor, total_traces, take_traces},
    {&opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__descriptor, total_metrics,
     take_metrics},
    {&opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor, total_logs, take_logs},
};

static const void *read_delivery(struct request *req, const struct delivery *delivery, struct flow *flow)
{
    struct bytes plain = delivery->body;
    if (delivery->compressed)
        plain = decode_inflate(req->arena, delivery->body);
    if (!plain.data)
        return NULL;
    flow->plain_bytes += plain.size;
    return decode_message(req->arena, forms[delivery->signal].form, plain);
}

static void take_in(struct request *req, const struct delivery *delivery, const struct fault *fault,
                    struct verdict *verdict)
{
    struct collector *collector = collector_of(req);
    struct flow *flow = &collector->counts.flows[delivery->protocol][delivery->signal];
    if (collector->discard) {
        verdict->body = print_response(req->arena, 0, "");
        return;
    }
    const void *message = read_delivery(req, delivery, flow);
    if (!message) {
        collector->counts.malformed++;
        log_event(LOG_WARN, "an export cannot be read", log_text("signal", signal_names[delivery->signal]));
        refuse_all(req, verdict, ERR_INVALID_ARGUMENT, 400, "the message is malformed");
        return;
    }
    const struct signal_form *form = &forms[delivery->signal];
    struct intake intake = {.collector = collector, .arena = req->arena, .total = form->total(message)};
    if (fault->kind == FAULT_PARTIAL)
        intake.refuse = fault->rejected < (int64_t)intake.total ? fault->rejected : (int64_t)intake.total;
    uint64_t invalid_before = collector->counts.invalid_items;
    form->take(&intake, message);
    flow->items += intake.items - intake.rejected;
    flow->rejected += intake.rejected;
    collector->counts.items[delivery->signal] += intake.items - intake.rejected;
    bool invalid = collector->counts.invalid_items > invalid_before;
    const char *reason = fault->kind == FAULT_PARTIAL ? fault->message : "";
    verdict->body = print_response(req->arena, intake.rejected, invalid ? collector->counts.invalid_reason : reason);
    waiters_look(collector);
}

static void go_wrong(struct request *req, const struct fault *fault, struct verdict *verdict)
{
    verdict->retry_after = *fault->retry_after ? arena_print(req->arena, "%s", fault->retry_after) : NULL;
    verdict->retry_delay_ms = fault->retry_delay_ms;
    const char *message = *fault->message ? fault->message : "told to fail";
    refuse_all(req, verdict, fault->code, fault->status, arena_print(req->arena, "%s", message));
}

static void act(struct request *req, const struct delivery *delivery, const struct fault *fault,
                struct verdict *verdict)
{
    struct faults *faults = &collector_of(req)->faults;
    enum err err = ERR_OK;
    if (fault->delay_ms > 0)
        err = faults_hold(req, faults, clock_now_ns() + fault->delay_ms * NS_PER_MS);
    if (!err && fault->kind == FAULT_HANG)
        err = faults_hold(req, faults, CLOCK_NEVER);
    if (err)
        refuse_all(req, verdict, ERR_CANCELLED, 503, "the caller has gone");
    else if (fault->kind == FAULT_HANG)
        refuse_all(req, verdict, ERR_UNAVAILABLE, 503, "held until now");
    else if (fault->kind == FAULT_FAIL)
        go_wrong(req, fault, verdict);
    else
        take_in(req, delivery, fault, verdict);
}

void deliver(struct request *req, const struct delivery *delivery, struct verdict *verdict)
{
    struct collector *collector = collector_of(req);
    *verdict = (struct verdict){.status = 200, .message = "", .retry_delay_ms = -1};
    counts_request(&collector->counts, delivery);
    struct fault fault = faults_take(&collector->faults, delivery->signal, delivery->protocol);
    waiters_look(collector);
    act(req, delivery, &fault, verdict);
    counts_answer(&collector->counts, delivery,
                  delivery->protocol == PROTOCOL_GRPC ? (int)verdict->code : verdict->status);
}
