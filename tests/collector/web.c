/* OTLP/HTTP, binary protobuf. Errors are a google.rpc.Status, as the protocol has it. */
#include <string.h>
#include <strings.h>

#include "collector/collector.h"
#include "common/mem.h"

#define PROTOBUF "application/x-protobuf"

static void take_headers(const struct request *req, struct delivery *delivery)
{
    const char *name, *value;
    while (delivery->header_count < DELIVERY_HEADERS_MAX &&
           http_header_at(req, delivery->header_count, &name, &value)) {
        char *lower = arena_text(req->arena, name, strlen(name));
        for (char *c = lower; *c; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
        delivery->headers[delivery->header_count++] = (struct delivery_header){.name = lower, .value = value};
    }
}

static enum err take(struct request *req, struct response *res, enum signal_kind signal)
{
    const char *encoding = http_header(req, "Content-Encoding");
    bool plain = !encoding || strcasecmp(encoding, "identity") == 0;
    if (!plain && strcasecmp(encoding, "gzip") != 0 && strcasecmp(encoding, "deflate") != 0)
        return fail_as(req, ERR_INVALID_ARGUMENT, 415, NULL, "The encoding has to be gzip, deflate or none.");
    struct delivery delivery = {.protocol = PROTOCOL_HTTP, .signal = signal, .body = req->body, .compressed = !plain};
    struct verdict verdict;
    take_headers(req, &delivery);
    deliver(req, &delivery, &verdict);
    res->status = verdict.status;
    res->content_type = PROTOBUF;
    res->body = verdict.body;
    if (verdict.retry_after || verdict.status == 503)
        response_header(req, res, "Retry-After", verdict.retry_after ? verdict.retry_after : "");
    return ERR_OK;
}

static enum err take_traces(struct request *req, struct response *res)
{
    return take(req, res, SIGNAL_TRACES);
}

static enum err take_metrics(struct request *req, struct response *res)
{
    return take(req, res, SIGNAL_METRICS);
}

static enum err take_logs(struct request *req, struct response *res)
{
    return take(req, res, SIGNAL_LOGS);
}

const struct http_route otlp_routes[] = {
    {"POST", "/v1/traces", take_traces, PROTOBUF},
    {"POST", "/v1/metrics", take_metrics, PROTOBUF},
    {"POST", "/v1/logs", take_logs, PROTOBUF},
};
const unsigned otlp_route_count = array_count(otlp_routes);
