/* Bytes from outside. protobuf-c's reader recurses for each level and allocates for each message, however small:
 * so depth and number are checked first, on the bytes. */
#include <string.h>
#include <zlib.h>

#include "collector/collector.h"

enum { DEPTH_MAX = 64, MESSAGES_MAX = 500000, INFLATE_FIRST_BYTES = 65536 };

/* --- gzip */

static bool inflate_all(struct arena *arena, z_stream *stream, struct bytes *out)
{
    size_t room = INFLATE_FIRST_BYTES, used = 0;
    char *data = arena_alloc_raw(arena, room);
    for (;;) {
        stream->next_out = (Bytef *)data + used;
        stream->avail_out = (uInt)(room - used);
        int status = inflate(stream, Z_NO_FLUSH);
        used = room - stream->avail_out;
        if (used > MESSAGE_BYTES_MAX)
            return false;
        if (status == Z_STREAM_END) {
            *out = (struct bytes){data, used};
            return stream->avail_in == 0;
        }
        if (status != Z_OK || stream->avail_out > 0)
            return false;
        char *larger = arena_alloc_raw(arena, 2 * room);
        memcpy(larger, data, used);
        data = larger;
        room *= 2;
    }
}

struct bytes decode_inflate(struct arena *arena, struct bytes packed)
{
    struct bytes out = {NULL, 0};
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)packed.data, .avail_in = (uInt)packed.size};
    if (inflateInit2(&stream, 15 + 32) != Z_OK) /* 32: gzip or zlib, as its head says */
        return out;
    if (!inflate_all(arena, &stream, &out))
        out = (struct bytes){NULL, 0};
    inflateEnd(&stream);
    return out;
}

/* --- protobuf */

struct scan {
    const uint8_t *next, *end;
};

static bool take_varint(struct scan *scan, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && scan->next < scan->end; shift += 7) {
        uint8_t byte = *scan->next++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static bool skip(struct scan *scan, uint64_t bytes)
{
    if (bytes > (uint64_t)(scan->end - scan->next))
        return false;
    scan->next += bytes;
    return true;
}

static const ProtobufCMessageDescriptor *submessage(const ProtobufCMessageDescriptor *form, uint64_t tag)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(form, (unsigned)(tag >> 3));
    return field && field->type == PROTOBUF_C_TYPE_MESSAGE ? field->descriptor : NULL;
}

static bool is_bounded(const ProtobufCMessageDescriptor *form, struct scan scan, unsigned depth, unsigned *messages)
{
    if (depth == 0 || (*messages)++ == MESSAGES_MAX)
        return false;
    while (scan.next < scan.end) {
        uint64_t tag, length;
        if (!take_varint(&scan, &tag))
            return false;
        switch (tag & 7) {
        case 0:
            if (!take_varint(&scan, &length))
                return false;
            break;
        case 1:
            if (!skip(&scan, 8))
                return false;
            break;
        case 2: {
            if (!take_varint(&scan, &length) || length > (uint64_t)(scan.end - scan.next))
                return false;
            const ProtobufCMessageDescriptor *inner = submessage(form, tag);
            if (inner && !is_bounded(inner, (struct scan){scan.next, scan.next + length}, depth - 1, messages))
                return false;
            scan.next += length;
            break;
        }
        case 5:
            if (!skip(&scan, 4))
                return false;
            break;
        default:
            return false;
        }
    }
    return true;
}

static void *take_from_arena(void *arena, size_t bytes)
{
    return arena_alloc_raw(arena, bytes);
}

static void leave_to_arena(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

void *decode_message(struct arena *arena, const ProtobufCMessageDescriptor *form, struct bytes packed)
{
    const uint8_t *data = (const uint8_t *)packed.data;
    unsigned messages = 0;
    if (!is_bounded(form, (struct scan){data, data + packed.size}, DEPTH_MAX, &messages))
        return NULL;
    ProtobufCAllocator allocator = {.alloc = take_from_arena, .free = leave_to_arena, .allocator_data = arena};
    return protobuf_c_message_unpack(form, &allocator, packed.size, data);
}

struct bytes encode_message(struct arena *arena, const void *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *data = arena_alloc_raw(arena, bytes + 1);
    protobuf_c_message_pack(message, data);
    return (struct bytes){(const char *)data, bytes};
}
