/* OTLP/gRPC on grpc core. A channel and a completion queue of its own; the thread that exports waits on the queue
 * itself. To have the waiting thread look at the clock again, another one starts an empty batch, which ends at
 * once. */
#include <ctype.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/mem.h"
#include "otel/export/pem.h"
#include "otel/export/sender.h"
#include "otel/sdk/buffer.h"

enum {
    METADATA_BYTES_MAX = 16384,
    CONNECT_AGAIN_FIRST_MS = 500,
    CONNECT_AGAIN_MAX_MS = 5000,
    CONNECT_MS = 5000,
    ARGS_MAX = 12,
};

struct grpc_sender {
    struct sender sender; /* first */
    char *target;
    int loopback_port; /* of localhost, else 0; the target is then 127.0.0.1 and ::1 in turns */
    bool loopback_v6, unreachable;
    bool secure;
    uint64_t pem_version;
    grpc_channel *channel;
    grpc_completion_queue *queue;
    grpc_metadata *headers;
    size_t header_count;
    pthread_mutex_t lock; /* of the next two */
    grpc_call *running;
    unsigned nudges; /* empty batches that the queue has not told yet */
};

/* What one call receives. */
struct reply {
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *message;
    grpc_status_code status;
    grpc_slice detail;
};

/* --- channel */

static void add_int(grpc_channel_args *args, const char *key, int value)
{
    args->args[args->num_args++] =
        (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

static void add_text(grpc_channel_args *args, const char *key, const char *value)
{
    args->args[args->num_args++] =
        (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)key, .value.string = (char *)(uintptr_t)value};
}

static grpc_channel *channel_new(const struct grpc_sender *grpc, grpc_channel_credentials *credentials)
{
    grpc_arg list[ARGS_MAX];
    grpc_channel_args args = {.args = list};
    add_text(&args, GRPC_ARG_PRIMARY_USER_AGENT_STRING, SENDER_USER_AGENT);
    size_t answer_max = sender_answer_max(&grpc->sender);
    add_int(&args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, answer_max < INT_MAX ? (int)answer_max : INT_MAX);
    add_int(&args, GRPC_ARG_MAX_METADATA_SIZE, METADATA_BYTES_MAX);
    add_int(&args, GRPC_ARG_ENABLE_CHANNELZ, 0);
    /* Repeating is ours alone. */
    add_int(&args, GRPC_ARG_ENABLE_RETRIES, 0);
    add_int(&args, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    add_int(&args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, CONNECT_AGAIN_FIRST_MS);
    add_int(&args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, CONNECT_AGAIN_MAX_MS);
    add_int(&args, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_MS);
    add_int(&args, GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, CONNECT_AGAIN_MAX_MS);
    char authority[sizeof "localhost:65535"];
    snprintf(authority, sizeof authority, "localhost:%d", grpc->loopback_port);
    if (grpc->loopback_port)
        add_text(&args, GRPC_ARG_DEFAULT_AUTHORITY, authority);
    if (grpc->sender.settings->gzip)
        add_int(&args, GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM, GRPC_COMPRESS_GZIP);
    return grpc_channel_create(grpc->target, credentials, &args);
}

static grpc_channel_credentials *credentials_new(const struct pem_files *files)
{
    grpc_ssl_pem_key_cert_pair pair = {files->key, files->cert};
    return grpc_ssl_credentials_create_ex(files->ca, files->cert ? &pair : NULL, NULL, NULL);
}

/* Takes credentials. */
static void replace_channel(struct grpc_sender *grpc, grpc_channel_credentials *credentials)
{
    if (grpc->channel)
        grpc_channel_destroy(grpc->channel);
    grpc->channel = channel_new(grpc, credentials);
    grpc_channel_credentials_release(credentials);
}

/* The old channel stays when the files are no good. */
static bool connect(struct grpc_sender *grpc, char *message, size_t message_bytes)
{
    struct pem_files files;
    if (!grpc->secure) {
        replace_channel(grpc, grpc_insecure_credentials_create());
        return true;
    }
    if (!pem_files_read(&grpc->sender.settings->tls, &files, message, message_bytes))
        return false;
    grpc->pem_version = files.version;
    replace_channel(grpc, credentials_new(&files));
    pem_files_free(&files);
    return true;
}

/* c-ares 1.18, which looks names up for grpc, loses memory with each look-up of localhost. */
static void set_loopback(struct grpc_sender *grpc, bool v6)
{
    grpc->loopback_v6 = v6;
    free(grpc->target);
    grpc->target = mem_print(v6 ? "ipv6:%%5B::1%%5D:%d" : "ipv4:127.0.0.1:%d", grpc->loopback_port);
}

static void try_other_loopback(struct grpc_sender *grpc)
{
    char message[512];
    if (!grpc->loopback_port || !grpc->unreachable)
        return;
    set_loopback(grpc, !grpc->loopback_v6);
    connect(grpc, message, sizeof message);
}

/* Certificates are replaced while the process lives. */
static void follow_files(struct grpc_sender *grpc)
{
    char message[512];
    uint64_t version = pem_files_version(&grpc->sender.settings->tls);
    if (!grpc->secure || version == grpc->pem_version)
        return;
    grpc->pem_version = version;
    if (!connect(grpc, message, sizeof message))
        log_event(LOG_WARN, "changed TLS files are not taken over", log_text("endpoint", grpc->sender.endpoint.shown),
                  log_text("detail", message));
}

static void load(struct sender *sender)
{
    follow_files((struct grpc_sender *)sender);
}

/* --- what came back */

static bool is_repeatable(grpc_status_code status, bool delay_known)
{
    switch (status) {
    case GRPC_STATUS_CANCELLED:
    case GRPC_STATUS_DEADLINE_EXCEEDED:
    case GRPC_STATUS_ABORTED:
    case GRPC_STATUS_OUT_OF_RANGE:
    case GRPC_STATUS_UNAVAILABLE:
    case GRPC_STATUS_DATA_LOSS:
        return true;
    case GRPC_STATUS_RESOURCE_EXHAUSTED:
        return delay_known; /* only who names a time can recover */
    default:
        return false;
    }
}

static void read_details(const grpc_metadata_array *trailing, struct attempt *attempt)
{
    struct status_answer status;
    for (size_t i = 0; i < trailing->count; i++) {
        grpc_slice value = trailing->metadata[i].value;
        if (grpc_slice_str_cmp(trailing->metadata[i].key, "grpc-status-details-bin") == 0 &&
            status_answer_read(GRPC_SLICE_START_PTR(value), GRPC_SLICE_LENGTH(value), &status))
            attempt->delay_ns = status.delay_ns;
    }
}

static struct attempt read_failure(const struct reply *reply)
{
    struct attempt attempt = {.delay_ns = NO_DELAY, .error = err_name((int)reply->status)};
    snprintf(attempt.detail, sizeof attempt.detail, "%.*s", (int)GRPC_SLICE_LENGTH(reply->detail),
             (const char *)GRPC_SLICE_START_PTR(reply->detail));
    read_details(&reply->trailing, &attempt);
    attempt.outcome = is_repeatable(reply->status, attempt.delay_ns != NO_DELAY) ? ATTEMPT_AGAIN : ATTEMPT_NEVER;
    return attempt;
}

static struct attempt read_success(const struct reply *reply)
{
    struct attempt attempt = {.outcome = ATTEMPT_DONE};
    grpc_byte_buffer_reader reader;
    if (!reply->message || !grpc_byte_buffer_reader_init(&reader, reply->message)) {
        attempt.odd = "no message";
        return attempt;
    }
    grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
    if (!export_answer_read(GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole), &attempt.answer))
        attempt.odd = "no protobuf message of the expected kind";
    grpc_slice_unref(whole);
    grpc_byte_buffer_reader_destroy(&reader);
    return attempt;
}

/* --- one call */

static const char *const methods_called[] = {
    [SIGNAL_TRACES] = "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    [SIGNAL_METRICS] = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    [SIGNAL_LOGS] = "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
};

static gpr_timespec time_to_core(int64_t time_ns)
{
    if (time_ns == CLOCK_NEVER)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    int64_t left_ns = time_ns - clock_now_ns();
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(left_ns, GPR_TIMESPAN));
}

static grpc_call *call_new(struct grpc_sender *grpc, int64_t deadline_ns)
{
    grpc_slice method = grpc_slice_from_static_string(methods_called[grpc->sender.exporter.signal]);
    return grpc_channel_create_call(grpc->channel, NULL, GRPC_PROPAGATE_DEFAULTS, grpc->queue, method, NULL,
                                    time_to_core(deadline_ns), NULL);
}

/* Not a copy: grpc core tells when it has no more use for it, which may be long after a call that was given up. */
static grpc_slice slice_new(struct request_body *body, const struct otlp_piece *piece)
{
    void *data = (void *)(uintptr_t)piece->data;
    if (piece->chunk) {
        encoded_hold(piece->chunk);
        return grpc_slice_new_with_user_data(data, piece->size, encoded_let_go, piece->chunk);
    }
    atomic_fetch_add(&body->users, 1);
    return grpc_slice_new_with_user_data(data, piece->size, request_body_release, body);
}

static grpc_byte_buffer *message_new(struct request_body *body)
{
    unsigned count = body->request.count;
    grpc_slice *slices = mem_array(count, sizeof *slices);
    for (unsigned i = 0; i < count; i++)
        slices[i] = slice_new(body, &body->request.pieces[i]);
    grpc_byte_buffer *message = grpc_raw_byte_buffer_create(slices, count);
    for (unsigned i = 0; i < count; i++)
        grpc_slice_unref(slices[i]);
    free(slices);
    return message;
}

static bool start(struct grpc_sender *grpc, grpc_call *call, struct reply *reply)
{
    grpc_byte_buffer *message = message_new(grpc->sender.body);
    const grpc_op ops[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA,
         .data.send_initial_metadata = {.count = grpc->header_count, .metadata = grpc->headers}},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &reply->initial},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &reply->message},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &reply->trailing,
                                        .status = &reply->status,
                                        .status_details = &reply->detail}},
    };
    grpc_call_error error = grpc_call_start_batch(call, ops, array_count(ops), reply, NULL);
    grpc_byte_buffer_destroy(message); /* the call has taken its slices */
    return error == GRPC_CALL_OK;
}

static int64_t nap_ns(int64_t waited_ns)
{
    if (waited_ns < 50 * NS_PER_MS)
        return NS_PER_MS / 2;
    return waited_ns < NS_PER_S ? 2 * NS_PER_MS : 20 * NS_PER_MS;
}

/* A thread that waits in grpc core polls for the whole process: every event of the program's own calls would wake it,
 * and cost them a hand-over, as long as an export lasts. So this one looks, and naps in between. */
static grpc_event next_event(struct grpc_sender *grpc, int64_t until_ns)
{
    int64_t began_ns = clock_now_ns();
    for (;;) {
        grpc_event event = grpc_completion_queue_next(grpc->queue, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);
        int64_t now_ns = clock_now_ns();
        if (event.type != GRPC_QUEUE_TIMEOUT || now_ns >= until_ns)
            return event;
        int64_t nap = nap_ns(now_ns - began_ns);
        if (nap > until_ns - now_ns)
            nap = until_ns - now_ns;
        nanosleep(&(struct timespec){.tv_nsec = nap}, NULL);
    }
}

/* Waits for the batch, or for a nudge; false when the time has come. */
static bool wait_event(struct grpc_sender *grpc, int64_t until_ns, void *batch, bool *out_ended)
{
    grpc_event event = next_event(grpc, until_ns);
    if (event.type != GRPC_OP_COMPLETE)
        return false;
    if (event.tag == batch) {
        *out_ended = true;
        return true;
    }
    pthread_mutex_lock(&grpc->lock);
    grpc->nudges--;
    pthread_mutex_unlock(&grpc->lock);
    return true;
}

/* grpc itself ends the call at its deadline; when the limit comes closer than that, we do. */
static void wait_end(struct grpc_sender *grpc, grpc_call *call, void *batch)
{
    bool ended = false;
    while (!ended && wait_event(grpc, patience_limit(&grpc->sender.patience, CLOCK_NEVER), batch, &ended))
        ;
    if (!ended)
        grpc_call_cancel(call, NULL);
    while (!ended)
        wait_event(grpc, CLOCK_NEVER, batch, &ended);
}

static void set_running(struct grpc_sender *grpc, grpc_call *call)
{
    pthread_mutex_lock(&grpc->lock);
    grpc->running = call;
    unsigned nudges = grpc->nudges;
    pthread_mutex_unlock(&grpc->lock);
    bool batch_ended;
    while (!call && nudges-- > 0)
        wait_event(grpc, CLOCK_NEVER, NULL, &batch_ended);
}

static void wake(struct sender *sender)
{
    struct grpc_sender *grpc = (struct grpc_sender *)sender;
    pthread_mutex_lock(&grpc->lock);
    if (grpc->running && grpc_call_start_batch(grpc->running, NULL, 0, &grpc->nudges, NULL) == GRPC_CALL_OK)
        grpc->nudges++;
    pthread_mutex_unlock(&grpc->lock);
}

static struct attempt exchange(struct grpc_sender *grpc, grpc_call *call, struct reply *reply)
{
    if (!start(grpc, call, reply))
        return (struct attempt){.outcome = ATTEMPT_NEVER, .error = "INTERNAL", .detail = "grpc refused the call"};
    set_running(grpc, call);
    wait_end(grpc, call, reply);
    set_running(grpc, NULL);
    return reply->status == GRPC_STATUS_OK ? read_success(reply) : read_failure(reply);
}

static struct attempt attempt(struct sender *sender, int64_t deadline_ns)
{
    struct grpc_sender *grpc = (struct grpc_sender *)sender;
    struct reply reply = {.detail = grpc_empty_slice()};
    grpc_metadata_array_init(&reply.initial);
    grpc_metadata_array_init(&reply.trailing);
    try_other_loopback(grpc);
    grpc_call *call = call_new(grpc, deadline_ns);
    struct attempt result = exchange(grpc, call, &reply);
    grpc->unreachable = reply.status == GRPC_STATUS_UNAVAILABLE &&
                        grpc_channel_check_connectivity_state(grpc->channel, 0) != GRPC_CHANNEL_READY;
    grpc_call_unref(call);
    grpc_byte_buffer_destroy(reply.message);
    grpc_slice_unref(reply.detail);
    grpc_metadata_array_destroy(&reply.initial);
    grpc_metadata_array_destroy(&reply.trailing);
    return result;
}

/* --- life */

static char *lower_case(const char *text)
{
    char *copy = mem_text(text);
    for (char *c = copy; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return copy;
}

static bool is_own_header(const char *name)
{
    return strncmp(name, "grpc-", 5) == 0 || strcmp(name, "te") == 0 || strcmp(name, "content-type") == 0 ||
           strcmp(name, "user-agent") == 0;
}

static bool header_add(struct grpc_sender *grpc, const struct header_settings *header, char *message,
                       size_t message_bytes)
{
    char *name = lower_case(header->name);
    grpc_metadata *entry = &grpc->headers[grpc->header_count++];
    entry->key = grpc_slice_from_copied_string(name);
    entry->value = grpc_slice_from_copied_string(header->value ? header->value : "");
    bool ok = !is_own_header(name) && grpc_header_key_is_legal(entry->key) &&
              (grpc_is_binary_header(entry->key) || grpc_header_nonbin_value_is_legal(entry->value));
    if (!ok)
        snprintf(message, message_bytes, "header %s: not allowed as gRPC metadata, or its value is not", header->name);
    free(name);
    return ok;
}

static bool headers_make(struct grpc_sender *grpc, char *message, size_t message_bytes)
{
    const struct exporter_settings *settings = grpc->sender.settings;
    grpc->headers = mem_array(settings->header_count, sizeof *grpc->headers);
    for (unsigned i = 0; i < settings->header_count; i++)
        if (!header_add(grpc, &settings->headers[i], message, message_bytes))
            return false;
    return true;
}

/* Forms that grpc core knows and URLs do not. */
static bool is_core_target(const char *text)
{
    static const char *const schemes[] = {"dns:", "unix:", "unix-abstract:", "ipv4:", "ipv6:"};
    for (unsigned i = 0; i < array_count(schemes); i++)
        if (text && strncmp(text, schemes[i], strlen(schemes[i])) == 0)
            return true;
    return false;
}

static bool target_make(struct grpc_sender *grpc, char *message, size_t message_bytes)
{
    const struct exporter_settings *settings = grpc->sender.settings;
    struct endpoint *endpoint = &grpc->sender.endpoint;
    if (is_core_target(settings->endpoint)) {
        grpc->target = mem_text(settings->endpoint);
        grpc->secure = !settings->tls.insecure;
        snprintf(endpoint->shown, sizeof endpoint->shown, "%s", settings->endpoint);
        return true;
    }
    if (!endpoint_read(settings->endpoint, true, settings->tls.insecure, endpoint, message, message_bytes))
        return false;
    if (endpoint->has_user || endpoint->has_path) {
        snprintf(message, message_bytes, "endpoint: OTLP/gRPC takes no %s", endpoint->has_user ? "user" : "path");
        return false;
    }
    grpc->secure = endpoint->secure;
    if (strcasecmp(endpoint->host, "localhost") == 0) {
        grpc->loopback_port = endpoint->port;
        set_loopback(grpc, false);
        return true;
    }
    bool v6 = strchr(endpoint->host, ':') != NULL;
    grpc->target = v6 ? mem_print("ipv6:%%5B%s%%5D:%d", endpoint->host, endpoint->port)
                      : mem_print("dns:///%s:%d", endpoint->host, endpoint->port);
    return true;
}

/* grpc's threads leave signals to the threads of the program. */
static void core_open(struct grpc_sender *grpc)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    grpc_init();
    grpc->queue = grpc_completion_queue_create_for_next(NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void close_grpc(struct sender *sender)
{
    struct grpc_sender *grpc = (struct grpc_sender *)sender;
    if (grpc->channel)
        grpc_channel_destroy(grpc->channel);
    grpc_completion_queue_shutdown(grpc->queue);
    while (grpc_completion_queue_next(grpc->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(grpc->queue);
    for (size_t i = 0; i < grpc->header_count; i++) {
        grpc_slice_unref(grpc->headers[i].key);
        grpc_slice_unref(grpc->headers[i].value);
    }
    free(grpc->headers);
    free(grpc->target);
    pthread_mutex_destroy(&grpc->lock);
    grpc_shutdown();
}

static const struct transport grpc_transport = {
    .load = load,
    .attempt = attempt,
    .wake = wake,
    .close = close_grpc,
};

#define METHODS(name)                                                                                                  \
    {                                                                                                                  \
        .type = name, .export = sender_export, .hurry = sender_hurry, .free = sender_free, .takes_encoded = true       \
    }
const struct exporter_methods grpc_methods[SIGNALS] = {
    [SIGNAL_TRACES] = METHODS("otlp_grpc_span_exporter"),
    [SIGNAL_METRICS] = METHODS("otlp_grpc_metric_exporter"),
    [SIGNAL_LOGS] = METHODS("otlp_grpc_log_exporter"),
};

struct exporter *grpc_exporter_open(const struct exporter_settings *settings, enum signal signal, char *message,
                                    size_t message_bytes)
{
    struct grpc_sender *grpc = mem_alloc(sizeof *grpc);
    sender_init(&grpc->sender, &grpc_methods[signal], &grpc_transport, settings, signal);
    pthread_mutex_init(&grpc->lock, NULL);
    core_open(grpc);
    bool ok = target_make(grpc, message, message_bytes) && headers_make(grpc, message, message_bytes) &&
              connect(grpc, message, message_bytes);
    if (ok)
        return &grpc->sender.exporter;
    sender_free(&grpc->sender.exporter);
    return NULL;
}
