/* OTLP's envelopes are the same for the three signals: a request of resources, of scopes, of records. */
#include "otel/export/otlp.h"

#include <stdlib.h>

#include "common/mem.h"
#include "otel/export/items.h"
#include "otel/sdk/buffer.h"

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

enum { PIECES_SEARCHED = 8 };

/* A request as it grows, from its end. */
struct growing {
    struct wire wire;
    struct otlp_request *request;
    size_t cut;       /* how much of what is on the wire is in pieces */
    size_t elsewhere; /* bytes of the other pieces */
};

static struct otlp_piece *add_piece(struct otlp_request *request, struct otlp_piece piece)
{
    if (request->count == request->capacity) {
        request->capacity = request->capacity ? request->capacity * 2 : PIECES_SEARCHED;
        request->pieces = mem_resize(request->pieces, request->capacity, sizeof *request->pieces);
    }
    request->pieces[request->count] = piece;
    return &request->pieces[request->count++];
}

/* What has been written since the last cut is a piece. Its place is known at the end, for the room may move. */
static void cut(struct growing *growing)
{
    size_t written = wire_mark(&growing->wire);
    if (written > growing->cut)
        add_piece(growing->request, (struct otlp_piece){.size = written - growing->cut});
    growing->cut = written;
}

static size_t mark_of(const struct growing *growing)
{
    return wire_mark(&growing->wire) + growing->elsewhere;
}

/* As wire_close(), of all that the message is. */
static void close_around(struct growing *growing, unsigned field, size_t mark)
{
    wire_close(&growing->wire, field, mark - growing->elsewhere); /* it may wrap, and the length wraps back */
}

static void put_record(struct wire *wire, const struct export_batch *batch, int index)
{
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

/* One of the pieces from first on that the record lies before; several threads' records take turns. */
static struct otlp_piece *piece_behind(const struct otlp_request *request, unsigned first,
                                       const struct encoded_record *record)
{
    if (request->count - first > PIECES_SEARCHED)
        first = request->count - PIECES_SEARCHED;
    for (unsigned i = request->count; i-- > first;) {
        struct otlp_piece *piece = &request->pieces[i];
        if (piece->chunk == record->chunk && piece->data == record->bytes + record->size)
            return piece;
    }
    return NULL;
}

static void put_encoded(struct growing *growing, const struct export_batch *batch, const struct scope_groups *groups,
                        int first_index)
{
    struct otlp_request *request = growing->request;
    cut(growing);
    unsigned first = request->count;
    for (int i = first_index; i != NO_ITEM; i = groups->next[i]) {
        const struct encoded_record *record = batch->records[i];
        struct otlp_piece *piece = piece_behind(request, first, record);
        if (!piece)
            piece = add_piece(request, (struct otlp_piece){.chunk = record->chunk});
        piece->data = record->bytes;
        piece->size += record->size;
        growing->elsewhere += record->size;
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

static void put_group(struct growing *growing, const struct export_batch *batch, const struct scope_groups *groups,
                      const struct scope_group *group)
{
    size_t mark = mark_of(growing);
    wire_text(&growing->wire, SCHEMA_URL, group->scope->schema_url);
    if (batch->encoded)
        put_encoded(growing, batch, groups, group->first);
    else
        for (int i = group->first; i != NO_ITEM; i = groups->next[i])
            put_record(&growing->wire, batch, i);
    put_scope(&growing->wire, 1, group->scope);
    close_around(growing, OTLP_SCOPE_RECORDS, mark);
}

/* The pieces were added from the last one to the first. */
static void put_in_order(struct growing *growing)
{
    struct otlp_request *request = growing->request;
    const uint8_t *begin = growing->wire.end;
    for (unsigned i = 0; i < request->count; i++)
        if (!request->pieces[i].chunk)
            request->pieces[i].data = begin -= request->pieces[i].size;
    for (unsigned i = 0, j = request->count; i + 1 < j--; i++) {
        struct otlp_piece first = request->pieces[i];
        request->pieces[i] = request->pieces[j];
        request->pieces[j] = first;
    }
    request->size = mark_of(growing);
}

void otlp_encode(struct otlp_request *request, const struct export_batch *batch)
{
    struct scope_groups groups;
    scope_groups_make(&groups, batch, true);
    struct growing growing = {.request = request};
    request->count = 0;
    buffer_reset(&request->room);
    wire_start(&growing.wire, &request->room);
    if (groups.count > 0) { /* an envelope with nothing in it is not sent */
        wire_text(&growing.wire, SCHEMA_URL, batch->resource->schema_url);
        for (unsigned i = groups.count; i-- > 0;)
            put_group(&growing, batch, &groups, &groups.groups[i]);
        put_resource(&growing.wire, RESOURCE, batch->resource);
        close_around(&growing, 1, 0);
        cut(&growing);
    }
    put_in_order(&growing);
    scope_groups_free(&groups);
}

void otlp_request_free(struct otlp_request *request)
{
    buffer_free(&request->room);
    free(request->pieces);
    *request = (struct otlp_request){0};
}

struct otlp_message otlp_join(const struct otlp_request *request, struct buffer *room)
{
    if (request->count == 1)
        return (struct otlp_message){request->pieces[0].data, request->pieces[0].size};
    buffer_reset(room);
    for (unsigned i = 0; i < request->count; i++)
        buffer_add(room, request->pieces[i].data, request->pieces[i].size);
    return (struct otlp_message){room->data, room->size};
}
