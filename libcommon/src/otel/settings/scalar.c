/* YAML 1.2's core schema: what a plain scalar is. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"
#include "otel/settings/node.h"

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

static bool is_null(const char *text)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    return is_one_of(text, words, array_count(words));
}

static bool is_true(const char *text)
{
    static const char *const words[] = {"true", "True", "TRUE"};
    return is_one_of(text, words, array_count(words));
}

static bool is_false(const char *text)
{
    static const char *const words[] = {"false", "False", "FALSE"};
    return is_one_of(text, words, array_count(words));
}

static size_t skip_sign(const char *text)
{
    return *text == '-' || *text == '+';
}

/* Of digits of an integer; 0 for what is none. */
static int base_of(const char *text, const char **out_digits)
{
    static const struct {
        const char *prefix, *digits;
        int base;
    } forms[] = {{"0x", "0123456789abcdefABCDEF", 16}, {"0o", "01234567", 8}};
    for (size_t i = 0; i < array_count(forms); i++)
        if (strncmp(text, forms[i].prefix, 2) == 0) {
            *out_digits = text + 2;
            return text[2] && strspn(text + 2, forms[i].digits) == strlen(text + 2) ? forms[i].base : 0;
        }
    *out_digits = text;
    const char *first = text + skip_sign(text);
    return *first && strspn(first, "0123456789") == strlen(first) ? 10 : 0;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_real(const char *text)
{
    text += skip_sign(text);
    size_t whole = strspn(text, "0123456789");
    text += whole;
    if (*text == '.') {
        size_t fraction = strspn(++text, "0123456789");
        if (whole + fraction == 0)
            return false;
        text += fraction;
    } else if (whole == 0) {
        return false;
    }
    if (*text != 'e' && *text != 'E')
        return *text == '\0';
    text++;
    text += skip_sign(text);
    size_t exponent = strspn(text, "0123456789");
    return exponent > 0 && text[exponent] == '\0';
}

static bool is_special(const char *text, double *out)
{
    static const char *const infinities[] = {".inf", ".Inf", ".INF"}, *const nans[] = {".nan", ".NaN", ".NAN"};
    if (is_one_of(text, nans, array_count(nans))) {
        *out = NAN;
        return true;
    }
    if (!is_one_of(text + skip_sign(text), infinities, array_count(infinities)))
        return false;
    *out = *text == '-' ? -INFINITY : INFINITY;
    return true;
}

/* Whatever the program's locale calls a decimal point. */
static double real_of(const char *text)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double real = strtod_l(text, NULL, plain);
    freelocale(plain);
    return real;
}

static struct scalar integer_of(const char *digits, int base)
{
    errno = 0;
    long long integer = strtoll(digits, NULL, base);
    if (errno == 0)
        return (struct scalar){.type = SCALAR_INT, .integer = integer, .real = (double)integer};
    return (struct scalar){.type = SCALAR_REAL, .real = base == 10 ? real_of(digits) : INFINITY};
}

struct scalar scalar_resolve(const char *text, size_t length)
{
    struct scalar scalar = {.type = SCALAR_TEXT};
    const char *digits;
    if (strlen(text) != length)
        return scalar;
    if (is_null(text))
        return (struct scalar){.type = SCALAR_NULL};
    if (is_true(text) || is_false(text))
        return (struct scalar){.type = SCALAR_BOOL, .boolean = is_true(text)};
    int base = base_of(text, &digits);
    if (base)
        return integer_of(digits, base);
    if (is_special(text, &scalar.real))
        scalar.type = SCALAR_REAL;
    else if (is_real(text))
        scalar = (struct scalar){.type = SCALAR_REAL, .real = real_of(text)};
    return scalar;
}

bool scalar_is_utf8(const char *text, size_t length)
{
    for (const char *end = text + length; text < end;) {
        size_t bytes = *text ? utf8_sequence(text) : 0;
        if (bytes == 0)
            return false;
        text += bytes;
    }
    return true;
}
