/* The settings file, event by event: libyaml knows the lines, the table knows the keys. The first thing that is wrong
 * ends it, so nothing is built that the table does not ask for, and nesting goes no deeper than DEPTH_MAX. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "common/mem.h"
#include "config/internal.h"

enum { DEPTH_MAX = 8 };

/* What was read last. */
struct event {
    yaml_event_type_t type;
    const char *text; /* of a scalar */
    size_t length;
    bool null; /* an unquoted nothing */
    unsigned line;
};

struct seen {
    const char *key;
    unsigned line;
    struct seen *next;
};

struct walk {
    struct loading *loading;
    yaml_parser_t parser;
    const char *input;
    struct event event;
    char key[KEY_BYTES_MAX]; /* dotted, of the place where we are */
    unsigned key_line;
    unsigned unknown_line; /* of the first part of it that no setting has */
    unsigned depth;
    struct seen *seen;
};

/* --- bytes */

static char *read_all(struct arena *arena, int fd, size_t bytes_max, size_t *out_bytes, const char **reason)
{
    scoped_free char *buffer = mem_alloc(bytes_max + 1);
    size_t bytes = 0;
    for (;;) {
        ssize_t got = read(fd, buffer + bytes, bytes_max + 1 - bytes);
        if (got < 0 && errno != EINTR) {
            *reason = strerror(errno);
            return NULL;
        }
        if (got == 0)
            break;
        bytes += got > 0 ? (size_t)got : 0;
        if (bytes > bytes_max) {
            *reason = arena_print(arena, "larger than %zu bytes", bytes_max);
            return NULL;
        }
    }
    *out_bytes = bytes;
    return arena_text(arena, buffer, bytes);
}

char *file_read(struct arena *arena, const char *path, size_t bytes_max, size_t *out_bytes, const char **reason)
{
    struct stat status;
    char *text = NULL;
    /* Opening a pipe must not wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) < 0)
        *reason = strerror(errno);
    else if (!S_ISREG(status.st_mode))
        *reason = S_ISDIR(status.st_mode) ? "it is a directory" : "it is not a regular file";
    else
        text = read_all(arena, fd, bytes_max, out_bytes, reason);
    if (fd >= 0)
        close(fd);
    return text;
}

/* --- events */

static enum err wrong_at(struct walk *walk, unsigned line, const char *text)
{
    return config_wrong(walk->loading, "%s:%u: %s", walk->loading->path, line, text);
}

static unsigned line_of_offset(const struct walk *walk, size_t offset)
{
    unsigned line = 1;
    for (size_t i = 0; i < offset && walk->input[i]; i++)
        line += walk->input[i] == '\n';
    return line;
}

static enum err syntax_error(struct walk *walk)
{
    const yaml_parser_t *p = &walk->parser;
    const char *problem = p->problem ? p->problem : "unreadable";
    if (p->error == YAML_READER_ERROR)
        return wrong_at(walk, line_of_offset(walk, p->problem_offset), problem);
    const char *text = p->context ? arena_print(walk->loading->arena, "%s, %s", problem, p->context) : problem;
    return wrong_at(walk, (unsigned)p->problem_mark.line + 1, text);
}

static bool is_null(const struct event *event, yaml_scalar_style_t style)
{
    return style == YAML_PLAIN_SCALAR_STYLE &&
           (event->length == 0 || strcmp(event->text, "~") == 0 || strcmp(event->text, "null") == 0);
}

/* Copies what matters; returns what is not allowed anywhere. */
static const char *take_event(struct walk *walk, const yaml_event_t *from)
{
    struct event *event = &walk->event;
    const void *anchor = NULL, *tag = NULL;
    *event = (struct event){.type = from->type, .line = (unsigned)from->start_mark.line + 1};
    if (from->type == YAML_SCALAR_EVENT) {
        event->text = arena_text(walk->loading->arena, (const char *)from->data.scalar.value, from->data.scalar.length);
        event->length = from->data.scalar.length;
        event->null = is_null(event, from->data.scalar.style);
        anchor = from->data.scalar.anchor;
        tag = from->data.scalar.tag;
    } else if (from->type == YAML_MAPPING_START_EVENT) {
        anchor = from->data.mapping_start.anchor;
        tag = from->data.mapping_start.tag;
    } else if (from->type == YAML_SEQUENCE_START_EVENT) {
        anchor = from->data.sequence_start.anchor;
        tag = from->data.sequence_start.tag;
    }
    if (from->type == YAML_ALIAS_EVENT || anchor)
        return "anchors and aliases are not supported";
    return tag ? "tags are not supported" : NULL;
}

static enum err next_event(struct walk *walk)
{
    yaml_event_t event;
    if (!yaml_parser_parse(&walk->parser, &event))
        return syntax_error(walk);
    const char *refused = take_event(walk, &event);
    yaml_event_delete(&event);
    return refused ? wrong_at(walk, walk->event.line, refused) : ERR_OK;
}

/* --- meaning */

static enum err wrong_value(struct walk *walk, const struct setting *setting, const char *got)
{
    char expected[EXPECTED_BYTES];
    return config_wrong(walk->loading, "%s:%u: %s: expected %s, got %s", walk->loading->path, walk->key_line, walk->key,
                        setting ? value_expected(setting, expected) : "a mapping", got);
}

static enum err unknown_key(struct walk *walk)
{
    const char *shown = value_shown(walk->loading, NULL, walk->key, strlen(walk->key));
    const char *nearest = key_nearest(walk->loading, walk->key);
    const char *text = nearest
                           ? arena_print(walk->loading->arena, "unknown key %s, did you mean \"%s\"?", shown, nearest)
                           : arena_print(walk->loading->arena, "unknown key %s", shown);
    return wrong_at(walk, walk->unknown_line, text);
}

/* What a secret's `<key>_file` takes: a path. */
static const struct setting file_setting = {.type = SETTING_TEXT};

static enum err check_value(struct walk *walk, const struct setting *setting)
{
    const struct event *event = &walk->event;
    if (event->null)
        return wrong_value(walk, setting, "nothing");
    if (!value_fits(setting, event->text, event->length))
        return wrong_value(walk, setting, value_shown(walk->loading, setting, event->text, event->length));
    return ERR_OK;
}

static enum err store(struct walk *walk, const struct setting *setting)
{
    struct value *value = &walk->loading->values[setting - walk->loading->table];
    enum err err = check_value(walk, setting);
    if (err)
        return err;
    value->text = walk->event.text;
    value->length = walk->event.length;
    value->line = walk->event.line;
    return ERR_OK;
}

static enum err store_file(struct walk *walk, const struct setting *secret)
{
    struct value *value = &walk->loading->values[secret - walk->loading->table];
    enum err err = check_value(walk, &file_setting);
    if (err || walk->event.length == 0)
        return err;
    value->file = walk->event.text;
    value->file_line = walk->event.line;
    return ERR_OK;
}

static enum err read_mapping(struct walk *walk);

static enum err read_scalar(struct walk *walk, const struct setting *setting, const struct setting *file_of)
{
    if (setting)
        return store(walk, setting);
    if (file_of)
        return store_file(walk, file_of);
    if (walk->event.null)
        return ERR_OK; /* a section without anything in it */
    return wrong_value(walk, NULL, value_shown(walk->loading, NULL, walk->event.text, walk->event.length));
}

/* The value of walk->key. */
static enum err read_value(struct walk *walk)
{
    const struct setting *setting = key_find(walk->loading, walk->key);
    const struct setting *file_of = setting ? NULL : key_find_file(walk->loading, walk->key);
    const struct setting *leaf = file_of ? &file_setting : setting;
    enum err err = next_event(walk);
    if (err)
        return err;
    bool mapping = walk->event.type == YAML_MAPPING_START_EVENT;
    if (walk->unknown_line && (!mapping || walk->depth == DEPTH_MAX))
        return unknown_key(walk);
    if (walk->event.type == YAML_SEQUENCE_START_EVENT)
        return wrong_value(walk, leaf, "a list");
    if (mapping && leaf)
        return wrong_value(walk, leaf, "a mapping");
    return mapping ? read_mapping(walk) : read_scalar(walk, setting, file_of);
}

static enum err note_seen(struct walk *walk)
{
    for (struct seen *s = walk->seen; s; s = s->next)
        if (strcmp(s->key, walk->key) == 0)
            return wrong_at(
                walk, walk->event.line,
                arena_print(walk->loading->arena, "duplicate key \"%s\", it is on line %u too", walk->key, s->line));
    struct seen *seen = arena_new(walk->loading->arena, struct seen);
    *seen = (struct seen){
        .key = arena_print(walk->loading->arena, "%s", walk->key), .line = walk->event.line, .next = walk->seen};
    walk->seen = seen;
    return ERR_OK;
}

static bool is_known(const struct walk *walk)
{
    return key_find(walk->loading, walk->key) || key_find_file(walk->loading, walk->key) ||
           key_is_section(walk->loading, walk->key);
}

/* Appends the key that was just read to the place where we are. */
static enum err enter(struct walk *walk)
{
    if (walk->event.type != YAML_SCALAR_EVENT)
        return wrong_at(walk, walk->event.line, "expected a key");
    size_t length = strlen(walk->key);
    const char *key = walk->event.text;
    if (length + walk->event.length + 2 > sizeof walk->key || strlen(key) != walk->event.length)
        return wrong_at(walk, walk->event.line, "this key is none of ours");
    snprintf(walk->key + length, sizeof walk->key - length, "%s%s", length ? "." : "", key);
    walk->key_line = walk->event.line;
    if (!walk->unknown_line && !is_known(walk))
        walk->unknown_line = walk->key_line;
    return note_seen(walk);
}

static enum err read_mapping(struct walk *walk)
{
    size_t length = strlen(walk->key);
    enum err err;
    walk->depth++;
    while (!(err = next_event(walk)) && walk->event.type != YAML_MAPPING_END_EVENT) {
        if ((err = enter(walk)) || (err = read_value(walk)))
            return err;
        walk->key[length] = '\0';
    }
    walk->depth--;
    return err || !walk->unknown_line ? err : unknown_key(walk);
}

static enum err expect(struct walk *walk, yaml_event_type_t type, const char *otherwise)
{
    enum err err = next_event(walk);
    if (err)
        return err;
    return walk->event.type == type ? ERR_OK : wrong_at(walk, walk->event.line, otherwise);
}

static enum err read_document(struct walk *walk)
{
    enum err err = expect(walk, YAML_STREAM_START_EVENT, "unreadable");
    if (!err)
        err = next_event(walk);
    if (err || walk->event.type == YAML_STREAM_END_EVENT)
        return err; /* empty, or only comments */
    err = next_event(walk);
    if (!err && walk->event.type == YAML_MAPPING_START_EVENT)
        err = read_mapping(walk);
    else if (!err && !walk->event.null)
        err = wrong_at(walk, walk->event.line, "expected a mapping of settings");
    if (!err)
        err = expect(walk, YAML_DOCUMENT_END_EVENT, "unreadable");
    return err ? err : expect(walk, YAML_STREAM_END_EVENT, "a second document");
}

enum err file_read_settings(struct loading *loading)
{
    const char *reason;
    size_t bytes;
    struct walk walk = {.loading = loading};
    walk.input = file_read(loading->arena, loading->path, CONFIG_FILE_BYTES_MAX, &bytes, &reason);
    if (!walk.input)
        return config_wrong(loading, "%s: cannot be read: %s", loading->path, reason);
    if (!yaml_parser_initialize(&walk.parser))
        abort(); /* out of memory */
    yaml_parser_set_encoding(&walk.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&walk.parser, (const unsigned char *)walk.input, bytes);
    enum err err = read_document(&walk);
    yaml_parser_delete(&walk.parser);
    return err;
}
