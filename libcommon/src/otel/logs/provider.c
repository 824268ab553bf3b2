#include "otel/sdk/provider.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "common/mem.h"
#include "otel/logs/bridge.h"
#include "otel/logs/internal.h"
#include "otel/sdk/guard.h"

enum { PIPELINE_CHUNK_BYTES = 256 };

_Atomic(struct logs_pipeline *) logs_current;

static struct encoded_record *encode(const void *record, unsigned users)
{
    return encoded_log(record, users);
}

static void *decode(const struct encoded_record *encoded)
{
    struct log_record *record = log_record_take(1);
    encoded_read_log(encoded, record);
    return record;
}

static const struct record_kind log_records = {
    .signal = SIGNAL_LOGS, .release = log_record_release, .encode = encode, .decode = decode};

static void pipeline_free(struct logs_pipeline *pipeline)
{
    arena_done(&pipeline->arena);
    free(pipeline);
}

struct logs_pipeline *logs_prepare(const struct sdk_settings *settings, const struct sdk_resource *resource,
                                   char *message, size_t message_bytes)
{
    const struct logs_pipeline *current = atomic_load(&logs_current);
    struct logs_pipeline *pipeline = mem_alloc(sizeof *pipeline);
    arena_init(&pipeline->arena, PIPELINE_CHUNK_BYTES);
    pipeline->limits = settings->log_limits;
    if (processors_prepare(&pipeline->processors, current ? &current->processors : NULL, settings->log_processors,
                           settings->log_processor_count, resource, &log_records, &pipeline->arena, message,
                           message_bytes))
        return pipeline;
    pipeline_free(pipeline);
    return NULL;
}

void logs_discard(struct logs_pipeline *pipeline)
{
    processors_discard(&pipeline->processors);
    pipeline_free(pipeline);
}

static bool swap(struct logs_pipeline *pipeline, int64_t deadline_ns)
{
    struct logs_pipeline *old = atomic_exchange(&logs_current, pipeline);
    if (!old)
        return true;
    guard_wait();
    bool all = processors_retire(&old->processors, pipeline ? &pipeline->processors : NULL, deadline_ns);
    pipeline_free(old);
    return all;
}

void logs_commit(struct logs_pipeline *pipeline, int64_t deadline_ns)
{
    if (pipeline->processors.count > 0)
        bridge_start();
    else
        bridge_stop();
    swap(pipeline, deadline_ns);
}

bool logs_flush(int64_t deadline_ns)
{
    const struct logs_pipeline *pipeline = atomic_load(&logs_current);
    return !pipeline || batches_flush(pipeline->processors.batches, pipeline->processors.count, deadline_ns);
}

bool logs_stop(int64_t deadline_ns)
{
    bridge_stop();
    bool all = swap(NULL, deadline_ns);
    log_records_free();
    return all;
}
