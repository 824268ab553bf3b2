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

/* Digits come at random: looked up rather than told apart, for a processor cannot guess them. */

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

/* One more than a small digit's value; 0: it is none. */
static const uint8_t values[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

int hash_digit(char c)
{
    bool capital = c >= 'A' && c <= 'F';
    return values[(uint8_t)(capital ? c | 0x20 : c)] - 1;
}

bool hash_unhex(const char *text, size_t bytes, void *out)
{
    uint8_t *next = out;
    for (size_t i = 0; i < bytes; i++) {
        unsigned high = values[(uint8_t)text[2 * i]];
        unsigned low = high ? values[(uint8_t)text[2 * i + 1]] : 0;
        if (low == 0)
            return false;
        next[i] = (uint8_t)((high - 1) << 4 | (low - 1));
    }
    return true;
}
