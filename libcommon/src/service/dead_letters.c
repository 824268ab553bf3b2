/* --dead-letters and --replay-dead-letters: what the service's consumers gave up, for whoever runs it. A loop of its
 * own with nothing on it but the streams. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/offload.h"
#include "service/internal.h"

enum { PATIENCE_MS = 10000, TEXT_BYTES_SHOWN = 2000 };

struct command {
    struct loop_task task;
    const struct app *app;
    struct worker worker;
    const char *replay; /* an id or "all"; NULL: list */
    unsigned long count;
    enum err err;
    char message[256];
};

/* --- one stream */

static const char *dead_key(struct request *req, const struct service_consumer *consumer)
{
    return arena_print(req->arena, "%s:dead", consumer->key);
}

/* A text from outside, with nothing that a terminal would obey. */
static const char *tame(struct request *req, const char *text)
{
    size_t length = strlen(text), shown = length < TEXT_BYTES_SHOWN ? length : TEXT_BYTES_SHOWN;
    char *out = arena_text(req->arena, text, shown);
    for (size_t i = 0; i < shown; i++)
        if (iscntrl((unsigned char)out[i]))
            out[i] = '?';
    return shown == length ? out : arena_print(req->arena, "%s ...", out);
}

static void show(struct request *req, const struct service_consumer *consumer, const struct stream_letter *letter)
{
    printf("%s:dead  %s  %s  (was %s)\n    %s\n", consumer->key, letter->id, tame(req, letter->reason),
           tame(req, letter->source_id), tame(req, letter->data));
}

static enum err put_back(struct command *command, struct request *req, const struct service_consumer *consumer,
                         const char *id)
{
    bool found = false;
    enum err err = stream_letter_replay(req, consumer->key, dead_key(req, consumer), id, &found);
    if (err || !found)
        return err;
    printf("%s:dead  %s  is back in %s\n", consumer->key, id, consumer->key);
    command->count++;
    return ERR_OK;
}

static enum err handle_page(struct command *command, struct request *req, const struct service_consumer *consumer,
                            const struct stream_letter *letters, unsigned count)
{
    enum err err = ERR_OK;
    for (unsigned i = 0; !err && i < count; i++) {
        if (command->replay)
            err = put_back(command, req, consumer, letters[i].id);
        else
            show(req, consumer, &letters[i]);
    }
    if (!command->replay)
        command->count += count;
    return err;
}

/* Oldest first, a page at a time, and no more than there were in the beginning: what is replayed in vain comes again.
 */
static enum err handle_all(struct command *command, struct request *req, const struct service_consumer *consumer)
{
    struct stream_letter *letters;
    unsigned count = 0;
    uint64_t left;
    char after[64] = "";
    enum err err = stream_letter_count(req, dead_key(req, consumer), &left);
    while (!err && left > 0) {
        arena_reset(req->arena);
        req->deadline_ns = clock_now_ns() + PATIENCE_MS * NS_PER_MS;
        err = stream_letters(req, dead_key(req, consumer), *after ? after : NULL, &letters, &count);
        if (err || count == 0)
            return err;
        count = count < left ? count : (unsigned)left;
        left -= count;
        snprintf(after, sizeof after, "%s", letters[count - 1].id);
        err = handle_page(command, req, consumer, letters, count);
    }
    return err;
}

/* --- all streams of the service */

static enum err handle_streams(struct command *command, struct request *req)
{
    const struct service *service = command->app->service;
    bool one = command->replay && strcmp(command->replay, "all") != 0;
    enum err err = stream_await(req);
    for (unsigned i = 0; !err && i < service->consumer_count; i++)
        err = one ? put_back(command, req, &service->consumers[i], command->replay)
                  : handle_all(command, req, &service->consumers[i]);
    if (!err && one && command->count == 0)
        err = fail(req, ERR_NOT_FOUND, "no dead letter has the id %s", command->replay);
    return err;
}

static void run_command(void *arg)
{
    struct command *command = arg;
    struct arena arena;
    struct request req;
    arena_init(&arena, 65536);
    request_init(&req, &arena, &command->worker);
    req.deadline_ns = clock_now_ns() + PATIENCE_MS * NS_PER_MS;
    command->err = handle_streams(command, &req);
    if (command->err)
        snprintf(command->message, sizeof command->message, "%s", req.failure.detail);
    arena_done(&arena);
    stream_close(command->worker.stream);
    loop_stop(command->worker.loop);
}

static void begin_command(struct loop_task *task)
{
    struct command *command = container_of(task, struct command, task);
    fiber_start(command->worker.loop, run_command, command);
}

static void run_on_loop(struct command *command)
{
    offload_start(1, 8); /* for the look-up of Redis's name */
    command->worker.loop = loop_new();
    command->worker.stream =
        command->worker.loop ? stream_open(command->worker.loop, &command->app->settings->stream) : NULL;
    if (command->worker.stream) {
        loop_post(command->worker.loop, &command->task);
        loop_run(command->worker.loop);
    } else {
        command->err = ERR_INVALID_ARGUMENT;
        snprintf(command->message, sizeof command->message, "redis.url cannot be used");
    }
    offload_stop();
    loop_free(command->worker.loop);
}

enum err dead_letters(const struct app *app, const char *replay)
{
    struct command command = {.task.run = begin_command, .app = app, .replay = replay};
    log_init(app->service->name, LOG_WARN); /* what it does is said on stdout */
    run_on_loop(&command);
    if (command.count > 0 || !command.err)
        printf("%lu dead letter%s%s\n", command.count, command.count == 1 ? "" : "s", replay ? " replayed" : "");
    if (command.err)
        fprintf(stderr, "%s: %s\n", app->service->name, command.message);
    return command.err;
}

bool dead_letter_named(const char *text)
{
    size_t ms = strspn(text, "0123456789");
    size_t number = text[ms] == '-' ? strspn(text + ms + 1, "0123456789") : 0;
    bool is_id = ms > 0 && ms <= 20 && number > 0 && number <= 20 && text[ms + 1 + number] == '\0';
    return is_id || strcmp(text, "all") == 0;
}
