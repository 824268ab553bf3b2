/* Tables that say what the nodes of a configuration are, and the reading of trees by them.
 *
 * A mapping has fields, closed: other keys are refused. What is missing, and null where it is allowed, leaves the
 * output as it was, so outputs hold their defaults before. Fields are read in the table's order. Variants are mappings
 * with exactly one key that says which. Texts are copied into the settings' arena. */
#ifndef OTEL_SETTINGS_SCHEMA_H
#define OTEL_SETTINGS_SCHEMA_H

#include "otel/settings/node.h"

enum field_type {
    FIELD_INT,      /* int, min..max; null allowed, as below unless said */
    FIELD_COUNT,    /* unsigned, min..max */
    FIELD_RATIO,    /* double, 0..1 */
    FIELD_BOOL,     /* bool */
    FIELD_NOT,      /* bool, the contrary */
    FIELD_TEXT,     /* const char * */
    FIELD_NAME,     /* const char *, not empty, not null */
    FIELD_PATH,     /* const char *, absolute */
    FIELD_CHOICE,   /* int or an enum: index into choices */
    FIELD_KEEP,     /* const struct node *, null too */
    FIELD_NODE,     /* read by read(), which gets null too */
    FIELD_NULLABLE, /* the same, but not called for null */
    FIELD_REFUSED,  /* known to the specification, not supported here */
    FIELD_NULL,     /* the same, but null is fine */
};

typedef enum err field_reader(const struct reading *reading, const struct node *node, void *out);

struct field {
    const char *key;
    enum field_type type;
    size_t offset; /* in the output; what read() gets is there */
    int64_t min, max;
    bool required;
    const char *const *choices; /* NULL-terminated */
    field_reader *read;
};

struct variant {
    const char *key;
    int kind;
    bool refused;  /* as FIELD_REFUSED */
    bool not_null; /* it has a required key */
    const struct field *fields;
    size_t field_count;
};

#define TABLE(table) (table), array_count(table)
#define NO_FIELDS    NULL, 0

enum err schema_field(const struct reading *reading, const struct node *node, const struct field *field, void *out);
enum err schema_map(const struct reading *reading, const struct node *node, const struct field *fields, size_t count,
                    void *out);
/* Without refusing other keys. */
enum err schema_open_map(const struct reading *reading, const struct node *node, const struct field *fields,
                         size_t count, void *out);
/* Sets *kind (an int or an enum), reads the variant's fields into out. */
enum err schema_variant(const struct reading *reading, const struct node *node, const struct variant *variants,
                        size_t count, void *out, int *kind);
/* Reads each item into zeroed memory of item_bytes, in the settings' arena. */
enum err schema_list(const struct reading *reading, const struct node *node, unsigned count_min, size_t item_bytes,
                     field_reader *read, const void **out_items, unsigned *out_count);
/* A text that is not null, in the settings' arena. */
enum err schema_text(const struct reading *reading, const struct node *node, const char **out);
/* The schema's IncludeExclude: patterns with * and ?, into struct patterns. */
struct patterns {
    const char *const *included, *const *excluded; /* NULL-terminated; NULL: not said */
};
field_reader schema_patterns;
/* "expected X, got Y" at the node. */
enum err schema_expected(const struct reading *reading, const struct node *node, const char *what);

#endif
