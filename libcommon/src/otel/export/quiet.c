#include "otel/export/quiet.h"

#include <pthread.h>
#include <time.h>

static void set_of_pipe(sigset_t *out)
{
    sigemptyset(out);
    sigaddset(out, SIGPIPE);
}

static bool is_pending(void)
{
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGPIPE) == 1;
}

void quiet_begin(struct quiet *quiet)
{
    sigset_t pipe;
    set_of_pipe(&pipe);
    quiet->pending = is_pending();
    pthread_sigmask(SIG_BLOCK, &pipe, &quiet->before);
}

void quiet_end(const struct quiet *quiet)
{
    static const struct timespec at_once;
    sigset_t pipe;
    set_of_pipe(&pipe);
    if (!quiet->pending && is_pending())
        sigtimedwait(&pipe, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &quiet->before, NULL);
}
