#include "support/keys.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "support/support.h"

struct test_key test_key_make(const char *kid, uint8_t number)
{
    struct test_key key;
    jws_library();
    snprintf(key.kid, sizeof key.kid, "%s", kid);
    memset(key.seed, number, sizeof key.seed);
    crypto_sign_seed_keypair(key.public_key, key.secret_key, key.seed);
    return key;
}

void test_key_write(const struct test_key *key, const char *directory)
{
    /* RFC 8410: version 0, algorithm 1.3.101.112, the seed in an octet string in an octet string. */
    uint8_t der[16 + 32] = {0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20};
    char text[128], path[512], final[512];
    memcpy(der + 16, key->seed, sizeof key->seed);
    sodium_bin2base64(text, sizeof text, der, sizeof der, sodium_base64_VARIANT_ORIGINAL);
    snprintf(path, sizeof path, "%s/%s.new", directory, key->kid);
    snprintf(final, sizeof final, "%s/%s.pem", directory, key->kid);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n", text);
    fclose(file);
    assert_int_equal(rename(path, final), 0);
}
