#include "rpc/channel.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/mem.h"

enum { KEEPALIVE_TIMEOUT_MS = 10000, METADATA_BYTES_MAX = 16 * 1024 };

static grpc_arg *args_add(struct rpc_args *args, const char *key)
{
    assert(args->count < RPC_ARGS_MAX);
    grpc_arg *arg = &args->entries[args->count++];
    arg->key = (char *)(uintptr_t)key;
    return arg;
}

void rpc_args_int(struct rpc_args *args, const char *key, int value)
{
    grpc_arg *arg = args_add(args, key);
    arg->type = GRPC_ARG_INTEGER;
    arg->value.integer = value;
}

void rpc_args_text(struct rpc_args *args, const char *key, const char *value)
{
    grpc_arg *arg = args_add(args, key);
    arg->type = GRPC_ARG_STRING;
    arg->value.string = (char *)(uintptr_t)value;
}

void rpc_args_common(struct rpc_args *args, int message_bytes_max, int keepalive_ms)
{
    rpc_args_int(args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, message_bytes_max);
    rpc_args_int(args, GRPC_ARG_MAX_METADATA_SIZE, METADATA_BYTES_MAX);
    rpc_args_int(args, GRPC_ARG_ENABLE_CHANNELZ, 0);
    rpc_args_int(args, GRPC_ARG_HTTP2_BDP_PROBE, 0);
    /* No compression: a compressed message's limit would be that of its compressed form. */
    rpc_args_int(args, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1);
    rpc_args_int(args, GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
    rpc_args_int(args, GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    if (keepalive_ms == 0)
        return;
    rpc_args_int(args, GRPC_ARG_KEEPALIVE_TIME_MS, keepalive_ms);
    rpc_args_int(args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS);
    rpc_args_int(args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    rpc_args_int(args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}

grpc_channel_args rpc_args_core(struct rpc_args *args)
{
    return (grpc_channel_args){.num_args = args->count, .args = args->entries};
}

static bool has_scheme(const char *target)
{
    static const char *const schemes[] = {"dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:"};
    for (unsigned i = 0; i < array_count(schemes); i++)
        if (strncmp(target, schemes[i], strlen(schemes[i])) == 0)
            return true;
    return strstr(target, "://") != NULL;
}

char *rpc_target(const char *target)
{
    if (has_scheme(target))
        return mem_text(target);
    return mem_print("dns:///%s%s", target[0] == ':' ? "localhost" : "", target);
}

char *rpc_listen_address(const char *listen)
{
    return mem_print("%s%s", listen[0] == ':' ? "[::]" : "", listen);
}
