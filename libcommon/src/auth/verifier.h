/* What a loop knows about tokens: the keys, and the tokens that it has verified already. A request with a token that is
 * known costs a look-up, not a signature. Known tokens end with their own end, and all of them when the keys change.
 * Loop thread only; nothing here waits. */
#ifndef AUTH_VERIFIER_H
#define AUTH_VERIFIER_H

#include "auth/token.h"

struct verifier;

struct auth_stats {
    uint64_t verified; /* signatures computed */
    uint64_t cached;   /* tokens that were known already */
    uint64_t refused;  /* tokens that were not good */
    uint64_t evicted;  /* known tokens that made room for others before their end */
    unsigned known;
};

struct verifier *verifier_new(unsigned cache_max);
void verifier_free(struct verifier *verifier); /* NULL is allowed */
/* From now on these keys, and no others, are believed. */
void verifier_learn(struct verifier *verifier, const struct auth_keys *keys);
/* As token_read(); arena for its scratch. */
enum verdict verifier_read(struct verifier *verifier, struct arena *arena, const char *text, size_t bytes,
                           int64_t now_s, struct claims *out, const char **out_reason);
struct auth_stats verifier_stats(const struct verifier *verifier);

#endif
