/* Coalesced writes: while a statement's batch is in flight its callers queue, and all of them are the next batch. */
#include <assert.h>
#include <string.h>

#include "common/arena.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/request.h"
#include "db/internal.h"
#include "db/sqlstate.h"

static struct db_op *batch_new(struct db *db, struct db_known *known)
{
    struct db_op *batch = db_op_take(db, known);
    batch->batch = true;
    known->batches++;
    list_append(&db->queue, &batch->list);
    return batch;
}

static void batch_add(struct db_op *batch, struct db_op *member)
{
    if (batch->member_count == batch->member_room) {
        batch->member_room = batch->member_room ? batch->member_room * 2 : 16;
        batch->members = mem_resize(batch->members, batch->member_room, sizeof *batch->members);
    }
    batch->members[batch->member_count++] = member;
}

/* Frees the batch and makes way for the next. */
static void batch_end(struct db_op *batch)
{
    struct db_known *known = batch->known;
    struct db *db = batch->db;
    known->batches--;
    db_coalesce_ready(known, db);
    db_op_give(batch);
}

void db_coalesce_ready(struct db_known *known, struct db *db)
{
    if (!list_empty(&known->rows) && known->batches < DB_BATCHES_MAX)
        batch_new(db, known);
}

/* A batch that is sent again may have members that have left since. */
static void drop_left(struct db_op *batch)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < batch->member_count; i++) {
        if (batch->members[i]->req)
            batch->members[kept++] = batch->members[i];
        else
            db_op_finish(batch->members[i]);
    }
    batch->member_count = kept;
}

bool db_batch_fill(struct db_op *batch)
{
    struct db_known *known = batch->known;
    struct db_stats *stats = &batch->db->stats;
    drop_left(batch);
    while (!batch->single && batch->member_count < known->statement->coalesce_rows && !list_empty(&known->rows)) {
        struct db_op *row = container_of(list_take(&known->rows), struct db_op, list);
        db_op_mark_sent(row, true);
        batch_add(batch, row);
    }
    if (batch->member_count == 0) {
        batch_end(batch);
        return false;
    }
    stats->batches++;
    stats->batched_rows += batch->member_count;
    db_coalesce_ready(known, batch->db);
    return true;
}

static void put_member(struct db_buffer *out, struct db_op *member)
{
    const char *value = member->params.data + member->cursor;
    int32_t length = db_get_int32(value);
    size_t bytes = sizeof length + (length > 0 ? (size_t)length : 0);
    db_put_bytes(out, value, bytes);
    member->cursor += bytes;
}

void db_batch_encode(struct db_op *batch)
{
    const char *letters = batch->known->statement->params;
    struct db_buffer *out = &batch->params;
    out->size = 0;
    for (unsigned i = 0; i < batch->member_count; i++)
        batch->members[i]->cursor = 0;
    for (; *letters; letters++) {
        size_t begin = db_put_array_begin(out, db_letter_oid(*letters), batch->member_count);
        for (unsigned i = 0; i < batch->member_count; i++)
            put_member(out, batch->members[i]);
        db_put_array_end(out, begin);
    }
}

/* The member that a row of the answer belongs to. */
static struct db_op *member_of(struct db_op *batch, const PGresult *result, int row)
{
    int64_t ordinal = PQgetisnull(result, row, 0) ? 0 : db_get_int64(PQgetvalue(result, row, 0));
    if (ordinal >= 1 && ordinal <= batch->member_count)
        return batch->members[ordinal - 1];
    db_op_error(batch, ERR_INTERNAL, "", "a row's ordinal is no caller's");
    return NULL;
}

static void make_room(struct db_op *batch, const PGresult *result)
{
    for (unsigned i = 0; i < batch->member_count; i++)
        batch->members[i]->rows = (struct db_rows){.columns = batch->known->column_count};
    for (int row = 0; row < PQntuples(result); row++) {
        struct db_op *member = member_of(batch, result, row);
        if (!member)
            return;
        member->rows.count++;
    }
    for (unsigned i = 0; i < batch->member_count; i++) {
        struct db_op *member = batch->members[i];
        member->cursor = 0;
        if (member->req && member->rows.count > 0)
            member->values =
                arena_array(member->req->arena, struct db_value, (size_t)member->rows.count * member->rows.columns);
        member->rows.values = member->values;
    }
}

static bool has_ordinals(struct db_op *batch, const PGresult *result)
{
    if (PQnfields(result) >= 1 && db_letter_reads('l', PQftype(result, 0)))
        return true;
    db_op_error(batch, ERR_INTERNAL, "", "the answer's first column is no int8 ordinal");
    return false;
}

void db_batch_result(struct db_op *batch, const PGresult *result)
{
    if (PQresultStatus(result) == PGRES_COMMAND_OK && batch->known->column_count == 0)
        return;
    if (!has_ordinals(batch, result) || !db_result_fits(batch, result, 1))
        return;
    make_room(batch, result);
    for (int row = 0; row < PQntuples(result) && !batch->err; row++) {
        struct db_op *member = member_of(batch, result, row);
        if (!member->req)
            continue;
        struct db_value *out = member->values + member->cursor++ * member->rows.columns;
        if (!db_result_read_row(batch, result, row, 1, member->req->arena, out))
            return;
    }
}

/* Each row on its own: the one that was at fault fails alone. */
static void split(struct db_op *batch)
{
    log_event(LOG_INFO, "a shared execution failed, its rows run one by one",
              log_text("statement", batch->known->statement->name), log_text("sqlstate", batch->sqlstate),
              log_int("rows", batch->member_count));
    for (unsigned i = 0; i < batch->member_count; i++) {
        struct db_op *member = batch->members[i];
        struct db_op *single = batch_new(batch->db, batch->known);
        single->single = true;
        batch_add(single, member);
    }
}

static void finish_members(struct db_op *batch)
{
    for (unsigned i = 0; i < batch->member_count; i++) {
        struct db_op *member = batch->members[i];
        if (batch->err)
            db_op_error(member, batch->err, batch->sqlstate, batch->message);
        db_op_finish(member);
    }
}

void db_batch_done(struct db_op *batch)
{
    if (batch->err && batch->member_count > 1 && db_sqlstate_of_row(batch->sqlstate))
        split(batch);
    else
        finish_members(batch);
    batch_end(batch);
}

void db_batch_fail(struct db_op *batch)
{
    struct list *rows = &batch->known->rows;
    for (struct list *node = list_take(rows); node; node = list_take(rows))
        db_op_fail(container_of(node, struct db_op, list), ERR_UNAVAILABLE);
    db_op_error(batch, ERR_UNAVAILABLE, "", "");
    finish_members(batch);
    batch_end(batch);
}
