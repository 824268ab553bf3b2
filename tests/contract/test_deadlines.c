/* A request's time is over, or its client has gone, while a statement waits for a lock in PostgreSQL: the answer comes
 * in time, and nothing of the request goes on anywhere. The limit of the statement itself is far away. */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "support/shop.h"

enum { DEADLINE_MS = 500, STATEMENT_MS = 60000 };

static const char product[] = "80000000-0000-4000-8000-000000000001";
static struct shop shop;
static char *user_id;

static void write_settings(enum shop_service service, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s.yaml", shop.directory, shop.services[service].name);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    shop_stop(&shop, service);
    shop_start(&shop, service);
}

static void wipe_settings(enum shop_service service)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s.yaml", shop.directory, shop.services[service].name);
    unlink(path);
}

static int open_shop(void **state)
{
    char gateway[64], behind[128];
    (void)state;
    shop_open(&shop);
    snprintf(gateway, sizeof gateway, "http:\n  deadline_ms: %d\n", DEADLINE_MS);
    snprintf(behind, sizeof behind, "rpc:\n  deadline_ms: %d\ndatabase:\n  statement_timeout_ms: %d\n", STATEMENT_MS,
             STATEMENT_MS);
    write_settings(SHOP_INVENTORY, behind);
    write_settings(SHOP_ORDER, behind);
    write_settings(SHOP_GATEWAY, gateway);
    shop_wait_ready(&shop);
    user_id = shop_add_user(&shop);
    return 0;
}

static int close_shop(void **state)
{
    (void)state;
    wipe_settings(SHOP_INVENTORY);
    wipe_settings(SHOP_ORDER);
    wipe_settings(SHOP_GATEWAY);
    free(user_id);
    shop_close(&shop);
    return 0;
}

/* Somebody else's transaction on the product's stock. */
static PGconn *hold_stock(void)
{
    shop_add_product(&shop, product, 100);
    PGconn *holder = PQconnectdb(shop.postgres.url);
    PQclear(PQexec(holder, "begin"));
    PGresult *result = PQexec(holder, "update inventory set updated_at = now()");
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    return holder;
}

static long lock_waits(void)
{
    return shop_sql_number(&shop, "select count(*) from pg_stat_activity where wait_event_type = 'Lock'");
}

static void await_lock_waits(long count)
{
    int64_t give_up_ns = clock_now_ns() + 20 * NS_PER_S;
    while (lock_waits() != count) {
        assert_true(clock_now_ns() < give_up_ns);
        poll(NULL, 0, 10);
    }
}

static void order_body(char *out, size_t bytes)
{
    snprintf(out, bytes, "{\"user_id\":\"%s\",\"product_id\":\"%s\",\"quantity\":1}", user_id, product);
}

static void assert_order(int status)
{
    char body[256];
    struct answer answer;
    order_body(body, sizeof body);
    http_call(&shop, "POST", "/api/orders", body, NULL, &answer);
    assert_answer(&answer, status);
    answer_done(&answer);
}

static void test_an_order_that_waits_for_a_lock_ends_with_its_deadline_everywhere(void **state)
{
    (void)state;
    PGconn *holder = hold_stock();
    int64_t begin_ns = clock_now_ns();
    assert_order(504);
    int64_t took_ns = clock_now_ns() - begin_ns;
    assert_true(took_ns >= DEADLINE_MS * NS_PER_MS);
    assert_true(took_ns < 10 * DEADLINE_MS * NS_PER_MS);
    await_lock_waits(0); /* long before the holder or the statement's own limit would let it end */
    PQfinish(holder);
    assert_order(200);
    assert_int_equal(shop_sql_number(&shop, "select quantity from inventory where product_id = '%s'", product), 99);
}

static void test_setting_a_stock_that_is_locked_ends_with_its_deadline(void **state)
{
    (void)state;
    PGconn *holder = hold_stock();
    struct answer answer;
    char path[128];
    snprintf(path, sizeof path, "/api/inventory/%s", product);
    http_call(&shop, "PUT", path, "{\"quantity\":5}", NULL, &answer);
    assert_answer(&answer, 504);
    answer_done(&answer);
    await_lock_waits(0);
    PQfinish(holder);
    http_call(&shop, "PUT", path, "{\"quantity\":5}", NULL, &answer);
    assert_answer(&answer, 200);
    answer_done(&answer);
}

static int send_order(void)
{
    char body[256], request[600];
    order_body(body, sizeof body);
    int bytes = snprintf(request, sizeof request,
                         "POST /api/orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
                         "Content-Length: %zu\r\n\r\n%s",
                         strlen(body), body);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)shop.services[SHOP_GATEWAY].port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(fd, request, (size_t)bytes, MSG_NOSIGNAL), bytes);
    return fd;
}

static void test_a_client_that_hangs_up_ends_what_runs_in_the_database(void **state)
{
    (void)state;
    write_settings(SHOP_GATEWAY, "http:\n  deadline_ms: 60000\n");
    shop_wait_ready(&shop);
    PGconn *holder = hold_stock();
    int fd = send_order();
    await_lock_waits(1);
    close(fd);
    await_lock_waits(0);
    PQfinish(holder);
    assert_order(200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_order_that_waits_for_a_lock_ends_with_its_deadline_everywhere),
        cmocka_unit_test(test_setting_a_stock_that_is_locked_ends_with_its_deadline),
        cmocka_unit_test(test_a_client_that_hangs_up_ends_what_runs_in_the_database),
    };
    return cmocka_run_group_tests_name("deadlines", tests, open_shop, close_shop);
}
