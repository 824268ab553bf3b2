#include "otel/trace/ids.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Thread_local struct {
    uint64_t words[4];
    unsigned process; /* what it was seeded in */
} state;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static unsigned process = 1;

static void forked(void)
{
    process++;
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, forked);
}

static __attribute__((noinline)) void seed(void)
{
    pthread_once(&once, watch_forks);
    do
        if (getentropy(state.words, sizeof state.words) != 0)
            abort();
    while (!(state.words[0] | state.words[1] | state.words[2] | state.words[3]));
    state.process = process;
}

static inline uint64_t rotate(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

static inline uint64_t next(void)
{
    if (__builtin_expect(state.process != process, 0))
        seed();
    uint64_t *s = state.words;
    uint64_t word = rotate(s[0] + s[3], 23) + s[0], third = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= third;
    s[3] = rotate(s[3], 45);
    return word;
}

void id_trace(uint8_t out[16])
{
    uint64_t words[2];
    do {
        words[0] = next();
        words[1] = next();
    } while (!(words[0] | words[1]));
    memcpy(out, words, sizeof words);
}

void id_span(uint8_t out[8])
{
    uint64_t word;
    do
        word = next();
    while (!word);
    memcpy(out, &word, sizeof word);
}
