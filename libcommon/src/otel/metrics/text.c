/* The text of a pull reader. */
#include "otel/metrics/text.h"

#include "common/clock.h"
#include "common/otel/otel.h"
#include "otel/metrics/pipeline.h"

void reader_write_text(struct reader *reader, const struct text_format *format, struct buffer *out)
{
    struct collection collection;
    int64_t start_ns = clock_now_ns();
    collection_init(&collection);
    collect(&collection, reader->id, 0);
    component_operation(&reader->component, (double)(clock_now_ns() - start_ns) / NS_PER_S, NULL);
    prometheus_write(out, collection.metrics, collection.count, &reader->resource, &reader->settings.exporter, format);
    collection_done(&collection);
}

char *otel_metrics_text(bool openmetrics, const char **out_content_type, size_t *out_bytes)
{
    struct text_format format = {.openmetrics = openmetrics};
    struct buffer text = {0};
    pthread_mutex_lock(&pull_lock);
    struct reader *reader = pipeline_text_reader();
    if (reader)
        reader_write_text(reader, &format, &text);
    else if (openmetrics)
        buffer_text(&text, "# EOF\n");
    pthread_mutex_unlock(&pull_lock);
    *out_content_type = prometheus_content_type(&format);
    *out_bytes = text.size;
    buffer_char(&text, '\0');
    return (char *)text.data;
}
