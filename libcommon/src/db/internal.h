/* Inside the database module: who owns what.
 *
 * A db owns connections and operations. An operation (db_op) is one execution of a statement, or
 * one caller's row of a coalesced one. It has a waiter (req) until that has its answer or leaves;
 * the operation itself lives until the server has answered, so that a waiter may leave at any time.
 *
 *   query → db->queue → (the loop is about to sleep) → a connection's sent list → answer → waiter
 *   row → its statement's rows → a batch, which is an operation without a waiter → the same way
 *
 * The db is freed when db_close() was called and its last operation, transaction and name look-up ended. */
#ifndef DB_INTERNAL_H
#define DB_INTERNAL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/fiber.h"
#include "common/list.h"
#include "common/loop.h"
#include "common/middleware.h"
#include "db/target.h"
#include "db/value.h"

enum {
    DB_PARAMS_MAX = 32,
    DB_DEPTH_MAX = 32,    /* statements in flight a connection: enough to fill a pipeline, few to wait behind */
    DB_FILL = 16,         /* as many before another connection is used */
    DB_FLOW_NS = 3000000, /* without an answer for so long, it is busy with something slow */
    DB_BATCHES_MAX = 1,   /* shared executions in flight a statement */
    DB_RETRIES_MAX = 3,   /* of a statement that the server had forgotten */
    DB_FREE_OPS_MAX = 1024,
    DB_KEPT_BYTES_MAX = 4096, /* of a free operation's buffer */
    DB_MESSAGE_BYTES = 512,
    DB_SILENCE_GRACE_MS = 5000, /* beyond statement_timeout: then the connection counts as lost */
};

/* A statement as this db knows it. */
struct db_known {
    const struct db_statement *statement;
    unsigned id; /* index into db_conn.prepared */
    unsigned param_count, column_count;
    Oid params[DB_PARAMS_MAX];
    struct list rows; /* coalesced: waiting to become a batch */
    unsigned batches; /* coalesced: queued or in flight */
};

struct db_op {
    struct list list; /* of whoever holds it: queue, rows, begins, sent, free */
    struct db *db;
    struct db_known *known; /* NULL: waits for a transaction's connection */
    struct db_conn *conn;   /* that it was sent on or, for a transaction, goes to */
    struct request *req;    /* who waits; NULL: nobody, or nobody any more */
    struct fiber_wait wait;
    bool counted; /* a caller's, within queue_max */
    bool sent;    /* counted as in flight */
    bool answered;
    bool begins;      /* "begin" goes before it, in the same step */
    bool ends;        /* commit or rollback: the connection is free afterwards */
    bool batch;       /* coalesced: carries members */
    bool single;      /* a batch that stays with its one member */
    unsigned leading; /* results to come before its own: begin, prepare */
    bool prepares;
    unsigned retries;
    enum err err;
    char sqlstate[6];
    char message[DB_MESSAGE_BYTES];
    struct db_buffer params;
    size_t cursor; /* into params or values, while a batch is written or read */
    struct db_rows rows;
    struct db_value *values; /* of rows */
    struct db_tx *tx;        /* that waits for its connection */
    struct db_op **members;  /* a batch's; a member's index is its ordinal - 1 */
    unsigned member_count, member_room;
};

enum db_conn_state { DB_CONN_NEW, DB_CONN_LOOKING_UP, DB_CONN_CONNECTING, DB_CONN_UP, DB_CONN_RESTING };

struct db_conn {
    struct db *db;
    PGconn *pg;
    enum db_conn_state state;
    bool hopeful;  /* this attempt may be waited for: the first, or one after we closed it ourselves */
    bool retiring; /* gets nothing more; reconnects when its answers have come */
    bool blocked;  /* the kernel takes no more for now */
    bool was_up;
    unsigned failures, attempts;
    unsigned in_flight;
    struct list sent;
    struct list dirty;
    struct loop_watch watch;
    struct loop_timer timer; /* the attempt's end, or the next attempt */
    struct db_lookup *lookup;
    bool *prepared; /* by db_known.id */
    unsigned prepared_room;
    int64_t progress_ns;    /* when it last answered or began to be asked */
    int64_t cancelled_ns;   /* when a cancel request was last made */
    unsigned stray_cancels; /* hits of cancel requests that have not been seen yet */
    struct db_tx *tx;       /* whose it is */
    bool ending;            /* its transaction's end is on the way */
};

struct db_tx {
    struct db *db;
    struct db_conn *conn; /* NULL: lost */
    bool begun, failed;
};

/* What a waiter takes away. */
struct db_answer {
    struct db_rows rows;
    const char *sqlstate;    /* of a failure that the server told, in the request's arena */
    struct db_conn *doubted; /* the waiter left while its statement was in flight there */
};

struct db {
    struct loop *loop;
    const struct db_settings *settings;
    PQconninfoOption *options;
    char *peer;
    const char *name; /* the database's, as the url says it; NULL when it does not */
    bool closed;
    bool outage; /* told in the log */
    unsigned refs;
    struct db_conn *conns; /* the shared ones, then those for transactions */
    unsigned conn_count;
    struct list queue;  /* operations for the shared connections */
    struct list begins; /* waiting for a transaction's connection */
    struct list dirty;  /* connections with something to flush */
    struct list free;
    unsigned free_count;
    struct db_known **known; /* open addressing by the statement's address */
    unsigned known_count, known_room;
    unsigned load, sent; /* callers' operations: all, in flight */
    struct loop_hook hook;
    struct loop_timer watchdog, cancel_timer;
    struct list cancels; /* requests that wait to be sent */
    unsigned cancel_count;
    bool cancelling;
    struct db_stats stats;
};

/* db.c */
void db_unref(struct db *db);
struct db_known *db_know(struct db *db, const struct db_statement *statement);
/* The seam around a statement. */
enum err db_call_begin(struct request *req, const struct db *db, const struct db_statement *statement,
                       struct call *call);
void db_call_end(struct request *req, struct call *call, enum err err, const struct db_answer *answer);
/* Loses connections that owe an answer for too long; runs while any does. */
void db_watch_silence(struct db *db);
/* A setting of the url, or NULL. */
const char *db_option(const struct db *db, const char *keyword);

/* op.c */
struct db_op *db_op_take(struct db *db, struct db_known *known);
/* A caller's operation with its parameters; ERR_UNAVAILABLE when the queue is full. */
enum err db_op_admit(struct request *req, struct db *db, struct db_known *known, const struct db_value *params,
                     struct db_op **out);
void db_op_give(struct db_op *op);
void db_op_free(struct db_op *op);
void db_op_mark_sent(struct db_op *op, bool sent);
/* The first error counts. */
void db_op_error(struct db_op *op, enum err err, const char *sqlstate, const char *message);
void db_op_result_error(struct db_op *op, const PGresult *result);
/* Ends it with what op->err says and wakes the waiter, who gives it back. */
void db_op_finish(struct db_op *op);
void db_op_fail(struct db_op *op, enum err err);
/* Waits, fills answer, gives op back and records the failure. */
enum err db_op_wait(struct request *req, struct db_op *op, struct db_answer *answer);
/* Refuses a caller that nothing can be hoped for. */
enum err db_unavailable(struct request *req, struct db *db);

/* queue.c */
void db_queue_pump(struct db *db);
/* Whether an operation may wait for one of the shared (or transactions') connections. */
bool db_hopeful(const struct db *db, bool transactions);
/* Ends what waits when nothing can be hoped for. */
void db_queue_check(struct db *db);
/* Ends what waits. */
void db_queue_fail(struct db *db);
void db_begins_fail(struct db *db);

/* coalesce.c */
void db_coalesce_ready(struct db_known *known, struct db *db);
/* Fills a batch with waiting rows; false when nobody waits any more and the batch is gone. */
bool db_batch_fill(struct db_op *batch);
/* Ends the callers of a batch that was not sent, and of the rows behind it. */
void db_batch_fail(struct db_op *batch);
/* Writes its parameters from its members'. */
void db_batch_encode(struct db_op *batch);
void db_batch_result(struct db_op *batch, const PGresult *result);
void db_batch_done(struct db_op *batch);

/* result.c */
void db_op_result(struct db_op *op, const PGresult *result);
/* Whether the answer has the declared columns, from the given one on. Records the mismatch. */
bool db_result_fits(struct db_op *op, const PGresult *result, unsigned first);
bool db_result_read_row(struct db_op *op, const PGresult *result, int row, unsigned first, struct arena *arena,
                        struct db_value *out);

/* connect.c */
void db_conn_init(struct db_conn *conn, struct db *db);
/* Begins an attempt that may be waited for when the loop turns next. */
void db_conn_start_soon(struct db_conn *conn);
/* Ends what is in flight with ERR_UNAVAILABLE and connects again: after a rest when something failed (reason), at once
 * when we only doubt its state (reason NULL). */
void db_conn_lose(struct db_conn *conn, const char *reason);
void db_conn_done(struct db_conn *conn);
bool db_conn_shared(const struct db_conn *conn);

/* pipeline.c */
void db_conn_ready(struct loop_watch *watch, uint32_t events);
void db_conn_send(struct db_conn *conn, struct db_op *op);
void db_conn_flush(struct db_conn *conn);

/* cancel.c */
/* Ends what the connection runs at this moment, soon and if it can. */
void db_cancel(struct db_conn *conn);
/* Somebody has left a statement that was sent. */
void db_cancel_soon(struct db *db);
void db_cancel_look(struct loop_timer *timer);

/* tx.c */
void db_tx_pump(struct db *db);
void db_tx_conn_free(struct db_conn *conn);

#endif
