/* Signing keys of tests: made from a number, so that they are always the same. */
#ifndef TESTS_KEYS_H
#define TESTS_KEYS_H

#include "auth/keys.h"

struct test_key {
    char kid[KID_BYTES_MAX + 1];
    uint8_t seed[32];
    uint8_t public_key[JWS_PUBLIC_BYTES], secret_key[JWS_SECRET_BYTES];
};

struct test_key test_key_make(const char *kid, uint8_t number);
/* As <kid>.pem, PKCS#8, whole or not at all. */
void test_key_write(const struct test_key *key, const char *directory);

#endif
