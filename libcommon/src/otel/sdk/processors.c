#include "otel/sdk/processors.h"

#include <stdlib.h>

#include "common/mem.h"

static bool has(const struct processors *set, const struct batch_processor *batch)
{
    for (unsigned i = 0; i < set->count; i++)
        if (set->batches[i] == batch)
            return true;
    return false;
}

static struct batch_processor *find_same(const struct processors *set, const struct processors *current,
                                         const struct processor_settings *wanted, const struct sdk_resource *resource)
{
    for (unsigned i = 0; current && i < current->count; i++)
        if (batch_matches(current->batches[i], wanted, resource) && !has(set, current->batches[i]))
            return current->batches[i];
    return NULL;
}

bool processors_prepare(struct processors *set, const struct processors *current,
                        const struct processor_settings *wanted, unsigned wanted_count,
                        const struct sdk_resource *resource, const struct record_kind *kind, struct arena *arena,
                        char *message, size_t message_bytes)
{
    set->count = set->encoded_count = 0;
    set->batches = arena_array(arena, struct batch_processor *, wanted_count);
    set->kept = arena_array(arena, bool, wanted_count);
    set->encoded = arena_array(arena, bool, wanted_count);
    for (unsigned i = 0; i < wanted_count; i++) {
        struct batch_processor *batch = find_same(set, current, &wanted[i], resource);
        set->kept[i] = batch != NULL;
        if (!batch)
            batch = batch_start(&wanted[i], resource, kind, message, message_bytes);
        if (!batch) {
            processors_discard(set);
            return false;
        }
        set->encoded[set->count] = batch_takes_encoded(batch);
        set->encoded_count += set->encoded[set->count];
        set->batches[set->count++] = batch;
    }
    return true;
}

void processors_discard(struct processors *set)
{
    for (unsigned i = 0; i < set->count; i++)
        if (!set->kept[i])
            batch_stop(set->batches[i], 0, NULL);
    set->count = 0;
}

void processors_add(const struct processors *set, bool encoded, void *record)
{
    for (unsigned i = 0; i < set->count; i++)
        if (set->encoded[i] == encoded)
            batch_add(set->batches[i], record);
}

bool processors_want_encoded(const struct processors *set)
{
    if (set->encoded_count == 0)
        return false;
    for (unsigned i = 0; i < set->count; i++)
        if (set->encoded[i] && !batch_is_full(set->batches[i]))
            return true;
    for (unsigned i = 0; i < set->count; i++)
        if (set->encoded[i])
            batch_drop(set->batches[i]);
    return false;
}

/* One that was kept has had every record already. */
static struct batch_processor *next_heir(const struct processors *set, unsigned *next)
{
    while (set && *next < set->count)
        if (!set->kept[(*next)++])
            return set->batches[*next - 1];
    return NULL;
}

bool processors_retire(const struct processors *set, const struct processors *next, int64_t deadline_ns)
{
    struct batch_processor **ended = mem_array(2 * (size_t)set->count + 1, sizeof(void *));
    struct batch_processor **heirs = ended + set->count;
    unsigned count = 0, heir = 0;
    for (unsigned i = 0; i < set->count; i++) {
        if (next && has(next, set->batches[i]))
            continue;
        ended[count] = set->batches[i];
        heirs[count++] = next_heir(next, &heir);
    }
    bool ok = batches_stop(ended, heirs, count, deadline_ns);
    free(ended);
    return ok;
}
