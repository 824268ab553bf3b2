#include "auth/throttle.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "auth/jws.h"
#include "common/clock.h"
#include "common/mem.h"

enum { SETS = 1024, WAYS = 8, WINDOW_S = 60 };

/* A name's faults are a debt that is paid off with time: at free_ns there is none left. */
struct debt {
    uint64_t name; /* 0: nobody's */
    int64_t free_ns;
};

struct throttle {
    pthread_mutex_t lock;
    int64_t fault_ns; /* what a fault costs */
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    struct throttle_stats stats;
    struct debt table[SETS][WAYS];
};

struct throttle *throttle_new(unsigned faults_max)
{
    struct throttle *throttle = mem_alloc(sizeof *throttle);
    jws_library();
    pthread_mutex_init(&throttle->lock, NULL);
    throttle->fault_ns = WINDOW_S * NS_PER_S / faults_max;
    crypto_shorthash_keygen(throttle->hash_key);
    return throttle;
}

void throttle_free(struct throttle *throttle)
{
    if (!throttle)
        return;
    pthread_mutex_destroy(&throttle->lock);
    free(throttle);
}

static uint64_t hash_of(const struct throttle *throttle, const char *name)
{
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)name, strlen(name), throttle->hash_key);
    return hash ? hash : 1;
}

static struct debt *find(struct throttle *throttle, uint64_t name)
{
    struct debt *set = throttle->table[name % SETS];
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].name == name)
            return &set[i];
    return NULL;
}

static struct debt *find_or_make(struct throttle *throttle, uint64_t name, int64_t now_ns)
{
    struct debt *set = throttle->table[name % SETS], *least = find(throttle, name);
    if (least)
        return least;
    least = set;
    for (unsigned i = 1; i < WAYS; i++)
        if (set[i].free_ns < least->free_ns)
            least = &set[i];
    if (least->free_ns > now_ns)
        throttle->stats.forgotten++;
    *least = (struct debt){.name = name};
    return least;
}

/* While there is room for one more fault. */
bool throttle_allows(struct throttle *throttle, const char *name)
{
    uint64_t hash = hash_of(throttle, name);
    int64_t latest_ns = clock_now_ns() + WINDOW_S * NS_PER_S - throttle->fault_ns;
    pthread_mutex_lock(&throttle->lock);
    const struct debt *debt = find(throttle, hash);
    bool allowed = !debt || debt->free_ns <= latest_ns;
    if (!allowed)
        throttle->stats.refused++;
    pthread_mutex_unlock(&throttle->lock);
    return allowed;
}

void throttle_charge(struct throttle *throttle, const char *name)
{
    uint64_t hash = hash_of(throttle, name);
    int64_t now_ns = clock_now_ns();
    pthread_mutex_lock(&throttle->lock);
    struct debt *debt = find_or_make(throttle, hash, now_ns);
    debt->free_ns = (debt->free_ns > now_ns ? debt->free_ns : now_ns) + throttle->fault_ns;
    pthread_mutex_unlock(&throttle->lock);
}

struct throttle_stats throttle_stats(struct throttle *throttle)
{
    pthread_mutex_lock(&throttle->lock);
    struct throttle_stats stats = throttle->stats;
    pthread_mutex_unlock(&throttle->lock);
    return stats;
}
