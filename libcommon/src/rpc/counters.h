/* Figures of one loop's calls: its thread writes, any thread reads. */
#ifndef RPC_COUNTERS_H
#define RPC_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

struct rpc_counters {
    _Atomic uint64_t started, ended, failed, refused, retried, unretried, circuits_opened, circuits_closed, cut;
};

static inline void rpc_count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

#endif
