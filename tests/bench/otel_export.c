#include <stdlib.h>

#include "bench/otel.h"
#include "common/mem.h"
#include "otel/export/gzip.h"
#include "otel/sdk/buffer.h"

extern const struct benchmark export_benchmarks[];

/* A batch as a service makes it: one operation is one span of it. */
enum { BATCH = 512 };

static struct span_record spans[BATCH];
static struct span_record *pointers[BATCH];
static struct otel_attribute attributes[4], resource_attributes[6];
static const struct sdk_scope scope = {"libcommon.http", "0.2.0", "https://opentelemetry.io/schemas/1.44.0"};
static const struct sdk_resource resource = {resource_attributes, array_count(resource_attributes), NULL};
static const struct export_batch batch = {
    .signal = SIGNAL_TRACES, .resource = &resource, .count = BATCH, .spans = pointers};
static struct otlp_request request;
static struct buffer text, joined, packed;
static struct gzip *gzip;

static void fill_span(struct span_record *span, unsigned number)
{
    *span = (struct span_record){
        .scope = &scope,
        .trace_id = {1, 2, 3, (uint8_t)number, (uint8_t)(number >> 8)},
        .span_id = {4, 5, (uint8_t)number, (uint8_t)(number >> 8)},
        .parent_span_id = {6},
        .flags = 0x101,
        .name = "GET /api/users/:id",
        .kind = OTEL_SPAN_SERVER,
        .start_wall_ns = INT64_C(1800000000000000000) + number,
        .end_wall_ns = INT64_C(1800000000000700000) + number,
        .attributes = attributes,
        .attribute_count = array_count(attributes),
    };
}

static void open_batch(void)
{
    attributes[0] = otel_text("http.request.method", "GET");
    attributes[1] = otel_text("http.route", "/api/users/:id");
    attributes[2] = otel_text("url.path", "/api/users/019a2f5c-7a3e-7c40-9b1e-2f6f3a5d8e01");
    attributes[3] = otel_int("http.response.status_code", 200);
    for (unsigned i = 0; i < array_count(resource_attributes); i++)
        resource_attributes[i] = otel_text("service.instance.id", "019a2f5c-7a3e-7c40-9b1e-2f6f3a5d8e01");
    for (unsigned i = 0; i < BATCH; i++) {
        fill_span(&spans[i], i);
        pointers[i] = &spans[i];
    }
    gzip = gzip_new();
}

static void close_batch(void)
{
    otlp_request_free(&request);
    buffer_free(&text);
    buffer_free(&joined);
    buffer_free(&packed);
    gzip_free(gzip);
}

static void encode(unsigned count)
{
    for (unsigned done = 0; done < count; done += BATCH)
        otlp_encode(&request, &batch);
}

static void encode_json(unsigned count)
{
    for (unsigned done = 0; done < count; done += BATCH) {
        buffer_reset(&text);
        otlp_encode_json(&text, &batch);
    }
}

static void encode_and_pack(unsigned count)
{
    for (unsigned done = 0; done < count; done += BATCH) {
        otlp_encode(&request, &batch);
        struct otlp_message message = otlp_join(&request, &joined);
        gzip_pack(gzip, message.data, message.size, &packed);
    }
}

const struct benchmark export_benchmarks[] = {
    {"encode a span with 4 attributes", 300, open_batch, encode, NULL, close_batch},
    {"encode and gzip a span with 4 attributes", 0, open_batch, encode_and_pack, NULL, close_batch},
    {"encode a span with 4 attributes as JSON", 0, open_batch, encode_json, NULL, close_batch},
    {0},
};
