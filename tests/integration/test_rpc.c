/* A real server and real clients over loopback. The server's loops run in threads of their own, except where a test
 * says that both share one; the client's loop is that of test_in_fiber(). */
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/support.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/middleware.h"
#include "common/rpc.h"
#include "health.pb-c.h"
#include "inventory.pb-c.h"
#include "rpc/message.h"
#include "user.pb-c.h"

enum { LOOPS_MAX = 4, MESSAGE_BYTES_MAX = 4096, WATCHERS = 128 };

static const struct rpc_procedure get_user =
    RPC_PROCEDURE("user.User/GetUser", user__get_user_request, user__user_response);
static const struct rpc_procedure create_user =
    RPC_PROCEDURE("user.User/CreateUser", user__create_user_request, user__user_response);
static const struct rpc_procedure health_check = RPC_PROCEDURE(
    "grpc.health.v1.Health/Check", grpc__health__v1__health_check_request, grpc__health__v1__health_check_response);

/* --- an event that one thread raises and a fiber of another awaits */

struct signal {
    struct loop_task task;
    struct loop *loop;
    struct fiber_wait wait;
    int value;
};

static void signal_arrived(struct loop_task *task)
{
    fiber_wake(&container_of(task, struct signal, task)->wait, ERR_OK);
}

static void signal_init(struct signal *signal)
{
    *signal = (struct signal){.task.run = signal_arrived, .loop = loop_current()};
}

static void signal_raise(struct signal *signal, int value)
{
    signal->value = value;
    loop_post(signal->loop, &signal->task);
}

static int signal_await(struct signal *signal)
{
    assert_int_equal(fiber_wait(&signal->wait, clock_now_ns() + 10 * NS_PER_S), ERR_OK);
    return signal->value;
}

/* --- the server's handlers */

/* A handler that parks tells that it did, waits to be released, and tells how its wait ended. */
static struct parking {
    struct signal entered, left;
    struct loop *loop;
    struct loop_task release;
    struct fiber_wait wait;
    atomic_bool set_up; /* orders what the sanitizer cannot see go over the wire */
} parking;

static void release_parked(struct loop_task *task)
{
    (void)task;
    fiber_wake(&parking.wait, ERR_OK);
}

static void parking_init(void)
{
    signal_init(&parking.entered);
    signal_init(&parking.left);
    parking.wait = (struct fiber_wait){0};
    atomic_store(&parking.set_up, true);
}

static void parking_release(void)
{
    parking.release.run = release_parked;
    loop_post(parking.loop, &parking.release);
}

/* CreateUser parks. */
static enum err park(struct request *req, const void *in, void *out)
{
    (void)in;
    User__UserResponse *answer = out;
    assert_true(atomic_load(&parking.set_up));
    parking.loop = loop_current();
    signal_raise(&parking.entered, 0);
    enum err err = request_wait(req, &parking.wait);
    signal_raise(&parking.left, (int)err);
    answer->id = arena_print(req->arena, "released");
    return err;
}

static char *long_text(struct request *req, size_t length)
{
    char *text = arena_alloc(req->arena, length + 1);
    memset(text, 'x', length);
    return text;
}

static char *trace_text(struct request *req)
{
    char parent[TRACE_PARENT_BYTES];
    return arena_print(req->arena, "%s %s", trace_format(&req->trace, parent),
                       req->trace.baggage ? req->trace.baggage : "");
}

static atomic_int failures_left; /* of "flaky" */

/* GetUser does what the id says. */
static enum err act(struct request *req, const void *in, void *out)
{
    const User__GetUserRequest *question = in;
    User__UserResponse *answer = out;
    int code;
    answer->id = question->id;
    answer->name = (char *)(uintptr_t)req->worker->settings;
    if (sscanf(question->id, "fail %d", &code) == 1)
        return fail(req, (enum err)code, "told to fail with %s ümläut", err_name(code));
    if (sscanf(question->id, "silent %d", &code) == 1)
        return (enum err)code;
    if (strcmp(question->id, "flaky") == 0 && atomic_fetch_sub(&failures_left, 1) > 0)
        return fail(req, ERR_UNAVAILABLE, "not now");
    if (strcmp(question->id, "big") == 0)
        answer->email = long_text(req, MESSAGE_BYTES_MAX);
    if (strcmp(question->id, "trace") == 0)
        answer->email = trace_text(req);
    if (strcmp(question->id, "yield") == 0)
        fiber_yield();
    return ERR_OK;
}

static const struct rpc_method methods[] = {
    {RPC_PROCEDURE("user.User/GetUser", user__get_user_request, user__user_response), act},
    {RPC_PROCEDURE("user.User/CreateUser", user__create_user_request, user__user_response), park},
};

/* --- servers */

struct house {
    struct rpc_server_settings settings;
    char listen[32], target[64];
    const char *name;
    unsigned loops;
    struct worker workers[LOOPS_MAX];
    char worker_names[LOOPS_MAX][16];
    pthread_t threads[LOOPS_MAX];
    struct rpc_server *server;
};

static struct rpc_server_settings usual_settings(void)
{
    return (struct rpc_server_settings){
        .listen = "127.0.0.1:0",
        .message_bytes_max = MESSAGE_BYTES_MAX,
        .requests_max = 2000,
        .streams_max = 2000,
        .deadline_ms = 10000,
        .keepalive_ms = 10000,
        .connection_age_ms = 600000,
    };
}

static void *run_loop(void *loop)
{
    loop_run(loop);
    return NULL;
}

static void house_serve(struct house *house)
{
    house->settings.listen = house->listen;
    assert_int_equal(
        rpc_server_open(&house->server, &house->settings, methods, array_count(methods), house->workers, house->loops),
        ERR_OK);
    rpc_server_serving(house->server, true);
    int port = rpc_server_port(house->server);
    snprintf(house->listen, sizeof house->listen, "127.0.0.1:%d", port);
    snprintf(house->target, sizeof house->target, "127.0.0.1:%d", port);
}

static void house_open_with(struct house *house, unsigned loops, struct rpc_server_settings settings)
{
    *house = (struct house){.settings = settings, .loops = loops, .listen = "127.0.0.1:0"};
    for (unsigned i = 0; i < loops; i++) {
        snprintf(house->worker_names[i], sizeof house->worker_names[i], "loop %u", i);
        house->workers[i] = (struct worker){.loop = loop_new(), .settings = house->worker_names[i]};
        assert_int_equal(pthread_create(&house->threads[i], NULL, run_loop, house->workers[i].loop), 0);
    }
    house_serve(house);
}

static void house_open(struct house *house)
{
    house_open_with(house, 1, usual_settings());
}

static void house_close(struct house *house)
{
    rpc_server_close(house->server);
    for (unsigned i = 0; i < house->loops; i++) {
        loop_stop(house->workers[i].loop);
        pthread_join(house->threads[i], NULL);
        assert_int_equal(fiber_count(house->workers[i].loop), 0);
        loop_free(house->workers[i].loop);
    }
}

/* --- clients */

static struct rpc_client_settings client_settings(const char *target)
{
    return (struct rpc_client_settings){
        .target = target, .message_bytes_max = MESSAGE_BYTES_MAX, .calls_max = 2000, .keepalive_ms = 10000};
}

static enum err get(struct request *req, struct rpc_client *client, const char *id, User__UserResponse **out)
{
    User__GetUserRequest question;
    user__get_user_request__init(&question);
    question.id = (char *)(uintptr_t)id;
    return rpc_call(req, client, &get_user, &question, out);
}

static enum err create(struct request *req, struct rpc_client *client, User__UserResponse **out)
{
    User__CreateUserRequest question;
    user__create_user_request__init(&question);
    return rpc_call(req, client, &create_user, &question, out);
}

/* A call in a fiber of its own, beside the test's. */
struct side_call {
    struct arena arena;
    struct request req;
    struct rpc_client *client;
    struct signal ended;
    User__UserResponse *answer;
    char id[64];
};

static void run_side_call(void *arg)
{
    struct side_call *call = arg;
    enum err err = create(&call->req, call->client, &call->answer);
    if (!err)
        snprintf(call->id, sizeof call->id, "%s", call->answer->id);
    signal_raise(&call->ended, (int)err);
}

static void side_call_start(struct side_call *call, struct rpc_client *client)
{
    *call = (struct side_call){.client = client};
    signal_init(&call->ended);
    arena_init(&call->arena, 1024);
    request_init(&call->req, &call->arena, NULL);
    call->req.deadline_ns = clock_now_ns() + 10 * NS_PER_S;
    fiber_start(loop_current(), run_side_call, call);
}

static enum err side_call_end(struct side_call *call)
{
    enum err err = (enum err)signal_await(&call->ended);
    arena_done(&call->arena);
    return err;
}

/* A parked call, and the test goes on when the handler is there. */
static void park_call(struct side_call *call, struct rpc_client *client)
{
    parking_init();
    side_call_start(call, client);
    signal_await(&parking.entered);
}

struct guest {
    struct house *house;
    struct rpc_client_settings settings;
    void (*fn)(struct request *req, struct rpc_client *client, struct house *house);
};

static void run_guest(struct request *req, void *arg)
{
    struct guest *guest = arg;
    struct rpc_client *client = rpc_client_open(loop_current(), "user-service", &guest->settings);
    guest->fn(req, client, guest->house);
    rpc_client_close(client);
}

static void visit_with(struct house *house, struct rpc_client_settings settings,
                       void (*fn)(struct request *req, struct rpc_client *client, struct house *house))
{
    struct guest guest = {.house = house, .settings = settings, .fn = fn};
    test_in_fiber(NULL, run_guest, &guest);
}

static void visit(struct house *house, void (*fn)(struct request *req, struct rpc_client *client, struct house *house))
{
    visit_with(house, client_settings(house->target), fn);
}

/* --- middleware that remembers */

static struct {
    atomic_int begun, ended, last_status, last_kind;
    char name[64];
} seen;

static enum err note_begin(struct request *req, struct call *call, void **state)
{
    (void)state;
    if (call->kind != CALL_RPC_SERVER)
        return ERR_OK;
    atomic_fetch_add(&seen.begun, 1);
    if (req->trace.baggage && strcmp(req->trace.baggage, "who=nobody") == 0)
        return fail(req, ERR_UNAUTHENTICATED, "nobody may not ask");
    return ERR_OK;
}

static void note_end(struct request *req, struct call *call, enum err err, void **state)
{
    (void)req;
    (void)state;
    assert_int_equal(call->status, err);
    if (call->kind != CALL_RPC_SERVER)
        return;
    snprintf(seen.name, sizeof seen.name, "%s", call->name);
    atomic_store(&seen.last_status, call->status);
    atomic_fetch_add(&seen.ended, 1);
}

static const struct middleware notes = {.name = "notes", .begin = note_begin, .end = note_end};

/* --- calls and their answers */

static void echo(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    User__UserResponse *answer = NULL;
    assert_int_equal(get(req, client, "hello", &answer), ERR_OK);
    assert_string_equal(answer->id, "hello");
    assert_int_equal(get(req, client, "yield", &answer), ERR_OK);
    assert_string_equal(answer->id, "yield");
    assert_string_equal(rpc_client_name(client), "user-service");
    struct rpc_stats stats = rpc_client_stats(client);
    assert_int_equal(stats.started, 2);
    assert_int_equal(stats.ended, 2);
    assert_int_equal(stats.failed, 0);
    assert_int_equal(stats.in_flight, 0);
}

static void test_call_brings_back_the_answer(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, echo);
    struct rpc_stats stats = rpc_server_stats(house.server);
    assert_int_equal(stats.started, 2);
    assert_int_equal(stats.ended, 2);
    assert_int_equal(stats.in_flight, 0);
    house_close(&house);
}

static void every_code(struct request *req, struct rpc_client *client, struct house *house)
{
    for (int code = 1; code <= 16; code++) {
        User__UserResponse *answer = NULL;
        char id[32], expected[96];
        snprintf(id, sizeof id, "fail %d", code);
        snprintf(expected, sizeof expected, "told to fail with %s ümläut", err_name(code));
        assert_int_equal(get(req, client, id, &answer), code);
        assert_null(answer);
        assert_int_equal(req->failure.err, code);
        assert_string_equal(req->failure.detail, expected);
        snprintf(id, sizeof id, "silent %d", code);
        assert_int_equal(get(req, client, id, &answer), code);
        assert_string_equal(req->failure.detail, err_name(code));
    }
    assert_int_equal(rpc_server_stats(house->server).failed, 32);
    assert_int_equal(rpc_client_stats(client).failed, 32);
}

static void test_every_status_travels_with_its_message(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, every_code);
    house_close(&house);
}

static void unknown_method(struct request *req, struct rpc_client *client, struct house *house)
{
    static const struct rpc_procedure unknown =
        RPC_PROCEDURE("user.User/Nothing", user__get_user_request, user__user_response);
    User__GetUserRequest question;
    user__get_user_request__init(&question);
    User__UserResponse *answer = NULL;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(rpc_call(req, client, &unknown, &question, &answer), ERR_UNIMPLEMENTED);
        assert_string_equal(req->failure.detail, "unknown method /user.User/Nothing");
    }
    assert_int_equal(rpc_server_stats(house->server).refused, 20);
}

static void test_unknown_method_is_unimplemented(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, unknown_method);
    house_close(&house);
}

static void malformed(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    Inventory__DeductInventoryResponse wrong;
    inventory__deduct_inventory_response__init(&wrong);
    wrong.success = true; /* a number where GetUser has a text */
    User__UserResponse *answer = NULL;
    assert_int_equal(rpc_call(req, client, &get_user, &wrong, &answer), ERR_INVALID_ARGUMENT);
    assert_string_equal(req->failure.detail, "malformed GetUserRequest");
    static const struct rpc_procedure misread =
        RPC_PROCEDURE("user.User/GetUser", user__get_user_request, grpc__health__v1__health_check_response);
    User__GetUserRequest question;
    user__get_user_request__init(&question);
    question.id = arena_print(req->arena, "text");
    Grpc__Health__V1__HealthCheckResponse *other = NULL;
    assert_int_equal(rpc_call(req, client, &misread, &question, &other), ERR_INTERNAL);
    assert_null(other);
    assert_string_equal(req->failure.detail, "user-service sent a malformed answer");
}

static void test_malformed_messages_are_refused_on_both_sides(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, malformed);
    house_close(&house);
}

static void too_large(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    User__UserResponse *answer = NULL;
    assert_int_equal(get(req, client, long_text(req, MESSAGE_BYTES_MAX + 1), &answer), ERR_RESOURCE_EXHAUSTED);
    assert_string_equal(req->failure.detail, "a message to or from user-service is too large");
    assert_int_equal(get(req, client, "big", &answer), ERR_RESOURCE_EXHAUSTED);
    assert_string_equal(req->failure.detail, "the answer has more than 4096 bytes");
    assert_int_equal(get(req, client, long_text(req, MESSAGE_BYTES_MAX - 100), &answer), ERR_OK);
}

static void answer_too_large(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    User__UserResponse *answer = NULL;
    assert_int_equal(get(req, client, long_text(req, 2000), &answer), ERR_RESOURCE_EXHAUSTED);
    assert_string_equal(req->failure.detail, "a message to or from user-service is too large");
}

static void test_messages_beyond_the_limit_are_refused(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, too_large);
    struct rpc_client_settings small = client_settings(house.target);
    small.message_bytes_max = 1000;
    visit_with(&house, small, answer_too_large);
    house_close(&house);
}

/* --- the seam */

static void trace_travels(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    char parent[TRACE_PARENT_BYTES];
    User__UserResponse *answer = NULL;
    req->trace.flags = 1;
    req->trace.baggage = "colour=red";
    trace_format(&req->trace, parent);
    assert_int_equal(get(req, client, "trace", &answer), ERR_OK);
    assert_memory_equal(answer->email, parent, 35);               /* version and trace id */
    assert_memory_not_equal(answer->email + 36, parent + 36, 16); /* a span of its own */
    assert_non_null(strstr(answer->email, "-01 colour=red"));
    assert_true(atomic_load(&seen.ended) > 0);
    assert_string_equal(seen.name, "user.User/GetUser");
    assert_int_equal(seen.last_status, ERR_OK);
}

static void nobody_is_refused(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    User__UserResponse *answer = NULL;
    int ended = seen.ended;
    req->trace.baggage = "who=nobody";
    assert_int_equal(get(req, client, "hello", &answer), ERR_UNAUTHENTICATED);
    assert_string_equal(req->failure.detail, "nobody may not ask");
    assert_int_equal(seen.last_status, ERR_UNAUTHENTICATED);
    assert_int_equal(seen.ended, ended + 1);
}

static void health_is_not_announced(struct request *req, struct rpc_client *client, struct house *house)
{
    rpc_server_serving(house->server, true);
    int begun = seen.begun;
    assert_int_equal(rpc_check(req, client), ERR_OK);
    assert_int_equal(seen.begun, begun);
}

static void test_trace_context_and_middleware_surround_the_handler(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, trace_travels);
    visit(&house, nobody_is_refused);
    visit(&house, health_is_not_announced);
    house_close(&house);
}

/* --- deadlines and cancellation */

static void deadline_passes(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    User__UserResponse *answer = NULL;
    assert_int_equal(get(req, client, "hello", &answer), ERR_OK); /* connected */
    parking_init();
    req->deadline_ns = clock_now_ns() + 50 * NS_PER_MS;
    assert_int_equal(create(req, client, &answer), ERR_DEADLINE_EXCEEDED); /* whichever side notices first */
    int at_server = signal_await(&parking.left);
    assert_true(at_server == ERR_DEADLINE_EXCEEDED || at_server == ERR_CANCELLED);
    assert_int_equal(get(req, client, "hello", &answer), ERR_DEADLINE_EXCEEDED); /* does not even go out */
}

static void test_deadline_ends_both_sides(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, deadline_passes);
    house_close(&house);
}

static void server_deadline_passes(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    User__UserResponse *answer = NULL;
    parking_init();
    req->deadline_ns = CLOCK_NEVER;
    assert_int_equal(create(req, client, &answer), ERR_DEADLINE_EXCEEDED);
    assert_string_equal(req->failure.detail, "the request's time is over");
    assert_int_equal(signal_await(&parking.left), ERR_DEADLINE_EXCEEDED);
}

static void test_server_bounds_calls_without_a_deadline(void **state)
{
    (void)state;
    struct house house;
    struct rpc_server_settings settings = usual_settings();
    settings.deadline_ms = 50;
    house_open_with(&house, 1, settings);
    visit(&house, server_deadline_passes);
    house_close(&house);
}

static void caller_hangs_up(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    struct side_call call;
    park_call(&call, client);
    request_cancel(&call.req);
    assert_int_equal(side_call_end(&call), ERR_CANCELLED);
    assert_int_equal(signal_await(&parking.left), ERR_CANCELLED);
    User__UserResponse *answer = NULL;
    assert_int_equal(get(req, client, "hello", &answer), ERR_OK);
    request_cancel(req);
    assert_int_equal(get(req, client, "hello", &answer), ERR_CANCELLED);
}

static void test_caller_that_hangs_up_cancels_the_handler(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, caller_hangs_up);
    house_close(&house);
}

static void close_with_call_in_flight(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)req;
    (void)client;
    struct rpc_client_settings settings = client_settings(house->target);
    struct rpc_client *second = rpc_client_open(loop_current(), "second", &settings);
    struct side_call call;
    park_call(&call, second);
    rpc_client_close(second);
    assert_int_equal(side_call_end(&call), ERR_CANCELLED);
    assert_int_equal(signal_await(&parking.left), ERR_CANCELLED);
}

static void test_closing_a_client_cancels_its_calls(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, close_with_call_in_flight);
    house_close(&house);
}

/* --- limits */

static void second_is_refused(struct request *req, struct rpc_client *client, struct house *house)
{
    struct side_call call;
    park_call(&call, client);
    assert_int_equal(rpc_server_stats(house->server).in_flight, 1);
    User__UserResponse *answer = NULL;
    assert_int_equal(get(req, client, "hello", &answer), ERR_RESOURCE_EXHAUSTED);
    assert_string_equal(req->failure.detail, "too many requests");
    assert_int_equal(rpc_server_stats(house->server).refused, 1);
    rpc_server_serving(house->server, true);
    assert_int_equal(rpc_check(req, client), ERR_OK); /* health is asked in any case */
    parking_release();
    assert_int_equal(side_call_end(&call), ERR_OK);
    assert_string_equal(call.id, "released");
    assert_int_equal(get(req, client, "hello", &answer), ERR_OK);
}

static void test_requests_beyond_the_limit_are_refused_at_once(void **state)
{
    (void)state;
    struct house house;
    struct rpc_server_settings settings = usual_settings();
    settings.requests_max = 1;
    house_open_with(&house, 1, settings);
    visit(&house, second_is_refused);
    house_close(&house);
}

/* --- trying again */

static enum err get_again(struct request *req, struct rpc_client *client, const char *id)
{
    static const struct rpc_procedure procedure = {.name = "user.User/GetUser",
                                                   .in = &user__get_user_request__descriptor,
                                                   .out = &user__user_response__descriptor,
                                                   .repeatable = true};
    User__GetUserRequest in = USER__GET_USER_REQUEST__INIT;
    User__UserResponse *answer;
    in.id = (char *)(uintptr_t)id;
    return rpc_call(req, client, &procedure, &in, &answer);
}

static void harmless_calls_are_repeated(struct request *req, struct rpc_client *client, struct house *house)
{
    User__UserResponse *answer;
    atomic_store(&failures_left, 2);
    assert_int_equal(get_again(req, client, "flaky"), ERR_OK);
    assert_int_equal(rpc_client_stats(client).retried, 2);
    atomic_store(&failures_left, 3);
    assert_int_equal(get_again(req, client, "flaky"), ERR_UNAVAILABLE);
    assert_string_equal(req->failure.detail, "not now");
    assert_int_equal(rpc_client_stats(client).retried, 4);
    atomic_store(&failures_left, 1);
    assert_int_equal(get(req, client, "flaky", &answer), ERR_UNAVAILABLE); /* not marked as repeatable */
    assert_int_equal(get_again(req, client, "fail 13"), ERR_INTERNAL);     /* another error is final */
    assert_int_equal(rpc_client_stats(client).retried, 4);
    assert_int_equal(rpc_server_stats(house->server).started, 8);
}

static void test_harmless_calls_are_tried_again(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    struct rpc_client_settings settings = client_settings(house.target);
    settings.retries_max = 2;
    visit_with(&house, settings, harmless_calls_are_repeated);
    house_close(&house);
}

/* A peer that fails entirely: a tenth more calls, beside the ten that were saved up. */
static void retries_run_out(struct request *req, struct rpc_client *client, struct house *house)
{
    enum { CALLS = 200 };
    atomic_store(&failures_left, 1 << 20);
    for (int i = 0; i < CALLS; i++)
        assert_int_equal(get_again(req, client, "flaky"), ERR_UNAVAILABLE);
    struct rpc_stats stats = rpc_client_stats(client);
    assert_in_range(stats.retried, 10, 10 + CALLS / 10);
    assert_true(stats.unretried > 0);
    assert_int_equal(rpc_server_stats(house->server).started, CALLS + stats.retried);
}

static void test_retries_have_a_budget(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    struct rpc_client_settings settings = client_settings(house.target);
    settings.retries_max = 2;
    visit_with(&house, settings, retries_run_out);
    house_close(&house);
}

static void second_call_is_not_made(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    struct side_call call;
    park_call(&call, client);
    User__UserResponse *answer = NULL;
    assert_int_equal(get(req, client, "hello", &answer), ERR_UNAVAILABLE);
    assert_string_equal(req->failure.detail, "user-service is overloaded");
    assert_int_equal(rpc_check(req, client), ERR_UNAVAILABLE);
    assert_int_equal(rpc_client_stats(client).refused, 2);
    parking_release();
    assert_int_equal(side_call_end(&call), ERR_OK);
}

static void test_calls_beyond_the_client_limit_are_not_made(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    struct rpc_client_settings settings = client_settings(house.target);
    settings.calls_max = 1;
    visit_with(&house, settings, second_call_is_not_made);
    house_close(&house);
}

static void test_taken_address_is_refused(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    struct rpc_server *second = NULL;
    assert_int_equal(rpc_server_open(&second, &house.settings, methods, 2, house.workers, 1), ERR_UNAVAILABLE);
    assert_null(second);
    house_close(&house);
}

/* --- peers that go and come */

static void call_until_answered(struct request *req, struct rpc_client *client)
{
    User__UserResponse *answer = NULL;
    while (get(req, client, "hello", &answer)) {
        assert_string_equal(req->failure.detail, "user-service is unavailable");
        fiber_sleep_until(clock_now_ns() + 20 * NS_PER_MS);
    }
}

static void peer_restarts(struct request *req, struct rpc_client *client, struct house *house)
{
    User__UserResponse *answer = NULL;
    assert_int_equal(get(req, client, "hello", &answer), ERR_OK);
    struct side_call call;
    park_call(&call, client);
    rpc_server_close(house->server); /* with a call in flight */
    assert_int_equal(signal_await(&parking.left), ERR_CANCELLED);
    enum err err = side_call_end(&call);
    assert_true(err == ERR_UNAVAILABLE || err == ERR_CANCELLED);
    assert_int_equal(get(req, client, "hello", &answer), ERR_UNAVAILABLE);
    assert_string_equal(req->failure.detail, "user-service is unavailable");
    house_serve(house);
    call_until_answered(req, client);
}

static void test_restarted_peer_is_found_again(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, peer_restarts);
    house_close(&house);
}

static void nobody_there(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    User__UserResponse *answer = NULL;
    assert_int_equal(get(req, client, "hello", &answer), ERR_UNAVAILABLE);
    assert_string_equal(req->failure.detail, "user-service is unavailable");
    assert_int_equal(rpc_check(req, client), ERR_UNAVAILABLE);
}

static void test_absent_peer_is_unavailable(void **state)
{
    (void)state;
    char target[64];
    snprintf(target, sizeof target, "127.0.0.1:%d", test_free_port());
    visit_with(NULL, client_settings(target), nobody_there);
    visit_with(NULL, client_settings("no-such-host.invalid:1"), nobody_there);
}

/* --- the circuit */

static void fail_until_open(struct request *req, struct rpc_client *client)
{
    User__UserResponse *answer = NULL;
    while (rpc_client_stats(client).circuits_open == 0) {
        assert_int_equal(get(req, client, "hello", &answer), ERR_UNAVAILABLE);
        fiber_sleep_until(clock_now_ns() + 5 * NS_PER_MS);
    }
}

static void dead_peer(struct request *req, struct rpc_client *client, struct house *house)
{
    User__UserResponse *answer = NULL;
    assert_int_equal(get(req, client, "hello", &answer), ERR_OK);
    rpc_server_close(house->server);
    fail_until_open(req, client);
    assert_true(rpc_client_stats(client).failed >= 5);
    struct rpc_stats before = rpc_client_stats(client);
    int64_t begin_ns = clock_now_ns();
    for (int i = 0; i < 1000; i++)
        assert_int_equal(get(req, client, "hello", &answer), ERR_UNAVAILABLE);
    assert_string_equal(req->failure.detail, "user-service is unavailable");
    struct rpc_stats stats = rpc_client_stats(client);
    uint64_t tries = stats.started - before.started;
    assert_int_equal(stats.cut - before.cut, 1000 - tries);
    assert_true(tries <= 1 + (uint64_t)((clock_now_ns() - begin_ns) / (500 * NS_PER_MS)));
    house_serve(house);
    begin_ns = clock_now_ns();
    call_until_answered(req, client);
    assert_true(clock_now_ns() - begin_ns < 4 * NS_PER_S);
    stats = rpc_client_stats(client);
    assert_int_equal(stats.circuits_opened, 1);
    assert_int_equal(stats.circuits_open, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(get(req, client, "hello", &answer), ERR_OK);
}

static void test_a_dead_peer_is_left_in_peace_and_found_again(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, dead_peer);
    house_close(&house);
}

/* An error that the peer itself tells is an answer, however often. */
static void errors_are_answers(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    atomic_store(&failures_left, 1 << 20);
    int64_t until_ns = clock_now_ns() + 300 * NS_PER_MS;
    for (int i = 0; i < 50 || clock_now_ns() < until_ns; i++)
        assert_int_equal(get_again(req, client, "flaky"), ERR_UNAVAILABLE);
    assert_int_equal(rpc_client_stats(client).circuits_opened, 0);
    assert_int_equal(rpc_client_stats(client).cut, 0);
}

static void test_errors_that_a_peer_tells_leave_the_circuit_closed(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, errors_are_answers);
    house_close(&house);
}

/* Nobody speaks there. Callers without patience say nothing about the peer. */
static void haste(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    User__UserResponse *answer = NULL;
    for (int i = 0; i < 20; i++) {
        req->deadline_ns = clock_now_ns() + 20 * NS_PER_MS;
        assert_int_equal(get(req, client, "hello", &answer), ERR_DEADLINE_EXCEEDED);
    }
    assert_int_equal(rpc_client_stats(client).circuits_opened, 0);
}

static void patience(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    User__UserResponse *answer = NULL;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rpc_client_stats(client).circuits_open, 0);
        req->deadline_ns = clock_now_ns() + 1050 * NS_PER_MS;
        enum err err = get(req, client, "hello", &answer);
        assert_true(err == ERR_DEADLINE_EXCEEDED || err == ERR_UNAVAILABLE);
    }
    assert_int_equal(rpc_client_stats(client).circuits_open, 1);
}

static void test_a_silent_peer_opens_the_circuit_for_patient_callers_only(void **state)
{
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, bytes), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    char target[64];
    snprintf(target, sizeof target, "127.0.0.1:%d", ntohs(address.sin_port));
    visit_with(NULL, client_settings(target), haste);
    visit_with(NULL, client_settings(target), patience);
    close(fd);
}

static void calls_take_turns(struct request *req, struct rpc_client *client, struct house *houses)
{
    User__UserResponse *answer = NULL;
    while (rpc_server_stats(houses[0].server).started == 0 || rpc_server_stats(houses[1].server).started == 0)
        assert_int_equal(get(req, client, "hello", &answer), ERR_OK); /* until both are connected */
    uint64_t before = rpc_server_stats(houses[0].server).started;
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(get(req, client, "hello", &answer), ERR_OK);
    uint64_t there = rpc_server_stats(houses[0].server).started - before;
    assert_true(there >= 8 && there <= 12);
}

static void test_calls_go_round_the_addresses(void **state)
{
    (void)state;
    struct house houses[2];
    house_open(&houses[0]);
    house_open(&houses[1]);
    char target[160];
    snprintf(target, sizeof target, "ipv4:%s,%s", houses[0].target, houses[1].target);
    visit_with(houses, client_settings(target), calls_take_turns);
    house_close(&houses[0]);
    house_close(&houses[1]);
}

/* --- health */

static enum err check(struct request *req, struct rpc_client *client, const char *service, int *status)
{
    Grpc__Health__V1__HealthCheckRequest question;
    grpc__health__v1__health_check_request__init(&question);
    question.service = (char *)(uintptr_t)service;
    Grpc__Health__V1__HealthCheckResponse *answer = NULL;
    enum err err = rpc_call(req, client, &health_check, &question, &answer);
    if (!err)
        *status = (int)answer->status;
    return err;
}

static void health_is_told(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    static const char *const known[] = {"", "user.User", "liveness"}, *const unknown[] = {"user", "user.User/GetUser",
                                                                                          "order.Order"};
    for (unsigned i = 0; i < array_count(known); i++) {
        int status = -1;
        assert_int_equal(check(req, client, known[i], &status), ERR_OK);
        assert_int_equal(status, 1);
    }
    for (unsigned i = 0; i < array_count(unknown); i++)
        assert_int_equal(check(req, client, unknown[i], NULL), ERR_NOT_FOUND);
    assert_int_equal(rpc_check(req, client), ERR_OK);
}

static void test_health_check_tells_the_serving_status(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, health_is_told);
    house_close(&house);
}

static void calls_leave_and_return(struct request *req, struct rpc_client *client, struct house *house)
{
    User__UserResponse *answer = NULL;
    assert_int_equal(get(req, client, "hello", &answer), ERR_OK);
    assert_int_equal(rpc_server_watchers(house->server), 1);
    rpc_server_serving(house->server, false);
    while (get(req, client, "hello", &answer) == ERR_OK)
        ;
    assert_string_equal(req->failure.detail, "user-service is unavailable");
    assert_int_equal(rpc_check(req, client), ERR_UNAVAILABLE);
    rpc_server_serving(house->server, true);
    call_until_answered(req, client);
    assert_int_equal(rpc_check(req, client), ERR_OK);
}

static void test_calls_leave_a_server_that_does_not_serve_and_return(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, calls_leave_and_return);
    house_close(&house);
}

/* One of two addresses ceases to serve, then ends: nobody notices. */
static void nobody_notices(struct request *req, struct rpc_client *client, struct house *houses)
{
    calls_take_turns(req, client, houses);
    User__UserResponse *answer = NULL;
    rpc_server_serving(houses[1].server, false);
    uint64_t before;
    do {
        before = rpc_server_stats(houses[1].server).started;
        for (unsigned i = 0; i < 20; i++)
            assert_int_equal(get(req, client, "hello", &answer), ERR_OK);
    } while (rpc_server_stats(houses[1].server).started > before);
    rpc_server_close(houses[1].server);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(get(req, client, "hello", &answer), ERR_OK);
    assert_int_equal(rpc_client_stats(client).failed, 0);
    house_serve(&houses[1]);
    calls_take_turns(req, client, houses);
}

static void test_an_address_that_says_it_will_stop_is_left_before(void **state)
{
    (void)state;
    struct house houses[2];
    house_open(&houses[0]);
    house_open(&houses[1]);
    char target[160];
    snprintf(target, sizeof target, "ipv4:%s,%s", houses[0].target, houses[1].target);
    visit_with(houses, client_settings(target), nobody_notices);
    house_close(&houses[0]);
    house_close(&houses[1]);
}

/* Watch is a stream, which rpc_call() does not speak: a client of grpc core's own. */
struct watch {
    grpc_call *call;
    grpc_metadata_array sent, initial, trailing;
    grpc_status_code status;
    grpc_slice detail;
    grpc_byte_buffer *message;
};

struct raw {
    grpc_completion_queue *queue;
    grpc_channel *channel;
};

static void raw_open_with(struct raw *raw, const char *target, const grpc_channel_args *args)
{
    grpc_init();
    raw->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    raw->channel = grpc_channel_create(target, credentials, args);
    grpc_channel_credentials_release(credentials);
}

static void raw_open(struct raw *raw, const char *target)
{
    raw_open_with(raw, target, NULL);
}

static void raw_close(struct raw *raw)
{
    grpc_channel_destroy(raw->channel);
    grpc_completion_queue_shutdown(raw->queue);
    while (grpc_completion_queue_next(raw->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(raw->queue);
    grpc_shutdown();
}

static void *raw_next(struct raw *raw)
{
    gpr_timespec limit = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(10, GPR_TIMESPAN));
    grpc_event event = grpc_completion_queue_next(raw->queue, limit, NULL);
    assert_int_equal(event.type, GRPC_OP_COMPLETE);
    return event.tag;
}

static void watch_send(struct watch *watch, grpc_byte_buffer *question, void *tag)
{
    const grpc_op ops[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA,
         .data.send_initial_metadata = {.count = watch->sent.count, .metadata = watch->sent.metadata}},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = question},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &watch->initial},
    };
    assert_int_equal(grpc_call_start_batch(watch->call, ops, array_count(ops), tag, NULL), GRPC_CALL_OK);
    grpc_byte_buffer_destroy(question);
}

static void watch_ask_status(struct watch *watch, void *tag)
{
    const grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                        .data.recv_status_on_client = {.trailing_metadata = &watch->trailing,
                                                       .status = &watch->status,
                                                       .status_details = &watch->detail}};
    assert_int_equal(grpc_call_start_batch(watch->call, &op, 1, tag, NULL), GRPC_CALL_OK);
}

static void watch_begin(struct raw *raw, struct watch *watch, const char *method, const void *question)
{
    grpc_metadata_array sent = watch->sent;
    *watch = (struct watch){.status = GRPC_STATUS__DO_NOT_USE, .sent = sent};
    grpc_metadata_array_init(&watch->initial);
    grpc_metadata_array_init(&watch->trailing);
    watch->call = grpc_channel_create_call(raw->channel, NULL, GRPC_PROPAGATE_DEFAULTS, raw->queue,
                                           grpc_slice_from_static_string(method), NULL,
                                           gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    watch_send(watch, rpc_pack(question, rpc_packed_bytes(question)), watch);
    assert_ptr_equal(raw_next(raw), watch);
}

static void health_ask(struct raw *raw, struct watch *watch, const char *method, const char *service)
{
    Grpc__Health__V1__HealthCheckRequest question;
    grpc__health__v1__health_check_request__init(&question);
    question.service = (char *)(uintptr_t)service;
    watch_begin(raw, watch, method, &question);
}

static void watch_open(struct raw *raw, struct watch *watch, const char *service)
{
    health_ask(raw, watch, "/grpc.health.v1.Health/Watch", service);
}

/* The next status; -1 at the stream's end. */
static int watch_next(struct raw *raw, struct watch *watch)
{
    const grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &watch->message};
    assert_int_equal(grpc_call_start_batch(watch->call, &op, 1, watch, NULL), GRPC_CALL_OK);
    assert_ptr_equal(raw_next(raw), watch);
    if (!watch->message)
        return -1;
    struct arena arena;
    arena_init(&arena, 256);
    const Grpc__Health__V1__HealthCheckResponse *answer =
        rpc_unpack(&arena, &grpc__health__v1__health_check_response__descriptor, watch->message);
    assert_non_null(answer);
    int status = (int)answer->status;
    arena_done(&arena);
    grpc_byte_buffer_destroy(watch->message);
    return status;
}

static grpc_status_code watch_close(struct raw *raw, struct watch *watch)
{
    watch_ask_status(watch, watch);
    assert_ptr_equal(raw_next(raw), watch);
    grpc_slice_unref(watch->detail);
    grpc_metadata_array_destroy(&watch->initial);
    grpc_metadata_array_destroy(&watch->trailing);
    grpc_call_unref(watch->call);
    return watch->status;
}

static void test_watch_tells_the_status_and_each_change(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    struct raw raw;
    raw_open(&raw, house.target);
    struct watch all = {.sent = {.count = 0}}, user = all, unknown = all;
    rpc_server_serving(house.server, false);
    watch_open(&raw, &all, "");
    assert_int_equal(watch_next(&raw, &all), 2);
    rpc_server_serving(house.server, true);
    assert_int_equal(watch_next(&raw, &all), 1);
    watch_open(&raw, &user, "user.User");
    assert_int_equal(watch_next(&raw, &user), 1);
    watch_open(&raw, &unknown, "order.Order");
    assert_int_equal(watch_next(&raw, &unknown), 3);
    rpc_server_serving(house.server, false);
    assert_int_equal(watch_next(&raw, &all), 2);
    assert_int_equal(watch_next(&raw, &user), 2);
    grpc_call_cancel(user.call, NULL);
    assert_int_equal(watch_close(&raw, &user), GRPC_STATUS_CANCELLED);
    rpc_server_drain(house.server, NULL, NULL);
    assert_int_equal(watch_next(&raw, &all), -1);
    assert_int_equal(watch_close(&raw, &all), GRPC_STATUS_UNAVAILABLE);
    assert_int_equal(watch_next(&raw, &unknown), -1);
    assert_int_equal(watch_close(&raw, &unknown), GRPC_STATUS_UNAVAILABLE);
    raw_close(&raw);
    house_close(&house);
}

static void test_liveness_is_told_by_a_server_that_does_not_serve(void **state)
{
    (void)state;
    static const char *const ways[] = {"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"};
    struct house house;
    house_open(&house);
    struct raw raw;
    raw_open(&raw, house.target);
    rpc_server_serving(house.server, false);
    for (unsigned i = 0; i < array_count(ways); i++) {
        struct watch all = {.sent = {.count = 0}}, liveness = all;
        health_ask(&raw, &all, ways[i], "");
        assert_int_equal(watch_next(&raw, &all), 2);
        health_ask(&raw, &liveness, ways[i], "liveness");
        assert_int_equal(watch_next(&raw, &liveness), 1);
        grpc_call_cancel(all.call, NULL);
        grpc_call_cancel(liveness.call, NULL);
        watch_close(&raw, &all);
        watch_close(&raw, &liveness);
    }
    raw_close(&raw);
    house_close(&house);
}

static void test_malformed_watch_is_refused(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    struct raw raw;
    raw_open(&raw, house.target);
    Inventory__DeductInventoryResponse wrong;
    inventory__deduct_inventory_response__init(&wrong);
    wrong.success = true;
    struct watch watch = {.sent = {.count = 0}};
    watch_begin(&raw, &watch, "/grpc.health.v1.Health/Watch", &wrong);
    assert_int_equal(watch_close(&raw, &watch), GRPC_STATUS_INVALID_ARGUMENT);
    raw_close(&raw);
    house_close(&house);
}

static void test_metadata_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    struct raw raw;
    raw_open(&raw, house.target);
    static char value[20000];
    memset(value, 'x', sizeof value);
    grpc_metadata large = {.key = grpc_slice_from_static_string("large"),
                           .value = grpc_slice_from_static_buffer(value, sizeof value)};
    struct watch watch = {.sent = {.count = 1, .metadata = &large}}, small = {.sent = {.count = 0}};
    watch_open(&raw, &watch, "");
    assert_int_equal(watch_close(&raw, &watch), GRPC_STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(rpc_server_watchers(house.server), 0);
    raw_close(&raw);
    raw_open(&raw, house.target);
    watch_open(&raw, &small, "");
    assert_int_equal(watch_next(&raw, &small), 1);
    grpc_call_cancel(small.call, NULL);
    watch_close(&raw, &small);
    raw_close(&raw);
    house_close(&house);
}

/* A small compressed message could become a large one behind the size limit. */
static void test_compressed_messages_are_refused(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    char key[] = GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM, service[1001] = {0};
    memset(service, 'x', sizeof service - 1);
    grpc_arg gzip = {.type = GRPC_ARG_INTEGER, .key = key, .value.integer = GRPC_COMPRESS_GZIP};
    struct raw raw;
    raw_open_with(&raw, house.target, &(grpc_channel_args){.num_args = 1, .args = &gzip});
    struct watch watch = {.sent = {.count = 0}};
    watch_open(&raw, &watch, service);
    assert_int_equal(watch_close(&raw, &watch), GRPC_STATUS_UNIMPLEMENTED);
    raw_close(&raw);
    house_close(&house);
}

static void test_watchers_beyond_the_limit_are_refused(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    struct raw raw;
    raw_open(&raw, house.target);
    static struct watch watches[WATCHERS + 1];
    for (unsigned i = 0; i < WATCHERS; i++) {
        watch_open(&raw, &watches[i], "");
        assert_int_equal(watch_next(&raw, &watches[i]), 1);
    }
    watch_open(&raw, &watches[WATCHERS], "");
    assert_int_equal(watch_close(&raw, &watches[WATCHERS]), GRPC_STATUS_UNIMPLEMENTED);
    assert_int_equal(rpc_server_stats(house.server).refused, 1);
    for (unsigned i = 0; i < WATCHERS; i++) {
        grpc_call_cancel(watches[i].call, NULL);
        assert_int_equal(watch_close(&raw, &watches[i]), GRPC_STATUS_CANCELLED);
    }
    raw_close(&raw);
    house_close(&house);
}

/* --- the end */

static void raise_drained(void *arg)
{
    signal_raise(arg, 1);
}

static void drain(struct request *req, struct rpc_client *client, struct house *house)
{
    struct side_call call;
    park_call(&call, client);
    struct signal drained;
    signal_init(&drained);
    rpc_server_drain(house->server, raise_drained, &drained);
    struct rpc_client_settings settings = client_settings(house->target);
    struct rpc_client *late = rpc_client_open(loop_current(), "late", &settings);
    User__UserResponse *answer = NULL;
    assert_int_equal(get(req, late, "hello", &answer), ERR_UNAVAILABLE);
    assert_string_equal(req->failure.detail, "late is unavailable");
    rpc_client_close(late);
    assert_false(drained.wait.done);
    parking_release();
    assert_int_equal(side_call_end(&call), ERR_OK);
    assert_string_equal(call.id, "released");
    assert_int_equal(signal_await(&drained), 1);
    assert_int_equal(get(req, client, "hello", &answer), ERR_UNAVAILABLE);
}

static void test_drain_finishes_what_runs_and_refuses_what_comes(void **state)
{
    (void)state;
    struct house house;
    house_open_with(&house, 2, usual_settings());
    visit(&house, drain);
    struct rpc_stats stats = rpc_server_stats(house.server);
    assert_int_equal(stats.started, 1);
    assert_int_equal(stats.ended, 1);
    house_close(&house);
}

static void drain_idle(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)req;
    (void)client;
    struct signal drained;
    signal_init(&drained);
    rpc_server_drain(house->server, raise_drained, &drained);
    assert_int_equal(signal_await(&drained), 1);
}

static void test_idle_server_drains_at_once(void **state)
{
    (void)state;
    struct house house;
    house_open_with(&house, LOOPS_MAX, usual_settings());
    visit(&house, drain_idle);
    house_close(&house);
    rpc_server_close(NULL);
}

/* --- many calls, several loops, one loop for both sides */

enum { CALLS = 1000 };

struct crowd {
    struct rpc_client *client;
    struct signal done;
    unsigned begun, live, answered;
};

static void one_of_many(void *arg)
{
    struct crowd *crowd = arg;
    struct arena arena;
    struct request req;
    arena_init(&arena, 1024);
    request_init(&req, &arena, NULL);
    req.deadline_ns = clock_now_ns() + 60 * NS_PER_S;
    User__UserResponse *answer = NULL;
    const char *id = arena_print(&arena, "number %u", crowd->begun++);
    if (get(&req, crowd->client, id, &answer) == ERR_OK && strcmp(answer->id, id) == 0)
        crowd->answered++;
    arena_done(&arena);
    if (--crowd->live == 0)
        signal_raise(&crowd->done, 0);
}

static void many_calls(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)req;
    (void)house;
    for (unsigned round = 0; round < 2; round++) {
        struct crowd crowd = {.client = client, .live = CALLS};
        signal_init(&crowd.done);
        for (unsigned i = 0; i < CALLS; i++)
            fiber_start(loop_current(), one_of_many, &crowd);
        assert_int_equal(fiber_wait(&crowd.done.wait, clock_now_ns() + 60 * NS_PER_S), ERR_OK);
        assert_int_equal(crowd.answered, CALLS);
    }
    assert_int_equal(rpc_client_stats(client).ended, 2 * CALLS);
}

static void test_a_thousand_calls_at_once_are_all_answered(void **state)
{
    (void)state;
    struct house house;
    house_open(&house);
    visit(&house, many_calls);
    assert_int_equal(rpc_server_stats(house.server).ended, 2 * CALLS);
    house_close(&house);
}

static void loops_share(struct request *req, struct rpc_client *client, struct house *house)
{
    many_calls(req, client, house);
    bool served[LOOPS_MAX] = {false};
    req->deadline_ns = clock_now_ns() + 60 * NS_PER_S;
    struct rpc_client_settings settings = client_settings(house->target);
    for (unsigned i = 0; i < 4 * LOOPS_MAX; i++) { /* connections of their own */
        struct rpc_client *guest = rpc_client_open(loop_current(), "guest", &settings);
        User__UserResponse *answer = NULL;
        assert_int_equal(get(req, guest, "hello", &answer), ERR_OK);
        served[answer->name[strlen("loop ")] - '0'] = true;
        rpc_client_close(guest);
    }
    for (unsigned i = 0; i < LOOPS_MAX; i++)
        assert_true(served[i]);
}

static void test_every_loop_of_a_server_serves(void **state)
{
    (void)state;
    struct house house;
    house_open_with(&house, LOOPS_MAX, usual_settings());
    visit(&house, loops_share);
    house_close(&house);
}

struct shared {
    struct rpc_server_settings settings;
    struct rpc_server *server;
    struct signal closed;
};

static void *close_server(void *arg)
{
    struct shared *shared = arg;
    rpc_server_close(shared->server);
    signal_raise(&shared->closed, 0);
    return NULL;
}

static void on_one_loop(struct request *req, void *arg)
{
    struct shared *shared = arg;
    shared->settings = usual_settings();
    assert_int_equal(rpc_server_open(&shared->server, &shared->settings, methods, 2, req->worker, 1), ERR_OK);
    rpc_server_serving(shared->server, true);
    char target[64];
    snprintf(target, sizeof target, "127.0.0.1:%d", rpc_server_port(shared->server));
    struct rpc_client_settings settings = client_settings(target);
    struct rpc_client *client = rpc_client_open(loop_current(), "user-service", &settings);
    many_calls(req, client, NULL);
    struct side_call call;
    park_call(&call, client);
    signal_init(&shared->closed);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, close_server, shared), 0);
    assert_int_equal(signal_await(&parking.left), ERR_CANCELLED);
    assert_int_not_equal(side_call_end(&call), ERR_OK);
    signal_await(&shared->closed);
    pthread_join(thread, NULL);
    rpc_client_close(client);
}

static void test_server_and_client_share_a_loop(void **state)
{
    (void)state;
    struct worker worker = {.loop = loop_new(), .settings = "shared"};
    struct shared shared;
    test_in_fiber(&worker, on_one_loop, &shared);
    assert_int_equal(fiber_count(worker.loop), 0);
    loop_free(worker.loop);
}

int main(void)
{
    log_init("test", LOG_OFF);
    middleware_use(&notes);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call_brings_back_the_answer),
        cmocka_unit_test(test_every_status_travels_with_its_message),
        cmocka_unit_test(test_unknown_method_is_unimplemented),
        cmocka_unit_test(test_malformed_messages_are_refused_on_both_sides),
        cmocka_unit_test(test_messages_beyond_the_limit_are_refused),
        cmocka_unit_test(test_trace_context_and_middleware_surround_the_handler),
        cmocka_unit_test(test_deadline_ends_both_sides),
        cmocka_unit_test(test_server_bounds_calls_without_a_deadline),
        cmocka_unit_test(test_caller_that_hangs_up_cancels_the_handler),
        cmocka_unit_test(test_closing_a_client_cancels_its_calls),
        cmocka_unit_test(test_requests_beyond_the_limit_are_refused_at_once),
        cmocka_unit_test(test_calls_beyond_the_client_limit_are_not_made),
        cmocka_unit_test(test_harmless_calls_are_tried_again),
        cmocka_unit_test(test_retries_have_a_budget),
        cmocka_unit_test(test_taken_address_is_refused),
        cmocka_unit_test(test_restarted_peer_is_found_again),
        cmocka_unit_test(test_absent_peer_is_unavailable),
        cmocka_unit_test(test_a_dead_peer_is_left_in_peace_and_found_again),
        cmocka_unit_test(test_errors_that_a_peer_tells_leave_the_circuit_closed),
        cmocka_unit_test(test_a_silent_peer_opens_the_circuit_for_patient_callers_only),
        cmocka_unit_test(test_calls_go_round_the_addresses),
        cmocka_unit_test(test_health_check_tells_the_serving_status),
        cmocka_unit_test(test_calls_leave_a_server_that_does_not_serve_and_return),
        cmocka_unit_test(test_an_address_that_says_it_will_stop_is_left_before),
        cmocka_unit_test(test_watch_tells_the_status_and_each_change),
        cmocka_unit_test(test_liveness_is_told_by_a_server_that_does_not_serve),
        cmocka_unit_test(test_malformed_watch_is_refused),
        cmocka_unit_test(test_metadata_beyond_the_limit_is_refused),
        cmocka_unit_test(test_compressed_messages_are_refused),
        cmocka_unit_test(test_watchers_beyond_the_limit_are_refused),
        cmocka_unit_test(test_drain_finishes_what_runs_and_refuses_what_comes),
        cmocka_unit_test(test_idle_server_drains_at_once),
        cmocka_unit_test(test_a_thousand_calls_at_once_are_all_answered),
        cmocka_unit_test(test_every_loop_of_a_server_serves),
        cmocka_unit_test(test_server_and_client_share_a_loop),
    };
    return cmocka_run_group_tests_name("rpc", tests, NULL, NULL);
}
