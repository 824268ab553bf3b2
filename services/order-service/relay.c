/* The outbox's way to the streams. A batch of events is locked, sent and marked in one transaction, so that
 * relays of several processes share the work and a crash only sends again. Redis being away only delays it. */
#include <string.h>

#include "common/stream.h"
#include "order.h"

/* Those that were taken stand at the front afterwards: *out_sent of them, which may be fewer than count. */
static enum err send_events(struct request *req, struct outbox_event *events, unsigned count, unsigned *out_sent)
{
    struct stream_entry *entries = arena_array(req->arena, struct stream_entry, count);
    for (unsigned i = 0; i < count; i++) {
        entries[i].key = strcmp(events[i].event, "created") == 0 ? "orders:created" : "orders:cancelled";
        entries[i].data = events[i].payload;
        if (!trace_parse(events[i].traceparent, &entries[i].trace))
            continue;
        entries[i].trace.state = events[i].tracestate;
        entries[i].trace.baggage = events[i].baggage;
    }
    enum err err = stream_add(req, entries, count);
    for (unsigned i = 0; i < count; i++)
        if (!entries[i].err)
            events[(*out_sent)++] = events[i];
    return err;
}

static enum err send_batch(struct request *req, struct db_tx *tx, unsigned *out_sent)
{
    struct outbox_event *events;
    unsigned count;
    enum err err = outbox_take(req, tx, &events, &count);
    if (err || count == 0)
        return err;
    err = send_events(req, events, count, out_sent);
    if (*out_sent == 0)
        return err;
    enum err mark_err = outbox_published(req, tx, events, *out_sent);
    return mark_err ? mark_err : err;
}

enum err relay_outbox(struct request *req, bool *out_more)
{
    struct db_tx *tx;
    unsigned sent = 0;
    enum err err = db_begin(req, &tx);
    if (err)
        return err;
    err = send_batch(req, tx, &sent);
    if (sent == 0) {
        db_rollback(tx);
        return err;
    }
    enum err commit_err = db_commit(req, tx);
    *out_more = sent == RELAY_BATCH;
    return commit_err ? commit_err : err;
}
