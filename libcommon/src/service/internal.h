/* What the parts of the service kit share. */
#ifndef SERVICE_INTERNAL_H
#define SERVICE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "auth/verifier.h"
#include "common/loop.h"
#include "common/middleware.h"
#include "common/otel/otel.h"
#include "common/service.h"

struct app;

/* The built-in admin port. */
#define ADMIN_LISTEN ":9464"

enum { PEERS_MAX = 4, CONSUMERS_MAX = 4, OBSERVERS_MAX = 56 };

/* counter.c: what loops have done, for the main thread to wait for. */
struct counter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned count;
};

void counter_init(struct counter *counter);
void counter_done(struct counter *counter);
void counter_add(struct counter *counter); /* any thread */
/* Takes one away; false when there is none until then (monotonic). */
bool counter_take(struct counter *counter, int64_t until_ns);

struct gate_stats {
    struct auth_stats tokens;
    uint64_t unauthenticated, denied; /* calls turned away */
    uint64_t key_failures;            /* times that no keys could be had */
};

/* What a loop's parts have counted, copied once a second for those who ask from elsewhere. */
struct figures {
    unsigned fibers;
    struct http_stats http;
    struct rpc_stats peers; /* the sum of all clients */
    struct db_stats db;
    struct stream_stats stream;
    struct gate_stats gate;
};

/* A loop, its thread, and what is open on it. */
struct seat {
    struct app *app;
    struct worker *worker;
    pthread_t thread;
    struct http_server *http;
    struct rpc_client *peers[PEERS_MAX];
    struct rpc_client_settings peer_settings[PEERS_MAX];
    struct stream_consumer *consumers[CONSUMERS_MAX];
    struct stream_consumer_settings consumer_settings[CONSUMERS_MAX];
    struct background_task *tasks; /* the service's, then the gate's */
    char consumer_names[CONSUMERS_MAX][160], dead_keys[CONSUMERS_MAX][160];
    unsigned number;
    struct loop_timer figures_timer;
    pthread_mutex_t figures_lock;
    struct figures figures;
    enum err err; /* of the last step that was run here */
};

struct app {
    const struct service *service;
    struct service_settings *settings;
    struct config *config;
    struct rpc_identity *identity; /* NULL: plain text between services */
    struct rpc_server *rpc;
    struct http_server *admin; /* on the first seat */
    bool without_admin;
    struct http_settings admin_settings;
    struct otel_callback *observers[OBSERVERS_MAX];
    unsigned observer_count;
    int held_fds[3];
    unsigned held_count;
    struct seat *seats;
    struct worker *workers; /* one for each seat */
    unsigned seat_count;
    atomic_bool ready; /* the dependencies have answered once */
    atomic_bool stopping;
    atomic_int exit_status;          /* not 0: the start has failed for good */
    int wake_fd;                     /* tells main() of a failed start */
    struct fiber_wait watcher_ended; /* the boot fiber, on the first loop */
    struct fiber_wait *watcher_sleep;
    struct counter step_done, drained;
};

/* service.c: brings the database up to date, as db_migrate(). */
enum err app_migrate(const struct app *app, char *message, unsigned message_bytes);

/* dead_letters.c: lists what the consumers gave up, or puts it back: an id or "all". Tells on stdout and stderr; needs
 * no loop. */
enum err dead_letters(const struct app *app, const char *replay);
bool dead_letter_named(const char *text); /* an id or "all" */

/* settings.c: the common table with the service's own behind it; the caller frees it. */
struct setting *settings_table(const struct service *service, size_t *out_count);
/* What the service proves itself with, put into the settings of its server and its clients; none with tls.mode off or
 * without gRPC. */
enum err settings_identity(const struct service *service, struct service_settings *settings, struct rpc_identity **out,
                           char *message, size_t message_bytes);

/* address.c: takes what the service listens on, or waits for it. ERR_UNAVAILABLE when it cannot be had (logged with
 * the reason), ERR_CANCELLED when a signal came first. */
enum err addresses_hold(struct app *app, int signal_fd);
void addresses_release(struct app *app);

/* seat.c: each runs in a fiber on the seat's loop. */
void seat_open(struct seat *seat);       /* database, streams, peers, HTTP; seat->err */
void seat_start_work(struct seat *seat); /* tasks and consumers */
void seat_drain_http(struct seat *seat); /* posts app->drained when the last request has ended */
void seat_close(struct seat *seat);
/* Runs fn in a fiber on the seat's loop, and counts its end in done unless that is NULL. Any thread. */
void seat_run(struct seat *seat, void (*fn)(struct seat *seat), struct counter *done);
/* Runs fn in a fiber on every seat's loop and waits for all; false when timeout_ms passed first. Main thread. */
bool seats_run(struct app *app, void (*fn)(struct seat *seat), int timeout_ms);

/* boot.c: in a fiber on the first loop: migrations, dependencies, work; then watches the dependencies. */
void boot(void *app);
void boot_stop(struct seat *first);

/* telemetry.c: the SDK, and what the kit tells about itself. */
enum err telemetry_start(const struct service *service, char *message, size_t message_bytes);
void telemetry_stop(int timeout_ms);
void telemetry_watch(struct app *app); /* once the loops run; unwatch before they end */
void telemetry_unwatch(struct app *app);
void telemetry_watch_seat(struct seat *seat); /* on its loop, the same */
void telemetry_leave_seat(struct seat *seat);

/* admin.c: /metrics, /livez, /readyz on the first seat's loop. */
enum err admin_open(struct seat *first);

/* gate.c: who may call. */
struct gate *gate_open(const struct service *service, const struct service_settings *settings);
void gate_close(struct gate *gate); /* NULL is allowed */
struct gate_stats gate_stats(const struct gate *gate);
extern const struct middleware gate_keeper;
extern const struct background_task gate_task; /* behind the service's own */

/* failpoints.c */
http_handler get_failpoints, put_failpoints;

/* probe.c: asks the service that runs here, and prints what it says. */
bool probe_ready(const struct service *service, const struct service_settings *settings);

/* access_log.c */
extern const struct middleware access_log;
extern const struct middleware start_gate;
extern struct app *the_app; /* the one service of this process; NULL outside service_main() */

#endif
