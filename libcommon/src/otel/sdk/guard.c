#include "otel/sdk/guard.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "otel/sdk/cache.h"
#include "otel/sdk/thread.h"

enum { YIELDS_MAX = 100, NAP_US = 100 };

__thread struct guard_thread *guard_self;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool fenced;
static struct guard_thread *threads; /* never freed: an ended thread's is taken by the next one */

static int membarrier(int command)
{
    return (int)syscall(SYS_membarrier, command, 0, 0);
}

static void find_barrier(void)
{
    if (!fenced)
        fenced = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0;
}

static void leave(void)
{
    struct guard_thread *self = guard_self;
    guard_self = NULL;
    pthread_mutex_lock(&lock);
    self->taken = false;
    pthread_mutex_unlock(&lock);
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

/* Of all threads only the one that forked lives on. */
static void after_fork_in_child(void)
{
    for (struct guard_thread *t = threads; t; t = t->next) {
        if (t == guard_self)
            continue;
        t->taken = false;
        atomic_store(&t->visit, 0);
    }
    pthread_mutex_unlock(&lock);
    find_barrier();
}

static void prepare(void)
{
    find_barrier();
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

static struct guard_thread *take(void)
{
    unsigned slot = 0;
    for (struct guard_thread *t = threads; t; t = t->next, slot++)
        if (!t->taken)
            return t;
    struct guard_thread *thread = mem_alloc(sizeof *thread + CACHE_LINE_BYTES); /* a line to itself */
    thread->slot = slot;
    thread->next = threads;
    threads = thread;
    return thread;
}

struct guard_thread *guard_join(void)
{
    static _Thread_local struct thread_own own = {.give_back = leave};
    pthread_once(&once, prepare);
    pthread_mutex_lock(&lock);
    struct guard_thread *self = take();
    self->taken = true;
    self->fenced = fenced;
    pthread_mutex_unlock(&lock);
    guard_self = self;
    thread_watch(&own);
    return self;
}

/* Until it is out, or has been: one that came in anew reads what was swapped in. */
static void wait_for(struct guard_thread *thread)
{
    uint64_t first = atomic_load(&thread->visit), now = first;
    for (unsigned round = 0; (now & GUARD_DEPTH) != 0 && (now ^ first) <= GUARD_DEPTH; round++) {
        if (round < YIELDS_MAX)
            sched_yield();
        else
            usleep(NAP_US);
        now = atomic_load(&thread->visit);
    }
}

void guard_wait(void)
{
    pthread_once(&once, prepare);
    if (!fenced)
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    /* A thread that joins after this reads what was swapped in. */
    pthread_mutex_lock(&lock);
    struct guard_thread *first = threads;
    pthread_mutex_unlock(&lock);
    for (struct guard_thread *t = first; t; t = t->next)
        wait_for(t);
}
