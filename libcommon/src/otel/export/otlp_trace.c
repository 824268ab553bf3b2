#include "otel/export/otlp.h"
#include "otel/sdk/cache.h"
#include "otel/sdk/set.h"

enum { FETCHED_BYTES = 256 };

static void put_event(struct wire *wire, unsigned field, const struct event_record *event)
{
    size_t mark = wire_mark(wire);
    wire_count(wire, 4, event->attributes_dropped);
    otlp_put_attributes(wire, 3, event->attributes, event->attribute_count);
    wire_text(wire, 2, event->name);
    wire_number64(wire, 1, (uint64_t)event->wall_ns);
    wire_close(wire, field, mark);
}

static void put_link(struct wire *wire, unsigned field, const struct link_record *link)
{
    size_t mark = wire_mark(wire);
    if (link->flags)
        wire_fixed32(wire, 6, link->flags);
    wire_count(wire, 5, link->attributes_dropped);
    otlp_put_attributes(wire, 4, link->attributes, link->attribute_count);
    wire_text(wire, 3, link->state);
    wire_bytes(wire, 2, link->span_id, sizeof link->span_id);
    wire_bytes(wire, 1, link->trace_id, sizeof link->trace_id);
    wire_close(wire, field, mark);
}

static void put_status(struct wire *wire, unsigned field, const struct span_record *span)
{
    if (span->status == OTEL_STATUS_UNSET)
        return;
    size_t mark = wire_mark(wire);
    wire_varint(wire, 3, span->status);
    wire_text(wire, 2, span->status_message);
    wire_close(wire, field, mark);
}

/* They were written once, long ago, and are on their way while the rest of the span is written. */
static void fetch_sets(const struct span_record *span)
{
    for (unsigned i = 0; i < span->set_count; i++)
        for (size_t at = 0; at < span->sets[i]->encoded.size && at < FETCHED_BYTES; at += CACHE_LINE_BYTES)
            __builtin_prefetch(span->sets[i]->encoded.data + at);
}

void otlp_put_span(struct wire *wire, unsigned field, const struct span_record *span)
{
    size_t mark = wire_mark(wire);
    fetch_sets(span);
    if (span->flags)
        wire_fixed32(wire, 16, span->flags);
    put_status(wire, 15, span);
    wire_count(wire, 14, span->links_dropped);
    for (unsigned i = span->link_count; i-- > 0;)
        put_link(wire, 13, &span->links[i]);
    wire_count(wire, 12, span->events_dropped);
    for (unsigned i = span->event_count; i-- > 0;)
        put_event(wire, 11, &span->events[i]);
    wire_count(wire, 10, span->attributes_dropped);
    otlp_put_attributes(wire, OTLP_SPAN_ATTRIBUTES, span->attributes, span->attribute_count);
    for (unsigned i = span->set_count; i-- > 0;)
        wire_field(wire, span->sets[i]->encoded.data, span->sets[i]->encoded.size);
    wire_number64(wire, 8, (uint64_t)span->end_wall_ns);
    wire_number64(wire, 7, (uint64_t)span->start_wall_ns);
    wire_count(wire, 6, span->kind);
    wire_text(wire, 5, span->name);
    if (!otlp_is_zero(span->parent_span_id, sizeof span->parent_span_id))
        wire_bytes(wire, 4, span->parent_span_id, sizeof span->parent_span_id);
    wire_text(wire, 3, span->state);
    wire_bytes(wire, 2, span->span_id, sizeof span->span_id);
    wire_bytes(wire, 1, span->trace_id, sizeof span->trace_id);
    wire_close(wire, field, mark);
}
