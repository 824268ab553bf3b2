#include <stdlib.h>
#include <string.h>

#include "bench/otel.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/otel/otel.h"
#include "otel/sdk/provider.h"

/* --- the pipeline: what otel_metrics_text() reads, which a cumulative reader would share */

static const struct sdk_resource resource;
static struct otel_counter *counter;
static struct otel_bound_counter *bound_counter;
static struct otel_bound_histogram *bound_histogram, *bound_exponential;
static struct otel_histogram *histogram;

static void start(enum exemplar_filter filter)
{
    static const struct view_settings exponential = {.instrument_name = "bench.exponential",
                                                     .instrument_type = -1,
                                                     .aggregation = AGGREGATE_EXPONENTIAL,
                                                     .max_scale = 20,
                                                     .max_size = 160};
    const struct sdk_settings settings = {.views = &exponential, .view_count = 1, .exemplar_filter = filter};
    char message[256];
    struct metrics_pipeline *pipeline = metrics_prepare(&settings, &resource, message, sizeof message);
    if (!pipeline)
        abort();
    metrics_commit(pipeline, CLOCK_NEVER);
}

static void make_instruments(void)
{
    static const struct otel_instrument_options seconds = {.unit = "s", .number = OTEL_NUMBER_REAL};
    struct otel_meter *meter = otel_meter("bench", NULL, NULL);
    counter = otel_counter(meter, "bench.counter", NULL);
    histogram = otel_histogram(meter, "bench.histogram", &seconds);
    struct otel_histogram *wide = otel_histogram(meter, "bench.exponential", &seconds);
    bound_counter = otel_counter_bind(counter, OTEL_LIST(otel_text("bench.outcome", "done")));
    bound_histogram = otel_histogram_bind(histogram, OTEL_LIST(otel_text("bench.outcome", "done")));
    bound_exponential = otel_histogram_bind(wide, OTEL_LIST(otel_text("bench.outcome", "done")));
}

static void open_usual(void)
{
    start(EXEMPLARS_TRACE_BASED);
    make_instruments();
}

static void open_without_exemplars(void)
{
    start(EXEMPLARS_ALWAYS_OFF);
    make_instruments();
}

static const struct trace_context *before;

static void open_sampled(void)
{
    static struct trace_context trace;
    open_usual();
    trace = trace_new();
    trace.flags |= 1;
    before = trace_attach(&trace);
}

static void stop(void)
{
    metrics_stop(CLOCK_NEVER);
}

static void stop_sampled(void)
{
    trace_attach(before);
    stop();
}

/* --- what is measured */

static void add_bound(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        otel_bound_add(bound_counter, 1);
}

static void record_bound(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        otel_bound_record(bound_histogram, (double)(i * 7 % 1024));
}

static void record_exponential(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        otel_bound_record(bound_exponential, 0.001 + (double)(i * 7 % 1024));
}

static void add_three_attributes(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        otel_counter_add(counter, 1,
                         OTEL_LIST(otel_text("http.request.method", "GET"),
                                   otel_int("http.response.status_code", i % 2 ? 200 : 404),
                                   otel_text("http.route", "/api/orders/:id")));
}

static void record_three_attributes(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        otel_histogram_record(histogram, (double)(i * 7 % 1024),
                              OTEL_LIST(otel_text("http.route", "/api/orders/:id"),
                                        otel_int("http.response.status_code", i % 2 ? 200 : 404),
                                        otel_text("http.request.method", "GET")));
}

static void add_none(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        otel_counter_add(counter, 1, NULL, 0);
}

static void nothing(void)
{
}

const struct benchmark metrics_benchmarks[] = {
    {"bound counter add", 5, open_usual, add_bound, NULL, stop},
    {"bound counter add, exemplars off", 5, open_without_exemplars, add_bound, NULL, stop},
    {"bound counter add in a sampled trace", 0, open_sampled, add_bound, NULL, stop_sampled},
    {"bound histogram record", 0, open_usual, record_bound, NULL, stop},
    {"bound histogram record in a sampled trace", 0, open_sampled, record_bound, NULL, stop_sampled},
    {"bound exponential histogram record", 0, open_usual, record_exponential, NULL, stop},
    {"counter add without attributes", 0, open_usual, add_none, NULL, stop},
    {"counter add with 3 attributes", 0, open_usual, add_three_attributes, NULL, stop},
    {"histogram record with 3 attributes, not in order", 0, open_usual, record_three_attributes, NULL, stop},
    {"bound counter add before the start", 0, make_instruments, add_bound, NULL, nothing},
    {0},
};
