#include "otel/sdk/file.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4096 };

/* Files under /proc do not tell their size. */
static char *read_all(struct arena *arena, int fd, size_t bytes_max)
{
    size_t used = 0, capacity = BLOCK_BYTES;
    char *text = arena_alloc_raw(arena, capacity + 1);
    while (used < bytes_max) {
        if (used == capacity) {
            char *larger = arena_alloc_raw(arena, 2 * capacity + 1);
            memcpy(larger, text, used);
            text = larger;
            capacity *= 2;
        }
        size_t room = capacity < bytes_max ? capacity - used : bytes_max - used;
        ssize_t got = read(fd, text + used, room);
        if (got < 0)
            return NULL;
        if (got == 0)
            break;
        used += (size_t)got;
    }
    text[used] = '\0';
    return text;
}

char *file_text(struct arena *arena, const char *path, size_t bytes_max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    char *text = read_all(arena, fd, bytes_max);
    close(fd);
    return text;
}
