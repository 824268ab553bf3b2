/* Watching the settings file: whatever way it changes, the change is told, and the last one is never missed. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "support/support.h"

#include "common/log.h"
#include "otel/sdk/settings.h"

enum { WAIT_S = 20 };

/* --- system calls that fail on demand; these stand before libc's */

static _Atomic(bool) no_inotify, no_watches;

int inotify_init1(int flags)
{
    if (no_inotify) {
        errno = EMFILE;
        return -1;
    }
    return (int)syscall(SYS_inotify_init1, flags);
}

int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
    if (no_watches) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_inotify_add_watch, fd, path, mask);
}

/* --- files */

static char directory[] = "/tmp/test_otel_watch_XXXXXX";

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void replace_symlink(const char *target, const char *path)
{
    unlink("symlink.new");
    assert_int_equal(symlink(target, "symlink.new"), 0);
    assert_int_equal(rename("symlink.new", path), 0);
}

static int enter_directory(void **state)
{
    (void)state;
    log_level_set(LOG_OFF);
    return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static int leave_directory(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

/* Each test has an empty directory. */
static int set_up(void **state)
{
    (void)state;
    no_inotify = no_watches = false;
    return system("rm -rf -- * ..2* ..data") == 0 ? 0 : -1;
}

/* --- what was told */

struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *path;
    unsigned calls;
    char text[64]; /* of the file, when it was told */
    bool blocks_signals;
};

static void read_file(const char *path, char out[64])
{
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(out, 1, 63, file) : 0;
    out[length] = '\0';
    if (file)
        fclose(file);
}

static void note(void *arg)
{
    struct seen *seen = arg;
    sigset_t blocked;
    char text[64];
    read_file(seen->path, text);
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    pthread_mutex_lock(&seen->lock);
    seen->calls++;
    strcpy(seen->text, text);
    seen->blocks_signals = sigismember(&blocked, SIGTERM) == 1 && sigismember(&blocked, SIGUSR1) == 1;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static struct settings_watch *start(struct seen *seen, const char *path)
{
    *seen = (struct seen){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .path = path};
    struct settings_watch *watch = settings_watch_start(path, note, seen);
    assert_non_null(watch);
    return watch;
}

/* Until the file was told with this text. */
static void await(struct seen *seen, const char *text)
{
    struct timespec limit;
    int error = 0;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += WAIT_S;
    pthread_mutex_lock(&seen->lock);
    while ((seen->calls == 0 || strcmp(seen->text, text) != 0) && !error)
        error = pthread_cond_timedwait(&seen->changed, &seen->lock, &limit);
    pthread_mutex_unlock(&seen->lock);
    assert_int_equal(error, 0);
}

static unsigned calls(struct seen *seen)
{
    pthread_mutex_lock(&seen->lock);
    unsigned count = seen->calls;
    pthread_mutex_unlock(&seen->lock);
    return count;
}

/* --- the ways in which a file changes */

static void test_a_write_is_told_on_a_thread_without_signals(void **state)
{
    (void)state;
    struct seen seen;
    write_file("otel.yaml", "one");
    struct settings_watch *watch = start(&seen, "otel.yaml");
    write_file("otel.yaml", "two");
    await(&seen, "two");
    write_file("otel.yaml", "six");
    await(&seen, "six");
    assert_true(seen.blocks_signals);
    settings_watch_stop(watch);
}

static void test_a_file_that_is_moved_over_it_is_told(void **state)
{
    (void)state;
    struct seen seen;
    write_file("otel.yaml", "one");
    struct settings_watch *watch = start(&seen, "otel.yaml");
    for (unsigned i = 0; i < 3; i++) {
        char text[16];
        snprintf(text, sizeof text, "moved %u", i);
        write_file("otel.yaml.new", text);
        assert_int_equal(rename("otel.yaml.new", "otel.yaml"), 0);
        await(&seen, text);
    }
    settings_watch_stop(watch);
}

/* As kubelet does: a new directory, then ..data is moved over. */
static void mount(const char *version, const char *text)
{
    char path[64];
    assert_int_equal(mkdir(version, 0755), 0);
    snprintf(path, sizeof path, "%s/otel.yaml", version);
    write_file(path, text);
    assert_int_equal(symlink(version, "..data_tmp"), 0);
    assert_int_equal(rename("..data_tmp", "..data"), 0);
}

static void test_the_swap_of_a_mounted_config_map_is_told(void **state)
{
    (void)state;
    struct seen seen;
    mount("..2024_1", "one");
    assert_int_equal(symlink("..data/otel.yaml", "otel.yaml"), 0);
    struct settings_watch *watch = start(&seen, "otel.yaml");
    mount("..2024_2", "two");
    assert_int_equal(unlink("..2024_1/otel.yaml") | rmdir("..2024_1"), 0);
    await(&seen, "two");
    mount("..2024_3", "three");
    assert_int_equal(unlink("..2024_2/otel.yaml") | rmdir("..2024_2"), 0);
    await(&seen, "three");
    write_file("..2024_3/otel.yaml", "four");
    await(&seen, "four");
    settings_watch_stop(watch);
}

static void test_changes_behind_symlinks_of_directories_and_files_are_told(void **state)
{
    (void)state;
    struct seen seen;
    char target[PATH_MAX];
    assert_int_equal(mkdir("a", 0755) | mkdir("b", 0755) | mkdir("files", 0755), 0);
    write_file("files/real", "one");
    snprintf(target, sizeof target, "%s/files/./real", directory);
    assert_int_equal(symlink(target, "a/otel.yaml") | symlink("../files/real", "b/otel.yaml") | symlink("a", "config"),
                     0);
    struct settings_watch *watch = start(&seen, "./config//otel.yaml");
    write_file("files/real", "written");
    await(&seen, "written");
    write_file("files/other", "swapped");
    replace_symlink("../files/other", "b/otel.yaml");
    replace_symlink("b", "config");
    await(&seen, "swapped");
    write_file("files/other", "written again");
    await(&seen, "written again");
    settings_watch_stop(watch);
}

static void test_a_file_that_goes_and_comes_is_told(void **state)
{
    (void)state;
    struct seen seen;
    write_file("otel.yaml", "one");
    struct settings_watch *watch = start(&seen, "otel.yaml");
    assert_int_equal(unlink("otel.yaml"), 0);
    await(&seen, "");
    write_file("otel.yaml", "back");
    await(&seen, "back");
    settings_watch_stop(watch);
}

static void test_directories_that_come_and_are_moved_are_told(void **state)
{
    (void)state;
    struct seen seen;
    struct settings_watch *watch = start(&seen, "later/config/otel.yaml");
    assert_int_equal(mkdir("other", 0755) | mkdir("other/config", 0755), 0);
    write_file("other/config/otel.yaml", "moved in");
    assert_int_equal(rename("other", "later"), 0);
    await(&seen, "moved in");
    assert_int_equal(rename("later", "away"), 0);
    await(&seen, "");
    assert_int_equal(rename("away", "later"), 0);
    await(&seen, "moved in");
    settings_watch_stop(watch);
}

static void test_a_symlink_to_nothing_and_one_to_itself_are_waited_for(void **state)
{
    (void)state;
    struct seen seen;
    assert_int_equal(symlink("nothing", "otel.yaml"), 0);
    struct settings_watch *watch = start(&seen, "otel.yaml");
    write_file("nothing", "something");
    await(&seen, "something");
    replace_symlink("otel.yaml", "otel.yaml");
    await(&seen, "");
    replace_symlink("nothing", "otel.yaml");
    await(&seen, "something");
    settings_watch_stop(watch);
}

static void test_of_a_burst_the_last_change_is_told_and_not_each(void **state)
{
    (void)state;
    enum { WRITES = 300 };
    struct seen seen;
    char text[16];
    write_file("otel.yaml", "one");
    struct settings_watch *watch = start(&seen, "otel.yaml");
    for (unsigned i = 1; i <= WRITES; i++) {
        snprintf(text, sizeof text, "write %u", i);
        write_file("otel.yaml", text);
    }
    await(&seen, text);
    assert_true(calls(&seen) < WRITES / 2);
    settings_watch_stop(watch);
}

/* Changes while a change is being told: none of these may be the last and stay unseen. */
static void test_the_last_of_many_changes_at_any_time_is_told(void **state)
{
    (void)state;
    struct seen seen;
    char text[16];
    write_file("otel.yaml", "one");
    struct settings_watch *watch = start(&seen, "otel.yaml");
    for (unsigned i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "round %u", i);
        write_file("otel.yaml.new", text);
        assert_int_equal(rename("otel.yaml.new", "otel.yaml"), 0);
        if (i % 5 == 0)
            await(&seen, text);
    }
    await(&seen, text);
    settings_watch_stop(watch);
}

/* The other file's watch shows when its events have passed. */
static void test_other_files_beside_it_do_not_matter(void **state)
{
    (void)state;
    struct seen seen, other;
    char text[16];
    write_file("otel.yaml", "one");
    struct settings_watch *watch = start(&seen, "otel.yaml"), *second = start(&other, "other");
    for (unsigned i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "noise %u", i);
        write_file("other", text);
        await(&other, text);
    }
    assert_int_equal(calls(&seen), 0);
    settings_watch_stop(second);
    settings_watch_stop(watch);
}

static void test_after_stop_nothing_is_told(void **state)
{
    (void)state;
    struct seen seen, other;
    write_file("otel.yaml", "one");
    settings_watch_stop(start(&seen, "otel.yaml"));
    struct settings_watch *second = start(&other, "otel.yaml");
    write_file("otel.yaml", "two");
    await(&other, "two");
    assert_int_equal(calls(&seen), 0);
    settings_watch_stop(second);
    settings_watch_stop(NULL);
}

/* --- without inotify */

static void await_by_polling(void)
{
    struct seen seen;
    write_file("otel.yaml", "one");
    struct settings_watch *watch = start(&seen, "otel.yaml");
    write_file("otel.yaml", "two");
    await(&seen, "two");
    write_file("otel.yaml", "six"); /* as long as before */
    await(&seen, "six");
    assert_int_equal(unlink("otel.yaml"), 0);
    await(&seen, "");
    settings_watch_stop(watch);
}

static void test_without_inotify_the_file_is_looked_at_each_second(void **state)
{
    (void)state;
    no_inotify = true;
    await_by_polling();
}

static void test_without_watches_the_file_is_looked_at_each_second(void **state)
{
    (void)state;
    no_watches = true;
    await_by_polling();
}

static void test_a_path_that_is_too_long_is_refused(void **state)
{
    (void)state;
    char path[PATH_MAX + 2];
    struct seen seen = {.path = path};
    memset(path, 'a', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_null(settings_watch_start(path, note, &seen));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_write_is_told_on_a_thread_without_signals, set_up),
        cmocka_unit_test_setup(test_a_file_that_is_moved_over_it_is_told, set_up),
        cmocka_unit_test_setup(test_the_swap_of_a_mounted_config_map_is_told, set_up),
        cmocka_unit_test_setup(test_changes_behind_symlinks_of_directories_and_files_are_told, set_up),
        cmocka_unit_test_setup(test_a_file_that_goes_and_comes_is_told, set_up),
        cmocka_unit_test_setup(test_directories_that_come_and_are_moved_are_told, set_up),
        cmocka_unit_test_setup(test_a_symlink_to_nothing_and_one_to_itself_are_waited_for, set_up),
        cmocka_unit_test_setup(test_of_a_burst_the_last_change_is_told_and_not_each, set_up),
        cmocka_unit_test_setup(test_the_last_of_many_changes_at_any_time_is_told, set_up),
        cmocka_unit_test_setup(test_other_files_beside_it_do_not_matter, set_up),
        cmocka_unit_test_setup(test_after_stop_nothing_is_told, set_up),
        cmocka_unit_test_setup(test_without_inotify_the_file_is_looked_at_each_second, set_up),
        cmocka_unit_test_setup(test_without_watches_the_file_is_looked_at_each_second, set_up),
        cmocka_unit_test_setup(test_a_path_that_is_too_long_is_refused, set_up),
    };
    return cmocka_run_group_tests_name("otel watch", tests, enter_directory, leave_directory);
}
