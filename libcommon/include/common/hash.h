/* Digests. Any thread. Source: FIPS 180-4. */
#ifndef COMMON_HASH_H
#define COMMON_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void hash_sha1(const void *data, size_t bytes, uint8_t out[20]);
void hash_sha256(const void *data, size_t bytes, uint8_t out[32]);
/* Lower-case hexadecimal with a NUL; out holds 2 * bytes + 1. */
char *hash_hex(const void *data, size_t bytes, char *out);
/* The value of a hexadecimal digit in any case, or -1. */
int hash_digit(char c);
/* Reads the 2 * bytes lower-case digits that text begins with; false when it does not. */
bool hash_unhex(const char *text, size_t bytes, void *out);

#endif
