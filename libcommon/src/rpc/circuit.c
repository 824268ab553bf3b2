#include "rpc/circuit.h"

#include "common/clock.h"

bool rpc_circuit_lets(struct rpc_circuit *circuit, bool connected, int64_t now_ns)
{
    if (!circuit->open)
        return true;
    int64_t every_ms = connected ? RPC_CIRCUIT_TRY_CONNECTED_MS : RPC_CIRCUIT_TRY_MS;
    if (circuit->trying || now_ns - circuit->tried_ns < every_ms * NS_PER_MS)
        return false;
    circuit->trying = true;
    circuit->tried_ns = now_ns;
    return true;
}

static bool answered(struct rpc_circuit *circuit)
{
    bool changed = circuit->open;
    *circuit = (struct rpc_circuit){.failures = 0};
    return changed;
}

static bool unanswered(struct rpc_circuit *circuit, int64_t now_ns)
{
    circuit->trying = false;
    if (circuit->open)
        return false;
    if (circuit->failures++ == 0)
        circuit->first_ns = now_ns;
    if (circuit->failures < RPC_CIRCUIT_FAILURES || now_ns - circuit->first_ns < RPC_CIRCUIT_SPAN_MS * NS_PER_MS)
        return false;
    circuit->open = true;
    circuit->tried_ns = now_ns;
    return true;
}

bool rpc_circuit_judge(struct rpc_circuit *circuit, enum rpc_verdict verdict, int64_t now_ns)
{
    switch (verdict) {
    case RPC_ANSWERED:
        return answered(circuit);
    case RPC_UNANSWERED:
        return unanswered(circuit, now_ns);
    case RPC_SAYS_NOTHING:
        break;
    }
    circuit->trying = false;
    return false;
}
