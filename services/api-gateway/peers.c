#include "common/rpc.h"
#include "gateway.h"
#include "inventory.pb-c.h"
#include "order.pb-c.h"
#include "user.pb-c.h"

static enum err call(struct request *req, enum peer peer, const struct rpc_procedure *procedure, const void *in,
                     void *out_pointer)
{
    return rpc_call(req, req->worker->peers[peer], procedure, in, out_pointer);
}

static char *print_id(struct request *req, struct uuid id)
{
    return uuid_format(id, arena_alloc(req->arena, UUID_TEXT_BYTES));
}

/* protobuf-c's strings are not const; they are only read. */
static char *text(struct request *req, const char *value)
{
    return arena_print(req->arena, "%s", value);
}

/* --- users */

static void take_user(const User__UserResponse *from, struct user *out)
{
    *out = (struct user){.id = from->id, .email = from->email, .name = from->name};
}

enum err user_create(struct request *req, const struct user *draft, struct user *out)
{
    static const struct rpc_procedure procedure =
        RPC_PROCEDURE("user.User/CreateUser", user__create_user_request, user__user_response);
    User__CreateUserRequest in = USER__CREATE_USER_REQUEST__INIT;
    User__UserResponse *answer;
    in.email = text(req, draft->email);
    in.name = text(req, draft->name);
    enum err err = call(req, PEER_USER, &procedure, &in, &answer);
    if (!err)
        take_user(answer, out);
    return err;
}

enum err user_get(struct request *req, struct uuid id, struct user *out)
{
    static const struct rpc_procedure procedure =
        RPC_PROCEDURE("user.User/GetUser", user__get_user_request, user__user_response);
    User__GetUserRequest in = USER__GET_USER_REQUEST__INIT;
    User__UserResponse *answer;
    in.id = print_id(req, id);
    enum err err = call(req, PEER_USER, &procedure, &in, &answer);
    if (!err)
        take_user(answer, out);
    return err;
}

/* --- orders */

static void take_order(const Order__OrderResponse *from, struct order *out)
{
    *out = (struct order){
        .id = from->id,
        .user_id = from->user_id,
        .product_id = from->product_id,
        .quantity = from->quantity,
        .status = from->status,
    };
}

enum err order_create(struct request *req, const struct order_draft *draft, struct order *out)
{
    static const struct rpc_procedure procedure =
        RPC_PROCEDURE("order.Order/CreateOrder", order__create_order_request, order__order_response);
    Order__CreateOrderRequest in = ORDER__CREATE_ORDER_REQUEST__INIT;
    Order__OrderResponse *answer;
    in.user_id = print_id(req, draft->user_id);
    in.product_id = print_id(req, draft->product_id);
    in.quantity = (int32_t)draft->quantity;
    in.idempotency_key = text(req, draft->key);
    enum err err = call(req, PEER_ORDER, &procedure, &in, &answer);
    if (!err)
        take_order(answer, out);
    return err;
}

enum err order_get(struct request *req, struct uuid id, struct order *out)
{
    static const struct rpc_procedure procedure =
        RPC_PROCEDURE("order.Order/GetOrder", order__get_order_request, order__order_response);
    Order__GetOrderRequest in = ORDER__GET_ORDER_REQUEST__INIT;
    Order__OrderResponse *answer;
    in.id = print_id(req, id);
    enum err err = call(req, PEER_ORDER, &procedure, &in, &answer);
    if (!err)
        take_order(answer, out);
    return err;
}

enum err order_list(struct request *req, const char *user_id, int32_t limit, const char *cursor, struct order_page *out)
{
    static const struct rpc_procedure procedure =
        RPC_PROCEDURE("order.Order/ListOrders", order__list_orders_request, order__list_orders_response);
    Order__ListOrdersRequest in = ORDER__LIST_ORDERS_REQUEST__INIT;
    Order__ListOrdersResponse *answer;
    in.user_id = text(req, user_id);
    in.limit = limit;
    in.cursor = text(req, cursor);
    enum err err = call(req, PEER_ORDER, &procedure, &in, &answer);
    if (err)
        return err;
    struct order *orders = arena_array(req->arena, struct order, answer->n_orders);
    for (size_t i = 0; i < answer->n_orders; i++)
        take_order(answer->orders[i], &orders[i]);
    out->orders = (struct json_array){.items = orders, .count = answer->n_orders};
    out->next_cursor = *answer->next_cursor ? answer->next_cursor : NULL;
    return ERR_OK;
}

/* --- inventory */

static void take_stock(const Inventory__InventoryResponse *from, struct stock *out)
{
    *out = (struct stock){.product_id = from->product_id, .quantity = from->quantity};
}

enum err stock_get(struct request *req, struct uuid product_id, struct stock *out)
{
    static const struct rpc_procedure procedure = RPC_PROCEDURE(
        "inventory.Inventory/GetInventory", inventory__get_inventory_request, inventory__inventory_response);
    Inventory__GetInventoryRequest in = INVENTORY__GET_INVENTORY_REQUEST__INIT;
    Inventory__InventoryResponse *answer;
    in.product_id = print_id(req, product_id);
    enum err err = call(req, PEER_INVENTORY, &procedure, &in, &answer);
    if (!err)
        take_stock(answer, out);
    return err;
}

enum err stock_set(struct request *req, struct uuid product_id, int64_t quantity, struct stock *out)
{
    static const struct rpc_procedure procedure = RPC_PROCEDURE(
        "inventory.Inventory/SetInventory", inventory__set_inventory_request, inventory__inventory_response);
    Inventory__SetInventoryRequest in = INVENTORY__SET_INVENTORY_REQUEST__INIT;
    Inventory__InventoryResponse *answer;
    in.product_id = print_id(req, product_id);
    in.quantity = (int32_t)quantity;
    enum err err = call(req, PEER_INVENTORY, &procedure, &in, &answer);
    if (!err)
        take_stock(answer, out);
    return err;
}
