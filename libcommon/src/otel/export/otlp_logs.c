#include "otel/export/otlp.h"
#include "otel/sdk/copy.h"

static void put_head(struct wire *wire, const struct log_record *log)
{
    wire_number64(wire, 11, (uint64_t)log->observed_wall_ns);
    if (!otlp_is_zero(log->span_id, sizeof log->span_id))
        wire_bytes(wire, 10, log->span_id, sizeof log->span_id);
    if (!otlp_is_zero(log->trace_id, sizeof log->trace_id))
        wire_bytes(wire, 9, log->trace_id, sizeof log->trace_id);
    if (log->flags)
        wire_fixed32(wire, 8, log->flags);
    wire_count(wire, 7, log->attributes_dropped);
}

void otlp_put_log(struct wire *wire, unsigned field, const struct log_record *log)
{
    size_t mark = wire_mark(wire);
    wire_text(wire, 12, log->event_name);
    put_head(wire, log);
    otlp_put_attributes(wire, 6, log->attributes, log->attribute_count);
    if (log->body.type != OTEL_EMPTY)
        otlp_put_value(wire, 5, &log->body);
    wire_text(wire, 3, log->severity_text);
    wire_count(wire, 2, log->severity);
    wire_number64(wire, 1, (uint64_t)log->time_wall_ns);
    wire_close(wire, field, mark);
}

/* --- straight from its maker's memory */

static bool put_ascii(struct wire *wire, unsigned field, const char *text, size_t bytes)
{
    wire_need(wire, bytes + WIRE_SCALAR_MAX);
    wire->next -= bytes;
    if (!ascii_copy(wire->next, text, bytes))
        return false;
    wire_raw_varint(wire, bytes);
    wire_tag(wire, field, WIRE_BYTES);
    return true;
}

static bool put_ascii_text(struct wire *wire, unsigned field, const char *text)
{
    return !text || !*text || put_ascii(wire, field, text, strlen(text));
}

static bool put_plain_value(struct wire *wire, unsigned field, const struct otel_value *value)
{
    size_t mark = wire_mark(wire);
    if (value->type >= OTEL_BYTES)
        return false;
    if (value->type != OTEL_TEXT) {
        otlp_put_value(wire, field, value);
        return true;
    }
    bool plain = put_ascii(wire, 1, value->text, value->count);
    wire_close(wire, field, mark);
    return plain;
}

static bool among(const struct otel_attribute *attributes, unsigned count, const char *key)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(attributes[i].key, key) == 0)
            return true;
    return false;
}

/* The others are those behind it, which are written already. */
static bool put_plain_attribute(struct wire *wire, const struct otel_attribute *attribute, unsigned others, int longest,
                                uint64_t *seen)
{
    size_t mark = wire_mark(wire), key_bytes = attribute->key ? strlen(attribute->key) : 0;
    bool too_long = longest >= 0 && attribute->value.type == OTEL_TEXT && attribute->value.count > (unsigned)longest;
    if (key_bytes == 0 || too_long)
        return false;
    uint64_t bit = key_bit(key_begins(attribute->key, key_bytes), key_bytes);
    if ((*seen & bit) && among(attribute + 1, others, attribute->key))
        return false;
    *seen |= bit;
    if (!put_plain_value(wire, 2, &attribute->value) || !put_ascii(wire, 1, attribute->key, key_bytes))
        return false;
    wire_close(wire, 6, mark);
    return true;
}

static bool put_plain_attributes(struct wire *wire, const struct log_record *log, const struct limit_settings *limits)
{
    uint64_t seen = 0;
    if (log->attribute_count > limits->attribute_count)
        return false;
    for (unsigned i = log->attribute_count; i-- > 0;)
        if (!put_plain_attribute(wire, &log->attributes[i], log->attribute_count - 1 - i,
                                 limits->attribute_value_length, &seen))
            return false;
    return true;
}

bool otlp_put_plain_log(struct wire *wire, unsigned field, const struct log_record *log,
                        const struct limit_settings *limits)
{
    size_t mark = wire_mark(wire);
    if (!put_ascii_text(wire, 12, log->event_name))
        return false;
    put_head(wire, log);
    if (!put_plain_attributes(wire, log, limits))
        return false;
    if (log->body.type != OTEL_EMPTY && !put_plain_value(wire, 5, &log->body))
        return false;
    if (!put_ascii_text(wire, 3, log->severity_text))
        return false;
    wire_count(wire, 2, log->severity);
    wire_number64(wire, 1, (uint64_t)log->time_wall_ns);
    wire_close(wire, field, mark);
    return true;
}
