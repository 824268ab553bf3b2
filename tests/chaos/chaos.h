/* Chaos: order load through the gateways while processes die and connections are cut, and afterwards the question
 * whether the client's own history and the shop's agree. The faults come from a seed: the same seed makes the same ones
 * in the same order, though not at the same instant of the load. */
#ifndef TESTS_CHAOS_H
#define TESTS_CHAOS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/uuid.h"
#include "support/shop.h"

enum { PRODUCTS = 9, SCARCE = 8, STOCK = 10000000, SCARCE_STOCK = 150, CLIENTS = 12 };

static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static inline unsigned random_below(uint64_t *state, unsigned limit)
{
    return (unsigned)(random_next(state) % limit);
}

void chaos_product(unsigned number, char out[UUID_TEXT_BYTES]);

/* --- load.c: clients, each with a history of what it wanted and what it was told */

enum outcome {
    OUTCOME_UNKNOWN,      /* never answered for certain: it may exist or not */
    OUTCOME_ACKNOWLEDGED, /* it exists, and always will */
    OUTCOME_REFUSED,      /* not enough stock */
    OUTCOME_ABANDONED,    /* it will never exist */
};
enum cancel { CANCEL_NO, CANCEL_ASKED, CANCEL_ACKNOWLEDGED };

struct wish {
    struct uuid id; /* what its key makes of it */
    unsigned product;
    int quantity;
    enum outcome outcome;
    enum cancel cancel;
    unsigned tries;
};

struct history {
    struct wish *wishes;
    unsigned count;
};

struct load_totals {
    unsigned long acknowledged, refused, abandoned, unknown, cancelled, cancels_unknown, calls, failed, strange;
};

void load_start(struct shop *shop, uint64_t seed, unsigned orders_per_s);
/* No new wishes; those that are open are asked for until they are known, for up to a minute. */
void load_stop(void);
const struct history *load_history(unsigned client);
struct load_totals load_totals(void); /* any time */
void load_free(void);

/* --- faults.c */

struct fault_totals {
    unsigned services, postgres, redis, redis_losses, cuts, stalls;
};

/* One fault and what mends it, and the wait before it. */
void faults_next(struct shop *shop, uint64_t *random);
struct fault_totals faults_totals(void);
unsigned faults_kills(void);

/* --- check.c */

/* Waits until nothing moves any more; the seconds that it took, or less than 0: it did not come to rest. */
double check_converged(struct shop *shop, int seconds_max);
/* Compares the histories, the database and the streams, and prints each finding. The number of violations. */
unsigned long check_everything(struct shop *shop);

#endif
