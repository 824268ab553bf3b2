/* The queue and the thread between those who make records and an exporter; for spans and logs alike.
 *
 * Producers hand over pointers without waiting (bounded lock-free queue; full: the record goes back to its owner and is
 * counted as dropped with queue_full). The thread exports when max_export_batch_size records wait or
 * schedule_delay_ms after its last look, so that none waits longer, hands every record back through release, and counts
 * by its component. A simple processor is one with batches of one record and no delay: exporting on the caller's thread
 * would block it. */
#ifndef OTEL_SDK_BATCH_H
#define OTEL_SDK_BATCH_H

#include "otel/sdk/exporter.h"

struct batch_processor;

/* Spans, or log records. Any thread. */
struct record_kind {
    enum signal signal;
    void (*release)(void *record);
    struct encoded_record *(*encode)(const void *record, unsigned users);
    void *(*decode)(const struct encoded_record *encoded); /* a record with one user */
};

/* settings and resource are copied. Each record is released exactly once, on any thread. NULL with a message when the
 * exporter cannot be opened. */
struct batch_processor *batch_start(const struct processor_settings *settings, const struct sdk_resource *resource,
                                    const struct record_kind *kind, char *message, size_t message_bytes);
/* Would batch_start() with these make the same one? */
bool batch_matches(const struct batch_processor *batch, const struct processor_settings *settings,
                   const struct sdk_resource *resource);
/* It takes records as export/encoded.c makes them, and releases them itself; otherwise spans or log records. */
bool batch_takes_encoded(const struct batch_processor *batch);
bool batch_is_full(const struct batch_processor *batch);
/* Counts a record that was not even made, because the queue is full. Any thread, in a guard. */
void batch_drop(struct batch_processor *batch);
/* Any thread, in a guard. False: full, and released. */
bool batch_add(struct batch_processor *batch, void *record);
/* Waits until what was queued before has been exported or dropped; false when something was dropped or time ran out. */
bool batch_flush(struct batch_processor *batch, int64_t deadline_ns);
/* Nobody adds any more. Exports what is left until the deadline; what then remains goes to heir (NULL: is dropped and
 * counted). False when something was dropped or inherited. Frees. */
bool batch_stop(struct batch_processor *batch, int64_t deadline_ns, struct batch_processor *heir);
/* The same for several, which share the time instead of using it up one after the other; heirs: one for each. */
bool batches_flush(struct batch_processor *const *batches, unsigned count, int64_t deadline_ns);
bool batches_stop(struct batch_processor *const *batches, struct batch_processor *const *heirs, unsigned count,
                  int64_t deadline_ns);

#endif
