/* A reader: collects on its own thread at an interval and exports, or, a pull reader, when it is asked for text.
 *
 * It lives from metrics_prepare() to the commit of a pipeline without it, and keeps copies of what made it. Its id
 * marks the stores that it collects; a reader that takes another's place takes over the id and with it the sums. */
#ifndef OTEL_METRICS_READER_H
#define OTEL_METRICS_READER_H

#include <pthread.h>

#include "otel/metrics/collect.h"
#include "otel/sdk/export.h"

struct reader {
    int id;
    struct arena arena; /* of the copies */
    struct reader_settings settings;
    struct sdk_resource resource;
    bool pull;
    struct exporting exporting; /* not of pull readers */
    struct component component;
    int64_t last_wall_ns;   /* its thread's */
    struct store **retired; /* collect_lock: to be exported once more, on their own */
    unsigned retired_count;

    pthread_t thread;
    pthread_mutex_t lock; /* the rest */
    pthread_cond_t changed;
    enum { READER_WAITING, READER_RUNNING, READER_LEAVING, READER_DISCARDED } state;
    int64_t deadline_ns;      /* of leaving, or of what was asked for last */
    uint64_t asked, answered; /* rounds */
    bool answer;              /* the last one left whole */
    bool retires;             /* something waits in retired */
};

/* NULL with a message. A periodic one does nothing before reader_start(). */
struct reader *reader_open(const struct reader_settings *settings, const struct sdk_resource *resource, int id,
                           char *message, size_t message_bytes);
bool reader_matches(const struct reader *reader, const struct reader_settings *settings,
                    const struct sdk_resource *resource);
/* How its streams are made. */
struct stream_reader reader_streams(const struct reader *reader);
void reader_start(struct reader *reader);

/* Takes a reference of store. Under collect_lock; reader_wake() afterwards, without it. */
void reader_retire(struct reader *reader, struct store *store);
void reader_wake(struct reader *reader);

/* Collects and exports now; returns what to wait for. */
uint64_t reader_ask(struct reader *reader, int64_t deadline_ns);
bool reader_await(struct reader *reader, uint64_t round, int64_t deadline_ns);

/* Exports what is retired, until the deadline, then ends. False when not all of it left. */
void reader_leave(struct reader *reader, int64_t deadline_ns);
bool reader_close(struct reader *reader);   /* waits for that and frees */
void reader_discard(struct reader *reader); /* one that was never started */

#endif
