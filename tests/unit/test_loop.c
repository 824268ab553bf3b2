#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/middleware.h"
#include "common/offload.h"
#include "support/support.h"

/* --- timers */

static char order[32];
static struct loop *loop;

struct named_timer {
    struct loop_timer timer;
    char name;
    bool last;
};

static void note_timer(struct loop_timer *timer)
{
    struct named_timer *t = container_of(timer, struct named_timer, timer);
    strncat(order, &t->name, 1);
    assert_true(clock_now_ns() >= timer->at_ns);
    if (t->last)
        loop_stop(loop);
}

static void test_timers_fire_in_order_of_time(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    struct named_timer timers[COUNT];
    int64_t now = clock_now_ns();
    loop = loop_new();
    order[0] = '\0';
    for (int i = 0; i < COUNT; i++) {
        int rank = (i * 7) % COUNT;
        timers[i] =
            (struct named_timer){.timer.fire = note_timer, .name = (char)('a' + rank), .last = rank == COUNT - 1};
        loop_timer_start(loop, &timers[i].timer, now + rank * NS_PER_MS / 4);
    }
    loop_timer_stop(loop, &timers[3].timer); /* 21 % 20 = 1: 'b' */
    loop_timer_stop(loop, &timers[3].timer);
    loop_run(loop);
    assert_string_equal(order, "acdefghijklmnopqrst");
    loop_free(loop);
}

static void test_a_moved_timer_fires_once_at_its_new_time(void **state)
{
    (void)state;
    loop = loop_new();
    order[0] = '\0';
    int64_t now = clock_now_ns();
    struct named_timer a = {.timer.fire = note_timer, .name = 'a'}, b = {.timer.fire = note_timer, .name = 'b'};
    struct named_timer end = {.timer.fire = note_timer, .name = 'z', .last = true};
    loop_timer_start(loop, &a.timer, now);
    loop_timer_start(loop, &b.timer, now + NS_PER_MS);
    loop_timer_start(loop, &end.timer, now + 3 * NS_PER_MS);
    loop_timer_start(loop, &a.timer, now + 2 * NS_PER_MS);
    loop_run(loop);
    assert_string_equal(order, "baz");
    loop_free(loop);
}

/* --- watches */

struct pipe_watch {
    struct loop_watch watch;
    struct loop_watch *victim;
    int seen;
};

static void read_and_stop(struct loop_watch *watch, uint32_t events)
{
    struct pipe_watch *p = container_of(watch, struct pipe_watch, watch);
    assert_true(events & EPOLLIN);
    p->seen++;
    if (p->victim)
        loop_watch(loop, p->victim, 0);
    loop_watch(loop, watch, 0);
    loop_stop(loop);
}

static void test_a_watch_removed_in_the_same_turn_hears_nothing(void **state)
{
    (void)state;
    int one[2], two[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, one), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, two), 0);
    loop = loop_new();
    struct pipe_watch a = {.watch = {.fd = one[0], .ready = read_and_stop}};
    struct pipe_watch b = {.watch = {.fd = two[0], .ready = read_and_stop}, .victim = &a.watch};
    a.victim = &b.watch;
    loop_watch(loop, &a.watch, EPOLLIN);
    loop_watch(loop, &b.watch, EPOLLIN);
    assert_int_equal(write(one[1], "x", 1) + write(two[1], "x", 1), 2);
    loop_run(loop);
    assert_int_equal(a.seen + b.seen, 1);
    loop_free(loop);
    close(one[0]), close(one[1]), close(two[0]), close(two[1]);
}

static void start_again(struct loop_timer *timer)
{
    loop_timer_start(loop, timer, 0);
}

static void test_a_timer_that_starts_itself_again_at_once_starves_nobody(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    loop = loop_new();
    struct loop_timer eager = {.fire = start_again};
    struct pipe_watch a = {.watch = {.fd = pair[0], .ready = read_and_stop}};
    loop_timer_start(loop, &eager, 0);
    loop_watch(loop, &a.watch, EPOLLIN);
    assert_int_equal(write(pair[1], "x", 1), 1);
    loop_run(loop);
    assert_int_equal(a.seen, 1);
    loop_free(loop);
    close(pair[0]), close(pair[1]);
}

static void test_many_watches_keep_their_places(void **state)
{
    (void)state;
    enum { COUNT = 150 };
    struct pipe_watch watches[COUNT];
    int pairs[COUNT][2];
    loop = loop_new();
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
        watches[i] = (struct pipe_watch){.watch = {.fd = pairs[i][0], .ready = read_and_stop}};
        loop_watch(loop, &watches[i].watch, EPOLLIN);
    }
    for (int i = 0; i < COUNT; i += 3)
        loop_watch(loop, &watches[i].watch, 0);
    for (int i = 0; i < COUNT; i += 3)
        loop_watch(loop, &watches[i].watch, EPOLLIN | EPOLLOUT), loop_watch(loop, &watches[i].watch, EPOLLIN);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(write(pairs[i][1], "x", 1), 1);
        loop_run(loop);
        assert_int_equal(watches[i].seen, 1);
    }
    loop_free(loop);
    for (int i = 0; i < COUNT; i++)
        close(pairs[i][0]), close(pairs[i][1]);
}

/* --- posts from other threads */

enum { POSTERS = 4, POSTS = 5000 };

struct post {
    struct loop_task task;
    int sequence;
    int poster;
};

static int posts_run, last_sequence[POSTERS];

static void run_post(struct loop_task *task)
{
    struct post *post = container_of(task, struct post, task);
    assert_int_equal(post->sequence, last_sequence[post->poster] + 1);
    last_sequence[post->poster] = post->sequence;
    if (++posts_run == POSTERS * POSTS)
        loop_stop(loop);
}

static void *poster(void *arg)
{
    struct post *posts = arg;
    for (int i = 0; i < POSTS; i++)
        loop_post(loop, &posts[i].task);
    return NULL;
}

static void test_posts_from_threads_run_once_and_in_order(void **state)
{
    (void)state;
    static struct post posts[POSTERS][POSTS];
    pthread_t threads[POSTERS];
    loop = loop_new();
    posts_run = 0;
    for (int p = 0; p < POSTERS; p++) {
        last_sequence[p] = -1;
        for (int i = 0; i < POSTS; i++)
            posts[p][i] = (struct post){.task.run = run_post, .sequence = i, .poster = p};
        assert_int_equal(pthread_create(&threads[p], NULL, poster, posts[p]), 0);
    }
    loop_run(loop);
    for (int p = 0; p < POSTERS; p++)
        pthread_join(threads[p], NULL);
    assert_int_equal(posts_run, POSTERS * POSTS);
    loop_free(loop);
}

/* --- hooks */

struct counted_hook {
    struct loop_hook hook;
    int count;
};

static void count_and_stop(struct loop_hook *hook)
{
    struct counted_hook *h = container_of(hook, struct counted_hook, hook);
    h->count++;
    loop_hook_remove(loop, hook);
    loop_stop(loop);
}

static void test_hooks_run_before_the_loop_sleeps(void **state)
{
    (void)state;
    struct counted_hook hook = {.hook.idle = count_and_stop};
    loop = loop_new();
    loop_hook_add(loop, &hook.hook);
    loop_run(loop);
    assert_int_equal(hook.count, 1);
    loop_free(loop);
}

/* --- fibers */

static void wait_until_past(struct request *req, void *arg)
{
    (void)req, (void)arg;
    struct fiber_wait never = {0};
    int64_t deadline = clock_now_ns() + 2 * NS_PER_MS;
    assert_int_equal(fiber_wait(&never, deadline), ERR_DEADLINE_EXCEEDED);
    assert_true(clock_now_ns() >= deadline);
    fiber_wake(&never, ERR_OK); /* too late: no effect, and no crash */
    fiber_sleep_until(clock_now_ns() + NS_PER_MS);
}

static void test_a_wait_ends_at_its_deadline(void **state)
{
    (void)state;
    test_in_fiber(NULL, wait_until_past, NULL);
}

struct waking_timer {
    struct loop_timer timer;
    struct fiber_wait wait;
};

static void wake_by_timer(struct loop_timer *timer)
{
    fiber_wake(&container_of(timer, struct waking_timer, timer)->wait, ERR_NOT_FOUND);
}

static void woken_and_expired(struct request *req, void *arg)
{
    struct waking_timer waking = {.timer.fire = wake_by_timer};
    int64_t past_ns = clock_now_ns() - NS_PER_MS;
    (void)arg;
    loop_timer_start(req->worker->loop, &waking.timer, past_ns);
    assert_int_equal(fiber_wait(&waking.wait, past_ns + 1), ERR_NOT_FOUND);
}

static void test_a_wait_that_is_woken_in_the_turn_of_its_deadline_is_woken(void **state)
{
    (void)state;
    test_in_fiber(NULL, woken_and_expired, NULL);
}

static void wake_other(void *arg)
{
    fiber_wake(arg, ERR_ABORTED);
    fiber_wake(arg, ERR_OK);
}

static void wait_for_other(struct request *req, void *arg)
{
    (void)arg;
    struct fiber_wait wait = {0};
    fiber_start(req->worker->loop, wake_other, &wait);
    assert_int_equal(fiber_wait(&wait, CLOCK_NEVER), ERR_ABORTED);
    assert_int_equal(fiber_wait(&wait, CLOCK_NEVER), ERR_ABORTED); /* already woken */
}

static void test_only_the_first_wake_counts(void **state)
{
    (void)state;
    test_in_fiber(NULL, wait_for_other, NULL);
}

static int deep(int depth)
{
    volatile char frame[64] = {0};
    return depth == 0 ? frame[0] : deep(depth - 1) + 1;
}

struct crowd {
    struct fiber_queue queue;
    struct fiber_wait all_done;
    int started, ended, sum;
};

static void crowd_member(void *arg)
{
    struct crowd *crowd = arg;
    int number = crowd->started++;
    assert_int_equal(deep(500), 500);
    assert_int_equal(fiber_queue_wait(&crowd->queue, CLOCK_NEVER), ERR_OK);
    fiber_yield();
    crowd->sum += number;
    if (++crowd->ended == 300)
        fiber_wake(&crowd->all_done, ERR_OK);
}

static void run_crowd(struct request *req, void *arg)
{
    (void)arg;
    struct crowd crowd = {0};
    fiber_queue_init(&crowd.queue);
    for (int round = 0; round < 2; round++) {
        crowd = (struct crowd){0};
        fiber_queue_init(&crowd.queue);
        for (int i = 0; i < 300; i++)
            fiber_start(req->worker->loop, crowd_member, &crowd);
        fiber_yield();
        assert_int_equal(crowd.queue.count, 300);
        assert_int_equal(fiber_count(req->worker->loop), 301);
        assert_true(fiber_queue_wake(&crowd.queue, ERR_OK));
        fiber_queue_wake_all(&crowd.queue, ERR_OK);
        assert_int_equal(fiber_wait(&crowd.all_done, CLOCK_NEVER), ERR_OK);
        assert_int_equal(crowd.sum, 299 * 300 / 2);
        assert_false(fiber_queue_wake(&crowd.queue, ERR_OK));
    }
}

static void test_hundreds_of_fibers_take_turns(void **state)
{
    (void)state;
    test_in_fiber(NULL, run_crowd, NULL);
}

static void queue_times_out(struct request *req, void *arg)
{
    (void)req, (void)arg;
    struct fiber_queue queue;
    fiber_queue_init(&queue);
    assert_int_equal(fiber_queue_wait(&queue, clock_now_ns() + NS_PER_MS), ERR_DEADLINE_EXCEEDED);
    assert_int_equal(queue.count, 0);
    assert_false(fiber_queue_wake(&queue, ERR_OK));
}

static void test_who_leaves_a_queue_is_not_woken(void **state)
{
    (void)state;
    test_in_fiber(NULL, queue_times_out, NULL);
}

/* --- requests */

static void deadline_passes(struct request *req, void *arg)
{
    (void)arg;
    struct fiber_wait never = {0};
    req->deadline_ns = clock_now_ns() + NS_PER_MS;
    assert_int_equal(request_wait(req, &never), ERR_DEADLINE_EXCEEDED);
    assert_int_equal(req->failure.err, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(request_check(req), ERR_DEADLINE_EXCEEDED);
    struct fiber_wait other = {0};
    assert_int_equal(request_wait(req, &other), ERR_DEADLINE_EXCEEDED);
}

static void test_a_request_does_not_wait_beyond_its_deadline(void **state)
{
    (void)state;
    test_in_fiber(NULL, deadline_passes, NULL);
}

static void cancel_request(void *arg)
{
    request_cancel(arg);
    request_cancel(arg);
}

static void caller_goes(struct request *req, void *arg)
{
    (void)arg;
    struct fiber_wait never = {0};
    fiber_start(req->worker->loop, cancel_request, req);
    assert_int_equal(request_wait(req, &never), ERR_CANCELLED);
    assert_int_equal(request_wait(req, &never), ERR_CANCELLED);
    fiber_wake(&never, ERR_OK);
}

static void test_a_cancelled_request_stops_waiting(void **state)
{
    (void)state;
    test_in_fiber(NULL, caller_goes, NULL);
}

static void record_failures(struct request *req, void *arg)
{
    (void)arg;
    assert_int_equal(fail(req, ERR_NOT_FOUND, "order %d", 7), ERR_NOT_FOUND);
    assert_string_equal(req->failure.detail, "order 7");
    assert_int_equal(fail_as(req, ERR_ALREADY_EXISTS, 422, "Reused", "key %s", "k"), ERR_ALREADY_EXISTS);
    assert_int_equal(req->failure.http_status, 422);
    assert_string_equal(req->failure.title, "Reused");
    struct response res = {0};
    response_header(req, &res, "A", "1");
    response_header(req, &res, "B", "2");
    assert_string_equal(res.headers->name, "B");
    assert_string_equal(res.headers->next->name, "A");
}

static void test_the_last_recorded_failure_counts(void **state)
{
    (void)state;
    test_in_fiber(NULL, record_failures, NULL);
}

/* --- middleware */

static char seen[64];
static enum err refuse_with;

static enum err begin_a(struct request *req, struct call *call, void **state)
{
    (void)req;
    strcat(seen, "a");
    *state = call;
    return ERR_OK;
}

static enum err begin_b(struct request *req, struct call *call, void **state)
{
    (void)req, (void)call, (void)state;
    strcat(seen, "b");
    return refuse_with;
}

static void end_a(struct request *req, struct call *call, enum err err, void **state)
{
    (void)req, (void)err;
    assert_ptr_equal(*state, call);
    strcat(seen, "A");
}

static void end_b(struct request *req, struct call *call, enum err err, void **state)
{
    (void)req, (void)call, (void)err, (void)state;
    strcat(seen, "B");
}

static const char *carrier_get(const struct carrier *carrier, const char *key)
{
    (void)carrier;
    return strcmp(key, "traceparent") == 0 ? "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" : NULL;
}

static char injected[TRACE_PARENT_BYTES];

static void carrier_set(const struct carrier *carrier, const char *key, const char *value)
{
    (void)carrier;
    if (strcmp(key, "traceparent") == 0)
        strcpy(injected, value);
}

static void calls_are_seen(struct request *req, void *arg)
{
    (void)arg;
    static const struct middleware a = {.name = "a", .begin = begin_a, .end = end_a};
    static const struct middleware b = {.name = "b", .begin = begin_b, .end = end_b};
    middleware_use(&a);
    middleware_use(&b);
    const struct carrier carrier = {.get = carrier_get, .set = carrier_set};
    struct trace_context before = req->trace;
    struct call server = {.kind = CALL_RPC_SERVER, .name = "x.Y/Z", .carrier = &carrier};
    assert_int_equal(call_begin(req, &server), ERR_OK);
    assert_int_equal(req->trace.trace_id[0], 0x0a);
    assert_int_equal(req->trace.flags, 1);
    struct call client = {.kind = CALL_RPC_CLIENT, .name = "x.Y/Z", .carrier = &carrier};
    refuse_with = ERR_UNAUTHENTICATED;
    assert_int_equal(call_begin(req, &client), ERR_OK); /* only servers can be refused */
    assert_int_equal(memcmp(injected + 3, "0af7651916cd43dd8448eb211c80319c", 32), 0);
    call_end(req, &client, ERR_OK);
    call_end(req, &server, ERR_OK);
    assert_memory_equal(&req->trace, &before, sizeof before);
    assert_string_equal(seen, "ababBABA");
    assert_int_equal(call_begin(req, &server), ERR_UNAUTHENTICATED);
    call_end(req, &server, ERR_UNAUTHENTICATED);
}

static void test_middleware_sees_calls_and_can_refuse_them(void **state)
{
    (void)state;
    test_in_fiber(NULL, calls_are_seen, NULL);
}

/* --- offload */

struct gate {
    pthread_mutex_t lock;
    pthread_t ran_on;
    int ran;
};

static void enter_gate(void *arg)
{
    struct gate *gate = arg;
    pthread_mutex_lock(&gate->lock);
    gate->ran++;
    gate->ran_on = pthread_self();
    pthread_mutex_unlock(&gate->lock);
}

struct offload_crowd {
    struct request *req;
    struct gate *gate;
    struct fiber_wait done;
    int ok, refused;
};

static void offload_member(void *arg)
{
    struct offload_crowd *crowd = arg;
    enum err err = offload_run(crowd->req, enter_gate, crowd->gate);
    if (err)
        crowd->refused++;
    else
        crowd->ok++;
    if (crowd->ok + crowd->refused == 5)
        fiber_wake(&crowd->done, ERR_OK);
}

static void offload_and_overflow(struct request *req, void *arg)
{
    (void)arg;
    struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER};
    offload_start(1, 2);
    assert_int_equal(offload_run(req, enter_gate, &gate), ERR_OK);
    assert_false(pthread_equal(gate.ran_on, pthread_self()));
    struct offload_crowd crowd = {.req = req, .gate = &gate};
    pthread_mutex_lock(&gate.lock); /* nothing gets through: one runs, two wait, two are refused */
    fiber_start(req->worker->loop, offload_member, &crowd);
    fiber_yield();
    while (offload_stats().running == 0)
        fiber_yield();
    for (int i = 0; i < 4; i++)
        fiber_start(req->worker->loop, offload_member, &crowd);
    fiber_yield();
    assert_int_equal(crowd.refused, 2);
    assert_int_equal(offload_stats().waiting, 2);
    pthread_mutex_unlock(&gate.lock);
    assert_int_equal(request_wait(req, &crowd.done), ERR_OK);
    assert_int_equal(crowd.ok, 3);
    assert_int_equal(offload_stats().refused, 2);
    offload_stop();
    assert_int_equal(offload_run(req, enter_gate, &gate), ERR_RESOURCE_EXHAUSTED);
}

static void test_offloaded_work_runs_elsewhere_and_is_bounded(void **state)
{
    (void)state;
    test_in_fiber(NULL, offload_and_overflow, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_fire_in_order_of_time),
        cmocka_unit_test(test_a_moved_timer_fires_once_at_its_new_time),
        cmocka_unit_test(test_a_watch_removed_in_the_same_turn_hears_nothing),
        cmocka_unit_test(test_a_timer_that_starts_itself_again_at_once_starves_nobody),
        cmocka_unit_test(test_many_watches_keep_their_places),
        cmocka_unit_test(test_posts_from_threads_run_once_and_in_order),
        cmocka_unit_test(test_hooks_run_before_the_loop_sleeps),
        cmocka_unit_test(test_a_wait_ends_at_its_deadline),
        cmocka_unit_test(test_a_wait_that_is_woken_in_the_turn_of_its_deadline_is_woken),
        cmocka_unit_test(test_only_the_first_wake_counts),
        cmocka_unit_test(test_hundreds_of_fibers_take_turns),
        cmocka_unit_test(test_who_leaves_a_queue_is_not_woken),
        cmocka_unit_test(test_a_request_does_not_wait_beyond_its_deadline),
        cmocka_unit_test(test_a_cancelled_request_stops_waiting),
        cmocka_unit_test(test_the_last_recorded_failure_counts),
        cmocka_unit_test(test_middleware_sees_calls_and_can_refuse_them),
        cmocka_unit_test(test_offloaded_work_runs_elsewhere_and_is_bounded),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
