/* The gateway's own words: how messages look as JSON, whom it asks, what it decides itself. */
#ifndef API_GATEWAY_GATEWAY_H
#define API_GATEWAY_GATEWAY_H

#include "common/http.h"
#include "common/json.h"
#include "common/rpc.h"
#include "common/service.h"

enum { QUANTITY_MAX = 1000000, STOCK_MAX = 1000000000, LIST_LIMIT_MAX = 100 };

struct gateway_settings {
    struct service_settings service;
    int proxies; /* in front, each adding to X-Forwarded-For */
};

enum peer { PEER_USER, PEER_ORDER, PEER_INVENTORY };

/* api.c: the services' procedures, and the shapes of their messages. */
extern const struct rpc_procedure create_user, find_user, create_order, create_keyed_order, find_order, list_orders,
    cancel_order, find_stock, set_stock, log_in, list_keys;
extern const struct json_shape user_draft_shape, user_shape, order_draft_shape, order_shape, order_page_shape,
    stock_draft_shape, stock_shape, login_draft_shape, login_shape;

/* rules.c: decisions without I/O. */
/* The header's value, bare or quoted, as the key that it means; "" when there is none. */
enum err idempotency_key_read(struct request *req, const char *header, char **out);
enum err list_limit_read(struct request *req, const char *text, int32_t *out);
/* The client's address, without a port: the connection's own, or the one that the outermost of the proxies saw. */
char *client_address(struct request *req, const char *peer, const char *forwarded_for, int proxies);
/* What the order service's refusal means to a client. */
enum err order_refused(struct request *req, enum err err);

/* handlers.c */
http_handler get_health, get_ready, post_user, get_user, post_order, post_cancel, get_order, get_orders, get_inventory,
    put_inventory, post_login, get_jwks;

#endif
