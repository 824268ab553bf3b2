/* Mutual TLS by grpc core's credentials, whose certificates come from its file watcher. That one takes what it finds,
 * and finds files that were replaced one after the other half new and half old. So it does not look at the mounted
 * files but at two files in memory, which a thread of ours replaces as a whole when what is mounted has changed and is
 * good: one holds certificate and key, the other one the authorities.
 *
 * A guard judges the names of one server's callers, or of one client's peer. Grpc core keeps it as long as a connection
 * may ask it, which can be longer than the server lives; so it holds the identity. */
#include "rpc/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security_constants.h>
#include <grpc/support/alloc.h>
#include <grpc/support/string_util.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/names.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "otel/export/pem.h"

enum { LOOK_EVERY_MS = 1000, CORE_LOOKS_EVERY_S = 1, TELL_EVERY_S = 10, SHOWN_BYTES = 256 };

struct rpc_identity {
    struct tls_settings files;
    int own_fd, authorities_fd; /* what grpc core's watcher reads */
    grpc_tls_certificate_provider *provider;
    uint64_t version;  /* of the files in use, or of those that were told to be no good */
    uint64_t doubtful; /* no good a moment ago */
    pthread_t watcher;
    int stop_fd;
    atomic_uint refs; /* the owner's, and each guard's */
    _Atomic uint64_t refused, replaced, bad_files;
    _Atomic int64_t expires_s, told_ns;
};

struct guard {
    grpc_tls_certificate_verifier_external core;
    struct rpc_identity *identity;
    const char *told; /* when it refuses */
    char *names;      /* a list: base/names.h */
};

/* --- names */

static bool any_in_list(const char *list, char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (names_have(list, names[i], strlen(names[i])))
            return true;
    return false;
}

static const char *find_name(grpc_auth_context *context, const char *property_name, const char *allow,
                             struct arena *arena)
{
    grpc_auth_property_iterator iterator = grpc_auth_context_find_properties_by_name(context, property_name);
    for (const grpc_auth_property *name; (name = grpc_auth_property_iterator_next(&iterator));)
        if (names_have(allow, name->value, name->value_length))
            return arena_text(arena, name->value, name->value_length);
    return NULL;
}

const char *rpc_caller_name(grpc_call *call, const char *allow, struct arena *arena)
{
    grpc_auth_context *context = grpc_call_auth_context(call);
    const char *name = find_name(context, GRPC_PEER_DNS_PROPERTY_NAME, allow, arena);
    if (!name)
        name = find_name(context, GRPC_PEER_URI_PROPERTY_NAME, allow, arena);
    grpc_auth_context_release(context);
    return name;
}

/* --- guards */

static void identity_release(struct rpc_identity *identity);

/* The first names of a certificate, for the log. */
static void show_names(const grpc_tls_custom_verification_check_request *request, char out[SHOWN_BYTES])
{
    size_t used = 0;
    for (size_t i = 0; i < request->peer_info.san_names.dns_names_size && used < SHOWN_BYTES; i++)
        used += (size_t)snprintf(out + used, SHOWN_BYTES - used, "%s%s", i ? "," : "",
                                 request->peer_info.san_names.dns_names[i]);
    for (size_t i = 0; i < request->peer_info.san_names.uri_names_size && used < SHOWN_BYTES; i++)
        used += (size_t)snprintf(out + used, SHOWN_BYTES - used, "%s%s", used ? "," : "",
                                 request->peer_info.san_names.uri_names[i]);
    if (used == 0)
        snprintf(out, SHOWN_BYTES, "none");
}

/* Whoever is refused comes again at once; the log has one line in ten seconds, and the count. */
static void tell_refusal(const struct guard *guard, const grpc_tls_custom_verification_check_request *request)
{
    struct rpc_identity *identity = guard->identity;
    uint64_t refused = atomic_fetch_add(&identity->refused, 1) + 1;
    int64_t now_ns = clock_now_ns(), told_ns = atomic_load(&identity->told_ns);
    if ((told_ns && now_ns - told_ns < TELL_EVERY_S * NS_PER_S) ||
        !atomic_compare_exchange_strong(&identity->told_ns, &told_ns, now_ns))
        return;
    char names[SHOWN_BYTES];
    show_names(request, names);
    log_event(LOG_WARN, guard->told, log_text("names", names), log_text("expected", guard->names),
              log_int("refused", (int64_t)refused));
}

static int judge(void *arg, grpc_tls_custom_verification_check_request *request,
                 grpc_tls_on_custom_verification_check_done_cb callback, void *callback_arg, grpc_status_code *status,
                 char **detail)
{
    (void)callback;
    (void)callback_arg;
    const struct guard *guard = arg;
    if (any_in_list(guard->names, request->peer_info.san_names.dns_names,
                    request->peer_info.san_names.dns_names_size) ||
        any_in_list(guard->names, request->peer_info.san_names.uri_names,
                    request->peer_info.san_names.uri_names_size)) {
        *status = GRPC_STATUS_OK;
        return 1;
    }
    tell_refusal(guard, request);
    *status = GRPC_STATUS_PERMISSION_DENIED;
    *detail = gpr_strdup("the certificate has none of the names that are expected");
    return 1;
}

/* Every verdict is given at once. */
static void nothing_to_cancel(void *arg, grpc_tls_custom_verification_check_request *request)
{
    (void)arg;
    (void)request;
}

static void guard_free(void *arg)
{
    struct guard *guard = arg;
    identity_release(guard->identity);
    free(guard->names);
    free(guard);
}

static grpc_tls_credentials_options *guarded_options(struct rpc_identity *identity, const char *names, const char *told)
{
    struct guard *guard = mem_alloc(sizeof *guard);
    *guard = (struct guard){.core = {guard, judge, nothing_to_cancel, guard_free},
                            .identity = identity,
                            .told = told,
                            .names = mem_text(names)};
    atomic_fetch_add(&identity->refs, 1);
    grpc_tls_certificate_verifier *verifier = grpc_tls_certificate_verifier_external_create(&guard->core);
    grpc_tls_credentials_options *options = grpc_tls_credentials_options_create();
    grpc_tls_credentials_options_set_certificate_provider(options, identity->provider);
    grpc_tls_credentials_options_watch_root_certs(options);
    grpc_tls_credentials_options_watch_identity_key_cert_pairs(options);
    grpc_tls_credentials_options_set_certificate_verifier(options, verifier);
    grpc_tls_certificate_verifier_release(verifier);
    return options;
}

grpc_server_credentials *rpc_server_credentials(struct rpc_identity *identity, const char *allow)
{
    if (!identity)
        return grpc_insecure_server_credentials_create();
    grpc_tls_credentials_options *options = guarded_options(identity, allow, "a caller was refused");
    grpc_tls_credentials_options_set_cert_request_type(options,
                                                       GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    return grpc_tls_server_credentials_create(options);
}

grpc_channel_credentials *rpc_channel_credentials(struct rpc_identity *identity, const char *peer_name)
{
    if (!identity)
        return grpc_insecure_credentials_create();
    grpc_tls_credentials_options *options = guarded_options(identity, peer_name, "a peer was refused");
    /* The guard knows what the peer is called; the address that it was found by is not it. */
    grpc_tls_credentials_options_set_check_call_host(options, 0);
    return grpc_tls_credentials_create(options);
}

/* --- files */

static bool write_all(int fd, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        ssize_t written = write(fd, text, left);
        if (written < 0 && errno != EINTR)
            return false;
        text += written > 0 ? written : 0;
        left -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

/* Puts a new file in memory in the place of the one before, for whoever opens it from now on. */
static bool replace(int *fd, const char *first, const char *second)
{
    int fresh = memfd_create("bodega-tls", MFD_CLOEXEC);
    if (fresh < 0 || !write_all(fresh, first) || !write_all(fresh, second)) {
        if (fresh >= 0)
            close(fresh);
        return false;
    }
    if (*fd < 0) {
        *fd = fresh;
        return true;
    }
    bool replaced = dup3(fresh, *fd, O_CLOEXEC) >= 0;
    close(fresh);
    return replaced;
}

static int64_t expiry_s(const char *pem)
{
    struct tm until;
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    int64_t seconds = certificate && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &until) ? timegm(&until) : 0;
    X509_free(certificate);
    BIO_free(bio);
    return seconds;
}

static bool load(struct rpc_identity *identity, char *message, size_t message_bytes)
{
    struct pem_files files;
    if (!pem_files_read(&identity->files, &files, message, message_bytes))
        return false;
    bool ok = replace(&identity->own_fd, files.cert, files.key) && replace(&identity->authorities_fd, files.ca, "");
    if (ok) {
        identity->version = files.version;
        atomic_store(&identity->expires_s, expiry_s(files.cert));
    } else {
        snprintf(message, message_bytes, "a copy in memory: %s", strerror(errno));
    }
    pem_files_free(&files);
    return ok;
}

static void follow(struct rpc_identity *identity)
{
    char message[512];
    uint64_t version = pem_files_version(&identity->files);
    if (version == identity->version)
        return;
    if (load(identity, message, sizeof message)) {
        atomic_fetch_add(&identity->replaced, 1);
        log_event(LOG_INFO, "changed TLS files are in use", log_text("cert_file", identity->files.cert_file));
    } else if (version != identity->doubtful) {
        identity->doubtful = version; /* files that are replaced one after the other fit a moment later */
    } else {
        identity->version = version;
        atomic_fetch_add(&identity->bad_files, 1);
        log_event(LOG_ERROR, "changed TLS files are not taken over", log_text("reason", message));
    }
}

static void *watch(void *arg)
{
    struct rpc_identity *identity = arg;
    struct pollfd stop = {.fd = identity->stop_fd, .events = POLLIN};
    while (poll(&stop, 1, LOOK_EVERY_MS) <= 0)
        follow(identity);
    return NULL;
}

static void start_provider(struct rpc_identity *identity)
{
    char own[64], authorities[64];
    snprintf(own, sizeof own, "/proc/self/fd/%d", identity->own_fd);
    snprintf(authorities, sizeof authorities, "/proc/self/fd/%d", identity->authorities_fd);
    grpc_init();
    identity->provider = grpc_tls_certificate_provider_file_watcher_create(own, own, authorities, CORE_LOOKS_EVERY_S);
}

/* Our watcher and grpc core's leave signals to the threads of the service. */
static bool start_threads(struct rpc_identity *identity)
{
    sigset_t all, before;
    identity->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (identity->stop_fd < 0)
        return false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = pthread_create(&identity->watcher, NULL, watch, identity);
    if (errno == 0)
        start_provider(identity);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return identity->provider != NULL;
}

/* --- life */

static void close_files(struct rpc_identity *identity)
{
    const int fds[] = {identity->own_fd, identity->authorities_fd, identity->stop_fd};
    for (unsigned i = 0; i < array_count(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void identity_release(struct rpc_identity *identity)
{
    if (atomic_fetch_sub(&identity->refs, 1) > 1)
        return;
    close_files(identity);
    free(identity);
}

enum err rpc_identity_open(struct rpc_identity **out, const struct rpc_identity_settings *settings, char *message,
                           size_t message_bytes)
{
    struct rpc_identity *identity = mem_alloc(sizeof *identity);
    *identity = (struct rpc_identity){
        .files = {.cert_file = settings->cert_file, .key_file = settings->key_file, .ca_file = settings->ca_file},
        .own_fd = -1,
        .authorities_fd = -1,
        .stop_fd = -1,
        .refs = 1,
    };
    if (!load(identity, message, message_bytes)) {
        identity_release(identity);
        return ERR_INVALID_ARGUMENT;
    }
    if (!start_threads(identity)) {
        snprintf(message, message_bytes, "the watch of TLS files: %s", strerror(errno));
        identity_release(identity);
        return ERR_UNAVAILABLE;
    }
    *out = identity;
    return ERR_OK;
}

void rpc_identity_close(struct rpc_identity *identity)
{
    if (!identity)
        return;
    uint64_t one = 1;
    if (write(identity->stop_fd, &one, sizeof one) < 0)
        abort();
    pthread_join(identity->watcher, NULL);
    grpc_tls_certificate_provider_release(identity->provider);
    grpc_shutdown();
    identity_release(identity);
}

struct rpc_identity_stats rpc_identity_stats(const struct rpc_identity *identity)
{
    return (struct rpc_identity_stats){
        .refused = atomic_load_explicit(&identity->refused, memory_order_relaxed),
        .replaced = atomic_load_explicit(&identity->replaced, memory_order_relaxed),
        .bad_files = atomic_load_explicit(&identity->bad_files, memory_order_relaxed),
        .expires_s = atomic_load_explicit(&identity->expires_s, memory_order_relaxed),
    };
}
