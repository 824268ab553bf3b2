/* Stackful fibers on boost.context's two assembly routines, which keep just the callee-saved registers.
 * An ended fiber's stack is kept for the next one; beyond STACKS_KEPT it goes back to the kernel. */
#include "common/fiber.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/sanitizer.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "loop/internal.h"

#ifdef HAVE_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef HAVE_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum { STACK_BYTES = 256 * 1024, STACKS_KEPT = 128 };

/* Boost.Context's C entry points (boost/context/detail/fcontext.hpp). */
struct transfer {
    void *context;
    void *data;
};
struct transfer jump_fcontext(void *to, void *data);
void *make_fcontext(void *stack_top, size_t bytes, void (*fn)(struct transfer));

struct fiber {
    struct list list; /* in ready or idle */
    struct loop *loop;
    void *context; /* where it goes on */
    void (*fn)(void *arg);
    void *arg;
    char *stack; /* lowest usable address; the fiber itself lies at the top */
    const struct trace_context *trace;
    void *tsan;
};

/* --- switching, with what the sanitizers want to know */

static void switch_to_fiber(struct fiber *fiber)
{
    struct fiber_pool *pool = &fiber->loop->fibers;
    pool->current = fiber;
    const struct trace_context *outer = trace_attach(fiber->trace);
#ifdef HAVE_ASAN
    void *fake_stack;
    __sanitizer_start_switch_fiber(&fake_stack, fiber->stack, STACK_BYTES);
#endif
#ifdef HAVE_TSAN
    pool->home_tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fiber->tsan, 0);
#endif
    struct transfer back = jump_fcontext(fiber->context, fiber);
#ifdef HAVE_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, NULL, NULL);
#endif
    fiber->context = back.context;
    fiber->trace = trace_attach(outer);
    pool->current = NULL;
}

static void switch_home(struct fiber *fiber, bool for_good)
{
    struct fiber_pool *pool = &fiber->loop->fibers;
#ifdef HAVE_ASAN
    void *fake_stack = NULL;
    __sanitizer_start_switch_fiber(for_good ? NULL : &fake_stack, pool->home_stack, pool->home_stack_bytes);
#endif
#ifdef HAVE_TSAN
    __tsan_switch_to_fiber(pool->home_tsan, 0);
#endif
    (void)for_good;
    struct transfer from = jump_fcontext(pool->home, NULL);
    pool->home = from.context;
#ifdef HAVE_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, &pool->home_stack, &pool->home_stack_bytes);
#endif
}

/* --- life */

static void fiber_main(struct transfer from)
{
    struct fiber *fiber = from.data;
    struct fiber_pool *pool = &fiber->loop->fibers;
    pool->home = from.context;
#ifdef HAVE_ASAN
    __sanitizer_finish_switch_fiber(NULL, &pool->home_stack, &pool->home_stack_bytes);
#endif
    fiber->fn(fiber->arg);
    fiber->fn = NULL;
    switch_home(fiber, true);
    abort(); /* an ended fiber is never resumed */
}

static char *stack_new(void)
{
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, STACK_BYTES + guard, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, guard, PROT_NONE) < 0) {
        log_event(LOG_ERROR, "out of memory for a fiber's stack");
        abort();
    }
    return memory + guard;
}

static void stack_free(char *stack)
{
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    UNPOISON(stack, STACK_BYTES); /* whatever is mapped there next is not poisoned */
    munmap(stack - guard, STACK_BYTES + guard);
}

static struct fiber *fiber_new(struct loop *loop)
{
    struct fiber_pool *pool = &loop->fibers;
    struct list *node = list_take(&pool->idle);
    struct fiber *fiber;
    if (node) {
        pool->idle_count--;
        fiber = container_of(node, struct fiber, list);
    } else {
        char *stack = stack_new();
        uintptr_t top = (uintptr_t)(stack + STACK_BYTES - sizeof *fiber);
        fiber = (struct fiber *)(top & ~(uintptr_t)63);
        *fiber = (struct fiber){.loop = loop, .stack = stack};
        list_init(&fiber->list);
    }
    fiber->context = make_fcontext(fiber, (size_t)((char *)fiber - fiber->stack), fiber_main);
#ifdef HAVE_TSAN
    fiber->tsan = __tsan_create_fiber(0);
#endif
    pool->live++;
    return fiber;
}

static void fiber_release(struct fiber *fiber)
{
    struct fiber_pool *pool = &fiber->loop->fibers;
    pool->live--;
#ifdef HAVE_TSAN
    __tsan_destroy_fiber(fiber->tsan);
#endif
    if (pool->idle_count >= STACKS_KEPT) {
        stack_free(fiber->stack);
        return;
    }
    UNPOISON(fiber->stack, (size_t)((char *)fiber - fiber->stack));
    list_append(&pool->idle, &fiber->list);
    pool->idle_count++;
}

static void resume(struct fiber *fiber)
{
    switch_to_fiber(fiber);
    if (!fiber->fn)
        fiber_release(fiber);
}

void fiber_pool_init(struct fiber_pool *pool)
{
    list_init(&pool->ready);
    list_init(&pool->idle);
}

void fiber_pool_done(struct fiber_pool *pool)
{
    for (struct list *node; (node = list_take(&pool->idle));)
        stack_free(container_of(node, struct fiber, list)->stack);
}

bool fiber_pool_run(struct loop *loop)
{
    struct list *ready = &loop->fibers.ready;
    if (list_empty(ready))
        return false;
    /* Those made ready meanwhile wait for the next round. */
    struct list now;
    list_init(&now);
    while (!list_empty(ready))
        list_append(&now, list_take(ready));
    for (struct list *node; (node = list_take(&now));)
        resume(container_of(node, struct fiber, list));
    return true;
}

void fiber_start(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    struct fiber *fiber = fiber_new(loop);
    fiber->fn = fn;
    fiber->arg = arg;
    fiber->trace = NULL;
    if (loop->fibers.current || loop_current() != loop)
        list_append(&loop->fibers.ready, &fiber->list);
    else
        resume(fiber);
}

struct fiber *fiber_current(void)
{
    struct loop *loop = loop_current();
    return loop ? loop->fibers.current : NULL;
}

unsigned fiber_count(const struct loop *loop)
{
    return loop->fibers.live;
}

/* --- waiting */

static void make_ready(struct fiber *fiber)
{
    list_append(&fiber->loop->fibers.ready, &fiber->list);
}

struct wait_timer {
    struct loop_timer timer;
    struct fiber_wait *wait;
    bool expired;
};

static void wait_expired(struct loop_timer *timer)
{
    struct wait_timer *t = container_of(timer, struct wait_timer, timer);
    struct fiber *fiber = t->wait->fiber;
    if (!fiber)
        return; /* woken in the same turn, and about to run */
    t->wait->fiber = NULL;
    t->expired = true;
    make_ready(fiber);
}

enum err fiber_wait(struct fiber_wait *wait, int64_t deadline_ns)
{
    struct fiber *self = fiber_current();
    assert(self && !wait->fiber);
    if (wait->done)
        return wait->err;
    wait->fiber = self;
    struct wait_timer t = {.timer.fire = wait_expired, .wait = wait};
    if (deadline_ns != CLOCK_NEVER)
        loop_timer_start(self->loop, &t.timer, deadline_ns);
    switch_home(self, false);
    if (t.expired)
        return ERR_DEADLINE_EXCEEDED;
    loop_timer_stop(self->loop, &t.timer);
    return wait->done ? wait->err : ERR_CANCELLED;
}

void fiber_wake(struct fiber_wait *wait, enum err err)
{
    if (wait->done)
        return;
    wait->done = true;
    wait->err = err;
    if (!wait->fiber)
        return;
    make_ready(wait->fiber);
    wait->fiber = NULL;
}

void fiber_interrupt(struct fiber_wait *wait)
{
    if (!wait->fiber)
        return;
    make_ready(wait->fiber);
    wait->fiber = NULL;
}

void fiber_sleep_until(int64_t at_ns)
{
    struct fiber_wait wait = {0};
    fiber_wait(&wait, at_ns);
}

void fiber_yield(void)
{
    struct fiber *self = fiber_current();
    make_ready(self);
    switch_home(self, false);
}

struct queue_member {
    struct list list;
    struct fiber_wait wait;
};

void fiber_queue_init(struct fiber_queue *queue)
{
    list_init(&queue->waiting);
    queue->count = 0;
}

enum err fiber_queue_wait(struct fiber_queue *queue, int64_t deadline_ns)
{
    struct queue_member self = {0};
    list_append(&queue->waiting, &self.list);
    queue->count++;
    enum err err = fiber_wait(&self.wait, deadline_ns);
    if (self.wait.done)
        return err;
    list_remove(&self.list);
    queue->count--;
    return err;
}

bool fiber_queue_wake(struct fiber_queue *queue, enum err err)
{
    struct list *node = list_take(&queue->waiting);
    if (!node)
        return false;
    queue->count--;
    fiber_wake(&container_of(node, struct queue_member, list)->wait, err);
    return true;
}

void fiber_queue_wake_all(struct fiber_queue *queue, enum err err)
{
    while (fiber_queue_wake(queue, err))
        ;
}
