/* JSON by shapes: a table says how a struct looks as JSON, in both directions.
 *
 * Strings that are read live in the request's arena. Unknown members are ignored, a duplicate
 * key, a wrong type, a missing member or a value out of range is ERR_INVALID_ARGUMENT that names
 * the member and what was expected. Nesting is limited to 32. Source: RFC 8259; jansson parses. */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/request.h"
#include "common/uuid.h"

enum json_type {
    JSON_FIELD_TEXT,      /* const char *; NULL when optional and missing. Characters min..max when max > 0 */
    JSON_FIELD_INT,       /* int64_t, min..max when max > 0 or min < 0: a JSON integer, never 1.0 */
    JSON_FIELD_INT32,     /* int32_t, the same */
    JSON_FIELD_UUID,      /* struct uuid */
    JSON_FIELD_UUID_TEXT, /* const char *, a UUID in lower case */
    JSON_FIELD_BOOL,      /* bool */
    JSON_FIELD_REPEATED,  /* struct json_repeated of structs of `shape`; writing only */
};

/* As protobuf-c lays out a repeated field: n_things, then things. */
struct json_repeated {
    size_t count;
    void *const *items;
};

struct json_shape;

struct json_field {
    const char *name;
    size_t offset;
    enum json_type type;
    bool empty_is_null; /* writing: an empty text is null, as protobuf knows no missing text */
    bool optional; /* reading: may be missing or null. Writing a NULL text: left out when optional, null otherwise */
    int64_t min, max;
    const struct json_shape *shape;
};

struct json_shape {
    const struct json_field *fields;
    size_t count;
    size_t bytes; /* of the struct */
};

#define JSON_SHAPE(type, table)                                                                                        \
    {                                                                                                                  \
        .fields = (table), .count = sizeof(table) / sizeof((table)[0]), .bytes = sizeof(type)                          \
    }

/* Reads the request's body into out. Only members that are there are set: a protobuf-c message stays one,
 * and what is optional keeps its initial value. */
enum err json_read(struct request *req, const struct json_shape *shape, void *out);
/* The same for any text; what names the text in error messages ("body", "event"). */
enum err json_parse(struct request *req, const char *what, struct bytes text, const struct json_shape *shape,
                    void *out);
/* The text of a value, in the request's arena, NUL-terminated. */
struct bytes json_print(struct request *req, const struct json_shape *shape, const void *value);
/* Answers with a value: always ERR_OK, so that a handler can return it. */
enum err json_write(struct request *req, struct response *res, int status, const struct json_shape *shape,
                    const void *value);

#endif
