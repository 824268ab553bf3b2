/* The event loop: one epoll set, timers, an inbox for other threads, and fibers.
 *
 * A loop belongs to the thread that runs it; everything here is for that thread alone
 * except loop_post() and loop_stop(). Memory of watches, timers, tasks and hooks is the
 * caller's and must stay until they are removed, have fired or have run. Times are
 * monotonic nanoseconds (clock.h). Callbacks may do anything, removing themselves too. */
#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/list.h"

struct loop;

struct loop *loop_new(void); /* NULL and errno when the kernel gives no descriptors */
/* Every thread that posts must have ended before: a post may still touch the loop after its task has run. */
void loop_free(struct loop *loop);
/* Runs until loop_stop(); makes loop current for this thread. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop); /* any thread */
struct loop *loop_current(void);   /* of this thread, or NULL */

/* A descriptor watch, level-triggered. events are EPOLLIN, EPOLLOUT. */
struct loop_watch {
    void (*ready)(struct loop_watch *watch, uint32_t events);
    int fd;
    uint32_t events; /* read-only: what is watched now, 0 = not in the set */
    unsigned index;  /* private */
};

void loop_watch(struct loop *loop, struct loop_watch *watch, uint32_t events); /* adds or changes; 0 removes */

struct loop_timer {
    void (*fire)(struct loop_timer *timer);
    int64_t at_ns;  /* read-only */
    unsigned index; /* private: 0 = not running */
};

/* Starts or moves a timer; it fires once, never before at_ns. */
void loop_timer_start(struct loop *loop, struct loop_timer *timer, int64_t at_ns);
void loop_timer_stop(struct loop *loop, struct loop_timer *timer);

/* Work handed to the loop from any thread; run in order, once. */
struct loop_task {
    void (*run)(struct loop_task *task);
    struct loop_task *next; /* private */
};

void loop_post(struct loop *loop, struct loop_task *task); /* any thread */

/* Flush points. idle: nothing more can run until an event comes; what was collected must leave now. Called at least
 * once before each sleep. rest (or NULL): the loop sleeps next unless something is posted. */
struct loop_hook {
    struct list list; /* private */
    void (*idle)(struct loop_hook *hook);
    void (*rest)(struct loop_hook *hook);
};

void loop_hook_add(struct loop *loop, struct loop_hook *hook);
void loop_hook_remove(struct loop *loop, struct loop_hook *hook);

/* The loop's own reading of the clock, taken once a turn. */
int64_t loop_now_ns(const struct loop *loop);

#endif
