#include "otel/metrics/prometheus.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/utf8.h"
#include "otel/export/print.h"
#include "otel/metrics/pattern.h"

/* OpenMetrics: characters of all names and values of an exemplar's labels. */
enum { EXEMPLAR_CHARACTERS_MAX = 128, TEXT_ARENA_BYTES = 16384 };

/* The label sets of a family that several metrics share, by open addressing: none may be there twice. */
struct series {
    const char **slots; /* or NULL: nobody looks */
    unsigned mask;
};

struct writer {
    struct buffer *out;
    const struct text_format *format;
    const struct exporter_settings *settings;
    struct translation translation;
    struct arena arena;     /* of names */
    struct arena scratch;   /* of one point */
    struct label *resource; /* constant labels */
    unsigned resource_count;
    struct series series;
};

/* One metric under the name that it gets. */
struct family {
    const char *name, *unit;
    const char *header; /* what its comments call it: one metric each */
    const struct metric *metric;
    unsigned order;
};

struct label {
    const char *name, *key; /* key: as it was before */
    const char *value;
};

const char *prometheus_content_type(const struct text_format *format)
{
    if (format->openmetrics && format->utf8)
        return "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8";
    if (format->openmetrics)
        return "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores";
    if (format->utf8)
        return "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8";
    return "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
}

/* --- pieces */

static void put_escaped(struct buffer *out, const char *text, bool quotes)
{
    while (*text) {
        size_t length = utf8_sequence(text);
        if (*text == '\\')
            buffer_text(out, "\\\\");
        else if (*text == '\n')
            buffer_text(out, "\\n");
        else if (*text == '"' && quotes)
            buffer_text(out, "\\\"");
        else
            buffer_add(out, length ? text : "\xef\xbf\xbd", length ? length : 3);
        text += length ? length : 1;
    }
}

static void put_quoted(struct buffer *out, const char *text)
{
    buffer_char(out, '"');
    put_escaped(out, text, true);
    buffer_char(out, '"');
}

static void put_real(struct buffer *out, double value)
{
    if (isnan(value))
        buffer_text(out, "NaN");
    else if (isinf(value))
        buffer_text(out, value > 0 ? "+Inf" : "-Inf");
    else
        print_real(out, value);
}

/* OpenMetrics writes bounds as real numbers, so that they always look the same. */
static void put_bound(struct buffer *out, double bound, bool openmetrics)
{
    size_t before = out->size;
    put_real(out, bound);
    if (!openmetrics || isinf(bound))
        return;
    for (size_t i = before; i < out->size; i++)
        if (strchr(".eE", (char)out->data[i]))
            return;
    buffer_text(out, ".0");
}

/* Seconds since 1970, to the millisecond. */
static void put_time(struct buffer *out, int64_t wall_ns)
{
    int64_t ms = wall_ns / NS_PER_MS;
    buffer_print(out, "%lld.%03lld", (long long)(ms / 1000), (long long)(ms % 1000));
}

static bool is_counter(const struct metric *metric)
{
    return metric->type == METRIC_SUM && metric->monotonic;
}

static const char *type_name(const struct metric *metric)
{
    if (metric->type == METRIC_HISTOGRAM)
        return "histogram";
    return is_counter(metric) ? "counter" : "gauge";
}

/* --- labels */

static int compare_labels(const void *left, const void *right)
{
    const struct label *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    return order ? order : strcmp(a->key, b->key);
}

/* Labels of one name become one, their values joined in the order of the keys. Returns the new count. */
static unsigned join_labels(struct arena *arena, struct label *labels, unsigned count)
{
    unsigned kept = 0;
    qsort(labels, count, sizeof *labels, compare_labels);
    for (unsigned i = 0; i < count; i++) {
        struct label *last = kept ? &labels[kept - 1] : NULL;
        if (last && strcmp(last->name, labels[i].name) == 0)
            last->value = arena_print(arena, "%s;%s", last->value, labels[i].value);
        else
            labels[kept++] = labels[i];
    }
    return kept;
}

static struct label make_label(struct writer *writer, struct arena *arena, const char *key,
                               const struct otel_value *value)
{
    return (struct label){label_name(arena, key, writer->translation.escapes), key, label_value(arena, value)};
}

/* le is the histograms' own. */
static void make_room_for_le(const struct metric *metric, struct label *label)
{
    if (metric->type == METRIC_HISTOGRAM && strcmp(label->name, "le") == 0)
        label->name = "exported_le";
}

static unsigned add_text_label(struct label *labels, unsigned count, const char *key, const char *value)
{
    if (value && *value)
        labels[count++] = (struct label){key, key, value};
    return count;
}

static unsigned point_labels(struct writer *writer, const struct metric *metric, const struct metric_point *point,
                             struct label **out)
{
    enum { SCOPE_LABELS = 3 };
    unsigned count = 0;
    struct arena *arena = &writer->scratch;
    struct label *labels =
        arena_array(arena, struct label, point->attribute_count + writer->resource_count + SCOPE_LABELS);
    for (unsigned i = 0; i < point->attribute_count; i++) {
        labels[count] = make_label(writer, arena, point->attributes[i].key, &point->attributes[i].value);
        make_room_for_le(metric, &labels[count++]);
    }
    for (unsigned i = 0; i < writer->resource_count; i++)
        labels[count++] = writer->resource[i];
    if (!writer->settings->without_scope_info) {
        count = add_text_label(labels, count, "otel_scope_name", metric->scope->name);
        count = add_text_label(labels, count, "otel_scope_version", metric->scope->version);
        count = add_text_label(labels, count, "otel_scope_schema_url", metric->scope->schema_url);
    }
    *out = labels;
    return join_labels(arena, labels, count);
}

static void put_label_name(struct buffer *out, const char *name)
{
    if (name_is_plain(name, false))
        buffer_text(out, name);
    else
        put_quoted(out, name);
}

static void put_label(struct buffer *out, const struct label *label, bool first)
{
    if (!first)
        buffer_char(out, ',');
    put_label_name(out, label->name);
    buffer_char(out, '=');
    put_quoted(out, label->value);
}

/* --- samples */

struct sample {
    const struct family *family;
    const char *suffix;
    const struct label *labels;
    unsigned label_count;
    const double *bound; /* of a bucket, or NULL */
};

static void put_bucket_label(struct writer *writer, double bound, bool first)
{
    if (!first)
        buffer_char(writer->out, ',');
    buffer_text(writer->out, "le=\"");
    put_bound(writer->out, bound, writer->format->openmetrics);
    buffer_char(writer->out, '"');
}

/* A name that is not plain goes inside the braces, in quotes. */
static void put_sample_head(struct writer *writer, const struct sample *sample)
{
    struct buffer *out = writer->out;
    const char *name = arena_print(&writer->scratch, "%s%s", sample->family->name, sample->suffix);
    bool plain = name_is_plain(name, true), first = plain;
    if (plain)
        buffer_text(out, name);
    if (!plain || sample->label_count || sample->bound)
        buffer_char(out, '{');
    if (!plain)
        put_quoted(out, name);
    for (unsigned i = 0; i < sample->label_count; i++, first = false)
        put_label(out, &sample->labels[i], first);
    if (sample->bound)
        put_bucket_label(writer, *sample->bound, first);
    if (!plain || sample->label_count || sample->bound)
        buffer_char(out, '}');
    buffer_char(out, ' ');
}

static unsigned characters(const char *text)
{
    unsigned count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static unsigned trace_labels(struct arena *arena, const struct exemplar *exemplar, struct label *labels)
{
    struct buffer hex = {0};
    if (!exemplar->has_trace)
        return 0;
    print_hex(&hex, exemplar->trace_id, sizeof exemplar->trace_id);
    labels[0] = (struct label){"trace_id", "trace_id", arena_text(arena, (const char *)hex.data, hex.size)};
    hex.size = 0;
    print_hex(&hex, exemplar->span_id, sizeof exemplar->span_id);
    labels[1] = (struct label){"span_id", "span_id", arena_text(arena, (const char *)hex.data, hex.size)};
    buffer_free(&hex);
    return 2;
}

static bool is_trace_label(const struct label *label)
{
    return strcmp(label->name, "trace_id") == 0 || strcmp(label->name, "span_id") == 0;
}

/* Attributes that do not fit beside the trace are left out. */
static void put_exemplar_labels(struct writer *writer, const struct exemplar *exemplar)
{
    struct arena *arena = &writer->scratch;
    struct label trace[2], *labels = arena_array(arena, struct label, exemplar->attribute_count);
    unsigned used = 0, count = trace_labels(arena, exemplar, trace), put = 0;
    for (; put < count; put++) {
        put_label(writer->out, &trace[put], put == 0);
        used += characters(trace[put].name) + characters(trace[put].value);
    }
    for (unsigned i = 0; i < exemplar->attribute_count; i++)
        labels[i] = make_label(writer, arena, exemplar->attributes[i].key, &exemplar->attributes[i].value);
    count = join_labels(arena, labels, exemplar->attribute_count);
    for (unsigned i = 0; i < count; i++) {
        unsigned needed = characters(labels[i].name) + characters(labels[i].value);
        if (used + needed > EXEMPLAR_CHARACTERS_MAX || (exemplar->has_trace && is_trace_label(&labels[i])))
            continue;
        put_label(writer->out, &labels[i], put++ == 0);
        used += needed;
    }
}

static void put_exemplar(struct writer *writer, const struct exemplar *exemplar)
{
    if (!writer->format->openmetrics || !exemplar)
        return;
    buffer_text(writer->out, " # {");
    put_exemplar_labels(writer, exemplar);
    buffer_text(writer->out, "} ");
    put_real(writer->out, exemplar->value);
    buffer_char(writer->out, ' ');
    put_time(writer->out, exemplar->wall_ns);
}

/* The latest one with a value in (above, up_to]. */
static const struct exemplar *find_exemplar(const struct metric_point *point, double above, double up_to)
{
    const struct exemplar *best = NULL;
    for (unsigned i = 0; i < point->exemplar_count; i++) {
        const struct exemplar *exemplar = &point->exemplars[i];
        if (exemplar->value > above && exemplar->value <= up_to && (!best || exemplar->wall_ns > best->wall_ns))
            best = exemplar;
    }
    return best;
}

static void put_created(struct writer *writer, struct sample *sample, const struct metric_point *point)
{
    if (!writer->format->openmetrics || point->start_wall_ns == 0)
        return;
    sample->suffix = "_created";
    put_sample_head(writer, sample);
    put_time(writer->out, point->start_wall_ns);
    buffer_char(writer->out, '\n');
}

static void put_number(struct writer *writer, struct sample *sample, const struct metric_point *point)
{
    const struct metric *metric = sample->family->metric;
    bool counter = is_counter(metric);
    if (counter && writer->translation.total)
        sample->suffix = "_total";
    put_sample_head(writer, sample);
    if (metric->integer)
        print_int(writer->out, point->integer);
    else
        put_real(writer->out, point->real);
    if (counter)
        put_exemplar(writer, find_exemplar(point, -INFINITY, INFINITY));
    buffer_char(writer->out, '\n');
    if (counter)
        put_created(writer, sample, point);
}

static void put_buckets(struct writer *writer, struct sample *sample, const struct metric_point *point)
{
    const struct metric *metric = sample->family->metric;
    uint64_t count = 0;
    double above = -INFINITY;
    sample->suffix = "_bucket";
    for (unsigned i = 0; i <= metric->bound_count; i++) {
        double bound = i < metric->bound_count ? metric->bounds[i] : INFINITY;
        count += point->buckets[i];
        sample->bound = &bound;
        put_sample_head(writer, sample);
        print_unsigned(writer->out, count);
        put_exemplar(writer, find_exemplar(point, above, bound));
        buffer_char(writer->out, '\n');
        above = bound;
    }
    sample->bound = NULL;
}

static void put_histogram(struct writer *writer, struct sample *sample, const struct metric_point *point)
{
    put_buckets(writer, sample, point);
    if (point->has_sum) {
        sample->suffix = "_sum";
        put_sample_head(writer, sample);
        put_real(writer->out, point->sum);
        buffer_char(writer->out, '\n');
    }
    sample->suffix = "_count";
    put_sample_head(writer, sample);
    print_unsigned(writer->out, point->count);
    buffer_char(writer->out, '\n');
    put_created(writer, sample, point);
}

static void warn_of_conflict(const struct family *family, const char *reason)
{
    static atomic_bool warned;
    if (!atomic_exchange(&warned, true))
        log_event(LOG_WARN, "something is left out of the Prometheus text", log_text("metric", family->metric->name),
                  log_text("meter", family->metric->scope->name), log_text("family", family->header),
                  log_text("reason", reason));
}

static uint64_t hash_text(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return hash;
}

/* The labels as one text, in the family's memory. */
static const char *labels_text(struct writer *writer, const struct label *labels, unsigned count)
{
    struct buffer text = {0};
    for (unsigned i = 0; i < count; i++)
        put_label(&text, &labels[i], i == 0);
    const char *copy = arena_text(&writer->arena, (const char *)text.data, text.size);
    buffer_free(&text);
    return copy;
}

static bool is_repeated(struct writer *writer, const struct label *labels, unsigned count)
{
    struct series *series = &writer->series;
    if (!series->slots)
        return false;
    const char *text = labels_text(writer, labels, count);
    unsigned i = (unsigned)hash_text(text) & series->mask;
    for (; series->slots[i]; i = (i + 1) & series->mask)
        if (strcmp(series->slots[i], text) == 0)
            return true;
    series->slots[i] = text;
    return false;
}

static void put_point(struct writer *writer, const struct family *family, const struct metric_point *point)
{
    struct label *labels;
    arena_reset(&writer->scratch);
    unsigned count = point_labels(writer, family->metric, point, &labels);
    if (is_repeated(writer, labels, count)) {
        warn_of_conflict(family, "another one has the same name and labels");
        return;
    }
    struct sample sample = {.family = family, .suffix = "", .labels = labels, .label_count = count};
    if (family->metric->type == METRIC_HISTOGRAM)
        put_histogram(writer, &sample, point);
    else
        put_number(writer, &sample, point);
}

/* --- families */

static int compare_families(const void *left, const void *right)
{
    const struct family *a = left, *b = right;
    int order = strcmp(a->header, b->header);
    return order ? order : (a->order > b->order) - (a->order < b->order);
}

/* The older format names the sample, OpenMetrics the family. */
static const char *header_name(struct writer *writer, const struct family *family)
{
    bool total = is_counter(family->metric) && writer->translation.total && !writer->format->openmetrics;
    return total ? arena_print(&writer->arena, "%s_total", family->name) : family->name;
}

static void put_comment(struct writer *writer, const char *what, const char *name, const char *text)
{
    buffer_print(writer->out, "# %s ", what);
    if (name_is_plain(name, true))
        buffer_text(writer->out, name);
    else
        put_quoted(writer->out, name);
    buffer_char(writer->out, ' ');
    put_escaped(writer->out, text, writer->format->openmetrics);
    buffer_char(writer->out, '\n');
}

static bool unit_fits(const struct family *family)
{
    size_t name = strlen(family->name), unit = strlen(family->unit);
    return unit > 0 && name > unit && family->name[name - unit - 1] == '_' &&
           strcmp(family->name + name - unit, family->unit) == 0;
}

static void put_header(struct writer *writer, const struct family *family)
{
    const char *name = family->header;
    if (family->metric->description[0])
        put_comment(writer, "HELP", name, family->metric->description);
    put_comment(writer, "TYPE", name, type_name(family->metric));
    if (writer->format->openmetrics && unit_fits(family))
        put_comment(writer, "UNIT", name, family->unit);
}

static void open_series(struct writer *writer, const struct family *families, unsigned count)
{
    size_t points = 0;
    unsigned size = 16;
    for (unsigned i = 0; i < count; i++)
        points += families[i].metric->point_count;
    while (size < 2 * points)
        size *= 2;
    writer->series = (struct series){count > 1 ? mem_array(size, sizeof *writer->series.slots) : NULL, size - 1};
}

/* Of those with one name the first decides on the type; its help and unit stand for all. */
static void put_family(struct writer *writer, const struct family *families, unsigned count)
{
    put_header(writer, families);
    open_series(writer, families, count);
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(type_name(families[i].metric), type_name(families->metric)) != 0) {
            warn_of_conflict(&families[i], "another one of its name has another type");
            continue;
        }
        for (unsigned p = 0; p < families[i].metric->point_count; p++)
            put_point(writer, &families[i], &families[i].metric->points[p]);
    }
    free(writer->series.slots);
}

static unsigned family_size(const struct family *families, unsigned count)
{
    unsigned size = 1;
    while (size < count && strcmp(families[size].header, families->header) == 0)
        size++;
    return size;
}

/* There is one target only. */
static bool is_target(const struct writer *writer, const struct family *family)
{
    const char *target = writer->format->openmetrics ? "target" : "target_info";
    return !writer->settings->without_target_info && strcmp(family->header, target) == 0;
}

static void put_metrics(struct writer *writer, const struct metric *metrics, unsigned count)
{
    struct family *families = mem_array(count + 1, sizeof *families);
    unsigned family_count = 0;
    for (unsigned i = 0; i < count; i++) {
        struct family *family = &families[family_count];
        if (metrics[i].type == METRIC_EXPONENTIAL)
            continue;
        *family = (struct family){.metric = &metrics[i], .order = i};
        family->name = family_name(&writer->arena, &metrics[i], &writer->translation, &family->unit);
        family->header = header_name(writer, family);
        if (is_target(writer, family))
            warn_of_conflict(family, "the name is the resource's");
        else
            family_count++;
    }
    qsort(families, family_count, sizeof *families, compare_families);
    for (unsigned i = 0, size; i < family_count; i += size) {
        size = family_size(&families[i], family_count - i);
        put_family(writer, &families[i], size);
    }
    free(families);
}

/* --- the resource */

static void choose_resource_labels(struct writer *writer, const struct sdk_resource *resource)
{
    const struct exporter_settings *settings = writer->settings;
    bool any = settings->resource_labels_included || settings->resource_labels_excluded;
    writer->resource = arena_array(&writer->arena, struct label, resource->attribute_count);
    for (unsigned i = 0; any && i < resource->attribute_count; i++) {
        const struct otel_attribute *attribute = &resource->attributes[i];
        if (pattern_keeps(settings->resource_labels_included, settings->resource_labels_excluded, attribute->key))
            writer->resource[writer->resource_count++] =
                make_label(writer, &writer->arena, attribute->key, &attribute->value);
    }
}

static void put_target(struct writer *writer, const struct sdk_resource *resource)
{
    static const struct metric none = {.name = ""};
    const struct family family = {.name = "target_info", .metric = &none};
    struct label *labels = arena_array(&writer->arena, struct label, resource->attribute_count);
    if (writer->settings->without_target_info || resource->attribute_count == 0)
        return;
    for (unsigned i = 0; i < resource->attribute_count; i++)
        labels[i] = make_label(writer, &writer->arena, resource->attributes[i].key, &resource->attributes[i].value);
    unsigned count = join_labels(&writer->arena, labels, resource->attribute_count);
    put_comment(writer, "HELP", writer->format->openmetrics ? "target" : "target_info", "Target metadata");
    put_comment(writer, "TYPE", writer->format->openmetrics ? "target" : "target_info",
                writer->format->openmetrics ? "info" : "gauge");
    put_sample_head(writer, &(struct sample){.family = &family, .suffix = "", .labels = labels, .label_count = count});
    buffer_text(writer->out, "1\n");
}

void prometheus_write(struct buffer *out, const struct metric *metrics, unsigned count,
                      const struct sdk_resource *resource, const struct exporter_settings *settings,
                      const struct text_format *format)
{
    struct writer writer = {.out = out,
                            .format = format,
                            .settings = settings,
                            .translation = translation_of(settings->translation_strategy, format)};
    arena_init(&writer.arena, TEXT_ARENA_BYTES);
    arena_init(&writer.scratch, TEXT_ARENA_BYTES);
    choose_resource_labels(&writer, resource);
    put_target(&writer, resource);
    put_metrics(&writer, metrics, count);
    if (format->openmetrics)
        buffer_text(out, "# EOF\n");
    arena_done(&writer.scratch);
    arena_done(&writer.arena);
}
