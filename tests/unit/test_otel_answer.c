/* Outside bytes and settings: what a receiver answers, and how an endpoint is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "otel/export/answer.h"
#include "otel/export/endpoint.h"
#include "otel/export/patience.h"
#include "otel/export/report.h"
#include "otlp_collector_trace.pb-c.h"
#include "otlp_status.pb-c.h"

/* --- Export…ServiceResponse */

static size_t pack(const void *message, uint8_t *out, size_t room)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    assert_true(bytes <= room);
    return protobuf_c_message_pack(message, out);
}

static void test_a_partial_success_is_read(void **state)
{
    (void)state;
    Opentelemetry__Proto__Collector__Trace__V1__ExportTracePartialSuccess partial =
        OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__EXPORT_TRACE_PARTIAL_SUCCESS__INIT;
    Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse response =
        OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__EXPORT_TRACE_SERVICE_RESPONSE__INIT;
    uint8_t bytes[1024];
    struct export_answer answer = {0};
    assert_true(export_answer_read(bytes, pack(&response, bytes, sizeof bytes), &answer));
    assert_false(answer.partial);

    response.partial_success = &partial; /* empty: as if it were not there */
    assert_true(export_answer_read(bytes, pack(&response, bytes, sizeof bytes), &answer));
    assert_false(answer.partial);

    char text[400];
    memset(text, 'x', sizeof text);
    memcpy(text + ANSWER_TEXT_MAX - 2, "\xe2\x82\xac", 3); /* a character on the edge */
    text[sizeof text - 1] = '\0';
    partial.rejected_spans = 300;
    partial.error_message = text;
    assert_true(export_answer_read(bytes, pack(&response, bytes, sizeof bytes), &answer));
    assert_true(answer.partial);
    assert_int_equal(answer.rejected, 300);
    assert_int_equal(strlen(answer.message), ANSWER_TEXT_MAX - 2);

    partial.rejected_spans = -5;
    assert_true(export_answer_read(bytes, pack(&response, bytes, sizeof bytes), &answer));
    assert_int_equal(answer.rejected, 0);
}

static void test_unknown_fields_are_passed_over(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x78, 1, 0x79, 1, 2,    3, 4, 5,    6, 7,    8, 0x7d,
                                    1,    2, 3,    4, 0x7a, 1, 9, 0x0a, 2, 0x08, 7};
    struct export_answer answer;
    assert_true(export_answer_read(bytes, sizeof bytes, &answer));
    assert_int_equal(answer.rejected, 7);
}

static void test_malformed_answers_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[14];
        size_t count;
    } wrong[] = {
        {{0x0a}, 1},                                           /* no length */
        {{0x0a, 5, 8, 1}, 4},                                  /* shorter than it says */
        {{0x0b}, 1},                                           /* a group */
        {{0x00, 1}, 2},                                        /* field 0 */
        {{0x0a, 2, 0x08, 0xff}, 4},                            /* a varint without end */
        {{0x09, 1, 2}, 3},                                     /* half a fixed64 */
        {{0x0d, 1}, 2},                                        /* half a fixed32 */
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1}, 9}, /* a field number beyond all */
        {{0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 13}, /* a varint of 12 bytes */
    };
    for (size_t i = 0; i < array_count(wrong); i++) {
        struct export_answer answer = {.rejected = 77};
        struct status_answer status = {.code = 77};
        assert_false(export_answer_read(wrong[i].bytes, wrong[i].count, &answer));
        assert_int_equal(answer.rejected, 77);
        if (i != 1 && i != 4) { /* field 1 is no message there */
            assert_false(status_answer_read(wrong[i].bytes, wrong[i].count, &status));
            assert_int_equal(status.code, 77);
        }
    }
    struct export_answer answer;
    assert_true(export_answer_read(NULL, 0, &answer));
}

/* --- google.rpc.Status */

static int64_t delay_of(const char *type, int64_t seconds, int32_t nanos)
{
    Google__Rpc__Duration duration = GOOGLE__RPC__DURATION__INIT;
    Google__Rpc__RetryInfo info = GOOGLE__RPC__RETRY_INFO__INIT;
    Google__Rpc__Any other = GOOGLE__RPC__ANY__INIT, detail = GOOGLE__RPC__ANY__INIT;
    Google__Rpc__Any *details[] = {&other, &detail};
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    uint8_t inner[64], bytes[256];
    duration.seconds = seconds;
    duration.nanos = nanos;
    info.retry_delay = &duration;
    other.type_url = (char *)(uintptr_t) "type.googleapis.com/google.rpc.BadRequest";
    detail.type_url = (char *)(uintptr_t)type;
    detail.value = (ProtobufCBinaryData){pack(&info, inner, sizeof inner), inner};
    status.code = 14;
    status.message = (char *)(uintptr_t) "busy";
    status.n_details = 2;
    status.details = details;
    struct status_answer answer;
    assert_true(status_answer_read(bytes, pack(&status, bytes, sizeof bytes), &answer));
    assert_int_equal(answer.code, 14);
    assert_string_equal(answer.message, "busy");
    return answer.delay_ns;
}

static void test_retry_info_gives_the_delay(void **state)
{
    (void)state;
    static const char type[] = "type.googleapis.com/google.rpc.RetryInfo";
    assert_int_equal(delay_of(type, 2, 500), 2 * NS_PER_S + 500);
    assert_int_equal(delay_of("example.org/google.rpc.RetryInfo", 0, 7), 7);
    assert_int_equal(delay_of("google.rpc.Other", 2, 0), NO_DELAY);
    assert_int_equal(delay_of(type, 0, 0), 0);
    assert_int_equal(delay_of(type, -3, 0), 0);
    assert_int_equal(delay_of(type, 0, -3), 0);
    assert_true(delay_of(type, INT64_MAX, INT32_MAX) == DELAY_S_MAX * NS_PER_S);
}

static void test_malformed_details_are_refused(void **state)
{
    (void)state;
    static const uint8_t any_cut[] = {0x1a, 2, 0x0a, 9};
    static const uint8_t info_cut[] = {0x1a, 27,  0x0a, 21,  '/', 'g', 'o', 'o', 'g', 'l', 'e',  '.', 'r',  'p', 'c',
                                       '.',  'R', 'e',  't', 'r', 'y', 'I', 'n', 'f', 'o', 0x12, 2,   0x0a, 9};
    static const uint8_t duration_cut[] = {0x1a, 28,  0x0a, 21,  '/', 'g',  'o', 'o',  'g', 'l',
                                           'e',  '.', 'r',  'p', 'c', '.',  'R', 'e',  't', 'r',
                                           'y',  'I', 'n',  'f', 'o', 0x12, 3,   0x0a, 1,   0x08};
    struct status_answer answer;
    assert_false(status_answer_read(any_cut, sizeof any_cut, &answer));
    assert_false(status_answer_read(info_cut, sizeof info_cut, &answer));
    assert_false(status_answer_read(duration_cut, sizeof duration_cut, &answer));
}

/* --- Retry-After */

static void test_retry_after_is_seconds_or_a_date(void **state)
{
    (void)state;
    const int64_t now = INT64_C(784111767) * NS_PER_S; /* 6 November 1994 08:49:27 */
    assert_int_equal(retry_after_read("0", now), 0);
    assert_int_equal(retry_after_read("12", now), 12 * NS_PER_S);
    assert_true(retry_after_read("99999999999999999999999", now) == DELAY_S_MAX * NS_PER_S);
    assert_int_equal(retry_after_read("Sun, 06 Nov 1994 08:49:37 GMT", now), 10 * NS_PER_S);
    assert_int_equal(retry_after_read("Sunday, 06-Nov-94 08:49:37 GMT", now), 10 * NS_PER_S);
    assert_int_equal(retry_after_read("Sun Nov  6 08:49:37 1994", now), 10 * NS_PER_S);
    assert_int_equal(retry_after_read("Sun, 06 Nov 1994 08:49:17 GMT", now), 0);
    assert_int_equal(retry_after_read("Sun, 06 Nov 1994 08:49:37 GMT", now + 1), 10 * NS_PER_S);
    static const char *const wrong[] = {"",
                                        "-1",
                                        "1.5",
                                        "soon",
                                        "1 2",
                                        "Sun, 06 Nov 1994 08:49:37",
                                        "Sun, 06 Nov 1994 08:49:37 GMT+1",
                                        "Sun, 06 Foo 1994 08:49:37 GMT",
                                        "Sun, 32 Nov 1994 08:49:37 GMT",
                                        "Sun, 06 Nov 1994 24:49:37 GMT",
                                        "Sun, 06 Nov 1994 08:-1:37 GMT"};
    for (size_t i = 0; i < array_count(wrong); i++)
        assert_int_equal(retry_after_read(wrong[i], now), NO_DELAY);
}

static void test_a_year_of_two_digits_is_the_nearest(void **state)
{
    (void)state;
    const int64_t now = INT64_C(4070908799) * NS_PER_S; /* 31 December 2098 23:59:59 */
    assert_int_equal(retry_after_read("Thursday, 01-Jan-99 00:00:09 GMT", now), 10 * NS_PER_S);
    assert_int_equal(retry_after_read("Friday, 06-Nov-60 08:49:37 GMT", now), 0);
}

/* Any bytes give a result: the sanitizers watch. */
static void test_random_bytes_do_no_harm(void **state)
{
    (void)state;
    srand(7);
    for (unsigned round = 0; round < 20000; round++) {
        char text[40];
        size_t count = (size_t)rand() % sizeof text;
        for (size_t i = 0; i < count; i++)
            text[i] = (char)(rand() % 4 ? rand() % 32 : rand());
        struct export_answer answer;
        struct status_answer status;
        struct endpoint endpoint;
        char message[128];
        uint8_t *exact = malloc(count + 1);
        memcpy(exact, text, count);
        if (export_answer_read(exact, count, &answer))
            assert_true(strlen(answer.message) < ANSWER_TEXT_MAX);
        if (status_answer_read(exact, count, &status))
            assert_true(status.delay_ns >= NO_DELAY && status.delay_ns <= DELAY_S_MAX * NS_PER_S);
        exact[count] = '\0';
        retry_after_read((char *)exact, 0);
        endpoint_read((char *)exact, true, true, &endpoint, message, sizeof message);
        free(exact);
    }
}

/* --- endpoints */

static void test_endpoints_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *shown;
        bool secure, has_path, has_user;
        int port;
    } cases[] = {
        {"http://localhost:4317", "localhost", "http://localhost:4317", false, false, false, 4317},
        {"https://otel.example/", "otel.example", "https://otel.example:443/", true, false, false, 443},
        {"HTTP://a/v1/traces?key=secret#x", "a", "http://a:80/v1/traces", false, true, false, 80},
        {"https://me:secret@[::1]:4318/v1", "::1", "https://[::1]:4318/v1", true, true, true, 4318},
        {"collector:4317", "collector", "http://collector:4317", false, false, false, 4317},
        {"http://a?token=secret", "a", "http://a:80", false, true, false, 80},
    };
    char message[200];
    for (size_t i = 0; i < array_count(cases); i++) {
        struct endpoint endpoint;
        assert_true(endpoint_read(cases[i].text, true, true, &endpoint, message, sizeof message));
        assert_string_equal(endpoint.host, cases[i].host);
        assert_string_equal(endpoint.shown, cases[i].shown);
        assert_int_equal(endpoint.port, cases[i].port);
        assert_int_equal(endpoint.secure, cases[i].secure);
        assert_int_equal(endpoint.has_path, cases[i].has_path);
        assert_int_equal(endpoint.has_user, cases[i].has_user);
    }
    struct endpoint endpoint;
    assert_true(endpoint_read("collector:4317", true, false, &endpoint, message, sizeof message));
    assert_true(endpoint.secure);
}

static void test_wrong_endpoints_are_refused_without_being_repeated(void **state)
{
    (void)state;
    char long_host[400] = "http://";
    memset(long_host + 7, 'a', 300);
    const char *const wrong[] = {
        "",           "http://",           "ftp://secret",        "http://secret:0", "http://secret:",
        "http://:80", "http://secret:x",   "http://secret:99999", "http://[::1",     "http://se cret",
        long_host,    "http://secret:4\n", "http://[::1]x"};
    for (size_t i = 0; i < array_count(wrong); i++) {
        struct endpoint endpoint;
        char message[200] = "";
        assert_false(endpoint_read(wrong[i], true, true, &endpoint, message, sizeof message));
        assert_true(strncmp(message, "endpoint: expected", 18) == 0);
        assert_null(strstr(message, "secret"));
    }
    struct endpoint endpoint;
    char message[200];
    assert_false(endpoint_read(NULL, true, true, &endpoint, message, sizeof message));
    assert_false(endpoint_read("collector:4318", false, true, &endpoint, message, sizeof message));
}

/* --- pauses */

static void test_pauses_grow_up_to_a_bound_and_differ(void **state)
{
    (void)state;
    int64_t longest[12] = {0};
    for (unsigned attempt = 1; attempt < array_count(longest); attempt++)
        for (unsigned i = 0; i < 2000; i++) {
            int64_t pause = pause_ns(attempt);
            assert_true(pause >= 0 && pause <= PAUSE_MAX_MS * NS_PER_MS);
            longest[attempt] = pause > longest[attempt] ? pause : longest[attempt];
        }
    assert_true(longest[1] <= PAUSE_FIRST_MS * NS_PER_MS && longest[1] > PAUSE_FIRST_MS * NS_PER_MS / 2);
    assert_true(longest[2] > PAUSE_FIRST_MS * NS_PER_MS && longest[2] <= PAUSE_FIRST_MS * NS_PER_MS * 3 / 2);
    assert_true(longest[11] > PAUSE_MAX_MS * NS_PER_MS / 2);
    for (unsigned i = 0; i < 1000; i++) {
        int64_t asked = pause_asked_ns(NS_PER_S);
        assert_true(asked >= NS_PER_S && asked <= NS_PER_S * 11 / 10);
    }
}

/* --- what the log is told */

static char last_line[512];
static unsigned line_count;

static void see_line(const struct log_line *line)
{
    line_count++;
    const struct log_field *last = &line->fields[line->count - 1];
    if (last->type == LOG_FIELD_INT)
        snprintf(last_line, sizeof last_line, "%s %lld", line->message, (long long)last->integer);
    else
        snprintf(last_line, sizeof last_line, "%s %s", line->message, last->text);
}

static void test_a_message_is_told_once_even_when_minutes_pass(void **state)
{
    (void)state;
    struct report report;
    log_sink_set(see_line);
    line_count = 0;
    report_init(&report, "exporter", "http://there");
    report_partial(&report, 3, "too old");
    assert_string_equal(last_line, "telemetry was rejected in part 3");
    report.partial_line_ns = 0; /* as if a minute had passed; the same below */
    report_partial(&report, 4, "too old");
    assert_int_equal(line_count, 1);
    report_partial(&report, 5, "too large");
    assert_string_equal(last_line, "telemetry was rejected in part 9");
    report_partial(&report, 1, "another"); /* within the minute */
    assert_int_equal(line_count, 2);
    report_odd(&report, "not protobuf");
    report_odd(&report, "not protobuf");
    assert_int_equal(line_count, 3);
    log_sink_set(NULL);
}

static void test_failing_is_told_when_it_begins_now_and_then_and_when_it_ends(void **state)
{
    (void)state;
    struct report report;
    log_sink_set(see_line);
    line_count = 0;
    report_init(&report, "exporter", "http://there");
    report_trouble(&report, "UNAVAILABLE", "away"); /* one attempt is nothing */
    report_works(&report);
    assert_int_equal(line_count, 0);
    report_trouble(&report, "UNAVAILABLE", "away");
    report_trouble(&report, "UNAVAILABLE", "away");
    assert_string_equal(last_line, "telemetry is not delivered 0");
    report_lost(&report, "UNAVAILABLE", "away", 5);
    assert_int_equal(line_count, 1);
    report.failing_line_ns = 0;
    report_lost(&report, "UNAVAILABLE", "away", 6);
    assert_string_equal(last_line, "telemetry is still not delivered 11");
    report_lost(&report, "UNAVAILABLE", "away", 7);
    report_works(&report);
    assert_string_equal(last_line, "telemetry is delivered again 7");
    /* Whoever comes and goes within a minute is not told of each time. */
    report_lost(&report, "UNAVAILABLE", "away", 1);
    report_works(&report);
    assert_int_equal(line_count, 3);
    log_sink_set(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_partial_success_is_read),
        cmocka_unit_test(test_unknown_fields_are_passed_over),
        cmocka_unit_test(test_malformed_answers_are_refused),
        cmocka_unit_test(test_retry_info_gives_the_delay),
        cmocka_unit_test(test_malformed_details_are_refused),
        cmocka_unit_test(test_retry_after_is_seconds_or_a_date),
        cmocka_unit_test(test_a_year_of_two_digits_is_the_nearest),
        cmocka_unit_test(test_random_bytes_do_no_harm),
        cmocka_unit_test(test_endpoints_are_taken_apart),
        cmocka_unit_test(test_wrong_endpoints_are_refused_without_being_repeated),
        cmocka_unit_test(test_pauses_grow_up_to_a_bound_and_differ),
        cmocka_unit_test(test_a_message_is_told_once_even_when_minutes_pass),
        cmocka_unit_test(test_failing_is_told_when_it_begins_now_and_then_and_when_it_ends),
    };
    return cmocka_run_group_tests_name("otel_answer", tests, NULL, NULL);
}
