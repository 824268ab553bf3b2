/* The read side of what a hot reload swaps.
 *
 * Callers of the API read the current pipeline (atomic_load) between guard_enter() and guard_exit(): a plain store
 * each, no lock, no shared cache line. After swapping a pointer (atomic_exchange) the reloading thread calls
 * guard_wait(): when it returns nobody uses the old object any more. Enter and exit nest; between them a thread must
 * not wait. */
#ifndef OTEL_SDK_GUARD_H
#define OTEL_SDK_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { GUARD_DEPTH = 0xff }; /* of visit: how deep the thread is in; above that, how often it left */

struct guard_thread {
    _Atomic(uint64_t) visit; /* private */
    bool fenced;             /* private: the kernel refuses membarrier */
    bool taken;              /* private */
    unsigned slot;           /* a small number of this thread, from 0: threads that end give theirs back */
    struct guard_thread *next;
};

extern __thread struct guard_thread *guard_self;
struct guard_thread *guard_join(void); /* private: first use by a thread */

static inline struct guard_thread *guard_enter(void)
{
    struct guard_thread *self = guard_self ? guard_self : guard_join();
    uint64_t visit = atomic_load_explicit(&self->visit, memory_order_relaxed) + 1;
    if (__builtin_expect(self->fenced, 0))
        atomic_store(&self->visit, visit);
    else
        atomic_store_explicit(&self->visit, visit, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* guard_wait() makes it a full one on every thread (membarrier) */
    return self;
}

static inline void guard_exit(struct guard_thread *self)
{
    uint64_t visit = atomic_load_explicit(&self->visit, memory_order_relaxed) - 1;
    if ((visit & GUARD_DEPTH) == 0)
        visit += GUARD_DEPTH + 1;
    atomic_store_explicit(&self->visit, visit, memory_order_release);
}

/* Waits until every thread has left what it was in; that it may have entered anew does not matter. Any thread outside
 * of a guard. */
void guard_wait(void);

#endif
