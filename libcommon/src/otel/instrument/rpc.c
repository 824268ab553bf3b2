#include "otel/instrument/instrument.h"

static const char *name(const struct call *call, struct arena *arena)
{
    (void)arena;
    return call->name;
}

static unsigned constants(const struct call *call, struct otel_attribute *out)
{
    unsigned count = 0;
    out[count++] = otel_text(ATTR_RPC_SYSTEM, "grpc");
    out[count++] = otel_text(ATTR_RPC_METHOD, call->name);
    if (call->peer)
        count += address_attributes(call->peer, ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT, out + count);
    return count;
}

static unsigned outcome(const struct call *call, const char *error_type, struct otel_attribute *out)
{
    unsigned count = 0;
    out[count++] = otel_text(ATTR_RPC_STATUS, err_name(call->status));
    if (error_type)
        out[count++] = otel_text(ATTR_ERROR_TYPE, error_type);
    return count;
}

static const char *client_error(const struct call *call, enum err err)
{
    (void)call;
    return err ? err_name((int)err) : NULL;
}

/* What is the caller's doing is no error of the server. */
static const char *server_error(const struct call *call, enum err err)
{
    (void)call;
    switch (err) {
    case ERR_UNKNOWN:
    case ERR_DEADLINE_EXCEEDED:
    case ERR_UNIMPLEMENTED:
    case ERR_INTERNAL:
    case ERR_UNAVAILABLE:
    case ERR_DATA_LOSS:
        return err_name((int)err);
    default:
        return NULL;
    }
}

static unsigned attributes(const struct call *call, const char *error_type, struct otel_attribute *out)
{
    unsigned count = 0;
    out[count++] = otel_text(ATTR_RPC_SYSTEM, "grpc");
    out[count++] = otel_text(ATTR_RPC_METHOD, call->name);
    out[count++] = otel_text(ATTR_RPC_STATUS, err_name(call->status));
    if (error_type)
        out[count++] = otel_text(ATTR_ERROR_TYPE, error_type);
    return count;
}

const struct call_convention rpc_server_convention = {
    .kind = OTEL_SPAN_SERVER,
    .name = name,
    .constants = constants,
    .outcome = outcome,
    .error = server_error,
    .attributes = attributes,
    .duration = {"rpc.server.call.duration", "Duration of incoming calls.", call_seconds, CALL_SECONDS},
};

const struct call_convention rpc_client_convention = {
    .kind = OTEL_SPAN_CLIENT,
    .name = name,
    .constants = constants,
    .outcome = outcome,
    .error = client_error,
    .attributes = attributes,
    .duration = {"rpc.client.call.duration", "Duration of outgoing calls.", call_seconds, CALL_SECONDS},
};
