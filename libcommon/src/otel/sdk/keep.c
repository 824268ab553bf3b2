#include "otel/sdk/keep.h"

#include <string.h>

#include "otel/sdk/copy.h"

static const char *text(struct arena *arena, const char *from)
{
    return from ? arena_text(arena, from, strlen(from)) : NULL;
}

static const char *const *texts(struct arena *arena, const char *const *from)
{
    if (!from)
        return NULL;
    size_t count = 0;
    while (from[count])
        count++;
    const char **copy = arena_array(arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++)
        copy[i] = text(arena, from[i]);
    return copy;
}

static const struct header_settings *headers(struct arena *arena, const struct header_settings *from, unsigned count)
{
    struct header_settings *copy = arena_array(arena, struct header_settings, count);
    for (unsigned i = 0; i < count; i++)
        copy[i] = (struct header_settings){text(arena, from[i].name), text(arena, from[i].value)};
    return copy;
}

struct exporter_settings exporter_settings_copy(struct arena *arena, const struct exporter_settings *settings)
{
    struct exporter_settings copy = *settings;
    copy.endpoint = text(arena, settings->endpoint);
    copy.tls.ca_file = text(arena, settings->tls.ca_file);
    copy.tls.key_file = text(arena, settings->tls.key_file);
    copy.tls.cert_file = text(arena, settings->tls.cert_file);
    copy.headers = headers(arena, settings->headers, settings->header_count);
    copy.output_stream = text(arena, settings->output_stream);
    copy.host = text(arena, settings->host);
    copy.resource_labels_included = texts(arena, settings->resource_labels_included);
    copy.resource_labels_excluded = texts(arena, settings->resource_labels_excluded);
    copy.translation_strategy = text(arena, settings->translation_strategy);
    return copy;
}

struct sdk_resource resource_copy(struct arena *arena, const struct sdk_resource *resource)
{
    struct otel_attribute *attributes = arena_array(arena, struct otel_attribute, resource->attribute_count);
    for (unsigned i = 0; i < resource->attribute_count; i++)
        attributes[i] = (struct otel_attribute){text_copy(arena, resource->attributes[i].key),
                                                value_copy(arena, &resource->attributes[i].value, -1)};
    return (struct sdk_resource){.attributes = attributes,
                                 .attribute_count = resource->attribute_count,
                                 .schema_url = text(arena, resource->schema_url)};
}

bool resource_equal(const struct sdk_resource *a, const struct sdk_resource *b)
{
    bool same_schema =
        a->schema_url && b->schema_url ? strcmp(a->schema_url, b->schema_url) == 0 : a->schema_url == b->schema_url;
    return same_schema && a->attribute_count == b->attribute_count &&
           attributes_equal(a->attributes, b->attributes, a->attribute_count);
}
