/* The table as a file to start from: sections in the order of their first key, each key with what it takes. */
#include <stdio.h>
#include <string.h>

#include "config/internal.h"

struct printing {
    const struct setting *table;
    size_t count;
    FILE *file;
};

static void indent(const struct printing *p, int depth)
{
    fprintf(p->file, "%*s", depth * 2, "");
}

static void print_quoted(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(file, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(file, "\\x%02x", c);
        else
            fputc(c, file);
    }
    fputc('"', file);
}

static void print_value(FILE *file, const struct setting *setting)
{
    bool plain = setting->type == SETTING_INT || setting->type == SETTING_LONG || setting->type == SETTING_BOOL;
    if (plain && setting->initial)
        fputs(setting->initial, file);
    else
        print_quoted(file, setting->initial ? setting->initial : "");
}

static void print_comment(const struct printing *p, const struct setting *setting, const char *name, int depth)
{
    char expected[EXPECTED_BYTES];
    indent(p, depth);
    fprintf(p->file, "# %s%s(%s", setting->help ? setting->help : "", setting->help ? " " : "",
            value_expected(setting, expected));
    if (setting->type == SETTING_SECRET)
        fprintf(p->file, "; or %s_file: a file that holds it", name);
    if (setting->env)
        fprintf(p->file, "; environment variable %s", setting->env);
    if (setting->env && setting->type == SETTING_SECRET)
        fprintf(p->file, " or %s_FILE", setting->env);
    fprintf(p->file, "%s)\n", setting->initial ? "" : "; must be set");
}

/* What must be set has no value to print: it stays a comment. */
static void print_setting(const struct printing *p, const struct setting *setting, const char *name, int depth)
{
    print_comment(p, setting, name, depth);
    indent(p, depth);
    fprintf(p->file, "%s%s: ", setting->initial ? "" : "# ", name);
    print_value(p->file, setting);
    fputc('\n', p->file);
}

/* The table's i-th key is the first below its first prefix_bytes bytes. */
static bool is_first(const struct printing *p, size_t i, size_t prefix_bytes)
{
    for (size_t j = 0; j < i; j++)
        if (strncmp(p->table[j].key, p->table[i].key, prefix_bytes) == 0)
            return false;
    return true;
}

/* Recursion ends with the dots of the keys. */
static void print_section(const struct printing *p, const char *prefix, size_t prefix_bytes, int depth)
{
    for (size_t i = 0; i < p->count; i++) {
        const char *key = p->table[i].key, *name = key + prefix_bytes;
        if (strncmp(key, prefix, prefix_bytes) != 0)
            continue;
        const char *dot = strchr(name, '.');
        if (!dot) {
            print_setting(p, &p->table[i], name, depth);
            continue;
        }
        size_t section_bytes = (size_t)(dot - key) + 1;
        if (!is_first(p, i, section_bytes))
            continue;
        indent(p, depth);
        fprintf(p->file, "%.*s:\n", (int)(dot - name), name);
        print_section(p, key, section_bytes, depth + 1);
    }
}

void config_print(const struct setting *table, size_t count, void *file)
{
    struct printing printing = {.table = table, .count = count, .file = file};
    print_section(&printing, "", 0, 0);
}
