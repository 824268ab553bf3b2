/* Values as text, for JSON and for people; appended to a buffer. Invalid UTF-8 becomes U+FFFD. */
#ifndef OTEL_EXPORT_PRINT_H
#define OTEL_EXPORT_PRINT_H

#include "otel/sdk/buffer.h"

/* "..." as JSON has it: quotes, backslashes and control characters escaped, so that it stays on one line. */
void print_quoted(struct buffer *out, const char *text, size_t length);
void print_hex(struct buffer *out, const uint8_t *bytes, size_t count);
void print_base64(struct buffer *out, const uint8_t *bytes, size_t count);
void print_int(struct buffer *out, int64_t value);
void print_unsigned(struct buffer *out, uint64_t value);
/* The shortest digits that read back as the same number, whatever the locale. Finite ones only. */
void print_real(struct buffer *out, double value);
/* NULL for a finite number, else "NaN", "Infinity" or "-Infinity". */
const char *print_not_finite(double value);

#endif
