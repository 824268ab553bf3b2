/* Prints the cost of each operation in ns and its allocations on the calling thread. Operations come in bursts, as a
 * busy server makes them, and the queue is emptied between; the fastest tenth of the bursts counts, since the others
 * share the machine with whoever else is on it. Exit status 1 when CHECK=1 is set and a target is missed. Link with
 * --wrap for malloc, calloc, realloc and reallocarray. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/otel.h"
#include "common/clock.h"

enum { BURSTS = 1000, BURSTS_TO_WARM = 20 };

static _Thread_local uint64_t allocations; /* of this thread, ever */
static uint64_t counted;                   /* in bursts */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__real_reallocarray(void *memory, size_t count, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void *__wrap_reallocarray(void *memory, size_t count, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    allocations++;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    allocations++;
    return __real_calloc(count, bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    allocations++;
    return __real_realloc(memory, bytes);
}

void *__wrap_reallocarray(void *memory, size_t count, size_t bytes)
{
    allocations++;
    return __real_reallocarray(memory, count, bytes);
}

static double burst(const struct benchmark *benchmark)
{
    uint64_t before = allocations;
    int64_t start_ns = clock_now_ns();
    benchmark->run(BURST);
    int64_t spent_ns = clock_now_ns() - start_ns;
    counted += allocations - before;
    if (benchmark->rest)
        benchmark->rest();
    return (double)spent_ns / BURST;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool run(const struct benchmark *benchmark)
{
    static double bursts[BURSTS];
    benchmark->open();
    for (unsigned i = 0; i < BURSTS_TO_WARM; i++)
        burst(benchmark);
    counted = 0;
    for (unsigned i = 0; i < BURSTS; i++)
        bursts[i] = burst(benchmark);
    double each = (double)counted / ((double)BURSTS * BURST);
    benchmark->close();
    qsort(bursts, BURSTS, sizeof bursts[0], by_size);
    double ns = bursts[BURSTS / 10];
    bool ok = benchmark->target_ns == 0 || ns <= benchmark->target_ns;
    printf("%-58s %8.1f ns  (median %.1f", benchmark->name, ns, bursts[BURSTS / 2]);
    if (benchmark->target_ns > 0)
        printf(", target %.0f%s", benchmark->target_ns, ok ? "" : ": missed");
    printf(")  %.3f allocations\n", each);
    return ok;
}

int main(int argc, char **argv)
{
    const struct benchmark *const tables[] = {trace_benchmarks, metrics_benchmarks, export_benchmarks};
    bool ok = true;
    for (unsigned t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct benchmark *b = tables[t]; b->name; b++)
            if (argc < 2 || strstr(b->name, argv[1]))
                ok &= run(b);
    return getenv("CHECK") && !ok;
}
