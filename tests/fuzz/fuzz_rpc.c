/* The messages of every service, through the unpacking that handlers are called with, and what rules.c says of them.
 * The first byte picks the message, the second where the bytes are cut into slices (0: one slice).
 *
 * A message that unpacks packs, and unpacks to the same again; its texts end within it; answers, as the gateway gets
 * them, too. */
#include <string.h>

#include "common/mem.h"
#include "fuzz/fuzz.h"
#include "fuzz/rpc.h"
#include "inventory.pb-c.h"
#include "order.pb-c.h"
#include "rpc/message.h"
#include "user.pb-c.h"

/* What the gateway, and services among themselves, get for an answer. */
static const ProtobufCMessageDescriptor *const answers[] = {
    &user__user_response__descriptor,
    &order__order_response__descriptor,
    &order__list_orders_response__descriptor,
    &order__resolve_order_response__descriptor,
    &inventory__inventory_response__descriptor,
    &inventory__check_inventory_response__descriptor,
    &inventory__deduct_inventory_response__descriptor,
    &inventory__release_inventory_response__descriptor,
};

void rpc_check_refusal(const struct request *req, enum err err)
{
    if (!err)
        return;
    FUZZ_CHECK(err == ERR_INVALID_ARGUMENT && req->failure.err == err && strstr(req->failure.detail, "expected"));
}

static grpc_byte_buffer *buffer_of(const uint8_t *data, size_t bytes, size_t cut)
{
    grpc_slice slices[2];
    unsigned count = 0;
    cut = cut < bytes ? cut : bytes;
    if (cut > 0)
        slices[count++] = grpc_slice_from_copied_buffer((const char *)data, cut);
    if (bytes > cut)
        slices[count++] = grpc_slice_from_copied_buffer((const char *)data + cut, bytes - cut);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(slices, count);
    for (unsigned i = 0; i < count; i++)
        grpc_slice_unref(slices[i]);
    return buffer;
}

static void *unpack(struct arena *arena, const ProtobufCMessageDescriptor *form, grpc_byte_buffer *buffer)
{
    void *message = rpc_unpack(arena, form, buffer);
    grpc_byte_buffer_destroy(buffer);
    return message;
}

/* What nobody asked for is kept by protobuf-c, and packed again with mistakes; we send no message on. */
static void forget_unknown(ProtobufCMessage *message)
{
    message->n_unknown_fields = 0;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        const char *base = (const char *)message;
        if (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label != PROTOBUF_C_LABEL_REPEATED)
            continue;
        for (size_t k = 0; k < *(const size_t *)(base + field->quantifier_offset); k++)
            forget_unknown((*(ProtobufCMessage *const *const *)(base + field->offset))[k]);
    }
}

static void check_round(struct arena *arena, const ProtobufCMessageDescriptor *form, const void *message)
{
    size_t bytes = rpc_packed_bytes(message);
    const void *again = unpack(arena, form, rpc_pack(message, bytes));
    FUZZ_CHECK(again && rpc_packed_bytes(again) == bytes);
    uint8_t *first = arena_alloc(arena, bytes + 1), *second = arena_alloc(arena, bytes + 1);
    protobuf_c_message_pack(message, first);
    protobuf_c_message_pack(again, second);
    FUZZ_CHECK(memcmp(first, second, bytes) == 0);
}

static const struct rpc_subject *subject_of(uint8_t which)
{
    switch (which >> 4) {
    case 'u' >> 4:
        return &user_subjects[which % array_count(user_subjects)];
    case 'o' >> 4:
        return &order_subjects[which % array_count(order_subjects)];
    case 'I' >> 4:
        return &inventory_subjects[which % array_count(inventory_subjects)];
    default:
        return NULL;
    }
}

static void check(struct request *req, uint8_t which, grpc_byte_buffer *buffer)
{
    const struct rpc_subject *subject = subject_of(which);
    const ProtobufCMessageDescriptor *form = subject ? subject->form : answers[which % array_count(answers)];
    void *message = unpack(req->arena, form, buffer);
    if (!message)
        return;
    forget_unknown(message);
    check_round(req->arena, form, message);
    if (subject)
        subject->check(req, message);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    grpc_init();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct worker worker;
    struct arena arena;
    struct request req;
    if (bytes < 2)
        return 0;
    arena_init(&arena, 4096);
    request_init(&req, &arena, &worker);
    check(&req, data[0], buffer_of(data + 2, bytes - 2, data[1]));
    arena_done(&arena);
    return 0;
}
