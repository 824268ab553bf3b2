#include "otel/instrument/instrument.h"

static const double seconds[] = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10};

static const char *name(const struct call *call, struct arena *arena)
{
    (void)arena;
    return call->method;
}

static unsigned constants(const struct call *call, struct otel_attribute *out)
{
    unsigned count = 0;
    out[count++] = otel_text(ATTR_DB_SYSTEM, "postgresql");
    if (call->place)
        out[count++] = otel_text(ATTR_DB_NAMESPACE, call->place);
    out[count++] = otel_text(ATTR_DB_SUMMARY, call->method);
    out[count++] = otel_text(ATTR_DB_TEXT, call->text); /* parameters are never in it */
    return count + address_attributes(call->peer, ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT, out + count);
}

static unsigned outcome(const struct call *call, const char *error_type, struct otel_attribute *out)
{
    unsigned count = 0;
    if (call->code)
        out[count++] = otel_text(ATTR_DB_STATUS, call->code);
    if (error_type)
        out[count++] = otel_text(ATTR_ERROR_TYPE, error_type);
    return count;
}

static void end(const struct call *call, enum err err, struct otel_span *span)
{
    if (!err)
        otel_span_set(span, otel_int(ATTR_DB_ROWS, call->items));
}

/* SQLSTATE where the server gave one. */
static const char *error(const struct call *call, enum err err)
{
    if (!err)
        return NULL;
    return call->code ? call->code : err_name((int)err);
}

static unsigned attributes(const struct call *call, const char *error_type, struct otel_attribute *out)
{
    unsigned count = 0;
    out[count++] = otel_text(ATTR_DB_SYSTEM, "postgresql");
    out[count++] = otel_text(ATTR_DB_SUMMARY, call->method);
    if (call->place)
        out[count++] = otel_text(ATTR_DB_NAMESPACE, call->place);
    if (call->code)
        out[count++] = otel_text(ATTR_DB_STATUS, call->code);
    if (error_type)
        out[count++] = otel_text(ATTR_ERROR_TYPE, error_type);
    return count;
}

const struct call_convention db_convention = {
    .kind = OTEL_SPAN_CLIENT,
    .name = name,
    .constants = constants,
    .outcome = outcome,
    .end = end,
    .error = error,
    .attributes = attributes,
    .duration = {"db.client.operation.duration", "Duration of database client operations.", seconds,
                 sizeof seconds / sizeof seconds[0]},
};
