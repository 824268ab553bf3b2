/* A tracer is its scope: whatever else it needs is the current pipeline's. */
#include "common/otel/trace.h"
#include "otel/trace/pipeline.h"

struct otel_tracer *otel_tracer(const char *name, const char *version, const char *schema_url)
{
    return (struct otel_tracer *)(uintptr_t)sdk_scope(name, version, schema_url);
}

bool otel_tracer_enabled(const struct otel_tracer *tracer)
{
    (void)tracer;
    struct guard_thread *guard = guard_enter();
    const struct traces_pipeline *pipeline = atomic_load(&traces_current);
    bool enabled = pipeline && pipeline->processors.count > 0;
    guard_exit(guard);
    return enabled;
}
