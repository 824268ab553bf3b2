/* What an exporter tells in the log about its fortune: that it begins to fail, still fails, works again, and what a
 * receiver rejected; at most one line a minute of each kind. One thread at a time. */
#ifndef OTEL_EXPORT_REPORT_H
#define OTEL_EXPORT_REPORT_H

#include <stdbool.h>
#include <stdint.h>

struct report {
    const char *exporter, *endpoint; /* as logs call them */
    bool failing, told;              /* told: the log knows that it fails */
    uint64_t lost, rejected;         /* since the last line of that kind */
    int64_t failing_line_ns, partial_line_ns, odd_line_ns;
    uint64_t partial_text; /* hash of the last message that was told */
};

void report_init(struct report *report, const char *exporter, const char *endpoint);
/* An attempt failed and will be repeated. */
void report_trouble(struct report *report, const char *error, const char *detail);
/* Items are lost. */
void report_lost(struct report *report, const char *error, const char *detail, uint64_t items);
void report_works(struct report *report);
void report_partial(struct report *report, uint64_t rejected, const char *message);
/* It was taken, but the answer cannot be read. */
void report_odd(struct report *report, const char *what);

#endif
