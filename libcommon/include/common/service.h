/* The service kit: the one main() of every service.
 *
 * Reads settings, opens what the table asks for, applies migrations, serves, watches health,
 * and ends well: SIGTERM or SIGINT → not serving → no new work → what runs finishes (limit
 * service.drain_timeout_ms) → exit status 0. A second signal ends at once with status 1.
 * Between services there is mutual TLS, unless tls.mode says off.
 * A wrong setting is one clear line on stderr and exit status 2; so is a taken address, once it has been waited for 3
 * s. Options: --config FILE, --migrate-only, --print-config, --dead-letters, --replay-dead-letters ID|all, --ready,
 * --version, --licenses, --help. Settings come from --config, or $BODEGA_CONFIG_FILE, or /etc/bodega/<name>.yaml when
 * it exists, and from the environment. */
#ifndef COMMON_SERVICE_H
#define COMMON_SERVICE_H

#include <stddef.h>

#include "common/auth.h"
#include "common/background.h"
#include "common/config.h"
#include "common/db.h"
#include "common/http.h"
#include "common/request.h"
#include "common/rpc.h"
#include "common/stream.h"

enum tls_mode { TLS_MUTUAL, TLS_OFF };

/* Does a call need a token? OPTIONAL: without one everything is allowed, with one its rules hold. OFF: it is not looked
 * at. */
enum auth_mode { AUTH_REQUIRED, AUTH_OPTIONAL, AUTH_OFF };

/* Settings that every service has; the first member of each service's own settings struct. */
struct service_settings {
    int log_level; /* enum log_level */
    int loops;     /* event loops, each a thread */
    int drain_timeout_ms;
    int flush_timeout_ms;     /* that queued telemetry gets to leave after the drain */
    const char *admin_listen; /* /metrics, /livez, /readyz */
    int offload_threads, offload_queue_max;
    struct http_settings http;
    struct rpc_server_settings rpc;
    struct rpc_client_settings peer; /* shared by all peers; target is set for each */
    struct db_settings db;
    struct stream_settings stream;
    int consumer_batch, consumer_claim_idle_ms, consumer_deliveries_max;
    const char *peer_targets[4];
    int tls_mode; /* enum tls_mode: how services talk to each other */
    struct rpc_identity_settings tls;
    const char *internal_allow; /* who of rpc.allow may make internal calls; NULL: nobody */
    const char *peer_names[4];  /* in the peers' certificates */
    int auth_mode;              /* enum auth_mode */
    int auth_keys_refresh_ms, auth_cache_max;
    struct auth_issuer_settings issuer;
};

/* Where the keys come from that tokens are verified with. */
struct service_auth {
    bool issuer;   /* the service's own: it signs the tokens */
    unsigned peer; /* else this peer's answer, in which a text at this offset is a JWK set; it takes an empty message */
    const struct rpc_procedure *procedure;
    size_t jwks;
};

struct service_peer {
    const char *name;   /* "user-service": key peers.user-service, as told in errors and as its certificate says */
    const char *env;    /* "USER_SERVICE_ADDR" */
    const char *target; /* built-in */
    bool optional;      /* the service is ready without it */
};

/* A consumer group's member: reads batches of 100, commits by batch, gives a message up after 5 deliveries
 * to `<key>:dead`. The settings stream.* change the numbers. */
struct service_consumer {
    const char *key, *group;
    stream_handler *handler;
};

struct service {
    const char *name;        /* "order-service"; also the settings file's name */
    const char *about;       /* one line for --help */
    const char *version;     /* for --version */
    const char *notices;     /* for --licenses: of what is linked; NULL: none */
    const char *http_listen; /* built-in address; NULL: no HTTP */
    const struct http_route *routes;
    unsigned route_count;
    const char *rpc_listen; /* built-in address; NULL: no gRPC */
    const struct rpc_method *methods;
    unsigned method_count;
    const char *callers; /* built-in tls.allow: the services that may call this one, "api-gateway,order-service" */
    const char *internal_callers; /* of them, built-in tls.allow_internal: who may make ACCESS_INTERNAL calls; anybody
                                     in plain text */
    const struct service_peer *peers;
    unsigned peer_count;
    unsigned peer_retries;           /* built-in client.retries_max: 0 but for those whom the public asks */
    const struct service_auth *auth; /* NULL: nobody is asked for a token */
    bool database, streams;
    const struct db_migration *migrations; /* of the database; applied before the service is ready */
    unsigned migration_count;
    /* Runs once the database is up to date, before the service is ready; again as long as it is ERR_UNAVAILABLE. */
    enum err (*prepare)(struct request *req);
    const struct setting *settings; /* the service's own, beside the common ones */
    unsigned setting_count;
    size_t settings_bytes;               /* of its struct; 0: struct service_settings alone */
    const struct background_task *tasks; /* run on each loop once the dependencies have answered */
    unsigned task_count;
    const struct service_consumer *consumers; /* the same */
    unsigned consumer_count;
};

int service_main(const struct service *service, int argc, char **argv);

/* Asks every dependency: ERR_OK, or ERR_UNAVAILABLE with a detail that names the first that does not answer.
 * Always unavailable from the first stop signal on. */
enum err service_ready(struct request *req);

/* Says more about what the request is about, on its span. value is copied. */
void request_attribute(struct request *req, const char *key, const char *value);
/* Counts one event of the shop: counter `name` with `outcome`. Both static texts; at most 64 pairs a process, the rest
 * is not counted. Any thread. */
void service_count(const char *name, const char *outcome);
/* Tells how something of the service's own stands now: gauge `name` in `unit`, with one line that says what it is. All
 * static texts. Any thread; not for each request. */
void service_level(const char *name, const char *unit, const char *description, double level);

#endif
