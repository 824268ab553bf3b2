#include <arpa/inet.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "support/collector.h"
#include "support/server.h"

enum { STARTS_MAX = 20 };

/* From below the range that the kernel deals out to clients: between now and a server's bind, or while a server is
 * being restarted, no client's own end may land there. Never the same twice. */
int test_free_port(void)
{
    enum { FIRST = 10000, COUNT = 20000, TRIES = 100 };
    static bool given[COUNT];
    for (int i = 0; i < TRIES; i++) {
        int number = (int)(random_unit() * COUNT), port = FIRST + number;
        if (given[number])
            continue;
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        address.sin_port = htons((uint16_t)port);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool is_free = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
        close(fd);
        if (is_free) {
            given[number] = true;
            return port;
        }
    }
    server_give_up("no free port");
}

/* PostgreSQL refuses to run as root. */
static const struct passwd *server_user(void)
{
    static const struct passwd *user;
    if (!user && geteuid() == 0)
        user = getpwnam("postgres");
    if (!user && geteuid() == 0)
        server_give_up("no user postgres to run as");
    return user;
}

static const char *programs(void)
{
    static char path[256];
    glob_t found;
    const char *pattern = "/usr/lib/postgresql/*/bin";
    if (glob(pattern, 0, NULL, &found) != 0)
        server_give_up(pattern);
    snprintf(path, sizeof path, "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    return path;
}

/* In the child: another user, dies with us, speaks into the log. */
static void become_server(const struct passwd *user, pid_t parent, const char *log)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(126);
    if (user && (setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0))
        _exit(126);
    if (prctl(PR_SET_PDEATHSIG, SIGQUIT) < 0 || getppid() != parent)
        _exit(126);
}

/* Runs one of PostgreSQL's programs in the server's directory. */
static pid_t spawn(const struct test_server *server, const char *arguments)
{
    const struct passwd *user = server_user();
    char log[300], command[1024];
    snprintf(log, sizeof log, "%s/log", server->directory);
    snprintf(command, sizeof command, "exec %s/%s", programs(), arguments);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        server_give_up("fork");
    if (pid > 0)
        return pid;
    become_server(user, parent, log);
    if (chdir(server->directory) < 0)
        _exit(126);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static void show_log(const struct test_server *server)
{
    char path[300], line[1024];
    snprintf(path, sizeof path, "%s/log", server->directory);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        fputs(line, stderr);
    if (file)
        fclose(file);
}

static void make_directory(struct test_server *server)
{
    const struct passwd *user = server_user();
    server_make_directory(server, "pg");
    if (user && chown(server->directory, user->pw_uid, user->pw_gid) < 0)
        server_give_up(server->directory);
}

static void make_cluster(const struct test_server *server)
{
    const char *command = "initdb -D data -U postgres -A trust -E UTF8 --locale=C --no-sync";
    int status = 0;
    if (waitpid(spawn(server, command), &status, 0) < 0 || status != 0) {
        show_log(server);
        server_give_up("initdb failed");
    }
}

/* Runs sql on database postgres; false when the server does not answer. */
static bool run(const struct test_server *server, const char *sql)
{
    char url[128];
    snprintf(url, sizeof url, "postgresql://postgres@127.0.0.1:%d/postgres", server->port);
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQstatus(conn) == CONNECTION_OK ? PQexec(conn, sql) : NULL;
    ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    PQfinish(conn);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static bool answers(const struct test_server *server)
{
    return run(server, "select 1");
}

void test_postgres_start(struct test_server *server)
{
    char command[256];
    snprintf(command, sizeof command,
             "postgres -D data -p %d -h 127.0.0.1 -k '' -c fsync=off -c max_connections=100 -c shared_buffers=16MB %s",
             server->port, server->options ? server->options : "");
    /* The children of one that was killed hold its memory until they notice. */
    for (int i = 0; i < STARTS_MAX; i++) {
        server->pid = spawn(server, command);
        if (server_await(server, answers))
            return;
        poll(NULL, 0, 100);
    }
    show_log(server);
    server_give_up("postgres does not start");
}

void test_postgres_open(struct test_server *server)
{
    test_postgres_open_with(server, NULL);
}

void test_postgres_open_with(struct test_server *server, const char *options)
{
    *server = (struct test_server){.port = test_free_port(), .options = options};
    make_directory(server);
    make_cluster(server);
    snprintf(server->url, sizeof server->url, "postgresql://postgres@127.0.0.1:%d/ecommerce", server->port);
    test_postgres_start(server);
    if (!run(server, "create database ecommerce"))
        server_give_up("create database");
}

void test_postgres_stop(struct test_server *server)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGQUIT);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

/* In the directory of data; what is made there belongs to the server's user. */
static void change(struct test_server *server, const char *command)
{
    char whole[2048];
    snprintf(whole, sizeof whole, "cd %s/data && %s", server->directory, command);
    if (system(whole) != 0)
        server_give_up(command);
    test_postgres_stop(server);
    test_postgres_start(server);
}

void test_postgres_secure(struct test_server *server, const struct test_certificates *certificates)
{
    char command[1500];
    snprintf(command, sizeof command,
             "cp %s server.crt && cp %s server.key && cp %s ca.crt && chmod 600 server.key && "
             "chown --reference=PG_VERSION server.crt server.key ca.crt && "
             "echo ssl = on >> postgresql.conf && echo \"ssl_ca_file = 'ca.crt'\" >> postgresql.conf",
             certificates->server, certificates->server_key, certificates->ca);
    change(server, command);
}

void test_postgres_rule(struct test_server *server, const char *rule)
{
    char command[512];
    snprintf(command, sizeof command, "{ echo '%s'; cat pg_hba.conf; } > rules && cat rules > pg_hba.conf", rule);
    change(server, command);
}

void test_postgres_kill(struct test_server *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

void test_postgres_close(struct test_server *server)
{
    test_postgres_stop(server);
    server_wipe(server);
}
