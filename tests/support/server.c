#include "support/server.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { TRIES = 1500, TRY_MS = 10 };

void server_give_up(const char *what)
{
    fprintf(stderr, "test support: %s: %s\n", what, strerror(errno));
    exit(1);
}

void server_make_directory(struct test_server *server, const char *name)
{
    const char *base = getenv("TMPDIR");
    snprintf(server->directory, sizeof server->directory, "%.200s/bodega-%s-XXXXXX", base && *base ? base : "/tmp",
             name);
    if (!mkdtemp(server->directory))
        server_give_up(server->directory);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

void server_wipe(const struct test_server *server)
{
    nftw(server->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

bool server_await(const struct test_server *server, bool (*answers)(const struct test_server *server))
{
    for (int i = 0; i < TRIES; i++) {
        if (answers(server))
            return true;
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid)
            return false;
        poll(NULL, 0, TRY_MS);
    }
    return false;
}
