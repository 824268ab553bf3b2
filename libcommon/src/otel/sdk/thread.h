/* What a thread keeps for itself, and gives back when it ends. */
#ifndef OTEL_SDK_THREAD_H
#define OTEL_SDK_THREAD_H

#include <stdbool.h>

/* Thread-local, for as long as the thread lives. */
struct thread_own {
    void (*give_back)(void);
    bool watched; /* private; false at first, and after give_back */
    struct thread_own *next;
};

void thread_watch_first(struct thread_own *own); /* private */

/* From now on give_back will be called on this thread, at its end. */
static inline void thread_watch(struct thread_own *own)
{
    if (__builtin_expect(!own->watched, 0))
        thread_watch_first(own);
}

#endif
