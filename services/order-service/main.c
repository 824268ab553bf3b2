#include "common/mem.h"
#include "common/service.h"
#include "migrations.h"
#include "notices.h"
#include "order.h"
#include "order.pb-c.h"
#include "user.pb-c.h"

static const struct rpc_method methods[] = {
    {RPC_PROCEDURE("order.Order/CreateOrder", order__create_order_request, order__order_response), create_order,
     ACCESS_USER},
    {RPC_PROCEDURE("order.Order/GetOrder", order__get_order_request, order__order_response), get_order, ACCESS_USER},
    {RPC_PROCEDURE("order.Order/ListOrders", order__list_orders_request, order__list_orders_response), list_orders,
     ACCESS_USER},
    {RPC_PROCEDURE("order.Order/CancelOrder", order__cancel_order_request, order__order_response), cancel_order,
     ACCESS_USER},
    {RPC_PROCEDURE("order.Order/ResolveOrder", order__resolve_order_request, order__resolve_order_response),
     resolve_order, ACCESS_INTERNAL},
};

static const struct service_peer peers[] = {
    [PEER_INVENTORY] = {"inventory-service", "INVENTORY_SERVICE_ADDR", "localhost:50053"},
    [PEER_USER] = {"user-service", "USER_SERVICE_ADDR", "localhost:50051", .optional = true},
};

static const struct rpc_procedure list_keys =
    RPC_PROCEDURE("user.User/ListKeys", user__list_keys_request, user__list_keys_response);
static const struct service_auth auth = {
    .peer = PEER_USER, .procedure = &list_keys, .jwks = offsetof(User__ListKeysResponse, jwks)};

/* New orders wake the relay; what other processes left behind is looked for once a second. */
static const struct background_task tasks[] = {
    [TASK_RELAY] =
        {.name = "relay", .run = relay_outbox, .interval_ms = 1000, .pause_ms = 20, .deadline_ms = RELAY_MAX_MS},
    [TASK_RECONCILER] =
        {.name = "reconciler", .run = reconcile_streams, .interval_ms = 1000, .pause_ms = 20, .deadline_ms = 10000},
    {.name = "watch", .run = watch_outbox, .interval_ms = 5000, .pause_ms = 20, .deadline_ms = 5000},
    {.name = "pruner", .run = prune_outbox, .interval_ms = 60000, .pause_ms = 20, .deadline_ms = 10000},
};

int main(int argc, char **argv)
{
    const struct service service = {
        .name = "order-service",
        .about = "Takes orders and tells the streams about them.",
        .version = BODEGA_VERSION,
        .notices = notices,
        .rpc_listen = "0.0.0.0:50052",
        .methods = methods,
        .method_count = array_count(methods),
        .callers = "api-gateway,inventory-service",
        .internal_callers = "inventory-service",
        .peers = peers,
        .peer_count = array_count(peers),
        .auth = &auth,
        .database = true,
        .migrations = migrations,
        .migration_count = migrations_count,
        .streams = true,
        .tasks = tasks,
        .task_count = array_count(tasks),
    };
    return service_main(&service, argc, argv);
}
