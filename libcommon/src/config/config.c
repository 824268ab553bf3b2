#include "common/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "config/internal.h"
#include "config/typed.h"

enum err config_wrong(struct loading *loading, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(loading->message, loading->message_bytes, format, args);
    va_end(args);
    return ERR_INVALID_ARGUMENT;
}

/* --- the environment */

/* An empty variable counts as unset. */
static const char *variable(const char *name)
{
    const char *text = getenv(name);
    return text && *text ? text : NULL;
}

static const char *file_variable(const struct loading *loading, const struct setting *setting)
{
    return arena_print(loading->arena, "%s_FILE", setting->env);
}

static enum err wrong_text(struct loading *loading, const struct setting *setting, const char *where, const char *text)
{
    char expected[EXPECTED_BYTES];
    return config_wrong(loading, "%s: expected %s, got %s", where, value_expected(setting, expected),
                        value_shown(loading, setting, text, strlen(text)));
}

static enum err read_variable(struct loading *loading, const struct setting *setting, struct value *value)
{
    const char *text = variable(setting->env);
    if (!text)
        return ERR_OK;
    if (!value_fits(setting, text, strlen(text)))
        return wrong_text(loading, setting, arena_print(loading->arena, "environment variable %s", setting->env), text);
    *value = (struct value){.text = text, .length = strlen(text)};
    return ERR_OK;
}

/* --- secrets in files */

/* The content less one trailing newline; otherwise NULL, and what is wrong with the path. */
static char *secret_text(struct arena *arena, const char *path, size_t *out_length, const char **wrong)
{
    const char *reason;
    size_t length;
    char *text = file_read(arena, path, SECRET_FILE_BYTES_MAX, &length, &reason);
    if (!text) {
        *wrong = arena_print(arena, "\"%s\" cannot be read: %s", path, reason);
        return NULL;
    }
    if (length > 0 && text[length - 1] == '\n')
        length--;
    if (length > 0 && text[length - 1] == '\r')
        length--;
    text[length] = '\0';
    *out_length = length;
    *wrong =
        arena_print(arena, length == 0 ? "\"%s\" is empty" : "expected a text in \"%s\", got something else", path);
    return length > 0 && value_fits(&(const struct setting){.type = SETTING_SECRET}, text, length) ? text : NULL;
}

/* where names the key or variable that said the path. */
static enum err read_secret(struct loading *loading, const char *where, const char *path, struct value *value)
{
    const char *wrong;
    size_t length;
    char *text = secret_text(loading->arena, path, &length, &wrong);
    if (!text)
        return config_wrong(loading, "%s: %s", where, wrong);
    *value = (struct value){.text = text, .length = length, .from = path};
    return ERR_OK;
}

char *config_secret(const char *path, char *reason, size_t reason_bytes)
{
    struct arena arena;
    const char *wrong;
    size_t length;
    char *copy = NULL;
    arena_init(&arena, 4096);
    char *text = secret_text(&arena, path, &length, &wrong);
    if (text)
        copy = mem_text(text);
    else
        snprintf(reason, reason_bytes, "%s", wrong);
    if (text)
        explicit_bzero(text, length);
    arena_done(&arena);
    return copy;
}

void config_forget(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

static enum err read_secret_key(struct loading *loading, const struct setting *setting, struct value *value)
{
    if (!value->file)
        return ERR_OK;
    const char *where = arena_print(loading->arena, "%s:%u: %s_file", loading->path, value->file_line, setting->key);
    if (value->text && *value->text)
        return config_wrong(loading, "%s: %s is set too, on line %u; expected one of them", where, setting->key,
                            value->line);
    return read_secret(loading, where, value->file, value);
}

static enum err read_secret_variable(struct loading *loading, const struct setting *setting, struct value *value)
{
    const char *name = file_variable(loading, setting), *path = variable(name);
    if (!path)
        return ERR_OK;
    const char *where = arena_print(loading->arena, "environment variable %s", name);
    if (variable(setting->env))
        return config_wrong(loading, "%s: %s is set too; expected one of them", where, setting->env);
    return read_secret(loading, where, path, value);
}

/* --- each setting */

/* What the environment says comes first; a secret's file in the settings file is not even opened then. */
static enum err read_environment(struct loading *loading, const struct setting *setting, struct value *value)
{
    struct value said = {0};
    enum err err = ERR_OK;
    if (setting->env)
        err = read_variable(loading, setting, &said);
    if (!err && setting->env && setting->type == SETTING_SECRET)
        err = read_secret_variable(loading, setting, &said);
    if (err || said.text) {
        *value = said;
        return err;
    }
    return read_secret_key(loading, setting, value);
}

static enum err must_be_set(struct loading *loading, const struct setting *setting)
{
    const char *path = loading->path ? arena_print(loading->arena, "%s: ", loading->path) : "";
    if (setting->env)
        return config_wrong(loading, "%s%s: must be set (or environment variable %s)", path, setting->key,
                            setting->env);
    return config_wrong(loading, "%s%s: must be set", path, setting->key);
}

static enum err complete(struct loading *loading, const struct setting *setting, struct value *value)
{
    enum err err = read_environment(loading, setting, value);
    if (err)
        return err;
    /* A required text that is set to nothing is what a template leaves of a missing one. */
    if (!setting->initial && (!value->text || value->length == 0))
        return must_be_set(loading, setting);
    if (value->text)
        return ERR_OK;
    *value = (struct value){.text = setting->initial, .length = strlen(setting->initial)};
    if (!value_fits(setting, value->text, value->length))
        return wrong_text(loading, setting, arena_print(loading->arena, "built-in value of %s", setting->key),
                          setting->initial);
    return ERR_OK;
}

enum err config_load(struct config **out, const char *path, const struct setting *table, size_t count, void *settings,
                     char *message, size_t message_bytes)
{
    struct arena arena;
    arena_init(&arena, 65536);
    struct loading loading = {
        .path = path,
        .table = table,
        .count = count,
        .values = arena_array(&arena, struct value, count),
        .arena = &arena,
        .message = message,
        .message_bytes = message_bytes,
    };
    enum err err = path ? file_read_settings(&loading) : ERR_OK;
    for (size_t i = 0; i < count && !err; i++)
        err = complete(&loading, &table[i], &loading.values[i]);
    struct config *config = err ? NULL : typed_load(&loading, settings);
    arena_done(&arena);
    if (config)
        *out = config;
    return err ? err : config ? ERR_OK : ERR_INTERNAL;
}

const char *config_path(const char *env, const char *name, char *buffer, size_t bytes)
{
    const char *path = variable(env);
    if (path)
        return path;
    int length = snprintf(buffer, bytes, "/etc/bodega/%s.yaml", name);
    return length > 0 && (size_t)length < bytes && access(buffer, F_OK) == 0 ? buffer : NULL;
}
