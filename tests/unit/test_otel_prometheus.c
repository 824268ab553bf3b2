/* Prometheus text: what it looks like, by a strict parser of our own and by promtool where there is one, and how it is
 * fetched. */
#include <ctype.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>

#include "support/support.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/otel/otel.h"
#include "otel/metrics/accept.h"
#include "otel/sdk/provider.h"

enum { WAIT_MS = 20000, LINES_MAX = 20000 };

static char message[256];
static struct view_settings views[2];
static struct reader_settings pull;
static struct sdk_settings settings;
static struct otel_attribute resource_attributes[3];
static const struct sdk_resource resource = {resource_attributes, 3, NULL};

static const struct otel_instrument_options whole = {.number = OTEL_NUMBER_INT};

static int64_t soon(void)
{
    return clock_now_ns() + WAIT_MS * NS_PER_MS;
}

static void apply(void)
{
    struct metrics_pipeline *pipeline = metrics_prepare(&settings, &resource, message, sizeof message);
    if (!pipeline)
        print_message("%s\n", message);
    assert_non_null(pipeline);
    metrics_commit(pipeline, soon());
}

/* Without a configured reader: otel_metrics_text() has its own. */
static void begin(void)
{
    resource_attributes[0] = otel_text("host.name", "h");
    resource_attributes[1] = otel_text("service.name", "s\"\\\n");
    resource_attributes[2] = otel_int("service_name", 7);
    settings = (struct sdk_settings){.views = views};
    apply();
}

static void begin_pulling(const char *strategy)
{
    begin();
    pull = (struct reader_settings){.pull = true,
                                    .exporter = {.kind = EXPORT_PROMETHEUS,
                                                 .host = "127.0.0.1",
                                                 .port = test_free_port(),
                                                 .translation_strategy = strategy}};
    settings.readers = &pull;
    settings.reader_count = 1;
    apply();
}

static void end(void)
{
    assert_true(metrics_stop(soon()));
}

/* --- a strict parser */

struct line {
    char name[128], labels[512], le[32], exemplar[256];
    double value;
};

struct parsed {
    bool openmetrics;
    char family[128], type[16]; /* of the last TYPE */
    char families[300][128];    /* all of them */
    unsigned family_count;
    struct line *lines;
    unsigned count;
    char buckets_of[512]; /* the labels of the histogram whose buckets are being read */
    double last_bound, last_count;
};

static const char *read_name(const char *at, char *out, size_t bytes, bool colons)
{
    size_t length = 0;
    assert_true(isalpha((unsigned char)*at) || *at == '_' || (colons && *at == ':'));
    while (isalnum((unsigned char)at[length]) || at[length] == '_' || (colons && at[length] == ':'))
        length++;
    assert_true(length < bytes);
    memcpy(out, at, length);
    out[length] = '\0';
    return at + length;
}

static const char *read_value(const char *at, char *out, size_t bytes)
{
    size_t length = 0;
    assert_int_equal(*at++, '"');
    for (; *at != '"'; at++) {
        assert_true(*at && *at != '\n' && length + 2 < bytes);
        out[length++] = *at;
        if (*at != '\\')
            continue;
        assert_non_null(strchr("\\\"n", at[1]));
        out[length++] = *++at;
    }
    out[length] = '\0';
    return at + 1;
}

/* {a="b",...}; le goes to out_le, the rest to out, sorted as it has to be. Returns the characters of all. */
static const char *read_labels(const char *at, char *out, size_t bytes, char *out_le, unsigned *out_characters)
{
    char name[128], value[256], last[128] = "";
    size_t used = 0;
    *out = *out_le = '\0';
    *out_characters = 0;
    assert_int_equal(*at, '{');
    do {
        if (*++at == '}')
            break;
        at = read_name(at, name, sizeof name, false);
        assert_int_equal(*at++, '=');
        at = read_value(at, value, sizeof value);
        *out_characters += (unsigned)(strlen(name) + strlen(value));
        if (strcmp(name, "le") == 0) {
            snprintf(out_le, 32, "%.31s", value);
            continue;
        }
        assert_true(strcmp(name, last) != 0);
        snprintf(last, sizeof last, "%s", name);
        used += (size_t)snprintf(out + used, bytes - used, "%s=\"%s\",", name, value);
        assert_true(used < bytes);
    } while (*at == ',');
    assert_int_equal(*at, '}');
    return at + 1;
}

static double read_number(const char *text)
{
    char *end;
    if (strcmp(text, "+Inf") == 0)
        return INFINITY;
    if (strcmp(text, "-Inf") == 0)
        return -INFINITY;
    if (strcmp(text, "NaN") == 0)
        return NAN;
    double value = strtod(text, &end);
    assert_true(end != text && *end == '\0');
    return value;
}

static void read_header(struct parsed *parsed, const char *line)
{
    char what[8], name[128], rest[512] = "";
    assert_true(sscanf(line, "# %7s %127s %511[^\n]", what, name, rest) >= 2);
    bool is_new = strcmp(parsed->family, name) != 0;
    if (is_new) { /* a family comes once, its type once */
        for (unsigned i = 0; i < parsed->family_count; i++)
            assert_string_not_equal(parsed->families[i], name);
        snprintf(parsed->families[parsed->family_count++], 128, "%s", name);
        snprintf(parsed->family, sizeof parsed->family, "%s", name);
        parsed->type[0] = '\0';
    }
    if (strcmp(what, "TYPE") == 0) {
        assert_string_equal(parsed->type, "");
        snprintf(parsed->type, sizeof parsed->type, "%.15s", rest);
        assert_non_null(strstr(parsed->openmetrics ? "counter gauge histogram info" : "counter gauge histogram", rest));
    } else if (strcmp(what, "UNIT") == 0) {
        size_t unit = strlen(rest), length = strlen(name);
        assert_true(parsed->openmetrics && length > unit + 1 && strcmp(name + length - unit, rest) == 0);
    } else {
        assert_string_equal(what, "HELP");
        assert_string_equal(parsed->type, "");
    }
}

static bool has_suffix(const struct parsed *parsed, const char *name, const char *suffix)
{
    size_t length = strlen(parsed->family);
    return strncmp(name, parsed->family, length) == 0 && strcmp(name + length, suffix) == 0;
}

static void check_sample_name(const struct parsed *parsed, const struct line *line)
{
    const char *type = parsed->type, *name = line->name;
    bool ok = false;
    if (strcmp(type, "counter") == 0 && parsed->openmetrics)
        ok = has_suffix(parsed, name, "_total") || has_suffix(parsed, name, "_created");
    else if (strcmp(type, "histogram") == 0)
        ok = has_suffix(parsed, name, "_bucket") || has_suffix(parsed, name, "_sum") ||
             has_suffix(parsed, name, "_count") || (parsed->openmetrics && has_suffix(parsed, name, "_created"));
    else if (strcmp(type, "info") == 0)
        ok = has_suffix(parsed, name, "_info");
    else
        ok = strcmp(name, parsed->family) == 0;
    if (!ok)
        print_message("%s in %s %s\n", name, type, parsed->family);
    assert_true(ok);
}

static void check_bucket(struct parsed *parsed, const struct line *line)
{
    bool first = strcmp(parsed->buckets_of, line->labels) != 0 || parsed->last_bound == INFINITY;
    double bound = read_number(line->le);
    assert_true(line->le[0] != '\0');
    if (!first)
        assert_true(bound > parsed->last_bound && line->value >= parsed->last_count);
    if (parsed->openmetrics && isfinite(bound))
        assert_non_null(strpbrk(line->le, ".e"));
    snprintf(parsed->buckets_of, sizeof parsed->buckets_of, "%s", line->labels);
    parsed->last_bound = bound;
    parsed->last_count = line->value;
}

static void check_histogram(struct parsed *parsed, const struct line *line)
{
    if (has_suffix(parsed, line->name, "_bucket")) {
        check_bucket(parsed, line);
        return;
    }
    assert_true(parsed->last_bound == INFINITY);
    assert_string_equal(parsed->buckets_of, line->labels);
    if (has_suffix(parsed, line->name, "_count"))
        assert_true(line->value == parsed->last_count);
}

static void read_exemplar(const struct parsed *parsed, struct line *line, char *at)
{
    char le[32], value[64], time[64];
    unsigned characters;
    assert_true(parsed->openmetrics);
    assert_true(has_suffix(parsed, line->name, "_total") || has_suffix(parsed, line->name, "_bucket"));
    at = (char *)(uintptr_t)read_labels(at, line->exemplar, sizeof line->exemplar, le, &characters);
    assert_true(characters <= 128);
    assert_int_equal(sscanf(at, " %63s %63s", value, time), 2);
    if (line->le[0])
        assert_true(read_number(value) <= read_number(line->le));
    assert_true(read_number(time) > 1e9);
}

static void read_sample(struct parsed *parsed, char *text)
{
    struct line *line = &parsed->lines[parsed->count];
    unsigned characters;
    const char *at = read_name(text, line->name, sizeof line->name, true);
    if (*at == '{')
        at = read_labels(at, line->labels, sizeof line->labels, line->le, &characters);
    assert_int_equal(*at++, ' ');
    char *exemplar = strstr(at, " # ");
    if (exemplar) {
        *exemplar = '\0';
        read_exemplar(parsed, line, exemplar + 3);
    }
    line->value = read_number(at);
    check_sample_name(parsed, line);
    if (strcmp(parsed->type, "histogram") == 0)
        check_histogram(parsed, line);
    for (unsigned i = 0; i < parsed->count; i++) /* nothing twice */
        assert_false(strcmp(parsed->lines[i].name, line->name) == 0 &&
                     strcmp(parsed->lines[i].labels, line->labels) == 0 && strcmp(parsed->lines[i].le, line->le) == 0);
    parsed->count++;
    assert_true(parsed->count < LINES_MAX);
}

static struct parsed *parse(const char *text, bool openmetrics)
{
    struct parsed *parsed = mem_alloc(sizeof *parsed);
    scoped_free char *copy = mem_text(text);
    bool ended = false;
    parsed->openmetrics = openmetrics;
    parsed->lines = mem_array(LINES_MAX, sizeof *parsed->lines);
    assert_true(*text == '\0' || text[strlen(text) - 1] == '\n');
    for (char *next = copy, *line; (line = strsep(&next, "\n")) && next;) {
        assert_false(ended);
        ended = strcmp(line, "# EOF") == 0;
        if (ended)
            continue;
        if (*line == '#')
            read_header(parsed, line);
        else
            read_sample(parsed, line);
    }
    assert_int_equal(ended, openmetrics);
    return parsed;
}

static void parsed_free(struct parsed *parsed)
{
    free(parsed->lines);
    free(parsed);
}

/* Prometheus' own opinion; its advice on good names (3) is not asked for. */
static void ask_promtool(const char *text)
{
    if (system("command -v promtool >/dev/null") != 0)
        return;
    FILE *promtool = popen("promtool check metrics >/dev/null 2>&1", "w");
    assert_non_null(promtool);
    fputs(text, promtool);
    int status = WEXITSTATUS(pclose(promtool));
    if (status != 0 && status != 3)
        print_message("%s", text);
    assert_true(status == 0 || status == 3);
}

/* The text, checked; free it. */
static char *get_text(bool openmetrics)
{
    const char *type;
    size_t bytes;
    char *text = otel_metrics_text(openmetrics, &type, &bytes);
    assert_int_equal(strlen(text), bytes);
    assert_non_null(strstr(type, openmetrics ? "application/openmetrics-text; version=1.0.0" : "version=0.0.4"));
    parsed_free(parse(text, openmetrics));
    if (!openmetrics)
        ask_promtool(text);
    return text;
}

static void assert_has(const char *text, const char *what)
{
    if (!strstr(text, what))
        print_message("no %s in\n%s", what, text);
    assert_non_null(strstr(text, what));
}

static void assert_lacks(const char *text, const char *what)
{
    if (strstr(text, what))
        print_message("%s in\n%s", what, text);
    assert_null(strstr(text, what));
}

/* --- forms */

static void test_each_kind_has_its_form(void **state)
{
    (void)state;
    static const double bounds[] = {0.005, 1};
    begin();
    struct otel_meter *meter = otel_meter("forms", "1.2", "https://x/");
    struct otel_instrument_options seconds = {.unit = "s",
                                              .description = "How \"long\"\\\nit took",
                                              .number = OTEL_NUMBER_REAL,
                                              .bounds = bounds,
                                              .bound_count = 2};
    otel_counter_add(otel_counter(meter, "http.requests", &whole), 3, OTEL_LIST(otel_text("method", "G\"E\\T\n")));
    otel_histogram_record(otel_histogram(meter, "http.duration", &seconds), 0.5, NULL, 0);
    otel_up_down_counter_add(otel_up_down_counter(meter, "active", &whole), -2, NULL, 0);
    otel_gauge_set(
        otel_gauge(meter, "load", &(struct otel_instrument_options){.unit = "1", .number = OTEL_NUMBER_REAL}), 0.25,
        NULL, 0);
    scoped_free char *text = get_text(false), *open = get_text(true);
#define SCOPE "otel_scope_name=\"forms\",otel_scope_schema_url=\"https://x/\",otel_scope_version=\"1.2\""
    assert_has(text,
               "# TYPE http_requests_total counter\nhttp_requests_total{method=\"G\\\"E\\\\T\\n\"," SCOPE "} 3\n");
    assert_has(text, "# HELP http_duration_seconds How \"long\"\\\\\\nit took\n# TYPE http_duration_seconds histogram\n"
                     "http_duration_seconds_bucket{" SCOPE ",le=\"0.005\"} 0\n"
                     "http_duration_seconds_bucket{" SCOPE ",le=\"1\"} 1\n"
                     "http_duration_seconds_bucket{" SCOPE ",le=\"+Inf\"} 1\n"
                     "http_duration_seconds_sum{" SCOPE "} 0.5\nhttp_duration_seconds_count{" SCOPE "} 1\n");
    assert_has(text, "# TYPE active gauge\nactive{" SCOPE "} -2\n");
    assert_has(text, "# TYPE load_ratio gauge\nload_ratio{" SCOPE "} 0.25\n");
    assert_has(text, "# TYPE target_info gauge\n"
                     "target_info{host_name=\"h\",service_name=\"s\\\"\\\\\\n;7\"} 1\n");
    assert_lacks(text, "EOF");
    assert_has(open, "# TYPE http_requests counter\nhttp_requests_total{");
    assert_has(open, "\nhttp_requests_created{");
    assert_has(open, "# HELP http_duration_seconds How \\\"long\\\"\\\\\\nit took\n");
    assert_has(open, "# UNIT http_duration_seconds seconds\n");
    assert_has(open, SCOPE ",le=\"1.0\"} 1\n");
    assert_has(open, "# TYPE target info\ntarget_info{");
    end();
}

static void test_without_a_pipeline_there_is_nothing_to_show(void **state)
{
    (void)state;
    scoped_free char *text = get_text(false), *open = get_text(true);
    assert_string_equal(text, "");
    assert_string_equal(open, "# EOF\n");
}

static void test_units_become_words(void **state)
{
    (void)state;
    static const struct {
        const char *name, *unit, *family;
    } cases[] = {
        {"u.a", "ms", "u_a_milliseconds_total"},
        {"u.b", "By/s", "u_b_bytes_per_second_total"},
        {"u.c", "{packet}", "u_c_total"},
        {"u.d", "{request}/min", "u_d_per_minute_total"},
        {"u.e", "1", "u_e_total"},
        {"u.f.seconds", "s", "u_f_seconds_total"},
        {"u.g.total", "s", "u_g_seconds_total"},
        {"u.h.seconds.total", "s", "u_h_seconds_total"},
        {"u_i_total", "", "u_i_total"},
        {"u.j", "foo bar", "u_j_foo_bar_total"},
        {"u.k", "%", "u_k_percent_total"},
        {"u.l--m//n", "MiBy", "u_l_m_n_mebibytes_total"},
        {"u.nanoseconds", "s", "u_nanoseconds_seconds_total"},
        {"u.o", "m/h", "u_o_meters_per_hour_total"},
        {"u.p", "{a}{b}", "u_p_total"},
        {"u.q", "s/", "u_q_seconds_total"},
        {"seconds", "s", "seconds_total"},
        {"u.r", "/unknown", "u_r_per_unknown_total"},
    };
    begin();
    struct otel_meter *meter = otel_meter("units", NULL, NULL);
    for (size_t i = 0; i < array_count(cases); i++)
        otel_counter_add(otel_counter(meter, cases[i].name, &(struct otel_instrument_options){.unit = cases[i].unit}),
                         1, NULL, 0);
    scoped_free char *text = get_text(false), *open = get_text(true);
    for (size_t i = 0; i < array_count(cases); i++) {
        char type[80];
        snprintf(type, sizeof type, "# TYPE %s counter\n", cases[i].family);
        assert_has(text, type);
    }
    (void)open;
    end();
}

static void test_values_of_any_type_become_texts(void **state)
{
    (void)state;
    static const char *const texts[] = {"a\"", NULL};
    static const bool booleans[] = {true, false};
    static const int64_t integers[] = {1, -2};
    static const double reals[] = {0.5, INFINITY};
    const struct otel_attribute nested[] = {otel_int("b", 2), otel_real("n", NAN)};
    const struct otel_value values[] = {
        {.type = OTEL_MAP, .count = 2, .map = nested}, {.type = OTEL_EMPTY}, otel_bytes("x", "hi", 2).value};
    const struct otel_attribute attributes[] = {otel_bool("bool", true),
                                                otel_bytes("bytes", "hello world", 11),
                                                otel_text("empty", NULL),
                                                otel_int("int", -5),
                                                otel_real("nan", NAN),
                                                otel_real("real", 2.5),
                                                otel_texts("texts", texts, 2),
                                                otel_bools("bools", booleans, 2),
                                                otel_ints("ints", integers, 2),
                                                otel_reals("reals", reals, 2),
                                                {"values", {.type = OTEL_VALUES, .count = 3, .values = values}},
                                                otel_text("9 lives.\xc3\xa4", "x"),
                                                otel_text("a.b", "1"),
                                                otel_text("a_b", "2"),
                                                otel_text("otel_scope_name", "mine")};
    begin();
    struct otel_meter *meter = otel_meter("values", NULL, NULL);
    otel_counter_add(otel_counter(meter, "values", &whole), 1, attributes, array_count(attributes));
    otel_histogram_record(otel_histogram(meter, "values.le", &whole), 1, OTEL_LIST(otel_text("le", "mine")));
    scoped_free char *text = get_text(false);
    assert_has(text, "bool=\"true\",");
    assert_has(text, "bytes=\"aGVsbG8gd29ybGQ=\",");
    assert_has(text, "empty=\"\",");
    assert_has(text, "int=\"-5\",");
    assert_has(text, "nan=\"NaN\",");
    assert_has(text, "real=\"2.5\",");
    assert_has(text, "texts=\"[\\\"a\\\\\\\"\\\",null]\"");
    assert_has(text, "bools=\"[true,false]\"");
    assert_has(text, "ints=\"[1,-2]\"");
    assert_has(text, "reals=\"[0.5,\\\"Infinity\\\"]\"");
    assert_has(text, "values=\"[{\\\"b\\\":2,\\\"n\\\":\\\"NaN\\\"},null,\\\"aGk=\\\"]\"");
    assert_has(text, "key_9_lives_=\"x\"");
    assert_has(text, "a_b=\"1;2\"");
    assert_has(text, "otel_scope_name=\"mine;values\"");
    assert_has(text, "exported_le=\"mine\"");
    end();
}

static void test_conflicting_metrics_are_left_out(void **state)
{
    (void)state;
    begin();
    struct otel_meter *first = otel_meter("conflict.one", NULL, NULL), *second = otel_meter("conflict.two", NULL, NULL);
    struct otel_instrument_options told = {.description = "told"}, other = {.description = "other"};
    otel_counter_add(otel_counter(first, "same.name", &told), 1, NULL, 0);
    otel_counter_add(otel_counter(second, "same_name", &other), 2, NULL, 0);
    otel_gauge_set(otel_gauge(second, "same.name.total", NULL), 3, NULL, 0);
    otel_counter_add(otel_counter(first, "twice.a", NULL), 1, NULL, 0);
    otel_counter_add(otel_counter(first, "twice_a", NULL), 1, NULL, 0);
    otel_gauge_set(otel_gauge(first, "target.info", NULL), 1, NULL, 0);
    scoped_free char *text = get_text(false);
    assert_has(text, "# HELP same_name_total told\n# TYPE same_name_total counter\n"
                     "same_name_total{otel_scope_name=\"conflict.one\"} 1\n"
                     "same_name_total{otel_scope_name=\"conflict.two\"} 2\n");
    assert_lacks(text, "# HELP same_name_total other");
    assert_lacks(text, " 3\n");
    end();
}

static void test_special_numbers_have_names(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct metric_point points[3] = {{.real = INFINITY}, {.real = -INFINITY}, {.real = NAN}};
    struct otel_attribute attributes[3] = {otel_int("i", 0), otel_int("i", 1), otel_int("i", 2)};
    const struct sdk_scope scope = {.name = ""};
    for (unsigned i = 0; i < 3; i++) {
        points[i].attributes = &attributes[i];
        points[i].attribute_count = 1;
    }
    struct metric metrics[] = {{.scope = &scope,
                                .name = "1st-gauge",
                                .description = "",
                                .unit = "",
                                .type = METRIC_GAUGE,
                                .points = points,
                                .point_count = 3},
                               {.scope = &scope,
                                .name = "wide",
                                .description = "",
                                .unit = "",
                                .type = METRIC_EXPONENTIAL,
                                .points = points,
                                .point_count = 1}};
    const struct exporter_settings plain = {0};
    const struct sdk_resource nobody = {0};
    prometheus_write(&out, metrics, 2, &nobody, &plain, &(struct text_format){0});
    buffer_char(&out, '\0');
    assert_string_equal((char *)out.data,
                        "# TYPE _1st_gauge gauge\n_1st_gauge{i=\"0\"} +Inf\n_1st_gauge{i=\"1\"} -Inf\n"
                        "_1st_gauge{i=\"2\"} NaN\n");
    buffer_free(&out);
}

static void test_exemplars_join_samples_and_traces(void **state)
{
    (void)state;
    static const char *const kept[] = {"kept", NULL};
    char long_text[100];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    begin();
    views[0] = (struct view_settings){.instrument_name = "e.*", .instrument_type = -1, .keys_included = kept};
    settings.view_count = 1;
    apply();
    struct otel_meter *meter = otel_meter("exemplars", NULL, NULL);
    struct otel_histogram *histogram = otel_histogram(meter, "e.histogram", &whole);
    struct trace_context trace;
    assert_true(trace_parse("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", &trace));
    const struct trace_context *before = trace_attach(&trace);
    otel_counter_add(otel_counter(meter, "e.counter", &whole), 3,
                     OTEL_LIST(otel_text("kept", "1"), otel_text("long", long_text), otel_text("short", "s"),
                               otel_text("trace_id", "mine")));
    otel_histogram_record(histogram, 7, NULL, 0);
    otel_gauge_set(otel_gauge(meter, "e.gauge", NULL), 7, NULL, 0);
    trace_attach(before);
    scoped_free char *text = get_text(false), *open = get_text(true), *again = get_text(true);
    static const char ids[] = "trace_id=\"0123456789abcdef0123456789abcdef\",span_id=\"0123456789abcdef\"";
    char wanted[256];
    assert_lacks(text, "trace_id");
    snprintf(wanted, sizeof wanted, "e_counter_total{kept=\"1\",otel_scope_name=\"exemplars\"} 3 # {%s,short=\"s\"} 3 ",
             ids);
    assert_has(open, wanted);
    snprintf(wanted, sizeof wanted, "le=\"10.0\"} 1 # {%s} 7 ", ids);
    assert_has(open, wanted);
    assert_has(again, wanted); /* the latest stays */
    assert_has(open, "e_gauge{otel_scope_name=\"exemplars\"} 7\n");
    end();
}

/* --- strategies */

static char *text_with(const char *strategy, struct text_format format)
{
    struct buffer out = {0};
    const struct exporter_settings translated = {.translation_strategy = strategy, .without_scope_info = true};
    const struct sdk_scope scope = {.name = "s"};
    const struct otel_attribute attribute = otel_text("http.route", "/");
    const struct metric_point point = {.integer = 1, .attributes = &attribute, .attribute_count = 1};
    const struct metric metric = {.scope = &scope,
                                  .name = "foo.bar",
                                  .description = "words",
                                  .unit = "By",
                                  .type = METRIC_SUM,
                                  .monotonic = true,
                                  .integer = true,
                                  .points = &point,
                                  .point_count = 1};
    const struct sdk_resource nobody = {0};
    prometheus_write(&out, &metric, 1, &nobody, &translated, &format);
    buffer_char(&out, '\0');
    return (char *)out.data;
}

static void test_names_follow_strategy_and_escaping(void **state)
{
    (void)state;
    static const struct {
        const char *strategy, *escaped, *open;
    } cases[] = {
        {"underscore_escaping_with_suffixes", "foo_bar_bytes_total{http_route=\"/\"} 1\n",
         "foo_bar_bytes_total{http_route=\"/\"} 1\n"},
        {"underscore_escaping_without_suffixes/development", "foo_bar{http_route=\"/\"} 1\n",
         "foo_bar{http_route=\"/\"} 1\n"},
        {"no_utf8_escaping_with_suffixes/development", "foo_bar_bytes_total{http_route=\"/\"} 1\n",
         "{\"foo.bar_bytes_total\",\"http.route\"=\"/\"} 1\n"},
        {"no_translation/development", "foo_bar{http_route=\"/\"} 1\n", "{\"foo.bar\",\"http.route\"=\"/\"} 1\n"},
        {"something else", "foo_bar_bytes_total{http_route=\"/\"} 1\n", "foo_bar_bytes_total{http_route=\"/\"} 1\n"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        scoped_free char *escaped = text_with(cases[i].strategy, (struct text_format){0});
        scoped_free char *open = text_with(cases[i].strategy, (struct text_format){.utf8 = true});
        scoped_free char *openmetrics = text_with(cases[i].strategy, (struct text_format){.openmetrics = true});
        assert_has(escaped, cases[i].escaped);
        assert_has(open, cases[i].open);
        parsed_free(parse(escaped, false));
        parsed_free(parse(openmetrics, true)); /* counters end in _total there, whatever the strategy */
    }
    scoped_free char *open = text_with("no_translation/development", (struct text_format){.utf8 = true});
    assert_has(open, "# HELP \"foo.bar\" words\n# TYPE \"foo.bar\" counter\n");
}

static void test_scope_target_and_resource_labels_are_settings(void **state)
{
    (void)state;
    static const char *const included[] = {"host.*", NULL};
    begin_pulling("underscore_escaping_with_suffixes");
    otel_counter_add(otel_counter(otel_meter("labels", NULL, NULL), "labels", &whole), 1, NULL, 0);
    pull.exporter.without_scope_info = pull.exporter.without_target_info = true;
    pull.exporter.resource_labels_included = included;
    apply();
    scoped_free char *text = get_text(false);
    assert_string_equal(text, "# TYPE labels_total counter\nlabels_total{host_name=\"h\"} 1\n");
    end();
}

/* --- what a scraper takes */

static void test_accept_is_negotiated(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool openmetrics, utf8;
    } cases[] = {
        {NULL, false, false},
        {"", false, false},
        {"*/*", false, false},
        {"application/openmetrics-text", true, false},
        {"application/openmetrics-text;version=2.0.0", false, false},
        {"text/plain;version=0.0.4;q=0.5, application/openmetrics-text;version=1.0.0;q=0.9", true, false},
        {"text/plain;version=0.0.4;q=0.9, application/openmetrics-text;version=1.0.0;q=0.5", false, false},
        {"application/openmetrics-text;version=0.0.1,text/plain", true, false},
        {"application/openmetrics-text;q=0, text/plain", false, false},
        {"application/openmetrics-text;q=nonsense, text/*;q=0.1", false, false},
        {"text/plain;version=1.0.0;escaping=allow-utf-8", false, true},
        {"text/plain;version=0.0.4;escaping=allow-utf-8", false, false},
        {"application/openmetrics-text; version=\"1.0.0\"; escaping=allow-utf-8;q=0.6,*/*;q=0.1", true, true},
        {"application/json", false, false},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct text_format format = accept_format(cases[i].accept);
        assert_int_equal(format.openmetrics, cases[i].openmetrics);
        assert_int_equal(format.utf8, cases[i].utf8);
    }
    assert_true(accept_gzip("deflate, GZIP;q=0.5"));
    assert_false(accept_gzip("gzip;q=0"));
    assert_false(accept_gzip("identity"));
    assert_false(accept_gzip(NULL));
    for (unsigned i = 0; i < 4; i++) {
        struct text_format format = {.openmetrics = i & 1, .utf8 = i & 2};
        assert_has(prometheus_content_type(&format), format.utf8 ? "escaping=allow-utf-8" : "escaping=underscores");
    }
}

/* --- the server */

struct answer {
    long status;
    char type[128], encoding[32], allow[32];
    char *body;
    size_t bytes;
};

static size_t take_body(char *data, size_t one, size_t count, void *arg)
{
    struct answer *answer = arg;
    (void)one;
    answer->body = mem_resize(answer->body, answer->bytes + count + 1, 1);
    memcpy(answer->body + answer->bytes, data, count);
    answer->bytes += count;
    answer->body[answer->bytes] = '\0';
    return count;
}

static size_t take_header(char *data, size_t one, size_t count, void *arg)
{
    struct answer *answer = arg;
    char line[256];
    (void)one;
    snprintf(line, sizeof line, "%.*s", (int)count, data);
    line[strcspn(line, "\r\n")] = '\0';
    if (strncasecmp(line, "content-type: ", 14) == 0)
        snprintf(answer->type, sizeof answer->type, "%.127s", line + 14);
    if (strncasecmp(line, "content-encoding: ", 18) == 0)
        snprintf(answer->encoding, sizeof answer->encoding, "%.31s", line + 18);
    if (strncasecmp(line, "allow: ", 7) == 0)
        snprintf(answer->allow, sizeof answer->allow, "%.31s", line + 7);
    return count;
}

static struct answer call(const char *method, const char *path, const char *header, bool gzip)
{
    struct answer answer = {0};
    char url[128];
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = header ? curl_slist_append(NULL, header) : NULL;
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", pull.exporter.port, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)WAIT_MS);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    if (strcmp(method, "POST") == 0)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "a body");
    if (gzip)
        curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "gzip");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return answer;
}

static void test_a_pull_reader_answers_scrapes(void **state)
{
    (void)state;
    begin_pulling("underscore_escaping_with_suffixes");
    otel_counter_add(otel_counter(otel_meter("scrape", NULL, NULL), "scrape", &whole), 1, NULL, 0);
    struct answer plain = call("GET", "/metrics", NULL, false);
    assert_int_equal(plain.status, 200);
    assert_has(plain.type, "text/plain; version=0.0.4");
    assert_has(plain.body, "scrape_total{otel_scope_name=\"scrape\"} 1\n");
    parsed_free(parse(plain.body, false));
    struct answer open = call("GET", "/metrics", "Accept: application/openmetrics-text; version=1.0.0", true);
    assert_has(open.type, "application/openmetrics-text; version=1.0.0");
    assert_string_equal(open.encoding, "gzip");
    parsed_free(parse(open.body, true));
    struct answer head = call("HEAD", "/metrics", NULL, false);
    assert_int_equal(head.status, 200);
    assert_int_equal(head.bytes, 0);
    struct answer missing = call("GET", "/", NULL, false);
    assert_int_equal(missing.status, 404);
    struct answer post = call("POST", "/metrics", NULL, false);
    assert_int_equal(post.status, 405);
    assert_string_equal(post.allow, "GET, HEAD");
    struct answer *const answers[] = {&plain, &open, &head, &missing, &post};
    for (size_t i = 0; i < array_count(answers); i++)
        free(answers[i]->body);
    end();
    assert_int_equal(call("GET", "/metrics", NULL, false).status, 0);
}

static void test_a_taken_port_is_named(void **state)
{
    (void)state;
    begin_pulling("underscore_escaping_with_suffixes");
    struct reader_settings both[] = {pull, pull};
    settings.readers = both;
    settings.reader_count = 2;
    assert_null(metrics_prepare(&settings, &resource, message, sizeof message));
    char wanted[64];
    snprintf(wanted, sizeof wanted, "127.0.0.1:%d: Address already in use", pull.exporter.port);
    assert_has(message, wanted);
    both[1].exporter.host = "no such host.invalid";
    assert_null(metrics_prepare(&settings, &resource, message, sizeof message));
    assert_has(message, "no such host.invalid");
    struct answer answer = call("GET", "/metrics", NULL, false);
    assert_int_equal(answer.status, 200);
    free(answer.body);
    end();
}

/* Other settings on the same port, then another port. */
static void test_a_reload_keeps_or_moves_the_server(void **state)
{
    (void)state;
    begin_pulling("underscore_escaping_with_suffixes");
    struct otel_counter *counter = otel_counter(otel_meter("moved", NULL, NULL), "moved", &whole);
    otel_counter_add(counter, 1, NULL, 0);
    pull.exporter.without_scope_info = true;
    apply();
    otel_counter_add(counter, 1, NULL, 0);
    struct answer same = call("GET", "/metrics", NULL, false);
    assert_has(same.body, "moved_total 2\n");
    int old_port = pull.exporter.port;
    pull.exporter.port = test_free_port();
    pull.exporter.host = "localhost";
    apply();
    struct answer moved = call("GET", "/metrics", NULL, false);
    assert_has(moved.body, "moved_total 2\n");
    pull.exporter.port = old_port;
    assert_int_equal(call("GET", "/metrics", NULL, false).status, 0);
    free(same.body);
    free(moved.body);
    end();
}

static void *scrape_often(void *arg)
{
    const atomic_bool *stop = arg;
    while (!*stop) {
        struct answer answer = call("GET", "/metrics", NULL, true);
        assert_int_equal(answer.status, 200);
        free(answer.body);
    }
    return NULL;
}

static void test_scrapes_go_on_during_reloads(void **state)
{
    (void)state;
    enum { RELOADS = 30 };
    atomic_bool stop = false;
    pthread_t scraper;
    begin_pulling("underscore_escaping_with_suffixes");
    assert_int_equal(pthread_create(&scraper, NULL, scrape_often, &stop), 0);
    for (unsigned i = 0; i < RELOADS; i++) {
        pull.exporter.without_scope_info = i % 2;
        apply();
    }
    stop = true;
    pthread_join(scraper, NULL);
    end();
}

static int set_up(void **state)
{
    (void)state;
    log_init("test", LOG_ERROR);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    curl_global_cleanup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_pipeline_there_is_nothing_to_show),
        cmocka_unit_test(test_each_kind_has_its_form),
        cmocka_unit_test(test_units_become_words),
        cmocka_unit_test(test_values_of_any_type_become_texts),
        cmocka_unit_test(test_conflicting_metrics_are_left_out),
        cmocka_unit_test(test_special_numbers_have_names),
        cmocka_unit_test(test_exemplars_join_samples_and_traces),
        cmocka_unit_test(test_names_follow_strategy_and_escaping),
        cmocka_unit_test(test_scope_target_and_resource_labels_are_settings),
        cmocka_unit_test(test_accept_is_negotiated),
        cmocka_unit_test(test_a_pull_reader_answers_scrapes),
        cmocka_unit_test(test_a_taken_port_is_named),
        cmocka_unit_test(test_a_reload_keeps_or_moves_the_server),
        cmocka_unit_test(test_scrapes_go_on_during_reloads),
    };
    return cmocka_run_group_tests_name("otel_prometheus", tests, set_up, tear_down);
}
