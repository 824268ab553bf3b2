/* Patterns of the declarative configuration: ? is any one character, * any number of them. Any thread. */
#ifndef OTEL_METRICS_PATTERN_H
#define OTEL_METRICS_PATTERN_H

#include <stdbool.h>

bool pattern_matches(const char *pattern, const char *text);
/* The same for instrument names, which have no case. */
bool pattern_matches_name(const char *pattern, const char *name);
bool pattern_is_wild(const char *pattern);
/* IncludeExclude: included (NULL: all) and not excluded (NULL: none). The lists end with a NULL. */
bool pattern_keeps(const char *const *included, const char *const *excluded, const char *text);

#endif
