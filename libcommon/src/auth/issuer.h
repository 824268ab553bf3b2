/* The signing service's own: its secret keys, the pool of the password hashes, the count of log-ins. One a process.
 * Keys are *.pem files in a directory, PKCS#8 with Ed25519; a file's name without .pem is the key's kid. The key that
 * signs is the one that is named, otherwise the last by name in byte order; the others are there to verify. One that
 * comes while the service runs signs only once it has been there for settle_ms, so that everybody has heard of it.
 * Without a directory one is made, and tokens end with the process. */
#ifndef AUTH_ISSUER_H
#define AUTH_ISSUER_H

#include "auth/keys.h"
#include "common/offload.h"

/* ERR_INVALID_ARGUMENT with a message that says what is wrong with the keys. settings are kept. */
enum err issuer_open(const struct auth_issuer_settings *settings, char *message, size_t message_bytes);
void issuer_close(void);
/* Reads the directory again; on an error everything stays. Blocks. */
enum err issuer_reload(char *message, size_t message_bytes);
void issuer_keys(struct auth_keys *out);

struct issuer_stats {
    struct offload_stats hashes;
    uint64_t throttled, forgotten; /* log-ins refused; names that the crowded table let go */
};
struct issuer_stats issuer_stats(void); /* any thread, while it is open */

#endif
