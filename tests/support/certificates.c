#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "support/collector.h"
#include "support/server.h"

enum { VALID_S = 24 * 3600 };

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
};

static void add_extension(X509 *certificate, X509 *issuer, int kind, const char *text)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, text);
    assert_non_null(extension);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

/* issuer NULL: it signs itself. */
static struct identity identity_new(const char *name, const struct identity *issuer, long serial)
{
    struct identity identity = {EVP_EC_gen("P-256"), X509_new()};
    const struct identity *signer = issuer ? issuer : &identity;
    X509_NAME *subject = X509_get_subject_name(identity.certificate);
    X509_set_version(identity.certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(identity.certificate), serial);
    X509_gmtime_adj(X509_getm_notBefore(identity.certificate), -VALID_S);
    X509_gmtime_adj(X509_getm_notAfter(identity.certificate), VALID_S);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(identity.certificate, X509_get_subject_name(signer->certificate));
    X509_set_pubkey(identity.certificate, identity.key);
    add_extension(identity.certificate, signer->certificate, NID_basic_constraints,
                  issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (issuer)
        add_extension(identity.certificate, signer->certificate, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    assert_true(X509_sign(identity.certificate, signer->key, EVP_sha256()) > 0);
    return identity;
}

static void write_certificate(const char *path, X509 *certificate)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
}

static void write_key(const char *path, EVP_PKEY *key)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

static void identity_done(struct identity *identity)
{
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
}

static void name_files(struct test_certificates *certificates)
{
    const char *directory = certificates->home.directory;
    snprintf(certificates->ca, sizeof certificates->ca, "%s/ca.pem", directory);
    snprintf(certificates->server, sizeof certificates->server, "%s/server.pem", directory);
    snprintf(certificates->server_key, sizeof certificates->server_key, "%s/server.key", directory);
    snprintf(certificates->client, sizeof certificates->client, "%s/client.pem", directory);
    snprintf(certificates->client_key, sizeof certificates->client_key, "%s/client.key", directory);
}

void certificates_open(struct test_certificates *certificates)
{
    *certificates = (struct test_certificates){0};
    server_make_directory(&certificates->home, "certificates");
    name_files(certificates);
    struct identity ca = identity_new("Bodega tests", NULL, 1);
    struct identity server = identity_new("localhost", &ca, 2), client = identity_new("client", &ca, 3);
    write_certificate(certificates->ca, ca.certificate);
    write_certificate(certificates->server, server.certificate);
    write_key(certificates->server_key, server.key);
    write_certificate(certificates->client, client.certificate);
    write_key(certificates->client_key, client.key);
    identity_done(&ca);
    identity_done(&server);
    identity_done(&client);
}

void certificates_close(struct test_certificates *certificates)
{
    server_wipe(&certificates->home);
}
