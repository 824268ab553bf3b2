/* What a process proves itself with to its peers, and what it asks of them: the inside of struct rpc_identity. */
#ifndef RPC_IDENTITY_H
#define RPC_IDENTITY_H

#include <grpc/grpc_security.h>

#include "common/arena.h"
#include "common/rpc.h"

/* Credentials that admit callers whose certificate carries a name of the list, or peers with a name of their own.
 * identity NULL: plain text. */
grpc_server_credentials *rpc_server_credentials(struct rpc_identity *identity, const char *allow);
grpc_channel_credentials *rpc_channel_credentials(struct rpc_identity *identity, const char *peer_name);

/* The caller's name that the list has, in the arena. */
const char *rpc_caller_name(grpc_call *call, const char *allow, struct arena *arena);

#endif
