/* OTLP/gRPC, straight on grpc core: tests of libcommon's client should meet another server than libcommon's, and this
 * one takes gzip, sees the metadata and whether a message was compressed, and answers with RetryInfo. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "collector/collector.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "rpc/channel.h"
#include "rpc/message.h"
#include "rpc/queue.h"

enum {
    PLACES = 16,
    CALLS_MAX = 2048,
    STREAMS_MAX = 1024,
    WINDOW_BYTES = 4 << 20,
    FRAME_BYTES_MAX = 256 << 10,
    ARENA_BYTES = 65536,
    VALUE_BYTES_MAX = 1024,
    PING_INTERVAL_MS_MIN = 1000
};
/* identity, deflate and gzip, as bits of grpc_compression_algorithm */
enum { ENCODINGS = 1 << GRPC_COMPRESS_NONE | 1 << GRPC_COMPRESS_DEFLATE | 1 << GRPC_COMPRESS_GZIP };

/* Where a call arrives. */
struct place {
    struct rpc_operation arrival;
    struct grpc_end *end;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
};

struct grpc_end {
    struct collector *collector;
    struct rpc_queue *queue;
    grpc_server *core;
    int port;
    struct place places[PLACES];
    unsigned out; /* places posted, calls, and the shutdown */
    unsigned calls;
    struct rpc_operation down;
    struct fiber_wait empty;
};

struct served {
    struct rpc_operation receiving, closing, sending;
    struct grpc_end *end;
    grpc_call *call;
    grpc_metadata_array metadata;
    grpc_byte_buffer *payload;
    grpc_slice message;
    int signal; /* less than 0: no method of ours */
    int cancelled;
    unsigned holds; /* operations and the fiber */
    grpc_metadata details;
    struct arena arena;
    struct request req;
};

static void leave(struct grpc_end *end)
{
    if (--end->out == 0)
        fiber_wake(&end->empty, ERR_OK);
}

static void release(struct served *served)
{
    if (--served->holds > 0)
        return;
    struct grpc_end *end = served->end;
    grpc_metadata_array_destroy(&served->metadata);
    grpc_byte_buffer_destroy(served->payload);
    grpc_slice_unref(served->message);
    grpc_call_unref(served->call);
    arena_done(&served->arena);
    free(served);
    end->calls--;
    leave(end);
}

static void start(struct served *served, const grpc_op *ops, size_t count, struct rpc_operation *operation,
                  void (*ended)(struct loop_task *task))
{
    served->holds++;
    if (!rpc_start(served->end->queue, served->call, ops, count, operation, ended))
        served->holds--;
}

/* --- the answer */

static void sent(struct loop_task *task)
{
    release(container_of(task, struct served, sending.task));
}

static grpc_op status_op(struct served *served, const struct verdict *verdict, grpc_slice *text)
{
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    op.data.send_status_from_server.status = (grpc_status_code)verdict->code;
    if (!verdict->code)
        return op;
    *text = grpc_slice_from_copied_string(verdict->message);
    op.data.send_status_from_server.status_details = text;
    if (verdict->retry_delay_ms < 0)
        return op;
    served->details.key = grpc_slice_from_static_string("grpc-status-details-bin");
    served->details.value = grpc_slice_from_static_buffer(verdict->body.data, verdict->body.size);
    op.data.send_status_from_server.trailing_metadata = &served->details;
    op.data.send_status_from_server.trailing_metadata_count = 1;
    return op;
}

static void answer(struct served *served, const struct verdict *verdict)
{
    grpc_op ops[3] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}};
    unsigned count = 1;
    grpc_byte_buffer *message = NULL;
    grpc_slice text = grpc_empty_slice();
    if (!verdict->code) {
        grpc_slice slice = grpc_slice_from_copied_buffer(verdict->body.data, verdict->body.size);
        message = grpc_raw_byte_buffer_create(&slice, 1);
        grpc_slice_unref(slice);
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = message;
    }
    ops[count++] = status_op(served, verdict, &text);
    start(served, ops, count, &served->sending, sent);
    grpc_slice_unref(text);
    if (message)
        grpc_byte_buffer_destroy(message);
}

static void refuse(struct served *served, enum err code, const char *message)
{
    answer(served, &(struct verdict){.code = code, .message = message, .retry_delay_ms = -1});
}

/* --- serving */

static void take_headers(struct served *served, struct delivery *delivery)
{
    for (size_t i = 0; i < served->metadata.count && i < DELIVERY_HEADERS_MAX; i++) {
        const grpc_metadata *entry = &served->metadata.metadata[i];
        delivery->headers[delivery->header_count++] = (struct delivery_header){
            .name = rpc_slice_text(&served->arena, entry->key, VALUE_BYTES_MAX),
            .value = rpc_slice_text(&served->arena, entry->value, VALUE_BYTES_MAX),
        };
    }
}

static void read_message(struct served *served)
{
    grpc_byte_buffer_reader reader;
    grpc_byte_buffer_reader_init(&reader, served->payload);
    served->message = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
}

static void serve(void *arg)
{
    struct served *served = arg;
    if (!served->end->collector->discard)
        read_message(served);
    struct delivery delivery = {
        .protocol = PROTOCOL_GRPC,
        .signal = (enum signal_kind)served->signal,
        .body = {(const char *)GRPC_SLICE_START_PTR(served->message), GRPC_SLICE_LENGTH(served->message)},
        .compressed = served->payload->data.raw.compression != GRPC_COMPRESS_NONE,
    };
    struct verdict verdict;
    take_headers(served, &delivery);
    deliver(&served->req, &delivery, &verdict);
    answer(served, &verdict);
    release(served);
}

static void received(struct loop_task *task)
{
    struct served *served = container_of(task, struct served, receiving.task);
    if (served->payload)
        fiber_start(served->end->collector->worker.loop, serve, served);
    else
        release(served);
}

static void closed(struct loop_task *task)
{
    struct served *served = container_of(task, struct served, closing.task);
    if (served->cancelled)
        request_cancel(&served->req);
    release(served);
}

/* --- arriving */

static int signal_of(const grpc_call_details *details)
{
    static const char *const methods[SIGNALS] = {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    };
    for (int signal = 0; signal < SIGNALS; signal++)
        if (grpc_slice_str_cmp(details->method, methods[signal]) == 0)
            return signal;
    return -1;
}

static struct served *served_new(struct place *place)
{
    struct served *served = mem_alloc(sizeof *served);
    served->end = place->end;
    served->call = place->call;
    served->signal = signal_of(&place->details);
    served->metadata = place->metadata;
    grpc_metadata_array_init(&place->metadata);
    grpc_call_details_destroy(&place->details);
    grpc_call_details_init(&place->details);
    served->message = grpc_empty_slice();
    arena_init(&served->arena, ARENA_BYTES);
    request_init(&served->req, &served->arena, &place->end->collector->worker);
    served->holds = 1;
    place->end->out++;
    place->end->calls++;
    return served;
}

static void place_post(struct place *place);

static void arrived(struct loop_task *task)
{
    struct place *place = container_of(task, struct place, arrival.task);
    struct grpc_end *end = place->end;
    if (!place->arrival.ok) {
        leave(end); /* the server ends */
        return;
    }
    struct served *served = served_new(place);
    place_post(place);
    grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &served->cancelled};
    start(served, &close, 1, &served->closing, closed);
    if (served->signal < 0) {
        end->collector->counts.unknown++;
        refuse(served, ERR_UNIMPLEMENTED, "no such method");
    } else if (end->calls > CALLS_MAX) {
        refuse(served, ERR_RESOURCE_EXHAUSTED, "too many calls");
    } else {
        grpc_op receive = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &served->payload};
        served->holds++; /* the fiber's, which received() hands over */
        start(served, &receive, 1, &served->receiving, received);
        served->holds--;
    }
    release(served);
}

static void place_post(struct place *place)
{
    struct grpc_end *end = place->end;
    grpc_completion_queue *queue = rpc_queue_core(end->queue);
    void *tag = rpc_operation_begin(&place->arrival, arrived);
    rpc_queue_enter(end->queue);
    grpc_call_error error =
        grpc_server_request_call(end->core, &place->call, &place->details, &place->metadata, queue, queue, tag);
    rpc_queue_leave(end->queue);
    if (error != GRPC_CALL_OK)
        leave(end);
}

/* --- opening and closing */

static grpc_server *core_new(void)
{
    struct rpc_args args = {0};
    rpc_args_int(&args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, MESSAGE_BYTES_MAX);
    rpc_args_int(&args, GRPC_ARG_MAX_CONCURRENT_STREAMS, STREAMS_MAX);
    rpc_args_int(&args, GRPC_ARG_ALLOW_REUSEPORT, 0);
    rpc_args_int(&args, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, PING_INTERVAL_MS_MIN);
    /* Batches are large: they come without waiting for window updates, and in fewer frames. */
    rpc_args_int(&args, GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, WINDOW_BYTES);
    rpc_args_int(&args, GRPC_ARG_HTTP2_MAX_FRAME_SIZE, FRAME_BYTES_MAX);
    /* Messages come as they were sent; decode.c inflates them, with a limit. */
    rpc_args_int(&args, GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    rpc_args_int(&args, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, ENCODINGS);
    grpc_channel_args core_args = rpc_args_core(&args);
    return grpc_server_create(&core_args, NULL);
}

static char *read_file(const char *path)
{
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file) {
        if (path)
            fprintf(stderr, "otlp-collector: cannot read %s\n", path);
        return NULL;
    }
    char *text = mem_alloc(MESSAGE_BYTES_MAX + 1);
    size_t bytes = fread(text, 1, MESSAGE_BYTES_MAX, file);
    fclose(file);
    return mem_resize(text, bytes + 1, 1);
}

/* NULL when a file cannot be read. */
static grpc_server_credentials *credentials_new(const struct tls_files *tls)
{
    if (!tls->certificate)
        return grpc_insecure_server_credentials_create();
    scoped_free char *certificate = read_file(tls->certificate), *key = read_file(tls->key),
                     *client_ca = read_file(tls->client_ca);
    if (!certificate || !key || (tls->client_ca && !client_ca))
        return NULL;
    grpc_ssl_pem_key_cert_pair pair = {.private_key = key, .cert_chain = certificate};
    grpc_ssl_client_certificate_request_type wish = client_ca
                                                        ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                                        : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    return grpc_ssl_server_credentials_create_with_options(grpc_ssl_server_credentials_create_options_using_config(
        wish, grpc_ssl_server_certificate_config_create(client_ca, &pair, 1)));
}

static void end_free(struct grpc_end *end)
{
    grpc_server_destroy(end->core);
    for (unsigned i = 0; i < PLACES; i++) {
        grpc_metadata_array_destroy(&end->places[i].metadata);
        grpc_call_details_destroy(&end->places[i].details);
    }
    rpc_queue_give(end->queue);
    free(end);
}

static void down(struct loop_task *task)
{
    leave(container_of(task, struct grpc_end, down.task));
}

void grpc_end_close(struct grpc_end *end)
{
    if (!end)
        return;
    end->out++;
    void *tag = rpc_operation_begin(&end->down, down);
    grpc_server_shutdown_and_notify(end->core, rpc_queue_core(end->queue), tag);
    grpc_server_cancel_all_calls(end->core);
    fiber_wait(&end->empty, CLOCK_NEVER);
    end_free(end);
}

static void begin(struct grpc_end *end)
{
    grpc_server_start(end->core);
    for (unsigned i = 0; i < PLACES; i++) {
        end->places[i].end = end;
        grpc_metadata_array_init(&end->places[i].metadata);
        grpc_call_details_init(&end->places[i].details);
        end->out++;
        place_post(&end->places[i]);
    }
}

struct grpc_end *grpc_end_open(struct collector *collector, const char *listen, const struct tls_files *tls)
{
    struct grpc_end *end = mem_alloc(sizeof *end);
    end->collector = collector;
    end->queue = rpc_queue_take(collector->worker.loop);
    end->core = core_new();
    grpc_server_register_completion_queue(end->core, rpc_queue_core(end->queue), NULL);
    grpc_server_credentials *credentials = credentials_new(tls);
    if (credentials) {
        end->port = grpc_server_add_http2_port(end->core, listen, credentials);
        grpc_server_credentials_release(credentials);
    }
    begin(end);
    if (end->port > 0)
        return end;
    fprintf(stderr, "otlp-collector: cannot listen on %s\n", listen);
    grpc_end_close(end);
    return NULL;
}

int grpc_end_port(const struct grpc_end *end)
{
    return end ? end->port : 0;
}
