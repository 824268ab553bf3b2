/* Protobuf, read one field after the other; nothing is copied. Source: protobuf encoding specification. */
#ifndef OTEL_EXPORT_FIELDS_H
#define OTEL_EXPORT_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct field {
    unsigned number, type;
    uint64_t value;      /* of a varint */
    const uint8_t *data; /* of bytes, and of fixed32 and fixed64 */
    size_t bytes;
};

struct fields {
    const uint8_t *next, *end;
    bool bad;
};

static inline struct fields fields_in(const uint8_t *data, size_t bytes)
{
    return (struct fields){data, data + bytes, false};
}

static inline struct fields fields_of(const struct field *message)
{
    return fields_in(message->data, message->bytes);
}

/* False at the end, and at what is malformed: in->bad tells. */
bool take_field(struct fields *in, struct field *out);

static inline bool is_varint(const struct field *field, unsigned number)
{
    return field->number == number && field->type == 0;
}

static inline bool is_bytes(const struct field *field, unsigned number)
{
    return field->number == number && field->type == 2;
}

#endif
