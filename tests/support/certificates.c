#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>

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

/* issuer NULL: it signs itself. alternatives: of the name, as OpenSSL writes them. */
static struct identity identity_new(const char *name, const char *alternatives, const struct identity *issuer,
                                    long serial)
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
    add_extension(identity.certificate, identity.certificate, NID_subject_key_identifier, "hash");
    if (issuer) {
        add_extension(identity.certificate, signer->certificate, NID_authority_key_identifier, "keyid");
        add_extension(identity.certificate, signer->certificate, NID_subject_alt_name, alternatives);
    }
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
    assert_int_equal(chmod(path, 0600), 0); /* libpq and PostgreSQL take no other */
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
    snprintf(certificates->ca_key, sizeof certificates->ca_key, "%s/ca.key", directory);
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
    static const char local[] = "DNS:localhost,IP:127.0.0.1";
    struct identity ca = identity_new("Bodega tests", NULL, NULL, 1);
    struct identity server = identity_new("localhost", local, &ca, 2), client = identity_new("client", local, &ca, 3);
    certificates->serial = 3;
    write_certificate(certificates->ca, ca.certificate);
    write_key(certificates->ca_key, ca.key);
    write_certificate(certificates->server, server.certificate);
    write_key(certificates->server_key, server.key);
    write_certificate(certificates->client, client.certificate);
    write_key(certificates->client_key, client.key);
    identity_done(&ca);
    identity_done(&server);
    identity_done(&client);
}

static struct identity read_identity(const char *certificate, const char *key)
{
    FILE *certificate_file = fopen(certificate, "re"), *key_file = fopen(key, "re");
    assert_non_null(certificate_file);
    assert_non_null(key_file);
    struct identity identity = {PEM_read_PrivateKey(key_file, NULL, NULL, NULL),
                                PEM_read_X509(certificate_file, NULL, NULL, NULL)};
    assert_true(identity.key && identity.certificate);
    fclose(certificate_file);
    fclose(key_file);
    return identity;
}

long certificates_issue(struct test_certificates *certificates, const char *alternatives, const char *certificate,
                        const char *key)
{
    struct identity ca = read_identity(certificates->ca, certificates->ca_key);
    struct identity identity = identity_new("somebody", alternatives, &ca, ++certificates->serial);
    write_certificate(certificate, identity.certificate);
    write_key(key, identity.key);
    identity_done(&ca);
    identity_done(&identity);
    return certificates->serial;
}

void certificates_close(struct test_certificates *certificates)
{
    server_wipe(&certificates->home);
}
