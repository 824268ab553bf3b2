/* Tokens, keys and their memory: the vectors of RFC 8037, and what a token must not get away with. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/issuer.h"
#include "auth/throttle.h"
#include "auth/verifier.h"
#include "common/clock.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/offload.h"
#include "support/keys.h"
#include "support/support.h"

#define USER "b0de9a00-0000-4000-8000-000000000001"

static struct arena arena;

static int open_arena(void **state)
{
    (void)state;
    jws_library();
    arena_init(&arena, 4096);
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

/* --- base64url */

static void test_base64url_has_one_form_for_each_text(void **state)
{
    (void)state;
    static const char *const good[] = {"", "Zg", "Zm8", "Zm9v", "__-_"};
    static const char *const bad[] = {"Z", "Zg==", "Zh", "Zm9=", "Zm9v\n", " Zm9v", "Zm 9v", "+/+/", "Zm9v.", "Zm9vA"};
    size_t bytes;
    for (size_t i = 0; i < array_count(good); i++) {
        char *text = base64url_read(&arena, good[i], strlen(good[i]), &bytes);
        assert_non_null(text);
        assert_string_equal(base64url_print(&arena, text, bytes), good[i]);
    }
    for (size_t i = 0; i < array_count(bad); i++)
        assert_null(base64url_read(&arena, bad[i], strlen(bad[i]), &bytes));
}

static void test_base64url_has_64_characters(void **state)
{
    (void)state;
    unsigned count = 0;
    size_t bytes;
    for (int byte = 0; byte < 256; byte++) {
        char text[] = {'A', 'A', (char)byte, 'A'};
        char *read = base64url_read(&arena, text, sizeof text, &bytes);
        count += read != NULL;
        if (read)
            assert_memory_equal(base64url_print(&arena, read, bytes), text, sizeof text);
    }
    assert_int_equal(count, 64);
}

/* --- RFC 8037, appendix A */

static const char rfc_d[] = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
static const char rfc_x[] = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
static const char rfc_jws[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
                              "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

static void rfc_keys(uint8_t secret_key[JWS_SECRET_BYTES], uint8_t public_key[JWS_PUBLIC_BYTES])
{
    size_t bytes;
    char *seed = base64url_read(&arena, rfc_d, strlen(rfc_d), &bytes);
    assert_non_null(seed);
    crypto_sign_seed_keypair(public_key, secret_key, (const unsigned char *)seed);
}

static void test_the_vectors_of_rfc_8037_hold(void **state)
{
    (void)state;
    uint8_t secret_key[JWS_SECRET_BYTES], public_key[JWS_PUBLIC_BYTES];
    char thumbprint[KID_BYTES_MAX + 1];
    struct jws jws;
    rfc_keys(secret_key, public_key);
    assert_string_equal(base64url_print(&arena, public_key, sizeof public_key), rfc_x);
    jwk_thumbprint(public_key, thumbprint);
    assert_string_equal(thumbprint, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_string_equal(jws_sign(&arena, "{\"alg\":\"EdDSA\"}", "Example of Ed25519 signing", secret_key), rfc_jws);
    assert_true(jws_split(&arena, rfc_jws, strlen(rfc_jws), &jws));
    assert_string_equal(jws.payload.text, "Example of Ed25519 signing");
    assert_true(jws_verify(&jws, public_key));
    jws.signature[5] ^= 1;
    assert_false(jws_verify(&jws, public_key));
}

/* --- JWK sets */

static const char rfc_set[] = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\",\"use\":\"sig\","
                              "\"kid\":\"a\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

static void test_a_key_set_is_read_as_it_was_printed(void **state)
{
    (void)state;
    struct auth_keys keys, again;
    assert_null(auth_keys_parse(rfc_set, strlen(rfc_set), &keys));
    assert_int_equal(keys.count, 1);
    char *text = auth_keys_print(&arena, &keys);
    assert_string_equal(text, rfc_set);
    assert_null(auth_keys_parse(text, strlen(text), &again));
    assert_true(auth_keys_equal(&keys, &again));
}

static void test_keys_of_other_kinds_are_passed_over(void **state)
{
    (void)state;
#define X "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""
    static const char *const others[] = {
        "{\"kty\":\"RSA\",\"kid\":\"r\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"x\",\"x\":\"11qYAYKxCrfV\u00e97TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"kid\":\"x\"," X "}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"x\",\"use\":\"enc\"," X "}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"x\",\"alg\":\"HS256\"," X "}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"," X "}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"\"," X "}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a b\"," X "}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"x\",\"x\":\"11qY\"}",
        "{\"kty\":\"oct\",\"kid\":\"x\",\"k\":\"AA\"}",
        "7",
    };
    for (size_t i = 0; i < array_count(others); i++) {
        struct auth_keys keys = {.count = 7};
        char *text = arena_print(&arena, "{\"keys\":[%s]}", others[i]);
        assert_null(auth_keys_parse(text, strlen(text), &keys));
        assert_int_equal(keys.count, 0);
    }
}

static void test_what_is_no_key_set_changes_nothing(void **state)
{
    (void)state;
    char *key = arena_print(&arena, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\"," X "}");
    char *deep = arena_alloc(&arena, 3000), *many = arena_text(&arena, "", 0);
    memset(deep, '[', 2999);
    for (int i = 0; i <= AUTH_KEYS_MAX; i++)
        many = arena_print(&arena, "%s%s{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k%d\"," X "}", many,
                           i ? "," : "", i);
    const char *const bad[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":[],\"keys\":[]}",
        arena_print(&arena, "{\"keys\":[%s,%s]}", key, key),
        arena_print(&arena, "{\"keys\":[%s]}", many),
        deep,
    };
    for (size_t i = 0; i < array_count(bad); i++) {
        struct auth_keys keys = {.count = 7};
        assert_non_null(auth_keys_parse(bad[i], strlen(bad[i]), &keys));
        assert_int_equal(keys.count, 7);
    }
}

/* --- tokens */

static struct claims good_claims(int64_t now_s)
{
    struct claims claims = {.role = ROLE_ADMIN, .issued_s = now_s, .not_before_s = now_s, .expires_s = now_s + 900};
    assert_true(uuid_parse(USER, &claims.user_id));
    return claims;
}

static struct auth_keys keys_of(const struct test_key *key)
{
    struct auth_keys keys = {0};
    assert_true(auth_keys_add(&keys, key->kid, key->public_key));
    return keys;
}

static enum verdict read_at(const struct test_key *key, const char *token, int64_t now_s, const char **out_reason)
{
    struct auth_keys keys = keys_of(key);
    struct claims claims;
    return token_read(&arena, &keys, token, strlen(token), now_s, &claims, out_reason);
}

static void test_a_token_says_what_it_was_made_of(void **state)
{
    (void)state;
    struct test_key key = test_key_make("2026-11", 1);
    struct auth_keys keys = keys_of(&key);
    struct claims claims = good_claims(1800000000), read;
    const char *reason;
    char *token = token_print(&arena, &claims, key.kid, key.secret_key);
    assert_int_equal(token_read(&arena, &keys, token, strlen(token), 1800000000, &read, &reason), TOKEN_GOOD);
    assert_true(uuid_equal(read.user_id, claims.user_id));
    assert_int_equal(read.role, ROLE_ADMIN);
    assert_int_equal(read.expires_s, claims.expires_s);
}

static void test_a_token_has_its_time(void **state)
{
    (void)state;
    struct test_key key = test_key_make("k", 1);
    struct claims claims = good_claims(1000);
    const char *reason;
    char *token = token_print(&arena, &claims, key.kid, key.secret_key);
    static const struct {
        int64_t now_s;
        enum verdict verdict;
    } at[] = {{1000, TOKEN_GOOD},
              {1000 - AUTH_LEEWAY_S, TOKEN_GOOD},
              {1000 - AUTH_LEEWAY_S - 1, TOKEN_BAD},
              {1900 + AUTH_LEEWAY_S - 1, TOKEN_GOOD},
              {1900 + AUTH_LEEWAY_S, TOKEN_BAD}};
    for (size_t i = 0; i < array_count(at); i++)
        assert_int_equal(read_at(&key, token, at[i].now_s, &reason), at[i].verdict);
}

#define HEADER "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"k\"}"
#define TIMES  "\"iat\":1000,\"nbf\":1000,\"exp\":1900"
#define WHO    "\"sub\":\"" USER "\",\"role\":\"admin\""
#define FOR_US "\"iss\":\"bodega\",\"aud\":\"bodega\""

struct forgery {
    const char *header, *payload, *reason;
};

static const struct forgery forgeries[] = {
    {"{\"alg\":\"none\",\"kid\":\"k\"}", "{" FOR_US "," WHO "," TIMES "}", "algorithm"},
    {"{\"alg\":\"HS256\",\"kid\":\"k\"}", "{" FOR_US "," WHO "," TIMES "}", "algorithm"},
    {"{\"alg\":\"eddsa\",\"kid\":\"k\"}", "{" FOR_US "," WHO "," TIMES "}", "algorithm"},
    {"{\"alg\":[\"EdDSA\"],\"kid\":\"k\"}", "{" FOR_US "," WHO "," TIMES "}", "algorithm"},
    {"{\"kid\":\"k\"}", "{" FOR_US "," WHO "," TIMES "}", "algorithm"},
    {"{\"alg\":\"EdDSA\"}", "{" FOR_US "," WHO "," TIMES "}", "name its key"},
    {"{\"alg\":\"EdDSA\",\"kid\":7}", "{" FOR_US "," WHO "," TIMES "}", "name its key"},
    {"{\"alg\":\"EdDSA\",\"kid\":\"../k\"}", "{" FOR_US "," WHO "," TIMES "}", "name its key"},
    {"{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\",\"kid\":\"k\"}", "{" FOR_US "," WHO "," TIMES "}", "header"},
    {"{\"alg\":\"EdDSA\",\"kid\":\"k\",\"crit\":[\"exp\"]}", "{" FOR_US "," WHO "," TIMES "}", "another type"},
    {"{\"alg\":\"EdDSA\",\"kid\":\"k\",\"typ\":\"JOSE\"}", "{" FOR_US "," WHO "," TIMES "}", "another type"},
    {"[]", "{" FOR_US "," WHO "," TIMES "}", "header"},
    {"{\"alg\":\"EdDSA\",\"kid\":\"k\"} ,", "{" FOR_US "," WHO "," TIMES "}", "header"},
    {HEADER, "{\"iss\":\"other\",\"aud\":\"bodega\"," WHO "," TIMES "}", "issuer"},
    {HEADER, "{\"aud\":\"bodega\"," WHO "," TIMES "}", "issuer"},
    {HEADER, "{\"iss\":\"bodega\",\"aud\":\"other\"," WHO "," TIMES "}", "audience"},
    {HEADER, "{\"iss\":\"bodega\",\"aud\":[\"other\"]," WHO "," TIMES "}", "audience"},
    {HEADER, "{" FOR_US ",\"role\":\"admin\"," TIMES "}", "claims"},
    {HEADER, "{" FOR_US ",\"sub\":\"root\",\"role\":\"admin\"," TIMES "}", "claims"},
    {HEADER, "{" FOR_US ",\"sub\":\"" USER "\"," TIMES "}", "claims"},
    {HEADER, "{" FOR_US ",\"sub\":\"" USER "\",\"role\":\"root\"," TIMES "}", "claims"},
    {HEADER, "{" FOR_US "," WHO ",\"iat\":1000,\"nbf\":1000}", "claims"},
    {HEADER, "{" FOR_US "," WHO ",\"iat\":1000,\"nbf\":1000,\"exp\":\"1900\"}", "claims"},
    {HEADER, "{" FOR_US "," WHO ",\"iat\":1000,\"nbf\":1000,\"exp\":1900.5}", "claims"},
    {HEADER, "{" FOR_US "," WHO ",\"iat\":1000,\"nbf\":1000,\"exp\":-1}", "claims"},
    {HEADER, "{" FOR_US "," WHO ",\"role\":\"admin\"," TIMES "}", "claims"},
    {HEADER, "[]", "claims"},
    {HEADER, "{" FOR_US "," WHO "," TIMES ",\"x\":[[[[[]]]]]}", "claims"},
};

static void test_forged_tokens_are_bad_whoever_signed_them(void **state)
{
    (void)state;
    struct test_key key = test_key_make("k", 1);
    const char *reason = "";
    char *good = jws_sign(&arena, HEADER, "{" FOR_US "," WHO "," TIMES "}", key.secret_key);
    assert_int_equal(read_at(&key, good, 1000, &reason), TOKEN_GOOD);
    for (size_t i = 0; i < array_count(forgeries); i++) {
        const struct forgery *forgery = &forgeries[i];
        char *token = jws_sign(&arena, forgery->header, forgery->payload, key.secret_key);
        enum verdict verdict = read_at(&key, token, 1000, &reason);
        if (verdict != TOKEN_BAD || !strstr(reason, forgery->reason))
            fprintf(stderr, "%s %s: %s\n", forgery->header, forgery->payload, reason);
        assert_int_equal(verdict, TOKEN_BAD);
        assert_non_null(strstr(reason, forgery->reason));
    }
}

static void test_changed_tokens_are_bad(void **state)
{
    (void)state;
    struct test_key key = test_key_make("k", 1), other = test_key_make("k", 2), unknown = test_key_make("u", 1);
    struct claims claims = good_claims(1000);
    const char *reason;
    char *token = token_print(&arena, &claims, key.kid, key.secret_key);
    size_t length = strlen(token);
    for (size_t i = 0; i < length; i++) {
        char *changed = arena_text(&arena, token, length);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        assert_int_not_equal(read_at(&key, changed, 1000, &reason), TOKEN_GOOD);
        char *shorter = arena_print(&arena, "%.*s%s", (int)i, token, token + i + 1);
        assert_int_not_equal(read_at(&key, shorter, 1000, &reason), TOKEN_GOOD);
    }
    static const char *const tails[] = {".", "A", "=", " ", ",", ".AAAA"};
    for (size_t i = 0; i < array_count(tails); i++)
        assert_int_equal(read_at(&key, arena_print(&arena, "%s%s", token, tails[i]), 1000, &reason), TOKEN_BAD);
    static const char *const none[] = {"", ".", "..", "a.b", "a.b.c", "...."};
    for (size_t i = 0; i < array_count(none); i++)
        assert_int_equal(read_at(&key, none[i], 1000, &reason), TOKEN_BAD);
    assert_int_equal(read_at(&other, token, 1000, &reason), TOKEN_BAD);
    assert_int_equal(read_at(&unknown, token, 1000, &reason), TOKEN_OF_UNKNOWN_KEY);
}

static void test_a_token_has_a_greatest_length(void **state)
{
    (void)state;
    struct test_key key = test_key_make("k", 1);
    const char *reason = "";
    char *filler = arena_alloc(&arena, AUTH_TOKEN_BYTES_MAX + 1);
    memset(filler, 'x', AUTH_TOKEN_BYTES_MAX);
    for (int bytes = 1; bytes < 4096; bytes += 700) {
        char *payload = arena_print(&arena, "{" FOR_US "," WHO "," TIMES ",\"x\":\"%.*s\"}", bytes, filler);
        char *token = jws_sign(&arena, HEADER, payload, key.secret_key);
        bool fits = strlen(token) <= AUTH_TOKEN_BYTES_MAX;
        assert_int_equal(read_at(&key, token, 1000, &reason), fits ? TOKEN_GOOD : TOKEN_BAD);
    }
    assert_non_null(strstr(reason, "too long"));
}

/* --- known tokens */

static enum verdict ask(struct verifier *verifier, const char *token, int64_t now_s)
{
    struct claims claims;
    const char *reason;
    return verifier_read(verifier, &arena, token, strlen(token), now_s, &claims, &reason);
}

static void test_a_known_token_is_not_verified_again_until_it_ends(void **state)
{
    (void)state;
    struct test_key key = test_key_make("k", 1);
    struct auth_keys keys = keys_of(&key);
    struct claims claims = good_claims(1000);
    struct verifier *verifier = verifier_new(16);
    char *token = token_print(&arena, &claims, key.kid, key.secret_key);
    assert_int_equal(ask(verifier, token, 1000), TOKEN_OF_UNKNOWN_KEY);
    verifier_learn(verifier, &keys);
    for (int i = 0; i < 10; i++)
        assert_int_equal(ask(verifier, token, 1000), TOKEN_GOOD);
    assert_int_equal(verifier_stats(verifier).verified, 1);
    assert_int_equal(verifier_stats(verifier).cached, 9);
    assert_int_equal(ask(verifier, token, 1900 + AUTH_LEEWAY_S), TOKEN_BAD);
    assert_int_equal(verifier_stats(verifier).refused, 1);
    verifier_free(verifier);
}

static void test_known_tokens_end_with_their_key(void **state)
{
    (void)state;
    struct test_key old = test_key_make("old", 1), new = test_key_make("new", 2);
    struct auth_keys both = keys_of(&old), one = keys_of(&new);
    struct claims claims = good_claims(1000);
    struct verifier *verifier = verifier_new(16);
    assert_true(auth_keys_add(&both, new.kid, new.public_key));
    char *token = token_print(&arena, &claims, old.kid, old.secret_key);
    verifier_learn(verifier, &both);
    assert_int_equal(ask(verifier, token, 1000), TOKEN_GOOD);
    verifier_learn(verifier, &both);
    assert_int_equal(verifier_stats(verifier).known, 1);
    verifier_learn(verifier, &one);
    assert_int_equal(verifier_stats(verifier).known, 0);
    assert_int_equal(ask(verifier, token, 1000), TOKEN_OF_UNKNOWN_KEY);
    verifier_free(verifier);
}

static void test_the_memory_of_tokens_is_bounded(void **state)
{
    (void)state;
    struct test_key key = test_key_make("k", 1);
    struct auth_keys keys = keys_of(&key);
    struct verifier *small = verifier_new(16), *none = verifier_new(0);
    verifier_learn(small, &keys);
    verifier_learn(none, &keys);
    for (int i = 0; i < 100; i++) {
        struct claims claims = good_claims(1000 + i % 3);
        claims.user_id.bytes[0] = (uint8_t)i;
        char *token = token_print(&arena, &claims, key.kid, key.secret_key);
        assert_int_equal(ask(small, token, 1002), TOKEN_GOOD);
        assert_int_equal(ask(none, token, 1002), TOKEN_GOOD);
    }
    assert_in_range(verifier_stats(small).known, 1, 16);
    assert_int_equal(verifier_stats(small).known + verifier_stats(small).evicted, 100);
    assert_int_equal(verifier_stats(none).known, 0);
    verifier_free(small);
    verifier_free(none);
}

/* --- the throttle */

static void test_a_name_may_be_wrong_so_many_times(void **state)
{
    (void)state;
    struct throttle *throttle = throttle_new(3);
    for (int i = 0; i < 3; i++) {
        assert_true(throttle_allows(throttle, "ann"));
        throttle_charge(throttle, "ann");
    }
    assert_false(throttle_allows(throttle, "ann"));
    assert_true(throttle_allows(throttle, "bob"));
    assert_int_equal(throttle_stats(throttle).refused, 1);
    throttle_free(throttle);
}

static int64_t charge_and_wait_ns(struct throttle *throttle, unsigned faults)
{
    for (unsigned i = 0; i < faults; i++)
        throttle_charge(throttle, "ann");
    int64_t begin_ns = clock_now_ns();
    while (!throttle_allows(throttle, "ann"))
        assert_true(clock_now_ns() - begin_ns < 30 * NS_PER_S);
    return clock_now_ns() - begin_ns;
}

static void test_faults_are_forgotten_one_after_the_other(void **state)
{
    (void)state;
    struct throttle *throttle = throttle_new(2400); /* one in 25 ms */
    charge_and_wait_ns(throttle, 2400);
    assert_true(charge_and_wait_ns(throttle, 10) > 200 * NS_PER_MS); /* nine too many */
    throttle_free(throttle);
}

static void test_the_memory_of_names_is_bounded(void **state)
{
    (void)state;
    struct throttle *throttle = throttle_new(1);
    char name[32];
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "name-%d", i);
        throttle_charge(throttle, name);
    }
    assert_true(throttle_stats(throttle).forgotten >= 20000 - 8192);
    throttle_free(throttle);
}

/* --- keys from files, passwords */

struct directory {
    char path[64];
};

static void directory_make(struct directory *directory)
{
    strcpy(directory->path, "/tmp/bodega-keys-XXXXXX");
    assert_non_null(mkdtemp(directory->path));
}

static void put_file(const struct directory *directory, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory->path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void remove_file(const struct directory *directory, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory->path, name);
    unlink(path);
}

static struct auth_issuer_settings issuer_settings(const char *keys_dir)
{
    return (struct auth_issuer_settings){.keys_dir = keys_dir,
                                         .signing_key = "",
                                         .hash_threads = 1,
                                         .hash_queue_max = 2,
                                         .account_failures_max = 2,
                                         .address_failures_max = 3};
}

static const char *kid_of(struct request *req)
{
    struct jws jws;
    struct uuid id = {{0}};
    const char *token = auth_token(req, id, ROLE_CUSTOMER);
    assert_true(jws_split(req->arena, token, strlen(token), &jws));
    const char *kid = strstr(jws.header.text, "\"kid\":\"");
    assert_non_null(kid);
    return arena_text(req->arena, kid + 7, strcspn(kid + 7, "\""));
}

static void sign_with_files(struct request *req, void *arg)
{
    struct directory directory;
    struct auth_keys keys;
    char message[512];
    (void)arg;
    directory_make(&directory);
    struct auth_issuer_settings settings = issuer_settings(directory.path);
    assert_int_equal(issuer_open(&settings, message, sizeof message), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(message, "has no key"));
    struct test_key first = test_key_make("2026-01", 1), second = test_key_make("2026-02", 2);
    test_key_write(&second, directory.path);
    test_key_write(&first, directory.path);
    put_file(&directory, "README.txt", "not a key");
    put_file(&directory, ".hidden.pem", "not a key");
    assert_int_equal(issuer_open(&settings, message, sizeof message), ERR_OK);
    issuer_keys(&keys);
    assert_int_equal(keys.count, 2);
    assert_memory_equal(auth_keys_find(&keys, "2026-01")->public_key, first.public_key, JWS_PUBLIC_BYTES);
    assert_string_equal(kid_of(req), "2026-02");
    settings.signing_key = "2026-01";
    assert_int_equal(issuer_reload(message, sizeof message), ERR_OK);
    assert_string_equal(kid_of(req), "2026-01");
    settings.signing_key = "2027";
    assert_int_equal(issuer_reload(message, sizeof message), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(message, "auth.signing_key"));
    assert_string_equal(kid_of(req), "2026-01");
    settings.signing_key = "";
    static const char *const bad[] = {
        "", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC "
        "KEY-----\n",
        /* P-256 */
        "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n"
        "OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH"
        "50VpuZ1P087G\n-----END PRIVATE KEY-----\n"};
    for (size_t i = 0; i < array_count(bad); i++) {
        put_file(&directory, "2026-03.pem", bad[i]);
        assert_int_equal(issuer_reload(message, sizeof message), ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(message, "2026-03.pem"));
    }
    assert_string_equal(kid_of(req), "2026-01");
    issuer_close();
    static const char *const names[] = {"2026-01.pem", "2026-02.pem", "2026-03.pem", "README.txt", ".hidden.pem"};
    for (size_t i = 0; i < array_count(names); i++)
        remove_file(&directory, names[i]);
    rmdir(directory.path);
    assert_int_equal(issuer_open(&settings, message, sizeof message), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(message, "cannot be read"));
}

static void let_a_key_settle(struct request *req, void *arg)
{
    struct directory directory;
    char message[512];
    (void)arg;
    directory_make(&directory);
    struct auth_issuer_settings settings = issuer_settings(directory.path);
    settings.settle_ms = 3600000;
    struct test_key first = test_key_make("2026-01", 1), second = test_key_make("2026-02", 2);
    test_key_write(&first, directory.path);
    assert_int_equal(issuer_open(&settings, message, sizeof message), ERR_OK);
    test_key_write(&second, directory.path);
    assert_int_equal(issuer_reload(message, sizeof message), ERR_OK);
    assert_non_null(strstr(auth_jwks(req), "2026-02"));
    assert_string_equal(kid_of(req), "2026-01");
    settings.settle_ms = 0;
    assert_int_equal(issuer_reload(message, sizeof message), ERR_OK);
    assert_string_equal(kid_of(req), "2026-02");
    settings.settle_ms = 3600000;
    remove_file(&directory, "2026-01.pem");
    assert_int_equal(issuer_reload(message, sizeof message), ERR_OK);
    assert_string_equal(kid_of(req), "2026-02"); /* there is no other */
    issuer_close();
    remove_file(&directory, "2026-02.pem");
    rmdir(directory.path);
}

static void test_a_new_key_is_told_before_it_signs(void **state)
{
    (void)state;
    test_in_fiber(NULL, let_a_key_settle, NULL);
}

static void test_keys_come_from_files_and_a_bad_one_changes_nothing(void **state)
{
    (void)state;
    test_in_fiber(NULL, sign_with_files, NULL);
}

static void sign_with_a_made_key(struct request *req, void *arg)
{
    struct auth_issuer_settings settings = issuer_settings("");
    struct auth_keys keys;
    struct claims claims;
    char message[512];
    const char *reason;
    (void)arg;
    assert_int_equal(issuer_open(&settings, message, sizeof message), ERR_OK);
    char *jwks = auth_jwks(req);
    assert_null(auth_keys_parse(jwks, strlen(jwks), &keys));
    const char *token = auth_token(req, uuid_v7(), ROLE_CUSTOMER);
    int64_t now_s = clock_wall_ns() / NS_PER_S;
    assert_int_equal(token_read(req->arena, &keys, token, strlen(token), now_s, &claims, &reason), TOKEN_GOOD);
    assert_int_equal(claims.expires_s - claims.issued_s, AUTH_TOKEN_LIFE_S);
    issuer_close();
}

static void test_without_files_a_key_is_made(void **state)
{
    (void)state;
    test_in_fiber(NULL, sign_with_a_made_key, NULL);
}

static void hash_passwords(struct request *req, void *arg)
{
    struct auth_issuer_settings settings = issuer_settings("");
    char message[512], hash[AUTH_HASH_BYTES];
    bool right = false;
    (void)arg;
    assert_int_equal(issuer_open(&settings, message, sizeof message), ERR_OK);
    assert_int_equal(password_hash(req, "correct horse", hash), ERR_OK);
    assert_non_null(strstr(hash, "$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_int_equal(password_check(req, "correct horse", hash, &right), ERR_OK);
    assert_true(right);
    assert_int_equal(password_check(req, "correct hors", hash, &right), ERR_OK);
    assert_false(right);
    assert_int_equal(issuer_stats().hashes.done, 3);
    assert_int_equal(password_check(req, "correct horse", NULL, &right), ERR_OK);
    assert_false(right);
    assert_int_equal(issuer_stats().hashes.done, 4);
    assert_int_equal(password_check(req, "correct horse", "no hash", &right), ERR_OK);
    assert_false(right);
    assert_int_equal(issuer_stats().hashes.done, 4);
    req->deadline_ns = clock_now_ns();
    assert_int_equal(password_check(req, "correct horse", hash, &right), ERR_DEADLINE_EXCEEDED);
    assert_int_equal(password_hash(req, "correct horse", hash), ERR_DEADLINE_EXCEEDED);
    assert_int_equal(issuer_stats().hashes.done, 4);
    issuer_close();
}

static void test_a_password_is_right_or_wrong_and_costs_a_hash_either_way(void **state)
{
    (void)state;
    test_in_fiber(NULL, hash_passwords, NULL);
}

struct crowd {
    const struct worker *worker;
    unsigned left, refused;
    struct fiber_wait done;
};

static void check_one(void *arg)
{
    struct crowd *crowd = arg;
    struct arena own;
    struct request req;
    bool right;
    arena_init(&own, 1024);
    request_init(&req, &own, crowd->worker);
    enum err err = password_check(&req, "x", NULL, &right);
    crowd->refused += err == ERR_RESOURCE_EXHAUSTED;
    if (--crowd->left == 0)
        fiber_wake(&crowd->done, ERR_OK);
    arena_done(&own);
}

static void overflow_the_pool(struct request *req, void *arg)
{
    struct auth_issuer_settings settings = issuer_settings("");
    char message[512];
    struct crowd crowd = {.worker = req->worker, .left = 10};
    (void)arg;
    assert_int_equal(issuer_open(&settings, message, sizeof message), ERR_OK);
    for (int i = 0; i < 10; i++)
        fiber_start(req->worker->loop, check_one, &crowd);
    fiber_wait(&crowd.done, CLOCK_NEVER);
    assert_in_range(crowd.refused, 7, 8); /* one thread, two that wait */
    assert_int_equal(issuer_stats().hashes.done + crowd.refused, 10);
    assert_int_equal(issuer_stats().hashes.refused, crowd.refused);
    issuer_close();
}

static void test_passwords_that_wait_are_few(void **state)
{
    (void)state;
    test_in_fiber(NULL, overflow_the_pool, NULL);
}

static void wait_too_long(struct request *req, void *arg)
{
    struct auth_issuer_settings settings = issuer_settings("");
    char message[512];
    bool right;
    struct crowd before = {.worker = req->worker, .left = 1};
    (void)arg;
    assert_int_equal(issuer_open(&settings, message, sizeof message), ERR_OK);
    fiber_start(req->worker->loop, check_one, &before);
    fiber_yield(); /* the only thread has a hash to compute */
    req->deadline_ns = clock_now_ns() + NS_PER_MS;
    assert_int_equal(password_check(req, "x", NULL, &right), ERR_DEADLINE_EXCEEDED);
    fiber_wait(&before.done, CLOCK_NEVER);
    assert_int_equal(issuer_stats().hashes.done, 1);
    issuer_close();
}

static void test_a_password_that_waited_too_long_is_not_hashed(void **state)
{
    (void)state;
    test_in_fiber(NULL, wait_too_long, NULL);
}

static void try_to_log_in(struct request *req, void *arg)
{
    struct auth_issuer_settings settings = issuer_settings("");
    char message[512];
    (void)arg;
    assert_int_equal(issuer_open(&settings, message, sizeof message), ERR_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(login_admit(req, "ann@example.com", "1.2.3.4"), ERR_OK);
    login_failed("Ann@Example.com", "1.2.3.4");
    assert_int_equal(login_admit(req, "ann@example.com", "1.2.3.4"), ERR_OK);
    login_failed("ann@example.com", "1.2.3.4");
    assert_int_equal(login_admit(req, "ANN@example.com", "4.3.2.1"), ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(login_admit(req, "bob@example.com", "1.2.3.4"), ERR_OK);
    login_failed("bob@example.com", "1.2.3.4");
    assert_int_equal(login_admit(req, "cid@example.com", "1.2.3.4"), ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(login_admit(req, "cid@example.com", ""), ERR_OK);
    assert_int_equal(issuer_stats().throttled, 2);
    issuer_close();
}

static void test_wrong_logins_count_by_account_and_by_address(void **state)
{
    (void)state;
    test_in_fiber(NULL, try_to_log_in, NULL);
}

/* --- who owns what */

static void test_owners_and_admins_may_and_so_may_nobody(void **state)
{
    (void)state;
    struct uuid own = uuid_v7(), other = uuid_v7();
    struct principal customer = {.id = own, .role = ROLE_CUSTOMER}, admin = {.id = own, .role = ROLE_ADMIN};
    struct request req = {.principal = &customer};
    assert_true(auth_owns(&req, own));
    assert_false(auth_owns(&req, other));
    req.principal = &admin;
    assert_true(auth_owns(&req, other));
    req.principal = NULL;
    assert_true(auth_owns(&req, other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64url_has_one_form_for_each_text),
        cmocka_unit_test(test_base64url_has_64_characters),
        cmocka_unit_test(test_the_vectors_of_rfc_8037_hold),
        cmocka_unit_test(test_a_key_set_is_read_as_it_was_printed),
        cmocka_unit_test(test_keys_of_other_kinds_are_passed_over),
        cmocka_unit_test(test_what_is_no_key_set_changes_nothing),
        cmocka_unit_test(test_a_token_says_what_it_was_made_of),
        cmocka_unit_test(test_a_token_has_its_time),
        cmocka_unit_test(test_forged_tokens_are_bad_whoever_signed_them),
        cmocka_unit_test(test_changed_tokens_are_bad),
        cmocka_unit_test(test_a_token_has_a_greatest_length),
        cmocka_unit_test(test_a_known_token_is_not_verified_again_until_it_ends),
        cmocka_unit_test(test_known_tokens_end_with_their_key),
        cmocka_unit_test(test_the_memory_of_tokens_is_bounded),
        cmocka_unit_test(test_a_name_may_be_wrong_so_many_times),
        cmocka_unit_test(test_faults_are_forgotten_one_after_the_other),
        cmocka_unit_test(test_the_memory_of_names_is_bounded),
        cmocka_unit_test(test_keys_come_from_files_and_a_bad_one_changes_nothing),
        cmocka_unit_test(test_a_new_key_is_told_before_it_signs),
        cmocka_unit_test(test_without_files_a_key_is_made),
        cmocka_unit_test(test_a_password_is_right_or_wrong_and_costs_a_hash_either_way),
        cmocka_unit_test(test_passwords_that_wait_are_few),
        cmocka_unit_test(test_a_password_that_waited_too_long_is_not_hashed),
        cmocka_unit_test(test_wrong_logins_count_by_account_and_by_address),
        cmocka_unit_test(test_owners_and_admins_may_and_so_may_nobody),
    };
    return cmocka_run_group_tests_name("auth", tests, open_arena, close_arena);
}
