#include "common/background.h"
#include "common/loop.h"
#include "support/support.h"

static struct {
    int rounds, more, fails;
    struct fiber_wait reached;
    int reach;
} task;

static enum err count_round(struct request *req, bool *out_more)
{
    task.rounds++;
    assert_false(*out_more);
    *out_more = task.more-- > 0;
    if (task.rounds == task.reach)
        fiber_wake(&task.reached, ERR_OK);
    return task.fails-- > 0 ? fail(req, ERR_UNAVAILABLE, "not now") : ERR_OK;
}

static const struct background_task slow[] = {
    {.name = "slow", .run = count_round, .interval_ms = 3600000, .pause_ms = 1, .deadline_ms = 1000}};
static const struct background_task quick[] = {
    {.name = "quick", .run = count_round, .interval_ms = 1, .pause_ms = 1, .deadline_ms = 1000}};

static struct worker worker_of(struct request *req)
{
    return (struct worker){.loop = req->worker->loop};
}

static void reach(int rounds)
{
    task.reach = rounds;
    task.reached = (struct fiber_wait){0};
    if (task.rounds < rounds)
        assert_int_equal(fiber_wait(&task.reached, clock_now_ns() + 10 * NS_PER_S), ERR_OK);
}

static void wakes(struct request *req, void *arg)
{
    (void)arg;
    struct worker worker = worker_of(req);
    task.rounds = task.more = task.fails = 0;
    worker.background = background_start(&worker, slow, 1);
    fiber_yield();
    assert_int_equal(task.rounds, 1);
    background_wake(&worker, 0);
    background_wake(&worker, 0);
    reach(2);
    task.more = 3; /* asked for by the task itself: no sleep between */
    background_wake(&worker, 0);
    reach(6);
    background_wake(&worker, 0);
    background_stop(worker.background); /* what was asked for before the stop is still done */
    assert_int_equal(task.rounds, 7);
    worker.background = NULL;
    background_wake(&worker, 0);
    background_stop(NULL);
}

static void test_a_task_runs_when_it_is_woken(void **state)
{
    (void)state;
    test_in_fiber(NULL, wakes, NULL);
}

static void intervals(struct request *req, void *arg)
{
    (void)arg;
    struct worker worker = worker_of(req);
    task.rounds = task.more = 0;
    task.fails = 2;
    worker.background = background_start(&worker, quick, 1);
    reach(5);
    background_stop(worker.background);
}

static void test_a_failing_task_goes_on_by_its_interval(void **state)
{
    (void)state;
    test_in_fiber(NULL, intervals, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_task_runs_when_it_is_woken),
        cmocka_unit_test(test_a_failing_task_goes_on_by_its_interval),
    };
    return cmocka_run_group_tests_name("background", tests, NULL, NULL);
}
