/* Telemetry of the calls that pass the middleware seam: a span and a duration each, by the semantic conventions.
 *
 *   instrument.c  the seam's side: which kind is told to whom
 *   http.c  rpc.c  db.c  messaging.c   what a kind's span and metrics say
 *   series.c      bound metrics found again by what a call repeats
 *   process.c     the process's own metrics */
#ifndef OTEL_INSTRUMENT_H
#define OTEL_INSTRUMENT_H

#include "common/middleware.h"
#include "common/otel/otel.h"
#include "otel/instrument/names.h"

struct call_series;

struct call_telemetry {
    struct otel_span span;
    struct otel_bound_counter *active; /* HTTP: counts it while it runs */
};

/* Of one kind of call: what its span says at the begin and at the end, and what is measured. */
struct call_convention {
    enum otel_span_kind kind;
    const char *(*name)(const struct call *call, struct arena *arena);
    void (*begin)(const struct call *call, struct otel_span *span); /* recording spans only */
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

enum { SERIES_ATTRIBUTES_MAX = 8, CALL_SECONDS = 14 };

/* The conventions' bounds for durations of HTTP, RPC and messaging calls. */
extern const double call_seconds[CALL_SECONDS];

const struct call_convention *convention_of(const struct call *call);

extern const struct call_convention http_server_convention, rpc_server_convention, rpc_client_convention, db_convention,
    send_convention, receive_convention, process_convention, settle_convention;

/* series.c: the bound metrics of a call that has ended; this thread's own table, so nothing is locked. */
struct call_series {
    struct otel_bound_histogram *duration;
    struct otel_bound_counter *messages;           /* sent or consumed; NULL: no message */
    struct otel_bound_counter *requests;           /* HTTP: http_requests_total */
    struct otel_bound_histogram *request_duration; /* HTTP: http_request_duration_seconds */
};
const struct call_series *series_find(const struct call *call, const char *error);
/* http.server.active_requests of the call's method. */
struct otel_bound_counter *series_active(const struct call *call);

/* Sets host and port (unless its key is NULL) of "host:port", "[v6]:port" or "dns:///host:port". */
void put_address(struct otel_span *span, const char *host_key, const char *port_key, const char *text);
/* "a b" */
const char *two_words(struct arena *arena, const char *a, const char *b);

#endif
