#include "common/mem.h"
#include "migrations.h"
#include "notices.h"
#include "user.h"
#include "user.pb-c.h"

static const struct rpc_method methods[] = {
    {RPC_PROCEDURE("user.User/CreateUser", user__create_user_request, user__user_response), create_user, ACCESS_PUBLIC},
    {RPC_PROCEDURE("user.User/GetUser", user__get_user_request, user__user_response), get_user, ACCESS_USER},
    {RPC_PROCEDURE("user.User/Login", user__login_request, user__login_response), login, ACCESS_PUBLIC},
    {RPC_PROCEDURE("user.User/ListKeys", user__list_keys_request, user__list_keys_response), list_keys, ACCESS_PUBLIC},
};

static const struct setting settings[] = {
    {"auth.bootstrap_admin.email", SETTING_TEXT, offsetof(struct user_settings, admin_email), "",
     "AUTH_BOOTSTRAP_ADMIN_EMAIL", .help = "e-mail address of the first admin; empty: none is made"},
    {"auth.bootstrap_admin.password", SETTING_SECRET, offsetof(struct user_settings, admin_password), "",
     "AUTH_BOOTSTRAP_ADMIN_PASSWORD", .help = "the first admin's password"},
};

static const struct service_auth auth = {.issuer = true};

int main(int argc, char **argv)
{
    const struct service service = {
        .name = "user-service",
        .about = "Keeps the shop's users.",
        .version = BODEGA_VERSION,
        .notices = notices,
        .rpc_listen = "0.0.0.0:50051",
        .methods = methods,
        .method_count = array_count(methods),
        .callers = "api-gateway,inventory-service,order-service",
        .database = true,
        .migrations = migrations,
        .migration_count = migrations_count,
        .prepare = admin_prepare,
        .auth = &auth,
        .settings = settings,
        .setting_count = array_count(settings),
        .settings_bytes = sizeof(struct user_settings),
    };
    return service_main(&service, argc, argv);
}
