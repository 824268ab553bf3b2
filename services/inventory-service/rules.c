#include <string.h>

#include "inventory.h"

enum err check_quantity(struct request *req, int32_t quantity)
{
    if (quantity >= 1 && quantity <= QUANTITY_MAX)
        return ERR_OK;
    return fail(req, ERR_INVALID_ARGUMENT, "quantity: expected an integer from 1 to %d", QUANTITY_MAX);
}

enum err check_stock(struct request *req, int32_t quantity)
{
    if (quantity >= 0 && quantity <= STOCK_MAX)
        return ERR_OK;
    return fail(req, ERR_INVALID_ARGUMENT, "quantity: expected an integer from 0 to %d", STOCK_MAX);
}

enum err judge_reservation(struct request *req, const char *outcome, bool *out_held)
{
    if (strcmp(outcome, "other") == 0)
        return fail(req, ERR_ALREADY_EXISTS, "order_id: holds another product or quantity already");
    if (strcmp(outcome, "released") == 0)
        return fail(req, ERR_ABORTED, "order_id: its stock was released already");
    *out_held = strcmp(outcome, "held") == 0;
    return ERR_OK;
}
