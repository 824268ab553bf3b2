/* How a connection gets in: its password, and what libpq says when it does not. */
#ifndef DB_LOGIN_H
#define DB_LOGIN_H

#include <stdbool.h>

#include "common/db.h"

/* The password of a new connection, read from its file each time, so that a changed one counts; NULL: the url's. Free
 * with config_forget(). False when the file cannot be had; message says why. */
bool db_password(const struct db_settings *settings, char **out, char *message, unsigned message_bytes);

/* The first line of libpq's words about a connection that failed, with the setting that they are about. Libpq names
 * hosts, users and files, no password. */
void db_explain(const char *words, char *out, unsigned out_bytes);

#endif
