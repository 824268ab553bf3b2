/* The outbox's way to the streams. A batch of events is taken, sent and marked in one transaction, so that relays of
 * several processes share the work; a crash or an error only sends again. Redis being away only delays it. */
#include <string.h>

#include "common/background.h"
#include "common/failpoint.h"
#include "common/service.h"
#include "common/stream.h"
#include "order.h"

/* Only to the run of Redis that is known: what another one may have lost comes first. */
static enum err check_run(struct request *req, const char *known)
{
    struct stream_run run;
    enum err err = stream_run(req, &run);
    if (err || strcmp(run.id, known) == 0)
        return err;
    background_wake(req->worker, TASK_RECONCILER);
    return fail(req, ERR_ABORTED, "redis was started anew: what it may have lost is sent first");
}

static enum err send_events(struct request *req, const struct outbox_batch *batch)
{
    const struct outbox_event *events = batch->events;
    struct stream_entry *entries = arena_array(req->arena, struct stream_entry, batch->count);
    for (unsigned i = 0; i < batch->count; i++) {
        entries[i].key = strcmp(events[i].event, "created") == 0 ? "orders:created" : "orders:cancelled";
        entries[i].data = events[i].payload;
        if (!trace_parse(events[i].traceparent, &entries[i].trace))
            continue;
        entries[i].trace.state = events[i].tracestate;
        entries[i].trace.baggage = events[i].baggage;
    }
    enum err err = check_run(req, batch->run);
    return err ? err : stream_add(req, entries, batch->count);
}

enum err relay_outbox(struct request *req, bool *out_more)
{
    struct db_tx *tx;
    struct outbox_batch batch = {0};
    enum err err = db_begin(req, &tx);
    if (err)
        return err;
    err = outbox_take(req, tx, &batch);
    if (!err && batch.count > 0)
        err = failpoint(req, "relay.send.before");
    if (!err && batch.count > 0)
        err = send_events(req, &batch);
    if (!err && batch.count > 0)
        err = failpoint(req, "relay.commit.before");
    if (err || batch.count == 0) {
        db_rollback(tx);
        return err;
    }
    *out_more = batch.count == RELAY_BATCH;
    return db_commit(req, tx);
}

enum err prune_outbox(struct request *req, bool *out_more)
{
    unsigned count = 0;
    enum err err = outbox_prune(req, &count);
    *out_more = count == PRUNE_BATCH;
    return err;
}

enum err watch_outbox(struct request *req, bool *out_more)
{
    int64_t age_ms;
    (void)out_more;
    enum err err = outbox_age(req, &age_ms);
    if (!err)
        service_level("bodega.outbox.age", "s", "How long the oldest unpublished event has waited.",
                      (double)age_ms / 1e3);
    return err;
}
