/* SQLSTATE to enum err. Source: PostgreSQL 15, appendix A; the table is told in common/db.h. */
#ifndef DB_SQLSTATE_H
#define DB_SQLSTATE_H

#include <stdbool.h>

#include "common/err.h"

/* NULL or "" is an error of libpq's own: the connection's. */
enum err db_sqlstate_err(const char *sqlstate);
/* Whether one row may have caused it, so that the others of a shared execution deserve another try. */
bool db_sqlstate_of_row(const char *sqlstate);

#endif
