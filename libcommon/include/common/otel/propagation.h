/* Baggage and propagators: what travels between processes beside the ids.
 *
 * Baggage is kept as the text of its W3C header in trace_context.baggage and is immutable: setting and removing give
 * a new text in an arena. At most 64 entries and 8,192 bytes; what would go beyond is refused.
 * Extraction takes nothing from a malformed header and never fails; the rest of the context stays as it was.
 * Any thread. Source: W3C Trace Context 2, W3C Baggage; OpenTelemetry specification, context/api-propagators. */
#ifndef COMMON_OTEL_PROPAGATION_H
#define COMMON_OTEL_PROPAGATION_H

#include "common/arena.h"
#include "common/trace.h"

/* The percent-decoded value of an entry, in the arena, or NULL. Broken UTF-8 and NULs in it become U+FFFD. */
const char *otel_baggage_get(const struct trace_context *context, const char *key, struct arena *arena);
/* metadata ("k=v;flag") may be NULL. False, and the context as it was: a key that is no token, metadata that are no
 * properties, or beyond the limits. */
bool otel_baggage_set(struct trace_context *context, const char *key, const char *value, const char *metadata,
                      struct arena *arena);
void otel_baggage_remove(struct trace_context *context, const char *key, struct arena *arena);
/* Calls visit for each entry in order until it returns false; strings live in the arena. */
void otel_baggage_each(const struct trace_context *context, struct arena *arena,
                       bool (*visit)(const char *key, const char *value, const char *metadata, void *arg), void *arg);

/* The value of a tracestate member, in the arena, or NULL. */
const char *otel_tracestate_get(const struct trace_context *context, const char *key, struct arena *arena);
/* The member moves to the front; NULL removes it. False: malformed key or value, or more than 512 bytes by itself.
 * Beyond 32 members the last one falls off, beyond 512 bytes members over 128 bytes do first, then the last ones. */
bool otel_tracestate_set(struct trace_context *context, const char *key, const char *value, struct arena *arena);

/* With the propagators of the settings (tracecontext and baggage until told otherwise). out is {0} or the context
 * to start from; true when it holds a valid remote context now. Copies live in the arena. */
bool otel_extract(const struct carrier *carrier, struct arena *arena, struct trace_context *out);
void otel_inject(const struct trace_context *context, const struct carrier *carrier);
/* Header names that the propagators set, NULL-terminated, for carriers that must be cleared first. */
const char *const *otel_propagation_fields(void);

#endif
