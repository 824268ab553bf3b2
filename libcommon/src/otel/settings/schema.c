#include "otel/settings/schema.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"

enum err schema_expected(const struct reading *reading, const struct node *node, const char *what)
{
    return node_wrong(reading, node, "expected %s, got %s", what, node_shown(reading, node));
}

/* --- scalars */

static bool is_text(const struct node *node)
{
    return node->kind == NODE_SCALAR && node_scalar(node).type == SCALAR_TEXT;
}

static enum err expected_text(const struct reading *reading, const struct node *node, const char *what)
{
    bool other = node->kind == NODE_SCALAR && !is_text(node) && !node_is_null(node);
    return node_wrong(reading, node, "expected %s, got %s%s", what, node_shown(reading, node),
                      other ? "; quote it" : "");
}

enum err schema_text(const struct reading *reading, const struct node *node, const char **out)
{
    if (!is_text(node))
        return expected_text(reading, node, "a text");
    *out = arena_text(reading->arena, node->text, node->length);
    return ERR_OK;
}

static enum err read_name(const struct reading *reading, const struct node *node, const char **out)
{
    if (!is_text(node) || node->length == 0)
        return expected_text(reading, node, "a text that is not empty");
    return schema_text(reading, node, out);
}

static enum err read_path(const struct reading *reading, const struct node *node, const char **out)
{
    if (!is_text(node) || node->text[0] != '/')
        return schema_expected(reading, node, "an absolute path");
    return schema_text(reading, node, out);
}

/* 5.0 is an integer too, as JSON Schema has it. */
static bool integer_of(const struct node *node, int64_t min, int64_t max, int64_t *out)
{
    struct scalar scalar = node->kind == NODE_SCALAR ? node_scalar(node) : (struct scalar){.type = SCALAR_TEXT};
    if (scalar.type != SCALAR_INT && scalar.type != SCALAR_REAL)
        return false;
    if (!(scalar.real >= (double)min && scalar.real <= (double)max) || scalar.real != trunc(scalar.real))
        return false;
    *out = scalar.type == SCALAR_INT ? scalar.integer : (int64_t)scalar.real;
    return true;
}

static enum err read_integer(const struct reading *reading, const struct node *node, const struct field *field,
                             int64_t *out)
{
    if (integer_of(node, field->min, field->max, out))
        return ERR_OK;
    return schema_expected(
        reading, node,
        arena_print(reading->scratch, "an integer from %lld to %lld", (long long)field->min, (long long)field->max));
}

static enum err read_int(const struct reading *reading, const struct node *node, const struct field *field, int *out)
{
    int64_t integer;
    enum err err = read_integer(reading, node, field, &integer);
    if (!err)
        *out = (int)integer;
    return err;
}

static enum err read_count(const struct reading *reading, const struct node *node, const struct field *field,
                           unsigned *out)
{
    int64_t integer;
    enum err err = read_integer(reading, node, field, &integer);
    if (!err)
        *out = (unsigned)integer;
    return err;
}

static enum err read_ratio(const struct reading *reading, const struct node *node, double *out)
{
    struct scalar scalar = node_scalar(node);
    bool number = scalar.type == SCALAR_INT || scalar.type == SCALAR_REAL;
    if (!number || !(scalar.real >= 0 && scalar.real <= 1))
        return schema_expected(reading, node, "a number from 0 to 1");
    *out = scalar.real;
    return ERR_OK;
}

static enum err read_bool(const struct reading *reading, const struct node *node, bool contrary, bool *out)
{
    struct scalar scalar = node_scalar(node);
    if (scalar.type != SCALAR_BOOL)
        return schema_expected(reading, node, "true or false");
    *out = scalar.boolean != contrary;
    return ERR_OK;
}

static const char *join_choices(const struct reading *reading, const char *const *choices)
{
    const char *joined = "one of ";
    for (unsigned i = 0; choices[i]; i++)
        joined = arena_print(reading->scratch, "%s%s%s", joined, i ? ", " : "", choices[i]);
    return joined;
}

static enum err read_choice(const struct reading *reading, const struct node *node, const char *const *choices,
                            void *out)
{
    for (int i = 0; is_text(node) && choices[i]; i++)
        if (strcmp(node->text, choices[i]) == 0) {
            memcpy(out, &i, sizeof i);
            return ERR_OK;
        }
    return schema_expected(reading, node, join_choices(reading, choices));
}

/* --- mappings */

static enum err refused(const struct reading *reading, const struct node *node)
{
    return node_wrong_key(reading, node, "%s is not supported by this SDK", node->key);
}

static bool takes_null(enum field_type type)
{
    return type != FIELD_NAME && type != FIELD_KEEP && type != FIELD_NODE && type != FIELD_REFUSED;
}

enum err schema_field(const struct reading *reading, const struct node *node, const struct field *field, void *out)
{
    if (takes_null(field->type) && node_is_null(node))
        return ERR_OK;
    switch (field->type) {
    case FIELD_INT:
        return read_int(reading, node, field, out);
    case FIELD_COUNT:
        return read_count(reading, node, field, out);
    case FIELD_RATIO:
        return read_ratio(reading, node, out);
    case FIELD_BOOL:
    case FIELD_NOT:
        return read_bool(reading, node, field->type == FIELD_NOT, out);
    case FIELD_TEXT:
        return schema_text(reading, node, out);
    case FIELD_NAME:
        return read_name(reading, node, out);
    case FIELD_PATH:
        return read_path(reading, node, out);
    case FIELD_CHOICE:
        return read_choice(reading, node, field->choices, out);
    case FIELD_KEEP:
        *(const struct node **)out = node;
        return ERR_OK;
    case FIELD_NODE:
    case FIELD_NULLABLE:
        return field->read(reading, node, out);
    case FIELD_REFUSED:
    case FIELD_NULL:
        break;
    }
    return refused(reading, node);
}

static const char *join_keys(const struct reading *reading, const struct field *fields, size_t count)
{
    const char *joined = count == 1 ? "" : "one of ";
    for (size_t i = 0; i < count; i++)
        joined = arena_print(reading->scratch, "%s%s%s", joined, i ? ", " : "", fields[i].key);
    return count ? joined : "none";
}

static const struct field *find_field(const struct field *fields, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].key, key) == 0)
            return &fields[i];
    return NULL;
}

static const char *shown_key(const struct reading *reading, const struct node *member)
{
    const struct node text = {.text = member->key, .length = strlen(member->key)};
    return member->parent->secret ? "something else" : node_shown(reading, &text);
}

enum err schema_open_map(const struct reading *reading, const struct node *node, const struct field *fields,
                         size_t count, void *out)
{
    if (node->kind != NODE_MAP)
        return schema_expected(reading, node, "a mapping");
    enum err err = ERR_OK;
    for (size_t i = 0; i < count && !err; i++) {
        const struct node *member = node_find(node, fields[i].key);
        if (member)
            err = schema_field(reading, member, &fields[i], (char *)out + fields[i].offset);
        else if (fields[i].required)
            err = node_wrong(reading, node, "%s must be set", fields[i].key);
    }
    return err;
}

enum err schema_map(const struct reading *reading, const struct node *node, const struct field *fields, size_t count,
                    void *out)
{
    for (const struct node *member = node->kind == NODE_MAP ? node->first : NULL; member; member = member->next)
        if (!find_field(fields, count, member->key))
            return node_wrong_key(reading, member, "unknown key, expected %s, got %s",
                                  join_keys(reading, fields, count), shown_key(reading, member));
    return schema_open_map(reading, node, fields, count, out);
}

/* --- variants */

static const struct variant *find_variant(const struct variant *variants, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(variants[i].key, key) == 0)
            return &variants[i];
    return NULL;
}

static const char *join_variants(const struct reading *reading, const struct variant *variants, size_t count)
{
    const char *joined = "";
    unsigned supported = 0;
    for (size_t i = 0; i < count; i++)
        if (!variants[i].refused)
            joined = arena_print(reading->scratch, "%s%s%s", joined, supported++ ? ", " : "", variants[i].key);
    return arena_print(reading->scratch, "%s%s", supported > 1 ? "one of " : "", joined);
}

static enum err read_variant(const struct reading *reading, const struct node *member, const struct variant *variant,
                             void *out)
{
    if (!variant->not_null && node_is_null(member))
        return ERR_OK;
    return schema_map(reading, member, variant->fields, variant->field_count, out);
}

enum err schema_variant(const struct reading *reading, const struct node *node, const struct variant *variants,
                        size_t count, void *out, int *kind)
{
    const char *keys = join_variants(reading, variants, count);
    if (node->kind != NODE_MAP)
        return schema_expected(reading, node, arena_print(reading->scratch, "a mapping with %s", keys));
    if (node->count != 1)
        return node_wrong(reading, node, "expected exactly one key, %s; got %u keys", keys, node->count);
    const struct variant *variant = find_variant(variants, count, node->first->key);
    if (!variant)
        return node_wrong_key(reading, node->first, "expected %s, got %s", keys, shown_key(reading, node->first));
    if (variant->refused)
        return node_wrong_key(reading, node->first, "%s is not supported by this SDK, expected %s", variant->key, keys);
    *kind = variant->kind;
    return read_variant(reading, node->first, variant, out);
}

/* --- lists */

static enum err expect_list(const struct reading *reading, const struct node *node, unsigned count_min)
{
    if (node->kind != NODE_LIST)
        return schema_expected(reading, node, "a list");
    return node->count < count_min
               ? node_wrong(reading, node, "expected a list with %u item or more, got an empty one", count_min)
               : ERR_OK;
}

enum err schema_list(const struct reading *reading, const struct node *node, unsigned count_min, size_t item_bytes,
                     field_reader *read, const void **out_items, unsigned *out_count)
{
    enum err err = expect_list(reading, node, count_min);
    if (err)
        return err;
    char *items = arena_alloc(reading->arena, item_bytes * node->count);
    for (const struct node *item = node->first; item; item = item->next)
        if ((err = read(reading, item, items + item_bytes * item->index)))
            return err;
    *out_items = items;
    *out_count = node->count;
    return ERR_OK;
}

static enum err read_texts(const struct reading *reading, const struct node *node, void *out)
{
    enum err err = expect_list(reading, node, 1);
    if (err)
        return err;
    const char **texts = arena_array(reading->arena, const char *, node->count + 1);
    for (const struct node *item = node->first; item; item = item->next)
        if ((err = schema_text(reading, item, &texts[item->index])))
            return err;
    *(const char ***)out = texts;
    return ERR_OK;
}

enum err schema_patterns(const struct reading *reading, const struct node *node, void *out)
{
    static const struct field fields[] = {
        {"included", FIELD_NODE, offsetof(struct patterns, included), .read = read_texts},
        {"excluded", FIELD_NODE, offsetof(struct patterns, excluded), .read = read_texts},
    };
    return schema_map(reading, node, TABLE(fields), out);
}
