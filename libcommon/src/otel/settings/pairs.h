/* "key1=value1,key2=value2", percent-encoded: the form of OTEL_RESOURCE_ATTRIBUTES and OTEL_EXPORTER_OTLP_HEADERS, and
 * of attributes_list and headers_list. All or nothing. Results live in the arena. */
#ifndef OTEL_SETTINGS_PAIRS_H
#define OTEL_SETTINGS_PAIRS_H

#include "common/arena.h"
#include "otel/sdk/settings.h"

enum { PAIRS_MAX = 1024, HEADERS_MAX = 64 };

struct pair {
    const char *key, *value; /* trimmed and decoded */
};

/* What the text has to be, for messages. */
#define PAIRS_EXPECTED "key=value pairs with commas between, percent-encoded"

bool pairs_parse(struct arena *arena, const char *text, struct pair **out, unsigned *out_count);
/* Adds a header, instead of one of the same name. False: no header's name or value, or too many. */
bool headers_set(struct arena *arena, struct exporter_settings *exporter, const char *name, const char *value);
/* Adds all of a list. False, and nothing added, when one of them is no header. */
bool headers_parse(struct arena *arena, struct exporter_settings *exporter, const char *text);
/* Adds text attributes behind those that are there. */
bool attributes_parse(struct arena *arena, struct sdk_settings *settings, const char *text);
void attributes_append(struct sdk_settings *settings, const struct otel_attribute *attributes, unsigned count);

#endif
