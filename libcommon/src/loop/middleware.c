#include "common/middleware.h"

#include <assert.h>

#include "common/log.h"

static const struct middleware *registered[MIDDLEWARE_MAX];
static unsigned registered_count;

void middleware_use(const struct middleware *middleware)
{
    assert(registered_count < MIDDLEWARE_MAX);
    registered[registered_count++] = middleware;
}

static const struct tracing *tracing;

void middleware_trace_by(const struct tracing *by)
{
    tracing = by;
}

bool call_joins_trace(enum call_kind kind)
{
    return kind == CALL_HTTP_SERVER || kind == CALL_RPC_SERVER || kind == CALL_STREAM_PROCESS;
}

static void trace_without_spans(struct request *req, const struct call *call)
{
    struct trace_context parent;
    if (!call_joins_trace(call->kind)) {
        if (call->carrier)
            trace_inject(&req->trace, call->carrier);
    } else if (call->carrier && trace_extract(call->carrier, req->arena, &parent)) {
        req->trace = trace_child(&parent);
    } else {
        req->trace = trace_new();
    }
}

enum err call_begin(struct request *req, struct call *call)
{
    call->begin_ns = clock_now_ns();
    call->outer = req->trace;
    if (tracing)
        tracing->begin(req, call);
    else
        trace_without_spans(req, call);
    trace_attach(&req->trace);
    for (unsigned i = 0; i < registered_count; i++) {
        if (!registered[i]->begin)
            continue;
        enum err err = registered[i]->begin(req, call, &call->state[i]);
        if (err && call_joins_trace(call->kind))
            return err;
    }
    return ERR_OK;
}

void call_end(struct request *req, struct call *call, enum err err)
{
    for (unsigned i = registered_count; i-- > 0;)
        if (registered[i]->end)
            registered[i]->end(req, call, err, &call->state[i]);
    if (tracing)
        tracing->end(req, call, err);
    req->trace = call->outer;
}
