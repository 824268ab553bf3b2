/* The producer: each entry is a call of its own for middleware, all entries leave in one write. */
#include "common/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/middleware.h"
#include "stream/internal.h"
#include "stream/pipeline.h"

/* A hung server is given up after this, for callers without a deadline. */
enum { REPLY_TIMEOUT_MS = 10000 };

enum { HEAD_WORDS_MAX = 6, TRACE_FIELDS_MAX = 8, WORDS_MAX = HEAD_WORDS_MAX + 2 + 2 * TRACE_FIELDS_MAX };

/* One entry under way: its XADD, which call_begin() writes trace fields into. */
struct sending {
    struct call call;
    struct carrier carrier;
    struct trace_context trace; /* the request's while this call lasts */
    struct arena *arena;
    const char *words[WORDS_MAX];
    int word_count;
    bool sent;
};

/* --- life */

static const char *set_or_null(const char *text)
{
    return text && *text ? text : NULL;
}

static bool has_password(const struct stream *stream, const struct stream_settings *settings, char *message,
                         size_t message_bytes)
{
    snprintf(message, message_bytes, "redis.url names a user without a password; expected one, or redis.password");
    return !stream->url.user || stream->url.password || set_or_null(settings->password);
}

/* Whether what is said about TLS can be used. */
static bool open_tls(struct stream *stream, const struct stream_settings *settings, char *message, size_t message_bytes)
{
    const struct tls_settings files = {.ca_file = set_or_null(settings->ca_file),
                                       .cert_file = set_or_null(settings->cert_file),
                                       .key_file = set_or_null(settings->key_file)};
    if (!stream->url.secure) {
        snprintf(message, message_bytes, "redis.tls is of use with rediss:// in redis.url only");
        return !files.ca_file && !files.cert_file && !files.key_file;
    }
    stream->tls = stream_tls_open(&files, message, message_bytes);
    return stream->tls != NULL;
}

struct stream *stream_open(struct loop *loop, const struct stream_settings *settings)
{
    struct stream *stream = mem_alloc(sizeof *stream);
    const char *reason;
    char message[600];
    if (!stream_url_parse(settings->url, &stream->url, &reason)) {
        log_event(LOG_ERROR, "unusable address of redis", log_text("reason", reason));
        free(stream);
        return NULL;
    }
    if (!has_password(stream, settings, message, sizeof message) ||
        !open_tls(stream, settings, message, sizeof message)) {
        log_event(LOG_ERROR, "unusable settings of redis", log_text("reason", message));
        stream_url_done(&stream->url);
        free(stream);
        return NULL;
    }
    stream->loop = loop;
    stream->settings = settings;
    list_init(&stream->consumers);
    stream->link = link_open(loop, &stream->url, stream->tls, settings, REPLY_TIMEOUT_MS);
    return stream;
}

static void stream_free(struct stream *stream)
{
    link_free(stream->link);
    stream_tls_close(stream->tls);
    stream_url_done(&stream->url);
    free(stream);
}

void stream_close(struct stream *stream)
{
    if (!stream)
        return;
    stream->closed = true;
    link_close(stream->link);
    if (stream->users == 0)
        stream_free(stream);
}

void stream_enter(struct stream *stream)
{
    stream->users++;
}

void stream_leave(struct stream *stream)
{
    if (--stream->users == 0 && stream->closed)
        stream_free(stream);
}

bool stream_up(const struct stream *stream)
{
    return stream->link->state == LINK_UP;
}

struct stream_stats stream_stats(const struct stream *stream)
{
    struct stream_stats stats = stream->stats;
    stats.reconnects += stream->link->reconnects;
    stats.errors += stream->link->errors;
    stats.in_flight += stream->link->in_flight;
    list_each (node, &stream->consumers) {
        const struct link *link = container_of(node, struct stream_consumer, list)->link;
        stats.reconnects += link->reconnects;
        stats.errors += link->errors;
        stats.in_flight += link->in_flight;
    }
    return stats;
}

/* --- sending */

static void add_word(struct sending *sending, const char *word)
{
    sending->words[sending->word_count++] = word;
}

static void set_field(const struct carrier *carrier, const char *key, const char *value)
{
    struct sending *sending = container_of(carrier, struct sending, carrier);
    if (sending->word_count + 2 > WORDS_MAX)
        return;
    add_word(sending, arena_text(sending->arena, key, strlen(key)));
    add_word(sending, arena_text(sending->arena, value, strlen(value)));
}

static void write_head(struct sending *sending, const struct stream *stream, const struct stream_entry *entry)
{
    add_word(sending, "XADD");
    add_word(sending, entry->key);
    if (stream->settings->length_max > 0) {
        add_word(sending, "MAXLEN");
        add_word(sending, "~");
        add_word(sending, arena_print(sending->arena, "%lld", (long long)stream->settings->length_max));
    }
    add_word(sending, "*");
    add_word(sending, "data");
    add_word(sending, entry->data);
}

/* Leaves the request's trace as it was. */
static void announce(struct request *req, struct sending *sending, const struct stream_entry *entry, const char *peer)
{
    struct trace_context own = req->trace;
    if (trace_valid(&entry->trace))
        req->trace = entry->trace;
    sending->carrier.set = set_field;
    sending->call = (struct call){
        .kind = CALL_STREAM_SEND, .name = entry->key, .peer = peer, .carrier = &sending->carrier, .items = 1};
    call_begin(req, &sending->call);
    sending->trace = req->trace;
    req->trace = own;
}

static void announce_end(struct request *req, struct sending *sending, enum err err)
{
    struct trace_context own = req->trace;
    req->trace = sending->trace;
    sending->call.status = (int)err;
    call_end(req, &sending->call, err);
    req->trace = own;
}

static bool send_entry(struct stream *stream, struct pipeline *pipeline, struct sending *sending)
{
    if (stream->link->in_flight >= (unsigned)stream->settings->queue_max) {
        stream->stats.refused++;
        return false;
    }
    return pipeline_send(pipeline, sending->word_count, sending->words, NULL);
}

static enum err take_id(struct request *req, struct stream_entry *entry, const struct reply *reply)
{
    enum err err = pipeline_judge(req, "XADD", reply);
    if (err)
        return err;
    const char *id = reply_text(reply);
    if (!id || strlen(id) >= sizeof entry->id)
        return fail(req, ERR_INTERNAL, "redis gave no id");
    strcpy(entry->id, id);
    return ERR_OK;
}

static void settle(struct request *req, struct stream *stream, struct sending *sending, struct stream_entry *entry)
{
    sending->call.message_id = entry->err ? NULL : entry->id;
    announce_end(req, sending, entry->err);
    if (entry->err)
        stream->stats.errors++;
    else
        stream->stats.added++;
}

static void send_all(struct request *req, struct stream *stream, struct pipeline *pipeline, struct sending *sendings,
                     const struct stream_entry *entries, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        sendings[i].arena = req->arena;
        write_head(&sendings[i], stream, &entries[i]);
        announce(req, &sendings[i], &entries[i], stream->url.peer);
        sendings[i].sent = send_entry(stream, pipeline, &sendings[i]);
    }
}

enum err stream_add(struct request *req, struct stream_entry *entries, unsigned count)
{
    struct stream *stream = req->worker->stream;
    struct sending *sendings = arena_array(req->arena, struct sending, count);
    if (count == 0)
        return ERR_OK;
    stream_enter(stream);
    uint64_t refused = stream->stats.refused;
    struct pipeline *pipeline = pipeline_begin(req, stream->link, count);
    send_all(req, stream, pipeline, sendings, entries, count);
    refused = stream->stats.refused - refused;
    const struct reply *replies;
    unsigned answered, next = 0;
    enum err lost = pipeline_end(pipeline, &replies, &answered), first = ERR_OK;
    if (refused > 0)
        fail(req, ERR_UNAVAILABLE, "too many commands wait for redis");
    for (unsigned i = 0; i < count; i++) {
        if (!sendings[i].sent)
            entries[i].err = ERR_UNAVAILABLE;
        else
            entries[i].err = next < answered ? take_id(req, &entries[i], &replies[next++]) : lost;
        settle(req, stream, &sendings[i], &entries[i]);
        first = first ? first : entries[i].err;
    }
    stream_leave(stream);
    return first;
}
