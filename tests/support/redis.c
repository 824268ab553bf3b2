#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/collector.h"
#include "support/server.h"

/* In the child. AOF as in production: a killed server keeps all that it acknowledged. */
static void run_server(const struct test_server *server, pid_t parent)
{
    char port[16], tls_port[16], log[300];
    snprintf(port, sizeof port, "%d", server->port);
    snprintf(tls_port, sizeof tls_port, "%d", server->tls_port);
    snprintf(log, sizeof log, "%s/log", server->directory);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || chdir(server->directory) < 0)
        _exit(126);
    const char *arguments[32] = {"redis-server",
                                 "--port",
                                 port,
                                 "--bind",
                                 "127.0.0.1",
                                 "--unixsocket",
                                 "socket",
                                 "--appendonly",
                                 "yes",
                                 "--auto-aof-rewrite-percentage",
                                 "0",
                                 "--save",
                                 "",
                                 "--logfile",
                                 log};
    const struct test_certificates *c = server->certificates;
    if (c)
        memcpy(arguments + 15,
               (const char *[]){"--tls-port", tls_port, "--tls-cert-file", c->server, "--tls-key-file", c->server_key,
                                "--tls-ca-cert-file", c->ca, "--tls-auth-clients", "optional"},
               10 * sizeof arguments[0]);
    execvp(arguments[0], (char *const *)(uintptr_t)arguments);
    _exit(127);
}

static bool answers(const struct test_server *server)
{
    redisContext *context = redisConnect("127.0.0.1", server->port);
    redisReply *reply = context && !context->err ? redisCommand(context, "PING") : NULL;
    bool up = reply && (reply->type == REDIS_REPLY_STATUS || strncmp(reply->str, "NOAUTH", 6) == 0);
    freeReplyObject(reply);
    if (context)
        redisFree(context);
    return up;
}

void test_redis_start(struct test_server *server)
{
    pid_t parent = getpid();
    server->pid = fork();
    if (server->pid < 0)
        server_give_up("fork");
    if (server->pid == 0)
        run_server(server, parent);
    if (!server_await(server, answers))
        server_give_up("redis does not start");
}

void test_redis_open(struct test_server *server)
{
    test_redis_open_secure(server, NULL);
}

void test_redis_open_secure(struct test_server *server, const struct test_certificates *certificates)
{
    *server =
        (struct test_server){.port = test_free_port(), .tls_port = test_free_port(), .certificates = certificates};
    server_make_directory(server, "redis");
    snprintf(server->url, sizeof server->url, "redis://127.0.0.1:%d", server->port);
    test_redis_start(server);
}

void test_redis_stop(struct test_server *server)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

/* The one that grows; it is never rewritten here. */
static void append_only_file(const struct test_server *server, char out[400])
{
    snprintf(out, 400, "%s/appendonlydir/appendonly.aof.1.incr.aof", server->directory);
}

long test_redis_mark(const struct test_server *server)
{
    char path[400];
    struct stat status;
    append_only_file(server, path);
    if (stat(path, &status) != 0)
        server_give_up(path);
    return (long)status.st_size;
}

void test_redis_lose(const struct test_server *server, long mark)
{
    char path[400];
    append_only_file(server, path);
    if (mark < test_redis_mark(server) && truncate(path, mark) != 0)
        server_give_up(path);
}

void test_redis_close(struct test_server *server)
{
    test_redis_stop(server);
    server_wipe(server);
}
