#include <string.h>

#include "common/failpoint.h"
#include "gateway.h"
#include "inventory.pb-c.h"
#include "order.pb-c.h"
#include "user.pb-c.h"

static enum err call(struct request *req, enum peer peer, const struct rpc_procedure *procedure, const void *in,
                     void *out_pointer)
{
    return rpc_call(req, req->worker->peers[peer], procedure, in, out_pointer);
}

static enum err write_ok(struct response *res)
{
    res->content_type = "text/plain";
    res->body = (struct bytes){"OK", 2};
    return ERR_OK;
}

/* An id in the path, as the services want it. */
static enum err read_id(struct request *req, const char *name, char **out)
{
    struct uuid id;
    enum err err = http_param_uuid(req, name, &id);
    if (!err)
        *out = uuid_print(req->arena, id);
    return err;
}

enum err get_health(struct request *req, struct response *res)
{
    (void)req;
    return write_ok(res);
}

enum err get_ready(struct request *req, struct response *res)
{
    enum err err = service_ready(req);
    return err ? err : write_ok(res);
}

enum err post_user(struct request *req, struct response *res)
{
    User__CreateUserRequest in = USER__CREATE_USER_REQUEST__INIT;
    User__UserResponse *user;
    enum err err = json_read(req, &user_draft_shape, &in);
    if (!err)
        err = call(req, PEER_USER, &create_user, &in, &user);
    if (err)
        return err;
    return json_write(req, res, 200, &user_shape, user);
}

enum err get_user(struct request *req, struct response *res)
{
    User__GetUserRequest in = USER__GET_USER_REQUEST__INIT;
    User__UserResponse *user;
    enum err err = read_id(req, "id", &in.id);
    if (!err)
        err = call(req, PEER_USER, &find_user, &in, &user);
    if (err)
        return err;
    return json_write(req, res, 200, &user_shape, user);
}

enum err post_login(struct request *req, struct response *res)
{
    const struct gateway_settings *settings = req->worker->settings;
    User__LoginRequest in = USER__LOGIN_REQUEST__INIT;
    User__LoginResponse *token;
    enum err err = json_read(req, &login_draft_shape, &in);
    if (err)
        return err;
    in.client_address = client_address(req, http_peer(req), http_header(req, "X-Forwarded-For"), settings->proxies);
    err = call(req, PEER_USER, &log_in, &in, &token);
    if (err)
        return err;
    response_header(req, res, "Cache-Control", "no-store");
    return json_write(req, res, 200, &login_shape, token);
}

enum err get_jwks(struct request *req, struct response *res)
{
    const User__ListKeysRequest in = USER__LIST_KEYS_REQUEST__INIT;
    User__ListKeysResponse *keys;
    enum err err = call(req, PEER_USER, &list_keys, &in, &keys);
    if (err)
        return err;
    res->content_type = "application/json";
    res->body = (struct bytes){keys->jwks, strlen(keys->jwks)};
    return ERR_OK;
}

enum err post_order(struct request *req, struct response *res)
{
    Order__CreateOrderRequest in = ORDER__CREATE_ORDER_REQUEST__INIT;
    Order__OrderResponse *order;
    enum err err = json_read(req, &order_draft_shape, &in);
    if (!err)
        err = idempotency_key_read(req, http_header(req, "Idempotency-Key"), &in.idempotency_key);
    if (!err)
        err = failpoint(req, "gateway.order.before");
    if (err)
        return err;
    err = call(req, PEER_ORDER, in.idempotency_key[0] ? &create_keyed_order : &create_order, &in, &order);
    if (err)
        return order_refused(req, err);
    err = failpoint(req, "gateway.order.after");
    if (err)
        return err;
    return json_write(req, res, 200, &order_shape, order);
}

enum err get_order(struct request *req, struct response *res)
{
    Order__GetOrderRequest in = ORDER__GET_ORDER_REQUEST__INIT;
    Order__OrderResponse *order;
    enum err err = read_id(req, "id", &in.id);
    if (!err)
        err = call(req, PEER_ORDER, &find_order, &in, &order);
    if (err)
        return err;
    return json_write(req, res, 200, &order_shape, order);
}

enum err post_cancel(struct request *req, struct response *res)
{
    Order__CancelOrderRequest in = ORDER__CANCEL_ORDER_REQUEST__INIT;
    Order__OrderResponse *order;
    enum err err = read_id(req, "id", &in.id);
    if (!err)
        err = call(req, PEER_ORDER, &cancel_order, &in, &order);
    if (err)
        return err;
    return json_write(req, res, 200, &order_shape, order);
}

enum err get_orders(struct request *req, struct response *res)
{
    Order__ListOrdersRequest in = ORDER__LIST_ORDERS_REQUEST__INIT;
    Order__ListOrdersResponse *page;
    const char *user_id = http_query(req, "user_id");
    const char *cursor = http_query(req, "cursor");
    if (!user_id && !req->principal)
        return fail(req, ERR_INVALID_ARGUMENT, "user_id: missing, expected a UUID");
    in.user_id = user_id ? arena_print(req->arena, "%s", user_id) : uuid_print(req->arena, req->principal->id);
    in.cursor = arena_print(req->arena, "%s", cursor ? cursor : "");
    enum err err = list_limit_read(req, http_query(req, "limit"), &in.limit);
    if (!err)
        err = call(req, PEER_ORDER, &list_orders, &in, &page);
    if (err)
        return err;
    return json_write(req, res, 200, &order_page_shape, page);
}

enum err get_inventory(struct request *req, struct response *res)
{
    Inventory__GetInventoryRequest in = INVENTORY__GET_INVENTORY_REQUEST__INIT;
    Inventory__InventoryResponse *stock;
    enum err err = read_id(req, "product_id", &in.product_id);
    if (!err)
        err = call(req, PEER_INVENTORY, &find_stock, &in, &stock);
    if (err)
        return err;
    return json_write(req, res, 200, &stock_shape, stock);
}

enum err put_inventory(struct request *req, struct response *res)
{
    Inventory__SetInventoryRequest in = INVENTORY__SET_INVENTORY_REQUEST__INIT;
    Inventory__InventoryResponse *stock;
    enum err err = read_id(req, "product_id", &in.product_id);
    if (!err)
        err = json_read(req, &stock_draft_shape, &in);
    if (!err)
        err = call(req, PEER_INVENTORY, &set_stock, &in, &stock);
    if (err)
        return err;
    return json_write(req, res, 200, &stock_shape, stock);
}
