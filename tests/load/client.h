/* A load client: one thread, epoll, kept connections, and requests that come on schedule (open loop) or as fast as
 * answers do (closed loop).
 *
 * In the open loop a request's time counts from when it was due, whether or not a connection was free then. A request
 * whose connection ended before a byte of the answer came is sent again: what is sent here is safe to repeat. A port
 * that refuses connections is left for the next one. Everything stays on 127.0.0.1, unless the plan says otherwise. */
#ifndef TESTS_LOAD_CLIENT_H
#define TESTS_LOAD_CLIENT_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOAD_PORTS_MAX = 4, LOAD_REQUEST_BYTES_MAX = 1024, LOAD_BUCKETS = 2048 };

/* Times in buckets of 3 %. */
struct load_times {
    uint64_t count, buckets[LOAD_BUCKETS];
};

/* part: 0.99 for the 99th percentile. Milliseconds; 0 when empty. */
double load_percentile_ms(const struct load_times *times, double part);

struct load_plan {
    struct in_addr address; /* zeros: 127.0.0.1 */
    int ports[LOAD_PORTS_MAX];
    unsigned port_count;
    unsigned connections;  /* at most; in the closed loop all are busy */
    double rate;           /* arrivals a second, at random; 0: closed loop */
    uint64_t count;        /* of requests; 0: until stop */
    int64_t duration_ms;   /* no new ones after it; 0: no such end */
    int64_t busy_again_ms; /* a 503 is asked again after so long; 0: it is an answer */
    bool wakeful;          /* never sleeps: nobody spends time on waking it; wants a processor of its own */
    int64_t give_up_ms;    /* without an answer for so long, a request has failed */
    /* Writes request number (0, 1, ...) into out and returns its bytes. */
    size_t (*write)(void *arg, uint64_t number, char out[LOAD_REQUEST_BYTES_MAX]);
    /* status 0: no answer. May be NULL. */
    void (*answered)(void *arg, uint64_t number, int status, const char *body);
    void *arg;
};

struct load {
    atomic_bool stop;
    atomic_bool away[LOAD_PORTS_MAX]; /* gets no new connections: as a balancer that looks at readiness does */
    /* Readable by any thread while it runs. */
    atomic_uint_fast64_t taken;   /* answered 2xx */
    atomic_uint_fast64_t refused; /* 503 */
    atomic_uint_fast64_t other;   /* another status */
    atomic_uint_fast64_t failed;  /* no answer */
    atomic_uint_fast64_t resent;
    atomic_uint_fast64_t unconnected; /* connections that were refused, or ended before they answered anything */
    int last_other;                   /* status; the same below: when it has ended */
    struct load_times taken_times, refused_times;
    int64_t took_ns;
};

/* Returns when every request has been answered or given up. load is zeroed by the caller. */
void load_run(const struct load_plan *plan, struct load *load);

#endif
