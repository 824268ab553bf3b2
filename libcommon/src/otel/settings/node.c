/* From libyaml's events to the tree. libcyaml would fill structs directly, but knows neither places nor substitution,
 * and cannot tell null from missing. */
#include "otel/settings/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "common/mem.h"
#include "config/internal.h"

enum { KEY_SHOWN_MAX = 64 };

struct parsing {
    const struct reading *reading;
    const char *input; /* not NUL-terminated */
    yaml_parser_t parser;
    yaml_event_t event;
    unsigned depth, nodes;
    size_t text_bytes;
};

/* --- messages */

/* Keys of the schema's form; and in headers, what may be a value at the wrong place is not shown. */
static bool shows_key(const struct node *node)
{
    if (node->parent->secret)
        return strcmp(node->key, "name") == 0 || strcmp(node->key, "value") == 0;
    size_t length = strspn(node->key, "abcdefghijklmnopqrstuvwxyz0123456789_/");
    return length > 0 && length <= KEY_SHOWN_MAX && node->key[length] == '\0';
}

static const char *path_of(const struct reading *reading, const struct node *node)
{
    if (!node || !node->parent)
        return "";
    const char *above = path_of(reading, node->parent);
    if (!node->key)
        return arena_print(reading->scratch, "%s[%u]", above, node->index);
    return arena_print(reading->scratch, "%s%s%s", above, *above ? "." : "", shows_key(node) ? node->key : "?");
}

static enum err wrong_at(const struct reading *reading, unsigned line, unsigned column, const char *path,
                         const char *text)
{
    snprintf(reading->message, reading->message_bytes, "%s:%u:%u: %s%s%s", reading->name, line, column, path,
             *path ? ": " : "", text);
    return ERR_INVALID_ARGUMENT;
}

enum err node_wrong(const struct reading *reading, const struct node *node, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = arena_vprint(reading->scratch, format, args);
    va_end(args);
    return wrong_at(reading, node->line, node->column, path_of(reading, node), text);
}

enum err node_wrong_key(const struct reading *reading, const struct node *member, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = arena_vprint(reading->scratch, format, args);
    va_end(args);
    return wrong_at(reading, member->key_line, member->key_column, path_of(reading, member->parent), text);
}

static const char *shown_text(const struct reading *reading, const char *text, size_t length)
{
    struct loading loading = {.arena = reading->scratch};
    return value_shown(&loading, NULL, text, length);
}

const char *node_shown(const struct reading *reading, const struct node *node)
{
    if (node->kind != NODE_SCALAR)
        return node->kind == NODE_LIST ? "a list" : "a mapping";
    if (node_is_null(node))
        return "nothing";
    if (node->secret)
        return "something else";
    const char *shown = shown_text(reading, node->text, node->length);
    /* Numbers and the like go without quotes, so that the text "5" differs from 5. */
    return node_scalar(node).type == SCALAR_TEXT ? shown : arena_text(reading->scratch, shown + 1, strlen(shown) - 2);
}

/* --- events */

static unsigned line_of(const yaml_mark_t *mark)
{
    return (unsigned)mark->line + 1;
}

static unsigned column_of(const yaml_mark_t *mark)
{
    return (unsigned)mark->column + 1;
}

static enum err wrong_here(const struct parsing *parsing, const struct node *parent, const char *text)
{
    const yaml_mark_t *mark = &parsing->event.start_mark;
    return wrong_at(parsing->reading, line_of(mark), column_of(mark), path_of(parsing->reading, parent), text);
}

/* The reader's errors have an offset only. */
static enum err unreadable(const struct parsing *parsing)
{
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < parsing->parser.problem_offset; i++) {
        bool starts = (parsing->input[i] & 0xc0) != 0x80; /* a character */
        column = parsing->input[i] == '\n' ? 1 : column + starts;
        line += parsing->input[i] == '\n';
    }
    return wrong_at(parsing->reading, line, column, "", parsing->parser.problem);
}

static enum err syntax_error(const struct parsing *parsing)
{
    const yaml_parser_t *p = &parsing->parser;
    if (p->error == YAML_MEMORY_ERROR)
        abort();
    if (p->error == YAML_READER_ERROR)
        return unreadable(parsing);
    const char *problem = p->problem ? p->problem : "unreadable";
    const char *text = p->context ? arena_print(parsing->reading->scratch, "%s, %s", problem, p->context) : problem;
    return wrong_at(parsing->reading, line_of(&p->problem_mark), column_of(&p->problem_mark), "", text);
}

static const char *refused(const yaml_event_t *event)
{
    const void *anchor = NULL, *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    }
    if (event->type == YAML_ALIAS_EVENT || anchor)
        return "anchors and aliases are not supported";
    return tag ? "tags are not supported" : NULL;
}

static enum err next_event(struct parsing *parsing)
{
    yaml_event_delete(&parsing->event);
    if (!yaml_parser_parse(&parsing->parser, &parsing->event))
        return syntax_error(parsing);
    const char *what = refused(&parsing->event);
    return what ? wrong_here(parsing, NULL, what) : ERR_OK;
}

/* --- the tree */

static struct node *new_node(struct parsing *parsing, struct node *parent)
{
    struct node *node = arena_new(parsing->reading->scratch, struct node);
    node->line = line_of(&parsing->event.start_mark);
    node->column = column_of(&parsing->event.start_mark);
    node->parent = parent;
    node->secret = parent && parent->secret;
    return node;
}

static void append(struct node *parent, struct node *node)
{
    node->index = parent->count++;
    if (parent->last)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
}

static enum err build_scalar(struct parsing *parsing, struct node *node)
{
    const char *text = (const char *)parsing->event.data.scalar.value, *wrong;
    size_t room = SETTINGS_TEXT_BYTES_MAX - parsing->text_bytes;
    node->plain = parsing->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->text =
        substitute(parsing->reading->scratch, text, parsing->event.data.scalar.length, room, &node->length, &wrong);
    if (!node->text)
        return node_wrong(parsing->reading, node, "%s", wrong);
    parsing->text_bytes += node->length;
    if (!scalar_is_utf8(node->text, node->length))
        return node_wrong(parsing->reading, node, "expected UTF-8 without NUL characters");
    return ERR_OK;
}

static enum err build(struct parsing *parsing, struct node *node);

static enum err build_list(struct parsing *parsing, struct node *list)
{
    enum err err;
    list->kind = NODE_LIST;
    while (!(err = next_event(parsing)) && parsing->event.type != YAML_SEQUENCE_END_EVENT) {
        struct node *item = new_node(parsing, list);
        append(list, item);
        if ((err = build(parsing, item)))
            return err;
    }
    return err;
}

static enum err check_key(const struct parsing *parsing, const struct node *map)
{
    const yaml_event_t *event = &parsing->event;
    if (event->type != YAML_SCALAR_EVENT)
        return wrong_here(parsing, map, "expected a key");
    const char *key = (const char *)event->data.scalar.value;
    if (strlen(key) != event->data.scalar.length)
        return wrong_here(parsing, map, "expected a key without NUL characters");
    if (map->count == SETTINGS_KEYS_MAX)
        return wrong_here(parsing, map, "too many keys");
    const struct node *before = node_find(map, key);
    if (!before)
        return ERR_OK;
    const char *shown = map->secret ? "" : shown_text(parsing->reading, key, strlen(key));
    return wrong_here(parsing, map,
                      arena_print(parsing->reading->scratch, "duplicate key%s%s, it is on line %u too",
                                  *shown ? " " : "", shown, before->key_line));
}

static bool holds_secrets(const char *key)
{
    return strcmp(key, "headers") == 0 || strcmp(key, "headers_list") == 0;
}

static enum err build_member(struct parsing *parsing, struct node *map)
{
    enum err err = check_key(parsing, map);
    if (err)
        return err;
    yaml_mark_t mark = parsing->event.start_mark;
    const char *key = arena_text(parsing->reading->scratch, (const char *)parsing->event.data.scalar.value,
                                 parsing->event.data.scalar.length);
    if ((err = next_event(parsing)))
        return err;
    struct node *member = new_node(parsing, map);
    member->key = key;
    member->key_line = line_of(&mark);
    member->key_column = column_of(&mark);
    member->secret |= holds_secrets(key);
    append(map, member);
    return build(parsing, member);
}

static enum err build_map(struct parsing *parsing, struct node *map)
{
    enum err err;
    map->kind = NODE_MAP;
    while (!(err = next_event(parsing)) && parsing->event.type != YAML_MAPPING_END_EVENT)
        if ((err = build_member(parsing, map)))
            return err;
    return err;
}

/* The node of the current event; its children's depth is bounded, and so is this recursion. */
static enum err build(struct parsing *parsing, struct node *node)
{
    if (++parsing->nodes > SETTINGS_NODES_MAX)
        return node_wrong(parsing->reading, node, "more than %d values", SETTINGS_NODES_MAX);
    if (parsing->event.type == YAML_SCALAR_EVENT)
        return build_scalar(parsing, node);
    if (parsing->depth == SETTINGS_DEPTH_MAX)
        return node_wrong(parsing->reading, node, "nested deeper than %d levels", SETTINGS_DEPTH_MAX);
    parsing->depth++;
    enum err err =
        parsing->event.type == YAML_SEQUENCE_START_EVENT ? build_list(parsing, node) : build_map(parsing, node);
    parsing->depth--;
    return err;
}

static enum err build_document(struct parsing *parsing, struct node **out_root)
{
    enum err err = next_event(parsing); /* the stream's start */
    if (!err)
        err = next_event(parsing);
    if (!err && parsing->event.type == YAML_STREAM_END_EVENT)
        return wrong_here(parsing, NULL, "expected a mapping with the key file_format, got nothing");
    if (!err)
        err = next_event(parsing);
    if (err)
        return err;
    *out_root = new_node(parsing, NULL);
    err = build(parsing, *out_root);
    if (!err)
        err = next_event(parsing); /* the document's end */
    if (!err)
        err = next_event(parsing);
    if (!err && parsing->event.type != YAML_STREAM_END_EVENT)
        return wrong_here(parsing, NULL, "a second document is not supported");
    return err;
}

enum err node_parse(const struct reading *reading, const char *text, size_t bytes, struct node **out_root)
{
    if (bytes > SETTINGS_FILE_BYTES_MAX)
        return wrong_at(reading, 1, 1, "",
                        arena_print(reading->scratch, "larger than %d bytes", SETTINGS_FILE_BYTES_MAX));
    struct parsing parsing = {.reading = reading, .input = text};
    if (!yaml_parser_initialize(&parsing.parser))
        abort(); /* out of memory */
    yaml_parser_set_encoding(&parsing.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parsing.parser, (const unsigned char *)text, bytes);
    enum err err = build_document(&parsing, out_root);
    yaml_event_delete(&parsing.event);
    yaml_parser_delete(&parsing.parser);
    return err;
}

/* --- looking at it */

struct scalar node_scalar(const struct node *node)
{
    if (node->kind != NODE_SCALAR || !node->plain)
        return (struct scalar){.type = SCALAR_TEXT};
    return scalar_resolve(node->text, node->length);
}

bool node_is_null(const struct node *node)
{
    return node_scalar(node).type == SCALAR_NULL;
}

const struct node *node_find(const struct node *map, const char *key)
{
    for (const struct node *member = map->first; member; member = member->next)
        if (strcmp(member->key, key) == 0)
            return member;
    return NULL;
}
