/* What the loop and its fibers share. */
#ifndef LOOP_INTERNAL_H
#define LOOP_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/fiber.h"
#include "common/loop.h"

struct fiber_pool {
    struct list ready; /* to be resumed in this turn */
    struct list idle;  /* stacks without work */
    unsigned idle_count;
    unsigned live;
    struct fiber *current;
    void *home; /* the loop's own context, while a fiber runs */
    void *home_tsan;
    const void *home_stack; /* for AddressSanitizer */
    size_t home_stack_bytes;
};

struct loop {
    int epoll_fd, wake_fd;
    struct loop_watch wake;
    int64_t now_ns;
    _Atomic(struct loop_task *) inbox; /* newest first */
    atomic_bool sleeping;
    atomic_bool stopping;
    struct loop_timer **timers; /* a binary heap; element 0 is unused */
    unsigned timer_count, timer_room;
    struct loop_watch **watches; /* by index; entry 0 is unused */
    unsigned watch_room;
    unsigned free_watch; /* search starts here */
    struct list hooks;
    struct fiber_pool fibers;
};

void fiber_pool_init(struct fiber_pool *pool);
void fiber_pool_done(struct fiber_pool *pool);
/* Resumes every fiber that is ready now; true when there was one. */
bool fiber_pool_run(struct loop *loop);

#endif
