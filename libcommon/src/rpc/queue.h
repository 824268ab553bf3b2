/* Operations of grpc core and the completion queues that end them.
 *
 * One queue for each loop, shared by the server and the clients of that loop and counted by
 * them. An operation's task runs on the loop, once, whoever found it ended. Memory of an
 * operation stays until then. Loop thread only, except where noted. */
#ifndef RPC_QUEUE_H
#define RPC_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>

#include <grpc/grpc.h>

#include "common/loop.h"

struct rpc_queue;

struct rpc_operation {
    struct loop_task task; /* first: the operation's address is grpc's tag */
    atomic_bool published; /* private */
    bool ok;               /* read-only, when the task runs */
};

/* Before the loop runs, or on its thread, or while it runs in another one. */
struct rpc_queue *rpc_queue_take(struct loop *loop);
/* The last one ends the polling thread. On the loop's thread, or from another while the loop runs. */
void rpc_queue_give(struct rpc_queue *queue);
grpc_completion_queue *rpc_queue_core(struct rpc_queue *queue);

/* Names what runs at the end and returns the tag for grpc. Any thread. */
void *rpc_operation_begin(struct rpc_operation *operation, void (*ended)(struct loop_task *task));

/* Around calls to grpc core that may end an operation at once: spares the wake-up of the polling thread. */
void rpc_queue_enter(struct rpc_queue *queue);
void rpc_queue_leave(struct rpc_queue *queue);

/* Starts a batch; false, and ended does not run, when grpc refuses it. */
bool rpc_start(struct rpc_queue *queue, grpc_call *call, const grpc_op *ops, size_t count,
               struct rpc_operation *operation, void (*ended)(struct loop_task *task));

#endif
