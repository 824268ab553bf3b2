#include "otel/metrics/pattern.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "common/utf8.h"

static bool same_character(char a, char b, bool folded)
{
    if (folded)
        return tolower((unsigned char)a) == tolower((unsigned char)b);
    return a == b;
}

static size_t character_bytes(const char *text)
{
    size_t bytes = utf8_sequence(text);
    return bytes ? bytes : 1;
}

/* Greedy: after a mismatch the last star takes one character more. */
static bool matches(const char *pattern, const char *text, bool folded)
{
    const char *star = NULL, *star_text = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            star_text = text;
        } else if (*pattern == '?') {
            pattern++;
            text += character_bytes(text);
        } else if (same_character(*pattern, *text, folded)) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++star_text;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

bool pattern_matches(const char *pattern, const char *text)
{
    return matches(pattern, text, false);
}

bool pattern_matches_name(const char *pattern, const char *name)
{
    return matches(pattern, name, true);
}

bool pattern_is_wild(const char *pattern)
{
    return strpbrk(pattern, "*?") != NULL;
}

static bool any_matches(const char *const *patterns, const char *text)
{
    for (; *patterns; patterns++)
        if (matches(*patterns, text, false))
            return true;
    return false;
}

bool pattern_keeps(const char *const *included, const char *const *excluded, const char *text)
{
    if (included && !any_matches(included, text))
        return false;
    return !excluded || !any_matches(excluded, text);
}
