/* Nothing of a token is believed before its signature was verified, except the name of the key: that one has to be
 * ours, and decides how it is verified, so that the token has no say in that. */
#include "auth/token.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/nesting.h"
#include "common/mem.h"

#define REALM "bodega"

enum { DEPTH_MAX = 4 };

static const char *const role_names[] = {[ROLE_CUSTOMER] = "customer", [ROLE_ADMIN] = "admin"};

const char *role_name(enum role role)
{
    return role_names[role];
}

bool role_parse(const char *name, enum role *out)
{
    for (size_t i = 0; name && i < array_count(role_names); i++) {
        if (strcmp(role_names[i], name) != 0)
            continue;
        *out = (enum role)i;
        return true;
    }
    return false;
}

bool auth_owns(const struct request *req, struct uuid user_id)
{
    const struct principal *principal = req->principal;
    return !principal || principal->role == ROLE_ADMIN || uuid_equal(principal->id, user_id);
}

char *token_print(struct arena *arena, const struct claims *claims, const char *kid,
                  const uint8_t secret_key[JWS_SECRET_BYTES])
{
    char user_id[UUID_TEXT_BYTES];
    const char *header = arena_print(arena, "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"%s\"}", kid);
    const char *payload =
        arena_print(arena,
                    "{\"iss\":\"" REALM "\",\"aud\":\"" REALM "\",\"sub\":\"%s\",\"role\":\"%s\",\"iat\":%" PRId64
                    ",\"nbf\":%" PRId64 ",\"exp\":%" PRId64 "}",
                    uuid_format(claims->user_id, user_id), role_name(claims->role), claims->issued_s,
                    claims->not_before_s, claims->expires_s);
    return jws_sign(arena, header, payload, secret_key);
}

/* --- reading */

static void json_free(json_t **value)
{
    json_decref(*value);
}

#define scoped_json __attribute__((cleanup(json_free)))

static json_t *read_object(const struct jws_part *part)
{
    if (nesting_beyond(part->text, part->bytes, DEPTH_MAX))
        return NULL;
    json_t *value = json_loadb(part->text, part->bytes, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(value))
        return value;
    json_decref(value);
    return NULL;
}

static const char *text_of(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}

static bool is(const json_t *object, const char *member, const char *wanted)
{
    const char *text = text_of(object, member);
    return text && strcmp(text, wanted) == 0;
}

static enum verdict bad(const char **out_reason, const char *reason)
{
    *out_reason = reason;
    return TOKEN_BAD;
}

static enum verdict check_header(const struct jws *jws, const struct auth_keys *keys, const struct auth_key **out,
                                 const char **out_reason)
{
    scoped_json json_t *header = read_object(&jws->header);
    const char *kid = text_of(header, "kid"), *type = text_of(header, "typ");
    if (!header)
        return bad(out_reason, "the token's header is malformed");
    if (!is(header, "alg", "EdDSA"))
        return bad(out_reason, "the token's algorithm is not EdDSA");
    if (json_object_get(header, "crit") || (json_object_get(header, "typ") && (!type || strcasecmp(type, "JWT") != 0)))
        return bad(out_reason, "the token is of another type");
    if (!kid || !kid_is_good(kid))
        return bad(out_reason, "the token does not name its key");
    *out = auth_keys_find(keys, kid);
    *out_reason = "the token's key is not known";
    return *out ? TOKEN_GOOD : TOKEN_OF_UNKNOWN_KEY;
}

static bool read_time(const json_t *payload, const char *member, int64_t *out)
{
    const json_t *value = json_object_get(payload, member);
    *out = json_integer_value(value);
    return json_is_integer(value) && *out > 0 && *out < INT64_C(1) << 53;
}

static enum verdict check_claims(const struct jws *jws, int64_t now_s, struct claims *out, const char **out_reason)
{
    scoped_json json_t *payload = read_object(&jws->payload);
    struct claims claims;
    if (!payload || !read_time(payload, "iat", &claims.issued_s) || !read_time(payload, "nbf", &claims.not_before_s) ||
        !read_time(payload, "exp", &claims.expires_s) || !uuid_parse(text_of(payload, "sub"), &claims.user_id) ||
        !role_parse(text_of(payload, "role"), &claims.role))
        return bad(out_reason, "the token's claims are malformed");
    if (!is(payload, "iss", REALM))
        return bad(out_reason, "the token is of another issuer");
    if (!is(payload, "aud", REALM))
        return bad(out_reason, "the token is for another audience");
    if (now_s >= claims.expires_s + AUTH_LEEWAY_S)
        return bad(out_reason, "the token has expired");
    if (now_s < claims.not_before_s - AUTH_LEEWAY_S || now_s < claims.issued_s - AUTH_LEEWAY_S)
        return bad(out_reason, "the token is not valid yet");
    *out = claims;
    return TOKEN_GOOD;
}

enum verdict token_read(struct arena *arena, const struct auth_keys *keys, const char *text, size_t bytes,
                        int64_t now_s, struct claims *out, const char **out_reason)
{
    struct jws jws;
    const struct auth_key *key;
    jws_library();
    if (bytes > AUTH_TOKEN_BYTES_MAX)
        return bad(out_reason, "the token is too long");
    if (!jws_split(arena, text, bytes, &jws))
        return bad(out_reason, "the token is malformed");
    enum verdict verdict = check_header(&jws, keys, &key, out_reason);
    if (verdict)
        return verdict;
    if (!jws_verify(&jws, key->public_key))
        return bad(out_reason, "the token's signature is wrong");
    return check_claims(&jws, now_s, out, out_reason);
}
