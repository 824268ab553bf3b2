/* Which run of Redis answers, and what it has of the runs before it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/request.h"
#include "stream/internal.h"
#include "stream/pipeline.h"

/* The value of a line "name:value" of INFO, copied; "" when it is missing. */
static void info_value(const char *info, const char *name, char *out, size_t bytes)
{
    size_t length = strlen(name);
    out[0] = '\0';
    for (const char *line = info; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) != 0 || line[length] != ':')
            continue;
        const char *value = line + length + 1;
        size_t size = strcspn(value, "\r\n");
        if (size >= bytes)
            return;
        memcpy(out, value, size);
        out[size] = '\0';
        return;
    }
}

/* TIME's answer: seconds and microseconds as texts. */
static int64_t time_ms(const struct reply *reply)
{
    const char *seconds = reply_text(reply_item(reply, 0)), *micros = reply_text(reply_item(reply, 1));
    return seconds && micros ? strtoll(seconds, NULL, 10) * 1000 + strtoll(micros, NULL, 10) / 1000 : 0;
}

/* A server that does not tell (its ACL forbids it) has one run for ever. The uptime is in whole seconds: it began up to
 * one earlier. */
static void read_run(const struct reply *time, const struct reply *info, struct stream_run *out)
{
    char uptime[24];
    const char *text = reply_text(info);
    *out = (struct stream_run){0};
    if (!text)
        return;
    info_value(text, "run_id", out->id, sizeof out->id);
    info_value(text, "uptime_in_seconds", uptime, sizeof uptime);
    out->began_ms = time_ms(time) - (strtoll(uptime, NULL, 10) + 1) * 1000;
}

static enum err ask_run(struct request *req, struct stream *stream, struct stream_run *out)
{
    const struct reply *replies;
    unsigned count;
    struct pipeline *pipeline = pipeline_begin(req, stream->link, 2);
    pipeline_send(pipeline, 1, (const char *[]){"TIME"}, NULL);
    pipeline_send(pipeline, 2, (const char *[]){"INFO", "server"}, NULL);
    enum err err = pipeline_end(pipeline, &replies, &count);
    if (!err)
        read_run(&replies[0], &replies[1], out);
    return err;
}

/* Once a connection: a server lives as long as what is connected to it. */
static enum err learn_run(struct request *req, struct stream *stream)
{
    uint64_t connection = stream->link->reconnects;
    if (stream->run_asked && stream->run_connection == connection)
        return ERR_OK;
    enum err err = ask_run(req, stream, &stream->run);
    stream->run_asked = !err;
    stream->run_connection = connection;
    if (!err && !stream->run.id[0])
        log_event(LOG_WARN, "redis does not tell its run_id: what it loses goes unnoticed");
    return err;
}

enum err stream_run(struct request *req, struct stream_run *out)
{
    struct stream *stream = req->worker->stream;
    if (!stream_up(stream))
        return fail(req, ERR_UNAVAILABLE, "no connection to redis");
    stream_enter(stream);
    enum err err = learn_run(req, stream);
    if (!err)
        *out = stream->run;
    stream_leave(stream);
    return err;
}

enum err stream_inherited(struct request *req, const char *key, const struct stream_run *run, int64_t *out_age_ms)
{
    const char *before = arena_print(req->arena, "(%" PRId64, run->began_ms > 0 ? run->began_ms : 0);
    const struct reply *replies;
    unsigned count;
    struct pipeline *pipeline = pipeline_begin(req, req->worker->stream->link, 2);
    pipeline_send(pipeline, 1, (const char *[]){"TIME"}, NULL);
    pipeline_send(pipeline, 6, (const char *[]){"XREVRANGE", key, before, "-", "COUNT", "1"}, NULL);
    enum err err = pipeline_end(pipeline, &replies, &count);
    if (!err)
        err = pipeline_judge(req, "XREVRANGE", &replies[1]);
    if (err)
        return err;
    const char *id = reply_text(reply_item(reply_item(&replies[1], 0), 0));
    *out_age_ms = id ? time_ms(&replies[0]) - strtoll(id, NULL, 10) : STREAM_INHERITED_NOTHING;
    return ERR_OK;
}
