/* Statements onto a connection and answers from it, first in, first out. Each statement ends with a sync point of its
 * own: an error skips what is left of that statement alone. Nothing is sent here; db_conn_flush() does, once a turn. */
#include <openssl/ssl.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/mem.h"
#include "db/internal.h"
#include "db/sqlstate.h"

static const int all_binary[DB_PARAMS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                              1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static void mark_dirty(struct db_conn *conn)
{
    if (list_empty(&conn->dirty))
        list_append(&conn->db->dirty, &conn->dirty);
}

static bool *prepared(struct db_conn *conn, const struct db_known *known)
{
    if (known->id >= conn->prepared_room) {
        unsigned room = conn->db->known_room;
        conn->prepared = mem_resize(conn->prepared, room, sizeof *conn->prepared);
        memset(conn->prepared + conn->prepared_room, 0, (room - conn->prepared_room) * sizeof *conn->prepared);
        conn->prepared_room = room;
    }
    return &conn->prepared[known->id];
}

static bool send_begin(struct db_conn *conn, struct db_op *op)
{
    op->leading++;
    return PQsendQueryParams(conn->pg, "begin", 0, NULL, NULL, NULL, NULL, 1);
}

static bool send_prepare(struct db_conn *conn, struct db_op *op)
{
    const struct db_known *known = op->known;
    op->leading++;
    op->prepares = true;
    *prepared(conn, known) = true;
    return PQsendPrepare(conn->pg, known->statement->name, known->statement->sql, (int)known->param_count,
                         known->params);
}

static bool send_execute(struct db_conn *conn, const struct db_op *op)
{
    const char *values[DB_PARAMS_MAX] = {NULL}, *next = op->params.data;
    int lengths[DB_PARAMS_MAX] = {0};
    for (unsigned i = 0; i < op->known->param_count; i++) {
        lengths[i] = db_get_int32(next);
        next += sizeof lengths[i];
        if (lengths[i] >= 0) {
            values[i] = next;
            next += lengths[i];
        }
    }
    return PQsendQueryPrepared(conn->pg, op->known->statement->name, (int)op->known->param_count, values, lengths,
                               all_binary, 1);
}

static bool send_statement(struct db_conn *conn, struct db_op *op)
{
    op->leading = 0;
    op->prepares = false;
    if (op->batch)
        db_batch_encode(op);
    if (op->begins && !send_begin(conn, op))
        return false;
    if (!*prepared(conn, op->known) && !send_prepare(conn, op))
        return false;
    return send_execute(conn, op) && PQpipelineSync(conn->pg);
}

void db_conn_send(struct db_conn *conn, struct db_op *op)
{
    if (conn->in_flight++ == 0)
        conn->progress_ns = loop_now_ns(conn->db->loop);
    list_append(&conn->sent, &op->list);
    op->conn = conn;
    db_op_mark_sent(op, true);
    mark_dirty(conn);
    db_watch_silence(conn->db);
    if (!send_statement(conn, op))
        db_conn_lose(conn, PQerrorMessage(conn->pg));
}

void db_conn_flush(struct db_conn *conn)
{
    int left = PQflush(conn->pg);
    if (left < 0) {
        db_conn_lose(conn, PQerrorMessage(conn->pg));
        return;
    }
    uint32_t events = left ? EPOLLIN | EPOLLOUT : EPOLLIN;
    conn->blocked = left > 0;
    if (conn->watch.events != events)
        loop_watch(conn->db->loop, &conn->watch, events);
}

/* Errors that say only that the server's prepared statement is not what we thought it is: nothing was executed. */
static bool forgotten(struct db_conn *conn, const struct db_op *op)
{
    bool *known = prepared(conn, op->known);
    if (strcmp(op->sqlstate, "26000") == 0) /* no such statement: its prepare had failed */
        *known = false;
    else if (strcmp(op->sqlstate, "42P05") == 0) /* exists already */
        *known = true;
    else if (strcmp(op->sqlstate, "0A000") == 0 && !op->prepares) /* its result type has changed */
        conn->retiring = true;
    else
        return false;
    return true;
}

/* A cancel request came too late for the deserted statement that it was meant for and hit this one, which therefore
 * has not happened. */
static bool hit_by_stray_cancel(struct db_conn *conn, const struct db_op *op)
{
    if (conn->stray_cancels == 0 || strcmp(op->sqlstate, "57014") != 0)
        return false;
    conn->stray_cancels--;
    return true;
}

/* Puts it at the head of the queue once more. */
static void retry(struct db_op *op)
{
    op->retries++;
    op->err = ERR_OK;
    op->sqlstate[0] = op->message[0] = '\0';
    op->conn = NULL;
    db_op_mark_sent(op, false);
    list_append(op->db->queue.next, &op->list);
}

static bool worth_a_retry(struct db_conn *conn, const struct db_op *op)
{
    bool not_executed = op->err && (hit_by_stray_cancel(conn, op) || (op->err == ERR_INTERNAL && forgotten(conn, op)));
    return not_executed && (op->req || op->batch) && db_conn_shared(conn) && op->retries < DB_RETRIES_MAX;
}

static void transaction_ended(struct db_conn *conn)
{
    if (PQtransactionStatus(conn->pg) == PQTRANS_IDLE)
        db_tx_conn_free(conn);
    else
        db_conn_lose(conn, NULL);
}

static void statement_done(struct db_conn *conn, struct db_op *op)
{
    bool ends = op->ends, again = worth_a_retry(conn, op);
    list_remove(&op->list);
    conn->in_flight--;
    if (conn->in_flight == 0 && !conn->db->cancelling)
        conn->stray_cancels = 0; /* an idle server forgets them */
    if (again)
        retry(op);
    else if (op->batch)
        db_batch_done(op);
    else
        db_op_finish(op);
    if (ends)
        transaction_ended(conn);
    if (conn->retiring && conn->in_flight == 0 && !conn->tx && !conn->ending)
        db_conn_lose(conn, NULL);
}

static void statement_failed(struct db_conn *conn, struct db_op *op, const PGresult *result)
{
    if (op->leading > 0 && op->prepares)
        *prepared(conn, op->known) = false;
    db_op_result_error(op, result);
}

static void statement_result(struct db_op *op, const PGresult *result)
{
    if (op->leading > 0)
        op->leading--;
    else if (op->batch)
        db_batch_result(op, result);
    else
        db_op_result(op, result);
}

static void take_result(struct db_conn *conn, const PGresult *result)
{
    struct db_op *op = container_of(conn->sent.next, struct db_op, list);
    switch (PQresultStatus(result)) {
    case PGRES_PIPELINE_SYNC:
        statement_done(conn, op);
        break;
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        statement_result(op, result);
        break;
    case PGRES_PIPELINE_ABORTED:
        break;
    case PGRES_FATAL_ERROR:
        statement_failed(conn, op, result);
        break;
    default:
        db_conn_lose(conn, "an answer of an unexpected kind");
    }
}

/* A NULL ends each statement's results; two in a row are the end of what libpq knows of. */
static void read_results(struct db_conn *conn)
{
    bool after_null = false;
    while (!PQisBusy(conn->pg) && conn->in_flight > 0) {
        PGresult *result = PQgetResult(conn->pg);
        if (!result && after_null)
            return;
        after_null = !result;
        if (result)
            take_result(conn, result);
        PQclear(result);
    }
}

/* Bytes that OpenSSL has read from the socket and libpq has not asked for: epoll does not tell of them. The server's
 * records always fit libpq's buffer, larger ones of a proxy need not. */
static bool tls_has_more(struct db_conn *conn)
{
    SSL *tls = conn->state == DB_CONN_UP ? PQsslStruct(conn->pg, "OpenSSL") : NULL;
    return tls && SSL_pending(tls) > 0;
}

void db_conn_ready(struct loop_watch *watch, uint32_t events)
{
    struct db_conn *conn = container_of(watch, struct db_conn, watch);
    int alive;
    if (events & EPOLLOUT)
        mark_dirty(conn);
    conn->progress_ns = loop_now_ns(conn->db->loop);
    do {
        alive = PQconsumeInput(conn->pg);
        read_results(conn);
    } while (alive && tls_has_more(conn));
    if (conn->state == DB_CONN_UP && (!alive || PQstatus(conn->pg) == CONNECTION_BAD))
        db_conn_lose(conn, PQerrorMessage(conn->pg));
}
