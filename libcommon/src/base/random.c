#include "base/random.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static _Thread_local struct {
    size_t left;
    uint8_t bytes[4096];
} pool;

/* A child would repeat what its parent is about to draw. */
static void forget(void)
{
    pool.left = 0;
}

static void mind_forks(void)
{
    pthread_atfork(NULL, NULL, forget);
}

static void fill_pool(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, mind_forks);
    for (size_t got = 0; got < sizeof pool.bytes;) {
        ssize_t n = getrandom(pool.bytes + got, sizeof pool.bytes - got, 0);
        if (n < 0 && errno != EINTR)
            abort();
        got += n > 0 ? (size_t)n : 0;
    }
    pool.left = sizeof pool.bytes;
}

void random_bytes(void *out, size_t bytes)
{
    for (uint8_t *next = out; bytes > 0;) {
        if (pool.left == 0)
            fill_pool();
        size_t n = bytes < pool.left ? bytes : pool.left;
        uint8_t *from = pool.bytes + sizeof pool.bytes - pool.left;
        memcpy(next, from, n);
        explicit_bzero(from, n);
        pool.left -= n;
        next += n;
        bytes -= n;
    }
}

double random_unit(void)
{
    uint64_t bits;
    random_bytes(&bits, sizeof bits);
    return (double)(bits >> 11) * 0x1p-53;
}
