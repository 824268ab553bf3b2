#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "otel/metrics/pattern.h"
#include "otel/sdk/copy.h"
#include "otel/sdk/detect.h"
#include "otel/sdk/provider.h"

enum { RESOURCE_CHUNK_BYTES = 4096, OWN_ATTRIBUTES_MAX = 8 };

static const char schema_url[] = "https://opentelemetry.io/schemas/1.44.0";

struct resource {
    struct sdk_resource seen; /* what the pipelines get */
    struct arena arena;
};

/* Least wanted first: attributes_sort() keeps the last of each key. */
struct draft {
    struct arena *arena;
    struct otel_attribute *items;
    unsigned count;
};

static void add(struct draft *draft, const struct otel_attribute *attribute)
{
    struct otel_attribute *item = &draft->items[draft->count++];
    item->key = text_copy(draft->arena, attribute->key);
    item->value = value_copy(draft->arena, &attribute->value, -1);
}

static void add_text(struct draft *draft, const char *key, const char *text)
{
    struct otel_attribute attribute = otel_text(key, text);
    if (text && *text)
        add(draft, &attribute);
}

static void add_sdk(struct draft *draft)
{
    add_text(draft, "telemetry.sdk.name", "opentelemetry");
    add_text(draft, "telemetry.sdk.language", "c");
    add_text(draft, "telemetry.sdk.version", BODEGA_VERSION);
}

static void add_service(struct draft *draft, const char *name, const char *version)
{
    const char *executable = detect_executable(draft->arena);
    const char *unknown = executable ? arena_print(draft->arena, "unknown_service:%s", executable) : "unknown_service";
    add_text(draft, "service.name", name && *name ? name : unknown);
    add_text(draft, "service.version", version);
}

static void detect(struct findings *findings, const struct sdk_settings *settings)
{
    if (settings->detect_host)
        detect_host(findings);
    if (settings->detect_process)
        detect_process(findings);
    if (settings->detect_container)
        detect_container(findings);
    if (settings->detect_service)
        detect_service(findings);
}

static void add_detected(struct draft *draft, const struct sdk_settings *settings)
{
    struct findings findings = {.arena = draft->arena};
    detect(&findings, settings);
    for (unsigned i = 0; i < findings.count; i++)
        if (pattern_keeps(settings->detected_included, settings->detected_excluded, findings.items[i].key))
            add(draft, &findings.items[i]);
}

static void add_settings(struct draft *draft, const struct sdk_settings *settings)
{
    for (unsigned i = 0; i < settings->resource_attribute_count; i++)
        if (settings->resource_attributes[i].key)
            add(draft, &settings->resource_attributes[i]);
}

struct sdk_resource *resource_new(const struct sdk_settings *settings, const char *service_name,
                                  const char *service_version)
{
    struct resource *resource = mem_alloc(sizeof *resource);
    arena_init(&resource->arena, RESOURCE_CHUNK_BYTES);
    unsigned most = OWN_ATTRIBUTES_MAX + FINDINGS_MAX + settings->resource_attribute_count;
    struct draft draft = {.arena = &resource->arena,
                          .items = arena_array(&resource->arena, struct otel_attribute, most)};
    add_sdk(&draft);
    add_service(&draft, service_name, service_version);
    add_detected(&draft, settings);
    add_settings(&draft, settings);
    resource->seen.attribute_count = attributes_sort(draft.items, draft.count);
    resource->seen.attributes = draft.items;
    const char *url = settings->resource_schema_url;
    resource->seen.schema_url = url && *url ? text_copy(&resource->arena, url) : schema_url;
    return &resource->seen;
}

void resource_free(struct sdk_resource *seen)
{
    if (!seen)
        return;
    struct resource *resource = container_of(seen, struct resource, seen);
    arena_done(&resource->arena);
    free(resource);
}
