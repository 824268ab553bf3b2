/* The metrics SDK from instrument to exporter; the exporter keeps what it is given. */
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/otel/otel.h"
#include "otel/metrics/exponential.h"
#include "otel/metrics/pattern.h"
#include "otel/sdk/export.h"
#include "otel/sdk/provider.h"

enum { WAIT_MS = 20000, MESSAGE_BYTES = 256 };

/* --- an exporter that remembers */

struct seen {
    char exporter[32]; /* its endpoint */
    unsigned batch;    /* numbered over all exporters */
    char scope[32], name[80], description[64], unit[16], attributes[160];
    struct metric metric;
    struct metric_point point;
    uint64_t buckets[32];
    double bounds[32];
    struct exemplar exemplars[32];
    char exemplar_attributes[32][64];
};

static struct {
    pthread_mutex_t lock;
    struct seen *points;
    unsigned count, capacity, batches;
    bool fails;
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct remembering {
    struct exporter exporter;
    char endpoint[32];
};

static void print_attributes(char *out, size_t bytes, const struct otel_attribute *attributes, unsigned count)
{
    size_t used = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < count && used < bytes; i++) {
        const struct otel_value *value = &attributes[i].value;
        const char *comma = i > 0 ? "," : "";
        if (value->type == OTEL_TEXT)
            used += (size_t)snprintf(out + used, bytes - used, "%s%s=%.*s", comma, attributes[i].key, (int)value->count,
                                     value->text);
        else if (value->type == OTEL_BOOL)
            used += (size_t)snprintf(out + used, bytes - used, "%s%s=%s", comma, attributes[i].key,
                                     value->boolean ? "true" : "false");
        else
            used += (size_t)snprintf(out + used, bytes - used, "%s%s=%lld", comma, attributes[i].key,
                                     (long long)value->integer);
    }
}

static void remember(const char *endpoint, const struct metric *metric, const struct metric_point *point)
{
    if (seen.count == seen.capacity) {
        seen.capacity = seen.capacity ? seen.capacity * 2 : 256;
        seen.points = mem_resize(seen.points, seen.capacity, sizeof *seen.points);
    }
    struct seen *s = &seen.points[seen.count++];
    memset(s, 0, sizeof *s);
    s->batch = seen.batches;
    s->metric = *metric;
    s->point = *point;
    snprintf(s->exporter, sizeof s->exporter, "%s", endpoint);
    snprintf(s->scope, sizeof s->scope, "%s", metric->scope->name);
    snprintf(s->name, sizeof s->name, "%s", metric->name);
    snprintf(s->description, sizeof s->description, "%s", metric->description);
    snprintf(s->unit, sizeof s->unit, "%s", metric->unit);
    print_attributes(s->attributes, sizeof s->attributes, point->attributes, point->attribute_count);
    for (unsigned i = 0; i < point->bucket_count && i < 32; i++)
        s->buckets[i] = point->buckets[i];
    for (unsigned i = 0; i < metric->bound_count && i < 32; i++)
        s->bounds[i] = metric->bounds[i];
    for (unsigned i = 0; i < point->exemplar_count && i < 32; i++) {
        s->exemplars[i] = point->exemplars[i];
        print_attributes(s->exemplar_attributes[i], sizeof s->exemplar_attributes[i], point->exemplars[i].attributes,
                         point->exemplars[i].attribute_count);
    }
}

static struct export_result remember_all(struct exporter *exporter, const struct export_batch *batch,
                                         int64_t deadline_ns)
{
    const struct remembering *self = (const struct remembering *)exporter;
    (void)deadline_ns;
    pthread_mutex_lock(&seen.lock);
    bool fails = seen.fails;
    for (unsigned m = 0; m < batch->count; m++)
        for (unsigned p = 0; p < batch->metrics[m].point_count; p++)
            remember(self->endpoint, &batch->metrics[m], &batch->metrics[m].points[p]);
    seen.batches++;
    pthread_mutex_unlock(&seen.lock);
    return (struct export_result){.ok = !fails, .error = fails ? "UNAVAILABLE" : NULL};
}

static void no_hurry(struct exporter *exporter, int64_t deadline_ns)
{
    (void)exporter, (void)deadline_ns;
}

static void free_exporter(struct exporter *exporter)
{
    free(exporter);
}

static const struct exporter_methods methods = {
    .type = "remembering", .export = remember_all, .hurry = no_hurry, .free = free_exporter};

static struct exporter *open_remembering(const struct exporter_settings *settings, enum signal signal, char *message,
                                         size_t message_bytes)
{
    if (strcmp(settings->endpoint, "refused") == 0) {
        snprintf(message, message_bytes, "refused");
        return NULL;
    }
    struct remembering *self = mem_alloc(sizeof *self);
    self->exporter = (struct exporter){&methods, signal};
    snprintf(self->endpoint, sizeof self->endpoint, "%s", settings->endpoint);
    return &self->exporter;
}

static void forget(void)
{
    pthread_mutex_lock(&seen.lock);
    seen.count = 0;
    pthread_mutex_unlock(&seen.lock);
}

/* The last point of name with these attributes; NULL: none since forget(). */
static const struct seen *find(const char *name, const char *attributes)
{
    for (unsigned i = seen.count; i-- > 0;)
        if (strcmp(seen.points[i].name, name) == 0 && strcmp(seen.points[i].attributes, attributes) == 0)
            return &seen.points[i];
    return NULL;
}

static const struct seen *get(const char *name, const char *attributes)
{
    const struct seen *s = find(name, attributes);
    if (!s)
        print_message("no point of %s with {%s}\n", name, attributes);
    assert_non_null(s);
    return s;
}

static unsigned count_of(const char *name)
{
    unsigned count = 0;
    for (unsigned i = 0; i < seen.count; i++)
        count += strcmp(seen.points[i].name, name) == 0;
    return count;
}

/* --- log lines */

static atomic_int warnings, errors;

static void count_line(const struct log_line *line)
{
    if (line->level == LOG_WARN)
        warnings++;
    if (line->level == LOG_ERROR)
        errors++;
}

/* --- pipelines */

static char message[MESSAGE_BYTES];
static struct reader_settings readers[3];
static struct view_settings views[8];
static struct sdk_settings settings;
static const struct sdk_resource resource;

static int64_t soon(void)
{
    return clock_now_ns() + WAIT_MS * NS_PER_MS;
}

static struct reader_settings reader(const char *endpoint, enum temporality_preference preference)
{
    return (struct reader_settings){
        .interval_ms = 3600 * 1000,
        .timeout_ms = WAIT_MS,
        .exporter = {.kind = EXPORT_OTLP_GRPC, .endpoint = endpoint, .temporality = preference}};
}

static struct view_settings view(const char *instrument)
{
    return (struct view_settings){
        .instrument_name = instrument, .instrument_type = -1, .record_min_max = true, .max_scale = 20, .max_size = 160};
}

static void apply(void)
{
    struct metrics_pipeline *pipeline = metrics_prepare(&settings, &resource, message, sizeof message);
    if (!pipeline)
        print_message("%s\n", message);
    assert_non_null(pipeline);
    metrics_commit(pipeline, soon());
}

/* One reader with this preference. */
static void begin_with(enum temporality_preference preference)
{
    readers[0] = reader("one", preference);
    settings = (struct sdk_settings){.readers = readers, .reader_count = 1, .views = views};
    forget();
    apply();
}

static void begin(void)
{
    begin_with(PREFER_CUMULATIVE);
}

static void end(void)
{
    assert_true(metrics_stop(soon()));
}

static void collect(void)
{
    forget();
    assert_true(metrics_flush(soon()));
}

static const struct otel_instrument_options whole = {.number = OTEL_NUMBER_INT};
static const struct otel_instrument_options real = {.number = OTEL_NUMBER_REAL, .unit = "s"};

static struct otel_attribute text(const char *key, const char *value)
{
    return otel_text(key, value);
}

/* --- sums */

static void test_a_counter_sums_what_is_added_bound_or_not(void **state)
{
    (void)state;
    begin();
    struct otel_counter *counter = otel_counter(otel_meter("sums", "1", NULL), "sum", &whole);
    struct otel_bound_counter *bound = otel_counter_bind(counter, OTEL_LIST(text("b", "2"), text("a", "1")));
    otel_counter_add(counter, 2, OTEL_LIST(text("a", "1"), text("b", "2")));
    otel_counter_add(counter, 3, OTEL_LIST(text("b", "2"), text("a", "0"), text("a", "1"), text("", "x")));
    otel_bound_add(bound, 10);
    otel_bound_add_real(bound, 20.9);
    otel_counter_add(counter, 1, NULL, 0);
    collect();
    const struct seen *s = get("sum", "a=1,b=2");
    assert_int_equal(s->point.integer, 35);
    assert_int_equal(s->metric.type, METRIC_SUM);
    assert_true(s->metric.monotonic && s->metric.integer);
    assert_int_equal(s->metric.temporality, TEMPORALITY_CUMULATIVE);
    assert_string_equal(s->scope, "sums");
    assert_int_equal(get("sum", "")->point.integer, 1);
    int64_t start = s->point.start_wall_ns;
    assert_true(start > 0 && start <= s->point.wall_ns);
    collect();
    s = get("sum", "a=1,b=2");
    assert_int_equal(s->point.integer, 35);
    assert_int_equal(s->point.start_wall_ns, start);
    end();
}

static void test_a_counter_never_falls(void **state)
{
    (void)state;
    begin();
    struct otel_meter *meter = otel_meter("falls", NULL, NULL);
    struct otel_counter *counter = otel_counter(meter, "falls", &real);
    struct otel_counter *integers = otel_counter(meter, "falls.int", &whole);
    struct otel_bound_counter *bound = otel_counter_bind(integers, NULL, 0);
    otel_counter_add(counter, -1, NULL, 0);
    otel_counter_add(counter, NAN, NULL, 0);
    otel_counter_add(counter, INFINITY, NULL, 0);
    otel_counter_add(integers, 1e30, NULL, 0);
    otel_bound_add(bound, -5);
    otel_bound_add_real(bound, -5);
    collect();
    assert_null(find("falls", ""));
    assert_null(find("falls.int", ""));
    otel_counter_add(counter, 1.5, NULL, 0);
    otel_bound_add(bound, 0);
    collect();
    assert_true(get("falls", "")->point.real == 1.5);
    assert_int_equal(get("falls.int", "")->point.integer, 0);
    end();
}

static void test_an_up_down_counter_goes_both_ways(void **state)
{
    (void)state;
    begin();
    struct otel_meter *meter = otel_meter("updown", NULL, NULL);
    struct otel_up_down_counter *counter = otel_up_down_counter(meter, "updown", &whole);
    struct otel_bound_counter *bound = otel_up_down_counter_bind(counter, OTEL_LIST(otel_int("n", 7)));
    otel_up_down_counter_add(counter, 3, OTEL_LIST(otel_int("n", 7)));
    otel_bound_add(bound, -10);
    collect();
    assert_int_equal(get("updown", "n=7")->point.integer, -7);
    assert_false(get("updown", "n=7")->metric.monotonic);
    end();
}

static void test_a_gauge_keeps_the_last_value(void **state)
{
    (void)state;
    begin();
    struct otel_meter *meter = otel_meter("gauge", NULL, NULL);
    struct otel_gauge *gauge = otel_gauge(meter, "gauge", &real), *integers = otel_gauge(meter, "gauge.int", NULL);
    otel_gauge_set(gauge, 3, NULL, 0);
    otel_gauge_set(gauge, -2.5, NULL, 0);
    otel_gauge_set(integers, 2.9, NULL, 0);
    collect();
    assert_int_equal(get("gauge", "")->metric.type, METRIC_GAUGE);
    assert_true(get("gauge", "")->point.real == -2.5);
    assert_int_equal(get("gauge.int", "")->point.integer, 2);
    collect();
    assert_true(get("gauge", "")->point.real == -2.5);
    end();
}

/* --- histograms */

static void test_a_histogram_has_the_default_buckets(void **state)
{
    (void)state;
    static const double values[] = {0, 5, 5.1, -1, 10000, 10001};
    begin();
    struct otel_histogram *histogram = otel_histogram(otel_meter("histogram", NULL, NULL), "histogram", &real);
    struct otel_bound_histogram *bound = otel_histogram_bind(histogram, NULL, 0);
    for (size_t i = 0; i < array_count(values); i++) {
        otel_histogram_record(histogram, values[i], NULL, 0);
        otel_bound_record(bound, values[i]);
    }
    otel_bound_record(bound, NAN);
    collect();
    const struct seen *s = get("histogram", "");
    assert_int_equal(s->metric.type, METRIC_HISTOGRAM);
    assert_int_equal(s->metric.bound_count, 15);
    assert_int_equal(s->point.bucket_count, 16);
    assert_int_equal(s->buckets[0], 4);
    assert_int_equal(s->buckets[1], 2);
    assert_int_equal(s->buckets[2], 2);
    assert_int_equal(s->buckets[14], 2);
    assert_int_equal(s->buckets[15], 2);
    assert_int_equal(s->point.count, 12);
    assert_true(s->point.has_sum && s->point.sum == 2 * 20010.1);
    assert_true(s->point.has_min_max && s->point.min == -1 && s->point.max == 10001);
    assert_true(s->bounds[0] == 0 && s->bounds[14] == 10000);
    end();
}

static void test_a_histogram_takes_advice(void **state)
{
    (void)state;
    static const double bounds[] = {0.1, 1}, wrong[] = {1, 1};
    static const char *const keys[] = {"kept", NULL};
    errors = 0;
    begin();
    struct otel_meter *meter = otel_meter("advice", NULL, NULL);
    struct otel_instrument_options advised = {
        .number = OTEL_NUMBER_REAL, .bounds = bounds, .bound_count = 2, .attribute_keys = keys};
    struct otel_instrument_options badly = {.number = OTEL_NUMBER_REAL, .bounds = wrong, .bound_count = 2};
    struct otel_histogram *histogram = otel_histogram(meter, "advised", &advised);
    otel_histogram_record(histogram, 0.5, OTEL_LIST(text("kept", "1"), text("not", "2")));
    otel_histogram_record(otel_histogram(meter, "badly", &badly), 0.5, NULL, 0);
    collect();
    const struct seen *s = get("advised", "kept=1");
    assert_int_equal(s->metric.bound_count, 2);
    assert_int_equal(s->buckets[1], 1);
    assert_int_equal(get("badly", "")->metric.bound_count, 15);
    assert_int_equal(errors, 1);
    end();
}

/* --- temporality */

static void test_a_delta_reader_gets_what_came_since(void **state)
{
    (void)state;
    begin_with(PREFER_DELTA);
    struct otel_meter *meter = otel_meter("delta", NULL, NULL);
    struct otel_counter *counter = otel_counter(meter, "delta", &whole);
    struct otel_histogram *histogram = otel_histogram(meter, "delta.histogram", &real);
    struct otel_gauge *gauge = otel_gauge(meter, "delta.gauge", NULL);
    otel_counter_add(counter, 5, OTEL_LIST(text("a", "1")));
    otel_counter_add(counter, 6, OTEL_LIST(text("a", "2")));
    otel_histogram_record(histogram, 100, NULL, 0);
    otel_gauge_set(gauge, 4, NULL, 0);
    collect();
    assert_int_equal(get("delta", "a=1")->point.integer, 5);
    assert_int_equal(get("delta", "a=2")->point.integer, 6);
    assert_int_equal(get("delta", "a=2")->metric.temporality, TEMPORALITY_DELTA);
    assert_int_equal(get("delta.gauge", "")->point.integer, 4);
    int64_t first_end = get("delta", "a=1")->point.wall_ns;
    assert_true(get("delta", "a=1")->point.start_wall_ns < first_end);
    otel_counter_add(counter, 7, OTEL_LIST(text("a", "2")));
    otel_histogram_record(histogram, 3, NULL, 0);
    collect();
    assert_null(find("delta", "a=1"));
    assert_null(find("delta.gauge", ""));
    assert_int_equal(get("delta", "a=2")->point.integer, 7);
    assert_int_equal(get("delta", "a=2")->point.start_wall_ns, first_end);
    assert_true(get("delta.histogram", "")->point.max == 3);
    assert_int_equal(get("delta.histogram", "")->point.count, 1);
    collect();
    assert_int_equal(seen.count, 0);
    otel_counter_add(counter, 1, OTEL_LIST(text("a", "1")));
    collect();
    assert_int_equal(get("delta", "a=1")->point.integer, 1);
    end();
}

static void test_readers_do_not_disturb_each_other(void **state)
{
    (void)state;
    begin_with(PREFER_DELTA);
    readers[1] = reader("two", PREFER_DELTA);
    readers[1].interval_ms--;
    readers[2] = reader("three", PREFER_CUMULATIVE);
    settings.reader_count = 3;
    apply();
    struct otel_counter *counter = otel_counter(otel_meter("several", NULL, NULL), "several", &whole);
    otel_counter_add(counter, 5, NULL, 0);
    const char *type;
    size_t bytes;
    free(otel_metrics_text(false, &type, &bytes));
    collect();
    assert_int_equal(count_of("several"), 3);
    otel_counter_add(counter, 2, NULL, 0);
    collect();
    for (unsigned i = 0; i < seen.count; i++)
        if (strcmp(seen.points[i].name, "several") == 0)
            assert_int_equal(seen.points[i].point.integer, strcmp(seen.points[i].exporter, "three") == 0 ? 7 : 2);
    end();
}

static void observe_five(struct otel_observation *observation, void *arg)
{
    (void)arg;
    otel_observation_add(observation, 5, NULL, 0);
}

static int temporality_of(const char *name)
{
    const struct seen *s = get(name, "");
    return (int)s->metric.temporality;
}

static void test_temporality_follows_the_preference(void **state)
{
    (void)state;
    static const int expected[][5] = {
        {TEMPORALITY_CUMULATIVE, TEMPORALITY_CUMULATIVE, TEMPORALITY_CUMULATIVE, TEMPORALITY_CUMULATIVE,
         TEMPORALITY_CUMULATIVE},
        {TEMPORALITY_DELTA, TEMPORALITY_CUMULATIVE, TEMPORALITY_DELTA, TEMPORALITY_DELTA, TEMPORALITY_CUMULATIVE},
        {TEMPORALITY_DELTA, TEMPORALITY_CUMULATIVE, TEMPORALITY_DELTA, TEMPORALITY_CUMULATIVE, TEMPORALITY_CUMULATIVE}};
    struct otel_meter *meter = otel_meter("preference", NULL, NULL);
    struct otel_counter *counter = otel_counter(meter, "p.counter", NULL);
    struct otel_up_down_counter *up_down = otel_up_down_counter(meter, "p.updown", NULL);
    struct otel_histogram *histogram = otel_histogram(meter, "p.histogram", NULL);
    struct otel_callback *a = otel_observe(meter, OTEL_OBSERVABLE_COUNTER, "p.observed", NULL, observe_five, NULL);
    struct otel_callback *b =
        otel_observe(meter, OTEL_OBSERVABLE_UP_DOWN_COUNTER, "p.observed.updown", NULL, observe_five, NULL);
    for (int preference = PREFER_CUMULATIVE; preference <= PREFER_LOW_MEMORY; preference++) {
        begin_with((enum temporality_preference)preference);
        otel_counter_add(counter, 1, NULL, 0);
        otel_up_down_counter_add(up_down, 1, NULL, 0);
        otel_histogram_record(histogram, 1, NULL, 0);
        collect();
        assert_int_equal(temporality_of("p.counter"), expected[preference][0]);
        assert_int_equal(temporality_of("p.updown"), expected[preference][1]);
        assert_int_equal(temporality_of("p.histogram"), expected[preference][2]);
        assert_int_equal(temporality_of("p.observed"), expected[preference][3]);
        assert_int_equal(temporality_of("p.observed.updown"), expected[preference][4]);
        end();
    }
    otel_observe_stop(a);
    otel_observe_stop(b);
    otel_observe_stop(NULL);
}

/* --- observing */

static struct {
    unsigned calls, count;
    double values[8];
    const char *names[8];
} source;

static void observe_source(struct otel_observation *observation, void *arg)
{
    (void)arg;
    source.calls++;
    for (unsigned i = 0; i < source.count; i++)
        otel_observation_add(observation, source.values[i], OTEL_LIST(text("name", source.names[i]), text("x", "y")));
}

static void set_source(unsigned count, const char *first, double a, const char *second, double b)
{
    source.calls = 0;
    source.count = count;
    source.names[0] = first;
    source.names[1] = second;
    source.values[0] = a;
    source.values[1] = b;
}

static void test_an_observed_total_is_given_as_it_is_or_as_its_growth(void **state)
{
    (void)state;
    struct otel_meter *meter = otel_meter("observed", NULL, NULL);
    struct otel_callback *callback =
        otel_observe(meter, OTEL_OBSERVABLE_COUNTER, "observed", NULL, observe_source, NULL);
    begin_with(PREFER_DELTA);
    readers[1] = reader("two", PREFER_CUMULATIVE);
    settings.reader_count = 2;
    apply();
    set_source(2, "a", 10, "b", 3);
    collect();
    assert_int_equal(source.calls, 2);
    int64_t first_end = get("observed", "name=a,x=y")->point.wall_ns;
    set_source(2, "a", 15, "b", -1);
    collect();
    unsigned found = 0;
    for (unsigned i = 0; i < seen.count; i++) {
        const struct seen *s = &seen.points[i];
        if (strcmp(s->name, "observed") != 0)
            continue;
        assert_string_equal(s->attributes, "name=a,x=y"); /* b was not observed: a counter has no negative total */
        assert_int_equal(s->point.integer, strcmp(s->exporter, "one") == 0 ? 5 : 15);
        found++;
    }
    assert_int_equal(found, 2);
    set_source(2, "a", 4, "c", 9); /* a started anew */
    collect();
    for (unsigned i = 0; i < seen.count; i++)
        if (strcmp(seen.points[i].attributes, "name=c,x=y") == 0)
            assert_true(seen.points[i].point.start_wall_ns >= first_end);
    assert_int_equal(get("observed", "name=a,x=y")->point.integer, 4);
    otel_observe_stop(callback);
    set_source(2, "a", 4, "c", 9);
    collect();
    assert_int_equal(source.calls, 0);
    assert_null(find("observed", "name=a,x=y"));
    end();
}

static void test_observations_that_a_view_makes_equal_are_added(void **state)
{
    (void)state;
    static const char *const kept[] = {"x", NULL};
    struct otel_meter *meter = otel_meter("joined", NULL, NULL);
    struct otel_callback *counter =
        otel_observe(meter, OTEL_OBSERVABLE_UP_DOWN_COUNTER, "joined", &real, observe_source, NULL);
    struct otel_callback *gauge =
        otel_observe(meter, OTEL_OBSERVABLE_GAUGE, "joined.gauge", &real, observe_source, NULL);
    begin();
    views[0] = view("joined*");
    views[0].keys_included = kept;
    settings.view_count = 1;
    apply();
    set_source(2, "a", 10, "b", 3);
    collect();
    assert_true(get("joined", "x=y")->point.real == 13);
    assert_true(get("joined.gauge", "x=y")->point.real == 3);
    collect();
    assert_true(get("joined", "x=y")->point.real == 13);
    otel_observe_stop(counter);
    otel_observe_stop(gauge);
    end();
}

static void observe_and_make(struct otel_observation *observation, void *arg)
{
    struct otel_meter *meter = arg;
    otel_counter_add(otel_counter(meter, "nested.sync", NULL), 1, NULL, 0);
    otel_observation_add(observation, 1, NULL, 0);
}

static void test_a_callback_may_make_instruments_and_record(void **state)
{
    (void)state;
    struct otel_meter *meter = otel_meter("nested", NULL, NULL);
    struct otel_callback *first = otel_observe(meter, OTEL_OBSERVABLE_GAUGE, "nested", NULL, observe_and_make, meter);
    struct otel_callback *second = otel_observe(meter, OTEL_OBSERVABLE_GAUGE, "nested", NULL, observe_five, NULL);
    struct otel_callback *third = otel_observe(meter, OTEL_OBSERVABLE_GAUGE, "nested", NULL, observe_five, NULL);
    begin();
    collect();
    collect();
    assert_non_null(find("nested.sync", ""));
    otel_observe_stop(second);
    otel_observe_stop(first);
    otel_observe_stop(third);
    end();
}

/* --- identity */

static void test_equal_instruments_are_one(void **state)
{
    (void)state;
    begin();
    warnings = 0;
    struct otel_meter *meter = otel_meter("identity", "1", "url");
    assert_ptr_equal(meter, otel_meter("identity", "1", "url"));
    assert_ptr_not_equal(meter, otel_meter("identity", "2", "url"));
    struct otel_instrument_options short_words = {.unit = "s", .description = "short"};
    struct otel_instrument_options long_words = {.unit = "s", .description = "longer words"};
    struct otel_counter *counter = otel_counter(meter, "Requests", &short_words);
    assert_ptr_equal(counter, otel_counter(meter, "Requests", &short_words));
    assert_int_equal(warnings, 0);
    assert_ptr_equal(counter, otel_counter(meter, "requests", &short_words));
    assert_int_equal(warnings, 1);
    assert_ptr_equal(counter, otel_counter(meter, "Requests", &long_words));
    assert_int_equal(warnings, 1);
    otel_counter_add(counter, 1, NULL, 0);
    collect();
    assert_string_equal(get("Requests", "")->description, "longer words");
    static const char *const keys[] = {"a", NULL}, *const others[] = {"b", NULL};
    struct otel_instrument_options advised = {.attribute_keys = keys}, otherwise = {.attribute_keys = others};
    struct otel_histogram *histogram = otel_histogram(meter, "advised", &advised);
    assert_ptr_equal(histogram, otel_histogram(meter, "advised", &advised));
    assert_int_equal(warnings, 1);
    assert_ptr_equal(histogram, otel_histogram(meter, "advised", &otherwise));
    assert_int_equal(warnings, 2);
    assert_ptr_not_equal(counter, otel_counter(meter, "Requests", &(struct otel_instrument_options){.unit = "ms"}));
    struct otel_bound_counter *bound = otel_counter_bind(counter, OTEL_LIST(text("a", "b"), text("c", "d")));
    assert_ptr_equal(bound, otel_counter_bind(counter, OTEL_LIST(text("c", "d"), text("a", "b"))));
    end();
}

static void test_instruments_in_conflict_both_work_and_are_warned_about_once(void **state)
{
    (void)state;
    begin();
    warnings = 0;
    struct otel_meter *meter = otel_meter("conflict", NULL, NULL);
    otel_counter_add(otel_counter(meter, "conflict", NULL), 1, NULL, 0);
    otel_histogram_record(otel_histogram(meter, "Conflict", NULL), 2, NULL, 0);
    assert_int_equal(warnings, 1);
    apply();
    collect();
    assert_int_equal(get("conflict", "")->point.integer, 1);
    assert_int_equal(get("Conflict", "")->point.count, 1);
    assert_int_equal(warnings, 1);
    end();
}

static void test_a_view_resolves_a_conflict(void **state)
{
    (void)state;
    begin();
    views[0] = view("resolved");
    views[0].instrument_type = INSTRUMENT_HISTOGRAM;
    views[0].name = "resolved.histogram";
    settings.view_count = 1;
    apply();
    warnings = 0;
    struct otel_meter *meter = otel_meter("resolved", NULL, NULL);
    otel_counter_add(otel_counter(meter, "resolved", NULL), 1, NULL, 0);
    otel_histogram_record(otel_histogram(meter, "resolved", NULL), 2, NULL, 0);
    collect();
    assert_int_equal(warnings, 0);
    assert_int_equal(get("resolved", "")->point.integer, 1);
    assert_int_equal(get("resolved.histogram", "")->point.count, 1);
    end();
}

static void test_a_malformed_instrument_does_nothing(void **state)
{
    (void)state;
    char long_name[300], long_unit[80];
    memset(long_name, 'a', sizeof long_name);
    long_name[256] = '\0';
    memset(long_unit, 'u', sizeof long_unit);
    long_unit[64] = '\0';
    const char *const names[] = {"", "1abc", "a b", "a\xc3\xa4", "_a", long_name, NULL};
    struct otel_instrument_options units[] = {{.unit = long_unit}, {.unit = "\xc2\xb5s"}};
    begin();
    errors = 0;
    struct otel_meter *meter = otel_meter("malformed", NULL, NULL);
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < array_count(names); i++)
            otel_counter_add(otel_counter(meter, names[i], NULL), 1, NULL, 0);
        for (size_t i = 0; i < array_count(units); i++) {
            const char *name = i ? "unit.two" : "unit.one";
            struct otel_counter *counter = otel_counter(meter, name, &units[i]);
            otel_bound_add(otel_counter_bind(counter, OTEL_LIST(text("a", "b"))), 1);
            assert_false(otel_counter_enabled(counter));
        }
    }
    assert_int_equal(errors, 8); /* NULL and "" are one name */
    long_name[255] = '\0';
    long_unit[63] = '\0';
    units[0].unit = long_unit;
    otel_counter_add(otel_counter(meter, long_name, &units[0]), 1, NULL, 0);
    otel_counter_add(otel_counter(meter, "a_b.c-d/e1", NULL), 1, NULL, 0);
    collect();
    assert_int_equal(seen.count, 2);
    errors = 0;
    assert_non_null(otel_meter(NULL, NULL, NULL));
    assert_int_equal(errors, 1);
    end();
}

/* --- views */

static void test_patterns_match_whole_texts(void **state)
{
    (void)state;
    assert_true(pattern_matches("*", ""));
    assert_true(pattern_matches("a*c", "abbbc"));
    assert_true(pattern_matches("*a*b*", "xxaxxbxx"));
    assert_true(pattern_matches("a?c", "a\xc3\xa4"
                                       "c"));
    assert_true(pattern_matches("ab*", "ab"));
    assert_false(pattern_matches("a?c", "ac"));
    assert_false(pattern_matches("a*b", "a*c"));
    assert_false(pattern_matches("abc", "abcd"));
    assert_false(pattern_matches("A", "a"));
    assert_true(pattern_matches_name("HTTP.*", "http.x"));
    const char *const included[] = {"http.*", "x", NULL}, *const excluded[] = {"*.secret", NULL};
    assert_true(pattern_keeps(included, excluded, "http.route"));
    assert_false(pattern_keeps(included, excluded, "http.secret"));
    assert_false(pattern_keeps(included, NULL, "y"));
    assert_true(pattern_keeps(NULL, excluded, "y"));
}

static void test_views_shape_streams(void **state)
{
    (void)state;
    static const char *const kept[] = {"http.*", NULL}, *const left[] = {"*.secret", NULL};
    static const double bounds[] = {10};
    struct otel_meter *meter = otel_meter("views", "1", "url");
    struct otel_counter *counter = otel_counter(meter, "v.counter", &(struct otel_instrument_options){.unit = "By"});
    struct otel_histogram *histogram = otel_histogram(meter, "v.histogram", &real);
    struct otel_counter *dropped = otel_counter(meter, "v.dropped", NULL);
    views[0] = view("v.counter");
    views[0].unit = "By";
    views[0].meter_name = "views";
    views[0].meter_version = "1";
    views[0].meter_schema_url = "url";
    views[0].name = "Renamed!";
    views[0].description = "told by the view";
    views[0].keys_included = kept;
    views[0].keys_excluded = left;
    views[1] = view("V.HIST*");
    views[1].aggregation = AGGREGATE_EXPLICIT;
    views[1].boundaries = bounds;
    views[1].bound_count = 1;
    views[1].has_boundaries = true;
    views[1].record_min_max = false;
    views[2] = view("v.histogram");
    views[2].name = "v.sum";
    views[2].aggregation = AGGREGATE_SUM;
    views[3] = view("v.dropped");
    views[3].aggregation = AGGREGATE_DROP;
    views[4] = view("v.counter");
    views[4].meter_version = "2";
    views[4].name = "never";
    views[5] = view("v.histogram");
    views[5].name = "v.one";
    views[5].aggregation = AGGREGATE_EXPLICIT;
    views[5].has_boundaries = true;
    begin();
    settings.view_count = 6;
    apply();
    otel_counter_add(counter, 2, OTEL_LIST(text("http.route", "/"), text("http.secret", "s"), text("other", "o")));
    otel_counter_add(counter, 3, OTEL_LIST(text("http.route", "/"), text("other", "p")));
    otel_histogram_record(histogram, 7, NULL, 0);
    otel_histogram_record(histogram, 70, NULL, 0);
    otel_counter_add(dropped, 1, NULL, 0);
    assert_true(otel_counter_enabled(counter) && otel_histogram_enabled(histogram));
    assert_false(otel_counter_enabled(dropped));
    collect();
    assert_int_equal(get("Renamed!", "http.route=/")->point.integer, 5);
    assert_string_equal(get("Renamed!", "http.route=/")->description, "told by the view");
    assert_int_equal(get("v.histogram", "")->metric.bound_count, 1);
    assert_int_equal(get("v.histogram", "")->buckets[1], 1);
    assert_false(get("v.histogram", "")->point.has_min_max);
    assert_true(get("v.sum", "")->point.real == 77);
    assert_true(get("v.sum", "")->metric.monotonic);
    assert_int_equal(get("v.one", "")->point.bucket_count, 1);
    assert_int_equal(get("v.one", "")->buckets[0], 2);
    assert_null(find("v.dropped", ""));
    assert_null(find("v.counter", "http.route=/"));
    end();
}

static void test_a_renaming_view_selects_one_name(void **state)
{
    (void)state;
    begin();
    settings.view_count = 1;
    views[0] = view("a*");
    views[0].name = "b";
    assert_null(metrics_prepare(&settings, &resource, message, sizeof message));
    assert_non_null(strstr(message, "views[0]"));
    views[0].instrument_name = NULL;
    assert_null(metrics_prepare(&settings, &resource, message, sizeof message));
    end();
}

static void test_a_view_that_makes_no_sense_is_as_if_it_were_not_there(void **state)
{
    (void)state;
    struct otel_meter *meter = otel_meter("nonsense", NULL, NULL);
    struct otel_callback *callback = otel_observe(meter, OTEL_OBSERVABLE_COUNTER, "nonsense", NULL, observe_five, NULL);
    begin();
    warnings = 0;
    views[0] = view("nonsense");
    views[0].aggregation = AGGREGATE_EXPONENTIAL;
    settings.view_count = 1;
    apply();
    apply();
    assert_int_equal(warnings, 1);
    collect();
    assert_int_equal(get("nonsense", "")->point.integer, 5);
    otel_observe_stop(callback);
    end();
}

static void test_histograms_of_what_falls_have_no_sum(void **state)
{
    (void)state;
    struct otel_meter *meter = otel_meter("nosum", NULL, NULL);
    struct otel_up_down_counter *counter = otel_up_down_counter(meter, "nosum", NULL);
    struct otel_gauge *gauge = otel_gauge(meter, "nosum.gauge", NULL);
    struct otel_counter *last = otel_counter(meter, "nosum.last", NULL);
    begin();
    views[0] = view("nosum");
    views[0].aggregation = AGGREGATE_EXPLICIT;
    views[1] = view("nosum.gauge");
    views[1].aggregation = AGGREGATE_SUM;
    views[2] = view("nosum.last");
    views[2].aggregation = AGGREGATE_LAST_VALUE;
    settings.view_count = 3;
    apply();
    otel_up_down_counter_add(counter, -3, NULL, 0);
    otel_bound_add(otel_up_down_counter_bind(counter, NULL, 0), 3);
    otel_gauge_set(gauge, 3, NULL, 0);
    otel_gauge_set(gauge, 4, NULL, 0);
    otel_bound_add(otel_counter_bind(last, NULL, 0), 3);
    otel_bound_add(otel_counter_bind(last, NULL, 0), 2);
    collect();
    assert_false(get("nosum", "")->point.has_sum);
    assert_int_equal(get("nosum", "")->point.count, 2);
    assert_int_equal(get("nosum.gauge", "")->point.integer, 7);
    assert_false(get("nosum.gauge", "")->metric.monotonic);
    assert_int_equal(get("nosum.last", "")->point.integer, 2);
    assert_int_equal(get("nosum.last", "")->metric.type, METRIC_GAUGE);
    end();
}

/* --- cardinality */

static void add_sets(struct otel_counter *counter, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        otel_counter_add(counter, 1, OTEL_LIST(otel_int("i", i)));
}

static const char overflow[] = "otel.metric.overflow=true";

static void test_sets_beyond_the_limit_overflow(void **state)
{
    (void)state;
    begin();
    for (int kind = 0; kind < INSTRUMENT_KINDS; kind++)
        readers[0].cardinality_limits[kind] = 10;
    apply();
    struct otel_counter *counter = otel_counter(otel_meter("limit", NULL, NULL), "limit", &whole);
    add_sets(counter, 0, 10);
    collect();
    assert_int_equal(count_of("limit"), 10);
    assert_null(find("limit", overflow));
    add_sets(counter, 0, 25);
    otel_bound_add(otel_counter_bind(counter, OTEL_LIST(otel_int("i", 99))), 4);
    otel_bound_add(otel_counter_bind(counter, OTEL_LIST(otel_int("i", 3))), 4);
    collect();
    assert_int_equal(count_of("limit"), 11);
    assert_int_equal(get("limit", overflow)->point.integer, 19);
    assert_int_equal(get("limit", "i=3")->point.integer, 6);
    assert_int_equal(get("limit", "i=9")->point.integer, 2);
    end();
}

static void test_the_default_limit_is_2000(void **state)
{
    (void)state;
    begin();
    struct otel_counter *counter = otel_counter(otel_meter("limit", NULL, NULL), "limit.default", &whole);
    add_sets(counter, 0, 2001);
    collect();
    assert_int_equal(count_of("limit.default"), 2001);
    assert_int_equal(get("limit.default", overflow)->point.integer, 1);
    end();
}

static void test_a_view_limits_its_stream(void **state)
{
    (void)state;
    begin();
    views[0] = view("limit.view");
    views[0].cardinality_limit = 2;
    settings.view_count = 1;
    apply();
    struct otel_counter *counter = otel_counter(otel_meter("limit", NULL, NULL), "limit.view", &whole);
    add_sets(counter, 0, 5);
    collect();
    assert_int_equal(get("limit.view", overflow)->point.integer, 3);
    end();
}

static void test_delta_limits_count_each_interval_anew(void **state)
{
    (void)state;
    begin_with(PREFER_DELTA);
    readers[0].cardinality_limits[INSTRUMENT_COUNTER] = 10;
    apply();
    struct otel_counter *counter = otel_counter(otel_meter("limit", NULL, NULL), "limit.delta", &whole);
    struct otel_bound_counter *bound = otel_counter_bind(counter, OTEL_LIST(otel_int("i", 1000)));
    for (unsigned round = 0; round < 5; round++) {
        otel_bound_add(bound, 1);
        add_sets(counter, round * 5, 9); /* some old, some new */
        add_sets(counter, 1000, 1);
        collect();
        assert_int_equal(get("limit.delta", "i=1000")->point.integer, 2);
        assert_int_equal(count_of("limit.delta"), 10);
        assert_null(find("limit.delta", overflow));
    }
    add_sets(counter, 200, 12);
    collect();
    assert_int_equal(get("limit.delta", overflow)->point.integer, 3);
    assert_null(find("limit.delta", "i=1000"));
    end();
}

static void observe_many(struct otel_observation *observation, void *arg)
{
    const unsigned *first = arg;
    for (unsigned i = *first; i < *first + 5; i++)
        otel_observation_add(observation, i, OTEL_LIST(otel_int("i", i)));
}

static void test_asynchronous_limits_prefer_what_comes_first(void **state)
{
    (void)state;
    unsigned first = 0;
    struct otel_callback *callback = otel_observe(otel_meter("limit", NULL, NULL), OTEL_OBSERVABLE_COUNTER,
                                                  "limit.observed", NULL, observe_many, &first);
    begin();
    readers[0].cardinality_limits[INSTRUMENT_OBSERVABLE_COUNTER] = 3;
    apply();
    collect();
    assert_int_equal(count_of("limit.observed"), 4);
    assert_int_equal(get("limit.observed", overflow)->point.integer, 3 + 4);
    first = 10;
    collect();
    assert_non_null(find("limit.observed", "i=12"));
    assert_null(find("limit.observed", "i=2"));
    assert_int_equal(get("limit.observed", overflow)->point.integer, 13 + 14);
    otel_observe_stop(callback);
    end();
}

static void test_bound_handles_are_limited(void **state)
{
    (void)state;
    enum { MOST = 4096 };
    struct otel_counter *counter = otel_counter(otel_meter("limit", NULL, NULL), "limit.bound", &whole);
    for (unsigned i = 0; i < MOST; i++)
        otel_counter_bind(counter, OTEL_LIST(otel_int("i", i)));
    begin();
    for (unsigned i = MOST; i < MOST + 3; i++)
        otel_bound_add(otel_counter_bind(counter, OTEL_LIST(otel_int("i", i))), 1);
    otel_bound_add(otel_counter_bind(counter, OTEL_LIST(otel_int("i", 5))), 1);
    collect();
    int64_t sum = 0;
    for (unsigned i = 0; i < seen.count; i++)
        sum += strcmp(seen.points[i].name, "limit.bound") == 0 ? seen.points[i].point.integer : 0;
    assert_int_equal(get("limit.bound", overflow)->point.integer, 3 + (find("limit.bound", "i=5") ? 0 : 1));
    assert_int_equal(sum, 4);
    end();
}

static void test_attributes_with_invalid_utf8_are_one_set(void **state)
{
    (void)state;
    begin();
    struct otel_counter *counter = otel_counter(otel_meter("utf8", NULL, NULL), "utf8", &whole);
    for (unsigned i = 0; i < 5; i++)
        otel_counter_add(counter, 1, OTEL_LIST(text("a", "x\xff")));
    otel_bound_add(otel_counter_bind(counter, OTEL_LIST(text("a", "x\xff"))), 1);
    collect();
    assert_int_equal(count_of("utf8"), 1);
    assert_int_equal(get("utf8", "a=x\xef\xbf\xbd")->point.integer, 6);
    end();
}

static void test_any_number_of_attributes_is_taken(void **state)
{
    (void)state;
    static const char *const kept[] = {"k001", NULL};
    struct otel_attribute attributes[100];
    char keys[100][8];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(keys[i], sizeof keys[i], "k%03u", 99 - i);
        attributes[i] = otel_int(keys[i], i);
    }
    begin();
    views[0] = view("many.filtered");
    views[0].keys_included = kept;
    settings.view_count = 1;
    apply();
    struct otel_meter *meter = otel_meter("many", NULL, NULL);
    otel_counter_add(otel_counter(meter, "many", NULL), 1, attributes, 100);
    otel_counter_add(otel_counter(meter, "many.filtered", NULL), 1, attributes, 100);
    otel_bound_add(otel_counter_bind(otel_counter(meter, "many.filtered", NULL), attributes, 100), 2);
    collect();
    assert_int_equal(get("many.filtered", "k001=98")->point.integer, 3);
    assert_int_equal(count_of("many"), 1);
    end();
}

/* --- exemplars */

static struct trace_context sampled(void)
{
    struct trace_context trace = trace_new();
    trace.flags |= 1;
    return trace;
}

static void test_measurements_in_a_sampled_trace_become_exemplars(void **state)
{
    (void)state;
    static const char *const kept[] = {"kept", NULL};
    begin();
    views[0] = view("x.*");
    views[0].keys_included = kept;
    settings.view_count = 1;
    apply();
    struct otel_meter *meter = otel_meter("exemplars", NULL, NULL);
    struct otel_counter *counter = otel_counter(meter, "x.counter", &whole);
    struct otel_histogram *histogram = otel_histogram(meter, "x.histogram", &real);
    struct otel_bound_histogram *bound = otel_histogram_bind(histogram, OTEL_LIST(text("kept", "1"), text("b", "2")));
    struct trace_context trace = sampled(), unsampled = trace_new();
    const struct trace_context *before = trace_attach(&unsampled);
    otel_counter_add(counter, 1, OTEL_LIST(text("kept", "1"), text("left", "2")));
    otel_bound_record(bound, 700);
    trace_attach(&trace);
    int64_t start = clock_wall_ns();
    otel_counter_add(counter, 5, OTEL_LIST(text("kept", "1"), text("left", "2")));
    otel_histogram_record(histogram, 3, OTEL_LIST(text("kept", "1")));
    otel_bound_record(bound, 30);
    otel_bound_record(bound, 31);
    trace_attach(before);
    otel_counter_add(counter, 6, OTEL_LIST(text("kept", "1")));
    collect();
    const struct seen *s = get("x.counter", "kept=1");
    assert_int_equal(s->point.integer, 12);
    assert_int_equal(s->point.exemplar_count, 1);
    assert_int_equal(s->exemplars[0].integer, 5);
    assert_true(s->exemplars[0].has_trace && s->exemplars[0].wall_ns >= start);
    assert_memory_equal(s->exemplars[0].trace_id, trace.trace_id, 16);
    assert_memory_equal(s->exemplars[0].span_id, trace.span_id, 8);
    assert_string_equal(s->exemplar_attributes[0], "left=2");
    s = get("x.histogram", "kept=1");
    assert_int_equal(s->point.exemplar_count, 2); /* one a bucket */
    assert_true(s->exemplars[0].value == 3);
    assert_true(s->exemplars[1].value == 30 || s->exemplars[1].value == 31);
    assert_string_equal(s->exemplar_attributes[1], "b=2");
    collect();
    assert_int_equal(get("x.counter", "kept=1")->point.exemplar_count, 0); /* told once */
    end();
}

static void test_the_exemplar_filter_can_take_all_or_none(void **state)
{
    (void)state;
    struct trace_context trace = sampled();
    struct otel_counter *counter = otel_counter(otel_meter("filter", NULL, NULL), "filter", &whole);
    struct otel_bound_counter *bound = otel_counter_bind(counter, NULL, 0);
    begin();
    settings.exemplar_filter = EXEMPLARS_ALWAYS_ON;
    apply();
    otel_bound_add(bound, 1);
    collect();
    assert_int_equal(get("filter", "")->point.exemplar_count, 1);
    assert_false(get("filter", "")->exemplars[0].has_trace);
    settings.exemplar_filter = EXEMPLARS_ALWAYS_OFF;
    apply();
    const struct trace_context *before = trace_attach(&trace);
    otel_bound_add(bound, 1);
    otel_counter_add(counter, 1, NULL, 0);
    trace_attach(before);
    collect();
    assert_int_equal(get("filter", "")->point.exemplar_count, 0);
    end();
}

/* Each of the values 0 to 9 should be kept about as often as any other. */
static void test_samples_are_uniform(void **state)
{
    (void)state;
    enum { VALUES = 10, ROUNDS = 2000 };
    unsigned kept[VALUES] = {0};
    struct otel_gauge *gauge = otel_gauge(otel_meter("uniform", NULL, NULL), "uniform", &whole);
    begin();
    settings.exemplar_filter = EXEMPLARS_ALWAYS_ON;
    apply();
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned value = 0; value < VALUES; value++)
            otel_gauge_set(gauge, value, NULL, 0);
        collect();
        assert_int_equal(get("uniform", "")->point.exemplar_count, 1);
        kept[get("uniform", "")->exemplars[0].integer]++;
    }
    for (unsigned value = 0; value < VALUES; value++)
        assert_in_range(kept[value], ROUNDS / VALUES / 2, ROUNDS / VALUES * 2); /* 7 standard deviations */
    end();
}

/* --- exponential histograms */

/* Bounds in long double are near enough to tell all values apart but those next to a bound. */
static void check_index(double value, int scale)
{
    int32_t index = exponential_index(value, scale);
    long double place = ldexpl(log2l((long double)value), scale), slack = ldexpl(1, scale > 0 ? scale - 50 : -50);
    if (place <= (long double)index - slack || place > (long double)index + 1 + slack)
        print_message("%a at scale %d: %d\n", value, scale, index);
    assert_true(place > (long double)index - slack);
    assert_true(place <= (long double)index + 1 + slack);
}

static void test_exponential_buckets_are_exact(void **state)
{
    (void)state;
    static const double values[] = {1,
                                    1.5,
                                    2,
                                    3,
                                    0.1,
                                    DBL_MAX,
                                    DBL_MIN,
                                    0x1p-1074,
                                    0x3p-1074,
                                    0x1p-1023,
                                    1e-300,
                                    1e300,
                                    0x1.fffffffffffffp0,
                                    0x1.0000000000001p0};
    for (int scale = -10; scale <= 20; scale++)
        for (size_t i = 0; i < array_count(values); i++)
            check_index(values[i], scale);
    for (int scale = -10; scale <= 20; scale++)
        for (int exponent = -1074; exponent <= 1023; exponent++) {
            int64_t at = scale >= 0 ? (int64_t)exponent * (1 << scale) - 1 : (exponent - 1) >> -scale;
            assert_int_equal(exponential_index(ldexp(1, exponent), scale), at);
        }
    unsigned seed = 7;
    for (unsigned i = 0; i < 20000; i++)
        check_index(ldexp(1 + rand_r(&seed) / (RAND_MAX + 1.0), rand_r(&seed) % 2000 - 1000), (int)(i % 31) - 10);
}

/* The two numbers around each bound, told apart by their distance from it in long double: where the library's
 * logarithm of one of them rounds to the bound's own, it cannot tell. */
static void test_values_next_to_a_bound_fall_on_their_side(void **state)
{
    (void)state;
    static const long double margin = 0x1p-61L;
    unsigned checked = 0;
    for (int32_t index = 37; index < 1 << 20; index += 37) {
        long double bound = exp2l(ldexpl(index, -20));
        double below = (double)bound;
        if (below > bound)
            below = nextafter(below, 0);
        double above = nextafter(below, 2);
        if (bound - below < margin || above - bound < margin)
            continue;
        assert_int_equal(exponential_index(below, 20), index - 1);
        assert_int_equal(exponential_index(above, 20), index);
        assert_int_equal(exponential_index(ldexp(below, -700), 20), index - 1 - 700 * (1 << 20));
        checked++;
    }
    assert_true(checked > 28000);
}

static uint64_t total_of(const struct exponential_range *range)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < range->count; i++)
        total += range->counts[i];
    return total;
}

static void check_ideal(const struct exponential *e)
{
    assert_true(e->positive.count <= e->size && e->negative.count <= e->size);
    assert_int_equal(total_of(&e->positive) + total_of(&e->negative) + e->zero_count, e->count);
    unsigned most = e->positive.count > e->negative.count ? e->positive.count : e->negative.count;
    if (e->scale < e->max_scale)
        assert_true(2 * most + 2 > e->size); /* one scale higher it would not fit */
}

static void test_the_scale_falls_only_as_far_as_needed(void **state)
{
    (void)state;
    struct exponential e;
    exponential_init(&e, 20, 160);
    exponential_add(&e, 1.5);
    assert_int_equal(e.scale, 20);
    exponential_add(&e, 1.5);
    exponential_add(&e, 0);
    assert_int_equal(e.scale, 20);
    for (unsigned i = 1; i <= 1000; i++) {
        exponential_add(&e, i * 0.37);
        exponential_add(&e, -1.0 / i);
        check_ideal(&e);
    }
    assert_int_equal(e.count, 2003);
    assert_int_equal(e.zero_count, 1);
    exponential_add(&e, DBL_MAX);
    exponential_add(&e, 0x1p-1074);
    check_ideal(&e);
    assert_true(e.max == DBL_MAX && e.min == -1);
    exponential_reset(&e);
    assert_int_equal(e.scale, 20);
    assert_int_equal(total_of(&e.positive), 0);
    exponential_done(&e);
}

static void test_merged_histograms_equal_one_of_all_values(void **state)
{
    (void)state;
    static const unsigned sizes[] = {2, 3, 20, 160, 1000};
    unsigned seed = 3;
    for (unsigned round = 0; round < 200; round++) {
        struct exponential all, parts[2];
        unsigned size = sizes[round % array_count(sizes)];
        exponential_init(&all, 20, size);
        for (unsigned p = 0; p < 2; p++)
            exponential_init(&parts[p], 20, size);
        for (int i = rand_r(&seed) % 300; i >= 0; i--) {
            double value = ldexp(rand_r(&seed), rand_r(&seed) % (int)(round + 1)) - (round % 3 ? 0 : 1e9);
            exponential_add(&all, value);
            exponential_add(&parts[rand_r(&seed) % 2], value);
        }
        exponential_merge(&parts[0], &parts[1]);
        check_ideal(&parts[0]);
        assert_int_equal(parts[0].scale, all.scale);
        assert_int_equal(parts[0].count, all.count);
        assert_int_equal(parts[0].positive.count, all.positive.count);
        if (all.positive.count) {
            assert_int_equal(parts[0].positive.first, all.positive.first);
            assert_memory_equal(parts[0].positive.counts, all.positive.counts, sizeof(uint64_t) * all.positive.count);
        }
        exponential_done(&all);
        for (unsigned p = 0; p < 2; p++)
            exponential_done(&parts[p]);
    }
}

static void test_a_reader_may_want_exponential_histograms(void **state)
{
    (void)state;
    struct otel_histogram *histogram = otel_histogram(otel_meter("wide", NULL, NULL), "wide", &real);
    begin_with(PREFER_DELTA);
    readers[0].exporter.default_histogram = DEFAULT_HISTOGRAM_EXPONENTIAL;
    settings.exemplar_filter = EXEMPLARS_ALWAYS_ON;
    apply();
    struct otel_bound_histogram *bound = otel_histogram_bind(histogram, NULL, 0);
    for (unsigned i = 0; i < 100; i++)
        otel_bound_record(bound, i % 2 ? 4 : -4);
    otel_histogram_record(histogram, 0, NULL, 0);
    collect();
    const struct seen *s = get("wide", "");
    assert_int_equal(s->metric.type, METRIC_EXPONENTIAL);
    assert_int_equal(s->point.count, 101);
    assert_int_equal(s->point.zero_count, 1);
    assert_int_equal(s->point.scale, 20);
    assert_int_equal(s->point.positive_offset, (2 << 20) - 1);
    assert_int_equal(s->point.positive_count, 1);
    assert_int_equal(s->point.negative_count, 1);
    assert_int_equal(s->point.exemplar_count, 20);
    assert_true(s->point.min == -4 && s->point.max == 4 && s->point.has_sum);
    otel_bound_record(bound, 1);
    collect();
    assert_int_equal(get("wide", "")->point.count, 1);
    assert_int_equal(get("wide", "")->point.negative_count, 0);
    end();
}

/* --- reloads */

static void test_sums_stay_when_the_exporter_changes(void **state)
{
    (void)state;
    begin();
    struct otel_counter *counter = otel_counter(otel_meter("reload", NULL, NULL), "reload", &whole);
    struct otel_bound_counter *bound = otel_counter_bind(counter, NULL, 0);
    otel_bound_add(bound, 5);
    collect();
    int64_t start = get("reload", "")->point.start_wall_ns;
    readers[0].exporter.endpoint = "other";
    apply();
    otel_bound_add(bound, 5);
    otel_counter_add(counter, 1, NULL, 0);
    collect();
    assert_int_equal(get("reload", "")->point.integer, 11);
    assert_int_equal(get("reload", "")->point.start_wall_ns, start);
    assert_string_equal(get("reload", "")->exporter, "other");
    end();
}

static void test_deltas_are_not_lost_when_the_exporter_changes(void **state)
{
    (void)state;
    begin_with(PREFER_DELTA);
    struct otel_counter *counter = otel_counter(otel_meter("reload", NULL, NULL), "reload.delta", &whole);
    otel_counter_add(counter, 5, NULL, 0);
    readers[0].exporter.endpoint = "other";
    apply();
    otel_counter_add(counter, 6, NULL, 0);
    assert_true(metrics_flush(soon()));
    assert_int_equal(count_of("reload.delta"), 1);
    assert_int_equal(get("reload.delta", "")->point.integer, 11);
    end();
}

static void test_a_changed_view_starts_only_its_streams_anew(void **state)
{
    (void)state;
    begin();
    struct otel_meter *meter = otel_meter("reload", NULL, NULL);
    struct otel_counter *changed = otel_counter(meter, "reload.changed", &whole);
    struct otel_counter *kept = otel_counter(meter, "reload.kept", &whole);
    struct otel_bound_counter *bound = otel_counter_bind(changed, OTEL_LIST(text("a", "1"), text("b", "2")));
    struct otel_callback *callback =
        otel_observe(meter, OTEL_OBSERVABLE_COUNTER, "reload.observed", NULL, observe_five, NULL);
    otel_bound_add(bound, 5);
    otel_counter_add(kept, 5, NULL, 0);
    collect();
    int64_t start = get("reload.changed", "a=1,b=2")->point.start_wall_ns;
    int64_t kept_start = get("reload.kept", "")->point.start_wall_ns;
    otel_bound_add(bound, 1);
    forget();
    static const char *const keys[] = {"a", NULL};
    views[0] = view("reload.changed");
    views[0].keys_included = keys;
    views[1] = view("reload.observed");
    views[1].description = "new";
    settings.view_count = 2;
    apply();
    otel_bound_add(bound, 2);
    assert_true(metrics_flush(soon()));
    const struct seen *old = get("reload.changed", "a=1,b=2"), *fresh = get("reload.changed", "a=1");
    assert_int_equal(old->point.integer, 6);
    assert_int_equal(old->point.start_wall_ns, start);
    assert_int_equal(fresh->point.integer, 2);
    assert_true(fresh->point.start_wall_ns > start);
    assert_true(old->batch < fresh->batch);
    assert_int_equal(get("reload.kept", "")->point.start_wall_ns, kept_start);
    assert_int_equal(count_of("reload.observed"), 2);
    collect();
    assert_null(find("reload.changed", "a=1,b=2"));
    assert_int_equal(get("reload.kept", "")->point.integer, 5);
    otel_observe_stop(callback);
    end();
}

static void test_a_reader_that_goes_tells_its_last_sums(void **state)
{
    (void)state;
    begin();
    readers[1] = reader("leaving", PREFER_DELTA);
    settings.reader_count = 2;
    apply();
    struct otel_counter *counter = otel_counter(otel_meter("reload", NULL, NULL), "reload.leaving", &whole);
    otel_counter_add(counter, 5, NULL, 0);
    forget();
    settings.reader_count = 1;
    apply();
    assert_int_equal(count_of("reload.leaving"), 1);
    assert_string_equal(get("reload.leaving", "")->exporter, "leaving");
    collect();
    assert_int_equal(get("reload.leaving", "")->point.integer, 5);
    end();
}

static void test_what_cannot_be_opened_changes_nothing(void **state)
{
    (void)state;
    begin();
    struct otel_counter *counter = otel_counter(otel_meter("reload", NULL, NULL), "reload.refused", &whole);
    otel_counter_add(counter, 5, NULL, 0);
    readers[1] = reader("fine", PREFER_DELTA);
    readers[2] = reader("refused", PREFER_DELTA);
    settings.reader_count = 3;
    assert_null(metrics_prepare(&settings, &resource, message, sizeof message));
    assert_string_equal(message, "refused");
    settings.reader_count = 2;
    metrics_discard(metrics_prepare(&settings, &resource, message, sizeof message));
    collect();
    assert_int_equal(get("reload.refused", "")->point.integer, 5);
    assert_int_equal(count_of("reload.refused"), 1);
    end();
}

static void test_too_many_readers_are_refused(void **state)
{
    (void)state;
    static struct reader_settings many[40];
    for (size_t i = 0; i < array_count(many); i++)
        many[i] = reader("many", PREFER_CUMULATIVE);
    struct sdk_settings too_many = {.readers = many, .reader_count = array_count(many)};
    assert_null(metrics_prepare(&too_many, &resource, message, sizeof message));
    assert_non_null(strstr(message, "readers"));
}

/* --- readers */

static void test_stopping_exports_what_is_left(void **state)
{
    (void)state;
    struct otel_counter *counter = otel_counter(otel_meter("stop", NULL, NULL), "stop", &whole);
    struct otel_bound_counter *bound = otel_counter_bind(counter, NULL, 0);
    otel_bound_add(bound, 1); /* not recorded: nothing runs */
    otel_counter_add(counter, 1, NULL, 0);
    assert_false(otel_counter_enabled(counter));
    for (unsigned round = 0; round < 2; round++) {
        begin_with(round ? PREFER_DELTA : PREFER_CUMULATIVE);
        otel_bound_add(bound, 5);
        end();
        assert_int_equal(count_of("stop"), 1);
        assert_int_equal(get("stop", "")->point.integer, 5);
        otel_bound_add(bound, 7);
        assert_true(metrics_flush(soon()));
    }
    assert_true(metrics_stop(soon()));
}

static void test_a_failed_export_is_told(void **state)
{
    (void)state;
    begin();
    otel_counter_add(otel_counter(otel_meter("stop", NULL, NULL), "stop.failed", &whole), 1, NULL, 0);
    seen.fails = true;
    assert_false(metrics_flush(soon()));
    assert_false(metrics_stop(soon()));
    seen.fails = false;
}

static bool await_points(const char *name, unsigned count)
{
    for (int64_t deadline = soon(); clock_now_ns() < deadline;) {
        pthread_mutex_lock(&seen.lock);
        bool there = count_of(name) >= count;
        pthread_mutex_unlock(&seen.lock);
        if (there)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
    }
    return false;
}

static void test_a_reader_exports_by_itself(void **state)
{
    (void)state;
    begin();
    otel_counter_add(otel_counter(otel_meter("interval", NULL, NULL), "interval", &whole), 1, NULL, 0);
    readers[0].interval_ms = 10;
    apply();
    assert_true(await_points("interval", 3));
    end();
}

static void test_readers_without_exporter_and_a_disabled_sdk_collect_nothing(void **state)
{
    (void)state;
    struct otel_counter *counter = otel_counter(otel_meter("none", NULL, NULL), "none", &whole);
    begin();
    readers[0].exporter.kind = EXPORT_NONE;
    apply();
    assert_true(otel_counter_enabled(counter)); /* for otel_metrics_text() */
    assert_true(metrics_flush(soon()));
    settings.disabled = true;
    apply();
    assert_false(otel_counter_enabled(counter));
    end();
}

/* --- many threads */

enum { THREADS = 12, EACH = 4000, LONG_EACH = 5 * EACH };

static struct {
    struct otel_counter *counter, *reals;
    struct otel_bound_counter *bound;
    struct otel_histogram *histogram, *wide;
    struct otel_bound_histogram *bound_histogram;
    struct otel_gauge *gauge;
    atomic_bool stop;
} work;

static void *record_much(void *arg)
{
    unsigned number = (unsigned)(uintptr_t)arg;
    struct trace_context trace = sampled();
    trace_attach(number % 2 ? &trace : NULL);
    for (unsigned i = 0; i < EACH; i++) {
        otel_bound_add(work.bound, 1);
        otel_counter_add(work.counter, 1, OTEL_LIST(otel_int("i", (i + number) % 7)));
        otel_counter_add(work.reals, 0.5, OTEL_LIST(otel_int("i", i % 3)));
        otel_bound_record(work.bound_histogram, i % 100);
        otel_histogram_record(work.histogram, i % 100, OTEL_LIST(text("b", "1"), text("a", "2")));
        otel_histogram_record(work.wide, 1 + i % 100, NULL, 0);
        otel_gauge_set(work.gauge, i, NULL, 0);
    }
    trace_attach(NULL);
    return NULL;
}

static void *read_text(void *arg)
{
    const char *type;
    size_t bytes;
    (void)arg;
    while (!work.stop)
        free(otel_metrics_text(true, &type, &bytes));
    return NULL;
}

/* Swaps readers, views of these and other instruments, and filters. */
static void *reload_often(void *arg)
{
    static const char *const endpoints[] = {"one", "another"};
    static const char *const excluded[] = {"b", NULL};
    (void)arg;
    for (unsigned round = 0; !work.stop; round++) {
        readers[0].exporter.endpoint = endpoints[round / 2 % 2];
        settings.view_count = 1 + round % 2;
        settings.exemplar_filter = (enum exemplar_filter)(round % 3);
        views[1] = view("t.histogram");
        views[1].keys_excluded = excluded;
        apply();
        assert_true(metrics_flush(soon()));
    }
    return NULL;
}

static int64_t sum_of(const char *name)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < seen.count; i++) {
        const struct seen *s = &seen.points[i];
        if (strcmp(s->name, name) != 0)
            continue;
        sum += s->metric.type == METRIC_SUM ? s->point.integer + (int64_t)(2 * s->point.real) : (int64_t)s->point.count;
    }
    return sum;
}

static void make_work(void)
{
    struct otel_meter *meter = otel_meter("threads", NULL, NULL);
    work.counter = otel_counter(meter, "t.counter", &whole);
    work.reals = otel_counter(meter, "t.reals", &real);
    work.bound = otel_counter_bind(otel_counter(meter, "t.bound", &whole), OTEL_LIST(text("a", "b")));
    work.histogram = otel_histogram(meter, "t.histogram", &real);
    work.wide = otel_histogram(meter, "t.wide", &real);
    work.bound_histogram = otel_histogram_bind(otel_histogram(meter, "t.bound.histogram", &real), NULL, 0);
    work.gauge = otel_gauge(meter, "t.gauge", NULL);
    work.stop = false;
}

/* More threads than have cells of their own, while others collect, export and reload: deltas lose and double nothing.
 */
static void test_sums_are_exact_under_threads_and_reloads(void **state)
{
    (void)state;
    pthread_t threads[THREADS], scraper, reloader;
    begin_with(PREFER_DELTA);
    views[0] = view("t.wide");
    views[0].aggregation = AGGREGATE_EXPONENTIAL;
    settings.view_count = 1;
    apply();
    make_work();
    forget();
    assert_int_equal(pthread_create(&scraper, NULL, read_text, NULL), 0);
    assert_int_equal(pthread_create(&reloader, NULL, reload_often, NULL), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, record_much, (void *)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    work.stop = true;
    pthread_join(scraper, NULL);
    pthread_join(reloader, NULL);
    end();
    assert_int_equal(sum_of("t.bound"), THREADS * EACH);
    assert_int_equal(sum_of("t.counter"), THREADS * EACH);
    assert_int_equal(sum_of("t.reals"), THREADS * EACH);
    assert_int_equal(sum_of("t.bound.histogram"), THREADS * EACH);
    assert_int_equal(sum_of("t.histogram"), THREADS * EACH);
    assert_int_equal(sum_of("t.wide"), THREADS * EACH);
}

/* So many points that each of them leaves and comes back all the time. */
static void *record_briefly(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < LONG_EACH; i++)
        otel_counter_add(work.counter, 1, OTEL_LIST(otel_int("i", rand_r(&seed) % 1500)));
    return NULL;
}

static void *flush_often(void *arg)
{
    (void)arg;
    while (!work.stop)
        assert_true(metrics_flush(soon()));
    return NULL;
}

static void test_a_point_that_leaves_takes_no_measurement_with_it(void **state)
{
    (void)state;
    pthread_t threads[THREADS], flusher;
    begin_with(PREFER_DELTA);
    make_work();
    forget();
    assert_int_equal(pthread_create(&flusher, NULL, flush_often, NULL), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, record_briefly, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    work.stop = true;
    pthread_join(flusher, NULL);
    end();
    assert_int_equal(sum_of("t.counter"), THREADS * LONG_EACH);
}

/* All at once on one point that has only shared cells. */
static void test_shared_cells_lose_nothing(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    begin();
    make_work();
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, record_much, (void *)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    collect();
    const struct seen *s = get("t.histogram", "a=2,b=1");
    assert_int_equal(s->point.count, THREADS * EACH);
    assert_true(s->point.min == 0 && s->point.max == 99);
    assert_true(s->point.sum == (double)THREADS * EACH * 99 / 2);
    assert_int_equal(sum_of("t.reals"), THREADS * EACH);
    end();
}

static int set_up(void **state)
{
    (void)state;
    exporting_opener = open_remembering;
    log_init("test", LOG_WARN);
    log_sink_set(count_line);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(seen.points);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_counter_sums_what_is_added_bound_or_not),
        cmocka_unit_test(test_a_counter_never_falls),
        cmocka_unit_test(test_an_up_down_counter_goes_both_ways),
        cmocka_unit_test(test_a_gauge_keeps_the_last_value),
        cmocka_unit_test(test_a_histogram_has_the_default_buckets),
        cmocka_unit_test(test_a_histogram_takes_advice),
        cmocka_unit_test(test_a_delta_reader_gets_what_came_since),
        cmocka_unit_test(test_readers_do_not_disturb_each_other),
        cmocka_unit_test(test_temporality_follows_the_preference),
        cmocka_unit_test(test_an_observed_total_is_given_as_it_is_or_as_its_growth),
        cmocka_unit_test(test_observations_that_a_view_makes_equal_are_added),
        cmocka_unit_test(test_a_callback_may_make_instruments_and_record),
        cmocka_unit_test(test_equal_instruments_are_one),
        cmocka_unit_test(test_instruments_in_conflict_both_work_and_are_warned_about_once),
        cmocka_unit_test(test_a_view_resolves_a_conflict),
        cmocka_unit_test(test_a_malformed_instrument_does_nothing),
        cmocka_unit_test(test_patterns_match_whole_texts),
        cmocka_unit_test(test_views_shape_streams),
        cmocka_unit_test(test_a_renaming_view_selects_one_name),
        cmocka_unit_test(test_a_view_that_makes_no_sense_is_as_if_it_were_not_there),
        cmocka_unit_test(test_histograms_of_what_falls_have_no_sum),
        cmocka_unit_test(test_sets_beyond_the_limit_overflow),
        cmocka_unit_test(test_the_default_limit_is_2000),
        cmocka_unit_test(test_a_view_limits_its_stream),
        cmocka_unit_test(test_delta_limits_count_each_interval_anew),
        cmocka_unit_test(test_asynchronous_limits_prefer_what_comes_first),
        cmocka_unit_test(test_bound_handles_are_limited),
        cmocka_unit_test(test_attributes_with_invalid_utf8_are_one_set),
        cmocka_unit_test(test_any_number_of_attributes_is_taken),
        cmocka_unit_test(test_measurements_in_a_sampled_trace_become_exemplars),
        cmocka_unit_test(test_the_exemplar_filter_can_take_all_or_none),
        cmocka_unit_test(test_samples_are_uniform),
        cmocka_unit_test(test_exponential_buckets_are_exact),
        cmocka_unit_test(test_values_next_to_a_bound_fall_on_their_side),
        cmocka_unit_test(test_the_scale_falls_only_as_far_as_needed),
        cmocka_unit_test(test_merged_histograms_equal_one_of_all_values),
        cmocka_unit_test(test_a_reader_may_want_exponential_histograms),
        cmocka_unit_test(test_sums_stay_when_the_exporter_changes),
        cmocka_unit_test(test_deltas_are_not_lost_when_the_exporter_changes),
        cmocka_unit_test(test_a_changed_view_starts_only_its_streams_anew),
        cmocka_unit_test(test_a_reader_that_goes_tells_its_last_sums),
        cmocka_unit_test(test_what_cannot_be_opened_changes_nothing),
        cmocka_unit_test(test_too_many_readers_are_refused),
        cmocka_unit_test(test_stopping_exports_what_is_left),
        cmocka_unit_test(test_a_failed_export_is_told),
        cmocka_unit_test(test_a_reader_exports_by_itself),
        cmocka_unit_test(test_readers_without_exporter_and_a_disabled_sdk_collect_nothing),
        cmocka_unit_test(test_sums_are_exact_under_threads_and_reloads),
        cmocka_unit_test(test_a_point_that_leaves_takes_no_measurement_with_it),
        cmocka_unit_test(test_shared_cells_lose_nothing),
    };
    return cmocka_run_group_tests_name("otel_metrics", tests, set_up, tear_down);
}
