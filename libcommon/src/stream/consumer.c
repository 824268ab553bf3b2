/* A consumer is one fiber that does one thing a round: make the group, take up what an earlier life of this name left,
 * take over what others left, remove who is gone, or read what is new. Every failure ends the round, and a pause
 * follows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/request.h"
#include "stream/batch.h"
#include "stream/internal.h"
#include "stream/pipeline.h"
#include "stream/rescue.h"

enum {
    BATCH = 100,
    BLOCK_MS = 2000,
    CLAIM_IDLE_MS = 30000,
    DELIVERIES_MAX = 5,
    CLAIM_EVERY_MS_MAX = 3000,
    GONE_MS = 600000,
    DISMISS_EVERY_MS_MAX = 60000,
    REPLY_MARGIN_MS = 3000, /* beyond block_ms a silent server counts as hung */
    PAUSE_MIN_MS = 100,
    PAUSE_MAX_MS = 2000,
};

/* --- commands */

enum err consumer_ask(struct stream_consumer *consumer, struct request *req, int argc, const char **argv,
                      const struct reply **out)
{
    enum err err = pipeline_ask(req, consumer->link, argc, argv, out);
    if (err)
        return err;
    /* Redis lost its data; a blocked reader is told in the second way before 7.2. */
    if (reply_is_error(*out, "NOGROUP") || reply_is_error(*out, "UNBLOCKED"))
        consumer->grouped = false;
    return pipeline_judge(req, argv[0], *out);
}

static enum err make_group(struct stream_consumer *consumer, struct request *req)
{
    const struct stream_consumer_settings *s = &consumer->settings;
    const struct reply *reply;
    enum err err = pipeline_ask(req, consumer->link, 6,
                                (const char *[]){"XGROUP", "CREATE", s->key, s->group, "0", "MKSTREAM"}, &reply);
    if (err)
        return err;
    bool exists = reply_is_error(reply, "BUSYGROUP");
    if (!exists && (err = pipeline_judge(req, "XGROUP", reply)))
        return err;
    consumer->grouped = true;
    if (!exists)
        log_event(LOG_INFO, "consumer group made", log_text("stream", s->key), log_text("group", s->group));
    return ERR_OK;
}

/* One XACK for all that is done, announced as one call. */
static enum err acknowledge(struct stream_consumer *consumer, struct request *req, const struct batch *batch)
{
    const struct stream_consumer_settings *s = &consumer->settings;
    const char **words = arena_array(req->arena, const char *, batch->count + 3);
    struct trace_context *links = arena_array(req->arena, struct trace_context, batch->count);
    unsigned done = 0;
    for (unsigned i = 0; i < batch->count; i++) {
        if (!batch->messages[i].done)
            continue;
        links[done] = batch->messages[i].trace;
        words[3 + done++] = batch->messages[i].id;
    }
    if (done == 0)
        return ERR_OK;
    words[0] = "XACK";
    words[1] = s->key;
    words[2] = s->group;
    struct call call = {.kind = CALL_STREAM_SETTLE,
                        .name = s->key,
                        .place = s->group,
                        .peer = consumer->stream->url.peer,
                        .items = done,
                        .links = links,
                        .link_count = done};
    const struct trace_context own = req->trace;
    const struct reply *reply;
    req->trace = batch->received;
    call_begin(req, &call);
    enum err err = consumer_ask(consumer, req, (int)done + 3, words, &reply);
    call.status = (int)err;
    call_end(req, &call, err);
    req->trace = own;
    if (!err && reply->type == REPLY_INTEGER && reply->integer > 0)
        consumer->stream->stats.settled += (uint64_t)reply->integer;
    return err;
}

/* --- a batch */

static void log_refusal(const struct stream_consumer *consumer, const struct request *req, enum err err)
{
    consumer->stream->stats.errors++;
    log_event(LOG_WARN, "a batch was not handled", log_text("stream", consumer->settings.key),
              log_text("error", err_name((int)err)), log_text("detail", req->failure.detail));
}

static struct source source_of(const struct stream_consumer *consumer)
{
    return (struct source){consumer->settings.key, consumer->settings.group, consumer->stream->url.peer};
}

static enum err handle(struct stream_consumer *consumer, struct request *req, struct batch *batch)
{
    const struct source source = source_of(consumer);
    int64_t late_ns = clock_now_ns() + consumer->settings.claim_idle_ms * NS_PER_MS;
    batch_begin(batch, req, &source);
    enum err handled = consumer->handler(req, batch->messages, batch->count);
    batch_end(batch, req, handled);
    if (handled)
        log_refusal(consumer, req, handled);
    enum err err = acknowledge(consumer, req, batch);
    if (err || handled != ERR_UNAVAILABLE)
        return err;
    /* What took too long may be another consumer's by now. */
    if (clock_now_ns() < late_ns)
        err = rescue_uncount(consumer, req, batch);
    return err ? err : handled;
}

static enum err deliver(struct stream_consumer *consumer, struct request *req, struct batch *batch)
{
    consumer->stream->stats.errors += batch->malformed;
    if (batch->count == 0)
        return ERR_OK;
    consumer->stream->stats.received += batch->count;
    const struct source source = source_of(consumer);
    batch_received(batch, req, &source);
    consumer->busy = true;
    enum err err = handle(consumer, req, batch);
    consumer->busy = false;
    return err;
}

/* Messages that were delivered before, to whomever. */
static enum err deliver_again(struct stream_consumer *consumer, struct request *req, struct batch *batch)
{
    enum err err = rescue_forget(consumer, req, batch);
    if (!err && batch->nameless > 0)
        err = rescue_forget_nameless(consumer, req);
    if (!err && batch->count > 0)
        err = rescue_count(consumer, req, batch);
    if (!err)
        err = rescue_bury(consumer, req, batch);
    return err ? err : deliver(consumer, req, batch);
}

/* --- rounds */

static const char *batch_size(const struct stream_consumer *consumer, struct request *req)
{
    return arena_print(req->arena, "%u", consumer->settings.batch);
}

/* [[key, entries]], or nothing when the time was over. */
static const struct reply *entries_of(const struct reply *reply)
{
    return reply_item(reply_item(reply, 0), 1);
}

static enum err take_up_own(struct stream_consumer *consumer, struct request *req)
{
    const struct stream_consumer_settings *s = &consumer->settings;
    const struct reply *reply;
    enum err err = consumer_ask(consumer, req, 9,
                                (const char *[]){"XREADGROUP", "GROUP", s->group, s->name, "COUNT",
                                                 batch_size(consumer, req), "STREAMS", s->key, consumer->own_from},
                                &reply);
    if (err)
        return err;
    const struct reply *entries = entries_of(reply);
    const char *last = reply_text(reply_item(reply_item(entries, reply_count(entries) - 1), 0));
    consumer->own_left = last && strlen(last) < sizeof consumer->own_from;
    if (consumer->own_left)
        strcpy(consumer->own_from, last);
    struct batch batch;
    batch_read(&batch, req->arena, entries);
    return deliver_again(consumer, req, &batch);
}

/* After half of a time, but max_ms at most; each consumer at its own moment. */
static int64_t half_later(int64_t ms, int64_t max_ms)
{
    int64_t every_ms = ms / 2 < max_ms ? ms / 2 : max_ms;
    double spread = 0.75 + random_unit() / 2;
    return clock_now_ns() + (int64_t)((double)(every_ms * NS_PER_MS) * spread);
}

static enum err dismiss(struct stream_consumer *consumer, struct request *req)
{
    consumer->dismiss_at_ns = half_later(consumer->settings.gone_ms, DISMISS_EVERY_MS_MAX);
    return rescue_dismiss(consumer, req);
}

static void plan_claim(struct stream_consumer *consumer)
{
    consumer->claim_at_ns = half_later(consumer->settings.claim_idle_ms, CLAIM_EVERY_MS_MAX);
    strcpy(consumer->claim_from, "0-0");
}

/* The answer is [cursor, entries, deleted ids (from Redis 7 on)]. */
static enum err take_over(struct stream_consumer *consumer, struct request *req)
{
    const struct stream_consumer_settings *s = &consumer->settings;
    const char *idle = arena_print(req->arena, "%d", s->claim_idle_ms);
    const struct reply *reply;
    enum err err = consumer_ask(consumer, req, 8,
                                (const char *[]){"XAUTOCLAIM", s->key, s->group, s->name, idle, consumer->claim_from,
                                                 "COUNT", batch_size(consumer, req)},
                                &reply);
    if (err)
        return err;
    const char *cursor = reply_text(reply_item(reply, 0));
    if (!cursor || strcmp(cursor, "0-0") == 0 || strlen(cursor) >= sizeof consumer->claim_from)
        plan_claim(consumer);
    else
        strcpy(consumer->claim_from, cursor);
    struct batch batch;
    batch_read(&batch, req->arena, reply_item(reply, 1));
    consumer->stream->stats.claimed += batch.count;
    consumer->stream->stats.errors += reply_count(reply_item(reply, 2));
    return deliver_again(consumer, req, &batch);
}

static int64_t block_ms(const struct stream_consumer *consumer)
{
    int64_t left_ms = (consumer->claim_at_ns - clock_now_ns()) / NS_PER_MS + 1;
    return left_ms < consumer->settings.block_ms ? left_ms : consumer->settings.block_ms;
}

static enum err read_new(struct stream_consumer *consumer, struct request *req)
{
    const struct stream_consumer_settings *s = &consumer->settings;
    const char *block = arena_print(req->arena, "%lld", (long long)block_ms(consumer));
    const struct reply *reply;
    enum err err = consumer_ask(consumer, req, 11,
                                (const char *[]){"XREADGROUP", "GROUP", s->group, s->name, "COUNT",
                                                 batch_size(consumer, req), "BLOCK", block, "STREAMS", s->key, ">"},
                                &reply);
    if (err)
        return err;
    struct batch batch;
    batch_read(&batch, req->arena, entries_of(reply));
    return deliver(consumer, req, &batch);
}

static enum err play_round(struct stream_consumer *consumer, struct request *req)
{
    enum err err = link_wait(consumer->link, CLOCK_NEVER);
    if (err)
        return err;
    if (!consumer->grouped)
        return make_group(consumer, req);
    if (consumer->own_left)
        return take_up_own(consumer, req);
    if (clock_now_ns() >= consumer->claim_at_ns)
        return take_over(consumer, req);
    if (clock_now_ns() >= consumer->dismiss_at_ns)
        return dismiss(consumer, req);
    return read_new(consumer, req);
}

static void pause_after_failure(struct stream_consumer *consumer)
{
    int64_t ms = PAUSE_MIN_MS << (consumer->failures < 5 ? consumer->failures : 5);
    if (ms > PAUSE_MAX_MS)
        ms = PAUSE_MAX_MS;
    consumer->failures++;
    struct fiber_wait wait = {0};
    consumer->pause = &wait;
    fiber_wait(&wait, clock_now_ns() + (int64_t)((double)(ms * NS_PER_MS) * (0.5 + random_unit() / 2)));
    consumer->pause = NULL;
}

static void consumer_run(void *arg)
{
    struct stream_consumer *consumer = arg;
    struct arena arena;
    arena_init(&arena, 16384);
    while (!consumer->stopping) {
        struct request req;
        request_init(&req, &arena, consumer->worker);
        enum err err = play_round(consumer, &req);
        trace_attach(NULL); /* it was the request's, which ends here */
        arena_reset(&arena);
        if (!err)
            consumer->failures = 0;
        else if (!consumer->stopping)
            pause_after_failure(consumer);
    }
    arena_done(&arena);
    fiber_wake(&consumer->stopped, ERR_OK);
}

/* --- life */

static struct stream_consumer_settings with_defaults(struct stream_consumer_settings s)
{
    s.batch = s.batch ? s.batch : BATCH;
    s.block_ms = s.block_ms ? s.block_ms : BLOCK_MS;
    s.claim_idle_ms = s.claim_idle_ms ? s.claim_idle_ms : CLAIM_IDLE_MS;
    s.deliveries_max = s.deliveries_max ? s.deliveries_max : DELIVERIES_MAX;
    s.gone_ms = s.gone_ms ? s.gone_ms : GONE_MS;
    return s;
}

struct stream_consumer *stream_consume(const struct worker *worker, const struct stream_consumer_settings *settings,
                                       stream_handler *handler)
{
    struct stream *stream = worker->stream;
    struct stream_consumer *consumer = mem_alloc(sizeof *consumer);
    consumer->stream = stream;
    consumer->worker = worker;
    consumer->settings = with_defaults(*settings);
    consumer->handler = handler;
    consumer->dismiss_at_ns = half_later(consumer->settings.gone_ms, DISMISS_EVERY_MS_MAX);
    consumer->own_left = true;
    strcpy(consumer->own_from, "0-0");
    strcpy(consumer->claim_from, "0-0");
    consumer->link = link_open(stream->loop, &stream->url, stream->tls, stream->settings,
                               consumer->settings.block_ms + REPLY_MARGIN_MS);
    list_append(&stream->consumers, &consumer->list);
    fiber_start(stream->loop, consumer_run, consumer);
    return consumer;
}

void stream_consumer_stop(struct stream_consumer *consumer)
{
    consumer->stopping = true;
    if (!consumer->busy)
        link_close(consumer->link);
    if (consumer->pause)
        fiber_wake(consumer->pause, ERR_CANCELLED);
    fiber_wait(&consumer->stopped, CLOCK_NEVER);
    struct stream *stream = consumer->stream;
    list_remove(&consumer->list);
    stream->stats.reconnects += consumer->link->reconnects;
    stream->stats.errors += consumer->link->errors;
    link_free(consumer->link);
    free(consumer);
}
