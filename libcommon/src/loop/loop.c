/* One turn: due timers, the inbox, ready fibers, flush points, then events. A descriptor is registered
 * with epoll by the index of its watch, so that an event for a watch that a callback of the same turn
 * removed finds an empty slot instead of freed memory. */
#include "loop/internal.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

enum { EVENTS_A_TURN = 128, ROUNDS_A_TURN = 16 };

static _Thread_local struct loop *current;

/* --- descriptors */

static unsigned find_slot(struct loop *loop)
{
    for (unsigned i = loop->free_watch; i < loop->watch_room; i++)
        if (!loop->watches[i])
            return i;
    unsigned first = loop->watch_room;
    loop->watch_room = first ? first * 2 : 64;
    loop->watches = mem_resize(loop->watches, loop->watch_room, sizeof(struct loop_watch *));
    for (unsigned i = first; i < loop->watch_room; i++)
        loop->watches[i] = NULL;
    return first ? first : 1;
}

static void watch_add(struct loop *loop, struct loop_watch *watch)
{
    watch->index = find_slot(loop);
    loop->free_watch = watch->index + 1;
    loop->watches[watch->index] = watch;
}

static void watch_remove(struct loop *loop, struct loop_watch *watch)
{
    loop->watches[watch->index] = NULL;
    if (watch->index < loop->free_watch)
        loop->free_watch = watch->index;
    watch->index = 0;
}

void loop_watch(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
    if (events == watch->events)
        return;
    int operation = watch->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    if (operation == EPOLL_CTL_ADD)
        watch_add(loop, watch);
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)watch->index << 32 | (uint32_t)watch->fd};
    /* Removing a descriptor that was closed first fails, and is as good as removed. */
    if (epoll_ctl(loop->epoll_fd, operation, watch->fd, &event) < 0 && operation != EPOLL_CTL_DEL)
        log_event(LOG_ERROR, "cannot watch a descriptor", log_int("fd", watch->fd), log_int("errno", errno));
    watch->events = events;
    if (operation == EPOLL_CTL_DEL)
        watch_remove(loop, watch);
}

/* --- timers: a binary heap with its root at 1 */

static void place(struct loop *loop, struct loop_timer *timer, unsigned index)
{
    loop->timers[index] = timer;
    timer->index = index;
}

static void sift_up(struct loop *loop, struct loop_timer *timer, unsigned index)
{
    for (; index > 1 && loop->timers[index / 2]->at_ns > timer->at_ns; index /= 2)
        place(loop, loop->timers[index / 2], index);
    place(loop, timer, index);
}

static void sift_down(struct loop *loop, struct loop_timer *timer, unsigned index)
{
    for (;;) {
        unsigned child = index * 2;
        if (child > loop->timer_count)
            break;
        if (child < loop->timer_count && loop->timers[child + 1]->at_ns < loop->timers[child]->at_ns)
            child++;
        if (loop->timers[child]->at_ns >= timer->at_ns)
            break;
        place(loop, loop->timers[child], index);
        index = child;
    }
    place(loop, timer, index);
}

void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    unsigned index = timer->index;
    if (index == 0)
        return;
    timer->index = 0;
    struct loop_timer *last = loop->timers[loop->timer_count--];
    if (last == timer)
        return;
    if (index > 1 && loop->timers[index / 2]->at_ns > last->at_ns)
        sift_up(loop, last, index);
    else
        sift_down(loop, last, index);
}

void loop_timer_start(struct loop *loop, struct loop_timer *timer, int64_t at_ns)
{
    loop_timer_stop(loop, timer);
    timer->at_ns = at_ns;
    if (loop->timer_count + 1 >= loop->timer_room) {
        loop->timer_room = loop->timer_room ? loop->timer_room * 2 : 64;
        loop->timers = mem_resize(loop->timers, loop->timer_room, sizeof(struct loop_timer *));
    }
    sift_up(loop, timer, ++loop->timer_count);
}

/* A timer that starts itself again at once has its turn in the next round. */
static bool run_timers(struct loop *loop)
{
    bool any = false;
    for (unsigned left = loop->timer_count; left > 0 && loop->timer_count > 0; left--) {
        struct loop_timer *timer = loop->timers[1];
        if (timer->at_ns > loop->now_ns)
            break;
        loop_timer_stop(loop, timer);
        timer->fire(timer);
        any = true;
    }
    return any;
}

/* --- the inbox */

static void write_wake(struct loop *loop)
{
    uint64_t one = 1;
    while (write(loop->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void wake(struct loop *loop)
{
    if (atomic_load(&loop->sleeping) && atomic_exchange(&loop->sleeping, false))
        write_wake(loop);
}

void loop_post(struct loop *loop, struct loop_task *task)
{
    struct loop_task *head = atomic_load_explicit(&loop->inbox, memory_order_relaxed);
    do
        task->next = head;
    while (!atomic_compare_exchange_weak(&loop->inbox, &head, task));
    wake(loop);
}

static bool run_inbox(struct loop *loop)
{
    if (!atomic_load_explicit(&loop->inbox, memory_order_relaxed))
        return false;
    struct loop_task *newest = atomic_exchange(&loop->inbox, NULL);
    struct loop_task *in_order = NULL;
    for (struct loop_task *next; newest; newest = next) {
        next = newest->next;
        newest->next = in_order;
        in_order = newest;
    }
    for (struct loop_task *next; in_order; in_order = next) {
        next = in_order->next;
        in_order->run(in_order);
    }
    return true;
}

static void drain_wake(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    uint64_t count;
    if (read(watch->fd, &count, sizeof count) < 0)
        return; /* somebody else's wake was read before: nothing to do */
}

/* --- turns */

static void run_hooks(struct loop *loop, bool resting)
{
    list_each_safe (node, &loop->hooks) {
        struct loop_hook *hook = container_of(node, struct loop_hook, list);
        if (!resting)
            hook->idle(hook);
        else if (hook->rest)
            hook->rest(hook);
    }
}

void loop_hook_add(struct loop *loop, struct loop_hook *hook)
{
    list_append(&loop->hooks, &hook->list);
}

void loop_hook_remove(struct loop *loop, struct loop_hook *hook)
{
    (void)loop;
    list_remove(&hook->list);
}

static bool has_work(struct loop *loop)
{
    return atomic_load(&loop->inbox) || !list_empty(&loop->fibers.ready);
}

static bool timer_is_due(const struct loop *loop)
{
    return loop->timer_count > 0 && loop->timers[1]->at_ns <= clock_now_ns();
}

static int sleep_ms(const struct loop *loop)
{
    if (loop->timer_count == 0)
        return -1;
    int64_t left = loop->timers[1]->at_ns - clock_now_ns();
    if (left <= 0)
        return 0;
    int64_t ms = (left + NS_PER_MS - 1) / NS_PER_MS;
    return ms > 60000 ? 60000 : (int)ms;
}

static bool take_events(struct loop *loop, bool may_sleep)
{
    struct epoll_event events[EVENTS_A_TURN] __attribute__((uninitialized));
    int timeout = 0;
    if (may_sleep) {
        /* From here on a poster must write; work that came before is seen by has_work(). */
        atomic_store(&loop->sleeping, true);
        timeout = has_work(loop) || atomic_load(&loop->stopping) ? 0 : sleep_ms(loop);
        if (timeout != 0)
            log_flush();
    }
    int count = epoll_wait(loop->epoll_fd, events, EVENTS_A_TURN, timeout);
    if (may_sleep)
        atomic_store(&loop->sleeping, false);
    loop->now_ns = clock_now_ns();
    for (int i = 0; i < count; i++) {
        struct loop_watch *watch = loop->watches[events[i].data.u64 >> 32];
        if (watch && watch->fd == (int)(uint32_t)events[i].data.u64)
            watch->ready(watch, events[i].events);
    }
    return count > 0;
}

/* Timers and posts may make fibers ready and the other way round; a bounded number of rounds keeps descriptors from
 * starving. */
static bool run_ready(struct loop *loop)
{
    bool any = false, again = true;
    for (unsigned round = 0; again && round < ROUNDS_A_TURN; round++) {
        again = run_timers(loop);
        again |= run_inbox(loop);
        again |= fiber_pool_run(loop);
        any |= again;
    }
    return any;
}

void loop_run(struct loop *loop)
{
    current = loop;
    log_buffered(true);
    loop->now_ns = clock_now_ns();
    bool yielded = false;
    while (!atomic_load(&loop->stopping)) {
        bool worked = run_ready(loop);
        run_hooks(loop, false);
        if (worked || has_work(loop) || timer_is_due(loop)) {
            take_events(loop, false);
            yielded = false;
        } else if (!yielded) {
            /* On a busy machine the others get the processor first, and their work is then taken together: fewer
             * sleeps, wake-ups and system calls for each piece. On an idle one this returns at once. */
            sched_yield();
            yielded = !take_events(loop, false);
        } else {
            run_hooks(loop, true);
            take_events(loop, true);
            yielded = false;
        }
    }
    atomic_store(&loop->stopping, false);
    log_buffered(false);
    current = NULL;
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stopping, true);
    write_wake(loop);
}

struct loop *loop_current(void)
{
    return current;
}

int64_t loop_now_ns(const struct loop *loop)
{
    return loop->now_ns;
}

struct loop *loop_new(void)
{
    struct loop *loop = mem_alloc(sizeof *loop);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    list_init(&loop->hooks);
    fiber_pool_init(&loop->fibers);
    if (loop->epoll_fd < 0 || loop->wake_fd < 0) {
        int saved = errno;
        loop_free(loop);
        errno = saved;
        return NULL;
    }
    loop->now_ns = clock_now_ns();
    loop->free_watch = 1;
    loop->wake = (struct loop_watch){.fd = loop->wake_fd, .ready = drain_wake};
    loop_watch(loop, &loop->wake, EPOLLIN);
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    fiber_pool_done(&loop->fibers);
    free(loop->timers);
    free(loop->watches);
    free(loop);
}
