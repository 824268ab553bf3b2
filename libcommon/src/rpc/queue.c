/* A thread polls grpc's completion queue while the loop sleeps and posts what has ended. When the loop has
 * not come to rest since the last post, the thread steps aside and the loop polls by itself each time it is
 * about to sleep, until nothing is left: a busy process then does its network I/O and its handlers on one
 * thread, without a switch, a wake-up or a contended lock for each call. Measured on two cores against a thread
 * that always polls: 48,000 instead of 20,000 calls/s with 8 in flight, 58,000 instead of 39,000 with 64. */
#include "rpc/queue.h"

#include <assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#if __has_include(<grpc/support/log.h>)
#include <grpc/support/log.h>
#endif

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

enum { EVENTS_A_TURN = 256 };

struct rpc_queue {
    struct rpc_queue *next;
    struct loop *loop;
    unsigned users;
    grpc_completion_queue *core;
    pthread_t thread;
    struct loop_hook hook;
    struct loop_task attach;
    struct loop_task detach;
    sem_t detached;
    atomic_uint rests; /* how often the loop came to rest */
    atomic_bool aside; /* the thread has stepped aside: the loop polls */
    sem_t resume;      /* it polls again */
    atomic_bool closing;
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rpc_queue *registry;

/* --- operations */

void *rpc_operation_begin(struct rpc_operation *operation, void (*ended)(struct loop_task *task))
{
    operation->task.run = ended;
    /* What was written so far is seen by the thread that takes the operation from grpc's queue; grpc orders it
     * too, but the thread sanitizer does not see how. */
    atomic_store_explicit(&operation->published, true, memory_order_release);
    return operation;
}

static void hand_over(struct rpc_queue *queue, void *tag, bool ok)
{
    struct rpc_operation *operation = tag;
    if (!atomic_load_explicit(&operation->published, memory_order_acquire))
        abort();
    operation->ok = ok;
    loop_post(queue->loop, &operation->task);
}

void rpc_queue_enter(struct rpc_queue *queue)
{
    grpc_completion_queue_thread_local_cache_init(queue->core);
}

void rpc_queue_leave(struct rpc_queue *queue)
{
    void *tag;
    int ok;
    if (grpc_completion_queue_thread_local_cache_flush(queue->core, &tag, &ok))
        hand_over(queue, tag, ok);
}

bool rpc_start(struct rpc_queue *queue, grpc_call *call, const grpc_op *ops, size_t count,
               struct rpc_operation *operation, void (*ended)(struct loop_task *task))
{
    void *tag = rpc_operation_begin(operation, ended);
    rpc_queue_enter(queue);
    grpc_call_error error = grpc_call_start_batch(call, ops, count, tag, NULL);
    rpc_queue_leave(queue);
    if (error == GRPC_CALL_OK)
        return true;
    log_event(LOG_ERROR, "grpc refused a batch", log_text("reason", grpc_call_error_to_string(error)));
    return false;
}

/* --- polling */

static void *poll_forever(void *arg)
{
    struct rpc_queue *queue = arg;
    unsigned rests_before = atomic_load(&queue->rests) - 1;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(queue->core, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        unsigned rests = atomic_load(&queue->rests);
        bool busy = rests == rests_before && !atomic_load(&queue->closing);
        rests_before = rests;
        /* Aside before the post: the post makes sure that the loop comes by and sees it. */
        if (busy)
            atomic_store(&queue->aside, true);
        hand_over(queue, event.tag, event.success);
        while (busy && sem_wait(&queue->resume) < 0)
            ;
    }
}

static void take_ended(struct rpc_queue *queue)
{
    for (unsigned count = 0; count < EVENTS_A_TURN; count++) {
        grpc_event event = grpc_completion_queue_next(queue->core, gpr_time_0(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type != GRPC_OP_COMPLETE)
            return;
        hand_over(queue, event.tag, event.success);
    }
}

static void poll_aside(struct loop_hook *hook)
{
    struct rpc_queue *queue = container_of(hook, struct rpc_queue, hook);
    if (atomic_load(&queue->aside))
        take_ended(queue);
}

static void come_to_rest(struct loop_hook *hook)
{
    struct rpc_queue *queue = container_of(hook, struct rpc_queue, hook);
    atomic_fetch_add(&queue->rests, 1);
    if (!atomic_exchange(&queue->aside, false))
        return;
    sem_post(&queue->resume);
}

static void attach(struct loop_task *task)
{
    struct rpc_queue *queue = container_of(task, struct rpc_queue, attach);
    loop_hook_add(queue->loop, &queue->hook);
}

static void detach(struct loop_task *task)
{
    struct rpc_queue *queue = container_of(task, struct rpc_queue, detach);
    loop_hook_remove(queue->loop, &queue->hook);
    if (atomic_exchange(&queue->aside, false))
        sem_post(&queue->resume);
    sem_post(&queue->detached);
}

/* --- life */

#ifdef GPR_ERROR
/* Anybody can make grpc core complain, by a handshake that fails: one line a second. */
static void log_line(gpr_log_func_args *args)
{
    static _Atomic int64_t told_ns;
    static _Atomic uint64_t left_out;
    int64_t now_ns = clock_now_ns(), before_ns = atomic_load(&told_ns);
    if (args->severity != GPR_LOG_SEVERITY_ERROR)
        return;
    if ((before_ns && now_ns - before_ns < NS_PER_S) || !atomic_compare_exchange_strong(&told_ns, &before_ns, now_ns))
        atomic_fetch_add(&left_out, 1);
    else
        log_event(LOG_WARN, "grpc core", log_text("detail", args->message),
                  log_int("left_out", (int64_t)atomic_exchange(&left_out, 0)));
}

/* Debian's abseil looks for cycles among held locks at every lock, a debugging aid that costs some percent of a call.
 * 0 is kIgnore. Weak: a build of another name keeps its own mode. */
extern void
absl_deadlock_detection(int mode) __asm__("_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE")
    __attribute__((weak));

static void route_log(void)
{
    if (absl_deadlock_detection)
        absl_deadlock_detection(0);
    gpr_set_log_function(log_line);
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
}
#else
static void route_log(void)
{
}
#endif

/* grpc's threads and ours leave signals to the threads of the service. */
static void start_threads(struct rpc_queue *queue)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    grpc_init();
    queue->core = grpc_completion_queue_create_for_next(NULL);
    int error = pthread_create(&queue->thread, NULL, poll_forever, queue);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        log_event(LOG_ERROR, "cannot start a thread", log_int("errno", error));
        abort();
    }
}

static struct rpc_queue *queue_open(struct loop *loop)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, route_log);
    struct rpc_queue *queue = mem_alloc(sizeof *queue);
    queue->loop = loop;
    queue->hook.idle = poll_aside;
    queue->hook.rest = come_to_rest;
    sem_init(&queue->detached, 0, 0);
    sem_init(&queue->resume, 0, 0);
    queue->attach.run = attach;
    if (loop_current() == loop)
        attach(&queue->attach);
    else
        loop_post(loop, &queue->attach);
    start_threads(queue);
    return queue;
}

static void queue_close(struct rpc_queue *queue)
{
    atomic_store(&queue->closing, true);
    queue->detach.run = detach;
    if (loop_current() == queue->loop)
        detach(&queue->detach);
    else
        loop_post(queue->loop, &queue->detach);
    while (sem_wait(&queue->detached) < 0)
        ;
    grpc_completion_queue_shutdown(queue->core);
    pthread_join(queue->thread, NULL);
    grpc_completion_queue_destroy(queue->core);
    grpc_shutdown();
    sem_destroy(&queue->detached);
    sem_destroy(&queue->resume);
    free(queue);
}

struct rpc_queue *rpc_queue_take(struct loop *loop)
{
    pthread_mutex_lock(&registry_lock);
    struct rpc_queue *queue = registry;
    while (queue && queue->loop != loop)
        queue = queue->next;
    if (!queue) {
        queue = queue_open(loop);
        queue->next = registry;
        registry = queue;
    }
    queue->users++;
    pthread_mutex_unlock(&registry_lock);
    return queue;
}

void rpc_queue_give(struct rpc_queue *queue)
{
    pthread_mutex_lock(&registry_lock);
    bool last = --queue->users == 0;
    struct rpc_queue **at = &registry;
    while (last && *at != queue)
        at = &(*at)->next;
    if (last)
        *at = queue->next;
    pthread_mutex_unlock(&registry_lock);
    if (last)
        queue_close(queue);
}

grpc_completion_queue *rpc_queue_core(struct rpc_queue *queue)
{
    return queue->core;
}
