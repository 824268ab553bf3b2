#include "common/db.h"

#include <string.h>

#include "inventory.h"

enum err stock_find(struct request *req, struct uuid product_id, int32_t *out_quantity)
{
    static const struct db_statement by_product = {
        .name = "stock_by_product",
        .summary = "SELECT inventory",
        .sql = "select quantity from inventory where product_id = $1",
        .params = "u",
        .columns = "i",
    };
    struct db_rows rows;
    enum err err = db_query(req, &by_product, DB_PARAMS(db_uuid(product_id)), &rows);
    if (err)
        return err;
    if (rows.count == 0)
        return fail(req, ERR_NOT_FOUND, "no such product");
    *out_quantity = db_get_int4(&rows, 0, 0);
    return ERR_OK;
}

enum err stock_set(struct request *req, struct uuid product_id, int32_t quantity)
{
    static const struct db_statement set = {
        .name = "stock_set",
        .summary = "UPSERT inventory",
        .sql = "insert into inventory (product_id, quantity) values ($1, $2)"
               " on conflict (product_id) do update set quantity = excluded.quantity, updated_at = now()",
        .params = "ui",
        .columns = "",
    };
    return db_query(req, &set, DB_PARAMS(db_uuid(product_id), db_int4(quantity)), NULL);
}

/* All orders that arrive together are judged by one statement, in their order of arrival. An order id that is
 * known answers as the first time. Of the others, those that fit one after the other into the locked stock take
 * it; one that fits alone, but not behind its neighbours, or met its own twin, is asked to come again. */
static const struct db_statement take = {
    .name = "reservation_take",
    .summary = "INSERT reservations",
    .sql = "with given as ("
           "    select * from unnest($1::uuid[], $2::uuid[], $3::int[]) with ordinality"
           "        as g (order_id, product_id, quantity, ord)"
           "), known as ("
           "    select order_id, product_id, quantity, state from reservations where order_id = any($1)"
           "), fresh as ("
           "    select * from given where order_id not in (select order_id from known)"
           "), stock as ("
           "    select product_id, quantity from inventory where product_id in (select product_id from fresh)"
           "    order by product_id for update"
           "), fitting as ("
           "    select f.*, s.quantity as available,"
           "        sum(f.quantity) over (partition by f.product_id order by f.ord) as wanted"
           "    from fresh f join stock s using (product_id) where f.quantity <= s.quantity"
           "), taken as ("
           "    insert into reservations (order_id, product_id, quantity)"
           "    select order_id, product_id, quantity from fitting where wanted <= available order by order_id"
           "    on conflict do nothing returning order_id, product_id, quantity"
           "), moved as ("
           "    update inventory i set quantity = i.quantity - t.quantity, updated_at = now()"
           "    from (select product_id, sum(quantity)::int as quantity from taken group by product_id) t"
           "    where i.product_id = t.product_id"
           ") select g.ord, case"
           "    when k.state = 'released' then 'released'"
           "    when (k.product_id, k.quantity) <> (g.product_id, g.quantity) then 'other'"
           "    when k.order_id is not null or t.order_id is not null then 'held'"
           "    when f.ord is not null then 'again'"
           "    else 'short' end"
           " from given g left join known k on k.order_id = g.order_id left join fitting f on f.ord = g.ord"
           " left join taken t on (t.order_id, t.product_id, t.quantity) = (g.order_id, g.product_id, g.quantity)",
    .params = "uui",
    .columns = "t",
    .coalesce_rows = 128,
};

enum err reservation_take(struct request *req, const struct reservation *wanted, bool *out_held)
{
    const char *outcome;
    do {
        struct db_rows rows;
        enum err err = db_query(
            req, &take, DB_PARAMS(db_uuid(wanted->order_id), db_uuid(wanted->product_id), db_int4(wanted->quantity)),
            &rows);
        if (err)
            return err;
        outcome = db_get_text(&rows, 0, 0);
    } while (strcmp(outcome, "again") == 0);
    return judge_reservation(req, outcome, out_held);
}

enum err reservation_release(struct request *req, struct uuid order_id, bool *out_released)
{
    static const struct db_statement release = {
        .name = "reservation_release",
        .summary = "UPDATE reservations",
        .sql = "with freed as ("
               "    update reservations set state = 'released', updated_at = now()"
               "    where order_id = $1 and state = 'held' returning product_id, quantity"
               ") update inventory i set quantity = i.quantity + f.quantity, updated_at = now()"
               " from freed f where i.product_id = f.product_id returning i.quantity",
        .params = "u",
        .columns = "i",
    };
    struct db_rows rows;
    enum err err = db_query(req, &release, DB_PARAMS(db_uuid(order_id)), &rows);
    if (!err)
        *out_released = rows.count > 0;
    return err;
}

/* Products are locked in their order, as by everybody who touches several. */
enum err reservations_cancel(struct request *req, const struct uuid *order_ids, unsigned count)
{
    static const struct db_statement cancel = {
        .name = "reservations_cancel",
        .summary = "UPDATE reservations",
        .sql = "with stock as ("
               "    select product_id from inventory where product_id in ("
               "        select product_id from reservations where order_id = any($1) and state <> 'released')"
               "    order by product_id for update"
               "), freed as ("
               "    update reservations set state = 'released', updated_at = now()"
               "    where order_id = any($1) and state <> 'released' and product_id in (select product_id from stock)"
               "    returning product_id, quantity"
               ") update inventory i set quantity = i.quantity + f.quantity, updated_at = now()"
               " from (select product_id, sum(quantity)::int as quantity from freed group by product_id) f"
               " where i.product_id = f.product_id",
        .params = "U",
        .columns = "",
    };
    return db_query(req, &cancel, DB_PARAMS(db_uuids(order_ids, count)), NULL);
}

enum err reservations_stale(struct request *req, int after_s, struct uuid **out_order_ids, unsigned *out_count)
{
    static const struct db_statement stale = {
        .name = "reservations_stale",
        .summary = "UPDATE reservations",
        .sql = "update reservations set updated_at = now() where order_id in ("
               "    select order_id from reservations where state = 'held'"
               "    and created_at < now() - $1 * interval '1 second' and updated_at < now() - interval '2 seconds'"
               "    order by created_at limit $2 for update skip locked)"
               " returning order_id",
        .params = "il",
        .columns = "u",
    };
    struct db_rows rows;
    enum err err = db_query(req, &stale, DB_PARAMS(db_int4(after_s), db_int8(SWEEP_BATCH)), &rows);
    if (err)
        return err;
    *out_order_ids = arena_array(req->arena, struct uuid, rows.count);
    for (unsigned i = 0; i < rows.count; i++)
        (*out_order_ids)[i] = db_get_uuid(&rows, i, 0);
    *out_count = rows.count;
    return ERR_OK;
}

enum err reservations_commit(struct request *req, const struct uuid *order_ids, unsigned count)
{
    static const struct db_statement commit = {
        .name = "reservations_commit",
        .summary = "UPDATE reservations",
        .sql = "update reservations set state = 'committed', updated_at = now()"
               " where order_id = any($1) and state = 'held'",
        .params = "U",
        .columns = "",
    };
    return db_query(req, &commit, DB_PARAMS(db_uuids(order_ids, count)), NULL);
}
