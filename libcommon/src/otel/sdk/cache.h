/* Of the processor's caches. */
#ifndef OTEL_SDK_CACHE_H
#define OTEL_SDK_CACHE_H

#include <stddef.h>

enum { CACHE_LINE_BYTES = 64 };

/* Memory that is about to be written to, and that another core may have, comes closer. For x86-64 in general compilers
 * choose prefetcht0, which leaves it to the other core, too. A processor that has no prefetchw takes it for a nop. */
static inline void fetch_to_write(const void *memory, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += CACHE_LINE_BYTES) {
        const char *line = (const char *)memory + at;
#ifdef __x86_64__
        __asm__ volatile("prefetchw %0" : : "m"(*line));
#else
        __builtin_prefetch(line, 1);
#endif
    }
}

#endif
