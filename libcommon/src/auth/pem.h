/* Secret keys in files: PEM, PKCS#8, Ed25519, not encrypted. Source: RFC 8410, 7468. */
#ifndef AUTH_PEM_H
#define AUTH_PEM_H

#include "auth/jws.h"

/* NULL, or why the file has no such key: a static text. */
const char *pem_read(const char *path, uint8_t out_secret_key[JWS_SECRET_BYTES]);

#endif
