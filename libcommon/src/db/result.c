/* An answer's columns checked against the statement's letters, and its rows read into the waiter's arena. */
#include <stdio.h>
#include <string.h>

#include "common/arena.h"
#include "common/request.h"
#include "db/internal.h"

bool db_result_fits(struct db_op *op, const PGresult *result, unsigned first)
{
    const char *letters = op->known->statement->columns;
    char message[DB_MESSAGE_BYTES];
    unsigned count = (unsigned)PQnfields(result);
    if (count != op->known->column_count + first) {
        snprintf(message, sizeof message, "the answer has %u columns, expected %u", count,
                 op->known->column_count + first);
        db_op_error(op, ERR_INTERNAL, "", message);
        return false;
    }
    for (unsigned i = 0; i < op->known->column_count; i++) {
        if (db_letter_reads(letters[i], PQftype(result, (int)(i + first))))
            continue;
        snprintf(message, sizeof message, "column %u has type %u, expected '%c'", i + 1,
                 PQftype(result, (int)(i + first)), letters[i]);
        db_op_error(op, ERR_INTERNAL, "", message);
        return false;
    }
    return true;
}

bool db_result_read_row(struct db_op *op, const PGresult *result, int row, unsigned first, struct arena *arena,
                        struct db_value *out)
{
    const char *letters = op->known->statement->columns;
    for (unsigned i = 0; i < op->known->column_count; i++) {
        int column = (int)(i + first);
        if (PQgetisnull(result, row, column)) {
            out[i] = (struct db_value){.type = letters[i], .null = true};
        } else if (!db_read_value(letters[i], PQgetvalue(result, row, column), PQgetlength(result, row, column), arena,
                                  &out[i])) {
            db_op_error(op, ERR_INTERNAL, "", "a value's bytes are not of its type");
            return false;
        }
    }
    return true;
}

void db_op_result(struct db_op *op, const PGresult *result)
{
    unsigned columns = op->known->column_count;
    if (!op->req || !db_result_fits(op, result, 0) || columns == 0)
        return;
    unsigned count = (unsigned)PQntuples(result);
    struct arena *arena = op->req->arena;
    op->values = arena_array(arena, struct db_value, (size_t)count * columns);
    for (unsigned row = 0; row < count; row++)
        if (!db_result_read_row(op, result, (int)row, 0, arena, op->values + (size_t)row * columns))
            return;
    op->rows = (struct db_rows){.count = count, .columns = columns, .values = op->values};
}
