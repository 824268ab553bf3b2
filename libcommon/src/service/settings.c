#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/names.h"
#include "common/mem.h"
#include "service/internal.h"

#define AT(member) offsetof(struct service_settings, member)

static const char *const log_levels[] = {"debug", "info", "warn", "error", "off", NULL};

static const struct setting general[] = {
    {"log.level", SETTING_CHOICE, AT(log_level), "info", "LOG_LEVEL", .choices = log_levels,
     .help = "least severe lines to log"},
    {"loops", SETTING_INT, AT(loops), "1", "LOOPS", 1, 64, .help = "event loops, each a thread"},
    {"drain_timeout_ms", SETTING_INT, AT(drain_timeout_ms), "20000", "DRAIN_TIMEOUT_MS", 0, 3600000,
     .help = "ms that requests in flight get to finish after SIGTERM"},
    {"telemetry.flush_timeout_ms", SETTING_INT, AT(flush_timeout_ms), "5000", NULL, 0, 600000,
     .help = "ms that queued telemetry gets to leave before the end"},
    {"admin.listen", SETTING_ADDRESS, AT(admin_listen), ADMIN_LISTEN, "ADMIN_LISTEN",
     .help = "address of /metrics, /livez and /readyz"},
    {"offload.threads", SETTING_INT, AT(offload_threads), "2", NULL, 1, 64, .help = "threads for what blocks"},
    {"offload.queue_max", SETTING_INT, AT(offload_queue_max), "256", NULL, 1, 65536,
     .help = "calls that may wait for them; more are refused"},
};

static const struct setting http[] = {
    {"http.listen", SETTING_ADDRESS, AT(http.listen), NULL, "HTTP_LISTEN", .help = "address of the HTTP API"},
    {"http.body_bytes_max", SETTING_INT, AT(http.body_bytes_max), "65536", NULL, 1024, 16777216,
     .help = "bytes of a body"},
    {"http.header_bytes_max", SETTING_INT, AT(http.header_bytes_max), "16384", NULL, 1024, 1048576,
     .help = "bytes of all headers"},
    {"http.uri_bytes_max", SETTING_INT, AT(http.uri_bytes_max), "8192", NULL, 256, 65536, .help = "bytes of a URI"},
    {"http.connections_max", SETTING_INT, AT(http.connections_max), "10000", NULL, 1, 1000000,
     .help = "open connections; more are turned away with 503"},
    {"http.requests_max", SETTING_INT, AT(http.requests_max), "4096", NULL, 1, 1000000,
     .help = "requests in flight, at most; more are answered 503"},
    {"http.latency_target_ms", SETTING_INT, AT(http.latency_target_ms), "20", NULL, 0, 3600000,
     .help = "when most requests take more ms, fewer are let in at once; 0: always requests_max"},
    {"http.receive_timeout_ms", SETTING_INT, AT(http.receive_timeout_ms), "10000", NULL, 10, 3600000,
     .help = "ms to send a whole request, and to read the answer"},
    {"http.keepalive_timeout_ms", SETTING_INT, AT(http.keepalive_timeout_ms), "60000", NULL, 10, 3600000,
     .help = "ms that an idle connection is kept"},
    {"http.deadline_ms", SETTING_INT, AT(http.deadline_ms), "5000", NULL, 10, 3600000,
     .help = "ms to answer a request"},
};

static const struct setting rpc[] = {
    {"rpc.listen", SETTING_ADDRESS, AT(rpc.listen), NULL, "RPC_LISTEN", .help = "address of the gRPC API"},
    {"rpc.message_bytes_max", SETTING_INT, AT(rpc.message_bytes_max), "1048576", NULL, 1024, 67108864,
     .help = "bytes of a message"},
    {"rpc.requests_max", SETTING_INT, AT(rpc.requests_max), "4096", NULL, 1, 1000000,
     .help = "calls in flight, at most; more are answered RESOURCE_EXHAUSTED"},
    {"rpc.latency_target_ms", SETTING_INT, AT(rpc.latency_target_ms), "20", NULL, 0, 3600000,
     .help = "when most calls take more ms, fewer are let in at once; 0: always requests_max"},
    {"rpc.streams_max", SETTING_INT, AT(rpc.streams_max), "1000", NULL, 1, 1000000,
     .help = "calls in flight on a connection"},
    {"rpc.deadline_ms", SETTING_INT, AT(rpc.deadline_ms), "5000", NULL, 10, 3600000,
     .help = "ms to answer a call, at most; also when the caller gives no deadline"},
    {"rpc.keepalive_ms", SETTING_INT, AT(rpc.keepalive_ms), "30000", NULL, 1000, 7200000,
     .help = "ms of silence until a connection is probed"},
    {"rpc.connection_age_ms", SETTING_INT, AT(rpc.connection_age_ms), "0", NULL, 0, 86400000,
     .help = "ms until a connection is asked to reconnect; 0: never"},
};

static const char *const tls_modes[] = {"mutual", "off", NULL};

static const struct setting tls[] = {
    {"tls.mode", SETTING_CHOICE, AT(tls_mode), "mutual", "TLS_MODE", .choices = tls_modes,
     .help = "TLS between services: both sides show certificates; off: plain text"},
    {"tls.cert_file", SETTING_TEXT, AT(tls.cert_file), "", "TLS_CERT_FILE",
     .help = "PEM file of this service's certificate, which carries its name"},
    {"tls.key_file", SETTING_TEXT, AT(tls.key_file), "", "TLS_KEY_FILE", .help = "PEM file of its private key"},
    {"tls.ca_file", SETTING_TEXT, AT(tls.ca_file), "", "TLS_CA_FILE",
     .help = "PEM file of the authorities that other services' certificates come from"},
};

static const struct setting tls_server[] = {
    {"tls.allow", SETTING_NAMES, AT(rpc.allow), NULL, "TLS_ALLOW",
     .help = "DNS or URI names, separated by commas: who may call, by its certificate"},
};

static const struct setting tls_internal[] = {
    {"tls.allow_internal", SETTING_NAMES, AT(internal_allow), NULL, "TLS_ALLOW_INTERNAL",
     .help = "those of tls.allow who may also call what only services ask each other"},
};

static const struct setting client[] = {
    {"client.message_bytes_max", SETTING_INT, AT(peer.message_bytes_max), "1048576", NULL, 1024, 67108864,
     .help = "bytes of a peer's answer"},
    {"client.calls_max", SETTING_INT, AT(peer.calls_max), "4096", NULL, 1, 1000000,
     .help = "calls in flight to a peer; more are refused"},
    {"client.retries_max", SETTING_INT, AT(peer.retries_max), "0", NULL, 0, 10,
     .help = "times that a harmless call to a peer that is unavailable is made again; at most a tenth of all calls"},
    {"client.keepalive_ms", SETTING_INT, AT(peer.keepalive_ms), "30000", NULL, 1000, 7200000,
     .help = "ms of silence until a connection is probed"},
};

static const struct setting database[] = {
    {"database.url", SETTING_SECRET, AT(db.url), NULL, "DATABASE_URL",
     .help = "postgres://user:password@host:port/database"},
    {"database.password", SETTING_SECRET, AT(db.password), "", "DATABASE_PASSWORD", .file_offset = AT(db.password_file),
     .help = "instead of one in the url; its file is read again for each new connection"},
    {"database.connections", SETTING_INT, AT(db.connections), "4", NULL, 1, 256, .help = "shared connections a loop"},
    {"database.transactions", SETTING_INT, AT(db.transactions), "2", NULL, 1, 256,
     .help = "connections a loop for transactions"},
    {"database.queue_max", SETTING_INT, AT(db.queue_max), "4096", NULL, 1, 1000000,
     .help = "statements waiting or running a loop; more are refused"},
    {"database.statement_timeout_ms", SETTING_INT, AT(db.statement_timeout_ms), "5000", NULL, 10, 3600000,
     .help = "ms that the server lets a statement run"},
    {"database.connect_timeout_ms", SETTING_INT, AT(db.connect_timeout_ms), "2000", NULL, 10, 600000,
     .help = "ms to connect"},
};

static const struct setting redis[] = {
    {"redis.url", SETTING_SECRET, AT(stream.url), NULL, "REDIS_URL",
     .help = "redis://user:password@host:port/database, rediss://… for TLS, or unix:///path"},
    {"redis.password", SETTING_SECRET, AT(stream.password), "", "REDIS_PASSWORD",
     .file_offset = AT(stream.password_file),
     .help = "instead of one in the url; its file is read again for each new connection"},
    {"redis.tls.ca_file", SETTING_TEXT, AT(stream.ca_file), "", "REDIS_TLS_CA_FILE",
     .help = "PEM file of the authorities that the server's certificate comes from; empty: the system's"},
    {"redis.tls.cert_file", SETTING_TEXT, AT(stream.cert_file), "", "REDIS_TLS_CERT_FILE",
     .help = "PEM file of a certificate to show to the server; empty: none"},
    {"redis.tls.key_file", SETTING_TEXT, AT(stream.key_file), "", "REDIS_TLS_KEY_FILE",
     .help = "PEM file of its private key"},
    {"redis.length_max", SETTING_LONG, AT(stream.length_max), "1000000", NULL, 0, INT64_MAX,
     .help = "messages that a stream keeps, about; 0: all"},
    {"redis.queue_max", SETTING_INT, AT(stream.queue_max), "4096", NULL, 1, 1000000,
     .help = "commands in flight; more are refused"},
    {"redis.connect_timeout_ms", SETTING_INT, AT(stream.connect_timeout_ms), "2000", NULL, 10, 600000,
     .help = "ms to connect"},
};

static const struct setting consumer[] = {
    {"consumer.batch", SETTING_INT, AT(consumer_batch), "100", NULL, 1, 10000, .help = "messages a read"},
    {"consumer.claim_idle_ms", SETTING_INT, AT(consumer_claim_idle_ms), "30000", NULL, 10, 86400000,
     .help = "ms until a message that nobody settled is taken over"},
    {"consumer.deliveries_max", SETTING_INT, AT(consumer_deliveries_max), "5", NULL, 1, 1000,
     .help = "deliveries until a message goes to the dead-letter stream"},
};

static const char *const auth_modes[] = {"required", "optional", "off", NULL};

static const struct setting auth[] = {
    {"auth.mode", SETTING_CHOICE, AT(auth_mode), "required", "AUTH_MODE", .choices = auth_modes,
     .help = "whether a call needs a token; optional: without one everything is allowed"},
    {"auth.keys_refresh_ms", SETTING_INT, AT(auth_keys_refresh_ms), "60000", "AUTH_KEYS_REFRESH_MS", 100, 86400000,
     .help = "ms until the keys of tokens are read or asked for again"},
    {"auth.cache_max", SETTING_INT, AT(auth_cache_max), "4096", NULL, 0, 1000000,
     .help = "verified tokens that a loop remembers, about"},
};

static const struct setting issuer[] = {
    {"auth.keys_dir", SETTING_TEXT, AT(issuer.keys_dir), "", "AUTH_KEYS_DIR",
     .help = "directory of the keys that sign tokens, <kid>.pem (Ed25519, PKCS#8); empty: one is made at the start"},
    {"auth.signing_key", SETTING_TEXT, AT(issuer.signing_key), "", "AUTH_SIGNING_KEY",
     .help = "kid of the key that signs; empty: the last one by name"},
    {"auth.hash_threads", SETTING_INT, AT(issuer.hash_threads), "2", NULL, 1, 64,
     .help = "threads that hash passwords, each with 19 MiB"},
    {"auth.hash_queue_max", SETTING_INT, AT(issuer.hash_queue_max), "64", NULL, 1, 65536,
     .help = "passwords that may wait for them; more are refused"},
    {"auth.account_failures_max", SETTING_INT, AT(issuer.account_failures_max), "10", NULL, 1, 1000000,
     .help = "wrong log-ins a minute to one account; more are refused"},
    {"auth.address_failures_max", SETTING_INT, AT(issuer.address_failures_max), "100", NULL, 1, 1000000,
     .help = "wrong log-ins a minute from one client's address; more are refused"},
};

struct table {
    struct setting *settings;
    size_t count;
};

static void append(struct table *table, const struct setting *settings, size_t count)
{
    table->settings = mem_resize(table->settings, table->count + count, sizeof *settings);
    if (count)
        memcpy(table->settings + table->count, settings, count * sizeof *settings);
    table->count += count;
}

static void append_peer(struct table *table, const struct service_peer *peer, unsigned index, char *key)
{
    const struct setting setting = {
        .key = key,
        .type = SETTING_TEXT,
        .offset = AT(peer_targets) + index * sizeof(const char *),
        .initial = peer->target,
        .env = peer->env,
        .help = "host:port where it listens; all addresses of the name are used",
    };
    append(table, &setting, 1);
}

/* The keys of peers are made once and stay: the table is of the process's life. */
static void append_peers(struct table *table, const struct service *service)
{
    static char keys[PEERS_MAX][64];
    for (unsigned i = 0; i < service->peer_count; i++) {
        snprintf(keys[i], sizeof keys[i], "peers.%s", service->peers[i].name);
        append_peer(table, &service->peers[i], i, keys[i]);
    }
    append(table, client, array_count(client));
    static char retries[4];
    snprintf(retries, sizeof retries, "%u", service->peer_retries);
    for (size_t i = 0; i < array_count(client); i++) {
        struct setting *setting = &table->settings[table->count - array_count(client) + i];
        if (setting->offset == AT(peer.retries_max))
            setting->initial = retries;
    }
}

/* Beside USER_SERVICE_ADDR there is USER_SERVICE_TLS_NAME. */
static void append_peer_name(struct table *table, const struct service_peer *peer, unsigned index)
{
    static char keys[PEERS_MAX][64], variables[PEERS_MAX][64];
    const char *tail = strstr(peer->env, "_ADDR");
    snprintf(keys[index], sizeof keys[index], "tls.peers.%s", peer->name);
    snprintf(variables[index], sizeof variables[index], "%.*s_TLS_NAME",
             tail ? (int)(tail - peer->env) : (int)strlen(peer->env), peer->env);
    const struct setting setting = {
        .key = keys[index],
        .type = SETTING_NAMES,
        .max = 1,
        .offset = AT(peer_names) + index * sizeof(const char *),
        .initial = peer->name,
        .env = variables[index],
        .help = "DNS or URI name that its certificate must carry",
    };
    append(table, &setting, 1);
}

static void append_callers(struct table *table, const struct setting *setting, const char *names)
{
    append(table, setting, 1);
    table->settings[table->count - 1].initial = names ? names : "";
}

static void append_tls(struct table *table, const struct service *service)
{
    if (!service->rpc_listen && !service->peer_count)
        return;
    append(table, tls, array_count(tls));
    if (service->rpc_listen)
        append_callers(table, tls_server, service->callers);
    if (service->rpc_listen && service->internal_callers)
        append_callers(table, tls_internal, service->internal_callers);
    for (unsigned i = 0; i < service->peer_count; i++)
        append_peer_name(table, &service->peers[i], i);
}

static void append_listener(struct table *table, const struct setting *settings, size_t count, const char *listen)
{
    if (!listen)
        return;
    append(table, settings, count);
    table->settings[table->count - count].initial = listen;
}

struct setting *settings_table(const struct service *service, size_t *out_count)
{
    struct table table = {0};
    append(&table, general, array_count(general));
    append_listener(&table, http, array_count(http), service->http_listen);
    append_listener(&table, rpc, array_count(rpc), service->rpc_listen);
    append_tls(&table, service);
    if (service->peer_count)
        append_peers(&table, service);
    if (service->database)
        append(&table, database, array_count(database));
    if (service->streams)
        append(&table, redis, array_count(redis));
    if (service->consumer_count)
        append(&table, consumer, array_count(consumer));
    if (service->auth)
        append(&table, auth, array_count(auth));
    if (service->auth && service->auth->issuer)
        append(&table, issuer, array_count(issuer));
    append(&table, service->settings, service->setting_count);
    *out_count = table.count;
    return table.settings;
}

/* --- what goes together */

static const struct needed {
    const char *key, *env, *what;
    size_t offset;
    bool of_server;
} needed[] = {
    {"tls.cert_file", "TLS_CERT_FILE", "the PEM file of this service's certificate", AT(tls.cert_file), false},
    {"tls.key_file", "TLS_KEY_FILE", "the PEM file of its private key", AT(tls.key_file), false},
    {"tls.ca_file", "TLS_CA_FILE", "the PEM file of the authorities of other services' certificates", AT(tls.ca_file),
     false},
    {"tls.allow", "TLS_ALLOW", "the names of the services that may call this one", AT(rpc.allow), true},
};

static const char *text_at(const struct service_settings *settings, size_t offset)
{
    const char *text;
    memcpy(&text, (const char *)settings + offset, sizeof text);
    return text;
}

static bool is_complete(const struct service *service, const struct service_settings *settings, char *message,
                        size_t message_bytes)
{
    for (size_t i = 0; i < array_count(needed); i++) {
        if ((needed[i].of_server && !service->rpc_listen) || *text_at(settings, needed[i].offset))
            continue;
        snprintf(message, message_bytes,
                 "%s: must be set (or environment variable %s): %s. Plain text between services needs tls.mode: off "
                 "(or TLS_MODE=off)",
                 needed[i].key, needed[i].env, needed[i].what);
        return false;
    }
    return true;
}

/* Who is not let in cannot ask for anything: a name that was changed in one list only. */
static bool internal_callers_may_call(const struct service_settings *settings, char *message, size_t message_bytes)
{
    const char *list = settings->internal_allow;
    size_t length;
    for (const char *name; list && (name = names_next(&list, &length));) {
        if (names_have(settings->rpc.allow, name, length))
            continue;
        snprintf(message, message_bytes,
                 "tls.allow_internal (or environment variable TLS_ALLOW_INTERNAL): expected names that tls.allow has, "
                 "got \"%.*s\"",
                 (int)length, name);
        return false;
    }
    return true;
}

/* The key of the file that the reason begins with. */
static const char *key_of_reason(const struct service_settings *settings, const char *reason)
{
    for (size_t i = 0; i < array_count(needed); i++) {
        const char *path = text_at(settings, needed[i].offset);
        size_t length = path ? strlen(path) : 0;
        if (length && strncmp(reason, path, length) == 0 && reason[length] == ':')
            return needed[i].key;
    }
    return "tls";
}

enum err settings_identity(const struct service *service, struct service_settings *settings, struct rpc_identity **out,
                           char *message, size_t message_bytes)
{
    char reason[512];
    if ((!service->rpc_listen && !service->peer_count) || settings->tls_mode == TLS_OFF)
        return ERR_OK;
    if (!is_complete(service, settings, message, message_bytes) ||
        !internal_callers_may_call(settings, message, message_bytes))
        return ERR_INVALID_ARGUMENT;
    enum err err = rpc_identity_open(out, &settings->tls, reason, sizeof reason);
    if (err)
        snprintf(message, message_bytes, "%s: %s", key_of_reason(settings, reason), reason);
    else
        settings->rpc.identity = settings->peer.identity = *out;
    return err;
}
