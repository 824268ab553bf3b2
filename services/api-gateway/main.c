#include <string.h>

#include "common/mem.h"
#include "gateway.h"
#include "notices.h"
#include "smoke.h"
#include "user.pb-c.h"

static const struct http_route routes[] = {
    {"GET", "/health", get_health, .access = ACCESS_PUBLIC, .probe = true},
    {"GET", "/ready", get_ready, .access = ACCESS_PUBLIC, .probe = true},
    {"POST", "/api/users", post_user, .access = ACCESS_PUBLIC},
    {"GET", "/api/users/:id", get_user, .access = ACCESS_USER},
    {"POST", "/api/orders", post_order, .access = ACCESS_USER},
    {"GET", "/api/orders", get_orders, .access = ACCESS_USER},
    {"GET", "/api/orders/:id", get_order, .access = ACCESS_USER},
    {"POST", "/api/orders/:id/cancel", post_cancel, .access = ACCESS_USER},
    {"GET", "/api/inventory/:product_id", get_inventory, .access = ACCESS_PUBLIC},
    {"PUT", "/api/inventory/:product_id", put_inventory, .access = ACCESS_ADMIN},
    {"POST", "/api/auth/login", post_login, .access = ACCESS_PUBLIC},
    {"GET", "/.well-known/jwks.json", get_jwks, .access = ACCESS_PUBLIC},
};

static const struct setting settings[] = {
    {"http.proxies", SETTING_INT, offsetof(struct gateway_settings, proxies), "0", "HTTP_PROXIES", 0, 16,
     .help = "proxies in front that add to X-Forwarded-For; 0: the connection's address is the client's"},
};

static const struct service_peer peers[] = {
    [PEER_USER] = {"user-service", "USER_SERVICE_ADDR", "localhost:50051"},
    [PEER_ORDER] = {"order-service", "ORDER_SERVICE_ADDR", "localhost:50052"},
    [PEER_INVENTORY] = {"inventory-service", "INVENTORY_SERVICE_ADDR", "localhost:50053"},
};

static const struct service_auth auth = {
    .peer = PEER_USER, .procedure = &list_keys, .jwks = offsetof(User__ListKeysResponse, jwks)};

int main(int argc, char **argv)
{
    static const struct service service = {
        .name = "api-gateway",
        .about = "The shop's HTTP API.",
        .version = BODEGA_VERSION,
        .notices = notices,
        .http_listen = "0.0.0.0:8080",
        .routes = routes,
        .route_count = array_count(routes),
        .peers = peers,
        .peer_count = array_count(peers),
        .peer_retries = 2,
        .auth = &auth,
        .settings = settings,
        .setting_count = array_count(settings),
        .settings_bytes = sizeof(struct gateway_settings),
    };
    if (argc > 1 && strcmp(argv[1], "smoke") == 0)
        return smoke_main(argc - 1, argv + 1);
    return service_main(&service, argc, argv);
}
