/* The database as a whole: opening, closing, its turn of the loop, and the statements that it knows. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/request.h"
#include "db/internal.h"

enum { KNOWN_ROOM_LEAST = 64, WATCHDOG_MS = 1000 };

const char *db_option(const struct db *db, const char *keyword)
{
    for (const PQconninfoOption *o = db->options; o->keyword; o++)
        if (strcmp(o->keyword, keyword) == 0)
            return o->val;
    return NULL;
}

/* host:port of the first host. */
static char *peer_name(const struct db *db)
{
    const char *host = db_option(db, "host"), *port = db_option(db, "port");
    if (!host)
        host = db_option(db, "hostaddr");
    if (!host || !*host)
        host = "localhost";
    if (!port || !*port)
        port = "5432";
    return mem_print("%.*s:%.*s", (int)strcspn(host, ","), host, (int)strcspn(port, ","), port);
}

static size_t known_slot(const struct db *db, const struct db_statement *statement)
{
    size_t mask = db->known_room - 1;
    size_t slot = ((uintptr_t)statement >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 32 & mask;
    while (db->known[slot] && db->known[slot]->statement != statement)
        slot = (slot + 1) & mask;
    return slot;
}

static void known_grow(struct db *db)
{
    struct db_known **old = db->known;
    unsigned old_room = db->known_room;
    db->known_room = old_room ? old_room * 2 : KNOWN_ROOM_LEAST;
    db->known = mem_array(db->known_room, sizeof *db->known);
    for (unsigned i = 0; i < old_room; i++)
        if (old[i])
            db->known[known_slot(db, old[i]->statement)] = old[i];
    free(old);
}

/* Wrong letters and doubled names are mistakes in our own tables. */
static struct db_known *known_new(const struct db *db, const struct db_statement *statement)
{
    for (unsigned i = 0; i < db->known_room; i++)
        assert(!db->known[i] || strcmp(db->known[i]->statement->name, statement->name) != 0);
    struct db_known *known = mem_alloc(sizeof *known);
    known->statement = statement;
    known->id = db->known_count;
    known->param_count = (unsigned)strlen(statement->params);
    known->column_count = (unsigned)strlen(statement->columns);
    list_init(&known->rows);
    assert(known->param_count <= DB_PARAMS_MAX);
    for (unsigned i = 0; i < known->param_count; i++) {
        char letter = statement->params[i];
        known->params[i] = statement->coalesce_rows ? db_letter_array_oid(letter) : db_letter_oid(letter);
        assert(known->params[i]);
    }
    for (unsigned i = 0; i < known->column_count; i++)
        assert(db_letter_array_oid(statement->columns[i]));
    return known;
}

struct db_known *db_know(struct db *db, const struct db_statement *statement)
{
    struct db_known *known = db->known[known_slot(db, statement)];
    if (known)
        return known;
    known = known_new(db, statement);
    if (++db->known_count * 2 > db->known_room)
        known_grow(db);
    db->known[known_slot(db, statement)] = known;
    return known;
}

enum err db_call_begin(struct request *req, const struct db *db, const struct db_statement *statement,
                       struct call *call)
{
    *call = (struct call){.kind = CALL_DB,
                          .name = statement->name,
                          .method = statement->summary,
                          .text = statement->sql,
                          .peer = db->peer,
                          .place = db->name};
    return call_begin(req, call);
}

void db_call_end(struct request *req, struct call *call, enum err err, const struct db_answer *answer)
{
    call->items = err ? 0 : answer->rows.count;
    call->code = answer->sqlstate;
    call->status = (int)err;
    call_end(req, call, err);
}

static void flush_dirty(struct db *db)
{
    for (struct list *node = list_take(&db->dirty); node; node = list_take(&db->dirty))
        db_conn_flush(container_of(node, struct db_conn, dirty));
}

static void loop_is_idle(struct loop_hook *hook)
{
    struct db *db = container_of(hook, struct db, hook);
    db_queue_pump(db);
    db_tx_pump(db);
    flush_dirty(db);
}

/* A server that answers nothing for longer than it may spend on a statement is gone, whatever TCP believes. */
static void watchdog_fired(struct loop_timer *timer)
{
    struct db *db = container_of(timer, struct db, watchdog);
    int64_t silence_ns = (db->settings->statement_timeout_ms + DB_SILENCE_GRACE_MS) * NS_PER_MS;
    bool busy = false;
    for (unsigned i = 0; i < db->conn_count; i++) {
        struct db_conn *conn = &db->conns[i];
        if (conn->in_flight > 0 && loop_now_ns(db->loop) - conn->progress_ns > silence_ns)
            db_conn_lose(conn, "no answer for longer than the statement timeout");
        busy |= conn->in_flight > 0;
    }
    if (busy)
        loop_timer_start(db->loop, timer, clock_now_ns() + WATCHDOG_MS * NS_PER_MS);
}

void db_watch_silence(struct db *db)
{
    if (!db->watchdog.index && db->settings->statement_timeout_ms > 0)
        loop_timer_start(db->loop, &db->watchdog, clock_now_ns() + WATCHDOG_MS * NS_PER_MS);
}

static void open_conns(struct db *db)
{
    db->conn_count = (unsigned)(db->settings->connections + db->settings->transactions);
    db->conns = mem_array(db->conn_count, sizeof *db->conns);
    for (unsigned i = 0; i < db->conn_count; i++) {
        db_conn_init(&db->conns[i], db);
        if (db_conn_shared(&db->conns[i]))
            db_conn_start_soon(&db->conns[i]);
    }
}

struct db *db_open(struct loop *loop, const struct db_settings *settings)
{
    assert(settings->connections > 0 && settings->transactions >= 0 && settings->queue_max > 0);
    PQconninfoOption *options = PQconninfoParse(settings->url, NULL);
    if (!options) {
        /* libpq's reason quotes the url, and with it a password. */
        log_event(LOG_ERROR, "the database's url cannot be read: expected postgres://user:password@host:port/database");
        return NULL;
    }
    struct db *db = mem_alloc(sizeof *db);
    db->loop = loop;
    db->settings = settings;
    db->options = options;
    db->peer = peer_name(db);
    db->name = db_option(db, "dbname");
    db->refs = 1;
    list_init(&db->queue);
    list_init(&db->begins);
    list_init(&db->dirty);
    list_init(&db->free);
    list_init(&db->cancels);
    known_grow(db);
    db->hook.idle = loop_is_idle;
    db->watchdog.fire = watchdog_fired;
    db->cancel_timer.fire = db_cancel_look;
    loop_hook_add(loop, &db->hook);
    open_conns(db);
    return db;
}

void db_unref(struct db *db)
{
    if (--db->refs > 0)
        return;
    for (unsigned i = 0; i < db->known_room; i++)
        free(db->known[i]);
    free(db->known);
    free(db->conns);
    free(db->peer);
    PQconninfoFree(db->options);
    free(db);
}

/* Operations come back to the free list only while the db is open. */
static void free_ops(struct db *db)
{
    for (struct list *node = list_take(&db->free); node; node = list_take(&db->free))
        db_op_free(container_of(node, struct db_op, list));
}

void db_close(struct db *db)
{
    if (!db)
        return;
    db->closed = true;
    loop_hook_remove(db->loop, &db->hook);
    loop_timer_stop(db->loop, &db->watchdog);
    loop_timer_stop(db->loop, &db->cancel_timer);
    for (unsigned i = 0; i < db->conn_count; i++)
        db_conn_done(&db->conns[i]);
    db_queue_fail(db);
    db_begins_fail(db);
    free_ops(db);
    db_unref(db);
}

bool db_up(const struct db *db)
{
    for (unsigned i = 0; i < (unsigned)db->settings->connections; i++)
        if (db->conns[i].state == DB_CONN_UP)
            return true;
    return false;
}

struct db_stats db_stats(const struct db *db)
{
    struct db_stats stats = db->stats;
    for (unsigned i = 0; i < db->conn_count; i++)
        stats.connections_up += db->conns[i].state == DB_CONN_UP;
    stats.in_flight = db->sent;
    stats.waiting = db->load - db->sent;
    return stats;
}
