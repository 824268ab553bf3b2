#include "stream/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/mem.h"
#include "otel/export/pem.h"

struct stream_tls {
    struct tls_settings files;
    SSL_CTX *context;
    uint64_t version;
};

/* --- the context */

static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "unknown";
}

static SSL_CTX *context_new(const struct tls_settings *files)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context)
        abort(); /* out of memory */
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    bool ok = files->ca_file ? SSL_CTX_load_verify_file(context, files->ca_file) == 1
                             : SSL_CTX_set_default_verify_paths(context) == 1;
    if (ok && files->cert_file)
        ok = SSL_CTX_use_certificate_chain_file(context, files->cert_file) == 1 &&
             SSL_CTX_use_PrivateKey_file(context, files->key_file, SSL_FILETYPE_PEM) == 1;
    if (ok)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

/* The context before stays when the files are no good. */
static bool load(struct stream_tls *tls, char *message, size_t message_bytes)
{
    struct pem_files files;
    char reason[512];
    if (!pem_files_read(&tls->files, &files, reason, sizeof reason)) {
        snprintf(message, message_bytes, "redis.tls: %s", reason);
        return false;
    }
    SSL_CTX *context = context_new(&tls->files);
    if (context) {
        SSL_CTX_free(tls->context);
        tls->context = context;
        tls->version = files.version;
    } else {
        snprintf(message, message_bytes, "redis.tls: %s", openssl_reason());
    }
    ERR_clear_error();
    pem_files_free(&files);
    return context != NULL;
}

struct stream_tls *stream_tls_open(const struct tls_settings *files, char *message, size_t message_bytes)
{
    struct stream_tls *tls = mem_alloc(sizeof *tls);
    tls->files = *files;
    if (load(tls, message, message_bytes))
        return tls;
    free(tls);
    return NULL;
}

void stream_tls_close(struct stream_tls *tls)
{
    if (tls)
        SSL_CTX_free(tls->context);
    free(tls);
}

/* --- sessions */

/* The certificate's chain is OpenSSL's to check, and with this the name, too. */
static bool expect_host(SSL *ssl, const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

bool tls_session_open(struct tls_session *session, struct stream_tls *tls, int fd, const char *host, char *message,
                      size_t message_bytes)
{
    /* Files that are being replaced fit again at the next try. */
    if (pem_files_version(&tls->files) != tls->version && !load(tls, message, message_bytes))
        return false;
    SSL *ssl = SSL_new(tls->context);
    if (!ssl)
        abort(); /* out of memory */
    if (SSL_set_fd(ssl, fd) != 1 || !expect_host(ssl, host)) {
        snprintf(message, message_bytes, "TLS cannot begin: %s", openssl_reason());
        ERR_clear_error();
        SSL_free(ssl);
        return false;
    }
    SSL_set_connect_state(ssl);
    *session = (struct tls_session){.ssl = ssl, .awaits = EPOLLIN | EPOLLOUT};
    return true;
}

void tls_session_close(struct tls_session *session)
{
    SSL_free(session->ssl);
    session->ssl = NULL;
}

static void explain(const struct tls_session *session, int error, char *message, size_t message_bytes)
{
    long verdict = SSL_get_verify_result(session->ssl);
    if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
        snprintf(message, message_bytes, "the server's certificate does not carry the host of redis.url");
    else if (verdict != X509_V_OK)
        snprintf(message, message_bytes, "the server's certificate: %s (redis.tls.ca_file)",
                 X509_verify_cert_error_string(verdict));
    else if (error == SSL_ERROR_SSL)
        snprintf(message, message_bytes, "TLS, which redis.url wants: %s", openssl_reason());
    else
        snprintf(message, message_bytes, "the server closed the connection");
}

/* What a call of OpenSSL's that did not succeed means: 0 or -1. */
static int pause_or_end(struct tls_session *session, int result, char *message, size_t message_bytes)
{
    int error = SSL_get_error(session->ssl, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        explain(session, error, message, message_bytes);
        ERR_clear_error();
        return -1;
    }
    session->awaits = error == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT;
    return 0;
}

int tls_session_begin(struct tls_session *session, char *message, size_t message_bytes)
{
    ERR_clear_error(); /* what others left would be taken for ours, the same below */
    int result = SSL_do_handshake(session->ssl);
    return result == 1 ? 1 : pause_or_end(session, result, message, message_bytes);
}

ssize_t tls_session_read(struct tls_session *session, void *out, size_t bytes, char *message, size_t message_bytes)
{
    size_t taken;
    ERR_clear_error();
    int result = SSL_read_ex(session->ssl, out, bytes, &taken);
    return result == 1 ? (ssize_t)taken : pause_or_end(session, result, message, message_bytes);
}

int tls_session_write(struct tls_session *session, const void *data, size_t bytes, char *message, size_t message_bytes)
{
    size_t written;
    ERR_clear_error();
    int result = SSL_write_ex(session->ssl, data, bytes, &written);
    return result == 1 ? 1 : pause_or_end(session, result, message, message_bytes);
}
