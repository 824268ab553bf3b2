/* A connection's life: look the host up, connect, work, be lost, rest, and again.
 * Nothing here blocks the loop: names are looked up in the offload pool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/random.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/offload.h"
#include "common/request.h"
#include "db/internal.h"
#include "db/login.h"

static const int64_t rest_ns_least = 100 * NS_PER_MS, rest_ns_most = 2 * NS_PER_S;

enum { OPTIONS_MAX = 64, REST_DOUBLINGS_MAX = 5 };

/* A name look-up on its way; it outlives a connection that was closed meanwhile. */
struct db_lookup {
    struct db *db;
    struct db_conn *conn; /* NULL: nobody needs it any more */
    char *hosts, *ports;
    unsigned turn;
    enum err err;
    struct db_target target;
    char message[DB_MESSAGE_BYTES];
};

struct dial {
    const char *keywords[OPTIONS_MAX], *values[OPTIONS_MAX];
    unsigned count;
};

bool db_conn_shared(const struct db_conn *conn)
{
    return conn - conn->db->conns < conn->db->settings->connections;
}

static void close_socket(struct db_conn *conn)
{
    loop_timer_stop(conn->db->loop, &conn->timer);
    if (conn->watch.events)
        loop_watch(conn->db->loop, &conn->watch, 0);
    list_remove(&conn->dirty);
    PQfinish(conn->pg);
    conn->pg = NULL;
    free(conn->prepared);
    conn->prepared = NULL;
    conn->prepared_room = 0;
    conn->blocked = conn->retiring = conn->ending = false;
    conn->stray_cancels = 0;
}

static void log_trouble(enum log_level level, const char *message, const struct db_conn *conn, const char *reason)
{
    char text[DB_MESSAGE_BYTES];
    db_explain(reason, text, sizeof text);
    log_event(level, message, log_text("peer", conn->db->peer), log_text("error", text));
}

/* From half of it to the whole, doubling from 100 ms to 2 s. */
static int64_t rest_ns(unsigned failures)
{
    unsigned doublings = failures > REST_DOUBLINGS_MAX ? REST_DOUBLINGS_MAX : failures;
    int64_t longest = rest_ns_least << doublings;
    if (longest > rest_ns_most)
        longest = rest_ns_most;
    return longest / 2 + (int64_t)(random_unit() * (double)(longest / 2));
}

static void rest(struct db_conn *conn, int64_t for_ns)
{
    conn->state = DB_CONN_RESTING;
    loop_timer_start(conn->db->loop, &conn->timer, clock_now_ns() + for_ns);
}

/* The attempt has failed. Told once until a connection works again. */
static void attempt_failed(struct db_conn *conn, const char *reason)
{
    struct db *db = conn->db;
    log_trouble(db->outage ? LOG_DEBUG : LOG_WARN, "database connection failed", conn, reason);
    db->outage = true;
    close_socket(conn);
    conn->hopeful = false;
    rest(conn, rest_ns(conn->failures));
    conn->failures++;
    db_queue_check(db);
}

static void attempt_timed_out(struct db_conn *conn)
{
    attempt_failed(conn, "timed out");
}

static void connected(struct db_conn *conn)
{
    struct db *db = conn->db;
    if (PQsetnonblocking(conn->pg, 1) || !PQenterPipelineMode(conn->pg)) {
        attempt_failed(conn, PQerrorMessage(conn->pg));
        return;
    }
    loop_timer_stop(db->loop, &conn->timer);
    conn->state = DB_CONN_UP;
    conn->hopeful = false;
    conn->failures = 0;
    db->stats.reconnects += conn->was_up;
    conn->was_up = true;
    if (db->outage)
        log_event(LOG_INFO, "database connected again", log_text("peer", db->peer));
    db->outage = false;
    conn->watch.ready = db_conn_ready;
    conn->watch.fd = PQsocket(conn->pg);
    loop_watch(db->loop, &conn->watch, EPOLLIN);
}

static void connect_step(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct db_conn *conn = container_of(watch, struct db_conn, watch);
    /* Libpq may close this socket for another address's, which may get the same number. */
    loop_watch(conn->db->loop, watch, 0);
    PostgresPollingStatusType status = PQconnectPoll(conn->pg);
    if (status == PGRES_POLLING_OK) {
        connected(conn);
    } else if (status == PGRES_POLLING_FAILED) {
        attempt_failed(conn, PQerrorMessage(conn->pg));
    } else {
        watch->fd = PQsocket(conn->pg);
        loop_watch(conn->db->loop, watch, status == PGRES_POLLING_READING ? EPOLLIN : EPOLLOUT);
    }
}

static void add(struct dial *dial, const char *keyword, const char *value)
{
    dial->keywords[dial->count] = keyword;
    dial->values[dial->count++] = value;
}

static void add_unless_set(struct dial *dial, const struct db *db, const char *keyword, const char *value)
{
    if (!db_option(db, keyword))
        add(dial, keyword, value);
}

static bool replaced(const char *keyword, const struct db_target *target, const char *password)
{
    if (strcmp(keyword, "options") == 0 || strcmp(keyword, "client_encoding") == 0)
        return true;
    if (password && strcmp(keyword, "password") == 0)
        return true;
    return target->hosts &&
           (strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0 || strcmp(keyword, "port") == 0);
}

static PGconn *dial(const struct db *db, const struct db_target *target, const char *password)
{
    struct dial dial = {.count = 0};
    const char *options = db_option(db, "options");
    scoped_free char *with_timeout = mem_print("%s%s-c statement_timeout=%d", options ? options : "",
                                               options ? " " : "", db->settings->statement_timeout_ms);
    for (const PQconninfoOption *o = db->options; o->keyword; o++)
        if (o->val && !replaced(o->keyword, target, password))
            add(&dial, o->keyword, o->val);
    if (target->hosts) {
        add(&dial, "host", target->hosts);
        add(&dial, "hostaddr", target->addresses);
        add(&dial, "port", target->ports);
    }
    add(&dial, "options", with_timeout);
    add(&dial, "client_encoding", "UTF8");
    if (password)
        add(&dial, "password", password);
    /* A peer that vanished without a word is noticed within a minute, also while nothing is asked. */
    add_unless_set(&dial, db, "keepalives_idle", "20");
    add_unless_set(&dial, db, "keepalives_interval", "10");
    add_unless_set(&dial, db, "keepalives_count", "3");
    add_unless_set(&dial, db, "tcp_user_timeout", "30000");
    add(&dial, NULL, NULL);
    return PQconnectStartParams(dial.keywords, dial.values, 0);
}

static void drop_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

static void attempt(struct db_conn *conn, const struct db_target *target)
{
    char message[DB_MESSAGE_BYTES], *password;
    if (!db_password(conn->db->settings, &password, message, sizeof message)) {
        attempt_failed(conn, message);
        return;
    }
    conn->pg = dial(conn->db, target, password);
    config_forget(password);
    if (!conn->pg || PQstatus(conn->pg) == CONNECTION_BAD) {
        attempt_failed(conn, conn->pg ? PQerrorMessage(conn->pg) : "out of memory");
        return;
    }
    PQsetNoticeReceiver(conn->pg, drop_notice, NULL);
    conn->state = DB_CONN_CONNECTING;
    conn->watch.ready = connect_step;
    conn->watch.fd = PQsocket(conn->pg);
    loop_watch(conn->db->loop, &conn->watch, EPOLLOUT);
    loop_timer_start(conn->db->loop, &conn->timer, clock_now_ns() + conn->db->settings->connect_timeout_ms * NS_PER_MS);
}

static void lookup_run(void *arg)
{
    struct db_lookup *lookup = arg;
    lookup->err = db_target_find(lookup->hosts, lookup->ports, lookup->turn, &lookup->target, lookup->message,
                                 sizeof lookup->message);
}

static void lookup_free(struct db_lookup *lookup)
{
    db_target_done(&lookup->target);
    free(lookup->hosts);
    free(lookup->ports);
    db_unref(lookup->db);
    free(lookup);
}

static void lookup_done(struct db_lookup *lookup, enum err err)
{
    struct db_conn *conn = lookup->conn;
    if (conn) {
        conn->lookup = NULL;
        if (err || lookup->err)
            attempt_failed(conn, err ? "too many name look-ups" : lookup->message);
        else
            attempt(conn, &lookup->target);
    }
    lookup_free(lookup);
}

static void lookup_fiber(void *arg)
{
    struct db_lookup *lookup = arg;
    struct worker worker = {.loop = lookup->db->loop};
    struct arena arena;
    struct request req;
    arena_init(&arena, 1024);
    request_init(&req, &arena, &worker);
    enum err err = offload_run(&req, lookup_run, lookup);
    arena_done(&arena);
    lookup_done(lookup, err);
}

static const char *option_or(const struct db *db, const char *keyword, const char *variable)
{
    const char *value = db_option(db, keyword);
    return value ? value : getenv(variable);
}

static struct db_lookup *lookup_new(struct db_conn *conn, const char *hosts)
{
    struct db *db = conn->db;
    const char *ports = option_or(db, "port", "PGPORT");
    struct db_lookup *lookup = mem_alloc(sizeof *lookup);
    lookup->db = db;
    lookup->conn = conn;
    lookup->hosts = mem_text(hosts);
    lookup->ports = mem_text(ports ? ports : "");
    lookup->turn = conn->attempts;
    conn->lookup = lookup;
    db->refs++;
    return lookup;
}

static void start(struct db_conn *conn)
{
    struct db *db = conn->db;
    const char *hosts = option_or(db, "host", "PGHOST");
    conn->state = DB_CONN_LOOKING_UP;
    conn->attempts++;
    if (!hosts || db_option(db, "hostaddr")) {
        attempt(conn, &(struct db_target){0});
        return;
    }
    struct db_lookup *lookup = lookup_new(conn, hosts);
    if (db_target_blocks(hosts)) {
        fiber_start(db->loop, lookup_fiber, lookup);
    } else {
        lookup_run(lookup);
        lookup_done(lookup, ERR_OK);
    }
}

static void timer_fired(struct loop_timer *timer)
{
    struct db_conn *conn = container_of(timer, struct db_conn, timer);
    if (conn->state == DB_CONN_CONNECTING)
        attempt_timed_out(conn);
    else
        start(conn);
}

void db_conn_init(struct db_conn *conn, struct db *db)
{
    conn->db = db;
    conn->timer.fire = timer_fired;
    conn->hopeful = true;
    list_init(&conn->sent);
    list_init(&conn->dirty);
}

void db_conn_start_soon(struct db_conn *conn)
{
    conn->hopeful = true;
    rest(conn, 0);
}

/* What was sent has no answer and gets none. */
static void fail_sent(struct db_conn *conn)
{
    if (conn->tx)
        conn->tx->conn = NULL;
    conn->tx = NULL;
    conn->in_flight = 0;
    for (struct list *node = list_take(&conn->sent); node; node = list_take(&conn->sent)) {
        struct db_op *op = container_of(node, struct db_op, list);
        db_op_error(op, ERR_UNAVAILABLE, "", "");
        if (op->batch)
            db_batch_done(op);
        else
            db_op_finish(op);
    }
}

void db_conn_lose(struct db_conn *conn, const char *reason)
{
    if (reason)
        log_trouble(LOG_WARN, "database connection lost", conn, reason);
    conn->db->outage |= reason != NULL;
    close_socket(conn);
    fail_sent(conn);
    if (reason)
        rest(conn, rest_ns(conn->failures++));
    else
        db_conn_start_soon(conn);
    db_queue_check(conn->db);
}

void db_conn_done(struct db_conn *conn)
{
    if (conn->lookup)
        conn->lookup->conn = NULL;
    close_socket(conn);
    fail_sent(conn);
}
