#include "common/failpoint.h"
#include "common/service.h"
#include "inventory.h"
#include "inventory.pb-c.h"

static void answer_stock(struct request *req, struct uuid product_id, int32_t quantity,
                         Inventory__InventoryResponse *out)
{
    out->product_id = uuid_print(req->arena, product_id);
    out->quantity = quantity;
}

enum err check_inventory(struct request *req, const void *message, void *answer)
{
    const Inventory__CheckInventoryRequest *in = message;
    Inventory__CheckInventoryResponse *out = answer;
    struct uuid product_id;
    int32_t quantity;
    enum err err = request_uuid(req, "product_id", in->product_id, &product_id);
    if (!err)
        err = check_quantity(req, in->quantity);
    if (!err)
        err = stock_find(req, product_id, &quantity);
    if (err)
        return err;
    out->available = quantity >= in->quantity;
    return ERR_OK;
}

enum err deduct_inventory(struct request *req, const void *message, void *answer)
{
    const Inventory__DeductInventoryRequest *in = message;
    Inventory__DeductInventoryResponse *out = answer;
    struct reservation wanted = {.quantity = in->quantity};
    bool held;
    enum err err = request_uuid(req, "product_id", in->product_id, &wanted.product_id);
    if (!err)
        err = request_uuid(req, "order_id", in->order_id, &wanted.order_id);
    if (!err)
        err = check_quantity(req, in->quantity);
    if (!err)
        err = failpoint(req, "deduct.before");
    if (!err)
        err = reservation_take(req, &wanted, &held);
    if (!err)
        err = failpoint(req, "deduct.answer.before");
    service_count("bodega.stock.deductions", err ? err_name(err) : held ? "held" : "insufficient");
    if (err)
        return err;
    out->success = held;
    return ERR_OK;
}

enum err get_inventory(struct request *req, const void *message, void *answer)
{
    const Inventory__GetInventoryRequest *in = message;
    struct uuid product_id;
    int32_t quantity;
    enum err err = request_uuid(req, "product_id", in->product_id, &product_id);
    if (!err)
        err = stock_find(req, product_id, &quantity);
    if (err)
        return err;
    answer_stock(req, product_id, quantity, answer);
    return ERR_OK;
}

enum err set_inventory(struct request *req, const void *message, void *answer)
{
    const Inventory__SetInventoryRequest *in = message;
    struct uuid product_id;
    enum err err = request_uuid(req, "product_id", in->product_id, &product_id);
    if (!err)
        err = check_stock(req, in->quantity);
    if (!err)
        err = stock_set(req, product_id, in->quantity);
    if (err)
        return err;
    answer_stock(req, product_id, in->quantity, answer);
    return ERR_OK;
}

enum err release_inventory(struct request *req, const void *message, void *answer)
{
    const Inventory__ReleaseInventoryRequest *in = message;
    Inventory__ReleaseInventoryResponse *out = answer;
    struct uuid order_id;
    bool released;
    enum err err = request_uuid(req, "order_id", in->order_id, &order_id);
    if (!err)
        err = failpoint(req, "release.before");
    if (!err)
        err = reservation_release(req, order_id, &released);
    if (!err)
        err = failpoint(req, "release.answer.before");
    if (err)
        return err;
    out->released = released;
    return ERR_OK;
}
