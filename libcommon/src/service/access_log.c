/* One line for each request, when it ends. */
#include <string.h>

#include "common/log.h"
#include "common/middleware.h"
#include "service/internal.h"

static bool is_probe(const struct call *call)
{
    return strcmp(call->name, "/health") == 0 || strcmp(call->name, "/ready") == 0 ||
           strncmp(call->name, "grpc.health.", strlen("grpc.health.")) == 0;
}

static enum log_level level_of(const struct call *call, enum err err)
{
    if (is_probe(call))
        return LOG_DEBUG;
    int status = call->kind == CALL_HTTP_SERVER ? call->status : err_http_status(err);
    return status >= 500 ? LOG_WARN : LOG_INFO;
}

static void log_request(struct request *req, struct call *call, enum err err, void **state)
{
    (void)state;
    if (call->kind != CALL_HTTP_SERVER && call->kind != CALL_RPC_SERVER)
        return;
    enum log_level level = level_of(call, err);
    double duration_ms = (double)call_took_ns(call) / 1e6;
    const char *method = call->kind == CALL_HTTP_SERVER ? call->method : "grpc";
    struct log_field fields[7] = {
        log_text("method", method),
        log_text("route", call->name),
        log_int("status", call->status),
        log_real("duration_ms", duration_ms),
    };
    unsigned count = 4;
    if (call->text)
        fields[count++] = log_text("path", call->text);
    if (err) {
        fields[count++] = log_text("error", err_name(err));
        fields[count++] = log_text("detail", req->failure.detail);
    }
    if (log_enabled(level))
        log_write(level, "request", fields, count);
}

const struct middleware access_log = {.name = "access log", .end = log_request};

/* Until the dependencies have answered once, only the probes are served. */
static enum err refuse_early(struct request *req, struct call *call, void **state)
{
    (void)state;
    bool server = call->kind == CALL_HTTP_SERVER || call->kind == CALL_RPC_SERVER;
    if (!server || !the_app || atomic_load_explicit(&the_app->ready, memory_order_relaxed) || is_probe(call))
        return ERR_OK;
    return fail(req, ERR_UNAVAILABLE, "this service is starting");
}

const struct middleware start_gate = {.name = "start gate", .begin = refuse_early};
