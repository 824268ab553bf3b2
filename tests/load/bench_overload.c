/* Ten times more than the shop can do: what does it still do, how soon, and how soon is it well again? SECONDS_EACH=10,
 * PATTERN=orders, reads or mixed, FACTOR=10.
 *
 * The load client shares the machine with the shop. So it goes first, where the system lets it, as if it were another
 * machine's; and what is left beside it is measured too: the peak while as much load as the overload goes to a server
 * that does nothing but receive and send. GATEWAY_FIRST=1: the gateway goes first, too, as with the larger CPU weight
 * of its container. */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "load/client.h"
#include "support/shop.h"

enum { CONNECTIONS_PEAK = 32, CONNECTIONS = 500, PRIORITY = -10, EVENTS = 64 };

static const char product[] = "90000000-0000-4000-8000-000000000001";
static struct shop shop;
static char *user_id;
static unsigned series;

static int number_of(const char *variable, int otherwise)
{
    const char *text = getenv(variable);
    return text && *text ? atoi(text) : otherwise;
}

static const char *pattern(void)
{
    const char *text = getenv("PATTERN");
    return text && *text ? text : "orders";
}

static size_t write_read(char out[LOAD_REQUEST_BYTES_MAX])
{
    return (size_t)snprintf(out, LOAD_REQUEST_BYTES_MAX, "GET /api/users/%s HTTP/1.1\r\nHost: shop\r\n\r\n", user_id);
}

static size_t write_order(uint64_t number, char out[LOAD_REQUEST_BYTES_MAX])
{
    char body[256];
    int bytes =
        snprintf(body, sizeof body, "{\"user_id\":\"%s\",\"product_id\":\"%s\",\"quantity\":1}", user_id, product);
    return (size_t)snprintf(out, LOAD_REQUEST_BYTES_MAX,
                            "POST /api/orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
                            "Idempotency-Key: over-%u-%lu\r\nContent-Length: %d\r\n\r\n%s",
                            series, (unsigned long)number, bytes, body);
}

static size_t write_request(void *arg, uint64_t number, char out[LOAD_REQUEST_BYTES_MAX])
{
    const char *kind = arg;
    bool order = strcmp(kind, "orders") == 0 || (strcmp(kind, "mixed") == 0 && number % 4 == 0);
    return order ? write_order(number, out) : write_read(out);
}

static void run_at(int port, double rate, double seconds, struct load *load)
{
    struct load_plan plan = {.ports = {port},
                             .port_count = 1,
                             .connections = rate > 0 ? CONNECTIONS : CONNECTIONS_PEAK,
                             .rate = rate,
                             .duration_ms = (int64_t)(seconds * 1000),
                             .give_up_ms = 20000,
                             .write = write_request,
                             .arg = (void *)(uintptr_t)pattern()};
    series++;
    *load = (struct load){.last_other = 0};
    load_run(&plan, load);
}

static void run(double rate, double seconds, struct load *load)
{
    run_at(shop.services[SHOP_GATEWAY].port, rate, seconds, load);
}

static double rate_of(const struct load *load, uint64_t count)
{
    return (double)count / ((double)load->took_ns / 1e9);
}

static void print_run(const char *name, const struct load *load)
{
    uint64_t all = load->taken + load->refused + load->other + load->failed;
    printf("%-22s %9.0f %9.0f %8.1f %8.1f %9.0f %8.1f %8lu\n", name, rate_of(load, all), rate_of(load, load->taken),
           load_percentile_ms(&load->taken_times, 0.5), load_percentile_ms(&load->taken_times, 0.99),
           rate_of(load, load->refused), load_percentile_ms(&load->refused_times, 0.99),
           (unsigned long)(load->failed + load->other));
    fflush(stdout);
}

static long memory_kib(enum shop_service service, const char *field)
{
    char path[64], line[256];
    long value = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)shop.services[service].pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, field, strlen(field)) == 0)
            value = strtol(line + strlen(field), NULL, 10);
    if (file)
        fclose(file);
    return value;
}

static void print_memory(const char *when)
{
    printf("%s, MiB now/most:", when);
    for (int i = 0; i < SHOP_SERVICES; i++)
        printf("  %s %ld/%ld", shop.services[i].name, memory_kib(i, "VmRSS:") / 1024, memory_kib(i, "VmHWM:") / 1024);
    printf("\n");
}

/* --- processor time */

static double service_cpu_s(enum shop_service service)
{
    char path[64], line[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)shop.services[service].pid);
    FILE *file = fopen(path, "r");
    if (file && fgets(line, sizeof line, file))
        sscanf(strrchr(line, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    if (file)
        fclose(file);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double own_cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* The last is the load client. */
static void cpu_now(double out_s[SHOP_SERVICES + 1])
{
    for (int i = 0; i < SHOP_SERVICES; i++)
        out_s[i] = service_cpu_s(i);
    out_s[SHOP_SERVICES] = own_cpu_s();
}

static void print_cpu(const double before_s[SHOP_SERVICES + 1], const struct load *load)
{
    double now_s[SHOP_SERVICES + 1];
    cpu_now(now_s);
    printf("  cores used:");
    for (int i = 0; i <= SHOP_SERVICES; i++)
        printf("  %s %.2f", i < SHOP_SERVICES ? shop.services[i].name : "load client",
               (now_s[i] - before_s[i]) / ((double)load->took_ns / 1e9));
    printf("\n");
}

/* --- the server that does nothing */

static int echo_fd = -1;

static void must(bool done)
{
    if (done)
        return;
    perror("bench_overload");
    exit(1);
}

/* As long as a refusal. */
static void answer_nothing(int fd)
{
    char request[LOAD_REQUEST_BYTES_MAX], answer[512];
    if (recv(fd, request, sizeof request, 0) <= 0) {
        close(fd);
        return;
    }
    int bytes = snprintf(answer, sizeof answer, "HTTP/1.1 503 Busy\r\nContent-Length: 400\r\n\r\n%400s", "");
    send(fd, answer, (size_t)bytes, MSG_NOSIGNAL);
}

static void echo_forever(void)
{
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.fd = echo_fd};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, echo_fd, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != echo_fd) {
                answer_nothing(events[i].data.fd);
                continue;
            }
            event.data.fd = accept4(echo_fd, NULL, NULL, SOCK_CLOEXEC);
            epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
        }
    }
}

/* A process in a session of its own, as the services are. */
static pid_t echo_open(int *out_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    echo_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bind(echo_fd, (struct sockaddr *)&address, bytes) == 0 && listen(echo_fd, CONNECTIONS) == 0);
    getsockname(echo_fd, (struct sockaddr *)&address, &bytes);
    *out_port = ntohs(address.sin_port);
    pid_t pid = fork();
    must(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setsid();
    setpriority(PRIO_PROCESS, 0, 0);
    echo_forever();
    _exit(0);
}

struct echo_load {
    int port;
    double rate, seconds;
    struct load load;
};

static void *load_echo(void *arg)
{
    struct echo_load *echo = arg;
    run_at(echo->port, echo->rate, echo->seconds, &echo->load);
    return NULL;
}

/* The peak while another client asks the server that does nothing so many times a second. */
static void run_beside(double rate, double seconds, struct load *load)
{
    static struct echo_load echo;
    pthread_t thread;
    echo = (struct echo_load){.rate = rate, .seconds = seconds};
    pid_t pid = echo_open(&echo.port);
    must(pthread_create(&thread, NULL, load_echo, &echo) == 0);
    run(0, seconds, load);
    pthread_join(thread, NULL);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(echo_fd);
    load->refused = (uint64_t)echo.load.refused;
    load->refused_times = echo.load.refused_times;
}

static void judge(const char *what, bool holds, double value, double wanted)
{
    printf("%-52s %8.1f %8.1f  %s\n", what, value, wanted, holds ? "yes" : "NO");
}

/* Among all processes, and among the sessions where the kernel shares the processor among these. */
static bool go_first(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/autogroup", (int)pid);
    FILE *file = fopen(path, "w");
    bool first = setpriority(PRIO_PROCESS, (id_t)pid, PRIORITY) == 0;
    if (file)
        first = fprintf(file, "%d\n", PRIORITY) > 0 && fclose(file) == 0 && first;
    return first;
}

int main(void)
{
    static const char *const settings[] = {"LOG_LEVEL=error", NULL};
    double seconds = number_of("SECONDS_EACH", 10), factor = number_of("FACTOR", 10);
    static struct load peak, usual, over, settling, after, beside;
    double cpu_s[SHOP_SERVICES + 1];
    setsid(); /* fails for a session's leader, which has one */
    shop.settings = settings;
    shop_open(&shop);
    user_id = shop_add_user(&shop);
    shop_add_product(&shop, product, 1000000000);
    if (number_of("GATEWAY_FIRST", 0) && !go_first(shop.services[SHOP_GATEWAY].pid))
        printf("The gateway may not go first.\n");
    if (!go_first(getpid()))
        printf("The load client may not go first; it competes with the shop.\n");
    printf("%s, %.0f times the peak; %d s each\n\n%-22s %9s %9s %8s %8s %9s %8s %8s\n", pattern(), factor, (int)seconds,
           "", "asked/s", "taken/s", "p50 ms", "p99 ms", "503/s", "p99 ms", "failed");
    run(0, seconds / 2, &peak); /* warms up */
    run(0, seconds, &peak);
    print_run("peak (closed, 32)", &peak);
    double most = rate_of(&peak, peak.taken);
    run(0.7 * most, seconds, &usual);
    print_run("70 %", &usual);
    print_memory("before");
    cpu_now(cpu_s);
    run(factor * most, seconds, &over);
    print_run("overload", &over);
    print_cpu(cpu_s, &over);
    print_memory("overload");
    run(0.7 * most, 5, &settling);
    print_run("70 %, first 5 s after", &settling);
    run(0.7 * most, seconds, &after);
    print_run("70 %, then", &after);
    run_beside(factor * most, seconds, &beside);
    print_run("peak beside an echo", &beside);
    double floor = 100 * rate_of(&over, over.taken) / rate_of(&beside, beside.taken);
    double goodput = 100 * rate_of(&over, over.taken) / most;
    double p99 = load_percentile_ms(&over.taken_times, 0.99), usual_p99 = load_percentile_ms(&usual.taken_times, 0.99);
    double refused = load_percentile_ms(&over.refused_times, 0.99);
    double after_p99 = load_percentile_ms(&after.taken_times, 0.99);
    printf("\n%-52s %8s %8s\n", "", "measured", "wanted");
    judge("goodput under overload, % of the peak, at least", goodput >= 90, goodput, 90);
    judge("... % of the peak beside an echo, at least", floor >= 90, floor, 90);
    judge("p99 of what was let in, ms, at most 3 times that at 70 %", p99 <= 3 * usual_p99, p99, 3 * usual_p99);
    judge("p99 of refusals, ms, at most", refused <= 5, refused, 5);
    judge("5 s later: p99, ms, at most 1.5 times that before", after_p99 <= 1.5 * usual_p99, after_p99,
          1.5 * usual_p99);
    free(user_id);
    shop_close(&shop);
    return 0;
}
