/* A circuit between a client and a peer that does not answer: it spares both the calls that would fail anyway.
 *
 * It opens when RPC_CIRCUIT_FAILURES calls in a row, over at least RPC_CIRCUIT_SPAN_MS, had no answer: the peer could
 * not be reached, or kept a patient caller waiting until the deadline. Any answer, also an error that the peer's own
 * code gives, closes it. While it is open calls fail at once, but for one at a time that tries: every
 * RPC_CIRCUIT_TRY_MS, and sooner when there is a connection again. Loop thread only. */
#ifndef RPC_CIRCUIT_H
#define RPC_CIRCUIT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    RPC_CIRCUIT_FAILURES = 5,
    RPC_CIRCUIT_SPAN_MS = 250,
    RPC_CIRCUIT_TRY_MS = 500,
    RPC_CIRCUIT_TRY_CONNECTED_MS = 50,
    RPC_CIRCUIT_PATIENCE_MS = 1000, /* a call that was given less says nothing when its time is over */
};

struct rpc_circuit {
    bool open, trying;
    unsigned failures; /* in a row */
    int64_t first_ns;  /* of them */
    int64_t tried_ns;
};

/* What a call told about the peer. */
enum rpc_verdict { RPC_ANSWERED, RPC_UNANSWERED, RPC_SAYS_NOTHING };

/* May a call be made? Its verdict is owed. */
bool rpc_circuit_lets(struct rpc_circuit *circuit, bool connected, int64_t now_ns);
/* True when the circuit opened or closed by it. */
bool rpc_circuit_judge(struct rpc_circuit *circuit, enum rpc_verdict verdict, int64_t now_ns);

#endif
