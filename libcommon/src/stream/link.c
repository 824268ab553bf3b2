/* hiredis calls back for everything: our hooks below give it descriptors and writing turns, ev.cleanup is the
 * one place where every end of a connection comes by. One timer serves all states.
 *
 * Over TLS the hooks ask for nothing: one record at a time is read when the socket has something, and hiredis's buffer
 * is written at the flush point, or when the socket has room again. */
#include "stream/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/random.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/offload.h"
#include "common/request.h"

enum {
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 2000,
    REPLY_BYTES_MAX = 64 << 20,
    REPLY_ELEMENTS_MAX = 1 << 20,
    RECORD_BYTES_MAX = 1 << 14, /* of TLS */
};

/* A look-up outlives a link that is freed meanwhile. */
struct link_lookup {
    struct link *link; /* NULL: freed meanwhile */
    struct loop *loop;
    char *host;
    unsigned turn; /* which of the host's addresses to take */
    int failure;   /* of getaddrinfo() */
    char address[INET6_ADDRSTRLEN];
};

static void link_connect(struct link *link);

static void start_timer(struct link *link, int64_t delay_ms)
{
    loop_timer_start(link->loop, &link->timer, clock_now_ns() + delay_ms * NS_PER_MS);
}

static void set_reason(struct link *link, const char *reason)
{
    snprintf(link->reason, sizeof link->reason, "%s", reason);
}

/* --- going down and up */

static int64_t backoff_ms(const struct link *link)
{
    int64_t ms = BACKOFF_MAX_MS;
    if (link->attempts < 5)
        ms = BACKOFF_MIN_MS << link->attempts;
    if (ms > BACKOFF_MAX_MS)
        ms = BACKOFF_MAX_MS;
    return ms / 2 + (int64_t)((double)ms / 2 * random_unit());
}

/* A server that is away is told once, not each time that it is still away. */
static void tell_down(struct link *link)
{
    link->errors++;
    if (strcmp(link->reason, link->told) == 0)
        return;
    memcpy(link->told, link->reason, sizeof link->told);
    log_event(LOG_WARN, "no connection to redis", log_text("peer", link->url->peer), log_text("reason", link->reason));
}

static void forget_password(struct link *link)
{
    config_forget(link->password);
    link->password = NULL;
}

static void link_down(struct link *link, const char *reason)
{
    forget_password(link);
    if (!link->reason[0])
        set_reason(link, reason);
    link->state = LINK_DOWN;
    tell_down(link);
    link->reason[0] = '\0';
    start_timer(link, backoff_ms(link));
    link->attempts++;
}

static void link_up(struct link *link)
{
    link->state = LINK_UP;
    link->attempts = 0;
    link->told[0] = '\0';
    link->reconnects += link->connected_before;
    link->connected_before = true;
    link->watched = false;
    loop_timer_stop(link->loop, &link->timer);
    log_event(LOG_INFO, "connected to redis", log_text("peer", link->url->peer));
    fiber_queue_wake_all(&link->waiters, ERR_OK);
}

/* Not within onConnect, which hiredis does not expect to free anything. */
static void link_drop(struct link *link, const char *reason)
{
    set_reason(link, reason);
    redisAsyncFree(link->context);
}

/* --- hiredis's hooks */

static void want(struct link *link, uint32_t events)
{
    loop_watch(link->loop, &link->watch, events);
}

static bool tls_has_socket(const struct link *link)
{
    return link->tls && link->state != LINK_CONNECTING;
}

static void add_read(void *arg)
{
    struct link *link = arg;
    if (!tls_has_socket(link))
        want(link, link->watch.events | EPOLLIN);
}

static void del_read(void *arg)
{
    struct link *link = arg;
    if (!tls_has_socket(link))
        want(link, link->watch.events & ~(uint32_t)EPOLLIN);
}

/* The loop's flush point writes; epoll is asked only when the socket is full or not connected yet. */
static void add_write(void *arg)
{
    struct link *link = arg;
    if (tls_has_socket(link))
        link->dirty = true;
    else if (link->flushing || link->state == LINK_CONNECTING)
        want(link, link->watch.events | EPOLLOUT);
    else
        link->dirty = !(link->watch.events & EPOLLOUT);
}

static void del_write(void *arg)
{
    struct link *link = arg;
    if (tls_has_socket(link))
        return;
    link->dirty = false;
    want(link, link->watch.events & ~(uint32_t)EPOLLOUT);
}

static void cleanup(void *arg)
{
    struct link *link = arg;
    want(link, 0);
    if (link->session.ssl) {
        tls_session_close(&link->session);
        close(link->watch.fd);
    }
    const char *reason = link->context->errstr && link->context->err ? link->context->errstr : "closed";
    /* The text lives in the context, which is freed behind us. */
    if (link->state != LINK_CLOSED)
        link_down(link, reason);
    link->context = NULL;
    link->dirty = false;
}

static void greet(struct link *link);

/* --- TLS */

/* Takes the socket from hiredis, which has nothing to say yet. Not within onConnect, where nothing may fail. */
static bool begin_tls(struct link *link, char *message, size_t message_bytes)
{
    redisContext *core = &link->context->c;
    int nothing = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (nothing < 0) {
        snprintf(message, message_bytes, "%s", strerror(errno));
        return false;
    }
    if (!tls_session_open(&link->session, link->tls, core->fd, link->url->host, message, message_bytes)) {
        close(nothing);
        return false;
    }
    core->fd = nothing;
    return true;
}

static void shake_hands(struct link *link)
{
    char message[sizeof link->reason];
    int result = -1;
    if (link->session.ssl || begin_tls(link, message, sizeof message))
        result = tls_session_begin(&link->session, message, sizeof message);
    if (result < 0) {
        link_drop(link, message);
    } else if (result == 0) {
        want(link, link->session.awaits);
    } else {
        want(link, EPOLLIN);
        greet(link);
    }
}

/* What hiredis has in its buffer; commands that come meanwhile are appended to it. */
static void send_over_tls(struct link *link)
{
    char message[sizeof link->reason];
    sds buffer = link->context->c.obuf;
    int result = 1;
    if (sdslen(buffer) > 0)
        result = tls_session_write(&link->session, buffer, sdslen(buffer), message, sizeof message);
    if (result < 0) {
        link_drop(link, message);
        return;
    }
    if (result > 0)
        sdsclear(buffer);
    want(link, EPOLLIN | (result == 0 ? link->session.awaits : 0));
}

/* A record a turn: what OpenSSL holds is empty then, and the socket tells when there is more. */
static void receive_over_tls(struct link *link)
{
    char message[sizeof link->reason], record[RECORD_BYTES_MAX];
    ssize_t bytes = tls_session_read(&link->session, record, sizeof record, message, sizeof message);
    if (bytes < 0) {
        link_drop(link, message);
    } else if (bytes > 0) {
        redisReaderFeed(link->context->c.reader, record, (size_t)bytes);
        redisAsyncHandleRead(link->context); /* hands on what was fed; its descriptor has nothing */
    }
}

static void secure_ready(struct link *link)
{
    if (link->state == LINK_SECURING) {
        shake_hands(link);
        return;
    }
    send_over_tls(link);
    if (link->context)
        receive_over_tls(link);
}

static void link_ready(struct loop_watch *watch, uint32_t events)
{
    struct link *link = container_of(watch, struct link, watch);
    if (tls_has_socket(link)) {
        secure_ready(link);
        return;
    }
    if (events & ~(uint32_t)EPOLLOUT)
        redisAsyncHandleRead(link->context);
    if (link->context && events & EPOLLOUT)
        redisAsyncHandleWrite(link->context);
}

static void link_flush(struct loop_hook *hook)
{
    struct link *link = container_of(hook, struct link, hook);
    if (!link->dirty)
        return;
    link->dirty = false;
    if (link->tls) {
        send_over_tls(link);
        return;
    }
    link->flushing = true;
    redisAsyncHandleWrite(link->context);
    link->flushing = false;
}

/* --- bounds of replies: NULL makes hiredis give the connection up */

static bool admit(const redisReadTask *task, size_t bytes, size_t elements)
{
    struct link *link = task->privdata;
    if (!task->parent) {
        link->reply_bytes = link->reply_elements = 0;
        /* hiredis itself takes an unasked error for the reason of a hang-up, and asserts at anything else. */
        if (!link->context->replies.head && task->type != REDIS_REPLY_ERROR) {
            set_reason(link, "an answer that nobody asked for");
            return false;
        }
    }
    link->reply_bytes += bytes;
    link->reply_elements += elements;
    if (link->reply_bytes <= REPLY_BYTES_MAX && link->reply_elements <= REPLY_ELEMENTS_MAX)
        return true;
    set_reason(link, "a reply over the limit");
    return false;
}

static struct link *link_of(const redisReadTask *task)
{
    return task->privdata;
}

static void *bounded_string(const redisReadTask *task, char *text, size_t length)
{
    return admit(task, length, 1) ? link_of(task)->plain->createString(task, text, length) : NULL;
}

static void *bounded_array(const redisReadTask *task, int elements)
{
    return admit(task, 0, (size_t)elements + 1) ? link_of(task)->plain->createArray(task, elements) : NULL;
}

static void *bounded_integer(const redisReadTask *task, long long value)
{
    return admit(task, 0, 1) ? link_of(task)->plain->createInteger(task, value) : NULL;
}

static void *bounded_nil(const redisReadTask *task)
{
    return admit(task, 0, 1) ? link_of(task)->plain->createNil(task) : NULL;
}

static redisReplyObjectFunctions bounded_functions = {
    .createString = bounded_string,
    .createArray = bounded_array,
    .createInteger = bounded_integer,
    .createNil = bounded_nil,
    .freeObject = freeReplyObject,
};

/* --- logging in: AUTH, SELECT and a PING, which a server that is still loading refuses */

static void greeted(redisAsyncContext *context, void *answer, void *arg)
{
    struct link *link = arg;
    redisReply *reply = answer;
    link_answered(link);
    if (!reply || link->state != LINK_GREETING || context->c.flags & REDIS_FREEING)
        return;
    if (reply->type != REDIS_REPLY_STATUS)
        link_drop(link, reply->type == REDIS_REPLY_ERROR ? reply->str : "an unexpected answer to the log-in");
    else if (--link->greetings == 0)
        link_up(link);
}

static void greet_with(struct link *link, int argc, const char **argv)
{
    link->greetings++;
    link->in_flight++;
    if (redisAsyncCommandArgv(link->context, greeted, link, argc, argv, NULL) != REDIS_OK)
        link->in_flight--;
}

static void authenticate(struct link *link, const char *password)
{
    const char *user = link->url->user;
    if (user)
        greet_with(link, 3, (const char *[]){"AUTH", user, password});
    else if (password)
        greet_with(link, 2, (const char *[]){"AUTH", password});
}

static void greet(struct link *link)
{
    const struct stream_url *url = link->url;
    const struct stream_settings *settings = link->settings;
    char database[16];
    snprintf(database, sizeof database, "%d", url->database);
    link->state = LINK_GREETING;
    link->greetings = 0;
    if (link->password)
        authenticate(link, link->password);
    else
        authenticate(link, settings->password && *settings->password ? settings->password : url->password);
    forget_password(link);
    if (url->database > 0)
        greet_with(link, 2, (const char *[]){"SELECT", database});
    greet_with(link, 1, (const char *[]){"PING"});
}

static void on_connect(const redisAsyncContext *context, int status)
{
    struct link *link = context->data;
    if (status != REDIS_OK)
        return; /* cleanup() follows */
    if (link->url->host)
        redisEnableKeepAlive(&link->context->c);
    if (link->tls) {
        link->state = LINK_SECURING;
        want(link, EPOLLOUT);
    } else {
        greet(link);
    }
}

/* --- connecting */

static void adopt(struct link *link, redisAsyncContext *context)
{
    link->context = context;
    link->state = LINK_CONNECTING;
    link->watch.fd = context->c.fd;
    fcntl(context->c.fd, F_SETFD, FD_CLOEXEC);
    context->data = link;
    context->ev.data = link;
    context->ev.addRead = add_read;
    context->ev.delRead = del_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
    link->plain = context->c.reader->fn;
    context->c.reader->fn = &bounded_functions;
    context->c.reader->privdata = link;
    start_timer(link, link->settings->connect_timeout_ms);
    redisAsyncSetConnectCallback(context, on_connect);
}

static void dial(struct link *link, const char *address)
{
    redisAsyncContext *context =
        address ? redisAsyncConnect(address, link->url->port) : redisAsyncConnectUnix(link->url->path);
    if (!context) {
        link_down(link, "out of memory");
        return;
    }
    if (!context->err) {
        adopt(link, context);
        return;
    }
    link_down(link, context->errstr);
    redisAsyncFree(context);
}

static void look_up(void *arg)
{
    struct link_lookup *lookup = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    lookup->failure = getaddrinfo(lookup->host, NULL, &hints, &found);
    if (lookup->failure)
        return;
    unsigned count = 0;
    for (struct addrinfo *a = found; a; a = a->ai_next)
        count++;
    struct addrinfo *chosen = found;
    for (unsigned i = lookup->turn % count; i > 0; i--)
        chosen = chosen->ai_next;
    lookup->failure = getnameinfo(chosen->ai_addr, chosen->ai_addrlen, lookup->address, sizeof lookup->address, NULL, 0,
                                  NI_NUMERICHOST);
    freeaddrinfo(found);
}

static void looked_up(struct link *link, const struct link_lookup *lookup, enum err err)
{
    link->lookup = NULL;
    if (link->state != LINK_RESOLVING)
        return;
    if (err)
        link_down(link, "too many name look-ups");
    else if (lookup->failure)
        link_down(link, gai_strerror(lookup->failure));
    else
        dial(link, lookup->address);
}

static void resolve(void *arg)
{
    struct link_lookup *lookup = arg;
    struct worker worker = {.loop = lookup->loop};
    struct arena arena;
    struct request req;
    arena_init(&arena, 1024);
    request_init(&req, &arena, &worker);
    enum err err = offload_run(&req, look_up, lookup);
    if (lookup->link)
        looked_up(lookup->link, lookup, err);
    arena_done(&arena);
    free(lookup->host);
    free(lookup);
}

static bool is_numeric(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

/* A password's file is read for each connection, so that a changed one counts. */
static bool read_password(struct link *link)
{
    char reason[sizeof link->reason - 32], message[sizeof link->reason];
    const char *file = link->settings->password_file;
    if (!file || (link->password = config_secret(file, reason, sizeof reason)))
        return true;
    snprintf(message, sizeof message, "redis.password_file: %s", reason);
    link_down(link, message);
    return false;
}

static void link_connect(struct link *link)
{
    if (!read_password(link))
        return;
    if (!link->url->host || is_numeric(link->url->host)) {
        dial(link, link->url->host);
        return;
    }
    struct link_lookup *lookup = mem_alloc(sizeof *lookup);
    *lookup = (struct link_lookup){
        .link = link, .loop = link->loop, .host = mem_text(link->url->host), .turn = link->attempts};
    link->lookup = lookup;
    link->state = LINK_RESOLVING;
    fiber_start(link->loop, resolve, lookup);
}

/* --- time */

static void look_for_hang(struct link *link)
{
    link->watched = link->in_flight > 0;
    if (!link->watched)
        return;
    int64_t over_ns = link->progress_ns + link->reply_timeout_ms * NS_PER_MS;
    if (clock_now_ns() >= over_ns)
        link_drop(link, "no answer in time");
    else
        loop_timer_start(link->loop, &link->timer, over_ns);
}

static void link_timer(struct loop_timer *timer)
{
    struct link *link = container_of(timer, struct link, timer);
    if (link->state == LINK_DOWN)
        link_connect(link);
    else if (link->state == LINK_UP)
        look_for_hang(link);
    else
        link_drop(link, link->state == LINK_CONNECTING ? "connecting took too long"
                        : link->state == LINK_SECURING ? "the TLS handshake, which redis.url wants, took too long"
                                                       : "the log-in took too long");
}

/* --- outside */

struct link *link_open(struct loop *loop, const struct stream_url *url, struct stream_tls *tls,
                       const struct stream_settings *settings, int reply_timeout_ms)
{
    struct link *link = mem_alloc(sizeof *link);
    *link = (struct link){
        .loop = loop,
        .url = url,
        .tls = tls,
        .settings = settings,
        .reply_timeout_ms = reply_timeout_ms,
        .watch.ready = link_ready,
        .timer.fire = link_timer,
        .hook.idle = link_flush,
    };
    fiber_queue_init(&link->waiters);
    loop_hook_add(loop, &link->hook);
    link_connect(link);
    return link;
}

void link_close(struct link *link)
{
    if (link->state == LINK_CLOSED)
        return;
    link->state = LINK_CLOSED;
    loop_timer_stop(link->loop, &link->timer);
    loop_hook_remove(link->loop, &link->hook);
    if (link->context)
        redisAsyncFree(link->context);
    fiber_queue_wake_all(&link->waiters, ERR_CANCELLED);
}

void link_free(struct link *link)
{
    link_close(link);
    if (link->lookup)
        link->lookup->link = NULL;
    forget_password(link);
    free(link);
}

enum err link_wait(struct link *link, int64_t deadline_ns)
{
    if (link->state == LINK_UP)
        return ERR_OK;
    return link->state == LINK_CLOSED ? ERR_CANCELLED : fiber_queue_wait(&link->waiters, deadline_ns);
}

bool link_send(struct link *link, redisCallbackFn *fn, void *arg, int argc, const char **argv, const size_t *lengths)
{
    if (link->state != LINK_UP || redisAsyncCommandArgv(link->context, fn, arg, argc, argv, lengths) != REDIS_OK)
        return false;
    if (link->in_flight++ == 0)
        link->progress_ns = clock_now_ns();
    if (!link->watched)
        start_timer(link, link->reply_timeout_ms);
    link->watched = true;
    return true;
}

void link_answered(struct link *link)
{
    link->in_flight--;
    link->progress_ns = loop_now_ns(link->loop);
}
