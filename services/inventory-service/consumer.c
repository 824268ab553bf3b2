/* Orders that exist commit their reservations: a batch of events is one statement. Committing twice is the same
 * as once, so a message may come as often as it likes. */
#include <string.h>

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

enum err orders_created(struct request *req, struct stream_message *messages, unsigned count)
{
    struct uuid *order_ids = arena_array(req->arena, struct uuid, count);
    unsigned good = 0;
    for (unsigned i = 0; i < count; i++)
        if ((messages[i].done = read_event(req, &messages[i], &order_ids[good])))
            good++;
    enum err err = good ? reservations_commit(req, order_ids, good) : ERR_OK;
    for (unsigned i = 0; err && i < count; i++)
        messages[i].done = false;
    return err;
}
