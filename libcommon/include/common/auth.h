/* Who asks, and what that one may do: passwords, signed tokens, the keys that sign them.
 *
 * A token is a JWT in compact form, signed with Ed25519 (alg "EdDSA" and no other): kid in its header; claims iss and
 * aud "bodega", sub (the user's UUID), role, iat, nbf and exp. It lives AUTH_TOKEN_LIFE_S; clocks may differ by
 * AUTH_LEEWAY_S. Strict base64url, no duplicate members, no "crit", at most AUTH_TOKEN_BYTES_MAX bytes.
 * Verified before a handler runs, as the table's access column and auth.mode say: req->principal is who asks, or NULL
 * for nobody. Fiber only, but for what takes no request.
 * Source: RFC 6750, 7515, 7517, 7519, 7638, 8037; argon2id of RFC 9106. */
#ifndef COMMON_AUTH_H
#define COMMON_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/request.h"

enum {
    AUTH_TOKEN_LIFE_S = 900,
    AUTH_LEEWAY_S = 5,
    AUTH_TOKEN_BYTES_MAX = 4096,
    AUTH_KEYS_MAX = 16,
    AUTH_HASH_BYTES = 128, /* of a password's hash as text, with the NUL */
};

const char *role_name(enum role role); /* "customer", "admin" */
bool role_parse(const char *name, enum role *out);

/* May this request see and change what belongs to the user? Admins may, and so may nobody: whether a call needs a
 * token has been decided before. */
bool auth_owns(const struct request *req, struct uuid user_id);

/* --- of the service that signs (struct service_auth, issuer) */

struct auth_issuer_settings {
    const char *keys_dir;    /* "": a key is made */
    const char *signing_key; /* a kid; "": the last one by name */
    int settle_ms;           /* until a key that is new may be that one */
    int hash_threads, hash_queue_max;
    int account_failures_max, address_failures_max; /* wrong log-ins a minute */
};

/* A token for the user, in the arena. */
char *auth_token(struct request *req, struct uuid user_id, enum role role);
/* The public keys as a JWK set, in the arena. */
char *auth_jwks(struct request *req);

/* argon2id with 19 MiB and two passes, in a pool of its own. ERR_RESOURCE_EXHAUSTED when its queue is full; nothing is
 * computed once the request's time is over (ERR_DEADLINE_EXCEEDED). */
enum err password_hash(struct request *req, const char *password, char out[AUTH_HASH_BYTES]);
/* hash NULL: there is no password; costs as much as a wrong one. */
enum err password_check(struct request *req, const char *password, const char *hash, bool *out_right);

/* May somebody try to log in? ERR_RESOURCE_EXHAUSTED after too many wrong tries, for this account (existing or not) or
 * from this client's address ("": unknown), in a bounded table. */
enum err login_admit(struct request *req, const char *account, const char *address);
/* Counts a wrong one. */
void login_failed(const char *account, const char *address);

#endif
