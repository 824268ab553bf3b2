/* The process as the kernel sees it, read when somebody collects. */
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/otel/instrument.h"
#include "otel/instrument/instrument.h"

static int64_t started_ns;

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void observe_cpu(struct otel_observation *observation, void *arg)
{
    struct rusage usage;
    (void)arg;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    otel_observation_add(observation, seconds_of(usage.ru_utime), OTEL_LIST(otel_text("cpu.mode", "user")));
    otel_observation_add(observation, seconds_of(usage.ru_stime), OTEL_LIST(otel_text("cpu.mode", "system")));
}

/* Pages: size, resident. */
static bool read_pages(long out[2])
{
    FILE *file = fopen("/proc/self/statm", "re");
    bool ok = file && fscanf(file, "%ld %ld", &out[0], &out[1]) == 2;
    if (file)
        fclose(file);
    return ok;
}

static void observe_resident(struct otel_observation *observation, void *arg)
{
    long pages[2];
    (void)arg;
    if (read_pages(pages))
        otel_observation_add(observation, (double)pages[1] * (double)sysconf(_SC_PAGESIZE), NULL, 0);
}

static void observe_virtual(struct otel_observation *observation, void *arg)
{
    long pages[2];
    (void)arg;
    if (read_pages(pages))
        otel_observation_add(observation, (double)pages[0] * (double)sysconf(_SC_PAGESIZE), NULL, 0);
}

static void observe_entries(struct otel_observation *observation, const char *folder, int own)
{
    int count = -own;
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    otel_observation_add(observation, count, NULL, 0);
}

static void observe_threads(struct otel_observation *observation, void *arg)
{
    (void)arg;
    observe_entries(observation, "/proc/self/task", 0);
}

static void observe_descriptors(struct otel_observation *observation, void *arg)
{
    (void)arg;
    observe_entries(observation, "/proc/self/fd", 1); /* the one that reads the folder */
}

static void observe_uptime(struct otel_observation *observation, void *arg)
{
    (void)arg;
    otel_observation_add(observation, (double)(clock_now_ns() - started_ns) / 1e9, NULL, 0);
}

void otel_instrument_process(void)
{
    static const struct {
        enum otel_observable kind;
        const char *name, *unit, *description;
        enum otel_number number;
        void (*observe)(struct otel_observation *observation, void *arg);
    } table[] = {
        {OTEL_OBSERVABLE_COUNTER, "process.cpu.time", "s", "CPU time used.", OTEL_NUMBER_REAL, observe_cpu},
        {OTEL_OBSERVABLE_UP_DOWN_COUNTER, "process.memory.usage", "By", "Physical memory in use.", OTEL_NUMBER_INT,
         observe_resident},
        {OTEL_OBSERVABLE_UP_DOWN_COUNTER, "process.memory.virtual", "By", "Virtual memory committed.", OTEL_NUMBER_INT,
         observe_virtual},
        {OTEL_OBSERVABLE_UP_DOWN_COUNTER, "process.thread.count", "{thread}", "Threads.", OTEL_NUMBER_INT,
         observe_threads},
        {OTEL_OBSERVABLE_UP_DOWN_COUNTER, "process.unix.file_descriptor.count", "{file_descriptor}",
         "Open file descriptors.", OTEL_NUMBER_INT, observe_descriptors},
        {OTEL_OBSERVABLE_GAUGE, "process.uptime", "s", "Time since the start.", OTEL_NUMBER_REAL, observe_uptime},
    };
    struct otel_meter *meter = otel_meter("bodega.libcommon", BODEGA_VERSION, SEMCONV_SCHEMA_URL);
    started_ns = clock_now_ns();
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const struct otel_instrument_options options = {
            .unit = table[i].unit, .description = table[i].description, .number = table[i].number};
        otel_observe(meter, table[i].kind, table[i].name, &options, table[i].observe, NULL);
    }
}
