/* The inventory service's own words: stock, and what orders have taken from it. */
#ifndef INVENTORY_SERVICE_INVENTORY_H
#define INVENTORY_SERVICE_INVENTORY_H

#include "common/request.h"
#include "common/rpc.h"
#include "common/service.h"
#include "common/stream.h"

enum { QUANTITY_MAX = 1000000, STOCK_MAX = 1000000000, SWEEP_BATCH = 100 };

enum peer { PEER_ORDER, PEER_USER };

struct inventory_settings {
    struct service_settings service;
    int resolve_after_s;
};

struct reservation {
    struct uuid order_id, product_id;
    int32_t quantity;
};

/* rules.c: decisions without I/O. */
enum err check_quantity(struct request *req, int32_t quantity);
enum err check_stock(struct request *req, int32_t quantity);
/* What a reservation's answer means: *out_held, or an error when the order's id stands for something else. */
enum err judge_reservation(struct request *req, const char *outcome, bool *out_held);

/* store.c */
enum err stock_find(struct request *req, struct uuid product_id, int32_t *out_quantity);
enum err stock_set(struct request *req, struct uuid product_id, int32_t quantity);
enum err reservation_take(struct request *req, const struct reservation *wanted, bool *out_held);
enum err reservation_release(struct request *req, struct uuid order_id, bool *out_released);
/* Gives the stock of cancelled orders back, once. */
enum err reservations_cancel(struct request *req, const struct uuid *order_ids, unsigned count);
/* Up to SWEEP_BATCH orders whose reservations have been held for after_s; nobody else gets them for a moment. */
enum err reservations_stale(struct request *req, int after_s, struct uuid **out_order_ids, unsigned *out_count);
enum err reservations_commit(struct request *req, const struct uuid *order_ids, unsigned count);

/* handlers.c */
rpc_handler check_inventory, deduct_inventory, get_inventory, set_inventory, release_inventory;

/* peers.c */
enum err order_resolve(struct request *req, struct uuid order_id, bool *out_exists);

/* consumer.c */
stream_handler orders_created, orders_cancelled;

/* sweeper.c: a round through the reservations that nobody settled. */
enum err resolve_reservations(struct request *req, bool *out_more);

#endif
