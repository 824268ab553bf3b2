/* Transactions: a connection of one's own from the pool, until commit or rollback.
 * "begin" rides with the first statement, in the same step, so that it costs no round trip and nothing can run without
 * it. */
#include <stdlib.h>

#include "common/mem.h"
#include "common/request.h"
#include "db/internal.h"

static const struct db_statement commit_statement = {
    .name = "commit", .summary = "COMMIT", .sql = "commit", .params = "", .columns = ""};
static const struct db_statement rollback_statement = {
    .name = "rollback", .summary = "ROLLBACK", .sql = "rollback", .params = "", .columns = ""};

void db_tx_conn_free(struct db_conn *conn)
{
    if (conn->tx)
        conn->tx->conn = NULL;
    conn->tx = NULL;
    conn->ending = false;
}

static struct db_conn *idle_conn(struct db *db)
{
    for (unsigned i = (unsigned)db->settings->connections; i < db->conn_count; i++) {
        struct db_conn *conn = &db->conns[i];
        if (conn->state == DB_CONN_UP && !conn->tx && !conn->ending && !conn->retiring)
            return conn;
    }
    return NULL;
}

/* They connect when the first transaction asks for one. */
static void start_conns(struct db *db)
{
    for (unsigned i = (unsigned)db->settings->connections; i < db->conn_count; i++)
        if (db->conns[i].state == DB_CONN_NEW)
            db_conn_start_soon(&db->conns[i]);
}

void db_tx_pump(struct db *db)
{
    while (!list_empty(&db->begins)) {
        struct db_conn *conn = idle_conn(db);
        if (!conn) {
            start_conns(db);
            return;
        }
        struct db_op *op = container_of(list_take(&db->begins), struct db_op, list);
        conn->tx = op->tx;
        op->tx->conn = conn;
        db_op_finish(op);
    }
}

static void tx_free(struct db_tx *tx)
{
    if (tx->conn)
        db_tx_conn_free(tx->conn);
    db_unref(tx->db);
    free(tx);
}

enum err db_begin(struct request *req, struct db_tx **out)
{
    struct db *db = req->worker->db;
    struct db_answer answer = {0};
    struct db_op *op;
    if (!db_hopeful(db, true))
        return db_unavailable(req, db);
    enum err err = db_op_admit(req, db, NULL, NULL, &op);
    if (err)
        return err;
    struct db_tx *tx = mem_alloc(sizeof *tx);
    tx->db = db;
    db->refs++;
    op->tx = tx;
    list_append(&db->begins, &op->list);
    err = db_op_wait(req, op, &answer);
    if (err)
        tx_free(tx);
    else
        *out = tx;
    return err;
}

/* Whoever leaves in the middle of a statement leaves a connection in doubt: it is closed, which rolls back. A server
 * notices that only between statements, so what runs is cancelled first. */
static enum err run(struct request *req, struct db_tx *tx, struct db_op *op, struct db_answer *answer)
{
    db_conn_send(tx->conn, op);
    enum err err = db_op_wait(req, op, answer);
    if (answer->doubted) {
        db_cancel(answer->doubted);
        db_conn_lose(answer->doubted, NULL);
    }
    return err;
}

static enum err tx_query(struct request *req, struct db_tx *tx, const struct db_statement *statement,
                         const struct db_value *params, struct db_answer *answer)
{
    struct db_op *op;
    if (!tx->conn)
        return db_unavailable(req, tx->db);
    enum err err = db_op_admit(req, tx->db, db_know(tx->db, statement), params, &op);
    if (err)
        return err;
    op->begins = !tx->begun;
    tx->begun = true;
    return run(req, tx, op, answer);
}

enum err db_tx_query(struct request *req, struct db_tx *tx, const struct db_statement *statement,
                     const struct db_value *params, struct db_rows *rows)
{
    struct db_answer answer = {0};
    struct call call;
    enum err err = db_call_begin(req, tx->db, statement, &call);
    if (!err)
        err = tx_query(req, tx, statement, params, &answer);
    db_call_end(req, &call, err, &answer);
    if (!err && rows)
        *rows = answer.rows;
    tx->failed |= err != ERR_OK;
    return err;
}

static enum err commit(struct request *req, struct db_tx *tx, struct db_answer *answer)
{
    struct db_op *op;
    if (!tx->conn)
        return db_unavailable(req, tx->db);
    enum err err = db_op_admit(req, tx->db, db_know(tx->db, &commit_statement), DB_NO_PARAMS, &op);
    if (err)
        return err;
    op->ends = true;
    tx->begun = false; /* nothing is left to roll back, or the connection is gone */
    return run(req, tx, op, answer);
}

enum err db_commit(struct request *req, struct db_tx *tx)
{
    struct call call;
    struct db_answer answer = {0};
    enum err err = db_call_begin(req, tx->db, &commit_statement, &call);
    if (!err && tx->failed && tx->conn)
        err = fail(req, ERR_ABORTED, "a statement of the transaction failed");
    if (!err && (tx->begun || !tx->conn))
        err = commit(req, tx, &answer);
    db_call_end(req, &call, err, &answer);
    db_rollback(tx);
    return err;
}

/* Nobody waits for it: the connection is free again when the server has answered. */
static void send_rollback(struct db_conn *conn)
{
    struct db_op *op = db_op_take(conn->db, db_know(conn->db, &rollback_statement));
    op->ends = true;
    conn->tx = NULL;
    conn->ending = true;
    db_conn_send(conn, op);
}

void db_rollback(struct db_tx *tx)
{
    if (!tx)
        return;
    if (tx->conn && tx->begun) {
        send_rollback(tx->conn);
        tx->conn = NULL;
    }
    tx_free(tx);
}
