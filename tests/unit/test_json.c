/* JSON by shapes, in both directions. */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "support/support.h"

struct thing {
    const char *name, *note;
    int64_t quantity, number;
    struct uuid id;
    bool open;
};

static const struct json_field thing_fields[] = {
    {"name", offsetof(struct thing, name), JSON_FIELD_TEXT, .min = 1, .max = 8},
    {"note", offsetof(struct thing, note), JSON_FIELD_TEXT, .optional = true},
    {"quantity", offsetof(struct thing, quantity), JSON_FIELD_INT, .min = 1, .max = 1000000},
    {"number", offsetof(struct thing, number), JSON_FIELD_INT, .optional = true},
    {"id", offsetof(struct thing, id), JSON_FIELD_UUID, .optional = true},
    {"open", offsetof(struct thing, open), JSON_FIELD_BOOL, .optional = true},
};
static const struct json_shape thing_shape = JSON_SHAPE(struct thing, thing_fields);

struct things {
    struct json_repeated list;
    const char *next;
};

static const struct json_field things_fields[] = {
    {"things", offsetof(struct things, list), JSON_FIELD_REPEATED, .shape = &thing_shape},
    {"next", offsetof(struct things, next), JSON_FIELD_TEXT},
};
static const struct json_shape things_shape = JSON_SHAPE(struct things, things_fields);

struct fixture {
    struct arena arena;
    struct request req;
};

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof *f);
    arena_init(&f->arena, 1024);
    request_init(&f->req, &f->arena, NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    arena_done(&f->arena);
    free(f);
    return 0;
}

static enum err parse(struct fixture *f, const char *text, struct thing *out)
{
    /* Not NUL-terminated, and exactly as large: reading beyond the end is seen by the sanitizers. */
    size_t size = strlen(text);
    char *copy = mem_alloc(size);
    memcpy(copy, text, size);
    enum err err = json_parse(&f->req, "body", (struct bytes){copy, size}, &thing_shape, out);
    free(copy);
    return err;
}

static void refuses(void **state, const char *text, const char *detail)
{
    struct fixture *f = *state;
    struct thing thing;
    memset(&thing, 0x5a, sizeof thing);
    struct thing before = thing;
    assert_int_equal(parse(f, text, &thing), ERR_INVALID_ARGUMENT);
    assert_int_equal(f->req.failure.err, ERR_INVALID_ARGUMENT);
    assert_string_equal(f->req.failure.detail, detail);
    assert_memory_equal(&thing, &before, sizeof thing);
}

static void test_members_are_read(void **state)
{
    struct fixture *f = *state;
    struct thing thing = {0};
    assert_int_equal(
        parse(f,
              " {\"open\":true,\"quantity\":1000000,\"name\":\"caf\\u00e9\",\"number\":-9007199254740993,"
              "\"note\":\"\",\"id\":\"0190A4D0-0000-7000-8000-00000000000F\",\"other\":{\"a\":[1.5,null]}}\n",
              &thing),
        ERR_OK);
    char id[UUID_TEXT_BYTES];
    assert_string_equal(thing.name, "caf\xc3\xa9");
    assert_string_equal(thing.note, "");
    assert_int_equal(thing.quantity, 1000000);
    assert_true(thing.number == -INT64_C(9007199254740993));
    assert_string_equal(uuid_format(thing.id, id), "0190a4d0-0000-7000-8000-00000000000f");
    assert_true(thing.open);
}

static void test_optional_members_may_be_missing_or_null(void **state)
{
    struct fixture *f = *state;
    struct thing thing = {0};
    assert_int_equal(parse(f, "{\"name\":\"x\",\"quantity\":1,\"note\":null,\"id\":null}", &thing), ERR_OK);
    assert_null(thing.note);
    assert_int_equal(thing.number, 0);
    assert_false(thing.open);
}

static void test_wanted_members_may_not(void **state)
{
    refuses(state, "{\"quantity\":1}", "name: missing");
    refuses(state, "{\"name\":null,\"quantity\":1}", "name: expected a string");
    refuses(state, "{\"name\":\"x\"}", "quantity: missing");
}

static void test_wrong_types_name_member_and_expectation(void **state)
{
    const char *quantity = "quantity: expected an integer from 1 to 1000000";
    refuses(state, "{\"name\":\"x\",\"quantity\":1.0}", quantity);
    refuses(state, "{\"name\":\"x\",\"quantity\":1e2}", quantity);
    refuses(state, "{\"name\":\"x\",\"quantity\":\"1\"}", quantity);
    refuses(state, "{\"name\":\"x\",\"quantity\":null}", quantity);
    refuses(state, "{\"name\":\"x\",\"quantity\":true}", quantity);
    refuses(state, "{\"name\":\"x\",\"quantity\":0}", quantity);
    refuses(state, "{\"name\":\"x\",\"quantity\":1000001}", quantity);
    refuses(state, "{\"name\":1,\"quantity\":1}", "name: expected a string");
    refuses(state, "{\"name\":\"x\",\"quantity\":1,\"number\":\"\"}", "number: expected an integer");
    refuses(state, "{\"name\":\"x\",\"quantity\":1,\"number\":2.0}", "number: expected an integer");
    refuses(state, "{\"name\":\"x\",\"quantity\":1,\"open\":1}", "open: expected true or false");
    refuses(state, "{\"name\":\"x\",\"quantity\":1,\"id\":\"1\"}", "id: expected a UUID");
    refuses(state, "{\"name\":\"x\",\"quantity\":1,\"id\":7}", "id: expected a UUID");
}

static void test_text_is_measured_in_characters(void **state)
{
    struct fixture *f = *state;
    struct thing thing;
    const char *detail = "name: expected a string of 1 to 8 characters";
    assert_int_equal(
        parse(f, "{\"name\":\"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9zzzz\",\"quantity\":1}", &thing),
        ERR_OK);
    refuses(state, "{\"name\":\"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9zzzzz\",\"quantity\":1}", detail);
    refuses(state, "{\"name\":\"\",\"quantity\":1}", detail);
}

static void test_what_is_no_json_is_told_by_place_without_the_text(void **state)
{
    struct fixture *f = *state;
    refuses(state, "{\"name\" secret}", "body: not JSON (line 1 column 14: ':' expected)");
    refuses(state, "{\"name\":\"x\"", "body: not JSON (line 1 column 11: '}' expected)");
    refuses(state, "{\"name\":\"x\"} {}", "body: not JSON (line 1 column 14: end of file expected)");
    refuses(state, "{\"name\":\"a\",\"name\":\"b\"}", "body: not JSON (line 1 column 18: duplicate object key)");
    struct thing thing;
    static const char *const bad[] = {"{\"name\":\"\xff\"}",
                                      "{\"name\":\"\xed\xa0\x80\"}",
                                      "{\"name\":\"a\\u0000b\"}",
                                      "{\"name\":\"\\ud800\"}",
                                      "{\"name\":01}",
                                      "{'name':1}",
                                      "{\"name\":\"a\nb\"}",
                                      "{\"n\":99999999999999999999}",
                                      "{\"n\":1e999}",
                                      "{\"n\":NaN}",
                                      "\xef\xbb\xbf{}",
                                      "{\"name\":\"x\",}",
                                      "{,}",
                                      "{",
                                      "\"",
                                      " "};
    for (size_t i = 0; i < array_count(bad); i++) {
        assert_int_equal(parse(f, bad[i], &thing), ERR_INVALID_ARGUMENT);
        assert_memory_equal(f->req.failure.detail, "body: not JSON (line ", 21);
        assert_true(strlen(f->req.failure.detail) < 140);
    }
    assert_int_equal(json_parse(&f->req, "event", (struct bytes){"{\0}", 3}, &thing_shape, &thing),
                     ERR_INVALID_ARGUMENT);
    assert_memory_equal(f->req.failure.detail, "event: not JSON", 15);
}

static void test_an_empty_text_is_missing(void **state)
{
    struct fixture *f = *state;
    struct thing thing;
    f->req.body = (struct bytes){"", 0};
    assert_int_equal(json_read(&f->req, &thing_shape, &thing), ERR_INVALID_ARGUMENT);
    assert_string_equal(f->req.failure.detail, "body: missing");
}

static void test_only_an_object_counts(void **state)
{
    refuses(state, "[]", "body: expected an object");
    refuses(state, "[{\"name\":\"x\",\"quantity\":1}]", "body: expected an object");
}

static char *nested(const char *open, const char *close, unsigned depth)
{
    char *text = mem_alloc(depth * (strlen(open) + strlen(close)) + 64);
    char *at = stpcpy(text, "{\"name\":\"x\",\"quantity\":1,\"a\":");
    for (unsigned i = 0; i < depth; i++)
        at = stpcpy(at, open);
    at = stpcpy(at, "1");
    for (unsigned i = 0; i < depth; i++)
        at = stpcpy(at, close);
    strcpy(at, "}");
    return text;
}

static void test_nesting_is_limited(void **state)
{
    struct fixture *f = *state;
    struct thing thing;
    scoped_free char *deepest = nested("[", "]", 31);
    assert_int_equal(parse(f, deepest, &thing), ERR_OK);
    scoped_free char *one_more = nested("{\"a\":", "}", 32);
    refuses(state, one_more, "body: nested deeper than 32");
    scoped_free char *absurd = nested("[", "]", 10000);
    refuses(state, absurd, "body: nested deeper than 32");
    char brackets[161] = "";
    for (unsigned i = 0; i < 40; i++)
        strcat(brackets, "\\\"[{");
    char *quoted = arena_print(&f->arena, "{\"name\":\"x\",\"quantity\":1,\"note\":\"%s\"}", brackets);
    assert_int_equal(parse(f, quoted, &thing), ERR_OK);
}

static void test_values_are_written_in_the_order_of_the_table(void **state)
{
    struct fixture *f = *state;
    struct thing thing = {.name = "a \"b\"\n\xe2\x82\xac", .quantity = -5, .number = INT64_MAX, .open = true};
    uuid_parse("0190a4d0-0000-7000-8000-00000000000F", &thing.id);
    struct bytes text = json_print(&f->req, &thing_shape, &thing);
    const char *expected = "{\"name\":\"a \\\"b\\\"\\n\xe2\x82\xac\",\"quantity\":-5,\"number\":9223372036854775807,"
                           "\"id\":\"0190a4d0-0000-7000-8000-00000000000f\",\"open\":true}";
    assert_string_equal(text.data, expected);
    assert_int_equal(text.size, strlen(expected));
}

static void test_lists_and_nulls_are_written(void **state)
{
    struct fixture *f = *state;
    struct thing items[2] = {{.name = "a", .note = "n"}, {.name = "\xff"}};
    void *const pointers[] = {&items[0], &items[1]};
    struct things things = {.list = {2, pointers}};
    const char *zero = "\"id\":\"00000000-0000-0000-0000-000000000000\",\"open\":false";
    const char *expected = arena_print(&f->arena,
                                       "{\"things\":[{\"name\":\"a\",\"note\":\"n\",\"quantity\":0,\"number\":0,%s},"
                                       "{\"name\":\"\xef\xbf\xbd\",\"quantity\":0,\"number\":0,%s}],\"next\":null}",
                                       zero, zero);
    assert_string_equal(json_print(&f->req, &things_shape, &things).data, expected);
    struct things none = {.next = "c"};
    assert_string_equal(json_print(&f->req, &things_shape, &none).data, "{\"things\":[],\"next\":\"c\"}");
}

/* A struct as protobuf-c makes them: 32-bit numbers, ids as text, no missing text. */
struct message {
    const char *base, *id, *cursor;
    int32_t quantity;
};

static const struct json_field message_fields[] = {
    {"id", offsetof(struct message, id), JSON_FIELD_UUID_TEXT},
    {"cursor", offsetof(struct message, cursor), JSON_FIELD_TEXT, .optional = true, .empty_is_null = true},
    {"quantity", offsetof(struct message, quantity), JSON_FIELD_INT32, .min = -1, .max = INT32_MAX},
};
static const struct json_shape message_shape = JSON_SHAPE(struct message, message_fields);

static enum err read_message(struct fixture *f, const char *text, struct message *out)
{
    return json_parse(&f->req, "body", (struct bytes){text, strlen(text)}, &message_shape, out);
}

static void test_a_message_is_read_in_place_and_written(void **state)
{
    struct fixture *f = *state;
    struct message message = {.base = "descriptor", .cursor = ""};
    assert_int_equal(read_message(f, "{\"id\":\"0190A4D0-0000-7000-8000-00000000000F\",\"quantity\":-1}", &message),
                     ERR_OK);
    assert_string_equal(message.base, "descriptor");
    assert_string_equal(message.id, "0190a4d0-0000-7000-8000-00000000000f");
    assert_string_equal(message.cursor, "");
    assert_int_equal(message.quantity, -1);
    assert_string_equal(json_print(&f->req, &message_shape, &message).data,
                        "{\"id\":\"0190a4d0-0000-7000-8000-00000000000f\",\"cursor\":null,\"quantity\":-1}");
    assert_int_equal(read_message(f, "{\"id\":\"x\",\"quantity\":1}", &message), ERR_INVALID_ARGUMENT);
    assert_int_equal(
        read_message(f, "{\"id\":\"0190a4d0-0000-7000-8000-00000000000f\",\"quantity\":2147483648}", &message),
        ERR_INVALID_ARGUMENT);
}

static void test_an_answer_has_status_type_and_body(void **state)
{
    struct fixture *f = *state;
    struct response res = {0};
    struct things none = {.next = "c"};
    assert_int_equal(json_write(&f->req, &res, 201, &things_shape, &none), ERR_OK);
    assert_int_equal(res.status, 201);
    assert_string_equal(res.content_type, "application/json");
    assert_string_equal(res.body.data, "{\"things\":[],\"next\":\"c\"}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_members_are_read),
        TEST(test_optional_members_may_be_missing_or_null),
        TEST(test_wanted_members_may_not),
        TEST(test_wrong_types_name_member_and_expectation),
        TEST(test_text_is_measured_in_characters),
        TEST(test_what_is_no_json_is_told_by_place_without_the_text),
        TEST(test_an_empty_text_is_missing),
        TEST(test_only_an_object_counts),
        TEST(test_nesting_is_limited),
        TEST(test_values_are_written_in_the_order_of_the_table),
        TEST(test_lists_and_nulls_are_written),
        TEST(test_a_message_is_read_in_place_and_written),
        TEST(test_an_answer_has_status_type_and_body),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
