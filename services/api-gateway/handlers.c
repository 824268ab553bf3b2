#include "common/service.h"
#include "gateway.h"

enum err get_health(struct request *req, struct response *res)
{
    (void)req;
    res->content_type = "text/plain";
    res->body = (struct bytes){"OK", 2};
    return ERR_OK;
}

enum err get_ready(struct request *req, struct response *res)
{
    enum err err = service_ready(req);
    if (err)
        return err;
    res->content_type = "text/plain";
    res->body = (struct bytes){"OK", 2};
    return ERR_OK;
}

enum err post_user(struct request *req, struct response *res)
{
    struct user draft, user;
    enum err err = json_read(req, &user_shape, &draft);
    if (!err)
        err = user_create(req, &draft, &user);
    if (err)
        return err;
    return json_write(req, res, 200, &user_shape, &user);
}

enum err get_user(struct request *req, struct response *res)
{
    struct uuid id;
    struct user user;
    enum err err = http_param_uuid(req, "id", &id);
    if (!err)
        err = user_get(req, id, &user);
    if (err)
        return err;
    return json_write(req, res, 200, &user_shape, &user);
}

enum err post_order(struct request *req, struct response *res)
{
    struct order_draft draft;
    struct order order;
    enum err err = json_read(req, &order_draft_shape, &draft);
    if (!err)
        err = idempotency_key_read(req, http_header(req, "Idempotency-Key"), &draft.key);
    if (err)
        return err;
    err = order_create(req, &draft, &order);
    if (err)
        return order_refused(req, err);
    return json_write(req, res, 200, &order_shape, &order);
}

enum err get_order(struct request *req, struct response *res)
{
    struct uuid id;
    struct order order;
    enum err err = http_param_uuid(req, "id", &id);
    if (!err)
        err = order_get(req, id, &order);
    if (err)
        return err;
    return json_write(req, res, 200, &order_shape, &order);
}

enum err get_orders(struct request *req, struct response *res)
{
    const char *user_id = http_query(req, "user_id");
    const char *cursor = http_query(req, "cursor");
    int32_t limit;
    struct order_page page;
    if (!user_id)
        return fail(req, ERR_INVALID_ARGUMENT, "user_id: missing, expected a UUID");
    enum err err = list_limit_read(req, http_query(req, "limit"), &limit);
    if (!err)
        err = order_list(req, user_id, limit, cursor ? cursor : "", &page);
    if (err)
        return err;
    return json_write(req, res, 200, &order_page_shape, &page);
}

enum err get_inventory(struct request *req, struct response *res)
{
    struct uuid product_id;
    struct stock stock;
    enum err err = http_param_uuid(req, "product_id", &product_id);
    if (!err)
        err = stock_get(req, product_id, &stock);
    if (err)
        return err;
    return json_write(req, res, 200, &stock_shape, &stock);
}

enum err put_inventory(struct request *req, struct response *res)
{
    struct uuid product_id;
    struct stock wanted, stock;
    enum err err = http_param_uuid(req, "product_id", &product_id);
    if (!err)
        err = json_read(req, &stock_shape, &wanted);
    if (!err)
        err = stock_set(req, product_id, wanted.quantity, &stock);
    if (err)
        return err;
    return json_write(req, res, 200, &stock_shape, &stock);
}
