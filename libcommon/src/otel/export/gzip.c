#include "otel/export/gzip.h"

#include <stdlib.h>
#include <zlib.h>

#include "common/mem.h"
#include "otel/sdk/buffer.h"

/* Telemetry repeats itself: the fastest level already takes most of it away. */
enum { LEVEL = 1, WINDOW_GZIP = 15 + 16, MEMORY_LEVEL = 8 };

struct gzip {
    z_stream stream;
};

struct gzip *gzip_new(void)
{
    struct gzip *gzip = mem_alloc(sizeof *gzip);
    if (deflateInit2(&gzip->stream, LEVEL, Z_DEFLATED, WINDOW_GZIP, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        abort(); /* out of memory */
    return gzip;
}

void gzip_free(struct gzip *gzip)
{
    if (!gzip)
        return;
    deflateEnd(&gzip->stream);
    free(gzip);
}

void gzip_pack(struct gzip *gzip, const void *data, size_t bytes, struct buffer *out)
{
    z_stream *stream = &gzip->stream;
    deflateReset(stream);
    buffer_reset(out);
    buffer_reserve(out, deflateBound(stream, bytes));
    stream->next_in = (Bytef *)(uintptr_t)data;
    stream->avail_in = (uInt)bytes;
    stream->next_out = out->data;
    stream->avail_out = (uInt)out->capacity;
    deflate(stream, Z_FINISH); /* the bound is never too small */
    out->size = stream->total_out;
}
