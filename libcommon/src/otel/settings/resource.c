#include <string.h>

#include "common/mem.h"
#include "otel/settings/pairs.h"
#include "otel/settings/sections.h"

#define AT(member) offsetof(struct sdk_settings, member)

/* --- attributes */

struct attribute_draft {
    const char *name;
    const struct node *value;
    int type;
};

static const char *const type_names[] = {"string",     "bool",      "int",          "double", "string_array",
                                         "bool_array", "int_array", "double_array", NULL};
static const enum otel_type types[] = {OTEL_TEXT,  OTEL_BOOL,  OTEL_INT,  OTEL_REAL,
                                       OTEL_TEXTS, OTEL_BOOLS, OTEL_INTS, OTEL_REALS};

static const struct field attribute_fields[] = {
    {"name", FIELD_NAME, offsetof(struct attribute_draft, name), .required = true},
    {"value", FIELD_KEEP, offsetof(struct attribute_draft, value), .required = true},
    {"type", FIELD_CHOICE, offsetof(struct attribute_draft, type), .choices = type_names},
};

static enum err read_bool_value(const struct reading *reading, const struct node *node, bool *out)
{
    struct scalar scalar = node_scalar(node);
    if (scalar.type != SCALAR_BOOL)
        return schema_expected(reading, node, "true or false, as type says");
    *out = scalar.boolean;
    return ERR_OK;
}

static enum err read_int_value(const struct reading *reading, const struct node *node, int64_t *out)
{
    struct scalar scalar = node_scalar(node);
    if (scalar.type != SCALAR_INT)
        return schema_expected(reading, node, "an integer of 64 bits, as type says");
    *out = scalar.integer;
    return ERR_OK;
}

static enum err read_real_value(const struct reading *reading, const struct node *node, double *out)
{
    struct scalar scalar = node_scalar(node);
    if (scalar.type != SCALAR_INT && scalar.type != SCALAR_REAL)
        return schema_expected(reading, node, "a number, as type says");
    *out = scalar.real;
    return ERR_OK;
}

static enum err read_one(const struct reading *reading, const struct node *node, struct otel_value *out)
{
    const char *text;
    enum err err;
    switch (out->type) {
    case OTEL_BOOL:
        return read_bool_value(reading, node, &out->boolean);
    case OTEL_INT:
        return read_int_value(reading, node, &out->integer);
    case OTEL_REAL:
        return read_real_value(reading, node, &out->real);
    default:
        err = schema_text(reading, node, &text);
        if (!err)
            *out = otel_value_text(text);
        return err;
    }
}

static enum err read_bools(const struct reading *reading, const struct node *node, void *out)
{
    return read_bool_value(reading, node, out);
}

static enum err read_ints(const struct reading *reading, const struct node *node, void *out)
{
    return read_int_value(reading, node, out);
}

static enum err read_reals(const struct reading *reading, const struct node *node, void *out)
{
    return read_real_value(reading, node, out);
}

static enum err read_texts(const struct reading *reading, const struct node *node, void *out)
{
    return schema_text(reading, node, out);
}

static enum err read_array(const struct reading *reading, const struct node *node, struct otel_value *out)
{
    static const struct {
        enum otel_type type;
        size_t item_bytes;
        field_reader *read;
    } arrays[] = {
        {OTEL_TEXTS, sizeof(const char *), read_texts},
        {OTEL_BOOLS, sizeof(bool), read_bools},
        {OTEL_INTS, sizeof(int64_t), read_ints},
        {OTEL_REALS, sizeof(double), read_reals},
    };
    const void *items;
    unsigned i = 0;
    while (arrays[i].type != out->type)
        i++;
    enum err err = schema_list(reading, node, 1, arrays[i].item_bytes, arrays[i].read, &items, &out->count);
    if (!err)
        memcpy(&out->texts, &items, sizeof items); /* the pointers of the union lie over each other */
    return err;
}

static enum err read_attribute(const struct reading *reading, const struct node *node, void *out)
{
    struct attribute_draft draft = {0};
    struct otel_attribute *attribute = out;
    enum err err = schema_map(reading, node, TABLE(attribute_fields), &draft);
    if (err || node_is_null(draft.value))
        return err; /* without a key, so that it is left out below */
    attribute->value.type = types[draft.type];
    err = attribute->value.type < OTEL_TEXTS ? read_one(reading, draft.value, &attribute->value)
                                             : read_array(reading, draft.value, &attribute->value);
    attribute->key = draft.name;
    return err;
}

static enum err read_attributes(const struct reading *reading, const struct node *node, void *out)
{
    const void *items;
    unsigned count;
    enum err err = schema_list(reading, node, 1, sizeof(struct otel_attribute), read_attribute, &items, &count);
    if (err)
        return err;
    const struct otel_attribute *read = items;
    struct otel_attribute *attributes = arena_array(reading->scratch, struct otel_attribute, count);
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++)
        if (read[i].key)
            attributes[kept++] = read[i];
    attributes_append(out, attributes, kept);
    return ERR_OK;
}

static enum err read_attributes_list(const struct reading *reading, const struct node *node, void *out)
{
    const char *text;
    enum err err = schema_text(reading, node, &text);
    if (err || attributes_parse(reading->arena, out, text))
        return err;
    return schema_expected(reading, node, PAIRS_EXPECTED);
}

/* --- detection */

enum { DETECT_CONTAINER, DETECT_HOST, DETECT_PROCESS, DETECT_SERVICE };

static const struct variant detectors[] = {
    {"container", DETECT_CONTAINER},
    {"host", DETECT_HOST},
    {"process", DETECT_PROCESS},
    {"service", DETECT_SERVICE},
};

static enum err read_detectors(const struct reading *reading, const struct node *node, void *out)
{
    struct sdk_settings *settings = out;
    bool *const flags[] = {[DETECT_CONTAINER] = &settings->detect_container,
                           [DETECT_HOST] = &settings->detect_host,
                           [DETECT_PROCESS] = &settings->detect_process,
                           [DETECT_SERVICE] = &settings->detect_service};
    if (node->kind != NODE_LIST || node->count == 0)
        return schema_expected(reading, node, "a list of detectors");
    for (const struct node *item = node->first; item; item = item->next) {
        int detector;
        enum err err = schema_variant(reading, item, TABLE(detectors), NULL, &detector);
        if (err)
            return err;
        *flags[detector] = true;
    }
    return ERR_OK;
}

static enum err read_detected(const struct reading *reading, const struct node *node, void *out)
{
    struct patterns patterns = {0};
    struct sdk_settings *settings = out;
    enum err err = schema_patterns(reading, node, &patterns);
    settings->detected_included = patterns.included;
    settings->detected_excluded = patterns.excluded;
    return err;
}

static const struct field detection_fields[] = {
    {"attributes", FIELD_NODE, .read = read_detected},
    {"detectors", FIELD_NODE, .read = read_detectors},
};

static enum err read_detection(const struct reading *reading, const struct node *node, void *out)
{
    return schema_map(reading, node, TABLE(detection_fields), out);
}

/* --- together; the list first, as single attributes count more */

static const struct field resource_fields[] = {
    {"attributes_list", FIELD_NULLABLE, .read = read_attributes_list},
    {"attributes", FIELD_NODE, .read = read_attributes},
    {"schema_url", FIELD_TEXT, AT(resource_schema_url)},
    {"detection/development", FIELD_NODE, .read = read_detection},
};

enum err read_resource(const struct reading *reading, const struct node *node, void *out)
{
    return schema_map(reading, node, TABLE(resource_fields), out);
}
