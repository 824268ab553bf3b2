/* Small files of the system (/proc, /etc) and settings, read whole. Any thread. */
#ifndef OTEL_SDK_FILE_H
#define OTEL_SDK_FILE_H

#include "common/arena.h"

/* NUL-terminated, in the arena, at most bytes_max: the rest is left out. NULL when the file cannot be read. */
char *file_text(struct arena *arena, const char *path, size_t bytes_max);

#endif
