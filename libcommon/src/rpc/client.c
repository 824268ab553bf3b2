/* A call goes out as one batch with all that it sends and awaits. Its struct rpc_outgoing belongs to the batch: a
 * caller that gives up cancels the call and leaves, and the batch's end cleans up after it. */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/support/alloc.h>

#include "base/random.h"
#include "common/fiber.h"
#include "common/list.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/middleware.h"
#include "common/rpc.h"
#include "health.pb-c.h"
#include "rpc/channel.h"
#include "rpc/circuit.h"
#include "rpc/counters.h"
#include "rpc/health.h"
#include "rpc/identity.h"
#include "rpc/message.h"
#include "rpc/queue.h"

enum {
    SPARE_MAX = 128,
    DETAIL_BYTES_MAX = 1024,
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 1000,
    CONNECT_TIMEOUT_MS = 2000,
    RESOLVE_AGAIN_MS = 1000,
    CONNECTION_WAIT_MS = 500,
    CONNECTION_LOOK_MS = 2,
    RETRY_PAUSE_MS = 20,
    RETRY_TENTHS_MAX = 100, /* ten retries ahead at most */
};

struct known_procedure {
    struct known_procedure *next;
    const struct rpc_procedure *procedure;
    char *path;
    void *registered;
};

struct outgoing {
    struct rpc_operation ended;
    struct list list; /* in flight, or spare */
    struct rpc_client *client;
    grpc_call *call;
    struct rpc_metadata metadata;
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *question, *answer;
    grpc_status_code status;
    grpc_slice detail;
    struct fiber_wait wait;
    int64_t begin_ns;
    bool patient;   /* waits for a connection when the one that there was has just ended */
    bool abandoned; /* nobody waits any more */
};

struct rpc_client {
    struct loop *loop;
    struct rpc_queue *queue;
    char *name, *target;
    unsigned calls_max, pausing; /* calls between two tries */
    int retries_max, retry_tenths;
    grpc_channel *channel;
    struct known_procedure *procedures;
    struct list in_flight, spare;
    unsigned spare_count;
    struct fiber_wait *closing; /* who waits for the last call */
    atomic_uint running;
    struct rpc_circuit circuit;
    struct rpc_counters counters;
};

/* --- open and close */

static grpc_channel *channel_new(const struct rpc_client_settings *settings, const char *target)
{
    struct rpc_args args = {0};
    rpc_args_common(&args, settings->message_bytes_max, settings->keepalive_ms);
    rpc_args_text(&args, GRPC_ARG_LB_POLICY_NAME, "round_robin");
    rpc_args_int(&args, GRPC_ARG_ENABLE_RETRIES, 0);
    rpc_args_int(&args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    rpc_args_int(&args, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    /* An address gets calls while it says that it serves. So one that is about to stop is left before it does. */
    rpc_args_text(&args, GRPC_ARG_SERVICE_CONFIG, "{\"healthCheckConfig\":{\"serviceName\":\"\"}}");
    /* A peer that comes back, or moves, is found within two seconds. */
    rpc_args_int(&args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, BACKOFF_FIRST_MS);
    rpc_args_int(&args, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS);
    rpc_args_int(&args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, BACKOFF_MAX_MS);
    rpc_args_int(&args, GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, RESOLVE_AGAIN_MS);
    /* Connections of its own for each loop, instead of one that all loops contend for. */
    rpc_args_int(&args, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    if (settings->identity && !strchr(settings->peer_name, ':'))
        rpc_args_text(&args, GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, settings->peer_name); /* what the peer is asked for */
    grpc_channel_args core_args = rpc_args_core(&args);
    grpc_channel_credentials *credentials = rpc_channel_credentials(settings->identity, settings->peer_name);
    grpc_channel *channel = grpc_channel_create(target, credentials, &core_args);
    grpc_channel_credentials_release(credentials);
    return channel;
}

struct rpc_client *rpc_client_open(struct loop *loop, const char *name, const struct rpc_client_settings *settings)
{
    struct rpc_client *client = mem_alloc(sizeof *client);
    client->loop = loop;
    client->queue = rpc_queue_take(loop);
    client->name = mem_text(name);
    client->target = rpc_target(settings->target);
    client->calls_max = (unsigned)settings->calls_max;
    client->retries_max = settings->retries_max;
    client->retry_tenths = RETRY_TENTHS_MAX;
    client->channel = channel_new(settings, client->target);
    list_init(&client->in_flight);
    list_init(&client->spare);
    return client;
}

const char *rpc_client_name(const struct rpc_client *client)
{
    return client->name;
}

static bool is_left(const struct rpc_client *client)
{
    return list_empty(&client->in_flight) && client->pausing == 0;
}

static void tell_if_left(struct rpc_client *client)
{
    if (client->closing && is_left(client))
        fiber_wake(client->closing, ERR_OK);
}

static void outgoing_destroy(struct outgoing *out)
{
    grpc_metadata_array_destroy(&out->initial);
    grpc_metadata_array_destroy(&out->trailing);
    free(out);
}

static void client_free(struct rpc_client *client)
{
    grpc_channel_destroy(client->channel);
    for (struct list *node; (node = list_take(&client->spare));)
        outgoing_destroy(container_of(node, struct outgoing, list));
    for (struct known_procedure *known = client->procedures, *next; known; known = next) {
        next = known->next;
        free(known->path);
        free(known);
    }
    rpc_queue_give(client->queue);
    free(client->name);
    free(client->target);
    free(client);
}

void rpc_client_close(struct rpc_client *client)
{
    if (!client)
        return;
    struct fiber_wait last = {0};
    client->closing = &last;
    list_each (node, &client->in_flight)
        grpc_call_cancel(container_of(node, struct outgoing, list)->call, NULL);
    if (!is_left(client))
        fiber_wait(&last, CLOCK_NEVER);
    client_free(client);
}

/* --- calls */

static void *registered_call(struct rpc_client *client, const struct rpc_procedure *procedure)
{
    struct known_procedure *known = client->procedures;
    while (known && known->procedure != procedure)
        known = known->next;
    if (known)
        return known->registered;
    known = mem_alloc(sizeof *known);
    known->procedure = procedure;
    known->path = mem_print("/%s", procedure->name);
    known->registered = grpc_channel_register_call(client->channel, known->path, NULL, NULL);
    known->next = client->procedures;
    client->procedures = known;
    return known->registered;
}

static struct outgoing *outgoing_take(struct rpc_client *client)
{
    struct outgoing *out;
    struct list *node = list_take(&client->spare);
    if (node) {
        client->spare_count--;
        out = container_of(node, struct outgoing, list);
    } else {
        out = mem_alloc(sizeof *out);
        out->client = client;
        grpc_metadata_array_init(&out->initial);
        grpc_metadata_array_init(&out->trailing);
    }
    out->wait = (struct fiber_wait){0};
    out->abandoned = false;
    out->call = NULL;
    out->question = out->answer = NULL;
    out->detail = grpc_empty_slice();
    rpc_metadata_init(&out->metadata);
    list_append(&client->in_flight, &out->list);
    atomic_fetch_add_explicit(&client->running, 1, memory_order_relaxed);
    return out;
}

static void outgoing_free(struct outgoing *out)
{
    struct rpc_client *client = out->client;
    grpc_byte_buffer_destroy(out->question);
    grpc_byte_buffer_destroy(out->answer);
    grpc_slice_unref(out->detail);
    rpc_metadata_done(&out->metadata);
    out->initial.count = out->trailing.count = 0;
    if (out->call)
        grpc_call_unref(out->call);
    list_remove(&out->list);
    atomic_fetch_sub_explicit(&client->running, 1, memory_order_relaxed);
    if (client->spare_count < SPARE_MAX) {
        list_append(client->spare.next, &out->list); /* the most recently used first */
        client->spare_count++;
    } else {
        outgoing_destroy(out);
    }
    tell_if_left(client);
}

static void ended(struct loop_task *task)
{
    struct outgoing *out = container_of(task, struct outgoing, ended.task);
    if (out->abandoned)
        outgoing_free(out);
    else
        fiber_wake(&out->wait, ERR_OK);
}

static bool outgoing_start(struct outgoing *out)
{
    const grpc_op ops[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA,
         .flags = out->patient ? GRPC_INITIAL_METADATA_WAIT_FOR_READY : 0,
         .data.send_initial_metadata = {.count = out->metadata.count, .metadata = out->metadata.entries}},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = out->question},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &out->initial},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &out->answer},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &out->trailing,
                                        .status = &out->status,
                                        .status_details = &out->detail}},
    };
    return rpc_start(out->client->queue, out->call, ops, array_count(ops), &out->ended, ended);
}

/* --- what came back */

/* A status that the peer's own code wrote, not one that grpc core makes up when there is no answer. */
static bool from_peer(const struct outgoing *out)
{
    for (size_t i = 0; i < out->trailing.count; i++)
        if (grpc_slice_str_cmp(out->trailing.metadata[i].key, RPC_ORIGIN_KEY) == 0)
            return true;
    switch (rpc_status_err((int)out->status)) {
    case ERR_OK:
    case ERR_CANCELLED:
    case ERR_UNKNOWN:
    case ERR_DEADLINE_EXCEEDED:
    case ERR_RESOURCE_EXHAUSTED:
    case ERR_UNIMPLEMENTED:
    case ERR_INTERNAL:
    case ERR_UNAVAILABLE:
        return false;
    default:
        return true;
    }
}

/* grpc core's own text names addresses and internals: that is for the log. */
static enum err fail_for_core(struct request *req, const struct outgoing *out, enum err err)
{
    const char *name = out->client->name;
    log_event(LOG_DEBUG, "a call failed in grpc", log_text("peer", name), log_text("status", err_name((int)err)),
              log_text("detail", rpc_slice_text(req->arena, out->detail, DETAIL_BYTES_MAX)));
    switch (err) {
    case ERR_UNAVAILABLE:
        return fail(req, err, "%s is unavailable", name);
    case ERR_DEADLINE_EXCEEDED:
        return fail(req, err, "%s did not answer in time", name);
    case ERR_CANCELLED:
        return fail(req, err, "the call to %s was cancelled", name);
    case ERR_UNIMPLEMENTED:
        return fail(req, err, "%s does not know the method", name);
    case ERR_RESOURCE_EXHAUSTED:
        return fail(req, err, "a message to or from %s is too large", name);
    default:
        return fail(req, err, "the call to %s failed", name);
    }
}

static enum err read_answer(struct request *req, struct outgoing *out, const struct rpc_procedure *procedure,
                            void *out_pointer)
{
    enum err err = rpc_status_err((int)out->status);
    /* A server that shuts down cancels the calls that it gets meanwhile. When it was us, the request knows. */
    if (err == ERR_CANCELLED && !out->client->closing && !from_peer(out))
        err = ERR_UNAVAILABLE;
    if (err && !from_peer(out))
        return fail_for_core(req, out, err);
    if (err) {
        const char *text = rpc_slice_text(req->arena, out->detail, DETAIL_BYTES_MAX);
        return fail(req, err, "%s", text[0] ? text : err_name((int)err));
    }
    void *message = rpc_unpack(req->arena, procedure->out, out->answer);
    if (!message)
        return fail(req, ERR_INTERNAL, "%s sent a malformed answer", out->client->name);
    *(void **)out_pointer = message;
    return ERR_OK;
}

/* Asks for a connection where there is none. */
static bool is_connected(const struct rpc_client *client)
{
    return grpc_channel_check_connectivity_state(client->channel, 1) == GRPC_CHANNEL_READY;
}

/* --- the circuit */

/* Fails at once when the peer has not answered for a while. */
static bool circuit_lets(struct request *req, struct rpc_client *client)
{
    struct rpc_circuit *circuit = &client->circuit;
    if (!circuit->open)
        return true;
    if (rpc_circuit_lets(circuit, is_connected(client), clock_now_ns()))
        return true;
    rpc_count(&client->counters.cut);
    fail(req, ERR_UNAVAILABLE, "%s is unavailable", client->name);
    return false;
}

static enum rpc_verdict verdict_of(const struct outgoing *out, enum err err, int64_t now_ns)
{
    bool answered = out->wait.done && (out->status == GRPC_STATUS_OK || from_peer(out));
    if (answered)
        return RPC_ANSWERED;
    if (err == ERR_UNAVAILABLE)
        return RPC_UNANSWERED;
    bool patient = now_ns - out->begin_ns >= RPC_CIRCUIT_PATIENCE_MS * NS_PER_MS;
    return err == ERR_DEADLINE_EXCEEDED && patient ? RPC_UNANSWERED : RPC_SAYS_NOTHING;
}

static void judge(const struct outgoing *out, enum err err)
{
    struct rpc_client *client = out->client;
    int64_t now_ns = clock_now_ns();
    if (!rpc_circuit_judge(&client->circuit, verdict_of(out, err, now_ns), now_ns))
        return;
    if (client->circuit.open) {
        rpc_count(&client->counters.circuits_opened);
        log_event(LOG_WARN, "a peer does not answer, calls to it fail at once", log_text("peer", client->name));
    } else {
        rpc_count(&client->counters.circuits_closed);
        log_event(LOG_INFO, "a peer answers again", log_text("peer", client->name));
    }
}

/* --- calling */

static struct outgoing *prepare(struct request *req, struct rpc_client *client, bool by_circuit)
{
    if (request_check(req))
        return NULL;
    if (client->closing) {
        fail(req, ERR_UNAVAILABLE, "%s is being left", client->name);
    } else if (atomic_load_explicit(&client->running, memory_order_relaxed) >= client->calls_max) {
        fail(req, ERR_UNAVAILABLE, "%s is overloaded", client->name);
    } else if (by_circuit && !circuit_lets(req, client)) {
        return NULL;
    } else {
        return outgoing_take(client);
    }
    rpc_count(&client->counters.refused);
    return NULL;
}

static enum err exchange(struct request *req, struct outgoing *out, const struct rpc_procedure *procedure,
                         const void *in, void *out_pointer)
{
    struct rpc_client *client = out->client;
    if (req->principal)
        out->metadata.carrier.set(&out->metadata.carrier, "authorization", req->principal->authorization);
    out->question = rpc_pack(in, rpc_packed_bytes(in));
    out->call = grpc_channel_create_registered_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                                    rpc_queue_core(client->queue), registered_call(client, procedure),
                                                    rpc_deadline_to_core(req->deadline_ns), NULL);
    if (!outgoing_start(out)) {
        judge(out, ERR_INTERNAL);
        outgoing_free(out);
        return fail(req, ERR_INTERNAL, "the call to %s could not be made", client->name);
    }
    enum err err = request_wait(req, &out->wait);
    if (!out->wait.done) {
        judge(out, err);
        out->abandoned = true;
        grpc_call_cancel(out->call, NULL);
        return err == ERR_DEADLINE_EXCEEDED ? fail(req, err, "%s did not answer in time", client->name) : err;
    }
    if (!err)
        err = read_answer(req, out, procedure, out_pointer);
    judge(out, err);
    outgoing_free(out);
    return err;
}

static enum err exchange_counted(struct request *req, struct outgoing *out, const struct rpc_procedure *procedure,
                                 const void *in, void *out_pointer)
{
    struct rpc_counters *counters = &out->client->counters;
    rpc_count(&counters->started);
    enum err err = exchange(req, out, procedure, in, out_pointer);
    rpc_count(&counters->ended);
    if (err)
        rpc_count(&counters->failed);
    return err;
}

/* One try, as telemetry sees it. */
static enum err try_once(struct request *req, struct outgoing *out, const struct rpc_procedure *procedure,
                         const void *in, void *out_pointer)
{
    struct rpc_client *client = out->client;
    struct call call = {
        .kind = CALL_RPC_CLIENT,
        .name = procedure->name,
        .peer = client->target,
        .carrier = &out->metadata.carrier,
    };
    call_begin(req, &call);
    enum err err = exchange_counted(req, out, procedure, in, out_pointer);
    call.carrier = NULL; /* gone with the call */
    call.status = (int)err;
    call_end(req, &call, err);
    return err;
}

/* Each call earns a tenth of a retry. So a peer that is gone gets a tenth more calls, not three times as many. */
static bool retry_is_due(struct request *req, struct rpc_client *client, int64_t at_ns)
{
    if (at_ns >= req->deadline_ns || request_check(req))
        return false;
    if (client->retry_tenths < 10) {
        rpc_count(&client->counters.unretried);
        return false;
    }
    client->retry_tenths -= 10;
    rpc_count(&client->counters.retried);
    return true;
}

static int64_t pause_ns(int tries)
{
    uint32_t random;
    random_bytes(&random, sizeof random);
    return (RETRY_PAUSE_MS << tries) * NS_PER_MS * (int64_t)(random % 1024) / 1024;
}

/* False: the client is being closed, and may be gone. */
static bool pause_until(struct rpc_client *client, int64_t at_ns)
{
    client->pausing++;
    fiber_sleep_until(at_ns);
    client->pausing--;
    if (!client->closing)
        return true;
    tell_if_left(client);
    return false;
}

/* Between two connections there is nobody to call for a moment, and grpc core would fail a call at once: a peer whose
 * connection has ended, by its age or a restart, is soon found again. One that has ceased to answer is not waited for.
 * False: the client is being left. */
static bool await_connection(const struct request *req, struct rpc_client *client, bool *out_connected)
{
    int64_t begin_ns = clock_now_ns(), half_ns = (req->deadline_ns - begin_ns) / 2,
            most_ns = CONNECTION_WAIT_MS * NS_PER_MS;
    int64_t until_ns = begin_ns + (half_ns < most_ns ? half_ns : most_ns);
    while (!(*out_connected = is_connected(client)) && !client->circuit.open && !client->closing && !req->cancelled) {
        int64_t now_ns = clock_now_ns();
        if (now_ns >= until_ns)
            break;
        if (!pause_until(client, now_ns + CONNECTION_LOOK_MS * NS_PER_MS))
            return false;
    }
    return true;
}

enum err rpc_call(struct request *req, struct rpc_client *client, const struct rpc_procedure *procedure, const void *in,
                  void *out_pointer)
{
    if (client->retry_tenths < RETRY_TENTHS_MAX)
        client->retry_tenths++;
    for (int tries = 0;; tries++) {
        bool connected;
        int64_t begin_ns = clock_now_ns();
        if (!await_connection(req, client, &connected))
            return fail(req, ERR_UNAVAILABLE, "the peer is being left");
        struct outgoing *out = prepare(req, client, true);
        if (!out)
            return req->failure.err;
        out->begin_ns = begin_ns;
        out->patient = connected;
        enum err err = try_once(req, out, procedure, in, out_pointer);
        if (err != ERR_UNAVAILABLE || !procedure->repeatable || tries == client->retries_max)
            return err;
        const struct failure failure = req->failure;
        int64_t at_ns = clock_now_ns() + pause_ns(tries);
        if (!retry_is_due(req, client, at_ns)) {
            req->failure = failure;
            return err;
        }
        if (!pause_until(client, at_ns))
            return err;
    }
}

enum err rpc_check(struct request *req, struct rpc_client *client)
{
    struct outgoing *out = prepare(req, client, false); /* health is asked in any case */
    if (!out)
        return req->failure.err;
    out->begin_ns = clock_now_ns();
    out->patient = false;
    Grpc__Health__V1__HealthCheckRequest question;
    grpc__health__v1__health_check_request__init(&question);
    Grpc__Health__V1__HealthCheckResponse *answer = NULL;
    enum err err = exchange_counted(req, out, &rpc_health_check, &question, &answer);
    if (err)
        return err;
    if (answer->status != GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING)
        return fail(req, ERR_UNAVAILABLE, "%s is not serving", client->name);
    return ERR_OK;
}

struct rpc_stats rpc_client_stats(const struct rpc_client *client)
{
    const struct rpc_counters *c = &client->counters;
    uint64_t closed = atomic_load_explicit(&c->circuits_closed, memory_order_relaxed);
    uint64_t opened = atomic_load_explicit(&c->circuits_opened, memory_order_relaxed);
    return (struct rpc_stats){
        .started = atomic_load_explicit(&c->started, memory_order_relaxed),
        .ended = atomic_load_explicit(&c->ended, memory_order_relaxed),
        .failed = atomic_load_explicit(&c->failed, memory_order_relaxed),
        .refused = atomic_load_explicit(&c->refused, memory_order_relaxed),
        .retried = atomic_load_explicit(&c->retried, memory_order_relaxed),
        .unretried = atomic_load_explicit(&c->unretried, memory_order_relaxed),
        .circuits_opened = opened,
        .cut = atomic_load_explicit(&c->cut, memory_order_relaxed),
        .circuits_open = (unsigned)(opened - closed),
        .in_flight = atomic_load_explicit(&client->running, memory_order_relaxed),
    };
}
