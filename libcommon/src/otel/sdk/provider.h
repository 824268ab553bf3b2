/* The providers: what the three signals offer to sdk/otel.c, which starts, swaps and ends them together.
 *
 * Each signal keeps one current pipeline, read by callers inside a guard. prepare builds a new one beside it and
 * changes nothing; commit swaps it in, then drains and frees what was replaced; discard frees one that was not
 * committed. What has not changed is taken over as it is (compared by value): a new sampler leaves the processors and
 * their queues alone, a new exporter leaves the metrics' sums alone. Queued spans and logs of a replaced processor
 * leave through the exporter they were meant for, until the deadline; what remains goes to the new pipeline's
 * processor. One thread at a time calls these. */
#ifndef OTEL_SDK_PROVIDER_H
#define OTEL_SDK_PROVIDER_H

#include "otel/sdk/exporter.h"

struct traces_pipeline;
struct metrics_pipeline;
struct logs_pipeline;

/* settings and resource must outlive the pipeline. NULL with a message when an exporter cannot be opened. */
struct traces_pipeline *traces_prepare(const struct sdk_settings *settings, const struct sdk_resource *resource,
                                       char *message, size_t message_bytes);
void traces_commit(struct traces_pipeline *pipeline, int64_t deadline_ns);
void traces_discard(struct traces_pipeline *pipeline);
bool traces_flush(int64_t deadline_ns); /* false: not all was exported by then; the same below */
/* Ends the signal: drained until the deadline, then no-op as before the first commit. */
bool traces_stop(int64_t deadline_ns);

struct metrics_pipeline *metrics_prepare(const struct sdk_settings *settings, const struct sdk_resource *resource,
                                         char *message, size_t message_bytes);
void metrics_commit(struct metrics_pipeline *pipeline, int64_t deadline_ns);
void metrics_discard(struct metrics_pipeline *pipeline);
bool metrics_flush(int64_t deadline_ns);
bool metrics_stop(int64_t deadline_ns);

struct logs_pipeline *logs_prepare(const struct sdk_settings *settings, const struct sdk_resource *resource,
                                   char *message, size_t message_bytes);
void logs_commit(struct logs_pipeline *pipeline, int64_t deadline_ns);
void logs_discard(struct logs_pipeline *pipeline);
bool logs_flush(int64_t deadline_ns);
bool logs_stop(int64_t deadline_ns);

/* sdk/resource.c: the settings' attributes over what was detected over telemetry.sdk.* (name opentelemetry, language
 * c); service name and version as given fill what is missing. Lives until resource_free(). */
struct sdk_resource *resource_new(const struct sdk_settings *settings, const char *service_name,
                                  const char *service_version);
void resource_free(struct sdk_resource *resource);

/* trace/propagation.c: which propagators extract and inject. */
void propagation_apply(bool tracecontext, bool baggage);

#endif
