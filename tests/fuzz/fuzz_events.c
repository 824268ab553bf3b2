/* Events as the inventory service's consumer gets them: a batch of messages, one a line; a line has the message's
 * fields, cut at tabs, in the order of names[] below. Through the reading of batches to the service's own handlers,
 * with the database left out.
 *
 * What is settled was read, is what a plain reader finds in it, and nothing else; a trace is whole or absent; and when
 * the database is away nothing is done. */
#include <jansson.h>
#include <string.h>

#include "../../services/inventory-service/inventory.h"
#include "common/log.h"
#include "common/mem.h"
#include "fuzz/fuzz.h"
#include "stream/batch.h"

enum { MESSAGES_MAX = 16, FIELDS = 4 };

static const char *const names[FIELDS] = {"data", "traceparent", "tracestate", "baggage"};

/* --- the database's place */

static struct {
    struct uuid order_ids[MESSAGES_MAX];
    unsigned count, calls;
    bool away;
} settled;

static enum err settle(struct request *req, const struct uuid *order_ids, unsigned count)
{
    FUZZ_CHECK(count >= 1 && count <= MESSAGES_MAX);
    memcpy(settled.order_ids, order_ids, count * sizeof *order_ids);
    settled.count = count;
    settled.calls++;
    return settled.away ? fail(req, ERR_UNAVAILABLE, "away") : ERR_OK;
}

enum err reservations_commit(struct request *req, const struct uuid *order_ids, unsigned count)
{
    return settle(req, order_ids, count);
}

enum err reservations_cancel(struct request *req, const struct uuid *order_ids, unsigned count)
{
    return settle(req, order_ids, count);
}

/* --- lines to a reply of Redis */

static struct reply text_of(struct arena *arena, const char *text, size_t length)
{
    return (struct reply){.type = REPLY_TEXT, .text = arena_text(arena, text, length), .length = length};
}

static struct reply list_of(const struct reply *items, unsigned count)
{
    return (struct reply){.type = REPLY_LIST, .items = items, .count = count};
}

static struct reply entry_of(struct arena *arena, const char *line, size_t length)
{
    struct reply *fields = arena_array(arena, struct reply, 2 * FIELDS), *entry = arena_array(arena, struct reply, 2);
    unsigned count = 0;
    for (const char *end = line + length; count < FIELDS && line <= end; count++) {
        const char *tab = memchr(line, '\t', (size_t)(end - line));
        fields[2 * count] = text_of(arena, names[count], strlen(names[count]));
        fields[2 * count + 1] = text_of(arena, line, (size_t)((tab ? tab : end) - line));
        line = (tab ? tab : end) + 1;
    }
    entry[0] = text_of(arena, "1-1", 3);
    entry[1] = list_of(fields, 2 * count);
    return list_of(entry, 2);
}

static struct reply entries_of(struct arena *arena, const char *text, size_t bytes)
{
    struct reply *entries = arena_array(arena, struct reply, MESSAGES_MAX);
    unsigned count = 0;
    for (const char *end = text + bytes; count < MESSAGES_MAX && text < end; count++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        entries[count] = entry_of(arena, text, (size_t)((newline ? newline : end) - text));
        text = (newline ? newline : end) + 1;
    }
    return list_of(entries, count);
}

/* --- what must hold */

/* jansson alone, without our shapes: the member order_id of an object. */
static bool has_order_id(const char *data, struct uuid *out)
{
    json_t *event = data ? json_loads(data, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const char *text = json_string_value(json_object_get(event, "order_id"));
    bool found = text && uuid_parse(text, out);
    json_decref(event);
    return found;
}

static void check_trace(const struct stream_message *message)
{
    static const struct trace_context none;
    if (trace_valid(&message->trace))
        return;
    FUZZ_CHECK(memcmp(message->trace.trace_id, none.trace_id, sizeof none.trace_id) == 0 && !message->trace.state);
}

static void check_batch(const struct batch *batch)
{
    unsigned found = 0, done = 0;
    for (unsigned i = 0; i < batch->count; i++) {
        const struct stream_message *message = &batch->messages[i];
        struct uuid id;
        check_trace(message);
        done += message->done;
        if (message->done)
            FUZZ_CHECK(has_order_id(message->data, &id) && uuid_equal(id, settled.order_ids[found++]));
    }
    FUZZ_CHECK(settled.away ? done == 0 : done == settled.count);
    FUZZ_CHECK(settled.calls == (settled.count > 0));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_level_set(LOG_OFF);
    return 0;
}

/* The first byte: which handler, and whether the database answers. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct worker worker;
    struct arena arena;
    struct request req;
    struct batch batch;
    if (bytes == 0)
        return 0;
    memset(&settled, 0, sizeof settled);
    settled.away = data[0] & 2;
    arena_init(&arena, 4096);
    request_init(&req, &arena, &worker);
    struct reply entries = entries_of(&arena, (const char *)data + 1, bytes - 1);
    const struct source source = {"orders:created", "inventory", "here"};
    batch_read(&batch, &arena, &entries);
    FUZZ_CHECK(batch.count == entries.count && batch.malformed == 0);
    batch_begin(&batch, &req, &source);
    enum err err = (data[0] & 1 ? orders_cancelled : orders_created)(&req, batch.messages, batch.count);
    batch_end(&batch, &req, err);
    FUZZ_CHECK(!err || settled.away);
    check_batch(&batch);
    trace_attach(NULL);
    arena_done(&arena);
    return 0;
}
