#include <string.h>

#include "../../services/api-gateway/gateway.h"
#include "common/mem.h"
#include "support/support.h"

static void check_keys(struct request *req, void *arg)
{
    (void)arg;
    char *key;
    assert_int_equal(idempotency_key_read(req, NULL, &key), ERR_OK);
    assert_string_equal(key, "");
    assert_int_equal(idempotency_key_read(req, "abc", &key), ERR_OK);
    assert_string_equal(key, "abc");
    assert_int_equal(idempotency_key_read(req, "\"abc\"", &key), ERR_OK);
    assert_string_equal(key, "abc");
    assert_int_equal(idempotency_key_read(req, "\"", &key), ERR_OK); /* the order service refuses it */
    assert_string_equal(key, "\"");
    assert_int_equal(idempotency_key_read(req, "", &key), ERR_INVALID_ARGUMENT);
    assert_int_equal(idempotency_key_read(req, "\"\"", &key), ERR_INVALID_ARGUMENT);
}

static void test_bare_and_quoted_keys_are_the_same(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_keys, NULL);
}

static void check_addresses(struct request *req, void *arg)
{
    static const struct {
        const char *forwarded_for;
        int proxies;
        const char *address;
    } of[] = {
        {NULL, 0, "10.0.0.9"},
        {"1.1.1.1", 0, "10.0.0.9"},
        {NULL, 1, "10.0.0.9"},
        {"", 1, "10.0.0.9"},
        {"1.1.1.1", 1, "1.1.1.1"},
        {"9.9.9.9, 1.1.1.1", 1, "1.1.1.1"},
        {"1.1.1.1, 2.2.2.2", 2, "1.1.1.1"},
        {"9.9.9.9,1.1.1.1,2.2.2.2", 2, "1.1.1.1"},
        {"1.1.1.1", 2, "10.0.0.9"},
        {"9.9.9.9, \t 2001:db8::1", 1, "2001:db8::1"},
    };
    (void)arg;
    for (size_t i = 0; i < array_count(of); i++)
        assert_string_equal(client_address(req, "10.0.0.9:4711", of[i].forwarded_for, of[i].proxies), of[i].address);
    assert_string_equal(client_address(req, "[::1]:4711", NULL, 0), "[::1]");
}

static void test_the_clients_address_is_what_the_outermost_proxy_saw(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_addresses, NULL);
}

static void check_limits(struct request *req, void *arg)
{
    (void)arg;
    int32_t limit;
    assert_int_equal(list_limit_read(req, NULL, &limit), ERR_OK);
    assert_int_equal(limit, 0);
    assert_int_equal(list_limit_read(req, "1", &limit), ERR_OK);
    assert_int_equal(limit, 1);
    assert_int_equal(list_limit_read(req, "100", &limit), ERR_OK);
    assert_int_equal(limit, 100);
    static const char *const bad[] = {"", "0", "101", "-1", "+1", "1.0", "x", "1x", "4294967297"};
    for (size_t i = 0; i < array_count(bad); i++)
        assert_int_equal(list_limit_read(req, bad[i], &limit), ERR_INVALID_ARGUMENT);
}

static void test_a_list_limit_is_a_small_number(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_limits, NULL);
}

static void check_refusals(struct request *req, void *arg)
{
    (void)arg;
    fail(req, ERR_FAILED_PRECONDITION, "x");
    assert_int_equal(order_refused(req, ERR_FAILED_PRECONDITION), ERR_FAILED_PRECONDITION);
    assert_int_equal(req->failure.http_status, 400);
    assert_string_equal(req->failure.title, "Insufficient inventory");
    fail(req, ERR_ALREADY_EXISTS, "the reason");
    assert_int_equal(order_refused(req, ERR_ALREADY_EXISTS), ERR_ALREADY_EXISTS);
    assert_int_equal(req->failure.http_status, 422);
    assert_string_equal(req->failure.detail, "the reason");
    fail(req, ERR_ABORTED, "the reason");
    assert_int_equal(order_refused(req, ERR_ABORTED), ERR_ABORTED);
    assert_int_equal(req->failure.http_status, 409);
    assert_string_equal(req->failure.title, "Order abandoned");
    fail(req, ERR_UNAVAILABLE, "x");
    assert_int_equal(order_refused(req, ERR_UNAVAILABLE), ERR_UNAVAILABLE);
    assert_int_equal(req->failure.http_status, 0);
}

static void test_an_orders_refusal_has_its_status_and_title(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_refusals, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare_and_quoted_keys_are_the_same),
        cmocka_unit_test(test_the_clients_address_is_what_the_outermost_proxy_saw),
        cmocka_unit_test(test_a_list_limit_is_a_small_number),
        cmocka_unit_test(test_an_orders_refusal_has_its_status_and_title),
    };
    return cmocka_run_group_tests_name("gateway rules", tests, NULL, NULL);
}
