/* Writing to a pipe or socket whose reader has gone raises SIGPIPE, which ends a program that did not expect it.
 * Between quiet_begin() and quiet_end() the calling thread only gets EPIPE. */
#ifndef OTEL_EXPORT_QUIET_H
#define OTEL_EXPORT_QUIET_H

#include <signal.h>
#include <stdbool.h>

struct quiet {
    sigset_t before;
    bool pending; /* one was on its way already: it stays */
};

void quiet_begin(struct quiet *quiet);
void quiet_end(const struct quiet *quiet);

#endif
