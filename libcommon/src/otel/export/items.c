#include "otel/export/items.h"

#include <stdlib.h>

#include "common/mem.h"

enum { CAPACITY_FIRST = 8 };

static const struct sdk_scope *scope_of(const struct export_batch *batch, unsigned index)
{
    if (batch->encoded)
        return batch->records[index]->scope;
    switch (batch->signal) {
    case SIGNAL_TRACES:
        return batch->spans[index]->scope;
    case SIGNAL_LOGS:
        return batch->logs[index]->scope;
    default:
        return batch->metrics[index].scope;
    }
}

/* Neighbours mostly share their scope, so the search begins at the group of the one before. */
static unsigned group_of(struct scope_groups *groups, unsigned near, const struct sdk_scope *scope)
{
    if (near < groups->count && groups->groups[near].scope == scope)
        return near;
    for (unsigned i = 0; i < groups->count; i++)
        if (groups->groups[i].scope == scope)
            return i;
    if (groups->count == groups->capacity) {
        groups->capacity = groups->capacity ? groups->capacity * 2 : CAPACITY_FIRST;
        groups->groups = mem_resize(groups->groups, groups->capacity, sizeof *groups->groups);
    }
    groups->groups[groups->count] = (struct scope_group){scope, NO_ITEM, NO_ITEM};
    return groups->count++;
}

static void chain(struct scope_groups *groups, struct scope_group *group, int index, bool descending)
{
    groups->next[index] = descending ? group->first : NO_ITEM;
    if (group->first == NO_ITEM)
        group->first = group->last = index;
    else if (descending)
        group->first = index;
    else
        group->last = groups->next[group->last] = index;
}

void scope_groups_make(struct scope_groups *out, const struct export_batch *batch, bool descending)
{
    *out = (struct scope_groups){.next = mem_array(batch->count, sizeof *out->next)};
    unsigned group = 0;
    for (unsigned i = 0; i < batch->count; i++) {
        if (batch->signal == SIGNAL_METRICS && batch->metrics[i].point_count == 0)
            continue;
        group = group_of(out, group, scope_of(batch, i));
        chain(out, &out->groups[group], (int)i, descending);
    }
}

void scope_groups_free(struct scope_groups *groups)
{
    free(groups->groups);
    free(groups->next);
}

uint64_t batch_items(const struct export_batch *batch)
{
    if (batch->signal != SIGNAL_METRICS)
        return batch->count;
    uint64_t points = 0;
    for (unsigned i = 0; i < batch->count; i++)
        points += batch->metrics[i].point_count;
    return points;
}

static void split_points(const struct export_batch *batch, struct export_batch halves[2], struct metric spare[2])
{
    unsigned first = batch->metrics[0].point_count / 2;
    spare[0] = spare[1] = batch->metrics[0];
    spare[0].point_count = first;
    spare[1].points += first;
    spare[1].point_count -= first;
    halves[0].metrics = &spare[0];
    halves[1].metrics = &spare[1];
}

bool batch_split(const struct export_batch *batch, struct export_batch halves[2], struct metric spare[2])
{
    halves[0] = halves[1] = *batch;
    if (batch->count == 1 && batch->signal == SIGNAL_METRICS && batch->metrics[0].point_count > 1) {
        split_points(batch, halves, spare);
        return true;
    }
    if (batch->count < 2)
        return false;
    unsigned first = batch->count / 2;
    halves[0].count = first;
    halves[1].count -= first;
    if (batch->encoded)
        halves[1].records += first;
    else if (batch->signal == SIGNAL_TRACES)
        halves[1].spans += first;
    else if (batch->signal == SIGNAL_LOGS)
        halves[1].logs += first;
    else
        halves[1].metrics += first;
    return true;
}
