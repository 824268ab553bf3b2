/* PostgreSQL for fibers: typed, prepared, pipelined.
 *
 * A struct db belongs to one loop. Its connections are shared by all fibers: queries that
 * arrive together leave together, each behind a sync point of its own, so that one error
 * touches nobody else. Results live in the request's arena. Loop thread only.
 *
 * Errors: ERR_UNAVAILABLE (no connection, lost while the query ran, queue full, server
 * shutting down), ERR_DEADLINE_EXCEEDED (the request's time is over, or the server's
 * statement_timeout; what has not been sent yet never is, what has is cancelled in the server),
 * ERR_ALREADY_EXISTS (23505), ERR_FAILED_PRECONDITION (other class 23), ERR_ABORTED (40001,
 * 40P01), ERR_INTERNAL (the rest). The failure's detail names the statement, never its text or the values; SQLSTATE
 * and the server's message are logged. After ERR_UNAVAILABLE and ERR_DEADLINE_EXCEEDED a
 * write may or may not have happened.
 * Source: libpq, pipeline mode; PostgreSQL binary formats. */
#ifndef COMMON_DB_H
#define COMMON_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/uuid.h"

struct arena;
struct db;
struct db_tx;
struct loop;
struct request;

struct db_settings {
    const char
        *url; /* libpq URI or conninfo, with TLS as sslmode and the like say; a host name's every address is tried */
    const char *password;      /* instead of the url's; "" or NULL: the url's */
    const char *password_file; /* where it came from, read again for each new connection; NULL: from elsewhere */
    int connections;           /* shared, pipelined connections a loop; default 4 */
    int transactions;          /* connections a loop for db_begin(); default 2 */
    int queue_max;             /* queries a loop, waiting or running; beyond it ERR_UNAVAILABLE */
    int statement_timeout_ms;  /* the server's limit for any statement */
    int connect_timeout_ms;
};

/* One letter a value: u uuid, t text, i int4, l int8, b bool, z timestamptz (wall ns), j jsonb (text). */
struct db_statement {
    const char *name;    /* unique in the process, a valid identifier: "user_by_id" */
    const char *summary; /* low cardinality, for telemetry: "SELECT users" */
    const char *sql;
    const char *params;  /* "ut": types of $1, $2 */
    const char *columns; /* "utz": types of the answer; "" for none */
    /* More than 0: a coalesced write. Callers that arrive while one is in flight share one execution
     * of up to this many rows. Each parameter becomes an array ($1::uuid[] ...) with one element a
     * caller; the first column of the answer must be the caller's ordinal (int8, from 1, as unnest
     * WITH ORDINALITY gives it), it is not counted in columns, and each caller sees only its own rows.
     * When a shared execution fails with a class 22, 23 or 40 error, its rows run again one by one. */
    unsigned coalesce_rows;
};

struct db_value {
    char type; /* a letter of the table above */
    bool null;
    union {
        struct uuid uuid;
        const char *text; /* also jsonb */
        int32_t int4;
        int64_t int8; /* also timestamptz: wall ns */
        bool boolean;
    };
    /* Arrays are for uncoalesced statements; type is the element's in upper case (U T I L). */
    const void *array; /* struct uuid *, const char **, int32_t *, int64_t * */
    unsigned count;
};

#define db_uuid(v)      ((struct db_value){.type = 'u', .uuid = (v)})
#define db_text(v)      ((struct db_value){.type = 't', .text = (v)})
#define db_json(v)      ((struct db_value){.type = 'j', .text = (v)})
#define db_int4(v)      ((struct db_value){.type = 'i', .int4 = (v)})
#define db_int8(v)      ((struct db_value){.type = 'l', .int8 = (v)})
#define db_bool(v)      ((struct db_value){.type = 'b', .boolean = (v)})
#define db_time(v)      ((struct db_value){.type = 'z', .int8 = (v)})
#define db_null(letter) ((struct db_value){.type = (letter), .null = true})
#define db_uuids(v, n)  ((struct db_value){.type = 'U', .array = (v), .count = (n)})
#define db_texts(v, n)  ((struct db_value){.type = 'T', .array = (v), .count = (n)})
#define db_int4s(v, n)  ((struct db_value){.type = 'I', .array = (v), .count = (n)})
#define db_int8s(v, n)  ((struct db_value){.type = 'L', .array = (v), .count = (n)})
#define DB_PARAMS(...)  ((const struct db_value[]){__VA_ARGS__})
#define DB_NO_PARAMS    NULL

/* Rows in the request's arena. A NULL text is NULL; a NULL value of another type reads as zero (see db_is_null). */
struct db_rows {
    unsigned count;
    unsigned columns; /* private, the same below */
    const struct db_value *values;
};

bool db_is_null(const struct db_rows *rows, unsigned row, unsigned column);
struct uuid db_get_uuid(const struct db_rows *rows, unsigned row, unsigned column);
const char *db_get_text(const struct db_rows *rows, unsigned row, unsigned column); /* also jsonb */
int32_t db_get_int4(const struct db_rows *rows, unsigned row, unsigned column);
int64_t db_get_int8(const struct db_rows *rows, unsigned row, unsigned column);
bool db_get_bool(const struct db_rows *rows, unsigned row, unsigned column);
int64_t db_get_time(const struct db_rows *rows, unsigned row, unsigned column); /* wall ns */

/* Starts connecting in the background, and goes on with jittered back-off (100 ms to 2 s) whenever a
 * connection is lost; connections for db_begin() connect when first needed. NULL when the url is not valid.
 * Host names need the offload pool. settings and statements are kept, not copied. */
struct db *db_open(struct loop *loop, const struct db_settings *settings);
/* Ends queries in flight with ERR_UNAVAILABLE and frees. */
void db_close(struct db *db);
/* A connection works. */
bool db_up(const struct db *db);

/* Runs a statement on req->worker->db; rows may be NULL. Of coalesced ones each caller gets its own rows.
 * Waits for a connection only while the first attempt to connect is on its way, else ERR_UNAVAILABLE at once. */
enum err db_query(struct request *req, const struct db_statement *statement, const struct db_value *params,
                  struct db_rows *rows);

/* A transaction on a connection of its own, taken from the pool until db_commit() or db_rollback(). */
enum err db_begin(struct request *req, struct db_tx **out);
enum err db_tx_query(struct request *req, struct db_tx *tx, const struct db_statement *statement,
                     const struct db_value *params, struct db_rows *rows);
/* Frees tx in every case; ERR_ABORTED when one of its statements has failed. After an error it is unknown whether
 * the commit happened only for UNAVAILABLE and DEADLINE_EXCEEDED. */
enum err db_commit(struct request *req, struct db_tx *tx);
void db_rollback(struct db_tx *tx); /* NULL is allowed */

struct db_migration {
    int version;
    const char *name; /* file name */
    const char *sql;
};

/* Applies what is missing, each in a transaction, in order, under an advisory lock (so that services
 * that start together wait for each other), and records version, name and SHA-256 in schema_migrations.
 * A recorded one whose text has changed since is ERR_FAILED_PRECONDITION, with its name. Blocking and
 * without a loop: before the loops start. message gets the reason. Of the settings, url, password and
 * connect_timeout_ms count. */
enum err db_migrate(const struct db_settings *settings, const struct db_migration *migrations, unsigned count,
                    char *message, unsigned message_bytes);

struct db_stats {
    uint64_t queries, errors, refused, abandoned, reconnects, batches, batched_rows;
    uint64_t cancels, cancels_failed; /* requests to end statements whose callers had left */
    unsigned connections_up, in_flight, waiting;
};

struct db_stats db_stats(const struct db *db);

#endif
