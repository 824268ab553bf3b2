#include "auth/jws.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static void start_library(void)
{
    if (sodium_init() < 0)
        abort();
}

void jws_library(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_library);
}

char *base64url_print(struct arena *arena, const void *data, size_t bytes)
{
    size_t room = sodium_base64_encoded_len(bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return sodium_bin2base64(arena_alloc_raw(arena, room), room, data, bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* libsodium refuses padding, other characters and bits left over when it is told to skip nothing; but it reads bytes
 * beyond ASCII as underscores. */
bool base64url_decode(uint8_t *out, size_t room, const char *text, size_t bytes, size_t *out_bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] > 0x7f)
            return false;
    return sodium_base642bin(out, room, text, bytes, NULL, out_bytes, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) ==
           0;
}

char *base64url_read(struct arena *arena, const char *text, size_t bytes, size_t *out_bytes)
{
    size_t room = bytes / 4 * 3 + 3;
    char *out = arena_alloc_raw(arena, room + 1);
    if (!base64url_decode((uint8_t *)out, room, text, bytes, out_bytes))
        return NULL;
    out[*out_bytes] = '\0';
    return out;
}

static bool read_part(struct arena *arena, const char *text, size_t bytes, struct jws_part *out)
{
    out->text = bytes > 0 ? base64url_read(arena, text, bytes, &out->bytes) : NULL;
    return out->text != NULL;
}

bool jws_split(struct arena *arena, const char *text, size_t bytes, struct jws *out)
{
    struct jws jws;
    struct jws_part signature;
    const char *first = memchr(text, '.', bytes), *end = text + bytes;
    const char *second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (!second)
        return false;
    jws.signed_text = (struct jws_part){text, (size_t)(second - text)};
    if (!read_part(arena, text, (size_t)(first - text), &jws.header) ||
        !read_part(arena, first + 1, (size_t)(second - first - 1), &jws.payload) ||
        !read_part(arena, second + 1, (size_t)(end - second - 1), &signature) || signature.bytes != JWS_SIGNATURE_BYTES)
        return false;
    memcpy(jws.signature, signature.text, JWS_SIGNATURE_BYTES);
    *out = jws;
    return true;
}

bool jws_verify(const struct jws *jws, const uint8_t public_key[JWS_PUBLIC_BYTES])
{
    return crypto_sign_verify_detached(jws->signature, (const unsigned char *)jws->signed_text.text,
                                       jws->signed_text.bytes, public_key) == 0;
}

char *jws_sign(struct arena *arena, const char *header, const char *payload, const uint8_t secret_key[JWS_SECRET_BYTES])
{
    unsigned char signature[JWS_SIGNATURE_BYTES];
    const char *text = arena_print(arena, "%s.%s", base64url_print(arena, header, strlen(header)),
                                   base64url_print(arena, payload, strlen(payload)));
    crypto_sign_detached(signature, NULL, (const unsigned char *)text, strlen(text), secret_key);
    return arena_print(arena, "%s.%s", text, base64url_print(arena, signature, sizeof signature));
}
