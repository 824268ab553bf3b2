/* Who is sent where. Queries fill one connection before the next is used: the server then finds several at once in
 * its socket and sleeps and wakes less. A connection that has not answered for a moment is busy with something slow,
 * and passed over. Batches, which write and may wait for locks, prefer the other end. */
#include "common/mem.h"
#include "common/request.h"
#include "db/internal.h"

bool db_hopeful(const struct db *db, bool transactions)
{
    for (unsigned i = 0; i < db->conn_count; i++) {
        const struct db_conn *conn = &db->conns[i];
        if (db_conn_shared(conn) != transactions && (conn->state == DB_CONN_UP || conn->hopeful))
            return true;
    }
    return false;
}

static bool takes_more(const struct db_conn *conn)
{
    return conn->state == DB_CONN_UP && !conn->retiring && !conn->blocked && conn->in_flight < DB_DEPTH_MAX;
}

static bool flows(const struct db_conn *conn, int64_t now_ns)
{
    return conn->in_flight == 0 || (conn->in_flight < DB_FILL && now_ns - conn->progress_ns < DB_FLOW_NS);
}

static struct db_conn *least_busy(struct db *db, bool batch)
{
    struct db_conn *best = NULL;
    unsigned count = (unsigned)db->settings->connections;
    for (unsigned i = 0; i < count; i++) {
        struct db_conn *conn = &db->conns[batch ? count - 1 - i : i];
        if (takes_more(conn) && (!best || conn->in_flight < best->in_flight))
            best = conn;
    }
    return best;
}

static struct db_conn *choose(struct db *db, bool batch)
{
    for (unsigned i = 0; !batch && i < (unsigned)db->settings->connections; i++)
        if (takes_more(&db->conns[i]) && flows(&db->conns[i], loop_now_ns(db->loop)))
            return &db->conns[i];
    return least_busy(db, batch);
}

void db_queue_pump(struct db *db)
{
    while (!list_empty(&db->queue)) {
        struct db_op *op = container_of(db->queue.next, struct db_op, list);
        struct db_conn *conn = choose(db, op->batch);
        if (!conn)
            return;
        list_remove(&op->list);
        if (!op->batch || db_batch_fill(op))
            db_conn_send(conn, op);
    }
}

void db_queue_fail(struct db *db)
{
    for (struct list *node = list_take(&db->queue); node; node = list_take(&db->queue)) {
        struct db_op *op = container_of(node, struct db_op, list);
        if (op->batch)
            db_batch_fail(op);
        else
            db_op_fail(op, ERR_UNAVAILABLE);
    }
}

void db_begins_fail(struct db *db)
{
    for (struct list *node = list_take(&db->begins); node; node = list_take(&db->begins))
        db_op_fail(container_of(node, struct db_op, list), ERR_UNAVAILABLE);
}

void db_queue_check(struct db *db)
{
    if (!db_hopeful(db, false))
        db_queue_fail(db);
    if (!db_hopeful(db, true))
        db_begins_fail(db);
}

static enum err query(struct request *req, struct db *db, const struct db_statement *statement,
                      const struct db_value *params, struct db_answer *answer)
{
    struct db_op *op;
    struct db_known *known = db_know(db, statement);
    if (!db_hopeful(db, false))
        return db_unavailable(req, db);
    enum err err = db_op_admit(req, db, known, params, &op);
    if (err)
        return err;
    if (statement->coalesce_rows > 0) {
        list_append(&known->rows, &op->list);
        db_coalesce_ready(known, db);
    } else {
        list_append(&db->queue, &op->list);
    }
    return db_op_wait(req, op, answer);
}

enum err db_query(struct request *req, const struct db_statement *statement, const struct db_value *params,
                  struct db_rows *rows)
{
    struct db *db = req->worker->db;
    struct db_answer answer = {0};
    struct call call;
    enum err err = db_call_begin(req, db, statement, &call);
    if (!err)
        err = query(req, db, statement, params, &answer);
    db_call_end(req, &call, err, &answer);
    if (!err && rows)
        *rows = answer.rows;
    return err;
}
