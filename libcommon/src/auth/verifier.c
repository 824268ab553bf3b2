#include "auth/verifier.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

enum { WAYS = 4 };

struct known {
    uint64_t hash;
    char *text; /* NULL: free */
    size_t bytes;
    struct claims claims;
    uint64_t used; /* the count of look-ups when it was used last */
};

struct verifier {
    struct auth_keys keys;
    struct known *table; /* sets of WAYS */
    unsigned sets;       /* a power of two; 0: nothing is kept */
    uint64_t lookups;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    struct auth_stats stats;
};

struct verifier *verifier_new(unsigned cache_max)
{
    struct verifier *verifier = mem_alloc(sizeof *verifier);
    jws_library();
    crypto_shorthash_keygen(verifier->hash_key);
    if (cache_max > 0)
        for (verifier->sets = 1; verifier->sets * WAYS < cache_max;)
            verifier->sets *= 2;
    verifier->table = mem_array(verifier->sets ? verifier->sets : 1, WAYS * sizeof *verifier->table);
    return verifier;
}

static void forget(struct verifier *verifier, struct known *known)
{
    if (!known->text)
        return;
    free(known->text);
    *known = (struct known){0};
    verifier->stats.known--;
}

static void forget_all(struct verifier *verifier)
{
    for (unsigned i = 0; i < verifier->sets * WAYS; i++)
        forget(verifier, &verifier->table[i]);
}

void verifier_free(struct verifier *verifier)
{
    if (!verifier)
        return;
    forget_all(verifier);
    free(verifier->table);
    free(verifier);
}

void verifier_learn(struct verifier *verifier, const struct auth_keys *keys)
{
    if (auth_keys_equal(&verifier->keys, keys))
        return;
    verifier->keys = *keys;
    forget_all(verifier);
}

/* --- known tokens */

/* Keyed, so that nobody can choose tokens that push each other out. */
static uint64_t hash_of(const struct verifier *verifier, const char *text, size_t bytes)
{
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)text, bytes, verifier->hash_key);
    return hash;
}

static struct known *set_of(struct verifier *verifier, uint64_t hash)
{
    return &verifier->table[(hash & (verifier->sets - 1)) * WAYS];
}

static bool has_ended(const struct known *known, int64_t now_s)
{
    return now_s >= known->claims.expires_s + AUTH_LEEWAY_S;
}

static struct known *find(struct verifier *verifier, uint64_t hash, const char *text, size_t bytes, int64_t now_s)
{
    struct known *set = set_of(verifier, hash);
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].hash == hash && set[i].bytes == bytes && set[i].text && memcmp(set[i].text, text, bytes) == 0)
            return has_ended(&set[i], now_s) ? NULL : &set[i];
    return NULL;
}

/* A free place, or else that of the one that was not used for longest. */
static struct known *place_in(struct known *set)
{
    struct known *place = set;
    for (unsigned i = 1; i < WAYS && place->text; i++)
        if (!set[i].text || set[i].used < place->used)
            place = &set[i];
    return place;
}

static void keep(struct verifier *verifier, uint64_t hash, const char *text, size_t bytes, int64_t now_s,
                 const struct claims *claims)
{
    struct known *set = set_of(verifier, hash);
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].text && has_ended(&set[i], now_s))
            forget(verifier, &set[i]);
    struct known *place = place_in(set);
    if (place->text)
        verifier->stats.evicted++;
    forget(verifier, place);
    *place = (struct known){
        .hash = hash, .text = mem_alloc(bytes), .bytes = bytes, .claims = *claims, .used = verifier->lookups};
    memcpy(place->text, text, bytes);
    verifier->stats.known++;
}

/* --- reading */

static enum verdict read_anew(struct verifier *verifier, struct arena *arena, const char *text, size_t bytes,
                              int64_t now_s, struct claims *out, const char **out_reason)
{
    enum verdict verdict = token_read(arena, &verifier->keys, text, bytes, now_s, out, out_reason);
    if (verdict == TOKEN_GOOD)
        verifier->stats.verified++;
    if (verdict == TOKEN_BAD)
        verifier->stats.refused++;
    return verdict;
}

enum verdict verifier_read(struct verifier *verifier, struct arena *arena, const char *text, size_t bytes,
                           int64_t now_s, struct claims *out, const char **out_reason)
{
    if (verifier->sets == 0 || bytes > AUTH_TOKEN_BYTES_MAX)
        return read_anew(verifier, arena, text, bytes, now_s, out, out_reason);
    uint64_t hash = hash_of(verifier, text, bytes);
    struct known *known = find(verifier, hash, text, bytes, now_s);
    verifier->lookups++;
    if (known) {
        known->used = verifier->lookups;
        verifier->stats.cached++;
        *out = known->claims;
        return TOKEN_GOOD;
    }
    enum verdict verdict = read_anew(verifier, arena, text, bytes, now_s, out, out_reason);
    if (verdict == TOKEN_GOOD)
        keep(verifier, hash, text, bytes, now_s, out);
    return verdict;
}

struct auth_stats verifier_stats(const struct verifier *verifier)
{
    return verifier->stats;
}
