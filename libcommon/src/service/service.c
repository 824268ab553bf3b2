/* The life of a service: settings, loops, boot, signals, drain, end. The main thread only waits and gives orders;
 * everything else happens on the loops. */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "auth/issuer.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/middleware.h"
#include "common/offload.h"
#include "service/internal.h"

enum { EXIT_FAILED = 1, EXIT_SETTINGS = 2, STEP_TIMEOUT_MS = 10000, NOTICE_MS = 200, NOTICE_MAX_MS = 2000 };
enum { WAIT_MAX_S = 3600, MIGRATE_NAP_MS = 200 };

struct app *the_app;

/* --- options */

struct options {
    const char *config_path;
    bool migrate_only, print_config, dead_letters, ready;
    int wait_s;         /* for the database, with migrate_only */
    const char *replay; /* of dead letters: an id or "all"; NULL: none */
};

static void print_help(const struct service *service, FILE *to)
{
    fprintf(to,
            "%s: %s\n\n"
            "usage: %s [--config FILE] [--migrate-only [--wait SECONDS] | --print-config | --ready]\n"
            "       %s [--config FILE] --dead-letters | --replay-dead-letters ID|all\n"
            "       %s --version | --licenses | --help\n\n"
            "  --config FILE    settings; otherwise $BODEGA_CONFIG_FILE, otherwise /etc/bodega/%s.yaml if it exists\n"
            "  --migrate-only   bring the database up to date and exit\n"
            "  --wait SECONDS   with --migrate-only: how long a database that is away is waited for; 0 if not given\n"
            "  --print-config   print every setting with its built-in value and its environment variable\n"
            "  --dead-letters   print the messages that its consumers gave up, and exit\n"
            "  --replay-dead-letters ID|all\n"
            "                   put one of them, or all, back at the end of their stream, and exit\n"
            "  --ready          ask the one that runs here, by its admin port: exit status 0 when it is ready\n"
            "  --version        print the version\n"
            "  --licenses       print the licences of this program and of all that is linked into it\n"
            "  --help           print this\n\n"
            "exit status: 0 after SIGTERM or SIGINT, 1 when it failed, 2 for wrong options, settings or addresses\n",
            service->name, service->about, service->name, service->name, service->name, service->name);
}

static bool read_wait(const struct service *service, const char *text, int *out)
{
    char *end;
    long seconds = strtol(text, &end, 10);
    if (end == text || *end || seconds < 0 || seconds > WAIT_MAX_S) {
        fprintf(stderr, "%s: --wait: expected seconds from 0 to %d, got \"%s\"\n", service->name, WAIT_MAX_S, text);
        return false;
    }
    *out = (int)seconds;
    return true;
}

/* Returns -1 to go on, otherwise the exit status. */
static int read_options(const struct service *service, int argc, char **argv, struct options *out)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"migrate-only", no_argument, NULL, 'm'},
        {"wait", required_argument, NULL, 'w'},
        {"print-config", no_argument, NULL, 'p'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {"dead-letters", no_argument, NULL, 'd'},
        {"replay-dead-letters", required_argument, NULL, 'r'},
        {"ready", no_argument, NULL, 'a'},
        {"licenses", no_argument, NULL, 'l'},
        {0},
    };
    argv[0] = (char *)(uintptr_t)service->name; /* as getopt's own messages begin */
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 'c':
            out->config_path = optarg;
            break;
        case 'm':
            out->migrate_only = true;
            break;
        case 'w':
            if (!read_wait(service, optarg, &out->wait_s))
                return EXIT_SETTINGS;
            break;
        case 'p':
            out->print_config = true;
            break;
        case 'd':
            out->dead_letters = true;
            break;
        case 'r':
            out->dead_letters = true;
            out->replay = optarg;
            if (dead_letter_named(optarg))
                break;
            fprintf(stderr, "%s: --replay-dead-letters: expected an id such as 1795377911950-0, or all, got \"%s\"\n",
                    service->name, optarg);
            return EXIT_SETTINGS;
        case 'a':
            out->ready = true;
            break;
        case 'v':
            printf("%s %s\n", service->name, service->version);
            return 0;
        case 'l':
            fputs(service->notices ? service->notices : "", stdout);
            return 0;
        case 'h':
            print_help(service, stdout);
            return 0;
        default:
            print_help(service, stderr);
            return EXIT_SETTINGS;
        }
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "%s: unexpected argument \"%s\"; see --help\n", service->name, argv[optind]);
    return EXIT_SETTINGS;
}

/* --- settings */

static int load_settings(struct app *app, const struct options *options)
{
    char path[512], message[1024];
    size_t count;
    const struct service *service = app->service;
    scoped_free struct setting *table = settings_table(service, &count);
    if (options->print_config) {
        config_print(table, count, stdout);
        return 0;
    }
    size_t bytes = service->settings_bytes ? service->settings_bytes : sizeof *app->settings;
    app->settings = mem_alloc(bytes);
    const char *file = options->config_path ? options->config_path
                                            : config_path("BODEGA_CONFIG_FILE", service->name, path, sizeof path);
    if (config_load(&app->config, file, table, count, app->settings, message, sizeof message)) {
        fprintf(stderr, "%s: %s\n", service->name, message);
        return EXIT_SETTINGS;
    }
    log_init(service->name, (enum log_level)app->settings->log_level);
    return -1;
}

enum err app_migrate(const struct app *app, char *message, unsigned message_bytes)
{
    return db_migrate(&app->settings->db, app->service->migrations, app->service->migration_count, message,
                      message_bytes);
}

static void exit_at_once(int signal)
{
    (void)signal;
    _exit(EXIT_FAILED);
}

static enum err migrate_within(const struct app *app, int wait_s, char *message, unsigned message_bytes)
{
    int64_t until_ns = clock_now_ns() + wait_s * NS_PER_S;
    for (bool told = false;; told = true) {
        enum err err = app_migrate(app, message, message_bytes);
        if (err != ERR_UNAVAILABLE || clock_now_ns() >= until_ns)
            return err;
        if (!told)
            fprintf(stderr, "%s: waiting: %s\n", app->service->name, message);
        nanosleep(&(struct timespec){.tv_nsec = MIGRATE_NAP_MS * NS_PER_MS}, NULL);
    }
}

static int migrate_and_exit(struct app *app, int wait_s)
{
    char message[512];
    /* As a container's first process it would not be ended by a signal that it does not handle. */
    signal(SIGTERM, exit_at_once);
    if (!app->service->database) {
        printf("%s: has no database\n", app->service->name);
        return 0;
    }
    if (migrate_within(app, wait_s, message, sizeof message)) {
        fprintf(stderr, "%s: %s\n", app->service->name, message);
        return EXIT_FAILED;
    }
    printf("%s: the database is up to date\n", app->service->name);
    return 0;
}

static int handle_dead_letters(const struct app *app, const struct options *options)
{
    if (app->service->consumer_count > 0)
        return dead_letters(app, options->replay) ? EXIT_FAILED : 0;
    printf("%s: has no consumers, and so no dead letters\n", app->service->name);
    return 0;
}

/* --- loops */

static void *run_seat(void *arg)
{
    struct seat *seat = arg;
    loop_run(seat->worker->loop);
    return NULL;
}

static bool start_loops(struct app *app)
{
    app->seat_count = (unsigned)app->settings->loops;
    app->seats = mem_array(app->seat_count, sizeof app->seats[0]);
    app->workers = mem_array(app->seat_count, sizeof app->workers[0]);
    for (unsigned i = 0; i < app->seat_count; i++) {
        struct seat *seat = &app->seats[i];
        *seat = (struct seat){
            .app = app, .number = i, .worker = &app->workers[i], .figures_lock = PTHREAD_MUTEX_INITIALIZER};
        seat->worker->loop = loop_new();
        if (!seat->worker->loop || pthread_create(&seat->thread, NULL, run_seat, seat) != 0) {
            log_event(LOG_ERROR, "cannot start a loop", log_text("reason", strerror(errno)));
            return false;
        }
    }
    return true;
}

static void stop_loops(struct app *app)
{
    for (unsigned i = 0; i < app->seat_count; i++) {
        loop_stop(app->seats[i].worker->loop);
        pthread_join(app->seats[i].thread, NULL);
        loop_free(app->seats[i].worker->loop);
    }
    free(app->seats);
    free(app->workers);
}

static bool open_servers(struct app *app)
{
    const struct service *service = app->service;
    bool ok = seats_run(app, seat_open, STEP_TIMEOUT_MS);
    for (unsigned i = 0; i < app->seat_count; i++)
        ok = ok && app->seats[i].err == ERR_OK;
    if (ok && service->rpc_listen)
        ok = rpc_server_open(&app->rpc, &app->settings->rpc, service->methods, service->method_count, app->workers,
                             app->seat_count) == ERR_OK;
    addresses_release(app); /* the servers have them now */
    return ok;
}

static void boot_first(struct seat *seat)
{
    if (seat->number == 0)
        fiber_start(seat->worker->loop, boot, seat->app);
}

/* --- the end */

static sigset_t stop_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

/* Until a signal, or until the start has failed. From then on a signal ends the process at once. */
static void wait_for_the_end(struct app *app, int signal_fd)
{
    struct pollfd events[] = {{.fd = signal_fd, .events = POLLIN}, {.fd = app->wake_fd, .events = POLLIN}};
    while (poll(events, array_count(events), -1) < 0 && errno == EINTR)
        ;
    struct signalfd_siginfo taken = {0};
    if (events[0].revents && read(signal_fd, &taken, sizeof taken) == sizeof taken)
        log_event(LOG_INFO, "stopping", log_text("signal", taken.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM"));
    const struct sigaction at_once = {.sa_handler = exit_at_once};
    sigset_t set = stop_signals();
    sigaction(SIGTERM, &at_once, NULL);
    sigaction(SIGINT, &at_once, NULL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void rpc_drained(void *arg)
{
    struct app *app = arg;
    counter_add(&app->drained);
}

/* Clients that watch are told, and go elsewhere, before their connections are ended: a call that meets the end of a
 * connection on its way is lost. So we wait until no more calls come, or for so long as a client may be expected to
 * take. */
static void give_notice(struct app *app, int64_t until_ns)
{
    rpc_server_serving(app->rpc, false);
    if (rpc_server_watchers(app->rpc) == 0)
        return;
    int64_t longest_ns = clock_now_ns() + NOTICE_MAX_MS * NS_PER_MS;
    uint64_t before;
    do {
        before = rpc_server_stats(app->rpc).started;
        int64_t left_ms = ((until_ns < longest_ns ? until_ns : longest_ns) - clock_now_ns()) / NS_PER_MS;
        if (left_ms <= 0)
            return;
        poll(NULL, 0, left_ms < NOTICE_MS ? (int)left_ms : NOTICE_MS);
    } while (rpc_server_stats(app->rpc).started > before);
}

/* No new work; what runs gets its time. */
static void drain(struct app *app)
{
    int64_t until_ns = clock_now_ns() + app->settings->drain_timeout_ms * NS_PER_MS;
    unsigned waiting = app->service->http_listen ? app->seat_count : 0;
    if (app->rpc) {
        give_notice(app, until_ns);
        rpc_server_drain(app->rpc, rpc_drained, app);
        waiting++;
    }
    if (app->service->http_listen)
        seats_run(app, seat_drain_http, STEP_TIMEOUT_MS);
    for (; waiting > 0; waiting--) {
        if (!counter_take(&app->drained, until_ns)) {
            log_event(LOG_WARN, "requests are cut off", log_int("drain_timeout_ms", app->settings->drain_timeout_ms));
            return;
        }
    }
}

static void close_all(struct app *app)
{
    if (app->rpc)
        rpc_server_close(app->rpc);
    if (!seats_run(app, boot_stop, STEP_TIMEOUT_MS) || !seats_run(app, seat_close, STEP_TIMEOUT_MS)) {
        log_event(LOG_ERROR, "background work does not end");
        _exit(EXIT_FAILED);
    }
}

/* --- the whole */

static bool issues_tokens(const struct app *app)
{
    return app->service->auth && app->service->auth->issuer;
}

/* Verifiers look once a second whether it is time to ask for the keys. */
static bool open_issuer(struct app *app)
{
    char message[1024];
    app->settings->issuer.settle_ms = 2 * app->settings->auth_keys_refresh_ms + 2000;
    if (!issues_tokens(app) || issuer_open(&app->settings->issuer, message, sizeof message) == ERR_OK)
        return true;
    fprintf(stderr, "%s: %s\n", app->service->name, message);
    return false;
}

static int run(struct app *app, int signal_fd)
{
    middleware_use(&access_log);
    middleware_use(&start_gate);
    middleware_use(&gate_keeper);
    if (!open_issuer(app))
        return EXIT_SETTINGS;
    offload_start((unsigned)app->settings->offload_threads, (unsigned)app->settings->offload_queue_max);
    if (!start_loops(app))
        return EXIT_FAILED;
    telemetry_watch(app);
    int status = EXIT_SETTINGS;
    if (open_servers(app)) {
        seats_run(app, boot_first, STEP_TIMEOUT_MS);
        wait_for_the_end(app, signal_fd);
        atomic_store(&app->stopping, true);
        drain(app);
        status = atomic_load(&app->exit_status);
    } else {
        atomic_store(&app->stopping, true);
        app->watcher_ended.done = true;
    }
    telemetry_unwatch(app); /* whoever collects reads what is closed next */
    close_all(app);
    offload_stop(); /* its threads post to the loops */
    if (issues_tokens(app))
        issuer_close(); /* the same */
    stop_loops(app);
    return status;
}

static int run_service(struct app *app)
{
    sigset_t set = stop_signals();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    int signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    app->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (signal_fd < 0 || app->wake_fd < 0) {
        log_event(LOG_ERROR, "cannot start", log_text("reason", strerror(errno)));
        return EXIT_FAILED;
    }
    char message[1024];
    int status = EXIT_SETTINGS;
    if (settings_identity(app->service, app->settings, &app->identity, message, sizeof message) ||
        telemetry_start(app->service, message, sizeof message)) {
        fprintf(stderr, "%s: %s\n", app->service->name, message);
    } else {
        enum err err = addresses_hold(app, signal_fd);
        if (!err)
            status = run(app, signal_fd);
        else if (err == ERR_CANCELLED)
            status = 0;
        addresses_release(app);
        if (status == 0)
            log_event(LOG_INFO, "stopped");
        telemetry_stop(app->settings->flush_timeout_ms);
    }
    rpc_identity_close(app->identity);
    close(signal_fd);
    close(app->wake_fd);
    return status;
}

int service_main(const struct service *service, int argc, char **argv)
{
    struct options options = {0};
    struct app app = {.service = service};
    assert(service->peer_count <= PEERS_MAX && service->consumer_count <= CONSUMERS_MAX);
    int status = read_options(service, argc, argv, &options);
    if (status < 0)
        status = load_settings(&app, &options);
    if (status < 0 && options.migrate_only) {
        status = migrate_and_exit(&app, options.wait_s);
    } else if (status < 0 && options.dead_letters) {
        status = handle_dead_letters(&app, &options);
    } else if (status < 0 && options.ready) {
        status = probe_ready(service, app.settings) ? 0 : EXIT_FAILED;
    } else if (status < 0) {
        counter_init(&app.step_done);
        counter_init(&app.drained);
        the_app = &app;
        status = run_service(&app);
        counter_done(&app.step_done);
        counter_done(&app.drained);
    }
    config_free(app.config);
    free(app.settings);
    return status;
}
