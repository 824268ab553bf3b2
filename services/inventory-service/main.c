#include "common/mem.h"
#include "common/service.h"
#include "inventory.h"
#include "inventory.pb-c.h"
#include "migrations.h"

static const struct rpc_method methods[] = {
    {RPC_PROCEDURE("inventory.Inventory/CheckInventory", inventory__check_inventory_request,
                   inventory__check_inventory_response),
     check_inventory},
    {RPC_PROCEDURE("inventory.Inventory/DeductInventory", inventory__deduct_inventory_request,
                   inventory__deduct_inventory_response),
     deduct_inventory},
    {RPC_PROCEDURE("inventory.Inventory/GetInventory", inventory__get_inventory_request, inventory__inventory_response),
     get_inventory},
    {RPC_PROCEDURE("inventory.Inventory/SetInventory", inventory__set_inventory_request, inventory__inventory_response),
     set_inventory},
    {RPC_PROCEDURE("inventory.Inventory/ReleaseInventory", inventory__release_inventory_request,
                   inventory__release_inventory_response),
     release_inventory},
};

static const struct service_consumer consumers[] = {
    {"orders:created", "inventory", orders_created},
};

int main(int argc, char **argv)
{
    const struct service service = {
        .name = "inventory-service",
        .about = "Keeps the stock and what orders have taken from it.",
        .version = BODEGA_VERSION,
        .rpc_listen = "0.0.0.0:50053",
        .methods = methods,
        .method_count = array_count(methods),
        .database = true,
        .migrations = migrations,
        .migration_count = migrations_count,
        .streams = true,
        .consumers = consumers,
        .consumer_count = array_count(consumers),
    };
    return service_main(&service, argc, argv);
}
