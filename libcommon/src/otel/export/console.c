#include "common/clock.h"
#include "otel/export/otlp.h"
#include "otel/export/print.h"
#include "otel/export/writer.h"

/* --- parts of a line */

static void put_real(struct buffer *out, double value)
{
    const char *special = print_not_finite(value);
    if (special)
        buffer_text(out, special);
    else
        print_real(out, value);
}

static void put_value(struct buffer *out, const struct otel_value *value, unsigned depth);

static void put_list(struct buffer *out, const struct otel_value *list, unsigned depth)
{
    buffer_char(out, '[');
    for (uint32_t i = 0; depth < OTEL_DEPTH_MAX && i < list->count; i++) {
        struct otel_value value = otlp_element(list, i);
        if (i > 0)
            buffer_char(out, ' ');
        put_value(out, &value, depth + 1);
    }
    buffer_char(out, ']');
}

/* A key that would not stand alone is quoted. */
static void put_key(struct buffer *out, const char *key)
{
    size_t plain = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@#$");
    if (*key && key[plain] == '\0')
        buffer_text(out, key);
    else
        print_quoted(out, key, strlen(key));
}

static void put_map(struct buffer *out, const struct otel_attribute *attributes, unsigned count, unsigned depth)
{
    buffer_char(out, '{');
    for (unsigned i = 0; depth < OTEL_DEPTH_MAX && i < count; i++) {
        if (i > 0)
            buffer_char(out, ' ');
        put_key(out, attributes[i].key);
        buffer_char(out, '=');
        put_value(out, &attributes[i].value, depth + 1);
    }
    buffer_char(out, '}');
}

static void put_value(struct buffer *out, const struct otel_value *value, unsigned depth)
{
    switch (value->type) {
    case OTEL_EMPTY:
        buffer_text(out, "null");
        break;
    case OTEL_TEXT:
        print_quoted(out, value->text, value->count);
        break;
    case OTEL_BOOL:
        buffer_text(out, value->boolean ? "true" : "false");
        break;
    case OTEL_INT:
        print_int(out, value->integer);
        break;
    case OTEL_REAL:
        put_real(out, value->real);
        break;
    case OTEL_BYTES:
        buffer_text(out, "0x");
        print_hex(out, value->bytes, value->count);
        break;
    case OTEL_MAP:
        put_map(out, value->map, value->count, depth);
        break;
    default:
        put_list(out, value, depth);
    }
}

static void put_attributes(struct buffer *out, const struct otel_attribute *attributes, unsigned count)
{
    if (count == 0)
        return;
    buffer_char(out, ' ');
    put_map(out, attributes, count, 0);
}

static void put_time(struct buffer *out, int64_t wall_ns)
{
    char text[CLOCK_TEXT_BYTES];
    buffer_char(out, ' ');
    buffer_text(out, clock_format(wall_ns, text));
}

static void put_quoted(struct buffer *out, const char *text)
{
    buffer_char(out, ' ');
    print_quoted(out, text ? text : "", text ? strlen(text) : 0);
}

static void put_id(struct buffer *out, const char *name, const uint8_t *id, unsigned bytes)
{
    if (otlp_is_zero(id, bytes))
        return;
    buffer_print(out, " %s=", name);
    print_hex(out, id, bytes);
}

static void put_scope(struct buffer *out, const struct sdk_scope *scope)
{
    if (!*scope->name)
        return;
    buffer_text(out, " scope=");
    put_key(out, scope->name);
}

/* --- spans */

static const char *kind_name(enum otel_span_kind kind)
{
    static const char *const names[] = {"unspecified", "internal", "server", "client", "producer", "consumer"};
    return (unsigned)kind < sizeof names / sizeof names[0] ? names[kind] : names[0];
}

static void put_status(struct buffer *out, const struct span_record *span)
{
    if (span->status == OTEL_STATUS_UNSET)
        return;
    buffer_text(out, span->status == OTEL_STATUS_OK ? " status=ok" : " status=error");
    if (span->status_message && *span->status_message)
        put_quoted(out, span->status_message);
}

static void put_event(struct buffer *out, const struct event_record *event)
{
    buffer_text(out, "  event");
    put_time(out, event->wall_ns);
    put_quoted(out, event->name);
    put_attributes(out, event->attributes, event->attribute_count);
    buffer_char(out, '\n');
}

static void put_link(struct buffer *out, const struct link_record *link)
{
    buffer_text(out, "  link");
    put_id(out, "trace_id", link->trace_id, sizeof link->trace_id);
    put_id(out, "span_id", link->span_id, sizeof link->span_id);
    put_attributes(out, link->attributes, link->attribute_count);
    buffer_char(out, '\n');
}

static void put_span(struct buffer *out, const struct span_record *span)
{
    buffer_text(out, "span");
    put_time(out, span->start_wall_ns);
    buffer_char(out, ' ');
    print_real(out, (double)(span->end_wall_ns - span->start_wall_ns) / (double)NS_PER_MS);
    buffer_print(out, "ms %s", kind_name(span->kind));
    put_quoted(out, span->name);
    put_id(out, "trace_id", span->trace_id, sizeof span->trace_id);
    put_id(out, "span_id", span->span_id, sizeof span->span_id);
    put_id(out, "parent_span_id", span->parent_span_id, sizeof span->parent_span_id);
    put_status(out, span);
    put_scope(out, span->scope);
    put_attributes(out, span->attributes, span->attribute_count);
    buffer_char(out, '\n');
    for (unsigned i = 0; i < span->event_count; i++)
        put_event(out, &span->events[i]);
    for (unsigned i = 0; i < span->link_count; i++)
        put_link(out, &span->links[i]);
}

/* --- logs */

static void put_severity(struct buffer *out, const struct log_record *log)
{
    static const char *const names[] = {"trace", "debug", "info", "warn", "error", "fatal"};
    int step = ((int)log->severity - 1) % 4;
    if ((int)log->severity < 1 || (int)log->severity > 24)
        buffer_text(out, " unspecified");
    else if (step == 0)
        buffer_print(out, " %s", names[(log->severity - 1) / 4]);
    else
        buffer_print(out, " %s%d", names[(log->severity - 1) / 4], step + 1);
}

static void put_log(struct buffer *out, const struct log_record *log)
{
    buffer_text(out, "log");
    put_time(out, log->time_wall_ns ? log->time_wall_ns : log->observed_wall_ns);
    put_severity(out, log);
    if (log->body.type != OTEL_EMPTY) {
        buffer_char(out, ' ');
        put_value(out, &log->body, 0);
    }
    if (log->event_name && *log->event_name) {
        buffer_text(out, " event_name=");
        put_key(out, log->event_name);
    }
    put_id(out, "trace_id", log->trace_id, sizeof log->trace_id);
    put_id(out, "span_id", log->span_id, sizeof log->span_id);
    put_scope(out, log->scope);
    put_attributes(out, log->attributes, log->attribute_count);
    buffer_char(out, '\n');
}

/* --- metrics */

static void put_named_real(struct buffer *out, const char *name, double value)
{
    buffer_print(out, " %s=", name);
    put_real(out, value);
}

static void put_counts(struct buffer *out, const char *name, int offset, const uint64_t *counts, unsigned count)
{
    if (count == 0)
        return;
    buffer_print(out, " %s=%d[", name, offset);
    for (unsigned i = 0; i < count; i++)
        buffer_print(out, "%s%llu", i ? " " : "", (unsigned long long)counts[i]);
    buffer_char(out, ']');
}

static void put_buckets(struct buffer *out, const struct metric *metric, const struct metric_point *point)
{
    if (!point->buckets || point->bucket_count == 0)
        return;
    buffer_text(out, " buckets=[");
    for (unsigned i = 0; i < point->bucket_count; i++) {
        buffer_text(out, i ? " \xe2\x89\xa4" : "\xe2\x89\xa4");
        if (i < metric->bound_count)
            put_real(out, metric->bounds[i]);
        else
            buffer_text(out, "Infinity");
        buffer_print(out, ":%llu", (unsigned long long)point->buckets[i]);
    }
    buffer_char(out, ']');
}

static void put_histogram(struct buffer *out, const struct metric *metric, const struct metric_point *point)
{
    buffer_print(out, " count=%llu", (unsigned long long)point->count);
    if (point->has_sum)
        put_named_real(out, "sum", point->sum);
    if (point->has_min_max) {
        put_named_real(out, "min", point->min);
        put_named_real(out, "max", point->max);
    }
    if (metric->type == METRIC_HISTOGRAM) {
        put_buckets(out, metric, point);
        return;
    }
    buffer_print(out, " scale=%d zero=%llu", point->scale, (unsigned long long)point->zero_count);
    put_counts(out, "positive", point->positive_offset, point->positive, point->positive_count);
    put_counts(out, "negative", point->negative_offset, point->negative, point->negative_count);
}

static void put_point(struct buffer *out, const struct metric *metric, const struct metric_point *point)
{
    static const char *const types[] = {"gauge", "sum", "histogram", "exponential_histogram"};
    buffer_text(out, "metric");
    put_time(out, point->wall_ns);
    buffer_char(out, ' ');
    put_key(out, metric->name);
    buffer_print(out, " %s", types[metric->type]);
    if (metric->type == METRIC_HISTOGRAM || metric->type == METRIC_EXPONENTIAL) {
        put_histogram(out, metric, point);
    } else {
        buffer_char(out, ' ');
        if (metric->integer)
            print_int(out, point->integer);
        else
            put_real(out, point->real);
    }
    if (metric->unit && *metric->unit)
        buffer_print(out, " %s", metric->unit);
    put_scope(out, metric->scope);
    put_attributes(out, point->attributes, point->attribute_count);
    buffer_char(out, '\n');
}

void console_print(struct buffer *out, const struct export_batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++) {
        if (batch->signal == SIGNAL_TRACES)
            put_span(out, batch->spans[i]);
        else if (batch->signal == SIGNAL_LOGS)
            put_log(out, batch->logs[i]);
        else
            for (unsigned p = 0; p < batch->metrics[i].point_count; p++)
                put_point(out, &batch->metrics[i], &batch->metrics[i].points[p]);
    }
}
