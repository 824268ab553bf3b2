/* Log records from the logger to the processors. A record is shared by all processors and goes back to the pool when
 * the last of them has released it. */
#ifndef OTEL_LOGS_INTERNAL_H
#define OTEL_LOGS_INTERNAL_H

#include "otel/sdk/processors.h"

struct logs_pipeline {
    struct arena arena;
    struct limit_settings limits;
    struct processors processors;
};

/* provider.c: to be read in a guard; NULL: nothing is recorded. */
extern _Atomic(struct logs_pipeline *) logs_current;

/* record.c: an empty record that users will release, each once, on any thread. */
struct log_record *log_record_take(unsigned users);
void log_record_release(void *record);
/* Frees what waits to be used again. */
void log_records_free(void);

#endif
