#include "order.h"

#define ORDER_COLUMNS "id, user_id, product_id, quantity, status, created_at"

static void read_order(const struct db_rows *rows, unsigned row, unsigned column, struct order *out)
{
    *out = (struct order){
        .id = db_get_uuid(rows, row, column),
        .user_id = db_get_uuid(rows, row, column + 1),
        .product_id = db_get_uuid(rows, row, column + 2),
        .quantity = db_get_int4(rows, row, column + 3),
        .status = db_get_text(rows, row, column + 4),
        .created_at_ns = db_get_time(rows, row, column + 5),
    };
}

enum err order_start(struct request *req, const struct draft *draft, struct order_start *out)
{
    static const struct db_statement statement = {
        .name = "order_start",
        .summary = "SELECT users, orders",
        .sql = "select u.id is not null, o.id, o.user_id, o.product_id, o.quantity, o.status, o.created_at"
               " from (values ($1::uuid, $2::uuid)) as given (user_id, order_id)"
               " left join users u on u.id = given.user_id left join orders o on o.id = given.order_id",
        .params = "uu",
        .columns = "buuuitz",
    };
    struct db_rows rows;
    enum err err = db_query(req, &statement, DB_PARAMS(db_uuid(draft->user_id), db_uuid(draft->id)), &rows);
    if (err)
        return err;
    out->user_exists = db_get_bool(&rows, 0, 0);
    out->order_exists = !db_is_null(&rows, 0, 1);
    read_order(&rows, 0, 1, &out->order);
    return ERR_OK;
}

/* One statement decides the order's fate, writes it, and its event as the streams carry it. */
enum err order_insert(struct request *req, const struct draft *draft, struct order *out, bool *out_created)
{
    static const struct db_statement insert = {
        .name = "order_insert",
        .summary = "INSERT outbox, orders",
        .sql = "with given as ("
               "    select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::timestamptz[], $6::text[],"
               "        $7::text[], $8::text[]) with ordinality as g (id, user_id, product_id, quantity, created_at,"
               "        traceparent, tracestate, baggage, ord)"
               "), decided as ("
               "    insert into outbox (order_id, event, created_at, payload, trace_context)"
               "    select id, 'created', created_at, jsonb_build_object('order_id', id, 'user_id', user_id,"
               "        'product_id', product_id, 'quantity', quantity, 'timestamp',"
               "        to_char(created_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')),"
               "        jsonb_strip_nulls(jsonb_build_object('traceparent', traceparent, 'tracestate', tracestate,"
               "        'baggage', baggage)) from given order by id"
               "    on conflict do nothing returning order_id"
               "), made as ("
               "    insert into orders (id, user_id, product_id, quantity, created_at)"
               "    select distinct on (id) id, user_id, product_id, quantity, created_at"
               "    from given join decided on order_id = id order by id, ord"
               ") select distinct on (id) ord, id from given join decided on order_id = id"
               "    order by id, ord",
        .params = "uuuizttt",
        .columns = "u",
        .coalesce_rows = 128,
    };
    struct order order = {
        .id = draft->id,
        .user_id = draft->user_id,
        .product_id = draft->product_id,
        .quantity = draft->quantity,
        .status = "pending",
        .created_at_ns = clock_wall_ns() / NS_PER_US * NS_PER_US,
    };
    char parent[TRACE_PARENT_BYTES];
    struct db_rows rows;
    enum err err = db_query(req, &insert,
                            DB_PARAMS(db_uuid(order.id), db_uuid(order.user_id), db_uuid(order.product_id),
                                      db_int4(order.quantity), db_time(order.created_at_ns),
                                      db_text(trace_format(&req->trace, parent)), db_text(req->trace.state),
                                      db_text(req->trace.baggage)),
                            &rows);
    if (err)
        return err;
    *out_created = rows.count > 0;
    *out = order;
    return ERR_OK;
}

enum err order_abandon(struct request *req, struct uuid id, bool *out_abandoned)
{
    static const struct db_statement abandon = {
        .name = "order_abandon",
        .summary = "INSERT outbox",
        .sql = "insert into outbox (order_id, event, published_at)"
               " select $1, 'created', now() where not exists (select from orders where id = $1)"
               " on conflict do nothing returning order_id",
        .params = "u",
        .columns = "u",
    };
    struct db_rows rows;
    enum err err = db_query(req, &abandon, DB_PARAMS(db_uuid(id)), &rows);
    if (!err)
        *out_abandoned = rows.count > 0;
    return err;
}

enum err order_exists(struct request *req, struct uuid id, bool *out_exists)
{
    static const struct db_statement exists = {
        .name = "order_exists",
        .summary = "SELECT orders",
        .sql = "select exists (select from orders where id = $1)",
        .params = "u",
        .columns = "b",
    };
    struct db_rows rows;
    enum err err = db_query(req, &exists, DB_PARAMS(db_uuid(id)), &rows);
    if (!err)
        *out_exists = db_get_bool(&rows, 0, 0);
    return err;
}

/* The order and its event change in one statement. Whoever comes second waits for the first, finds nothing to do, and
 * still knows: from here on it is cancelled. */
enum err order_cancel(struct request *req, struct uuid id, struct order *out, bool *out_changed)
{
    static const struct db_statement cancel = {
        .name = "order_cancel",
        .summary = "UPDATE orders",
        .sql = "with gone as ("
               "    update orders set status = 'cancelled' where id = $1 and status = 'pending'"
               "    returning " ORDER_COLUMNS "), told as ("
               "    insert into outbox (order_id, event, payload, trace_context)"
               "    select id, 'cancelled', jsonb_build_object('order_id', id, 'user_id', user_id,"
               "        'product_id', product_id, 'quantity', quantity, 'timestamp',"
               "        to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')),"
               "        jsonb_strip_nulls(jsonb_build_object('traceparent', $2::text, 'tracestate', $3::text,"
               "        'baggage', $4::text))"
               "    from gone"
               ") select id, user_id, product_id, quantity, 'cancelled'::text, created_at, true from gone"
               " union all select id, user_id, product_id, quantity, 'cancelled'::text, created_at, false"
               "    from orders where id = $1 and not exists (select from gone)",
        .params = "uttt",
        .columns = "uuuitzb",
    };
    char parent[TRACE_PARENT_BYTES];
    struct db_rows rows;
    enum err err = db_query(req, &cancel,
                            DB_PARAMS(db_uuid(id), db_text(trace_format(&req->trace, parent)),
                                      db_text(req->trace.state), db_text(req->trace.baggage)),
                            &rows);
    if (err)
        return err;
    if (rows.count == 0)
        return fail(req, ERR_NOT_FOUND, "no such order");
    read_order(&rows, 0, 0, out);
    *out_changed = db_get_bool(&rows, 0, 6);
    return ERR_OK;
}

enum err order_find(struct request *req, struct uuid id, struct order *out)
{
    static const struct db_statement by_id = {
        .name = "order_by_id",
        .summary = "SELECT orders",
        .sql = "select " ORDER_COLUMNS " from orders where id = $1",
        .params = "u",
        .columns = "uuuitz",
    };
    struct db_rows rows;
    enum err err = db_query(req, &by_id, DB_PARAMS(db_uuid(id)), &rows);
    if (err)
        return err;
    if (rows.count == 0)
        return fail(req, ERR_NOT_FOUND, "no such order");
    read_order(&rows, 0, 0, out);
    return ERR_OK;
}

enum err order_list(struct request *req, struct uuid user_id, struct cursor after, unsigned limit,
                    struct order_page *out)
{
    static const struct db_statement by_user = {
        .name = "orders_by_user",
        .summary = "SELECT orders",
        .sql = "select " ORDER_COLUMNS " from orders where user_id = $1 and (created_at, id) < ($2, $3)"
               " order by created_at desc, id desc limit $4",
        .params = "uzul",
        .columns = "uuuitz",
    };
    struct db_rows rows;
    enum err err =
        db_query(req, &by_user,
                 DB_PARAMS(db_uuid(user_id), db_time(after.created_at_ns), db_uuid(after.id), db_int8(limit)), &rows);
    if (err)
        return err;
    out->count = rows.count;
    out->orders = arena_array(req->arena, struct order, rows.count);
    for (unsigned i = 0; i < rows.count; i++)
        read_order(&rows, i, 0, &out->orders[i]);
    return ERR_OK;
}

enum err outbox_take(struct request *req, struct db_tx *tx, struct outbox_batch *out)
{
    static const struct db_statement take = {
        .name = "outbox_take",
        .summary = "UPDATE outbox",
        .sql = "with waiting as ("
               "    select order_id, event from outbox where published_at is null"
               "    order by created_at limit $1 for update skip locked"
               "), taken as ("
               "    update outbox o set published_at = now() from waiting w"
               "    where o.order_id = w.order_id and o.event = w.event returning o.*"
               "), known as ("
               "    select run from redis_run for key share"
               ") select event, payload, trace_context ->> 'traceparent', trace_context ->> 'tracestate',"
               "    trace_context ->> 'baggage', run from taken, known order by created_at",
        .params = "l",
        .columns = "tjtttt",
    };
    struct db_rows rows;
    enum err err = db_tx_query(req, tx, &take, DB_PARAMS(db_int8(RELAY_BATCH)), &rows);
    if (err)
        return err;
    struct outbox_event *events = arena_array(req->arena, struct outbox_event, rows.count);
    for (unsigned i = 0; i < rows.count; i++)
        events[i] = (struct outbox_event){
            .event = db_get_text(&rows, i, 0),
            .payload = db_get_text(&rows, i, 1),
            .traceparent = db_get_text(&rows, i, 2),
            .tracestate = db_get_text(&rows, i, 3),
            .baggage = db_get_text(&rows, i, 4),
        };
    out->events = events;
    out->count = rows.count;
    out->run = rows.count ? db_get_text(&rows, 0, 5) : NULL;
    return ERR_OK;
}

enum err outbox_prune(struct request *req, unsigned *out_count)
{
    static const struct db_statement prune = {
        .name = "outbox_prune",
        .summary = "DELETE outbox",
        .sql = "delete from outbox where (order_id, event) in ("
               "    select order_id, event from outbox"
               "    where created_at < now() - $1 * interval '1 day' and published_at is not null"
               "    limit $2 for update skip locked)"
               " returning order_id",
        .params = "il",
        .columns = "u",
    };
    struct db_rows rows;
    enum err err = db_query(req, &prune, DB_PARAMS(db_int4(KEEP_DAYS), db_int8(PRUNE_BATCH)), &rows);
    if (!err)
        *out_count = rows.count;
    return err;
}

enum err outbox_age(struct request *req, int64_t *out_ms)
{
    static const struct db_statement age = {
        .name = "outbox_age",
        .summary = "SELECT outbox",
        .sql = "select coalesce(extract(epoch from now() - min(created_at)) * 1000, 0)::bigint"
               " from outbox where published_at is null",
        .params = "",
        .columns = "l",
    };
    struct db_rows rows;
    enum err err = db_query(req, &age, DB_NO_PARAMS, &rows);
    if (!err)
        *out_ms = db_get_int8(&rows, 0, 0);
    return err;
}

/* Once a minute the run is noted as seen. */
enum err redis_run_known(struct request *req, const char *run, bool *out_known)
{
    static const struct db_statement known = {
        .name = "redis_run_known",
        .summary = "SELECT redis_run",
        .sql = "with seen as ("
               "    update redis_run set seen_at = now() where run = $1 and seen_at < now() - interval '1 minute'"
               ") select run = $1 from redis_run",
        .params = "t",
        .columns = "b",
    };
    struct db_rows rows;
    enum err err = db_query(req, &known, DB_PARAMS(db_text(run)), &rows);
    if (!err)
        *out_known = db_get_bool(&rows, 0, 0);
    return err;
}

enum err redis_run_lock(struct request *req, struct db_tx *tx, const char *run, bool *out_known)
{
    static const struct db_statement lock = {
        .name = "redis_run_lock",
        .summary = "SELECT redis_run",
        .sql = "select run from redis_run where run <> $1 for update",
        .params = "t",
        .columns = "t",
    };
    struct db_rows rows;
    enum err err = db_tx_query(req, tx, &lock, DB_PARAMS(db_text(run)), &rows);
    if (!err)
        *out_known = rows.count == 0;
    return err;
}

enum err redis_run_set(struct request *req, struct db_tx *tx, const char *run)
{
    static const struct db_statement set = {
        .name = "redis_run_set",
        .summary = "UPDATE redis_run",
        .sql = "update redis_run set run = $1, seen_at = now()",
        .params = "t",
        .columns = "",
    };
    return db_tx_query(req, tx, &set, DB_PARAMS(db_text(run)), NULL);
}

enum err outbox_unpublish(struct request *req, struct db_tx *tx, int64_t age_ms, unsigned *out_count)
{
    static const struct db_statement unpublish = {
        .name = "outbox_unpublish",
        .summary = "UPDATE outbox",
        .sql = "update outbox set published_at = null where (order_id, event) in ("
               "    select order_id, event from outbox where payload is not null and published_at >="
               "        (select greatest(now() - $1 * interval '1 ms', seen_at - $2 * interval '1 minute')"
               "        from redis_run) limit $3)"
               " returning order_id",
        .params = "lil",
        .columns = "u",
    };
    struct db_rows rows;
    enum err err = db_tx_query(
        req, tx, &unpublish,
        DB_PARAMS(age_ms < 0 ? db_null('l') : db_int8(age_ms), db_int4(REPUBLISH_MINUTES), db_int8(REPUBLISH_BATCH)),
        &rows);
    if (!err)
        *out_count = rows.count;
    return err;
}
