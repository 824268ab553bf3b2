/* The SDK's own metrics (otel.sdk.*): each processor, exporter and reader carries a struct component of counters, which
 * self.c's asynchronous instruments read. Source: semantic conventions 1.44, otel/sdk-metrics. */
#ifndef OTEL_SDK_SELF_H
#define OTEL_SDK_SELF_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/list.h"
#include "otel/sdk/exporter.h"
#include "otel/sdk/ring.h"

enum { COMPONENT_ERRORS_MAX = 16 };

struct component {
    struct list list; /* private */
    enum component_role { COMPONENT_PROCESSOR, COMPONENT_EXPORTER, COMPONENT_READER } role;
    enum signal signal;
    const char *type;           /* otel.component.type, static */
    char name[64];              /* otel.component.name: "<type>/<n>", made by component_add() */
    const char *server_address; /* exporters: server.address and server.port, or NULL; live as long as it */
    int server_port;
    const struct ring *queue; /* processors: what is waiting; theirs as long as the component is added */
    uint64_t queue_capacity;
    _Atomic(uint64_t) done;     /* processed or exported without error */
    _Atomic(uint64_t) inflight; /* exporters: items */
    struct {
        _Atomic(const char *) error; /* error.type: static text, such as "queue_full", "timeout", "UNAVAILABLE" */
        _Atomic(uint64_t) count;
    } failed[COMPONENT_ERRORS_MAX]; /* the last one stands for all further types */
};

/* Any thread. A removed component's counts stay: the next one of its name and address goes on from them (counters never
 * go back). Names are given again, so that reloads make no new ones. */
void component_add(struct component *component);
void component_remove(struct component *component);
void component_failed(struct component *component, const char *error, uint64_t count);
/* otel.sdk.exporter.operation.duration, otel.sdk.metric_reader.collection.duration: seconds */
void component_operation(struct component *component, double seconds, const char *error);

/* Process-wide: otel.sdk.span.started (by parent origin and sampling result), otel.sdk.span.live, otel.sdk.log.created,
 * libcommon.otel.config.reloads (ours, by outcome). The first two are for hot paths: a plain addition to the thread's
 * own counter. */
enum span_origin { ORIGIN_NONE, ORIGIN_LOCAL, ORIGIN_REMOTE };
enum sampling_result { SAMPLED_DROP, SAMPLED_RECORD_ONLY, SAMPLED_RECORD };
void self_span_started(enum span_origin origin, enum sampling_result result);
void self_span_ended(enum sampling_result result);
void self_log_created(void);
void self_reloaded(bool ok);
/* Makes the instruments; after the meters work. What comes after the first time has no effect. */
void self_start(void);

#endif
