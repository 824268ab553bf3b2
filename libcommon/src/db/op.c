/* Operations: their life from a caller's call to the answer, whether or not the caller still waits. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/request.h"
#include "db/internal.h"
#include "db/sqlstate.h"

struct db_op *db_op_take(struct db *db, struct db_known *known)
{
    struct list *node = list_take(&db->free);
    struct db_op *op;
    if (node) {
        op = container_of(node, struct db_op, list);
        db->free_count--;
    } else {
        op = mem_alloc(sizeof *op);
        list_init(&op->list);
    }
    op->db = db;
    op->known = known;
    db->refs++;
    return op;
}

void db_op_free(struct db_op *op)
{
    db_buffer_done(&op->params);
    free(op->members);
    free(op);
}

/* Ready for its next use; the buffers stay unless they have grown large. */
static void op_clear(struct db_op *op)
{
    struct db_buffer params = op->params;
    struct db_op **members = op->members;
    unsigned room = op->member_room;
    if (params.room > DB_KEPT_BYTES_MAX)
        db_buffer_done(&params);
    params.size = 0;
    memset(op, 0, offsetof(struct db_op, message));
    op->message[0] = '\0';
    op->params = params;
    op->cursor = 0;
    op->rows = (struct db_rows){0};
    op->values = NULL;
    op->tx = NULL;
    op->members = members;
    op->member_count = 0;
    op->member_room = room;
    list_init(&op->list);
}

void db_op_give(struct db_op *op)
{
    struct db *db = op->db;
    if (db->closed || db->free_count >= DB_FREE_OPS_MAX) {
        db_op_free(op);
    } else {
        op_clear(op);
        list_append(&db->free, &op->list);
        db->free_count++;
    }
    db_unref(db);
}

static void put_params(struct db_op *op, const struct db_value *params)
{
    const char *letters = op->known->statement->params;
    for (unsigned i = 0; i < op->known->param_count; i++) {
        assert(params[i].type == letters[i]);
        db_put_value(&op->params, &params[i]);
    }
}

enum err db_op_admit(struct request *req, struct db *db, struct db_known *known, const struct db_value *params,
                     struct db_op **out)
{
    enum err err = request_check(req);
    if (err)
        return err;
    if (db->load >= (unsigned)db->settings->queue_max) {
        db->stats.refused++;
        return fail(req, ERR_UNAVAILABLE, "database overloaded");
    }
    struct db_op *op = db_op_take(db, known);
    op->req = req;
    op->counted = true;
    db->load++;
    if (known) {
        db->stats.queries++;
        put_params(op, params);
    }
    *out = op;
    return ERR_OK;
}

void db_op_mark_sent(struct db_op *op, bool sent)
{
    if (!op->counted || op->sent == sent)
        return;
    op->sent = sent;
    if (sent)
        op->db->sent++;
    else
        op->db->sent--;
}

static void uncount(struct db_op *op)
{
    db_op_mark_sent(op, false);
    if (op->counted)
        op->db->load--;
    op->counted = false;
}

void db_op_error(struct db_op *op, enum err err, const char *sqlstate, const char *message)
{
    if (op->err)
        return;
    op->err = err;
    snprintf(op->sqlstate, sizeof op->sqlstate, "%s", sqlstate);
    snprintf(op->message, sizeof op->message, "%s", message);
}

/* The server's primary message only; those of class 22 quote the value. */
void db_op_result_error(struct db_op *op, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    db_op_error(op, db_sqlstate_err(sqlstate), sqlstate ? sqlstate : "", message ? message : "");
    if (strncmp(op->sqlstate, "22", 2) == 0)
        op->message[strcspn(op->message, "\"")] = '\0';
}

void db_op_finish(struct db_op *op)
{
    uncount(op);
    op->answered = true;
    if (op->err && op->req)
        op->db->stats.errors++;
    if (op->req)
        fiber_wake(&op->wait, ERR_OK);
    else
        db_op_give(op);
}

void db_op_fail(struct db_op *op, enum err err)
{
    db_op_error(op, err, "", "");
    db_op_finish(op);
}

enum err db_unavailable(struct request *req, struct db *db)
{
    db->stats.errors++;
    return fail(req, ERR_UNAVAILABLE, "database unavailable");
}

/* A lost connection is logged where it was lost, not by each of those that it took along. */
static enum err report(struct request *req, const struct db_op *op)
{
    const char *name = op->known ? op->known->statement->name : "begin";
    if (op->sqlstate[0] || op->message[0])
        log_event(op->err == ERR_INTERNAL ? LOG_ERROR : LOG_WARN, "database error", log_text("statement", name),
                  log_text("sqlstate", op->sqlstate), log_text("error", op->message));
    if (op->err == ERR_UNAVAILABLE)
        return fail(req, op->err, "database unavailable");
    return fail(req, op->err, "database error in %s", name);
}

/* The waiter leaves before the answer: what was not sent never is, what was is cancelled unless it ends by itself. */
static struct db_conn *leave(struct db_op *op)
{
    op->db->stats.abandoned++;
    op->req = NULL;
    if (op->sent) {
        db_cancel_soon(op->db);
        return op->conn;
    }
    list_remove(&op->list);
    uncount(op);
    db_op_give(op);
    return NULL;
}

enum err db_op_wait(struct request *req, struct db_op *op, struct db_answer *answer)
{
    enum err err = request_wait(req, &op->wait);
    if (!op->answered) {
        answer->doubted = leave(op);
        return err;
    }
    /* An answer that came as the time ran out still counts. */
    err = op->err ? report(req, op) : ERR_OK;
    answer->rows = op->rows;
    if (op->sqlstate[0])
        answer->sqlstate = arena_text(req->arena, op->sqlstate, strlen(op->sqlstate));
    db_op_give(op);
    return err;
}
