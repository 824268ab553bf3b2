#include "common/clock.h"
#include "common/loop.h"
#include "support/support.h"

struct fiber_run {
    struct worker *worker;
    void (*fn)(struct request *req, void *arg);
    void *arg;
};

static void run_in_fiber(void *arg)
{
    struct fiber_run *run = arg;
    struct arena arena;
    struct request req;
    arena_init(&arena, 4096);
    request_init(&req, &arena, run->worker);
    req.deadline_ns = clock_now_ns() + 10 * NS_PER_S;
    run->fn(&req, run->arg);
    arena_done(&arena);
    loop_stop(run->worker->loop);
}

struct start_task {
    struct loop_task task;
    struct loop *loop;
    struct fiber_run *run;
};

static void start_fiber(struct loop_task *task)
{
    struct start_task *start = (struct start_task *)task;
    fiber_start(start->loop, run_in_fiber, start->run);
}

void test_in_fiber(struct worker *worker, void (*fn)(struct request *req, void *arg), void *arg)
{
    struct worker own = {0};
    if (!worker) {
        own.loop = loop_new();
        worker = &own;
    }
    struct fiber_run run = {.worker = worker, .fn = fn, .arg = arg};
    struct start_task start = {.task.run = start_fiber, .loop = worker->loop, .run = &run};
    loop_post(worker->loop, &start.task);
    loop_run(worker->loop);
    loop_free(own.loop);
}
