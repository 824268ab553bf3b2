/* The service's telemetry: the SDK's start and end, and what its own parts tell about themselves. The figures of a
 * loop's parts may be read on that loop only: each seat copies them once a second for whoever collects. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "auth/issuer.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/offload.h"
#include "common/otel/instrument.h"
#include "common/otel/otel.h"
#include "service/internal.h"

enum { FIGURES_EVERY_MS = 1000, EVENTS_MAX = 64 };

/* --- each loop's figures */

static struct otel_bound_histogram *loop_lag;

static struct rpc_stats sum_of_peers(const struct seat *seat)
{
    struct rpc_stats sum = {0};
    for (unsigned i = 0; i < seat->app->service->peer_count; i++) {
        struct rpc_stats one = rpc_client_stats(seat->peers[i]);
        sum.refused += one.refused;
        sum.retried += one.retried;
        sum.unretried += one.unretried;
        sum.circuits_opened += one.circuits_opened;
        sum.circuits_open += one.circuits_open;
        sum.cut += one.cut;
        sum.in_flight += one.in_flight;
    }
    return sum;
}

static void take_figures(struct loop_timer *timer)
{
    struct seat *seat = container_of(timer, struct seat, figures_timer);
    int64_t late_ns = clock_now_ns() - timer->at_ns;
    struct figures figures = {.fibers = fiber_count(seat->worker->loop), .peers = sum_of_peers(seat)};
    if (seat->http)
        figures.http = http_stats(seat->http);
    if (seat->worker->db)
        figures.db = db_stats(seat->worker->db);
    if (seat->worker->stream)
        figures.stream = stream_stats(seat->worker->stream);
    if (seat->worker->gate)
        figures.gate = gate_stats(seat->worker->gate);
    otel_bound_record(loop_lag, (double)late_ns / 1e9);
    pthread_mutex_lock(&seat->figures_lock);
    seat->figures = figures;
    pthread_mutex_unlock(&seat->figures_lock);
    loop_timer_start(seat->worker->loop, timer, clock_now_ns() + FIGURES_EVERY_MS * NS_PER_MS);
}

void telemetry_watch_seat(struct seat *seat)
{
    seat->figures_timer.fire = take_figures;
    loop_timer_start(seat->worker->loop, &seat->figures_timer, clock_now_ns() + NS_PER_MS);
}

void telemetry_leave_seat(struct seat *seat)
{
    loop_timer_stop(seat->worker->loop, &seat->figures_timer);
}

/* --- what is observed: sums over all loops */

static struct figures sum_figures(struct app *app)
{
    struct figures sum = {0};
    for (unsigned i = 0; i < app->seat_count; i++) {
        struct seat *seat = &app->seats[i];
        pthread_mutex_lock(&seat->figures_lock);
        struct figures one = seat->figures;
        pthread_mutex_unlock(&seat->figures_lock);
        sum.fibers += one.fibers;
        sum.http.connections += one.http.connections;
        sum.http.refused_connections += one.http.refused_connections;
        sum.http.refused_requests += one.http.refused_requests;
        sum.http.timeouts += one.http.timeouts;
        sum.http.departures += one.http.departures;
        sum.http.requests_limit = one.http.requests_limit; /* one for all loops */
        sum.peers.refused += one.peers.refused;
        sum.peers.retried += one.peers.retried;
        sum.peers.unretried += one.peers.unretried;
        sum.peers.circuits_opened += one.peers.circuits_opened;
        sum.peers.circuits_open += one.peers.circuits_open;
        sum.peers.cut += one.peers.cut;
        sum.peers.in_flight += one.peers.in_flight;
        sum.db.connections_up += one.db.connections_up;
        sum.db.in_flight += one.db.in_flight;
        sum.db.waiting += one.db.waiting;
        sum.db.refused += one.db.refused;
        sum.db.abandoned += one.db.abandoned;
        sum.db.reconnects += one.db.reconnects;
        sum.db.cancels += one.db.cancels;
        sum.db.cancels_failed += one.db.cancels_failed;
        sum.db.batches += one.db.batches;
        sum.db.batched_rows += one.db.batched_rows;
        sum.stream.in_flight += one.stream.in_flight;
        sum.stream.refused += one.stream.refused;
        sum.stream.reconnects += one.stream.reconnects;
        sum.stream.claimed += one.stream.claimed;
        sum.stream.dead += one.stream.dead;
        sum.stream.errors += one.stream.errors;
        sum.gate.tokens.verified += one.gate.tokens.verified;
        sum.gate.tokens.cached += one.gate.tokens.cached;
        sum.gate.tokens.refused += one.gate.tokens.refused;
        sum.gate.tokens.evicted += one.gate.tokens.evicted;
        sum.gate.tokens.known += one.gate.tokens.known;
        sum.gate.unauthenticated += one.gate.unauthenticated;
        sum.gate.denied += one.gate.denied;
        sum.gate.key_failures += one.gate.key_failures;
    }
    return sum;
}

/* One instrument: where its value lies in what follows. */
struct observed {
    enum otel_observable kind;
    const char *name, *unit, *description;
    double (*value)(struct app *app);
};

#define FIGURE(function, member)                                                                                       \
    static double function(struct app *app)                                                                            \
    {                                                                                                                  \
        return (double)sum_figures(app).member;                                                                        \
    }

FIGURE(fibers, fibers)
FIGURE(http_connections, http.connections)
FIGURE(http_refused_connections, http.refused_connections)
FIGURE(http_refused_requests, http.refused_requests)
FIGURE(http_timeouts, http.timeouts)
FIGURE(http_departures, http.departures)
FIGURE(http_limit, http.requests_limit)
FIGURE(client_in_flight, peers.in_flight)
FIGURE(client_refused, peers.refused)
FIGURE(client_retried, peers.retried)
FIGURE(client_unretried, peers.unretried)
FIGURE(client_circuits_open, peers.circuits_open)
FIGURE(client_circuits_opened, peers.circuits_opened)
FIGURE(client_cut, peers.cut)
FIGURE(db_connections, db.connections_up)
FIGURE(db_in_flight, db.in_flight)
FIGURE(db_waiting, db.waiting)
FIGURE(db_refused, db.refused)
FIGURE(db_abandoned, db.abandoned)
FIGURE(db_reconnects, db.reconnects)
FIGURE(db_cancels, db.cancels)
FIGURE(db_cancels_failed, db.cancels_failed)
FIGURE(db_batches, db.batches)
FIGURE(db_batched_rows, db.batched_rows)
FIGURE(stream_in_flight, stream.in_flight)
FIGURE(stream_refused, stream.refused)
FIGURE(stream_reconnects, stream.reconnects)
FIGURE(stream_claimed, stream.claimed)
FIGURE(stream_dead, stream.dead)
FIGURE(stream_errors, stream.errors)
FIGURE(tokens_verified, gate.tokens.verified)
FIGURE(tokens_cached, gate.tokens.cached)
FIGURE(tokens_refused, gate.tokens.refused)
FIGURE(tokens_evicted, gate.tokens.evicted)
FIGURE(tokens_known, gate.tokens.known)
FIGURE(calls_unauthenticated, gate.unauthenticated)
FIGURE(calls_denied, gate.denied)
FIGURE(key_failures, gate.key_failures)

static double rpc_in_flight(struct app *app)
{
    return app->rpc ? rpc_server_stats(app->rpc).in_flight : 0;
}

static double rpc_limit(struct app *app)
{
    return app->rpc ? rpc_server_stats(app->rpc).limit : 0;
}

static double rpc_refused(struct app *app)
{
    return app->rpc ? (double)rpc_server_stats(app->rpc).refused : 0;
}

static struct rpc_identity_stats identity_now(const struct app *app)
{
    return app->identity ? rpc_identity_stats(app->identity) : (struct rpc_identity_stats){0};
}

static double tls_refused(struct app *app)
{
    return (double)identity_now(app).refused;
}

static double tls_replaced(struct app *app)
{
    return (double)identity_now(app).replaced;
}

static double tls_bad_files(struct app *app)
{
    return (double)identity_now(app).bad_files;
}

static double tls_expires_in(struct app *app)
{
    return (double)identity_now(app).expires_s - (double)clock_wall_ns() / 1e9;
}

static double offload_waiting(struct app *app)
{
    (void)app;
    return offload_stats().waiting;
}

static double offload_refused(struct app *app)
{
    (void)app;
    return (double)offload_stats().refused;
}

static double log_lost(struct app *app)
{
    (void)app;
    return (double)log_lost_bytes();
}

#define OF_ISSUER(function, member)                                                                                    \
    static double function(struct app *app)                                                                            \
    {                                                                                                                  \
        (void)app;                                                                                                     \
        return (double)issuer_stats().member;                                                                          \
    }

OF_ISSUER(hashes, hashes.done)
OF_ISSUER(hashes_waiting, hashes.waiting)
OF_ISSUER(hashes_refused, hashes.refused)
OF_ISSUER(logins_throttled, throttled)
OF_ISSUER(logins_forgotten, forgotten)

#define COUNTS OTEL_OBSERVABLE_COUNTER
#define HOLDS  OTEL_OBSERVABLE_UP_DOWN_COUNTER
#define STANDS OTEL_OBSERVABLE_GAUGE

static const struct observed of_all[] = {
    {HOLDS, "bodega.loop.fibers", "{fiber}", "Fibers that have not ended.", fibers},
    {HOLDS, "bodega.offload.queue.size", "{call}", "Calls that wait for an offload thread.", offload_waiting},
    {COUNTS, "bodega.offload.refused", "{call}", "Calls refused because the offload queue was full.", offload_refused},
    {COUNTS, "bodega.log.lost", "By", "Log lines lost because nobody read standard error.", log_lost},
};

static const struct observed of_http[] = {
    {HOLDS, "bodega.http.server.connections", "{connection}", "Open HTTP connections.", http_connections},
    {COUNTS, "bodega.http.server.refused_connections", "{connection}", "Connections beyond the limit.",
     http_refused_connections},
    {COUNTS, "bodega.http.server.refused_requests", "{request}", "Requests beyond the limit.", http_refused_requests},
    {COUNTS, "bodega.http.server.timeouts", "{connection}", "Connections ended because the client was too slow.",
     http_timeouts},
    {COUNTS, "bodega.http.server.departures", "{request}", "Requests cancelled because the client had gone.",
     http_departures},
    {HOLDS, "bodega.http.server.limit", "{request}", "Requests that may be in work now.", http_limit},
};

static const struct observed of_rpc[] = {
    {HOLDS, "bodega.rpc.server.in_flight", "{call}", "Calls in work.", rpc_in_flight},
    {HOLDS, "bodega.rpc.server.limit", "{call}", "Calls that may be in work now.", rpc_limit},
    {COUNTS, "bodega.rpc.server.refused", "{call}", "Calls beyond the limit.", rpc_refused},
};

static const struct observed of_peers[] = {
    {HOLDS, "bodega.rpc.client.in_flight", "{call}", "Calls to other services in flight.", client_in_flight},
    {COUNTS, "bodega.rpc.client.refused", "{call}", "Calls not made because too many were in flight.", client_refused},
    {COUNTS, "bodega.rpc.client.retries", "{call}", "Calls made again after the peer was unavailable.", client_retried},
    {COUNTS, "bodega.rpc.client.retries_refused", "{call}", "Calls not made again because there had been too many.",
     client_unretried},
    {HOLDS, "bodega.rpc.client.circuits_open", "{circuit}", "Peers that do not answer, of each loop.",
     client_circuits_open},
    {COUNTS, "bodega.rpc.client.circuits_opened", "{circuit}", "How often a peer ceased to answer.",
     client_circuits_opened},
    {COUNTS, "bodega.rpc.client.cut", "{call}", "Calls that failed at once because the peer had ceased to answer.",
     client_cut},
};

static const struct observed of_tls[] = {
    {COUNTS, "bodega.tls.refused", "{connection}", "Connections refused for the name in the other side's certificate.",
     tls_refused},
    {COUNTS, "bodega.tls.replaced", "{change}", "Changed TLS files that were taken over.", tls_replaced},
    {COUNTS, "bodega.tls.bad_files", "{change}", "Changed TLS files that were no good.", tls_bad_files},
    {STANDS, "bodega.tls.certificate.expires_in", "s", "Time until the certificate in use expires.", tls_expires_in},
};

static const struct observed of_db[] = {
    {HOLDS, "bodega.db.client.connections", "{connection}", "Connections to the database that are up.", db_connections},
    {HOLDS, "bodega.db.client.in_flight", "{query}", "Queries sent and not answered.", db_in_flight},
    {HOLDS, "db.client.connection.pending_requests", "{request}", "Queries that wait for a connection.", db_waiting},
    {COUNTS, "bodega.db.client.refused", "{query}", "Queries refused because the queue was full.", db_refused},
    {COUNTS, "bodega.db.client.abandoned", "{query}", "Queries whose caller did not wait for the answer.",
     db_abandoned},
    {COUNTS, "bodega.db.client.cancels", "{query}", "Cancel requests for queries that nobody waited for any more.",
     db_cancels},
    {COUNTS, "bodega.db.client.cancels_failed", "{query}", "Cancel requests that could not be sent.",
     db_cancels_failed},
    {COUNTS, "bodega.db.client.reconnects", "{connection}", "Connections made again after a loss.", db_reconnects},
    {COUNTS, "bodega.db.client.batches", "{batch}", "Coalesced statements executed.", db_batches},
    {COUNTS, "bodega.db.client.batched_rows", "{row}", "Rows that shared them.", db_batched_rows},
};

static const struct observed of_streams[] = {
    {HOLDS, "bodega.stream.in_flight", "{command}", "Commands sent to Redis and not answered.", stream_in_flight},
    {COUNTS, "bodega.stream.refused", "{command}", "Commands refused because too many were in flight.", stream_refused},
    {COUNTS, "bodega.stream.reconnects", "{connection}", "Connections to Redis made again.", stream_reconnects},
    {COUNTS, "bodega.stream.claimed", "{message}", "Messages taken over from a consumer that was gone.",
     stream_claimed},
    {COUNTS, "bodega.stream.dead", "{message}", "Messages given up to a dead-letter stream.", stream_dead},
    {COUNTS, "bodega.stream.errors", "{error}", "Entries and batches that failed.", stream_errors},
};

static const struct observed of_auth[] = {
    {COUNTS, "bodega.auth.tokens.verified", "{token}", "Tokens whose signature was computed and good.",
     tokens_verified},
    {COUNTS, "bodega.auth.tokens.cached", "{token}", "Tokens that had been verified before.", tokens_cached},
    {COUNTS, "bodega.auth.tokens.refused", "{token}", "Tokens that were not good.", tokens_refused},
    {COUNTS, "bodega.auth.tokens.evicted", "{token}", "Verified tokens that made room for others.", tokens_evicted},
    {HOLDS, "bodega.auth.tokens.known", "{token}", "Verified tokens that are remembered.", tokens_known},
    {COUNTS, "bodega.auth.unauthenticated", "{call}", "Calls without a good token where one is needed.",
     calls_unauthenticated},
    {COUNTS, "bodega.auth.denied", "{call}", "Calls whose user or service may not do that.", calls_denied},
    {COUNTS, "bodega.auth.key_failures", "{try}", "Times that the keys of tokens could not be had.", key_failures},
};

static const struct observed of_issuer[] = {
    {COUNTS, "bodega.auth.hashes", "{hash}", "Password hashes computed.", hashes},
    {HOLDS, "bodega.auth.hashes.queue.size", "{hash}", "Passwords that wait to be hashed.", hashes_waiting},
    {COUNTS, "bodega.auth.hashes.refused", "{hash}", "Passwords not hashed because too many waited.", hashes_refused},
    {COUNTS, "bodega.auth.logins.throttled", "{login}", "Log-ins refused after too many wrong ones.", logins_throttled},
    {COUNTS, "bodega.auth.logins.forgotten", "{name}",
     "Accounts and addresses whose wrong log-ins were forgotten early.", logins_forgotten},
};

/* Instruments outlive the app: once it has ended they tell nothing any more. */
static void observe(struct otel_observation *observation, void *arg)
{
    const struct observed *observed = arg;
    otel_observation_add(observation, observed->value(the_app), NULL, 0);
}

static void watch_all(struct app *app, const struct observed *table, size_t count)
{
    struct otel_meter *meter = otel_meter("bodega.service", BODEGA_VERSION, NULL);
    for (size_t i = 0; i < count; i++) {
        const struct otel_instrument_options options = {.unit = table[i].unit, .description = table[i].description};
        app->observers[app->observer_count++] =
            otel_observe(meter, table[i].kind, table[i].name, &options, observe, (void *)(uintptr_t)&table[i]);
    }
}

void telemetry_watch(struct app *app)
{
    const struct service *service = app->service;
    _Static_assert(array_count(of_all) + array_count(of_http) + array_count(of_rpc) + array_count(of_peers) +
                           array_count(of_tls) + array_count(of_db) + array_count(of_streams) + array_count(of_auth) +
                           array_count(of_issuer) <=
                       OBSERVERS_MAX,
                   "each has its place");
    watch_all(app, of_all, array_count(of_all));
    if (service->http_listen)
        watch_all(app, of_http, array_count(of_http));
    if (service->rpc_listen)
        watch_all(app, of_rpc, array_count(of_rpc));
    if (service->peer_count)
        watch_all(app, of_peers, array_count(of_peers));
    if (app->identity)
        watch_all(app, of_tls, array_count(of_tls));
    if (service->database)
        watch_all(app, of_db, array_count(of_db));
    if (service->streams)
        watch_all(app, of_streams, array_count(of_streams));
    if (service->auth || service->internal_callers)
        watch_all(app, of_auth, array_count(of_auth));
    if (service->auth && service->auth->issuer)
        watch_all(app, of_issuer, array_count(of_issuer));
}

void telemetry_unwatch(struct app *app)
{
    while (app->observer_count > 0)
        otel_observe_stop(app->observers[--app->observer_count]);
}

/* --- the service's own words */

void request_attribute(struct request *req, const char *key, const char *value)
{
    otel_span_set(req->trace.span, otel_text(key, value));
}

static struct {
    _Atomic(const char *) name;
    const char *outcome;
    struct otel_bound_counter *counter;
} events[EVENTS_MAX];
static pthread_mutex_t events_lock = PTHREAD_MUTEX_INITIALIZER;

static struct otel_bound_counter *find_event(const char *name, const char *outcome, unsigned *out_free)
{
    unsigned i = 0;
    for (const char *known; i < EVENTS_MAX && (known = atomic_load_explicit(&events[i].name, memory_order_acquire));
         i++)
        if (strcmp(known, name) == 0 && strcmp(events[i].outcome, outcome) == 0)
            return events[i].counter;
    *out_free = i;
    return NULL;
}

static struct otel_meter *own_meter(void)
{
    return otel_meter(the_app ? the_app->service->name : "bodega", NULL, NULL);
}

static struct otel_bound_counter *add_event(const char *name, const char *outcome)
{
    const struct otel_instrument_options options = {.unit = "{event}", .description = "The shop's events, by outcome."};
    unsigned free_at;
    pthread_mutex_lock(&events_lock);
    struct otel_bound_counter *counter = find_event(name, outcome, &free_at);
    if (!counter && free_at < EVENTS_MAX) {
        counter =
            otel_counter_bind(otel_counter(own_meter(), name, &options), OTEL_LIST(otel_text("outcome", outcome)));
        events[free_at].outcome = outcome;
        events[free_at].counter = counter;
        atomic_store_explicit(&events[free_at].name, name, memory_order_release);
    }
    pthread_mutex_unlock(&events_lock);
    return counter;
}

void service_count(const char *name, const char *outcome)
{
    unsigned ignored;
    struct otel_bound_counter *counter = find_event(name, outcome, &ignored);
    if (!counter)
        counter = add_event(name, outcome);
    if (counter)
        otel_bound_add(counter, 1);
}

void service_level(const char *name, const char *unit, const char *description, double level)
{
    const struct otel_instrument_options options = {
        .unit = unit, .description = description, .number = OTEL_NUMBER_REAL};
    otel_gauge_set(otel_gauge(own_meter(), name, &options), level, NULL, 0);
}

/* --- the SDK */

enum err telemetry_start(const struct service *service, char *message, size_t message_bytes)
{
    static const double lag_bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1};
    const struct otel_instrument_options lag = {.unit = "s",
                                                .description = "How late a loop's timer fires: the loop was busy.",
                                                .number = OTEL_NUMBER_REAL,
                                                .bounds = lag_bounds,
                                                .bound_count = array_count(lag_bounds)};
    char path[512];
    const struct otel_options options = {.service_name = service->name,
                                         .service_version = service->version,
                                         .config_file = config_path("OTEL_CONFIG_FILE", "otel", path, sizeof path),
                                         .watch = true};
    enum err err = otel_start(&options, message, message_bytes);
    if (err)
        return err;
    otel_instrument_calls();
    otel_instrument_process();
    struct otel_meter *meter = otel_meter("bodega.service", BODEGA_VERSION, NULL);
    loop_lag = otel_histogram_bind(otel_histogram(meter, "bodega.loop.lag", &lag), NULL, 0);
    return ERR_OK;
}

void telemetry_stop(int timeout_ms)
{
    if (!otel_stop(timeout_ms))
        log_event(LOG_WARN, "not all telemetry could be sent before the end", log_int("timeout_ms", timeout_ms));
}
