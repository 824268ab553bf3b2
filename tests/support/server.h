/* What PostgreSQL's and Redis's support share. */
#ifndef TESTS_SERVER_H
#define TESTS_SERVER_H

#include "support/support.h"

_Noreturn void server_give_up(const char *what); /* says so, with errno's words, and ends the test program */
void server_make_directory(struct test_server *server, const char *name);
void server_wipe(const struct test_server *server);
/* Until it answers; false when it has ended or 15 s have passed. */
bool server_await(const struct test_server *server, bool (*answers)(const struct test_server *server));

#endif
