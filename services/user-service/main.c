#include "common/mem.h"
#include "common/service.h"
#include "migrations.h"
#include "user.h"
#include "user.pb-c.h"

static const struct rpc_method methods[] = {
    {RPC_PROCEDURE("user.User/CreateUser", user__create_user_request, user__user_response), create_user},
    {RPC_PROCEDURE("user.User/GetUser", user__get_user_request, user__user_response), get_user},
};

int main(int argc, char **argv)
{
    const struct service service = {
        .name = "user-service",
        .about = "Keeps the shop's users.",
        .version = BODEGA_VERSION,
        .rpc_listen = "0.0.0.0:50051",
        .methods = methods,
        .method_count = array_count(methods),
        .callers = "api-gateway",
        .database = true,
        .migrations = migrations,
        .migration_count = migrations_count,
    };
    return service_main(&service, argc, argv);
}
