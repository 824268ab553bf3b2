#include "../../services/inventory-service/inventory.h"
#include "support/support.h"

static void check_numbers(struct request *req, void *arg)
{
    (void)arg;
    assert_int_equal(check_quantity(req, 1), ERR_OK);
    assert_int_equal(check_quantity(req, QUANTITY_MAX), ERR_OK);
    assert_int_equal(check_quantity(req, 0), ERR_INVALID_ARGUMENT);
    assert_int_equal(check_quantity(req, QUANTITY_MAX + 1), ERR_INVALID_ARGUMENT);
    assert_int_equal(check_stock(req, 0), ERR_OK);
    assert_int_equal(check_stock(req, STOCK_MAX), ERR_OK);
    assert_int_equal(check_stock(req, -1), ERR_INVALID_ARGUMENT);
    assert_int_equal(check_stock(req, STOCK_MAX + 1), ERR_INVALID_ARGUMENT);
}

static void test_quantities_and_stock_have_bounds(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_numbers, NULL);
}

static void check_outcomes(struct request *req, void *arg)
{
    (void)arg;
    bool held = false;
    assert_int_equal(judge_reservation(req, "held", &held), ERR_OK);
    assert_true(held);
    assert_int_equal(judge_reservation(req, "short", &held), ERR_OK);
    assert_false(held);
    assert_int_equal(judge_reservation(req, "other", &held), ERR_ALREADY_EXISTS);
    assert_int_equal(judge_reservation(req, "released", &held), ERR_ABORTED);
}

static void test_a_reservations_outcome_has_a_meaning(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_outcomes, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantities_and_stock_have_bounds),
        cmocka_unit_test(test_a_reservations_outcome_has_a_meaning),
    };
    return cmocka_run_group_tests_name("inventory rules", tests, NULL, NULL);
}
