/* Lists of names as settings write them: separated by commas and blanks, compared without regard to case. Any thread.
 */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* The next name, not NUL-terminated, and *list behind it; NULL at the end. */
const char *names_next(const char **list, size_t *out_length);
bool names_have(const char *list, const char *name, size_t length);

#endif
