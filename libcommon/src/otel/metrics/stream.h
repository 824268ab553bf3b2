/* A stream: what one reader gets of an instrument through one view, or through none.
 *
 * A resolved stream points at the memory of the settings and of the instrument; stream_copy() makes one that
 * lives by itself. Source: OpenTelemetry specification, metrics/sdk, measurement processing. */
#ifndef OTEL_METRICS_STREAM_H
#define OTEL_METRICS_STREAM_H

#include "otel/sdk/model.h"

struct instrument;

/* Streams that are cumulative and synchronous keep no state of a reader: all readers may share them. */
enum { STREAM_SHARED = -1 };

struct stream {
    const char *name, *description;    /* description NULL: the instrument's */
    enum aggregation_kind aggregation; /* neither default nor drop */
    enum temporality temporality;
    bool integer, monotonic, asynchronous;
    bool delta_points;    /* only points with measurements since the last collection */
    const double *bounds; /* explicit histograms */
    unsigned bound_count;
    bool has_sum, has_min_max;
    int max_scale; /* exponential histograms */
    unsigned max_size;
    unsigned limit;                                          /* of points, without that of the overflow */
    const char *const *keys_included, *const *keys_excluded; /* NULL: all; none */
    int owner;                                               /* a reader's id, or STREAM_SHARED */
};

/* What of a reader shapes its streams. */
struct stream_reader {
    int id;
    bool cumulative; /* a pull reader */
    enum temporality_preference preference;
    int default_histogram;
    const unsigned *limits; /* by instrument kind */
};

/* The streams that reader gets of instrument, at most view_count, or 1 when there are no views; returns how many. */
unsigned streams_resolve(const struct instrument *instrument, const struct stream_reader *reader,
                         const struct view_settings *views, unsigned view_count, struct stream *out);
bool stream_equal(const struct stream *a, const struct stream *b);
struct stream stream_copy(struct arena *arena, const struct stream *stream);

/* Does one of the views select the instrument and make no sense for it? It is as if it were not there. */
bool views_misfit(const struct instrument *instrument, const struct view_settings *views, unsigned view_count);

/* Advice that is no ascending list of finite numbers is none. */
bool bounds_valid(const double *bounds, unsigned count);

#endif
