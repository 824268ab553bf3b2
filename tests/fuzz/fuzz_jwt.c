/* Tokens and the keys that they are verified with; the first byte tells what follows. r: a token as it came. s: a byte
 * that picks a key and what is done to the signature, then header and payload, a line each, which are signed with that
 * key, so that what is behind the signature is reached. c: claims as numbers, for our own printing. k: a JWK set. p: a
 * key file.
 *
 * What is accepted is signed by the key that it names, one of ours, as OpenSSL sees it, too; and has every claim, as a
 * plain reader sees it. It is accepted again from memory until its end, and no longer once the keys have changed. What
 * is refused is refused in words that fit into a header, and leaves the output alone. */
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "auth/pem.h"
#include "auth/verifier.h"
#include "common/mem.h"
#include "fuzz/fuzz.h"

/* The stranger's kid is one of ours: only its key is not. */
enum { OURS = 2, STRANGER = 2, KEYS, CACHE = 4 };

static const int64_t now_s = 1800000000;
static const char *const kids[KEYS] = {"2026-01", "2026-02", "2026-01"};
static uint8_t public_keys[KEYS][JWS_PUBLIC_BYTES], secret_keys[KEYS][JWS_SECRET_BYTES];
static struct auth_keys ours;
static char key_path[64];
static int key_fd;

/* --- as a plain reader sees it */

static const char *text_of(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}

static bool says(const json_t *object, const char *member, const char *wanted)
{
    const char *text = text_of(object, member);
    return text && strcmp(text, wanted) == 0;
}

static bool openssl_agrees(const struct jws *jws, const struct auth_key *key)
{
    EVP_PKEY *public_key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->public_key, sizeof key->public_key);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool agrees = EVP_DigestVerifyInit(context, NULL, NULL, NULL, public_key) == 1 &&
                  EVP_DigestVerify(context, jws->signature, sizeof jws->signature,
                                   (const unsigned char *)jws->signed_text.text, jws->signed_text.bytes) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(public_key);
    return agrees;
}

static json_t *object_of(const struct jws_part *part)
{
    json_t *object = json_loadb(part->text, part->bytes, JSON_REJECT_DUPLICATES, NULL);
    FUZZ_CHECK(json_is_object(object));
    return object;
}

static void check_header(const struct jws *jws)
{
    json_t *header = object_of(&jws->header);
    const char *kid = text_of(header, "kid"), *type = text_of(header, "typ");
    FUZZ_CHECK(says(header, "alg", "EdDSA") && !json_object_get(header, "crit"));
    FUZZ_CHECK(type ? strcasecmp(type, "JWT") == 0 : !json_object_get(header, "typ"));
    const struct auth_key *key = kid ? auth_keys_find(&ours, kid) : NULL;
    FUZZ_CHECK(key && openssl_agrees(jws, key));
    json_decref(header);
}

static void check_payload(const struct jws *jws, const struct claims *claims)
{
    json_t *payload = object_of(&jws->payload);
    struct uuid id;
    FUZZ_CHECK(says(payload, "iss", "bodega") && says(payload, "aud", "bodega"));
    FUZZ_CHECK(text_of(payload, "sub") && uuid_parse(text_of(payload, "sub"), &id) && uuid_equal(id, claims->user_id));
    FUZZ_CHECK(says(payload, "role", claims->role == ROLE_ADMIN ? "admin" : "customer"));
    FUZZ_CHECK(json_integer_value(json_object_get(payload, "exp")) == claims->expires_s);
    FUZZ_CHECK(json_integer_value(json_object_get(payload, "nbf")) == claims->not_before_s);
    FUZZ_CHECK(json_integer_value(json_object_get(payload, "iat")) == claims->issued_s);
    json_decref(payload);
}

static bool in_time(const struct claims *claims)
{
    return now_s < claims->expires_s + AUTH_LEEWAY_S && now_s >= claims->not_before_s - AUTH_LEEWAY_S &&
           now_s >= claims->issued_s - AUTH_LEEWAY_S;
}

/* --- tokens */

static void check_good(struct arena *arena, struct bytes text, const struct claims *claims)
{
    struct jws jws;
    FUZZ_CHECK(text.size <= AUTH_TOKEN_BYTES_MAX && jws_split(arena, text.data, text.size, &jws));
    check_header(&jws);
    check_payload(&jws, claims);
    FUZZ_CHECK(in_time(claims));
}

static void check_refusal(const char *reason, const struct claims *claims)
{
    struct claims untouched;
    memset(&untouched, 0x5a, sizeof untouched);
    FUZZ_CHECK(reason && *reason && memcmp(claims, &untouched, sizeof untouched) == 0);
    for (const char *c = reason; *c; c++)
        FUZZ_CHECK(*c >= ' ' && *c <= '~' && *c != '"' && *c != '\\');
}

static enum verdict ask(struct verifier *verifier, struct arena *arena, struct bytes text, int64_t at_s,
                        struct claims *out)
{
    const char *reason = NULL;
    memset(out, 0x5a, sizeof *out);
    enum verdict verdict = verifier_read(verifier, arena, text.data, text.size, at_s, out, &reason);
    if (verdict != TOKEN_GOOD)
        check_refusal(reason, out);
    return verdict;
}

static void check_memory(struct verifier *verifier, struct arena *arena, struct bytes text, const struct claims *claims)
{
    struct claims again;
    FUZZ_CHECK(ask(verifier, arena, text, now_s, &again) == TOKEN_GOOD);
    FUZZ_CHECK(memcmp(claims, &again, sizeof again) == 0 && verifier_stats(verifier).cached == 1);
    FUZZ_CHECK(ask(verifier, arena, text, claims->expires_s + AUTH_LEEWAY_S, &again) == TOKEN_BAD);
    verifier_learn(verifier, &(struct auth_keys){0});
    FUZZ_CHECK(ask(verifier, arena, text, now_s, &again) == TOKEN_OF_UNKNOWN_KEY);
}

static enum verdict check_token(struct arena *arena, struct bytes text, struct claims *out)
{
    struct verifier *verifier = verifier_new(CACHE);
    verifier_learn(verifier, &ours);
    enum verdict verdict = ask(verifier, arena, text, now_s, out);
    if (verdict == TOKEN_GOOD) {
        check_good(arena, text, out);
        check_memory(verifier, arena, text, out);
    }
    FUZZ_CHECK(verifier_stats(verifier).known == 0 || verdict == TOKEN_GOOD);
    verifier_free(verifier);
    return verdict;
}

/* --- signed ones */

enum damage { NO_DAMAGE, ONE_BIT, NONE_AT_ALL, SHORT, DAMAGES };

static struct bytes sign(struct arena *arena, struct bytes header, struct bytes payload, uint8_t which)
{
    uint8_t signature[JWS_SIGNATURE_BYTES];
    size_t bytes = sizeof signature;
    const char *text = arena_print(arena, "%s.%s", base64url_print(arena, header.data, header.size),
                                   base64url_print(arena, payload.data, payload.size));
    crypto_sign_detached(signature, NULL, (const uint8_t *)text, strlen(text), secret_keys[which % KEYS]);
    enum damage damage = (which >> 4) % DAMAGES;
    if (damage == ONE_BIT)
        signature[which % sizeof signature] ^= 1;
    else if (damage != NO_DAMAGE)
        bytes = damage == SHORT ? sizeof signature - 1 : 0;
    text = arena_print(arena, "%s.%s", text, base64url_print(arena, signature, bytes));
    return (struct bytes){text, strlen(text)};
}

/* Text as long as it is, so that AddressSanitizer sees who reads on. */
static enum verdict check_exact(struct arena *arena, struct bytes text, struct claims *out)
{
    scoped_free char *exact = mem_alloc(text.size + (text.size == 0));
    memcpy(exact, text.data, text.size);
    return check_token(arena, (struct bytes){exact, text.size}, out);
}

static void check_signed(struct arena *arena, struct bytes text)
{
    struct claims claims;
    if (text.size == 0)
        return;
    uint8_t which = (uint8_t)text.data[0];
    const char *header = text.data + 1, *end = text.data + text.size;
    const char *newline = memchr(header, '\n', (size_t)(end - header));
    if (!newline)
        return;
    struct bytes first = {header, (size_t)(newline - header)}, second = {newline + 1, (size_t)(end - newline - 1)};
    enum verdict verdict = check_exact(arena, sign(arena, first, second, which), &claims);
    FUZZ_CHECK(verdict != TOKEN_GOOD || ((which >> 4) % DAMAGES == NO_DAMAGE && which % KEYS != STRANGER));
}

/* --- our own */

struct numbers {
    uint8_t which, role, place, mask;
    int16_t issued, not_before, expires;
    struct uuid user_id;
};

/* Who changes one character of a good token has another text or another signature, whatever it decodes to. */
static void check_changed(struct arena *arena, struct bytes text, const struct numbers *numbers)
{
    struct claims claims;
    char *changed = arena_text(arena, text.data, text.size);
    changed[numbers->place * text.size / 256] ^= (char)(numbers->mask ? numbers->mask : 1);
    FUZZ_CHECK(check_exact(arena, (struct bytes){changed, text.size}, &claims) != TOKEN_GOOD);
}

static void check_printed(struct arena *arena, struct bytes bytes)
{
    struct numbers numbers = {0};
    struct claims claims, read;
    memcpy(&numbers, bytes.data, bytes.size < sizeof numbers ? bytes.size : sizeof numbers);
    memset(&claims, 0, sizeof claims);
    claims.user_id = numbers.user_id;
    claims.role = numbers.role & 1 ? ROLE_ADMIN : ROLE_CUSTOMER;
    claims.issued_s = now_s + numbers.issued;
    claims.not_before_s = now_s + numbers.not_before;
    claims.expires_s = now_s + numbers.expires;
    unsigned key = numbers.which % KEYS;
    const char *text = token_print(arena, &claims, kids[key], secret_keys[key]);
    struct bytes token = {text, strlen(text)};
    enum verdict verdict = check_exact(arena, token, &read);
    FUZZ_CHECK(verdict == (key != STRANGER && in_time(&claims) ? TOKEN_GOOD : TOKEN_BAD));
    if (verdict == TOKEN_GOOD)
        FUZZ_CHECK(uuid_equal(read.user_id, claims.user_id) && read.role == claims.role);
    check_changed(arena, token, &numbers);
}

/* --- keys */

static void check_set(struct arena *arena, struct bytes text)
{
    struct auth_keys keys, again, untouched;
    memset(&keys, 0x5a, sizeof keys);
    memset(&untouched, 0x5a, sizeof untouched);
    const char *wrong = auth_keys_parse(text.data, text.size, &keys);
    if (wrong) {
        FUZZ_CHECK(*wrong && memcmp(&keys, &untouched, sizeof keys) == 0);
        return;
    }
    FUZZ_CHECK(text.size <= JWKS_BYTES_MAX && keys.count <= AUTH_KEYS_MAX);
    for (unsigned i = 0; i < keys.count; i++)
        FUZZ_CHECK(kid_is_good(keys.keys[i].kid) && auth_keys_find(&keys, keys.keys[i].kid) == &keys.keys[i]);
    const char *printed = auth_keys_print(arena, &keys);
    FUZZ_CHECK(!auth_keys_parse(printed, strlen(printed), &again) && auth_keys_equal(&keys, &again));
}

static void check_file(struct bytes text)
{
    uint8_t secret_key[JWS_SECRET_BYTES], untouched[JWS_SECRET_BYTES], public_key[JWS_PUBLIC_BYTES];
    uint8_t again[JWS_SECRET_BYTES];
    memset(secret_key, 0x5a, sizeof secret_key);
    memset(untouched, 0x5a, sizeof untouched);
    FUZZ_CHECK(ftruncate(key_fd, 0) == 0 && pwrite(key_fd, text.data, text.size, 0) == (ssize_t)text.size);
    const char *wrong = pem_read(key_path, secret_key);
    if (wrong) {
        FUZZ_CHECK(*wrong && memcmp(secret_key, untouched, sizeof untouched) == 0);
        return;
    }
    /* A whole one: its second half is what belongs to the first. */
    crypto_sign_seed_keypair(public_key, again, secret_key);
    FUZZ_CHECK(memcmp(secret_key, again, sizeof again) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    jws_library();
    for (unsigned i = 0; i < KEYS; i++) {
        uint8_t seed[crypto_sign_SEEDBYTES];
        memset(seed, (int)i + 1, sizeof seed);
        crypto_sign_seed_keypair(public_keys[i], secret_keys[i], seed);
        if (i < OURS)
            FUZZ_CHECK(auth_keys_add(&ours, kids[i], public_keys[i]));
    }
    key_fd = memfd_create("key", MFD_CLOEXEC);
    snprintf(key_path, sizeof key_path, "/proc/self/fd/%d", key_fd);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct arena arena;
    struct claims claims;
    if (bytes == 0)
        return 0;
    arena_init(&arena, 4096);
    struct bytes text = {(const char *)data + 1, bytes - 1};
    if (data[0] == 's')
        check_signed(&arena, text);
    else if (data[0] == 'c')
        check_printed(&arena, text);
    else if (data[0] == 'k')
        check_set(&arena, text);
    else if (data[0] == 'p')
        check_file(text);
    else
        check_exact(&arena, text, &claims);
    arena_done(&arena);
    return 0;
}
