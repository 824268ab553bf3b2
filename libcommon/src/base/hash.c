#include "common/hash.h"

#include <openssl/evp.h>
#include <stdlib.h>

static void digest(const EVP_MD *kind, const void *data, size_t bytes, uint8_t *out)
{
    if (EVP_Digest(data, bytes, out, NULL, kind, NULL) != 1)
        abort();
}

void hash_sha1(const void *data, size_t bytes, uint8_t out[20])
{
    digest(EVP_sha1(), data, bytes, out);
}

void hash_sha256(const void *data, size_t bytes, uint8_t out[32])
{
    digest(EVP_sha256(), data, bytes, out);
}

char *hash_hex(const void *data, size_t bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = data;
    for (size_t i = 0; i < bytes; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * bytes] = '\0';
    return out;
}

bool hash_unhex(const char *text, size_t bytes, void *out)
{
    uint8_t *next = out;
    for (size_t i = 0; i < bytes; i++) {
        unsigned value = 0;
        for (size_t j = 0; j < 2; j++) {
            char c = text[2 * i + j];
            if (c >= '0' && c <= '9')
                value = value << 4 | (unsigned)(c - '0');
            else if (c >= 'a' && c <= 'f')
                value = value << 4 | (unsigned)(c - 'a' + 10);
            else
                return false;
        }
        next[i] = (uint8_t)value;
    }
    return true;
}
