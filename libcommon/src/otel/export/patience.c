#include "otel/export/patience.h"

#include <time.h>

#include "base/random.h"
#include "common/clock.h"

void patience_init(struct patience *patience)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&patience->lock, NULL);
    pthread_cond_init(&patience->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    atomic_init(&patience->hurry_ns, CLOCK_NEVER);
}

void patience_done(struct patience *patience)
{
    pthread_mutex_destroy(&patience->lock);
    pthread_cond_destroy(&patience->changed);
}

void patience_hurry(struct patience *patience, int64_t deadline_ns)
{
    pthread_mutex_lock(&patience->lock);
    if (deadline_ns < atomic_load(&patience->hurry_ns)) {
        atomic_store(&patience->hurry_ns, deadline_ns);
        pthread_cond_broadcast(&patience->changed);
    }
    pthread_mutex_unlock(&patience->lock);
}

int64_t patience_limit(const struct patience *patience, int64_t deadline_ns)
{
    int64_t hurry_ns = atomic_load(&patience->hurry_ns);
    return hurry_ns < deadline_ns ? hurry_ns : deadline_ns;
}

bool patience_wait(struct patience *patience, int64_t until_ns)
{
    struct timespec until = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
    pthread_mutex_lock(&patience->lock);
    int64_t hurry_ns = atomic_load(&patience->hurry_ns);
    while (atomic_load(&patience->hurry_ns) == hurry_ns && clock_now_ns() < until_ns)
        pthread_cond_timedwait(&patience->changed, &patience->lock, &until);
    bool undisturbed = atomic_load(&patience->hurry_ns) == hurry_ns;
    pthread_mutex_unlock(&patience->lock);
    return undisturbed;
}

int64_t pause_ns(unsigned attempt)
{
    double bound_ms = PAUSE_FIRST_MS;
    for (unsigned i = 1; i < attempt && bound_ms < PAUSE_MAX_MS; i++)
        bound_ms *= 1.5;
    if (bound_ms > PAUSE_MAX_MS)
        bound_ms = PAUSE_MAX_MS;
    return (int64_t)(random_unit() * bound_ms * (double)NS_PER_MS);
}

int64_t pause_asked_ns(int64_t asked_ns)
{
    return asked_ns + (int64_t)(random_unit() * 0.1 * (double)asked_ns);
}
