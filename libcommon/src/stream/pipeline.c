#include "stream/pipeline.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/request.h"

struct pipeline {
    struct fiber_wait wait;
    struct request *req;   /* NULL once its fiber has left */
    struct link *link;     /* not touched after the first wait: it may be gone */
    struct reply *replies; /* in the request's arena */
    unsigned sent, answered, pending;
    bool lost;
};

struct pipeline *pipeline_begin(struct request *req, struct link *link, unsigned count_max)
{
    struct pipeline *pipeline = mem_alloc(sizeof *pipeline);
    pipeline->req = req;
    pipeline->link = link;
    pipeline->replies = arena_array(req->arena, struct reply, count_max);
    return pipeline;
}

static void answered(redisAsyncContext *context, void *answer, void *arg)
{
    struct pipeline *pipeline = arg;
    link_answered(context->data);
    pipeline->pending--;
    if (!answer)
        pipeline->lost = true;
    else if (pipeline->req)
        reply_copy(pipeline->req->arena, answer, &pipeline->replies[pipeline->answered++]);
    if (pipeline->pending > 0)
        return;
    if (pipeline->req)
        fiber_wake(&pipeline->wait, ERR_OK);
    else
        free(pipeline);
}

bool pipeline_send(struct pipeline *pipeline, int argc, const char **argv, const size_t *lengths)
{
    if (!link_send(pipeline->link, answered, pipeline, argc, argv, lengths))
        return false;
    pipeline->sent++;
    pipeline->pending++;
    return true;
}

enum err pipeline_end(struct pipeline *pipeline, const struct reply **out_replies, unsigned *out_count)
{
    struct request *req = pipeline->req;
    enum err err = ERR_OK;
    if (pipeline->sent == 0)
        err = fail(req, ERR_UNAVAILABLE, "no connection to redis");
    else if (pipeline->pending > 0)
        err = request_wait(req, &pipeline->wait);
    if (!err && pipeline->lost)
        err = fail(req, ERR_UNAVAILABLE, "the connection to redis was lost");
    *out_replies = pipeline->replies;
    *out_count = pipeline->answered;
    pipeline->req = NULL;
    if (pipeline->pending == 0)
        free(pipeline);
    return err;
}

/* What a server says that is starting, failing over or full. */
static bool passes(const struct reply *reply)
{
    static const char *const words[] = {"LOADING", "READONLY",   "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN",
                                        "BUSY",    "NOREPLICAS", "MISCONF",    "OOM"};
    for (unsigned i = 0; i < array_count(words); i++)
        if (reply_is_error(reply, words[i]))
            return true;
    return false;
}

static void tell(const char *command, const struct reply *reply)
{
    static _Thread_local int64_t told_ns;
    int64_t now = clock_now_ns();
    if (told_ns && now - told_ns < NS_PER_S)
        return;
    told_ns = now;
    log_event(LOG_ERROR, "redis refused a command", log_text("command", command), log_text("reason", reply->text));
}

enum err pipeline_judge(struct request *req, const char *command, const struct reply *reply)
{
    if (!reply_is_error(reply, NULL))
        return ERR_OK;
    tell(command, reply);
    return passes(reply) ? fail(req, ERR_UNAVAILABLE, "redis cannot serve now")
                         : fail(req, ERR_INTERNAL, "redis refused %s", command);
}

enum err pipeline_ask(struct request *req, struct link *link, int argc, const char **argv, const struct reply **out)
{
    unsigned count;
    struct pipeline *pipeline = pipeline_begin(req, link, 1);
    pipeline_send(pipeline, argc, argv, NULL);
    return pipeline_end(pipeline, out, &count);
}
