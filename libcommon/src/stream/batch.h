/* Messages that came together, beside what the consumer alone knows of them. All in one arena. */
#ifndef STREAM_BATCH_H
#define STREAM_BATCH_H

#include "common/middleware.h"
#include "common/stream.h"
#include "stream/reply.h"

struct batch_item {
    struct carrier carrier; /* reads the message's fields */
    const struct reply *fields;
    struct call call;           /* of its processing */
    struct trace_context trace; /* the request's while that lasts */
};

struct batch {
    struct stream_message *messages;
    struct batch_item *items; /* messages[i] and items[i] are one */
    unsigned count;
    const char **gone; /* ids that are pending, but no longer in the stream */
    unsigned gone_count;
    unsigned nameless; /* the same, of which Redis 6.2 does not tell the id */
    unsigned malformed;
    struct trace_context received; /* the read, whose trace the settling joins */
};

/* entries is a list of [id, [name, value, ...]]; whatever else there is gets counted and left out. */
void batch_read(struct batch *batch, struct arena *arena, const struct reply *entries);
/* Takes message i out, keeping the order. */
void batch_remove(struct batch *batch, unsigned i);

struct source { /* where it came from, as telemetry calls it */
    const char *key, *group, *peer;
};

/* Announces the read that brought the batch. */
void batch_received(struct batch *batch, struct request *req, const struct source *source);
/* Announce the processing of each message. Between the two a message that is alone lends the request its trace. */
void batch_begin(struct batch *batch, struct request *req, const struct source *source);
void batch_end(struct batch *batch, struct request *req, enum err err);

#endif
