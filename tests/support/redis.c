#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/support.h"

enum { START_TRIES = 600, TRY_MS = 10 };

static void give_up(const char *what)
{
    fprintf(stderr, "test support: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* In the child. AOF as in production: a killed server keeps all that it acknowledged. */
static void run_server(const struct test_server *server, pid_t parent)
{
    char port[16], log[300];
    snprintf(port, sizeof port, "%d", server->port);
    snprintf(log, sizeof log, "%s/log", server->directory);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || chdir(server->directory) < 0)
        _exit(126);
    execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket", "socket",
           "--appendonly", "yes", "--save", "", "--logfile", log, (char *)NULL);
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
        give_up("fork");
    if (server->pid == 0)
        run_server(server, parent);
    for (int i = 0; i < START_TRIES; i++) {
        if (answers(server))
            return;
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid)
            break;
        nanosleep(&(struct timespec){.tv_nsec = TRY_MS * 1000000}, NULL);
    }
    give_up("redis does not start");
}

void test_redis_open(struct test_server *server)
{
    const char *base = getenv("TMPDIR");
    *server = (struct test_server){.port = test_free_port()};
    snprintf(server->directory, sizeof server->directory, "%.200s/bodega-redis-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(server->directory))
        give_up(server->directory);
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

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

void test_redis_close(struct test_server *server)
{
    test_redis_stop(server);
    nftw(server->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
