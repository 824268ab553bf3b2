/* How deep a JSON text nests, told before a parser that recurses sees it. Any thread. */
#ifndef BASE_NESTING_H
#define BASE_NESTING_H

#include <stdbool.h>
#include <stddef.h>

bool nesting_beyond(const char *text, size_t bytes, unsigned depth_max);

#endif
