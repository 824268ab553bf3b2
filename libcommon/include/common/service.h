/* The service kit: the one main() of every service.
 *
 * Reads settings, opens what the table asks for, applies migrations, serves, watches health,
 * and ends well: SIGTERM or SIGINT → not serving → no new work → what runs finishes (limit
 * service.drain_timeout_ms) → exit status 0. A second signal ends at once with status 1.
 * A wrong setting or a taken address is one clear line on stderr and exit status 2.
 * Options: --config FILE, --migrate-only, --print-config, --version, --help. */
#ifndef COMMON_SERVICE_H
#define COMMON_SERVICE_H

#include <stddef.h>

#include "common/config.h"
#include "common/db.h"
#include "common/http.h"
#include "common/request.h"
#include "common/rpc.h"
#include "common/stream.h"

/* Settings that every service has; the first member of each service's own settings struct. */
struct service_settings {
    const char *log_level;
    int loops;                  /* event loops, each a thread */
    int drain_timeout_ms;
    int offload_threads, offload_queue_max;
    struct http_settings http;
    struct rpc_server_settings rpc;
    struct rpc_client_settings peer; /* shared by all peers; target is set for each */
    struct db_settings db;
    struct stream_settings stream;
    const char *peer_targets[4];
};

struct service_peer {
    const char *name;           /* "user-service": key peers.user-service, as told in errors */
    const char *env;            /* "USER_SERVICE_ADDR" */
    const char *target;         /* built-in */
};

struct service {
    const char *name;           /* "order-service"; also the settings file's name */
    const char *about;          /* one line for --help */
    const char *http_listen;    /* built-in address; NULL: no HTTP */
    const struct http_route *routes;
    unsigned route_count;
    const char *rpc_listen;     /* built-in address; NULL: no gRPC */
    const struct rpc_method *methods;
    unsigned method_count;
    const struct service_peer *peers;
    unsigned peer_count;
    bool database, streams;
    const struct setting *settings;     /* the service's own, beside the common ones */
    unsigned setting_count;
    size_t settings_bytes;              /* of its struct; 0: struct service_settings alone */
    /* On each loop, in a fiber, when its dependencies have answered once: start background work, leave it in worker->app. */
    enum err (*start)(struct worker *worker);
    /* On each loop, in a fiber, when no request is left: end background work. Deadline: the drain's. */
    void (*stop)(struct worker *worker);
};

int service_main(const struct service *service, int argc, char **argv);

/* A dependency's name when it does not answer, for readiness; NULL when all do. Waits: asks peers for their health. */
const char *service_unready(struct request *req);

#endif
