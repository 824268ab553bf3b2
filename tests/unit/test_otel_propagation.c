/* Headers in and out. Whatever bytes come, what is kept is well-formed and bounded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#include "common/mem.h"
#include "common/otel/propagation.h"
#include "otel/sdk/provider.h"
#include "otel/trace/w3c.h"

static const char trace_text[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 1024);
    propagation_apply(true, true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

/* --- a carrier of three headers */

struct headers {
    struct carrier carrier; /* first */
    const char *traceparent, *tracestate, *baggage;
};

static const char **header(const struct carrier *carrier, const char *key)
{
    struct headers *headers = (struct headers *)(uintptr_t)carrier;
    return strcmp(key, "traceparent") == 0  ? &headers->traceparent
           : strcmp(key, "tracestate") == 0 ? &headers->tracestate
                                            : &headers->baggage;
}

static const char *get(const struct carrier *carrier, const char *key)
{
    return *header(carrier, key);
}

static void set(const struct carrier *carrier, const char *key, const char *value)
{
    *header(carrier, key) = arena_text(&arena, value, strlen(value));
}

static struct headers headers_of(const char *traceparent, const char *tracestate, const char *baggage)
{
    return (struct headers){{get, set}, traceparent, tracestate, baggage};
}

static bool extract(struct trace_context *out, const char *traceparent, const char *tracestate, const char *baggage)
{
    struct headers headers = headers_of(traceparent, tracestate, baggage);
    return otel_extract(&headers.carrier, &arena, out);
}

static const char *state_of(const char *tracestate)
{
    struct trace_context context = {0};
    assert_true(extract(&context, trace_text, tracestate, NULL));
    return context.state;
}

static const char *baggage_of(const char *baggage)
{
    struct trace_context context = {0};
    assert_false(extract(&context, NULL, NULL, baggage));
    return context.baggage;
}

/* "piece" count times, %u being its number. */
static char *repeated(const char *piece, unsigned count)
{
    char *text = arena_text(&arena, "", 0);
    for (unsigned i = 0; i < count; i++) {
        char one[64];
        snprintf(one, sizeof one, "%s%s%u=v", i > 0 ? "," : "", piece, i);
        text = arena_print(&arena, "%s%s", text, one);
    }
    return text;
}

static char *filled(char c, unsigned count)
{
    char *text = arena_alloc(&arena, count + 1);
    memset(text, c, count);
    return text;
}

/* --- traceparent */

static void test_what_is_injected_is_extracted(void **state)
{
    (void)state;
    struct trace_context sent = trace_new(), got = {0};
    sent.flags = 3;
    sent.state = "a=1,b=2";
    sent.baggage = "k=v";
    struct headers headers = headers_of(NULL, NULL, NULL);
    otel_inject(&sent, &headers.carrier);
    assert_true(otel_extract(&headers.carrier, &arena, &got));
    assert_memory_equal(got.trace_id, sent.trace_id, 16);
    assert_memory_equal(got.span_id, sent.span_id, 8);
    assert_int_equal(got.flags, 3);
    assert_string_equal(got.state, "a=1,b=2");
    assert_string_equal(got.baggage, "k=v");
    assert_true(got.remote);
}

static void test_malformed_traceparent_leaves_the_context_and_the_tracestate_alone(void **state)
{
    (void)state;
    static const char *const malformed[] = {
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.x",
        "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
    };
    for (size_t i = 0; i < array_count(malformed); i++) {
        struct trace_context context = {.state = "mine=1", .baggage = "mine=2"}, before = context;
        assert_false(extract(&context, malformed[i], "a=1", NULL));
        assert_memory_equal(&context, &before, sizeof context);
    }
}

static void test_later_versions_are_read_as_far_as_they_are_known(void **state)
{
    (void)state;
    struct trace_context context = {0};
    assert_true(extract(&context, "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff-what-the-future-brings",
                        "a=1", NULL));
    assert_int_equal(context.flags, 3);
    assert_string_equal(context.state, "a=1");
}

static void test_only_known_flags_leave(void **state)
{
    (void)state;
    struct trace_context context = trace_new();
    struct headers headers = headers_of(NULL, NULL, NULL);
    context.flags = 0xff;
    otel_inject(&context, &headers.carrier);
    assert_string_equal(headers.traceparent + 53, "03");
}

static void test_local_context_that_nothing_replaced_is_not_remote(void **state)
{
    (void)state;
    struct trace_context context = trace_new();
    assert_false(extract(&context, NULL, NULL, "k=v"));
    assert_true(trace_valid(&context));
    assert_string_equal(context.baggage, "k=v");
}

static void test_extracted_context_does_not_keep_the_old_ones_span_or_state(void **state)
{
    (void)state;
    struct trace_context context = trace_new();
    context.state = "old=1";
    context.span = (struct otel_span *)&context;
    context.baggage = "old=2";
    assert_true(extract(&context, trace_text, NULL, NULL));
    assert_null(context.state);
    assert_null(context.span);
    assert_string_equal(context.baggage, "old=2");
}

static void test_invalid_context_injects_its_baggage_only(void **state)
{
    (void)state;
    struct trace_context context = {.state = "a=1", .baggage = "k=v"};
    struct headers headers = headers_of(NULL, NULL, NULL);
    otel_inject(&context, &headers.carrier);
    assert_null(headers.traceparent);
    assert_null(headers.tracestate);
    assert_string_equal(headers.baggage, "k=v");
}

static void test_propagators_that_are_off_neither_read_nor_write(void **state)
{
    (void)state;
    for (unsigned on = 0; on < 4; on++) {
        bool trace = on & 1, baggage = on & 2;
        propagation_apply(trace, baggage);
        struct trace_context context = {0}, full = trace_new();
        struct headers headers = headers_of(NULL, NULL, NULL);
        assert_int_equal(extract(&context, trace_text, "a=1", "k=v"), trace);
        assert_int_equal(context.baggage != NULL, baggage);
        full.state = "a=1";
        full.baggage = "k=v";
        otel_inject(&full, &headers.carrier);
        assert_int_equal(headers.traceparent != NULL, trace);
        assert_int_equal(headers.tracestate != NULL, trace);
        assert_int_equal(headers.baggage != NULL, baggage);
        unsigned fields = 0;
        for (const char *const *field = otel_propagation_fields(); *field; field++)
            fields++;
        assert_int_equal(fields, (trace ? 2 : 0) + (baggage ? 1 : 0));
    }
    propagation_apply(true, true);
}

/* --- tracestate */

static void test_well_formed_tracestate_stays_as_it_came(void **state)
{
    (void)state;
    static const char *const good[] = {
        "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
        "fw529a3039@dt=FfffffF",
        "0key_-*/@=value with spaces",
        "a= leading",
        "ot=th:c;rv:ff",
    };
    for (size_t i = 0; i < array_count(good); i++)
        assert_string_equal(state_of(good[i]), good[i]);
}

static void test_empty_members_and_outer_space_go(void **state)
{
    (void)state;
    assert_string_equal(state_of(" a=1 \t,, \t, b=2,"), "a=1,b=2");
    assert_null(state_of(""));
    assert_null(state_of(" , ,\t"));
}

static void test_malformed_tracestate_is_dropped_and_the_trace_stays(void **state)
{
    (void)state;
    const char *malformed[] = {
        "a",
        "=1",
        "a=",
        "A=1",
        "a=1,a=2",
        "a =1",
        "_a=1",
        "a=1=2",
        "a=\x01",
        "a=\xc3\xa9",
        "a=1;b=2,c=,",
        "a=1\n,",
        "a.b=1",
        "@a=1",
        "a\xff=1",
        arena_print(&arena, "%s=1", filled('a', 257)),
        arena_print(&arena, "a=%s", filled('v', 257)),
        repeated("k", 33),
    };
    for (size_t i = 0; i < array_count(malformed); i++)
        assert_null(state_of(malformed[i]));
}

static void test_longest_key_value_and_list_are_taken(void **state)
{
    (void)state;
    char *longest = arena_print(&arena, "%s=%s", filled('k', 256), filled('v', 255));
    assert_string_equal(state_of(longest), longest);
    assert_string_equal(state_of(repeated("k", 32)), repeated("k", 32));
}

static void test_tracestate_over_512_bytes_loses_whole_members_the_long_ones_first(void **state)
{
    (void)state;
    char *many = repeated("a-key-of-some-length-", 25); /* 25 bytes and a comma each */
    assert_in_range(strlen(many), TRACESTATE_BYTES_MAX + 1, 2000);
    const char *kept = state_of(many);
    assert_in_range(strlen(kept), TRACESTATE_BYTES_MAX - 26, TRACESTATE_BYTES_MAX);
    assert_memory_equal(kept, many, strlen(kept));
    assert_int_equal(many[strlen(kept)], ',');
    const char *shorts = arena_print(&arena, "b=%s,c=%s,d=%s", filled('w', 120), filled('w', 120), filled('w', 120));
    assert_string_equal(state_of(arena_print(&arena, "long=%s,%s", filled('v', 250), shorts)), shorts);
}

static void test_tracestate_members_are_found_set_and_removed(void **state)
{
    (void)state;
    struct trace_context context = {.state = "a=1,b=2,c=3"};
    assert_string_equal(otel_tracestate_get(&context, "b", &arena), "2");
    assert_null(otel_tracestate_get(&context, "d", &arena));
    assert_true(otel_tracestate_set(&context, "b", "new", &arena));
    assert_string_equal(context.state, "b=new,a=1,c=3");
    assert_true(otel_tracestate_set(&context, "a", NULL, &arena));
    assert_string_equal(context.state, "b=new,c=3");
    assert_true(otel_tracestate_set(&context, "absent", NULL, &arena));
    assert_string_equal(context.state, "b=new,c=3");
    assert_true(otel_tracestate_set(&context, "b", NULL, &arena));
    assert_true(otel_tracestate_set(&context, "c", NULL, &arena));
    assert_null(context.state);
    assert_null(otel_tracestate_get(&context, "c", &arena));
}

static void test_malformed_member_is_not_set(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {{"A", "1"}, {"", "1"}, {"a", ""}, {"a", "1,"}, {"a", "1 "}, {"a b", "1"}};
    for (size_t i = 0; i < array_count(wrong); i++) {
        struct trace_context context = {.state = "kept=1"};
        assert_false(otel_tracestate_set(&context, wrong[i][0], wrong[i][1], &arena));
        assert_string_equal(context.state, "kept=1");
    }
    struct trace_context context = {.state = "kept=1"}; /* well-formed, but 513 bytes alone */
    assert_false(otel_tracestate_set(&context, filled('k', 256), filled('v', 256), &arena));
    assert_string_equal(context.state, "kept=1");
}

static void test_33rd_member_pushes_the_last_one_out(void **state)
{
    (void)state;
    struct trace_context context = {.state = repeated("k", 32)};
    assert_true(otel_tracestate_set(&context, "new", "1", &arena));
    assert_int_equal(strncmp(context.state, "new=1,k0=v,", 11), 0);
    assert_null(otel_tracestate_get(&context, "k31", &arena));
    assert_non_null(otel_tracestate_get(&context, "k30", &arena));
    context.state = repeated("a-key-of-some-length-", 19);
    assert_true(otel_tracestate_set(&context, "new", filled('v', 200), &arena));
    assert_in_range(strlen(context.state), 400, TRACESTATE_BYTES_MAX);
    assert_string_equal(otel_tracestate_get(&context, "new", &arena), filled('v', 200));
}

static void test_malformed_tracestate_of_the_callers_own_counts_as_none(void **state)
{
    (void)state;
    struct trace_context context = {.state = "not a list"};
    assert_null(otel_tracestate_get(&context, "a", &arena));
    assert_true(otel_tracestate_set(&context, "a", "1", &arena));
    assert_string_equal(context.state, "a=1");
}

/* --- baggage */

static void test_baggage_is_read_as_the_recommendation_shows_it(void **state)
{
    (void)state;
    struct trace_context context = {0};
    extract(&context, NULL, NULL,
            "key1=value1;property1;property2, key2 = value2, key3=value3; propertyKey=propertyValue,"
            "serverNode=DF%2028,userId=Am%C3%A9lie,empty=,equals=a=b");
    assert_string_equal(otel_baggage_get(&context, "key1", &arena), "value1");
    assert_string_equal(otel_baggage_get(&context, "key2", &arena), "value2");
    assert_string_equal(otel_baggage_get(&context, "serverNode", &arena), "DF 28");
    assert_string_equal(otel_baggage_get(&context, "userId", &arena), "Am\xc3\xa9lie");
    assert_string_equal(otel_baggage_get(&context, "empty", &arena), "");
    assert_string_equal(otel_baggage_get(&context, "equals", &arena), "a=b");
    assert_null(otel_baggage_get(&context, "userid", &arena));
}

static void test_malformed_entries_are_dropped_one_by_one(void **state)
{
    (void)state;
    assert_string_equal(baggage_of("a=1,b,c=2"), "a=1,c=2");
    assert_string_equal(baggage_of("=1,c=2"), "c=2");
    assert_string_equal(baggage_of("a b=1,c=2"), "c=2");
    assert_string_equal(baggage_of("a=1 2,c=2"), "c=2");
    assert_string_equal(baggage_of("a=\"1\",c=2"), "c=2");
    assert_string_equal(baggage_of("a=%zz,b=%4,d=%,c=2"), "c=2");
    assert_string_equal(baggage_of("a=\xc3\xa9,c=2"), "c=2");
    assert_string_equal(baggage_of("a=1;=x,c=2"), "c=2");
    assert_string_equal(baggage_of("a=1;,b=1;p;,c=2"), "c=2");
    assert_string_equal(baggage_of("a=1;p=%q,c=2"), "c=2");
    assert_string_equal(baggage_of("a=1\\,c=2"), "c=2");
    assert_string_equal(baggage_of(",, a=1 ,\t,"), "a=1");
}

static void test_header_without_a_single_good_entry_leaves_the_baggage_alone(void **state)
{
    (void)state;
    struct trace_context context = {.baggage = "mine=1"};
    extract(&context, NULL, NULL, "broken, also broken");
    assert_string_equal(context.baggage, "mine=1");
    assert_null(baggage_of(""));
}

static void test_last_of_equal_keys_counts(void **state)
{
    (void)state;
    assert_string_equal(baggage_of("a=1,b=2,a=3;p"), "a=3;p,b=2");
}

static void test_broken_utf8_and_nul_are_replaced_when_decoded_and_passed_on_as_they_are(void **state)
{
    (void)state;
    struct trace_context context = {.baggage = baggage_of("a=x%ffy,b=x%00y,c=%C3")};
    assert_string_equal(context.baggage, "a=x%ffy,b=x%00y,c=%C3");
    assert_string_equal(otel_baggage_get(&context, "a", &arena), "x\xef\xbf\xbdy");
    assert_string_equal(otel_baggage_get(&context, "b", &arena), "x\xef\xbf\xbdy");
    assert_string_equal(otel_baggage_get(&context, "c", &arena), "\xef\xbf\xbd");
}

static void test_baggage_is_bounded_in_entries_and_bytes(void **state)
{
    (void)state;
    assert_string_equal(baggage_of(repeated("k", 64)), repeated("k", 64));
    assert_string_equal(baggage_of(repeated("k", 70)), repeated("k", 64));
    char *largest = arena_print(&arena, "a=%s", filled('v', BAGGAGE_BYTES_MAX - 2));
    assert_string_equal(baggage_of(largest), largest);
    assert_null(baggage_of(arena_print(&arena, "%sv", largest)));
    assert_string_equal(baggage_of(arena_print(&arena, "x=1,%s,y=2", largest)), "x=1,y=2");
}

static void test_set_value_comes_back_whatever_is_in_it(void **state)
{
    (void)state;
    static const char value[] = "50% of \"this\", that; back\\slash \t\n caf\xc3\xa9 = ok";
    struct trace_context context = {0};
    assert_true(otel_baggage_set(&context, "k", value, "p=1;q", &arena));
    assert_string_equal(otel_baggage_get(&context, "k", &arena), value);
    struct trace_context passed = {.baggage = baggage_of(context.baggage)};
    assert_string_equal(passed.baggage, context.baggage);
    assert_string_equal(otel_baggage_get(&passed, "k", &arena), value);
    assert_true(otel_baggage_set(&context, "bad", "x\xff", NULL, &arena));
    assert_string_equal(otel_baggage_get(&context, "bad", &arena), "x\xef\xbf\xbd");
}

static void test_set_replaces_and_remove_removes(void **state)
{
    (void)state;
    struct trace_context context = {0};
    assert_true(otel_baggage_set(&context, "a", "1", NULL, &arena));
    assert_true(otel_baggage_set(&context, "b", "2", "p", &arena));
    assert_true(otel_baggage_set(&context, "c", "3", NULL, &arena));
    assert_true(otel_baggage_set(&context, "a", "new", NULL, &arena));
    assert_string_equal(context.baggage, "a=new,b=2;p,c=3");
    otel_baggage_remove(&context, "b", &arena);
    assert_string_equal(context.baggage, "a=new,c=3");
    otel_baggage_remove(&context, "absent", &arena);
    assert_string_equal(context.baggage, "a=new,c=3");
    otel_baggage_remove(&context, "a", &arena);
    otel_baggage_remove(&context, "c", &arena);
    assert_null(context.baggage);
}

static void test_what_is_malformed_or_too_much_is_not_set(void **state)
{
    (void)state;
    struct trace_context context = {.baggage = "kept=1"};
    assert_false(otel_baggage_set(&context, "", "1", NULL, &arena));
    assert_false(otel_baggage_set(&context, "a b", "1", NULL, &arena));
    assert_false(otel_baggage_set(&context, "a", NULL, NULL, &arena));
    assert_false(otel_baggage_set(&context, "a", "1", "not a property,", &arena));
    assert_false(otel_baggage_set(&context, "a", filled('v', BAGGAGE_BYTES_MAX), NULL, &arena));
    assert_false(otel_baggage_set(&context, "a", filled(' ', BAGGAGE_BYTES_MAX / 2), NULL, &arena));
    assert_string_equal(context.baggage, "kept=1");
    context.baggage = repeated("k", 64);
    assert_false(otel_baggage_set(&context, "one-more", "1", NULL, &arena));
    assert_true(otel_baggage_set(&context, "k7", "replaced", NULL, &arena));
}

struct seen {
    unsigned count, most;
    char text[256];
};

static bool visit(const char *key, const char *value, const char *metadata, void *arg)
{
    struct seen *seen = arg;
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof seen->text - used, "[%s|%s|%s]", key, value, metadata ? metadata : "-");
    return ++seen->count < seen->most;
}

static void test_entries_are_visited_in_order_until_told_to_stop(void **state)
{
    (void)state;
    struct trace_context context = {.baggage = "a=1,broken,b=%20;p=1; q,c=3"};
    struct seen all = {.most = 10}, two = {.most = 2}, none = {.most = 10};
    otel_baggage_each(&context, &arena, visit, &all);
    assert_string_equal(all.text, "[a|1|-][b| |p=1; q][c|3|-]");
    otel_baggage_each(&context, &arena, visit, &two);
    assert_int_equal(two.count, 2);
    otel_baggage_each(&(struct trace_context){0}, &arena, visit, &none);
    assert_int_equal(none.count, 0);
}

/* --- any bytes */

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16;
}

/* Mostly of the characters that mean something. */
static void scramble(char *out, size_t bytes, unsigned *seed)
{
    static const char telling[] = "=,;% \tab1-@\"\\0f";
    for (size_t i = 0; i < bytes; i++) {
        unsigned r = next_random(seed);
        out[i] = r % 8 ? telling[r / 8 % (sizeof telling - 1)] : (char)(r / 8 % 255 + 1);
    }
    out[bytes] = '\0';
}

static void test_any_bytes_give_something_clean_and_bounded(void **state)
{
    (void)state;
    enum { ROUNDS = 4000, BYTES_MAX = 200 };
    unsigned seed = 4711, kept = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        char tracestate[BYTES_MAX + 1], baggage[BYTES_MAX + 1], parent[BYTES_MAX + 1];
        scramble(tracestate, next_random(&seed) % BYTES_MAX, &seed);
        scramble(baggage, next_random(&seed) % BYTES_MAX, &seed);
        scramble(parent, next_random(&seed) % 60, &seed);
        struct trace_context context = {0}, again = {0};
        extract(&context, round % 2 ? trace_text : parent, tracestate, baggage);
        extract(&again, trace_text, context.state, context.baggage);
        if (context.state)
            assert_string_equal(again.state, context.state);
        if (context.baggage)
            assert_string_equal(again.baggage, context.baggage);
        kept += (context.state != NULL) + (context.baggage != NULL);
        struct seen seen = {.most = 1000};
        otel_baggage_each(&context, &arena, visit, &seen);
        arena_reset(&arena);
    }
    assert_in_range(kept, 100, 2 * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_injected_is_extracted),
        cmocka_unit_test(test_malformed_traceparent_leaves_the_context_and_the_tracestate_alone),
        cmocka_unit_test(test_later_versions_are_read_as_far_as_they_are_known),
        cmocka_unit_test(test_only_known_flags_leave),
        cmocka_unit_test(test_local_context_that_nothing_replaced_is_not_remote),
        cmocka_unit_test(test_extracted_context_does_not_keep_the_old_ones_span_or_state),
        cmocka_unit_test(test_invalid_context_injects_its_baggage_only),
        cmocka_unit_test(test_propagators_that_are_off_neither_read_nor_write),
        cmocka_unit_test(test_well_formed_tracestate_stays_as_it_came),
        cmocka_unit_test(test_empty_members_and_outer_space_go),
        cmocka_unit_test(test_malformed_tracestate_is_dropped_and_the_trace_stays),
        cmocka_unit_test(test_longest_key_value_and_list_are_taken),
        cmocka_unit_test(test_tracestate_over_512_bytes_loses_whole_members_the_long_ones_first),
        cmocka_unit_test(test_tracestate_members_are_found_set_and_removed),
        cmocka_unit_test(test_malformed_member_is_not_set),
        cmocka_unit_test(test_33rd_member_pushes_the_last_one_out),
        cmocka_unit_test(test_malformed_tracestate_of_the_callers_own_counts_as_none),
        cmocka_unit_test(test_baggage_is_read_as_the_recommendation_shows_it),
        cmocka_unit_test(test_malformed_entries_are_dropped_one_by_one),
        cmocka_unit_test(test_header_without_a_single_good_entry_leaves_the_baggage_alone),
        cmocka_unit_test(test_last_of_equal_keys_counts),
        cmocka_unit_test(test_broken_utf8_and_nul_are_replaced_when_decoded_and_passed_on_as_they_are),
        cmocka_unit_test(test_baggage_is_bounded_in_entries_and_bytes),
        cmocka_unit_test(test_set_value_comes_back_whatever_is_in_it),
        cmocka_unit_test(test_set_replaces_and_remove_removes),
        cmocka_unit_test(test_what_is_malformed_or_too_much_is_not_set),
        cmocka_unit_test(test_entries_are_visited_in_order_until_told_to_stop),
        cmocka_unit_test(test_any_bytes_give_something_clean_and_bounded),
    };
    return cmocka_run_group_tests_name("otel propagation", tests, set_up, tear_down);
}
