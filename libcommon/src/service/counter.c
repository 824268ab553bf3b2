#include <time.h>

#include "common/clock.h"
#include "service/internal.h"

void counter_init(struct counter *counter)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&counter->lock, NULL);
    pthread_cond_init(&counter->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    counter->count = 0;
}

void counter_done(struct counter *counter)
{
    pthread_mutex_destroy(&counter->lock);
    pthread_cond_destroy(&counter->changed);
}

void counter_add(struct counter *counter)
{
    pthread_mutex_lock(&counter->lock);
    counter->count++;
    pthread_cond_signal(&counter->changed);
    pthread_mutex_unlock(&counter->lock);
}

bool counter_take(struct counter *counter, int64_t until_ns)
{
    const struct timespec until = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
    int status = 0;
    pthread_mutex_lock(&counter->lock);
    while (counter->count == 0 && status == 0)
        status = pthread_cond_timedwait(&counter->changed, &counter->lock, &until);
    bool taken = counter->count > 0;
    if (taken)
        counter->count--;
    pthread_mutex_unlock(&counter->lock);
    return taken;
}
