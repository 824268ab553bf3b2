/* The gRPC API of the three services, as other processes see it: every method, every error of the contract. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/loop.h"
#include "common/mem.h"
#include "common/rpc.h"
#include "inventory.pb-c.h"
#include "order.pb-c.h"
#include "support/shop.h"
#include "user.pb-c.h"

#define UNKNOWN_ID "00000000-0000-4000-8000-0000000000ff"

static struct shop shop;
static struct rpc_client_settings settings[3];
static char targets[3][64];
static unsigned products, orders;

static const struct rpc_procedure create_user =
    RPC_PROCEDURE("user.User/CreateUser", user__create_user_request, user__user_response);
static const struct rpc_procedure get_user =
    RPC_PROCEDURE("user.User/GetUser", user__get_user_request, user__user_response);
static const struct rpc_procedure create_order =
    RPC_PROCEDURE("order.Order/CreateOrder", order__create_order_request, order__order_response);
static const struct rpc_procedure get_order =
    RPC_PROCEDURE("order.Order/GetOrder", order__get_order_request, order__order_response);
static const struct rpc_procedure list_orders =
    RPC_PROCEDURE("order.Order/ListOrders", order__list_orders_request, order__list_orders_response);
static const struct rpc_procedure check = RPC_PROCEDURE(
    "inventory.Inventory/CheckInventory", inventory__check_inventory_request, inventory__check_inventory_response);
static const struct rpc_procedure deduct = RPC_PROCEDURE(
    "inventory.Inventory/DeductInventory", inventory__deduct_inventory_request, inventory__deduct_inventory_response);
static const struct rpc_procedure get_stock =
    RPC_PROCEDURE("inventory.Inventory/GetInventory", inventory__get_inventory_request, inventory__inventory_response);
static const struct rpc_procedure set_stock =
    RPC_PROCEDURE("inventory.Inventory/SetInventory", inventory__set_inventory_request, inventory__inventory_response);
static const struct rpc_procedure release =
    RPC_PROCEDURE("inventory.Inventory/ReleaseInventory", inventory__release_inventory_request,
                  inventory__release_inventory_response);
static const struct rpc_procedure unknown_method =
    RPC_PROCEDURE("user.User/DeleteUser", user__get_user_request, user__user_response);

static int open_shop(void **state)
{
    (void)state;
    shop_open(&shop);
    return 0;
}

static int close_shop(void **state)
{
    (void)state;
    shop_close(&shop);
    return 0;
}

/* --- a client of the three services in a fiber */

struct session {
    struct rpc_client *user, *order, *inventory;
};

struct session_run {
    void (*fn)(struct request *req, struct session *session);
};

static struct rpc_client *client(struct request *req, enum shop_service service)
{
    snprintf(targets[service], sizeof targets[service], "127.0.0.1:%d", shop.services[service].port);
    settings[service] = (struct rpc_client_settings){
        .target = targets[service], .message_bytes_max = 1 << 20, .calls_max = 100, .keepalive_ms = 30000};
    return rpc_client_open(req->worker->loop, shop.services[service].name, &settings[service]);
}

static void run_session(struct request *req, void *arg)
{
    struct session_run *run = arg;
    struct session session = {
        .user = client(req, SHOP_USER), .order = client(req, SHOP_ORDER), .inventory = client(req, SHOP_INVENTORY)};
    run->fn(req, &session);
    rpc_client_close(session.user);
    rpc_client_close(session.order);
    rpc_client_close(session.inventory);
}

static void with_session(void (*fn)(struct request *req, struct session *session))
{
    struct session_run run = {fn};
    test_in_fiber(NULL, run_session, &run);
}

static const char *new_product(int quantity)
{
    static char id[40];
    snprintf(id, sizeof id, "30000000-0000-4000-8000-%012u", ++products);
    shop_add_product(&shop, id, quantity);
    return id;
}

static char *new_order_id(struct request *req)
{
    return arena_print(req->arena, "40000000-0000-4000-8000-%012u", ++orders);
}

static char *text(const char *value)
{
    return (char *)(uintptr_t)value;
}

/* --- users */

static enum err user_made(struct request *req, struct session *s, const char *email, const char *name,
                          User__UserResponse **out)
{
    User__CreateUserRequest in = USER__CREATE_USER_REQUEST__INIT;
    in.email = text(email);
    in.name = text(name);
    return rpc_call(req, s->user, &create_user, &in, out);
}

static enum err user_read(struct request *req, struct session *s, const char *id, User__UserResponse **out)
{
    User__GetUserRequest in = USER__GET_USER_REQUEST__INIT;
    in.id = text(id);
    return rpc_call(req, s->user, &get_user, &in, out);
}

static void users(struct request *req, struct session *s)
{
    User__UserResponse *made, *read;
    int64_t at_ns;
    assert_int_equal(user_made(req, s, "grpc@example.com", "G", &made), ERR_OK);
    assert_true(clock_parse(made->created_at, &at_ns));
    assert_in_range(at_ns / NS_PER_S, clock_wall_ns() / NS_PER_S - 60, clock_wall_ns() / NS_PER_S + 60);
    assert_int_equal(user_read(req, s, made->id, &read), ERR_OK);
    assert_string_equal(read->email, "grpc@example.com");
    assert_string_equal(read->name, "G");
    assert_string_equal(read->created_at, made->created_at);
    assert_int_equal(user_made(req, s, "GRPC@example.com", "G", &made), ERR_ALREADY_EXISTS);
    assert_int_equal(user_made(req, s, "no address", "G", &made), ERR_INVALID_ARGUMENT);
    assert_int_equal(user_made(req, s, "g2@example.com", "", &made), ERR_INVALID_ARGUMENT);
    assert_int_equal(user_made(req, s, "g2@example.com", "\xff", &made), ERR_INVALID_ARGUMENT);
    assert_int_equal(user_read(req, s, UNKNOWN_ID, &read), ERR_NOT_FOUND);
    assert_int_equal(user_read(req, s, "x", &read), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(req->failure.detail, "UUID"));
    assert_int_equal(user_read(req, s, "", &read), ERR_INVALID_ARGUMENT);
}

static void test_users_over_grpc(void **state)
{
    (void)state;
    with_session(users);
}

/* --- inventory */

static enum err stock_read(struct request *req, struct session *s, const char *product, int32_t *out)
{
    Inventory__GetInventoryRequest in = INVENTORY__GET_INVENTORY_REQUEST__INIT;
    Inventory__InventoryResponse *answer;
    in.product_id = text(product);
    enum err err = rpc_call(req, s->inventory, &get_stock, &in, &answer);
    if (!err)
        *out = answer->quantity;
    return err;
}

static enum err stock_checked(struct request *req, struct session *s, const char *product, int32_t quantity, bool *out)
{
    Inventory__CheckInventoryRequest in = INVENTORY__CHECK_INVENTORY_REQUEST__INIT;
    Inventory__CheckInventoryResponse *answer;
    in.product_id = text(product);
    in.quantity = quantity;
    enum err err = rpc_call(req, s->inventory, &check, &in, &answer);
    if (!err)
        *out = answer->available;
    return err;
}

static enum err stock_written(struct request *req, struct session *s, const char *product, int32_t quantity)
{
    Inventory__SetInventoryRequest in = INVENTORY__SET_INVENTORY_REQUEST__INIT;
    Inventory__InventoryResponse *answer;
    in.product_id = text(product);
    in.quantity = quantity;
    enum err err = rpc_call(req, s->inventory, &set_stock, &in, &answer);
    if (!err)
        assert_int_equal(answer->quantity, quantity);
    return err;
}

static void stock(struct request *req, struct session *s)
{
    const char *product = new_product(5);
    int32_t quantity;
    bool available;
    assert_int_equal(stock_read(req, s, product, &quantity), ERR_OK);
    assert_int_equal(quantity, 5);
    assert_int_equal(stock_read(req, s, UNKNOWN_ID, &quantity), ERR_NOT_FOUND);
    assert_int_equal(stock_read(req, s, "x", &quantity), ERR_INVALID_ARGUMENT);
    assert_int_equal(stock_checked(req, s, product, 5, &available), ERR_OK);
    assert_true(available);
    assert_int_equal(stock_checked(req, s, product, 6, &available), ERR_OK);
    assert_false(available);
    assert_int_equal(stock_checked(req, s, product, 0, &available), ERR_INVALID_ARGUMENT);
    assert_int_equal(stock_checked(req, s, product, 1000001, &available), ERR_INVALID_ARGUMENT);
    assert_int_equal(stock_checked(req, s, UNKNOWN_ID, 1, &available), ERR_NOT_FOUND);
    assert_int_equal(stock_checked(req, s, "x", 1, &available), ERR_INVALID_ARGUMENT);
    assert_int_equal(stock_written(req, s, product, 0), ERR_OK);
    assert_int_equal(stock_written(req, s, product, 1000000000), ERR_OK);
    assert_int_equal(stock_written(req, s, product, -1), ERR_INVALID_ARGUMENT);
    assert_int_equal(stock_written(req, s, product, 1000000001), ERR_INVALID_ARGUMENT);
    assert_int_equal(stock_written(req, s, "x", 1), ERR_INVALID_ARGUMENT);
}

static void test_stock_over_grpc(void **state)
{
    (void)state;
    with_session(stock);
}

static enum err deducted(struct request *req, struct session *s, const char *product, int32_t quantity,
                         const char *order_id, bool *out)
{
    Inventory__DeductInventoryRequest in = INVENTORY__DEDUCT_INVENTORY_REQUEST__INIT;
    Inventory__DeductInventoryResponse *answer;
    in.product_id = text(product);
    in.quantity = quantity;
    in.order_id = text(order_id);
    enum err err = rpc_call(req, s->inventory, &deduct, &in, &answer);
    if (!err)
        *out = answer->success;
    return err;
}

static enum err released(struct request *req, struct session *s, const char *order_id, bool *out)
{
    Inventory__ReleaseInventoryRequest in = INVENTORY__RELEASE_INVENTORY_REQUEST__INIT;
    Inventory__ReleaseInventoryResponse *answer;
    in.order_id = text(order_id);
    enum err err = rpc_call(req, s->inventory, &release, &in, &answer);
    if (!err)
        *out = answer->released;
    return err;
}

static void deduction(struct request *req, struct session *s)
{
    const char *product = new_product(5);
    char *order_id = new_order_id(req);
    int32_t quantity;
    bool ok;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(deducted(req, s, product, 2, order_id, &ok), ERR_OK);
        assert_true(ok);
    }
    assert_int_equal(stock_read(req, s, product, &quantity), ERR_OK);
    assert_int_equal(quantity, 3);
    assert_int_equal(deducted(req, s, product, 3, order_id, &ok), ERR_ALREADY_EXISTS);
    assert_int_equal(deducted(req, s, UNKNOWN_ID, 2, order_id, &ok), ERR_ALREADY_EXISTS);
    assert_int_equal(deducted(req, s, product, 4, new_order_id(req), &ok), ERR_OK);
    assert_false(ok);
    assert_int_equal(deducted(req, s, UNKNOWN_ID, 1, new_order_id(req), &ok), ERR_OK);
    assert_false(ok);
    assert_int_equal(deducted(req, s, product, 0, new_order_id(req), &ok), ERR_INVALID_ARGUMENT);
    assert_int_equal(deducted(req, s, product, 1000001, new_order_id(req), &ok), ERR_INVALID_ARGUMENT);
    assert_int_equal(deducted(req, s, product, 1, "", &ok), ERR_INVALID_ARGUMENT);
    assert_int_equal(deducted(req, s, "x", 1, new_order_id(req), &ok), ERR_INVALID_ARGUMENT);
    assert_int_equal(released(req, s, order_id, &ok), ERR_OK);
    assert_true(ok);
    assert_int_equal(released(req, s, order_id, &ok), ERR_OK);
    assert_false(ok);
    assert_int_equal(released(req, s, "x", &ok), ERR_INVALID_ARGUMENT);
    assert_int_equal(stock_read(req, s, product, &quantity), ERR_OK);
    assert_int_equal(quantity, 5);
    assert_int_equal(deducted(req, s, product, 2, order_id, &ok), ERR_ABORTED);
}

static void test_deduction_answers_as_the_first_time(void **state)
{
    (void)state;
    with_session(deduction);
}

/* Many at once meet in one statement: it must be as fair as one after the other. */

enum { BUYERS = 100 };

struct buyer {
    struct session *session;
    const struct worker *worker;
    const char *product;
    int32_t quantity;
    char order_id[40];
    struct fiber_wait done;
    enum err err;
    bool ok;
};

static void buy(void *arg)
{
    struct buyer *buyer = arg;
    struct arena arena;
    struct request req;
    arena_init(&arena, 4096);
    request_init(&req, &arena, buyer->worker);
    req.deadline_ns = clock_now_ns() + 10 * NS_PER_S;
    buyer->err = deducted(&req, buyer->session, buyer->product, buyer->quantity, buyer->order_id, &buyer->ok);
    arena_done(&arena);
    fiber_wake(&buyer->done, ERR_OK);
}

static void crowd(struct request *req, struct session *s)
{
    static struct buyer buyers[BUYERS];
    const char *product = new_product(50);
    int32_t quantity;
    long sold = 0;
    for (unsigned i = 0; i < BUYERS; i++) {
        buyers[i] =
            (struct buyer){.session = s, .worker = req->worker, .product = product, .quantity = i % 10 == 0 ? 40 : 1};
        /* Every tenth shares its order id with the buyer before: one reservation for both. */
        strcpy(buyers[i].order_id, i % 10 == 2 ? buyers[i - 1].order_id : new_order_id(req));
        fiber_start(req->worker->loop, buy, &buyers[i]);
    }
    for (unsigned i = 0; i < BUYERS; i++) {
        assert_int_equal(fiber_wait(&buyers[i].done, CLOCK_NEVER), ERR_OK);
        assert_int_equal(buyers[i].err, ERR_OK);
        if (i % 10 == 2)
            assert_int_equal(buyers[i].ok, buyers[i - 1].ok);
        else
            sold += buyers[i].ok ? buyers[i].quantity : 0;
    }
    assert_int_equal(stock_read(req, s, product, &quantity), ERR_OK);
    assert_int_equal(quantity, 50 - sold);
    assert_int_equal(quantity, 0); /* single units were wanted until the end */
}

static void test_a_crowd_gets_exactly_the_stock(void **state)
{
    (void)state;
    with_session(crowd);
}

/* --- orders */

static enum err order_made(struct request *req, struct session *s, const char *user, const char *product,
                           int32_t quantity, const char *key, Order__OrderResponse **out)
{
    Order__CreateOrderRequest in = ORDER__CREATE_ORDER_REQUEST__INIT;
    in.user_id = text(user);
    in.product_id = text(product);
    in.quantity = quantity;
    in.idempotency_key = text(key);
    return rpc_call(req, s->order, &create_order, &in, out);
}

static enum err order_read(struct request *req, struct session *s, const char *id, Order__OrderResponse **out)
{
    Order__GetOrderRequest in = ORDER__GET_ORDER_REQUEST__INIT;
    in.id = text(id);
    return rpc_call(req, s->order, &get_order, &in, out);
}

static enum err order_listed(struct request *req, struct session *s, const char *user, int32_t limit,
                             const char *cursor, Order__ListOrdersResponse **out)
{
    Order__ListOrdersRequest in = ORDER__LIST_ORDERS_REQUEST__INIT;
    in.user_id = text(user);
    in.limit = limit;
    in.cursor = text(cursor);
    return rpc_call(req, s->order, &list_orders, &in, out);
}

static void ordering(struct request *req, struct session *s)
{
    Order__OrderResponse *made, *read;
    Order__ListOrdersResponse *list;
    int64_t at_ns;
    scoped_free char *user = shop_add_user(&shop);
    const char *product = new_product(5);
    assert_int_equal(order_made(req, s, user, product, 2, "k", &made), ERR_OK);
    assert_string_equal(made->status, "pending");
    assert_true(clock_parse(made->created_at, &at_ns));
    assert_int_equal(order_read(req, s, made->id, &read), ERR_OK);
    assert_string_equal(read->created_at, made->created_at);
    assert_string_equal(read->user_id, user);
    assert_int_equal(read->quantity, 2);
    assert_int_equal(order_made(req, s, user, product, 2, "k", &read), ERR_OK);
    assert_string_equal(read->id, made->id);
    assert_int_equal(order_made(req, s, user, product, 3, "k", &read), ERR_ALREADY_EXISTS);
    assert_int_equal(order_made(req, s, user, product, 4, "", &read), ERR_FAILED_PRECONDITION);
    assert_int_equal(order_made(req, s, user, UNKNOWN_ID, 1, "", &read), ERR_FAILED_PRECONDITION);
    assert_int_equal(order_made(req, s, UNKNOWN_ID, product, 1, "", &read), ERR_INVALID_ARGUMENT);
    assert_int_equal(order_made(req, s, user, product, 0, "", &read), ERR_INVALID_ARGUMENT);
    assert_int_equal(order_made(req, s, user, product, 1000001, "", &read), ERR_INVALID_ARGUMENT);
    assert_int_equal(order_made(req, s, "x", product, 1, "", &read), ERR_INVALID_ARGUMENT);
    assert_int_equal(order_made(req, s, user, "x", 1, "", &read), ERR_INVALID_ARGUMENT);
    assert_int_equal(order_made(req, s, user, product, 1, "two words", &read), ERR_INVALID_ARGUMENT);
    assert_int_equal(order_read(req, s, UNKNOWN_ID, &read), ERR_NOT_FOUND);
    assert_int_equal(order_read(req, s, "x", &read), ERR_INVALID_ARGUMENT);
    assert_int_equal(order_listed(req, s, user, 0, "", &list), ERR_OK);
    assert_int_equal(list->n_orders, 1);
    assert_string_equal(list->next_cursor, "");
    assert_int_equal(order_listed(req, s, user, 101, "", &list), ERR_INVALID_ARGUMENT);
    assert_int_equal(order_listed(req, s, user, -1, "", &list), ERR_INVALID_ARGUMENT);
    assert_int_equal(order_listed(req, s, user, 1, "zz", &list), ERR_INVALID_ARGUMENT);
    assert_int_equal(order_listed(req, s, "x", 1, "", &list), ERR_INVALID_ARGUMENT);
}

static enum err order_cancelled(struct request *req, struct session *s, const char *id, Order__OrderResponse **out)
{
    static const struct rpc_procedure procedure =
        RPC_PROCEDURE("order.Order/CancelOrder", order__cancel_order_request, order__order_response);
    Order__CancelOrderRequest in = ORDER__CANCEL_ORDER_REQUEST__INIT;
    in.id = text(id);
    return rpc_call(req, s->order, &procedure, &in, out);
}

static enum err order_resolved(struct request *req, struct session *s, const char *id,
                               Order__ResolveOrderResponse **out)
{
    static const struct rpc_procedure procedure =
        RPC_PROCEDURE("order.Order/ResolveOrder", order__resolve_order_request, order__resolve_order_response);
    Order__ResolveOrderRequest in = ORDER__RESOLVE_ORDER_REQUEST__INIT;
    in.order_id = text(id);
    return rpc_call(req, s->order, &procedure, &in, out);
}

static void cancelling(struct request *req, struct session *s)
{
    Order__OrderResponse *made, *gone;
    Order__ResolveOrderResponse *resolved;
    scoped_free char *user = shop_add_user(&shop);
    const char *product = new_product(5);
    assert_int_equal(order_made(req, s, user, product, 2, "c", &made), ERR_OK);
    assert_int_equal(order_resolved(req, s, made->id, &resolved), ERR_OK);
    assert_true(resolved->exists);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(order_cancelled(req, s, made->id, &gone), ERR_OK);
        assert_string_equal(gone->status, "cancelled");
        assert_string_equal(gone->id, made->id);
        assert_string_equal(gone->created_at, made->created_at);
    }
    assert_int_equal(order_made(req, s, user, product, 2, "c", &made), ERR_OK); /* the key still means that order */
    assert_string_equal(made->status, "cancelled");
    assert_int_equal(order_cancelled(req, s, UNKNOWN_ID, &gone), ERR_NOT_FOUND);
    assert_int_equal(order_cancelled(req, s, "x", &gone), ERR_INVALID_ARGUMENT);
}

static void test_orders_are_cancelled_over_grpc(void **state)
{
    (void)state;
    with_session(cancelling);
}

/* An order whose fate is asked for before it exists never will. */
static void resolving(struct request *req, struct session *s)
{
    Order__OrderResponse *made;
    Order__ResolveOrderResponse *resolved;
    struct uuid user_id;
    char order_id[UUID_TEXT_BYTES];
    scoped_free char *user = shop_add_user(&shop);
    const char *product = new_product(5);
    assert_true(uuid_parse(user, &user_id));
    uuid_format(uuid_v5(user_id, "late", 4), order_id);
    assert_int_equal(order_resolved(req, s, order_id, &resolved), ERR_OK);
    assert_false(resolved->exists);
    assert_int_equal(order_made(req, s, user, product, 1, "late", &made), ERR_ABORTED);
    assert_int_equal(order_resolved(req, s, order_id, &resolved), ERR_OK);
    assert_false(resolved->exists);
    assert_int_equal(order_resolved(req, s, "x", &resolved), ERR_INVALID_ARGUMENT);
    assert_int_equal(shop_sql_number(&shop, "select quantity from inventory where product_id = '%s'", product), 5);
}

static void test_an_order_that_was_given_up_never_comes(void **state)
{
    (void)state;
    with_session(resolving);
}

static void test_orders_over_grpc(void **state)
{
    (void)state;
    with_session(ordering);
}

/* --- the service itself */

static void health(struct request *req, struct session *s)
{
    User__UserResponse *out;
    User__GetUserRequest in = USER__GET_USER_REQUEST__INIT;
    assert_int_equal(rpc_check(req, s->user), ERR_OK);
    assert_int_equal(rpc_check(req, s->order), ERR_OK);
    assert_int_equal(rpc_check(req, s->inventory), ERR_OK);
    assert_int_equal(rpc_call(req, s->user, &unknown_method, &in, &out), ERR_UNIMPLEMENTED);
}

static void test_services_tell_their_health_and_refuse_unknown_methods(void **state)
{
    (void)state;
    with_session(health);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_users_over_grpc),
        cmocka_unit_test(test_stock_over_grpc),
        cmocka_unit_test(test_deduction_answers_as_the_first_time),
        cmocka_unit_test(test_a_crowd_gets_exactly_the_stock),
        cmocka_unit_test(test_orders_over_grpc),
        cmocka_unit_test(test_orders_are_cancelled_over_grpc),
        cmocka_unit_test(test_an_order_that_was_given_up_never_comes),
        cmocka_unit_test(test_services_tell_their_health_and_refuse_unknown_methods),
    };
    return cmocka_run_group_tests_name("gRPC API", tests, open_shop, close_shop);
}
