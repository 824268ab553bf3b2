/* The services' share of the RPC fuzzer: each file knows one service's messages, as they reach its handlers. */
#ifndef FUZZ_RPC_H
#define FUZZ_RPC_H

#include <protobuf-c/protobuf-c.h>

#include "common/request.h"

/* A message that came in, and what its service decides about it without I/O. */
struct rpc_subject {
    const ProtobufCMessageDescriptor *form;
    void (*check)(struct request *req, const void *message);
};

extern const struct rpc_subject user_subjects[2], order_subjects[5], inventory_subjects[5];

/* A refusal is the caller's fault, and says what was expected. */
void rpc_check_refusal(const struct request *req, enum err err);

#endif
