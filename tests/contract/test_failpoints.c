/* Every step boundary of an order, once with a crash and once with an error: the process is started again, the client
 * asks again with the same key, and everything converges by itself. RESOLVE_AFTER_S=30 runs it with the real patience
 * of the sweeper and the consumers, which takes a quarter of an hour. */
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "support/shop.h"

static const char product[] = "70000000-0000-4000-8000-000000000001";
enum { STOCK = 100000, CONVERGED_MAX_S = 35 };

static struct shop shop;
static char *user_id;

static int open_shop(void **state)
{
    static char file[128];
    const char *after = getenv("RESOLVE_AFTER_S");
    (void)state;
    snprintf(file, sizeof file, "reservations:\n  resolve_after_s: %s\nconsumer:\n  claim_idle_ms: %s000\n",
             after ? after : "1", after ? after : "1");
    shop.files[SHOP_INVENTORY] = file;
    shop.failpoints = true;
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

/* --- the table */

enum trigger {
    ORDER,     /* an order is made */
    CANCEL,    /* and cancelled */
    UNSETTLED, /* an order is cut off behind its reservation */
    GIVEN_UP,  /* an order is given up behind its reservation */
    LOSS,      /* Redis comes back without its end */
};

static const struct place {
    const char *name;
    enum shop_service service;
    enum trigger trigger;
} places[] = {
    {"gateway.order.before", SHOP_GATEWAY, ORDER},
    {"order.deduct.before", SHOP_ORDER, ORDER},
    {"deduct.before", SHOP_INVENTORY, ORDER},
    {"deduct.answer.before", SHOP_INVENTORY, ORDER},
    {"order.insert.before", SHOP_ORDER, ORDER},
    {"order.answer.before", SHOP_ORDER, ORDER},
    {"gateway.order.after", SHOP_GATEWAY, ORDER},
    {"relay.send.before", SHOP_ORDER, ORDER},
    {"relay.commit.before", SHOP_ORDER, ORDER},
    {"event.settle.before", SHOP_INVENTORY, ORDER},
    {"event.acknowledge.before", SHOP_INVENTORY, ORDER},
    {"cancel.before", SHOP_ORDER, CANCEL},
    {"cancel.answer.before", SHOP_ORDER, CANCEL},
    {"event.settle.before", SHOP_INVENTORY, CANCEL},
    {"event.acknowledge.before", SHOP_INVENTORY, CANCEL},
    {"relay.commit.before", SHOP_ORDER, CANCEL},
    {"order.release.before", SHOP_ORDER, GIVEN_UP},
    {"release.before", SHOP_INVENTORY, GIVEN_UP},
    {"release.answer.before", SHOP_INVENTORY, GIVEN_UP},
    {"sweep.resolve.before", SHOP_INVENTORY, UNSETTLED},
    {"resolve.before", SHOP_ORDER, UNSETTLED},
    {"resolve.answer.before", SHOP_ORDER, UNSETTLED},
    {"sweep.settle.before", SHOP_INVENTORY, UNSETTLED},
    {"sweep.settle.after", SHOP_INVENTORY, UNSETTLED},
    {"reconcile.before", SHOP_ORDER, LOSS},
    {"reconcile.commit.before", SHOP_ORDER, LOSS},
};

/* --- a client that asks until it knows */

static int order(const char *key, char out_id[UUID_TEXT_BYTES])
{
    char body[300], header[300];
    struct answer answer;
    snprintf(body, sizeof body, "{\"user_id\":\"%s\",\"product_id\":\"%s\",\"quantity\":3}", user_id, product);
    snprintf(header, sizeof header, "Idempotency-Key: %s", key);
    http_call(&shop, "POST", "/api/orders", body, (const char *[]){header, NULL}, &answer);
    int status = answer.status;
    if (status == 200)
        strcpy(out_id, answer_text(&answer, "id"));
    answer_done(&answer);
    return status;
}

static int cancel(const char *id)
{
    char path[100];
    struct answer answer;
    snprintf(path, sizeof path, "/api/orders/%s/cancel", id);
    http_call(&shop, "POST", path, NULL, NULL, &answer);
    int status = answer.status;
    answer_done(&answer);
    return status;
}

#define await(seconds, condition)                                                                                      \
    do {                                                                                                               \
        int64_t until_ns_ = clock_now_ns() + (seconds)*NS_PER_S;                                                       \
        while (!(condition)) {                                                                                         \
            assert_true(clock_now_ns() < until_ns_);                                                                   \
            usleep(2000);                                                                                              \
        }                                                                                                              \
    } while (0)

/* 200 with the order, or 409: it was given up for good. */
static int order_until_known(const char *key, char out_id[UUID_TEXT_BYTES])
{
    int status;
    await(60, (status = order(key, out_id)) == 200 || status == 409);
    return status;
}

/* --- what holds in the end */

static bool in_stream(const char *stream, const char *id)
{
    redisContext *context = redisConnect("127.0.0.1", shop.redis.port);
    redisReply *reply = redisCommand(context, "XRANGE %s - +", stream);
    bool found = false;
    for (size_t i = 0; reply && reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
        found |= strstr(reply->element[i]->element[1]->element[1]->str, id) != NULL;
    freeReplyObject(reply);
    redisFree(context);
    return found;
}

/* Each order has one reservation, in the state that goes with its own; nothing is held; every event was sent. */
static bool converged(void)
{
    return shop_sql_number(&shop, "select (select count(*) from outbox where published_at is null)"
                                  " + (select count(*) from reservations where state = 'held')"
                                  " + (select count(*) from orders o left join reservations r on r.order_id = o.id"
                                  "   where r.state is distinct from case o.status when 'cancelled' then 'released'"
                                  "   else 'committed' end)"
                                  " + (select count(*) from reservations r left join orders o on o.id = r.order_id"
                                  "   where o.id is null and r.state <> 'released')") == 0;
}

static void check_stock(void)
{
    long sold = shop_sql_number(&shop, "select coalesce(sum(quantity), 0) from orders where status <> 'cancelled'");
    assert_int_equal(shop_sql_number(&shop, "select quantity from inventory where product_id = '%s'", product),
                     STOCK - sold);
}

/* --- a cell of the table */

static bool has_acted(const struct place *place)
{
    char url[64], expected[100];
    struct answer answer;
    snprintf(url, sizeof url, "http://127.0.0.1:%d", shop.services[place->service].admin_port);
    snprintf(expected, sizeof expected, "%s=error(INTERNAL)*0 1\n", place->name);
    http_call_at(url, "GET", "/failpoints", NULL, NULL, &answer);
    bool acted = answer.body && strstr(answer.body, expected);
    answer_done(&answer);
    return acted;
}

/* Sets the failpoint and what leads there, and makes the call that reaches it. */
static void provoke(const struct place *place, const char *action, const char *key)
{
    char text[128], id[UUID_TEXT_BYTES];
    if (place->trigger == UNSETTLED)
        shop_set_failpoints(&shop, SHOP_ORDER,
                            "order.insert.before=error(DEADLINE_EXCEEDED)*1"); /* nobody repeats it */
    if (place->trigger == GIVEN_UP)
        shop_set_failpoints(&shop, SHOP_ORDER, "order.insert.before=error(INTERNAL)*1");
    if (place->trigger == CANCEL) {
        assert_int_equal(order(key, id), 200);
        await(60, converged());
    }
    long mark = test_redis_mark(&shop.redis);
    if (place->trigger == LOSS) {
        assert_int_equal(order(key, id), 200);
        await(60, converged());
    }
    snprintf(text, sizeof text, "%s=%s*1", place->name, action);
    shop_set_failpoints(&shop, place->service, text);
    if (place->trigger == CANCEL)
        cancel(id);
    else if (place->trigger != LOSS)
        order(key, id);
    if (place->trigger != LOSS)
        return;
    test_redis_stop(&shop.redis);
    test_redis_lose(&shop.redis, mark);
    test_redis_start(&shop.redis);
}

static bool has_ended(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

static void recover(const struct place *place, bool crash)
{
    if (!crash) {
        await(60, has_acted(place));
        return;
    }
    await(60, has_ended(shop.services[place->service].pid));
    assert_int_equal(shop_await_exit(&shop, place->service), 128 + SIGKILL);
    shop_start(&shop, place->service);
    shop_wait_ready(&shop);
}

static void try_place(const struct place *place, const char *action, bool crash)
{
    static unsigned number;
    char key[32], id[UUID_TEXT_BYTES] = "";
    snprintf(key, sizeof key, "failpoint-%u", ++number);
    provoke(place, action, key);
    recover(place, crash);
    int64_t begin_ns = clock_now_ns();
    if (place->trigger == UNSETTLED) /* by itself, before the client is back */
        await(CONVERGED_MAX_S, converged());
    bool exists = order_until_known(key, id) == 200;
    if (place->trigger == CANCEL)
        await(60, cancel(id) == 200);
    await(CONVERGED_MAX_S, converged());
    print_message("%-26s %-5s  %-9s  converged after %.2f s\n", place->name, crash ? "crash" : "error",
                  exists ? "ordered" : "abandoned", (double)(clock_now_ns() - begin_ns) / 1e9);
    check_stock();
    if (exists)
        await(CONVERGED_MAX_S, in_stream("orders:created", id));
    if (place->trigger == CANCEL)
        await(CONVERGED_MAX_S, in_stream("orders:cancelled", id));
}

static void test_a_crash_at_any_step_is_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < array_count(places); i++)
        try_place(&places[i], "crash", true);
}

static void test_an_error_at_any_step_is_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < array_count(places); i++)
        try_place(&places[i], "error(INTERNAL)", false);
}

/* --- failpoints themselves */

static void test_every_place_of_the_sources_is_in_the_table(void **state)
{
    (void)state;
    char line[200];
    unsigned found = 0;
    FILE *sources = popen("grep -rhoE 'failpoint\\(req, \"[a-z.]+\"' services | grep -oE '[a-z]+\\.[a-z.]+'", "r");
    assert_non_null(sources);
    while (fgets(line, sizeof line, sources)) {
        line[strcspn(line, "\n")] = '\0';
        bool known = false;
        for (size_t i = 0; i < array_count(places); i++)
            known |= strcmp(places[i].name, line) == 0;
        if (!known)
            print_error("%s is not in the table\n", line);
        assert_true(known);
        found++;
    }
    pclose(sources);
    assert_true(found > 15);
}

static void test_programs_that_ship_have_no_failpoints(void **state)
{
    (void)state;
    static const char *const programs[] = {"user-service", "inventory-service", "order-service", "api-gateway"};
    char path[600], command[700];
    for (size_t i = 0; i < array_count(programs); i++) {
        shop_binary(programs[i], path, sizeof path);
        snprintf(command, sizeof command, "! grep -qaE 'FAILPOINTS|/failpoints|[a-z]+\\.insert\\.before' '%s'", path);
        assert_int_equal(system(command), 0);
    }
    snprintf(path, sizeof path, "../failpoints/bin/order-service");
    char full[600];
    shop_binary(path, full, sizeof full);
    snprintf(command, sizeof command, "grep -qaE 'order\\.insert\\.before' '%s'", full);
    assert_int_equal(system(command), 0);
}

static void test_wrong_failpoints_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"name",           "=crash",    "a=explode", "a=error(NOTHING)",
                                        "a=delay(70000)", "a=delay(1", "a=crash*x", "a=crash*",
                                        "a=crash,b",      "a=error(",  "a=delay()"};
    char url[64];
    struct answer answer;
    snprintf(url, sizeof url, "http://127.0.0.1:%d", shop.services[SHOP_USER].admin_port);
    for (size_t i = 0; i < array_count(wrong); i++) {
        http_call_at(url, "PUT", "/failpoints", wrong[i], (const char *[]){"Content-Type: text/plain", NULL}, &answer);
        assert_int_equal(answer.status, 400);
        answer_done(&answer);
    }
    http_call_at(url, "GET", "/failpoints", NULL, NULL, &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body_bytes, 0);
    answer_done(&answer);
}

static void test_a_delay_delays_as_often_as_it_was_told_to(void **state)
{
    (void)state;
    char id[UUID_TEXT_BYTES];
    shop_set_failpoints(&shop, SHOP_GATEWAY, "gateway.order.before=delay(300)*1");
    int64_t begin_ns = clock_now_ns();
    assert_int_equal(order("delayed", id), 200);
    assert_true(clock_now_ns() - begin_ns >= 300 * NS_PER_MS);
    await(CONVERGED_MAX_S, converged());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_programs_that_ship_have_no_failpoints),
        cmocka_unit_test(test_every_place_of_the_sources_is_in_the_table),
        cmocka_unit_test(test_wrong_failpoints_are_refused),
        cmocka_unit_test(test_a_delay_delays_as_often_as_it_was_told_to),
        cmocka_unit_test(test_a_crash_at_any_step_is_survived),
        cmocka_unit_test(test_an_error_at_any_step_is_survived),
    };
    return cmocka_run_group_tests_name("failpoints", tests, open_shop, close_shop);
}
