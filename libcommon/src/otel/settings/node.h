/* A declarative configuration as a tree, before anybody knows what it means.
 *
 * libyaml reads it; each node keeps its place for messages, and scalars have their variables substituted. Anchors,
 * aliases, tags, a second document, duplicate keys and what goes beyond the limits are refused here. Everything lives
 * in the reading's scratch arena. Types are those of YAML 1.2's core schema, resolved after substitution; quoted is
 * text. Source: OpenTelemetry specification, configuration/data-model; YAML 1.2.2, 10.3.2. */
#ifndef OTEL_SETTINGS_NODE_H
#define OTEL_SETTINGS_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"

enum {
    SETTINGS_FILE_BYTES_MAX = 1 << 20,
    SETTINGS_TEXT_BYTES_MAX = 4 << 20, /* of all scalars, after substitution */
    SETTINGS_DEPTH_MAX = 32,
    SETTINGS_NODES_MAX = 1 << 16,
    SETTINGS_KEYS_MAX = 256, /* of one mapping */
};

/* One reading of a configuration: where messages go, and where memory comes from. */
struct reading {
    const char *name;              /* of the file, for messages */
    struct arena *scratch, *arena; /* until the end of the reading; of the settings */
    char *message;
    size_t message_bytes;
};

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
    enum node_kind kind;
    unsigned line, column, key_line, key_column; /* from 1 */
    const char *key;                             /* of a mapping's member, else NULL */
    unsigned index;                              /* of a list's item */
    struct node *parent, *first, *last, *next;   /* first and last child, next sibling */
    unsigned count;                              /* of children */
    const char *text;                            /* of a scalar, without NUL inside */
    size_t length;
    bool plain;  /* a scalar without quotes */
    bool secret; /* in headers: never shown */
};

enum scalar_type { SCALAR_NULL, SCALAR_BOOL, SCALAR_INT, SCALAR_REAL, SCALAR_TEXT };

struct scalar {
    enum scalar_type type;
    bool boolean;
    int64_t integer;
    double real; /* of SCALAR_INT too; integers beyond 64 bits are SCALAR_REAL */
};

enum err node_parse(const struct reading *reading, const char *text, size_t bytes, struct node **out_root);

/* SCALAR_TEXT for lists and mappings. */
struct scalar node_scalar(const struct node *node);
bool node_is_null(const struct node *node);
/* A mapping's member, or NULL. */
const struct node *node_find(const struct node *map, const char *key);

/* scalar.c: what a plain scalar is. */
struct scalar scalar_resolve(const char *text, size_t length);
bool scalar_is_utf8(const char *text, size_t length); /* without NUL */

/* substitute.c: text with its references to the environment resolved, in the arena; NULL, and why, for an invalid
 * reference or a result beyond bytes_max. */
const char *substitute(struct arena *arena, const char *text, size_t length, size_t bytes_max, size_t *out_length,
                       const char **out_wrong);

/* --- messages; each returns ERR_INVALID_ARGUMENT */

/* "otel.yaml:12:5: tracer_provider.sampler: ..." at the node, at the key of a mapping's member, or at a place. */
enum err node_wrong(const struct reading *reading, const struct node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
enum err node_wrong_key(const struct reading *reading, const struct node *member, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* What a message calls the node behind "got": its quoted and cut text, "a list", "nothing". */
const char *node_shown(const struct reading *reading, const struct node *node);

#endif
