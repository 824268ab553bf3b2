/* The offload pool: threads for what blocks (name look-ups, password hashes, files).
 *
 * One pool a process. offload_run() parks the calling fiber until fn has run elsewhere; fn
 * must not touch the loop, the request or its arena. At most queue_max calls wait. */
#ifndef COMMON_OFFLOAD_H
#define COMMON_OFFLOAD_H

#include <stdint.h>

#include "common/err.h"

struct request;

struct offload_stats {
    uint64_t done, refused;
    unsigned waiting, running;
};

void offload_start(unsigned threads, unsigned queue_max);
void offload_stop(void); /* after the last fiber; waits for what runs */
/* ERR_RESOURCE_EXHAUSTED when the queue is full. Not ended early by the request's deadline: fn owns arg until it
 * returns. */
enum err offload_run(struct request *req, void (*fn)(void *arg), void *arg);
struct offload_stats offload_stats(void);

#endif
