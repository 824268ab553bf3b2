/* Always in the library, and never in a program that was built without FAILPOINTS: nothing there asks for it. */
#ifndef FAILPOINTS
#define FAILPOINTS
#endif
#include "common/failpoint.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/request.h"

enum { POINTS_MAX = 64, NAME_BYTES = 64, DELAY_MS_MAX = 60000, COUNT_MAX = 1000000, TEXT_BYTES_MAX = 4096 };

enum action { OFF, CRASH, ERROR, DELAY };

struct point {
    char name[NAME_BYTES];
    enum action action;
    int argument; /* an enum err, or ms */
    long left;    /* -1: without end */
    unsigned long acted;
};

static struct point points[POINTS_MAX];
static unsigned point_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t environment = PTHREAD_ONCE_INIT;

/* --- reading */

static bool read_number(const char *text, long max, long *out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 7 || text[digits] || atol(text) > max)
        return false;
    *out = atol(text);
    return true;
}

static bool read_code(const char *text, int *out)
{
    for (int err = ERR_CANCELLED; err <= ERR_UNAUTHENTICATED; err++) {
        if (strcmp(err_name(err), text) != 0)
            continue;
        *out = err;
        return true;
    }
    return false;
}

/* "error(UNAVAILABLE)" */
static bool read_action(char *text, struct point *out)
{
    char *argument = strchr(text, '(');
    size_t length = strlen(text);
    long ms;
    if (!argument) {
        out->action = strcmp(text, "crash") == 0 ? CRASH : OFF;
        return out->action == CRASH || strcmp(text, "off") == 0;
    }
    if (text[length - 1] != ')')
        return false;
    text[length - 1] = '\0';
    *argument++ = '\0';
    if (strcmp(text, "error") == 0) {
        out->action = ERROR;
        return read_code(argument, &out->argument);
    }
    if (strcmp(text, "delay") != 0 || !read_number(argument, DELAY_MS_MAX, &ms))
        return false;
    out->action = DELAY;
    out->argument = (int)ms;
    return true;
}

/* "name=action*count" */
static bool read_point(char *text, struct point *out)
{
    char *action = strchr(text, '=');
    if (!action || action == text || action - text >= NAME_BYTES)
        return false;
    *action++ = '\0';
    *out = (struct point){.left = -1};
    strcpy(out->name, text);
    char *count = strchr(action, '*');
    if (count) {
        *count++ = '\0';
        if (!read_number(count, COUNT_MAX, &out->left))
            return false;
    }
    return read_action(action, out);
}

/* --- setting */

static struct point *find(const char *name)
{
    for (unsigned i = 0; i < point_count; i++)
        if (strcmp(points[i].name, name) == 0)
            return &points[i];
    return NULL;
}

static bool keep(const struct point *point)
{
    struct point *place = find(point->name);
    if (!place && point_count < POINTS_MAX)
        place = &points[point_count++];
    if (place)
        *place = *point;
    return place != NULL;
}

static enum err refuse(char *message, size_t bytes, const char *text)
{
    snprintf(message, bytes,
             "failpoints: expected name=crash, name=error(CODE), name=delay(MS) or name=off, each with *count or "
             "without, got \"%.100s\"",
             text);
    return ERR_INVALID_ARGUMENT;
}

enum err failpoints_set(const char *text, char *message, size_t message_bytes)
{
    struct point read[POINTS_MAX];
    unsigned count = 0;
    char *rest = NULL;
    if (strlen(text) >= TEXT_BYTES_MAX)
        return refuse(message, message_bytes, "too much of it");
    scoped_free char *copy = mem_text(text);
    for (char *one = strtok_r(copy, ", \n", &rest); one; one = strtok_r(NULL, ", \n", &rest)) {
        scoped_free char *given = mem_text(one);
        if (count == POINTS_MAX || !read_point(one, &read[count++]))
            return refuse(message, message_bytes, given);
    }
    bool room = true;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < count; i++)
        room = keep(&read[i]) && room;
    pthread_mutex_unlock(&lock);
    return room ? ERR_OK : refuse(message, message_bytes, "more than 64 names");
}

static void read_environment(void)
{
    char message[256];
    const char *text = getenv("FAILPOINTS");
    if (!text || failpoints_set(text, message, sizeof message) == ERR_OK)
        return;
    log_event(LOG_ERROR, "cannot start", log_text("reason", message));
    _exit(2);
}

static const char *print_action(const struct point *point, char *out, size_t bytes)
{
    if (point->action == ERROR)
        snprintf(out, bytes, "error(%s)", err_name(point->argument));
    else if (point->action == DELAY)
        snprintf(out, bytes, "delay(%d)", point->argument);
    else
        snprintf(out, bytes, "%s", point->action == CRASH ? "crash" : "off");
    return out;
}

void failpoints_print(char *out, size_t bytes)
{
    size_t used = 0;
    char action[64];
    out[0] = '\0';
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < point_count && used < bytes; i++) {
        const struct point *point = &points[i];
        used += (size_t)snprintf(out + used, bytes - used, "%s=%s*%ld %lu\n", point->name,
                                 print_action(point, action, sizeof action), point->left, point->acted);
    }
    pthread_mutex_unlock(&lock);
}

/* --- acting */

static struct point take(const char *name)
{
    struct point taken = {.action = OFF};
    pthread_mutex_lock(&lock);
    struct point *point = find(name);
    if (point && point->action != OFF && point->left != 0) {
        taken = *point;
        point->acted++;
        point->left -= point->left > 0;
    }
    pthread_mutex_unlock(&lock);
    return taken;
}

enum err failpoint(struct request *req, const char *name)
{
    pthread_once(&environment, read_environment);
    struct point point = take(name);
    if (point.action == OFF)
        return ERR_OK;
    log_event(LOG_WARN, "a failpoint acts", log_text("failpoint", name));
    if (point.action == CRASH)
        kill(getpid(), SIGKILL);
    if (point.action == DELAY)
        fiber_sleep_until(clock_now_ns() + point.argument * NS_PER_MS);
    return point.action == ERROR ? fail(req, (enum err)point.argument, "failpoint %s", name) : ERR_OK;
}
