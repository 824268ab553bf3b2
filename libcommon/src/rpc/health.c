/* grpc.health.v1: Check is a method like any other, Watch a stream of its own that lives until the caller hangs
 * up or the server drains. A watcher has one batch under way at most; what changes meanwhile is sent after it. */
#include "rpc/health.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "health.pb-c.h"
#include "rpc/message.h"
#include "rpc/serving.h"

enum { ARENA_BYTES = 512, NOTHING_SENT = -1 };

const struct rpc_procedure rpc_health_check = RPC_PROCEDURE(
    "grpc.health.v1.Health/Check", grpc__health__v1__health_check_request, grpc__health__v1__health_check_response);
const struct rpc_procedure rpc_health_watch = RPC_PROCEDURE(
    "grpc.health.v1.Health/Watch", grpc__health__v1__health_check_request, grpc__health__v1__health_check_response);

/* "" is the server as a whole; "liveness" says only that the process lives, for an orchestrator's probe: what does not
 * serve because its database is away must not be restarted for that. */
static bool is_liveness(const char *service)
{
    return strcmp(service, "liveness") == 0;
}

static bool known(const struct rpc_server *server, const char *service)
{
    size_t length = strlen(service);
    if (length == 0 || is_liveness(service))
        return true;
    for (unsigned i = 0; i < server->entry_count; i++) {
        const char *name = server->entries[i].method.procedure.name;
        if (name && !server->entries[i].internal && strncmp(name, service, length) == 0 && name[length] == '/')
            return true;
    }
    return false;
}

static int status_now(struct rpc_server *server, bool liveness)
{
    return liveness || atomic_load(&server->serving)
               ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
               : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
}

enum err rpc_answer_health_check(struct request *req, const void *in, void *out)
{
    const Grpc__Health__V1__HealthCheckRequest *question = in;
    Grpc__Health__V1__HealthCheckResponse *answer = out;
    struct rpc_serving *serving = req->transport;
    struct rpc_server *server = serving->lane->server;
    if (!known(server, question->service))
        return fail(req, ERR_NOT_FOUND, "unknown service");
    answer->status = status_now(server, is_liveness(question->service));
    return ERR_OK;
}

/* --- watchers */

struct watcher {
    struct rpc_operation closing, sending;
    struct list list;
    struct rpc_lane *lane;
    grpc_call *call;
    grpc_metadata origin;
    int cancelled; /* written by grpc */
    bool known, liveness;
    bool busy; /* a batch is being sent */
    bool over; /* hung up, or the last status is under way */
    int told;  /* the status sent last */
    unsigned holds;
};

static void watcher_release(struct watcher *watcher)
{
    if (--watcher->holds > 0)
        return;
    struct rpc_lane *lane = watcher->lane;
    list_remove(&watcher->list);
    grpc_call_unref(watcher->call);
    free(watcher);
    atomic_fetch_sub(&lane->server->watchers, 1);
    rpc_lane_leave(lane);
}

static void watcher_step(struct watcher *watcher);

static void watcher_sent(struct loop_task *task)
{
    struct watcher *watcher = container_of(task, struct watcher, sending.task);
    watcher->busy = false;
    if (watcher->sending.ok)
        watcher_step(watcher);
    watcher_release(watcher);
}

static void watcher_closed(struct loop_task *task)
{
    struct watcher *watcher = container_of(task, struct watcher, closing.task);
    watcher->over = true;
    watcher_release(watcher);
}

static void watcher_start(struct watcher *watcher, const grpc_op *ops, size_t count)
{
    watcher->busy = true;
    watcher->holds++;
    if (rpc_start(watcher->lane->queue, watcher->call, ops, count, &watcher->sending, watcher_sent))
        return;
    watcher->busy = false;
    watcher->holds--;
}

static void watcher_end(struct watcher *watcher, enum err err, const char *text)
{
    grpc_slice detail = grpc_slice_from_static_string(text);
    grpc_op ops[2] = {rpc_status_op(err, &detail, &watcher->origin), {.op = GRPC_OP_SEND_INITIAL_METADATA}};
    watcher->over = true;
    watcher_start(watcher, ops, watcher->told == NOTHING_SENT ? 2 : 1);
}

static void watcher_tell(struct watcher *watcher, int status)
{
    Grpc__Health__V1__HealthCheckResponse answer;
    grpc__health__v1__health_check_response__init(&answer);
    answer.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
    grpc_byte_buffer *message = rpc_pack(&answer, rpc_packed_bytes(&answer));
    grpc_op ops[2] = {{.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message},
                      {.op = GRPC_OP_SEND_INITIAL_METADATA}};
    unsigned count = watcher->told == NOTHING_SENT ? 2 : 1;
    watcher->told = status;
    watcher_start(watcher, ops, count);
    grpc_byte_buffer_destroy(message);
}

static void watcher_step(struct watcher *watcher)
{
    struct rpc_server *server = watcher->lane->server;
    if (watcher->busy || watcher->over)
        return;
    int status = watcher->known ? status_now(server, watcher->liveness)
                                : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    if (status != watcher->told)
        watcher_tell(watcher, status);
    else if (atomic_load(&server->draining))
        watcher_end(watcher, ERR_UNAVAILABLE, "the server drains");
}

void rpc_watchers_tell(struct rpc_lane *lane)
{
    list_each (node, &lane->watchers)
        watcher_step(container_of(node, struct watcher, list));
}

static struct watcher *watcher_new(struct rpc_place *place)
{
    struct watcher *watcher = mem_alloc(sizeof *watcher);
    watcher->lane = place->lane;
    watcher->call = place->call;
    watcher->told = NOTHING_SENT;
    list_append(&place->lane->watchers, &watcher->list);
    place->lane->out++;
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &watcher->cancelled};
    watcher->holds = 2; /* the caller's and closing's */
    if (!rpc_start(place->lane->queue, watcher->call, &op, 1, &watcher->closing, watcher_closed))
        watcher->holds--;
    return watcher;
}

static bool read_question(struct watcher *watcher, grpc_byte_buffer *payload)
{
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    const Grpc__Health__V1__HealthCheckRequest *question = rpc_unpack(&arena, rpc_health_watch.in, payload);
    if (question) {
        watcher->known = known(watcher->lane->server, question->service);
        watcher->liveness = is_liveness(question->service);
    }
    arena_done(&arena);
    return question != NULL;
}

void rpc_watch_arrived(struct rpc_place *place)
{
    struct rpc_lane *lane = place->lane;
    struct watcher *watcher = watcher_new(place);
    grpc_byte_buffer *payload = place->payload;
    place->payload = NULL;
    place->metadata.count = 0;
    rpc_place_post(place);
    if (atomic_fetch_add(&lane->server->watchers, 1) >= RPC_WATCHERS_MAX) {
        rpc_count(&lane->counters.refused);
        /* What a client understands as: this server is not to be watched, take it as it is. */
        watcher_end(watcher, ERR_UNIMPLEMENTED, "too many watchers");
    } else if (!read_question(watcher, payload)) {
        watcher_end(watcher, ERR_INVALID_ARGUMENT, "malformed HealthCheckRequest");
    } else {
        watcher_step(watcher);
    }
    grpc_byte_buffer_destroy(payload);
    watcher_release(watcher);
}
