/* A line is built at the end of the thread's buffer, which is written when it is full or its owner says so. */
#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/utf8.h"

enum { LINE_BYTES_MAX = 8192, BUFFER_BYTES = 32768, WRITE_WAIT_MS = 1000 };

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

static const char *service_name;
static atomic_int least_level = LOG_INFO;
static _Atomic(log_sink *) sink;

static _Thread_local struct {
    bool on;
    size_t used;
    char bytes[BUFFER_BYTES];
} buffer;

/* Made where it waits to be written. */
struct line {
    size_t used;
    char *bytes; /* LINE_BYTES_MAX of them */
};

/* Room for the closing brace and newline is always kept. */
static bool has_room(const struct line *line, size_t bytes)
{
    return line->used + bytes + 2 <= LINE_BYTES_MAX;
}

static void put(struct line *line, const char *text, size_t length)
{
    if (!has_room(line, length))
        return;
    memcpy(line->bytes + line->used, text, length);
    line->used += length;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static size_t put_escaped(struct line *line, const unsigned char *text)
{
    char escape[8];
    if (*text == '"' || *text == '\\') {
        snprintf(escape, sizeof escape, "\\%c", *text);
    } else if (*text == '\n') {
        strcpy(escape, "\\n");
    } else if (*text < 0x20 || *text == 0x7f) {
        snprintf(escape, sizeof escape, "\\u%04x", *text);
    } else {
        size_t length = utf8_sequence((const char *)text);
        put(line, length ? (const char *)text : "\xef\xbf\xbd", length ? length : 3);
        return length ? length : 1;
    }
    put_text(line, escape);
    return 1;
}

/* How much of text can stay as it is. */
static size_t plain_length(const char *text, size_t most)
{
    size_t length = 0;
    while (length < most && text[length] >= ' ' && text[length] < 0x7f && text[length] != '"' && text[length] != '\\')
        length++;
    return length;
}

static void put_int(struct line *line, int64_t value)
{
    char digits[24];
    char *next = digits + sizeof digits;
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    do
        *--next = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (value < 0)
        *--next = '-';
    put(line, next, (size_t)(digits + sizeof digits - next));
}

/* Three decimals for what is neither tiny nor huge, as durations are; printf costs as much as the rest of a line. */
static void put_real(struct line *line, double value)
{
    char number[40];
    if (!isfinite(value)) {
        put_text(line, "null");
    } else if (value < 0.1 || value > 1e12) {
        snprintf(number, sizeof number, "%.6g", value);
        put_text(line, number);
    } else {
        int64_t thousandths = (int64_t)(value * 1000 + 0.5);
        char decimals[] = {'.', (char)('0' + thousandths / 100 % 10), (char)('0' + thousandths / 10 % 10),
                           (char)('0' + thousandths % 10)};
        put_int(line, thousandths / 1000);
        put(line, decimals, sizeof decimals);
    }
}

static void put_string(struct line *line, const char *text)
{
    enum { CLOSE_AND_ESCAPE = 8 };
    put(line, "\"", 1);
    for (const char *next = text; *next && has_room(line, CLOSE_AND_ESCAPE);) {
        size_t plain = plain_length(next, LINE_BYTES_MAX - CLOSE_AND_ESCAPE - line->used);
        put(line, next, plain);
        next += plain > 0 ? plain : put_escaped(line, (const unsigned char *)next);
    }
    put(line, "\"", 1);
}

static void put_value(struct line *line, const struct log_field *field)
{
    switch (field->type) {
    case LOG_FIELD_TEXT:
        if (field->text)
            put_string(line, field->text);
        else
            put_text(line, "null");
        break;
    case LOG_FIELD_INT:
        put_int(line, field->integer);
        break;
    case LOG_FIELD_REAL:
        put_real(line, field->real);
        break;
    case LOG_FIELD_BOOL:
        put_text(line, field->boolean ? "true" : "false");
        break;
    }
}

/* A field goes in whole or not at all, so that a line that is cut is still JSON. */
static void put_field(struct line *line, const struct log_field *field)
{
    enum { LEAST = 64 };
    size_t before = line->used;
    if (!has_room(line, strlen(field->key) + LEAST))
        return;
    put(line, ",", 1);
    put_string(line, field->key);
    put(line, ":", 1);
    size_t value_at = line->used;
    put_value(line, field);
    if (line->used == value_at)
        line->used = before;
}

static void put_trace(struct line *line, const struct trace_context *trace)
{
    char trace_id[33], span_id[17];
    put_field(line, &log_text("trace_id", hash_hex(trace->trace_id, 16, trace_id)));
    put_field(line, &log_text("span_id", hash_hex(trace->span_id, 8, span_id)));
}

static atomic_bool stuck; /* nobody has read stderr for a while */
static _Atomic uint64_t lost_bytes;

/* A blocked stderr gets a second, once; from then on what it does not take at once is lost. */
static bool takes_more(void)
{
    struct pollfd waiting = {.fd = STDERR_FILENO, .events = POLLOUT};
    int wait_ms = atomic_load_explicit(&stuck, memory_order_relaxed) ? 0 : WRITE_WAIT_MS;
    bool ready = poll(&waiting, 1, wait_ms) > 0 && (waiting.revents & POLLOUT);
    if (ready == atomic_load_explicit(&stuck, memory_order_relaxed))
        atomic_store_explicit(&stuck, !ready, memory_order_relaxed);
    return ready;
}

/* Whole lines, as many as a pipe that is ready takes without blocking; a longer one in pieces. */
static size_t piece(const char *bytes, size_t count)
{
    if (count <= PIPE_BUF)
        return count;
    const char *end = memrchr(bytes, '\n', PIPE_BUF);
    return end ? (size_t)(end + 1 - bytes) : PIPE_BUF;
}

static void write_out(const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t written = takes_more() ? write(STDERR_FILENO, bytes, piece(bytes, count)) : -1;
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            atomic_fetch_add_explicit(&lost_bytes, count, memory_order_relaxed);
            return;
        }
        bytes += written;
        count -= (size_t)written;
    }
}

uint64_t log_lost_bytes(void)
{
    return atomic_load_explicit(&lost_bytes, memory_order_relaxed);
}

void log_flush(void)
{
    if (buffer.used == 0)
        return;
    write_out(buffer.bytes, buffer.used);
    buffer.used = 0;
}

void log_buffered(bool on)
{
    log_flush();
    buffer.on = on;
}

static struct line line_begin(void)
{
    if (buffer.used + LINE_BYTES_MAX > sizeof buffer.bytes)
        log_flush();
    return (struct line){.bytes = buffer.bytes + buffer.used};
}

static void line_end(const struct line *line, bool now)
{
    buffer.used += line->used;
    if (now || !buffer.on)
        log_flush();
}

void log_init(const char *service, enum log_level least)
{
    service_name = service;
    log_level_set(least);
}

void log_level_set(enum log_level least)
{
    atomic_store_explicit(&least_level, (int)least, memory_order_relaxed);
}

enum log_level log_level_get(void)
{
    return (enum log_level)atomic_load_explicit(&least_level, memory_order_relaxed);
}

void log_sink_set(log_sink *to)
{
    atomic_store_explicit(&sink, to, memory_order_release);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&least_level, memory_order_relaxed);
}

bool log_level_parse(const char *text, enum log_level *out)
{
    for (size_t i = 0; text && i < array_count(level_names); i++) {
        if (strcasecmp(text, level_names[i]) != 0)
            continue;
        *out = (enum log_level)i;
        return true;
    }
    return false;
}

void log_write(enum log_level level, const char *message, const struct log_field *fields, unsigned count)
{
    char time[CLOCK_TEXT_BYTES];
    int64_t wall_ns = clock_wall_ns();
    struct line line = line_begin();
    put_text(&line, "{\"time\":\"");
    put_text(&line, clock_format(wall_ns, time));
    put_text(&line, "\",\"level\":\"");
    put_text(&line, level_names[level]);
    put(&line, "\"", 1);
    if (service_name)
        put_field(&line, &log_text("service", service_name));
    put_field(&line, &log_text("message", message));
    const struct trace_context *trace = trace_current();
    if (trace && trace_valid(trace))
        put_trace(&line, trace);
    for (unsigned i = 0; i < count; i++)
        put_field(&line, &fields[i]);
    memcpy(line.bytes + line.used, "}\n", 2);
    line.used += 2;
    line_end(&line, level >= LOG_ERROR);
    log_sink *also = atomic_load_explicit(&sink, memory_order_acquire);
    if (also)
        also(&(struct log_line){level, wall_ns, message, fields, count});
}
