/* Reservations that stayed held: the order service died, or an answer was lost, between taking the stock and writing
 * the order. Only the order service knows; being asked, it decides for good. */
#include "inventory.h"

static enum err resolve(struct request *req, struct uuid order_id)
{
    bool exists, released;
    enum err err = order_resolve(req, order_id, &exists);
    if (err)
        return err;
    return exists ? reservations_commit(req, &order_id, 1) : reservation_release(req, order_id, &released);
}

enum err resolve_reservations(struct request *req, bool *out_more)
{
    struct uuid *order_ids;
    unsigned count;
    enum err err = reservations_stale(req, &order_ids, &count);
    for (unsigned i = 0; !err && i < count; i++)
        err = resolve(req, order_ids[i]);
    *out_more = !err && count == SWEEP_BATCH;
    return err;
}
