#include "auth/pem.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <string.h>

#include "config/internal.h"

enum { FILE_BYTES_MAX = 16 * 1024 };

static int no_passphrase(char *out, int bytes, int writing, void *arg)
{
    (void)out;
    (void)bytes;
    (void)writing;
    (void)arg;
    return -1;
}

static const char *read_seed(EVP_PKEY *key, uint8_t out_secret_key[JWS_SECRET_BYTES])
{
    uint8_t seed[crypto_sign_SEEDBYTES], public_key[JWS_PUBLIC_BYTES];
    size_t bytes = sizeof seed;
    if (!key)
        return "expected a secret key in PEM, PKCS#8, without a passphrase";
    if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519 || EVP_PKEY_get_raw_private_key(key, seed, &bytes) != 1 ||
        bytes != sizeof seed)
        return "expected an Ed25519 key";
    crypto_sign_seed_keypair(public_key, out_secret_key, seed);
    sodium_memzero(seed, sizeof seed);
    return NULL;
}

const char *pem_read(const char *path, uint8_t out_secret_key[JWS_SECRET_BYTES])
{
    struct arena arena;
    const char *wrong;
    size_t bytes;
    arena_init(&arena, FILE_BYTES_MAX + 64);
    char *text = file_read(&arena, path, FILE_BYTES_MAX, &bytes, &wrong);
    if (text) {
        BIO *bio = BIO_new_mem_buf(text, (int)bytes);
        EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
        wrong = read_seed(key, out_secret_key);
        EVP_PKEY_free(key);
        BIO_free(bio);
        ERR_clear_error();
        sodium_memzero(text, bytes);
    } else {
        wrong = "it cannot be read, or is no regular file of at most 16 KiB";
    }
    arena_done(&arena);
    return wrong;
}
