/* The server's inside: a lane for each loop, places where calls arrive, calls being served. */
#ifndef RPC_SERVING_H
#define RPC_SERVING_H

#include <semaphore.h>
#include <stdatomic.h>

#include "common/limit.h"
#include "common/list.h"
#include "common/request.h"
#include "common/rpc.h"
#include "rpc/counters.h"
#include "rpc/queue.h"

enum { RPC_SPARE_MAX = 128 };

struct rpc_place;
struct rpc_lane;

/* How one method's calls are taken. */
struct rpc_entry {
    struct rpc_method method;
    void *registered; /* grpc's handle; NULL: all methods that are not in the table */
    unsigned places;  /* calls that may arrive before the loop looks */
    void (*arrived)(struct rpc_place *place);
    bool internal; /* not announced to the middleware and not limited: health checks */
};

/* Where a call arrives. Posted to grpc again as soon as the call was moved out. */
struct rpc_place {
    struct rpc_operation arrival;
    struct rpc_lane *lane;
    const struct rpc_entry *entry;
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *payload;
    grpc_call_details details; /* of unknown methods */
};

/* A call being served. */
struct rpc_serving {
    struct rpc_operation closing, sending;
    struct rpc_serving *next; /* in the lane's spare ones */
    struct rpc_lane *lane;
    const struct rpc_entry *entry;
    grpc_call *call;
    grpc_metadata_array metadata;
    grpc_byte_buffer *payload;
    grpc_metadata origin; /* of a failed call's status */
    int cancelled;        /* written by grpc */
    bool running;         /* the handler */
    bool admitted;
    int64_t admitted_ns;
    bool closing_started;
    unsigned holds; /* fiber and operations under way */
    struct arena arena;
    struct request request;
};

/* The server's part on one loop; its loop's thread only. */
struct rpc_lane {
    struct rpc_server *server;
    const struct worker *worker;
    struct rpc_queue *queue;
    struct rpc_place *places;
    unsigned place_count;
    struct rpc_serving *spare;
    unsigned spare_count;
    struct list watchers;
    struct loop_task tell; /* the serving status changed, or the server drains */
    atomic_bool told;
    unsigned out; /* places posted, calls served and watchers: 0 only after a drain */
    struct rpc_counters counters;
};

struct rpc_server {
    const struct rpc_server_settings *settings;
    struct rpc_entry *entries;
    unsigned entry_count;
    struct rpc_lane *lanes;
    unsigned lane_count;
    grpc_server *core;
    int port;
    atomic_bool serving;
    atomic_bool draining;
    struct limit requests;
    atomic_uint watchers;
    atomic_uint lanes_out;
    struct rpc_operation drained;
    struct loop_task report;
    void (*done)(void *arg);
    void *done_arg;
    sem_t home;
};

void rpc_place_post(struct rpc_place *place);
void rpc_place_arrived(struct loop_task *task);
/* Takes the call out of its place; the place may be posted again. */
struct rpc_serving *rpc_serving_take(struct rpc_place *place);
void rpc_serving_free(struct rpc_serving *serving);
/* Something of the lane came home. */
void rpc_lane_leave(struct rpc_lane *lane);

/* The ways to take a call. */
void rpc_arrived(struct rpc_place *place);
void rpc_unknown_arrived(struct rpc_place *place);

/* The last operation of a call: its status. origin is space that stays until the operation ended. */
grpc_op rpc_status_op(enum err err, grpc_slice *detail, grpc_metadata *origin);

#endif
