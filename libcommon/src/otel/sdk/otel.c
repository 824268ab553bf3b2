/* The life of the SDK. Settings and resource make a generation; the three signals are prepared beside what runs, and
 * only when all of them stand are they swapped in, all at the same time. They copy what they keep beyond a swap, so
 * that the old generation goes as soon as the swap is done. */
#include "common/otel/otel.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "otel/sdk/change.h"
#include "otel/sdk/file.h"
#include "otel/sdk/provider.h"
#include "otel/sdk/self.h"

enum {
    DRAIN_MS = 1500, /* a replaced processor's time to send what it holds; the rest goes to its successor */
    MESSAGE_BYTES = 512,
    FILE_BYTES_MAX = 1 << 20,
    DIGEST_BYTES = 32,
};

struct generation {
    struct sdk_settings *settings;
    struct sdk_resource *resource;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
    bool started;
    char *service_name, *service_version, *path; /* NULL: none; path: the environment tells */
    uint8_t digest[DIGEST_BYTES];                /* of the file that is in effect */
    struct generation now;
    struct settings_watch *watch;
    enum log_level level_before; /* the file's */
} sdk;

static int64_t deadline_in(int64_t ms)
{
    return clock_now_ns() + (ms > 0 ? ms : 0) * NS_PER_MS;
}

/* --- the signals at the same time */

struct job {
    bool (*run)(const struct job *job);
    int64_t deadline_ns;
    void *pipeline; /* of a commit */
    bool ok;
};

static void *run_job(void *arg)
{
    struct job *job = arg;
    job->ok = job->run(job);
    return NULL;
}

/* A thread for each but the last. Signals are for the process' own threads. */
static bool run_together(struct job *jobs, unsigned count)
{
    enum { JOBS_MAX = 3 };
    pthread_t threads[JOBS_MAX];
    bool own_thread[JOBS_MAX] = {false};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i + 1 < count; i++)
        own_thread[i] = pthread_create(&threads[i], NULL, run_job, &jobs[i]) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    bool ok = true;
    for (unsigned i = count; i-- > 0;) {
        if (own_thread[i])
            pthread_join(threads[i], NULL);
        else
            run_job(&jobs[i]);
        ok &= jobs[i].ok;
    }
    return ok;
}

static bool commit_traces(const struct job *job)
{
    traces_commit(job->pipeline, job->deadline_ns);
    return true;
}

static bool commit_logs(const struct job *job)
{
    logs_commit(job->pipeline, job->deadline_ns);
    return true;
}

static bool commit_metrics(const struct job *job)
{
    metrics_commit(job->pipeline, job->deadline_ns);
    return true;
}

static bool flush_traces(const struct job *job)
{
    return traces_flush(job->deadline_ns);
}

static bool flush_logs(const struct job *job)
{
    return logs_flush(job->deadline_ns);
}

static bool stop_traces(const struct job *job)
{
    return traces_stop(job->deadline_ns);
}

static bool stop_logs(const struct job *job)
{
    return logs_stop(job->deadline_ns);
}

/* Metrics come last, so that what the others dropped is in them, and keep a fifth of the time for themselves. */
static int64_t before_metrics(int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - clock_now_ns();
    return left_ns > 0 ? deadline_ns - left_ns / 5 : deadline_ns;
}

static bool flush_all(int64_t deadline_ns)
{
    int64_t early_ns = before_metrics(deadline_ns);
    struct job jobs[] = {{.run = flush_logs, .deadline_ns = early_ns}, {.run = flush_traces, .deadline_ns = early_ns}};
    bool ok = run_together(jobs, array_count(jobs));
    return metrics_flush(deadline_ns) && ok;
}

static bool stop_all(int64_t deadline_ns)
{
    int64_t early_ns = before_metrics(deadline_ns);
    struct job jobs[] = {{.run = stop_logs, .deadline_ns = early_ns}, {.run = stop_traces, .deadline_ns = early_ns}};
    bool ok = run_together(jobs, array_count(jobs));
    return metrics_stop(deadline_ns) && ok;
}

/* --- a generation */

static void generation_free(struct generation *generation)
{
    resource_free(generation->resource);
    settings_free(generation->settings);
    *generation = (struct generation){0};
}

/* All three or none. */
static bool start_signals(const struct generation *next, char *message, size_t message_bytes)
{
    struct logs_pipeline *logs = NULL;
    struct metrics_pipeline *metrics = NULL;
    struct traces_pipeline *traces = traces_prepare(next->settings, next->resource, message, message_bytes);
    if (traces)
        logs = logs_prepare(next->settings, next->resource, message, message_bytes);
    if (logs)
        metrics = metrics_prepare(next->settings, next->resource, message, message_bytes);
    if (!metrics) {
        if (logs)
            logs_discard(logs);
        if (traces)
            traces_discard(traces);
        return false;
    }
    int64_t deadline_ns = deadline_in(DRAIN_MS);
    struct job jobs[] = {{.run = commit_logs, .deadline_ns = deadline_ns, .pipeline = logs},
                         {.run = commit_traces, .deadline_ns = deadline_ns, .pipeline = traces},
                         {.run = commit_metrics, .deadline_ns = deadline_ns, .pipeline = metrics}};
    run_together(jobs, array_count(jobs));
    return true;
}

static enum log_level level_of(enum otel_severity severity)
{
    return severity < OTEL_INFO    ? LOG_DEBUG
           : severity < OTEL_WARN  ? LOG_INFO
           : severity < OTEL_ERROR ? LOG_WARN
                                   : LOG_ERROR;
}

/* A file that names no level any more gives back the one before. */
static void apply_log_level(const struct sdk_settings *settings)
{
    bool told_before = sdk.now.settings && sdk.now.settings->log_level != OTEL_SEVERITY_NONE;
    if (!told_before)
        sdk.level_before = log_level_get();
    if (settings->log_level != OTEL_SEVERITY_NONE)
        log_level_set(level_of(settings->log_level));
    else if (told_before)
        log_level_set(sdk.level_before);
}

static void tell_changes(const struct sdk_settings *settings)
{
    char changes[MESSAGE_BYTES];
    if (sdk.now.settings)
        log_event(LOG_INFO, "telemetry settings taken over", log_text("file", sdk.path),
                  log_text("changed", settings_changes(sdk.now.settings, settings, changes, sizeof changes)));
}

/* Takes the settings over, or frees them and leaves everything as it was. */
static bool apply(struct sdk_settings *settings, char *message, size_t message_bytes)
{
    struct generation next = {settings, resource_new(settings, sdk.service_name, sdk.service_version)};
    bool running = sdk.now.settings && !sdk.now.settings->disabled;
    if (!settings->disabled && !start_signals(&next, message, message_bytes)) {
        generation_free(&next);
        return false;
    }
    if (settings->disabled && running)
        stop_all(deadline_in(DRAIN_MS));
    propagation_apply(settings->propagate_tracecontext, settings->propagate_baggage);
    apply_log_level(settings);
    tell_changes(settings);
    generation_free(&sdk.now);
    sdk.now = next;
    return true;
}

/* --- the file */

static bool digest_file(const char *path, uint8_t out[DIGEST_BYTES])
{
    struct arena arena;
    arena_init(&arena, FILE_BYTES_MAX / 64);
    const char *text = file_text(&arena, path, FILE_BYTES_MAX + 1);
    if (text)
        hash_sha256(text, strlen(text), out);
    arena_done(&arena);
    return text != NULL;
}

/* The digest is taken first: when the file changes in between, the next look finds it changed. */
static enum err load(char *message, size_t message_bytes)
{
    struct sdk_settings *settings;
    uint8_t digest[DIGEST_BYTES] = {0};
    if (sdk.path)
        digest_file(sdk.path, digest);
    enum err err = sdk.path ? settings_read(&settings, sdk.path, message, message_bytes)
                            : settings_from_environment(&settings, message, message_bytes);
    if (err)
        return err;
    if (!apply(settings, message, message_bytes))
        return ERR_INVALID_ARGUMENT;
    memcpy(sdk.digest, digest, sizeof digest);
    return ERR_OK;
}

static bool is_unchanged(void)
{
    uint8_t digest[DIGEST_BYTES];
    return digest_file(sdk.path, digest) && memcmp(digest, sdk.digest, sizeof digest) == 0;
}

static bool reload_locked(void)
{
    char message[MESSAGE_BYTES] = "";
    if (!sdk.started || !sdk.path)
        return false;
    if (is_unchanged())
        return true;
    bool ok = load(message, sizeof message) == ERR_OK;
    if (!ok)
        log_event(LOG_ERROR, "telemetry settings refused, the old ones stay", log_text("file", sdk.path),
                  log_text("reason", message));
    self_reloaded(ok);
    return ok;
}

static void file_changed(void *arg)
{
    (void)arg;
    otel_reload();
}

/* --- the life */

static void remember(const struct otel_options *options)
{
    const char *path = options->config_file ? options->config_file : getenv("OTEL_CONFIG_FILE");
    sdk.service_name = mem_text(options->service_name);
    sdk.service_version = mem_text(options->service_version);
    sdk.path = path && *path ? mem_text(path) : NULL;
}

static void forget(void)
{
    free(sdk.service_name);
    free(sdk.service_version);
    free(sdk.path);
    generation_free(&sdk.now);
    sdk.service_name = sdk.service_version = sdk.path = NULL;
    sdk.started = false;
}

/* The watch comes before the first reading: it tells only what changes later. */
static enum err start_locked(const struct otel_options *options, char *message, size_t message_bytes)
{
    remember(options);
    self_start();
    if (options->watch && sdk.path)
        sdk.watch = settings_watch_start(sdk.path, file_changed, NULL);
    enum err err = load(message, message_bytes);
    sdk.started = err == ERR_OK;
    return err;
}

/* Outside of the lock, which a change that is just being told waits for. */
static void stop_watching(void)
{
    pthread_mutex_lock(&lock);
    struct settings_watch *watch = sdk.watch;
    sdk.watch = NULL;
    pthread_mutex_unlock(&lock);
    if (watch)
        settings_watch_stop(watch);
}

enum err otel_start(const struct otel_options *options, char *message, size_t message_bytes)
{
    static const struct otel_options none;
    pthread_mutex_lock(&lock);
    bool was_started = sdk.started;
    enum err err =
        was_started ? ERR_FAILED_PRECONDITION : start_locked(options ? options : &none, message, message_bytes);
    pthread_mutex_unlock(&lock);
    if (was_started)
        snprintf(message, message_bytes, "telemetry was started before");
    if (!err || was_started)
        return err;
    stop_watching();
    pthread_mutex_lock(&lock);
    forget();
    pthread_mutex_unlock(&lock);
    return err;
}

bool otel_reload(void)
{
    pthread_mutex_lock(&lock);
    bool ok = reload_locked();
    pthread_mutex_unlock(&lock);
    return ok;
}

/* By the wall clock: ThreadSanitizer does not know pthread_mutex_clocklock(). */
static bool lock_within(int timeout_ms)
{
    int64_t until_ns = clock_wall_ns() + (timeout_ms > 0 ? timeout_ms : 0) * NS_PER_MS;
    struct timespec at = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
    return pthread_mutex_timedlock(&lock, &at) == 0;
}

bool otel_flush(int timeout_ms)
{
    int64_t deadline_ns = deadline_in(timeout_ms);
    if (!lock_within(timeout_ms)) /* a reload is draining */
        return false;
    bool ok = !sdk.started || sdk.now.settings->disabled || flush_all(deadline_ns);
    pthread_mutex_unlock(&lock);
    return ok;
}

bool otel_stop(int timeout_ms)
{
    int64_t deadline_ns = deadline_in(timeout_ms);
    stop_watching();
    pthread_mutex_lock(&lock);
    bool ok = !sdk.started || sdk.now.settings->disabled || stop_all(deadline_ns);
    if (sdk.started)
        forget();
    pthread_mutex_unlock(&lock);
    return ok;
}
