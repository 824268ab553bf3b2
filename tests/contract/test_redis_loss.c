/* A shop with two of each service: they share the work, and what Redis loses is sent again by one of them. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "support/shop.h"

static const char product[] = "60000000-0000-4000-8000-000000000001";
enum { STOCK = 1000 };

static struct shop shop;
static char *user_id;

static int open_shop(void **state)
{
    (void)state;
    shop.twins = true;
    shop_open(&shop);
    user_id = shop_add_user(&shop);
    shop_add_product(&shop, product, STOCK);
    return 0;
}

static int close_shop(void **state)
{
    (void)state;
    free(user_id);
    shop_close(&shop);
    return 0;
}

/* --- what the tests do and ask */

#define await(condition)                                                                                               \
    do {                                                                                                               \
        int64_t until_ns_ = clock_now_ns() + 60 * NS_PER_S;                                                            \
        while (!(condition)) {                                                                                         \
            assert_true(clock_now_ns() < until_ns_);                                                                   \
            usleep(2000);                                                                                              \
        }                                                                                                              \
    } while (0)

static void place_order(char out_id[UUID_TEXT_BYTES])
{
    char body[300];
    struct answer answer;
    snprintf(body, sizeof body, "{\"user_id\":\"%s\",\"product_id\":\"%s\",\"quantity\":1}", user_id, product);
    http_call(&shop, "POST", "/api/orders", body, NULL, &answer);
    assert_answer(&answer, 200);
    strcpy(out_id, answer_text(&answer, "id"));
    answer_done(&answer);
}

static void cancel_order(const char *id)
{
    char path[100];
    struct answer answer;
    snprintf(path, sizeof path, "/api/orders/%s/cancel", id);
    http_call(&shop, "POST", path, NULL, NULL, &answer);
    assert_answer(&answer, 200);
    answer_done(&answer);
}

static redisReply *ask(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisContext *context = redisConnect("127.0.0.1", shop.redis.port);
    assert_int_equal(context->err, 0);
    redisReply *reply = redisvCommand(context, format, args);
    assert_non_null(reply);
    redisFree(context);
    va_end(args);
    return reply;
}

static unsigned long length_of(const char *stream)
{
    redisReply *reply = ask("XLEN %s", stream);
    unsigned long length = (unsigned long)reply->integer;
    freeReplyObject(reply);
    return length;
}

/* How many of the stream's messages are about the order. */
static unsigned messages_about(const char *stream, const char *id)
{
    unsigned count = 0;
    redisReply *reply = ask("XRANGE %s - +", stream);
    for (size_t i = 0; i < reply->elements; i++)
        count += strstr(reply->element[i]->element[1]->element[1]->str, id) != NULL;
    freeReplyObject(reply);
    return count;
}

static void await_published(void)
{
    await(shop_sql_number(&shop, "select count(*) from outbox where published_at is null") == 0);
}

static void await_accepted(void)
{
    redisReply *reply = ask("INFO server");
    char run[41];
    const char *line = strstr(reply->str, "run_id:");
    snprintf(run, sizeof run, "%s", line + strlen("run_id:"));
    freeReplyObject(reply);
    await(shop_sql_number(&shop, "select count(*) from redis_run where run = '%s'", run) == 1);
}

static void restart_redis_without(long mark)
{
    test_redis_stop(&shop.redis);
    test_redis_lose(&shop.redis, mark);
    test_redis_start(&shop.redis);
}

static void grow_old(const char *id)
{
    free(shop_sql(&shop, "update outbox set published_at = now() - interval '1 hour' where order_id = '%s'", id));
}

static bool settled(void)
{
    return shop_sql_number(&shop, "select count(*) from reservations where state = 'held'") == 0 &&
           shop_sql_number(&shop, "select count(*) from orders o join reservations r on r.order_id = o.id where"
                                  " (o.status = 'cancelled') <> (r.state = 'released')") == 0;
}

/* --- tests */

static void test_twins_are_ready_together_and_members_of_one_group(void **state)
{
    (void)state;
    static const char *const streams[] = {"orders:created", "orders:cancelled"};
    for (size_t i = 0; i < array_count(streams); i++) {
        redisReply *reply;
        await((reply = ask("XINFO CONSUMERS %s inventory", streams[i]))->elements == 2 ||
              (freeReplyObject(reply), false));
        assert_string_not_equal(reply->element[0]->element[1]->str, reply->element[1]->element[1]->str);
        freeReplyObject(reply);
    }
    assert_int_equal(shop_sql_number(&shop, "select count(*) from redis_run where run <> ''"), 1);
}

static void test_an_empty_redis_gets_recent_events_again_and_old_ones_not(void **state)
{
    (void)state;
    char old[UUID_TEXT_BYTES], ids[3][UUID_TEXT_BYTES];
    place_order(old);
    for (unsigned i = 0; i < array_count(ids); i++)
        place_order(ids[i]);
    cancel_order(ids[0]);
    await_published();
    grow_old(old);
    restart_redis_without(0);
    for (unsigned i = 0; i < array_count(ids); i++)
        await(messages_about("orders:created", ids[i]) > 0);
    await(messages_about("orders:cancelled", ids[0]) > 0);
    await_accepted();
    await_published();
    assert_int_equal(messages_about("orders:created", old), 0);
    await(settled());
}

static void test_a_flushed_and_restarted_redis_gets_events_again(void **state)
{
    (void)state;
    char id[UUID_TEXT_BYTES];
    place_order(id);
    await_published();
    freeReplyObject(ask("FLUSHALL"));
    restart_redis_without(test_redis_mark(&shop.redis));
    await(messages_about("orders:created", id) > 0);
    await(settled());
}

static void test_the_lost_end_of_the_stream_is_sent_again(void **state)
{
    (void)state;
    char kept[UUID_TEXT_BYTES], lost[3][UUID_TEXT_BYTES];
    place_order(kept);
    await_published();
    long mark = test_redis_mark(&shop.redis);
    for (unsigned i = 0; i < array_count(lost); i++)
        place_order(lost[i]);
    await_published();
    restart_redis_without(mark);
    for (unsigned i = 0; i < array_count(lost); i++)
        await(messages_about("orders:created", lost[i]) > 0);
    assert_true(messages_about("orders:created", kept) > 0);
    await(settled());
}

/* Nobody has read the cancellation when it is lost: without it the stock would never come back. */
static void test_a_lost_cancellation_still_gives_the_stock_back(void **state)
{
    (void)state;
    char id[UUID_TEXT_BYTES];
    place_order(id);
    await(settled());
    shop_stop(&shop, SHOP_INVENTORY);
    shop_stop(&shop, shop_twin(SHOP_INVENTORY));
    long mark = test_redis_mark(&shop.redis);
    cancel_order(id);
    await_published();
    restart_redis_without(mark);
    shop_start(&shop, SHOP_INVENTORY);
    shop_start(&shop, shop_twin(SHOP_INVENTORY));
    await(settled());
    shop_wait_ready(&shop);
    assert_int_equal(
        shop_sql_number(&shop,
                        "select quantity + (select sum(quantity) from reservations where product_id = i.product_id"
                        " and state = 'committed') from inventory i where product_id = '%s'",
                        product),
        STOCK);
}

static void test_a_loss_is_noticed_by_whoever_comes_later(void **state)
{
    (void)state;
    char id[UUID_TEXT_BYTES], next[UUID_TEXT_BYTES];
    long mark = test_redis_mark(&shop.redis);
    place_order(id);
    await_published();
    shop_kill(&shop, SHOP_ORDER);
    shop_kill(&shop, shop_twin(SHOP_ORDER));
    restart_redis_without(mark);
    assert_int_equal(messages_about("orders:created", id), 0);
    shop_start(&shop, SHOP_ORDER);
    shop_start(&shop, shop_twin(SHOP_ORDER));
    shop_wait_ready(&shop);
    place_order(next);
    await(messages_about("orders:created", id) > 0);
    await(messages_about("orders:created", next) > 0);
    await(settled());
}

static void test_a_trimmed_stream_and_a_restart_without_loss_send_nothing_again(void **state)
{
    (void)state;
    char id[UUID_TEXT_BYTES];
    free(shop_sql(&shop, "update outbox set published_at = now() - interval '20 seconds' where published_at"
                         " > now() - interval '20 seconds'"));
    place_order(id);
    await(settled());
    grow_old(id);
    freeReplyObject(ask("XTRIM orders:created MAXLEN 1"));
    unsigned long cancelled = length_of("orders:cancelled");
    restart_redis_without(test_redis_mark(&shop.redis));
    await_accepted();
    await_published();
    assert_int_equal(length_of("orders:created"), 1);
    assert_int_equal(length_of("orders:cancelled"), cancelled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twins_are_ready_together_and_members_of_one_group),
        cmocka_unit_test(test_an_empty_redis_gets_recent_events_again_and_old_ones_not),
        cmocka_unit_test(test_a_flushed_and_restarted_redis_gets_events_again),
        cmocka_unit_test(test_the_lost_end_of_the_stream_is_sent_again),
        cmocka_unit_test(test_a_lost_cancellation_still_gives_the_stock_back),
        cmocka_unit_test(test_a_loss_is_noticed_by_whoever_comes_later),
        cmocka_unit_test(test_a_trimmed_stream_and_a_restart_without_loss_send_nothing_again),
    };
    return cmocka_run_group_tests_name("redis loss", tests, open_shop, close_shop);
}
