#include <string.h>

#include "otel/instrument/instrument.h"

static bool has_route(const struct call *call)
{
    return call->name[0] == '/';
}

static const char *name(const struct call *call, struct arena *arena)
{
    const char *method = strcmp(call->method, "_OTHER") == 0 ? "HTTP" : call->method;
    return has_route(call) ? two_words(arena, method, call->name) : method;
}

static unsigned constants(const struct call *call, struct otel_attribute *out)
{
    unsigned count = 0;
    out[count++] = otel_text(ATTR_HTTP_METHOD, call->method);
    out[count++] = otel_text(ATTR_URL_SCHEME, "http");
    if (has_route(call))
        out[count++] = otel_text(ATTR_HTTP_ROUTE, call->name);
    return count;
}

static void say_peer(const struct call *call, struct otel_span *span)
{
    struct otel_attribute peer[2];
    otel_span_set_all(span, peer, address_attributes(call->peer, ATTR_PEER_ADDRESS, ATTR_PEER_PORT, peer));
    otel_span_set(span, (struct otel_attribute){ATTR_CLIENT_ADDRESS, peer[0].value});
}

static void begin(const struct call *call, struct otel_span *span)
{
    const char *authority = call->carrier ? call->carrier->get(call->carrier, "host") : NULL;
    const char *agent = call->carrier ? call->carrier->get(call->carrier, "user-agent") : NULL;
    struct otel_attribute server[2];
    if (call->text)
        otel_span_set(span, otel_text(ATTR_URL_PATH, call->text));
    if (authority)
        otel_span_set_all(span, server, address_attributes(authority, ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT, server));
    if (agent)
        otel_span_set(span, otel_text(ATTR_USER_AGENT, agent));
    if (call->peer)
        say_peer(call, span);
}

static void end(const struct call *call, enum err err, struct otel_span *span)
{
    (void)err;
    otel_span_set(span, otel_int(ATTR_HTTP_STATUS, call->status));
}

/* The server's own fault only. */
static const char *error(const struct call *call, enum err err)
{
    static const char *const names[] = {"500", "501", "502", "503", "504"};
    (void)err;
    if (call->status < 500)
        return NULL;
    return call->status <= 504 ? names[call->status - 500] : "5xx";
}

static unsigned attributes(const struct call *call, const char *error_type, struct otel_attribute *out)
{
    unsigned count = 0;
    out[count++] = otel_text(ATTR_HTTP_METHOD, call->method);
    out[count++] = otel_text(ATTR_URL_SCHEME, "http");
    out[count++] = otel_int(ATTR_HTTP_STATUS, call->status);
    if (has_route(call))
        out[count++] = otel_text(ATTR_HTTP_ROUTE, call->name);
    if (error_type)
        out[count++] = otel_text(ATTR_ERROR_TYPE, error_type);
    return count;
}

const struct call_convention http_server_convention = {
    .kind = OTEL_SPAN_SERVER,
    .name = name,
    .constants = constants,
    .begin = begin,
    .end = end,
    .error = error,
    .attributes = attributes,
    .duration = {"http.server.request.duration", "Duration of HTTP server requests.", call_seconds, CALL_SECONDS},
};
