/* UTF-8, one sequence at a time. Any thread. Source: RFC 3629. */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the valid sequence that text begins with; 0 when it begins with none. A NUL is a sequence of one. */
size_t utf8_sequence(const char *text);
/* Reads one character and moves *text behind it; UINT32_MAX, and *text stays, when there is no valid sequence. */
uint32_t utf8_next(const char **text);

#endif
