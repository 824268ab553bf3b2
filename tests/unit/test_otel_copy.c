#include <stdio.h>
#include <string.h>

#include "otel/sdk/copy.h"
#include "otel/sdk/keep.h"
#include "support/support.h"

static struct arena arena;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, 4096);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct otel_value copied(struct otel_value value, int length_max)
{
    return value_copy(&arena, &value, length_max);
}

static void assert_text(struct otel_value value, const char *expected)
{
    assert_int_equal(value.type, OTEL_TEXT);
    assert_int_equal(value.count, strlen(expected));
    assert_string_equal(value.text, expected);
}

static struct otel_value text_of(const char *text, uint32_t count)
{
    return (struct otel_value){.type = OTEL_TEXT, .count = count, .text = text};
}

/* --- texts */

static void test_a_text_is_copied_with_a_nul(void **state)
{
    (void)state;
    char mutable[] = "hello, world, and more than eight";
    struct otel_value copy = copied(text_of(mutable, 12), -1);
    memset(mutable, 'x', sizeof mutable);
    assert_text(copy, "hello, world");
    assert_text(copied(text_of("", 0), -1), "");
    assert_text(copied(text_of(NULL, 0), -1), "");
    for (uint32_t length = 0; length < 20; length++)
        assert_int_equal(strlen(copied(text_of("abcdefghijklmnopqrstu", length), -1).text), length);
}

static void test_a_text_is_cut_by_characters(void **state)
{
    (void)state;
    assert_text(copied(otel_value_text("abcdef"), 4), "abcd");
    assert_text(copied(otel_value_text("abcdef"), 6), "abcdef");
    assert_text(copied(otel_value_text("abcdef"), 0), "");
    assert_text(copied(otel_value_text("h\xc3\xa4user"), 3), "h\xc3\xa4u");
    assert_text(copied(otel_value_text("\xe2\x82\xac\xf0\x9f\x98\x80z"), 2), "\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_text(copied(otel_value_text("ascii\xc3\xa4"), 5), "ascii");
}

static void test_invalid_utf8_is_replaced(void **state)
{
    (void)state;
    assert_text(copied(otel_value_text("a\xff z"), -1), "a\xef\xbf\xbd z");
    assert_text(copied(text_of("a\xe2\x82\xac", 3), -1), "a\xef\xbf\xbd\xef\xbf\xbd"); /* cut within a character */
    assert_text(copied(otel_value_text("\xff\xff\xff"), 2), "\xef\xbf\xbd\xef\xbf\xbd");
    assert_string_equal(text_copy(&arena, "\xc3("), "\xef\xbf\xbd(");
    assert_null(text_copy(&arena, NULL));
}

/* --- other values */

static void test_arrays_are_copied_with_their_texts_cut(void **state)
{
    (void)state;
    const char *texts[] = {"long", NULL, "x"};
    const bool booleans[] = {true, false};
    const int64_t integers[] = {1, -2};
    const double reals[] = {0.5, -0.25};
    struct otel_value copy = copied(otel_texts("k", texts, 3).value, 2);
    assert_string_equal(copy.texts[0], "lo");
    assert_null(copy.texts[1]);
    assert_string_equal(copy.texts[2], "x");
    copy = copied(otel_bools("k", booleans, 2).value, 1);
    assert_true(copy.booleans != booleans && copy.count == 2 && copy.booleans[0] && !copy.booleans[1]);
    copy = copied(otel_ints("k", integers, 2).value, 1);
    assert_true(copy.integers != integers && copy.integers[1] == -2);
    copy = copied(otel_reals("k", reals, 2).value, 1);
    assert_true(copy.reals != reals && copy.reals[1] == -0.25);
    copy = copied(otel_bytes("k", "\x01\x02\x03", 3).value, 2);
    assert_true(copy.count == 2 && copy.bytes[1] == 2);
    assert_int_equal(copied((struct otel_value){.type = OTEL_INTS}, -1).count, 0);
}

static void test_maps_and_lists_are_copied_all_through(void **state)
{
    (void)state;
    struct otel_attribute inner[] = {otel_text("name", "value"), {NULL, otel_value_text("no key")}};
    struct otel_value list[] = {{.type = OTEL_MAP, .count = 2, .map = inner}, otel_value_text("tail")};
    struct otel_value copy = copied((struct otel_value){.type = OTEL_VALUES, .count = 2, .values = list}, 3);
    assert_string_equal(copy.values[0].map[0].key, "name");
    assert_text(copy.values[0].map[0].value, "val");
    assert_string_equal(copy.values[0].map[1].key, "");
    assert_text(copy.values[1], "tai");
}

static void test_what_is_too_deep_becomes_empty(void **state)
{
    (void)state;
    struct otel_value levels[OTEL_DEPTH_MAX + 2] = {otel_value_text("core")};
    for (int i = 1; i < OTEL_DEPTH_MAX + 2; i++)
        levels[i] = (struct otel_value){.type = OTEL_VALUES, .count = 1, .values = &levels[i - 1]};
    struct otel_value copy = copied(levels[OTEL_DEPTH_MAX], -1);
    const struct otel_value *core = &copy;
    for (int i = 0; i < OTEL_DEPTH_MAX; i++)
        core = core->values;
    assert_text(*core, "core");
    copy = copied(levels[OTEL_DEPTH_MAX + 1], -1);
    core = &copy;
    for (int i = 0; i < OTEL_DEPTH_MAX; i++)
        core = core->values;
    assert_int_equal(core->type, OTEL_EMPTY);
    assert_true(value_equal(&copy, &levels[OTEL_DEPTH_MAX + 1])); /* as deep as a copy goes */
}

/* --- lists */

static void set(struct attribute_list *list, struct otel_attribute attribute)
{
    attributes_set(&arena, list, &attribute, 12, 20);
}

static void test_the_last_value_of_a_key_counts(void **state)
{
    (void)state;
    struct attribute_list list = {0};
    set(&list, otel_text("http.request.method", "GET"));
    set(&list, otel_text("http.response", "x"));
    set(&list, otel_text("a", "1"));
    set(&list, otel_text("ab", "2"));
    set(&list, otel_text("http.request.method", "PO"));
    assert_int_equal(list.count, 4);
    assert_text(list.items[0].value, "PO");
    set(&list, otel_text("http.request.method", "longer than before"));
    assert_text(list.items[0].value, "longer than before");
    set(&list, otel_text("http.request.method", "\xff"));
    assert_text(list.items[0].value, "\xef\xbf\xbd");
    set(&list, otel_int("http.request.method", 7));
    assert_int_equal(list.items[0].value.integer, 7);
    set(&list, otel_text("http.request.method", ""));
    assert_text(list.items[0].value, "");
    set(&list, otel_text("http.request.method", ""));
    assert_text(list.items[0].value, "");
    set(&list, otel_text("a", "one"));
    assert_text(list.items[2].value, "one");
    assert_int_equal(list.count, 4);
    assert_int_equal(list.dropped, 0);
}

static void put(struct attribute_list *list, struct otel_attribute attribute)
{
    attributes_set(&arena, list, &attribute, 100, -1);
}

/* Keys of all lengths, and the same with one character changed at either end and in between. */
static void test_keys_of_all_lengths_are_told_apart(void **state)
{
    (void)state;
    enum { LONGEST = 20 };
    for (int length = 1; length <= LONGEST; length++) {
        struct attribute_list list = {0};
        char key[LONGEST + 1] = "abcdefghijklmnopqrst";
        key[length] = '\0';
        for (int round = 0; round < 2; round++) {
            put(&list, otel_int(key, round));
            for (int at = 0; at < length; at++) {
                key[at] ^= 2;
                put(&list, otel_int(key, 100 * round + at));
                key[at] ^= 2;
            }
        }
        assert_int_equal(list.count, length + 1);
        assert_string_equal(list.items[0].key, key);
        for (int at = 0; at < length; at++)
            assert_int_equal(list.items[at + 1].value.integer, 100 + at);
        assert_true(attributes_have(&list, key, (size_t)length));
        key[length - 1] = '\0';
        assert_false(attributes_have(&list, key, (size_t)length - 1));
    }
}

static void test_what_is_not_ascii_is_seen_wherever_it_is(void **state)
{
    (void)state;
    enum { LONGEST = 20 };
    for (int length = 1; length <= LONGEST; length++) {
        for (int at = 0; at < length; at++) {
            char text[LONGEST + 1] = "abcdefghijklmnopqrst", expected[LONGEST + 3];
            text[at] = '\xff';
            snprintf(expected, sizeof expected, "%.*s\xef\xbf\xbd%.*s", at, text, length - at - 1, text + at + 1);
            assert_text(copied(text_of(text, (uint32_t)length), -1), expected);
        }
    }
}

static void test_a_text_set_over_and_over_takes_no_more_memory(void **state)
{
    (void)state;
    struct attribute_list list = {0};
    set(&list, otel_text("progress", "100 %"));
    const char *next = arena.next;
    for (int i = 0; i < 100; i++)
        set(&list, otel_text("progress", i % 2 ? "99 %" : "5 %"));
    assert_ptr_equal(arena.next, next);
    assert_text(list.items[0].value, "99 %");
}

static void test_attributes_without_a_key_or_beyond_the_limit_are_counted(void **state)
{
    (void)state;
    struct attribute_list list = {0};
    char key[16];
    set(&list, otel_int("", 1));
    set(&list, otel_int(NULL, 1));
    assert_int_equal(list.dropped, 2);
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "key.%d", i);
        set(&list, otel_int(key, i));
    }
    assert_int_equal(list.count, 12);
    assert_int_equal(list.capacity, 12);
    assert_int_equal(list.dropped, 2 + 8);
    set(&list, otel_int("key.11", 99)); /* one that is there can still change */
    assert_int_equal(list.items[11].value.integer, 99);
    assert_string_equal(list.items[11].key, "key.11");
}

static void test_keys_that_are_cleaned_to_the_same_are_one(void **state)
{
    (void)state;
    struct attribute_list list = {0};
    set(&list, otel_int("k\xff", 1));
    set(&list, otel_int("k\xfe", 2));
    set(&list, otel_text("schl\xc3\xbcssel", "long enough for two words"));
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].key, "k\xef\xbf\xbd");
    assert_int_equal(list.items[0].value.integer, 2);
    assert_string_equal(list.items[1].key, "schl\xc3\xbcssel");
    assert_text(list.items[1].value, "long enough for two ");
}

/* --- sets */

static void test_a_set_is_sorted_with_the_last_of_each_key(void **state)
{
    (void)state;
    struct otel_attribute set_of[] = {otel_int("b", 1), otel_int("", 2),  otel_int("a", 3),
                                      otel_int("c", 4), otel_int("b", 5), otel_int(NULL, 6)};
    assert_int_equal(attributes_sort(set_of, 6), 3);
    assert_string_equal(set_of[0].key, "a");
    assert_string_equal(set_of[1].key, "b");
    assert_int_equal(set_of[1].value.integer, 5);
    assert_string_equal(set_of[2].key, "c");
    assert_int_equal(attributes_sort(set_of, 0), 0);
}

static void test_equal_values_are_equal_and_hash_alike(void **state)
{
    (void)state;
    const char *texts[] = {"a", NULL}, *others[] = {"a", "b"};
    const int64_t integers[] = {1, 2}, different[] = {1, 3};
    struct otel_value list[] = {otel_int("", 1).value, otel_value_text("x")};
    struct otel_attribute map[] = {otel_int("a", 1), otel_int("b", 2)}, turned[] = {map[1], map[0]};
    struct otel_attribute other_map[] = {otel_int("a", 1), otel_int("c", 2)};
    struct otel_attribute all[] = {otel_text("k", "text"),
                                   otel_text("k", "texT"),
                                   otel_text("k", "text longer than eight"),
                                   otel_bool("k", true),
                                   otel_bool("k", false),
                                   otel_int("k", 1),
                                   otel_int("k", 2),
                                   otel_real("k", 1),
                                   otel_real("k", 1.5),
                                   otel_bytes("k", "text", 4),
                                   otel_texts("k", texts, 2),
                                   otel_texts("k", others, 2),
                                   otel_ints("k", integers, 2),
                                   otel_ints("k", different, 2),
                                   {"k", {.type = OTEL_VALUES, .count = 2, .values = list}},
                                   {"k", {.type = OTEL_VALUES, .count = 1, .values = list}},
                                   {"k", {.type = OTEL_MAP, .count = 2, .map = map}},
                                   {"k", {.type = OTEL_MAP, .count = 2, .map = other_map}},
                                   {"k", {.type = OTEL_EMPTY}},
                                   otel_text("l", "text")};
    enum { COUNT = sizeof all / sizeof all[0] };
    for (unsigned i = 0; i < COUNT; i++) {
        struct otel_attribute copy = {text_copy(&arena, all[i].key), value_copy(&arena, &all[i].value, -1)};
        assert_true(attributes_equal(&all[i], &copy, 1));
        assert_true(attributes_hash(&all[i], 1) == attributes_hash(&copy, 1));
        for (unsigned j = 0; j < COUNT; j++) {
            assert_int_equal(attributes_equal(&all[i], &all[j], 1), i == j);
            assert_int_equal(attributes_hash(&all[i], 1) == attributes_hash(&all[j], 1), i == j);
        }
    }
    struct otel_attribute reordered = {"k", {.type = OTEL_MAP, .count = 2, .map = turned}};
    assert_true(attributes_equal(&all[16], &reordered, 1));
    assert_true(attributes_hash(&all[16], 1) == attributes_hash(&reordered, 1));
}

/* --- scopes and what is kept */

static void test_equal_scopes_are_one(void **state)
{
    (void)state;
    char name[] = "library", version[] = "1";
    const struct sdk_scope *scope = sdk_scope("library", "1", NULL);
    assert_ptr_equal(sdk_scope(name, version, NULL), scope);
    assert_ptr_not_equal(sdk_scope("library", "2", NULL), scope);
    assert_ptr_not_equal(sdk_scope("library", NULL, NULL), scope);
    assert_ptr_not_equal(sdk_scope("library", "1", "https://example.test"), scope);
    assert_string_equal(sdk_scope(NULL, NULL, NULL)->name, "");
    assert_ptr_equal(sdk_scope("", NULL, NULL), sdk_scope(NULL, NULL, NULL));
}

static void test_there_is_an_end_to_scopes(void **state)
{
    (void)state;
    char name[32];
    const struct sdk_scope *scopes[2];
    const struct sdk_scope *early = sdk_scope("library", "1", NULL);
    for (unsigned i = 0; i < 1100; i++) {
        snprintf(name, sizeof name, "scope %u", i);
        scopes[i % 2] = sdk_scope(name, NULL, NULL);
    }
    assert_ptr_equal(scopes[0], scopes[1]);
    assert_ptr_equal(sdk_scope("library", "1", NULL), early);
}

static void test_exporter_settings_are_copied_all_through(void **state)
{
    (void)state;
    char value[] = "secret", pattern[] = "k8s.*";
    const char *patterns[] = {pattern, NULL};
    struct header_settings header = {"key", value};
    struct exporter_settings from = {.kind = EXPORT_PROMETHEUS,
                                     .endpoint = "http://x",
                                     .tls = {.ca_file = "ca", .key_file = "key", .cert_file = "cert"},
                                     .headers = &header,
                                     .header_count = 1,
                                     .host = "localhost",
                                     .resource_labels_included = patterns};
    struct exporter_settings copy = exporter_settings_copy(&arena, &from);
    value[0] = pattern[0] = '?';
    assert_string_equal(copy.headers[0].value, "secret");
    assert_string_equal(copy.resource_labels_included[0], "k8s.*");
    assert_null(copy.resource_labels_included[1]);
    assert_null(copy.resource_labels_excluded);
    assert_string_equal(copy.tls.cert_file, "cert");
    assert_string_equal(copy.host, "localhost");
    assert_ptr_not_equal(copy.endpoint, from.endpoint);
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_a_text_is_copied_with_a_nul),
        test(test_a_text_is_cut_by_characters),
        test(test_invalid_utf8_is_replaced),
        test(test_arrays_are_copied_with_their_texts_cut),
        test(test_maps_and_lists_are_copied_all_through),
        test(test_what_is_too_deep_becomes_empty),
        test(test_the_last_value_of_a_key_counts),
        test(test_keys_of_all_lengths_are_told_apart),
        test(test_what_is_not_ascii_is_seen_wherever_it_is),
        test(test_a_text_set_over_and_over_takes_no_more_memory),
        test(test_attributes_without_a_key_or_beyond_the_limit_are_counted),
        test(test_keys_that_are_cleaned_to_the_same_are_one),
        test(test_a_set_is_sorted_with_the_last_of_each_key),
        test(test_equal_values_are_equal_and_hash_alike),
        test(test_equal_scopes_are_one),
        test(test_there_is_an_end_to_scopes),
        test(test_exporter_settings_are_copied_all_through),
    };
    return cmocka_run_group_tests_name("otel copy", tests, NULL, NULL);
}
