#include "common/trace.h"

#include <string.h>

#include "base/random.h"
#include "common/hash.h"

enum { STATE_BYTES_MAX = 512, BAGGAGE_BYTES_MAX = 8192 };

static bool all_zero(const uint8_t *bytes, size_t count)
{
    uint8_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= bytes[i];
    return any == 0;
}

static void new_id(uint8_t *out, size_t bytes)
{
    do
        random_bytes(out, bytes);
    while (all_zero(out, bytes));
}

struct trace_context trace_new(void)
{
    struct trace_context trace = {.flags = 2};
    new_id(trace.trace_id, sizeof trace.trace_id);
    new_id(trace.span_id, sizeof trace.span_id);
    return trace;
}

struct trace_context trace_child(const struct trace_context *parent)
{
    struct trace_context trace = *parent;
    new_id(trace.span_id, sizeof trace.span_id);
    trace.remote = false;
    trace.span = NULL;
    return trace;
}

bool trace_valid(const struct trace_context *trace)
{
    return !all_zero(trace->trace_id, sizeof trace->trace_id) && !all_zero(trace->span_id, sizeof trace->span_id);
}

char *trace_format(const struct trace_context *trace, char out[TRACE_PARENT_BYTES])
{
    memcpy(out, "00-", 3);
    hash_hex(trace->trace_id, 16, out + 3);
    out[35] = '-';
    hash_hex(trace->span_id, 8, out + 36);
    out[52] = '-';
    hash_hex(&trace->flags, 1, out + 53);
    return out;
}

bool trace_parse(const char *text, struct trace_context *out)
{
    struct trace_context trace = {0};
    uint8_t version;
    size_t length = text ? strlen(text) : 0;
    if (length < TRACE_PARENT_BYTES - 1 || !hash_unhex(text, 1, &version) || version == 0xff)
        return false;
    /* A later version may carry more, behind another dash. */
    bool ends = text[55] == '\0' || (version > 0 && text[55] == '-');
    if (!ends || text[2] != '-' || text[35] != '-' || text[52] != '-')
        return false;
    if (!hash_unhex(text + 3, 16, trace.trace_id) || !hash_unhex(text + 36, 8, trace.span_id) ||
        !hash_unhex(text + 53, 1, &trace.flags) || !trace_valid(&trace))
        return false;
    trace.flags &= 3;
    *out = trace;
    return true;
}

static const char *bounded_copy(const struct carrier *carrier, const char *key, struct arena *arena, size_t bytes_max)
{
    const char *value = carrier->get(carrier, key);
    size_t length = value ? strlen(value) : 0;
    if (length == 0 || length > bytes_max)
        return NULL;
    return arena_text(arena, value, length);
}

bool trace_extract(const struct carrier *carrier, struct arena *arena, struct trace_context *out)
{
    const char *parent = carrier->get(carrier, "traceparent");
    if (!parent || !trace_parse(parent, out))
        return false;
    out->state = bounded_copy(carrier, "tracestate", arena, STATE_BYTES_MAX);
    out->baggage = bounded_copy(carrier, "baggage", arena, BAGGAGE_BYTES_MAX);
    out->remote = true;
    return true;
}

void trace_inject(const struct trace_context *trace, const struct carrier *carrier)
{
    char parent[TRACE_PARENT_BYTES];
    if (!trace_valid(trace))
        return;
    carrier->set(carrier, "traceparent", trace_format(trace, parent));
    if (trace->state)
        carrier->set(carrier, "tracestate", trace->state);
    if (trace->baggage)
        carrier->set(carrier, "baggage", trace->baggage);
}

static _Thread_local const struct trace_context *current;

const struct trace_context *trace_current(void)
{
    return current;
}

const struct trace_context *trace_attach(const struct trace_context *trace)
{
    const struct trace_context *before = current;
    current = trace;
    return before;
}
