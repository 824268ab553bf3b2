#include "otel/export/writer.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/hash.h"
#include "common/mem.h"
#include "otel/export/items.h"
#include "otel/export/output.h"
#include "otel/export/patience.h"
#include "otel/export/report.h"
#include "otel/sdk/buffer.h"

struct writer {
    struct exporter exporter; /* first */
    struct output *output;
    void (*print)(struct buffer *out, const struct export_batch *batch);
    struct patience patience;
    struct report report;
    struct buffer text;
    char *path;
};

static void print_json_line(struct buffer *out, const struct export_batch *batch)
{
    otlp_encode_json(out, batch);
    if (out->size > 0)
        buffer_char(out, '\n');
}

static struct export_result writer_export(struct exporter *exporter, const struct export_batch *batch,
                                          int64_t deadline_ns)
{
    struct writer *writer = (struct writer *)exporter;
    buffer_reset(&writer->text);
    writer->print(&writer->text, batch);
    const char *error = output_write(writer->output, &writer->text, &writer->patience, deadline_ns);
    if (error)
        report_lost(&writer->report, error, "cannot write", batch_items(batch));
    else
        report_works(&writer->report);
    return (struct export_result){.ok = !error, .error = error};
}

static void writer_hurry(struct exporter *exporter, int64_t deadline_ns)
{
    patience_hurry(&((struct writer *)exporter)->patience, deadline_ns);
}

static void writer_free(struct exporter *exporter)
{
    struct writer *writer = (struct writer *)exporter;
    output_close(writer->output);
    patience_done(&writer->patience);
    buffer_free(&writer->text);
    free(writer->path);
    free(writer);
}

/* Takes path. */
static struct exporter *writer_open(const struct exporter_methods *methods, enum signal signal, char *path,
                                    void (*print)(struct buffer *, const struct export_batch *), char *message,
                                    size_t message_bytes)
{
    struct output *output = output_open(path, message, message_bytes);
    if (!output) {
        free(path);
        return NULL;
    }
    struct writer *writer = mem_alloc(sizeof *writer);
    writer->exporter = (struct exporter){methods, signal};
    writer->output = output;
    writer->print = print;
    writer->path = path;
    patience_init(&writer->patience);
    report_init(&writer->report, methods->type, path ? path : "stdout");
    return &writer->exporter;
}

#define METHODS(name)                                                                                                  \
    {                                                                                                                  \
        .type = name, .export = writer_export, .hurry = writer_hurry, .free = writer_free                              \
    }
const struct exporter_methods file_methods[] = {
    [SIGNAL_TRACES] = METHODS("otlp_file_span_exporter"),
    [SIGNAL_METRICS] = METHODS("otlp_file_metric_exporter"),
    [SIGNAL_LOGS] = METHODS("otlp_file_log_exporter"),
};
const struct exporter_methods console_methods[] = {
    [SIGNAL_TRACES] = METHODS("console_span_exporter"),
    [SIGNAL_METRICS] = METHODS("console_metric_exporter"),
    [SIGNAL_LOGS] = METHODS("console_log_exporter"),
};

/* The path of file:///path, its %-escapes resolved; NULL when it is none. The caller frees. */
static char *path_of(const char *url)
{
    static const char scheme[] = "file://";
    size_t length = sizeof scheme - 1;
    if (strncmp(url, scheme, length) != 0 || url[length] != '/')
        return NULL;
    char *path = mem_text(url + length), *to = path;
    for (const char *from = path; *from; to++) {
        bool escape = *from == '%' && isxdigit((unsigned char)from[1]) && isxdigit((unsigned char)from[2]);
        *to = (char)(escape ? hash_digit(from[1]) << 4 | hash_digit(from[2]) : *from);
        from += escape ? 3 : 1;
    }
    *to = '\0';
    return path;
}

struct exporter *file_exporter_open(const struct exporter_settings *settings, enum signal signal, char *message,
                                    size_t message_bytes)
{
    const char *stream = settings->output_stream ? settings->output_stream : "stdout";
    char *path = path_of(stream);
    if (path || strcmp(stream, "stdout") == 0)
        return writer_open(&file_methods[signal], signal, path, print_json_line, message, message_bytes);
    snprintf(message, message_bytes, "output_stream: expected stdout or file:///path, got %s", stream);
    return NULL;
}

struct exporter *console_exporter_open(const struct exporter_settings *settings, enum signal signal, char *message,
                                       size_t message_bytes)
{
    (void)settings; /* it has none */
    return writer_open(&console_methods[signal], signal, NULL, console_print, message, message_bytes);
}
