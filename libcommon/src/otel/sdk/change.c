#include "otel/sdk/change.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "otel/sdk/copy.h"

static bool samplers_equal(const struct sampler_settings *a, const struct sampler_settings *b)
{
    if (a->kind != b->kind || a->ratio != b->ratio)
        return false;
    return a->kind != SAMPLER_PARENT_BASED ||
           (samplers_equal(a->root, b->root) && samplers_equal(a->remote_parent_sampled, b->remote_parent_sampled) &&
            samplers_equal(a->remote_parent_not_sampled, b->remote_parent_not_sampled) &&
            samplers_equal(a->local_parent_sampled, b->local_parent_sampled) &&
            samplers_equal(a->local_parent_not_sampled, b->local_parent_not_sampled));
}

static bool limits_equal(const struct limit_settings *a, const struct limit_settings *b)
{
    return a->attribute_value_length == b->attribute_value_length && a->attribute_count == b->attribute_count &&
           a->event_count == b->event_count && a->link_count == b->link_count &&
           a->event_attribute_count == b->event_attribute_count && a->link_attribute_count == b->link_attribute_count;
}

static bool processors_equal(const struct processor_settings *a, unsigned a_count, const struct processor_settings *b,
                             unsigned b_count)
{
    bool equal = a_count == b_count;
    for (unsigned i = 0; equal && i < a_count; i++)
        equal = processor_settings_equal(&a[i], &b[i]);
    return equal;
}

static bool traces_equal(const struct sdk_settings *a, const struct sdk_settings *b)
{
    return samplers_equal(&a->sampler, &b->sampler) && limits_equal(&a->span_limits, &b->span_limits) &&
           processors_equal(a->span_processors, a->span_processor_count, b->span_processors, b->span_processor_count);
}

static bool logs_equal(const struct sdk_settings *a, const struct sdk_settings *b)
{
    return limits_equal(&a->log_limits, &b->log_limits) &&
           processors_equal(a->log_processors, a->log_processor_count, b->log_processors, b->log_processor_count);
}

static bool metrics_equal(const struct sdk_settings *a, const struct sdk_settings *b)
{
    bool equal = a->reader_count == b->reader_count && a->exemplar_filter == b->exemplar_filter && views_equal(a, b);
    for (unsigned i = 0; equal && i < a->reader_count; i++)
        equal = reader_settings_equal(&a->readers[i], &b->readers[i]);
    return equal;
}

static bool texts_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool lists_equal(const char *const *a, const char *const *b)
{
    if (!a || !b)
        return a == b;
    while (*a && *b && strcmp(*a, *b) == 0)
        a++, b++;
    return !*a && !*b;
}

static bool resources_equal(const struct sdk_settings *a, const struct sdk_settings *b)
{
    return a->resource_attribute_count == b->resource_attribute_count &&
           attributes_equal(a->resource_attributes, b->resource_attributes, a->resource_attribute_count) &&
           texts_equal(a->resource_schema_url, b->resource_schema_url) && a->detect_host == b->detect_host &&
           a->detect_process == b->detect_process && a->detect_container == b->detect_container &&
           a->detect_service == b->detect_service && lists_equal(a->detected_included, b->detected_included) &&
           lists_equal(a->detected_excluded, b->detected_excluded);
}

static bool propagators_equal(const struct sdk_settings *a, const struct sdk_settings *b)
{
    return a->propagate_tracecontext == b->propagate_tracecontext && a->propagate_baggage == b->propagate_baggage;
}

static bool log_levels_equal(const struct sdk_settings *a, const struct sdk_settings *b)
{
    return a->log_level == b->log_level;
}

static bool disabled_equal(const struct sdk_settings *a, const struct sdk_settings *b)
{
    return a->disabled == b->disabled;
}

char *settings_changes(const struct sdk_settings *old, const struct sdk_settings *now, char *out, size_t bytes)
{
    static const struct {
        const char *name;
        bool (*equal)(const struct sdk_settings *a, const struct sdk_settings *b);
    } parts[] = {
        {"disabled", disabled_equal},    {"traces", traces_equal},
        {"metrics", metrics_equal},      {"logs", logs_equal},
        {"resource", resources_equal},   {"propagators", propagators_equal},
        {"log level", log_levels_equal},
    };
    snprintf(out, bytes, "nothing");
    size_t used = 0;
    for (size_t i = 0; i < array_count(parts); i++)
        if (used < bytes && !parts[i].equal(old, now))
            used += (size_t)snprintf(out + used, bytes - used, "%s%s", used > 0 ? ", " : "", parts[i].name);
    return out;
}
