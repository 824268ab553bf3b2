#include <string.h>

#include "common/mem.h"
#include "otel/settings/sections.h"

static const struct variant propagators[] = {
    {"tracecontext", PROPAGATE_TRACECONTEXT},
    {"baggage", PROPAGATE_BAGGAGE},
    {"b3", .refused = true},
    {"b3multi", .refused = true},
    {"xray", .refused = true},
};

static void add(struct sdk_settings *settings, int propagator)
{
    settings->propagate_tracecontext |= propagator == PROPAGATE_TRACECONTEXT;
    settings->propagate_baggage |= propagator == PROPAGATE_BAGGAGE;
}

static enum err read_composite(const struct reading *reading, const struct node *node, void *out)
{
    if (node->kind != NODE_LIST || node->count == 0)
        return schema_expected(reading, node, "a list of propagators");
    for (const struct node *item = node->first; item; item = item->next) {
        int propagator;
        enum err err = schema_variant(reading, item, TABLE(propagators), NULL, &propagator);
        if (err)
            return err;
        add(out, propagator);
    }
    return ERR_OK;
}

static enum err read_composite_list(const struct reading *reading, const struct node *node, void *out)
{
    const char *text;
    enum err err = schema_text(reading, node, &text);
    if (err || propagators_parse(out, text))
        return err;
    return schema_expected(reading, node, "tracecontext, baggage, both with a comma between, or none");
}

static const struct field fields[] = {
    {"composite", FIELD_NODE, .read = read_composite},
    {"composite_list", FIELD_NULLABLE, .read = read_composite_list},
};

enum err read_propagator(const struct reading *reading, const struct node *node, void *out)
{
    return schema_map(reading, node, TABLE(fields), out);
}
