#include "auth/keys.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/nesting.h"
#include "common/hash.h"

enum { DEPTH_MAX = 8 };

bool kid_is_good(const char *kid)
{
    size_t length = strlen(kid);
    size_t good = strspn(kid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return length > 0 && length <= KID_BYTES_MAX && good == length && kid[0] != '.';
}

const struct auth_key *auth_keys_find(const struct auth_keys *keys, const char *kid)
{
    for (unsigned i = 0; i < keys->count; i++)
        if (strcmp(keys->keys[i].kid, kid) == 0)
            return &keys->keys[i];
    return NULL;
}

bool auth_keys_add(struct auth_keys *keys, const char *kid, const uint8_t public_key[JWS_PUBLIC_BYTES])
{
    if (keys->count == AUTH_KEYS_MAX || auth_keys_find(keys, kid))
        return false;
    struct auth_key *key = &keys->keys[keys->count++];
    snprintf(key->kid, sizeof key->kid, "%s", kid);
    memcpy(key->public_key, public_key, sizeof key->public_key);
    return true;
}

/* In whatever order they are told. */
bool auth_keys_equal(const struct auth_keys *a, const struct auth_keys *b)
{
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++) {
        const struct auth_key *other = auth_keys_find(b, a->keys[i].kid);
        if (!other || memcmp(other->public_key, a->keys[i].public_key, JWS_PUBLIC_BYTES) != 0)
            return false;
    }
    return true;
}

char *auth_keys_print(struct arena *arena, const struct auth_keys *keys)
{
    char *text = arena_print(arena, "{\"keys\":[");
    for (unsigned i = 0; i < keys->count; i++)
        text = arena_print(arena,
                           "%s%s{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\",\"use\":\"sig\",\"kid\":\"%s\","
                           "\"x\":\"%s\"}",
                           text, i ? "," : "", keys->keys[i].kid,
                           base64url_print(arena, keys->keys[i].public_key, JWS_PUBLIC_BYTES));
    return arena_print(arena, "%s]}", text);
}

/* --- reading */

static bool is(const json_t *key, const char *member, const char *wanted)
{
    const char *text = json_string_value(json_object_get(key, member));
    return text && strcmp(text, wanted) == 0;
}

/* What is optional counts only when it is there. */
static bool may_be(const json_t *key, const char *member, const char *wanted)
{
    return !json_object_get(key, member) || is(key, member, wanted);
}

static bool read_public_key(const json_t *key, uint8_t out[JWS_PUBLIC_BYTES])
{
    size_t bytes;
    const char *text = json_string_value(json_object_get(key, "x"));
    return text && base64url_decode(out, JWS_PUBLIC_BYTES, text, strlen(text), &bytes) && bytes == JWS_PUBLIC_BYTES;
}

static const char *read_key(const json_t *key, struct auth_keys *out)
{
    uint8_t public_key[JWS_PUBLIC_BYTES];
    const char *kid = json_string_value(json_object_get(key, "kid"));
    bool ours =
        is(key, "kty", "OKP") && is(key, "crv", "Ed25519") && may_be(key, "alg", "EdDSA") && may_be(key, "use", "sig");
    if (!ours || !kid || !kid_is_good(kid) || !read_public_key(key, public_key))
        return NULL;
    if (auth_keys_find(out, kid))
        return "two keys have the same kid";
    return auth_keys_add(out, kid, public_key) ? NULL : "too many keys";
}

static const char *read_set(const json_t *set, struct auth_keys *out)
{
    const json_t *keys = json_object_get(set, "keys");
    const char *wrong = json_is_array(keys) ? NULL : "expected an object with an array \"keys\"";
    for (size_t i = 0; !wrong && i < json_array_size(keys); i++)
        wrong = read_key(json_array_get(keys, i), out);
    return wrong;
}

const char *auth_keys_parse(const char *text, size_t bytes, struct auth_keys *out)
{
    struct auth_keys keys = {0};
    jws_library();
    if (bytes > JWKS_BYTES_MAX || nesting_beyond(text, bytes, DEPTH_MAX))
        return "too large or too deep";
    json_t *set = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
    const char *wrong = set ? read_set(set, &keys) : "not JSON, or a duplicate member";
    json_decref(set);
    if (!wrong)
        *out = keys;
    return wrong;
}

void jwk_thumbprint(const uint8_t public_key[JWS_PUBLIC_BYTES], char out[KID_BYTES_MAX + 1])
{
    char x[64], text[128];
    uint8_t digest[32];
    sodium_bin2base64(x, sizeof x, public_key, JWS_PUBLIC_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    int bytes = snprintf(text, sizeof text, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%s\"}", x);
    hash_sha256(text, (size_t)bytes, digest);
    sodium_bin2base64(out, KID_BYTES_MAX + 1, digest, sizeof digest, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}
