/* Our tokens: a JWS with the header and claims that common/auth.h names. Any thread. Source: RFC 7519. */
#ifndef AUTH_TOKEN_H
#define AUTH_TOKEN_H

#include "auth/keys.h"

struct claims {
    struct uuid user_id;
    enum role role;
    int64_t issued_s, not_before_s, expires_s; /* since 1970 */
};

enum verdict { TOKEN_GOOD, TOKEN_BAD, TOKEN_OF_UNKNOWN_KEY };

char *token_print(struct arena *arena, const struct claims *claims, const char *kid,
                  const uint8_t secret_key[JWS_SECRET_BYTES]);
/* Unless it is good, *out_reason says why, a static text that a client may see. */
enum verdict token_read(struct arena *arena, const struct auth_keys *keys, const char *text, size_t bytes,
                        int64_t now_s, struct claims *out, const char **out_reason);

#endif
