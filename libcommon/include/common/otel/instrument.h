/* Telemetry for programs that use libcommon's servers and clients: every call that passes the middleware seam gets a
 * span and is measured, by the semantic conventions 1.44; the process is measured too.
 *
 * Call once, after otel_start() and before the loops start. docs/telemetry.md lists every name. */
#ifndef COMMON_OTEL_INSTRUMENT_H
#define COMMON_OTEL_INSTRUMENT_H

/* Spans and durations of HTTP, RPC, database and stream calls. */
void otel_instrument_calls(void);
/* process.*: CPU time, memory, threads, open descriptors, uptime. */
void otel_instrument_process(void);

#endif
