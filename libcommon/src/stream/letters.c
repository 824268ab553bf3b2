/* Dead letters: what consumers gave up, to be looked at and put back. */
#include <string.h>

#include "common/mem.h"
#include "common/request.h"
#include "stream/internal.h"
#include "stream/pipeline.h"

/* A script, so that a message is in either stream at any time. What the consumer wrote beside the message stays
 * behind. KEYS: stream, dead-letter stream; ARGV: id, MAXLEN or 0. */
static const char replay_script[] =
    "local found = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1]) "
    "if #found == 0 then return 0 end "
    "local beside = {source = 1, source_id = 1, group = 1, deliveries = 1, reason = 1} "
    "local words = {KEYS[1]} "
    "if ARGV[2] ~= '0' then words = {KEYS[1], 'MAXLEN', '~', ARGV[2]} end "
    "words[#words + 1] = '*' "
    "local fields, bare = found[1][2], #words "
    "for i = 1, #fields, 2 do "
    "  if not beside[fields[i]] then words[#words + 1] = fields[i] words[#words + 1] = fields[i + 1] end "
    "end "
    "if #words == bare then words[#words + 1] = 'data' words[#words + 1] = '' end "
    "redis.call('XADD', unpack(words)) "
    "redis.call('XDEL', KEYS[2], ARGV[1]) "
    "return 1";

static const char *field(const struct reply *fields, const char *name)
{
    const char *text = reply_text(reply_field(fields, name));
    return text ? text : "";
}

static void read_letters(struct request *req, const struct reply *entries, struct stream_letter **out,
                         unsigned *out_count)
{
    unsigned count = reply_count(entries);
    *out = arena_array(req->arena, struct stream_letter, count);
    *out_count = count;
    for (unsigned i = 0; i < count; i++) {
        const struct reply *entry = reply_item(entries, i), *fields = reply_item(entry, 1);
        const char *id = reply_text(reply_item(entry, 0));
        (*out)[i] = (struct stream_letter){
            .id = id ? id : "",
            .data = field(fields, "data"),
            .source_id = field(fields, "source_id"),
            .reason = field(fields, "reason"),
        };
    }
}

static enum err ask(struct request *req, int argc, const char **argv, const struct reply **out)
{
    enum err err = pipeline_ask(req, req->worker->stream->link, argc, argv, out);
    return err ? err : pipeline_judge(req, argv[0], *out);
}

enum err stream_letter_count(struct request *req, const char *dead_key, uint64_t *out_count)
{
    const struct reply *reply;
    enum err err = ask(req, 2, (const char *[]){"XLEN", dead_key}, &reply);
    if (!err)
        *out_count = reply->type == REPLY_INTEGER && reply->integer > 0 ? (uint64_t)reply->integer : 0;
    return err;
}

enum err stream_letters(struct request *req, const char *dead_key, const char *after, struct stream_letter **out,
                        unsigned *out_count)
{
    const char *from = after ? arena_print(req->arena, "(%s", after) : "-";
    const struct reply *reply;
    enum err err = ask(req, 6, (const char *[]){"XRANGE", dead_key, from, "+", "COUNT", "20"}, &reply);
    if (!err)
        read_letters(req, reply, out, out_count);
    return err;
}

enum err stream_letter_replay(struct request *req, const char *key, const char *dead_key, const char *id,
                              bool *out_found)
{
    const char *length = arena_print(req->arena, "%lld", (long long)req->worker->stream->settings->length_max);
    const struct reply *reply;
    enum err err = ask(req, 7, (const char *[]){"EVAL", replay_script, "2", key, dead_key, id, length}, &reply);
    if (!err)
        *out_found = reply->type == REPLY_INTEGER && reply->integer == 1;
    return err;
}

enum err stream_await(struct request *req)
{
    enum err err = link_wait(req->worker->stream->link, req->deadline_ns);
    return err ? fail(req, ERR_UNAVAILABLE, "redis does not answer") : ERR_OK;
}
