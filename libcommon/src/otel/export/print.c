#include "otel/export/print.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/utf8.h"

enum { REAL_BYTES_MAX = 32 };

/* text need not end with a NUL, and utf8_sequence() reads as far as a sequence seems to go. */
static size_t sequence_within(const char *text, size_t left)
{
    char copy[5] = {0};
    if (left >= 4)
        return utf8_sequence(text);
    memcpy(copy, text, left);
    size_t length = utf8_sequence(copy);
    return length <= left ? length : 0;
}

static size_t put_special(struct buffer *out, const char *text, size_t left)
{
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') {
        buffer_char(out, '\\');
        buffer_char(out, (char)c);
    } else if (c == '\n') {
        buffer_text(out, "\\n");
    } else if (c < 0x20 || c == 0x7f) {
        buffer_print(out, "\\u%04x", c);
    } else {
        size_t length = sequence_within(text, left);
        buffer_add(out, length ? text : "\xef\xbf\xbd", length ? length : 3);
        return length ? length : 1;
    }
    return 1;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

void print_quoted(struct buffer *out, const char *text, size_t length)
{
    buffer_char(out, '"');
    for (size_t i = 0; i < length;) {
        size_t plain = i;
        while (plain < length && is_plain((unsigned char)text[plain]))
            plain++;
        buffer_add(out, text + i, plain - i);
        i = plain;
        if (i < length)
            i += put_special(out, text + i, length - i);
    }
    buffer_char(out, '"');
}

void print_hex(struct buffer *out, const uint8_t *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        buffer_char(out, digits[bytes[i] >> 4]);
        buffer_char(out, digits[bytes[i] & 15]);
    }
}

void print_base64(struct buffer *out, const uint8_t *bytes, size_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < count; i += 3) {
        size_t have = count - i < 3 ? count - i : 3;
        unsigned group = bytes[i] << 16u;
        group |= have > 1 ? bytes[i + 1] << 8u : 0;
        group |= have > 2 ? bytes[i + 2] : 0;
        buffer_char(out, digits[group >> 18]);
        buffer_char(out, digits[group >> 12 & 63]);
        buffer_char(out, have > 1 ? digits[group >> 6 & 63] : '=');
        buffer_char(out, have > 2 ? digits[group & 63] : '=');
    }
}

void print_unsigned(struct buffer *out, uint64_t value)
{
    char digits[24];
    char *next = digits + sizeof digits;
    do
        *--next = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    buffer_add(out, next, (size_t)(digits + sizeof digits - next));
}

void print_int(struct buffer *out, int64_t value)
{
    if (value < 0)
        buffer_char(out, '-');
    print_unsigned(out, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

const char *print_not_finite(double value)
{
    if (isfinite(value))
        return NULL;
    return isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}

void print_real(struct buffer *out, double value)
{
    char text[REAL_BYTES_MAX];
    int digits = 15;
    do
        snprintf(text, sizeof text, "%.*g", digits, value);
    while (digits++ < 17 && strtod(text, NULL) != value);
    for (char *c = text; *c; c++)
        buffer_char(out, strchr("+-0123456789e", *c) ? *c : '.');
    if (strcmp(text, "-0") == 0)
        buffer_text(out, ".0"); /* many readers take -0 for a whole number, which has no sign */
}
