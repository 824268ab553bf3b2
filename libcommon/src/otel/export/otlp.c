/* OTLP's envelopes are the same for the three signals: a request of resources, of scopes, of records. */
#include "otel/export/otlp.h"

#include "otel/export/items.h"

enum { RESOURCE = 1, SCHEMA_URL = 3 };

static void put_any(struct wire *wire, unsigned field, const struct otel_value *value, unsigned depth);

/* --- values */

struct otel_value otlp_element(const struct otel_value *array, uint32_t index)
{
    switch (array->type) {
    case OTEL_TEXTS:
        return otel_value_text(array->texts[index]);
    case OTEL_BOOLS:
        return (struct otel_value){.type = OTEL_BOOL, .boolean = array->booleans[index]};
    case OTEL_INTS:
        return (struct otel_value){.type = OTEL_INT, .integer = array->integers[index]};
    case OTEL_REALS:
        return (struct otel_value){.type = OTEL_REAL, .real = array->reals[index]};
    default:
        return array->values[index];
    }
}

static void put_array(struct wire *wire, unsigned field, const struct otel_value *array, unsigned depth)
{
    size_t mark = wire_mark(wire);
    for (uint32_t i = array->count; depth < OTEL_DEPTH_MAX && i-- > 0;) {
        struct otel_value value = otlp_element(array, i);
        put_any(wire, 1, &value, depth + 1);
    }
    wire_close(wire, field, mark);
}

static inline void put_attribute(struct wire *wire, unsigned field, const struct otel_attribute *attribute,
                                 unsigned depth)
{
    size_t mark = wire_mark(wire);
    put_any(wire, 2, &attribute->value, depth);
    wire_bytes(wire, 1, attribute->key, strlen(attribute->key));
    wire_close(wire, field, mark);
}

static void put_map(struct wire *wire, unsigned field, const struct otel_value *map, unsigned depth)
{
    size_t mark = wire_mark(wire);
    for (uint32_t i = map->count; depth < OTEL_DEPTH_MAX && i-- > 0;)
        put_attribute(wire, 1, &map->map[i], depth + 1);
    wire_close(wire, field, mark);
}

/* The members of a oneof are written even when they are zero: their presence tells the type. */
static inline void put_any(struct wire *wire, unsigned field, const struct otel_value *value, unsigned depth)
{
    size_t mark = wire_mark(wire);
    switch (value->type) {
    case OTEL_EMPTY:
        break;
    case OTEL_TEXT:
        wire_bytes(wire, 1, value->text, value->count);
        break;
    case OTEL_BOOL:
        wire_varint(wire, 2, value->boolean);
        break;
    case OTEL_INT:
        wire_varint(wire, 3, (uint64_t)value->integer);
        break;
    case OTEL_REAL:
        wire_double(wire, 4, value->real);
        break;
    case OTEL_BYTES:
        wire_bytes(wire, 7, value->bytes, value->count);
        break;
    case OTEL_MAP:
        put_map(wire, 6, value, depth);
        break;
    default:
        put_array(wire, 5, value, depth);
    }
    wire_close(wire, field, mark);
}

void otlp_put_value(struct wire *wire, unsigned field, const struct otel_value *value)
{
    put_any(wire, field, value, 0);
}

void otlp_put_attributes(struct wire *wire, unsigned field, const struct otel_attribute *attributes, unsigned count)
{
    for (unsigned i = count; i-- > 0;)
        put_attribute(wire, field, &attributes[i], 0);
}

/* --- envelopes */

static void put_record(struct wire *wire, const struct export_batch *batch, int index)
{
    if (batch->encoded) {
        wire_field(wire, batch->records[index]->bytes, batch->records[index]->size);
        return;
    }
    switch (batch->signal) {
    case SIGNAL_TRACES:
        otlp_put_span(wire, OTLP_SCOPE_RECORDS, batch->spans[index]);
        break;
    case SIGNAL_LOGS:
        otlp_put_log(wire, OTLP_SCOPE_RECORDS, batch->logs[index]);
        break;
    case SIGNAL_METRICS:
        otlp_put_metric(wire, OTLP_SCOPE_RECORDS, &batch->metrics[index]);
    }
}

static void put_scope(struct wire *wire, unsigned field, const struct sdk_scope *scope)
{
    size_t mark = wire_mark(wire);
    wire_text(wire, 2, scope->version);
    wire_text(wire, 1, scope->name);
    wire_close(wire, field, mark);
}

static void put_resource(struct wire *wire, unsigned field, const struct sdk_resource *resource)
{
    size_t mark = wire_mark(wire);
    otlp_put_attributes(wire, 1, resource->attributes, resource->attribute_count);
    wire_close(wire, field, mark);
}

static void put_group(struct wire *wire, const struct export_batch *batch, const struct scope_groups *groups,
                      const struct scope_group *group)
{
    size_t mark = wire_mark(wire);
    wire_text(wire, SCHEMA_URL, group->scope->schema_url);
    for (int i = group->first; i != NO_ITEM; i = groups->next[i])
        put_record(wire, batch, i);
    put_scope(wire, 1, group->scope);
    wire_close(wire, OTLP_SCOPE_RECORDS, mark);
}

struct otlp_message otlp_encode(struct buffer *room, const struct export_batch *batch)
{
    struct scope_groups groups;
    scope_groups_make(&groups, batch, true);
    struct wire wire;
    wire_start(&wire, room);
    wire_text(&wire, SCHEMA_URL, batch->resource->schema_url);
    for (unsigned i = groups.count; i-- > 0;)
        put_group(&wire, batch, &groups, &groups.groups[i]);
    put_resource(&wire, RESOURCE, batch->resource);
    wire_close(&wire, 1, 0);
    if (groups.count == 0)
        wire.next = wire.end; /* an envelope with nothing in it is not sent */
    scope_groups_free(&groups);
    return (struct otlp_message){.data = wire.next, .size = wire_mark(&wire)};
}
