/* Exporters in the tests' own hands: from test_exporters_begin() on, whatever opens an exporter gets one of these. One
 * that is not automatic keeps each batch until the test has looked at it and lets it go. One whose endpoint begins with
 * "encoded" takes encoded records, as those of OTLP's protobuf do. */
#ifndef TESTS_EXPORTER_H
#define TESTS_EXPORTER_H

#include <pthread.h>

#include "otel/sdk/exporter.h"

struct test_exporter {
    struct exporter exporter; /* private, as the next ones */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const struct export_batch *held;
    bool let_go;
    struct test_exporter *next;
    char endpoint[64]; /* read-only, under the lock where the exporter still runs */
    unsigned exports;
    uint64_t items;
    unsigned largest;
    int64_t deadline_ns, hurried_ns;
    bool freed;
    struct export_result result; /* may be set by the test between two exports */
};

/* Called for each batch of the exporters that begin from now on, on their threads; NULL: nothing. */
typedef void test_exporter_watcher(const struct export_batch *batch);

void test_exporters_begin(bool automatic, test_exporter_watcher *watcher);
/* Forgets them all; every one must have been freed. */
void test_exporters_end(void);
/* The one that was opened index-th, from 0. */
struct test_exporter *test_exporter_at(unsigned index);
/* The batch that it has in its hands, after waiting up to 10 s for it. */
const struct export_batch *test_export_await(struct test_exporter *exporter);
/* Ends that export. */
void test_export_end(struct test_exporter *exporter);
uint64_t test_exporter_items(struct test_exporter *exporter);
/* Waits up to 10 s until it has sent as many; false: it did not. */
bool test_exporter_reaches(struct test_exporter *exporter, uint64_t items);

#endif
