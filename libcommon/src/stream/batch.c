#include "stream/batch.h"

#include <string.h>

#include "common/mem.h"

static const char *get_field(const struct carrier *carrier, const char *key)
{
    const struct batch_item *item = container_of(carrier, struct batch_item, carrier);
    return reply_text(reply_field(item->fields, key));
}

static void add_message(struct batch *batch, struct arena *arena, const char *id, const struct reply *fields)
{
    struct stream_message *message = &batch->messages[batch->count];
    struct batch_item *item = &batch->items[batch->count++];
    item->carrier.get = get_field;
    item->fields = fields;
    message->id = id;
    message->data = get_field(&item->carrier, "data");
    message->deliveries = 1;
    trace_extract(&item->carrier, arena, &message->trace);
}

void batch_read(struct batch *batch, struct arena *arena, const struct reply *entries)
{
    unsigned room = reply_count(entries);
    *batch = (struct batch){
        .messages = arena_array(arena, struct stream_message, room),
        .items = arena_array(arena, struct batch_item, room),
        .gone = arena_array(arena, const char *, room),
    };
    for (unsigned i = 0; i < room; i++) {
        const struct reply *entry = reply_item(entries, i);
        const char *id = reply_text(reply_item(entry, 0));
        const struct reply *fields = reply_item(entry, 1);
        if (entry->type == REPLY_NIL)
            batch->nameless++;
        else if (id && fields && fields->type == REPLY_LIST)
            add_message(batch, arena, id, fields);
        else if (id && fields && fields->type == REPLY_NIL)
            batch->gone[batch->gone_count++] = id;
        else
            batch->malformed++;
    }
}

void batch_remove(struct batch *batch, unsigned i)
{
    batch->count--;
    memmove(&batch->messages[i], &batch->messages[i + 1], (batch->count - i) * sizeof *batch->messages);
    memmove(&batch->items[i], &batch->items[i + 1], (batch->count - i) * sizeof *batch->items);
}

void batch_received(struct batch *batch, struct request *req, const struct source *source)
{
    struct trace_context *links = arena_array(req->arena, struct trace_context, batch->count);
    for (unsigned i = 0; i < batch->count; i++)
        links[i] = batch->messages[i].trace;
    struct call call = {.kind = CALL_STREAM_RECEIVE,
                        .name = source->key,
                        .place = source->group,
                        .peer = source->peer,
                        .items = batch->count,
                        .links = links,
                        .link_count = batch->count};
    call_begin(req, &call);
    batch->received = req->trace;
    call_end(req, &call, ERR_OK);
    batch->received.span = NULL;
}

void batch_begin(struct batch *batch, struct request *req, const struct source *source)
{
    struct trace_context own = req->trace;
    for (unsigned i = 0; i < batch->count; i++) {
        struct batch_item *item = &batch->items[i];
        item->call = (struct call){.kind = CALL_STREAM_PROCESS,
                                   .name = source->key,
                                   .place = source->group,
                                   .peer = source->peer,
                                   .carrier = &item->carrier,
                                   .message_id = batch->messages[i].id,
                                   .items = 1};
        call_begin(req, &item->call);
        item->trace = req->trace;
        req->trace = own;
    }
    if (batch->count == 1)
        req->trace = batch->items[0].trace;
}

void batch_end(struct batch *batch, struct request *req, enum err err)
{
    for (unsigned i = 0; i < batch->count; i++) {
        struct batch_item *item = &batch->items[i];
        enum err fate = batch->messages[i].done ? ERR_OK : err ? err : ERR_ABORTED;
        req->trace = item->trace;
        item->call.status = (int)fate;
        call_end(req, &item->call, fate); /* gives the request its own trace back */
    }
}
