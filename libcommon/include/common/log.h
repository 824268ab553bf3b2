/* Structured logs: one JSON object a line on stderr, written whole.
 *
 * Any thread. Lines of a loop's thread are collected and leave when the loop is about to
 * sleep, at 32 KiB, or at once from level error up; other threads write at once. A line is
 * cut at 8 KiB. Values are escaped; invalid UTF-8 becomes U+FFFD. When stderr blocks for
 * more than a second, lines are lost and counted, never the request. trace_id and span_id are added while a
 * trace context is current (trace_current()). */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/trace.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

struct log_field {
    const char *key;
    enum { LOG_FIELD_TEXT, LOG_FIELD_INT, LOG_FIELD_REAL, LOG_FIELD_BOOL } type;
    union {
        const char *text; /* NULL is written as null */
        int64_t integer;
        double real;
        bool boolean;
    };
};

#define log_text(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_TEXT, .text = (v)})
#define log_int(k, v)  ((struct log_field){.key = (k), .type = LOG_FIELD_INT, .integer = (v)})
#define log_real(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_REAL, .real = (v)})
#define log_bool(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_BOOL, .boolean = (v)})

/* log_event(LOG_INFO, "ready", log_int("port", 8080)); fields may be left out. */
#define log_event(level, message, ...)                                                                                 \
    do {                                                                                                               \
        if (log_enabled(level)) {                                                                                      \
            const struct log_field log_fields_[] = {{0}, ##__VA_ARGS__};                                               \
            log_write((level), (message), log_fields_ + 1, sizeof log_fields_ / sizeof log_fields_[0] - 1);            \
        }                                                                                                              \
    } while (0)

/* service is kept, not copied; NULL leaves the name out. */
void log_init(const char *service, enum log_level least);
bool log_enabled(enum log_level level);
/* "debug", "info", "warn", "error", "off"; false for anything else. */
bool log_level_parse(const char *text, enum log_level *out);
void log_write(enum log_level level, const char *message, const struct log_field *fields, unsigned count);
/* Any thread, at any time; what log_init() said counts no more. */
void log_level_set(enum log_level least);
enum log_level log_level_get(void);
struct log_line {
    enum log_level level;
    int64_t wall_ns;
    const char *message;
    const struct log_field *fields;
    unsigned count;
};

/* Where else each line goes, as it is written (the telemetry's log bridge): any thread, must not wait or log itself.
 * NULL for nowhere. */
typedef void log_sink(const struct log_line *line);
void log_sink_set(log_sink *sink);
/* Collect this thread's lines until log_flush(). */
void log_buffered(bool on);
void log_flush(void);
uint64_t log_lost_bytes(void);

#endif
