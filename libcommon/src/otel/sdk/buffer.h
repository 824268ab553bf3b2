/* A run of bytes that grows and is used again. Nothing fails; one thread at a time; {0} is an empty one. Sizes in
 * bytes. What a rare large use took beyond BUFFER_KEPT_MAX is given back at the next reset. */
#ifndef OTEL_SDK_BUFFER_H
#define OTEL_SDK_BUFFER_H

#include <string.h>

#include "otel/sdk/exporter.h"

enum { BUFFER_KEPT_MAX = 8 << 20 };

void buffer_reset(struct buffer *buffer);
void buffer_free(struct buffer *buffer); /* empty again, and usable */
/* Room for more bytes behind size. */
void buffer_grow(struct buffer *buffer, size_t more);
void buffer_print(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline void buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->capacity - buffer->size < more)
        buffer_grow(buffer, more);
}

static inline void buffer_add(struct buffer *buffer, const void *data, size_t bytes)
{
    if (bytes == 0)
        return;
    buffer_reserve(buffer, bytes);
    memcpy(buffer->data + buffer->size, data, bytes);
    buffer->size += bytes;
}

static inline void buffer_text(struct buffer *buffer, const char *text)
{
    buffer_add(buffer, text, strlen(text));
}

static inline void buffer_char(struct buffer *buffer, char c)
{
    buffer_reserve(buffer, 1);
    buffer->data[buffer->size++] = (uint8_t)c;
}

#endif
