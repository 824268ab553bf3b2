#include "otel/instrument/instrument.h"

#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/otel/instrument.h"
#include "otel/trace/record.h"
#include "otel/trace/wall.h"

static struct otel_tracer *tracer;

const double call_seconds[CALL_SECONDS] = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10};

const struct call_convention *convention_of(const struct call *call)
{
    static const struct call_convention *const conventions[] = {
        [CALL_HTTP_SERVER] = &http_server_convention, [CALL_RPC_SERVER] = &rpc_server_convention,
        [CALL_RPC_CLIENT] = &rpc_client_convention,   [CALL_DB] = &db_convention,
        [CALL_STREAM_SEND] = &send_convention,        [CALL_STREAM_RECEIVE] = &receive_convention,
        [CALL_STREAM_PROCESS] = &process_convention,  [CALL_STREAM_SETTLE] = &settle_convention,
    };
    return conventions[call->kind];
}

unsigned address_attributes(const char *text, const char *host_key, const char *port_key, struct otel_attribute *out)
{
    const char *slash = strrchr(text, '/');
    const char *host = slash ? slash + 1 : text;
    const char *colon = strrchr(host, ':');
    size_t length = colon ? (size_t)(colon - host) : strlen(host);
    int port = colon ? atoi(colon + 1) : 0;
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        host++;
        length -= 2;
    }
    out[0] = (struct otel_attribute){host_key, {.type = OTEL_TEXT, .count = (uint32_t)length, .text = host}};
    out[1] = otel_int(port_key, port);
    return port ? 2 : 1;
}

const char *two_words(struct arena *arena, const char *a, const char *b)
{
    size_t first = strlen(a), second = strlen(b);
    char *text = arena_alloc_raw(arena, first + second + 2);
    memcpy(text, a, first);
    text[first] = ' ';
    memcpy(text + first + 1, b, second + 1);
    return text;
}

/* Links as the API takes them; invalid contexts (messages that carried none) are left out. */
static unsigned take_links(struct request *req, const struct call *call, struct otel_link **out)
{
    unsigned count = 0;
    *out = arena_array(req->arena, struct otel_link, call->link_count);
    for (unsigned i = 0; i < call->link_count; i++)
        if (trace_valid(&call->links[i]))
            (*out)[count++].context = &call->links[i];
    return count;
}

/* A message that is processed is the child of the context it carried, and linked to it: whoever starts from the
 * batch finds it, whoever starts from the order too. */
static void start_span(struct request *req, struct call *call, struct call_telemetry *telemetry,
                       struct trace_context *parent)
{
    const struct call_convention *convention = convention_of(call);
    const struct call_site *site = telemetry->site;
    struct otel_link *links = NULL, creation = {.context = parent};
    struct otel_span_options options = {
        .kind = convention->kind, .parent = parent, .start_wall_ns = telemetry->start_wall_ns};
    if (site) {
        options.set = site->constants;
        options.name_lives = site->span_name != NULL;
    }
    if (call->link_count) {
        options.link_count = take_links(req, call, &links);
        options.links = links;
    } else if (call->kind == CALL_STREAM_PROCESS && trace_valid(parent)) {
        options.link_count = 1;
        options.links = &creation;
    }
    const char *name = options.name_lives ? site->span_name : convention->name(call, req->arena);
    otel_span_start(&telemetry->span, tracer, name, &options);
}

/* Out of the way of what is usual: arrays on a fiber's stack are memory that is in no cache. */
static __attribute__((noinline)) void say_constants(const struct call *call, struct otel_span *span)
{
    struct otel_attribute constants[SITE_ATTRIBUTES_MAX];
    otel_span_set_all(span, constants, convention_of(call)->constants(call, constants));
}

static __attribute__((noinline)) void say_outcome(const struct call *call, const char *error, struct otel_span *span)
{
    struct otel_attribute outcome[SITE_ATTRIBUTES_MAX];
    otel_span_set_all(span, outcome, convention_of(call)->outcome(call, error, outcome));
}

static void say_begin(const struct call *call, const struct call_site *site, struct otel_span *span)
{
    const struct call_convention *convention = convention_of(call);
    if (!site)
        say_constants(call, span);
    if (convention->begin)
        convention->begin(call, span);
}

static void begin(struct request *req, struct call *call)
{
    struct call_telemetry *telemetry = arena_new(req->arena, struct call_telemetry);
    struct trace_context parent = req->trace;
    if (call->kind == CALL_STREAM_RECEIVE)
        parent = otel_no_parent; /* it has as many origins as messages, which it links to */
    if (call_joins_trace(call->kind)) {
        parent = (struct trace_context){0};
        if (call->carrier)
            otel_extract(call->carrier, req->arena, &parent);
    }
    call->span = telemetry;
    struct call_site *site = telemetry->site = site_find(call);
    telemetry->start_wall_ns = wall_of(call->begin_ns);
    start_span(req, call, telemetry, &parent);
    req->trace = telemetry->span.context;
    if (!trace_valid(&req->trace)) /* without an SDK an answer still names a trace */
        req->trace = trace_new();
    if (otel_span_recording(&telemetry->span))
        say_begin(call, site, &telemetry->span);
    if (site && site->active)
        otel_bound_add(site->active, 1);
    if (call->carrier && !call_joins_trace(call->kind))
        otel_inject(&req->trace, call->carrier);
}

static void say_end(const struct call *call, enum err err, const char *error, const struct call_series *series,
                    struct otel_span *span)
{
    const struct call_convention *convention = convention_of(call);
    if (series->outcome)
        otel_span_set_shared(span, series->outcome);
    else
        say_outcome(call, error, span);
    if (convention->end)
        convention->end(call, err, span);
}

static void measure(const struct call_series *series, struct call *call)
{
    double seconds = (double)call_took_ns(call) / 1e9;
    if (series->duration)
        otel_bound_record(series->duration, seconds);
    if (series->messages)
        otel_bound_add(series->messages, call->items);
    if (series->requests) {
        otel_bound_add(series->requests, 1);
        otel_bound_record(series->request_duration, seconds);
    }
}

static void end(struct request *req, struct call *call, enum err err)
{
    struct call_telemetry *telemetry = call->span;
    record_fetch(telemetry->span.record);
    const char *error = convention_of(call)->error(call, err);
    if (telemetry->site && telemetry->site->active)
        otel_bound_add(telemetry->site->active, -1);
    const struct call_series *series = site_series(telemetry->site, call, error);
    measure(series, call); /* while the span is current: for exemplars */
    if (otel_span_recording(&telemetry->span))
        say_end(call, err, error, series, &telemetry->span);
    if (error)
        otel_span_status(&telemetry->span, OTEL_STATUS_ERROR, req->failure.err == err ? req->failure.detail : NULL);
    int64_t start_wall_ns = telemetry->start_wall_ns;
    otel_span_end_at(&telemetry->span, start_wall_ns ? start_wall_ns + call_took_ns(call) : 0);
}

static const struct tracing tracing = {.begin = begin, .end = end};

void otel_instrument_calls(void)
{
    tracer = otel_tracer("bodega.libcommon", BODEGA_VERSION, SEMCONV_SCHEMA_URL);
    middleware_trace_by(&tracing);
}
