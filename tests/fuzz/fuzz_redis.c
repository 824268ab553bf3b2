/* What a Redis may answer, for the real consumer and producer over their own connection to a peer in this process. The
 * first byte: bit 0, the log-in is part of the input too; bit 1, the producer instead of the consumer. The rest is cut
 * at each 0xff; a piece is sent whenever nobody has anything left to do, an empty one ends the connection. Then the
 * peer answers as Redis does.
 *
 * Whatever came before, the consumer reconnects and handles the next good message, the producer adds the next entry. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/request.h"
#include "fuzz/fuzz.h"
#include "stream/internal.h"

enum { PEERS_MAX = 4, COMMANDS_MAX = 1 << 20, WORDS_MAX = 64, WORD_BYTES = 64, TURNS_MAX = 100000 };

static const char good_data[] = "good", good_id[] = "7-7";
static struct loop *loop;
static struct worker worker;
static struct stream_consumer *consumer;
static int listener;
static char url[128];

/* --- the peer */

struct peer {
    int fd; /* -1: none */
    bool good;
    char commands[COMMANDS_MAX];
    size_t bytes;
};

static struct peer peers[PEERS_MAX];

static struct {
    const char *data;
    size_t left;
    bool producing, login_too;
    bool ended;    /* the input is used up: from now on the peer is good */
    bool received; /* the good message */
    bool finished, stopping;
    unsigned accepted, turns;
} play;

static void peer_send(struct peer *peer, const char *data, size_t bytes)
{
    if (send(peer->fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return; /* the other side has hung up, as it will be seen */
}

static void peer_close(struct peer *peer)
{
    close(peer->fd);
    peer->fd = -1;
}

struct command {
    unsigned count;
    char words[WORDS_MAX][WORD_BYTES]; /* cut */
};

/* "$n\r\n" or "*n\r\n" at *at, which moves behind it; false when it is not there whole. */
static bool take_number(const struct peer *peer, size_t *at, size_t *out)
{
    const char *start = peer->commands + *at, *end = memmem(start, peer->bytes - *at, "\r\n", 2);
    if (!end)
        return false;
    *out = strtoul(start + 1, NULL, 10);
    *at += (size_t)(end - start) + 2;
    return true;
}

static bool take_command(struct peer *peer, struct command *out)
{
    size_t at = 0, count, length;
    if (!take_number(peer, &at, &count))
        return false;
    out->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (at == peer->bytes || !take_number(peer, &at, &length) || at + length + 2 > peer->bytes)
            return false;
        if (out->count < WORDS_MAX)
            snprintf(out->words[out->count++], WORD_BYTES, "%.*s", (int)length, peer->commands + at);
        at += length + 2;
    }
    peer->bytes -= at;
    memmove(peer->commands, peer->commands + at, peer->bytes);
    return true;
}

static const char *good_answer(const struct command *command)
{
    static const char message[] = "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n7-7\r\n*2\r\n$4\r\ndata\r\n$4\r\ngood\r\n";
    const char *name = command->words[0];
    if (strcmp(name, "PING") == 0)
        return "+PONG\r\n";
    if (strcmp(name, "XREADGROUP") == 0)
        return strcmp(command->words[command->count - 1], ">") == 0 ? message : "*1\r\n*2\r\n$1\r\ns\r\n*0\r\n";
    if (strcmp(name, "XAUTOCLAIM") == 0)
        return "*3\r\n$3\r\n0-0\r\n*0\r\n*0\r\n";
    if (strcmp(name, "XADD") == 0 || strcmp(name, "EVAL") == 0)
        return "$3\r\n7-7\r\n";
    if (strcmp(name, "XACK") == 0) {
        play.finished |= play.received;
        return ":1\r\n";
    }
    return strcmp(name, "XPENDING") == 0 || strcmp(name, "XCLAIM") == 0 ? "*0\r\n" : "+OK\r\n";
}

static bool is_login(const char *name)
{
    return strcmp(name, "AUTH") == 0 || strcmp(name, "SELECT") == 0 || strcmp(name, "PING") == 0;
}

static bool peer_answer(struct peer *peer)
{
    static struct command command;
    bool any = false;
    while (take_command(peer, &command)) {
        any = true;
        if (!peer->good && (play.login_too || !is_login(command.words[0])))
            continue;
        const char *answer = good_answer(&command);
        peer_send(peer, answer, strlen(answer));
    }
    return any;
}

static bool peer_read(struct peer *peer)
{
    ssize_t got = recv(peer->fd, peer->commands + peer->bytes, COMMANDS_MAX - peer->bytes, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return false;
    FUZZ_CHECK(peer->bytes < COMMANDS_MAX);
    if (got > 0)
        peer->bytes += (size_t)got;
    else
        peer_close(peer);
    return true;
}

static bool serve_peers(void)
{
    bool any = false;
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        struct peer *peer = &peers[i];
        while (peer->fd >= 0 && peer_read(peer))
            any = true;
        any |= peer->fd >= 0 && peer_answer(peer);
    }
    return any;
}

/* A stream's own connection, which comes first, is left alone when the consumer's is what matters. */
static bool accept_peer(void)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return false;
    unsigned i = 0;
    while (peers[i].fd >= 0)
        FUZZ_CHECK(++i < PEERS_MAX);
    peers[i].fd = fd;
    peers[i].bytes = 0;
    peers[i].good = play.ended || (!play.producing && play.accepted == 0);
    play.accepted++;
    return true;
}

/* The next piece, for whom it is meant; false when that one is not connected. */
static bool send_piece(void)
{
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        struct peer *peer = &peers[i];
        if (peer->fd < 0 || peer->good)
            continue;
        const char *cut = memchr(play.data, 0xff, play.left);
        size_t bytes = cut ? (size_t)(cut - play.data) : play.left;
        if (bytes > 0)
            peer_send(peer, play.data, bytes);
        if (bytes == 0 || !cut)
            peer_close(peer);
        play.ended = !cut;
        play.data += bytes + (cut != NULL);
        play.left -= bytes + (cut != NULL);
        return true;
    }
    return false;
}

/* --- time: nobody waits for it */

static bool wake_link(struct link *link)
{
    if (link->state != LINK_DOWN || link->timer.index == 0)
        return false;
    loop_timer_start(loop, &link->timer, 0);
    return true;
}

static bool hurry(void)
{
    if (wake_link(worker.stream->link) || (consumer && wake_link(consumer->link)))
        return true;
    if (!consumer || !consumer->pause)
        return false;
    fiber_wake(consumer->pause, ERR_OK);
    return true;
}

/* --- the play */

static struct loop_task turn;

static void no_work(struct loop_task *task)
{
    (void)task;
}

static void finish(void *arg)
{
    (void)arg;
    if (consumer)
        stream_consumer_stop(consumer);
    consumer = NULL;
    FUZZ_CHECK(stream_stats(worker.stream).in_flight == 0);
    stream_close(worker.stream);
    loop_stop(loop);
}

static void act(struct loop_hook *hook)
{
    (void)hook;
    FUZZ_CHECK(play.turns++ < TURNS_MAX);
    if (play.stopping)
        return;
    if (play.finished && fiber_count(loop) <= 1) {
        play.stopping = true;
        fiber_start(loop, finish, NULL);
        return;
    }
    bool moved = accept_peer();
    moved |= serve_peers();
    moved = moved || hurry();
    moved = moved || (!play.ended && send_piece());
    FUZZ_CHECK(moved); /* the peer is good, and yet nothing goes on */
    turn.run = no_work;
    loop_post(loop, &turn);
}

static void nothing_yet(struct loop_hook *hook)
{
    (void)hook;
}

static bool is_trace(const struct trace_context *trace)
{
    static const struct trace_context none;
    return trace_valid(trace) || (memcmp(trace->trace_id, none.trace_id, sizeof none.trace_id) == 0 && !trace->state);
}

static enum err take_messages(struct request *req, struct stream_message *messages, unsigned count)
{
    enum err err = ERR_OK;
    FUZZ_CHECK(count > 0);
    for (unsigned i = 0; i < count; i++) {
        const char *data = messages[i].data ? messages[i].data : "";
        FUZZ_CHECK(messages[i].id && messages[i].deliveries >= 1 && !messages[i].done && is_trace(&messages[i].trace));
        messages[i].done = data[0] != 'n';
        if (data[0] == 'u')
            err = fail(req, ERR_UNAVAILABLE, "away");
        if (data[0] == 'e')
            err = fail(req, ERR_INTERNAL, "broken");
        play.received |= play.ended && strcmp(data, good_data) == 0 && strcmp(messages[i].id, good_id) == 0;
    }
    return err;
}

static void produce(void *arg)
{
    struct arena arena;
    (void)arg;
    arena_init(&arena, 4096);
    while (!play.finished) {
        struct stream_entry entries[2] = {{.key = "s", .data = "{}"}, {.key = "s", .data = "[]"}};
        struct request req;
        request_init(&req, &arena, &worker);
        entries[0].trace = trace_new();
        FUZZ_CHECK(link_wait(worker.stream->link, CLOCK_NEVER) == ERR_OK);
        enum err err = stream_add(&req, entries, array_count(entries));
        FUZZ_CHECK(err == entries[0].err || err == entries[1].err);
        for (unsigned i = 0; i < array_count(entries); i++)
            FUZZ_CHECK(entries[i].err || strlen(entries[i].id) < sizeof entries[i].id);
        play.finished = play.ended && !err && strcmp(entries[1].id, good_id) == 0;
        arena_reset(&arena);
    }
    arena_done(&arena);
}

static void start(void)
{
    static const struct stream_settings settings = {.queue_max = 100, .connect_timeout_ms = 60000};
    static const struct stream_consumer_settings consuming = {.key = "s",
                                                              .group = "g",
                                                              .name = "me",
                                                              .batch = 10,
                                                              .block_ms = 60000,
                                                              .deliveries_max = 2,
                                                              .dead_key = "dead"};
    static struct stream_settings with_url;
    with_url = settings;
    with_url.url = url;
    worker.stream = stream_open(loop, &with_url);
    FUZZ_CHECK(worker.stream);
    if (play.producing)
        fiber_start(loop, produce, NULL);
    else
        consumer = stream_consume(&worker, &consuming, take_messages);
}

static char directory[] = "/tmp/fuzz-redis-XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static void clear_up(void)
{
    unlink(address.sun_path);
    rmdir(directory);
}

static void listen_for_it(void)
{
    FUZZ_CHECK(mkdtemp(directory));
    atexit(clear_up);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/s", directory);
    snprintf(url, sizeof url, "unix://:secret@%s?db=1", address.sun_path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    FUZZ_CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 16) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_level_set(LOG_OFF);
    signal(SIGPIPE, SIG_IGN); /* as a service does */
    loop = loop_new();
    worker.loop = loop;
    listen_for_it();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    memset(&play, 0, sizeof play);
    play.data = (const char *)data + 1;
    play.left = bytes - 1;
    play.login_too = data[0] & 1;
    play.producing = data[0] & 2;
    for (unsigned i = 0; i < PEERS_MAX; i++)
        peers[i].fd = -1;
    struct loop_hook hook = {.idle = nothing_yet, .rest = act};
    start();
    loop_hook_add(loop, &hook);
    loop_run(loop);
    loop_hook_remove(loop, &hook);
    for (unsigned i = 0; i < PEERS_MAX; i++)
        if (peers[i].fd >= 0)
            peer_close(&peers[i]);
    return 0;
}
