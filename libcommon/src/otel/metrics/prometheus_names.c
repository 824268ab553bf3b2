#include <ctype.h>
#include <string.h>

#include "common/mem.h"
#include "otel/metrics/prometheus.h"

struct word {
    const char *unit, *word;
};

/* UCUM to Prometheus' words. */
static const struct word units[] = {
    {"d", "days"},          {"h", "hours"},        {"min", "minutes"},   {"s", "seconds"},      {"ms", "milliseconds"},
    {"us", "microseconds"}, {"ns", "nanoseconds"}, {"By", "bytes"},      {"KiBy", "kibibytes"}, {"MiBy", "mebibytes"},
    {"GiBy", "gibibytes"},  {"TiBy", "tebibytes"}, {"kBy", "kilobytes"}, {"MBy", "megabytes"},  {"GBy", "gigabytes"},
    {"TBy", "terabytes"},   {"m", "meters"},       {"V", "volts"},       {"A", "amperes"},      {"J", "joules"},
    {"W", "watts"},         {"g", "grams"},        {"Cel", "celsius"},   {"Hz", "hertz"},       {"%", "percent"},
};

/* What stands behind a slash, in the singular. */
static const struct word rates[] = {{"s", "second"}, {"min", "minute"}, {"m", "minute"}, {"h", "hour"}, {"d", "day"},
                                    {"w", "week"},   {"wk", "week"},    {"mo", "month"}, {"y", "year"}, {"a", "year"}};

static const char *word_for(const struct word *words, size_t count, const char *unit)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(words[i].unit, unit) == 0)
            return words[i].word;
    return unit;
}

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Names of the configuration's schema; some of them still end in /development. */
struct translation translation_of(const char *strategy, const struct text_format *format)
{
    strategy = strategy ? strategy : "";
    bool raw = begins_with(strategy, "no_utf8_escaping_with_suffixes") || begins_with(strategy, "no_translation");
    bool bare =
        begins_with(strategy, "underscore_escaping_without_suffixes") || begins_with(strategy, "no_translation");
    /* OpenMetrics knows no counter without _total. */
    return (struct translation){
        .escapes = !raw || !format->utf8, .suffixes = !bare, .total = !bare || format->openmetrics};
}

/* --- characters */

static bool is_plain(char c, bool colons)
{
    return (isascii(c) && isalnum(c)) || c == '_' || (colons && c == ':');
}

bool name_is_plain(const char *name, bool colons)
{
    if (!*name || (isascii(*name) && isdigit(*name)))
        return false;
    for (; *name; name++)
        if (!is_plain(*name, colons))
            return false;
    return true;
}

/* Everything else becomes an underscore, several of them one. */
static char *escape(struct arena *arena, const char *text, bool colons)
{
    char *copy = arena_alloc(arena, strlen(text) + 1), *end = copy;
    for (; *text; text++) {
        char c = is_plain(*text, colons) ? *text : '_';
        if (c != '_' || end == copy || end[-1] != '_')
            *end++ = c;
    }
    return copy;
}

const char *label_name(struct arena *arena, const char *key, bool escapes)
{
    if (!escapes)
        return key;
    const char *escaped = escape(arena, key, false);
    if (!*escaped)
        return "_";
    return isdigit((unsigned char)*escaped) ? arena_print(arena, "key_%s", escaped) : escaped;
}

/* --- units */

/* Without what is in braces: an annotation. */
static char *without_annotations(struct arena *arena, const char *unit)
{
    char *copy = arena_alloc(arena, strlen(unit) + 1), *end = copy;
    for (int depth = 0; *unit; unit++) {
        depth += *unit == '{';
        if (depth == 0)
            *end++ = *unit;
        depth -= *unit == '}' && depth > 0;
    }
    return copy;
}

/* "By/s" is bytes_per_second, "/s" per_second, "1" and "" nothing. */
static const char *unit_words(struct arena *arena, const char *unit)
{
    char *main = without_annotations(arena, unit), *slash = strchr(main, '/');
    const char *rate = NULL;
    if (slash) {
        *slash = '\0';
        rate = word_for(rates, array_count(rates), slash + 1);
    }
    const char *word = strcmp(main, "1") == 0 ? "" : word_for(units, array_count(units), main);
    if (rate && *rate)
        word = arena_print(arena, "%s%sper_%s", word, *word ? "_" : "", rate);
    char *escaped = escape(arena, word, true);
    size_t length = strlen(escaped);
    while (length > 0 && escaped[length - 1] == '_')
        escaped[--length] = '\0';
    return escaped[0] == '_' ? escaped + 1 : escaped;
}

/* --- families */

static bool ends_with(const char *name, const char *suffix)
{
    size_t length = strlen(name), suffix_length = strlen(suffix);
    return length >= suffix_length && strcmp(name + length - suffix_length, suffix) == 0;
}

/* "a_seconds" has the unit "seconds"; so has the name "seconds" itself. */
static bool has_unit(const char *name, const char *unit)
{
    size_t length = strlen(name), unit_length = strlen(unit);
    if (!ends_with(name, unit))
        return false;
    return length == unit_length || strchr("_./-", name[length - unit_length - 1]) != NULL;
}

static const char *without_total(struct arena *arena, const char *name)
{
    static const char total[] = "_total";
    size_t length = strlen(name);
    if (!ends_with(name, total) || length == sizeof total - 1)
        return name;
    return arena_text(arena, name, length - (sizeof total - 1));
}

static bool is_counter(const struct metric *metric)
{
    return metric->type == METRIC_SUM && metric->monotonic;
}

static const char *with_unit(struct arena *arena, const char *name, const char *unit)
{
    return *unit && !has_unit(name, unit) ? arena_print(arena, "%s_%s", name, unit) : name;
}

const char *family_name(struct arena *arena, const struct metric *metric, const struct translation *translation,
                        const char **out_unit)
{
    const char *name = metric->name;
    bool gauge = metric->type == METRIC_GAUGE;
    *out_unit = unit_words(arena, metric->unit);
    if (gauge && strcmp(metric->unit, "1") == 0)
        *out_unit = "ratio";
    if (translation->escapes)
        name = escape(arena, name, true);
    if (translation->escapes && (!*name || isdigit((unsigned char)*name)))
        name = arena_print(arena, "_%s", name);
    if (is_counter(metric) && translation->total)
        name = without_total(arena, name);
    if (translation->suffixes)
        name = with_unit(arena, name, *out_unit);
    return name;
}
