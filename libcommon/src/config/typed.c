/* File, environment and built-in values meet as texts. They are written as one flat document, dotted key to text, and
 * libcyaml turns that into typed memory: one conversion for all three sources. */
#include "config/typed.h"

#include <cyaml/cyaml.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "common/mem.h"

/* Keeps what cyaml_free() wants to see again. */
struct config {
    cyaml_schema_field_t *fields; /* ended by one without a key */
    cyaml_schema_value_t schema;
    cyaml_strval_t **choices; /* one array for each setting, or NULL */
    char **files;             /* of a secret: where it came from, or NULL */
    size_t count;
    void *loaded; /* laid out as the settings struct; owns its strings */
};

static void *memory(void *unused, void *old, size_t bytes)
{
    (void)unused;
    if (bytes > 0)
        return mem_resize(old, 1, bytes);
    free(old);
    return NULL;
}

static const cyaml_config_t cyaml = {.mem_fn = memory, .flags = CYAML_CFG_NO_ALIAS};

/* --- the schema */

static size_t field_bytes(enum setting_type type)
{
    switch (type) {
    case SETTING_INT:
    case SETTING_CHOICE:
        return sizeof(int);
    case SETTING_LONG:
        return sizeof(int64_t);
    case SETTING_BOOL:
        return sizeof(bool);
    case SETTING_TEXT:
    case SETTING_SECRET:
    case SETTING_ADDRESS:
    case SETTING_NAMES:
        break;
    }
    return sizeof(char *);
}

static cyaml_strval_t *list_choices(const char *const *choices, uint32_t *out_count)
{
    uint32_t count = 0;
    while (choices[count])
        count++;
    cyaml_strval_t *list = mem_array(count, sizeof *list);
    for (uint32_t i = 0; i < count; i++)
        list[i] = (cyaml_strval_t){.str = choices[i], .val = i};
    *out_count = count;
    return list;
}

static void describe(struct config *config, size_t i, const struct setting *setting)
{
    cyaml_schema_value_t *value = &config->fields[i].value;
    config->fields[i].key = setting->key;
    config->fields[i].data_offset = (uint32_t)setting->offset;
    value->data_size = (uint32_t)field_bytes(setting->type);
    switch (setting->type) {
    case SETTING_INT:
    case SETTING_LONG:
        value->type = CYAML_INT;
        break;
    case SETTING_BOOL:
        value->type = CYAML_BOOL;
        break;
    case SETTING_CHOICE:
        value->type = CYAML_ENUM;
        value->flags = CYAML_FLAG_STRICT;
        config->choices[i] = list_choices(setting->choices, &value->enumeration.count);
        value->enumeration.strings = config->choices[i];
        break;
    case SETTING_TEXT:
    case SETTING_SECRET:
    case SETTING_ADDRESS:
    case SETTING_NAMES:
        value->type = CYAML_STRING;
        value->flags = CYAML_FLAG_POINTER;
        value->string.max = CYAML_UNLIMITED;
        break;
    }
}

static struct config *make_schema(const struct loading *loading)
{
    struct config *config = mem_alloc(sizeof *config);
    size_t bytes = 1;
    config->count = loading->count;
    config->fields = mem_array(loading->count + 1, sizeof *config->fields);
    config->choices = mem_array(loading->count + 1, sizeof *config->choices);
    config->files = mem_array(loading->count + 1, sizeof *config->files);
    for (size_t i = 0; i < loading->count; i++) {
        const struct setting *setting = &loading->table[i];
        size_t end = setting->offset + field_bytes(setting->type);
        bytes = end > bytes ? end : bytes;
        describe(config, i, setting);
    }
    config->schema.type = CYAML_MAPPING;
    config->schema.flags = CYAML_FLAG_POINTER;
    config->schema.data_size = (uint32_t)bytes;
    config->schema.mapping.fields = config->fields;
    return config;
}

/* --- the document */

struct document {
    char *bytes;
    size_t used, room;
};

static int append(void *arg, unsigned char *bytes, size_t count)
{
    struct document *document = arg;
    if (document->room - document->used < count) {
        document->room = (document->room + count) * 2;
        document->bytes = mem_resize(document->bytes, document->room, 1);
    }
    memcpy(document->bytes + document->used, bytes, count);
    document->used += count;
    return 1;
}

/* Takes the event over. */
static bool emit(yaml_emitter_t *emitter, yaml_event_t *event, int made)
{
    return made && yaml_emitter_emit(emitter, event);
}

static bool emit_text(yaml_emitter_t *emitter, const char *text, size_t length)
{
    yaml_event_t event;
    return emit(emitter, &event,
                yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)length, 1, 1,
                                             YAML_DOUBLE_QUOTED_SCALAR_STYLE));
}

static bool emit_all(yaml_emitter_t *emitter, const struct loading *loading)
{
    yaml_event_t event;
    bool good =
        emit(emitter, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING)) &&
        emit(emitter, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1)) &&
        emit(emitter, &event, yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
    for (size_t i = 0; i < loading->count && good; i++)
        good = emit_text(emitter, loading->table[i].key, strlen(loading->table[i].key)) &&
               emit_text(emitter, loading->values[i].text, loading->values[i].length);
    return good && emit(emitter, &event, yaml_mapping_end_event_initialize(&event)) &&
           emit(emitter, &event, yaml_document_end_event_initialize(&event, 1)) &&
           emit(emitter, &event, yaml_stream_end_event_initialize(&event));
}

static bool write_document(const struct loading *loading, struct document *document)
{
    yaml_emitter_t emitter;
    if (!yaml_emitter_initialize(&emitter))
        abort(); /* out of memory */
    yaml_emitter_set_output(&emitter, append, document);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, -1);
    bool good = emit_all(&emitter, loading) && yaml_emitter_flush(&emitter);
    yaml_emitter_delete(&emitter);
    return good;
}

/* --- both together */

static void hand_over(const struct config *config, const struct loading *loading, void *settings)
{
    for (size_t i = 0; i < loading->count; i++) {
        const struct setting *setting = &loading->table[i];
        size_t offset = setting->offset;
        memcpy((char *)settings + offset, (const char *)config->loaded + offset, field_bytes(setting->type));
        if (loading->values[i].from)
            config->files[i] = mem_text(loading->values[i].from);
        if (setting->file_offset)
            memcpy((char *)settings + setting->file_offset, &config->files[i], sizeof config->files[i]);
    }
}

struct config *typed_load(struct loading *loading, void *settings)
{
    struct config *config = make_schema(loading);
    struct document document = {0};
    cyaml_err_t result = CYAML_ERR_LIBYAML_EMITTER;
    if (write_document(loading, &document))
        result = cyaml_load_data((const uint8_t *)document.bytes, document.used, &cyaml, &config->schema,
                                 &config->loaded, NULL);
    if (document.bytes)
        explicit_bzero(document.bytes, document.used);
    free(document.bytes);
    if (result != CYAML_OK) {
        config_wrong(loading, "settings cannot be loaded: %s", cyaml_strerror(result));
        config_free(config);
        return NULL;
    }
    hand_over(config, loading, settings);
    return config;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    if (config->loaded)
        cyaml_free(&cyaml, &config->schema, config->loaded, 0);
    for (size_t i = 0; i < config->count; i++) {
        free(config->choices[i]);
        free(config->files[i]);
    }
    free(config->choices);
    free(config->files);
    free(config->fields);
    free(config);
}
