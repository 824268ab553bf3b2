#include <stdlib.h>

#include "bench/otel.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/otel/trace.h"
#include "otel/sdk/export.h"
#include "otel/sdk/provider.h"

/* --- an exporter that throws away */

static struct export_result discard(struct exporter *exporter, const struct export_batch *batch, int64_t deadline_ns)
{
    (void)exporter, (void)batch, (void)deadline_ns;
    return (struct export_result){.ok = true};
}

static void hurry(struct exporter *exporter, int64_t deadline_ns)
{
    (void)exporter, (void)deadline_ns;
}

static void discard_free(struct exporter *exporter)
{
    free(exporter);
}

static const struct exporter_methods methods = {
    .type = "bench_span_exporter", .export = discard, .hurry = hurry, .free = discard_free};

static struct exporter *open_discarding(const struct exporter_settings *settings, enum signal signal, char *message,
                                        size_t message_bytes)
{
    (void)settings, (void)message, (void)message_bytes;
    struct exporter *exporter = mem_alloc(sizeof *exporter);
    *exporter = (struct exporter){&methods, signal};
    return exporter;
}

/* --- the pipeline */

static struct processor_settings processor = {.batch = true,
                                              .schedule_delay_ms = 1000,
                                              .export_timeout_ms = 30000,
                                              .max_queue_size = 2048,
                                              .max_export_batch_size = 512};
static struct sdk_settings settings = {
    .span_limits = {-1, 128, 128, 128, 128, 128}, .span_processors = &processor, .span_processor_count = 1};
static const struct sampler_settings on = {.kind = SAMPLER_ALWAYS_ON}, off = {.kind = SAMPLER_ALWAYS_OFF};
static const struct sdk_resource resource;
static struct otel_tracer *tracer;

static void open_with(const struct sampler_settings *root)
{
    char message[256];
    exporting_opener = open_discarding;
    settings.sampler = (struct sampler_settings){.kind = SAMPLER_PARENT_BASED,
                                                 .root = root,
                                                 .remote_parent_sampled = &on,
                                                 .remote_parent_not_sampled = &off,
                                                 .local_parent_sampled = &on,
                                                 .local_parent_not_sampled = &off};
    tracer = otel_tracer("bench", "1", NULL);
    traces_commit(traces_prepare(&settings, &resource, message, sizeof message), CLOCK_NEVER);
}

static void open_sampled(void)
{
    open_with(&on);
}

static void open_unsampled(void)
{
    open_with(&off);
}

/* What remains is the caller's own work: no queue, and records that no other thread has had. */
static void open_without_processor(void)
{
    settings.span_processor_count = 0;
    open_with(&on);
    settings.span_processor_count = 1;
}

static void open_nothing(void)
{
    tracer = otel_tracer("bench", "1", NULL);
}

static void flush(void)
{
    traces_flush(CLOCK_NEVER);
}

static void stop(void)
{
    traces_stop(CLOCK_NEVER);
}

/* --- what is measured */

static void recorded(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        static struct otel_span span; /* its memory is its owner's business */
        otel_span_start(&span, tracer, "GET /api/orders/:id", NULL);
        otel_span_enter(&span);
        otel_span_set(&span, otel_text("http.request.method", "GET"));
        otel_span_set(&span, otel_text("http.route", "/api/orders/:id"));
        otel_span_set(&span, otel_int("http.response.status_code", 200));
        otel_span_set(&span, otel_bool("cache.hit", true));
        otel_span_end(&span);
    }
}

static void recorded_bare(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        static struct otel_span span; /* its memory is its owner's business */
        otel_span_start(&span, tracer, "SELECT orders", NULL);
        otel_span_end(&span);
    }
}

static void clock_twice(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        clock_now_ns();
        clock_now_ns();
    }
}

static void nothing(void)
{
}

const struct benchmark trace_benchmarks[] = {
    {"span: recorded, start, enter, 4 attributes, end", 150, open_sampled, recorded, flush, stop},
    {"span: recorded, start, end", 0, open_sampled, recorded_bare, flush, stop},
    {"span: the first without a processor", 0, open_without_processor, recorded, NULL, stop},
    {"span: the second without a processor", 0, open_without_processor, recorded_bare, NULL, stop},
    {"span: two readings of the clock, which the above contain", 0, nothing, clock_twice, NULL, nothing},
    {"span: not sampled, the same calls as the first", 30, open_unsampled, recorded, NULL, stop},
    {"span: not sampled, start, end", 30, open_unsampled, recorded_bare, NULL, stop},
    {"span: no SDK, start, end", 0, open_nothing, recorded_bare, NULL, nothing},
    {0},
};
