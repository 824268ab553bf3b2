/* The micro benchmark of the telemetry: what its calls cost their callers. One file a signal has a table of them. */
#ifndef BENCH_OTEL_H
#define BENCH_OTEL_H

#include <stdint.h>

struct benchmark {
    const char *name;
    double target_ns; /* an operation may cost; 0: just to know */
    void (*open)(void);
    void (*run)(unsigned count); /* count operations; at most BURST at a time */
    void (*rest)(void);          /* between bursts, not measured; or NULL */
    void (*close)(void);
};

enum { BURST = 1024 };

/* Each ends with one without a name. */
extern const struct benchmark trace_benchmarks[], metrics_benchmarks[], export_benchmarks[];

#endif
