#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "base/names.h"
#include "base/random.h"
#include "base/sanitizer.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/trace.h"
#include "common/utf8.h"
#include "common/uuid.h"
#include "support/support.h"

/* --- errors */

static void test_every_error_has_a_name_and_a_status(void **state)
{
    (void)state;
    for (int err = ERR_OK; err <= ERR_UNAUTHENTICATED; err++) {
        assert_true(strlen(err_name(err)) > 1);
        assert_in_range(err_http_status((enum err)err), 200, 599);
    }
    assert_string_equal(err_name(99), "UNKNOWN");
    assert_string_equal(err_name(-1), "UNKNOWN");
    assert_int_equal(err_http_status((enum err)99), 500);
    assert_int_equal(err_http_status(ERR_FAILED_PRECONDITION), 400);
    assert_int_equal(err_http_status(ERR_DEADLINE_EXCEEDED), 504);
}

/* --- lists of names */

static void test_a_list_has_whole_names_in_any_case(void **state)
{
    (void)state;
    static const char list[] = " api-gateway,, Orders.example spiffe://shop/x,";
    static const char *const there[] = {"api-gateway", "orders.EXAMPLE", "spiffe://shop/x"};
    static const char *const missing[] = {
        "", "api", "gateway", "api-gateway2", "api-gateway,", "orders.example spiffe"};
    for (unsigned i = 0; i < array_count(there); i++)
        assert_true(names_have(list, there[i], strlen(there[i])));
    for (unsigned i = 0; i < array_count(missing); i++)
        assert_false(names_have(list, missing[i], strlen(missing[i])));
    assert_false(names_have("", "", 0));
    assert_false(names_have(" , ", "a", 1));
}

/* --- arena */

static void test_arena_memory_is_zeroed_and_aligned(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 256);
    for (size_t bytes = 0; bytes < 700; bytes += 13) {
        char *memory = arena_alloc(&arena, bytes);
        assert_int_equal((uintptr_t)memory % 16, 0);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(memory[i], 0);
        memset(memory, 'x', bytes);
    }
    arena_done(&arena);
}

static void test_arena_is_usable_after_a_reset(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 256);
    char *first = arena_alloc(&arena, 100);
    arena_alloc(&arena, 10000);
    arena_reset(&arena);
    char *again = arena_alloc(&arena, 100);
    assert_ptr_equal(first, again);
    assert_string_equal(arena_print(&arena, "%s-%d", "a", 7), "a-7");
    arena_reset(&arena);
    arena_done(&arena);
    arena_reset(&arena);
    arena_done(&arena);
}

static void test_arena_prints_long_texts(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 64);
    char *text = arena_print(&arena, "%0900d", 5);
    assert_int_equal(strlen(text), 900);
    assert_int_equal(text[899], '5');
    assert_string_equal(arena_text(&arena, "hello", 4), "hell");
    assert_string_equal(arena_copy(&arena, "abc", 4), "abc");
    arena_done(&arena);
}

#ifdef HAVE_ASAN
static void test_arena_memory_is_poisoned_after_a_reset(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 256);
    char *memory = arena_alloc(&arena, 32);
    assert_false(__asan_address_is_poisoned(memory));
    assert_true(__asan_address_is_poisoned(memory + 32));
    arena_reset(&arena);
    assert_true(__asan_address_is_poisoned(memory));
    arena_done(&arena);
}
#endif

static void test_heap_helpers_copy_and_print(void **state)
{
    (void)state;
    scoped_free char *copy = mem_text("abc");
    assert_string_equal(copy, "abc");
    assert_null(mem_text(NULL));
    scoped_free char *text = mem_print("%d-%s", 3, "x");
    assert_string_equal(text, "3-x");
    int *numbers = mem_array(0, sizeof *numbers);
    numbers = mem_resize(numbers, 4, sizeof *numbers);
    free(numbers);
}

/* --- uuid */

static void test_uuid_text_comes_back_in_lower_case(void **state)
{
    (void)state;
    struct uuid id;
    char text[UUID_TEXT_BYTES];
    assert_true(uuid_parse("01ABCDEF-2345-6789-abcd-EF0123456789", &id));
    assert_string_equal(uuid_format(id, text), "01abcdef-2345-6789-abcd-ef0123456789");
}

static void test_anything_but_a_uuid_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "x",
        "01abcdef-2345-6789-abcd-ef012345678",
        "01abcdef-2345-6789-abcd-ef01234567890",
        "01abcdef2345-6789-abcd-ef0123456789",
        "{01abcdef-2345-6789-abcd-ef0123456789}",
        "01abcdef-2345-6789-abcd-ef012345678g",
        "01abcdef-2345-6789-abcd_ef0123456789",
    };
    struct uuid id = {{1}};
    for (size_t i = 0; i < array_count(bad); i++)
        assert_false(uuid_parse(bad[i], &id));
    assert_false(uuid_parse(NULL, &id));
    assert_int_equal(id.bytes[0], 1);
}

static void test_version_7_ids_follow_the_clock(void **state)
{
    (void)state;
    struct uuid a = uuid_v7();
    int64_t now_ms = clock_wall_ns() / NS_PER_MS;
    int64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | a.bytes[i];
    assert_in_range(ms, now_ms - 10000, now_ms + 1);
    assert_int_equal(a.bytes[6] >> 4, 7);
    assert_int_equal(a.bytes[8] >> 6, 2);
    struct uuid b = uuid_v7();
    assert_false(uuid_equal(a, b));
}

static void test_version_5_ids_are_those_of_the_rfc(void **state)
{
    (void)state;
    struct uuid dns, id;
    char text[UUID_TEXT_BYTES];
    assert_true(uuid_parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8", &dns));
    id = uuid_v5(dns, "www.example.com", strlen("www.example.com"));
    assert_string_equal(uuid_format(id, text), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
}

/* --- clock */

static void test_times_are_written_and_read_back(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_BYTES];
    int64_t ns = -1;
    assert_string_equal(clock_format(1769860800123456789, text), "2026-01-31T12:00:00.123456Z");
    assert_true(clock_parse(text, &ns));
    assert_int_equal(ns, 1769860800123456000);
    assert_true(clock_parse("2026-01-31T14:00:00+02:00", &ns));
    assert_int_equal(ns, 1769860800000000000);
    assert_true(clock_parse("1969-12-31T23:59:59.5Z", &ns));
    assert_int_equal(ns, -500000000);
    assert_string_equal(clock_format(ns, text), "1969-12-31T23:59:59.500000Z");
    assert_true(clock_parse("2016-12-31T23:59:60Z", &ns));
}

static void test_wrong_times_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2026",
        "2026-02-31T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T12:60:00Z",
        "2026-01-01T12:00:00",
        "2026-01-01T12:00:00.Z",
        "2026-01-01T12:00:00+2:00",
        "2026-01-01T12:00:00Zx",
        "2026-01-01T12:00:61Z",
        "2026-01-01T12:00:00+25:00",
    };
    int64_t ns = 42;
    for (size_t i = 0; i < array_count(bad); i++)
        assert_false(clock_parse(bad[i], &ns));
    assert_false(clock_parse(NULL, &ns));
    assert_int_equal(ns, 42);
}

/* --- hash, random */

static void test_digests_are_those_of_the_standard(void **state)
{
    (void)state;
    uint8_t sha1[20], sha256[32];
    char text[65];
    hash_sha1("abc", 3, sha1);
    assert_string_equal(hash_hex(sha1, sizeof sha1, text), "a9993e364706816aba3e25717850c26c9cd0d89d");
    hash_sha256("abc", 3, sha256);
    assert_string_equal(hash_hex(sha256, sizeof sha256, text),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_random_bytes_are_never_dealt_twice(void **state)
{
    (void)state;
    uint8_t blocks[64][16];
    for (size_t i = 0; i < array_count(blocks); i++)
        random_bytes(blocks[i], sizeof blocks[i]);
    for (size_t i = 0; i < array_count(blocks); i++)
        for (size_t j = i + 1; j < array_count(blocks); j++)
            assert_memory_not_equal(blocks[i], blocks[j], sizeof blocks[i]);
    for (int i = 0; i < 1000; i++) {
        double unit = random_unit();
        assert_true(unit >= 0.0 && unit < 1.0);
    }
}

/* --- trace */

struct pairs {
    struct carrier carrier;
    const char *keys[4], *values[4];
    unsigned count;
};

static const char *pairs_get(const struct carrier *carrier, const char *key)
{
    const struct pairs *pairs = container_of(carrier, const struct pairs, carrier);
    for (unsigned i = 0; i < pairs->count; i++)
        if (strcmp(pairs->keys[i], key) == 0)
            return pairs->values[i];
    return NULL;
}

static void pairs_set(const struct carrier *carrier, const char *key, const char *value)
{
    struct pairs *pairs = (struct pairs *)(uintptr_t)container_of(carrier, const struct pairs, carrier);
    pairs->keys[pairs->count] = key;
    pairs->values[pairs->count++] = mem_text(value);
}

static void test_trace_context_survives_the_journey(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1024);
    struct pairs pairs = {.carrier = {.get = pairs_get, .set = pairs_set}};
    struct trace_context sent = trace_new(), got;
    sent.state = "a=1";
    sent.baggage = "k=v";
    trace_inject(&sent, &pairs.carrier);
    assert_int_equal(pairs.count, 3);
    assert_true(trace_extract(&pairs.carrier, &arena, &got));
    assert_memory_equal(got.trace_id, sent.trace_id, 16);
    assert_memory_equal(got.span_id, sent.span_id, 8);
    assert_string_equal(got.state, "a=1");
    assert_string_equal(got.baggage, "k=v");
    struct trace_context child = trace_child(&got);
    assert_memory_equal(child.trace_id, sent.trace_id, 16);
    assert_memory_not_equal(child.span_id, sent.span_id, 8);
    for (unsigned i = 0; i < pairs.count; i++)
        free((char *)(uintptr_t)pairs.values[i]);
    arena_done(&arena);
}

static void test_no_context_is_injected_from_an_empty_one(void **state)
{
    (void)state;
    struct pairs pairs = {.carrier = {.get = pairs_get, .set = pairs_set}};
    struct trace_context none = {0}, got;
    trace_inject(&none, &pairs.carrier);
    assert_int_equal(pairs.count, 0);
    assert_false(trace_extract(&pairs.carrier, NULL, &got));
}

static void test_traceparent_follows_the_specification(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", false},
        {"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", true},
        {"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
        {"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false},
        {"00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"", false},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct trace_context trace;
        assert_int_equal(trace_parse(cases[i].text, &trace), cases[i].valid);
    }
    struct trace_context trace;
    char text[TRACE_PARENT_BYTES];
    assert_false(trace_parse(NULL, &trace));
    assert_true(trace_parse(cases[0].text, &trace));
    assert_string_equal(trace_format(&trace, text), cases[0].text);
}

/* --- utf-8 */

static void test_valid_utf8_is_read_and_invalid_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t c;
    } cases[] = {
        {"a", 'a'},
        {"", 0},
        {"\xc3\xa9", 0xe9},
        {"\xe2\x82\xac", 0x20ac},
        {"\xf0\x9f\x98\x80", 0x1f600},
        {"\x80", UINT32_MAX},
        {"\xc0\x80", UINT32_MAX},
        {"\xe0\x80\x80", UINT32_MAX},
        {"\xed\xa0\x80", UINT32_MAX},
        {"\xf4\x90\x80\x80", UINT32_MAX},
        {"\xf5\x80\x80\x80", UINT32_MAX},
        {"\xc3", UINT32_MAX},
        {"\xe2\x82", UINT32_MAX},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        const char *next = cases[i].text;
        assert_int_equal(utf8_next(&next), cases[i].c);
        assert_int_equal(next - cases[i].text, utf8_sequence(cases[i].text));
    }
}

/* --- log: what reaches stderr, read back through a pipe */

static int saved_stderr, log_pipe[2];

static void capture(void)
{
    assert_int_equal(pipe2(log_pipe, O_NONBLOCK), 0);
    saved_stderr = dup(STDERR_FILENO);
    dup2(log_pipe[1], STDERR_FILENO);
}

static char *captured(void)
{
    static char text[65536];
    ssize_t length = read(log_pipe[0], text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    return text;
}

static void release(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(log_pipe[0]);
    close(log_pipe[1]);
    log_init(NULL, LOG_INFO);
}

static json_t *parse_line(const char *text)
{
    json_error_t error;
    json_t *line = json_loads(text, 0, &error);
    assert_non_null(line);
    return line;
}

static void test_a_log_line_is_one_json_object(void **state)
{
    (void)state;
    struct trace_context trace = trace_new();
    capture();
    log_init("test", LOG_INFO);
    const struct trace_context *before = trace_attach(&trace);
    log_event(LOG_INFO, "hello \"you\"\n\x01", log_text("text", "\xff ok \xc3\xa9"), log_int("int", -5),
              log_real("real", 0.5), log_bool("bool", true), log_text("none", NULL), log_real("nan", 0.0 / 0.0));
    trace_attach(before);
    log_event(LOG_DEBUG, "not seen");
    json_t *line = parse_line(captured());
    release();
    assert_string_equal(json_string_value(json_object_get(line, "message")), "hello \"you\"\n\x01");
    assert_string_equal(json_string_value(json_object_get(line, "service")), "test");
    assert_string_equal(json_string_value(json_object_get(line, "text")), "\xef\xbf\xbd ok \xc3\xa9");
    assert_int_equal(json_integer_value(json_object_get(line, "int")), -5);
    assert_true(json_is_true(json_object_get(line, "bool")));
    assert_true(json_is_null(json_object_get(line, "none")));
    assert_true(json_is_null(json_object_get(line, "nan")));
    assert_int_equal(strlen(json_string_value(json_object_get(line, "trace_id"))), 32);
    assert_int_equal(strlen(json_string_value(json_object_get(line, "span_id"))), 16);
    json_decref(line);
}

/* A blocking pipe, as a container's, that nobody reads. */
static void test_lines_that_nobody_reads_are_lost_and_counted(void **state)
{
    (void)state;
    saved_stderr = dup(STDERR_FILENO);
    assert_int_equal(pipe(log_pipe), 0);
    dup2(log_pipe[1], STDERR_FILENO);
    log_init("test", LOG_INFO);
    uint64_t before = log_lost_bytes();
    int64_t begin_ns = clock_now_ns();
    for (int i = 0; i < 3000; i++)
        log_event(LOG_INFO, "nobody reads this", log_int("number", i));
    int64_t took_ns = clock_now_ns() - begin_ns;
    uint64_t lost = log_lost_bytes() - before;
    bool first_is_whole = strncmp(captured(), "{\"time\"", 7) == 0;
    int waiting;
    while (ioctl(log_pipe[0], FIONREAD, &waiting) == 0 && waiting > 0)
        captured();
    log_event(LOG_INFO, "somebody reads again");
    json_t *line = parse_line(captured());
    release();
    assert_true(first_is_whole);
    assert_true(lost > 100000);
    assert_true(took_ns < 10 * NS_PER_S);
    assert_string_equal(json_string_value(json_object_get(line, "message")), "somebody reads again");
    json_decref(line);
}

static void test_a_line_that_is_too_long_is_cut_and_still_json(void **state)
{
    (void)state;
    char *big = mem_alloc(20001);
    memset(big, '"', 20000);
    capture();
    log_event(LOG_WARN, "big", log_text("first", big), log_text("second", big));
    char *text = captured();
    assert_true(strlen(text) <= 8192);
    json_t *line = parse_line(text);
    release();
    assert_non_null(json_object_get(line, "first"));
    json_decref(line);
    free(big);
}

static void test_buffered_lines_leave_at_the_flush_and_errors_at_once(void **state)
{
    (void)state;
    capture();
    log_buffered(true);
    log_event(LOG_INFO, "one");
    assert_string_equal(captured(), "");
    log_event(LOG_ERROR, "two");
    char *text = captured();
    bool both = strstr(text, "one") && strstr(text, "two");
    log_event(LOG_INFO, "three");
    log_buffered(false);
    bool third = strstr(captured(), "three");
    release();
    assert_true(both);
    assert_true(third);
}

static void test_levels_are_read_in_any_case(void **state)
{
    (void)state;
    enum log_level level = LOG_OFF;
    assert_true(log_level_parse("Warn", &level));
    assert_int_equal(level, LOG_WARN);
    assert_false(log_level_parse("loud", &level));
    assert_false(log_level_parse(NULL, &level));
}

static void test_a_forked_child_draws_other_random_bytes(void **state)
{
    (void)state;
    uint8_t first[16], ours[16], theirs[16];
    int ends[2], status;
    random_bytes(first, sizeof first); /* so that there is a pool to share */
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        random_bytes(theirs, sizeof theirs);
        _exit(write(ends[1], theirs, sizeof theirs) == sizeof theirs ? 0 : 1);
    }
    random_bytes(ours, sizeof ours);
    assert_int_equal(read(ends[0], theirs, sizeof theirs), sizeof theirs);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_memory_not_equal(ours, theirs, sizeof ours);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_error_has_a_name_and_a_status),
        cmocka_unit_test(test_a_list_has_whole_names_in_any_case),
        cmocka_unit_test(test_arena_memory_is_zeroed_and_aligned),
        cmocka_unit_test(test_arena_is_usable_after_a_reset),
        cmocka_unit_test(test_arena_prints_long_texts),
#ifdef HAVE_ASAN
        cmocka_unit_test(test_arena_memory_is_poisoned_after_a_reset),
#endif
        cmocka_unit_test(test_heap_helpers_copy_and_print),
        cmocka_unit_test(test_uuid_text_comes_back_in_lower_case),
        cmocka_unit_test(test_anything_but_a_uuid_is_refused),
        cmocka_unit_test(test_version_7_ids_follow_the_clock),
        cmocka_unit_test(test_version_5_ids_are_those_of_the_rfc),
        cmocka_unit_test(test_times_are_written_and_read_back),
        cmocka_unit_test(test_wrong_times_are_refused),
        cmocka_unit_test(test_digests_are_those_of_the_standard),
        cmocka_unit_test(test_random_bytes_are_never_dealt_twice),
        cmocka_unit_test(test_trace_context_survives_the_journey),
        cmocka_unit_test(test_no_context_is_injected_from_an_empty_one),
        cmocka_unit_test(test_traceparent_follows_the_specification),
        cmocka_unit_test(test_valid_utf8_is_read_and_invalid_refused),
        cmocka_unit_test(test_a_log_line_is_one_json_object),
        cmocka_unit_test(test_lines_that_nobody_reads_are_lost_and_counted),
        cmocka_unit_test(test_a_line_that_is_too_long_is_cut_and_still_json),
        cmocka_unit_test(test_buffered_lines_leave_at_the_flush_and_errors_at_once),
        cmocka_unit_test(test_levels_are_read_in_any_case),
        cmocka_unit_test(test_a_forked_child_draws_other_random_bytes),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
