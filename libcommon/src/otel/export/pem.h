/* The files of a secure connection, checked before they are needed. Errors name the file, never its content. */
#ifndef OTEL_EXPORT_PEM_H
#define OTEL_EXPORT_PEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "otel/sdk/settings.h"

enum { PEM_BYTES_MAX = 1 << 20 };

/* Contents, NUL-terminated; NULL for a file that is not set. */
struct pem_files {
    char *ca, *key, *cert;
    uint64_t version; /* differs when one of the files has been changed since */
};

/* Reads what is set; certificates and key must be valid and belong together. False with a message. */
bool pem_files_read(const struct tls_settings *tls, struct pem_files *out, char *message, size_t message_bytes);
void pem_files_free(struct pem_files *files);
/* As the files are now, without reading them. */
uint64_t pem_files_version(const struct tls_settings *tls);

#endif
