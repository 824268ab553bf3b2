/* Where to connect: the hosts of the url, their addresses looked up, in the form that libpq
 * takes without looking up names itself (its non-blocking connect blocks in that).
 * Lists are comma-separated and equally long. Source: libpq, host, hostaddr and port. */
#ifndef DB_TARGET_H
#define DB_TARGET_H

#include <stdbool.h>

#include "common/err.h"

enum { DB_ADDRESSES_MAX = 16 }; /* of all hosts; the rest is left out */

struct db_target {
    char *hosts, *addresses, *ports;
};

/* Whether a host of the list is a name, so that db_target_find() may block. */
bool db_target_blocks(const char *hosts);
/* Looks every host up and puts the turn-th address first: each gets its chance to be tried with a whole time limit.
 * ERR_UNAVAILABLE when there is none; message says why. Any thread. */
enum err db_target_find(const char *hosts, const char *ports, unsigned turn, struct db_target *out, char *message,
                        unsigned message_bytes);
void db_target_done(struct db_target *target);

#endif
