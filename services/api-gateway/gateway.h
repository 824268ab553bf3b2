/* The gateway's own words: what clients send and get, and whom it asks. */
#ifndef API_GATEWAY_GATEWAY_H
#define API_GATEWAY_GATEWAY_H

#include "common/http.h"
#include "common/json.h"
#include "common/request.h"

enum { QUANTITY_MAX = 1000000, STOCK_MAX = 1000000000, LIST_LIMIT_MAX = 100 };

enum peer { PEER_USER, PEER_ORDER, PEER_INVENTORY };

/* Ids are texts here: they come checked, and go on to the services as they are. */
struct user {
    const char *id, *email, *name;
};

struct order_draft {
    struct uuid user_id, product_id;
    int64_t quantity;
    const char *key; /* Idempotency-Key, "" for none */
};

struct order {
    const char *id, *user_id, *product_id;
    int64_t quantity;
    const char *status;
};

struct order_page {
    struct json_array orders; /* of struct order */
    const char *next_cursor;
};

struct stock {
    const char *product_id;
    int64_t quantity;
};

/* shapes.c: how they look as JSON. */
extern const struct json_shape user_shape, order_draft_shape, order_shape, order_page_shape, stock_shape;

/* rules.c: decisions without I/O. */
/* The header's value, bare or quoted, as the key that it means; "" when there is none. */
enum err idempotency_key_read(struct request *req, const char *header, const char **out);
enum err list_limit_read(struct request *req, const char *text, int32_t *out);
/* What the order service's refusal means to a client. */
enum err order_refused(struct request *req, enum err err);

/* peers.c: calls to the services. */
enum err user_create(struct request *req, const struct user *draft, struct user *out);
enum err user_get(struct request *req, struct uuid id, struct user *out);
enum err order_create(struct request *req, const struct order_draft *draft, struct order *out);
enum err order_get(struct request *req, struct uuid id, struct order *out);
enum err order_list(struct request *req, const char *user_id, int32_t limit, const char *cursor, struct order_page *out);
enum err stock_get(struct request *req, struct uuid product_id, struct stock *out);
enum err stock_set(struct request *req, struct uuid product_id, int64_t quantity, struct stock *out);

/* handlers.c */
http_handler get_health, get_ready, post_user, get_user, post_order, get_order, get_orders, get_inventory, put_inventory;

#endif
