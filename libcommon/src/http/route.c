/* A handful of routes, matched one after the other: the first in the table wins. */
#include "http/internal.h"

#include <assert.h>
#include <string.h>

#include "common/mem.h"

static void split_template(struct route *route, const char *path)
{
    assert(path[0] == '/');
    for (const char *start = path + 1;; route->count++) {
        assert(route->count < SEGMENTS_MAX);
        const char *end = strchrnul(start, '/');
        route->segments[route->count] = (struct text){start, (size_t)(end - start)};
        if (!*end)
            break;
        start = end + 1;
    }
    route->count++;
}

struct route *routes_new(const struct http_route *routes, unsigned count)
{
    struct route *table = mem_array(count ? count : 1, sizeof *table);
    for (unsigned i = 0; i < count; i++) {
        table[i].http = &routes[i];
        split_template(&table[i], routes[i].path);
    }
    return table;
}

static bool segment_matches(const struct text *template, const struct text *given)
{
    if (template->length > 0 && template->start[0] == ':')
        return given->length > 0;
    return template->length == given->length && memcmp(template->start, given->start, given->length) == 0;
}

static bool path_matches(const struct route *route, const struct exchange *exchange)
{
    if (route->count != exchange->segment_count)
        return false;
    for (unsigned i = 0; i < route->count; i++)
        if (!segment_matches(&route->segments[i], &exchange->segments[i]))
            return false;
    return true;
}

static bool serves(const char *route_method, const char *method)
{
    return strcmp(route_method, method) == 0 || (strcmp(method, "HEAD") == 0 && strcmp(route_method, "GET") == 0);
}

static bool lists(const char *allow, const char *method)
{
    const char *at = strstr(allow, method);
    return at && (at[strlen(method)] == ',' || at[strlen(method)] == '\0');
}

static void allow_add(struct exchange *exchange, const char *method)
{
    const char *so_far = exchange->allow;
    if (!so_far)
        exchange->allow = method;
    else if (!lists(so_far, method))
        exchange->allow = arena_print(exchange->req.arena, "%s, %s", so_far, method);
}

/* The methods of this path; of every path for "*", which has no segments. */
static void list_methods(struct exchange *exchange)
{
    const struct http_server *server = exchange->server;
    for (unsigned i = 0; i < server->route_count; i++) {
        const struct route *route = &server->routes[i];
        if (exchange->segment_count > 0 && !path_matches(route, exchange))
            continue;
        allow_add(exchange, route->http->method);
        if (strcmp(route->http->method, "GET") == 0)
            allow_add(exchange, "HEAD");
    }
    allow_add(exchange, "OPTIONS");
}

static enum err answer_options(struct request *req, struct response *res)
{
    (void)req;
    res->status = 204;
    return ERR_OK;
}

void route_find(struct exchange *exchange, const char *method)
{
    const struct http_server *server = exchange->server;
    const struct route *same_path = NULL;
    for (unsigned i = 0; i < server->route_count; i++) {
        const struct route *route = &server->routes[i];
        if (!path_matches(route, exchange))
            continue;
        if (serves(route->http->method, method)) {
            exchange->route = route;
            exchange->handler = route->http->handler;
            return;
        }
        if (!same_path)
            same_path = route;
    }
    bool any_path = exchange->segment_count == 0;
    if (!same_path && !any_path) {
        exchange_refuse(exchange, 404, ERR_NOT_FOUND, "There is nothing at this path.");
        return;
    }
    exchange->route = same_path;
    list_methods(exchange);
    if (strcmp(method, "OPTIONS") == 0)
        exchange->handler = answer_options;
    else
        exchange_refuse(exchange, 405, ERR_UNIMPLEMENTED, "This path has other methods; see Allow.");
}
