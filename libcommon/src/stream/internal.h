/* What the producer and the consumers of a stream share. */
#ifndef STREAM_INTERNAL_H
#define STREAM_INTERNAL_H

#include "common/list.h"
#include "common/stream.h"
#include "stream/link.h"
#include "stream/reply.h"
#include "stream/tls.h"

struct stream {
    struct loop *loop;
    const struct stream_settings *settings;
    struct stream_url url;
    struct stream_tls *tls;    /* NULL: plain text */
    struct link *link;         /* for commands */
    struct stream_stats stats; /* what is not counted by the links */
    struct list consumers;
    struct stream_run run; /* of the server, as the connection number run_connection was told */
    uint64_t run_connection;
    bool run_asked;
    unsigned users; /* fibers between stream_enter() and stream_leave() */
    bool closed;    /* freed by the last user */
};

/* Keep the stream's memory while a fiber waits, though it may be closed meanwhile. */
void stream_enter(struct stream *stream);
void stream_leave(struct stream *stream);

struct stream_consumer {
    struct list list; /* in the stream's */
    struct stream *stream;
    const struct worker *worker;
    struct stream_consumer_settings settings;
    stream_handler *handler;
    struct link *link;   /* for all of its commands: one fiber gives them, one after the other */
    bool stopping, busy; /* busy: a batch is in hand */
    bool grouped;        /* the group exists, as far as we know */
    bool own_left;       /* its own entries of an earlier life are still to be read ... */
    char own_from[48];   /* ... behind this id */
    char claim_from[48];
    int64_t claim_at_ns;
    int64_t dismiss_at_ns;
    unsigned failures;        /* in a row */
    struct fiber_wait *pause; /* while it waits for better times */
    struct fiber_wait stopped;
};

/* Any command of a consumer; a missing group is noted, so that the next round makes it. */
enum err consumer_ask(struct stream_consumer *consumer, struct request *req, int argc, const char **argv,
                      const struct reply **out);

#endif
