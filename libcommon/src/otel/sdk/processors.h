/* The processors of one signal, through a reload: a new set keeps those of the current set that would be made anew just
 * as they are, and starts the others. */
#ifndef OTEL_SDK_PROCESSORS_H
#define OTEL_SDK_PROCESSORS_H

#include "otel/sdk/batch.h"

struct processors {
    unsigned count, encoded_count; /* encoded: of those that take encoded records */
    struct batch_processor **batches;
    bool *kept;    /* from the set before */
    bool *encoded; /* takes encoded records */
};

/* current is the set that runs, or NULL. False with a message, and nothing started, when an exporter cannot be opened.
 * What is not in a batch lives in the arena. */
bool processors_prepare(struct processors *set, const struct processors *current,
                        const struct processor_settings *wanted, unsigned wanted_count,
                        const struct sdk_resource *resource, const struct record_kind *kind, struct arena *arena,
                        char *message, size_t message_bytes);
/* Gives a record to those that take such records, each of which releases it. In a guard. */
void processors_add(const struct processors *set, bool encoded, void *record);
/* Whether an encoded record is worth making: where all who take one are full, each has counted it. In a guard. */
bool processors_want_encoded(const struct processors *set);
/* Ends what a set that was not put to use has started. */
void processors_discard(struct processors *set);
/* Ends what next, the set that runs now (NULL: none), has not kept; what remains at the deadline goes to those that
 * next has started. False when something was dropped or went to them. */
bool processors_retire(const struct processors *set, const struct processors *next, int64_t deadline_ns);

#endif
