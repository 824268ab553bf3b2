#include "otel/metrics/stream.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "otel/metrics/instrument.h"
#include "otel/metrics/pattern.h"

static const double default_bounds[] = {0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000};
enum { DEFAULT_SCALE = 20, DEFAULT_SIZE = 160, DEFAULT_LIMIT = 2000 };

bool bounds_valid(const double *bounds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!isfinite(bounds[i]) || (i > 0 && bounds[i] <= bounds[i - 1]))
            return false;
    return true;
}

static bool is_asynchronous(enum instrument_kind kind)
{
    return kind == INSTRUMENT_OBSERVABLE_COUNTER || kind == INSTRUMENT_OBSERVABLE_GAUGE ||
           kind == INSTRUMENT_OBSERVABLE_UP_DOWN_COUNTER;
}

static bool is_up_and_down(enum instrument_kind kind)
{
    return kind == INSTRUMENT_UP_DOWN_COUNTER || kind == INSTRUMENT_OBSERVABLE_UP_DOWN_COUNTER;
}

static bool is_gauge(enum instrument_kind kind)
{
    return kind == INSTRUMENT_GAUGE || kind == INSTRUMENT_OBSERVABLE_GAUGE;
}

/* The tables of the specification's OTLP exporter. */
static bool wants_delta(const struct stream_reader *reader, enum instrument_kind kind)
{
    if (reader->cumulative || reader->preference == PREFER_CUMULATIVE || is_up_and_down(kind))
        return false;
    return reader->preference == PREFER_DELTA || kind == INSTRUMENT_COUNTER || kind == INSTRUMENT_HISTOGRAM;
}

static enum aggregation_kind default_aggregation(const struct stream_reader *reader, enum instrument_kind kind)
{
    if (is_gauge(kind))
        return AGGREGATE_LAST_VALUE;
    if (kind != INSTRUMENT_HISTOGRAM)
        return AGGREGATE_SUM;
    return reader->default_histogram == DEFAULT_HISTOGRAM_EXPONENTIAL ? AGGREGATE_EXPONENTIAL : AGGREGATE_EXPLICIT;
}

/* Without a view. */
static struct stream plain_stream(const struct instrument *instrument, const struct stream_reader *reader)
{
    enum instrument_kind kind = instrument->kind;
    bool delta = wants_delta(reader, kind);
    unsigned limit = reader->limits ? reader->limits[kind] : 0;
    struct stream stream = {
        .name = instrument->name,
        .aggregation = default_aggregation(reader, kind),
        .temporality = delta ? TEMPORALITY_DELTA : TEMPORALITY_CUMULATIVE,
        .integer = instrument->integer,
        .monotonic =
            kind == INSTRUMENT_COUNTER || kind == INSTRUMENT_OBSERVABLE_COUNTER || kind == INSTRUMENT_HISTOGRAM,
        .asynchronous = is_asynchronous(kind),
        .delta_points = delta,
        .bounds = instrument->bounds ? instrument->bounds : default_bounds,
        .bound_count = instrument->bounds ? instrument->bound_count : array_count(default_bounds),
        .has_sum = !is_up_and_down(kind) && !is_gauge(kind),
        .has_min_max = true,
        .max_scale = DEFAULT_SCALE,
        .max_size = DEFAULT_SIZE,
        .limit = limit ? limit : DEFAULT_LIMIT,
        .keys_included = instrument->keys,
        .owner = delta || is_asynchronous(kind) ? reader->id : STREAM_SHARED,
    };
    return stream;
}

static bool wants(const char *wanted, const char *given)
{
    return !wanted || strcmp(wanted, given ? given : "") == 0;
}

static bool selects(const struct view_settings *view, const struct instrument *instrument)
{
    const struct sdk_scope *scope = instrument->scope;
    if (view->instrument_name && !pattern_matches_name(view->instrument_name, instrument->name))
        return false;
    if (view->instrument_type >= 0 && view->instrument_type != (int)instrument->kind)
        return false;
    return wants(view->unit, instrument->unit) && wants(view->meter_name, scope->name) &&
           wants(view->meter_version, scope->version) && wants(view->meter_schema_url, scope->schema_url);
}

static bool is_histogram(enum aggregation_kind aggregation)
{
    return aggregation == AGGREGATE_EXPLICIT || aggregation == AGGREGATE_EXPONENTIAL;
}

static void apply_aggregation(struct stream *stream, const struct view_settings *view)
{
    stream->aggregation = view->aggregation;
    if (!is_histogram(view->aggregation))
        return;
    stream->has_min_max = view->record_min_max;
    stream->max_scale = view->max_scale;
    stream->max_size = view->max_size;
    stream->bounds = view->has_boundaries ? view->boundaries : default_bounds;
    stream->bound_count = view->has_boundaries ? view->bound_count : array_count(default_bounds);
}

static struct stream viewed_stream(const struct instrument *instrument, const struct stream_reader *reader,
                                   const struct view_settings *view)
{
    struct stream stream = plain_stream(instrument, reader);
    if (view->name)
        stream.name = view->name;
    stream.description = view->description;
    if (view->aggregation != AGGREGATE_DEFAULT)
        apply_aggregation(&stream, view);
    if (view->cardinality_limit)
        stream.limit = view->cardinality_limit;
    if (view->keys_included || view->keys_excluded) {
        stream.keys_included = view->keys_included;
        stream.keys_excluded = view->keys_excluded;
    }
    return stream;
}

/* What an aggregation has no use for is not part of the stream's identity. */
static void normalise(struct stream *stream)
{
    if (stream->aggregation != AGGREGATE_EXPLICIT) {
        stream->bounds = NULL;
        stream->bound_count = 0;
    }
    if (stream->aggregation != AGGREGATE_EXPONENTIAL) {
        stream->max_scale = 0;
        stream->max_size = 0;
    }
    if (!is_histogram(stream->aggregation))
        stream->has_min_max = stream->has_sum = false;
    if (stream->aggregation == AGGREGATE_LAST_VALUE)
        stream->monotonic = false;
}

/* A histogram of what is only looked at now and then would count collections. */
static bool makes_sense(const struct view_settings *view, const struct instrument *instrument)
{
    return !is_asynchronous(instrument->kind) || !is_histogram(view->aggregation);
}

unsigned streams_resolve(const struct instrument *instrument, const struct stream_reader *reader,
                         const struct view_settings *views, unsigned view_count, struct stream *out)
{
    unsigned count = 0;
    bool selected = false;
    for (unsigned i = 0; i < view_count; i++) {
        if (!selects(&views[i], instrument) || !makes_sense(&views[i], instrument))
            continue;
        selected = true;
        if (views[i].aggregation == AGGREGATE_DROP)
            continue;
        out[count] = viewed_stream(instrument, reader, &views[i]);
        normalise(&out[count++]);
    }
    if (selected)
        return count;
    *out = plain_stream(instrument, reader);
    normalise(out);
    return 1;
}

bool views_misfit(const struct instrument *instrument, const struct view_settings *views, unsigned view_count)
{
    for (unsigned i = 0; i < view_count; i++)
        if (selects(&views[i], instrument) && !makes_sense(&views[i], instrument))
            return true;
    return false;
}

/* --- by value */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_list(const char *const *a, const char *const *b)
{
    if (!a || !b)
        return a == b;
    for (; *a && *b; a++, b++)
        if (strcmp(*a, *b) != 0)
            return false;
    return *a == *b;
}

static bool same_bounds(const struct stream *a, const struct stream *b)
{
    return a->bound_count == b->bound_count &&
           (a->bound_count == 0 || memcmp(a->bounds, b->bounds, sizeof *a->bounds * a->bound_count) == 0);
}

bool stream_equal(const struct stream *a, const struct stream *b)
{
    return same_text(a->name, b->name) && same_text(a->description, b->description) &&
           a->aggregation == b->aggregation && a->temporality == b->temporality && a->integer == b->integer &&
           a->monotonic == b->monotonic && a->asynchronous == b->asynchronous && a->delta_points == b->delta_points &&
           same_bounds(a, b) && a->has_sum == b->has_sum && a->has_min_max == b->has_min_max &&
           a->max_scale == b->max_scale && a->max_size == b->max_size && a->limit == b->limit &&
           same_list(a->keys_included, b->keys_included) && same_list(a->keys_excluded, b->keys_excluded) &&
           a->owner == b->owner;
}

static const char *const *copy_list(struct arena *arena, const char *const *list)
{
    size_t count = 0;
    if (!list)
        return NULL;
    while (list[count])
        count++;
    const char **copy = arena_array(arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++)
        copy[i] = arena_text(arena, list[i], strlen(list[i]));
    return copy;
}

struct stream stream_copy(struct arena *arena, const struct stream *stream)
{
    struct stream copy = *stream;
    copy.name = arena_text(arena, stream->name, strlen(stream->name));
    if (stream->description)
        copy.description = arena_text(arena, stream->description, strlen(stream->description));
    copy.bounds = arena_copy(arena, stream->bounds, sizeof *stream->bounds * stream->bound_count);
    copy.keys_included = copy_list(arena, stream->keys_included);
    copy.keys_excluded = copy_list(arena, stream->keys_excluded);
    return copy;
}
