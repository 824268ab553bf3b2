/* Who may call: a middleware that looks at the token, or for internal calls at the caller's certificate, before the
 * handler runs; and on each loop the keys of tokens.
 * They are asked for once a while, and at once, but not more often than once a second, when a token names a key that
 * is not known; who brought it waits for the answer. As long as nobody answers, the last ones count. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth/issuer.h"
#include "auth/verifier.h"
#include "base/names.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/offload.h"
#include "service/internal.h"

enum { ASK_AGAIN_MS = 1000, FIRST_AGAIN_MS = 100, WAIT_MS = 3000 };

struct gate {
    const struct service *service;
    const struct service_settings *settings;
    struct verifier *verifier; /* NULL: nobody is asked for a token */
    bool asking, wanted;
    bool failed;                /* the last time that keys were asked for */
    int64_t learned_ns;         /* 0: never */
    int64_t asked_ns;           /* when it was asked for last */
    struct fiber_queue waiting; /* for the answer */
    struct gate_stats stats;
};

/* --- the keys */

static void learn(struct gate *gate, const struct auth_keys *keys)
{
    verifier_learn(gate->verifier, keys);
    gate->learned_ns = clock_now_ns();
}

struct reload {
    enum err err;
    char message[512];
};

static void reload(void *arg)
{
    struct reload *run = arg;
    run->err = issuer_reload(run->message, sizeof run->message);
}

static enum err read_own(struct request *req, struct auth_keys *out)
{
    struct reload run;
    enum err err = offload_run(req, reload, &run);
    if (err)
        return err;
    if (run.err)
        return fail(req, run.err, "%s", run.message);
    issuer_keys(out);
    return ERR_OK;
}

static enum err ask_peer(struct request *req, const struct service_auth *auth, struct auth_keys *out)
{
    struct rpc_client *peer = req->worker->peers[auth->peer];
    ProtobufCMessage *question = arena_alloc(req->arena, auth->procedure->in->sizeof_message);
    const char *answer;
    protobuf_c_message_init(auth->procedure->in, question);
    enum err err = rpc_call(req, peer, auth->procedure, question, &answer);
    if (err)
        return err;
    const char *text = *(char *const *)(uintptr_t)(answer + auth->jwks);
    const char *wrong = auth_keys_parse(text, strlen(text), out);
    return wrong ? fail(req, ERR_INTERNAL, "%s sent no good keys: %s", rpc_client_name(peer), wrong) : ERR_OK;
}

static bool is_due(const struct gate *gate)
{
    int64_t age_ns = clock_now_ns() - gate->learned_ns;
    return gate->wanted || gate->failed || gate->learned_ns == 0 ||
           age_ns >= gate->settings->auth_keys_refresh_ms * NS_PER_MS;
}

static enum err refresh_keys(struct request *req, bool *out_more)
{
    (void)out_more;
    struct gate *gate = req->worker->gate;
    const struct service_auth *auth = gate->service->auth;
    struct auth_keys keys;
    if (!is_due(gate))
        return ERR_OK;
    gate->wanted = false;
    gate->asking = true;
    gate->asked_ns = clock_now_ns();
    enum err err = auth->issuer ? read_own(req, &keys) : ask_peer(req, auth, &keys);
    gate->asking = false;
    gate->failed = err != ERR_OK;
    if (err)
        gate->stats.key_failures++;
    else
        learn(gate, &keys);
    fiber_queue_wake_all(&gate->waiting, ERR_OK);
    return err;
}

const struct background_task gate_task = {
    .name = "signing keys", .run = refresh_keys, .interval_ms = 1000, .pause_ms = 10, .deadline_ms = 2000};

static void ask_soon(struct request *req, struct gate *gate)
{
    gate->wanted = true;
    background_wake(req->worker, gate->service->task_count);
}

/* False: they were asked for a moment ago. A service that has just started has none yet, and whoever gives them may
 * start at the same time: that is waited for. */
static bool await_keys(struct request *req, struct gate *gate)
{
    bool first = gate->learned_ns == 0;
    int64_t now_ns = clock_now_ns(), until_ns = now_ns + WAIT_MS * NS_PER_MS;
    if (!first && !gate->asking && now_ns - gate->asked_ns < ASK_AGAIN_MS * NS_PER_MS)
        return false;
    if (until_ns > req->deadline_ns)
        until_ns = req->deadline_ns;
    do {
        if (!gate->asking)
            ask_soon(req, gate);
        fiber_queue_wait(&gate->waiting, until_ns);
        if (gate->learned_ns == 0)
            fiber_sleep_until(clock_now_ns() + FIRST_AGAIN_MS * NS_PER_MS);
    } while (first && gate->learned_ns == 0 && clock_now_ns() < until_ns);
    return true;
}

/* --- the token */

static enum err refuse_token(struct request *req, const char *reason)
{
    fail(req, ERR_UNAUTHENTICATED, "%s", reason);
    req->failure.challenge =
        arena_print(req->arena, "Bearer error=\"invalid_token\", error_description=\"%s\"", reason);
    return ERR_UNAUTHENTICATED;
}

static const char *token_of(const char *authorization)
{
    static const char scheme[] = "Bearer ";
    if (strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return NULL;
    return authorization + strspn(authorization + sizeof scheme - 1, " ") + sizeof scheme - 1;
}

static enum err read_token(struct request *req, struct gate *gate, const char *text, struct claims *out)
{
    const char *reason;
    size_t bytes = strlen(text);
    enum verdict verdict =
        verifier_read(gate->verifier, req->arena, text, bytes, clock_wall_ns() / NS_PER_S, out, &reason);
    if (verdict == TOKEN_OF_UNKNOWN_KEY && await_keys(req, gate))
        verdict = verifier_read(gate->verifier, req->arena, text, bytes, clock_wall_ns() / NS_PER_S, out, &reason);
    if (verdict == TOKEN_GOOD)
        return ERR_OK;
    if (verdict == TOKEN_OF_UNKNOWN_KEY && (gate->failed || gate->learned_ns == 0))
        return fail(req, ERR_UNAVAILABLE, "the keys to verify tokens with are not at hand");
    return refuse_token(req, reason);
}

static enum err authenticate(struct request *req, struct gate *gate, const char *authorization)
{
    struct claims claims;
    const char *token = token_of(authorization);
    if (!token)
        return refuse_token(req, "expected a bearer token");
    enum err err = read_token(req, gate, token, &claims);
    if (err)
        return err;
    struct principal *principal = arena_new(req->arena, struct principal);
    *principal = (struct principal){.id = claims.user_id, .role = claims.role, .authorization = authorization};
    req->principal = principal;
    return ERR_OK;
}

static enum err admit_user(struct request *req, struct gate *gate, const struct call *call)
{
    const char *authorization = call->carrier->get(call->carrier, "authorization");
    if (!authorization && gate->settings->auth_mode == AUTH_OPTIONAL)
        return ERR_OK;
    if (!authorization)
        return fail(req, ERR_UNAUTHENTICATED, "a bearer token is needed");
    enum err err = authenticate(req, gate, authorization);
    if (!err && call->access == ACCESS_ADMIN && req->principal->role != ROLE_ADMIN)
        return fail(req, ERR_PERMISSION_DENIED, "only an admin may do this");
    return err;
}

/* Which service calls is for its certificate to prove, not for a token. In plain text nothing proves it. */
static enum err admit_service(struct request *req, const struct gate *gate)
{
    const char *allow = gate->settings->internal_allow;
    if (gate->settings->tls_mode == TLS_OFF)
        return ERR_OK;
    if (allow && req->peer_name && names_have(allow, req->peer_name, strlen(req->peer_name)))
        return ERR_OK;
    return fail(req, ERR_PERMISSION_DENIED, "only certain services may do this");
}

static enum err judge(struct request *req, struct gate *gate, const struct call *call)
{
    if (call->access == ACCESS_INTERNAL)
        return admit_service(req, gate);
    if (call->access == ACCESS_PUBLIC || !gate->verifier || gate->settings->auth_mode == AUTH_OFF)
        return ERR_OK;
    return admit_user(req, gate, call);
}

static enum err admit(struct request *req, struct call *call, void **state)
{
    (void)state;
    struct gate *gate = req->worker ? req->worker->gate : NULL;
    bool server = call->kind == CALL_HTTP_SERVER || call->kind == CALL_RPC_SERVER;
    if (!server || !gate)
        return ERR_OK;
    enum err err = judge(req, gate, call);
    if (err == ERR_UNAUTHENTICATED)
        gate->stats.unauthenticated++;
    if (err == ERR_PERMISSION_DENIED)
        gate->stats.denied++;
    return err;
}

const struct middleware gate_keeper = {.name = "gate", .begin = admit};

/* --- life */

struct gate *gate_open(const struct service *service, const struct service_settings *settings)
{
    struct gate *gate = mem_alloc(sizeof *gate);
    gate->service = service;
    gate->settings = settings;
    fiber_queue_init(&gate->waiting);
    if (service->auth)
        gate->verifier = verifier_new((unsigned)settings->auth_cache_max);
    if (service->auth && service->auth->issuer) {
        struct auth_keys keys;
        issuer_keys(&keys);
        learn(gate, &keys);
    }
    return gate;
}

void gate_close(struct gate *gate)
{
    if (!gate)
        return;
    verifier_free(gate->verifier);
    free(gate);
}

struct gate_stats gate_stats(const struct gate *gate)
{
    struct gate_stats stats = gate->stats;
    if (gate->verifier)
        stats.tokens = verifier_stats(gate->verifier);
    return stats;
}
