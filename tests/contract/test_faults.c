/* Races, crashes and outages against the whole shop: nothing is lost, doubled or oversold. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "support/shop.h"

enum { CLIENTS = 16, PRODUCTS = 8, STOCK = 1000000 };

static struct shop shop;
static char *user_id;

static int open_shop(void **state)
{
    static const char *const settings[] = {NULL};
    (void)state;
    shop.settings = settings;
    shop_open(&shop);
    user_id = shop_add_user(&shop);
    return 0;
}

static int close_shop(void **state)
{
    (void)state;
    free(user_id);
    shop_close(&shop);
    return 0;
}

static void product_id(unsigned number, char out[UUID_TEXT_BYTES])
{
    snprintf(out, UUID_TEXT_BYTES, "50000000-0000-4000-8000-%012u", number);
}

/* Posts an order; its id when it was taken, NULL otherwise; the caller frees. */
static char *order(const char *product, int quantity, const char *key, int *out_status)
{
    char body[300], header[300];
    const char *headers[] = {header, NULL};
    struct answer answer;
    snprintf(body, sizeof body, "{\"user_id\":\"%s\",\"product_id\":\"%s\",\"quantity\":%d}", user_id, product,
             quantity);
    snprintf(header, sizeof header, "Idempotency-Key: %s", key);
    http_call(&shop, "POST", "/api/orders", body, key ? headers : NULL, &answer);
    *out_status = answer.status;
    char *id = answer.status == 200 ? mem_text(answer_text(&answer, "id")) : NULL;
    answer_done(&answer);
    return id;
}

/* --- races */

struct buyer {
    pthread_t thread;
    const char *product;
    const char *key;
    char *id;
    int status;
};

static pthread_barrier_t start_line;

static void *buy_one(void *arg)
{
    struct buyer *buyer = arg;
    pthread_barrier_wait(&start_line);
    buyer->id = order(buyer->product, 1, buyer->key, &buyer->status);
    return NULL;
}

static void run_buyers(struct buyer *buyers, unsigned count)
{
    pthread_barrier_init(&start_line, NULL, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_create(&buyers[i].thread, NULL, buy_one, &buyers[i]), 0);
    for (unsigned i = 0; i < count; i++)
        pthread_join(buyers[i].thread, NULL);
    pthread_barrier_destroy(&start_line);
}

static void test_64_buyers_of_40_units_buy_40(void **state)
{
    (void)state;
    struct buyer buyers[64] = {0};
    char product[UUID_TEXT_BYTES];
    product_id(1, product);
    shop_add_product(&shop, product, 40);
    for (unsigned i = 0; i < array_count(buyers); i++)
        buyers[i].product = product;
    run_buyers(buyers, array_count(buyers));
    unsigned sold = 0, refused = 0;
    for (unsigned i = 0; i < array_count(buyers); i++) {
        sold += buyers[i].status == 200;
        refused += buyers[i].status == 400;
        free(buyers[i].id);
    }
    assert_int_equal(sold, 40);
    assert_int_equal(refused, 24);
    assert_int_equal(shop_sql_number(&shop, "select quantity from inventory where product_id = '%s'", product), 0);
    assert_int_equal(shop_sql_number(&shop, "select count(*) from orders where product_id = '%s'", product), 40);
}

static void test_the_same_key_at_the_same_time_is_one_order(void **state)
{
    (void)state;
    struct buyer buyers[32] = {0};
    char product[UUID_TEXT_BYTES];
    product_id(2, product);
    shop_add_product(&shop, product, 100);
    for (unsigned i = 0; i < array_count(buyers); i++) {
        buyers[i].product = product;
        buyers[i].key = "at-once";
    }
    run_buyers(buyers, array_count(buyers));
    for (unsigned i = 0; i < array_count(buyers); i++) {
        assert_int_equal(buyers[i].status, 200);
        assert_string_equal(buyers[i].id, buyers[0].id);
    }
    for (unsigned i = 0; i < array_count(buyers); i++)
        free(buyers[i].id);
    assert_int_equal(shop_sql_number(&shop, "select quantity from inventory where product_id = '%s'", product), 99);
}

/* --- faults under load */

struct client {
    pthread_t thread;
    unsigned number;
    unsigned long taken, refused, unknown;
    char **ids; /* of the orders that were acknowledged */
};

static struct {
    atomic_bool stop;
    atomic_ulong taken, failed;
    struct client clients[CLIENTS];
} load;

/* Every order has a key and is sent until its fate is known, as a careful client would. */
static void place_one(struct client *client, unsigned long sequence)
{
    char key[64], product[UUID_TEXT_BYTES];
    int status = 0;
    char *id = NULL;
    static atomic_uint run;
    unsigned long unique = atomic_fetch_add(&run, 1);
    snprintf(key, sizeof key, "load-%u-%lu-%lu", client->number, sequence, unique);
    product_id(100 + (unsigned)(unique % PRODUCTS), product);
    for (int tries = 0; tries < 600 && !id && status != 400 && status != 409; tries++) {
        id = order(product, 1 + (int)(sequence % 3), key, &status);
        if (!id)
            atomic_fetch_add(&load.failed, 1);
        if (!id)
            usleep(20000);
    }
    if (!id) {
        client->unknown++;
        return;
    }
    client->ids = mem_resize(client->ids, client->taken + 1, sizeof(char *));
    client->ids[client->taken++] = id;
    atomic_fetch_add(&load.taken, 1);
}

static void *run_client(void *arg)
{
    struct client *client = arg;
    for (unsigned long sequence = 0; !atomic_load(&load.stop); sequence++)
        place_one(client, sequence);
    return NULL;
}

static void start_load(void)
{
    char product[UUID_TEXT_BYTES];
    for (unsigned i = 0; i < PRODUCTS; i++) {
        product_id(100 + i, product);
        if (shop_sql_number(&shop, "select count(*) from inventory where product_id = '%s'", product) == 0)
            shop_add_product(&shop, product, STOCK);
    }
    atomic_store(&load.stop, false);
    atomic_store(&load.taken, 0);
    atomic_store(&load.failed, 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        load.clients[i] = (struct client){.number = i};
        assert_int_equal(pthread_create(&load.clients[i].thread, NULL, run_client, &load.clients[i]), 0);
    }
}

/* Waits until so many more orders were taken, or failed. */
static void wait_more(atomic_ulong *counter, unsigned long more)
{
    unsigned long until = atomic_load(counter) + more;
    int64_t give_up_ns = clock_now_ns() + 60 * NS_PER_S;
    while (atomic_load(counter) < until) {
        assert_true(clock_now_ns() < give_up_ns);
        usleep(2000);
    }
}

static void check_conservation(void)
{
    char product[UUID_TEXT_BYTES];
    for (unsigned i = 0; i < PRODUCTS; i++) {
        product_id(100 + i, product);
        assert_int_equal(
            shop_sql_number(&shop,
                            "select i.quantity + coalesce((select sum(r.quantity) from reservations r where"
                            " r.product_id = i.product_id and r.state in ('held', 'committed')), 0)"
                            " from inventory i where product_id = '%s'",
                            product),
            STOCK);
    }
    assert_int_equal(shop_sql_number(&shop,
                                     "select count(*) from orders o left join reservations r on r.order_id = o.id"
                                     " and r.state in ('held', 'committed') where r.order_id is null"),
                     0);
    assert_int_equal(shop_sql_number(&shop, "select count(*) from orders o left join outbox b on b.order_id = o.id and"
                                            " b.event = 'created' and b.payload is not null where b.order_id is null"),
                     0);
    assert_int_equal(shop_sql_number(&shop, "select count(*) from outbox b left join orders o on o.id = b.order_id"
                                            " where b.payload is not null and o.id is null"),
                     0);
}

/* Every event is published and every order's reservation committed, without a hand being lent. */
static void wait_settled(void)
{
    int64_t give_up_ns = clock_now_ns() + 90 * NS_PER_S;
    while (shop_sql_number(&shop, "select count(*) from outbox where published_at is null") > 0 ||
           shop_sql_number(&shop, "select count(*) from orders o join reservations r on r.order_id = o.id"
                                  " where r.state = 'held'") > 0) {
        assert_true(clock_now_ns() < give_up_ns);
        usleep(20000);
    }
}

static void end_load(void)
{
    unsigned long taken = 0;
    atomic_store(&load.stop, true);
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(load.clients[i].thread, NULL);
    wait_settled();
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &load.clients[i];
        assert_int_equal(client->unknown, 0);
        for (unsigned long j = 0; j < client->taken; j++) {
            if (j % 16 == 0) /* each one is a connection: a sample finds what is lost as a whole */
                assert_int_equal(shop_sql_number(&shop, "select count(*) from orders where id = '%s'", client->ids[j]),
                                 1);
            free(client->ids[j]);
        }
        free(client->ids);
        taken += client->taken;
    }
    assert_true(taken > 0);
    check_conservation();
}

static long orders_of_load(void)
{
    return shop_sql_number(&shop, "select count(*) from orders where product_id::text like '50000000%%' and"
                                  " product_id >= '50000000-0000-4000-8000-000000000100'");
}

static void kill_under_load(enum shop_service service)
{
    long before = orders_of_load();
    unsigned long taken_before = 0;
    start_load();
    for (int round = 0; round < 3; round++) {
        wait_more(&load.taken, 50);
        shop_kill(&shop, service);
        shop_start(&shop, service);
        shop_wait_ready(&shop);
    }
    wait_more(&load.taken, 50);
    end_load();
    /* No order exists that nobody was told of: each key was sent until it was answered. */
    taken_before = atomic_load(&load.taken);
    assert_int_equal(orders_of_load() - before, taken_before);
}

static void test_a_killed_order_service_loses_and_doubles_nothing(void **state)
{
    (void)state;
    kill_under_load(SHOP_ORDER);
}

static void test_a_killed_inventory_service_loses_and_doubles_nothing(void **state)
{
    (void)state;
    kill_under_load(SHOP_INVENTORY);
}

static void test_a_killed_user_service_disturbs_no_order(void **state)
{
    (void)state;
    kill_under_load(SHOP_USER);
}

static void test_a_killed_gateway_loses_and_doubles_nothing(void **state)
{
    (void)state;
    kill_under_load(SHOP_GATEWAY);
}

static void test_a_stopped_service_ends_its_requests_and_exits_with_0(void **state)
{
    (void)state;
    static const enum shop_service all[] = {SHOP_ORDER, SHOP_INVENTORY, SHOP_USER, SHOP_GATEWAY};
    start_load();
    for (size_t i = 0; i < array_count(all); i++) {
        wait_more(&load.taken, 20);
        assert_int_equal(shop_stop(&shop, all[i]), 0);
        shop_start(&shop, all[i]);
        shop_wait_ready(&shop);
    }
    wait_more(&load.taken, 20);
    end_load();
}

static void test_orders_come_back_after_postgresql_was_away(void **state)
{
    (void)state;
    struct answer answer;
    start_load();
    wait_more(&load.taken, 50);
    test_postgres_stop(&shop.postgres);
    wait_more(&load.failed, 20);
    do {
        http_call(&shop, "GET", "/ready", NULL, NULL, &answer);
        answer_done(&answer);
    } while (answer.status != 503);
    http_call(&shop, "GET", "/api/users/00000000-0000-4000-8000-0000000000ff", NULL, NULL, &answer);
    assert_answer(&answer, 503);
    assert_non_null(answer_header(&answer, "retry-after"));
    answer_done(&answer);
    test_postgres_start(&shop.postgres);
    wait_more(&load.taken, 50);
    shop_wait_ready(&shop);
    end_load();
}

static void test_orders_go_on_while_redis_is_away(void **state)
{
    (void)state;
    start_load();
    wait_more(&load.taken, 50);
    test_redis_stop(&shop.redis);
    unsigned long failed = atomic_load(&load.failed);
    wait_more(&load.taken, 200);
    assert_int_equal(atomic_load(&load.failed), failed);
    test_redis_start(&shop.redis);
    wait_more(&load.taken, 50);
    end_load();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_64_buyers_of_40_units_buy_40),
        cmocka_unit_test(test_the_same_key_at_the_same_time_is_one_order),
        cmocka_unit_test(test_a_killed_order_service_loses_and_doubles_nothing),
        cmocka_unit_test(test_a_killed_inventory_service_loses_and_doubles_nothing),
        cmocka_unit_test(test_a_killed_user_service_disturbs_no_order),
        cmocka_unit_test(test_a_killed_gateway_loses_and_doubles_nothing),
        cmocka_unit_test(test_a_stopped_service_ends_its_requests_and_exits_with_0),
        cmocka_unit_test(test_orders_come_back_after_postgresql_was_away),
        cmocka_unit_test(test_orders_go_on_while_redis_is_away),
    };
    return cmocka_run_group_tests_name("faults", tests, open_shop, close_shop);
}
