#include <hiredis/hiredis.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chaos/chaos.h"
#include "common/clock.h"
#include "common/mem.h"

enum { ROWS = 500, ROW_BYTES = 200 };

/* --- rest */

static long pending(struct shop *shop, const char *stream)
{
    redisContext *context = redisConnect("127.0.0.1", shop->redis.port);
    redisReply *reply = redisCommand(context, "XPENDING %s inventory", stream);
    long count = reply && reply->type == REDIS_REPLY_ARRAY ? (long)reply->element[0]->integer : 1;
    freeReplyObject(reply);
    redisFree(context);
    return count;
}

static bool at_rest(struct shop *shop)
{
    return shop_sql_number(shop, "select (select count(*) from outbox where published_at is null)"
                                 " + (select count(*) from reservations where state = 'held')"
                                 " + (select count(*) from orders o join reservations r on r.order_id = o.id"
                                 "   where o.status = 'cancelled' and r.state <> 'released')") == 0 &&
           pending(shop, "orders:created") == 0 && pending(shop, "orders:cancelled") == 0;
}

double check_converged(struct shop *shop, int seconds_max)
{
    int64_t begin_ns = clock_now_ns();
    while (!at_rest(shop)) {
        if (clock_now_ns() - begin_ns > seconds_max * NS_PER_S)
            return -1;
        usleep(100000);
    }
    return (double)(clock_now_ns() - begin_ns) / 1e9;
}

/* --- what the client and the streams say goes into tables, so that one statement compares them */

struct rows {
    struct shop *shop;
    const char *table;
    char text[ROWS * ROW_BYTES];
    size_t used;
    unsigned count;
};

static void flush_rows(struct rows *rows)
{
    if (rows->count > 0)
        free(shop_sql(rows->shop, "insert into %s values %s", rows->table, rows->text));
    rows->used = rows->count = 0;
}

__attribute__((format(printf, 2, 3))) static void add_row(struct rows *rows, const char *format, ...)
{
    va_list args;
    if (rows->count == ROWS)
        flush_rows(rows);
    if (rows->count++ > 0)
        rows->text[rows->used++] = ',';
    va_start(args, format);
    int length = vsnprintf(rows->text + rows->used, ROW_BYTES - 1, format, args);
    va_end(args);
    assert_true(length > 0 && length < ROW_BYTES - 1);
    rows->used += (size_t)length;
}

static void write_history(struct shop *shop, struct rows *rows)
{
    static const char *const outcomes[] = {"unknown", "acknowledged", "refused", "abandoned"};
    static const char *const cancels[] = {"no", "asked", "acknowledged"};
    char id[UUID_TEXT_BYTES], product[UUID_TEXT_BYTES];
    free(shop_sql(shop, "create table chaos_wish (id uuid primary key, product_id uuid, quantity int, outcome text,"
                        " cancel text, tries int)"));
    *rows = (struct rows){.shop = shop, .table = "chaos_wish"};
    for (unsigned client = 0; client < CLIENTS; client++) {
        const struct history *history = load_history(client);
        for (unsigned i = 0; i < history->count; i++) {
            const struct wish *wish = &history->wishes[i];
            chaos_product(wish->product, product);
            add_row(rows, "('%s','%s',%d,'%s','%s',%u)", uuid_format(wish->id, id), product, wish->quantity,
                    outcomes[wish->outcome], cancels[wish->cancel], wish->tries);
        }
    }
    flush_rows(rows);
}

static void write_products(struct shop *shop)
{
    char product[UUID_TEXT_BYTES];
    free(shop_sql(shop, "create table chaos_product (id uuid, stock int)"));
    for (unsigned i = 0; i < PRODUCTS; i++) {
        chaos_product(i, product);
        free(
            shop_sql(shop, "insert into chaos_product values ('%s', %d)", product, i == SCARCE ? SCARCE_STOCK : STOCK));
    }
}

static void write_message(struct rows *rows, const char *stream, const redisReply *entry)
{
    json_t *event = json_loads(entry->element[1]->element[1]->str, 0, NULL);
    const char *id = json_string_value(json_object_get(event, "order_id"));
    assert_non_null(id);
    add_row(rows, "('%s','%s')", stream, id);
    json_decref(event);
}

static void write_stream(struct shop *shop, struct rows *rows, const char *stream)
{
    char from[64] = "-";
    redisContext *context = redisConnect("127.0.0.1", shop->redis.port);
    *rows = (struct rows){.shop = shop, .table = "chaos_message"};
    for (bool more = true; more;) {
        redisReply *reply = redisCommand(context, "XRANGE %s %s + COUNT 1000", stream, from);
        assert_true(reply && reply->type == REDIS_REPLY_ARRAY);
        more = reply->elements > 0;
        for (size_t i = 0; i < reply->elements; i++)
            write_message(rows, stream, reply->element[i]);
        if (more)
            snprintf(from, sizeof from, "(%s", reply->element[reply->elements - 1]->element[0]->str);
        freeReplyObject(reply);
    }
    redisFree(context);
    flush_rows(rows);
}

/* --- what must not be: each counts violations */

static const struct rule {
    const char *violation, *sql;
} rules[] = {
    {"acknowledged orders that are lost or changed",
     "select count(*) from chaos_wish w left join orders o on o.id = w.id where w.outcome = 'acknowledged'"
     " and (o.product_id, o.quantity) is distinct from (w.product_id, w.quantity)"},
    {"orders that nobody wished",
     "select count(*) from orders o left join chaos_wish w on w.id = o.id where w.id is null"},
    {"refused orders that exist, though asked for once",
     "select count(*) from chaos_wish w join orders o on o.id = w.id where w.outcome = 'refused' and w.tries = 1"},
    {"abandoned orders that exist",
     "select count(*) from chaos_wish w join orders o on o.id = w.id where w.outcome = 'abandoned'"},
    {"cancellations that are lost",
     "select count(*) from chaos_wish w join orders o on o.id = w.id where w.cancel = 'acknowledged'"
     " and o.status <> 'cancelled'"},
    {"orders cancelled that nobody cancelled",
     "select count(*) from chaos_wish w join orders o on o.id = w.id where w.cancel = 'no' and o.status <> 'pending'"},
    {"orders without the one reservation that is theirs",
     "select count(*) from orders o left join reservations r on r.order_id = o.id where (r.product_id, r.quantity,"
     " r.state) is distinct from (o.product_id, o.quantity, case o.status when 'cancelled' then 'released' else"
     " 'committed' end)"},
    {"reservations without an order that are not released",
     "select count(*) from reservations r left join orders o on o.id = r.order_id where o.id is null and r.state <>"
     " 'released'"},
    {"products whose stock is not exact",
     "select count(*) from chaos_product p join inventory i on i.product_id = p.id where p.stock <> i.quantity +"
     " (select coalesce(sum(quantity), 0) from reservations r where r.product_id = p.id and r.state in ('held',"
     " 'committed'))"},
    {"products oversold", "select count(*) from inventory where quantity < 0"},
    {"orders without an event in the outbox",
     "select count(*) from orders o left join outbox b on b.order_id = o.id and b.event = 'created' and b.payload is"
     " not null where b.order_id is null"},
    {"orders without a message in orders:created",
     "select count(*) from orders o where not exists (select from chaos_message m where m.order_id = o.id and"
     " m.stream = 'orders:created')"},
    {"cancelled orders without a message in orders:cancelled",
     "select count(*) from orders o where status = 'cancelled' and not exists (select from chaos_message m where"
     " m.order_id = o.id and m.stream = 'orders:cancelled')"},
    {"messages without an order",
     "select count(*) from chaos_message m left join orders o on o.id = m.order_id where o.id is null"},
    {"messages of a cancellation that is none",
     "select count(*) from chaos_message m join orders o on o.id = m.order_id where m.stream = 'orders:cancelled' and"
     " o.status <> 'cancelled'"},
};

static unsigned long dead_letters(struct shop *shop, const char *stream)
{
    redisContext *context = redisConnect("127.0.0.1", shop->redis.port);
    redisReply *reply = redisCommand(context, "XLEN %s", stream);
    unsigned long count = (unsigned long)reply->integer;
    freeReplyObject(reply);
    redisFree(context);
    return count;
}

static unsigned long judge(const char *violation, unsigned long found)
{
    print_message("  %8lu  %s\n", found, violation);
    return found;
}

unsigned long check_everything(struct shop *shop)
{
    unsigned long violations = 0;
    struct rows *rows = mem_alloc(sizeof *rows);
    write_history(shop, rows);
    write_products(shop);
    free(shop_sql(shop, "create table chaos_message (stream text, order_id uuid)"));
    write_stream(shop, rows, "orders:created");
    write_stream(shop, rows, "orders:cancelled");
    free(rows);
    free(shop_sql(shop, "create index on chaos_message (order_id)"));
    free(shop_sql(shop, "analyze"));
    print_message("  of %ld orders, %ld of them cancelled, and %ld messages, %ld of them sent again:\n",
                  shop_sql_number(shop, "select count(*) from orders"),
                  shop_sql_number(shop, "select count(*) from orders where status = 'cancelled'"),
                  shop_sql_number(shop, "select count(*) from chaos_message"),
                  shop_sql_number(shop, "select count(*) - count(distinct (stream, order_id)) from chaos_message"));
    for (size_t i = 0; i < array_count(rules); i++)
        violations += judge(rules[i].violation, (unsigned long)shop_sql_number(shop, "%s", rules[i].sql));
    violations +=
        judge("dead letters", dead_letters(shop, "orders:created:dead") + dead_letters(shop, "orders:cancelled:dead"));
    return violations;
}
