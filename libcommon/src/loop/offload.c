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

struct offload_pool {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list waiting;
    pthread_t *threads;
    unsigned thread_count, queue_max;
    bool stopping;
    struct offload_stats stats;
};

static void job_finished(struct loop_task *task)
{
    fiber_wake(&container_of(task, struct job, finished)->wait, ERR_OK);
}

static void run_job(struct offload_pool *pool, struct job *job)
{
    struct loop *loop = job->loop;
    pool->stats.waiting--;
    pool->stats.running++;
    pthread_mutex_unlock(&pool->lock);
    job->fn(job->arg);
    pthread_mutex_lock(&pool->lock);
    pool->stats.running--;
    pool->stats.done++;
    loop_post(loop, &job->finished);
}

static void *work(void *arg)
{
    struct offload_pool *pool = arg;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct list *node = list_take(&pool->waiting);
        if (node)
            run_job(pool, container_of(node, struct job, list));
        else if (pool->stopping)
            break;
        else
            pthread_cond_wait(&pool->changed, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

struct offload_pool *offload_pool_open(unsigned threads, unsigned queue_max)
{
    struct offload_pool *pool = mem_alloc(sizeof *pool);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    list_init(&pool->waiting);
    pool->queue_max = queue_max;
    pool->thread_count = threads;
    pool->threads = mem_array(threads, sizeof(pthread_t));
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&pool->threads[i], NULL, work, pool) != 0)
            abort();
    return pool;
}

void offload_pool_close(struct offload_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}

static bool enqueue(struct offload_pool *pool, struct job *job)
{
    pthread_mutex_lock(&pool->lock);
    bool accepted = !pool->stopping && pool->stats.waiting < pool->queue_max;
    if (accepted) {
        list_append(&pool->waiting, &job->list);
        pool->stats.waiting++;
        pthread_cond_signal(&pool->changed);
    } else {
        pool->stats.refused++;
    }
    pthread_mutex_unlock(&pool->lock);
    return accepted;
}

enum err offload_pool_run(struct offload_pool *pool, struct request *req, void (*fn)(void *arg), void *arg)
{
    struct job job = {.finished.run = job_finished, .loop = loop_current(), .fn = fn, .arg = arg};
    if (!pool || !enqueue(pool, &job))
        return fail(req, ERR_RESOURCE_EXHAUSTED, "too much work is waiting");
    return fiber_wait(&job.wait, CLOCK_NEVER);
}

struct offload_stats offload_pool_stats(struct offload_pool *pool)
{
    struct offload_stats stats = {0};
    if (!pool)
        return stats;
    pthread_mutex_lock(&pool->lock);
    stats = pool->stats;
    pthread_mutex_unlock(&pool->lock);
    return stats;
}

/* --- the process's */

static struct offload_pool *shared;

void offload_start(unsigned threads, unsigned queue_max)
{
    shared = offload_pool_open(threads, queue_max);
}

void offload_stop(void)
{
    offload_pool_close(shared);
    shared = NULL;
}

enum err offload_run(struct request *req, void (*fn)(void *arg), void *arg)
{
    return offload_pool_run(shared, req, fn, arg);
}

struct offload_stats offload_stats(void)
{
    return offload_pool_stats(shared);
}
