/* An arena: memory of one request, given back as a whole.
 *
 * The arena lives in its owner's memory; what it hands out belongs to it and dies
 * at arena_reset() or arena_done(). One thread at a time. Allocation never fails:
 * out of memory ends the process. Under AddressSanitizer everything that was not
 * handed out is poisoned, so that use after a reset is reported. Sizes in bytes. */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include <stdarg.h>
#include <stddef.h>

struct arena_chunk;

struct arena { /* private */
    struct arena_chunk *chunk;
    char *next, *end;
    size_t chunk_bytes;
};

/* chunk_bytes is the size of the first chunk and the least size of later ones; nothing is allocated yet. */
void arena_init(struct arena *arena, size_t chunk_bytes);
/* Gives everything back but one chunk of the usual size, kept for the next round. */
void arena_reset(struct arena *arena);
void arena_done(struct arena *arena);

/* Zeroed memory, aligned for any type; a size of 0 gives a valid pointer. */
void *arena_alloc(struct arena *arena, size_t bytes);
/* Unset memory, else the same. */
void *arena_alloc_raw(struct arena *arena, size_t bytes);
void *arena_copy(struct arena *arena, const void *data, size_t bytes);
/* A NUL-terminated copy of the first length bytes. */
char *arena_text(struct arena *arena, const char *text, size_t length);
char *arena_print(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprint(struct arena *arena, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

#define arena_new(arena, type)          ((type *)arena_alloc((arena), sizeof(type)))
#define arena_array(arena, type, count) ((type *)arena_alloc((arena), sizeof(type) * (count)))

#endif
