/* Prints the cost of each operation in ns (the best of several rounds, in bursts as a busy server makes them, the queue
 * emptied between) and its allocations on the calling thread. Exit status 1 when CHECK=1 is set and a target is missed.
 * Link with --wrap for malloc, calloc, realloc and reallocarray. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/otel.h"
#include "common/clock.h"

enum { ROUNDS = 60, BURSTS_A_ROUND = 25, BURSTS_TO_WARM = 20 };

static _Thread_local uint64_t allocations;

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

/* ns an operation, over some bursts. */
static double measure(const struct benchmark *benchmark, unsigned bursts)
{
    int64_t spent_ns = 0;
    for (unsigned i = 0; i < bursts; i++) {
        int64_t start_ns = clock_now_ns();
        benchmark->run(BURST);
        spent_ns += clock_now_ns() - start_ns;
        if (benchmark->rest)
            benchmark->rest();
    }
    return (double)spent_ns / ((double)bursts * BURST);
}

static bool run(const struct benchmark *benchmark)
{
    double best_ns = 0;
    benchmark->open();
    measure(benchmark, BURSTS_TO_WARM);
    uint64_t before = allocations;
    for (unsigned i = 0; i < ROUNDS; i++) {
        double ns = measure(benchmark, BURSTS_A_ROUND);
        if (i == 0 || ns < best_ns)
            best_ns = ns;
    }
    double each = (double)(allocations - before) / ((double)ROUNDS * BURSTS_A_ROUND * BURST);
    benchmark->close();
    bool ok = benchmark->target_ns == 0 || best_ns <= benchmark->target_ns;
    printf("%-58s %8.1f ns", benchmark->name, best_ns);
    if (benchmark->target_ns > 0)
        printf("  (target %.0f%s)", benchmark->target_ns, ok ? "" : ", missed");
    printf("  %.3f allocations\n", each);
    return ok;
}

int main(int argc, char **argv)
{
    const struct benchmark *const tables[] = {trace_benchmarks};
    bool ok = true;
    for (unsigned t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct benchmark *b = tables[t]; b->name; b++)
            if (argc < 2 || strstr(b->name, argv[1]))
                ok &= run(b);
    return getenv("CHECK") && !ok;
}
