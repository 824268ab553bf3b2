#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/names.h"
#include "common/utf8.h"
#include "config/internal.h"

enum { SHOWN_BYTES_MAX = 64 };

/* --- what is expected */

static bool has_range(const struct setting *setting)
{
    return setting->min != 0 || setting->max != 0;
}

static void join_choices(const char *const *choices, char *out, size_t bytes)
{
    size_t used = 0;
    for (unsigned i = 0; choices[i] && used < bytes; i++) {
        const char *joint = i == 0 ? "" : choices[i + 1] ? ", " : " or ";
        used += (size_t)snprintf(out + used, bytes - used, "%s%s", joint, choices[i]);
    }
}

const char *value_expected(const struct setting *setting, char out[EXPECTED_BYTES])
{
    switch (setting->type) {
    case SETTING_TEXT:
    case SETTING_SECRET:
        return "a text";
    case SETTING_BOOL:
        return "true or false";
    case SETTING_ADDRESS:
        return "host:port";
    case SETTING_NAMES:
        return setting->max == 1 ? "a DNS or URI name" : "DNS or URI names, separated by commas";
    case SETTING_CHOICE:
        join_choices(setting->choices, out, EXPECTED_BYTES);
        return out;
    case SETTING_INT:
    case SETTING_LONG:
        if (!has_range(setting))
            return "an integer";
        snprintf(out, EXPECTED_BYTES, "an integer from %lld to %lld", (long long)setting->min, (long long)setting->max);
        return out;
    }
    return "nothing";
}

/* --- does it fit */

static bool is_text(const char *text, size_t length)
{
    const char *end = text + length;
    while (text < end) {
        size_t bytes = *text ? utf8_sequence(text) : 0;
        if (bytes == 0)
            return false;
        text += bytes;
    }
    return true;
}

/* Decimal, without a sign of its own or leading zeros: what looks octal is refused, not guessed. */
static bool is_integer(const char *text, int64_t min, int64_t max)
{
    const char *digits = *text == '-' ? text + 1 : text;
    size_t count = strspn(digits, "0123456789");
    if (count == 0 || count > 19 || digits[count] != '\0' || (*digits == '0' && count > 1))
        return false;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    return errno == 0 && number >= min && number <= max;
}

static bool fits_number(const struct setting *setting, const char *text)
{
    int64_t min = has_range(setting) ? setting->min : INT64_MIN, max = has_range(setting) ? setting->max : INT64_MAX;
    if (setting->type == SETTING_INT) {
        min = min < INT_MIN ? INT_MIN : min;
        max = max > INT_MAX ? INT_MAX : max;
    }
    return is_integer(text, min, max);
}

static bool is_host(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("-._", text[i]))
            return false;
    return length <= 253;
}

static bool is_v6(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isxdigit((unsigned char)text[i]) && !strchr(":.%", text[i]))
            return false;
    return length >= 2;
}

static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits <= 5 && text[digits] == '\0' && atoi(text) <= 65535;
}

static bool is_address(const struct setting *setting, const char *text)
{
    if (!*text)
        return setting->initial && !*setting->initial; /* no address is one of its values */
    const char *colon = strrchr(text, ':');
    if (!colon || !is_port(colon + 1))
        return false;
    size_t host = (size_t)(colon - text);
    if (*text == '[')
        return host >= 2 && text[host - 1] == ']' && is_v6(text + 1, host - 2);
    return is_host(text, host);
}

static bool is_name(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isgraph((unsigned char)text[i]))
            return false;
    return true;
}

static bool are_names(const struct setting *setting, const char *text)
{
    int64_t count = 0;
    size_t length;
    if (!*text)
        return setting->initial && !*setting->initial;
    for (const char *name; (name = names_next(&text, &length)); count++)
        if (!is_name(name, length))
            return false;
    return count > 0 && (setting->max == 0 || count <= setting->max);
}

static bool is_choice(const char *const *choices, const char *text)
{
    for (unsigned i = 0; choices[i]; i++)
        if (strcmp(choices[i], text) == 0)
            return true;
    return false;
}

bool value_fits(const struct setting *setting, const char *text, size_t length)
{
    if (!is_text(text, length))
        return false;
    switch (setting->type) {
    case SETTING_TEXT:
    case SETTING_SECRET:
        return true;
    case SETTING_BOOL:
        return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
    case SETTING_ADDRESS:
        return is_address(setting, text);
    case SETTING_NAMES:
        return are_names(setting, text);
    case SETTING_CHOICE:
        return is_choice(setting->choices, text);
    case SETTING_INT:
    case SETTING_LONG:
        return fits_number(setting, text);
    }
    return false;
}

/* --- how it is shown */

const char *value_shown(const struct loading *loading, const struct setting *setting, const char *text, size_t length)
{
    if (setting && setting->type == SETTING_SECRET)
        return "something else";
    size_t shown = length < SHOWN_BYTES_MAX ? length : SHOWN_BYTES_MAX;
    char *out = arena_alloc(loading->arena, shown * 4 + 8), *end = out;
    *end++ = '"';
    for (size_t i = 0; i < shown;) {
        size_t bytes = text[i] ? utf8_sequence(text + i) : 0;
        if (bytes == 0 || iscntrl((unsigned char)text[i])) {
            end += sprintf(end, "\\x%02x", (unsigned char)text[i++]);
            continue;
        }
        memcpy(end, text + i, bytes);
        end += bytes;
        i += bytes;
    }
    strcpy(end, shown < length ? "...\"" : "\"");
    return out;
}
