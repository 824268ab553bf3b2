#include "otel/export/pem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/mem.h"

static bool refuse(char *message, size_t message_bytes, const char *path, const char *reason)
{
    snprintf(message, message_bytes, "%s: %s", path, reason);
    return false;
}

static bool read_file(const char *path, char **out, char *message, size_t message_bytes)
{
    if (!path)
        return true;
    FILE *file = fopen(path, "re");
    if (!file)
        return refuse(message, message_bytes, path, strerror(errno));
    char *content = mem_alloc(PEM_BYTES_MAX + 1);
    size_t bytes = fread(content, 1, PEM_BYTES_MAX + 1, file);
    const char *wrong = ferror(file) ? "cannot be read" : bytes > PEM_BYTES_MAX ? "is too large" : NULL;
    fclose(file);
    if (wrong) {
        free(content);
        return refuse(message, message_bytes, path, wrong);
    }
    *out = mem_resize(content, bytes + 1, 1);
    (*out)[bytes] = '\0';
    return true;
}

/* Never asks for a pass phrase at the terminal. */
static int no_pass_phrase(char *out, int bytes, int writing, void *arg)
{
    (void)out;
    (void)bytes;
    (void)writing;
    (void)arg;
    return -1;
}

static unsigned count_certificates(const char *pem, X509 **out_first)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    unsigned count = 0;
    for (X509 *certificate; (certificate = PEM_read_bio_X509(bio, NULL, no_pass_phrase, NULL)); count++) {
        if (count == 0 && out_first)
            *out_first = certificate;
        else
            X509_free(certificate);
    }
    BIO_free(bio);
    return count;
}

static const char *check_pair(const struct pem_files *files)
{
    X509 *certificate = NULL;
    if (count_certificates(files->cert, &certificate) == 0)
        return NULL; /* told already */
    BIO *bio = BIO_new_mem_buf(files->key, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL);
    BIO_free(bio);
    const char *wrong = !key                                            ? "holds no private key in PEM that can be read"
                        : X509_check_private_key(certificate, key) != 1 ? "is not the key of the certificate"
                                                                        : NULL;
    EVP_PKEY_free(key);
    X509_free(certificate);
    return wrong;
}

static bool check(const struct tls_settings *tls, const struct pem_files *files, char *message, size_t message_bytes)
{
    static const char none[] = "holds no certificate in PEM";
    if (files->ca && count_certificates(files->ca, NULL) == 0)
        return refuse(message, message_bytes, tls->ca_file, none);
    if (!files->cert != !files->key)
        return refuse(message, message_bytes, files->cert ? tls->cert_file : tls->key_file,
                      "client certificate and key are only of use together");
    if (!files->cert)
        return true;
    if (count_certificates(files->cert, NULL) == 0)
        return refuse(message, message_bytes, tls->cert_file, none);
    const char *wrong = check_pair(files);
    return wrong ? refuse(message, message_bytes, tls->key_file, wrong) : true;
}

bool pem_files_read(const struct tls_settings *tls, struct pem_files *out, char *message, size_t message_bytes)
{
    struct pem_files files = {.version = pem_files_version(tls)};
    bool ok = read_file(tls->ca_file, &files.ca, message, message_bytes) &&
              read_file(tls->key_file, &files.key, message, message_bytes) &&
              read_file(tls->cert_file, &files.cert, message, message_bytes) &&
              check(tls, &files, message, message_bytes);
    ERR_clear_error(); /* the end of a list of certificates is an error to OpenSSL */
    if (ok)
        *out = files;
    else
        pem_files_free(&files);
    return ok;
}

void pem_files_free(struct pem_files *files)
{
    if (files->key)
        explicit_bzero(files->key, strlen(files->key));
    free(files->ca);
    free(files->key);
    free(files->cert);
    *files = (struct pem_files){0};
}

uint64_t pem_files_version(const struct tls_settings *tls)
{
    const char *const paths[] = {tls->ca_file, tls->key_file, tls->cert_file};
    uint64_t version = 0;
    for (unsigned i = 0; i < array_count(paths); i++) {
        struct stat at;
        if (!paths[i] || stat(paths[i], &at) < 0)
            continue;
        uint64_t stamp = (uint64_t)at.st_mtim.tv_sec * 1000000007 + (uint64_t)at.st_mtim.tv_nsec;
        version = version * 31 + (stamp ^ (uint64_t)at.st_ino << 20 ^ (uint64_t)at.st_size);
    }
    return version;
}
