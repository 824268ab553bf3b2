/* Heap memory that does not fail: out of memory ends the process with a message.
 * The caller frees with free(). Also the scoped release of heap pointers. */
#ifndef COMMON_MEM_H
#define COMMON_MEM_H

#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t bytes); /* zeroed */
void *mem_aligned(size_t alignment,
                  size_t bytes);             /* zeroed; bytes is a multiple of alignment, which is a power of two */
void *mem_array(size_t count, size_t bytes); /* zeroed; ends the process on overflow */
void *mem_resize(void *memory, size_t count, size_t bytes);
char *mem_text(const char *text); /* a copy; NULL gives NULL */
char *mem_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

void mem_free_pointer(void *pointer_to_pointer);
#define scoped_free __attribute__((cleanup(mem_free_pointer)))

/* Works for const members too; the result is as the caller declares it. */
#define container_of(pointer, type, member) ((type *)((uintptr_t)(pointer)-offsetof(type, member)))
#define array_count(array)                  (sizeof(array) / sizeof((array)[0]))

#endif
