#include "base/names.h"

#include <string.h>
#include <strings.h>

const char *names_next(const char **list, size_t *out_length)
{
    static const char separators[] = ", ";
    const char *name = *list + strspn(*list, separators);
    *out_length = strcspn(name, separators);
    *list = name + *out_length;
    return *out_length > 0 ? name : NULL;
}

bool names_have(const char *list, const char *name, size_t length)
{
    size_t bytes;
    for (const char *one; (one = names_next(&list, &bytes));)
        if (bytes == length && strncasecmp(one, name, length) == 0)
            return true;
    return false;
}
