#include "otel/export/otlp.h"

void otlp_put_log(struct wire *wire, unsigned field, const struct log_record *log)
{
    size_t mark = wire_mark(wire);
    wire_text(wire, 12, log->event_name);
    wire_number64(wire, 11, (uint64_t)log->observed_wall_ns);
    if (!otlp_is_zero(log->span_id, sizeof log->span_id))
        wire_bytes(wire, 10, log->span_id, sizeof log->span_id);
    if (!otlp_is_zero(log->trace_id, sizeof log->trace_id))
        wire_bytes(wire, 9, log->trace_id, sizeof log->trace_id);
    if (log->flags)
        wire_fixed32(wire, 8, log->flags);
    wire_count(wire, 7, log->attributes_dropped);
    otlp_put_attributes(wire, 6, log->attributes, log->attribute_count);
    if (log->body.type != OTEL_EMPTY)
        otlp_put_value(wire, 5, &log->body);
    wire_text(wire, 3, log->severity_text);
    wire_count(wire, 2, log->severity);
    wire_number64(wire, 1, (uint64_t)log->time_wall_ns);
    wire_close(wire, field, mark);
}
