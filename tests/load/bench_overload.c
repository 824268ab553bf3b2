/* Ten times more than the shop can do: what does it still do, how soon, and how soon is it well again? SECONDS_EACH=5,
 * ROUNDS=3, PATTERN=orders, reads or mixed, FACTOR=10.
 *
 * The shop and the load client have processors of their own, as two machines have: the last one that we may use is the
 * client's, the others are the shop's with PostgreSQL and Redis, for the peak as well as for the overload. The client
 * never sleeps, so that answering it costs the shop no waking of it, as with a network between. Where there is one
 * processor only, or with SHARED=1, they share it, and the client goes first where the system lets it. GATEWAY_FIRST=1:
 * the gateway goes first among the shop's, as with the larger CPU weight of its container. GATEWAY_APART=1: it takes
 * turns with the client instead. SHOP_CGROUP=directory: all of the shop but the gateway goes into that cgroup, as
 * containers with a limit of CPU.
 *
 * Each round compares what follows closely: peak, 70 % of it, overload. A machine drifts; so the medians of the
 * rounds' ratios are judged. */
#include <dirent.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "load/client.h"
#include "support/shop.h"

enum { CONNECTIONS_PEAK = 32, CONNECTIONS = 500, PRIORITY = -10, ROUNDS_MAX = 50, LOG_FILES = 60, SLICE_NS = 100000 };

static const char product[] = "90000000-0000-4000-8000-000000000001";
static struct shop shop;
static char *user_id;
static unsigned series;
static bool parted, gateway_apart;

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

static void run(double rate, double seconds, struct load *load)
{
    struct load_plan plan = {.ports = {shop.services[SHOP_GATEWAY].port},
                             .port_count = 1,
                             .connections = rate > 0 ? CONNECTIONS : CONNECTIONS_PEAK,
                             .rate = rate,
                             .duration_ms = (int64_t)(seconds * 1000),
                             .wakeful = parted && !gateway_apart,
                             .give_up_ms = 20000,
                             .write = write_request,
                             .arg = (void *)(uintptr_t)pattern()};
    series++;
    *load = (struct load){.last_other = 0};
    load_run(&plan, load);
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
    fflush(stdout);
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

/* --- rounds */

static void judge(const char *what, bool holds, double value, double wanted)
{
    printf("%-52s %8.1f %8.1f  %s\n", what, value, wanted, holds ? "yes" : "NO");
}

/* The last processor is the client's, the others the shop's with its stores. False: there is one for all. */
static bool part_processors(cpu_set_t *out_client)
{
    cpu_set_t shop_s;
    if (sched_getaffinity(0, sizeof shop_s, &shop_s) < 0 || CPU_COUNT(&shop_s) < 2)
        return false;
    int last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &shop_s))
        last--;
    CPU_CLR(last, &shop_s);
    CPU_ZERO(out_client);
    CPU_SET(last, out_client);
    return sched_setaffinity(0, sizeof shop_s, &shop_s) == 0; /* what is started now inherits it */
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

/* struct sched_attr, which the C library does not have. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

/* To one processor, where it takes turns with others quickly (Linux 6.12; older ones keep their own time). */
static void move_thread(pid_t thread, const cpu_set_t *to)
{
    struct attributes attributes = {.size = sizeof attributes, .nice = PRIORITY, .runtime_ns = SLICE_NS};
    sched_setaffinity(thread, sizeof *to, to);
    syscall(SYS_sched_setattr, thread, &attributes, 0);
}

static void move_process(pid_t pid, const cpu_set_t *to)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks && (task = readdir(tasks));)
        if (atoi(task->d_name) > 0)
            move_thread(atoi(task->d_name), to);
    if (tasks)
        closedir(tasks);
}

/* With all that it has started. */
static void put_into(const char *group, pid_t pid)
{
    char path[300], line[64];
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    FILE *procs = fopen(path, "w");
    if (!procs || fprintf(procs, "%d\n", (int)pid) < 0 || fclose(procs) != 0)
        printf("%s does not take process %d.\n", group, (int)pid);
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *children = fopen(path, "r");
    for (int child; children && fscanf(children, "%63s", line) == 1 && (child = atoi(line)) > 0;)
        put_into(group, child);
    if (children)
        fclose(children);
}

static void limit_shop(const char *group)
{
    put_into(group, shop.postgres.pid);
    put_into(group, shop.redis.pid);
    for (int i = 0; i < SHOP_SERVICES; i++)
        if (i != SHOP_GATEWAY)
            put_into(group, shop.services[i].pid);
}

struct round {
    double goodput, slower, refused_p99, usual_p99; /* goodput in % of the peak; slower: than at 70 %, times */
};

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Of the member at offset. */
static double median(const struct round *rounds, unsigned count, size_t offset)
{
    double values[ROUNDS_MAX];
    for (unsigned i = 0; i < count; i++)
        memcpy(&values[i], (const char *)&rounds[i] + offset, sizeof values[i]);
    qsort(values, count, sizeof values[0], by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static double taken_p99(const struct load *load)
{
    return load_percentile_ms(&load->taken_times, 0.99);
}

/* Its peak, orders/s, is the return value. */
static double run_round(double factor, double seconds, struct round *round)
{
    static struct load peak, usual, over;
    double cpu_s[SHOP_SERVICES + 1];
    run(0, seconds, &peak);
    print_run("peak (closed, 32)", &peak);
    double most = rate_of(&peak, peak.taken);
    run(0.7 * most, seconds, &usual);
    print_run("70 %", &usual);
    cpu_now(cpu_s);
    run(factor * most, seconds, &over);
    print_run("overload", &over);
    print_cpu(cpu_s, &over);
    *round = (struct round){.goodput = 100 * rate_of(&over, over.taken) / most,
                            .slower = taken_p99(&over) / taken_p99(&usual),
                            .refused_p99 = load_percentile_ms(&over.refused_times, 0.99),
                            .usual_p99 = taken_p99(&usual)};
    return most;
}

static void judge_rounds(const struct round *rounds, const struct round *later, unsigned count)
{
    double goodput = median(rounds, count, offsetof(struct round, goodput));
    double slower = median(rounds, count, offsetof(struct round, slower));
    double refused = median(rounds, count, offsetof(struct round, refused_p99));
    printf("\n%-52s %8s %8s\n", "", "measured", "wanted");
    judge("goodput under overload, % of the peak, at least", goodput >= 90, goodput, 90);
    judge("p99 of what was let in, times that at 70 %, at most", slower <= 3, slower, 3);
    judge("p99 of refusals, ms, at most", refused <= 5, refused, 5);
    double after = median(later, count, offsetof(struct round, usual_p99)) /
                   median(rounds, count, offsetof(struct round, usual_p99));
    judge("5 s later: p99, times that before, at most", after <= 1.5, after, 1.5);
}

/* PostgreSQL as it is after some days: a young one stops all commits for a tenth of a second and more whenever it makes
 * a new file of its log. These are there, and are used again. */
static void age_database(void)
{
    PGconn *conn = PQconnectdb(shop.postgres.url);
    for (int i = 0; i < LOG_FILES; i++)
        PQclear(PQexec(conn, "select pg_logical_emit_message(true, 'bench', ''), pg_switch_wal()"));
    PGresult *result = PQexec(conn, "checkpoint");
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        printf("PostgreSQL could not be prepared: %s\n", PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
}

static void open_parts(void)
{
    static const char *const settings[] = {"LOG_LEVEL=error", NULL};
    cpu_set_t client;
    setsid(); /* fails for a session's leader, which has one */
    parted = !number_of("SHARED", 0) && part_processors(&client);
    shop.settings = settings;
    shop.postgres_options = "-c shared_buffers=128MB -c fsync=on -c min_wal_size=1GB";
    shop_open(&shop);
    gateway_apart = parted && number_of("GATEWAY_APART", 0);
    if (gateway_apart)
        move_process(shop.services[SHOP_GATEWAY].pid, &client);
    if (parted)
        move_process(getpid(), &client);
    age_database();
    if (getenv("SHOP_CGROUP"))
        limit_shop(getenv("SHOP_CGROUP"));
    user_id = shop_add_user(&shop);
    shop_add_product(&shop, product, 1000000000);
    if (number_of("GATEWAY_FIRST", 0) && !go_first(shop.services[SHOP_GATEWAY].pid))
        printf("The gateway may not go first.\n");
    if (!go_first(getpid()))
        printf("The load client may not go first.\n");
}

int main(void)
{
    double seconds = number_of("SECONDS_EACH", 5), factor = number_of("FACTOR", 10), most = 0;
    unsigned count = (unsigned)number_of("ROUNDS", 3);
    static struct round rounds[ROUNDS_MAX], later[ROUNDS_MAX];
    static struct load load;
    if (count < 1 || count > ROUNDS_MAX) {
        printf("ROUNDS: expected a number from 1 to %d\n", ROUNDS_MAX);
        return 2;
    }
    open_parts();
    printf("%s, %.0f times the peak; %d s each; %s\n\n%-22s %9s %9s %8s %8s %9s %8s %8s\n", pattern(), factor,
           (int)seconds, parted ? "client and shop on processors of their own" : "client and shop share processors", "",
           "asked/s", "taken/s", "p50 ms", "p99 ms", "503/s", "p99 ms", "failed");
    run(0, seconds / 2, &load); /* warms up */
    print_memory("before");
    for (unsigned i = 0; i < count; i++)
        most = run_round(factor, seconds, &rounds[i]);
    print_memory("overload");
    run(0.7 * most, 5, &load);
    print_run("70 %, first 5 s after", &load);
    for (unsigned i = 0; i < count; i++) {
        run(0.7 * most, seconds, &load);
        print_run("70 %, then", &load);
        later[i].usual_p99 = taken_p99(&load);
    }
    judge_rounds(rounds, later, count);
    free(user_id);
    shop_close(&shop);
    return 0;
}
