#include <stdio.h>

#include "collector/collector.h"

/* --- counting */

static json_t *headers_of(const struct delivery *delivery)
{
    json_t *headers = json_object();
    for (unsigned i = 0; i < delivery->header_count; i++)
        json_object_set_new(headers, delivery->headers[i].name, describe_text(delivery->headers[i].value));
    return headers;
}

void counts_request(struct counts *counts, const struct delivery *delivery)
{
    struct flow *flow = &counts->flows[delivery->protocol][delivery->signal];
    counts->requests++;
    flow->requests++;
    flow->compressed += delivery->compressed;
    flow->bytes += delivery->body.size;
    json_decref(flow->headers);
    flow->headers = headers_of(delivery);
}

void counts_answer(struct counts *counts, const struct delivery *delivery, int code)
{
    struct flow *flow = &counts->flows[delivery->protocol][delivery->signal];
    unsigned i = 0;
    while (i < flow->code_count && flow->codes[i].code != code)
        i++;
    if (i == CODES_MAX)
        return;
    if (i == flow->code_count)
        flow->code_count++;
    flow->codes[i].code = code;
    flow->codes[i].count++;
}

void counts_wipe(struct counts *counts)
{
    for (int protocol = 0; protocol < PROTOCOLS; protocol++)
        for (int signal = 0; signal < SIGNALS; signal++)
            json_decref(counts->flows[protocol][signal].headers);
    *counts = (struct counts){0};
}

/* --- telling */

static json_t *flow_describe(const struct flow *flow)
{
    json_t *codes = json_object();
    for (unsigned i = 0; i < flow->code_count; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", flow->codes[i].code);
        json_object_set_new(codes, name, json_integer((json_int_t)flow->codes[i].count));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:O*}", "requests", (json_int_t)flow->requests, "compressed",
                     (json_int_t)flow->compressed, "bytes", (json_int_t)flow->bytes, "plain_bytes",
                     (json_int_t)flow->plain_bytes, "items", (json_int_t)flow->items, "rejected",
                     (json_int_t)flow->rejected, "codes", codes, "headers", flow->headers);
}

static json_t *protocol_describe(const struct flow flows[SIGNALS])
{
    json_t *out = json_object();
    uint64_t requests = 0, compressed = 0, bytes = 0;
    for (int signal = 0; signal < SIGNALS; signal++) {
        requests += flows[signal].requests;
        compressed += flows[signal].compressed;
        bytes += flows[signal].bytes;
        json_object_set_new(out, signal_names[signal], flow_describe(&flows[signal]));
    }
    json_object_set_new(out, "requests", json_integer((json_int_t)requests));
    json_object_set_new(out, "compressed", json_integer((json_int_t)compressed));
    json_object_set_new(out, "bytes", json_integer((json_int_t)bytes));
    return out;
}

static json_t *kept_describe(const struct collector *collector)
{
    const struct store *store = &collector->store;
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "traces", (json_int_t)store->trace_count, "span_bytes",
                     (json_int_t)store->span_bytes, "logs", (json_int_t)store->log_count, "log_bytes",
                     (json_int_t)store->log_bytes, "series", (json_int_t)collector->series.count);
}

static json_t *dropped_describe(const struct counts *counts)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "traces", (json_int_t)counts->dropped_traces, "spans",
                     (json_int_t)counts->dropped_spans, "logs", (json_int_t)counts->dropped_logs, "series",
                     (json_int_t)counts->dropped_series);
}

json_t *counts_describe(const struct collector *collector)
{
    const struct counts *counts = &collector->counts;
    json_t *out =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I}", "requests", (json_int_t)counts->requests, "spans",
                  (json_int_t)counts->items[SIGNAL_TRACES], "points", (json_int_t)counts->items[SIGNAL_METRICS], "logs",
                  (json_int_t)counts->items[SIGNAL_LOGS], "malformed", (json_int_t)counts->malformed, "unknown",
                  (json_int_t)counts->unknown, "invalid", (json_int_t)counts->invalid_items, "invalid_reason",
                  counts->invalid_reason, "duplicate_spans", (json_int_t)counts->duplicate_spans);
    json_object_set_new(out, "tls",
                        json_pack("{s:I, s:I, s:I}", "connections", (json_int_t)counts->tls_connections, "failures",
                                  (json_int_t)counts->tls_failures, "refused", (json_int_t)counts->tls_refused));
    json_object_set_new(out, "kept", kept_describe(collector));
    json_object_set_new(out, "dropped", dropped_describe(counts));
    for (int protocol = 0; protocol < PROTOCOLS; protocol++)
        json_object_set_new(out, protocol_names[protocol], protocol_describe(counts->flows[protocol]));
    return out;
}
