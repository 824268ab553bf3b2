#include "load/client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/list.h"
#include "common/mem.h"

enum { ANSWER_BYTES_MAX = 4096, EVENTS = 256, REFUSED_PAUSE_MS = 5, BITS_A_DOUBLING = 5 };

/* --- times */

static unsigned bucket_of(int64_t ns)
{
    uint64_t us10 = ns > 0 ? (uint64_t)ns / 100 : 0; /* tenths of a microsecond */
    if (us10 < 1 << BITS_A_DOUBLING)
        return (unsigned)us10;
    unsigned shift = 63 - (unsigned)__builtin_clzll(us10) - BITS_A_DOUBLING;
    unsigned bucket = ((shift + 1) << BITS_A_DOUBLING) + (unsigned)(us10 >> shift) - (1 << BITS_A_DOUBLING);
    return bucket < LOAD_BUCKETS ? bucket : LOAD_BUCKETS - 1;
}

static double bucket_ms(unsigned bucket)
{
    unsigned shift = bucket >> BITS_A_DOUBLING, rest = bucket & ((1 << BITS_A_DOUBLING) - 1);
    double us10 = shift ? ldexp((1 << BITS_A_DOUBLING) + rest + 1, (int)shift - 1) : rest + 1;
    return us10 / 10000;
}

static void times_add(struct load_times *times, int64_t ns)
{
    times->count++;
    times->buckets[bucket_of(ns)]++;
}

double load_percentile_ms(const struct load_times *times, double part)
{
    uint64_t wanted = (uint64_t)ceil((double)times->count * part), seen = 0;
    for (unsigned i = 0; i < LOAD_BUCKETS && wanted > 0; i++)
        if ((seen += times->buckets[i]) >= wanted)
            return bucket_ms(i);
    return 0;
}

/* --- requests and connections */

/* A request on its way; its connection, when it has one, is its own. */
struct errand {
    struct list list; /* in later, or free */
    uint64_t number;
    int64_t due_ns, again_ns, give_up_ns;
};

struct connection {
    struct list list; /* in idle */
    struct errand *errand;
    int fd; /* -1: not connected */
    unsigned port;
    bool connecting, proven; /* proven: it has answered */
    size_t got;
    size_t request_bytes;
    char request[LOAD_REQUEST_BYTES_MAX], answer[ANSWER_BYTES_MAX + 1];
};

struct run {
    const struct load_plan *plan;
    struct load *load;
    int epoll;
    struct connection *connections;
    struct list idle, later, free_errands;
    struct errand *errands;
    uint64_t next, under_way;
    int64_t next_due_ns, now_ns, ends_ns;
    unsigned next_port;
    uint64_t random;
};

static double random_unit_of(struct run *run)
{
    run->random = run->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return ((double)(run->random >> 11) + 1) / 9007199254740993.0;
}

static void count(atomic_uint_fast64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void errand_end(struct run *run, struct errand *errand, int status, const char *body)
{
    struct load *load = run->load;
    int64_t took_ns = clock_now_ns() - errand->due_ns;
    if (status >= 200 && status < 300) {
        count(&load->taken);
        times_add(&load->taken_times, took_ns);
    } else if (status == 503) {
        count(&load->refused);
        times_add(&load->refused_times, took_ns);
    } else if (status) {
        count(&load->other);
        load->last_other = status;
    } else {
        count(&load->failed);
    }
    if (run->plan->answered)
        run->plan->answered(run->plan->arg, errand->number, status, body);
    list_append(&run->free_errands, &errand->list);
    run->under_way--;
}

static void ask_later(struct run *run, struct errand *errand, int64_t in_ms)
{
    errand->again_ns = clock_now_ns() + in_ms * NS_PER_MS;
    if (errand->again_ns >= errand->give_up_ns)
        errand_end(run, errand, 0, "");
    else
        list_append(&run->later, &errand->list);
}

static void hang_up(struct run *run, struct connection *connection)
{
    close(connection->fd);
    connection->fd = -1;
    connection->connecting = false;
    if (list_empty(&connection->list))
        list_append(&run->idle, &connection->list);
}

static void next_port(struct run *run)
{
    unsigned tries = run->plan->port_count;
    do {
        run->next_port = (run->next_port + 1) % run->plan->port_count;
    } while (--tries > 0 && atomic_load_explicit(&run->load->away[run->next_port], memory_order_relaxed));
}

/* The connection ended, and with it the errand's try. */
static void lost(struct run *run, struct connection *connection)
{
    struct errand *errand = connection->errand;
    bool refused = connection->connecting, begun = connection->got > 0;
    unsigned port = connection->port;
    connection->errand = NULL;
    hang_up(run, connection);
    if (refused && run->next_port == port)
        next_port(run);
    if (!errand)
        return;
    if (!refused)
        count(&run->load->resent);
    if (!connection->proven)
        count(&run->load->unconnected);
    if (begun)
        errand_end(run, errand, 0, "");
    else
        ask_later(run, errand, refused ? REFUSED_PAUSE_MS : 0);
}

static void watch(struct run *run, struct connection *connection, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    epoll_ctl(run->epoll, operation, connection->fd, &event);
}

static void send_request(struct run *run, struct connection *connection)
{
    connection->got = 0;
    ssize_t sent = send(connection->fd, connection->request, connection->request_bytes, MSG_NOSIGNAL);
    if (sent != (ssize_t)connection->request_bytes)
        lost(run, connection);
}

static void dial(struct run *run, struct connection *connection)
{
    static const int on = 1;
    if (atomic_load_explicit(&run->load->away[run->next_port], memory_order_relaxed))
        next_port(run);
    connection->port = run->next_port;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = run->plan->address};
    address.sin_port = htons((uint16_t)run->plan->ports[connection->port]);
    if (address.sin_addr.s_addr == 0)
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert(connection->fd >= 0);
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection->connecting = true;
    connection->proven = false;
    connection->got = 0;
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        lost(run, connection);
        return;
    }
    watch(run, connection, EPOLL_CTL_ADD, EPOLLOUT);
    next_port(run);
}

static void start(struct run *run, struct errand *errand, struct connection *connection)
{
    list_remove(&connection->list);
    connection->errand = errand;
    connection->request_bytes = run->plan->write(run->plan->arg, errand->number, connection->request);
    if (connection->fd < 0)
        dial(run, connection);
    else
        send_request(run, connection);
}

/* --- answers */

static bool says_close(const char *head, const char *end)
{
    const char *at = strcasestr(head, "\r\nconnection: close");
    return at && at < end;
}

/* True when the whole answer is there. */
static bool is_whole(const struct connection *connection, const char **out_body)
{
    const char *end = strstr(connection->answer, "\r\n\r\n");
    if (!end)
        return false;
    const char *length = strcasestr(connection->answer, "\r\ncontent-length:");
    size_t bytes = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    *out_body = end + 4;
    return connection->got >= (size_t)(end + 4 - connection->answer) + bytes;
}

static void take_answer(struct run *run, struct connection *connection, const char *body)
{
    struct errand *errand = connection->errand;
    int status = atoi(connection->answer + 9);
    bool close_it = says_close(connection->answer, body);
    connection->errand = NULL;
    connection->proven = true;
    if (status == 503 && run->plan->busy_again_ms > 0) {
        count(&run->load->refused);
        ask_later(run, errand, run->plan->busy_again_ms);
    } else {
        errand_end(run, errand, status, body);
    }
    if (close_it)
        hang_up(run, connection);
    else
        list_append(run->idle.next, &connection->list); /* the most recently used first */
}

static void read_answer(struct run *run, struct connection *connection)
{
    ssize_t got = recv(connection->fd, connection->answer + connection->got, ANSWER_BYTES_MAX - connection->got, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        if (connection->errand)
            lost(run, connection);
        else
            hang_up(run, connection);
        return;
    }
    connection->got += (size_t)got;
    connection->answer[connection->got] = '\0';
    const char *body;
    if (connection->errand && is_whole(connection, &body))
        take_answer(run, connection, body);
}

static void connected(struct run *run, struct connection *connection)
{
    int error = 0;
    socklen_t bytes = sizeof error;
    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
    if (error) {
        lost(run, connection);
        return;
    }
    connection->connecting = false;
    watch(run, connection, EPOLL_CTL_MOD, EPOLLIN);
    send_request(run, connection);
}

/* --- the schedule */

static bool more_to_come(const struct run *run)
{
    if (run->ends_ns > 0 && run->now_ns >= run->ends_ns)
        return false;
    return !atomic_load_explicit(&run->load->stop, memory_order_relaxed) &&
           (run->plan->count == 0 || run->next < run->plan->count);
}

static struct errand *next_errand(struct run *run, int64_t now_ns)
{
    struct errand *errand = container_of(list_take(&run->free_errands), struct errand, list);
    *errand = (struct errand){.number = run->next++, .due_ns = now_ns};
    list_init(&errand->list);
    if (run->plan->rate > 0) {
        errand->due_ns = run->next_due_ns;
        run->next_due_ns += (int64_t)(-log(random_unit_of(run)) / run->plan->rate * (double)NS_PER_S);
    }
    errand->give_up_ns = errand->due_ns + run->plan->give_up_ms * NS_PER_MS;
    run->under_way++;
    return errand;
}

static void start_again(struct run *run, int64_t now_ns)
{
    list_each_safe (node, &run->later) {
        struct errand *errand = container_of(node, struct errand, list);
        if (errand->again_ns > now_ns || list_empty(&run->idle))
            continue;
        list_remove(&errand->list);
        start(run, errand, container_of(run->idle.next, struct connection, list));
    }
}

static void start_due(struct run *run, int64_t now_ns)
{
    start_again(run, now_ns);
    while (more_to_come(run) && !list_empty(&run->idle) && !list_empty(&run->free_errands) &&
           (run->plan->rate <= 0 || run->next_due_ns <= now_ns))
        start(run, next_errand(run, now_ns), container_of(run->idle.next, struct connection, list));
}

static void give_up_late(struct run *run, int64_t now_ns)
{
    for (unsigned i = 0; i < run->plan->connections; i++) {
        struct connection *connection = &run->connections[i];
        struct errand *errand = connection->errand;
        if (!errand || errand->give_up_ns > now_ns)
            continue;
        connection->errand = NULL;
        hang_up(run, connection);
        errand_end(run, errand, 0, "");
    }
}

static void wait_for_events(struct run *run, int64_t now_ns)
{
    struct epoll_event events[EVENTS];
    int64_t until_ns = now_ns + 5 * NS_PER_MS;
    if (run->plan->rate > 0 && more_to_come(run) && !list_empty(&run->idle) && run->next_due_ns < until_ns)
        until_ns = run->next_due_ns;
    if (!list_empty(&run->later) && !list_empty(&run->idle) && until_ns > now_ns + NS_PER_MS)
        until_ns = now_ns + NS_PER_MS;
    int64_t left_ns = until_ns > now_ns && !run->plan->wakeful ? until_ns - now_ns : 0;
    const struct timespec limit = {.tv_sec = left_ns / NS_PER_S, .tv_nsec = left_ns % NS_PER_S};
    int ready = epoll_pwait2(run->epoll, events, EVENTS, &limit, NULL);
    for (int i = 0; i < ready; i++) {
        struct connection *connection = events[i].data.ptr;
        if (connection->fd < 0)
            continue;
        if (connection->connecting)
            connected(run, connection);
        else
            read_answer(run, connection);
    }
}

static void run_init(struct run *run, const struct load_plan *plan, struct load *load)
{
    assert(plan->port_count > 0 && plan->connections > 0);
    *run = (struct run){.plan = plan, .load = load, .random = 42};
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    run->connections = mem_array(plan->connections, sizeof run->connections[0]);
    run->errands = mem_array(plan->connections * 2, sizeof run->errands[0]);
    list_init(&run->idle);
    list_init(&run->later);
    list_init(&run->free_errands);
    for (unsigned i = 0; i < plan->connections; i++) {
        run->connections[i].fd = -1;
        list_append(&run->idle, &run->connections[i].list);
    }
    for (unsigned i = 0; i < plan->connections * 2; i++)
        list_append(&run->free_errands, &run->errands[i].list);
}

static void run_done(struct run *run)
{
    for (unsigned i = 0; i < run->plan->connections; i++)
        if (run->connections[i].fd >= 0)
            close(run->connections[i].fd);
    close(run->epoll);
    free(run->connections);
    free(run->errands);
}

void load_run(const struct load_plan *plan, struct load *load)
{
    struct run run;
    run_init(&run, plan, load);
    int64_t begin_ns = clock_now_ns(), look_ns = begin_ns;
    run.ends_ns = plan->duration_ms > 0 ? begin_ns + plan->duration_ms * NS_PER_MS : 0;
    run.next_due_ns = begin_ns;
    while (more_to_come(&run) || run.under_way > 0) {
        int64_t now_ns = run.now_ns = clock_now_ns();
        start_due(&run, now_ns);
        wait_for_events(&run, now_ns);
        if (now_ns - look_ns > 100 * NS_PER_MS) {
            give_up_late(&run, now_ns);
            look_ns = now_ns;
        }
    }
    load->took_ns = clock_now_ns() - begin_ns;
    run_done(&run);
}
