#include <string.h>

#include "../../services/order-service/order.h"
#include "common/mem.h"
#include "support/support.h"

#define USER    "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
#define PRODUCT "00000000-0000-4000-8000-000000000001"

static void check_drafts(struct request *req, void *arg)
{
    (void)arg;
    struct draft a, b;
    char key[300];
    assert_int_equal(draft_check(req, USER, PRODUCT, 1, "", &a), ERR_OK);
    assert_int_equal(draft_check(req, USER, PRODUCT, 1, "", &b), ERR_OK);
    assert_false(uuid_equal(a.id, b.id));
    assert_int_equal(draft_check(req, USER, PRODUCT, QUANTITY_MAX, "key", &a), ERR_OK);
    assert_int_equal(draft_check(req, USER, PRODUCT, 2, "key", &b), ERR_OK);
    assert_true(uuid_equal(a.id, b.id));
    assert_int_equal(draft_check(req, PRODUCT, PRODUCT, 2, "key", &b), ERR_OK);
    assert_false(uuid_equal(a.id, b.id));
    assert_int_equal(draft_check(req, "x", PRODUCT, 1, "", &a), ERR_INVALID_ARGUMENT);
    assert_int_equal(draft_check(req, USER, "x", 1, "", &a), ERR_INVALID_ARGUMENT);
    assert_int_equal(draft_check(req, USER, PRODUCT, 0, "", &a), ERR_INVALID_ARGUMENT);
    assert_int_equal(draft_check(req, USER, PRODUCT, QUANTITY_MAX + 1, "", &a), ERR_INVALID_ARGUMENT);
    memset(key, '~', sizeof key);
    key[255] = '\0';
    assert_int_equal(draft_check(req, USER, PRODUCT, 1, key, &a), ERR_OK);
    key[255] = '~';
    key[256] = '\0';
    assert_int_equal(draft_check(req, USER, PRODUCT, 1, key, &a), ERR_INVALID_ARGUMENT);
    static const char *const bad[] = {"a b", "\"", "\x7f", "\t", "\xc3\xa9"};
    for (size_t i = 0; i < array_count(bad); i++)
        assert_int_equal(draft_check(req, USER, PRODUCT, 1, bad[i], &a), ERR_INVALID_ARGUMENT);
}

static void test_a_key_decides_the_orders_id(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_drafts, NULL);
}

static void check_replays(struct request *req, void *arg)
{
    (void)arg;
    struct draft draft;
    assert_int_equal(draft_check(req, USER, PRODUCT, 2, "key", &draft), ERR_OK);
    struct order known = {.product_id = draft.product_id, .quantity = 2};
    assert_int_equal(order_replay(req, &draft, &known), ERR_OK);
    known.quantity = 3;
    assert_int_equal(order_replay(req, &draft, &known), ERR_ALREADY_EXISTS);
    known = (struct order){.product_id = draft.user_id, .quantity = 2};
    assert_int_equal(order_replay(req, &draft, &known), ERR_ALREADY_EXISTS);
}

static void test_a_replay_must_have_the_same_body(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_replays, NULL);
}

static void check_cursors(struct request *req, void *arg)
{
    (void)arg;
    char text[CURSOR_TEXT_BYTES];
    struct cursor made = {.created_at_ns = 1769860800123456000, .id = uuid_v7()}, read;
    assert_int_equal(strlen(cursor_print(made, text)), CURSOR_TEXT_BYTES - 1);
    assert_int_equal(cursor_read(req, text, &read), ERR_OK);
    assert_int_equal(read.created_at_ns, made.created_at_ns);
    assert_true(uuid_equal(read.id, made.id));
    assert_int_equal(cursor_read(req, "", &read), ERR_OK);
    assert_int_equal(read.created_at_ns, INT64_MAX);
    text[3] = 'X';
    assert_int_equal(cursor_read(req, text, &read), ERR_INVALID_ARGUMENT);
    text[3] = '\0';
    assert_int_equal(cursor_read(req, text, &read), ERR_INVALID_ARGUMENT);
}

static void test_a_cursor_comes_back_as_it_went(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_cursors, NULL);
}

static void check_limits(struct request *req, void *arg)
{
    (void)arg;
    unsigned limit;
    assert_int_equal(list_limit_read(req, 0, &limit), ERR_OK);
    assert_int_equal(limit, LIST_LIMIT);
    assert_int_equal(list_limit_read(req, LIST_LIMIT_MAX, &limit), ERR_OK);
    assert_int_equal(limit, LIST_LIMIT_MAX);
    assert_int_equal(list_limit_read(req, LIST_LIMIT_MAX + 1, &limit), ERR_INVALID_ARGUMENT);
    assert_int_equal(list_limit_read(req, -1, &limit), ERR_INVALID_ARGUMENT);
}

static void test_a_page_has_a_size(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_limits, NULL);
}

static void test_only_definite_errors_mean_that_nothing_was_written(void **state)
{
    (void)state;
    assert_true(nothing_written(ERR_INTERNAL));
    assert_true(nothing_written(ERR_ABORTED));
    assert_false(nothing_written(ERR_OK));
    assert_false(nothing_written(ERR_UNAVAILABLE));
    assert_false(nothing_written(ERR_DEADLINE_EXCEEDED));
    assert_false(nothing_written(ERR_CANCELLED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key_decides_the_orders_id),
        cmocka_unit_test(test_a_replay_must_have_the_same_body),
        cmocka_unit_test(test_a_cursor_comes_back_as_it_went),
        cmocka_unit_test(test_a_page_has_a_size),
        cmocka_unit_test(test_only_definite_errors_mean_that_nothing_was_written),
    };
    return cmocka_run_group_tests_name("order rules", tests, NULL, NULL);
}
