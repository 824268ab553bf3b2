#include "common/mem.h"
#include "otel/settings/sections.h"

#define AT(member) offsetof(struct sampler_settings, member)

static enum err read_delegate(const struct reading *reading, const struct node *node, void *out)
{
    struct sampler_settings *sampler = arena_new(reading->arena, struct sampler_settings);
    enum err err = read_sampler(reading, node, sampler);
    if (!err)
        *(const struct sampler_settings **)out = sampler;
    return err;
}

static const struct field ratio_fields[] = {
    {"ratio", FIELD_RATIO, AT(ratio)},
};

static const struct field parent_fields[] = {
    {"root", FIELD_NODE, AT(root), .read = read_delegate},
    {"remote_parent_sampled", FIELD_NODE, AT(remote_parent_sampled), .read = read_delegate},
    {"remote_parent_not_sampled", FIELD_NODE, AT(remote_parent_not_sampled), .read = read_delegate},
    {"local_parent_sampled", FIELD_NODE, AT(local_parent_sampled), .read = read_delegate},
    {"local_parent_not_sampled", FIELD_NODE, AT(local_parent_not_sampled), .read = read_delegate},
};

static const struct variant samplers[] = {
    {"always_on", SAMPLER_ALWAYS_ON},
    {"always_off", SAMPLER_ALWAYS_OFF},
    {"trace_id_ratio_based", SAMPLER_TRACE_ID_RATIO, .fields = ratio_fields, array_count(ratio_fields)},
    {"parent_based", SAMPLER_PARENT_BASED, .fields = parent_fields, array_count(parent_fields)},
    {"probability/development", SAMPLER_PROBABILITY, .fields = ratio_fields, array_count(ratio_fields)},
    {"always_record", .refused = true},
    {"composite/development", .refused = true},
    {"jaeger_remote/development", .refused = true},
};

enum err read_sampler(const struct reading *reading, const struct node *node, void *out)
{
    struct sampler_settings sampler = sampler_defaults();
    int kind;
    sampler.ratio = 1;
    enum err err = schema_variant(reading, node, TABLE(samplers), &sampler, &kind);
    if (err)
        return err;
    sampler.kind = (enum sampler_kind)kind;
    *(struct sampler_settings *)out = sampler;
    return ERR_OK;
}
