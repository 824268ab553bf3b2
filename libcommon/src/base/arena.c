/* Chunks in a list, newest first; allocation bumps a pointer. Under AddressSanitizer a gap
 * stays poisoned behind each allocation. */
#include "common/arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sanitizer.h"
#include "common/mem.h"

#ifdef HAVE_ASAN
enum { GAP = 16 };
#else
enum { GAP = 0 };
#endif

enum { ALIGN = 16 };

struct arena_chunk {
    struct arena_chunk *older;
    size_t bytes;
    _Alignas(ALIGN) char data[];
};

void arena_init(struct arena *arena, size_t chunk_bytes)
{
    *arena = (struct arena){.chunk_bytes = chunk_bytes};
}

static void use_chunk(struct arena *arena, struct arena_chunk *chunk)
{
    arena->chunk = chunk;
    arena->next = chunk->data;
    arena->end = chunk->data + chunk->bytes;
    POISON(chunk->data, chunk->bytes);
}

static void free_chunk(struct arena_chunk *chunk)
{
    UNPOISON(chunk->data, chunk->bytes);
    free(chunk);
}

void arena_reset(struct arena *arena)
{
    struct arena_chunk *kept = NULL;
    for (struct arena_chunk *c = arena->chunk, *older; c; c = older) {
        older = c->older;
        if (!kept && c->bytes == arena->chunk_bytes)
            kept = c;
        else
            free_chunk(c);
    }
    arena->chunk = NULL;
    arena->next = arena->end = NULL;
    if (!kept)
        return;
    kept->older = NULL;
    use_chunk(arena, kept);
}

void arena_done(struct arena *arena)
{
    for (struct arena_chunk *c = arena->chunk, *older; c; c = older) {
        older = c->older;
        free_chunk(c);
    }
    arena_init(arena, arena->chunk_bytes);
}

static void add_chunk(struct arena *arena, size_t bytes)
{
    if (bytes < arena->chunk_bytes)
        bytes = arena->chunk_bytes;
    if (bytes > SIZE_MAX / 2)
        abort();
    struct arena_chunk *chunk = mem_resize(NULL, 1, sizeof *chunk + bytes);
    chunk->bytes = bytes;
    chunk->older = arena->chunk;
    use_chunk(arena, chunk);
}

void *arena_alloc_raw(struct arena *arena, size_t bytes)
{
    size_t room = bytes + GAP;
    if (room < bytes)
        abort();
    room = (room + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (room == 0)
        room = ALIGN;
    if (!arena->chunk || (size_t)(arena->end - arena->next) < room)
        add_chunk(arena, room);
    void *memory = arena->next;
    arena->next += room;
    UNPOISON(memory, bytes);
    return memory;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    return memset(arena_alloc_raw(arena, bytes), 0, bytes);
}

void *arena_copy(struct arena *arena, const void *data, size_t bytes)
{
    void *copy = arena_alloc_raw(arena, bytes);
    if (bytes)
        memcpy(copy, data, bytes);
    return copy;
}

char *arena_text(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_alloc_raw(arena, length + 1);
    if (length)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *arena_vprint(struct arena *arena, const char *format, va_list args)
{
    char small[256];
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(small, sizeof small, format, args);
    if (length < 0)
        length = 0, small[0] = '\0';
    char *text = arena_alloc_raw(arena, (size_t)length + 1);
    if ((size_t)length < sizeof small)
        memcpy(text, small, (size_t)length + 1);
    else
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

char *arena_print(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = arena_vprint(arena, format, args);
    va_end(args);
    return text;
}
