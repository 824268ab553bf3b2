/* Waiting for what is to come, so that no test polls or sleeps. */
#include <string.h>

#include "collector/collector.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/mem.h"

enum { TIMEOUT_MS = 5000, TIMEOUT_MS_MAX = 120000 };

/* One who waits; on its fiber's stack. */
struct waiter {
    struct list list;
    struct fiber_wait wait;
    int64_t items[SIGNALS], requests, held;
    bool of_trace; /* spans and logs are those of one trace */
    uint8_t trace_id[TRACE_ID_BYTES];
};

void waiters_init(struct waiters *waiters)
{
    list_init(&waiters->list);
    waiters->count = 0;
}

static unsigned held_now(const struct collector *collector)
{
    unsigned held = 0;
    list_each (node, &collector->faults.held)
        held++;
    return held;
}

static int64_t now_of(const struct collector *collector, const struct waiter *waiter, enum signal_kind signal)
{
    if (!waiter->of_trace || signal == SIGNAL_METRICS)
        return (int64_t)collector->counts.items[signal];
    if (signal == SIGNAL_LOGS)
        return store_trace_logs(&collector->store, waiter->trace_id);
    const struct kept_trace *trace = store_trace(&collector->store, waiter->trace_id);
    return trace ? trace->span_count : 0;
}

static bool is_satisfied(const struct collector *collector, const struct waiter *waiter)
{
    if ((int64_t)collector->counts.requests < waiter->requests || held_now(collector) < waiter->held)
        return false;
    for (int signal = 0; signal < SIGNALS; signal++)
        if (waiter->items[signal] > 0 && now_of(collector, waiter, (enum signal_kind)signal) < waiter->items[signal])
            return false;
    return true;
}

void waiters_look(struct collector *collector)
{
    list_each (node, &collector->waiters.list) {
        struct waiter *waiter = container_of(node, struct waiter, list);
        if (is_satisfied(collector, waiter))
            fiber_wake(&waiter->wait, ERR_OK);
    }
}

static enum err read_waiter(struct request *req, struct waiter *waiter, int64_t *timeout_ms)
{
    static const char *const names[SIGNALS] = {"spans", "points", "logs"};
    enum err err = read_number(req, "timeout_ms", TIMEOUT_MS, TIMEOUT_MS_MAX, timeout_ms);
    for (int signal = 0; !err && signal < SIGNALS; signal++)
        err = read_number(req, names[signal], 0, INT64_MAX, &waiter->items[signal]);
    if (!err)
        err = read_number(req, "requests", 0, INT64_MAX, &waiter->requests);
    if (!err)
        err = read_number(req, "held", 0, INT64_MAX, &waiter->held);
    const char *trace_id = http_query(req, "trace_id");
    waiter->of_trace = trace_id != NULL;
    return err || !trace_id ? err : read_trace_id(req, trace_id, waiter->trace_id);
}

static enum err wait_for(struct request *req, struct collector *collector, struct waiter *waiter, int64_t timeout_ms)
{
    if (is_satisfied(collector, waiter))
        return ERR_OK;
    if (collector->waiters.count == WAITERS_MAX)
        return fail(req, ERR_RESOURCE_EXHAUSTED, "too many wait already");
    list_append(&collector->waiters.list, &waiter->list);
    collector->waiters.count++;
    req->deadline_ns = clock_now_ns() + timeout_ms * NS_PER_MS;
    enum err err = request_wait(req, &waiter->wait);
    list_remove(&waiter->list);
    collector->waiters.count--;
    return err;
}

enum err api_wait(struct request *req, struct response *res)
{
    struct collector *collector = collector_of(req);
    struct waiter waiter = {0};
    int64_t timeout_ms = 0;
    enum err err = read_waiter(req, &waiter, &timeout_ms);
    if (!err)
        err = wait_for(req, collector, &waiter, timeout_ms);
    if (err == ERR_DEADLINE_EXCEEDED)
        return fail(req, err, "only %lld spans, %lld points, %lld logs, %llu requests have come",
                    (long long)now_of(collector, &waiter, SIGNAL_TRACES),
                    (long long)now_of(collector, &waiter, SIGNAL_METRICS),
                    (long long)now_of(collector, &waiter, SIGNAL_LOGS), (unsigned long long)collector->counts.requests);
    return err ? err : answer_json(req, res, counts_describe(collector));
}
