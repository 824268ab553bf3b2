/* Offload pools: threads for what blocks (name look-ups, files) or takes long (password hashes).
 *
 * One pool is the process's, for what is short; who may fill a queue has a pool of its own. A run parks the calling
 * fiber until fn has run elsewhere; fn must not touch the loop, the request or its arena. At most queue_max calls
 * wait. */
#ifndef COMMON_OFFLOAD_H
#define COMMON_OFFLOAD_H

#include <stdint.h>

#include "common/err.h"

struct offload_pool;
struct request;

struct offload_stats {
    uint64_t done, refused;
    unsigned waiting, running;
};

struct offload_pool *offload_pool_open(unsigned threads, unsigned queue_max);
void offload_pool_close(struct offload_pool *pool); /* after the last fiber; waits for what runs. NULL is allowed */
/* ERR_RESOURCE_EXHAUSTED when the queue is full. Not ended early by the request's deadline: fn owns arg until it
 * returns. */
enum err offload_pool_run(struct offload_pool *pool, struct request *req, void (*fn)(void *arg), void *arg);
struct offload_stats offload_pool_stats(struct offload_pool *pool);

/* The process's pool; the same. */
void offload_start(unsigned threads, unsigned queue_max);
void offload_stop(void);
enum err offload_run(struct request *req, void (*fn)(void *arg), void *arg);
struct offload_stats offload_stats(void);

#endif
