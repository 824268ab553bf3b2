/* The order service's own words: what an order is, how it comes to be, and how the world hears of it. */
#ifndef ORDER_SERVICE_ORDER_H
#define ORDER_SERVICE_ORDER_H

#include "common/db.h"
#include "common/request.h"
#include "common/rpc.h"

enum { QUANTITY_MAX = 1000000, LIST_LIMIT = 20, LIST_LIMIT_MAX = 100, CURSOR_TEXT_BYTES = 49 };

enum peer { PEER_INVENTORY, PEER_USER };
enum task { TASK_RELAY, TASK_RECONCILER };

struct order {
    struct uuid id, user_id, product_id;
    int32_t quantity;
    const char *status;
    int64_t created_at_ns;
};

/* What somebody wants to order; its id is the order's. */
struct draft {
    struct uuid id, user_id, product_id;
    int32_t quantity;
};

struct order_page {
    struct order *orders;
    unsigned count;
};

/* A place in a user's list: the order that the page before ended with. */
struct cursor {
    int64_t created_at_ns;
    struct uuid id;
};

/* rules.c: decisions without I/O. */
enum err draft_check(struct request *req, const char *user_id, const char *product_id, int32_t quantity,
                     const char *key, struct draft *out);
/* A repeated request gets its order; one with another body is refused. */
enum err order_replay(struct request *req, const struct draft *draft, const struct order *known);
/* After such an error of a write, nothing was written. */
bool nothing_written(enum err err);
char *cursor_print(struct cursor cursor, char out[CURSOR_TEXT_BYTES]);
enum err cursor_read(struct request *req, const char *text, struct cursor *out);
enum err list_limit_read(struct request *req, int32_t limit, unsigned *out);

/* store.c */
struct order_start {
    bool user_exists, order_exists;
    struct order order; /* when it exists */
};
enum err order_start(struct request *req, const struct draft *draft, struct order_start *out);
/* *out_created is false when somebody decided the order's fate before: it exists, or never will. */
enum err order_insert(struct request *req, const struct draft *draft, struct order *out, bool *out_created);
/* Decides that the order will never exist; *out_abandoned is false when somebody decided its fate before. */
enum err order_abandon(struct request *req, struct uuid id, bool *out_abandoned);
enum err order_exists(struct request *req, struct uuid id, bool *out_exists);
/* *out_changed is false when it had been cancelled before. */
enum err order_cancel(struct request *req, struct uuid id, struct order *out, bool *out_changed);
enum err order_find(struct request *req, struct uuid id, struct order *out);
enum err order_list(struct request *req, struct uuid user_id, struct cursor after, unsigned limit,
                    struct order_page *out);

struct outbox_event {
    const char *event, *payload, *traceparent, *tracestate, *baggage;
};
struct outbox_batch {
    struct outbox_event *events;
    unsigned count;
    const char *run; /* the run of Redis that events go to; it stays that until the transaction ends */
};
enum { RELAY_BATCH = 500, RELAY_MAX_MS = 10000, PRUNE_BATCH = 1000, KEEP_DAYS = 7 };
/* Takes up to RELAY_BATCH unpublished events, oldest first, and marks them published if the transaction commits. */
enum err outbox_take(struct request *req, struct db_tx *tx, struct outbox_batch *out);
/* Deletes up to PRUNE_BATCH events that were published and are older than KEEP_DAYS. */
enum err outbox_prune(struct request *req, unsigned *out_count);
/* How long the oldest unpublished event has waited; 0 when none does. */
enum err outbox_age(struct request *req, int64_t *out_ms);

enum { REPUBLISH_BATCH = 5000, REPUBLISH_MINUTES = 5 };
enum err redis_run_known(struct request *req, const char *run, bool *out_known);
/* Waits until no relay sends, and keeps them from it. *out_known: somebody else was faster. */
enum err redis_run_lock(struct request *req, struct db_tx *tx, const char *run, bool *out_known);
enum err redis_run_set(struct request *req, struct db_tx *tx, const char *run);
/* Takes the mark from up to REPUBLISH_BATCH events that were published in the last age_ms (less than 0: ever), but none
 * from more than REPUBLISH_MINUTES before the known run of Redis was seen last. */
enum err outbox_unpublish(struct request *req, struct db_tx *tx, int64_t age_ms, unsigned *out_count);

/* peers.c */
enum err inventory_deduct(struct request *req, const struct draft *draft);
enum err inventory_release(struct request *req, struct uuid order_id);

/* handlers.c */
rpc_handler create_order, get_order, list_orders, cancel_order, resolve_order;

/* relay.c: a round of the outbox's way to the streams; of its cleaning; and of telling how late it is. */
enum err relay_outbox(struct request *req, bool *out_more);
enum err prune_outbox(struct request *req, bool *out_more);
enum err watch_outbox(struct request *req, bool *out_more);

/* reconcile.c: a round of the look for events that Redis has lost. */
enum err reconcile_streams(struct request *req, bool *out_more);

#endif
