/* traceparent, tracestate and baggage as a caller may send them, one a line: what is taken from them is well-formed and
 * within the limits, and goes out as it came in. */
#include <ctype.h>
#include <string.h>

#include "common/otel/propagation.h"
#include "common/trace.h"
#include "fuzz/fuzz.h"
#include "otel/sdk/provider.h"
#include "otel/trace/w3c.h"

enum { HEADERS = 3 };
static const char *const keys[HEADERS] = {"traceparent", "tracestate", "baggage"};

struct headers {
    struct carrier carrier; /* first */
    struct arena *arena;
    const char *values[HEADERS];
};

static unsigned index_of(const char *key)
{
    unsigned i = 0;
    while (strcmp(keys[i], key) != 0)
        FUZZ_CHECK(++i < HEADERS);
    return i;
}

static const char *get(const struct carrier *carrier, const char *key)
{
    return ((const struct headers *)carrier)->values[index_of(key)];
}

static void set(const struct carrier *carrier, const char *key, const char *value)
{
    struct headers *headers = (struct headers *)(uintptr_t)carrier;
    headers->values[index_of(key)] = arena_text(headers->arena, value, strlen(value));
}

/* Lines to headers; an absent line is an absent header. */
static struct headers split(struct arena *arena, const uint8_t *data, size_t bytes)
{
    struct headers headers = {.carrier = {get, set}, .arena = arena};
    const char *text = arena_text(arena, (const char *)data, bytes), *end = text + bytes;
    for (unsigned i = 0; i < HEADERS && text < end; i++) {
        size_t length = strcspn(text, "\n");
        headers.values[i] = arena_text(arena, text, length);
        text += length + 1;
    }
    return headers;
}

static bool is_printable(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' && *text != '\t')
            return false;
    return true;
}

struct seen {
    unsigned entries;
    struct trace_context *context;
    struct arena *arena;
};

static bool visit(const char *key, const char *value, const char *metadata, void *arg)
{
    struct seen *seen = arg;
    (void)metadata;
    seen->entries++;
    FUZZ_CHECK(*key && strlen(key) <= BAGGAGE_BYTES_MAX);
    const char *same = otel_baggage_get(seen->context, key, seen->arena);
    FUZZ_CHECK(same && strcmp(same, value) == 0);
    return true;
}

static void check_baggage(struct trace_context *context, struct arena *arena)
{
    struct seen seen = {.context = context, .arena = arena};
    if (!context->baggage)
        return;
    FUZZ_CHECK(*context->baggage && strlen(context->baggage) <= BAGGAGE_BYTES_MAX && is_printable(context->baggage));
    otel_baggage_each(context, arena, visit, &seen);
    FUZZ_CHECK(seen.entries >= 1 && seen.entries <= BAGGAGE_ENTRIES_MAX);
}

static void check_tracestate(const struct trace_context *context)
{
    unsigned commas = 0;
    if (!context->state)
        return;
    for (const char *c = context->state; *c; c++)
        commas += *c == ',';
    FUZZ_CHECK(*context->state && strlen(context->state) <= TRACESTATE_BYTES_MAX && commas < TRACESTATE_MEMBERS_MAX);
    FUZZ_CHECK(is_printable(context->state));
}

static bool texts_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* What was taken leaves as it is, and is taken the same way again. */
static void check_round(const struct trace_context *context, struct arena *arena)
{
    struct headers out = {.carrier = {get, set}, .arena = arena};
    struct trace_context again = {0};
    otel_inject(context, &out.carrier);
    FUZZ_CHECK(otel_extract(&out.carrier, arena, &again) == trace_valid(context));
    FUZZ_CHECK(memcmp(again.trace_id, context->trace_id, sizeof again.trace_id) == 0);
    FUZZ_CHECK(memcmp(again.span_id, context->span_id, sizeof again.span_id) == 0);
    FUZZ_CHECK((again.flags & 3) == (context->flags & 3));
    FUZZ_CHECK(texts_equal(again.state, context->state) && texts_equal(again.baggage, context->baggage));
}

/* The headers' own texts as keys and values of ours. */
static void check_changes(struct trace_context *context, const struct headers *in, struct arena *arena)
{
    const char *key = in->values[1] ? in->values[1] : "key", *value = in->values[2] ? in->values[2] : "value";
    if (otel_tracestate_set(context, key, value, arena)) {
        const char *now = otel_tracestate_get(context, key, arena);
        FUZZ_CHECK(!now || strcmp(now, value) == 0);
        check_tracestate(context);
        FUZZ_CHECK(otel_tracestate_set(context, key, NULL, arena) && !otel_tracestate_get(context, key, arena));
    }
    if (otel_baggage_set(context, key, value, NULL, arena)) {
        FUZZ_CHECK(otel_baggage_get(context, key, arena));
        check_baggage(context, arena);
        otel_baggage_remove(context, key, arena);
        FUZZ_CHECK(!otel_baggage_get(context, key, arena));
    }
    check_round(context, arena);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    propagation_apply(true, true);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct arena arena;
    struct trace_context context = {0};
    arena_init(&arena, 16384);
    struct headers in = split(&arena, data, bytes);
    bool valid = otel_extract(&in.carrier, &arena, &context);
    FUZZ_CHECK(valid == trace_valid(&context) && (valid || !context.state));
    check_tracestate(&context);
    check_baggage(&context, &arena);
    check_round(&context, &arena);
    if (valid)
        check_changes(&context, &in, &arena);
    arena_done(&arena);
    return 0;
}
