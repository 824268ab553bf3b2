/* The outbox's way to the streams. A batch of events is taken, sent and marked in one transaction, so that relays of
 * several processes share the work; a crash or an error only sends again. Redis being away only delays it. */
#include <string.h>

#include "common/stream.h"
#include "order.h"

static enum err send_events(struct request *req, const struct outbox_event *events, unsigned count)
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
    return stream_add(req, entries, count);
}

enum err relay_outbox(struct request *req, bool *out_more)
{
    struct db_tx *tx;
    struct outbox_event *events;
    unsigned count = 0;
    enum err err = db_begin(req, &tx);
    if (err)
        return err;
    err = outbox_take(req, tx, &events, &count);
    if (!err && count > 0)
        err = send_events(req, events, count);
    if (err || count == 0) {
        db_rollback(tx);
        return err;
    }
    *out_more = count == RELAY_BATCH;
    return db_commit(req, tx);
}

enum err prune_outbox(struct request *req, bool *out_more)
{
    unsigned count = 0;
    enum err err = outbox_prune(req, &count);
    *out_more = count == PRUNE_BATCH;
    return err;
}
