#include "gateway.h"
#include "inventory.pb-c.h"
#include "order.pb-c.h"
#include "user.pb-c.h"

/* Asked twice is the same as once: these are tried again when a service was away for a moment. */
#define REPEATABLE(name_, in_, out_)                                                                                   \
    {                                                                                                                  \
        .name = (name_), .in = &in_##__descriptor, .out = &out_##__descriptor, .repeatable = true                      \
    }

/* --- users */

const struct rpc_procedure create_user =
    RPC_PROCEDURE("user.User/CreateUser", user__create_user_request, user__user_response);
const struct rpc_procedure find_user = REPEATABLE("user.User/GetUser", user__get_user_request, user__user_response);

static const struct json_field user_draft_fields[] = {
    {"email", offsetof(User__CreateUserRequest, email), JSON_FIELD_TEXT},
    {"name", offsetof(User__CreateUserRequest, name), JSON_FIELD_TEXT},
    {"password", offsetof(User__CreateUserRequest, password), JSON_FIELD_TEXT, .optional = true, .min = 1, .max = 128},
};
const struct json_shape user_draft_shape = JSON_SHAPE(User__CreateUserRequest, user_draft_fields);

static const struct json_field user_fields[] = {
    {"id", offsetof(User__UserResponse, id), JSON_FIELD_TEXT},
    {"email", offsetof(User__UserResponse, email), JSON_FIELD_TEXT},
    {"name", offsetof(User__UserResponse, name), JSON_FIELD_TEXT},
};
const struct json_shape user_shape = JSON_SHAPE(User__UserResponse, user_fields);

/* --- log-in */

const struct rpc_procedure log_in = RPC_PROCEDURE("user.User/Login", user__login_request, user__login_response);
const struct rpc_procedure list_keys =
    REPEATABLE("user.User/ListKeys", user__list_keys_request, user__list_keys_response);

static const struct json_field login_draft_fields[] = {
    {"email", offsetof(User__LoginRequest, email), JSON_FIELD_TEXT},
    {"password", offsetof(User__LoginRequest, password), JSON_FIELD_TEXT},
};
const struct json_shape login_draft_shape = JSON_SHAPE(User__LoginRequest, login_draft_fields);

static const struct json_field login_fields[] = {
    {"access_token", offsetof(User__LoginResponse, access_token), JSON_FIELD_TEXT},
    {"token_type", offsetof(User__LoginResponse, token_type), JSON_FIELD_TEXT},
    {"expires_in", offsetof(User__LoginResponse, expires_in), JSON_FIELD_INT32, .max = AUTH_TOKEN_LIFE_S},
};
const struct json_shape login_shape = JSON_SHAPE(User__LoginResponse, login_fields);

/* --- orders */

const struct rpc_procedure create_order =
    RPC_PROCEDURE("order.Order/CreateOrder", order__create_order_request, order__order_response);
const struct rpc_procedure create_keyed_order =
    REPEATABLE("order.Order/CreateOrder", order__create_order_request, order__order_response);
const struct rpc_procedure find_order =
    REPEATABLE("order.Order/GetOrder", order__get_order_request, order__order_response);
const struct rpc_procedure list_orders =
    REPEATABLE("order.Order/ListOrders", order__list_orders_request, order__list_orders_response);

const struct rpc_procedure cancel_order =
    REPEATABLE("order.Order/CancelOrder", order__cancel_order_request, order__order_response);

static const struct json_field order_draft_fields[] = {
    {"user_id", offsetof(Order__CreateOrderRequest, user_id), JSON_FIELD_UUID_TEXT},
    {"product_id", offsetof(Order__CreateOrderRequest, product_id), JSON_FIELD_UUID_TEXT},
    {"quantity", offsetof(Order__CreateOrderRequest, quantity), JSON_FIELD_INT32, .min = 1, .max = QUANTITY_MAX},
};
const struct json_shape order_draft_shape = JSON_SHAPE(Order__CreateOrderRequest, order_draft_fields);

static const struct json_field order_fields[] = {
    {"id", offsetof(Order__OrderResponse, id), JSON_FIELD_TEXT},
    {"user_id", offsetof(Order__OrderResponse, user_id), JSON_FIELD_TEXT},
    {"product_id", offsetof(Order__OrderResponse, product_id), JSON_FIELD_TEXT},
    {"quantity", offsetof(Order__OrderResponse, quantity), JSON_FIELD_INT32, .max = QUANTITY_MAX},
    {"status", offsetof(Order__OrderResponse, status), JSON_FIELD_TEXT},
};
const struct json_shape order_shape = JSON_SHAPE(Order__OrderResponse, order_fields);

static const struct json_field order_page_fields[] = {
    {"orders", offsetof(Order__ListOrdersResponse, n_orders), JSON_FIELD_REPEATED, .shape = &order_shape},
    {"next_cursor", offsetof(Order__ListOrdersResponse, next_cursor), JSON_FIELD_TEXT, .empty_is_null = true},
};
const struct json_shape order_page_shape = JSON_SHAPE(Order__ListOrdersResponse, order_page_fields);

/* --- inventory */

const struct rpc_procedure find_stock =
    REPEATABLE("inventory.Inventory/GetInventory", inventory__get_inventory_request, inventory__inventory_response);
const struct rpc_procedure set_stock =
    REPEATABLE("inventory.Inventory/SetInventory", inventory__set_inventory_request, inventory__inventory_response);

static const struct json_field stock_draft_fields[] = {
    {"quantity", offsetof(Inventory__SetInventoryRequest, quantity), JSON_FIELD_INT32, .max = STOCK_MAX},
};
const struct json_shape stock_draft_shape = JSON_SHAPE(Inventory__SetInventoryRequest, stock_draft_fields);

static const struct json_field stock_fields[] = {
    {"product_id", offsetof(Inventory__InventoryResponse, product_id), JSON_FIELD_TEXT},
    {"quantity", offsetof(Inventory__InventoryResponse, quantity), JSON_FIELD_INT32, .max = STOCK_MAX},
};
const struct json_shape stock_shape = JSON_SHAPE(Inventory__InventoryResponse, stock_fields);
