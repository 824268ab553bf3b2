/* Settings: a table describes them, a YAML file and the environment fill them.
 *
 * Order: built-in value, then the file, then the environment variable (an empty one counts as
 * unset). The whole file is checked before anything is used: a wrong key, type or value is an
 * error with file, line, key and what was expected; unknown and duplicate keys are errors, and
 * so are anchors, aliases, tags, a second document and more than 1 MiB. A text without a built-in
 * value that is set to "" counts as missing. Strings live until config_free().
 * Before the loops start; one thread. Source: YAML 1.1 as libyaml reads it. */
#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum setting_type {
    SETTING_TEXT,    /* const char * */
    SETTING_SECRET,  /* const char *; also from the file `<key>_file` or $<env>_FILE, less a trailing newline. Never
                        printed */
    SETTING_INT,     /* int, min..max */
    SETTING_LONG,    /* int64_t, min..max */
    SETTING_BOOL,    /* bool: true, false */
    SETTING_ADDRESS, /* const char *: host:port, [v6]:port or :port; also "" when that is the built-in value */
    SETTING_NAMES,   /* const char *: DNS or URI names, separated by commas; at least one, at most max (0: any number).
                        Also "" when that is the built-in value */
    SETTING_CHOICE,  /* int: index into choices */
};

struct setting {
    const char *key; /* dotted: "http.body_bytes_max" */
    enum setting_type type;
    size_t offset;       /* in the settings struct */
    const char *initial; /* built-in value as text; NULL: none, then it must be set; "" for an empty text */
    const char *env;     /* environment variable, or NULL */
    int64_t min, max;
    const char *const *choices; /* NULL-terminated */
    const char *help;           /* one line with unit */
    size_t file_offset; /* of a secret: const char * that gets the path of the file it came from, NULL otherwise; 0: of
                           no interest */
};

struct config; /* owns the strings of one loaded settings struct */

/* Fills out (zeroed by the caller) from path (NULL: no file) and the environment. On error message says
 * "orders.yaml:12: http.body_bytes_max: expected an integer from 1024 to 16777216, got \"many\"". */
enum err config_load(struct config **out, const char *path, const struct setting *table, size_t count, void *settings,
                     char *message, size_t message_bytes);
void config_free(struct config *config);

/* A secret's file, read again: what SETTING_SECRET takes from it. Free with config_forget(). NULL, and reason, which
 * holds nothing secret, when it cannot be had. Any thread. */
char *config_secret(const char *path, char *reason, size_t reason_bytes);
void config_forget(char *secret); /* NULL is allowed */

/* Prints the table as a commented YAML document with the built-in values, to a stdio stream. */
void config_print(const struct setting *table, size_t count, void *file);

/* The path that a service reads: $env when set; otherwise /etc/bodega/<name>.yaml when it exists; otherwise NULL. */
const char *config_path(const char *env, const char *name, char *buffer, size_t bytes);

#endif
