/* What a scraper takes, by its request's headers (NULL: not sent). Source: RFC 9110 12.5; Prometheus content
 * negotiation and escaping schemes. */
#ifndef OTEL_METRICS_ACCEPT_H
#define OTEL_METRICS_ACCEPT_H

#include "otel/metrics/prometheus.h"

/* The format with the highest weight, the first of equals; text 0.0.4 when nothing is known. */
struct text_format accept_format(const char *accept);
bool accept_gzip(const char *accept_encoding);

#endif
