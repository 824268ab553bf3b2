/* The metrics' provider: readers with their exporters, views. */
#include <limits.h>
#include <math.h>

#include "common/mem.h"
#include "otel/metrics/pattern.h"
#include "otel/settings/sections.h"

#define AT(member)     offsetof(struct sdk_settings, member)
#define READER(member) offsetof(struct reader_settings, member)
#define VIEW(member)   offsetof(struct view_settings, member)

/* --- readers */

/* The first stands for those that are not set. */
struct limits_draft {
    unsigned all, each[INSTRUMENT_KINDS];
};
#define EACH(kind) offsetof(struct limits_draft, each[kind])

static const struct field cardinality_fields[] = {
    {"default", FIELD_COUNT, offsetof(struct limits_draft, all), 1, CARDINALITY_LIMIT_MAX},
    {"counter", FIELD_COUNT, EACH(INSTRUMENT_COUNTER), 1, CARDINALITY_LIMIT_MAX},
    {"gauge", FIELD_COUNT, EACH(INSTRUMENT_GAUGE), 1, CARDINALITY_LIMIT_MAX},
    {"histogram", FIELD_COUNT, EACH(INSTRUMENT_HISTOGRAM), 1, CARDINALITY_LIMIT_MAX},
    {"observable_counter", FIELD_COUNT, EACH(INSTRUMENT_OBSERVABLE_COUNTER), 1, CARDINALITY_LIMIT_MAX},
    {"observable_gauge", FIELD_COUNT, EACH(INSTRUMENT_OBSERVABLE_GAUGE), 1, CARDINALITY_LIMIT_MAX},
    {"observable_up_down_counter", FIELD_COUNT, EACH(INSTRUMENT_OBSERVABLE_UP_DOWN_COUNTER), 1, CARDINALITY_LIMIT_MAX},
    {"up_down_counter", FIELD_COUNT, EACH(INSTRUMENT_UP_DOWN_COUNTER), 1, CARDINALITY_LIMIT_MAX},
};

static enum err read_cardinality(const struct reading *reading, const struct node *node, void *out)
{
    struct limits_draft draft = {0};
    unsigned *limits = out;
    enum err err = schema_map(reading, node, TABLE(cardinality_fields), &draft);
    for (unsigned i = 0; i < INSTRUMENT_KINDS; i++)
        limits[i] = draft.each[i] ? draft.each[i] : draft.all ? draft.all : limits[i];
    return err;
}

static const struct field periodic_fields[] = {
    {"interval", FIELD_INT, READER(interval_ms), 0, INT_MAX},
    {"timeout", FIELD_INT, READER(timeout_ms), 0, INT_MAX},
    {"max_export_batch_size/development", FIELD_NULL},
    {"exporter", FIELD_NODE, READER(exporter), .required = true, .read = read_push_exporter},
    {"producers", FIELD_REFUSED},
    {"cardinality_limits", FIELD_NODE, READER(cardinality_limits), .read = read_cardinality},
};

static const struct field pull_fields[] = {
    {"exporter", FIELD_NODE, READER(exporter), .required = true, .read = read_pull_exporter},
    {"producers", FIELD_REFUSED},
    {"cardinality_limits", FIELD_NODE, READER(cardinality_limits), .read = read_cardinality},
};

static const struct variant readers[] = {
    {"periodic", false, .not_null = true, .fields = periodic_fields, array_count(periodic_fields)},
    {"pull", true, .not_null = true, .fields = pull_fields, array_count(pull_fields)},
};

static enum err read_reader(const struct reading *reading, const struct node *node, void *out)
{
    struct reader_settings *reader = out;
    int pull;
    *reader = reader_defaults();
    enum err err = schema_variant(reading, node, TABLE(readers), reader, &pull);
    if (err)
        return err;
    reader->pull = pull;
    reader_complete(reader);
    exporter_complete(reading->arena, &reader->exporter, SIGNAL_METRICS);
    return ERR_OK;
}

static enum err read_readers(const struct reading *reading, const struct node *node, void *out)
{
    struct sdk_settings *settings = out;
    const void *items;
    enum err err =
        schema_list(reading, node, 1, sizeof(struct reader_settings), read_reader, &items, &settings->reader_count);
    if (!err)
        settings->readers = items;
    return err;
}

/* --- views: aggregation */

static enum err read_boundary(const struct reading *reading, const struct node *node, void *out)
{
    struct scalar scalar = node_scalar(node);
    bool number = scalar.type == SCALAR_INT || scalar.type == SCALAR_REAL;
    if (!number || !isfinite(scalar.real))
        return schema_expected(reading, node, "a finite number");
    *(double *)out = scalar.real;
    return ERR_OK;
}

static enum err read_boundaries(const struct reading *reading, const struct node *node, void *out)
{
    struct view_settings *view = out;
    const void *items;
    enum err err = schema_list(reading, node, 0, sizeof(double), read_boundary, &items, &view->bound_count);
    if (err)
        return err;
    view->boundaries = items;
    view->has_boundaries = true;
    for (unsigned i = 1; i < view->bound_count; i++)
        if (view->boundaries[i] <= view->boundaries[i - 1])
            return node_wrong(reading, node, "expected boundaries in ascending order");
    if (view->bound_count > HISTOGRAM_SIZE_MAX)
        return node_wrong(reading, node, "more than %d boundaries", HISTOGRAM_SIZE_MAX);
    return ERR_OK;
}

static const struct field explicit_fields[] = {
    {"boundaries", FIELD_NODE, .read = read_boundaries},
    {"record_min_max", FIELD_BOOL, VIEW(record_min_max)},
};

static const struct field exponential_fields[] = {
    {"max_scale", FIELD_INT, VIEW(max_scale), -10, 20},
    {"max_size", FIELD_COUNT, VIEW(max_size), 2, HISTOGRAM_SIZE_MAX},
    {"record_min_max", FIELD_BOOL, VIEW(record_min_max)},
};

static const struct variant aggregations[] = {
    {"default", AGGREGATE_DEFAULT},
    {"drop", AGGREGATE_DROP},
    {"explicit_bucket_histogram", AGGREGATE_EXPLICIT, .fields = explicit_fields, array_count(explicit_fields)},
    {"base2_exponential_bucket_histogram", AGGREGATE_EXPONENTIAL, .fields = exponential_fields,
     array_count(exponential_fields)},
    {"last_value", AGGREGATE_LAST_VALUE},
    {"sum", AGGREGATE_SUM},
};

static enum err read_aggregation(const struct reading *reading, const struct node *node, void *out)
{
    struct view_settings *view = out;
    int kind;
    enum err err = schema_variant(reading, node, TABLE(aggregations), view, &kind);
    if (!err)
        view->aggregation = (enum aggregation_kind)kind;
    return err;
}

/* --- views: selector and stream */

static const char *const instrument_names[] = {
    "counter",         "gauge", "histogram", "observable_counter", "observable_gauge", "observable_up_down_counter",
    "up_down_counter", NULL};

static enum err read_keys(const struct reading *reading, const struct node *node, void *out)
{
    struct patterns patterns = {0};
    struct view_settings *view = out;
    enum err err = schema_patterns(reading, node, &patterns);
    view->keys_included = patterns.included;
    view->keys_excluded = patterns.excluded;
    return err;
}

static const struct field selector_fields[] = {
    {"instrument_name", FIELD_TEXT, VIEW(instrument_name)},
    {"instrument_type", FIELD_CHOICE, VIEW(instrument_type), .choices = instrument_names},
    {"unit", FIELD_TEXT, VIEW(unit)},
    {"meter_name", FIELD_TEXT, VIEW(meter_name)},
    {"meter_version", FIELD_TEXT, VIEW(meter_version)},
    {"meter_schema_url", FIELD_TEXT, VIEW(meter_schema_url)},
};

static const struct field stream_fields[] = {
    {"name", FIELD_TEXT, VIEW(name)},
    {"description", FIELD_TEXT, VIEW(description)},
    {"aggregation", FIELD_NODE, .read = read_aggregation},
    {"aggregation_cardinality_limit", FIELD_COUNT, VIEW(cardinality_limit), 1, CARDINALITY_LIMIT_MAX},
    {"attribute_keys", FIELD_NODE, .read = read_keys},
};

static enum err read_selector(const struct reading *reading, const struct node *node, void *out)
{
    return schema_map(reading, node, TABLE(selector_fields), out);
}

static enum err read_stream(const struct reading *reading, const struct node *node, void *out)
{
    return schema_map(reading, node, TABLE(stream_fields), out);
}

static const struct field view_fields[] = {
    {"selector", FIELD_NODE, .required = true, .read = read_selector},
    {"stream", FIELD_NODE, .required = true, .read = read_stream},
};

/* Streams of several instruments under one name would be in conflict. */
static bool renames_many(const struct view_settings *view)
{
    return view->name && (!view->instrument_name || pattern_is_wild(view->instrument_name));
}

static enum err read_view(const struct reading *reading, const struct node *node, void *out)
{
    struct view_settings *view = out;
    *view = view_defaults();
    enum err err = schema_map(reading, node, TABLE(view_fields), view);
    if (!err && renames_many(view))
        err = node_wrong(reading, node, "stream.name needs a selector.instrument_name without wildcards");
    return err;
}

static enum err read_views(const struct reading *reading, const struct node *node, void *out)
{
    struct sdk_settings *settings = out;
    const void *items;
    enum err err =
        schema_list(reading, node, 1, sizeof(struct view_settings), read_view, &items, &settings->view_count);
    if (!err)
        settings->views = items;
    return err;
}

/* --- the provider */

static const struct field meter_fields[] = {
    {"readers", FIELD_NODE, .required = true, .read = read_readers},
    {"views", FIELD_NODE, .read = read_views},
    {"exemplar_filter", FIELD_CHOICE, AT(exemplar_filter), .choices = exemplar_names},
    {"meter_configurator/development", FIELD_REFUSED},
};

enum err read_meter_provider(const struct reading *reading, const struct node *node, void *out)
{
    return schema_map(reading, node, TABLE(meter_fields), out);
}
