/* The stream client against a real Redis, and against a server that answers whatever a test tells it to. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/middleware.h"
#include "common/offload.h"
#include "common/stream.h"
#include "stream/internal.h"
#include "stream/pipeline.h"
#include "support/support.h"

enum { SEEN_MAX = 1024 };

static struct test_server redis;
static redisContext *direct; /* the test's own connection, blocking */

/* --- Redis, asked directly */

static redisReply *ask(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(direct, format, args);
    va_end(args);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        print_error("%s: %s\n", format, reply->str);
    assert_int_not_equal(reply->type, REDIS_REPLY_ERROR);
    return reply;
}

#define tell(...) freeReplyObject(ask(__VA_ARGS__))

static long long number(const char *command, const char *key)
{
    redisReply *reply = ask("%s %s", command, key);
    long long value = reply->integer;
    freeReplyObject(reply);
    return value;
}

static long long pending(const char *key)
{
    redisReply *reply = ask("XPENDING %s g", key);
    long long value = reply->element[0]->integer;
    freeReplyObject(reply);
    return value;
}

static void connect_directly(void)
{
    if (direct)
        redisFree(direct);
    direct = redisConnect("127.0.0.1", redis.port);
    assert_int_equal(direct->err, 0);
}

static int open_redis(void **state)
{
    (void)state;
    test_redis_open(&redis);
    connect_directly();
    offload_start(1, 8);
    return 0;
}

static int close_redis(void **state)
{
    (void)state;
    offload_stop();
    redisFree(direct);
    test_redis_close(&redis);
    return 0;
}

static int empty_redis(void **state)
{
    (void)state;
    tell("FLUSHALL");
    return 0;
}

/* --- a loop with a stream, and what its consumers saw */

struct room {
    struct worker worker;
    struct room *self; /* what worker.settings points to */
    struct stream_settings settings;
    void (*body)(struct request *req, struct room *room);
    struct fiber_queue changed;
    char data[SEEN_MAX][64];
    unsigned deliveries[SEEN_MAX];
    struct trace_context traces[SEEN_MAX];
    char state[32], baggage[32]; /* of the last message that had them */
    struct trace_context inside; /* the handler's request's, last */
    unsigned seen;
    enum err verdict;        /* what the handler says; unless ERR_OK nothing is done */
    struct fiber_wait *gate; /* the handler waits here first */
    bool at_gate;
};

#define until(req, condition)                                                                                          \
    do {                                                                                                               \
        while (!(condition)) {                                                                                         \
            assert_int_equal(request_check(req), ERR_OK);                                                              \
            fiber_sleep_until(clock_now_ns() + NS_PER_MS);                                                             \
        }                                                                                                              \
    } while (0)

static void run_body(struct request *req, void *arg)
{
    struct room *room = arg;
    room->body(req, room);
    stream_close(room->worker.stream);
    until(req, fiber_count(room->worker.loop) == 1);
}

static void use(const char *url, void (*body)(struct request *req, struct room *room))
{
    struct room *room = mem_alloc(sizeof *room);
    room->settings = (struct stream_settings){.url = url, .queue_max = 4096, .connect_timeout_ms = 2000};
    room->self = room;
    room->body = body;
    fiber_queue_init(&room->changed);
    room->worker.settings = &room->self;
    room->worker.loop = loop_new();
    room->worker.stream = stream_open(room->worker.loop, &room->settings);
    assert_non_null(room->worker.stream);
    test_in_fiber(&room->worker, run_body, room);
    loop_free(room->worker.loop);
    free(room);
}

static void wait_up(struct request *req, struct room *room)
{
    assert_int_equal(link_wait(room->worker.stream->link, req->deadline_ns), ERR_OK);
    assert_true(stream_up(room->worker.stream));
}

static void wait_seen(struct request *req, struct room *room, unsigned count)
{
    while (room->seen < count)
        assert_int_equal(fiber_queue_wait(&room->changed, req->deadline_ns), ERR_OK);
}

static void see(struct room *room, const struct stream_message *message)
{
    assert_true(room->seen < SEEN_MAX);
    snprintf(room->data[room->seen], sizeof room->data[0], "%s", message->data ? message->data : "(none)");
    room->deliveries[room->seen] = message->deliveries;
    if (message->trace.state)
        snprintf(room->state, sizeof room->state, "%s", message->trace.state);
    if (message->trace.baggage)
        snprintf(room->baggage, sizeof room->baggage, "%s", message->trace.baggage);
    room->traces[room->seen++] = message->trace;
}

static enum err note(struct request *req, struct stream_message *messages, unsigned count)
{
    struct room *room = *(struct room *const *)req->worker->settings;
    room->inside = req->trace;
    room->at_gate = true;
    if (room->gate)
        fiber_wait(room->gate, CLOCK_NEVER);
    for (unsigned i = 0; i < count; i++) {
        see(room, &messages[i]);
        messages[i].done = room->verdict == ERR_OK;
    }
    fiber_queue_wake_all(&room->changed, ERR_OK);
    return room->verdict ? fail(req, room->verdict, "as the test says") : ERR_OK;
}

static struct stream_consumer_settings member(const char *name)
{
    return (struct stream_consumer_settings){.key = "s", .group = "g", .name = name, .claim_idle_ms = 60000};
}

static struct stream_consumer *consume(struct room *room, struct stream_consumer_settings settings)
{
    return stream_consume(&room->worker, &settings, note);
}

static enum err add(struct request *req, const char *data)
{
    struct stream_entry entry = {.key = "s", .data = data};
    enum err err = stream_add(req, &entry, 1);
    assert_int_equal(entry.err, err);
    assert_int_equal(entry.id[0] != '\0', err == ERR_OK);
    return err;
}

static void add_many(struct request *req, unsigned count)
{
    struct stream_entry *entries = arena_array(req->arena, struct stream_entry, count);
    for (unsigned i = 0; i < count; i++)
        entries[i] = (struct stream_entry){.key = "s", .data = arena_print(req->arena, "%u", i)};
    assert_int_equal(stream_add(req, entries, count), ERR_OK);
}

/* --- calls that middleware sees */

static struct {
    unsigned begun[CALL_STREAM_SETTLE + 1], ended[CALL_STREAM_SETTLE + 1], failed, items;
    struct trace_context sent;
} calls;

static enum err call_begins(struct request *req, struct call *call, void **state)
{
    (void)state;
    calls.begun[call->kind]++;
    assert_int_equal(call->name[0], 's');
    assert_non_null(call->peer);
    if (call->kind == CALL_STREAM_SEND)
        calls.sent = req->trace;
    if (call->kind == CALL_STREAM_SETTLE)
        calls.items += call->items;
    return ERR_OK;
}

static void call_ends(struct request *req, struct call *call, enum err err, void **state)
{
    (void)req;
    (void)state;
    calls.ended[call->kind]++;
    calls.failed += err != ERR_OK;
}

/* Makes a child for each call, as spans would. */
static void trace_begins(struct request *req, struct call *call)
{
    struct trace_context parent = req->trace;
    if (call_joins_trace(call->kind) && call->carrier && !trace_extract(call->carrier, req->arena, &parent))
        parent = trace_new();
    req->trace = trace_child(&parent);
    if (!call_joins_trace(call->kind) && call->carrier)
        trace_inject(&req->trace, call->carrier);
}

static void trace_ends(struct request *req, struct call *call, enum err err)
{
    (void)req;
    (void)call;
    (void)err;
}

static const struct tracing tracing = {.begin = trace_begins, .end = trace_ends};
static const struct middleware recorder = {.name = "recorder", .begin = call_begins, .end = call_ends};

static void assert_same_trace(const struct trace_context *a, const struct trace_context *b)
{
    assert_memory_equal(a->trace_id, b->trace_id, sizeof a->trace_id);
}

/* --- sending and receiving */

static void message_body(struct request *req, struct room *room)
{
    struct trace_context origin = trace_new(), own = req->trace;
    origin.state = "vendor=1";
    origin.baggage = "a=b";
    struct stream_entry entries[2] = {{.key = "s", .data = "{\"n\":1}", .trace = origin}, {.key = "s", .data = "two"}};
    wait_up(req, room);
    assert_int_equal(stream_add(req, entries, 2), ERR_OK);
    assert_true(strcmp(entries[0].id, entries[1].id) != 0);
    assert_memory_equal(&req->trace, &own, sizeof own);
    struct stream_consumer *consumer = consume(room, member("one"));
    wait_seen(req, room, 2);
    stream_consumer_stop(consumer);
    assert_string_equal(room->data[0], "{\"n\":1}");
    assert_string_equal(room->data[1], "two");
    assert_int_equal(room->deliveries[0], 1);
    assert_same_trace(&room->traces[0], &origin);
    assert_string_equal(room->state, "vendor=1");
    assert_string_equal(room->baggage, "a=b");
    assert_same_trace(&room->traces[1], &own);
    assert_int_equal(pending("s"), 0);
    struct stream_stats stats = stream_stats(room->worker.stream);
    assert_int_equal(stats.added, 2);
    assert_int_equal(stats.received, 2);
    assert_int_equal(stats.settled, 2);
    assert_int_equal(stats.errors + stats.refused + stats.dead + stats.claimed + stats.in_flight, 0);
}

static void test_message_arrives_with_its_trace(void **state)
{
    (void)state;
    use(redis.url, message_body);
}

static void calls_body(struct request *req, struct room *room)
{
    wait_up(req, room);
    memset(&calls, 0, sizeof calls);
    add_many(req, 3);
    struct stream_consumer *consumer = consume(room, member("one"));
    wait_seen(req, room, 3);
    stream_consumer_stop(consumer);
    assert_int_equal(calls.begun[CALL_STREAM_SEND], 3);
    assert_int_equal(calls.begun[CALL_STREAM_RECEIVE], 1);
    assert_int_equal(calls.begun[CALL_STREAM_PROCESS], 3);
    assert_int_equal(calls.begun[CALL_STREAM_SETTLE], 1);
    assert_int_equal(calls.items, 3);
    assert_int_equal(calls.failed, 0);
    assert_memory_equal(calls.begun, calls.ended, sizeof calls.begun);
    /* The child that the tracing made travels, not its parent. */
    assert_memory_equal(room->traces[2].span_id, calls.sent.span_id, sizeof calls.sent.span_id);
}

static void test_each_step_of_a_message_is_announced(void **state)
{
    (void)state;
    use(redis.url, calls_body);
}

static void single_body(struct request *req, struct room *room)
{
    wait_up(req, room);
    assert_int_equal(add(req, "one"), ERR_OK);
    struct stream_consumer *consumer = consume(room, member("one"));
    wait_seen(req, room, 1);
    assert_same_trace(&room->inside, &room->traces[0]);
    assert_memory_not_equal(room->inside.span_id, room->traces[0].span_id, sizeof room->inside.span_id);
    stream_consumer_stop(consumer);
}

static void test_message_that_is_alone_lends_the_handler_its_trace(void **state)
{
    (void)state;
    use(redis.url, single_body);
}

static void trimmed_body(struct request *req, struct room *room)
{
    room->settings.length_max = 20;
    tell("CONFIG SET stream-node-max-entries 10");
    wait_up(req, room);
    add_many(req, 200);
    tell("CONFIG SET stream-node-max-entries 100");
    assert_in_range(number("XLEN", "s"), 20, 40);
    assert_int_equal(stream_add(req, NULL, 0), ERR_OK);
}

static void test_stream_keeps_about_its_length(void **state)
{
    (void)state;
    use(redis.url, trimmed_body);
}

static void strange_body(struct request *req, struct room *room)
{
    tell("XADD s * other field");
    tell("XADD s * data first data second traceparent nonsense");
    struct stream_consumer *consumer = consume(room, member("one"));
    wait_seen(req, room, 2);
    assert_string_equal(room->data[0], "(none)");
    assert_string_equal(room->data[1], "first");
    assert_false(trace_valid(&room->traces[1]));
    stream_consumer_stop(consumer);
    assert_int_equal(pending("s"), 0);
}

static void test_foreign_messages_are_handed_over_as_they_are(void **state)
{
    (void)state;
    use(redis.url, strange_body);
}

static void group_body(struct request *req, struct room *room)
{
    wait_up(req, room);
    assert_int_equal(add(req, "before"), ERR_OK);
    struct stream_consumer *consumer = consume(room, member("one"));
    wait_seen(req, room, 1);
    assert_int_equal(add(req, "after"), ERR_OK);
    wait_seen(req, room, 2);
    assert_string_equal(room->data[0], "before");
    assert_string_equal(room->data[1], "after");
    stream_consumer_stop(consumer);
    consumer = consume(room, member("two")); /* the group exists */
    assert_int_equal(add(req, "later"), ERR_OK);
    wait_seen(req, room, 3);
    stream_consumer_stop(consumer);
}

static void test_group_is_made_and_sees_what_was_sent_before(void **state)
{
    (void)state;
    use(redis.url, group_body);
}

static void shared_body(struct request *req, struct room *room)
{
    struct stream_consumer_settings one = member("one"), two = member("two");
    one.batch = two.batch = 7;
    struct stream_consumer *first = consume(room, one), *second = consume(room, two);
    wait_up(req, room);
    add_many(req, 300);
    wait_seen(req, room, 300);
    stream_consumer_stop(first);
    stream_consumer_stop(second);
    bool seen[300] = {0};
    for (unsigned i = 0; i < 300; i++) {
        assert_false(seen[atoi(room->data[i])]);
        seen[atoi(room->data[i])] = true;
    }
    assert_int_equal(room->seen, 300);
    assert_int_equal(pending("s"), 0);
}

static void test_two_members_of_a_group_share_the_work(void **state)
{
    (void)state;
    use(redis.url, shared_body);
}

/* --- messages that are not settled */

static void restart_body(struct request *req, struct room *room)
{
    wait_up(req, room);
    add_many(req, 5);
    room->verdict = ERR_INTERNAL;
    struct stream_consumer_settings settings = member("one");
    settings.batch = 2; /* what is left is read in parts */
    struct stream_consumer *consumer = consume(room, settings);
    wait_seen(req, room, 5);
    stream_consumer_stop(consumer);
    assert_int_equal(pending("s"), 5);
    room->verdict = ERR_OK;
    consumer = consume(room, settings);
    wait_seen(req, room, 10);
    stream_consumer_stop(consumer);
    assert_int_equal(pending("s"), 0);
    assert_int_equal(room->deliveries[5], 2);
    assert_string_equal(room->data[9], "4");
}

static void test_restarted_consumer_takes_up_what_it_had(void **state)
{
    (void)state;
    use(redis.url, restart_body);
}

static enum err note_dead(struct request *req, struct stream_message *messages, unsigned count)
{
    struct room *room = *(struct room *const *)req->worker->settings;
    room->verdict = ERR_OK;
    for (unsigned i = 0; i < count; i++)
        messages[i].done = true;
    fiber_queue_wake_all(&room->changed, ERR_OK);
    return ERR_OK;
}

static void assert_field(const redisReply *fields, const char *name, const char *value, size_t length)
{
    for (size_t i = 0; i + 1 < fields->elements; i += 2)
        if (strcmp(fields->element[i]->str, name) == 0) {
            assert_int_equal(fields->element[i + 1]->len, length);
            assert_memory_equal(fields->element[i + 1]->str, value, length);
            return;
        }
    print_error("no field %s\n", name);
    assert_true(false);
}

static void wait_dead(struct request *req, struct room *room)
{
    struct stream_consumer_settings settings = member("undertaker");
    settings.key = "s:dead";
    struct stream_consumer *undertaker = stream_consume(&room->worker, &settings, note_dead);
    while (room->verdict)
        assert_int_equal(fiber_queue_wait(&room->changed, req->deadline_ns), ERR_OK);
    stream_consumer_stop(undertaker);
}

static const char parent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

static void dead_body(struct request *req, struct room *room)
{
    struct stream_consumer_settings settings = member("one");
    settings.claim_idle_ms = 20;
    settings.deliveries_max = 3;
    settings.dead_key = "s:dead";
    room->verdict = ERR_INTERNAL;
    room->settings.length_max = 1000;
    freeReplyObject(ask("XADD s 7-1 data %b traceparent %s baggage k=v", "a\0b", (size_t)3, parent));
    struct stream_consumer *consumer = consume(room, settings);
    wait_dead(req, room);
    stream_consumer_stop(consumer);
    assert_int_equal(room->seen, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(room->deliveries[i], i + 1);
    assert_int_equal(pending("s"), 0);
    assert_int_equal(stream_stats(room->worker.stream).dead, 1);
    redisReply *dead = ask("XRANGE s:dead - +");
    assert_int_equal(dead->elements, 1);
    const redisReply *fields = dead->element[0]->element[1];
    assert_field(fields, "data", "a\0b", 3);
    assert_field(fields, "traceparent", parent, strlen(parent));
    assert_field(fields, "baggage", "k=v", 3);
    assert_field(fields, "source", "s", 1);
    assert_field(fields, "source_id", "7-1", 3);
    assert_field(fields, "group", "g", 1);
    assert_field(fields, "deliveries", "3", 1);
    assert_field(fields, "reason", "not settled in 3 deliveries", 27);
    freeReplyObject(dead);
}

static void test_message_that_nobody_can_handle_becomes_a_dead_letter(void **state)
{
    (void)state;
    use(redis.url, dead_body);
}

static void unburied_body(struct request *req, struct room *room)
{
    struct stream_consumer_settings settings = member("one");
    settings.claim_idle_ms = 20;
    settings.deliveries_max = 1;
    settings.dead_key = "s:dead";
    room->verdict = ERR_INTERNAL;
    tell("SET s:dead occupied");
    tell("XADD s * data x");
    struct stream_consumer *consumer = consume(room, settings);
    until(req, consumer->failures > 0);
    assert_int_equal(pending("s"), 1);
    tell("DEL s:dead");
    wait_dead(req, room);
    stream_consumer_stop(consumer);
    assert_int_equal(pending("s"), 0);
    assert_int_equal(room->seen, 1);
}

static void test_message_stays_until_its_dead_letter_is_written(void **state)
{
    (void)state;
    use(redis.url, unburied_body);
}

static void immortal_body(struct request *req, struct room *room)
{
    struct stream_consumer_settings settings = member("one");
    settings.claim_idle_ms = 10;
    settings.deliveries_max = 1;
    room->verdict = ERR_INTERNAL;
    tell("XADD s * data x");
    struct stream_consumer *consumer = consume(room, settings);
    wait_seen(req, room, 4);
    stream_consumer_stop(consumer);
    assert_int_equal(room->deliveries[3], 4);
}

static void test_without_a_dead_letter_stream_messages_come_again_for_ever(void **state)
{
    (void)state;
    use(redis.url, immortal_body);
}

static void away_body(struct request *req, struct room *room)
{
    struct stream_consumer_settings settings = member("one");
    settings.claim_idle_ms = 300;
    settings.deliveries_max = 1;
    settings.dead_key = "s:dead";
    room->verdict = ERR_UNAVAILABLE;
    tell("XADD s * data x");
    struct stream_consumer *consumer = consume(room, settings);
    wait_seen(req, room, 3);
    room->verdict = ERR_OK;
    wait_seen(req, room, 4);
    stream_consumer_stop(consumer);
    assert_int_equal(room->deliveries[3], 1);
    assert_int_equal(number("EXISTS", "s:dead"), 0);
    assert_int_equal(pending("s"), 0);
}

static void test_dependency_that_is_away_does_not_use_up_deliveries(void **state)
{
    (void)state;
    use(redis.url, away_body);
}

static void takeover_body(struct request *req, struct room *room)
{
    for (unsigned i = 0; i < 25; i++)
        tell("XADD s * data %u", i);
    tell("XGROUP CREATE s g 0");
    tell("XREADGROUP GROUP g dead-one COUNT 25 STREAMS s >");
    assert_int_equal(pending("s"), 25);
    struct stream_consumer_settings settings = member("heir");
    settings.claim_idle_ms = 20;
    settings.batch = 10; /* the cursor has to go on */
    struct stream_consumer *consumer = consume(room, settings);
    wait_seen(req, room, 25);
    stream_consumer_stop(consumer);
    assert_int_equal(room->deliveries[0], 2);
    assert_int_equal(pending("s"), 0);
    assert_int_equal(stream_stats(room->worker.stream).claimed, 25);
}

static void test_messages_of_a_dead_consumer_are_taken_over(void **state)
{
    (void)state;
    use(redis.url, takeover_body);
}

static void deleted_body(struct request *req, struct room *room)
{
    tell("XADD s 1-1 data x");
    tell("XADD s 1-2 data y");
    tell("XGROUP CREATE s g 0");
    tell("XREADGROUP GROUP g one COUNT 1 STREAMS s >");
    tell("XDEL s 1-1");
    struct stream_consumer *consumer = consume(room, member("one"));
    wait_seen(req, room, 1);
    stream_consumer_stop(consumer);
    assert_string_equal(room->data[0], "y");
    assert_int_equal(pending("s"), 0);
    assert_int_equal(stream_stats(room->worker.stream).errors, 1);
}

static void refused_replay_body(struct request *req, struct room *room)
{
    struct stream_letter *letters;
    unsigned count;
    bool found;
    wait_up(req, room);
    tell("XADD s:dead 5-1 data hello other field source s source_id 1-1 reason because");
    tell("SET s taken");
    assert_int_equal(stream_letter_replay(req, "s", "s:dead", "5-1", &found), ERR_INTERNAL);
    assert_int_equal(stream_letters(req, "s:dead", NULL, &letters, &count), ERR_OK);
    assert_int_equal(count, 1);
    assert_string_equal(letters[0].data, "hello");
    tell("DEL s");
    assert_int_equal(stream_letter_replay(req, "s", "s:dead", "5-1", &found), ERR_OK);
    assert_true(found);
    assert_int_equal(number("XLEN", "s"), 1);
    assert_int_equal(number("XLEN", "s:dead"), 0);
    redisReply *reply = ask("XRANGE s - +");
    assert_int_equal(reply->element[0]->element[1]->elements, 4); /* data and other, nothing of the letter's own */
    freeReplyObject(reply);
}

static void test_dead_letter_stays_until_its_message_is_back(void **state)
{
    (void)state;
    use(redis.url, refused_replay_body);
}

static bool is_member(const char *name)
{
    bool found = false;
    redisReply *reply = ask("XINFO CONSUMERS s g");
    for (size_t i = 0; i < reply->elements; i++)
        found |= strcmp(reply->element[i]->element[1]->str, name) == 0;
    freeReplyObject(reply);
    return found;
}

static void dismiss_body(struct request *req, struct room *room)
{
    wait_up(req, room);
    tell("XGROUP CREATE s g 0 MKSTREAM");
    assert_int_equal(add(req, "held"), ERR_OK);
    tell("XREADGROUP GROUP g holder COUNT 1 STREAMS s >");
    tell("XGROUP CREATECONSUMER s g ghost");
    struct stream_consumer_settings settings = member("one");
    settings.gone_ms = 300;
    settings.block_ms = 100;
    struct stream_consumer *consumer = consume(room, settings);
    assert_int_equal(add(req, "new"), ERR_OK);
    until(req, !is_member("ghost"));
    assert_true(is_member("holder"));
    assert_int_equal(pending("s"), 1);
    wait_seen(req, room, 1);
    assert_true(is_member("one"));
    stream_consumer_stop(consumer);
}

static void test_member_that_is_gone_is_removed_unless_it_holds_a_message(void **state)
{
    (void)state;
    use(redis.url, dismiss_body);
}

static void test_message_deleted_while_pending_is_forgotten(void **state)
{
    (void)state;
    use(redis.url, deleted_body);
}

static void deleted_foreign_body(struct request *req, struct room *room)
{
    tell("XADD s 1-1 data x");
    tell("XGROUP CREATE s g 0");
    tell("XREADGROUP GROUP g dead-one STREAMS s >");
    tell("XDEL s 1-1");
    struct stream_consumer_settings settings = member("one");
    settings.claim_idle_ms = 10;
    struct stream_consumer *consumer = consume(room, settings);
    until(req, stream_stats(room->worker.stream).errors == 1);
    stream_consumer_stop(consumer);
    assert_int_equal(room->seen, 0);
    assert_int_equal(pending("s"), 0);
}

static void test_deleted_message_of_a_dead_consumer_is_forgotten(void **state)
{
    (void)state;
    use(redis.url, deleted_foreign_body);
}

/* --- stopping */

struct stopping {
    struct stream_consumer *consumer;
    struct fiber_wait stopped;
};

static void stop_elsewhere(void *arg)
{
    struct stopping *stopping = arg;
    stream_consumer_stop(stopping->consumer);
    fiber_wake(&stopping->stopped, ERR_OK);
}

static void stop_body(struct request *req, struct room *room)
{
    struct fiber_wait gate = {0};
    room->gate = &gate;
    wait_up(req, room);
    add_many(req, 3);
    struct stopping stopping = {.consumer = consume(room, member("one"))};
    until(req, room->at_gate);
    fiber_start(room->worker.loop, stop_elsewhere, &stopping);
    fiber_yield();
    assert_false(stopping.stopped.done);
    fiber_wake(&gate, ERR_OK);
    assert_int_equal(fiber_wait(&stopping.stopped, req->deadline_ns), ERR_OK);
    assert_int_equal(room->seen, 3);
    assert_int_equal(pending("s"), 0);
}

static void test_stop_lets_the_batch_in_hand_finish(void **state)
{
    (void)state;
    use(redis.url, stop_body);
}

static void stop_early_body(struct request *req, struct room *room)
{
    stream_consumer_stop(consume(room, member("never-up")));
    struct stream_consumer_settings settings = member("blocked");
    settings.block_ms = 600000;
    settings.claim_idle_ms = 86400000;
    struct stream_consumer *consumer = consume(room, settings);
    until(req, consumer->grouped && !consumer->own_left && consumer->link->in_flight == 1);
    stream_consumer_stop(consumer);
    tell("SET s wrong-type");
    consumer = consume(room, member("refused"));
    until(req, consumer->pause);
    stream_consumer_stop(consumer);
}

static void test_stop_ends_a_blocking_read_and_a_pause(void **state)
{
    (void)state;
    use(redis.url, stop_early_body);
}

/* --- runs of Redis */

static void restart_redis(struct request *req, struct room *room, bool empty)
{
    test_redis_stop(&redis);
    if (empty)
        test_redis_lose(&redis, 0);
    until(req, !stream_up(room->worker.stream));
    test_redis_start(&redis);
    connect_directly();
    wait_up(req, room);
}

static void runs_body(struct request *req, struct room *room)
{
    struct stream_run first, same, second;
    int64_t age_ms;
    wait_up(req, room);
    assert_int_equal(stream_run(req, &first), ERR_OK);
    assert_int_equal(strlen(first.id), 40);
    tell("XADD s %lld-0 data old", (long long)(clock_wall_ns() / NS_PER_MS - 5000));
    assert_int_equal(stream_run(req, &same), ERR_OK);
    assert_string_equal(same.id, first.id);
    restart_redis(req, room, false);
    assert_int_equal(stream_run(req, &second), ERR_OK);
    assert_string_not_equal(second.id, first.id);
    assert_int_equal(add(req, "new"), ERR_OK); /* does not count: it is this run's own */
    assert_int_equal(stream_inherited(req, "s", &second, &age_ms), ERR_OK);
    assert_in_range(age_ms, 5000, 25000);
    assert_int_equal(stream_inherited(req, "none", &second, &age_ms), ERR_OK);
    assert_int_equal(age_ms, STREAM_INHERITED_NOTHING);
    restart_redis(req, room, true);
    assert_int_equal(stream_run(req, &second), ERR_OK);
    assert_int_equal(stream_inherited(req, "s", &second, &age_ms), ERR_OK);
    assert_int_equal(age_ms, STREAM_INHERITED_NOTHING);
}

static void test_run_of_redis_and_what_it_inherited_are_told(void **state)
{
    (void)state;
    use(redis.url, runs_body);
}

static void secret_run_body(struct request *req, struct room *room)
{
    struct stream_run run;
    tell("ACL SETUSER default -info");
    wait_up(req, room);
    assert_int_equal(stream_run(req, &run), ERR_OK);
    assert_string_equal(run.id, "");
    tell("ACL SETUSER default +info");
    test_redis_stop(&redis);
    until(req, !stream_up(room->worker.stream));
    assert_int_equal(stream_run(req, &run), ERR_UNAVAILABLE);
    test_redis_start(&redis);
    connect_directly();
}

static void test_redis_that_keeps_its_run_to_itself_can_be_used(void **state)
{
    (void)state;
    use(redis.url, secret_run_body);
}

/* --- trouble */

static void down_body(struct request *req, struct room *room)
{
    struct stream_consumer_settings settings = member("one");
    settings.claim_idle_ms = 100; /* what was read, but not received, comes again soon */
    struct stream_consumer *consumer = consume(room, settings);
    wait_up(req, room);
    add_many(req, 50);
    test_redis_stop(&redis);
    assert_int_equal(add(req, "lost"), ERR_UNAVAILABLE);
    until(req, !stream_up(room->worker.stream));
    int64_t before = loop_now_ns(room->worker.loop);
    assert_int_equal(add(req, "refused"), ERR_UNAVAILABLE);
    assert_int_equal(loop_now_ns(room->worker.loop), before); /* without waiting */
    test_redis_start(&redis);
    connect_directly();
    wait_up(req, room);
    assert_int_equal(add(req, "again"), ERR_OK);
    wait_seen(req, room, 51);
    until(req, pending("s") == 0);
    stream_consumer_stop(consumer);
    assert_int_equal(number("XLEN", "s"), 51);
    assert_true(stream_stats(room->worker.stream).reconnects >= 2);
}

static void test_stream_survives_a_redis_that_goes_and_comes(void **state)
{
    (void)state;
    use(redis.url, down_body);
}

static void flushed_body(struct request *req, struct room *room)
{
    struct stream_consumer *consumer = consume(room, member("one"));
    wait_up(req, room);
    assert_int_equal(add(req, "before"), ERR_OK);
    wait_seen(req, room, 1);
    tell("FLUSHALL");
    assert_int_equal(add(req, "after"), ERR_OK);
    wait_seen(req, room, 2);
    assert_string_equal(room->data[1], "after");
    stream_consumer_stop(consumer);
}

static void test_group_is_made_again_when_redis_lost_it(void **state)
{
    (void)state;
    use(redis.url, flushed_body);
}

static void full_body(struct request *req, struct room *room)
{
    struct stream_entry entries[8];
    room->settings.queue_max = 5;
    for (unsigned i = 0; i < 8; i++)
        entries[i] = (struct stream_entry){.key = "s", .data = "x"};
    wait_up(req, room);
    assert_int_equal(stream_add(req, entries, 8), ERR_UNAVAILABLE);
    assert_string_equal(req->failure.detail, "too many commands wait for redis");
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(entries[i].err, i < 5 ? ERR_OK : ERR_UNAVAILABLE);
    assert_int_equal(stream_stats(room->worker.stream).refused, 3);
    assert_int_equal(number("XLEN", "s"), 5);
    assert_int_equal(add(req, "room again"), ERR_OK);
}

static void test_queue_is_bounded_and_what_it_turns_away_is_counted(void **state)
{
    (void)state;
    use(redis.url, full_body);
}

static void hung_body(struct request *req, struct room *room)
{
    wait_up(req, room);
    int64_t patience = req->deadline_ns;
    kill(redis.pid, SIGSTOP);
    req->deadline_ns = clock_now_ns() + 50 * NS_PER_MS;
    enum err err = add(req, "late");
    kill(redis.pid, SIGCONT);
    req->deadline_ns = patience;
    assert_int_equal(err, ERR_DEADLINE_EXCEEDED);
    until(req, room->worker.stream->link->in_flight == 0); /* answered behind the caller's back */
    assert_int_equal(add(req, "in time"), ERR_OK);
    assert_int_equal(number("XLEN", "s"), 2);
}

static void test_deadline_ends_the_wait_for_a_hung_redis(void **state)
{
    (void)state;
    use(redis.url, hung_body);
}

static void hang_up_body(struct request *req, struct room *room)
{
    struct stream *stream = room->worker.stream;
    struct link *link = link_open(stream->loop, &stream->url, NULL, stream->settings, 100);
    assert_int_equal(link_wait(link, req->deadline_ns), ERR_OK);
    kill(redis.pid, SIGSTOP);
    const struct reply *reply;
    enum err err = pipeline_ask(req, link, 1, (const char *[]){"PING"}, &reply);
    kill(redis.pid, SIGCONT);
    assert_int_equal(err, ERR_UNAVAILABLE);
    assert_int_equal(link_wait(link, req->deadline_ns), ERR_OK);
    assert_int_equal(pipeline_ask(req, link, 1, (const char *[]){"PING"}, &reply), ERR_OK);
    assert_string_equal(reply->text, "PONG");
    assert_int_equal(link->reconnects, 1);
    fiber_sleep_until(clock_now_ns() + 120 * NS_PER_MS); /* idle is not hung */
    assert_int_equal(link->state, LINK_UP);
    link_free(link);
}

static void test_silent_redis_is_given_up(void **state)
{
    (void)state;
    use(redis.url, hang_up_body);
}

struct sender {
    struct worker *worker;
    struct fiber_wait ended;
    unsigned count;
};

static void send_in_vain(void *arg)
{
    struct sender *sender = arg;
    struct arena arena;
    struct request req;
    arena_init(&arena, 4096);
    request_init(&req, &arena, sender->worker);
    struct stream_entry entry = {.key = "s", .data = "x"};
    fiber_wake(&sender->ended, stream_add(&req, &entry, 1));
    arena_done(&arena);
}

static void closed_body(struct request *req, struct room *room)
{
    struct sender sender = {.worker = &room->worker};
    wait_up(req, room);
    kill(redis.pid, SIGSTOP);
    fiber_start(room->worker.loop, send_in_vain, &sender);
    until(req, room->worker.stream->link->in_flight == 1);
    stream_close(room->worker.stream);
    assert_int_equal(fiber_wait(&sender.ended, req->deadline_ns), ERR_UNAVAILABLE);
    kill(redis.pid, SIGCONT);
    room->worker.stream = NULL; /* closing nothing is allowed */
}

static void test_close_ends_what_is_in_flight(void **state)
{
    (void)state;
    use(redis.url, closed_body);
}

static void large_body(struct request *req, struct room *room)
{
    size_t bytes = 3 << 20; /* more than a socket takes at once */
    char *data = arena_alloc(req->arena, bytes + 1);
    memset(data, 'x', bytes);
    wait_up(req, room);
    for (int i = 0; i < 3; i++)
        assert_int_equal(add(req, data), ERR_OK);
    struct stream_consumer *consumer = consume(room, member("one"));
    wait_seen(req, room, 3);
    stream_consumer_stop(consumer);
    assert_int_equal(pending("s"), 0);
}

static void test_large_messages_pass(void **state)
{
    (void)state;
    use(redis.url, large_body);
}

static void memory_body(struct request *req, struct room *room)
{
    wait_up(req, room);
    tell("CONFIG SET maxmemory 1");
    assert_int_equal(add(req, "x"), ERR_UNAVAILABLE); /* it will pass */
    tell("CONFIG SET maxmemory 0");
    tell("SET s wrong-type");
    assert_int_equal(add(req, "x"), ERR_INTERNAL);
    assert_string_equal(req->failure.detail, "redis refused XADD");
    assert_int_equal(stream_stats(room->worker.stream).errors, 2);
}

static void test_errors_of_redis_become_ours(void **state)
{
    (void)state;
    use(redis.url, memory_body);
}

/* --- addresses and logging in */

static void add_body(struct request *req, struct room *room)
{
    wait_up(req, room);
    assert_int_equal(add(req, "x"), ERR_OK);
}

static void shut_out_body(struct request *req, struct room *room)
{
    struct link *link = room->worker.stream->link;
    until(req, link->errors >= 2); /* it tries again */
    assert_false(stream_up(room->worker.stream));
    assert_int_equal(add(req, "x"), ERR_UNAVAILABLE);
    assert_non_null(strstr(link->told, "WRONGPASS"));
}

static void test_password_opens_and_a_wrong_one_does_not(void **state)
{
    (void)state;
    char url[300];
    tell("ACL SETUSER clerk on >p@ss/word ~* +@all");
    snprintf(url, sizeof url, "redis://clerk:p%%40ss%%2fword@127.0.0.1:%d/3", redis.port);
    use(url, add_body);
    tell("SELECT 3");
    assert_int_equal(number("XLEN", "s"), 1);
    tell("SELECT 0");
    snprintf(url, sizeof url, "redis://clerk:wrong@127.0.0.1:%d", redis.port);
    use(url, shut_out_body);
    tell("CONFIG SET requirepass simple");
    snprintf(url, sizeof url, "redis://:simple@127.0.0.1:%d", redis.port);
    use(url, add_body);
    snprintf(url, sizeof url, "redis://:wrong@127.0.0.1:%d", redis.port);
    use(url, shut_out_body);
    tell("CONFIG SET requirepass %s", "");
    tell("ACL DELUSER clerk");
}

static void test_host_names_and_sockets_work_too(void **state)
{
    (void)state;
    char url[300];
    snprintf(url, sizeof url, "redis://localhost:%d", redis.port);
    use(url, add_body);
    snprintf(url, sizeof url, "unix://%s/socket?db=0", redis.directory);
    use(url, add_body);
}

static void no_way_body(struct request *req, struct room *room)
{
    until(req, room->worker.stream->link->errors >= 2);
    assert_int_equal(add(req, "x"), ERR_UNAVAILABLE);
}

static void test_what_cannot_be_reached_is_tried_again(void **state)
{
    (void)state;
    char url[64];
    use("redis://no-such-host.invalid", no_way_body);
    use("unix:///no/such/socket", no_way_body);
    snprintf(url, sizeof url, "redis://[::1]:%d", test_free_port());
    use(url, no_way_body);
}

static void lookup_body(struct request *req, struct room *room)
{
    (void)req;
    assert_int_equal(room->worker.stream->link->state, LINK_RESOLVING);
}

static void test_close_while_a_name_is_looked_up(void **state)
{
    (void)state;
    use("redis://no-such-host.invalid", lookup_body);
}

static void test_addresses_are_read(void **state)
{
    (void)state;
    struct stream_url url;
    const char *reason;
    assert_true(stream_url_parse("redis://shop", &url, &reason));
    assert_string_equal(url.peer, "shop:6379");
    assert_null(url.password);
    stream_url_done(&url);
    assert_true(stream_url_parse("redis://a:b%3A%4a@[::1]:7000/15", &url, &reason));
    assert_string_equal(url.peer, "[::1]:7000");
    assert_string_equal(url.user, "a");
    assert_string_equal(url.password, "b:J");
    assert_int_equal(url.database, 15);
    stream_url_done(&url);
    assert_true(stream_url_parse("unix://:pw@/run/redis?db=2", &url, &reason));
    assert_string_equal(url.peer, "/run/redis");
    assert_null(url.user);
    assert_int_equal(url.database, 2);
    stream_url_done(&url);
}

static void test_wrong_addresses_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "expected redis://host:port, rediss://host:port or unix:///path"},
        {"http://x", "expected redis://host:port, rediss://host:port or unix:///path"},
        {"rediss://", "a host is missing"},
        {"redis://", "a host is missing"},
        {"redis://:6379", "a host is missing"},
        {"redis://x:0", "expected a port from 1 to 65535"},
        {"redis://x:65536", "expected a port from 1 to 65535"},
        {"redis://x:", "expected a port from 1 to 65535"},
        {"redis://[::1", "expected [v6 address]:port"},
        {"redis://[::1]x", "expected [v6 address]:port"},
        {"redis://x/a", "expected a database's number behind the host"},
        {"redis://x/99999999", "expected a database's number behind the host"},
        {"redis://a:%4@x", "bad percent-encoding of user or password"},
        {"redis://a:%zz@x", "bad percent-encoding of user or password"},
        {"redis://a:%00@x", "bad percent-encoding of user or password"},
        {"unix://x", "expected unix:///path"},
        {"unix:///x?y=2", "expected ?db=<number> behind the path"},
    };
    struct stream_url url;
    const char *reason;
    for (unsigned i = 0; i < array_count(cases); i++) {
        assert_false(stream_url_parse(cases[i][0], &url, &reason));
        assert_string_equal(reason, cases[i][1]);
    }
    char path[200] = "unix:///";
    memset(path + 8, 'x', 150);
    assert_false(stream_url_parse(path, &url, &reason));
    assert_string_equal(reason, "the path of the socket is too long");
    assert_false(stream_url_parse(NULL, &url, &reason));
    struct loop *loop = loop_new();
    assert_null(stream_open(loop, &(const struct stream_settings){.url = "redis://a@x"}));
    assert_null(stream_open(loop, &(const struct stream_settings){.url = "unix://a:@/x"}));
    loop_free(loop);
}

/* --- a server that answers what a test tells it to, inside the test's own loop */

struct answer {
    const char *command, *bytes;
};

static struct {
    struct loop *loop;
    struct loop_watch door, guest;
    const struct answer *answers; /* ended by one without a command, which is for all others */
    unsigned commands;
    char input[1 << 16];
    size_t used;
} fake;

/* The length of the first command in the input, or 0; its first word is copied. */
static size_t first_command(char word[32])
{
    char *p = fake.input, *end = fake.input + fake.used;
    *end = '\0';
    if (fake.used < 4)
        return 0;
    for (long i = 0, count = strtol(p + 1, &p, 10); i < count; i++) {
        long length = strtol(p + 3, &p, 10); /* behind \r\n$ */
        if (p + 2 + length + 2 > end)
            return 0;
        if (i == 0)
            snprintf(word, 32, "%.*s", (int)length, p + 2);
        p += 2 + length;
    }
    return (size_t)(p + 2 - fake.input);
}

static const char *answer_to(const char *word)
{
    const struct answer *a = fake.answers;
    while (a->command && strcmp(a->command, word) != 0)
        a++;
    return strcmp(word, "PING") == 0 && !a->command ? "+PONG\r\n" : a->bytes;
}

static void end_visit(void)
{
    if (fake.guest.fd < 0)
        return;
    loop_watch(fake.loop, &fake.guest, 0);
    close(fake.guest.fd);
    fake.guest.fd = -1;
}

static void on_input(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    char word[32];
    ssize_t got = read(watch->fd, fake.input + fake.used, sizeof fake.input - 1 - fake.used);
    if (got <= 0) {
        end_visit();
        return;
    }
    fake.used += (size_t)got;
    for (size_t length; (length = first_command(word)) > 0;) {
        memmove(fake.input, fake.input + length, fake.used -= length);
        fake.commands++;
        const char *bytes = answer_to(word);
        if (bytes && write(watch->fd, bytes, strlen(bytes)) < 0)
            return;
    }
}

static void on_guest(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    end_visit(); /* one at a time; consumers of these tests come one after the other */
    fake.guest = (struct loop_watch){.ready = on_input, .fd = fd};
    fake.used = 0;
    loop_watch(fake.loop, &fake.guest, EPOLLIN);
}

static struct stream_url fake_url;

static void fake_open(struct loop *loop)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    char url[64];
    const char *reason;
    fake.loop = loop;
    fake.guest.fd = -1;
    fake.commands = 0;
    fake.door = (struct loop_watch){.ready = on_guest, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(fake.door.fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fake.door.fd, 8), 0);
    getsockname(fake.door.fd, (struct sockaddr *)&address, &length);
    loop_watch(loop, &fake.door, EPOLLIN);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", ntohs(address.sin_port));
    assert_true(stream_url_parse(url, &fake_url, &reason));
}

static void fake_close(void)
{
    end_visit();
    loop_watch(fake.loop, &fake.door, 0);
    close(fake.door.fd);
    stream_url_done(&fake_url);
}

/* Turns the room's stream to the fake server. */
static void turn_to_fake(struct room *room)
{
    struct stream *stream = room->worker.stream;
    link_free(stream->link);
    stream_url_done(&stream->url);
    stream->url = fake_url;
    fake_url = (struct stream_url){0};
    stream->link = link_open(stream->loop, &stream->url, NULL, stream->settings, 1000);
}

static void answers_body(struct request *req, struct room *room)
{
    static const struct {
        const char *bytes;
        enum err err;
        bool hangs_up;
    } cases[] = {
        {"$3\r\n1-1\r\n", ERR_OK, false},
        {":1\r\n", ERR_INTERNAL, false},
        {"$-1\r\n", ERR_INTERNAL, false},
        {"*-1\r\n", ERR_INTERNAL, false},
        {"*1\r\n$3\r\n1-1\r\n", ERR_INTERNAL, false},
        {"$60\r\n123456789012345678901234567890123456789012345678901234567890\r\n", ERR_INTERNAL, false},
        {"-ERR no\r\n", ERR_INTERNAL, false},
        {"-LOADINGnot\r\n", ERR_INTERNAL, false},
        {"-LOADING the data set\r\n", ERR_UNAVAILABLE, false},
        {"-READONLY\r\n", ERR_UNAVAILABLE, false},
        {"hello\r\n", ERR_UNAVAILABLE, true},
        {"*2147483647\r\n", ERR_UNAVAILABLE, true},
        {"*99999999999\r\n", ERR_UNAVAILABLE, true},
        {"$-7\r\n", ERR_UNAVAILABLE, true},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", ERR_UNAVAILABLE, true},
        {"$3\r\n1-1\r\n$3\r\n1-2\r\n", ERR_OK, true},
        {"$3\r\n1-1\r\n:7\r\n", ERR_OK, true},
        {"$3\r\n1-1\r\n*1\r\n:7\r\n", ERR_OK, true},
        {"$3\r\n1-1\r\n$-1\r\n", ERR_OK, true},
        {"$3\r\n1-1\r\n-ERR too many\r\n", ERR_OK, true},
    };
    struct answer answers[2] = {{"XADD", NULL}, {NULL, "-ERR\r\n"}};
    fake.answers = answers;
    fake_open(room->worker.loop);
    turn_to_fake(room);
    struct link *link = room->worker.stream->link;
    for (unsigned i = 0; i < array_count(cases); i++) {
        answers[0].bytes = cases[i].bytes;
        wait_up(req, room);
        uint64_t errors = link->errors;
        assert_int_equal(add(req, "x"), cases[i].err);
        if (cases[i].hangs_up)
            until(req, link->errors > errors);
        assert_int_equal(link->errors, errors + cases[i].hangs_up);
    }
    fake_close();
}

static void test_no_answer_is_too_strange_for_the_producer(void **state)
{
    (void)state;
    use(redis.url, answers_body);
}

static void greetings_body(struct request *req, struct room *room)
{
    static const char *const greetings[] = {"-LOADING wait\r\n", ":1\r\n",       "*0\r\n",
                                            "$4\r\nPONG\r\n",    "nonsense\r\n", ""};
    struct answer answers[2] = {{"PING", NULL}, {NULL, "-ERR\r\n"}};
    fake.answers = answers;
    answers[0].bytes = greetings[0];
    fake_open(room->worker.loop);
    turn_to_fake(room);
    struct link *link = room->worker.stream->link;
    for (unsigned i = 0; i < array_count(greetings); i++) {
        answers[0].bytes = greetings[i];
        link->attempts = 0; /* no long back-off in a test */
        uint64_t errors = link->errors;
        until(req, link->errors > errors);
        assert_false(stream_up(room->worker.stream));
    }
    assert_string_equal(link->told, "the log-in took too long");
    answers[0].bytes = "+PONG\r\n";
    wait_up(req, room);
    fake_close();
}

static void test_server_that_does_not_greet_is_not_up(void **state)
{
    (void)state;
    use(redis.url, greetings_body);
}

static void consumer_answers_body(struct request *req, struct room *room)
{
    static const char *const strange[] = {
        ":1\r\n",
        "+OK\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*0\r\n",
        "*1\r\n*2\r\n$1\r\ns\r\n:1\r\n",
        "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n:1\r\n",
        "*1\r\n*2\r\n$1\r\ns\r\n*2\r\n*-1\r\n*2\r\n:1\r\n*0\r\n",
        "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n:5\r\n",
        "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*3\r\n:1\r\n$-1\r\n$4\r\ndata\r\n",
        "*3\r\n:0\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*0\r\n:1\r\n",
        "*3\r\n$3\r\n0-0\r\n*2\r\n*-1\r\n*2\r\n$3\r\n1-1\r\n*-1\r\n*1\r\n$3\r\n1-2\r\n",
        "*2\r\n$70\r\n1234567890123456789012345678901234567890123456789012345678901234567890\r\n*0\r\n",
        "*1\r\n*4\r\n$3\r\n1-1\r\n$3\r\none\r\n:1\r\n:-5\r\n",
        "*1\r\n*4\r\n$3\r\n1-1\r\n$3\r\none\r\n:1\r\n:99999999999\r\n",
        "-NOGROUP gone\r\n",
        "-UNBLOCKED gone\r\n",
        "-ERR whatever\r\n",
    };
    static const char *const commands[] = {"XREADGROUP", "XAUTOCLAIM", "XPENDING", "XGROUP",
                                           "XACK",       "XRANGE",     "XCLAIM",   "EVAL"};
    static const char good[] = "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$4\r\ndata\r\n$1\r\nx\r\n";
    static const char claimed[] = "*2\r\n$3\r\n0-0\r\n*2\r\n*-1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$4\r\ndata\r\n$1\r\nx\r\n";
    struct answer answers[10] = {{"XREADGROUP", good},
                                 {"XAUTOCLAIM", claimed},
                                 {"XPENDING", "*1\r\n*4\r\n$3\r\n1-1\r\n$3\r\none\r\n:1\r\n:9\r\n"},
                                 {"XGROUP", "+OK\r\n"},
                                 {"XACK", ":1\r\n"},
                                 {"XRANGE", "*0\r\n"},
                                 {"XCLAIM", "*1\r\n$3\r\n1-1\r\n"},
                                 {"EVAL", "$3\r\n2-1\r\n"},
                                 {NULL, "+PONG\r\n"}};
    fake.answers = answers;
    fake_open(room->worker.loop);
    link_close(room->worker.stream->link); /* the guest is the consumer */
    struct stream *stream = room->worker.stream;
    stream_url_done(&stream->url);
    stream->url = fake_url;
    fake_url = (struct stream_url){0};
    for (unsigned c = 0; c < array_count(commands); c++) {
        const char *usual = answers[c].bytes;
        for (unsigned i = 0; i < array_count(strange); i++) {
            struct stream_consumer_settings settings = member("one");
            settings.claim_idle_ms = 1;
            settings.dead_key = i % 2 ? "s:dead" : NULL;
            room->verdict = i % 3 ? ERR_OK : ERR_UNAVAILABLE;
            room->seen = 0;
            answers[c].bytes = strange[i];
            struct stream_consumer *consumer = consume(room, settings);
            unsigned commands_before = fake.commands;
            until(req, fake.commands >= commands_before + 6 || consumer->failures > 0);
            stream_consumer_stop(consumer);
        }
        answers[c].bytes = usual;
    }
    fake_close();
}

static void test_no_answer_is_too_strange_for_a_consumer(void **state)
{
    (void)state;
    log_init("test", LOG_OFF);
    use(redis.url, consumer_answers_body);
    log_init("test", LOG_WARN);
}

static void nameless_body(struct request *req, struct room *room)
{
    /* A Redis before 7: what was deleted is claimed as nil, stays pending, and only XPENDING tells its id. */
    static const struct answer answers[] = {
        {"XREADGROUP", "*-1\r\n"},
        {"XAUTOCLAIM", "*2\r\n$3\r\n0-0\r\n*1\r\n*-1\r\n"},
        {"XPENDING", "*1\r\n*4\r\n$3\r\n1-1\r\n$3\r\none\r\n:1\r\n:2\r\n"},
        {"XRANGE", "*0\r\n"},
        {"XACK", ":1\r\n"},
        {NULL, "+OK\r\n"},
    };
    fake.answers = answers;
    fake_open(room->worker.loop);
    link_close(room->worker.stream->link);
    struct stream *stream = room->worker.stream;
    stream_url_done(&stream->url);
    stream->url = fake_url;
    fake_url = (struct stream_url){0};
    struct stream_consumer *consumer = consume(room, member("one"));
    until(req, stream->stats.errors == 1); /* forgotten, with a warning */
    assert_int_equal(consumer->failures, 0);
    stream_consumer_stop(consumer);
    fake_close();
}

static void test_deleted_message_is_forgotten_on_an_older_redis_too(void **state)
{
    (void)state;
    use(redis.url, nameless_body);
}

#define TEST(name) cmocka_unit_test_setup(name, empty_redis)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_message_arrives_with_its_trace),
        TEST(test_each_step_of_a_message_is_announced),
        TEST(test_message_that_is_alone_lends_the_handler_its_trace),
        TEST(test_stream_keeps_about_its_length),
        TEST(test_foreign_messages_are_handed_over_as_they_are),
        TEST(test_group_is_made_and_sees_what_was_sent_before),
        TEST(test_two_members_of_a_group_share_the_work),
        TEST(test_restarted_consumer_takes_up_what_it_had),
        TEST(test_message_that_nobody_can_handle_becomes_a_dead_letter),
        TEST(test_message_stays_until_its_dead_letter_is_written),
        TEST(test_without_a_dead_letter_stream_messages_come_again_for_ever),
        TEST(test_dependency_that_is_away_does_not_use_up_deliveries),
        TEST(test_messages_of_a_dead_consumer_are_taken_over),
        TEST(test_run_of_redis_and_what_it_inherited_are_told),
        TEST(test_redis_that_keeps_its_run_to_itself_can_be_used),
        TEST(test_dead_letter_stays_until_its_message_is_back),
        TEST(test_member_that_is_gone_is_removed_unless_it_holds_a_message),
        TEST(test_message_deleted_while_pending_is_forgotten),
        TEST(test_deleted_message_of_a_dead_consumer_is_forgotten),
        TEST(test_stop_lets_the_batch_in_hand_finish),
        TEST(test_stop_ends_a_blocking_read_and_a_pause),
        TEST(test_stream_survives_a_redis_that_goes_and_comes),
        TEST(test_group_is_made_again_when_redis_lost_it),
        TEST(test_queue_is_bounded_and_what_it_turns_away_is_counted),
        TEST(test_deadline_ends_the_wait_for_a_hung_redis),
        TEST(test_silent_redis_is_given_up),
        TEST(test_close_ends_what_is_in_flight),
        TEST(test_large_messages_pass),
        TEST(test_errors_of_redis_become_ours),
        TEST(test_password_opens_and_a_wrong_one_does_not),
        TEST(test_host_names_and_sockets_work_too),
        TEST(test_what_cannot_be_reached_is_tried_again),
        TEST(test_close_while_a_name_is_looked_up),
        TEST(test_addresses_are_read),
        TEST(test_wrong_addresses_are_refused_with_a_reason),
        TEST(test_no_answer_is_too_strange_for_the_producer),
        TEST(test_server_that_does_not_greet_is_not_up),
        TEST(test_no_answer_is_too_strange_for_a_consumer),
        TEST(test_deleted_message_is_forgotten_on_an_older_redis_too),
    };
    log_init("test", LOG_WARN);
    middleware_trace_by(&tracing);
    middleware_use(&recorder);
    return cmocka_run_group_tests_name("stream", tests, open_redis, close_redis);
}
