#include "common/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *checked(void *memory)
{
    if (memory)
        return memory;
    static const char message[] = "out of memory\n";
    if (write(STDERR_FILENO, message, sizeof message - 1) < 0) {
        /* Nothing is left to tell it with. */
    }
    abort();
}

void *mem_alloc(size_t bytes)
{
    return checked(calloc(1, bytes ? bytes : 1));
}

void *mem_aligned(size_t alignment, size_t bytes)
{
    return memset(checked(aligned_alloc(alignment, bytes)), 0, bytes);
}

void *mem_array(size_t count, size_t bytes)
{
    return checked(calloc(count ? count : 1, bytes ? bytes : 1));
}

void *mem_resize(void *memory, size_t count, size_t bytes)
{
    return checked(reallocarray(memory, count ? count : 1, bytes ? bytes : 1));
}

char *mem_text(const char *text)
{
    return text ? checked(strdup(text)) : NULL;
}

char *mem_print(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    return checked(length < 0 ? NULL : text);
}

void mem_free_pointer(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}
