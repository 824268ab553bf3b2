#include "common/mem.h"
#include "common/service.h"
#include "inventory.h"
#include "inventory.pb-c.h"
#include "migrations.h"
#include "notices.h"
#include "user.pb-c.h"

static const struct rpc_method methods[] = {
    {RPC_PROCEDURE("inventory.Inventory/CheckInventory", inventory__check_inventory_request,
                   inventory__check_inventory_response),
     check_inventory, ACCESS_PUBLIC},
    {RPC_PROCEDURE("inventory.Inventory/DeductInventory", inventory__deduct_inventory_request,
                   inventory__deduct_inventory_response),
     deduct_inventory, ACCESS_INTERNAL},
    {RPC_PROCEDURE("inventory.Inventory/GetInventory", inventory__get_inventory_request, inventory__inventory_response),
     get_inventory, ACCESS_PUBLIC},
    {RPC_PROCEDURE("inventory.Inventory/SetInventory", inventory__set_inventory_request, inventory__inventory_response),
     set_inventory, ACCESS_ADMIN},
    {RPC_PROCEDURE("inventory.Inventory/ReleaseInventory", inventory__release_inventory_request,
                   inventory__release_inventory_response),
     release_inventory, ACCESS_INTERNAL},
};

static const struct service_consumer consumers[] = {
    {"orders:created", "inventory", orders_created},
    {"orders:cancelled", "inventory", orders_cancelled},
};

static const struct service_peer peers[] = {
    [PEER_ORDER] = {"order-service", "ORDER_SERVICE_ADDR", "localhost:50052", .optional = true},
    [PEER_USER] = {"user-service", "USER_SERVICE_ADDR", "localhost:50051", .optional = true},
};

static const struct rpc_procedure list_keys =
    RPC_PROCEDURE("user.User/ListKeys", user__list_keys_request, user__list_keys_response);
static const struct service_auth auth = {
    .peer = PEER_USER, .procedure = &list_keys, .jwks = offsetof(User__ListKeysResponse, jwks)};

static const struct background_task tasks[] = {
    {.name = "sweeper", .run = resolve_reservations, .interval_ms = 1000, .pause_ms = 10, .deadline_ms = 10000},
};

static const struct setting settings[] = {
    {"reservations.resolve_after_s", SETTING_INT, offsetof(struct inventory_settings, resolve_after_s), "30", NULL, 1,
     3600, .help = "s until a reservation that nobody settled is resolved; longer than any request"},
};

int main(int argc, char **argv)
{
    const struct service service = {
        .name = "inventory-service",
        .about = "Keeps the stock and what orders have taken from it.",
        .version = BODEGA_VERSION,
        .notices = notices,
        .rpc_listen = "0.0.0.0:50053",
        .methods = methods,
        .method_count = array_count(methods),
        .callers = "api-gateway,order-service",
        .internal_callers = "order-service",
        .database = true,
        .migrations = migrations,
        .migration_count = migrations_count,
        .streams = true,
        .settings = settings,
        .setting_count = array_count(settings),
        .settings_bytes = sizeof(struct inventory_settings),
        .consumers = consumers,
        .consumer_count = array_count(consumers),
        .peers = peers,
        .peer_count = array_count(peers),
        .auth = &auth,
        .tasks = tasks,
        .task_count = array_count(tasks),
    };
    return service_main(&service, argc, argv);
}
