/* What a server and a client are set up with: channel arguments and addresses. */
#ifndef RPC_CHANNEL_H
#define RPC_CHANNEL_H

#include <grpc/grpc.h>

enum { RPC_ARGS_MAX = 24 };

struct rpc_args {
    grpc_arg entries[RPC_ARGS_MAX];
    unsigned count;
};

void rpc_args_int(struct rpc_args *args, const char *key, int value);
void rpc_args_text(struct rpc_args *args, const char *key, const char *value);
/* Those that both sides have. keepalive_ms 0: none. */
void rpc_args_common(struct rpc_args *args, int message_bytes_max, int keepalive_ms);
grpc_channel_args rpc_args_core(struct rpc_args *args);

/* The target in grpc's form: names without a scheme are looked up in DNS. Free with free(). */
char *rpc_target(const char *target);
/* ":port" means every address of this machine. Free with free(). */
char *rpc_listen_address(const char *listen);

#endif
