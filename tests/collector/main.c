#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "collector/collector.h"
#include "common/log.h"
#include "common/mem.h"

enum { HOUR_MS = 3600 * 1000, STARTING_FAULTS_MAX = 8, MEMORY_KEPT_BYTES = 32 << 20 };

static const char help[] =
    "otlp-collector: receives OTLP traces, metrics and logs, keeps the last of them and shows them.\n"
    "\n"
    "  --grpc ADDR       OTLP/gRPC, default 127.0.0.1:4317; \"\" for none, port 0 for a free one\n"
    "  --http ADDR       OTLP/HTTP (POST /v1/traces, /v1/metrics, /v1/logs), default 127.0.0.1:4318\n"
    "  --page ADDR       pages and JSON API, default 127.0.0.1:16686\n"
    "  --tls-cert FILE   PEM; OTLP is then taken over TLS alone\n"
    "  --tls-key FILE    PEM\n"
    "  --client-ca FILE  PEM; clients must then have a certificate of it\n"
    "  --fault JSON      as POST /faults takes it; may be given several times\n"
    "  --traces N        how many are kept, 1 to 100000, default 1000\n"
    "  --discard         accept without a look and keep nothing, for load tests\n"
    "  --quiet           no log lines\n"
    "  --help\n"
    "\n"
    "API: GET /api/traces?service=&limit=  /api/traces/ID  /api/logs?trace_id=&service=&limit=\n"
    "     GET /api/metrics?name=&service=&limit=  /counts  /faults\n"
    "     GET /api/wait?spans=&points=&logs=&requests=&held=&trace_id=&timeout_ms=\n"
    "         answers as soon as so many have come since the start or the wipe, 504 when the time is over\n"
    "     POST /faults {kind: fail, hang, partial or slow; signal: traces, metrics or logs; protocol: grpc or http;\n"
    "         requests: so many; code: of gRPC; status: of HTTP; retry_after; retry_delay_ms; delay_ms; rejected;\n"
    "         message}\n"
    "     DELETE /faults (what hangs is answered UNAVAILABLE)  DELETE /api/data\n";

struct options {
    const char *grpc, *http, *page;
    struct tls_files tls;
    const char *faults[STARTING_FAULTS_MAX];
    unsigned fault_count;
    long traces;
    bool quiet, discard;
};

struct house {
    struct options options;
    struct collector collector;
    struct http_settings http_settings, page_settings;
    struct grpc_end *grpc;
    struct http_server *http, *page;
    struct tls_end *tls;
    struct loop_watch signals;
    struct loop_task start;
    bool ending;
    int status;
};

/* --- opening */

static struct http_settings settings_for(const char *listen, int body_bytes_max)
{
    return (struct http_settings){
        .listen = listen,
        .body_bytes_max = body_bytes_max,
        .header_bytes_max = 16384,
        .uri_bytes_max = 8192,
        .connections_max = 512,
        .requests_max = 512,
        .receive_timeout_ms = 30000,
        .keepalive_timeout_ms = 120000,
        .deadline_ms = HOUR_MS, /* a hang is one */
    };
}

static bool open_http(struct house *house)
{
    struct options *options = &house->options;
    bool tls = options->tls.certificate != NULL;
    house->http_settings = settings_for(tls ? "127.0.0.1:0" : options->http, MESSAGE_BYTES_MAX);
    if (http_server_open(&house->http, &house->collector.worker, &house->http_settings, otlp_routes,
                         otlp_route_count) != ERR_OK)
        return false;
    if (!tls)
        return true;
    house->tls = tls_end_open(&house->collector, options->http, &options->tls, http_server_port(house->http));
    return house->tls != NULL;
}

static bool open_page(struct house *house)
{
    house->page_settings = settings_for(house->options.page, 65536);
    return http_server_open(&house->page, &house->collector.worker, &house->page_settings, page_routes,
                            page_route_count) == ERR_OK;
}

static bool open_ends(struct house *house)
{
    const struct options *options = &house->options;
    if (*options->grpc) {
        house->grpc = grpc_end_open(&house->collector, options->grpc, &options->tls);
        if (!house->grpc)
            return false;
    }
    return (!*options->http || open_http(house)) && (!*options->page || open_page(house));
}

static bool add_faults(struct house *house)
{
    struct arena arena;
    struct request req;
    bool good = true;
    arena_init(&arena, 1024);
    request_init(&req, &arena, &house->collector.worker);
    for (unsigned i = 0; good && i < house->options.fault_count; i++) {
        const char *text = house->options.faults[i];
        good = faults_add(&req, &house->collector.faults, (struct bytes){text, strlen(text)}) == ERR_OK;
        if (!good)
            fprintf(stderr, "otlp-collector: --fault: %s\n", req.failure.detail);
    }
    arena_done(&arena);
    return good;
}

/* The address with the port that was really taken. */
static void print_address(const char *name, const char *listen, int port)
{
    if (port > 0)
        printf(" %s=%.*s:%d", name, (int)(strrchr(listen, ':') - listen), listen, port);
}

static void announce(const struct house *house)
{
    const struct options *options = &house->options;
    int http_port = house->tls ? tls_end_port(house->tls) : house->http ? http_server_port(house->http) : 0;
    printf("otlp-collector");
    print_address("grpc", options->grpc, grpc_end_port(house->grpc));
    print_address("http", options->http, http_port);
    print_address("page", options->page, house->page ? http_server_port(house->page) : 0);
    printf("\n");
    fflush(stdout);
}

/* --- ending */

static void end(void *arg)
{
    struct house *house = arg;
    faults_clear(&house->collector.faults);
    grpc_end_close(house->grpc);
    tls_end_close(house->tls);
    http_server_close(house->http);
    http_server_close(house->page);
    loop_watch(house->collector.worker.loop, &house->signals, 0);
    loop_stop(house->collector.worker.loop);
}

static void end_once(struct house *house)
{
    if (!house->ending)
        fiber_start(house->collector.worker.loop, end, house);
    house->ending = true;
}

static void signalled(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct signalfd_siginfo info;
    if (read(watch->fd, &info, sizeof info) == sizeof info)
        end_once(container_of(watch, struct house, signals));
}

static void begin(void *arg)
{
    struct house *house = arg;
    if (add_faults(house) && open_ends(house)) {
        announce(house);
        return;
    }
    house->status = 2;
    end_once(house);
}

static void begin_in_fiber(struct loop_task *task)
{
    struct house *house = container_of(task, struct house, start);
    fiber_start(house->collector.worker.loop, begin, house);
}

/* --- running */

static bool read_options(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {
        {"grpc", required_argument, NULL, 'g'},    {"http", required_argument, NULL, 'h'},
        {"page", required_argument, NULL, 'p'},    {"tls-cert", required_argument, NULL, 'c'},
        {"tls-key", required_argument, NULL, 'k'}, {"client-ca", required_argument, NULL, 'a'},
        {"fault", required_argument, NULL, 'f'},   {"traces", required_argument, NULL, 't'},
        {"quiet", no_argument, NULL, 'q'},         {"help", no_argument, NULL, '?'},
        {"discard", no_argument, NULL, 'd'},       {NULL, 0, NULL, 0},
    };
    const char **texts[] = {['g'] = &options->grpc,    ['h'] = &options->http,
                            ['p'] = &options->page,    ['c'] = &options->tls.certificate,
                            ['k'] = &options->tls.key, ['a'] = &options->tls.client_ca};
    int letter;
    while ((letter = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (letter == '?')
            return false;
        if (letter == 'q')
            options->quiet = true;
        else if (letter == 'd')
            options->discard = true;
        else if (letter == 't')
            options->traces = strtol(optarg, NULL, 10);
        else if (letter != 'f')
            *texts[letter] = optarg;
        else if (options->fault_count < STARTING_FAULTS_MAX)
            options->faults[options->fault_count++] = optarg;
        else
            return false;
    }
    return optind == argc && options->traces >= 1 && options->traces <= TRACES_MAX &&
           !options->tls.certificate == !options->tls.key && (options->tls.certificate || !options->tls.client_ca);
}

static bool are_addresses(const struct options *options)
{
    const char *const all[] = {options->grpc, options->http, options->page};
    for (unsigned i = 0; i < array_count(all); i++)
        if (*all[i] && !strrchr(all[i], ':'))
            return false;
    return true;
}

/* Before any thread starts, so that all of them leave the signals to the loop. */
static int block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static int run(struct house *house)
{
    struct collector *collector = &house->collector;
    struct loop *loop = loop_new();
    if (!loop) {
        perror("otlp-collector");
        return 2;
    }
    collector->worker.loop = loop;
    faults_init(&collector->faults);
    store_init(&collector->store, (unsigned)house->options.traces);
    series_init(&collector->series);
    waiters_init(&collector->waiters);
    house->signals = (struct loop_watch){.ready = signalled, .fd = block_signals()};
    loop_watch(loop, &house->signals, EPOLLIN);
    house->start.run = begin_in_fiber;
    loop_post(loop, &house->start);
    loop_run(loop);
    loop_free(loop);
    close(house->signals.fd);
    store_wipe(&collector->store);
    series_wipe(&collector->series);
    counts_wipe(&collector->counts);
    return house->status;
}

int main(int argc, char **argv)
{
    static struct house house = {
        .options = {.grpc = "127.0.0.1:4317", .http = "127.0.0.1:4318", .page = "127.0.0.1:16686", .traces = TRACES},
    };
    bool asks_for_help = argc == 2 && strcmp(argv[1], "--help") == 0;
    if (asks_for_help || !read_options(argc, argv, &house.options) || !are_addresses(&house.options)) {
        fputs(help, asks_for_help ? stdout : stderr);
        return asks_for_help ? 0 : 2;
    }
    mallopt(M_TRIM_THRESHOLD, MEMORY_KEPT_BYTES); /* a message's memory is the next one's */
    mallopt(M_MMAP_THRESHOLD, MEMORY_KEPT_BYTES);
    log_init("otlp-collector", house.options.quiet ? LOG_OFF : LOG_INFO);
    house.collector.discard = house.options.discard;
    return run(&house);
}
