#include "otel/sdk/provider.h"

#include <stdlib.h>

#include "common/mem.h"
#include "otel/trace/pipeline.h"
#include "otel/trace/record.h"
#include "otel/trace/wall.h"

enum { PIPELINE_CHUNK_BYTES = 1024 };

_Atomic(struct traces_pipeline *) traces_current;

static struct encoded_record *encode(const void *record, unsigned users)
{
    return encoded_span(record, users);
}

static void *decode(const struct encoded_record *encoded)
{
    static const struct limit_settings none;
    struct span_record *record = record_take(&none);
    encoded_read_span(encoded, record);
    return record;
}

static const struct record_kind spans = {
    .signal = SIGNAL_TRACES, .release = record_release, .encode = encode, .decode = decode};

void pipeline_deliver(struct traces_pipeline *pipeline, struct span_record *record)
{
    const struct processors *processors = &pipeline->processors;
    unsigned others = processors->count - processors->encoded_count;
    if (processors_want_encoded(processors))
        processors_add(processors, true, encoded_span(record, processors->encoded_count));
    if (others == 0) {
        record_release(record);
        return;
    }
    record_own(record);
    record_share(record, others);
    processors_add(processors, false, record);
}

static void pipeline_free(struct traces_pipeline *pipeline)
{
    arena_done(&pipeline->arena);
    free(pipeline);
}

struct traces_pipeline *traces_prepare(const struct sdk_settings *settings, const struct sdk_resource *resource,
                                       char *message, size_t message_bytes)
{
    const struct traces_pipeline *current = atomic_load(&traces_current);
    struct traces_pipeline *pipeline = mem_alloc(sizeof *pipeline);
    wall_init();
    arena_init(&pipeline->arena, PIPELINE_CHUNK_BYTES);
    pipeline->sampler = sampler_new(&pipeline->arena, &settings->sampler);
    pipeline->limits = settings->span_limits;
    if (processors_prepare(&pipeline->processors, current ? &current->processors : NULL, settings->span_processors,
                           settings->span_processor_count, resource, &spans, &pipeline->arena, message, message_bytes))
        return pipeline;
    pipeline_free(pipeline);
    return NULL;
}

void traces_discard(struct traces_pipeline *pipeline)
{
    processors_discard(&pipeline->processors);
    pipeline_free(pipeline);
}

static bool swap(struct traces_pipeline *pipeline, int64_t deadline_ns)
{
    struct traces_pipeline *old = atomic_exchange(&traces_current, pipeline);
    if (!old)
        return true;
    guard_wait();
    bool ok = processors_retire(&old->processors, pipeline ? &pipeline->processors : NULL, deadline_ns);
    pipeline_free(old);
    return ok;
}

void traces_commit(struct traces_pipeline *pipeline, int64_t deadline_ns)
{
    swap(pipeline, deadline_ns);
}

bool traces_flush(int64_t deadline_ns)
{
    const struct traces_pipeline *pipeline = atomic_load(&traces_current);
    return !pipeline || batches_flush(pipeline->processors.batches, pipeline->processors.count, deadline_ns);
}

bool traces_stop(int64_t deadline_ns)
{
    return swap(NULL, deadline_ns);
}
