/* Protobuf, written from the end to the beginning: a message's length is known when its head is due, so one pass does.
 * Whoever wants fields in ascending order writes them in descending order. Private to the OTLP codec.
 * Source: protobuf encoding specification. */
#ifndef OTEL_EXPORT_WIRE_H
#define OTEL_EXPORT_WIRE_H

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "otel/sdk/exporter.h"

struct wire {
    struct buffer *room;
    uint8_t *begin, *next, *end; /* free from begin to next, written from next to end */
};

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { WIRE_SCALAR_MAX = 16 }; /* a tag of two bytes and a varint of ten */

/* In room's memory, whatever it held; what is written lies at its end, and stays valid until room is used again. */
void wire_start(struct wire *wire, struct buffer *room);
void wire_grow(struct wire *wire, size_t bytes);

static inline void wire_need(struct wire *wire, size_t bytes)
{
    if ((size_t)(wire->next - wire->begin) < bytes)
        wire_grow(wire, bytes);
}

/* A mark for wire_close(): what has been written so far. */
static inline size_t wire_mark(const struct wire *wire)
{
    return (size_t)(wire->end - wire->next);
}

static inline void wire_raw_varint(struct wire *wire, uint64_t value)
{
    if (value < 0x80) {
        *--wire->next = (uint8_t)value;
        return;
    }
    unsigned bytes = (70 - (unsigned)__builtin_clzll(value)) / 7;
    uint8_t *to = wire->next -= bytes;
    for (; value >= 0x80; value >>= 7)
        *to++ = (uint8_t)(value | 0x80);
    *to = (uint8_t)value;
}

static inline void wire_tag(struct wire *wire, unsigned field, enum wire_type type)
{
    wire_raw_varint(wire, field << 3 | type);
}

static inline void wire_varint(struct wire *wire, unsigned field, uint64_t value)
{
    wire_need(wire, WIRE_SCALAR_MAX);
    wire_raw_varint(wire, value);
    wire_tag(wire, field, WIRE_VARINT);
}

static inline void wire_sint32(struct wire *wire, unsigned field, int32_t value)
{
    wire_varint(wire, field, (uint32_t)value << 1 ^ (value < 0 ? UINT32_MAX : 0));
}

static inline void wire_fixed64(struct wire *wire, unsigned field, uint64_t value)
{
    wire_need(wire, WIRE_SCALAR_MAX);
    uint64_t little = htole64(value);
    wire->next -= sizeof little;
    memcpy(wire->next, &little, sizeof little);
    wire_tag(wire, field, WIRE_FIXED64);
}

static inline void wire_double(struct wire *wire, unsigned field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    wire_fixed64(wire, field, bits);
}

static inline void wire_fixed32(struct wire *wire, unsigned field, uint32_t value)
{
    wire_need(wire, WIRE_SCALAR_MAX);
    uint32_t little = htole32(value);
    wire->next -= sizeof little;
    memcpy(wire->next, &little, sizeof little);
    wire_tag(wire, field, WIRE_FIXED32);
}

static inline void wire_bytes(struct wire *wire, unsigned field, const void *data, size_t bytes)
{
    wire_need(wire, bytes + WIRE_SCALAR_MAX);
    wire->next -= bytes;
    if (bytes > 0)
        memcpy(wire->next, data, bytes);
    wire_raw_varint(wire, bytes);
    wire_tag(wire, field, WIRE_BYTES);
}

/* What is a field already. */
static inline void wire_field(struct wire *wire, const void *data, size_t bytes)
{
    wire_need(wire, bytes);
    wire->next -= bytes;
    memcpy(wire->next, data, bytes);
}

/* Everything written since mark becomes the message, or packed list, in field. */
static inline void wire_close(struct wire *wire, unsigned field, size_t mark)
{
    wire_need(wire, WIRE_SCALAR_MAX);
    wire_raw_varint(wire, wire_mark(wire) - mark);
    wire_tag(wire, field, WIRE_BYTES);
}

/* What proto3 leaves out when it is zero or empty. */

static inline void wire_text(struct wire *wire, unsigned field, const char *text)
{
    if (text && *text)
        wire_bytes(wire, field, text, strlen(text));
}

static inline void wire_count(struct wire *wire, unsigned field, uint64_t value)
{
    if (value)
        wire_varint(wire, field, value);
}

static inline void wire_number64(struct wire *wire, unsigned field, uint64_t value)
{
    if (value)
        wire_fixed64(wire, field, value);
}

#endif
