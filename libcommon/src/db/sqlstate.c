#include "db/sqlstate.h"

#include <stddef.h>
#include <string.h>

#include "common/mem.h"

/* The first entry that begins the code wins. */
static const struct {
    const char *prefix;
    enum err err;
} table[] = {
    {"23505", ERR_ALREADY_EXISTS},    /* unique_violation */
    {"23", ERR_FAILED_PRECONDITION},  /* integrity constraint violations */
    {"40001", ERR_ABORTED},           /* serialization_failure */
    {"40P01", ERR_ABORTED},           /* deadlock_detected */
    {"57014", ERR_DEADLINE_EXCEEDED}, /* query_canceled: statement_timeout */
    {"57P", ERR_UNAVAILABLE},         /* shutting down, crashed, starting up, idle too long, database dropped */
    {"08", ERR_UNAVAILABLE},          /* connection exceptions */
    {"53300", ERR_UNAVAILABLE},       /* too_many_connections */
};

enum err db_sqlstate_err(const char *sqlstate)
{
    if (!sqlstate || !*sqlstate)
        return ERR_UNAVAILABLE;
    for (unsigned i = 0; i < array_count(table); i++)
        if (strncmp(sqlstate, table[i].prefix, strlen(table[i].prefix)) == 0)
            return table[i].err;
    return ERR_INTERNAL;
}

bool db_sqlstate_of_row(const char *sqlstate)
{
    return strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0 || strncmp(sqlstate, "40", 2) == 0;
}
