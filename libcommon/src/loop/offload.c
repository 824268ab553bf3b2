#include "common/offload.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/list.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/request.h"

struct job {
    struct list list;
    struct loop_task finished;
    struct loop *loop;
    struct fiber_wait wait;
    void (*fn)(void *arg);
    void *arg;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list waiting;
    pthread_t *threads;
    unsigned thread_count, queue_max;
    bool stopping;
    struct offload_stats stats;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void job_finished(struct loop_task *task)
{
    fiber_wake(&container_of(task, struct job, finished)->wait, ERR_OK);
}

static void run_job(struct job *job)
{
    struct loop *loop = job->loop;
    pool.stats.waiting--;
    pool.stats.running++;
    pthread_mutex_unlock(&pool.lock);
    job->fn(job->arg);
    loop_post(loop, &job->finished);
    pthread_mutex_lock(&pool.lock);
    pool.stats.running--;
    pool.stats.done++;
}

static void *work(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        struct list *node = list_take(&pool.waiting);
        if (node)
            run_job(container_of(node, struct job, list));
        else if (pool.stopping)
            break;
        else
            pthread_cond_wait(&pool.changed, &pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

void offload_start(unsigned threads, unsigned queue_max)
{
    list_init(&pool.waiting);
    pool.stopping = false;
    pool.stats = (struct offload_stats){0};
    pool.queue_max = queue_max;
    pool.thread_count = threads;
    pool.threads = mem_array(threads, sizeof(pthread_t));
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&pool.threads[i], NULL, work, NULL) != 0)
            abort();
}

void offload_stop(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.stopping = true;
    pthread_cond_broadcast(&pool.changed);
    pthread_mutex_unlock(&pool.lock);
    for (unsigned i = 0; i < pool.thread_count; i++)
        pthread_join(pool.threads[i], NULL);
    free(pool.threads);
    pool.threads = NULL;
    pool.thread_count = 0;
}

static bool enqueue(struct job *job)
{
    pthread_mutex_lock(&pool.lock);
    bool accepted = pool.thread_count > 0 && pool.stats.waiting < pool.queue_max;
    if (accepted) {
        list_append(&pool.waiting, &job->list);
        pool.stats.waiting++;
        pthread_cond_signal(&pool.changed);
    } else {
        pool.stats.refused++;
    }
    pthread_mutex_unlock(&pool.lock);
    return accepted;
}

enum err offload_run(struct request *req, void (*fn)(void *arg), void *arg)
{
    struct job job = {.finished.run = job_finished, .loop = loop_current(), .fn = fn, .arg = arg};
    if (!enqueue(&job))
        return fail(req, ERR_RESOURCE_EXHAUSTED, "too much work is waiting");
    return fiber_wait(&job.wait, CLOCK_NEVER);
}

struct offload_stats offload_stats(void)
{
    pthread_mutex_lock(&pool.lock);
    struct offload_stats stats = pool.stats;
    pthread_mutex_unlock(&pool.lock);
    return stats;
}
