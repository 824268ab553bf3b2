/* Load on the whole shop, and what must hold under it. Short by default; LOAD=long makes the counts those that a
 * release is measured by (make load-tests). */
#include <hiredis/hiredis.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "load/client.h"
#include "support/shop.h"

static struct shop shop;
static char *user_id;
static unsigned next_product;

static unsigned long counts(unsigned long brief, unsigned long full)
{
    const char *load = getenv("LOAD");
    return load && strcmp(load, "long") == 0 ? full : brief;
}

static void open_with(bool replicas)
{
    static const char *const settings[] = {"LOG_LEVEL=warn", NULL};
    shop.settings = settings;
    shop.twins = replicas;
    shop_open(&shop);
    user_id = shop_add_user(&shop);
}

static int open_shop(void **state)
{
    (void)state;
    open_with(false);
    return 0;
}

static int close_shop(void **state)
{
    (void)state;
    free(user_id);
    shop_close(&shop);
    return 0;
}

static void new_product(char out[UUID_TEXT_BYTES], int stock)
{
    snprintf(out, UUID_TEXT_BYTES, "70000000-0000-4000-8000-%012u", ++next_product);
    shop_add_product(&shop, out, stock);
}

static size_t write_order(char out[LOAD_REQUEST_BYTES_MAX], const char *product, const char *key)
{
    char body[256];
    int bytes =
        snprintf(body, sizeof body, "{\"user_id\":\"%s\",\"product_id\":\"%s\",\"quantity\":1}", user_id, product);
    return (size_t)snprintf(out, LOAD_REQUEST_BYTES_MAX,
                            "POST /api/orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
                            "Idempotency-Key: %s\r\nContent-Length: %d\r\n\r\n%s",
                            key, bytes, body);
}

static struct load_plan usual_plan(void)
{
    struct load_plan plan = {.ports = {shop.services[SHOP_GATEWAY].port},
                             .port_count = 1,
                             .connections = 32,
                             .give_up_ms = 60000,
                             .busy_again_ms = 20};
    if (shop.twins)
        plan.ports[plan.port_count++] = shop.services[shop_twin(SHOP_GATEWAY)].port;
    return plan;
}

/* --- a thousand buyers for a hundred units */

struct sale {
    char product[UUID_TEXT_BYTES];
    unsigned round;
};

static size_t buy(void *arg, uint64_t number, char out[LOAD_REQUEST_BYTES_MAX])
{
    const struct sale *sale = arg;
    char key[64];
    snprintf(key, sizeof key, "sale-%u-%lu", sale->round, (unsigned long)number);
    return write_order(out, sale->product, key);
}

static void sell_out(unsigned round)
{
    struct sale sale = {.round = round};
    struct load load = {0};
    new_product(sale.product, 100);
    struct load_plan plan = usual_plan();
    plan.connections = 1000;
    plan.count = 1000;
    plan.write = buy;
    plan.arg = &sale;
    load_run(&plan, &load);
    assert_int_equal(load.taken, 100);
    assert_int_equal(load.other, 900);
    assert_int_equal(load.last_other, 400);
    assert_int_equal(load.failed, 0);
    assert_int_equal(shop_sql_number(&shop, "select quantity from inventory where product_id = '%s'", sale.product), 0);
    assert_int_equal(shop_sql_number(&shop, "select count(*) from orders where product_id = '%s'", sale.product), 100);
    assert_int_equal(
        shop_sql_number(&shop, "select count(*) from reservations where product_id = '%s' and state <> 'released'",
                        sale.product),
        100);
}

static void test_a_thousand_buyers_of_a_hundred_units_buy_a_hundred(void **state)
{
    (void)state;
    unsigned rounds = (unsigned)counts(3, 100);
    for (unsigned i = 0; i < rounds; i++)
        sell_out(i);
    print_message("%u rounds\n", rounds);
}

/* --- requests that are sent several times */

struct repeats {
    char product[UUID_TEXT_BYTES];
    uint32_t *keys; /* of each sending */
    uint64_t sendings, room;
    uint8_t *taken; /* of each key: how often it was answered 200 */
};

static size_t write_repeat(void *arg, uint64_t number, char out[LOAD_REQUEST_BYTES_MAX])
{
    const struct repeats *repeats = arg;
    char key[64];
    snprintf(key, sizeof key, "repeat-%u", repeats->keys[number]);
    return write_order(out, repeats->product, key);
}

static void repeat_answered(void *arg, uint64_t number, int status, const char *body)
{
    (void)body;
    struct repeats *repeats = arg;
    if (status == 200)
        repeats->taken[repeats->keys[number]]++;
}

/* Each key one to four times. Sendings trade places over a short distance, so that some of a key are on their way
 * together and some come later. */
static void plan_repeats(struct repeats *repeats, unsigned keys)
{
    enum { DISTANCE = 64 };
    unsigned seed = 7;
    repeats->keys = mem_array(keys * 4, sizeof repeats->keys[0]);
    repeats->taken = mem_array(keys, 1);
    for (uint32_t key = 0; key < keys; key++)
        for (int i = rand_r(&seed) % 4; i >= 0; i--)
            repeats->keys[repeats->sendings++] = key;
    for (uint64_t i = 0; i + DISTANCE < repeats->sendings; i++) {
        uint64_t other = i + (uint64_t)rand_r(&seed) % (rand_r(&seed) % 2 ? 2 : DISTANCE);
        uint32_t key = repeats->keys[i];
        repeats->keys[i] = repeats->keys[other];
        repeats->keys[other] = key;
    }
}

static void test_requests_sent_up_to_four_times_have_one_effect_each(void **state)
{
    (void)state;
    unsigned keys = (unsigned)counts(2000, 100000);
    struct repeats repeats = {.sendings = 0};
    struct load load = {0};
    plan_repeats(&repeats, keys);
    new_product(repeats.product, 1000000);
    struct load_plan plan = usual_plan();
    plan.count = repeats.sendings;
    plan.write = write_repeat;
    plan.answered = repeat_answered;
    plan.arg = &repeats;
    load_run(&plan, &load);
    assert_int_equal(load.taken, repeats.sendings);
    for (unsigned i = 0; i < keys; i++)
        assert_true(repeats.taken[i] > 0);
    assert_int_equal(shop_sql_number(&shop, "select count(*) from orders where product_id = '%s'", repeats.product),
                     keys);
    assert_int_equal(
        shop_sql_number(&shop, "select 1000000 - quantity from inventory where product_id = '%s'", repeats.product),
        keys);
    assert_int_equal(
        shop_sql_number(&shop, "select count(*) from outbox where event = 'created' and payload->>'product_id' = '%s'",
                        repeats.product),
        keys);
    print_message("%u keys, %lu requests\n", keys, (unsigned long)repeats.sendings);
    free(repeats.keys);
    free(repeats.taken);
}

/* --- load beside which the test does something */

struct traffic {
    pthread_t thread;
    struct load_plan plan;
    struct load load;
    char product[UUID_TEXT_BYTES];
    unsigned series;
};

static size_t write_user(char out[LOAD_REQUEST_BYTES_MAX], unsigned series, uint64_t number)
{
    char body[256];
    int bytes = snprintf(body, sizeof body, "{\"email\":\"load-%u-%lu@example.com\",\"name\":\"Load\"}", series,
                         (unsigned long)number);
    return (size_t)snprintf(out, LOAD_REQUEST_BYTES_MAX,
                            "POST /api/users HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
                            "Content-Length: %d\r\n\r\n%s",
                            bytes, body);
}

/* A mix: of eight three are orders, one is a new user, which is not tried again, and four are reads. */
static size_t write_mixed(void *arg, uint64_t number, char out[LOAD_REQUEST_BYTES_MAX])
{
    const struct traffic *traffic = arg;
    char key[64];
    if (number % 8 == 1)
        return write_user(out, traffic->series, number);
    if (number % 4 == 2)
        return (size_t)snprintf(out, LOAD_REQUEST_BYTES_MAX, "GET /api/users/%s HTTP/1.1\r\nHost: shop\r\n\r\n",
                                user_id);
    if (number % 4 == 3)
        return (size_t)snprintf(out, LOAD_REQUEST_BYTES_MAX, "GET /api/inventory/%s HTTP/1.1\r\nHost: shop\r\n\r\n",
                                traffic->product);
    snprintf(key, sizeof key, "mixed-%u-%lu", traffic->series, (unsigned long)number);
    return write_order(out, traffic->product, key);
}

static void *run_traffic(void *arg)
{
    struct traffic *traffic = arg;
    load_run(&traffic->plan, &traffic->load);
    return NULL;
}

/* rate 0: eight clients, each as fast as it is answered. */
static void traffic_start(struct traffic *traffic, double rate)
{
    static unsigned series;
    *traffic = (struct traffic){.plan = usual_plan(), .series = ++series};
    new_product(traffic->product, 100000000);
    traffic->plan.rate = rate;
    traffic->plan.connections = rate > 0 ? 32 : 8;
    traffic->plan.busy_again_ms = 0;
    traffic->plan.give_up_ms = 20000;
    traffic->plan.write = write_mixed;
    traffic->plan.arg = traffic;
    assert_int_equal(pthread_create(&traffic->thread, NULL, run_traffic, traffic), 0);
}

static void wait_taken(struct traffic *traffic, unsigned long more)
{
    uint64_t until = traffic->load.taken + more;
    int64_t give_up_ns = clock_now_ns() + 120 * NS_PER_S;
    while (traffic->load.taken < until && clock_now_ns() < give_up_ns)
        poll(NULL, 0, 5);
    assert_true(traffic->load.taken >= until);
}

static void traffic_end(struct traffic *traffic)
{
    atomic_store(&traffic->load.stop, true);
    pthread_join(traffic->thread, NULL);
}

static void assert_all_taken(const struct traffic *traffic)
{
    const struct load *load = &traffic->load;
    print_message("%lu taken, %lu refused, %lu other (%d), %lu failed, %lu sent again; p99 %.1f ms\n",
                  (unsigned long)load->taken, (unsigned long)load->refused, (unsigned long)load->other,
                  load->last_other, (unsigned long)load->failed, (unsigned long)load->resent,
                  load_percentile_ms(&load->taken_times, 0.99));
    assert_int_equal(load->refused, 0);
    assert_int_equal(load->other, 0);
    assert_int_equal(load->failed, 0);
}

/* --- rolling restarts */

static int open_replicas(void **state)
{
    (void)state;
    open_with(true);
    return 0;
}

/* Established connections of this machine that end at the port. */
static unsigned connections_to(int port)
{
    FILE *file = fopen("/proc/net/tcp", "re");
    assert_non_null(file);
    unsigned local, state, count = 0;
    for (char line[256]; fgets(line, sizeof line, file);)
        if (sscanf(line, "%*u: %*8X:%X %*8X:%*X %X", &local, &state) == 2)
            count += (int)local == port && state == TCP_ESTABLISHED;
    fclose(file);
    return count;
}

/* What a deployment's minReadySeconds stand for: clients need up to a second to find a peer that has come back. */
static void await_clients(int port, unsigned count)
{
    int64_t give_up_ns = clock_now_ns() + 60 * NS_PER_S;
    while (connections_to(port) < count && clock_now_ns() < give_up_ns)
        poll(NULL, 0, 5);
    assert_true(connections_to(port) >= count);
}

/* A gateway that starts gets no connections until it is ready, as behind any balancer; the others' clients come back by
 * themselves. */
static void restart(struct traffic *traffic, enum shop_service service)
{
    bool is_gateway = service % SHOP_SERVICES == SHOP_GATEWAY;
    atomic_bool ignored, *away = is_gateway ? &traffic->load.away[service / SHOP_SERVICES] : &ignored;
    int port = shop.services[service].port;
    unsigned clients = connections_to(port);
    assert_int_equal(shop_stop(&shop, service), 0);
    atomic_store(away, true);
    shop_start(&shop, service);
    shop_await(&shop, service);
    if (!is_gateway)
        await_clients(port, clients);
    atomic_store(away, false);
}

static void test_rolling_restarts_under_load_fail_no_request(void **state)
{
    (void)state;
    static const enum shop_service all[] = {SHOP_USER, SHOP_INVENTORY, SHOP_ORDER, SHOP_GATEWAY};
    unsigned rounds = (unsigned)counts(1, 20);
    struct traffic traffic;
    traffic_start(&traffic, 0);
    for (unsigned round = 0; round < rounds; round++) {
        for (size_t i = 0; i < array_count(all); i++) {
            wait_taken(&traffic, 50);
            restart(&traffic, all[i]);
            wait_taken(&traffic, 50);
            restart(&traffic, shop_twin(all[i]));
        }
    }
    wait_taken(&traffic, 50);
    traffic_end(&traffic);
    print_message("%u rounds\n", rounds);
    assert_all_taken(&traffic);
}

/* --- Redis is away */

static void read_times(const redisReply *entry, char out[64])
{
    const redisReply *fields = entry->element[1];
    json_t *event = json_loads(fields->element[1]->str, 0, NULL);
    snprintf(out, 64, "%s", json_string_value(json_object_get(event, "timestamp")));
    json_decref(event);
}

/* The last messages of the stream, newest first: each at most as old as the one before it. */
static void assert_events_in_order(long count)
{
    redisContext *redis = redisConnect("127.0.0.1", shop.redis.port);
    redisReply *entries = redisCommand(redis, "XREVRANGE orders:created + - COUNT %ld", count);
    assert_int_equal(entries->elements, (size_t)count);
    char later[64], time[64];
    read_times(entries->element[0], later);
    for (size_t i = 1; i < entries->elements; i++) {
        read_times(entries->element[i], time);
        assert_true(strcmp(time, later) <= 0);
        memcpy(later, time, sizeof later);
    }
    freeReplyObject(entries);
    redisFree(redis);
}

static void test_orders_go_on_without_redis_and_events_follow_in_order(void **state)
{
    (void)state;
    unsigned long away_ms = counts(3000, 120000);
    struct traffic traffic;
    traffic_start(&traffic, 100);
    wait_taken(&traffic, 100);
    test_redis_stop(&shop.redis);
    int64_t until_ns = clock_now_ns() + (int64_t)away_ms * NS_PER_MS;
    while (clock_now_ns() < until_ns)
        wait_taken(&traffic, 20);
    traffic_end(&traffic);
    assert_all_taken(&traffic);
    long waiting = shop_sql_number(&shop, "select count(*) from outbox where published_at is null");
    assert_true(waiting > 50);
    test_redis_start(&shop.redis);
    int64_t give_up_ns = clock_now_ns() + 60 * NS_PER_S, begin_ns = clock_now_ns();
    while (shop_sql_number(&shop, "select count(*) from outbox where published_at is null") > 0) {
        assert_true(clock_now_ns() < give_up_ns);
        poll(NULL, 0, 20);
    }
    print_message("Redis away for %lu ms; %ld events followed in %.1f s\n", away_ms, waiting,
                  (double)(clock_now_ns() - begin_ns) / 1e9);
    assert_events_in_order(waiting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thousand_buyers_of_a_hundred_units_buy_a_hundred),
        cmocka_unit_test(test_requests_sent_up_to_four_times_have_one_effect_each),
        cmocka_unit_test(test_orders_go_on_without_redis_and_events_follow_in_order),
    };
    const struct CMUnitTest with_replicas[] = {
        cmocka_unit_test(test_rolling_restarts_under_load_fail_no_request),
    };
    int failed = cmocka_run_group_tests_name("load", tests, open_shop, close_shop);
    return failed + cmocka_run_group_tests_name("load with replicas", with_replicas, open_replicas, close_shop);
}
