#include "auth/issuer.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/password.h"
#include "auth/pem.h"
#include "auth/throttle.h"
#include "auth/token.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

enum { PATH_BYTES = 1024, ACCOUNT_BYTES = 256 };

struct ring {
    struct auth_keys keys;
    struct secret {
        uint8_t key[JWS_SECRET_BYTES];
        int64_t since_ns;     /* when it was seen first; INT64_MIN: at the start */
    } secrets[AUTH_KEYS_MAX]; /* of the keys, in their order */
    unsigned signing;
};

static struct {
    const struct auth_issuer_settings *settings;
    pthread_mutex_t reloading; /* one at a time */
    pthread_mutex_t lock;      /* of the ring */
    struct ring ring;
    struct throttle *accounts, *addresses;
} issuer = {.reloading = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER};

/* --- keys from files */

static bool read_name(const char *file, char out[KID_BYTES_MAX + 1])
{
    size_t length = strlen(file);
    if (length <= 4 || length - 4 > KID_BYTES_MAX || strcmp(file + length - 4, ".pem") != 0)
        return false;
    memcpy(out, file, length - 4);
    out[length - 4] = '\0';
    return kid_is_good(out);
}

__attribute__((format(printf, 3, 4))) static enum err wrong(char *message, size_t bytes, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(message, bytes, format, args);
    va_end(args);
    return ERR_INVALID_ARGUMENT;
}

static enum err add_file(struct ring *ring, const char *directory, const char *file, char *message, size_t bytes)
{
    char path[PATH_BYTES], kid[KID_BYTES_MAX + 1];
    if (!read_name(file, kid))
        return ERR_OK;
    if (ring->keys.count == AUTH_KEYS_MAX)
        return wrong(message, bytes, "auth.keys_dir: %s: expected at most %d keys", directory, AUTH_KEYS_MAX);
    snprintf(path, sizeof path, "%s/%s", directory, file);
    struct secret *secret = &ring->secrets[ring->keys.count];
    const char *reason = pem_read(path, secret->key);
    if (reason)
        return wrong(message, bytes, "auth.keys_dir: %s: %s", path, reason);
    auth_keys_add(&ring->keys, kid, secret->key + JWS_SECRET_BYTES - JWS_PUBLIC_BYTES);
    return ERR_OK;
}

static enum err add_files(struct ring *ring, DIR *directory, const char *path, char *message, size_t bytes)
{
    enum err err = ERR_OK;
    for (struct dirent *entry; !err && (entry = readdir(directory));)
        err = add_file(ring, path, entry->d_name, message, bytes);
    if (!err && ring->keys.count == 0)
        return wrong(message, bytes, "auth.keys_dir: %s has no key, expected files like 2026-01.pem", path);
    return err;
}

static const char *kid_of(const struct ring *ring, unsigned index)
{
    return ring->keys.keys[index].kid;
}

static void remember_since(struct ring *ring, const struct ring *before)
{
    for (unsigned i = 0; i < ring->keys.count; i++) {
        const struct auth_key *known = auth_keys_find(&before->keys, kid_of(ring, i));
        if (known)
            ring->secrets[i].since_ns = before->secrets[known - before->keys.keys].since_ns;
        else
            ring->secrets[i].since_ns = before->keys.count > 0 ? clock_now_ns() : INT64_MIN;
    }
}

/* The last one by name; but of those that came while we run only what everybody has had the time to hear of. */
static unsigned last_key(const struct ring *ring, int64_t latest_ns)
{
    unsigned last = AUTH_KEYS_MAX;
    for (unsigned i = 0; i < ring->keys.count; i++)
        if (ring->secrets[i].since_ns <= latest_ns &&
            (last == AUTH_KEYS_MAX || strcmp(kid_of(ring, i), kid_of(ring, last)) > 0))
            last = i;
    return last;
}

static enum err choose_signing(struct ring *ring, char *message, size_t bytes)
{
    const char *named = issuer.settings->signing_key;
    const struct auth_key *key = auth_keys_find(&ring->keys, named);
    if (*named && !key)
        return wrong(message, bytes, "auth.signing_key: there is no %s.pem in %s", named, issuer.settings->keys_dir);
    remember_since(ring, &issuer.ring);
    if (key)
        ring->signing = (unsigned)(key - ring->keys.keys);
    else
        ring->signing = last_key(ring, clock_now_ns() - issuer.settings->settle_ms * NS_PER_MS);
    if (ring->signing == AUTH_KEYS_MAX)
        ring->signing = last_key(ring, INT64_MAX);
    return ERR_OK;
}

static enum err read_ring(struct ring *ring, char *message, size_t bytes)
{
    const char *path = issuer.settings->keys_dir;
    DIR *directory = opendir(path);
    if (!directory)
        return wrong(message, bytes, "auth.keys_dir: %s cannot be read: %s", path, strerror(errno));
    enum err err = add_files(ring, directory, path, message, bytes);
    closedir(directory);
    return err ? err : choose_signing(ring, message, bytes);
}

static void make_ring(struct ring *ring)
{
    uint8_t public_key[JWS_PUBLIC_BYTES];
    char kid[KID_BYTES_MAX + 1];
    crypto_sign_keypair(public_key, ring->secrets[0].key);
    jwk_thumbprint(public_key, kid);
    auth_keys_add(&ring->keys, kid, public_key);
    log_event(LOG_WARN,
              "tokens are signed with a key made for this run: no other replica knows it, and they end with it",
              log_text("setting", "auth.keys_dir"), log_text("kid", kid));
}

/* --- life */

static void swap_ring(struct ring *ring)
{
    pthread_mutex_lock(&issuer.lock);
    bool changed = !auth_keys_equal(&ring->keys, &issuer.ring.keys) ||
                   strcmp(kid_of(ring, ring->signing), kid_of(&issuer.ring, issuer.ring.signing)) != 0;
    issuer.ring = *ring;
    pthread_mutex_unlock(&issuer.lock);
    if (changed)
        log_event(LOG_INFO, "signing keys", log_int("keys", ring->keys.count),
                  log_text("signing", kid_of(ring, ring->signing)));
}

enum err issuer_open(const struct auth_issuer_settings *settings, char *message, size_t message_bytes)
{
    struct ring ring = {0};
    jws_library();
    issuer.settings = settings;
    enum err err = ERR_OK;
    if (*settings->keys_dir)
        err = read_ring(&ring, message, message_bytes);
    else
        make_ring(&ring);
    if (err)
        return err;
    swap_ring(&ring);
    sodium_memzero(&ring, sizeof ring);
    password_pool_open((unsigned)settings->hash_threads, (unsigned)settings->hash_queue_max);
    issuer.accounts = throttle_new((unsigned)settings->account_failures_max);
    issuer.addresses = throttle_new((unsigned)settings->address_failures_max);
    return ERR_OK;
}

void issuer_close(void)
{
    password_pool_close();
    throttle_free(issuer.accounts);
    throttle_free(issuer.addresses);
    issuer.accounts = issuer.addresses = NULL;
    sodium_memzero(&issuer.ring, sizeof issuer.ring);
}

enum err issuer_reload(char *message, size_t message_bytes)
{
    struct ring ring = {0};
    if (!*issuer.settings->keys_dir)
        return ERR_OK;
    pthread_mutex_lock(&issuer.reloading);
    enum err err = read_ring(&ring, message, message_bytes);
    if (!err)
        swap_ring(&ring);
    pthread_mutex_unlock(&issuer.reloading);
    sodium_memzero(&ring, sizeof ring);
    return err;
}

void issuer_keys(struct auth_keys *out)
{
    pthread_mutex_lock(&issuer.lock);
    *out = issuer.ring.keys;
    pthread_mutex_unlock(&issuer.lock);
}

struct issuer_stats issuer_stats(void)
{
    struct throttle_stats accounts = throttle_stats(issuer.accounts), addresses = throttle_stats(issuer.addresses);
    return (struct issuer_stats){
        .hashes = password_stats(),
        .throttled = accounts.refused + addresses.refused,
        .forgotten = accounts.forgotten + addresses.forgotten,
    };
}

/* --- what handlers ask for */

char *auth_token(struct request *req, struct uuid user_id, enum role role)
{
    int64_t now_s = clock_wall_ns() / NS_PER_S;
    const struct claims claims = {.user_id = user_id,
                                  .role = role,
                                  .issued_s = now_s,
                                  .not_before_s = now_s,
                                  .expires_s = now_s + AUTH_TOKEN_LIFE_S};
    char kid[KID_BYTES_MAX + 1];
    uint8_t secret_key[JWS_SECRET_BYTES];
    pthread_mutex_lock(&issuer.lock);
    memcpy(kid, kid_of(&issuer.ring, issuer.ring.signing), sizeof kid);
    memcpy(secret_key, issuer.ring.secrets[issuer.ring.signing].key, sizeof secret_key);
    pthread_mutex_unlock(&issuer.lock);
    char *token = token_print(req->arena, &claims, kid, secret_key);
    sodium_memzero(secret_key, sizeof secret_key);
    return token;
}

char *auth_jwks(struct request *req)
{
    struct auth_keys keys;
    issuer_keys(&keys);
    return auth_keys_print(req->arena, &keys);
}

/* An address's letters have one case for us, as they have for the database. */
static const char *in_lower_case(const char *text, char out[ACCOUNT_BYTES])
{
    size_t i = 0;
    for (; text[i] && i + 1 < ACCOUNT_BYTES; i++)
        out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 'a' - 'A' : text[i]);
    out[i] = '\0';
    return out;
}

enum err login_admit(struct request *req, const char *account, const char *address)
{
    char key[ACCOUNT_BYTES];
    if (throttle_allows(issuer.accounts, in_lower_case(account, key)) &&
        (!*address || throttle_allows(issuer.addresses, address)))
        return ERR_OK;
    return fail(req, ERR_RESOURCE_EXHAUSTED, "too many failed log-ins; try again in a minute");
}

void login_failed(const char *account, const char *address)
{
    char key[ACCOUNT_BYTES];
    throttle_charge(issuer.accounts, in_lower_case(account, key));
    if (*address)
        throttle_charge(issuer.addresses, address);
}
