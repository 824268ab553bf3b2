#include "common/failpoint.h"
#include "common/service.h"
#include "order.h"
#include "order.pb-c.h"

static void answer_order(struct request *req, const struct order *order, Order__OrderResponse *out)
{
    out->id = uuid_print(req->arena, order->id);
    out->user_id = uuid_print(req->arena, order->user_id);
    out->product_id = uuid_print(req->arena, order->product_id);
    out->quantity = order->quantity;
    out->status = arena_print(req->arena, "%s", order->status);
    out->created_at = clock_format(order->created_at_ns, arena_alloc(req->arena, CLOCK_TEXT_BYTES));
}

/* The order that another request made of the same draft, unless it was given up. */
static enum err known_order(struct request *req, const struct draft *draft, struct order *out)
{
    enum err err = order_find(req, draft->id, out);
    if (err == ERR_NOT_FOUND)
        return fail(req, ERR_ABORTED, "this order was abandoned; use a new idempotency key");
    return err ? err : order_replay(req, draft, out);
}

static void release_stock(struct request *req, const struct draft *draft)
{
    const struct failure failure = req->failure;
    inventory_release(req, draft->id);
    req->failure = failure;
}

/* The order could not be written: its stock goes back, unless a twin of the request made the order. */
static void give_up(struct request *req, const struct draft *draft)
{
    const struct failure failure = req->failure;
    bool abandoned;
    if (order_abandon(req, draft->id, &abandoned) == ERR_OK && abandoned && !failpoint(req, "order.release.before"))
        release_stock(req, draft);
    req->failure = failure;
}

/* Stock first, then the order: whoever inserts it decides its fate. */
static enum err place_order(struct request *req, const struct draft *draft, struct order *out)
{
    bool created = false;
    enum err err = failpoint(req, "order.deduct.before");
    if (!err)
        err = inventory_deduct(req, draft);
    if (err == ERR_ABORTED)
        return known_order(req, draft, out);
    if (err)
        return err;
    err = failpoint(req, "order.insert.before");
    if (!err)
        err = order_insert(req, draft, out, &created);
    if (nothing_written(err))
        give_up(req, draft);
    if (!err && !created)
        err = known_order(req, draft, out);
    if (err == ERR_ABORTED)
        release_stock(req, draft);
    if (created)
        background_wake(req->worker, TASK_RELAY);
    return err;
}

static enum err take_order(struct request *req, const struct draft *draft, struct order *out)
{
    struct order_start start;
    enum err err = order_start(req, draft, &start);
    if (err)
        return err;
    if (!start.user_exists)
        return fail(req, ERR_INVALID_ARGUMENT, "user_id: no such user");
    *out = start.order;
    return start.order_exists ? order_replay(req, draft, out) : place_order(req, draft, out);
}

enum err create_order(struct request *req, const void *message, void *answer)
{
    const Order__CreateOrderRequest *in = message;
    Order__OrderResponse *out = answer;
    struct draft draft;
    struct order order;
    enum err err = draft_check(req, in->user_id, in->product_id, in->quantity, in->idempotency_key, &draft);
    if (!err && !auth_owns(req, draft.user_id))
        err = fail(req, ERR_PERMISSION_DENIED, "user_id: an order can be made for oneself only");
    if (!err)
        err = take_order(req, &draft, &order);
    if (!err)
        err = failpoint(req, "order.answer.before");
    service_count("bodega.orders.requested", err_name(err));
    if (err)
        return err;
    answer_order(req, &order, out);
    request_attribute(req, "bodega.order.id", out->id);
    return ERR_OK;
}

/* Of what belongs to others, nobody learns that it is there. */
static enum err order_of_caller(struct request *req, const char *id_text, struct order *out)
{
    struct uuid id;
    struct order order;
    enum err err = request_uuid(req, "id", id_text, &id);
    if (!err)
        err = order_find(req, id, &order);
    if (err)
        return err;
    if (!auth_owns(req, order.user_id))
        return fail(req, ERR_NOT_FOUND, "no such order");
    *out = order;
    return ERR_OK;
}

enum err get_order(struct request *req, const void *message, void *answer)
{
    const Order__GetOrderRequest *in = message;
    struct order order;
    enum err err = order_of_caller(req, in->id, &order);
    if (err)
        return err;
    answer_order(req, &order, answer);
    return ERR_OK;
}

enum err cancel_order(struct request *req, const void *message, void *answer)
{
    const Order__CancelOrderRequest *in = message;
    struct order order;
    bool changed = false;
    enum err err = order_of_caller(req, in->id, &order);
    if (!err)
        err = failpoint(req, "cancel.before");
    if (!err)
        err = order_cancel(req, order.id, &order, &changed);
    if (err)
        return err;
    if (changed)
        background_wake(req->worker, TASK_RELAY);
    err = failpoint(req, "cancel.answer.before");
    if (err)
        return err;
    answer_order(req, &order, answer);
    return ERR_OK;
}

enum err resolve_order(struct request *req, const void *message, void *answer)
{
    const Order__ResolveOrderRequest *in = message;
    Order__ResolveOrderResponse *out = answer;
    struct uuid id;
    bool abandoned, exists = false;
    enum err err = request_uuid(req, "order_id", in->order_id, &id);
    if (!err)
        err = failpoint(req, "resolve.before");
    if (!err)
        err = order_abandon(req, id, &abandoned);
    if (!err && !abandoned)
        err = order_exists(req, id, &exists);
    if (!err)
        err = failpoint(req, "resolve.answer.before");
    out->exists = exists;
    return err;
}

static void answer_page(struct request *req, const struct order_page *page, unsigned limit,
                        Order__ListOrdersResponse *out)
{
    bool more = page->count > limit;
    out->n_orders = more ? limit : page->count;
    out->orders = arena_array(req->arena, Order__OrderResponse *, out->n_orders);
    for (unsigned i = 0; i < out->n_orders; i++) {
        out->orders[i] = arena_new(req->arena, Order__OrderResponse);
        order__order_response__init(out->orders[i]);
        answer_order(req, &page->orders[i], out->orders[i]);
    }
    if (!more)
        return;
    const struct order *last = &page->orders[limit - 1];
    struct cursor cursor = {.created_at_ns = last->created_at_ns, .id = last->id};
    out->next_cursor = cursor_print(cursor, arena_alloc(req->arena, CURSOR_TEXT_BYTES));
}

enum err list_orders(struct request *req, const void *message, void *answer)
{
    const Order__ListOrdersRequest *in = message;
    struct uuid user_id;
    struct cursor after;
    unsigned limit;
    struct order_page page;
    enum err err = request_uuid(req, "user_id", in->user_id, &user_id);
    if (!err && !auth_owns(req, user_id))
        err = fail(req, ERR_NOT_FOUND, "no such user");
    if (!err)
        err = list_limit_read(req, in->limit, &limit);
    if (!err)
        err = cursor_read(req, in->cursor, &after);
    if (!err)
        err = order_list(req, user_id, after, limit + 1, &page); /* one more tells whether there is a next page */
    if (err)
        return err;
    answer_page(req, &page, limit, answer);
    return ERR_OK;
}
