#include "otel/sdk/thread.h"

#include <pthread.h>
#include <stddef.h>

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* What is used once more meanwhile is watched anew, and then called in another round. */
static void end(void *first)
{
    for (struct thread_own *own = first, *next; own; own = next) {
        next = own->next;
        own->watched = false;
        own->give_back();
    }
}

static void make_key(void)
{
    pthread_key_create(&key, end);
}

void thread_watch_first(struct thread_own *own)
{
    pthread_once(&once, make_key);
    own->watched = true;
    own->next = pthread_getspecific(key);
    pthread_setspecific(key, own);
}
