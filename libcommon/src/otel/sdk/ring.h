/* A bounded queue of pointers without locks, for any number of threads at both ends (after D. Vyukov: each cell has a
 * number that says whose turn it is). Holds exactly capacity pointers; allocates only in ring_init(). */
#ifndef OTEL_SDK_RING_H
#define OTEL_SDK_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring_cell {
    _Atomic(uint64_t) turn;
    void *item;
};

struct ring { /* private */
    struct ring_cell *cells;
    uint64_t mask, capacity;
    char apart[64];         /* both ends on cache lines of their own */
    _Atomic(uint64_t) head; /* items ever put in */
    char apart_too[64];
    _Atomic(uint64_t) tail; /* items ever taken */
    char apart_again[64];
};

void ring_init(struct ring *ring, unsigned capacity);
void ring_done(struct ring *ring); /* what it still holds is not its own */
/* False: full. *out_position, unless NULL, becomes the number of items that were put in before. */
bool ring_put(struct ring *ring, void *item, uint64_t *out_position);
/* NULL: empty, or the next item is just being put in. */
void *ring_take(struct ring *ring);
/* Takes up to most at once; fewer, or none, when no more are there. */
unsigned ring_take_many(struct ring *ring, void **out, unsigned most);

static inline uint64_t ring_head(const struct ring *ring)
{
    return atomic_load(&ring->head);
}

static inline uint64_t ring_tail(const struct ring *ring)
{
    return atomic_load(&ring->tail);
}

/* How many it holds; any thread. */
static inline uint64_t ring_count(const struct ring *ring)
{
    uint64_t tail = ring_tail(ring); /* first: the head is never behind it */
    return ring_head(ring) - tail;
}

static inline bool ring_is_full(const struct ring *ring)
{
    return ring_count(ring) >= ring->capacity;
}

#endif
