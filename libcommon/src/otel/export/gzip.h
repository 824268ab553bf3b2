/* gzip of a whole text. One thread at a time for each packer; its memory is kept for the next use. */
#ifndef OTEL_EXPORT_GZIP_H
#define OTEL_EXPORT_GZIP_H

#include "otel/sdk/exporter.h"

struct gzip;

struct gzip *gzip_new(void);
void gzip_free(struct gzip *gzip); /* NULL is allowed */
/* Replaces what out holds. */
void gzip_pack(struct gzip *gzip, const void *data, size_t bytes, struct buffer *out);

#endif
