#include "support/exporter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/mem.h"
#include "otel/sdk/export.h"
#include "support/support.h"

enum { WAIT_S = 10 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct test_exporter *first, **last = &first;
static bool automatic;
static test_exporter_watcher *watcher;

static struct timespec limit(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += WAIT_S;
    return at;
}

/* Under the lock: when the export has to end. */
static int64_t until(const struct test_exporter *exporter)
{
    return exporter->hurried_ns < exporter->deadline_ns ? exporter->hurried_ns : exporter->deadline_ns;
}

static struct export_result export_held(struct exporter *base, const struct export_batch *batch, int64_t deadline_ns)
{
    struct test_exporter *exporter = (struct test_exporter *)base;
    if (watcher)
        watcher(batch);
    pthread_mutex_lock(&exporter->lock);
    exporter->exports++;
    exporter->deadline_ns = deadline_ns;
    if (exporter->largest < batch->count)
        exporter->largest = batch->count;
    exporter->held = batch;
    pthread_cond_broadcast(&exporter->changed);
    while (!exporter->let_go && clock_now_ns() < until(exporter)) {
        struct timespec at = {until(exporter) / NS_PER_S, until(exporter) % NS_PER_S};
        pthread_cond_clockwait(&exporter->changed, &exporter->lock, CLOCK_MONOTONIC, &at);
    }
    bool in_time = exporter->let_go;
    exporter->let_go = automatic;
    exporter->held = NULL;
    struct export_result result = exporter->result;
    if (!in_time)
        result = (struct export_result){.error = "timeout"};
    if (result.ok)
        exporter->items += batch->count - result.rejected;
    pthread_cond_broadcast(&exporter->changed);
    pthread_mutex_unlock(&exporter->lock);
    return result;
}

static void hurry(struct exporter *base, int64_t deadline_ns)
{
    struct test_exporter *exporter = (struct test_exporter *)base;
    pthread_mutex_lock(&exporter->lock);
    exporter->hurried_ns = deadline_ns;
    pthread_cond_broadcast(&exporter->changed);
    pthread_mutex_unlock(&exporter->lock);
}

static void forget(struct exporter *base)
{
    struct test_exporter *exporter = (struct test_exporter *)base;
    pthread_mutex_lock(&exporter->lock);
    exporter->freed = true;
    pthread_mutex_unlock(&exporter->lock);
}

#define METHODS .type = "test_exporter", .export = export_held, .hurry = hurry, .free = forget
static const struct exporter_methods methods = {METHODS}, encoded_methods = {METHODS, .takes_encoded = true};

static struct exporter *open_here(const struct exporter_settings *settings, enum signal signal, char *message,
                                  size_t message_bytes)
{
    if (settings->endpoint && strcmp(settings->endpoint, "refused") == 0) {
        snprintf(message, message_bytes, "exporter: refused");
        return NULL;
    }
    struct test_exporter *exporter = mem_alloc(sizeof *exporter);
    bool encoded = settings->endpoint && strncmp(settings->endpoint, "encoded", strlen("encoded")) == 0;
    exporter->exporter = (struct exporter){encoded ? &encoded_methods : &methods, signal};
    exporter->hurried_ns = CLOCK_NEVER;
    exporter->result.ok = true;
    exporter->let_go = automatic;
    snprintf(exporter->endpoint, sizeof exporter->endpoint, "%s", settings->endpoint ? settings->endpoint : "");
    pthread_mutex_init(&exporter->lock, NULL);
    pthread_cond_init(&exporter->changed, NULL);
    pthread_mutex_lock(&lock);
    *last = exporter;
    last = &exporter->next;
    pthread_mutex_unlock(&lock);
    return &exporter->exporter;
}

void test_exporters_begin(bool all_automatic, test_exporter_watcher *all_watched)
{
    automatic = all_automatic;
    watcher = all_watched;
    exporting_opener = open_here;
}

void test_exporters_end(void)
{
    for (struct test_exporter *exporter = first, *next; exporter; exporter = next) {
        next = exporter->next;
        assert_true(exporter->freed);
        pthread_cond_destroy(&exporter->changed);
        pthread_mutex_destroy(&exporter->lock);
        free(exporter);
    }
    first = NULL;
    last = &first;
    exporting_opener = exporter_open;
}

struct test_exporter *test_exporter_at(unsigned index)
{
    pthread_mutex_lock(&lock);
    struct test_exporter *exporter = first;
    while (exporter && index-- > 0)
        exporter = exporter->next;
    pthread_mutex_unlock(&lock);
    assert_non_null(exporter);
    return exporter;
}

const struct export_batch *test_export_await(struct test_exporter *exporter)
{
    struct timespec at = limit();
    int rc = 0;
    pthread_mutex_lock(&exporter->lock);
    while (!exporter->held && rc == 0)
        rc = pthread_cond_clockwait(&exporter->changed, &exporter->lock, CLOCK_MONOTONIC, &at);
    const struct export_batch *held = exporter->held;
    pthread_mutex_unlock(&exporter->lock);
    assert_non_null(held);
    return held;
}

/* Returns when the export has taken notice, so that the next await sees the next batch. */
void test_export_end(struct test_exporter *exporter)
{
    struct timespec at = limit();
    int rc = 0;
    pthread_mutex_lock(&exporter->lock);
    exporter->let_go = true;
    pthread_cond_broadcast(&exporter->changed);
    while (exporter->let_go && rc == 0)
        rc = pthread_cond_clockwait(&exporter->changed, &exporter->lock, CLOCK_MONOTONIC, &at);
    pthread_mutex_unlock(&exporter->lock);
    assert_int_equal(rc, 0);
}

uint64_t test_exporter_items(struct test_exporter *exporter)
{
    pthread_mutex_lock(&exporter->lock);
    uint64_t items = exporter->items;
    pthread_mutex_unlock(&exporter->lock);
    return items;
}

bool test_exporter_reaches(struct test_exporter *exporter, uint64_t items)
{
    struct timespec at = limit();
    int rc = 0;
    pthread_mutex_lock(&exporter->lock);
    while (exporter->items < items && rc == 0)
        rc = pthread_cond_clockwait(&exporter->changed, &exporter->lock, CLOCK_MONOTONIC, &at);
    bool reached = exporter->items >= items;
    pthread_mutex_unlock(&exporter->lock);
    return reached;
}
