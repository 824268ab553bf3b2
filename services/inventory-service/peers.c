#include "inventory.h"
#include "order.pb-c.h"

enum err order_resolve(struct request *req, struct uuid order_id, bool *out_exists)
{
    static const struct rpc_procedure procedure =
        RPC_PROCEDURE("order.Order/ResolveOrder", order__resolve_order_request, order__resolve_order_response);
    Order__ResolveOrderRequest in = ORDER__RESOLVE_ORDER_REQUEST__INIT;
    Order__ResolveOrderResponse *out;
    in.order_id = uuid_print(req->arena, order_id);
    enum err err = rpc_call(req, req->worker->peers[PEER_ORDER], &procedure, &in, &out);
    if (!err)
        *out_exists = out->exists;
    return err;
}
