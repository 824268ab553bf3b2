#include <string.h>

#include "config/internal.h"

static const char suffix[] = "_file";

const struct setting *key_find(const struct loading *loading, const char *key)
{
    for (size_t i = 0; i < loading->count; i++)
        if (strcmp(loading->table[i].key, key) == 0)
            return &loading->table[i];
    return NULL;
}

const struct setting *key_find_file(const struct loading *loading, const char *key)
{
    size_t length = strlen(key), tail = strlen(suffix);
    if (length <= tail || strcmp(key + length - tail, suffix) != 0)
        return NULL;
    const struct setting *setting = key_find(loading, arena_text(loading->arena, key, length - tail));
    return setting && setting->type == SETTING_SECRET ? setting : NULL;
}

bool key_is_section(const struct loading *loading, const char *key)
{
    size_t length = strlen(key);
    for (size_t i = 0; i < loading->count; i++)
        if (strncmp(loading->table[i].key, key, length) == 0 && loading->table[i].key[length] == '.')
            return true;
    return false;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance: insertions, deletions and replacements. */
static size_t distance(const char *a, const char *b)
{
    size_t row[KEY_BYTES_MAX + 1], length = strlen(b);
    if (length > KEY_BYTES_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(replaced, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[length];
}

static void consider(const char *key, const char *candidate, size_t *best, const char **nearest)
{
    size_t d = distance(key, candidate);
    if (d < *best) {
        *best = d;
        *nearest = candidate;
    }
}

const char *key_nearest(const struct loading *loading, const char *key)
{
    const char *nearest = NULL;
    size_t best = strlen(key) / 5 + 2;
    for (size_t i = 0; i < loading->count; i++) {
        const struct setting *setting = &loading->table[i];
        consider(key, setting->key, &best, &nearest);
        if (setting->type == SETTING_SECRET)
            consider(key, arena_print(loading->arena, "%s%s", setting->key, suffix), &best, &nearest);
    }
    return nearest;
}
