/* What travels in a call: messages, metadata and deadlines, between grpc core's forms and ours.
 *
 * Unpacked messages and texts belong to the arena; packed buffers and slices to the caller. */
#ifndef RPC_MESSAGE_H
#define RPC_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/trace.h"

/* Trailing metadata of a failed call that says: a server of ours wrote this status, grpc core did not make it up. */
#define RPC_ORIGIN_KEY "rpc-status-origin"

/* An initialised, empty message. */
void *rpc_message_new(struct arena *arena, const ProtobufCMessageDescriptor *form);
/* NULL when the bytes are not such a message. buffer may be NULL: then there was no message at all. */
void *rpc_unpack(struct arena *arena, const ProtobufCMessageDescriptor *form, grpc_byte_buffer *buffer);
size_t rpc_packed_bytes(const void *message);
/* bytes as rpc_packed_bytes() said; free with grpc_byte_buffer_destroy(). */
grpc_byte_buffer *rpc_pack(const void *message, size_t bytes);
/* A NUL-terminated copy of at most bytes_max bytes. */
char *rpc_slice_text(struct arena *arena, grpc_slice slice, size_t bytes_max);

/* Monotonic nanoseconds of clock.h; CLOCK_NEVER for the infinite future. */
int64_t rpc_deadline_from_core(gpr_timespec deadline);
gpr_timespec rpc_deadline_to_core(int64_t deadline_ns);

enum err rpc_status_err(int status); /* ERR_UNKNOWN for numbers outside the table */

/* Metadata of a call that came in, as a carrier; texts found are copied into the arena. */
struct rpc_received {
    struct carrier carrier; /* first */
    const grpc_metadata_array *metadata;
    struct arena *arena;
};

void rpc_received_init(struct rpc_received *received, const grpc_metadata_array *metadata, struct arena *arena);

/* Metadata of a call that goes out; beyond RPC_METADATA_MAX entries, or with a key or value
 * that gRPC does not carry, set() leaves the entry out. Core reads the texts here, where they fit:
 * they stay until the batch of operations that sends them has ended. */
enum { RPC_METADATA_MAX = 8, RPC_METADATA_TEXTS = 256 };

struct rpc_metadata {
    struct carrier carrier; /* first */
    grpc_metadata entries[RPC_METADATA_MAX];
    unsigned count;
    unsigned refused;
    unsigned used; /* of texts */
    char texts[RPC_METADATA_TEXTS];
};

void rpc_metadata_init(struct rpc_metadata *metadata);
void rpc_metadata_done(struct rpc_metadata *metadata);

#endif
