/* Public keys by name, as a JWK set tells them. Values only. Source: RFC 7517, 7638, 8037. */
#ifndef AUTH_KEYS_H
#define AUTH_KEYS_H

#include "auth/jws.h"
#include "common/auth.h"

enum { KID_BYTES_MAX = 64, JWKS_BYTES_MAX = 64 * 1024 };

struct auth_key {
    char kid[KID_BYTES_MAX + 1];
    uint8_t public_key[JWS_PUBLIC_BYTES];
};

struct auth_keys {
    unsigned count;
    struct auth_key keys[AUTH_KEYS_MAX];
};

/* 1 to KID_BYTES_MAX letters, digits, points, dashes and underscores, not beginning with a point. */
bool kid_is_good(const char *kid);
/* False when there are too many, or one of that name. */
bool auth_keys_add(struct auth_keys *keys, const char *kid, const uint8_t public_key[JWS_PUBLIC_BYTES]);
const struct auth_key *auth_keys_find(const struct auth_keys *keys, const char *kid);
bool auth_keys_equal(const struct auth_keys *a, const struct auth_keys *b);

char *auth_keys_print(struct arena *arena, const struct auth_keys *keys);
/* NULL, or why text is no JWK set: a static text. Keys of other kinds are passed over, as the RFC wants it. */
const char *auth_keys_parse(const char *text, size_t bytes, struct auth_keys *out);

/* The key's own name, made from what it is. */
void jwk_thumbprint(const uint8_t public_key[JWS_PUBLIC_BYTES], char out[KID_BYTES_MAX + 1]);

#endif
