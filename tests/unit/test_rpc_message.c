#include <string.h>

#include "support/support.h"

#include "common/clock.h"
#include "common/mem.h"
#include "rpc/channel.h"
#include "rpc/message.h"
#include "user.pb-c.h"

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    grpc_init();
    arena_init(&arena, 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    grpc_shutdown();
    return 0;
}

static grpc_byte_buffer *packed_user(const char *id)
{
    User__GetUserRequest message;
    user__get_user_request__init(&message);
    message.id = (char *)(uintptr_t)id;
    return rpc_pack(&message, rpc_packed_bytes(&message));
}

/* --- messages */

static void test_packed_message_unpacks_to_the_same(void **state)
{
    (void)state;
    grpc_byte_buffer *buffer = packed_user("some-id");
    const User__GetUserRequest *back = rpc_unpack(&arena, &user__get_user_request__descriptor, buffer);
    grpc_byte_buffer_destroy(buffer);
    assert_non_null(back);
    assert_string_equal(back->id, "some-id");
}

static void test_empty_message_unpacks_to_built_in_values(void **state)
{
    (void)state;
    grpc_byte_buffer *buffer = packed_user("");
    const User__GetUserRequest *back = rpc_unpack(&arena, &user__get_user_request__descriptor, buffer);
    grpc_byte_buffer_destroy(buffer);
    assert_non_null(back);
    assert_string_equal(back->id, "");
}

static void test_buffer_without_slices_is_an_empty_message(void **state)
{
    (void)state;
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(NULL, 0);
    const User__GetUserRequest *back = rpc_unpack(&arena, &user__get_user_request__descriptor, buffer);
    grpc_byte_buffer_destroy(buffer);
    assert_non_null(back);
    assert_string_equal(back->id, "");
}

static void test_message_in_several_slices_unpacks(void **state)
{
    (void)state;
    const char bytes[] = "\x0a\x04rose";
    for (size_t cut = 1; cut < 5; cut++) {
        grpc_slice parts[] = {grpc_slice_from_copied_buffer(bytes, cut),
                              grpc_slice_from_copied_buffer(bytes + cut, sizeof bytes - 1 - cut)};
        grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(parts, 2);
        grpc_slice_unref(parts[0]);
        grpc_slice_unref(parts[1]);
        const User__GetUserRequest *back = rpc_unpack(&arena, &user__get_user_request__descriptor, buffer);
        grpc_byte_buffer_destroy(buffer);
        assert_non_null(back);
        assert_string_equal(back->id, "rose");
    }
}

static void test_malformed_and_missing_messages_are_refused(void **state)
{
    (void)state;
    static const char *const malformed[] = {"\x0a\x04ros", "\x08\x01", "\x0a", "\xff\xff\xff\xff\xff\xff\xff"};
    for (unsigned i = 0; i < array_count(malformed); i++) {
        grpc_slice slice = grpc_slice_from_copied_string(malformed[i]);
        grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
        grpc_slice_unref(slice);
        assert_null(rpc_unpack(&arena, &user__get_user_request__descriptor, buffer));
        grpc_byte_buffer_destroy(buffer);
    }
    assert_null(rpc_unpack(&arena, &user__get_user_request__descriptor, NULL));
}

static void test_slice_text_is_cut_at_its_limit(void **state)
{
    (void)state;
    grpc_slice slice = grpc_slice_from_static_string("abcdef");
    assert_string_equal(rpc_slice_text(&arena, slice, 4), "abcd");
    assert_string_equal(rpc_slice_text(&arena, slice, 100), "abcdef");
}

static void test_unknown_status_numbers_are_unknown(void **state)
{
    (void)state;
    assert_int_equal(rpc_status_err(0), ERR_OK);
    assert_int_equal(rpc_status_err(16), ERR_UNAUTHENTICATED);
    assert_int_equal(rpc_status_err(17), ERR_UNKNOWN);
    assert_int_equal(rpc_status_err(-1), ERR_UNKNOWN);
}

/* --- deadlines */

static void test_deadline_survives_the_way_to_grpc_and_back(void **state)
{
    (void)state;
    int64_t deadline_ns = clock_now_ns() + 3 * NS_PER_S;
    int64_t back_ns = rpc_deadline_from_core(rpc_deadline_to_core(deadline_ns));
    assert_true(back_ns >= deadline_ns - NS_PER_S && back_ns <= deadline_ns + NS_PER_S);
}

static void test_deadline_that_is_over_stays_over(void **state)
{
    (void)state;
    assert_true(rpc_deadline_from_core(rpc_deadline_to_core(clock_now_ns() - 5 * NS_PER_S)) <= clock_now_ns());
    assert_true(rpc_deadline_from_core(gpr_inf_past(GPR_CLOCK_REALTIME)) <= clock_now_ns());
}

static void test_no_deadline_is_never(void **state)
{
    (void)state;
    assert_int_equal(rpc_deadline_from_core(rpc_deadline_to_core(CLOCK_NEVER)), CLOCK_NEVER);
    gpr_timespec far = gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_hours(24 * 500, GPR_TIMESPAN));
    assert_int_equal(rpc_deadline_from_core(far), CLOCK_NEVER);
}

/* --- metadata */

static void test_metadata_set_is_metadata_got(void **state)
{
    (void)state;
    struct rpc_metadata out;
    rpc_metadata_init(&out);
    out.carrier.set(&out.carrier, "traceparent", "00-aa-bb-01");
    out.carrier.set(&out.carrier, "baggage", "k=v");
    grpc_metadata_array array = {.count = out.count, .capacity = out.count, .metadata = out.entries};
    struct rpc_received in;
    rpc_received_init(&in, &array, &arena);
    assert_string_equal(in.carrier.get(&in.carrier, "traceparent"), "00-aa-bb-01");
    assert_string_equal(in.carrier.get(&in.carrier, "baggage"), "k=v");
    assert_null(in.carrier.get(&in.carrier, "tracestate"));
    rpc_metadata_done(&out);
}

static void test_metadata_of_any_length_is_carried(void **state)
{
    (void)state;
    char texts[3][RPC_METADATA_TEXTS];
    struct rpc_metadata out;
    rpc_metadata_init(&out);
    const char *keys[] = {"first", "second", "third"};
    for (int i = 0; i < 3; i++) {
        memset(texts[i], 'a' + i, sizeof texts[i]);
        texts[i][i == 1 ? 10 : sizeof texts[i] - 1] = '\0';
        out.carrier.set(&out.carrier, keys[i], texts[i]);
    }
    grpc_metadata_array array = {.count = out.count, .capacity = out.count, .metadata = out.entries};
    struct rpc_received in;
    rpc_received_init(&in, &array, &arena);
    for (int i = 0; i < 3; i++)
        assert_string_equal(in.carrier.get(&in.carrier, keys[i]), texts[i]);
    rpc_metadata_done(&out);
}

static void test_metadata_beyond_the_limit_is_left_out_and_counted(void **state)
{
    (void)state;
    struct rpc_metadata out;
    rpc_metadata_init(&out);
    for (unsigned i = 0; i < RPC_METADATA_MAX + 3; i++)
        out.carrier.set(&out.carrier, "key", "value");
    assert_int_equal(out.count, RPC_METADATA_MAX);
    assert_int_equal(out.refused, 3);
    rpc_metadata_done(&out);
}

static void test_metadata_that_grpc_cannot_carry_is_left_out(void **state)
{
    (void)state;
    struct rpc_metadata out;
    rpc_metadata_init(&out);
    out.carrier.set(&out.carrier, "Upper", "value");
    out.carrier.set(&out.carrier, "key", "line\nbreak");
    out.carrier.set(&out.carrier, "traceparent", "line\nbreak");
    assert_int_equal(out.count, 0);
    assert_int_equal(out.refused, 3);
    rpc_metadata_done(&out);
}

/* --- addresses and arguments */

static void test_names_without_a_scheme_are_looked_up_in_dns(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"user-service:50051", "dns:///user-service:50051"},
        {"[::1]:50051", "dns:///[::1]:50051"},
        {":50051", "dns:///localhost:50051"},
        {"dns:///user-service:50051", "dns:///user-service:50051"},
        {"ipv4:127.0.0.1:1,127.0.0.1:2", "ipv4:127.0.0.1:1,127.0.0.1:2"},
        {"unix:/run/user.sock", "unix:/run/user.sock"},
        {"xds:///user", "xds:///user"},
    };
    for (unsigned i = 0; i < array_count(pairs); i++) {
        char *target = rpc_target(pairs[i][0]);
        assert_string_equal(target, pairs[i][1]);
        mem_free_pointer(&target);
    }
}

static void test_port_alone_listens_everywhere(void **state)
{
    (void)state;
    char *address = rpc_listen_address(":50051");
    assert_string_equal(address, "[::]:50051");
    mem_free_pointer(&address);
    address = rpc_listen_address("127.0.0.1:50051");
    assert_string_equal(address, "127.0.0.1:50051");
    mem_free_pointer(&address);
}

static bool has_key(const struct rpc_args *args, const char *key)
{
    for (unsigned i = 0; i < args->count; i++)
        if (strcmp(args->entries[i].key, key) == 0)
            return true;
    return false;
}

static void test_keepalive_of_zero_is_none(void **state)
{
    (void)state;
    struct rpc_args with = {0}, without = {0};
    rpc_args_common(&with, 1024, 5000);
    rpc_args_common(&without, 1024, 0);
    assert_true(has_key(&with, GRPC_ARG_KEEPALIVE_TIME_MS));
    assert_false(has_key(&without, GRPC_ARG_KEEPALIVE_TIME_MS));
    assert_true(has_key(&without, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packed_message_unpacks_to_the_same),
        cmocka_unit_test(test_empty_message_unpacks_to_built_in_values),
        cmocka_unit_test(test_buffer_without_slices_is_an_empty_message),
        cmocka_unit_test(test_message_in_several_slices_unpacks),
        cmocka_unit_test(test_malformed_and_missing_messages_are_refused),
        cmocka_unit_test(test_slice_text_is_cut_at_its_limit),
        cmocka_unit_test(test_unknown_status_numbers_are_unknown),
        cmocka_unit_test(test_deadline_survives_the_way_to_grpc_and_back),
        cmocka_unit_test(test_deadline_that_is_over_stays_over),
        cmocka_unit_test(test_no_deadline_is_never),
        cmocka_unit_test(test_metadata_set_is_metadata_got),
        cmocka_unit_test(test_metadata_of_any_length_is_carried),
        cmocka_unit_test(test_metadata_beyond_the_limit_is_left_out_and_counted),
        cmocka_unit_test(test_metadata_that_grpc_cannot_carry_is_left_out),
        cmocka_unit_test(test_names_without_a_scheme_are_looked_up_in_dns),
        cmocka_unit_test(test_port_alone_listens_everywhere),
        cmocka_unit_test(test_keepalive_of_zero_is_none),
    };
    return cmocka_run_group_tests_name("rpc messages", tests, set_up, tear_down);
}
