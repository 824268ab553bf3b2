/* What the exporters get: ended spans, log records and collected metrics. Read-only while an export runs; the
 * memory is the processor's or reader's. */
#ifndef OTEL_SDK_MODEL_H
#define OTEL_SDK_MODEL_H

#include "common/arena.h"
#include "common/otel/logs.h"
#include "common/otel/trace.h"
#include "common/otel/value.h"
#include "otel/sdk/copy.h"
#include "otel/sdk/settings.h"

/* Who reports; immutable, shared, counted. */
struct sdk_resource {
    const struct otel_attribute *attributes; /* sorted by key, no key twice */
    unsigned attribute_count;
    const char *schema_url; /* or NULL */
};

/* Instrumentation scopes are interned and immortal: compare the pointers. */
struct sdk_scope {
    const char *name;                 /* never NULL */
    const char *version, *schema_url; /* or NULL */
};

/* sdk/scope.c: equal arguments give the same scope; any thread. */
const struct sdk_scope *sdk_scope(const char *name, const char *version, const char *schema_url);

struct event_record {
    int64_t wall_ns;
    const char *name;
    const struct otel_attribute *attributes;
    unsigned attribute_count, attributes_dropped;
};

struct link_record {
    uint8_t trace_id[16], span_id[8];
    uint32_t flags; /* as OTLP: W3C flags, 0x100 has-is-remote, 0x200 is-remote */
    const char *state;
    const struct otel_attribute *attributes;
    unsigned attribute_count, attributes_dropped;
};

enum { SPAN_SETS_MAX = 3 };

/* An ended span. Texts are NUL-terminated copies in its own arena. */
struct span_record {
    struct arena arena; /* private: kept for the next span */
    const struct sdk_scope *scope;
    uint8_t trace_id[16], span_id[8], parent_span_id[8]; /* parent all zero: a root */
    uint32_t flags;                                      /* as OTLP */
    const char *state;                                   /* or NULL */
    const char *name;
    bool name_is_lent; /* private */
    enum otel_span_kind kind;
    int64_t start_wall_ns, end_wall_ns;
    uint64_t start_ticks; /* private: see trace/wall.h; 0: the start was given */
    union {
        struct attribute_list list; /* private: the same three, and how many there is room for */
        struct {
            struct otel_attribute *attributes;
            unsigned attribute_count, attribute_capacity, attributes_dropped;
        };
    };
    const struct otel_attribute_set *sets[SPAN_SETS_MAX]; /* more of them, no key twice; none in batches */
    unsigned set_count;
    struct event_record *events;
    unsigned event_count, event_capacity, events_dropped;
    struct link_record *links;
    unsigned link_count, link_capacity, links_dropped;
    enum otel_status status;
    const char *status_message; /* or NULL */
};

struct log_record {
    struct arena arena; /* private */
    const struct sdk_scope *scope;
    int64_t time_wall_ns, observed_wall_ns;
    enum otel_severity severity;
    const char *severity_text, *event_name; /* or NULL */
    struct otel_value body;
    const struct otel_attribute *attributes;
    unsigned attribute_count, attributes_dropped;
    uint8_t trace_id[16], span_id[8]; /* all zero: none */
    uint32_t flags;
};

struct exemplar {
    int64_t wall_ns;
    double value;
    int64_t integer;
    const struct otel_attribute *attributes; /* those that the stream does not keep */
    unsigned attribute_count;
    uint8_t trace_id[16], span_id[8];
    bool has_trace;
};

struct metric_point {
    const struct otel_attribute *attributes; /* sorted by key */
    unsigned attribute_count;
    int64_t start_wall_ns, wall_ns;
    int64_t integer; /* of a sum or gauge of whole numbers */
    double real;     /* of a sum or gauge of real numbers */
    /* histograms */
    uint64_t count;
    double sum, min, max;
    bool has_sum, has_min_max;
    const uint64_t *buckets; /* explicit: bound_count + 1 of the metric; NULL: none */
    unsigned bucket_count;
    int scale; /* exponential, the same below */
    uint64_t zero_count;
    double zero_threshold;
    int positive_offset, negative_offset;
    const uint64_t *positive, *negative;
    unsigned positive_count, negative_count;
    const struct exemplar *exemplars;
    unsigned exemplar_count;
};

enum metric_type { METRIC_GAUGE, METRIC_SUM, METRIC_HISTOGRAM, METRIC_EXPONENTIAL };
enum temporality { TEMPORALITY_DELTA = 1, TEMPORALITY_CUMULATIVE = 2 }; /* OTLP's numbers */

struct metric {
    const struct sdk_scope *scope;
    const char *name, *description, *unit; /* never NULL */
    enum metric_type type;
    bool integer;   /* points of whole numbers */
    bool monotonic; /* sums */
    enum temporality temporality;
    const double *bounds; /* explicit histograms: the same for all points */
    unsigned bound_count;
    const struct metric_point *points;
    unsigned point_count;
};

#endif
