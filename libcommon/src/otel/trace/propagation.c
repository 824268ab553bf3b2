#include "common/otel/propagation.h"

#include <stdatomic.h>

#include "otel/sdk/provider.h"
#include "otel/trace/w3c.h"

enum { TRACECONTEXT = 1, BAGGAGE = 2, FLAGS_KNOWN = 3 };

static _Atomic(unsigned) active = TRACECONTEXT | BAGGAGE;

void propagation_apply(bool tracecontext, bool baggage)
{
    atomic_store(&active, (tracecontext ? TRACECONTEXT : 0) | (baggage ? BAGGAGE : 0));
}

/* A malformed tracestate is none; a malformed traceparent leaves tracestate unread. */
static void extract_trace(const struct carrier *carrier, struct arena *arena, struct trace_context *out)
{
    struct trace_context parent;
    if (!trace_parse(carrier->get(carrier, "traceparent"), &parent))
        return;
    const char *state = carrier->get(carrier, "tracestate");
    parent.state = state ? tracestate_clean(state, arena) : NULL;
    parent.baggage = out->baggage;
    parent.remote = true;
    *out = parent;
}

static void extract_baggage(const struct carrier *carrier, struct arena *arena, struct trace_context *out)
{
    const char *text = carrier->get(carrier, "baggage");
    const char *baggage = text ? baggage_clean(text, arena) : NULL;
    if (baggage)
        out->baggage = baggage;
}

bool otel_extract(const struct carrier *carrier, struct arena *arena, struct trace_context *out)
{
    unsigned which = atomic_load_explicit(&active, memory_order_relaxed);
    if (which & TRACECONTEXT)
        extract_trace(carrier, arena, out);
    if (which & BAGGAGE)
        extract_baggage(carrier, arena, out);
    return out->remote && trace_valid(out);
}

static void inject_trace(const struct trace_context *context, const struct carrier *carrier)
{
    char parent[TRACE_PARENT_BYTES];
    struct trace_context known = *context;
    known.flags &= FLAGS_KNOWN;
    carrier->set(carrier, "traceparent", trace_format(&known, parent));
    if (context->state && *context->state)
        carrier->set(carrier, "tracestate", context->state);
}

void otel_inject(const struct trace_context *context, const struct carrier *carrier)
{
    unsigned which = atomic_load_explicit(&active, memory_order_relaxed);
    if ((which & TRACECONTEXT) && trace_valid(context))
        inject_trace(context, carrier);
    if ((which & BAGGAGE) && context->baggage && *context->baggage)
        carrier->set(carrier, "baggage", context->baggage);
}

const char *const *otel_propagation_fields(void)
{
    static const char *const fields[][4] = {
        {NULL},
        [TRACECONTEXT] = {"traceparent", "tracestate", NULL},
        [BAGGAGE] = {"baggage", NULL},
        [TRACECONTEXT | BAGGAGE] = {"traceparent", "tracestate", "baggage", NULL},
    };
    return fields[atomic_load_explicit(&active, memory_order_relaxed)];
}
