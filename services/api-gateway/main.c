#include "common/mem.h"
#include "common/service.h"
#include "gateway.h"

static const struct http_route routes[] = {
    {"GET", "/health", get_health, .probe = true},
    {"GET", "/ready", get_ready, .probe = true},
    {"POST", "/api/users", post_user},
    {"GET", "/api/users/:id", get_user},
    {"POST", "/api/orders", post_order},
    {"GET", "/api/orders", get_orders},
    {"GET", "/api/orders/:id", get_order},
    {"POST", "/api/orders/:id/cancel", post_cancel},
    {"GET", "/api/inventory/:product_id", get_inventory},
    {"PUT", "/api/inventory/:product_id", put_inventory},
};

static const struct service_peer peers[] = {
    [PEER_USER] = {"user-service", "USER_SERVICE_ADDR", "localhost:50051"},
    [PEER_ORDER] = {"order-service", "ORDER_SERVICE_ADDR", "localhost:50052"},
    [PEER_INVENTORY] = {"inventory-service", "INVENTORY_SERVICE_ADDR", "localhost:50053"},
};

int main(int argc, char **argv)
{
    static const struct service service = {
        .name = "api-gateway",
        .about = "The shop's HTTP API.",
        .version = BODEGA_VERSION,
        .http_listen = "0.0.0.0:8080",
        .routes = routes,
        .route_count = array_count(routes),
        .peers = peers,
        .peer_count = array_count(peers),
        .peer_retries = 2,
    };
    return service_main(&service, argc, argv);
}
