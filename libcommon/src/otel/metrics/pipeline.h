/* The metrics pipeline: the readers and views that are in effect. Commit takes all locks of the metrics in the order of
 * collect.h. */
#ifndef OTEL_METRICS_PIPELINE_H
#define OTEL_METRICS_PIPELINE_H

#include "otel/metrics/reader.h"
#include "otel/sdk/provider.h"

/* Who renders a pull reader's text has it; a commit too. */
extern pthread_mutex_t pull_lock;

/* The route of a new instrument. Under registry_lock. */
struct route *pipeline_route(const struct instrument *instrument);
/* The reader whose metrics otel_metrics_text() shows, or NULL. Under pull_lock. */
struct reader *pipeline_text_reader(void);

#endif
