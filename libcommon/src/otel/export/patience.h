/* How long an exporter may take: waits that hurry() cuts short, and the pauses between attempts.
 * Source: OTLP 1.11, failures and throttling. */
#ifndef OTEL_EXPORT_PATIENCE_H
#define OTEL_EXPORT_PATIENCE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct patience {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic(int64_t) hurry_ns; /* CLOCK_NEVER: no hurry */
};

void patience_init(struct patience *patience);
void patience_done(struct patience *patience);
/* Any thread. The earliest deadline counts. */
void patience_hurry(struct patience *patience, int64_t deadline_ns);
/* The earlier of the deadline and the hurry's. */
int64_t patience_limit(const struct patience *patience, int64_t deadline_ns);
/* Waits until then. False when the hurry was told or tightened meanwhile. */
bool patience_wait(struct patience *patience, int64_t until_ns);

enum { PAUSE_FIRST_MS = 1000, PAUSE_MAX_MS = 5000 };

/* The pause before attempt number 1, 2, …: anything up to a bound that grows by half each time (full jitter). */
int64_t pause_ns(unsigned attempt);
/* The pause that a receiver asked for: never less, up to a tenth more, so that its clients come back apart. */
int64_t pause_asked_ns(int64_t asked_ns);

#endif
