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

static void begin(const struct call *call, struct otel_span *span)
{
    const char *authority = call->carrier ? call->carrier->get(call->carrier, "host") : NULL;
    const char *agent = call->carrier ? call->carrier->get(call->carrier, "user-agent") : NULL;
    otel_span_set(span, otel_text(ATTR_HTTP_METHOD, call->method));
    otel_span_set(span, otel_text(ATTR_URL_SCHEME, "http"));
    if (call->text)
        otel_span_set(span, otel_text(ATTR_URL_PATH, call->text));
    if (has_route(call))
        otel_span_set(span, otel_text(ATTR_HTTP_ROUTE, call->name));
    if (authority)
        put_address(span, ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT, authority);
    if (agent)
        otel_span_set(span, otel_text(ATTR_USER_AGENT, agent));
    if (call->peer) {
        put_address(span, ATTR_CLIENT_ADDRESS, NULL, call->peer);
        put_address(span, ATTR_PEER_ADDRESS, ATTR_PEER_PORT, call->peer);
    }
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
    .begin = begin,
    .end = end,
    .error = error,
    .attributes = attributes,
    .duration = {"http.server.request.duration", "Duration of HTTP server requests.", call_seconds, CALL_SECONDS},
};
