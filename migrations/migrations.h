/* The SQL files of this folder, as the build embeds them. */
#ifndef MIGRATIONS_H
#define MIGRATIONS_H

#include "common/db.h"

extern const struct db_migration migrations[];
extern const unsigned migrations_count;

#endif
