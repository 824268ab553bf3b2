/* Encoded records read back: when settings change and those who wait in one exporter's queue leave by another. */
#include <endian.h>
#include <string.h>

#include "otel/export/fields.h"
#include "otel/sdk/exporter.h"

/* --- parts; the bytes are our own encoder's */

static uint64_t fixed_of(const struct field *field)
{
    uint64_t little = 0;
    memcpy(&little, field->data, field->bytes);
    return le64toh(little);
}

static const char *text_of(struct arena *arena, const struct field *field)
{
    return arena_text(arena, (const char *)field->data, field->bytes);
}

/* How many fields of that number a message has. */
static unsigned count_of(const struct field *message, unsigned number)
{
    struct fields in = fields_of(message);
    unsigned count = 0;
    for (struct field field; take_field(&in, &field);)
        count += field.number == number;
    return count;
}

static struct otel_value value_of(struct arena *arena, const struct field *message);

static struct otel_attribute attribute_of(struct arena *arena, const struct field *message)
{
    struct otel_attribute attribute = {.key = ""};
    struct fields in = fields_of(message);
    for (struct field field; take_field(&in, &field);) {
        if (field.number == 1)
            attribute.key = text_of(arena, &field);
        else if (field.number == 2)
            attribute.value = value_of(arena, &field);
    }
    return attribute;
}

static struct otel_attribute *attributes_of(struct arena *arena, const struct field *message, unsigned number,
                                            unsigned *out_count)
{
    unsigned count = count_of(message, number), filled = 0;
    struct otel_attribute *attributes = arena_array(arena, struct otel_attribute, count);
    struct fields in = fields_of(message);
    for (struct field field; take_field(&in, &field);)
        if (field.number == number)
            attributes[filled++] = attribute_of(arena, &field);
    *out_count = filled;
    return attributes;
}

static struct otel_value array_of(struct arena *arena, const struct field *message)
{
    struct otel_value *values = arena_array(arena, struct otel_value, count_of(message, 1));
    struct otel_value array = {.type = OTEL_VALUES, .values = values};
    struct fields in = fields_of(message);
    for (struct field field; take_field(&in, &field);)
        values[array.count++] = value_of(arena, &field);
    return array;
}

static struct otel_value map_of(struct arena *arena, const struct field *message)
{
    struct otel_value map = {.type = OTEL_MAP};
    map.map = attributes_of(arena, message, 1, &map.count);
    return map;
}

static double real_of(const struct field *field)
{
    uint64_t bits = fixed_of(field);
    double real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

static struct otel_value value_of(struct arena *arena, const struct field *message)
{
    struct fields in = fields_of(message);
    struct field field;
    if (!take_field(&in, &field))
        return (struct otel_value){.type = OTEL_EMPTY};
    switch (field.number) {
    case 1:
        return (struct otel_value){.type = OTEL_TEXT, .count = (uint32_t)field.bytes, .text = text_of(arena, &field)};
    case 2:
        return (struct otel_value){.type = OTEL_BOOL, .boolean = field.value != 0};
    case 3:
        return (struct otel_value){.type = OTEL_INT, .integer = (int64_t)field.value};
    case 4:
        return (struct otel_value){.type = OTEL_REAL, .real = real_of(&field)};
    case 5:
        return array_of(arena, &field);
    case 6:
        return map_of(arena, &field);
    default:
        return (struct otel_value){
            .type = OTEL_BYTES, .count = (uint32_t)field.bytes, .bytes = arena_copy(arena, field.data, field.bytes)};
    }
}

/* --- spans */

static struct event_record event_of(struct arena *arena, const struct field *message)
{
    struct event_record event = {.name = ""};
    struct fields in = fields_of(message);
    event.attributes = attributes_of(arena, message, 3, &event.attribute_count);
    for (struct field field; take_field(&in, &field);) {
        if (field.number == 1)
            event.wall_ns = (int64_t)fixed_of(&field);
        else if (field.number == 2)
            event.name = text_of(arena, &field);
        else if (field.number == 4)
            event.attributes_dropped = (unsigned)field.value;
    }
    return event;
}

static struct link_record link_of(struct arena *arena, const struct field *message)
{
    struct link_record link = {0};
    struct fields in = fields_of(message);
    link.attributes = attributes_of(arena, message, 4, &link.attribute_count);
    for (struct field field; take_field(&in, &field);) {
        if (field.number == 1)
            memcpy(link.trace_id, field.data, sizeof link.trace_id);
        else if (field.number == 2)
            memcpy(link.span_id, field.data, sizeof link.span_id);
        else if (field.number == 3)
            link.state = text_of(arena, &field);
        else if (field.number == 5)
            link.attributes_dropped = (unsigned)field.value;
        else if (field.number == 6)
            link.flags = (uint32_t)fixed_of(&field);
    }
    return link;
}

static void read_status(struct span_record *span, const struct field *message)
{
    struct fields in = fields_of(message);
    for (struct field field; take_field(&in, &field);) {
        if (field.number == 2)
            span->status_message = text_of(&span->arena, &field);
        else if (field.number == 3)
            span->status = (enum otel_status)field.value;
    }
}

static void read_span_field(struct span_record *span, const struct field *field)
{
    switch (field->number) {
    case 1:
        memcpy(span->trace_id, field->data, sizeof span->trace_id);
        break;
    case 2:
        memcpy(span->span_id, field->data, sizeof span->span_id);
        break;
    case 3:
        span->state = text_of(&span->arena, field);
        break;
    case 4:
        memcpy(span->parent_span_id, field->data, sizeof span->parent_span_id);
        break;
    case 5:
        span->name = text_of(&span->arena, field);
        break;
    case 6:
        span->kind = (enum otel_span_kind)field->value;
        break;
    case 7:
        span->start_wall_ns = (int64_t)fixed_of(field);
        break;
    case 8:
        span->end_wall_ns = (int64_t)fixed_of(field);
        break;
    case 10:
        span->attributes_dropped = (unsigned)field->value;
        break;
    case 11:
        span->events[span->event_count++] = event_of(&span->arena, field);
        break;
    case 12:
        span->events_dropped = (unsigned)field->value;
        break;
    case 13:
        span->links[span->link_count++] = link_of(&span->arena, field);
        break;
    case 14:
        span->links_dropped = (unsigned)field->value;
        break;
    case 15:
        read_status(span, field);
        break;
    case 16:
        span->flags = (uint32_t)fixed_of(field);
        break;
    }
}

/* The record is the one field of its bytes. */
static struct field message_of(const struct encoded_record *record)
{
    struct fields in = fields_in(record->bytes, record->size);
    struct field message;
    take_field(&in, &message);
    return message;
}

void encoded_read_span(const struct encoded_record *record, struct span_record *out)
{
    struct field message = message_of(record);
    struct fields in = fields_of(&message);
    out->scope = record->scope;
    out->name = "";
    out->kind = (enum otel_span_kind)0;
    out->start_wall_ns = out->end_wall_ns = 0;
    memset(out->trace_id, 0, sizeof out->trace_id);
    memset(out->span_id, 0, sizeof out->span_id);
    out->flags = 0;
    out->attributes = attributes_of(&out->arena, &message, 9, &out->attribute_count);
    out->attribute_capacity = out->attribute_count;
    out->events = arena_array(&out->arena, struct event_record, count_of(&message, 11));
    out->links = arena_array(&out->arena, struct link_record, count_of(&message, 13));
    for (struct field field; take_field(&in, &field);)
        read_span_field(out, &field);
}

/* --- log records */

static void read_log_field(struct log_record *log, const struct field *field)
{
    switch (field->number) {
    case 1:
        log->time_wall_ns = (int64_t)fixed_of(field);
        break;
    case 2:
        log->severity = (enum otel_severity)field->value;
        break;
    case 3:
        log->severity_text = text_of(&log->arena, field);
        break;
    case 5:
        log->body = value_of(&log->arena, field);
        break;
    case 7:
        log->attributes_dropped = (unsigned)field->value;
        break;
    case 8:
        log->flags = (uint32_t)fixed_of(field);
        break;
    case 9:
        memcpy(log->trace_id, field->data, sizeof log->trace_id);
        break;
    case 10:
        memcpy(log->span_id, field->data, sizeof log->span_id);
        break;
    case 11:
        log->observed_wall_ns = (int64_t)fixed_of(field);
        break;
    case 12:
        log->event_name = text_of(&log->arena, field);
        break;
    }
}

void encoded_read_log(const struct encoded_record *record, struct log_record *out)
{
    struct field message = message_of(record);
    struct fields in = fields_of(&message);
    out->scope = record->scope;
    out->attributes = attributes_of(&out->arena, &message, 6, &out->attribute_count);
    for (struct field field; take_field(&in, &field);)
        read_log_field(out, &field);
}
