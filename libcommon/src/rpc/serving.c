/* A call's way: it arrives at a place, is moved into a struct rpc_serving, runs in a fiber, and leaves with one
 * batch. Whether the caller hung up is asked for only when the handler parks: a handler that never waits has
 * nothing to be cancelled, and the question rides in its last batch. */
#include "rpc/serving.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/middleware.h"
#include "rpc/identity.h"
#include "rpc/message.h"

enum { ARENA_BYTES = 4096, DETAIL_BYTES_MAX = 1024, METHOD_BYTES_MAX = 128 };

/* --- places */

void rpc_place_post(struct rpc_place *place)
{
    grpc_server *core = place->lane->server->core;
    grpc_completion_queue *queue = rpc_queue_core(place->lane->queue);
    void *tag = rpc_operation_begin(&place->arrival, rpc_place_arrived);
    rpc_queue_enter(place->lane->queue);
    grpc_call_error error =
        place->entry->registered
            ? grpc_server_request_registered_call(core, place->entry->registered, &place->call, &place->deadline,
                                                  &place->metadata, &place->payload, queue, queue, tag)
            : grpc_server_request_call(core, &place->call, &place->details, &place->metadata, queue, queue, tag);
    rpc_queue_leave(place->lane->queue);
    if (error != GRPC_CALL_OK) {
        log_event(LOG_ERROR, "grpc refused to wait for calls", log_text("reason", grpc_call_error_to_string(error)));
        abort();
    }
}

void rpc_place_arrived(struct loop_task *task)
{
    struct rpc_place *place = container_of(task, struct rpc_place, arrival.task);
    if (place->arrival.ok)
        place->entry->arrived(place);
    else
        rpc_lane_leave(place->lane); /* the server drains */
}

/* --- calls, kept for the next ones: the most recently used first */

struct rpc_serving *rpc_serving_take(struct rpc_place *place)
{
    struct rpc_lane *lane = place->lane;
    struct rpc_serving *serving = lane->spare;
    if (serving) {
        lane->spare = serving->next;
        lane->spare_count--;
    } else {
        serving = mem_alloc(sizeof *serving);
        serving->lane = lane;
        arena_init(&serving->arena, ARENA_BYTES);
        grpc_metadata_array_init(&serving->metadata);
    }
    serving->entry = place->entry;
    serving->call = place->call;
    serving->payload = place->payload;
    serving->cancelled = 0;
    serving->admitted = serving->closing_started = serving->running = false;
    serving->holds = 0;
    grpc_metadata_array empty = serving->metadata;
    serving->metadata = place->metadata;
    place->metadata = empty;
    place->call = NULL;
    place->payload = NULL;
    lane->out++;
    return serving;
}

void rpc_serving_free(struct rpc_serving *serving)
{
    arena_done(&serving->arena);
    grpc_metadata_array_destroy(&serving->metadata);
    free(serving);
}

static void serving_release(struct rpc_serving *serving)
{
    if (--serving->holds > 0)
        return;
    struct rpc_lane *lane = serving->lane;
    grpc_byte_buffer_destroy(serving->payload);
    grpc_call_unref(serving->call);
    serving->metadata.count = 0;
    arena_reset(&serving->arena);
    if (lane->spare_count < RPC_SPARE_MAX) {
        serving->next = lane->spare;
        lane->spare = serving;
        lane->spare_count++;
    } else {
        rpc_serving_free(serving);
    }
    rpc_lane_leave(lane);
}

/* --- the answer */

static void sent(struct loop_task *task)
{
    serving_release(container_of(task, struct rpc_serving, sending.task));
}

static void closed(struct loop_task *task)
{
    struct rpc_serving *serving = container_of(task, struct rpc_serving, closing.task);
    if (serving->cancelled && serving->running)
        request_cancel(&serving->request);
    serving_release(serving);
}

static grpc_op close_op(struct rpc_serving *serving)
{
    serving->closing_started = true;
    return (grpc_op){.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &serving->cancelled};
}

grpc_op rpc_status_op(enum err err, grpc_slice *detail, grpc_metadata *origin)
{
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER, .data.send_status_from_server.status = (grpc_status_code)err};
    if (!err)
        return op;
    origin->key = grpc_slice_from_static_string(RPC_ORIGIN_KEY);
    origin->value = grpc_slice_from_static_string("server");
    op.data.send_status_from_server.status_details = detail;
    op.data.send_status_from_server.trailing_metadata = origin;
    op.data.send_status_from_server.trailing_metadata_count = 1;
    return op;
}

/* answer is taken over; NULL unless err is ERR_OK. */
static void send_answer(struct rpc_serving *serving, enum err err, const char *text, grpc_byte_buffer *answer)
{
    grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}};
    unsigned count = 1;
    if (answer) {
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = answer;
    }
    grpc_slice detail = grpc_empty_slice();
    if (err)
        detail = grpc_slice_from_copied_buffer(text, strnlen(text, DETAIL_BYTES_MAX));
    ops[count++] = rpc_status_op(err, &detail, &serving->origin);
    if (!serving->closing_started)
        ops[count++] = close_op(serving);
    serving->holds++;
    if (!rpc_start(serving->lane->queue, serving->call, ops, count, &serving->sending, sent))
        serving->holds--;
    grpc_slice_unref(detail);
    if (answer)
        grpc_byte_buffer_destroy(answer);
}

/* --- in the fiber */

static enum err run_handler(struct rpc_serving *serving, void **out)
{
    struct request *req = &serving->request;
    const struct rpc_method *method = &serving->entry->method;
    const void *in = rpc_unpack(req->arena, method->procedure.in, serving->payload);
    if (!in)
        return fail(req, ERR_INVALID_ARGUMENT, "malformed %s", method->procedure.in->short_name);
    *out = rpc_message_new(req->arena, method->procedure.out);
    return method->handler(req, in, *out);
}

static enum err run(struct rpc_serving *serving, grpc_byte_buffer **answer)
{
    struct request *req = &serving->request;
    void *out = NULL;
    enum err err = run_handler(serving, &out);
    if (err)
        return err;
    size_t bytes = rpc_packed_bytes(out);
    int bytes_max = serving->lane->server->settings->message_bytes_max;
    if (bytes > (size_t)bytes_max)
        return fail(req, ERR_RESOURCE_EXHAUSTED, "the answer has more than %d bytes", bytes_max);
    *answer = rpc_pack(out, bytes);
    return ERR_OK;
}

static enum err run_announced(struct rpc_serving *serving, grpc_byte_buffer **answer)
{
    struct rpc_received received;
    rpc_received_init(&received, &serving->metadata, &serving->arena);
    struct call call = {
        .kind = CALL_RPC_SERVER,
        .name = serving->entry->method.procedure.name,
        .access = serving->entry->method.access,
        .carrier = &received.carrier,
    };
    enum err err = call_begin(&serving->request, &call);
    if (!err)
        err = run(serving, answer);
    call.status = (int)err;
    call_end(&serving->request, &call, err);
    return err;
}

static const char *failure_text(const struct request *req, enum err err)
{
    return req->failure.err == err && req->failure.detail ? req->failure.detail : err_name((int)err);
}

static void serve(void *arg)
{
    struct rpc_serving *serving = arg;
    struct rpc_lane *lane = serving->lane;
    grpc_byte_buffer *answer = NULL;
    enum err err = serving->entry->internal ? run(serving, &answer) : run_announced(serving, &answer);
    serving->running = false;
    /* Counted out before the answer: who has it may call again without being one too many. */
    rpc_count(&lane->counters.ended);
    if (err)
        rpc_count(&lane->counters.failed);
    if (serving->admitted)
        limit_leave(&lane->server->requests, serving->admitted_ns, clock_now_ns());
    send_answer(serving, err, err ? failure_text(&serving->request, err) : NULL, answer);
    serving_release(serving);
}

/* --- arrivals */

static void begin_request(struct rpc_serving *serving, gpr_timespec deadline)
{
    struct request *req = &serving->request;
    request_init(req, &serving->arena, serving->lane->worker);
    req->transport = serving;
    const struct rpc_server_settings *settings = serving->lane->server->settings;
    if (settings->identity)
        req->peer_name = rpc_caller_name(serving->call, settings->allow, req->arena);
    int64_t latest = clock_now_ns() + settings->deadline_ms * NS_PER_MS;
    int64_t wanted = rpc_deadline_from_core(deadline);
    req->deadline_ns = wanted < latest ? wanted : latest;
}

static void ask_for_close(struct rpc_serving *serving)
{
    grpc_op op = close_op(serving);
    serving->holds++;
    if (!rpc_start(serving->lane->queue, serving->call, &op, 1, &serving->closing, closed))
        serving->holds--;
}

static void refuse(struct rpc_serving *serving, enum err err, const char *text)
{
    rpc_count(&serving->lane->counters.refused);
    serving->holds = 1;
    send_answer(serving, err, text, NULL);
    serving_release(serving);
}

static bool admit(struct rpc_serving *serving)
{
    serving->admitted = limit_enter(&serving->lane->server->requests);
    serving->admitted_ns = clock_now_ns();
    return serving->admitted;
}

void rpc_arrived(struct rpc_place *place)
{
    struct rpc_serving *serving = rpc_serving_take(place);
    gpr_timespec deadline = place->deadline;
    rpc_place_post(place);
    if (!serving->entry->internal && !admit(serving)) {
        refuse(serving, ERR_RESOURCE_EXHAUSTED, "too many requests");
        return;
    }
    rpc_count(&serving->lane->counters.started);
    begin_request(serving, deadline);
    serving->running = true;
    serving->holds = 2; /* the fiber's, and ours for the next lines */
    fiber_start(serving->lane->worker->loop, serve, serving);
    if (serving->running)
        ask_for_close(serving);
    serving_release(serving);
}

void rpc_unknown_arrived(struct rpc_place *place)
{
    struct rpc_serving *serving = rpc_serving_take(place);
    const char *method = rpc_slice_text(&serving->arena, place->details.method, METHOD_BYTES_MAX);
    grpc_call_details_destroy(&place->details);
    grpc_call_details_init(&place->details);
    rpc_place_post(place);
    refuse(serving, ERR_UNIMPLEMENTED, arena_print(&serving->arena, "unknown method %s", method));
}
