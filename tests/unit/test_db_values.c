#include <string.h>

#include "common/arena.h"
#include "common/mem.h"
#include "db/sqlstate.h"
#include "db/target.h"
#include "db/value.h"
#include "support/support.h"

static void assert_encodes(struct db_value value, const void *expected, size_t bytes)
{
    struct db_buffer buffer = {0};
    db_put_value(&buffer, &value);
    assert_int_equal(buffer.size, bytes);
    assert_memory_equal(buffer.data, expected, bytes);
    db_buffer_done(&buffer);
}

static void test_values_have_the_servers_bytes(void **state)
{
    (void)state;
    struct uuid id;
    assert_true(uuid_parse("00112233-4455-6677-8899-aabbccddeeff", &id));
    assert_encodes(db_uuid(id), "\0\0\0\x10\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 20);
    assert_encodes(db_text("ab"), "\0\0\0\2ab", 6);
    assert_encodes(db_text(""), "\0\0\0\0", 4);
    assert_encodes(db_text(NULL), "\xff\xff\xff\xff", 4);
    assert_encodes(db_int4(-2), "\0\0\0\4\xff\xff\xff\xfe", 8);
    assert_encodes(db_int8(258), "\0\0\0\x8\0\0\0\0\0\0\1\2", 12);
    assert_encodes(db_bool(true), "\0\0\0\1\1", 5);
    assert_encodes(db_bool(false), "\0\0\0\1\0", 5);
    assert_encodes(db_json("{}"), "\0\0\0\3\1{}", 7);
    assert_encodes(db_null('u'), "\xff\xff\xff\xff", 4);
    /* 2000-01-01 is the server's zero. */
    assert_encodes(db_time(INT64_C(946684800) * 1000000000), "\0\0\0\x8\0\0\0\0\0\0\0\0", 12);
    assert_encodes(db_time(INT64_C(946684800) * 1000000000 + 1999), "\0\0\0\x8\0\0\0\0\0\0\0\1", 12);
    assert_encodes(db_time(INT64_C(946684800) * 1000000000 - 1), "\0\0\0\x8\xff\xff\xff\xff\xff\xff\xff\xff", 12);
    assert_encodes(db_time(INT64_MAX), "\0\0\0\x8\x7f\xff\xff\xff\xff\xff\xff\xff", 12);
}

static void test_arrays_have_the_servers_bytes(void **state)
{
    (void)state;
    int32_t numbers[] = {1, 2};
    const char *texts[] = {"a", NULL};
    assert_encodes(db_int4s(numbers, 2),
                   "\0\0\0\x24\0\0\0\1\0\0\0\1\0\0\0\x17\0\0\0\2\0\0\0\1\0\0\0\4\0\0\0\1\0\0\0\4\0\0\0\2", 40);
    assert_encodes(db_texts(texts, 2), "\0\0\0\x1d\0\0\0\1\0\0\0\1\0\0\0\x19\0\0\0\2\0\0\0\1\0\0\0\1a\xff\xff\xff\xff",
                   33);
    assert_encodes(db_int8s(NULL, 0), "\0\0\0\xc\0\0\0\0\0\0\0\1\0\0\0\x14", 16);
}

static void assert_reads(char letter, const void *bytes, int length, bool expected, struct db_value *out)
{
    struct arena arena;
    arena_init(&arena, 256);
    assert_int_equal(db_read_value(letter, bytes, length, &arena, out), expected);
    if (expected && (letter == 't' || letter == 'j'))
        assert_string_equal(out->text, letter == 't' ? "hi" : "{}");
    arena_done(&arena);
}

static void test_values_of_a_wrong_length_are_not_read(void **state)
{
    (void)state;
    const char zeros[32] = {0};
    struct db_value value = {0};
    assert_reads('t', "hi", 2, true, &value);
    assert_reads('j', "\1{}", 3, true, &value);
    assert_reads('j', "\2{}", 3, false, &value);
    assert_reads('j', "", 0, false, &value);
    assert_reads('u', zeros, 15, false, &value);
    assert_reads('u', zeros, 16, true, &value);
    assert_reads('i', zeros, 8, false, &value);
    assert_reads('l', zeros, 4, false, &value);
    assert_reads('z', zeros, 4, false, &value);
    assert_reads('b', zeros, 0, false, &value);
    assert_reads('i', "\0\0\1\0", 4, true, &value);
    assert_int_equal(value.int4, 256);
    assert_reads('z', zeros, 8, true, &value);
    assert_true(value.int8 == INT64_C(946684800) * 1000000000);
    assert_reads('z', "\x7f\xff\xff\xff\xff\xff\xff\xff", 8, true, &value);
    assert_true(value.int8 == INT64_MAX);
    assert_reads('z', "\x80\0\0\0\0\0\0\0", 8, true, &value);
    assert_true(value.int8 == INT64_MIN);
}

static void test_letters_stand_for_types(void **state)
{
    (void)state;
    assert_int_equal(db_letter_oid('u'), 2950);
    assert_int_equal(db_letter_oid('U'), 2951);
    assert_int_equal(db_letter_oid('T'), 1009);
    assert_int_equal(db_letter_oid('B'), 0);
    assert_int_equal(db_letter_oid('x'), 0);
    assert_int_equal(db_letter_oid('\0'), 0);
    assert_int_equal(db_letter_array_oid('z'), 1185);
    assert_int_equal(db_letter_array_oid('U'), 0);
    assert_true(db_letter_reads('t', 1043));
    assert_true(db_letter_reads('t', 25));
    assert_false(db_letter_reads('t', 23));
    assert_true(db_letter_reads('i', 23));
    assert_false(db_letter_reads('i', 20));
    assert_false(db_letter_reads('x', 20));
}

static void test_sqlstates_map_to_errors(void **state)
{
    (void)state;
    assert_int_equal(db_sqlstate_err("23505"), ERR_ALREADY_EXISTS);
    assert_int_equal(db_sqlstate_err("23503"), ERR_FAILED_PRECONDITION);
    assert_int_equal(db_sqlstate_err("23514"), ERR_FAILED_PRECONDITION);
    assert_int_equal(db_sqlstate_err("40001"), ERR_ABORTED);
    assert_int_equal(db_sqlstate_err("40P01"), ERR_ABORTED);
    assert_int_equal(db_sqlstate_err("40002"), ERR_INTERNAL);
    assert_int_equal(db_sqlstate_err("57014"), ERR_DEADLINE_EXCEEDED);
    assert_int_equal(db_sqlstate_err("57P01"), ERR_UNAVAILABLE);
    assert_int_equal(db_sqlstate_err("57P03"), ERR_UNAVAILABLE);
    assert_int_equal(db_sqlstate_err("08006"), ERR_UNAVAILABLE);
    assert_int_equal(db_sqlstate_err("53300"), ERR_UNAVAILABLE);
    assert_int_equal(db_sqlstate_err("42601"), ERR_INTERNAL);
    assert_int_equal(db_sqlstate_err(NULL), ERR_UNAVAILABLE);
    assert_true(db_sqlstate_of_row("22003"));
    assert_true(db_sqlstate_of_row("23505"));
    assert_true(db_sqlstate_of_row("40001"));
    assert_false(db_sqlstate_of_row("42601"));
    assert_false(db_sqlstate_of_row(""));
}

static void assert_target(const char *hosts, const char *ports, unsigned turn, const char *expected_hosts,
                          const char *expected_ports)
{
    struct db_target target;
    char message[128];
    assert_int_equal(db_target_find(hosts, ports, turn, &target, message, sizeof message), ERR_OK);
    assert_string_equal(target.hosts, expected_hosts);
    assert_string_equal(target.ports, expected_ports);
    db_target_done(&target);
}

static void test_each_address_has_its_turn_to_be_first(void **state)
{
    (void)state;
    assert_target("127.0.0.1", "5432", 0, "127.0.0.1", "5432");
    assert_target("10.0.0.1,::1,/run/pg", "1,2,3", 0, "10.0.0.1,::1,/run/pg", "1,2,3");
    assert_target("10.0.0.1,::1,/run/pg", "1,2,3", 4, "::1,/run/pg,10.0.0.1", "2,3,1");
    assert_target("10.0.0.1,10.0.0.2", "5432", 1, "10.0.0.2,10.0.0.1", "5432,5432");
    assert_target("10.0.0.1,10.0.0.2", "", 0, "10.0.0.1,10.0.0.2", ",");
}

static void test_only_names_are_looked_up(void **state)
{
    (void)state;
    assert_false(db_target_blocks("127.0.0.1,::1,fe80::1%lo,/run/postgresql,@abstract,"));
    assert_true(db_target_blocks("127.0.0.1,localhost"));
    struct db_target target;
    char message[128];
    assert_int_equal(db_target_find("localhost", "7", 0, &target, message, sizeof message), ERR_OK);
    assert_non_null(strstr(target.addresses, "127.0.0.1"));
    assert_string_equal(target.hosts + strlen(target.hosts) - 9, "localhost");
    db_target_done(&target);
    assert_int_equal(db_target_find("nowhere.invalid", "7", 0, &target, message, sizeof message), ERR_UNAVAILABLE);
    assert_non_null(strstr(message, "nowhere.invalid"));
}

static void test_more_addresses_than_the_limit_are_left_out(void **state)
{
    (void)state;
    struct db_target target;
    char hosts[512] = "10.0.0.1", message[128];
    for (unsigned i = 0; i < 30; i++)
        strcat(hosts, ",10.0.0.1");
    assert_int_equal(db_target_find(hosts, "1", 0, &target, message, sizeof message), ERR_OK);
    assert_int_equal(strlen(target.ports), 2 * DB_ADDRESSES_MAX - 1);
    db_target_done(&target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_have_the_servers_bytes),
        cmocka_unit_test(test_arrays_have_the_servers_bytes),
        cmocka_unit_test(test_values_of_a_wrong_length_are_not_read),
        cmocka_unit_test(test_letters_stand_for_types),
        cmocka_unit_test(test_sqlstates_map_to_errors),
        cmocka_unit_test(test_each_address_has_its_turn_to_be_first),
        cmocka_unit_test(test_only_names_are_looked_up),
        cmocka_unit_test(test_more_addresses_than_the_limit_are_left_out),
    };
    return cmocka_run_group_tests_name("db values", tests, NULL, NULL);
}
