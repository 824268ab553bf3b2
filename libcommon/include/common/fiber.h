/* Fibers: functions that may wait without holding their thread.
 *
 * A fiber runs on the loop that started it, from its first line to its last, on a stack of
 * its own (256 KiB, reserved, touched as needed) with a guard page. It gives the thread away
 * only inside fiber_wait() and what is built upon it. Loop thread only. No locks may be held
 * across a wait. */
#ifndef COMMON_FIBER_H
#define COMMON_FIBER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/list.h"

struct loop;
struct fiber;

/* Runs fn(arg) in a fiber. Called outside a fiber it runs at once until its first wait;
 * inside one it is put on the loop's run queue. */
void fiber_start(struct loop *loop, void (*fn)(void *arg), void *arg);
struct fiber *fiber_current(void); /* NULL outside of fibers */
/* Fibers of this loop that have not ended. */
unsigned fiber_count(const struct loop *loop);

/* What one fiber waits for, once. Lives with the operation, which may outlive the wait. */
struct fiber_wait {
    struct fiber *fiber; /* private: who is parked here */
    bool done;           /* read-only */
    enum err err;        /* read-only: what the waker said */
};

/* Parks until fiber_wake(), or until deadline_ns: then ERR_DEADLINE_EXCEEDED and the wait may
 * still be woken later, to no effect. Returns at once when already woken. */
enum err fiber_wait(struct fiber_wait *wait, int64_t deadline_ns);
/* Ends the wait with err; the fiber runs in this turn of the loop. Only the first wake counts. */
void fiber_wake(struct fiber_wait *wait, enum err err);
/* Ends the wait with ERR_CANCELLED without marking it done: whoever it waits for may still wake it, to no effect. */
void fiber_interrupt(struct fiber_wait *wait);
/* Waits for a time. */
void fiber_sleep_until(int64_t at_ns);
/* Lets the other fibers that are ready run first. */
void fiber_yield(void);

/* Fibers that wait in turn for the same thing. */
struct fiber_queue {
    struct list waiting; /* private */
    unsigned count;      /* read-only */
};

void fiber_queue_init(struct fiber_queue *queue);
enum err fiber_queue_wait(struct fiber_queue *queue, int64_t deadline_ns);
/* Wakes the one that waits longest; false when nobody does. */
bool fiber_queue_wake(struct fiber_queue *queue, enum err err);
void fiber_queue_wake_all(struct fiber_queue *queue, enum err err);

#endif
