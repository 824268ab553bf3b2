/* What nobody waits for any more is ended in the server too. A cancel request ends whatever its connection runs at the
 * moment, so it is sent only while the statement at the head has been deserted; should the next one be hit instead, it
 * has not happened and is sent again (pipeline.c). The request blocks: one at a time goes to the offload pool. The
 * server's statement_timeout stands behind all of this. */
#include <stdlib.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/offload.h"
#include "common/request.h"
#include "db/internal.h"

/* PostgreSQL signals a connection's process and then its process group, of which it is the only one: a request may hit
 * two statements. */
enum { LOOK_MS = 20, AGAIN_MS = 200, CANCELS_MAX = 16, REASON_BYTES = 256, HITS_OF_A_CANCEL = 2 };

struct db_cancel {
    struct list list;
    PGcancel *ticket;
    bool sent;
};

static void run_cancel(void *arg)
{
    struct db_cancel *cancel = arg;
    char reason[REASON_BYTES];
    cancel->sent = PQcancel(cancel->ticket, reason, sizeof reason) == 1;
}

static void run_cancels(void *arg)
{
    struct db *db = arg;
    struct worker worker = {.loop = db->loop};
    struct arena arena;
    struct request req;
    arena_init(&arena, 1024);
    request_init(&req, &arena, &worker);
    while (!list_empty(&db->cancels)) {
        struct db_cancel *cancel = container_of(list_take(&db->cancels), struct db_cancel, list);
        db->cancel_count--;
        if (!offload_run(&req, run_cancel, cancel) && cancel->sent)
            db->stats.cancels++;
        else
            db->stats.cancels_failed++;
        PQfreeCancel(cancel->ticket);
        free(cancel);
    }
    db->cancelling = false;
    arena_done(&arena);
    db_unref(db);
}

void db_cancel(struct db_conn *conn)
{
    struct db *db = conn->db;
    PGcancel *ticket = db->cancel_count < CANCELS_MAX ? PQgetCancel(conn->pg) : NULL;
    if (!ticket) {
        db->stats.cancels_failed++;
        return;
    }
    struct db_cancel *cancel = mem_alloc(sizeof *cancel);
    cancel->ticket = ticket;
    list_append(&db->cancels, &cancel->list);
    db->cancel_count++;
    conn->cancelled_ns = loop_now_ns(db->loop);
    conn->stray_cancels += HITS_OF_A_CANCEL;
    if (db->cancelling)
        return;
    db->cancelling = true;
    db->refs++;
    fiber_start(db->loop, run_cancels, db);
}

/* --- who is to be cancelled */

static bool deserted(const struct db_op *op)
{
    if (!op->batch)
        return !op->req && !op->ends;
    for (unsigned i = 0; i < op->member_count; i++)
        if (op->members[i]->req)
            return false;
    return true;
}

static bool has_deserted(const struct db_conn *conn)
{
    list_each (node, &conn->sent)
        if (deserted(container_of(node, struct db_op, list)))
            return true;
    return false;
}

static bool head_is_due(const struct db_conn *conn, int64_t now_ns)
{
    return deserted(container_of(conn->sent.next, struct db_op, list)) &&
           now_ns - conn->progress_ns >= LOOK_MS * NS_PER_MS && now_ns - conn->cancelled_ns >= AGAIN_MS * NS_PER_MS;
}

void db_cancel_look(struct loop_timer *timer)
{
    struct db *db = container_of(timer, struct db, cancel_timer);
    bool again = false;
    for (unsigned i = 0; i < db->conn_count; i++) {
        struct db_conn *conn = &db->conns[i];
        if (conn->state != DB_CONN_UP || list_empty(&conn->sent) || !has_deserted(conn))
            continue;
        again = true;
        if (head_is_due(conn, loop_now_ns(db->loop)))
            db_cancel(conn);
    }
    if (again)
        loop_timer_start(db->loop, timer, clock_now_ns() + LOOK_MS * NS_PER_MS);
}

void db_cancel_soon(struct db *db)
{
    if (!db->cancel_timer.index)
        loop_timer_start(db->loop, &db->cancel_timer, clock_now_ns() + LOOK_MS * NS_PER_MS);
}
