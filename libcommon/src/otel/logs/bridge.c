#include "otel/logs/bridge.h"

#include <stdatomic.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/otel/logs.h"

enum { TEXT_BYTES_MAX = 8192, FIELDS_MAX = 64 };

static _Atomic(struct otel_logger *) logger;
static _Thread_local bool muted; /* also while a line is on its way: what that logs would never end */

static struct otel_value cut_text(const char *text)
{
    if (!text)
        return (struct otel_value){.type = OTEL_EMPTY};
    return (struct otel_value){.type = OTEL_TEXT, .count = (uint32_t)strnlen(text, TEXT_BYTES_MAX), .text = text};
}

static struct otel_attribute attribute_of(const struct log_field *field)
{
    switch (field->type) {
    case LOG_FIELD_INT:
        return otel_int(field->key, field->integer);
    case LOG_FIELD_REAL:
        return otel_real(field->key, field->real);
    case LOG_FIELD_BOOL:
        return otel_bool(field->key, field->boolean);
    case LOG_FIELD_TEXT:
        break;
    }
    return (struct otel_attribute){field->key, cut_text(field->text)};
}

static void emit_line(const struct log_line *line)
{
    static const struct {
        enum otel_severity severity;
        const char *text;
    } levels[] = {[LOG_DEBUG] = {OTEL_DEBUG, "debug"},
                  [LOG_INFO] = {OTEL_INFO, "info"},
                  [LOG_WARN] = {OTEL_WARN, "warn"},
                  [LOG_ERROR] = {OTEL_ERROR, "error"},
                  [LOG_OFF] = {OTEL_FATAL, "off"}};
    struct otel_attribute attributes[FIELDS_MAX] __attribute__((uninitialized));
    struct otel_log log = {
        .time_wall_ns = line->wall_ns,
        .observed_wall_ns = line->wall_ns,
        .severity = levels[line->level].severity,
        .severity_text = levels[line->level].text,
        .body = cut_text(line->message),
        .attributes = attributes,
        .attribute_count = line->count < FIELDS_MAX ? line->count : FIELDS_MAX,
    };
    for (unsigned i = 0; i < log.attribute_count; i++)
        attributes[i] = attribute_of(&line->fields[i]);
    otel_logger_emit(atomic_load_explicit(&logger, memory_order_acquire), &log);
}

static void take_line(const struct log_line *line)
{
    if (muted)
        return;
    muted = true;
    emit_line(line);
    muted = false;
}

void bridge_start(void)
{
    atomic_store_explicit(&logger, otel_logger("libcommon.log", BODEGA_VERSION, NULL), memory_order_release);
    log_sink_set(take_line);
}

void bridge_stop(void)
{
    log_sink_set(NULL);
}

void bridge_mute(void)
{
    muted = true;
}
