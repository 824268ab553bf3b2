#include "otel/instrument/instrument.h"

static const char *operation(const struct call *call)
{
    switch (call->kind) {
    case CALL_STREAM_SEND:
        return "send";
    case CALL_STREAM_RECEIVE:
        return "receive";
    case CALL_STREAM_PROCESS:
        return "process";
    default:
        return "settle";
    }
}

static const char *name(const struct call *call, struct arena *arena)
{
    return two_words(arena, operation(call), call->name);
}

static unsigned constants(const struct call *call, struct otel_attribute *out)
{
    unsigned count = 0;
    out[count++] = otel_text(ATTR_MSG_SYSTEM, "redis");
    out[count++] = otel_text(ATTR_MSG_OPERATION, operation(call));
    out[count++] = otel_text(ATTR_MSG_TYPE, operation(call));
    out[count++] = otel_text(ATTR_MSG_DESTINATION, call->name);
    if (call->place)
        out[count++] = otel_text(ATTR_MSG_GROUP, call->place);
    if (call->peer)
        count += address_attributes(call->peer, ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT, out + count);
    return count;
}

static void begin(const struct call *call, struct otel_span *span)
{
    if (call->kind == CALL_STREAM_RECEIVE || call->kind == CALL_STREAM_SETTLE)
        otel_span_set(span, otel_int(ATTR_MSG_COUNT, call->items));
}

static unsigned outcome(const struct call *call, const char *error_type, struct otel_attribute *out)
{
    (void)call;
    if (error_type)
        out[0] = otel_text(ATTR_ERROR_TYPE, error_type);
    return error_type ? 1 : 0;
}

static void end(const struct call *call, enum err err, struct otel_span *span)
{
    (void)err;
    if (call->message_id)
        otel_span_set(span, otel_text(ATTR_MSG_ID, call->message_id));
}

static const char *error(const struct call *call, enum err err)
{
    (void)call;
    return err ? err_name((int)err) : NULL;
}

static unsigned attributes(const struct call *call, const char *error_type, struct otel_attribute *out)
{
    unsigned count = 0;
    out[count++] = otel_text(ATTR_MSG_SYSTEM, "redis");
    out[count++] = otel_text(ATTR_MSG_OPERATION, operation(call));
    out[count++] = otel_text(ATTR_MSG_TYPE, operation(call));
    out[count++] = otel_text(ATTR_MSG_DESTINATION, call->name);
    if (call->place)
        out[count++] = otel_text(ATTR_MSG_GROUP, call->place);
    if (error_type)
        out[count++] = otel_text(ATTR_ERROR_TYPE, error_type);
    return count;
}

#define MESSAGING(span_kind, duration_name, duration_description)                                                      \
    {                                                                                                                  \
        .kind = (span_kind), .name = name, .constants = constants, .begin = begin, .outcome = outcome, .end = end,     \
        .error = error, .attributes = attributes,                                                                      \
        .duration = {(duration_name), (duration_description), call_seconds, CALL_SECONDS},                             \
    }

static const char operation_duration[] = "messaging.client.operation.duration";
static const char operation_about[] = "Duration of messaging operations of a client.";

const struct call_convention send_convention = MESSAGING(OTEL_SPAN_PRODUCER, operation_duration, operation_about);
const struct call_convention receive_convention = MESSAGING(OTEL_SPAN_CLIENT, operation_duration, operation_about);
const struct call_convention settle_convention = MESSAGING(OTEL_SPAN_CLIENT, operation_duration, operation_about);
const struct call_convention process_convention =
    MESSAGING(OTEL_SPAN_CONSUMER, "messaging.process.duration", "Duration of processing of messages.");
