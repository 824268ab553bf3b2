#include "common/rpc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "rpc/channel.h"
#include "rpc/health.h"
#include "rpc/identity.h"
#include "rpc/serving.h"

enum { REQUESTS_LEAST = 128, PLACES = 64, PLACES_RARE = 8, HANDSHAKE_TIMEOUT_MS = 10000, PING_INTERVAL_MS_MAX = 5000 };

/* --- setting up */

static void entry_register(struct rpc_server *server, struct rpc_entry *entry)
{
    char *path = mem_print("/%s", entry->method.procedure.name);
    entry->registered =
        grpc_server_register_method(server->core, path, NULL, GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    assert(entry->registered); /* twice in the table */
    free(path);
}

static void set_entries(struct rpc_server *server, const struct rpc_method *methods, unsigned count)
{
    const struct rpc_entry own[] = {
        {.method = {rpc_health_check, rpc_answer_health_check}, .arrived = rpc_arrived, .internal = true},
        {.method = {rpc_health_watch, NULL}, .arrived = rpc_watch_arrived, .internal = true},
        {.arrived = rpc_unknown_arrived},
    };
    server->entry_count = count + array_count(own);
    server->entries = mem_array(server->entry_count, sizeof *server->entries);
    for (unsigned i = 0; i < count; i++)
        server->entries[i] = (struct rpc_entry){.method = methods[i], .arrived = rpc_arrived, .places = PLACES};
    for (unsigned i = 0; i < array_count(own); i++) {
        server->entries[count + i] = own[i];
        server->entries[count + i].places = PLACES_RARE;
    }
    for (unsigned i = 0; i < server->entry_count; i++)
        if (server->entries[i].method.procedure.name)
            entry_register(server, &server->entries[i]);
}

static grpc_server *core_new(const struct rpc_server_settings *settings)
{
    struct rpc_args args = {0};
    rpc_args_common(&args, settings->message_bytes_max, settings->keepalive_ms);
    rpc_args_int(&args, GRPC_ARG_MAX_CONCURRENT_STREAMS, settings->streams_max);
    rpc_args_int(&args, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS);
    /* One owner of an address: with port sharing a second server would take half of the calls in silence. */
    rpc_args_int(&args, GRPC_ARG_ALLOW_REUSEPORT, 0);
    if (settings->keepalive_ms > 0) {
        int half_ms = settings->keepalive_ms / 2;
        rpc_args_int(&args, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                     half_ms < PING_INTERVAL_MS_MAX ? half_ms : PING_INTERVAL_MS_MAX);
    }
    if (settings->connection_age_ms > 0) {
        rpc_args_int(&args, GRPC_ARG_MAX_CONNECTION_AGE_MS, settings->connection_age_ms);
        rpc_args_int(&args, GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, settings->deadline_ms);
    }
    grpc_channel_args core_args = rpc_args_core(&args);
    return grpc_server_create(&core_args, NULL);
}

static bool bind_address(struct rpc_server *server)
{
    char *address = rpc_listen_address(server->settings->listen);
    grpc_server_credentials *credentials = rpc_server_credentials(server->settings->identity, server->settings->allow);
    server->port = grpc_server_add_http2_port(server->core, address, credentials);
    grpc_server_credentials_release(credentials);
    free(address);
    return server->port > 0;
}

static void tell(struct loop_task *task)
{
    struct rpc_lane *lane = container_of(task, struct rpc_lane, tell);
    atomic_store(&lane->told, false);
    rpc_watchers_tell(lane);
}

static void lane_init(struct rpc_lane *lane, struct rpc_server *server, const struct worker *worker)
{
    lane->server = server;
    lane->worker = worker;
    lane->queue = rpc_queue_take(worker->loop);
    lane->tell.run = tell;
    list_init(&lane->watchers);
}

static void lane_done(struct rpc_lane *lane)
{
    for (unsigned i = 0; i < lane->place_count; i++) {
        grpc_metadata_array_destroy(&lane->places[i].metadata);
        grpc_call_details_destroy(&lane->places[i].details);
    }
    free(lane->places);
    for (struct rpc_serving *serving = lane->spare, *next; serving; serving = next) {
        next = serving->next;
        rpc_serving_free(serving);
    }
    rpc_queue_give(lane->queue);
}

static void add_places(struct rpc_lane *lane, const struct rpc_entry *entry)
{
    for (unsigned i = 0; i < entry->places; i++) {
        struct rpc_place *place = &lane->places[lane->place_count++];
        place->lane = lane;
        place->entry = entry;
        grpc_metadata_array_init(&place->metadata);
        grpc_call_details_init(&place->details);
    }
}

/* All of a lane's places are counted before the first call can arrive. */
static void lane_open(struct rpc_lane *lane)
{
    const struct rpc_server *server = lane->server;
    unsigned count = 0;
    for (unsigned i = 0; i < server->entry_count; i++)
        count += server->entries[i].places;
    lane->places = mem_array(count, sizeof *lane->places);
    for (unsigned i = 0; i < server->entry_count; i++)
        add_places(lane, &server->entries[i]);
    lane->out = lane->place_count;
    if (lane == server->lanes)
        lane->out++; /* for the end of the drain */
    for (unsigned i = 0; i < lane->place_count; i++)
        rpc_place_post(&lane->places[i]);
}

static void server_free(struct rpc_server *server)
{
    grpc_server_destroy(server->core);
    for (unsigned i = 0; i < server->lane_count; i++)
        lane_done(&server->lanes[i]);
    sem_destroy(&server->home);
    free(server->entries);
    free(server->lanes);
    free(server);
}

enum err rpc_server_open(struct rpc_server **out, const struct rpc_server_settings *settings,
                         const struct rpc_method *methods, unsigned method_count, const struct worker *workers,
                         unsigned worker_count)
{
    struct rpc_server *server = mem_alloc(sizeof *server);
    server->settings = settings;
    limit_init(&server->requests, REQUESTS_LEAST, (unsigned)settings->requests_max, settings->latency_target_ms);
    server->lane_count = worker_count;
    server->lanes = mem_array(worker_count, sizeof *server->lanes);
    atomic_store(&server->lanes_out, worker_count);
    sem_init(&server->home, 0, 0);
    for (unsigned i = 0; i < worker_count; i++)
        lane_init(&server->lanes[i], server, &workers[i]);
    server->core = core_new(settings);
    for (unsigned i = 0; i < worker_count; i++)
        grpc_server_register_completion_queue(server->core, rpc_queue_core(server->lanes[i].queue), NULL);
    set_entries(server, methods, method_count);
    if (!bind_address(server)) {
        log_event(LOG_ERROR, "cannot listen", log_text("address", settings->listen),
                  log_text("reason", "the address is taken or not this machine's"));
        server_free(server);
        return ERR_UNAVAILABLE;
    }
    grpc_server_start(server->core);
    for (unsigned i = 0; i < worker_count; i++)
        lane_open(&server->lanes[i]);
    *out = server;
    return ERR_OK;
}

int rpc_server_port(const struct rpc_server *server)
{
    return server->port;
}

/* --- serving status */

static void tell_lanes(struct rpc_server *server)
{
    for (unsigned i = 0; i < server->lane_count; i++)
        if (!atomic_exchange(&server->lanes[i].told, true))
            loop_post(server->lanes[i].worker->loop, &server->lanes[i].tell);
}

void rpc_server_serving(struct rpc_server *server, bool serving)
{
    if (atomic_exchange(&server->serving, serving) != serving)
        tell_lanes(server);
}

unsigned rpc_server_watchers(const struct rpc_server *server)
{
    return atomic_load(&server->watchers);
}

/* --- the end: when every place, call and watcher of every lane has come home */

static void report(struct loop_task *task)
{
    struct rpc_server *server = container_of(task, struct rpc_server, report);
    if (server->done)
        server->done(server->done_arg);
    sem_post(&server->home);
}

void rpc_lane_leave(struct rpc_lane *lane)
{
    struct rpc_server *server = lane->server;
    if (--lane->out > 0 || atomic_fetch_sub(&server->lanes_out, 1) > 1)
        return;
    server->report.run = report;
    loop_post(server->lanes[0].worker->loop, &server->report);
}

static void drained(struct loop_task *task)
{
    struct rpc_server *server = container_of(task, struct rpc_server, drained.task);
    rpc_lane_leave(&server->lanes[0]);
}

void rpc_server_drain(struct rpc_server *server, void (*done)(void *arg), void *arg)
{
    assert(!atomic_load(&server->draining));
    server->done = done;
    server->done_arg = arg;
    atomic_store(&server->draining, true);
    void *tag = rpc_operation_begin(&server->drained, drained);
    grpc_server_shutdown_and_notify(server->core, rpc_queue_core(server->lanes[0].queue), tag);
    tell_lanes(server);
}

struct barrier {
    struct loop_task task;
    sem_t passed;
};

static void pass(struct loop_task *task)
{
    struct barrier *barrier = container_of(task, struct barrier, task);
    sem_post(&barrier->passed);
}

/* Whatever was posted before has run. */
static void wait_for_loop(struct loop *loop)
{
    struct barrier barrier = {.task.run = pass};
    sem_init(&barrier.passed, 0, 0);
    loop_post(loop, &barrier.task);
    while (sem_wait(&barrier.passed) < 0)
        ;
    sem_destroy(&barrier.passed);
}

void rpc_server_close(struct rpc_server *server)
{
    if (!server)
        return;
    if (!atomic_load(&server->draining))
        rpc_server_drain(server, NULL, NULL);
    grpc_server_cancel_all_calls(server->core);
    while (sem_wait(&server->home) < 0)
        ;
    for (unsigned i = 0; i < server->lane_count; i++)
        wait_for_loop(server->lanes[i].worker->loop);
    server_free(server);
}

/* --- figures */

struct rpc_stats rpc_server_stats(const struct rpc_server *server)
{
    struct rpc_stats stats = {.in_flight = limit_in_flight(&server->requests), .limit = limit_now(&server->requests)};
    for (unsigned i = 0; i < server->lane_count; i++) {
        const struct rpc_counters *c = &server->lanes[i].counters;
        stats.started += atomic_load_explicit(&c->started, memory_order_relaxed);
        stats.ended += atomic_load_explicit(&c->ended, memory_order_relaxed);
        stats.failed += atomic_load_explicit(&c->failed, memory_order_relaxed);
        stats.refused += atomic_load_explicit(&c->refused, memory_order_relaxed);
    }
    return stats;
}
