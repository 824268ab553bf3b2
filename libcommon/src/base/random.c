#include "base/random.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static _Thread_local struct {
    size_t left;
    uint8_t bytes[256]; /* getrandom() gives up to 256 bytes whole, without interruption */
} pool;

void random_bytes(void *out, size_t bytes)
{
    for (uint8_t *next = out; bytes > 0;) {
        if (pool.left == 0) {
            if (getrandom(pool.bytes, sizeof pool.bytes, 0) != sizeof pool.bytes)
                abort();
            pool.left = sizeof pool.bytes;
        }
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
