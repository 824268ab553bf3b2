#include "rpc/message.h"

#include <string.h>

#include <grpc/byte_buffer_reader.h>

#include "common/clock.h"

/* --- messages */

static void *take_from_arena(void *arena, size_t bytes)
{
    return arena_alloc_raw(arena, bytes);
}

static void leave_to_arena(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

void *rpc_message_new(struct arena *arena, const ProtobufCMessageDescriptor *form)
{
    void *message = arena_alloc_raw(arena, form->sizeof_message);
    protobuf_c_message_init(form, message);
    return message;
}

static void *unpack_slice(struct arena *arena, const ProtobufCMessageDescriptor *form, grpc_slice slice)
{
    ProtobufCAllocator allocator = {.alloc = take_from_arena, .free = leave_to_arena, .allocator_data = arena};
    return protobuf_c_message_unpack(form, &allocator, GRPC_SLICE_LENGTH(slice), GRPC_SLICE_START_PTR(slice));
}

void *rpc_unpack(struct arena *arena, const ProtobufCMessageDescriptor *form, grpc_byte_buffer *buffer)
{
    grpc_byte_buffer_reader reader;
    if (!buffer || !grpc_byte_buffer_reader_init(&reader, buffer))
        return NULL;
    void *message;
    grpc_slice first, second;
    if (!grpc_byte_buffer_reader_next(&reader, &first)) {
        message = rpc_message_new(arena, form);
    } else if (!grpc_byte_buffer_reader_next(&reader, &second)) {
        message = unpack_slice(arena, form, first);
        grpc_slice_unref(first);
    } else {
        grpc_slice_unref(first);
        grpc_slice_unref(second);
        grpc_byte_buffer_reader_destroy(&reader);
        grpc_byte_buffer_reader_init(&reader, buffer);
        grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
        message = unpack_slice(arena, form, whole);
        grpc_slice_unref(whole);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return message;
}

size_t rpc_packed_bytes(const void *message)
{
    return protobuf_c_message_get_packed_size(message);
}

grpc_byte_buffer *rpc_pack(const void *message, size_t bytes)
{
    grpc_slice slice = grpc_slice_malloc(bytes);
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

char *rpc_slice_text(struct arena *arena, grpc_slice slice, size_t bytes_max)
{
    size_t bytes = GRPC_SLICE_LENGTH(slice);
    return arena_text(arena, (const char *)GRPC_SLICE_START_PTR(slice), bytes < bytes_max ? bytes : bytes_max);
}

/* --- deadlines: what is left is carried from one clock to the other */

enum { DEADLINE_SECONDS_MAX = 366 * 24 * 3600 };

int64_t rpc_deadline_from_core(gpr_timespec deadline)
{
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0)
        return CLOCK_NEVER;
    gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
    if (left.tv_sec > DEADLINE_SECONDS_MAX)
        return CLOCK_NEVER;
    if (left.tv_sec < 0)
        return clock_now_ns();
    return clock_now_ns() + left.tv_sec * NS_PER_S + left.tv_nsec;
}

gpr_timespec rpc_deadline_to_core(int64_t deadline_ns)
{
    if (deadline_ns == CLOCK_NEVER)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    int64_t left_ns = deadline_ns - clock_now_ns();
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(left_ns, GPR_TIMESPAN));
}

enum err rpc_status_err(int status)
{
    return status >= ERR_OK && status <= ERR_UNAUTHENTICATED ? (enum err)status : ERR_UNKNOWN;
}

/* --- metadata */

enum { VALUE_BYTES_MAX = 8192 };

static const char *received_get(const struct carrier *carrier, const char *key)
{
    const struct rpc_received *received = (const struct rpc_received *)carrier;
    const char *joined = NULL;
    for (size_t i = 0; i < received->metadata->count; i++) {
        const grpc_metadata *entry = &received->metadata->metadata[i];
        if (grpc_slice_str_cmp(entry->key, key) != 0)
            continue;
        const char *value = rpc_slice_text(received->arena, entry->value, VALUE_BYTES_MAX);
        joined = joined ? arena_print(received->arena, "%s,%s", joined, value) : value;
    }
    return joined;
}

void rpc_received_init(struct rpc_received *received, const grpc_metadata_array *metadata, struct arena *arena)
{
    *received = (struct rpc_received){.carrier.get = received_get, .metadata = metadata, .arena = arena};
}

static grpc_slice slice_of(struct rpc_metadata *metadata, const char *text)
{
    size_t bytes = strlen(text);
    if (bytes > RPC_METADATA_TEXTS - metadata->used)
        return grpc_slice_from_copied_buffer(text, bytes);
    char *copy = memcpy(metadata->texts + metadata->used, text, bytes);
    metadata->used += (unsigned)bytes;
    return grpc_slice_from_static_buffer(copy, bytes);
}

static void metadata_set(const struct carrier *carrier, const char *key, const char *value)
{
    struct rpc_metadata *metadata = (struct rpc_metadata *)(uintptr_t)carrier;
    grpc_slice k = slice_of(metadata, key), v = slice_of(metadata, value);
    if (metadata->count == RPC_METADATA_MAX || !grpc_header_key_is_legal(k) || !grpc_header_nonbin_value_is_legal(v)) {
        grpc_slice_unref(k);
        grpc_slice_unref(v);
        metadata->refused++;
        return;
    }
    metadata->entries[metadata->count++] = (grpc_metadata){.key = k, .value = v};
}

void rpc_metadata_init(struct rpc_metadata *metadata)
{
    metadata->carrier = (struct carrier){.set = metadata_set};
    metadata->count = metadata->refused = metadata->used = 0;
}

void rpc_metadata_done(struct rpc_metadata *metadata)
{
    for (unsigned i = 0; i < metadata->count; i++) {
        grpc_slice_unref(metadata->entries[i].key);
        grpc_slice_unref(metadata->entries[i].value);
    }
    metadata->count = 0;
}
