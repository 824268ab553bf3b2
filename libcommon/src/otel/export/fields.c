#include "otel/export/fields.h"

static bool take_varint(struct fields *in, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && in->next < in->end; shift += 7) {
        uint8_t byte = *in->next++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        *out = value;
        return true;
    }
    return false;
}

static bool take_bytes(struct fields *in, uint64_t bytes, struct field *out)
{
    if (bytes > (uint64_t)(in->end - in->next))
        return false;
    out->data = in->next;
    out->bytes = (size_t)bytes;
    in->next += bytes;
    return true;
}

static bool take_value(struct fields *in, struct field *out)
{
    uint64_t length;
    switch (out->type) {
    case 0:
        return take_varint(in, &out->value);
    case 1:
        return take_bytes(in, 8, out);
    case 2:
        return take_varint(in, &length) && take_bytes(in, length, out);
    case 5:
        return take_bytes(in, 4, out);
    default:
        return false;
    }
}

bool take_field(struct fields *in, struct field *out)
{
    uint64_t tag;
    *out = (struct field){0};
    if (in->bad || in->next == in->end)
        return false;
    in->bad = !take_varint(in, &tag) || tag >> 3 == 0 || tag > UINT32_MAX;
    if (in->bad)
        return false;
    out->number = (unsigned)(tag >> 3);
    out->type = tag & 7;
    in->bad = !take_value(in, out);
    return !in->bad;
}
