#include "common/background.h"

#include <stdlib.h>

#include "common/list.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/request.h"

enum { ARENA_BYTES = 64 * 1024 };

struct running {
    const struct background_task *task;
    const struct worker *worker;
    struct fiber_wait *sleeping;
    struct fiber_wait ended;
    bool wanted, stopping, failing;
};

struct background {
    unsigned count;
    struct running running[];
};

static void note_outcome(struct running *running, enum err err, const struct request *req)
{
    if (err && !running->failing)
        log_event(LOG_WARN, "a background task fails, and goes on trying", log_text("task", running->task->name),
                  log_text("error", err_name(err)), log_text("reason", req->failure.detail));
    if (!err && running->failing)
        log_event(LOG_INFO, "a background task works again", log_text("task", running->task->name));
    running->failing = err != ERR_OK;
}

static enum err run_round(struct running *running, struct arena *arena, bool *out_more)
{
    struct request req;
    request_init(&req, arena, running->worker);
    req.deadline_ns = clock_now_ns() + running->task->deadline_ms * NS_PER_MS;
    const struct trace_context *outer = trace_attach(&req.trace);
    running->wanted = false;
    *out_more = false;
    enum err err = running->task->run(&req, out_more);
    note_outcome(running, err, &req);
    trace_attach(outer);
    arena_reset(arena);
    return err;
}

/* A wake counts in a long sleep only; the short pause is there to let work collect. */
static void sleep_between(struct running *running, bool soon)
{
    struct fiber_wait wait = {0};
    running->sleeping = &wait;
    int ms = soon ? running->task->pause_ms : running->task->interval_ms;
    fiber_wait(&wait, clock_now_ns() + ms * NS_PER_MS);
    running->sleeping = NULL;
}

static void run_task(void *arg)
{
    struct running *running = arg;
    struct arena arena;
    enum err err = ERR_OK;
    bool more = false;
    arena_init(&arena, ARENA_BYTES);
    while (!running->stopping || (running->wanted && !err)) {
        err = run_round(running, &arena, &more);
        if (!running->stopping && !(more && !err))
            sleep_between(running, running->wanted && !err);
    }
    arena_done(&arena);
    fiber_wake(&running->ended, ERR_OK);
}

struct background *background_start(const struct worker *worker, const struct background_task *tasks, unsigned count)
{
    struct background *background = mem_alloc(sizeof *background + count * sizeof background->running[0]);
    background->count = count;
    for (unsigned i = 0; i < count; i++) {
        background->running[i] = (struct running){.task = &tasks[i], .worker = worker};
        fiber_start(worker->loop, run_task, &background->running[i]);
    }
    return background;
}

void background_wake(const struct worker *worker, unsigned task)
{
    if (!worker->background)
        return;
    struct running *running = &worker->background->running[task];
    if (running->wanted)
        return;
    running->wanted = true;
    if (running->sleeping)
        fiber_wake(running->sleeping, ERR_OK);
}

void background_stop(struct background *background)
{
    if (!background)
        return;
    for (unsigned i = 0; i < background->count; i++) {
        struct running *running = &background->running[i];
        running->stopping = true;
        if (running->sleeping)
            fiber_wake(running->sleeping, ERR_OK);
    }
    for (unsigned i = 0; i < background->count; i++)
        fiber_wait(&background->running[i].ended, CLOCK_NEVER);
    free(background);
}
