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

static bool joins_trace(enum call_kind kind)
{
    return kind == CALL_HTTP_SERVER || kind == CALL_RPC_SERVER || kind == CALL_STREAM_PROCESS;
}

static void join_trace(struct request *req, const struct call *call)
{
    struct trace_context parent;
    if (call->carrier && trace_extract(call->carrier, req->arena, &parent))
        req->trace = trace_child(&parent);
    else
        req->trace = trace_new();
}

enum err call_begin(struct request *req, struct call *call)
{
    call->begin_ns = clock_now_ns();
    call->outer = req->trace;
    if (joins_trace(call->kind))
        join_trace(req, call);
    trace_attach(&req->trace);
    for (unsigned i = 0; i < registered_count; i++) {
        if (!registered[i]->begin)
            continue;
        enum err err = registered[i]->begin(req, call, &call->state[i]);
        if (err && joins_trace(call->kind))
            return err;
    }
    if (!joins_trace(call->kind) && call->carrier)
        trace_inject(&req->trace, call->carrier);
    return ERR_OK;
}

void call_end(struct request *req, struct call *call, enum err err)
{
    for (unsigned i = registered_count; i-- > 0;)
        if (registered[i]->end)
            registered[i]->end(req, call, err, &call->state[i]);
    req->trace = call->outer;
}
