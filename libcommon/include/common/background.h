/* Background tasks: work that a service does beside its requests, on each loop.
 *
 * A task runs when it is woken, and at least once an interval, never twice at a time on one loop. Its
 * request has an arena, a trace and a deadline of its own. A failure is logged when it begins and
 * when it ends, not at each try. Loop thread only. */
#ifndef COMMON_BACKGROUND_H
#define COMMON_BACKGROUND_H

#include <stdbool.h>

#include "common/err.h"

struct background;
struct request;
struct worker;

struct background_task {
    const char *name;
    /* One round; *out_more (false before) asks for another one at once. */
    enum err (*run)(struct request *req, bool *out_more);
    int interval_ms;
    int pause_ms;    /* between rounds that were asked for, so that work collects */
    int deadline_ms; /* of a round */
};

/* Starts the tasks of the table, which is kept. */
struct background *background_start(const struct worker *worker, const struct background_task *tasks, unsigned count);
/* Asks for a round of the task at this place of the table. */
void background_wake(const struct worker *worker, unsigned task);
/* Lets each task end its round, and once more when it was woken meanwhile; frees. Fiber only. */
void background_stop(struct background *background);

#endif
