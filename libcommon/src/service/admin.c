/* The admin port: metrics for Prometheus, and the two questions that an orchestrator asks over HTTP. Nothing of it is
 * traced or logged. It runs on the first loop; metrics are gathered off the loop. */
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/offload.h"
#include "common/otel/otel.h"
#include "service/internal.h"

struct scrape {
    bool openmetrics;
    const char *content_type;
    char *text;
    size_t bytes;
};

static void gather(void *arg)
{
    struct scrape *scrape = arg;
    scrape->text = otel_metrics_text(scrape->openmetrics, &scrape->content_type, &scrape->bytes);
}

static enum err get_metrics(struct request *req, struct response *res)
{
    const char *accept = http_header(req, "accept");
    struct scrape scrape = {.openmetrics = accept && strstr(accept, "application/openmetrics-text")};
    enum err err = offload_run(req, gather, &scrape);
    if (err)
        return err;
    res->content_type = scrape.content_type;
    res->body = (struct bytes){arena_copy(req->arena, scrape.text, scrape.bytes), scrape.bytes};
    free(scrape.text);
    return ERR_OK;
}

static enum err answer_ok(struct response *res)
{
    res->content_type = "text/plain";
    res->body = (struct bytes){"OK", 2};
    return ERR_OK;
}

static enum err get_livez(struct request *req, struct response *res)
{
    (void)req;
    return answer_ok(res);
}

static enum err get_readyz(struct request *req, struct response *res)
{
    enum err err = service_ready(req);
    return err ? err : answer_ok(res);
}

static const struct http_route routes[] = {
    {"GET", "/metrics", get_metrics},
    {"GET", "/livez", get_livez, .probe = true},
    {"GET", "/readyz", get_readyz, .probe = true},
#ifdef FAILPOINTS
    {"GET", "/failpoints", get_failpoints},
    {"PUT", "/failpoints", put_failpoints, "text/plain"},
#endif
};

enum err admin_open(struct seat *first)
{
    struct app *app = first->app;
    app->admin_settings = (struct http_settings){
        .listen = app->settings->admin_listen,
        .body_bytes_max = 1024,
        .header_bytes_max = 16384,
        .uri_bytes_max = 1024,
        .connections_max = 64,
        .requests_max = 16,
        .receive_timeout_ms = 5000,
        .keepalive_timeout_ms = 120000,
        .deadline_ms = 5000,
        .unseen = true,
    };
    return http_server_open(&app->admin, first->worker, &app->admin_settings, routes, array_count(routes));
}
