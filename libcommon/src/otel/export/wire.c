#include "otel/export/wire.h"

#include "otel/sdk/buffer.h"

enum { START_BYTES = 16384 };

/* The free room lies in the middle: what was there before in front, what is being written behind. */
static void take_room(struct wire *wire, size_t written)
{
    wire->begin = wire->out->data + wire->out->size;
    wire->end = wire->out->data + wire->out->capacity;
    wire->next = wire->end - written;
}

void wire_start(struct wire *wire, struct buffer *out)
{
    wire->out = out;
    buffer_reserve(out, START_BYTES);
    take_room(wire, 0);
}

void wire_grow(struct wire *wire, size_t bytes)
{
    size_t written = wire_mark(wire);
    size_t before = (size_t)(wire->next - wire->out->data);
    buffer_grow(wire->out, 2 * written + bytes);
    take_room(wire, written);
    memmove(wire->next, wire->out->data + before, written);
}

void wire_end(struct wire *wire)
{
    size_t written = wire_mark(wire);
    memmove(wire->begin, wire->next, written);
    wire->out->size += written;
    wire->next = wire->end;
}
