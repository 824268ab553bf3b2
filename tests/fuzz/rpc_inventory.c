#include <string.h>

#include "../../services/inventory-service/inventory.h"
#include "fuzz/fuzz.h"
#include "fuzz/rpc.h"
#include "inventory.pb-c.h"

static void check_product(struct request *req, const char *product_id)
{
    struct uuid id;
    rpc_check_refusal(req, request_uuid(req, "product_id", product_id, &id));
}

static void check_question(struct request *req, const void *message)
{
    const Inventory__CheckInventoryRequest *in = message;
    check_product(req, in->product_id);
    enum err err = check_quantity(req, in->quantity);
    rpc_check_refusal(req, err);
    FUZZ_CHECK(err || (in->quantity >= 1 && in->quantity <= QUANTITY_MAX));
}

/* The text stands in for what the database says of a reservation as well. */
static void check_deduction(struct request *req, const void *message)
{
    const Inventory__DeductInventoryRequest *in = message;
    struct uuid id;
    bool held = false;
    check_product(req, in->product_id);
    rpc_check_refusal(req, request_uuid(req, "order_id", in->order_id, &id));
    rpc_check_refusal(req, check_quantity(req, in->quantity));
    enum err err = judge_reservation(req, in->order_id, &held);
    FUZZ_CHECK(err == ERR_OK || (!held && (err == ERR_ALREADY_EXISTS || err == ERR_ABORTED)));
}

static void check_get(struct request *req, const void *message)
{
    const Inventory__GetInventoryRequest *in = message;
    check_product(req, in->product_id);
}

static void check_set(struct request *req, const void *message)
{
    const Inventory__SetInventoryRequest *in = message;
    check_product(req, in->product_id);
    enum err err = check_stock(req, in->quantity);
    rpc_check_refusal(req, err);
    FUZZ_CHECK(err || (in->quantity >= 0 && in->quantity <= STOCK_MAX));
}

static void check_release(struct request *req, const void *message)
{
    const Inventory__ReleaseInventoryRequest *in = message;
    struct uuid id;
    rpc_check_refusal(req, request_uuid(req, "order_id", in->order_id, &id));
}

const struct rpc_subject inventory_subjects[] = {
    {&inventory__check_inventory_request__descriptor, check_question},
    {&inventory__deduct_inventory_request__descriptor, check_deduction},
    {&inventory__get_inventory_request__descriptor, check_get},
    {&inventory__set_inventory_request__descriptor, check_set},
    {&inventory__release_inventory_request__descriptor, check_release},
};
