#include "otel/export/wire.h"

#include "otel/sdk/buffer.h"

enum { START_BYTES = 16384 };

static void take_room(struct wire *wire, size_t written)
{
    wire->begin = wire->room->data;
    wire->end = wire->room->data + wire->room->capacity;
    wire->next = wire->end - written;
}

void wire_start(struct wire *wire, struct buffer *room)
{
    wire->room = room;
    room->size = 0;
    buffer_reserve(room, START_BYTES);
    take_room(wire, 0);
}

void wire_grow(struct wire *wire, size_t bytes)
{
    size_t written = wire_mark(wire);
    size_t before = (size_t)(wire->next - wire->begin);
    buffer_grow(wire->room, 2 * written + bytes);
    take_room(wire, written);
    memmove(wire->next, wire->begin + before, written);
}
