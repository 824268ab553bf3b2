/* Random bytes from the kernel, a pool of them for each thread: a system call an id would cost more
 * than the id. Bytes are used once. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>

void random_bytes(void *out, size_t bytes);
/* From 0.0 up to, but not including, 1.0. */
double random_unit(void);

#endif
