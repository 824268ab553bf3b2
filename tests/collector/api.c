#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/collector.h"
#include "common/hash.h"
#include "common/mem.h"

enum { LIMIT = 100, LIMIT_MAX = 100000 };

/* --- reading and answering */

enum err read_trace_id(struct request *req, const char *text, uint8_t out[TRACE_ID_BYTES])
{
    if (strlen(text) == 2 * TRACE_ID_BYTES && hash_unhex(text, TRACE_ID_BYTES, out))
        return ERR_OK;
    return fail(req, ERR_INVALID_ARGUMENT, "expected a trace id of 32 lower-case hexadecimal digits");
}

enum err read_number(struct request *req, const char *name, int64_t fallback, int64_t max, int64_t *out)
{
    const char *text = http_query(req, name);
    char *end;
    *out = fallback;
    if (!text)
        return ERR_OK;
    long long number = strtoll(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || number > max)
        return fail(req, ERR_INVALID_ARGUMENT, "%s: expected a number up to %lld", name, (long long)max);
    *out = number;
    return ERR_OK;
}

enum err answer_json(struct request *req, struct response *res, json_t *taken)
{
    scoped_free char *text = json_dumps(taken, JSON_COMPACT);
    json_decref(taken);
    size_t bytes = text ? strlen(text) : 0;
    res->content_type = "application/json";
    res->body = (struct bytes){arena_text(req->arena, text ? text : "", bytes), bytes};
    return ERR_OK;
}

/* --- traces */

static json_t *services_of(const struct kept_trace *trace)
{
    json_t *services = json_object(), *list = json_array();
    list_each (node, &trace->spans) {
        const char *service = container_of(node, struct kept_span, list)->origin->service;
        if (json_object_get(services, service))
            continue;
        json_object_set_new(services, service, json_true());
        json_array_append_new(list, describe_text(service));
    }
    json_decref(services);
    return list;
}

static json_t *describe_trace(struct arena *arena, const struct kept_trace *trace)
{
    uint64_t start, end;
    trace_times(trace, &start, &end);
    const struct kept_span *root = trace_root(trace);
    json_t *span = root ? describe_span(arena, root) : json_object();
    json_t *out =
        json_pack("{s:o, s:O*, s:O*, s:o, s:I, s:I, s:i, s:b, s:i, s:b}", "trace_id",
                  describe_id(trace->id, TRACE_ID_BYTES), "name", json_object_get(span, "name"), "service",
                  json_object_get(span, "service"), "services", services_of(trace), "start", (json_int_t)start,
                  "duration", (json_int_t)(end - start), "spans", (int)trace->span_count, "error",
                  trace_has_error(trace), "dropped", (int)trace->dropped, "rooted", root && root->is_root);
    json_decref(span);
    return out;
}

static enum err get_traces(struct request *req, struct response *res)
{
    const struct store *store = &collector_of(req)->store;
    const char *service = http_query(req, "service");
    int64_t limit;
    enum err err = read_number(req, "limit", LIMIT, LIMIT_MAX, &limit);
    if (err)
        return err;
    json_t *list = json_array();
    for (struct list *node = store->traces.prev; node != &store->traces && limit > 0; node = node->prev) {
        const struct kept_trace *trace = container_of(node, struct kept_trace, list);
        if (service && !trace_has_service(trace, service))
            continue;
        json_array_append_new(list, describe_trace(req->arena, trace));
        limit--;
    }
    return answer_json(req, res, json_pack("{s:o}", "traces", list));
}

static enum err get_trace(struct request *req, struct response *res)
{
    uint8_t id[TRACE_ID_BYTES];
    enum err err = read_trace_id(req, http_param(req, "id"), id);
    if (err)
        return err;
    const struct kept_trace *trace = store_trace(&collector_of(req)->store, id);
    if (!trace)
        return fail(req, ERR_NOT_FOUND, "this trace is not here");
    json_t *spans = json_array();
    list_each (node, &trace->spans)
        json_array_append_new(spans, describe_span(req->arena, container_of(node, struct kept_span, list)));
    json_t *out = describe_trace(req->arena, trace);
    json_object_set_new(out, "spans", spans);
    return answer_json(req, res, out);
}

/* --- logs */

static enum err get_logs(struct request *req, struct response *res)
{
    const struct store *store = &collector_of(req)->store;
    const char *text = http_query(req, "trace_id"), *service = http_query(req, "service");
    uint8_t id[TRACE_ID_BYTES];
    int64_t limit;
    enum err err = read_number(req, "limit", LIMIT, LIMIT_MAX, &limit);
    if (!err && text)
        err = read_trace_id(req, text, id);
    if (err)
        return err;
    json_t *list = json_array();
    for (struct list *node = store->logs.prev; node != &store->logs && limit > 0; node = node->prev) {
        const struct kept_log *log = container_of(node, struct kept_log, list);
        if ((text && memcmp(log->trace_id, id, TRACE_ID_BYTES) != 0) ||
            (service && strcmp(log->origin->service, service) != 0))
            continue;
        json_array_append_new(list, describe_log(req->arena, log));
        limit--;
    }
    return answer_json(req, res, json_pack("{s:o}", "logs", list));
}

/* --- metrics */

static enum err get_metrics(struct request *req, struct response *res)
{
    const struct series_table *table = &collector_of(req)->series;
    const char *name = http_query(req, "name"), *service = http_query(req, "service");
    int64_t limit;
    enum err err = read_number(req, "limit", SERIES_MAX, LIMIT_MAX, &limit);
    if (err)
        return err;
    json_t *list = json_array();
    for (struct list *node = table->all.prev; node != &table->all && limit > 0; node = node->prev) {
        const struct series *series = container_of(node, struct series, list);
        if ((name && strcmp(series->name, name) != 0) || (service && strcmp(series->origin->service, service) != 0))
            continue;
        json_array_append_new(list, describe_series(req->arena, series));
        limit--;
    }
    return answer_json(req, res, json_pack("{s:o}", "metrics", list));
}

/* --- counts, faults, wiping */

static enum err get_counts(struct request *req, struct response *res)
{
    return answer_json(req, res, counts_describe(collector_of(req)));
}

static enum err get_faults(struct request *req, struct response *res)
{
    return answer_json(req, res, faults_describe(&collector_of(req)->faults));
}

static enum err post_fault(struct request *req, struct response *res)
{
    enum err err = faults_add(req, &collector_of(req)->faults, req->body);
    return err ? err : get_faults(req, res);
}

static enum err delete_faults(struct request *req, struct response *res)
{
    faults_clear(&collector_of(req)->faults);
    return get_faults(req, res);
}

static enum err delete_data(struct request *req, struct response *res)
{
    struct collector *collector = collector_of(req);
    store_wipe(&collector->store);
    series_wipe(&collector->series);
    counts_wipe(&collector->counts);
    return get_counts(req, res);
}

const struct http_route page_routes[] = {
    {"GET", "/", show_traces},
    {"GET", "/trace/:id", show_trace},
    {"GET", "/metrics", show_metrics},
    {"GET", "/style.css", show_style},
    {"GET", "/page.js", show_script},
    {"GET", "/counts", get_counts},
    {"GET", "/faults", get_faults},
    {"POST", "/faults", post_fault},
    {"DELETE", "/faults", delete_faults},
    {"GET", "/api/traces", get_traces},
    {"GET", "/api/traces/:id", get_trace},
    {"GET", "/api/logs", get_logs},
    {"GET", "/api/metrics", get_metrics},
    {"GET", "/api/wait", api_wait},
    {"DELETE", "/api/data", delete_data},
};
const unsigned page_route_count = array_count(page_routes);
