/* From started to ready: migrations, then every dependency must have answered once, then the service's own
 * work begins. Afterwards the health service follows the database. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/offload.h"
#include "service/internal.h"

enum { CHECK_MS = 1000, PREPARE_MS = 5000, RETRY_FIRST_MS = 5, RETRY_MAX_MS = 500, WATCH_MS = 250 };

/* --- dependencies */

static enum err check_peers(struct request *req, const struct service *service)
{
    for (unsigned i = 0; i < service->peer_count; i++)
        if (!service->peers[i].optional && rpc_check(req, req->worker->peers[i]))
            return fail(req, ERR_UNAVAILABLE, "%s does not answer", service->peers[i].name);
    return ERR_OK;
}

static enum err check_dependencies(struct request *req, const struct service *service)
{
    if (service->database && !db_up(req->worker->db))
        return fail(req, ERR_UNAVAILABLE, "the database does not answer");
    if (service->streams && !stream_up(req->worker->stream))
        return fail(req, ERR_UNAVAILABLE, "redis does not answer");
    int64_t deadline_ns = req->deadline_ns;
    int64_t check_ns = clock_now_ns() + CHECK_MS * NS_PER_MS;
    if (check_ns < deadline_ns)
        req->deadline_ns = check_ns;
    enum err err = check_peers(req, service);
    req->deadline_ns = deadline_ns;
    return err;
}

enum err service_ready(struct request *req)
{
    if (atomic_load(&the_app->stopping))
        return fail(req, ERR_UNAVAILABLE, "this service is stopping");
    enum err err = check_dependencies(req, the_app->service);
    if (!err && !atomic_load(&the_app->ready))
        return fail(req, ERR_UNAVAILABLE, "this service is starting");
    return err;
}

/* --- steps, each tried again until it works or the process stops */

static void nap(struct app *app, int ms)
{
    struct fiber_wait wait = {0};
    app->watcher_sleep = &wait;
    if (!atomic_load(&app->stopping))
        fiber_wait(&wait, clock_now_ns() + ms * NS_PER_MS);
    app->watcher_sleep = NULL;
}

static enum err retry(struct app *app, struct request *req, enum err (*step)(struct app *app, struct request *req))
{
    bool told = false;
    int64_t begin_ns = clock_now_ns();
    for (int ms = RETRY_FIRST_MS;; ms = ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : ms * 2) {
        if (atomic_load(&app->stopping))
            return ERR_CANCELLED;
        enum err err = step(app, req);
        if (err != ERR_UNAVAILABLE)
            return err;
        if (!told && clock_now_ns() - begin_ns > NS_PER_S) {
            told = true;
            log_event(LOG_WARN, "waiting", log_text("reason", req->failure.detail));
        }
        arena_reset(req->arena);
        nap(app, ms);
    }
}

struct migration_run {
    const struct app *app;
    enum err err;
    char message[512];
};

static void run_migrations(void *arg)
{
    struct migration_run *run = arg;
    run->err = app_migrate(run->app, run->message, sizeof run->message);
}

static enum err migrate(struct app *app, struct request *req)
{
    struct migration_run run = {.app = app};
    enum err err = offload_run(req, run_migrations, &run);
    if (err)
        return err;
    return run.err ? fail(req, run.err, "%s", run.message) : ERR_OK;
}

static enum err prepare(struct app *app, struct request *req)
{
    req->deadline_ns = clock_now_ns() + PREPARE_MS * NS_PER_MS;
    return app->service->prepare(req);
}

static enum err answer_once(struct app *app, struct request *req)
{
    req->deadline_ns = clock_now_ns() + CHECK_MS * NS_PER_MS;
    return check_dependencies(req, app->service);
}

/* --- the fiber */

static void give_up(struct app *app, const struct request *req)
{
    uint64_t one = 1;
    log_event(LOG_ERROR, "cannot start", log_text("reason", req->failure.detail));
    atomic_store(&app->exit_status, 1);
    if (write(app->wake_fd, &one, sizeof one) < 0)
        abort();
}

/* gRPC's health follows the database, without which no call works; Redis may be away for a while. */
static void watch_database(struct app *app)
{
    bool serving = true;
    while (!atomic_load(&app->stopping)) {
        nap(app, WATCH_MS);
        bool up = !app->service->database || db_up(app->seats[0].worker->db);
        if (up == serving || !app->rpc || atomic_load(&app->stopping))
            continue;
        serving = up;
        rpc_server_serving(app->rpc, up);
        log_event(up ? LOG_INFO : LOG_WARN, up ? "serving again" : "not serving: the database does not answer");
    }
}

static enum err become_ready(struct app *app, struct request *req)
{
    enum err err = app->service->database ? retry(app, req, migrate) : ERR_OK;
    if (!err && app->service->prepare)
        err = retry(app, req, prepare);
    return err ? err : retry(app, req, answer_once);
}

void boot(void *arg)
{
    struct app *app = arg;
    struct arena arena;
    struct request req;
    int64_t begin_ns = clock_now_ns();
    arena_init(&arena, 4096);
    request_init(&req, &arena, app->seats[0].worker);
    enum err err = become_ready(app, &req);
    if (!err) {
        for (unsigned i = 0; i < app->seat_count; i++)
            seat_run(&app->seats[i], seat_start_work, NULL);
        atomic_store(&app->ready, true);
        if (app->rpc)
            rpc_server_serving(app->rpc, true);
        log_event(LOG_INFO, "ready", log_real("after_ms", (double)(clock_now_ns() - begin_ns) / 1e6));
        watch_database(app);
    } else if (err != ERR_CANCELLED) {
        give_up(app, &req);
    }
    arena_done(&arena);
    fiber_wake(&app->watcher_ended, ERR_OK);
}

void boot_stop(struct seat *first)
{
    struct app *app = first->app;
    if (first != &app->seats[0])
        return;
    if (app->watcher_sleep)
        fiber_wake(app->watcher_sleep, ERR_OK);
    fiber_wait(&app->watcher_ended, CLOCK_NEVER);
}
