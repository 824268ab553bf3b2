#include <stdlib.h>
#include <string.h>

#include "collector/collector.h"
#include "common/mem.h"

uint64_t digest(uint64_t hash, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

void store_init(struct store *store, unsigned traces_max)
{
    *store = (struct store){.traces_max = traces_max};
    list_init(&store->traces);
    list_init(&store->logs);
    for (unsigned i = 0; i < BUCKETS; i++) {
        list_init(&store->trace_buckets[i]);
        list_init(&store->origin_buckets[i]);
    }
}

/* --- origins */

static char *service_of(struct arena *arena, struct bytes resource)
{
    const OTLP_TRACE(ResourceSpans) *holder =
        decode_message(arena, &opentelemetry__proto__trace__v1__resource_spans__descriptor, resource);
    for (size_t i = 0; holder && holder->resource && i < holder->resource->n_attributes; i++) {
        const OTLP_COMMON(KeyValue) *attribute = holder->resource->attributes[i];
        if (strcmp(attribute->key, "service.name") == 0 && attribute->value)
            return mem_text(value_text(arena, attribute->value));
    }
    return mem_text("unknown");
}

static bool is_origin(const struct origin *origin, uint64_t hash, struct bytes resource, struct bytes scope)
{
    return origin->hash == hash && origin->resource_bytes == resource.size && origin->scope_bytes == scope.size &&
           memcmp(origin->packed, resource.data, resource.size) == 0 &&
           memcmp(origin->packed + resource.size, scope.data, scope.size) == 0;
}

struct origin *origin_take(struct store *store, struct arena *arena, struct bytes resource, struct bytes scope)
{
    uint64_t hash = digest(digest(0, resource.data, resource.size), scope.data, scope.size);
    struct list *bucket = &store->origin_buckets[hash % BUCKETS];
    list_each (node, bucket) {
        struct origin *origin = container_of(node, struct origin, list);
        if (is_origin(origin, hash, resource, scope)) {
            origin->refs++;
            return origin;
        }
    }
    struct origin *origin = mem_alloc(sizeof *origin + resource.size + scope.size);
    origin->refs = 1;
    origin->hash = hash;
    origin->resource_bytes = resource.size;
    origin->scope_bytes = scope.size;
    memcpy(origin->packed, resource.data, resource.size);
    memcpy(origin->packed + resource.size, scope.data, scope.size);
    origin->service = service_of(arena, resource);
    list_append(bucket, &origin->list);
    return origin;
}

void origin_give(struct origin *origin)
{
    if (--origin->refs > 0)
        return;
    list_remove(&origin->list);
    free(origin->service);
    free(origin);
}

/* --- traces */

static struct list *trace_bucket(const struct store *store, const uint8_t *id)
{
    return (struct list *)(uintptr_t)&store->trace_buckets[digest(0, id, TRACE_ID_BYTES) % BUCKETS];
}

struct kept_trace *store_trace(const struct store *store, const uint8_t id[TRACE_ID_BYTES])
{
    struct list *bucket = trace_bucket(store, id);
    list_each (node, bucket) {
        struct kept_trace *trace = container_of(node, struct kept_trace, chain);
        if (memcmp(trace->id, id, TRACE_ID_BYTES) == 0)
            return trace;
    }
    return NULL;
}

static void trace_free(struct store *store, struct kept_trace *trace)
{
    for (struct list *node; (node = list_take(&trace->spans));) {
        struct kept_span *span = container_of(node, struct kept_span, list);
        origin_give(span->origin);
        free(span);
    }
    store->span_bytes -= trace->bytes;
    store->trace_count--;
    list_remove(&trace->list);
    list_remove(&trace->chain);
    free(trace);
}

static void drop_oldest_trace(struct store *store, struct counts *counts)
{
    struct kept_trace *oldest = container_of(store->traces.next, struct kept_trace, list);
    counts->dropped_traces++;
    counts->dropped_spans += oldest->span_count;
    trace_free(store, oldest);
}

static struct kept_trace *trace_new_or_known(struct store *store, struct counts *counts, const uint8_t *id)
{
    struct kept_trace *trace = store_trace(store, id);
    if (trace)
        return trace;
    if (store->trace_count == store->traces_max)
        drop_oldest_trace(store, counts);
    trace = mem_alloc(sizeof *trace);
    memcpy(trace->id, id, TRACE_ID_BYTES);
    list_init(&trace->spans);
    list_append(&store->traces, &trace->list);
    list_append(trace_bucket(store, id), &trace->chain);
    store->trace_count++;
    return trace;
}

static bool has_span(const struct kept_trace *trace, const uint8_t *span_id)
{
    list_each (node, &trace->spans)
        if (memcmp(container_of(node, struct kept_span, list)->span_id, span_id, SPAN_ID_BYTES) == 0)
            return true;
    return false;
}

static struct kept_span *span_new(struct origin *origin, const OTLP_TRACE(Span) * span, size_t bytes)
{
    struct kept_span *kept = mem_alloc(sizeof *kept + bytes);
    kept->bytes = bytes;
    protobuf_c_message_pack(&span->base, kept->packed);
    memcpy(kept->span_id, span->span_id.data, SPAN_ID_BYTES);
    kept->is_root = span->parent_span_id.len == 0;
    if (!kept->is_root)
        memcpy(kept->parent_id, span->parent_span_id.data, SPAN_ID_BYTES);
    kept->is_error =
        span->status && span->status->code == OPENTELEMETRY__PROTO__TRACE__V1__STATUS__STATUS_CODE__STATUS_CODE_ERROR;
    kept->start_ns = span->start_time_unix_nano;
    kept->end_ns = span->end_time_unix_nano;
    kept->origin = origin;
    origin->refs++;
    return kept;
}

void store_span(struct store *store, struct counts *counts, struct origin *origin, const OTLP_TRACE(Span) * span)
{
    struct kept_trace *trace = trace_new_or_known(store, counts, span->trace_id.data);
    size_t bytes = protobuf_c_message_get_packed_size(&span->base), whole = bytes + sizeof(struct kept_span);
    if (has_span(trace, span->span_id.data)) {
        counts->duplicate_spans++;
        return;
    }
    if (trace->span_count == TRACE_SPANS_MAX || trace->bytes + whole > TRACE_BYTES_MAX) {
        trace->dropped++;
        counts->dropped_spans++;
        return;
    }
    list_append(&trace->spans, &span_new(origin, span, bytes)->list);
    trace->span_count++;
    trace->bytes += whole;
    store->span_bytes += whole;
    while (store->span_bytes > STORE_BYTES_MAX)
        drop_oldest_trace(store, counts);
}

bool trace_has_service(const struct kept_trace *trace, const char *service)
{
    list_each (node, &trace->spans)
        if (strcmp(container_of(node, struct kept_span, list)->origin->service, service) == 0)
            return true;
    return false;
}

const struct kept_span *trace_root(const struct kept_trace *trace)
{
    const struct kept_span *found = NULL;
    list_each (node, &trace->spans) {
        const struct kept_span *span = container_of(node, struct kept_span, list);
        bool better = !found || span->is_root > found->is_root ||
                      (span->is_root == found->is_root && span->start_ns < found->start_ns);
        if (better)
            found = span;
    }
    return found;
}

void trace_times(const struct kept_trace *trace, uint64_t *out_start_ns, uint64_t *out_end_ns)
{
    uint64_t start = UINT64_MAX, end = 0;
    list_each (node, &trace->spans) {
        const struct kept_span *span = container_of(node, struct kept_span, list);
        start = span->start_ns < start ? span->start_ns : start;
        end = span->end_ns > end ? span->end_ns : end;
    }
    *out_start_ns = start;
    *out_end_ns = end;
}

bool trace_has_error(const struct kept_trace *trace)
{
    list_each (node, &trace->spans)
        if (container_of(node, struct kept_span, list)->is_error)
            return true;
    return false;
}

/* --- logs */

static void log_free(struct store *store, struct kept_log *log)
{
    store->log_bytes -= log->bytes + sizeof *log;
    store->log_count--;
    list_remove(&log->list);
    origin_give(log->origin);
    free(log);
}

void store_log(struct store *store, struct counts *counts, struct origin *origin, const OTLP_LOGS(LogRecord) * record)
{
    size_t bytes = protobuf_c_message_get_packed_size(&record->base);
    struct kept_log *log = mem_alloc(sizeof *log + bytes);
    log->bytes = bytes;
    protobuf_c_message_pack(&record->base, log->packed);
    if (record->trace_id.len == TRACE_ID_BYTES)
        memcpy(log->trace_id, record->trace_id.data, TRACE_ID_BYTES);
    log->origin = origin;
    origin->refs++;
    list_append(&store->logs, &log->list);
    store->log_count++;
    store->log_bytes += bytes + sizeof *log;
    while (store->log_count > LOGS_MAX || store->log_bytes > STORE_BYTES_MAX) {
        counts->dropped_logs++;
        log_free(store, container_of(store->logs.next, struct kept_log, list));
    }
}

unsigned store_trace_logs(const struct store *store, const uint8_t id[TRACE_ID_BYTES])
{
    unsigned count = 0;
    list_each (node, &store->logs)
        count += memcmp(container_of(node, struct kept_log, list)->trace_id, id, TRACE_ID_BYTES) == 0;
    return count;
}

void store_wipe(struct store *store)
{
    while (!list_empty(&store->traces))
        trace_free(store, container_of(store->traces.next, struct kept_trace, list));
    while (!list_empty(&store->logs))
        log_free(store, container_of(store->logs.next, struct kept_log, list));
}
