/* Orders that exist commit their reservations, cancelled ones give the stock back: a batch of events is one statement.
 * Twice is the same as once, so a message may come as often, and as late, as it likes. */
#include <string.h>

#include "common/failpoint.h"
#include "common/json.h"
#include "common/log.h"
#include "inventory.h"

struct order_event {
    struct uuid order_id;
};

static const struct json_field order_event_fields[] = {
    {"order_id", offsetof(struct order_event, order_id), JSON_FIELD_UUID},
};
static const struct json_shape order_event_shape = JSON_SHAPE(struct order_event, order_event_fields);

static bool read_event(struct request *req, const struct stream_message *message, struct uuid *out_order_id)
{
    struct order_event event = {0};
    struct bytes text = {message->data, message->data ? strlen(message->data) : 0};
    if (json_parse(req, "event", text, &order_event_shape, &event)) {
        log_event(LOG_WARN, "an order event cannot be read", log_text("id", message->id),
                  log_text("reason", req->failure.detail));
        return false;
    }
    *out_order_id = event.order_id;
    return true;
}

/* What cannot be read stays undone, and ends in the dead-letter stream. */
static enum err settle(struct request *req, struct stream_message *messages, unsigned count,
                       enum err (*change)(struct request *req, const struct uuid *order_ids, unsigned count))
{
    struct uuid *order_ids = arena_array(req->arena, struct uuid, count);
    unsigned good = 0;
    for (unsigned i = 0; i < count; i++)
        if ((messages[i].done = read_event(req, &messages[i], &order_ids[good])))
            good++;
    enum err err = failpoint(req, "event.settle.before");
    if (!err && good > 0)
        err = change(req, order_ids, good);
    if (!err)
        err = failpoint(req, "event.acknowledge.before");
    for (unsigned i = 0; err && i < count; i++)
        messages[i].done = false;
    return err;
}

enum err orders_created(struct request *req, struct stream_message *messages, unsigned count)
{
    return settle(req, messages, count, reservations_commit);
}

/* May come before the order's first event: that one then finds nothing held any more. */
enum err orders_cancelled(struct request *req, struct stream_message *messages, unsigned count)
{
    return settle(req, messages, count, reservations_cancel);
}
