/* JSON Web Signatures in compact form, with Ed25519. Any thread. Source: RFC 7515, 8037. */
#ifndef AUTH_JWS_H
#define AUTH_JWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"

enum { JWS_PUBLIC_BYTES = 32, JWS_SECRET_BYTES = 64, JWS_SIGNATURE_BYTES = 64 };

struct jws_part {
    const char *text; /* NUL-terminated where it was decoded */
    size_t bytes;
};

struct jws {
    struct jws_part signed_text;     /* the first two parts as they came, with the dot between */
    struct jws_part header, payload; /* decoded */
    uint8_t signature[JWS_SIGNATURE_BYTES];
};

/* Makes libsodium ready; everything of auth calls it first. */
void jws_library(void);

/* Without padding; exactly the canonical form is read. */
char *base64url_print(struct arena *arena, const void *data, size_t bytes);
/* False when it is none, or longer than room. */
bool base64url_decode(uint8_t *out, size_t room, const char *text, size_t bytes, size_t *out_bytes);
/* In the arena, NUL-terminated beyond *out_bytes; NULL when it is none. */
char *base64url_read(struct arena *arena, const char *text, size_t bytes, size_t *out_bytes);

/* False unless text is three parts of base64url, the last a signature's size. Nothing is verified yet. */
bool jws_split(struct arena *arena, const char *text, size_t bytes, struct jws *out);
bool jws_verify(const struct jws *jws, const uint8_t public_key[JWS_PUBLIC_BYTES]);
char *jws_sign(struct arena *arena, const char *header, const char *payload,
               const uint8_t secret_key[JWS_SECRET_BYTES]);

#endif
