/* The HTTP server of a pull reader: GET /metrics on a port of its own, on a thread of its own.
 *
 * Formats and gzip by the request's Accept and Accept-Encoding. At most 32 connections, 10 s for a request. */
#ifndef OTEL_METRICS_PULL_H
#define OTEL_METRICS_PULL_H

#include "otel/metrics/reader.h"

struct pull_server;

/* NULL with a message that names the address, when that cannot be had. Answers 503 as long as it has no reader. */
struct pull_server *pull_server_open(const char *host, int port, char *message, size_t message_bytes);
bool pull_server_is_at(const struct pull_server *server, const char *host, int port);
void pull_server_set(struct pull_server *server, struct reader *reader); /* under pull_lock */
void pull_server_close(struct pull_server *server);                      /* NULL is allowed; without pull_lock */

#endif
