#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "service/internal.h"

static void open_peers(struct seat *seat)
{
    const struct service *service = seat->app->service;
    const struct service_settings *settings = seat->app->settings;
    for (unsigned i = 0; i < service->peer_count; i++) {
        seat->peer_settings[i] = settings->peer;
        seat->peer_settings[i].target = settings->peer_targets[i];
        seat->peer_settings[i].peer_name = settings->peer_names[i];
        seat->peers[i] = rpc_client_open(seat->worker->loop, service->peers[i].name, &seat->peer_settings[i]);
    }
    seat->worker->peers = seat->peers;
}

void seat_open(struct seat *seat)
{
    const struct service *service = seat->app->service;
    const struct service_settings *settings = seat->app->settings;
    seat->worker->settings = settings;
    if (service->database)
        seat->worker->db = db_open(seat->worker->loop, &settings->db);
    if (service->streams)
        seat->worker->stream = stream_open(seat->worker->loop, &settings->stream);
    open_peers(seat);
    seat->worker->gate = gate_open(service, settings);
    bool usable = (!service->database || seat->worker->db) && (!service->streams || seat->worker->stream);
    if (!usable)
        seat->err = ERR_INVALID_ARGUMENT; /* an unusable URL; its module has said why */
    else if (service->http_listen)
        seat->err = http_server_open(&seat->http, seat->worker, &settings->http, service->routes, service->route_count);
    if (!seat->err && seat->number == 0 && !seat->app->without_admin)
        seat->err = admin_open(seat);
    telemetry_watch_seat(seat);
}

/* Unique in the group, and the same again after a restart where host name and process number are, as in a pod:
 * so that a consumer takes up what it left. */
static void name_consumer(struct seat *seat, unsigned index)
{
    char host[65] = "";
    gethostname(host, sizeof host - 1);
    snprintf(seat->consumer_names[index], sizeof seat->consumer_names[index], "%s-%d-%u", host, (int)getpid(),
             seat->number);
}

static void start_consumer(struct seat *seat, unsigned index)
{
    const struct service_consumer *consumer = &seat->app->service->consumers[index];
    const struct service_settings *settings = seat->app->settings;
    name_consumer(seat, index);
    snprintf(seat->dead_keys[index], sizeof seat->dead_keys[index], "%s:dead", consumer->key);
    seat->consumer_settings[index] = (struct stream_consumer_settings){
        .key = consumer->key,
        .group = consumer->group,
        .name = seat->consumer_names[index],
        .batch = (unsigned)settings->consumer_batch,
        .block_ms = 2000,
        .claim_idle_ms = settings->consumer_claim_idle_ms,
        .deliveries_max = (unsigned)settings->consumer_deliveries_max,
        .dead_key = seat->dead_keys[index],
    };
    seat->consumers[index] = stream_consume(seat->worker, &seat->consumer_settings[index], consumer->handler);
}

static unsigned list_tasks(struct seat *seat)
{
    const struct service *service = seat->app->service;
    unsigned count = service->task_count;
    seat->tasks = mem_array(count + 1, sizeof *seat->tasks);
    for (unsigned i = 0; i < count; i++)
        seat->tasks[i] = service->tasks[i];
    if (service->auth && seat->app->settings->auth_mode != AUTH_OFF)
        seat->tasks[count++] = gate_task;
    return count;
}

void seat_start_work(struct seat *seat)
{
    const struct service *service = seat->app->service;
    unsigned tasks = list_tasks(seat);
    seat->worker->background = background_start(seat->worker, seat->tasks, tasks);
    for (unsigned i = 0; i < service->consumer_count; i++)
        start_consumer(seat, i);
}

static void http_drained(void *arg)
{
    struct seat *seat = arg;
    counter_add(&seat->app->drained);
}

void seat_drain_http(struct seat *seat)
{
    if (seat->http)
        http_server_drain(seat->http, http_drained, seat);
}

void seat_close(struct seat *seat)
{
    for (unsigned i = 0; i < array_count(seat->consumers); i++)
        if (seat->consumers[i])
            stream_consumer_stop(seat->consumers[i]);
    background_stop(seat->worker->background);
    seat->worker->background = NULL; /* requests that are cut off may still wake it */
    free(seat->tasks);
    telemetry_leave_seat(seat);
    if (seat->number == 0)
        http_server_close(seat->app->admin);
    http_server_close(seat->http);
    for (unsigned i = 0; i < array_count(seat->peers); i++)
        if (seat->peers[i])
            rpc_client_close(seat->peers[i]);
    gate_close(seat->worker->gate);
    if (seat->worker->stream)
        stream_close(seat->worker->stream);
    if (seat->worker->db)
        db_close(seat->worker->db);
}

/* --- steps on every loop */

struct step {
    struct loop_task task;
    struct seat *seat;
    void (*fn)(struct seat *seat);
    struct counter *done;
};

static void step_fiber(void *arg)
{
    struct step *step = arg;
    struct counter *done = step->done;
    step->fn(step->seat);
    free(step);
    if (done)
        counter_add(done);
}

static void step_begin(struct loop_task *task)
{
    struct step *step = container_of(task, struct step, task);
    fiber_start(step->seat->worker->loop, step_fiber, step);
}

void seat_run(struct seat *seat, void (*fn)(struct seat *seat), struct counter *done)
{
    struct step *step = mem_alloc(sizeof *step);
    *step = (struct step){.task.run = step_begin, .seat = seat, .fn = fn, .done = done};
    loop_post(seat->worker->loop, &step->task);
}

bool seats_run(struct app *app, void (*fn)(struct seat *seat), int timeout_ms)
{
    int64_t until_ns = clock_now_ns() + timeout_ms * NS_PER_MS;
    /* One after the other: the first finds out whether an address is free, the others share it. */
    for (unsigned i = 0; i < app->seat_count; i++) {
        seat_run(&app->seats[i], fn, &app->step_done);
        if (!counter_take(&app->step_done, until_ns))
            return false;
    }
    return true;
}
