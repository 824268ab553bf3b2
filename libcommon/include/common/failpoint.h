/* Failpoints: places in the code where a test can make a process crash, fail or wait.
 *
 * A place is one line of what it stands between:
 *     err = failpoint(req, "order.insert.before");
 * It is there in builds with -DFAILPOINTS only; elsewhere it is ERR_OK, and neither name nor code is in the program.
 * By itself it does nothing. It is set by $FAILPOINTS at the first place that is reached, or by failpoints_set():
 *     name=action[*count], several with a comma between
 *     crash            the process kills itself, as SIGKILL does
 *     error(CODE)      the place returns it: "UNAVAILABLE", see err_name()
 *     delay(MS)        the fiber waits, up to 60000 ms
 *     off              nothing again
 * With a count it acts so often, and is off then. At most 64 are set at a time. Any thread; delay needs a fiber. */
#ifndef COMMON_FAILPOINT_H
#define COMMON_FAILPOINT_H

#include <stddef.h>

#include "common/err.h"

struct request;

#ifdef FAILPOINTS
/* name: static text. */
enum err failpoint(struct request *req, const char *name);
#else
static inline enum err failpoint(struct request *req, const char *name)
{
    (void)req;
    (void)name;
    return ERR_OK;
}
#endif

/* All of text or nothing of it; ERR_INVALID_ARGUMENT with a message. */
enum err failpoints_set(const char *text, char *message, size_t message_bytes);
/* One line each: name=action[*count left], how often it acted. Cut at bytes. */
void failpoints_print(char *out, size_t bytes);

#endif
