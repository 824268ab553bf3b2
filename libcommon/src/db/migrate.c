/* Migrations: blocking, on a connection of their own, before the loops start. */
#include <assert.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "common/db.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "db/login.h"
#include "db/sqlstate.h"

enum { SHA256_BYTES = 32, SHA256_TEXT_BYTES = 65, VERSION_TEXT_BYTES = 16, OPTIONS_MAX = 64 };

/* Any number, the same in all versions: who holds the lock migrates. */
#define LOCK_SQL "select pg_advisory_lock(7232801946230571)"

static const char *const table_sql =
    "create table if not exists schema_migrations (version int primary key, name text not null, "
    "sha256 text not null, applied_at timestamptz not null default now())";

struct migrator {
    PGconn *conn;
    PGresult *applied;
    char *message;
    unsigned message_bytes;
};

static enum err tell(struct migrator *m, enum err err, const char *what, const char *why)
{
    snprintf(m->message, m->message_bytes, "%s: %.*s", what, (int)strcspn(why, "\n"), why);
    return err;
}

/* Checks and frees a result. */
static enum err take(struct migrator *m, const char *what, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    enum err err = ERR_OK;
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
        const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        err = tell(m, db_sqlstate_err(PQresultErrorField(result, PG_DIAG_SQLSTATE)), what,
                   primary ? primary : PQerrorMessage(m->conn));
    }
    PQclear(result);
    return err;
}

static enum err run(struct migrator *m, const char *what, const char *sql)
{
    return take(m, what, PQexec(m->conn, sql));
}

static enum err record(struct migrator *m, const struct db_migration *migration, const char *sha256)
{
    char version[VERSION_TEXT_BYTES];
    snprintf(version, sizeof version, "%d", migration->version);
    const char *values[] = {version, migration->name, sha256};
    return take(m, migration->name,
                PQexecParams(m->conn, "insert into schema_migrations (version, name, sha256) values ($1, $2, $3)", 3,
                             NULL, values, NULL, NULL, 0));
}

static enum err apply(struct migrator *m, const struct db_migration *migration, const char *sha256)
{
    enum err err = run(m, migration->name, "begin");
    if (!err)
        err = run(m, migration->name, migration->sql);
    if (!err)
        err = record(m, migration, sha256);
    if (!err)
        err = run(m, migration->name, "commit");
    if (err)
        PQclear(PQexec(m->conn, "rollback"));
    else
        log_event(LOG_INFO, "migration applied", log_text("name", migration->name));
    return err;
}

/* What was recorded for a version; NULL: not applied. */
static const char *recorded(const struct migrator *m, int version)
{
    for (int row = 0; row < PQntuples(m->applied); row++)
        if (atoi(PQgetvalue(m->applied, row, 0)) == version)
            return PQgetvalue(m->applied, row, 1);
    return NULL;
}

static enum err migrate_one(struct migrator *m, const struct db_migration *migration)
{
    uint8_t digest[SHA256_BYTES];
    char sha256[SHA256_TEXT_BYTES];
    hash_sha256(migration->sql, strlen(migration->sql), digest);
    hash_hex(digest, sizeof digest, sha256);
    const char *before = recorded(m, migration->version);
    if (!before)
        return apply(m, migration, sha256);
    if (strcmp(before, sha256) != 0)
        return tell(m, ERR_FAILED_PRECONDITION, migration->name, "changed since it was applied");
    return ERR_OK;
}

/* A migration and the wait for others' take as long as they take. */
static enum err prepare(struct migrator *m)
{
    enum err err = run(m, "statement timeout", "set statement_timeout = 0");
    if (!err)
        err = run(m, "advisory lock", LOCK_SQL);
    if (!err)
        err = run(m, "schema_migrations", table_sql);
    if (err)
        return err;
    m->applied = PQexec(m->conn, "select version, sha256 from schema_migrations");
    if (PQresultStatus(m->applied) == PGRES_TUPLES_OK)
        return ERR_OK;
    err = take(m, "schema_migrations", m->applied);
    m->applied = NULL;
    return err;
}

static void drop_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

/* The url's own connect_timeout gives way to ours, in whole seconds and 2 at least, as libpq counts. */
static void connect(struct migrator *m, const PQconninfoOption *options, const char *password, int connect_timeout_ms)
{
    const char *keywords[OPTIONS_MAX], *values[OPTIONS_MAX];
    char timeout_s[VERSION_TEXT_BYTES];
    unsigned count = 0;
    snprintf(timeout_s, sizeof timeout_s, "%d", (connect_timeout_ms + 999) / 1000);
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        if (!o->val || strcmp(o->keyword, "connect_timeout") == 0 || (password && strcmp(o->keyword, "password") == 0))
            continue;
        keywords[count] = o->keyword;
        values[count++] = o->val;
    }
    keywords[count] = "connect_timeout";
    values[count++] = timeout_s;
    keywords[count] = password ? "password" : NULL;
    values[count++] = password;
    keywords[count] = values[count] = NULL;
    m->conn = PQconnectdbParams(keywords, values, 0);
}

static enum err dial(struct migrator *m, const struct db_settings *settings)
{
    char reason[512], *password;
    if (!db_password(settings, &password, m->message, m->message_bytes))
        return ERR_UNAVAILABLE;
    PQconninfoOption *options = PQconninfoParse(settings->url, NULL);
    if (!options) {
        config_forget(password);
        return tell(m, ERR_INVALID_ARGUMENT, "database", "the url is not valid");
    }
    connect(m, options, password, settings->connect_timeout_ms);
    PQconninfoFree(options);
    config_forget(password);
    if (PQstatus(m->conn) != CONNECTION_OK) {
        db_explain(PQerrorMessage(m->conn), reason, sizeof reason);
        return tell(m, ERR_UNAVAILABLE, "database", reason);
    }
    PQsetNoticeReceiver(m->conn, drop_notice, NULL);
    return ERR_OK;
}

enum err db_migrate(const struct db_settings *settings, const struct db_migration *migrations, unsigned count,
                    char *message, unsigned message_bytes)
{
    struct migrator m = {.message = message, .message_bytes = message_bytes};
    enum err err = dial(&m, settings);
    if (!err)
        err = prepare(&m);
    for (unsigned i = 0; !err && i < count; i++) {
        assert(i == 0 || migrations[i - 1].version < migrations[i].version);
        err = migrate_one(&m, &migrations[i]);
    }
    PQclear(m.applied);
    PQfinish(m.conn); /* gives the lock back, too */
    return err;
}
