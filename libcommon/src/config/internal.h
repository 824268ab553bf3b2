/* One loading of settings, from file and environment to the typed struct. */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include <stdarg.h>

#include "common/arena.h"
#include "common/config.h"

enum { CONFIG_FILE_BYTES_MAX = 1 << 20, SECRET_FILE_BYTES_MAX = 1 << 16, KEY_BYTES_MAX = 256, EXPECTED_BYTES = 512 };

/* A setting's value as text, and where it was said. */
struct value {
    const char *text; /* NULL: nobody said anything */
    size_t length;
    unsigned line;    /* of the settings file */
    const char *file; /* of a secret: the file that holds it, or NULL */
    unsigned file_line;
    const char *from; /* of a secret: the file that text came from, or NULL */
};

struct loading {
    const char *path; /* of the settings file, or NULL */
    const struct setting *table;
    size_t count;
    struct value *values; /* one for each setting */
    struct arena *arena;
    char *message;
    size_t message_bytes;
};

/* Writes the message and returns ERR_INVALID_ARGUMENT. */
enum err config_wrong(struct loading *loading, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* keys.c: a known key, the same with a secret's `_file`, or a section above known keys. */
const struct setting *key_find(const struct loading *loading, const char *key);
const struct setting *key_find_file(const struct loading *loading, const char *key);
bool key_is_section(const struct loading *loading, const char *key);
/* The known key that looks most like this one, in the arena; NULL when none does. */
const char *key_nearest(const struct loading *loading, const char *key);

/* check.c: what a setting takes, as words behind "expected". */
const char *value_expected(const struct setting *setting, char out[EXPECTED_BYTES]);
bool value_fits(const struct setting *setting, const char *text, size_t length);
/* The value as an error message shows it: quoted, escaped, cut; never a secret's. */
const char *value_shown(const struct loading *loading, const struct setting *setting, const char *text, size_t length);

/* file.c: reads and checks the whole settings file, noting each value with its line. */
enum err file_read_settings(struct loading *loading);
/* The bytes of a regular file, with a NUL behind them, in the arena; otherwise NULL, and reason. */
char *file_read(struct arena *arena, const char *path, size_t bytes_max, size_t *out_bytes, const char **reason);

#endif
