/* Values as text: the specification's form for protocols without types (common/README, AnyValue). At the top level
 * texts, bytes and special numbers stand without quotes, and nothing is empty; inside it is JSON. */
#include <string.h>

#include "otel/export/print.h"
#include "otel/metrics/prometheus.h"

static void put_json(struct buffer *out, const struct otel_value *value);

static void put_json_real(struct buffer *out, double real)
{
    const char *special = print_not_finite(real);
    if (special)
        print_quoted(out, special, strlen(special));
    else
        print_real(out, real);
}

static struct otel_value element(const struct otel_value *array, uint32_t i)
{
    switch (array->type) {
    case OTEL_TEXTS:
        return otel_value_text(array->texts[i]);
    case OTEL_BOOLS:
        return (struct otel_value){.type = OTEL_BOOL, .boolean = array->booleans[i]};
    case OTEL_INTS:
        return (struct otel_value){.type = OTEL_INT, .integer = array->integers[i]};
    case OTEL_REALS:
        return (struct otel_value){.type = OTEL_REAL, .real = array->reals[i]};
    default:
        return array->values[i];
    }
}

static void put_json_array(struct buffer *out, const struct otel_value *array)
{
    buffer_char(out, '[');
    for (uint32_t i = 0; i < array->count; i++) {
        struct otel_value value = element(array, i);
        if (i > 0)
            buffer_char(out, ',');
        put_json(out, &value);
    }
    buffer_char(out, ']');
}

static void put_json_map(struct buffer *out, const struct otel_value *map)
{
    buffer_char(out, '{');
    for (uint32_t i = 0; i < map->count; i++) {
        const char *key = map->map[i].key ? map->map[i].key : "";
        if (i > 0)
            buffer_char(out, ',');
        print_quoted(out, key, strlen(key));
        buffer_char(out, ':');
        put_json(out, &map->map[i].value);
    }
    buffer_char(out, '}');
}

static void put_json_bytes(struct buffer *out, const struct otel_value *value)
{
    buffer_char(out, '"');
    print_base64(out, value->bytes, value->count);
    buffer_char(out, '"');
}

static void put_json(struct buffer *out, const struct otel_value *value)
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
        put_json_real(out, value->real);
        break;
    case OTEL_BYTES:
        put_json_bytes(out, value);
        break;
    case OTEL_MAP:
        put_json_map(out, value);
        break;
    default:
        put_json_array(out, value);
    }
}

const char *label_value(struct arena *arena, const struct otel_value *value)
{
    struct buffer text = {0};
    if (value->type == OTEL_TEXT)
        return arena_text(arena, value->text, value->count);
    if (value->type == OTEL_EMPTY)
        return "";
    if (value->type == OTEL_BYTES)
        print_base64(&text, value->bytes, value->count);
    else if (value->type == OTEL_REAL && print_not_finite(value->real))
        buffer_text(&text, print_not_finite(value->real));
    else
        put_json(&text, value);
    const char *copy = arena_text(arena, (const char *)text.data, text.size);
    buffer_free(&text);
    return copy;
}
