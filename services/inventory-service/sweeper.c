/* Reservations that stayed held: the order service died, or an answer was lost, between taking the stock and writing
 * the order. Only the order service knows; being asked, it decides for good. */
#include "common/failpoint.h"
#include "inventory.h"

static enum err resolve(struct request *req, struct uuid order_id)
{
    bool exists, released;
    enum err err = failpoint(req, "sweep.resolve.before");
    if (!err)
        err = order_resolve(req, order_id, &exists);
    if (!err)
        err = failpoint(req, "sweep.settle.before");
    if (err)
        return err;
    err = exists ? reservations_commit(req, &order_id, 1) : reservation_release(req, order_id, &released);
    return err ? err : failpoint(req, "sweep.settle.after");
}

enum err resolve_reservations(struct request *req, bool *out_more)
{
    const struct inventory_settings *settings = req->worker->settings;
    struct uuid *order_ids;
    unsigned count;
    enum err err = reservations_stale(req, settings->resolve_after_s, &order_ids, &count);
    if (err)
        return err;
    /* One that cannot be settled does not stand in the others' way, a service that is away does. */
    for (unsigned i = 0; i < count && err != ERR_UNAVAILABLE && err != ERR_DEADLINE_EXCEEDED; i++) {
        enum err one = resolve(req, order_ids[i]);
        err = one ? one : err;
    }
    *out_more = !err && count == SWEEP_BATCH;
    return err;
}
