/* An exporter with its counts: what a processor or reader owns and calls.
 *
 * The settings are copied. One export at a time, on the owner's thread. */
#ifndef OTEL_SDK_EXPORT_H
#define OTEL_SDK_EXPORT_H

#include "otel/sdk/exporter.h"
#include "otel/sdk/self.h"

struct exporting {
    struct exporter *exporter;
    struct exporter_settings settings;
    struct component component;
    char server_address[256];
};

/* Opens the exporter and registers its component; false with a message. Copies live in the arena. */
bool exporting_open(struct exporting *exporting, const struct exporter_settings *settings, enum signal signal,
                    struct arena *arena, char *message, size_t message_bytes);
/* Exports items (spans, log records, data points) and counts them by their fate. */
struct export_result exporting_send(struct exporting *exporting, const struct export_batch *batch, uint64_t items,
                                    int64_t deadline_ns);
/* As the exporter's own hurry: any thread. */
void exporting_hurry(struct exporting *exporting, int64_t deadline_ns);
void exporting_close(struct exporting *exporting);

/* exporter_open(), unless a test has put its own in place. */
typedef struct exporter *exporter_opener(const struct exporter_settings *settings, enum signal signal, char *message,
                                         size_t message_bytes);
extern exporter_opener *exporting_opener;

#endif
