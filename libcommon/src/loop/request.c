#include "common/request.h"

#include <string.h>

#include "common/loop.h"

void request_init(struct request *req, struct arena *arena, const struct worker *worker)
{
    *req = (struct request){.arena = arena, .worker = worker, .deadline_ns = CLOCK_NEVER, .trace = trace_new()};
}

__attribute__((format(printf, 5, 0))) static void record(struct request *req, enum err err, int http_status,
                                                         const char *title, const char *format, va_list args)
{
    req->failure = (struct failure){
        .err = err,
        .http_status = http_status,
        .title = title,
        .detail = arena_vprint(req->arena, format, args),
    };
}

enum err fail(struct request *req, enum err err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record(req, err, 0, NULL, format, args);
    va_end(args);
    return err;
}

enum err fail_as(struct request *req, enum err err, int http_status, const char *title, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record(req, err, http_status, title, format, args);
    va_end(args);
    return err;
}

enum err request_uuid(struct request *req, const char *field, const char *text, struct uuid *out)
{
    if (uuid_parse(text, out))
        return ERR_OK;
    return fail(req, ERR_INVALID_ARGUMENT, "%s: expected a UUID", field);
}

enum err request_check(struct request *req)
{
    if (req->cancelled)
        return fail(req, ERR_CANCELLED, "the caller has gone");
    if (req->deadline_ns != CLOCK_NEVER && clock_now_ns() >= req->deadline_ns)
        return fail(req, ERR_DEADLINE_EXCEEDED, "the request's time is over");
    return ERR_OK;
}

enum err request_wait(struct request *req, struct fiber_wait *wait)
{
    if (wait->done)
        return wait->err;
    enum err err = request_check(req);
    if (err)
        return err;
    req->waiting = wait;
    fiber_wait(wait, req->deadline_ns);
    req->waiting = NULL;
    if (wait->done && !req->cancelled)
        return wait->err;
    return request_check(req) ? req->failure.err : fail(req, ERR_DEADLINE_EXCEEDED, "the request's time is over");
}

void request_cancel(struct request *req)
{
    if (req->cancelled)
        return;
    req->cancelled = true;
    if (req->waiting)
        fiber_interrupt(req->waiting);
}

void response_header(struct request *req, struct response *res, const char *name, const char *value)
{
    struct response_header *header = arena_new(req->arena, struct response_header);
    *header = (struct response_header){.name = name, .value = value, .next = res->headers};
    res->headers = header;
}
