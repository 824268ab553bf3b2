/* Exemplars of one point: a few of its measurements, with the trace that each was made in.
 *
 * Sums, gauges and exponential histograms keep a uniform sample of fixed size, explicit histograms one measurement a
 * bucket. A measurement that comes while another is being stored, or read, is not a candidate: nobody waits.
 * Source: OpenTelemetry specification, metrics/sdk, ExemplarReservoir. */
#ifndef OTEL_METRICS_RESERVOIR_H
#define OTEL_METRICS_RESERVOIR_H

#include "common/trace.h"
#include "otel/metrics/cell.h"

struct reservoir;

/* Process-wide: enum exemplar_filter. */
extern _Atomic(int) exemplar_filter;

/* Can a measurement of now become an exemplar? Sets the context that it is made in, or NULL. */
static inline bool exemplar_wanted(const struct trace_context **out_context)
{
    int filter = atomic_load_explicit(&exemplar_filter, memory_order_relaxed);
    if (filter == EXEMPLARS_ALWAYS_OFF)
        return false;
    *out_context = trace_current();
    return filter == EXEMPLARS_ALWAYS_ON || (*out_context && ((*out_context)->flags & 1));
}

struct reservoir *reservoir_new(const struct stream *stream);
void reservoir_free(struct reservoir *reservoir); /* NULL is allowed */
/* left_out are the attributes that the stream does not keep; they are copied. Any thread. */
void reservoir_offer(struct reservoir *reservoir, const struct stream *stream, const struct measurement *measurement,
                     const struct trace_context *context, const struct otel_attribute *left_out, unsigned count);
/* Copies of those made at since_wall_ns or later; the next measurements take the places of all. */
const struct exemplar *reservoir_collect(struct reservoir *reservoir, int64_t since_wall_ns, struct arena *arena,
                                         unsigned *out_count);

#endif
