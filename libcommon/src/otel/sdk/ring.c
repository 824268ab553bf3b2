#include "otel/sdk/ring.h"

#include <stdlib.h>

#include "common/mem.h"
#include "otel/sdk/cache.h"

enum { CELLS_AHEAD = 4 };

void ring_init(struct ring *ring, unsigned capacity)
{
    uint64_t cells = 2;
    while (cells < capacity)
        cells *= 2;
    *ring = (struct ring){.cells = mem_array(cells, sizeof *ring->cells), .mask = cells - 1, .capacity = capacity};
    for (uint64_t i = 0; i < cells; i++)
        atomic_store_explicit(&ring->cells[i].turn, i, memory_order_relaxed);
}

void ring_done(struct ring *ring)
{
    free(ring->cells);
    ring->cells = NULL;
}

bool ring_put(struct ring *ring, void *item, uint64_t *out_position)
{
    uint64_t position = atomic_load_explicit(&ring->head, memory_order_relaxed);
    for (;;) {
        /* The tail moves on only: what it says may be late, and then the ring is at least as full as it seems. */
        int64_t held = (int64_t)(position - atomic_load_explicit(&ring->tail, memory_order_relaxed));
        struct ring_cell *cell = &ring->cells[position & ring->mask];
        int64_t turn = (int64_t)(atomic_load_explicit(&cell->turn, memory_order_acquire) - position);
        if (turn < 0 || held >= (int64_t)ring->capacity)
            return false;
        if (turn > 0) {
            position = atomic_load_explicit(&ring->head, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak(&ring->head, &position, position + 1)) {
            cell->item = item;
            /* The other side wrote to the cells last; the next ones are on their way when they are due. */
            fetch_to_write(&ring->cells[(position + CELLS_AHEAD) & ring->mask], sizeof *cell);
            atomic_store_explicit(&cell->turn, position + 1, memory_order_release);
            if (out_position)
                *out_position = position;
            return true;
        }
    }
}

void *ring_take(struct ring *ring)
{
    void *item = NULL;
    ring_take_many(ring, &item, 1);
    return item;
}

/* How many items from position on, at most most, have been put in; negative: the position is taken already. */
static int ready(const struct ring *ring, uint64_t position, unsigned most)
{
    for (unsigned i = 0; i < most; i++) {
        const struct ring_cell *cell = &ring->cells[(position + i) & ring->mask];
        int64_t turn = (int64_t)(atomic_load_explicit(&cell->turn, memory_order_acquire) - (position + i + 1));
        if (turn != 0)
            return turn > 0 && i == 0 ? -1 : (int)i;
    }
    return (int)most;
}

unsigned ring_take_many(struct ring *ring, void **out, unsigned most)
{
    uint64_t position = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    for (;;) {
        int count = ready(ring, position, most);
        if (count == 0)
            return 0;
        if (count < 0) {
            position = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak(&ring->tail, &position, position + (unsigned)count)) {
            for (int i = 0; i < count; i++) {
                struct ring_cell *cell = &ring->cells[(position + (unsigned)i) & ring->mask];
                out[i] = cell->item;
                atomic_store_explicit(&cell->turn, position + (unsigned)i + ring->mask + 1, memory_order_release);
            }
            return (unsigned)count;
        }
    }
}
