#include "otel/export/answer.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "otel/export/fields.h"

/* Cut at the beginning of a character. */
static void keep_text(const struct field *field, char out[ANSWER_TEXT_MAX])
{
    size_t length = field->bytes < ANSWER_TEXT_MAX - 1 ? field->bytes : ANSWER_TEXT_MAX - 1;
    while (length < field->bytes && length > 0 && (field->data[length] & 0xc0) == 0x80)
        length--;
    memcpy(out, field->data, length);
    out[length] = '\0';
}

/* --- Export…ServiceResponse */

/* One that rejects nothing and says nothing is as good as none: some receivers always send it. */
static bool read_partial(const struct field *message, struct export_answer *out)
{
    struct fields in = fields_of(message);
    for (struct field field; take_field(&in, &field);) {
        if (is_varint(&field, 1))
            out->rejected = (int64_t)field.value > 0 ? field.value : 0;
        else if (is_bytes(&field, 2))
            keep_text(&field, out->message);
    }
    out->partial = out->rejected > 0 || out->message[0];
    return !in.bad;
}

bool export_answer_read(const uint8_t *data, size_t bytes, struct export_answer *out)
{
    struct export_answer answer = {0};
    struct fields in = fields_in(data, bytes);
    for (struct field field; take_field(&in, &field);)
        if (is_bytes(&field, 1) && !read_partial(&field, &answer))
            return false;
    if (in.bad)
        return false;
    *out = answer;
    return true;
}

/* --- google.rpc.Status */

static bool read_duration(const struct field *message, int64_t *out_ns)
{
    int64_t seconds = 0, ns = 0;
    struct fields in = fields_of(message);
    for (struct field field; take_field(&in, &field);) {
        if (is_varint(&field, 1))
            seconds = (int64_t)field.value;
        else if (is_varint(&field, 2))
            ns = (int32_t)field.value;
    }
    if (in.bad)
        return false;
    if (seconds < 0 || ns < 0)
        seconds = ns = 0;
    *out_ns = seconds >= DELAY_S_MAX ? DELAY_S_MAX * NS_PER_S : seconds * NS_PER_S + (ns < NS_PER_S ? ns : NS_PER_S);
    return true;
}

static bool read_retry_info(const struct field *message, int64_t *out_ns)
{
    struct fields in = fields_of(message);
    *out_ns = 0;
    for (struct field field; take_field(&in, &field);)
        if (is_bytes(&field, 1) && !read_duration(&field, out_ns))
            return false;
    return !in.bad;
}

/* Any's type is named by a URL, whose host may vary. */
static bool names_retry_info(const struct field *url)
{
    static const char name[] = "/google.rpc.RetryInfo";
    size_t length = sizeof name - 1;
    return url->bytes >= length && memcmp(url->data + url->bytes - length, name, length) == 0;
}

static bool read_detail(const struct field *message, struct status_answer *out)
{
    struct field url = {0}, value = {.data = message->data}; /* no value: nothing to read, but somewhere */
    struct fields in = fields_of(message);
    for (struct field field; take_field(&in, &field);) {
        if (is_bytes(&field, 1))
            url = field;
        else if (is_bytes(&field, 2))
            value = field;
    }
    if (in.bad)
        return false;
    return !names_retry_info(&url) || read_retry_info(&value, &out->delay_ns);
}

bool status_answer_read(const uint8_t *data, size_t bytes, struct status_answer *out)
{
    struct status_answer answer = {.delay_ns = NO_DELAY};
    struct fields in = fields_in(data, bytes);
    for (struct field field; take_field(&in, &field);) {
        if (is_varint(&field, 1))
            answer.code = (int32_t)field.value;
        else if (is_bytes(&field, 2))
            keep_text(&field, answer.message);
        else if (is_bytes(&field, 3) && !read_detail(&field, &answer))
            return false;
    }
    if (in.bad)
        return false;
    *out = answer;
    return true;
}

/* --- Retry-After */

static int month_of(const char *name)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (int month = 0; month < 12; month++)
        if (strncmp(names + 3 * month, name, 3) == 0)
            return month;
    return -1;
}

/* Two digits of a year: the one within fifty years of now, as RFC 9110 wants. */
static int full_year(int year, int64_t wall_now_ns)
{
    time_t now = wall_now_ns / NS_PER_S;
    struct tm tm;
    if (year > 99 || !gmtime_r(&now, &tm))
        return year;
    int this_year = tm.tm_year + 1900;
    year += this_year - this_year % 100;
    return year > this_year + 50 ? year - 100 : year;
}

struct http_date {
    int day, year, hour, minute, second;
    char month[4];
};

/* end is 0 unless the whole form was there. */
static bool is_whole(const char *text, int end)
{
    return end > 0 && text[end] == '\0';
}

static bool scan_date(const char *text, struct http_date *at)
{
    int end = 0; /* Sun, 06 Nov 1994 08:49:37 GMT */
    sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", &at->day, at->month, &at->year, &at->hour,
           &at->minute, &at->second, &end);
    if (is_whole(text, end))
        return true;
    end = 0; /* Sunday, 06-Nov-94 08:49:37 GMT */
    sscanf(text, "%*9[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT%n", &at->day, at->month, &at->year, &at->hour,
           &at->minute, &at->second, &end);
    if (is_whole(text, end))
        return true;
    end = 0; /* Sun Nov  6 08:49:37 1994 */
    sscanf(text, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", at->month, &at->day, &at->hour, &at->minute,
           &at->second, &at->year, &end);
    return is_whole(text, end);
}

static bool read_date(const char *text, int64_t wall_now_ns, int64_t *out_s)
{
    struct http_date at = {0};
    if (!scan_date(text, &at))
        return false;
    struct tm tm = {.tm_mday = at.day, .tm_mon = month_of(at.month), .tm_hour = at.hour, .tm_min = at.minute};
    tm.tm_sec = at.second;
    tm.tm_year = full_year(at.year, wall_now_ns) - 1900;
    bool ok = tm.tm_mon >= 0 && at.day >= 1 && at.day <= 31 && at.hour >= 0 && at.hour <= 23 && at.minute >= 0 &&
              at.minute <= 59 && at.second >= 0 && at.second <= 60 && at.year >= 0;
    if (ok)
        *out_s = timegm(&tm);
    return ok;
}

static int64_t delay_of(int64_t seconds)
{
    if (seconds < 0)
        return 0;
    return (seconds < DELAY_S_MAX ? seconds : DELAY_S_MAX) * NS_PER_S;
}

int64_t retry_after_read(const char *text, int64_t wall_now_ns)
{
    size_t digits = strspn(text, "0123456789");
    int64_t at_s;
    if (digits > 0 && text[digits] == '\0') {
        int64_t seconds = 0;
        for (size_t i = 0; i < digits && seconds < DELAY_S_MAX; i++)
            seconds = 10 * seconds + (text[i] - '0');
        return delay_of(seconds);
    }
    if (!read_date(text, wall_now_ns, &at_s))
        return NO_DELAY;
    /* A part of a second waits for the whole of it. */
    return delay_of(at_s - wall_now_ns / NS_PER_S);
}
