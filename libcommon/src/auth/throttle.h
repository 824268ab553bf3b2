/* Limits what somebody gets wrong to so much a minute, for many names in a table of fixed size. A name with as many
 * faults as allowed has to wait until they are a minute old, one after the other. Faults of tries that run at the same
 * time all count, so that it waits the longer. When the table is crowded, the name with the fewest is forgotten. Names
 * are kept as keyed hashes. Any thread. */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

struct throttle;

struct throttle *throttle_new(unsigned faults_max);
void throttle_free(struct throttle *throttle); /* NULL is allowed */
/* May it try? */
bool throttle_allows(struct throttle *throttle, const char *name);
/* It was wrong. */
void throttle_charge(struct throttle *throttle, const char *name);

struct throttle_stats {
    uint64_t refused, forgotten; /* tries; names that had to make room too early */
};
struct throttle_stats throttle_stats(struct throttle *throttle);

#endif
