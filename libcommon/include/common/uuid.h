/* UUIDs: text form, version 7 (time-ordered) and version 5 (named).
 *
 * Any thread. Text is 8-4-4-4-12 hexadecimal digits; any case is read, lower case is
 * written. Source: RFC 9562. */
#ifndef COMMON_UUID_H
#define COMMON_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

enum { UUID_TEXT_BYTES = 37 }; /* with the NUL */

struct uuid {
    uint8_t bytes[16];
};

/* False, and out untouched, unless text is exactly a UUID; NULL is none. */
bool uuid_parse(const char *text, struct uuid *out);
/* Writes the text form with its NUL and returns out. */
char *uuid_format(struct uuid id, char out[UUID_TEXT_BYTES]);
/* The text form in an arena. */
char *uuid_print(struct arena *arena, struct uuid id);
struct uuid uuid_v7(void);
struct uuid uuid_v5(struct uuid name_space, const void *name, size_t length);
bool uuid_equal(struct uuid a, struct uuid b);

#endif
