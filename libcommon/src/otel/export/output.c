#include "otel/export/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "otel/export/quiet.h"

enum { FILE_MODE = 0640, LOOK_EVERY_MS = 100 };

struct output {
    char *path; /* NULL: standard output */
    int fd;
    bool broken; /* ends within a line */
    pthread_mutex_t turn;
};

static struct output standard = {.fd = STDOUT_FILENO, .turn = PTHREAD_MUTEX_INITIALIZER};

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, FILE_MODE);
}

struct output *output_open(const char *path, char *message, size_t message_bytes)
{
    if (!path)
        return &standard;
    int fd = open_file(path);
    if (fd < 0) {
        snprintf(message, message_bytes, "%s: %s", path, strerror(errno));
        return NULL;
    }
    struct output *output = mem_alloc(sizeof *output);
    output->path = mem_text(path);
    output->fd = fd;
    pthread_mutex_init(&output->turn, NULL);
    return output;
}

void output_close(struct output *output)
{
    if (!output || output == &standard)
        return;
    close(output->fd);
    pthread_mutex_destroy(&output->turn);
    free(output->path);
    free(output);
}

/* A file that was moved away or removed is begun anew. */
static void follow_path(struct output *output)
{
    struct stat there, ours;
    if (!output->path || fstat(output->fd, &ours) < 0)
        return;
    if (stat(output->path, &there) == 0 && there.st_ino == ours.st_ino && there.st_dev == ours.st_dev)
        return;
    int fd = open_file(output->path);
    if (fd < 0)
        return;
    close(output->fd);
    output->fd = fd;
    output->broken = false;
}

/* Waits in short steps, so that a deadline that comes closer is seen. */
static bool is_writable(int fd, const struct patience *patience, int64_t deadline_ns)
{
    struct pollfd waiting = {.fd = fd, .events = POLLOUT};
    while (poll(&waiting, 1, LOOK_EVERY_MS) == 0 || waiting.revents == 0)
        if (clock_now_ns() >= patience_limit(patience, deadline_ns))
            return false;
    return true;
}

/* A pipe that is ready takes PIPE_BUF bytes without blocking; files take everything. */
static size_t portion(int fd, size_t left)
{
    struct stat at;
    bool file = fstat(fd, &at) == 0 && S_ISREG(at.st_mode);
    return file || left < PIPE_BUF ? left : PIPE_BUF;
}

static const char *write_all(struct output *output, const uint8_t *data, size_t bytes, const struct patience *patience,
                             int64_t deadline_ns)
{
    while (bytes > 0) {
        if (!is_writable(output->fd, patience, deadline_ns))
            return "timeout";
        ssize_t written = write(output->fd, data, portion(output->fd, bytes));
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            return strerrorname_np(errno);
        if (written <= 0)
            continue;
        output->broken = data[written - 1] != '\n';
        data += written;
        bytes -= (size_t)written;
    }
    return NULL;
}

static const char *write_lines(struct output *output, const struct buffer *text, const struct patience *patience,
                               int64_t deadline_ns)
{
    follow_path(output);
    const char *error = NULL;
    if (output->broken)
        error = write_all(output, (const uint8_t *)"\n", 1, patience, deadline_ns);
    return error ? error : write_all(output, text->data, text->size, patience, deadline_ns);
}

static bool take_turn(struct output *output, const struct patience *patience, int64_t deadline_ns)
{
    while (clock_now_ns() < patience_limit(patience, deadline_ns)) {
        int64_t until_ns = clock_wall_ns() + LOOK_EVERY_MS * NS_PER_MS;
        struct timespec until = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
        if (pthread_mutex_timedlock(&output->turn, &until) == 0)
            return true;
    }
    return false;
}

const char *output_write(struct output *output, const struct buffer *text, const struct patience *patience,
                         int64_t deadline_ns)
{
    if (!take_turn(output, patience, deadline_ns))
        return "timeout";
    struct quiet quiet;
    quiet_begin(&quiet);
    const char *error = write_lines(output, text, patience, deadline_ns);
    quiet_end(&quiet);
    pthread_mutex_unlock(&output->turn);
    return error;
}
