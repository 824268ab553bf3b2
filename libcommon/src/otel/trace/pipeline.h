/* What tracers find inside a guard: the sampler, the limits and the processors that are in force. */
#ifndef OTEL_TRACE_PIPELINE_H
#define OTEL_TRACE_PIPELINE_H

#include "otel/sdk/guard.h"
#include "otel/sdk/model.h"
#include "otel/sdk/processors.h"
#include "otel/trace/sampler.h"

struct traces_pipeline {
    struct arena arena;
    struct sampler *sampler;
    struct limit_settings limits;
    struct processors processors;
    atomic_bool told_of_limits;
};

extern _Atomic(struct traces_pipeline *) traces_current;

/* Gives an ended span to every processor. */
void pipeline_deliver(struct traces_pipeline *pipeline, struct span_record *record);

#endif
