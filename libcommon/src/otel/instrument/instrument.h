/* Telemetry of the calls that pass the middleware seam: a span and a duration each, by the semantic conventions.
 *
 *   instrument.c  the seam's side: which kind is told to whom
 *   http.c  rpc.c  db.c  messaging.c   what a kind's span and metrics say
 *   sites.c       what all calls of a place in the program have in common, found again at each of them
 *   series.c      bound metrics found again by what a call repeats
 *   process.c     the process's own metrics */
#ifndef OTEL_INSTRUMENT_H
#define OTEL_INSTRUMENT_H

#include <string.h>

#include "common/middleware.h"
#include "common/otel/otel.h"
#include "otel/instrument/names.h"

struct call_series;

struct call_telemetry {
    struct otel_span span;
    struct call_site *site;
    int64_t start_wall_ns; /* of the call's begin; 0: the span starts and ends by itself */
};

/* Of one kind of call: what its span says at the begin and at the end, and what is measured. */
struct call_convention {
    enum otel_span_kind kind;
    const char *(*name)(const struct call *call, struct arena *arena); /* one for all calls of a site */
    /* The span's attributes that all calls of a site have; returns their number. At most SITE_ATTRIBUTES_MAX. */
    unsigned (*constants)(const struct call *call, struct otel_attribute *attributes);
    void (*begin)(const struct call *call, struct otel_span *span); /* the others; recording spans only; or NULL */
    /* The same at the end: those that all calls of a series have, at most SITE_ATTRIBUTES_MAX, and the others, or
     * NULL. */
    unsigned (*outcome)(const struct call *call, const char *error, struct otel_attribute *attributes);
    void (*end)(const struct call *call, enum err err, struct otel_span *span);
    /* error.type at the end: static or of the call's life; NULL: it went well, as far as this side is concerned */
    const char *(*error)(const struct call *call, enum err err);
    /* The metrics' attributes; returns their number. At most SERIES_ATTRIBUTES_MAX. */
    unsigned (*attributes)(const struct call *call, const char *error, struct otel_attribute *attributes);
    struct duration {
        const char *name, *description;
        const double *bounds;
        unsigned bound_count;
    } duration;
};

enum { SERIES_ATTRIBUTES_MAX = 8, SITE_ATTRIBUTES_MAX = 8, CALL_SECONDS = 14 };

/* The conventions' bounds for durations of HTTP, RPC and messaging calls. */
extern const double call_seconds[CALL_SECONDS];

const struct call_convention *convention_of(const struct call *call);

extern const struct call_convention http_server_convention, rpc_server_convention, rpc_client_convention, db_convention,
    send_convention, receive_convention, process_convention, settle_convention;

/* series.c: the bound metrics of a call that has ended. */
struct call_series {
    int status;
    const struct otel_attribute_set *outcome; /* NULL: of calls whose outcomes differ */
    struct otel_bound_histogram *duration;
    struct otel_bound_counter *messages;           /* sent or consumed; NULL: no message */
    struct otel_bound_counter *requests;           /* HTTP: http_requests_total */
    struct otel_bound_histogram *request_duration; /* HTTP: http_request_duration_seconds */
};
const struct call_series *series_find(const struct call *call, const char *error);
/* Binds http.server.active_requests for the call's method: once a site. */
struct otel_bound_counter *series_active(const struct call *call);

/* sites.c: a kind with what its calls repeat from their begin on. Nothing ends it. What a call is recognised by lies in
 * one cache line, the texts side by side. */
struct call_site {
    _Alignas(64) enum call_kind kind;
    const char *name, *method, *text, *peer, *place; /* as in struct call */
    const char *span_name;                           /* NULL: it is no UTF-8 */
    struct otel_attribute_set *constants;
    struct otel_bound_counter *active;         /* HTTP: counts requests while they run */
    _Atomic(const struct call_series *) usual; /* of the call that ended last, without an error */
    struct arena arena;                        /* of the texts */
};
/* NULL when there are too many of them. */
struct call_site *site_find(const struct call *call);
/* The series of a call that has ended. */
const struct call_series *site_series(struct call_site *site, const struct call *call, const char *error);

/* Host and port of "host:port", "[v6]:port" or "dns:///host:port"; returns how many of the two there are. The host is a
 * part of text. */
unsigned address_attributes(const char *text, const char *host_key, const char *port_key, struct otel_attribute *out);
/* NULL is the same as NULL only. */
static inline bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* "a b" */
const char *two_words(struct arena *arena, const char *a, const char *b);

#endif
