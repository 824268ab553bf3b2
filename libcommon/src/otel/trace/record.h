/* Span records: taken from a pool when a sampled span starts, filled within the limits, given back when its last
 * processor is done with it. The pool keeps RECORDS_KEPT of them with a chunk of memory each, so that a warm process
 * allocates for no ordinary span; what goes beyond is freed. */
#ifndef OTEL_TRACE_RECORD_H
#define OTEL_TRACE_RECORD_H

#include "otel/sdk/model.h"

enum { RECORDS_KEPT = 4096, RECORD_CHUNK_BYTES = 2048 };

/* Empty, but for what a span begins with: scope, ids, flags, name, kind and times. The limits are copied: they hold for
 * the span's whole life. */
struct span_record *record_take(const struct limit_settings *limits);
/* Every one of users will release it. */
void record_share(struct span_record *record, unsigned users);
void record_release(void *record);
/* What an ordinary span's end is about to read comes closer. NULL is allowed. */
void record_fetch(const struct span_record *record);

/* OTLP's flags: those of W3C, and whether the parent, or what is linked, was remote. */
static inline uint32_t span_flags(uint8_t w3c, bool remote)
{
    return w3c | 0x100u | (remote ? 0x200u : 0);
}

/* NULL is empty. lives: UTF-8 that stays until the span's end. */
void record_name(struct span_record *record, const char *name, bool lives);
void record_attribute(struct span_record *record, const struct otel_attribute *attribute);
void record_put(struct span_record *record, const char *key, size_t key_bytes, struct otel_value value);
/* As they are, where the span's limits and its other keys allow that; else one by one. */
void record_fold(struct span_record *record, const struct otel_attribute_set *set);
/* From here on all of it is the record's own: its sets' attributes are among the others, its name is a copy. */
void record_own(struct span_record *record);
void record_event(struct span_record *record, const char *name, int64_t wall_ns,
                  const struct otel_attribute *attributes, unsigned count);
void record_link(struct span_record *record, const struct otel_link *link);
void record_status(struct span_record *record, enum otel_status status, const char *description);

#endif
