/* A whole service: GET /hello/:name answers {"text":"Hello, Ada!"}. libcommon brings the rest: settings, options, log
 * lines, limits, deadlines, problem documents and a clean end. */
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/service.h"

enum { NAME_BYTES_MAX = 64 };

struct hello_settings {
    struct service_settings service; /* what every service has; always first */
    const char *greeting;
};

static const struct setting settings[] = {
    {"greeting", SETTING_TEXT, offsetof(struct hello_settings, greeting), "Hello", "GREETING",
     .help = "what comes before the name"},
};

struct hello {
    const char *text;
};

static const struct json_field hello_fields[] = {
    {"text", offsetof(struct hello, text), JSON_FIELD_TEXT},
};
static const struct json_shape hello_shape = JSON_SHAPE(struct hello, hello_fields);

static enum err get_hello(struct request *req, struct response *res)
{
    const struct hello_settings *hello_settings = req->worker->settings;
    const char *name = http_param(req, "name");
    if (strlen(name) > NAME_BYTES_MAX)
        return fail(req, ERR_INVALID_ARGUMENT, "name: expected at most %d bytes", NAME_BYTES_MAX);
    const struct hello hello = {.text = arena_print(req->arena, "%s, %s!", hello_settings->greeting, name)};
    return json_write(req, res, 200, &hello_shape, &hello);
}

static enum err get_ready(struct request *req, struct response *res)
{
    (void)res; /* 200 without a body */
    return service_ready(req);
}

static const struct http_route routes[] = {
    {"GET", "/hello/:name", get_hello},
    {"GET", "/ready", get_ready},
};

int main(int argc, char **argv)
{
    static const struct service service = {
        .name = "hello-service",
        .about = "Greets whoever asks.",
        .version = "1.0.0",
        .http_listen = "127.0.0.1:8090",
        .routes = routes,
        .route_count = array_count(routes),
        .settings = settings,
        .setting_count = array_count(settings),
        .settings_bytes = sizeof(struct hello_settings),
    };
    return service_main(&service, argc, argv);
}
