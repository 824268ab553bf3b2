/* Reading: jansson parses, a table of fields decides. jansson recurses, so nesting is checked before it
 * sees the text. Messages name members and expectations, never what was sent. */
#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "base/nesting.h"
#include "common/json.h"

enum { DEPTH_MAX = 32, REASON_BYTES_MAX = 80 };

struct reading {
    struct request *req;
    const char *what;
};

static void json_free(json_t **value)
{
    json_decref(*value);
}

#define scoped_json __attribute__((cleanup(json_free)))

/* --- values */

static enum err read_text(const struct reading *reading, const struct json_field *field, const json_t *value, void *out)
{
    const char *text = json_string_value(value);
    if (!text)
        return fail(reading->req, ERR_INVALID_ARGUMENT, "%s: expected a string", field->name);
    int64_t characters = 0;
    for (const char *at = text; *at; at++)
        characters += (*at & 0xc0) != 0x80; /* jansson has checked the UTF-8 */
    if (field->max > 0 && (characters < field->min || characters > field->max))
        return fail(reading->req, ERR_INVALID_ARGUMENT,
                    "%s: expected a string of %" PRId64 " to %" PRId64 " characters", field->name, field->min,
                    field->max);
    *(const char **)out = arena_text(reading->req->arena, text, json_string_length(value));
    return ERR_OK;
}

/* A 32-bit field has bounds of its own that fit. */
static enum err read_int(const struct reading *reading, const struct json_field *field, const json_t *value, void *out)
{
    assert(field->type == JSON_FIELD_INT || (field->max > 0 && field->max <= INT32_MAX && field->min >= INT32_MIN));
    bool bounded = field->max > 0 || field->min < 0;
    int64_t number = json_integer_value(value);
    if (json_is_integer(value) && (!bounded || (number >= field->min && number <= field->max))) {
        if (field->type == JSON_FIELD_INT32)
            *(int32_t *)out = (int32_t)number;
        else
            *(int64_t *)out = number;
        return ERR_OK;
    }
    if (!bounded)
        return fail(reading->req, ERR_INVALID_ARGUMENT, "%s: expected an integer", field->name);
    return fail(reading->req, ERR_INVALID_ARGUMENT, "%s: expected an integer from %" PRId64 " to %" PRId64, field->name,
                field->min, field->max);
}

static enum err read_uuid(const struct reading *reading, const struct json_field *field, const json_t *value, void *out)
{
    struct uuid id;
    if (!uuid_parse(json_string_value(value), &id))
        return fail(reading->req, ERR_INVALID_ARGUMENT, "%s: expected a UUID", field->name);
    if (field->type == JSON_FIELD_UUID_TEXT)
        *(char **)out = uuid_format(id, arena_alloc(reading->req->arena, UUID_TEXT_BYTES));
    else
        *(struct uuid *)out = id;
    return ERR_OK;
}

static enum err read_bool(const struct reading *reading, const struct json_field *field, const json_t *value, void *out)
{
    if (!json_is_boolean(value))
        return fail(reading->req, ERR_INVALID_ARGUMENT, "%s: expected true or false", field->name);
    *(bool *)out = json_is_true(value);
    return ERR_OK;
}

static enum err read_value(const struct reading *reading, const struct json_field *field, const json_t *value,
                           void *out)
{
    switch (field->type) {
    case JSON_FIELD_TEXT:
        return read_text(reading, field, value, out);
    case JSON_FIELD_INT:
    case JSON_FIELD_INT32:
        return read_int(reading, field, value, out);
    case JSON_FIELD_UUID:
    case JSON_FIELD_UUID_TEXT:
        return read_uuid(reading, field, value, out);
    case JSON_FIELD_BOOL:
        return read_bool(reading, field, value, out);
    case JSON_FIELD_REPEATED:
        break;
    }
    assert(false && "arrays are for writing");
    return ERR_INTERNAL;
}

static enum err read_field(const struct reading *reading, const struct json_field *field, const json_t *object,
                           char *out)
{
    const json_t *value = json_object_get(object, field->name);
    if (field->optional && (!value || json_is_null(value)))
        return ERR_OK;
    if (!value)
        return fail(reading->req, ERR_INVALID_ARGUMENT, "%s: missing", field->name);
    return read_value(reading, field, value, out + field->offset);
}

/* --- the text */

/* jansson ends some of its reasons with the text it stopped at: `'}' expected near '...'`. */
static enum err not_json(const struct reading *reading, const json_error_t *error)
{
    const char *near = strstr(error->text, " near ");
    size_t length = near ? (size_t)(near - error->text) : strlen(error->text);
    if (length > REASON_BYTES_MAX)
        length = REASON_BYTES_MAX;
    return fail(reading->req, ERR_INVALID_ARGUMENT, "%s: not JSON (line %d column %d: %.*s)", reading->what,
                error->line, error->column, (int)length, error->text);
}

static enum err load(const struct reading *reading, struct bytes text, json_t **out)
{
    if (text.size == 0)
        return fail(reading->req, ERR_INVALID_ARGUMENT, "%s: missing", reading->what);
    if (nesting_beyond(text.data, text.size, DEPTH_MAX))
        return fail(reading->req, ERR_INVALID_ARGUMENT, "%s: nested deeper than %d", reading->what, DEPTH_MAX);
    json_error_t error;
    json_t *value = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    if (!value)
        return not_json(reading, &error);
    if (json_is_object(value)) {
        *out = value;
        return ERR_OK;
    }
    json_decref(value);
    return fail(reading->req, ERR_INVALID_ARGUMENT, "%s: expected an object", reading->what);
}

enum err json_parse(struct request *req, const char *what, struct bytes text, const struct json_shape *shape, void *out)
{
    struct reading reading = {.req = req, .what = what};
    scoped_json json_t *object = NULL;
    enum err err = load(&reading, text, &object);
    char *value = arena_copy(req->arena, out, shape->bytes);
    for (size_t i = 0; i < shape->count && !err; i++)
        err = read_field(&reading, &shape->fields[i], object, value);
    if (!err)
        memcpy(out, value, shape->bytes);
    return err;
}

enum err json_read(struct request *req, const struct json_shape *shape, void *out)
{
    return json_parse(req, "body", req->body, shape, out);
}
