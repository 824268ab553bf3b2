/* The path is walked as the kernel does: each symlink on it, and the file, are names in directories that inotify
 * watches; the directories between are watched for being moved away. What happened is not told apart: after any of it
 * the path is walked anew, watches are set anew, and only then the change is told. So whoever reads the file then reads
 * it under watches that see what comes next, and no last change can be missed. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "config/internal.h"
#include "otel/sdk/settings.h"
#include "otel/settings/node.h"

enum { POLL_MS = 1000, QUIET_MS = 50, LONGEST_MS = 500, SYMLINKS_MAX = 40, PLACES_MAX = SYMLINKS_MAX + 1 };

#define SELF_EVENTS (IN_MOVE_SELF | IN_DELETE_SELF | IN_MASK_ADD)
#define NAME_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB)
#define FILE_EVENTS (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB)
#define CIFS_MAGIC  0xff534d42 /* linux/magic.h has only its elder */
#define FUSE_MAGIC  0x65735546

/* A name that matters, in a watched directory. */
struct place {
    int wd;
    char name[NAME_MAX + 1];
};

struct signature {
    dev_t device;
    ino_t inode;
    struct timespec changed;
    uint8_t digest[32];
};

struct settings_watch {
    char *path; /* absolute */
    void (*changed)(void *arg);
    void *arg;
    pthread_t thread;
    int stop_fd, inotify_fd; /* -1: inotify does not work */
    bool polls;
    struct place places[PLACES_MAX];
    unsigned place_count;
    struct signature signature;
    int64_t first_ns, last_ns; /* of the events that were not told yet; 0: none */
};

/* --- watches */

static bool watch_name(struct settings_watch *watch, const char *directory, const char *name)
{
    if (watch->place_count == PLACES_MAX || strlen(name) > NAME_MAX)
        return false;
    struct place *place = &watch->places[watch->place_count];
    place->wd = inotify_add_watch(watch->inotify_fd, directory, SELF_EVENTS | NAME_EVENTS | IN_ONLYDIR);
    if (place->wd < 0)
        return false;
    strcpy(place->name, name);
    watch->place_count++;
    return true;
}

/* Changes on the other side of a network make no events here. */
static bool is_remote(const char *path)
{
    static const unsigned long kinds[] = {NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, CIFS_MAGIC,
                                          FUSE_MAGIC,      V9FS_MAGIC,      CEPH_SUPER_MAGIC};
    struct statfs status;
    if (statfs(path, &status) != 0)
        return false;
    for (size_t i = 0; i < array_count(kinds); i++)
        if ((unsigned long)status.f_type == kinds[i])
            return true;
    return false;
}

/* Where the walk is: a real directory, without a slash at its end, and what is left to go. */
struct walk {
    char directory[PATH_MAX], rest[PATH_MAX], name[NAME_MAX + 1];
};

/* The next name of the rest; false when there is none. */
static bool next_name(struct walk *walk)
{
    const char *begin = walk->rest + strspn(walk->rest, "/");
    size_t length = strcspn(begin, "/");
    if (length == 0 || length > NAME_MAX)
        return false;
    memcpy(walk->name, begin, length);
    walk->name[length] = '\0';
    memmove(walk->rest, begin + length, strlen(begin + length) + 1);
    return true;
}

static bool is_last(const struct walk *walk)
{
    return walk->rest[strspn(walk->rest, "/")] == '\0';
}

static bool join(char out[PATH_MAX], const char *directory, const char *name)
{
    return (size_t)snprintf(out, PATH_MAX, "%s/%s", directory, name) < PATH_MAX;
}

static bool follow(struct walk *walk, const char *target)
{
    char rest[PATH_MAX];
    if (!join(rest, target, walk->rest))
        return false;
    strcpy(walk->rest, rest);
    if (*target == '/')
        walk->directory[0] = '\0';
    return true;
}

static void go_up(struct walk *walk)
{
    char *slash = strrchr(walk->directory, '/');
    if (slash)
        *slash = '\0';
}

static const char *directory_of(const struct walk *walk)
{
    return *walk->directory ? walk->directory : "/";
}

static bool watch_end(struct settings_watch *watch, const struct walk *walk, const char *path)
{
    if (!watch_name(watch, directory_of(walk), walk->name))
        return false;
    /* The file too: a bind mount's directory does not hear of it. Missing is no reason to poll. */
    if (inotify_add_watch(watch->inotify_fd, path, SELF_EVENTS | FILE_EVENTS) < 0 && errno != ENOENT && errno != EACCES)
        return false;
    watch->polls = is_remote(directory_of(walk));
    return true;
}

/* False: inotify does not do it. */
static bool walk_path(struct settings_watch *watch, struct walk *walk)
{
    char path[PATH_MAX], target[PATH_MAX];
    for (unsigned symlinks = 0; symlinks <= SYMLINKS_MAX && next_name(walk);) {
        struct stat status;
        if (strcmp(walk->name, ".") == 0)
            continue;
        if (strcmp(walk->name, "..") == 0) {
            go_up(walk);
            continue;
        }
        if (!join(path, walk->directory, walk->name))
            return false;
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length > 0) {
            target[length] = '\0';
            symlinks++;
            if (!watch_name(watch, directory_of(walk), walk->name) || !follow(walk, target))
                return false;
            continue;
        }
        if (is_last(walk) || stat(path, &status) != 0)
            return watch_end(watch, walk, path);
        if (inotify_add_watch(watch->inotify_fd, path, SELF_EVENTS) < 0)
            return false;
        strcpy(walk->directory, path);
    }
    return false;
}

static void set_watches(struct settings_watch *watch)
{
    struct walk walk = {.directory = ""};
    if (watch->inotify_fd >= 0)
        close(watch->inotify_fd);
    watch->place_count = 0;
    watch->polls = true;
    watch->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->inotify_fd < 0)
        return;
    strcpy(walk.rest, watch->path);
    if (walk_path(watch, &walk))
        return;
    watch->polls = true;
}

/* --- events */

static bool matters(const struct settings_watch *watch, const struct inotify_event *event)
{
    if (event->len == 0)
        return true; /* the file itself, a directory of the path, or lost events */
    for (unsigned i = 0; i < watch->place_count; i++)
        if (watch->places[i].wd == event->wd && strcmp(watch->places[i].name, event->name) == 0)
            return true;
    return false;
}

static bool read_events(const struct settings_watch *watch)
{
    _Alignas(struct inotify_event) char buffer[4096];
    ssize_t bytes;
    bool any = false;
    while ((bytes = read(watch->inotify_fd, buffer, sizeof buffer)) > 0)
        for (ssize_t at = 0; at < bytes;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)(buffer + at);
            any |= matters(watch, event);
            at += (ssize_t)(sizeof *event + event->len);
        }
    return any;
}

/* --- polling */

static struct signature sign(const char *path)
{
    struct signature signature;
    struct stat status;
    struct arena arena;
    const char *reason;
    size_t bytes;
    memset(&signature, 0, sizeof signature); /* compared by its bytes */
    if (stat(path, &status) != 0)
        return signature;
    signature.device = status.st_dev;
    signature.inode = status.st_ino;
    signature.changed = status.st_ctim;
    arena_init(&arena, 65536);
    const char *text = file_read(&arena, path, SETTINGS_FILE_BYTES_MAX, &bytes, &reason);
    if (text)
        hash_sha256(text, bytes, signature.digest);
    arena_done(&arena);
    return signature;
}

static bool differs(const struct settings_watch *watch)
{
    struct signature now = sign(watch->path);
    return memcmp(&now, &watch->signature, sizeof now) != 0;
}

/* --- the thread */

static void note(struct settings_watch *watch, int64_t now_ns)
{
    if (!watch->first_ns)
        watch->first_ns = now_ns;
    watch->last_ns = now_ns;
}

static int64_t due_ns(const struct settings_watch *watch)
{
    int64_t quiet = watch->last_ns + QUIET_MS * NS_PER_MS, longest = watch->first_ns + LONGEST_MS * NS_PER_MS;
    return quiet < longest ? quiet : longest;
}

static int wait_ms(const struct settings_watch *watch)
{
    if (!watch->first_ns)
        return watch->polls ? POLL_MS : -1;
    int64_t left = due_ns(watch) - clock_now_ns();
    return left > 0 ? (int)(left / NS_PER_MS) + 1 : 0;
}

static void tell(struct settings_watch *watch)
{
    watch->first_ns = 0;
    set_watches(watch);
    if (watch->polls)
        watch->signature = sign(watch->path);
    watch->changed(watch->arg);
}

static void *run(void *arg)
{
    struct settings_watch *watch = arg;
    struct pollfd fds[2] = {{.fd = watch->stop_fd, .events = POLLIN}, {.events = POLLIN}};
    for (;;) {
        fds[1].fd = watch->inotify_fd;
        int ready = poll(fds, array_count(fds), wait_ms(watch));
        if (ready > 0 && fds[0].revents)
            return NULL;
        if (ready > 0 && read_events(watch))
            note(watch, clock_now_ns());
        if (ready == 0 && !watch->first_ns && differs(watch))
            note(watch, clock_now_ns());
        if (watch->first_ns && clock_now_ns() >= due_ns(watch))
            tell(watch);
    }
}

/* Signals are for the threads of the program's own. */
static int start_thread(struct settings_watch *watch)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&watch->thread, NULL, run, watch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error)
        pthread_setname_np(watch->thread, "otel-settings");
    return error;
}

static void free_watch(struct settings_watch *watch)
{
    if (watch->stop_fd >= 0)
        close(watch->stop_fd);
    if (watch->inotify_fd >= 0)
        close(watch->inotify_fd);
    free(watch->path);
    free(watch);
}

static char *absolute(const char *path)
{
    char directory[PATH_MAX];
    if (*path == '/')
        return mem_text(path);
    return getcwd(directory, sizeof directory) ? mem_print("%s/%s", directory, path) : NULL;
}

struct settings_watch *settings_watch_start(const char *path, void (*changed)(void *arg), void *arg)
{
    struct settings_watch *watch = mem_alloc(sizeof *watch);
    watch->changed = changed;
    watch->arg = arg;
    watch->inotify_fd = -1;
    watch->path = absolute(path);
    watch->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = !watch->path || strlen(watch->path) >= PATH_MAX ? ENAMETOOLONG : watch->stop_fd < 0 ? errno : 0;
    if (!error) {
        set_watches(watch);
        watch->signature = sign(watch->path);
        error = start_thread(watch);
    }
    if (!error)
        return watch;
    log_event(LOG_ERROR, "telemetry settings cannot be watched", log_text("file", path),
              log_text("reason", strerror(error)));
    free_watch(watch);
    return NULL;
}

void settings_watch_stop(struct settings_watch *watch)
{
    if (!watch)
        return;
    const uint64_t one = 1;
    while (write(watch->stop_fd, &one, sizeof one) < 0 && errno == EINTR)
        continue;
    pthread_join(watch->thread, NULL);
    free_watch(watch);
}
