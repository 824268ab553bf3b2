/* A cache line that is about to be written to, and that another core may have. */
#ifndef OTEL_SDK_FETCH_H
#define OTEL_SDK_FETCH_H

/* For x86-64 in general compilers choose prefetcht0, which leaves the line to the other core, too. A processor that has
 * no prefetchw takes it for a nop. */
static inline void fetch_to_write(const void *memory)
{
#ifdef __x86_64__
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)memory));
#else
    __builtin_prefetch(memory, 1);
#endif
}

#endif
