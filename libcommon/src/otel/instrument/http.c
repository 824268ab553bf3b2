#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
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

/* --- what the requests of a connection repeat */

enum { ENDS_ATTRIBUTES_MAX = 6 };

/* Who speaks with whom. */
struct ends {
    const char *authority, *agent, *peer; /* or NULL */
};

/* From the second request of a connection on. */
struct memo {
    char *authority, *agent;        /* copies, or NULL */
    struct otel_attribute_set *set; /* NULL: there was one request so far */
};

static struct ends ends_of(const struct call *call)
{
    const struct carrier *carrier = call->carrier;
    return (struct ends){.authority = carrier ? carrier->get(carrier, "host") : NULL,
                         .agent = carrier ? carrier->get(carrier, "user-agent") : NULL,
                         .peer = call->peer};
}

static unsigned ends_attributes(const struct ends *ends, struct otel_attribute out[ENDS_ATTRIBUTES_MAX])
{
    unsigned count = 0;
    if (ends->authority)
        count += address_attributes(ends->authority, ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT, out);
    if (ends->agent)
        out[count++] = otel_text(ATTR_USER_AGENT, ends->agent);
    if (ends->peer) {
        unsigned peer = count;
        count += address_attributes(ends->peer, ATTR_PEER_ADDRESS, ATTR_PEER_PORT, out + peer);
        out[count++] = (struct otel_attribute){ATTR_CLIENT_ADDRESS, out[peer].value};
    }
    return count;
}

static void memo_clear(struct memo *memo)
{
    free(memo->authority);
    free(memo->agent);
    otel_attribute_set_free(memo->set);
    *memo = (struct memo){0};
}

static void memo_drop(void *data)
{
    memo_clear(data);
    free(data);
}

static __attribute__((noinline)) void remember(struct memo *memo, const struct ends *ends)
{
    struct otel_attribute attributes[ENDS_ATTRIBUTES_MAX];
    memo_clear(memo);
    memo->authority = mem_text(ends->authority);
    memo->agent = mem_text(ends->agent);
    memo->set = otel_attribute_set_new(attributes, ends_attributes(ends, attributes));
}

/* The set of the connection's ends; NULL at its first request, which may be its only one. */
static const struct otel_attribute_set *recall(struct call_memo *kept, const struct ends *ends)
{
    struct memo *memo = kept->data;
    if (!memo) {
        *kept = (struct call_memo){.data = mem_alloc(sizeof *memo), .drop = memo_drop};
        return NULL;
    }
    if (!memo->set || !same_text(memo->authority, ends->authority) || !same_text(memo->agent, ends->agent))
        remember(memo, ends);
    return memo->set;
}

static __attribute__((noinline)) void say_ends(const struct ends *ends, struct otel_span *span)
{
    struct otel_attribute attributes[ENDS_ATTRIBUTES_MAX];
    otel_span_set_all(span, attributes, ends_attributes(ends, attributes));
}

static void begin(const struct call *call, struct otel_span *span)
{
    struct ends ends = ends_of(call);
    const struct otel_attribute_set *set = call->memo ? recall(call->memo, &ends) : NULL;
    if (call->text)
        otel_span_set(span, otel_text(ATTR_URL_PATH, call->text));
    if (set)
        otel_span_set_shared(span, set);
    else
        say_ends(&ends, span);
}

/* --- the end */

static unsigned outcome(const struct call *call, const char *error_type, struct otel_attribute *out)
{
    unsigned count = 0;
    out[count++] = otel_int(ATTR_HTTP_STATUS, call->status);
    if (error_type)
        out[count++] = otel_text(ATTR_ERROR_TYPE, error_type);
    return count;
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
    .outcome = outcome,
    .error = error,
    .attributes = attributes,
    .duration = {"http.server.request.duration", "Duration of HTTP server requests.", call_seconds, CALL_SECONDS},
};
