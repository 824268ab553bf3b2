/* What a caller reads from its rows. A wrong index or type is our own mistake. */
#include <assert.h>

#include "common/db.h"

static const struct db_value *value_at(const struct db_rows *rows, unsigned row, unsigned column)
{
    assert(row < rows->count && column < rows->columns);
    return &rows->values[(size_t)row * rows->columns + column];
}

static const struct db_value *typed_at(const struct db_rows *rows, unsigned row, unsigned column, char letter)
{
    const struct db_value *value = value_at(rows, row, column);
    assert(value->type == letter);
    return value;
}

bool db_is_null(const struct db_rows *rows, unsigned row, unsigned column)
{
    return value_at(rows, row, column)->null;
}

struct uuid db_get_uuid(const struct db_rows *rows, unsigned row, unsigned column)
{
    return typed_at(rows, row, column, 'u')->uuid;
}

const char *db_get_text(const struct db_rows *rows, unsigned row, unsigned column)
{
    const struct db_value *value = value_at(rows, row, column);
    assert(value->type == 't' || value->type == 'j');
    return value->text;
}

int32_t db_get_int4(const struct db_rows *rows, unsigned row, unsigned column)
{
    return typed_at(rows, row, column, 'i')->int4;
}

int64_t db_get_int8(const struct db_rows *rows, unsigned row, unsigned column)
{
    return typed_at(rows, row, column, 'l')->int8;
}

bool db_get_bool(const struct db_rows *rows, unsigned row, unsigned column)
{
    return typed_at(rows, row, column, 'b')->boolean;
}

int64_t db_get_time(const struct db_rows *rows, unsigned row, unsigned column)
{
    return typed_at(rows, row, column, 'z')->int8;
}
