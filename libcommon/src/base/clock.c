#include "common/clock.h"

#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t clock_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

/* Most times that are written fall into the second of the one before. */
static size_t format_seconds(time_t seconds, char *out)
{
    static _Thread_local struct {
        time_t seconds;
        size_t length;
        char text[CLOCK_TEXT_BYTES];
    } last;
    if (last.length == 0 || last.seconds != seconds) {
        struct tm tm;
        if (!gmtime_r(&seconds, &tm))
            memset(&tm, 0, sizeof tm);
        last.length = strftime(last.text, sizeof last.text - 8, "%Y-%m-%dT%H:%M:%S", &tm);
        last.seconds = seconds;
    }
    memcpy(out, last.text, last.length);
    return last.length;
}

char *clock_format(int64_t wall_ns, char out[CLOCK_TEXT_BYTES])
{
    time_t seconds = wall_ns / NS_PER_S;
    int64_t ns = wall_ns % NS_PER_S;
    if (ns < 0) {
        seconds--;
        ns += NS_PER_S;
    }
    size_t length = format_seconds(seconds, out);
    out[length++] = '.';
    for (int64_t us = ns / NS_PER_US, unit = 100000; unit > 0; us %= unit, unit /= 10)
        out[length++] = (char)('0' + us / unit);
    memcpy(out + length, "Z", 2);
    return out;
}

/* Reads exactly count digits. */
static bool read_digits(const char **text, unsigned count, int *out)
{
    int value = 0;
    for (unsigned i = 0; i < count; i++) {
        char c = (*text)[i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *text += count;
    *out = value;
    return true;
}

static bool read_char(const char **text, const char *any_of)
{
    if (!**text || !strchr(any_of, **text))
        return false;
    ++*text;
    return true;
}

static bool read_date_time(const char **text, struct tm *tm)
{
    bool ok = read_digits(text, 4, &tm->tm_year) && read_char(text, "-") && read_digits(text, 2, &tm->tm_mon) &&
              read_char(text, "-") && read_digits(text, 2, &tm->tm_mday) && read_char(text, "Tt ") &&
              read_digits(text, 2, &tm->tm_hour) && read_char(text, ":") && read_digits(text, 2, &tm->tm_min) &&
              read_char(text, ":") && read_digits(text, 2, &tm->tm_sec);
    if (!ok || tm->tm_hour > 23 || tm->tm_min > 59 || tm->tm_sec > 60)
        return false;
    tm->tm_year -= 1900;
    tm->tm_mon -= 1;
    struct tm normal = *tm;
    timegm(&normal);
    /* timegm() would move 31 February into March. */
    return tm->tm_sec == 60 || (normal.tm_mday == tm->tm_mday && normal.tm_mon == tm->tm_mon);
}

static int64_t read_fraction(const char **text)
{
    int64_t ns = 0;
    int64_t unit = NS_PER_S / 10;
    for (; **text >= '0' && **text <= '9'; ++*text, unit /= 10)
        ns += unit * (**text - '0');
    return ns;
}

static bool read_offset(const char **text, int *out_seconds)
{
    if (read_char(text, "Zz")) {
        *out_seconds = 0;
        return true;
    }
    int sign = **text == '-' ? -1 : 1;
    int hours, minutes;
    if (!read_char(text, "+-") || !read_digits(text, 2, &hours) || !read_char(text, ":") ||
        !read_digits(text, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *out_seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool clock_parse(const char *text, int64_t *out_wall_ns)
{
    struct tm tm = {0};
    int64_t ns = 0;
    int offset;
    if (!text || !read_date_time(&text, &tm))
        return false;
    if (*text == '.') {
        text++;
        if (*text < '0' || *text > '9')
            return false;
        ns = read_fraction(&text);
    }
    if (!read_offset(&text, &offset) || *text)
        return false;
    *out_wall_ns = ((int64_t)timegm(&tm) - offset) * NS_PER_S + ns;
    return true;
}
