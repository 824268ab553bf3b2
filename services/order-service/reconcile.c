/* Redis may come back from a crash without its last second, or with nothing. Each of its runs has an id, and relays
 * send to the one that the database names. When Redis has another, events that the new run may lack are marked as not
 * published, and only then may relays send to it. It costs a look a second, and nothing in the relay's way. */
#include "common/background.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/stream.h"
#include "order.h"

/* An event is marked published up to a relay's longest round before Redis has it; the rest is for slow clocks. */
enum { MARGIN_MS = RELAY_MAX_MS + 2000 };

/* How long ago the newest event was published that this run still has; less than 0 when it has none. Both streams are
 * written in one order, so what is behind the newest of either is what may be lost. */
static enum err find_loss(struct request *req, const struct stream_run *run, int64_t *out_age_ms)
{
    int64_t created_ms, cancelled_ms;
    enum err err = stream_inherited(req, "orders:created", run, &created_ms);
    if (!err)
        err = stream_inherited(req, "orders:cancelled", run, &cancelled_ms);
    if (err)
        return err;
    bool by_created = cancelled_ms < 0 || (created_ms >= 0 && created_ms < cancelled_ms);
    *out_age_ms = by_created ? created_ms : cancelled_ms;
    return ERR_OK;
}

/* The run is accepted with the last batch: should this process die before, another one goes on. */
static enum err take_back(struct request *req, struct db_tx *tx, const struct stream_run *run, unsigned *out_count)
{
    int64_t age_ms;
    enum err err = find_loss(req, run, &age_ms);
    if (!err)
        err = outbox_unpublish(req, tx, age_ms < 0 ? age_ms : age_ms + MARGIN_MS, out_count);
    if (!err && *out_count < REPUBLISH_BATCH)
        err = redis_run_set(req, tx, run->id);
    return err;
}

static enum err accept_run(struct request *req, const struct stream_run *run, bool *out_more)
{
    struct db_tx *tx;
    bool known = false;
    unsigned count = 0;
    enum err err = db_begin(req, &tx);
    if (err)
        return err;
    err = redis_run_lock(req, tx, run->id, &known);
    if (!err && !known)
        err = take_back(req, tx, run, &count);
    if (!err && !known)
        err = failpoint(req, "reconcile.commit.before");
    if (err || known) {
        db_rollback(tx);
        return err;
    }
    err = db_commit(req, tx);
    if (err)
        return err;
    if (count > 0)
        log_event(LOG_WARN, "redis was started anew: events that it may have lost are sent again",
                  log_int("events", count));
    *out_more = count == REPUBLISH_BATCH;
    background_wake(req->worker, TASK_RELAY);
    return ERR_OK;
}

enum err reconcile_streams(struct request *req, bool *out_more)
{
    struct stream_run run;
    bool known;
    enum err err = stream_run(req, &run);
    if (!err)
        err = redis_run_known(req, run.id, &known);
    if (err || known)
        return err;
    err = failpoint(req, "reconcile.before");
    if (err)
        return err;
    return accept_run(req, &run, out_more);
}
