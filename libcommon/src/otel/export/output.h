/* Where file and console exporters write: standard output, shared by all of this process, or a file that is appended
 * to. Whole lines; never longer than the deadline, even when a pipe's reader sleeps. */
#ifndef OTEL_EXPORT_OUTPUT_H
#define OTEL_EXPORT_OUTPUT_H

#include <stdbool.h>

#include "otel/export/patience.h"
#include "otel/sdk/exporter.h"

struct output;

/* path NULL: standard output. NULL with a message when the file cannot be written. */
struct output *output_open(const char *path, char *message, size_t message_bytes);
/* Another write of this process waits for its turn. Returns NULL, or the error's name: "timeout", "ENOSPC", …; static.
 * What was cut off is ended with a newline before the next text. */
const char *output_write(struct output *output, const struct buffer *text, const struct patience *patience,
                         int64_t deadline_ns);
void output_close(struct output *output);

#endif
