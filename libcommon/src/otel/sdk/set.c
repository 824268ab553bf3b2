#include "otel/sdk/set.h"

#include <limits.h>
#include <stdlib.h>

#include "common/mem.h"

enum { CHUNK_BYTES = 512 };

static unsigned length_of(const struct otel_value *value)
{
    if (value->type > OTEL_REAL)
        return UINT_MAX;
    return value->type == OTEL_TEXT ? value->count : 0;
}

struct otel_attribute_set *otel_attribute_set_new(const struct otel_attribute *attributes, unsigned count)
{
    struct otel_attribute_set *set = mem_aligned(_Alignof(struct otel_attribute_set), sizeof *set);
    arena_init(&set->arena, CHUNK_BYTES);
    for (unsigned i = 0; i < count; i++)
        attributes_set(&set->arena, &set->list, &attributes[i], UINT_MAX, -1);
    for (unsigned i = 0; i < set->list.count; i++)
        if (set->longest < length_of(&set->list.items[i].value))
            set->longest = length_of(&set->list.items[i].value);
    set->encoded = encoded_attributes(&set->arena, set->list.items, set->list.count);
    return set;
}

void otel_attribute_set_free(struct otel_attribute_set *set)
{
    if (!set)
        return;
    arena_done(&set->arena);
    free(set);
}
