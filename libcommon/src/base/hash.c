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

int hash_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hash_unhex(const char *text, size_t bytes, void *out)
{
    uint8_t *next = out;
    for (size_t i = 0; i < 2 * bytes; i++) {
        int value = text[i] >= 'A' && text[i] <= 'F' ? -1 : hash_digit(text[i]);
        if (value < 0)
            return false;
        next[i / 2] = (uint8_t)(i % 2 ? next[i / 2] | value : value << 4);
    }
    return true;
}
