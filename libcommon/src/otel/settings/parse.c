/* A declarative configuration from its file: the root, and what stands around it. Source: opentelemetry-configuration's
 * schema, 1.0 to 1.2. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "config/internal.h"
#include "otel/settings/sections.h"

enum { FORMAT_MAJOR = 1, FORMAT_MINOR = 2 };

#define AT(member) offsetof(struct sdk_settings, member)

/* --- the version */

static bool read_version(const char *text, unsigned *out_major, unsigned *out_minor)
{
    const char *dot = strchr(text, '.');
    size_t major = strspn(text, "0123456789"), minor = dot ? strspn(dot + 1, "0123456789") : 0;
    if (!dot || text + major != dot || major == 0 || major > 4 || minor == 0 || minor > 4 || dot[1 + minor])
        return false;
    *out_major = (unsigned)atoi(text);
    *out_minor = (unsigned)atoi(dot + 1);
    return true;
}

/* Also without quotes, as the specification itself writes it. */
static enum err read_file_format(const struct reading *reading, const struct node *node, void *out)
{
    unsigned major, minor;
    (void)out;
    if (node->kind == NODE_SCALAR && read_version(node->text, &major, &minor) && major == FORMAT_MAJOR)
        return ERR_OK;
    return schema_expected(reading, node, "version \"1.0\", \"1.1\" or \"1.2\"");
}

static void warn_of_newer(const struct reading *reading, const struct node *node)
{
    unsigned major = 0, minor = 0;
    read_version(node->text, &major, &minor);
    if (minor > FORMAT_MINOR)
        log_event(LOG_WARN, "telemetry settings are of a newer version than this SDK knows",
                  log_text("file", reading->name), log_text("file_format", node->text));
}

/* --- the root */

static enum err read_severity(const struct reading *reading, const struct node *node, void *out)
{
    static const struct field field = {"log_level", FIELD_CHOICE, .choices = severity_names};
    int index;
    enum err err = schema_field(reading, node, &field, &index);
    if (!err)
        *(enum otel_severity *)out = (enum otel_severity)(OTEL_TRACE_LEVEL + index);
    return err;
}

/* In the order of reading: general limits come before those of the providers. */
static const struct field root_fields[] = {
    {"file_format", FIELD_NODE, .required = true, .read = read_file_format},
    {"disabled", FIELD_BOOL, AT(disabled)},
    {"log_level", FIELD_NULLABLE, AT(log_level), .read = read_severity},
    {"resource", FIELD_NODE, .read = read_resource},
    {"attribute_limits", FIELD_NODE, .read = read_attribute_limits},
    {"propagator", FIELD_NODE, .read = read_propagator},
    {"tracer_provider", FIELD_NODE, .read = read_tracer_provider},
    {"meter_provider", FIELD_NODE, .read = read_meter_provider},
    {"logger_provider", FIELD_NODE, .read = read_logger_provider},
};

static bool is_ours(const char *key)
{
    for (size_t i = 0; i < array_count(root_fields); i++)
        if (strcmp(root_fields[i].key, key) == 0)
            return true;
    return false;
}

/* The root is open: what is there for other languages and vendors is not ours to judge, but a slip should be seen. */
static void warn_of_others(const struct reading *reading, const struct node *root)
{
    for (const struct node *member = root->first; member; member = member->next)
        if (!is_ours(member->key))
            log_event(LOG_WARN, "telemetry settings have a section that this SDK does not read",
                      log_text("file", reading->name), log_int("line", member->key_line), log_text("key", member->key));
}

static enum err read_root(const struct reading *reading, const struct node *root, struct sdk_settings *settings)
{
    enum err err = schema_open_map(reading, root, TABLE(root_fields), settings);
    if (err)
        return err;
    warn_of_newer(reading, node_find(root, "file_format"));
    warn_of_others(reading, root);
    return ERR_OK;
}

/* --- bytes and files */

enum err settings_parse(struct sdk_settings **out, const char *name, const char *text, size_t bytes, char *message,
                        size_t message_bytes)
{
    struct arena scratch;
    struct node *root;
    struct sdk_settings *settings = settings_new();
    const struct reading reading = {.name = name,
                                    .scratch = &scratch,
                                    .arena = &settings->arena,
                                    .message = message,
                                    .message_bytes = message_bytes};
    arena_init(&scratch, 65536);
    enum err err = node_parse(&reading, text, bytes, &root);
    if (!err)
        err = read_root(&reading, root, settings);
    arena_done(&scratch);
    if (err)
        settings_free(settings);
    else
        *out = settings;
    return err;
}

static enum err unreadable(int reason)
{
    if (reason == EACCES || reason == EPERM)
        return ERR_PERMISSION_DENIED;
    return reason == ENOENT || reason == ENOTDIR ? ERR_NOT_FOUND : ERR_INVALID_ARGUMENT;
}

enum err settings_read(struct sdk_settings **out, const char *path, char *message, size_t message_bytes)
{
    struct arena arena;
    const char *reason;
    size_t bytes;
    enum err err;
    arena_init(&arena, 65536);
    errno = 0;
    const char *text = file_read(&arena, path, SETTINGS_FILE_BYTES_MAX, &bytes, &reason);
    if (text) {
        err = settings_parse(out, path, text, bytes, message, message_bytes);
    } else {
        err = unreadable(errno);
        snprintf(message, message_bytes, "%s: cannot be read: %s", path, reason);
    }
    arena_done(&arena);
    return err;
}
