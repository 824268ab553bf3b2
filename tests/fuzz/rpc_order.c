#include <string.h>
#include <strings.h>

#include "../../services/order-service/order.h"
#include "fuzz/fuzz.h"
#include "fuzz/rpc.h"
#include "order.pb-c.h"

/* The same draft is the same order, as long as it has a key. */
static void check_draft(struct request *req, const void *message)
{
    const Order__CreateOrderRequest *in = message;
    struct draft draft, again;
    enum err err = draft_check(req, in->user_id, in->product_id, in->quantity, in->idempotency_key, &draft);
    if (err) {
        rpc_check_refusal(req, err);
        return;
    }
    FUZZ_CHECK(draft.quantity >= 1 && draft.quantity <= QUANTITY_MAX && strlen(in->idempotency_key) <= 255);
    FUZZ_CHECK(!draft_check(req, in->user_id, in->product_id, in->quantity, in->idempotency_key, &again));
    FUZZ_CHECK(uuid_equal(draft.id, again.id) == (*in->idempotency_key != '\0'));
    struct order order = {.id = draft.id, .product_id = draft.product_id, .quantity = draft.quantity};
    FUZZ_CHECK(order_replay(req, &draft, &order) == ERR_OK);
}

static void check_list(struct request *req, const void *message)
{
    const Order__ListOrdersRequest *in = message;
    struct cursor cursor;
    struct uuid user_id;
    char text[CURSOR_TEXT_BYTES];
    unsigned limit = 0;
    rpc_check_refusal(req, request_uuid(req, "user_id", in->user_id, &user_id));
    enum err err = list_limit_read(req, in->limit, &limit);
    rpc_check_refusal(req, err);
    FUZZ_CHECK(err || (limit >= 1 && limit <= LIST_LIMIT_MAX));
    err = cursor_read(req, in->cursor, &cursor);
    rpc_check_refusal(req, err);
    FUZZ_CHECK(err || !*in->cursor || strcasecmp(cursor_print(cursor, text), in->cursor) == 0);
}

static void check_id(struct request *req, const void *message)
{
    const Order__GetOrderRequest *in = message;
    struct uuid id;
    rpc_check_refusal(req, request_uuid(req, "id", in->id, &id));
}

static void check_cancel(struct request *req, const void *message)
{
    const Order__CancelOrderRequest *in = message;
    struct uuid id;
    rpc_check_refusal(req, request_uuid(req, "id", in->id, &id));
}

static void check_resolve(struct request *req, const void *message)
{
    const Order__ResolveOrderRequest *in = message;
    struct uuid id;
    rpc_check_refusal(req, request_uuid(req, "order_id", in->order_id, &id));
}

const struct rpc_subject order_subjects[] = {
    {&order__create_order_request__descriptor, check_draft},
    {&order__list_orders_request__descriptor, check_list},
    {&order__get_order_request__descriptor, check_id},
    {&order__cancel_order_request__descriptor, check_cancel},
    {&order__resolve_order_request__descriptor, check_resolve},
};
