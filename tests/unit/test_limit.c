/* Admission without a server: time is what the test says. */
#include "support/support.h"

#include "common/limit.h"

enum { MS = 1000000, LEAST = 64, FIRST = 256 };

struct day {
    struct limit limit;
    int64_t now_ns;
};

static void begin(struct day *day, unsigned most, int target_ms)
{
    *day = (struct day){.now_ns = MS};
    limit_init(&day->limit, LEAST, most, target_ms);
}

/* A window in which count come at once and each takes took_ms; how many were let in. */
static unsigned window(struct day *day, unsigned count, int took_ms)
{
    unsigned in = 0;
    for (unsigned i = 0; i < count; i++)
        in += limit_enter(&day->limit);
    int64_t begin_ns = day->now_ns;
    day->now_ns += 101 * MS;
    for (unsigned i = 0; i < in; i++)
        limit_leave(&day->limit, begin_ns, begin_ns + took_ms * MS);
    for (unsigned i = 0; i < 16; i++) { /* the window's end is seen by who leaves after it */
        limit_enter(&day->limit);
        limit_leave(&day->limit, day->now_ns - took_ms * MS, day->now_ns);
    }
    return in;
}

static void windows(unsigned number, struct day *day, unsigned count, int took_ms)
{
    for (unsigned i = 0; i < number; i++)
        window(day, count, took_ms);
}

static void test_no_more_than_the_limit_are_let_in(void **state)
{
    (void)state;
    struct day day;
    begin(&day, 10, 0);
    for (unsigned i = 0; i < 10; i++)
        assert_true(limit_enter(&day.limit));
    assert_false(limit_enter(&day.limit));
    assert_int_equal(limit_in_flight(&day.limit), 10);
    limit_leave(&day.limit, 0, 1);
    assert_true(limit_enter(&day.limit));
    assert_false(limit_enter(&day.limit));
}

static void test_without_a_target_the_limit_stays(void **state)
{
    (void)state;
    struct day day;
    begin(&day, 1000, 0);
    windows(50, &day, 2000, 500);
    assert_int_equal(limit_now(&day.limit), 1000);
}

static void test_slow_requests_lower_the_limit_down_to_the_least(void **state)
{
    (void)state;
    struct day day;
    begin(&day, 4096, 20);
    assert_int_equal(limit_now(&day.limit), FIRST);
    unsigned before = limit_now(&day.limit);
    window(&day, 1000, 30);
    assert_in_range(limit_now(&day.limit), LEAST, before - 1);
    windows(50, &day, 1000, 30);
    assert_int_equal(limit_now(&day.limit), LEAST);
}

/* Who is let in while a limit is too high waits long; so it is not for long. */
static void test_a_crowd_has_the_limit_at_its_least_within_three_tenths_of_a_second(void **state)
{
    (void)state;
    struct day day;
    begin(&day, 4096, 20);
    windows(3, &day, 1000, 100);
    assert_int_equal(limit_now(&day.limit), LEAST);
}

static void test_quick_requests_raise_the_limit_while_some_are_turned_away(void **state)
{
    (void)state;
    struct day day;
    begin(&day, 4096, 20);
    window(&day, 1000, 2);
    assert_true(limit_now(&day.limit) > FIRST);
    windows(500, &day, 10000, 2);
    assert_int_equal(limit_now(&day.limit), 4096);
}

static void test_a_limit_that_was_lowered_recovers_by_itself(void **state)
{
    (void)state;
    struct day day;
    begin(&day, 4096, 20);
    windows(50, &day, 1000, 30);
    assert_int_equal(limit_now(&day.limit), LEAST);
    windows(100, &day, 20, 2);
    assert_int_equal(limit_now(&day.limit), FIRST);
}

static void test_a_hiccup_that_fits_lowers_nothing(void **state)
{
    (void)state;
    struct day day;
    begin(&day, 4096, 20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(window(&day, FIRST, 500), FIRST);
    assert_int_equal(limit_now(&day.limit), FIRST);
}

static void test_a_limit_that_suffices_recovers_though_all_is_slow(void **state)
{
    (void)state;
    struct day day;
    begin(&day, 4096, 20);
    windows(50, &day, 1000, 30);
    assert_int_equal(limit_now(&day.limit), LEAST);
    windows(100, &day, LEAST - 1, 30);
    assert_int_equal(limit_now(&day.limit), FIRST);
}

static void test_a_limit_that_has_grown_shrinks_before_it_is_full(void **state)
{
    (void)state;
    struct day day;
    begin(&day, 4096, 20);
    windows(500, &day, 10000, 2);
    windows(50, &day, 3000, 30);
    assert_in_range(limit_now(&day.limit), LEAST, 3000);
}

static void test_an_unused_limit_stays_where_it_is(void **state)
{
    (void)state;
    struct day day;
    begin(&day, 4096, 20);
    windows(20, &day, 20, 2);
    assert_int_equal(limit_now(&day.limit), FIRST);
    for (unsigned i = 0; i < 20; i++)
        window(&day, 20, 500); /* slow for another reason than too many at once */
    assert_int_equal(limit_now(&day.limit), FIRST);
}

static void test_a_few_slow_requests_among_quick_ones_change_nothing(void **state)
{
    (void)state;
    struct day day;
    begin(&day, 4096, 20);
    for (unsigned i = 0; i < 50; i++) {
        for (unsigned k = 0; k < 200; k++)
            assert_true(limit_enter(&day.limit));
        int64_t begin_ns = day.now_ns;
        day.now_ns += 101 * MS;
        for (unsigned k = 0; k < 200; k++)
            limit_leave(&day.limit, begin_ns, begin_ns + (k % 3 == 0 ? 5000 : 2) * (int64_t)MS);
    }
    assert_true(limit_now(&day.limit) >= FIRST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_more_than_the_limit_are_let_in),
        cmocka_unit_test(test_without_a_target_the_limit_stays),
        cmocka_unit_test(test_slow_requests_lower_the_limit_down_to_the_least),
        cmocka_unit_test(test_a_crowd_has_the_limit_at_its_least_within_three_tenths_of_a_second),
        cmocka_unit_test(test_quick_requests_raise_the_limit_while_some_are_turned_away),
        cmocka_unit_test(test_a_limit_that_was_lowered_recovers_by_itself),
        cmocka_unit_test(test_a_hiccup_that_fits_lowers_nothing),
        cmocka_unit_test(test_a_limit_that_suffices_recovers_though_all_is_slow),
        cmocka_unit_test(test_a_limit_that_has_grown_shrinks_before_it_is_full),
        cmocka_unit_test(test_an_unused_limit_stays_where_it_is),
        cmocka_unit_test(test_a_few_slow_requests_among_quick_ones_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
