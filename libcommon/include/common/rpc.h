/* gRPC for fibers: unary methods over protobuf-c messages.
 *
 * Server: one process-wide struct rpc_server; each loop has a completion queue of its own, polled by
 * a thread while the loop sleeps and by the loop while it is busy. A method's handler runs in a fiber.
 * Health is answered too, unseen by the middleware and unlimited. Compressed messages are refused.
 * Client: a struct rpc_client belongs to one loop. Messages in and out are protobuf-c structs whose
 * memory is in the request's arena. Deadlines, trace context and the request's token (metadata
 * "authorization") go with the call; a caller that hangs up cancels the handler's request.
 * With a struct rpc_identity both sides prove who they are (TLS 1.2 or newer) and check each other's names; without one
 * all is plain text.
 * Errors: the peer's status code as enum err with its message in the failure; ERR_UNAVAILABLE when no
 * address can be reached. A peer that has not answered for a while is left in peace: calls fail at once with
 * ERR_UNAVAILABLE, but for one at a time that tries (rpc/circuit.h). Source: gRPC over HTTP/2; grpc.health.v1; grpc
 * core's C surface. */
#ifndef COMMON_RPC_H
#define COMMON_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/request.h"

struct rpc_identity;
struct rpc_server;

/* --- who is who */

struct rpc_identity_settings {
    const char *cert_file, *key_file; /* PEM: the certificate with what is between it and the authority; its key */
    const char *ca_file;              /* PEM: the authorities that certificates of peers must come from */
};

/* Shared by a process's server and clients. Reads and checks the files: ERR_INVALID_ARGUMENT, and message names the one
 * that is no good. Files that are replaced later, also by a swapped symbolic link, count for new connections after
 * three seconds at most. What is no good then changes nothing and is logged. */
enum err rpc_identity_open(struct rpc_identity **out, const struct rpc_identity_settings *settings, char *message,
                           size_t message_bytes);
/* After its servers and clients. NULL is allowed. */
void rpc_identity_close(struct rpc_identity *identity);

struct rpc_identity_stats {
    uint64_t refused;   /* callers and peers whose certificate was good and whose name was not expected */
    uint64_t replaced;  /* times that new files were taken over */
    uint64_t bad_files; /* times that they were not */
    int64_t expires_s;  /* of the certificate in use, since 1970 */
};

struct rpc_identity_stats rpc_identity_stats(const struct rpc_identity *identity); /* any thread */

/* --- servers */

/* A procedure as both sides know it: rpc_procedure("user.User/GetUser", user__get_user_request, user__user_response).
 */
struct rpc_procedure {
    const char *name; /* without the leading slash */
    const ProtobufCMessageDescriptor *in, *out;
    bool repeatable; /* twice is the same as once: a client may try again */
};

#define RPC_PROCEDURE(name_, in_, out_)                                                                                \
    {                                                                                                                  \
        .name = (name_), .in = &in_##__descriptor, .out = &out_##__descriptor                                          \
    }

/* in: the message received. out: initialised, to be filled; strings from the arena or static. */
typedef enum err rpc_handler(struct request *req, const void *in, void *out);

struct rpc_method {
    struct rpc_procedure procedure;
    rpc_handler *handler;
    enum access access;
};

struct rpc_server_settings {
    const char *listen; /* address:port; port 0 takes a free one */
    int message_bytes_max;
    int requests_max;      /* running in one process, at most; beyond it RESOURCE_EXHAUSTED at once */
    int latency_target_ms; /* when most take longer, fewer are let in: limit.h; 0: always requests_max */
    int streams_max;       /* concurrent calls a connection */
    int deadline_ms;       /* for calls that bring none, and the most for those that do */
    int keepalive_ms;
    int connection_age_ms;         /* then GOAWAY, so that clients spread over new addresses; 0: never */
    struct rpc_identity *identity; /* NULL: plain text */
    const char *allow; /* DNS or URI names, separated by commas: callers' certificates must carry one of them */
};

/* workers: one for each loop that serves. ERR_UNAVAILABLE when the address cannot be bound. settings and tables are
 * kept. */
enum err rpc_server_open(struct rpc_server **out, const struct rpc_server_settings *settings,
                         const struct rpc_method *methods, unsigned method_count, const struct worker *workers,
                         unsigned worker_count);
int rpc_server_port(const struct rpc_server *server);
/* What Health/Check and Watch answer for "" and for each service of the table. Any thread. */
void rpc_server_serving(struct rpc_server *server, bool serving);
/* Clients that watch it, and leave when it serves no more. Any thread. */
unsigned rpc_server_watchers(const struct rpc_server *server);
/* GOAWAY, no new calls; calls in flight go on. done, if any, runs on workers[0]'s loop when the last has ended. Once.
 */
void rpc_server_drain(struct rpc_server *server, void (*done)(void *arg), void *arg);
/* Cancels what is left and frees. Not from a loop's thread; the loops must still run. */
void rpc_server_close(struct rpc_server *server);

/* --- clients */

struct rpc_client_settings {
    const char *target; /* "host:port", "dns:///host:port", "ipv4:address:port,address:port": round robin over every
                           address that says that it serves */
    int message_bytes_max;
    int calls_max; /* in flight; beyond it ERR_UNAVAILABLE */
    /* A repeatable call that met ERR_UNAVAILABLE is tried again so often, after a jittered pause, while its deadline
     * allows and retries stay below a tenth of all calls. 0: never. */
    int retries_max;
    int keepalive_ms;
    struct rpc_identity *identity; /* NULL: plain text */
    const char *peer_name;         /* that the peer's certificate must carry, whatever its address is */
};

struct rpc_client *rpc_client_open(struct loop *loop, const char *name, const struct rpc_client_settings *settings);
/* Cancels calls in flight with ERR_CANCELLED and frees when they have ended. Fiber only. */
void rpc_client_close(struct rpc_client *client);
const char *rpc_client_name(const struct rpc_client *client);

/* *out is unpacked into the arena and set on ERR_OK only. */
enum err rpc_call(struct request *req, struct rpc_client *client, const struct rpc_procedure *procedure, const void *in,
                  void *out_pointer);
/* Asks grpc.health.v1.Health/Check; ERR_OK only for SERVING. */
enum err rpc_check(struct request *req, struct rpc_client *client);

struct rpc_stats {
    uint64_t started, ended, failed, refused;
    uint64_t retried, unretried;   /* of a client: tries made again, and not made because there had been too many */
    uint64_t circuits_opened, cut; /* of a client: and calls that failed at once while one was open */
    unsigned in_flight;
    unsigned circuits_open;
    unsigned limit; /* of a server: calls that may be in flight now */
};

struct rpc_stats rpc_server_stats(const struct rpc_server *server); /* any thread */
struct rpc_stats rpc_client_stats(const struct rpc_client *client);

#endif
