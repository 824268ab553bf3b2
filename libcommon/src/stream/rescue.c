#include "stream/rescue.h"

#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/request.h"
#include "stream/pipeline.h"

enum { BURY_WORDS_MAX = 32 };

/* A script, because MULTI would go on to acknowledge when the XADD fails. KEYS: stream, dead-letter stream; ARGV:
 * group, id, then what XADD takes behind its key. */
static const char bury_script[] = "local id = redis.call('XADD', KEYS[2], unpack(ARGV, 3)) "
                                  "redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) return id";

/* --- counting */

static bool parse_pending(const struct reply *reply, const struct stream_consumer *consumer, unsigned *out)
{
    const struct reply *row = reply_item(reply, 0), *deliveries = reply_item(row, 3);
    const char *owner = reply_text(reply_item(row, 1));
    if (!owner || strcmp(owner, consumer->settings.name) != 0 || !deliveries || deliveries->type != REPLY_INTEGER)
        return false;
    *out = deliveries->integer < 1 ? 1 : deliveries->integer > 1000000 ? 1000000 : (unsigned)deliveries->integer;
    return true;
}

enum err rescue_count(struct stream_consumer *consumer, struct request *req, struct batch *batch)
{
    const struct stream_consumer_settings *s = &consumer->settings;
    struct pipeline *pipeline = pipeline_begin(req, consumer->link, batch->count);
    for (unsigned i = 0; i < batch->count; i++) {
        const char *id = batch->messages[i].id;
        pipeline_send(pipeline, 6, (const char *[]){"XPENDING", s->key, s->group, id, id, "1"}, NULL);
    }
    const struct reply *replies;
    unsigned answered, kept = 0;
    enum err err = pipeline_end(pipeline, &replies, &answered);
    for (unsigned i = 0; !err && i < answered; i++) {
        err = pipeline_judge(req, "XPENDING", &replies[i]);
        if (parse_pending(&replies[i], consumer, &batch->messages[kept].deliveries))
            kept++;
        else
            batch_remove(batch, kept);
    }
    return err;
}

/* --- dead letters */

struct bury_command {
    int count;
    const char *words[BURY_WORDS_MAX];
    size_t lengths[BURY_WORDS_MAX];
};

static void add_bytes(struct bury_command *command, const char *data, size_t length)
{
    command->words[command->count] = data;
    command->lengths[command->count++] = length;
}

static void add_word(struct bury_command *command, const char *word)
{
    add_bytes(command, word, strlen(word));
}

static void add_pair(struct bury_command *command, const char *name, const char *value)
{
    add_word(command, name);
    add_word(command, value);
}

static void add_original(struct bury_command *command, const struct reply *fields)
{
    static const char *const names[] = {"data", "traceparent", "tracestate", "baggage"};
    for (unsigned i = 0; i < array_count(names); i++) {
        const struct reply *value = reply_field(fields, names[i]);
        if (!value)
            continue;
        add_word(command, names[i]);
        add_bytes(command, value->text, value->length);
    }
}

/* This delivery does not reach the handler: those before it were in vain. */
static unsigned vain(const struct stream_message *message)
{
    return message->deliveries - 1;
}

static void write_bury(struct bury_command *command, struct arena *arena, const struct stream_consumer *consumer,
                       const struct stream_message *message, const struct reply *fields)
{
    const struct stream_consumer_settings *s = &consumer->settings;
    add_pair(command, "EVAL", bury_script);
    add_word(command, "2");
    add_pair(command, s->key, s->dead_key);
    add_pair(command, s->group, message->id);
    if (consumer->stream->settings->length_max > 0) {
        add_pair(command, "MAXLEN", "~");
        add_word(command, arena_print(arena, "%lld", (long long)consumer->stream->settings->length_max));
    }
    add_word(command, "*");
    add_original(command, fields);
    add_pair(command, "source", s->key);
    add_pair(command, "source_id", message->id);
    add_pair(command, "group", s->group);
    add_pair(command, "deliveries", arena_print(arena, "%u", vain(message)));
    add_pair(command, "reason", arena_print(arena, "not settled in %u deliveries", vain(message)));
}

static enum err bury(struct stream_consumer *consumer, struct request *req, const struct stream_message *message,
                     const struct reply *fields)
{
    struct bury_command command = {0};
    write_bury(&command, req->arena, consumer, message, fields);
    const struct reply *replies;
    unsigned answered;
    struct pipeline *pipeline = pipeline_begin(req, consumer->link, 1);
    pipeline_send(pipeline, command.count, command.words, command.lengths);
    enum err err = pipeline_end(pipeline, &replies, &answered);
    if (!err)
        err = pipeline_judge(req, "EVAL", replies);
    if (err)
        return err;
    consumer->stream->stats.dead++;
    log_event(LOG_WARN, "a message was given up", log_text("stream", consumer->settings.key),
              log_text("id", message->id), log_text("dead_letters", consumer->settings.dead_key),
              log_int("deliveries", vain(message)));
    return ERR_OK;
}

enum err rescue_bury(struct stream_consumer *consumer, struct request *req, struct batch *batch)
{
    unsigned i = 0;
    while (consumer->settings.dead_key && i < batch->count) {
        if (batch->messages[i].deliveries <= consumer->settings.deliveries_max) {
            i++;
            continue;
        }
        enum err err = bury(consumer, req, &batch->messages[i], batch->items[i].fields);
        if (err)
            return err;
        batch_remove(batch, i);
    }
    return ERR_OK;
}

/* --- entries that are gone */

static enum err forget(struct stream_consumer *consumer, struct request *req, const char *id)
{
    const struct stream_consumer_settings *s = &consumer->settings;
    const struct reply *reply;
    log_event(LOG_WARN, "a message was deleted before it was handled", log_text("stream", s->key), log_text("id", id));
    consumer->stream->stats.errors++;
    return consumer_ask(consumer, req, 4, (const char *[]){"XACK", s->key, s->group, id}, &reply);
}

enum err rescue_forget(struct stream_consumer *consumer, struct request *req, const struct batch *batch)
{
    enum err err = ERR_OK;
    for (unsigned i = 0; i < batch->gone_count && !err; i++)
        err = forget(consumer, req, batch->gone[i]);
    return err;
}

enum err rescue_forget_nameless(struct stream_consumer *consumer, struct request *req)
{
    const struct stream_consumer_settings *s = &consumer->settings;
    const char *count = arena_print(req->arena, "%u", s->batch);
    const struct reply *mine, *entry;
    enum err err =
        consumer_ask(consumer, req, 7, (const char *[]){"XPENDING", s->key, s->group, "-", "+", count, s->name}, &mine);
    for (unsigned i = 0; !err && i < reply_count(mine); i++) {
        const char *id = reply_text(reply_item(reply_item(mine, i), 0));
        if (!id)
            continue;
        err = consumer_ask(consumer, req, 4, (const char *[]){"XRANGE", s->key, id, id}, &entry);
        if (!err && entry->type == REPLY_LIST && entry->count == 0)
            err = forget(consumer, req, id);
    }
    return err;
}

/* --- members that are gone */

/* A script: between a look and a removal a member may get a message, which would be removed with it. KEYS: stream;
 * ARGV: group, our own name, ms. */
static const char dismiss_script[] = "local removed = 0 "
                                     "for _, member in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do "
                                     "  local is = {} "
                                     "  for i = 1, #member, 2 do is[member[i]] = member[i + 1] end "
                                     "  if is.pending == 0 and is.idle > tonumber(ARGV[3]) and is.name ~= ARGV[2] then "
                                     "    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], is.name) "
                                     "    removed = removed + 1 "
                                     "  end "
                                     "end "
                                     "return removed";

enum err rescue_dismiss(struct stream_consumer *consumer, struct request *req)
{
    const struct stream_consumer_settings *s = &consumer->settings;
    const char *gone = arena_print(req->arena, "%d", s->gone_ms);
    const struct reply *reply;
    enum err err = consumer_ask(consumer, req, 7,
                                (const char *[]){"EVAL", dismiss_script, "1", s->key, s->group, s->name, gone}, &reply);
    if (!err && reply->type == REPLY_INTEGER && reply->integer > 0)
        log_event(LOG_INFO, "members of a consumer group are gone", log_text("stream", s->key),
                  log_text("group", s->group), log_int("members", reply->integer));
    return err;
}

/* --- taking a delivery back */

enum err rescue_uncount(struct stream_consumer *consumer, struct request *req, const struct batch *batch)
{
    const struct stream_consumer_settings *s = &consumer->settings;
    struct pipeline *pipeline = pipeline_begin(req, consumer->link, batch->count);
    for (unsigned i = 0; i < batch->count; i++) {
        const struct stream_message *message = &batch->messages[i];
        const char *count = arena_print(req->arena, "%u", message->deliveries - 1);
        if (!message->done)
            pipeline_send(
                pipeline, 9,
                (const char *[]){"XCLAIM", s->key, s->group, s->name, "0", message->id, "RETRYCOUNT", count, "JUSTID"},
                NULL);
    }
    const struct reply *replies;
    unsigned answered;
    enum err err = pipeline_end(pipeline, &replies, &answered);
    for (unsigned i = 0; i < answered && !err; i++)
        err = pipeline_judge(req, "XCLAIM", &replies[i]);
    return err;
}
