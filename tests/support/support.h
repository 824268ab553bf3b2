/* What the tests share: private PostgreSQL and Redis servers on free ports, and running a
 * piece of code inside a loop's fiber. Servers live in a directory of their own under
 * $TMPDIR and die with the test process (PR_SET_PDEATHSIG), even when it crashes. */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>
#undef fail /* ours, in request.h, is the one that the tests mean */

#include "common/request.h"

struct test_certificates;

struct test_server {
    char directory[256];
    char url[256];
    int port;
    int tls_port; /* of a Redis with TLS beside the plain one */
    const struct test_certificates *certificates;
    const char *options; /* of PostgreSQL, more of them; or NULL */
    pid_t pid;
};

int test_free_port(void);

/* A fresh PostgreSQL (as user postgres when the test runs as root), database `ecommerce`, superuser `postgres`, trust.
 */
void test_postgres_open(struct test_server *server);
void test_postgres_open_with(struct test_server *server,
                             const char *options);    /* more of them: "-c shared_buffers=1GB"; kept */
void test_postgres_stop(struct test_server *server);  /* immediate; returns when it is gone */
void test_postgres_kill(struct test_server *server);  /* SIGKILL for the first process */
void test_postgres_start(struct test_server *server); /* the same data and port; returns when it answers */
void test_postgres_close(struct test_server *server); /* stops and wipes */
/* Takes TLS connections too, from now on, with the server's certificate; asks for clients' certificates. */
void test_postgres_secure(struct test_server *server, const struct test_certificates *certificates);
/* A line of pg_hba.conf before all others, from now on: "hostssl all clerk 127.0.0.1/32 cert". */
void test_postgres_rule(struct test_server *server, const char *rule);

void test_redis_open(struct test_server *server); /* with AOF */
/* With TLS on a port of its own; a client's certificate is looked at when there is one. certificates are kept. */
void test_redis_open_secure(struct test_server *server, const struct test_certificates *certificates);
void test_redis_stop(struct test_server *server);
void test_redis_start(struct test_server *server);
void test_redis_close(struct test_server *server);
/* How much it has written to its append-only file, and what a power cut does to one that is stopped: what was written
 * after the mark is gone. 0: everything. */
long test_redis_mark(const struct test_server *server);
void test_redis_lose(const struct test_server *server, long mark);

/* Runs fn(req, arg) in a fiber of a new loop, or of worker->loop when worker is given, until it returns.
 * The request has an arena, a trace and 10 s. Assertions may fail inside: the test fails. */
void test_in_fiber(struct worker *worker, void (*fn)(struct request *req, void *arg), void *arg);

#endif
