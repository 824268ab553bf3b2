/* Writing: a tree for jansson to dump, in the order of the table, and one copy into the arena. */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

static json_t *write_object(const struct json_shape *shape, const void *value);

/* Text in our own structs is UTF-8: whatever came from outside has been checked. */
static json_t *write_text(const char *text, bool empty_is_null)
{
    json_t *written = text && (*text || !empty_is_null) ? json_string(text) : json_null();
    return written ? written : json_string("\xef\xbf\xbd");
}

static json_t *write_uuid(struct uuid id)
{
    char text[UUID_TEXT_BYTES];
    return json_string_nocheck(uuid_format(id, text));
}

static json_t *write_repeated(const struct json_repeated *repeated, const struct json_shape *shape)
{
    json_t *written = json_array();
    for (size_t i = 0; i < repeated->count; i++)
        json_array_append_new(written, write_object(shape, repeated->items[i]));
    return written;
}

static json_t *write_value(const struct json_field *field, const void *value)
{
    switch (field->type) {
    case JSON_FIELD_TEXT:
    case JSON_FIELD_UUID_TEXT:
        return write_text(*(const char *const *)value, field->empty_is_null);
    case JSON_FIELD_INT:
        return json_integer(*(const int64_t *)value);
    case JSON_FIELD_INT32:
        return json_integer(*(const int32_t *)value);
    case JSON_FIELD_UUID:
        return write_uuid(*(const struct uuid *)value);
    case JSON_FIELD_BOOL:
        return json_boolean(*(const bool *)value);
    case JSON_FIELD_REPEATED:
        return write_repeated(value, field->shape);
    }
    assert(false && "not a field type");
    return NULL;
}

static bool left_out(const struct json_field *field, const void *value)
{
    return field->type == JSON_FIELD_TEXT && field->optional && !*(const char *const *)value;
}

static json_t *write_object(const struct json_shape *shape, const void *value)
{
    json_t *object = json_object();
    for (size_t i = 0; i < shape->count; i++) {
        const struct json_field *field = &shape->fields[i];
        const char *member = (const char *)value + field->offset;
        if (!left_out(field, member))
            json_object_set_new_nocheck(object, field->name, write_value(field, member));
    }
    return object;
}

struct bytes json_print(struct request *req, const struct json_shape *shape, const void *value)
{
    json_t *object = write_object(shape, value);
    scoped_free char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(object);
    assert(text);
    size_t size = strlen(text);
    return (struct bytes){arena_text(req->arena, text, size), size};
}

enum err json_write(struct request *req, struct response *res, int status, const struct json_shape *shape,
                    const void *value)
{
    res->status = status;
    res->content_type = "application/json";
    res->body = json_print(req, shape, value);
    return ERR_OK;
}
