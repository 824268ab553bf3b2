#include "otel/sdk/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem.h"

enum { FIRST_BYTES = 4096 };

void buffer_reset(struct buffer *buffer)
{
    if (buffer->capacity > BUFFER_KEPT_MAX)
        buffer_free(buffer);
    buffer->size = 0;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

void buffer_grow(struct buffer *buffer, size_t more)
{
    size_t capacity = buffer->capacity ? 2 * buffer->capacity : FIRST_BYTES;
    if (capacity < buffer->size + more)
        capacity = buffer->size + more;
    buffer->data = mem_resize(buffer->data, capacity, 1);
    buffer->capacity = capacity;
}

void buffer_print(struct buffer *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    buffer_reserve(buffer, 64);
    size_t room = buffer->capacity - buffer->size;
    int length = vsnprintf((char *)buffer->data + buffer->size, room, format, args);
    if (length > 0 && (size_t)length >= room) {
        buffer_reserve(buffer, (size_t)length + 1);
        vsnprintf((char *)buffer->data + buffer->size, (size_t)length + 1, format, again);
    }
    buffer->size += length > 0 ? (size_t)length : 0;
    va_end(again);
    va_end(args);
}
