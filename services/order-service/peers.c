#include "inventory.pb-c.h"
#include "order.h"

enum err inventory_deduct(struct request *req, const struct draft *draft)
{
    static const struct rpc_procedure deduct =
        RPC_PROCEDURE("inventory.Inventory/DeductInventory", inventory__deduct_inventory_request,
                      inventory__deduct_inventory_response);
    Inventory__DeductInventoryRequest in = INVENTORY__DEDUCT_INVENTORY_REQUEST__INIT;
    Inventory__DeductInventoryResponse *out;
    in.product_id = uuid_print(req->arena, draft->product_id);
    in.quantity = draft->quantity;
    in.order_id = uuid_print(req->arena, draft->id);
    enum err err = rpc_call(req, req->worker->peers[PEER_INVENTORY], &deduct, &in, &out);
    if (err == ERR_ALREADY_EXISTS)
        return fail(req, err, "this idempotency key belongs to an order with another body");
    if (err)
        return err;
    return out->success ? ERR_OK : fail(req, ERR_FAILED_PRECONDITION, "Insufficient inventory");
}

enum err inventory_release(struct request *req, struct uuid order_id)
{
    static const struct rpc_procedure release =
        RPC_PROCEDURE("inventory.Inventory/ReleaseInventory", inventory__release_inventory_request,
                      inventory__release_inventory_response);
    Inventory__ReleaseInventoryRequest in = INVENTORY__RELEASE_INVENTORY_REQUEST__INIT;
    Inventory__ReleaseInventoryResponse *out;
    in.order_id = uuid_print(req->arena, order_id);
    return rpc_call(req, req->worker->peers[PEER_INVENTORY], &release, &in, &out);
}
