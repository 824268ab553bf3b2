/* The HTTP API against the four real processes: every call, every error of the contract. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "support/shop.h"

#define UNKNOWN_ID "00000000-0000-4000-8000-0000000000ff"

static struct shop shop;
static char *user_id;
static unsigned products;

static int open_shop(void **state)
{
    (void)state;
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

/* A new product with stock; its id in a static buffer. */
static const char *new_product(int quantity)
{
    static char id[UUID_TEXT_BYTES];
    snprintf(id, sizeof id, "10000000-0000-4000-8000-%012u", ++products);
    shop_add_product(&shop, id, quantity);
    return id;
}

static void call(const char *method, const char *path, const char *body, struct answer *out)
{
    http_call(&shop, method, path, body, NULL, out);
}

static void expect(const char *method, const char *path, const char *body, int status)
{
    struct answer answer;
    call(method, path, body, &answer);
    if (answer.status != status)
        fprintf(stderr, "%s %s %.200s\n", method, path, body ? body : "");
    assert_answer(&answer, status);
    answer_done(&answer);
}

static const char *order_body(const char *user, const char *product, const char *quantity)
{
    static char body[512];
    snprintf(body, sizeof body, "{\"user_id\":\"%s\",\"product_id\":\"%s\",\"quantity\":%s}", user, product, quantity);
    return body;
}

static void post_order(const char *product, const char *quantity, const char *key, struct answer *out)
{
    char header[400];
    const char *headers[] = {header, NULL};
    if (key)
        snprintf(header, sizeof header, "Idempotency-Key: %s", key);
    http_call(&shop, "POST", "/api/orders", order_body(user_id, product, quantity), key ? headers : NULL, out);
}

static long stock_of(const char *product)
{
    char path[100];
    struct answer answer;
    snprintf(path, sizeof path, "/api/inventory/%s", product);
    call("GET", path, NULL, &answer);
    assert_answer(&answer, 200);
    long quantity = answer_number(&answer, "quantity");
    answer_done(&answer);
    return quantity;
}

/* --- health */

static void test_health_and_readiness_answer_ok(void **state)
{
    (void)state;
    struct answer answer;
    call("GET", "/health", NULL, &answer);
    assert_answer(&answer, 200);
    assert_string_equal(answer.body, "OK");
    assert_string_equal(answer_header(&answer, "content-type"), "text/plain");
    answer_done(&answer);
    expect("GET", "/ready", NULL, 200);
}

/* --- users */

static void test_a_created_user_can_be_read(void **state)
{
    (void)state;
    struct answer made, read;
    char path[100];
    call("POST", "/api/users", "{\"email\":\"Ann@Example.com\",\"name\":\"Ann \xc3\x84rger\",\"age\":7}", &made);
    assert_answer(&made, 200);
    assert_string_equal(answer_text(&made, "email"), "Ann@Example.com");
    assert_string_equal(answer_text(&made, "name"), "Ann \xc3\x84rger");
    assert_int_equal(json_object_size(made.json), 3);
    snprintf(path, sizeof path, "/api/users/%s", answer_text(&made, "id"));
    call("GET", path, NULL, &read);
    assert_answer(&read, 200);
    assert_true(json_equal(made.json, read.json));
    answer_done(&read);
    for (char *c = path + strlen("/api/users/"); *c; c++)
        if (*c >= 'a' && *c <= 'f')
            *c = (char)(*c - 'a' + 'A');
    call("GET", path, NULL, &read);
    assert_true(json_equal(made.json, read.json));
    answer_done(&read);
    answer_done(&made);
}

static void test_an_email_is_taken_once_whatever_its_case(void **state)
{
    (void)state;
    expect("POST", "/api/users", "{\"email\":\"bob@example.com\",\"name\":\"Bob\"}", 200);
    expect("POST", "/api/users", "{\"email\":\"bob@example.com\",\"name\":\"Bob\"}", 409);
    expect("POST", "/api/users", "{\"email\":\"BOB@example.com\",\"name\":\"Bob\"}", 409);
}

static void test_wrong_users_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "7",
        "{\"email\":\"x@example.com\"}",
        "{\"name\":\"x\"}",
        "{\"email\":null,\"name\":\"x\"}",
        "{\"email\":5,\"name\":\"x\"}",
        "{\"email\":\"\",\"name\":\"x\"}",
        "{\"email\":\"x\",\"name\":\"x\"}",
        "{\"email\":\"x@\",\"name\":\"x\"}",
        "{\"email\":\"@x.com\",\"name\":\"x\"}",
        "{\"email\":\"a b@x.com\",\"name\":\"x\"}",
        "{\"email\":\"a@-x.com\",\"name\":\"x\"}",
        "{\"email\":\"a@x..com\",\"name\":\"x\"}",
        "{\"email\":\"a@x@y.com\",\"name\":\"x\"}",
        "{\"email\":\"n@example.com\",\"name\":\"\"}",
        "{\"email\":\"n@example.com\",\"name\":\"  \"}",
        "{\"email\":\"n@example.com\",\"name\":\"a\\u0007b\"}",
        "{\"email\":\"n@example.com\",\"name\":\"a\\u0000b\"}",
        "{\"email\":\"n@example.com\",\"name\":\"x\",\"name\":\"y\"}",
        "{\"email\":\"n@example.com\",\"name\":\"\xff\"}",
        "{\"email\":\"n@example.com\",\"name\":\"x\"} trailing",
    };
    for (size_t i = 0; i < array_count(bad); i++)
        expect("POST", "/api/users", bad[i], 400);
}

static void test_names_and_emails_have_a_longest_form(void **state)
{
    (void)state;
    char body[1200], name[300], email[300];
    memset(name, 'n', sizeof name);
    name[256] = '\0';
    snprintf(body, sizeof body, "{\"email\":\"long@example.com\",\"name\":\"%s\"}", name);
    expect("POST", "/api/users", body, 400);
    name[255] = '\0';
    snprintf(body, sizeof body, "{\"email\":\"long@example.com\",\"name\":\"%s\"}", name);
    expect("POST", "/api/users", body, 200);
    memset(email, 'e', sizeof email);
    strcpy(email + 243, "@example.com");
    snprintf(body, sizeof body, "{\"email\":\"%s\",\"name\":\"x\"}", email);
    expect("POST", "/api/users", body, 400);
    snprintf(body, sizeof body, "{\"email\":\"%s\",\"name\":\"x\"}", email + 1);
    expect("POST", "/api/users", body, 200);
}

static void test_users_that_are_not_there_are_not_found(void **state)
{
    (void)state;
    expect("GET", "/api/users/" UNKNOWN_ID, NULL, 404);
    expect("GET", "/api/users/7", NULL, 400);
    expect("GET", "/api/users/" UNKNOWN_ID "0", NULL, 400);
    expect("GET", "/api/users/%zz", NULL, 400);
    expect("GET", "/api/users/", NULL, 404);
}

/* --- inventory */

static void test_stock_is_read_and_set(void **state)
{
    (void)state;
    struct answer answer;
    const char *product = new_product(5);
    char path[100];
    snprintf(path, sizeof path, "/api/inventory/%s", product);
    call("GET", path, NULL, &answer);
    assert_answer(&answer, 200);
    assert_string_equal(answer_text(&answer, "product_id"), product);
    assert_int_equal(answer_number(&answer, "quantity"), 5);
    assert_int_equal(json_object_size(answer.json), 2);
    answer_done(&answer);
    call("PUT", path, "{\"quantity\":1000000000}", &answer);
    assert_answer(&answer, 200);
    assert_int_equal(answer_number(&answer, "quantity"), 1000000000);
    answer_done(&answer);
    assert_int_equal(stock_of(product), 1000000000);
    expect("PUT", path, "{\"quantity\":0}", 200);
    expect("PUT", path, "{\"quantity\":-1}", 400);
    expect("PUT", path, "{\"quantity\":1000000001}", 400);
    expect("PUT", path, "{\"quantity\":1.0}", 400);
    expect("PUT", path, "{\"quantity\":\"1\"}", 400);
    expect("PUT", path, "{}", 400);
    expect("PUT", "/api/inventory/x", "{\"quantity\":1}", 400);
    expect("PUT", "/api/inventory/20000000-0000-4000-8000-000000000001", "{\"quantity\":3}", 200);
    assert_int_equal(stock_of("20000000-0000-4000-8000-000000000001"), 3);
    expect("GET", "/api/inventory/" UNKNOWN_ID, NULL, 404);
    expect("GET", "/api/inventory/x", NULL, 400);
}

/* --- orders */

static void test_an_order_takes_stock_and_can_be_read(void **state)
{
    (void)state;
    struct answer made, read;
    char path[100];
    const char *product = new_product(10);
    post_order(product, "3", NULL, &made);
    assert_answer(&made, 200);
    assert_string_equal(answer_text(&made, "user_id"), user_id);
    assert_string_equal(answer_text(&made, "product_id"), product);
    assert_int_equal(answer_number(&made, "quantity"), 3);
    assert_string_equal(answer_text(&made, "status"), "pending");
    assert_int_equal(json_object_size(made.json), 5);
    assert_int_equal(stock_of(product), 7);
    snprintf(path, sizeof path, "/api/orders/%s", answer_text(&made, "id"));
    call("GET", path, NULL, &read);
    assert_answer(&read, 200);
    assert_true(json_equal(made.json, read.json));
    answer_done(&read);
    answer_done(&made);
}

static void test_an_order_beyond_the_stock_is_refused_and_takes_nothing(void **state)
{
    (void)state;
    struct answer answer;
    const char *product = new_product(2);
    post_order(product, "3", NULL, &answer);
    assert_answer(&answer, 400);
    assert_string_equal(answer_text(&answer, "title"), "Insufficient inventory");
    answer_done(&answer);
    assert_int_equal(stock_of(product), 2);
    post_order(product, "2", NULL, &answer);
    assert_answer(&answer, 200);
    answer_done(&answer);
    assert_int_equal(stock_of(product), 0);
    post_order(UNKNOWN_ID, "1", NULL, &answer);
    assert_answer(&answer, 400);
    assert_string_equal(answer_text(&answer, "title"), "Insufficient inventory");
    answer_done(&answer);
}

static void test_wrong_orders_are_refused(void **state)
{
    (void)state;
    const char *product = new_product(10);
    static const char *const quantities[] = {
        "0", "-1", "1.0", "1e0", "\"1\"", "null", "1000001", "99999999999999999999", "true"};
    for (size_t i = 0; i < array_count(quantities); i++)
        expect("POST", "/api/orders", order_body(user_id, product, quantities[i]), 400);
    expect("POST", "/api/orders", order_body("7", product, "1"), 400);
    expect("POST", "/api/orders", order_body(user_id, "7", "1"), 400);
    expect("POST", "/api/orders", order_body(UNKNOWN_ID, product, "1"), 400);
    expect("POST", "/api/orders", "{}", 400);
    expect("POST", "/api/orders", NULL, 400);
    assert_int_equal(stock_of(product), 10);
    expect("GET", "/api/orders/" UNKNOWN_ID, NULL, 404);
    expect("GET", "/api/orders/x", NULL, 400);
}

/* --- idempotency */

static void test_a_replayed_order_is_the_same_order(void **state)
{
    (void)state;
    struct answer first, again;
    const char *product = new_product(10);
    post_order(product, "2", "replay-1", &first);
    assert_answer(&first, 200);
    static const char *const keys[] = {"replay-1", "\"replay-1\""};
    for (size_t i = 0; i < array_count(keys); i++) {
        post_order(product, "2", keys[i], &again);
        assert_answer(&again, 200);
        assert_true(json_equal(first.json, again.json));
        answer_done(&again);
    }
    answer_done(&first);
    assert_int_equal(stock_of(product), 8);
}

static void test_a_key_with_another_body_is_unprocessable(void **state)
{
    (void)state;
    struct answer answer;
    const char *product = new_product(10);
    post_order(product, "2", "misuse", &answer);
    assert_answer(&answer, 200);
    answer_done(&answer);
    post_order(product, "3", "misuse", &answer);
    assert_answer(&answer, 422);
    answer_done(&answer);
    assert_int_equal(stock_of(product), 8);
}

static void test_a_refused_order_leaves_its_key_free(void **state)
{
    (void)state;
    struct answer answer;
    const char *product = new_product(0);
    post_order(product, "1", "restock", &answer);
    assert_answer(&answer, 400);
    answer_done(&answer);
    shop_add_product(&shop, product, 5);
    post_order(product, "1", "restock", &answer);
    assert_answer(&answer, 200);
    answer_done(&answer);
}

static void test_an_abandoned_order_needs_a_new_key(void **state)
{
    (void)state;
    struct answer answer;
    struct uuid user;
    char id[UUID_TEXT_BYTES];
    const char *product = new_product(5);
    assert_true(uuid_parse(user_id, &user));
    uuid_format(uuid_v5(user, "given-up", strlen("given-up")), id);
    free(shop_sql(&shop, "insert into outbox (order_id, event, published_at) values ('%s', 'created', now())", id));
    post_order(product, "1", "given-up", &answer);
    assert_answer(&answer, 409);
    assert_string_equal(answer_text(&answer, "title"), "Order abandoned");
    answer_done(&answer);
}

static void test_wrong_keys_are_refused(void **state)
{
    (void)state;
    struct answer answer;
    char key[300];
    const char *product = new_product(5);
    memset(key, 'k', sizeof key);
    key[256] = '\0';
    const char *const bad[] = {key, "two words", "a\"b", "\"\"", "\xc3\xa9"};
    for (size_t i = 0; i < array_count(bad); i++) {
        post_order(product, "1", bad[i], &answer);
        assert_answer(&answer, 400);
        answer_done(&answer);
    }
    key[255] = '\0';
    post_order(product, "1", key, &answer);
    assert_answer(&answer, 200);
    answer_done(&answer);
    assert_int_equal(stock_of(product), 4);
}

/* --- the list */

static void test_the_list_goes_page_by_page_from_the_newest(void **state)
{
    (void)state;
    struct answer answer;
    char path[300];
    scoped_free char *user = shop_add_user(&shop);
    const char *product = new_product(100);
    char ids[5][UUID_TEXT_BYTES], cursor[100] = "";
    for (int i = 0; i < 5; i++) {
        call("POST", "/api/orders", order_body(user, product, "1"), &answer);
        assert_answer(&answer, 200);
        strcpy(ids[4 - i], answer_text(&answer, "id"));
        answer_done(&answer);
    }
    unsigned seen = 0;
    do {
        snprintf(path, sizeof path, "/api/orders?user_id=%s&limit=2%s%s", user, *cursor ? "&cursor=" : "", cursor);
        call("GET", path, NULL, &answer);
        assert_answer(&answer, 200);
        json_t *orders = json_object_get(answer.json, "orders");
        for (size_t i = 0; i < json_array_size(orders); i++)
            assert_string_equal(json_string_value(json_object_get(json_array_get(orders, i), "id")), ids[seen++]);
        strcpy(cursor, answer_text(&answer, "next_cursor"));
        if (!*cursor)
            assert_true(json_is_null(json_object_get(answer.json, "next_cursor")));
        answer_done(&answer);
    } while (*cursor);
    assert_int_equal(seen, 5);
}

static void test_an_unknown_users_list_is_empty(void **state)
{
    (void)state;
    struct answer answer;
    call("GET", "/api/orders?user_id=" UNKNOWN_ID, NULL, &answer);
    assert_answer(&answer, 200);
    assert_int_equal(json_array_size(json_object_get(answer.json, "orders")), 0);
    assert_true(json_is_null(json_object_get(answer.json, "next_cursor")));
    answer_done(&answer);
}

static void test_wrong_lists_are_refused(void **state)
{
    (void)state;
    expect("GET", "/api/orders", NULL, 400);
    expect("GET", "/api/orders?user_id=x", NULL, 400);
    static const char *const tails[] = {"limit=0",  "limit=101", "limit=x",         "limit=",           "limit=1.5",
                                        "cursor=x", "cursor=zz", "limit=1&limit=2", "limit=99999999999"};
    char path[300];
    for (size_t i = 0; i < array_count(tails); i++) {
        snprintf(path, sizeof path, "/api/orders?user_id=%s&%s", UNKNOWN_ID, tails[i]);
        expect("GET", path, NULL, 400);
    }
    expect("GET", "/api/orders?user_id=" UNKNOWN_ID "&limit=100", NULL, 200);
}

/* --- what HTTP itself asks for */

static void test_unknown_paths_and_methods(void **state)
{
    (void)state;
    struct answer answer;
    expect("GET", "/", NULL, 404);
    expect("GET", "/api/nothing", NULL, 404);
    expect("GET", "/health/", NULL, 404);
    call("DELETE", "/api/orders", NULL, &answer);
    assert_answer(&answer, 405);
    const char *allow = answer_header(&answer, "allow");
    assert_non_null(allow);
    assert_true(strstr(allow, "GET") && strstr(allow, "POST") && strstr(allow, "HEAD") && strstr(allow, "OPTIONS"));
    answer_done(&answer);
    call("OPTIONS", "/api/orders", NULL, &answer);
    assert_int_equal(answer.status, 204);
    assert_non_null(answer_header(&answer, "allow"));
    answer_done(&answer);
    call("HEAD", "/health", NULL, &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body_bytes, 0);
    answer_done(&answer);
}

static void test_bodies_have_a_type_and_a_limit(void **state)
{
    (void)state;
    struct answer answer;
    const char *const text[] = {"Content-Type: text/plain", NULL};
    http_call(&shop, "POST", "/api/users", "{}", text, &answer);
    assert_answer(&answer, 415);
    answer_done(&answer);
    const char *const charset[] = {"Content-Type: application/json; charset=utf-8", NULL};
    http_call(&shop, "POST", "/api/users", "{\"email\":\"charset@example.com\",\"name\":\"x\"}", charset, &answer);
    assert_answer(&answer, 200);
    answer_done(&answer);
    char *big = mem_alloc(70000);
    memset(big, ' ', 69999);
    expect("POST", "/api/users", big, 413);
    free(big);
    char path[9000];
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[8999] = '\0';
    expect("GET", path, NULL, 414);
    char header[17000];
    memset(header, 'h', sizeof header);
    memcpy(header, "X-Long: ", 8);
    header[16999] = '\0';
    const char *const headers[] = {header, NULL};
    http_call(&shop, "GET", "/health", NULL, headers, &answer);
    assert_answer(&answer, 431);
    answer_done(&answer);
}

static void test_a_trace_goes_through_and_comes_back(void **state)
{
    (void)state;
    struct answer answer;
    const char *const headers[] = {"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                   "tracestate: x=1",
                                   "baggage: k=1",
                                   "Tracestate: y=2",
                                   "baggage: l=2",
                                   NULL};
    const char *product = new_product(5);
    http_call(&shop, "POST", "/api/orders", order_body(user_id, product, "1"), headers, &answer);
    assert_answer(&answer, 200);
    assert_int_equal(strncmp(answer_header(&answer, "traceresponse"), "00-0af7651916cd43dd8448eb211c80319c-", 36), 0);
    scoped_free char *stored = shop_sql(
        &shop, "select trace_context ->> 'traceparent' from outbox where order_id = '%s'", answer_text(&answer, "id"));
    assert_int_equal(strncmp(stored, "00-0af7651916cd43dd8448eb211c80319c-", 36), 0);
    scoped_free char *beside = shop_sql(&shop,
                                        "select (trace_context ->> 'tracestate') || ' ' || (trace_context ->> "
                                        "'baggage') from outbox where order_id = '%s'",
                                        answer_text(&answer, "id"));
    assert_string_equal(beside, "x=1,y=2 k=1,l=2"); /* headers of one name are one list */
    answer_done(&answer);
}

/* --- events */

static void test_an_order_commits_its_reservation_through_the_stream(void **state)
{
    (void)state;
    struct answer answer;
    const char *product = new_product(5);
    post_order(product, "2", NULL, &answer);
    assert_answer(&answer, 200);
    const char *id = answer_text(&answer, "id");
    while (shop_sql_number(&shop, "select count(*) from reservations where order_id = '%s' and state = 'committed'",
                           id) == 0)
        usleep(2000);
    assert_int_equal(shop_sql_number(&shop,
                                     "select count(*) from outbox where order_id = '%s' and published_at is not null"
                                     " and payload ->> 'order_id' = '%s' and payload ->> 'quantity' = '2'",
                                     id, id),
                     1);
    answer_done(&answer);
}

/* --- cancelling */

static void cancel(const char *id, int status, struct answer *out)
{
    char path[100];
    snprintf(path, sizeof path, "/api/orders/%s/cancel", id);
    call("POST", path, NULL, out);
    assert_answer(out, status);
}

static void await_state(const char *id, const char *state)
{
    int64_t until_ns = clock_now_ns() + 60 * NS_PER_S;
    while (shop_sql_number(&shop, "select count(*) from reservations where order_id = '%s' and state = '%s'", id,
                           state) == 0) {
        assert_true(clock_now_ns() < until_ns);
        usleep(2000);
    }
}

static void test_a_cancelled_order_gives_its_stock_back_once(void **state)
{
    (void)state;
    struct answer made, cancelled, again, read;
    char path[100];
    const char *product = new_product(9);
    post_order(product, "4", NULL, &made);
    assert_answer(&made, 200);
    const char *id = answer_text(&made, "id");
    cancel(id, 200, &cancelled);
    assert_string_equal(answer_text(&cancelled, "status"), "cancelled");
    assert_string_equal(answer_text(&cancelled, "product_id"), product);
    assert_int_equal(answer_number(&cancelled, "quantity"), 4);
    cancel(id, 200, &again);
    assert_true(json_equal(cancelled.json, again.json));
    await_state(id, "released");
    assert_int_equal(stock_of(product), 9);
    snprintf(path, sizeof path, "/api/orders/%s", id);
    call("GET", path, NULL, &read);
    assert_answer(&read, 200);
    assert_true(json_equal(cancelled.json, read.json));
    assert_int_equal(shop_sql_number(&shop, "select count(*) from outbox where order_id = '%s'", id), 2);
    answer_done(&read);
    answer_done(&again);
    answer_done(&cancelled);
    answer_done(&made);
}

static void add_event(const char *stream, const char *id)
{
    scoped_free char *command =
        mem_print("redis-cli -u %s xadd %s '*' data '{\"order_id\":\"%s\"}' >/dev/null", shop.redis.url, stream, id);
    assert_int_equal(system(command), 0);
}

/* Events of an order in any order, as often as they like: the stock comes back once. */
static void test_late_and_repeated_events_of_a_cancelled_order_are_harmless(void **state)
{
    (void)state;
    struct answer made, cancelled, other;
    const char *product = new_product(9);
    post_order(product, "4", NULL, &made);
    cancel(answer_text(&made, "id"), 200, &cancelled);
    for (int i = 0; i < 3; i++) {
        add_event("orders:cancelled", answer_text(&made, "id"));
        add_event("orders:created", answer_text(&made, "id"));
    }
    post_order(product, "1", NULL, &other); /* both streams have been read up to here when its own events are done */
    await_state(answer_text(&other, "id"), "committed");
    add_event("orders:cancelled", answer_text(&other, "id"));
    await_state(answer_text(&other, "id"), "released");
    await_state(answer_text(&made, "id"), "released");
    assert_int_equal(stock_of(product), 9);
    answer_done(&other);
    answer_done(&cancelled);
    answer_done(&made);
}

static void test_orders_that_are_not_there_cannot_be_cancelled(void **state)
{
    (void)state;
    struct answer answer;
    cancel(UNKNOWN_ID, 404, &answer);
    answer_done(&answer);
    cancel("7", 400, &answer);
    answer_done(&answer);
    expect("GET", "/api/orders/" UNKNOWN_ID "/cancel", NULL, 405);
}

/* --- reservations that nobody settled */

static void hold(const char *id, const char *product)
{
    free(shop_sql(&shop,
                  "with r as (insert into reservations (order_id, product_id, quantity, created_at, updated_at) values"
                  " ('%s', '%s', 2, now() - interval '31 seconds', now() - interval '31 seconds'))"
                  " update inventory set quantity = quantity - 2 where product_id = '%s'",
                  id, product, product));
}

static void test_a_reservation_without_an_order_is_released(void **state)
{
    (void)state;
    const char *id = "20000000-0000-4000-8000-000000000001";
    const char *product = new_product(6);
    hold(id, product);
    await_state(id, "released");
    assert_int_equal(stock_of(product), 6);
    /* From now on the order can never come to be. */
    assert_int_equal(
        shop_sql_number(&shop, "select count(*) from outbox where order_id = '%s' and payload is null", id), 1);
}

static void test_a_reservation_whose_order_exists_is_committed(void **state)
{
    (void)state;
    const char *id = "20000000-0000-4000-8000-000000000002";
    const char *product = new_product(6);
    free(shop_sql(&shop,
                  "with o as (insert into outbox (order_id, event, payload, published_at)"
                  " values ('%s', 'created', '{}', now()))"
                  " insert into orders (id, user_id, product_id, quantity) values ('%s', '%s', '%s', 2)",
                  id, id, user_id, product));
    hold(id, product);
    await_state(id, "committed");
    assert_int_equal(stock_of(product), 4);
}

/* --- the outbox's age */

static long events_of(const char *id)
{
    return shop_sql_number(&shop, "select count(*) from outbox where order_id = '%s'", id);
}

static void add_old_event(const char *id, const char *published_at)
{
    free(shop_sql(&shop,
                  "insert into outbox (order_id, event, created_at, published_at) values"
                  " ('%s', 'created', now() - interval '8 days', %s)",
                  id, published_at));
}

static void test_events_are_pruned_after_a_week(void **state)
{
    (void)state;
    const char *old = "30000000-0000-4000-8000-000000000001";
    struct answer made;
    post_order(new_product(3), "1", NULL, &made);
    await_state(answer_text(&made, "id"), "committed");
    shop_stop(&shop, SHOP_ORDER);
    add_old_event(old, "now()");
    shop_start(&shop, SHOP_ORDER); /* a task's first round comes with the start */
    shop_wait_ready(&shop);
    int64_t until_ns = clock_now_ns() + 60 * NS_PER_S;
    while (events_of(old) > 0) {
        assert_true(clock_now_ns() < until_ns);
        usleep(2000);
    }
    assert_int_equal(events_of(answer_text(&made, "id")), 1);
    answer_done(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_health_and_readiness_answer_ok),
        cmocka_unit_test(test_a_created_user_can_be_read),
        cmocka_unit_test(test_an_email_is_taken_once_whatever_its_case),
        cmocka_unit_test(test_wrong_users_are_refused),
        cmocka_unit_test(test_names_and_emails_have_a_longest_form),
        cmocka_unit_test(test_users_that_are_not_there_are_not_found),
        cmocka_unit_test(test_stock_is_read_and_set),
        cmocka_unit_test(test_an_order_takes_stock_and_can_be_read),
        cmocka_unit_test(test_an_order_beyond_the_stock_is_refused_and_takes_nothing),
        cmocka_unit_test(test_wrong_orders_are_refused),
        cmocka_unit_test(test_a_replayed_order_is_the_same_order),
        cmocka_unit_test(test_a_key_with_another_body_is_unprocessable),
        cmocka_unit_test(test_a_refused_order_leaves_its_key_free),
        cmocka_unit_test(test_an_abandoned_order_needs_a_new_key),
        cmocka_unit_test(test_wrong_keys_are_refused),
        cmocka_unit_test(test_the_list_goes_page_by_page_from_the_newest),
        cmocka_unit_test(test_an_unknown_users_list_is_empty),
        cmocka_unit_test(test_wrong_lists_are_refused),
        cmocka_unit_test(test_unknown_paths_and_methods),
        cmocka_unit_test(test_bodies_have_a_type_and_a_limit),
        cmocka_unit_test(test_a_trace_goes_through_and_comes_back),
        cmocka_unit_test(test_an_order_commits_its_reservation_through_the_stream),
        cmocka_unit_test(test_a_cancelled_order_gives_its_stock_back_once),
        cmocka_unit_test(test_late_and_repeated_events_of_a_cancelled_order_are_harmless),
        cmocka_unit_test(test_orders_that_are_not_there_cannot_be_cancelled),
        cmocka_unit_test(test_a_reservation_without_an_order_is_released),
        cmocka_unit_test(test_a_reservation_whose_order_exists_is_committed),
        cmocka_unit_test(test_events_are_pruned_after_a_week),
    };
    return cmocka_run_group_tests_name("HTTP API", tests, open_shop, close_shop);
}
