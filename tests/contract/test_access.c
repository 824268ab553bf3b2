/* Who may do what: each route for each role in each mode, tokens that are not good, keys that change, log-ins. */
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/token.h"
#include "common/clock.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/rpc.h"
#include "inventory.pb-c.h"
#include "order.pb-c.h"
#include "support/keys.h"
#include "support/shop.h"
#include "user.pb-c.h"

#define PRODUCT "50000000-0000-4000-8000-000000000001"
#define ADMIN   "admin@example.com"

enum role_of_caller { ANONYMOUS, OWNER, OTHER, ADMINISTRATOR, CALLERS };
static const char *const callers[] = {"anonymous", "owner", "other", "admin"};
static const char *const modes[] = {"required", "optional", "off"};

static struct shop shop;
static char keys_dir[64], password_file[80], mode_setting[32], keys_setting[96], admin_setting[96], file_setting[128];
static const char *const settings[] = {mode_setting,
                                       keys_setting,
                                       admin_setting,
                                       file_setting,
                                       "LOOPS=2",
                                       "AUTH_KEYS_REFRESH_MS=200",
                                       "HTTP_PROXIES=1",
                                       "OTEL_SDK_DISABLED=false",
                                       "OTEL_TRACES_EXPORTER=none",
                                       "OTEL_METRICS_EXPORTER=none",
                                       "OTEL_LOGS_EXPORTER=none",
                                       NULL};
static struct test_key first_key;
static struct {
    char email[64], id[40], token[1024];
} people[CALLERS];

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* --- log-in */

static void log_in_from(const char *address, const char *email, const char *password, struct answer *out)
{
    char body[512], forwarded[80];
    const char *const headers[] = {forwarded, NULL};
    snprintf(body, sizeof body, "{\"email\":\"%s\",\"password\":\"%s\"}", email, password);
    snprintf(forwarded, sizeof forwarded, "X-Forwarded-For: %s", address);
    http_call(&shop, "POST", "/api/auth/login", body, headers, out);
}

static void log_in(const char *email, const char *password, struct answer *out)
{
    log_in_from("10.0.0.1", email, password, out);
}

static void token_for(const char *email, const char *password, char *out, size_t bytes)
{
    struct answer answer;
    log_in(email, password, &answer);
    assert_answer(&answer, 200);
    snprintf(out, bytes, "%s", answer_text(&answer, "access_token"));
    answer_done(&answer);
}

static void make_person(enum role_of_caller caller, const char *email)
{
    char body[256];
    struct answer answer;
    snprintf(people[caller].email, sizeof people[caller].email, "%s", email);
    snprintf(body, sizeof body, "{\"email\":\"%s\",\"name\":\"N\",\"password\":\"password of %s\"}", email, email);
    http_call(&shop, "POST", "/api/users", body, NULL, &answer);
    assert_answer(&answer, 200);
    snprintf(people[caller].id, sizeof people[caller].id, "%s", answer_text(&answer, "id"));
    answer_done(&answer);
}

static void log_everybody_in(void)
{
    char password[128];
    for (int i = OWNER; i <= OTHER; i++) {
        snprintf(password, sizeof password, "password of %s", people[i].email);
        token_for(people[i].email, password, people[i].token, sizeof people[i].token);
    }
    token_for(ADMIN, "a first password", people[ADMINISTRATOR].token, sizeof people[0].token);
}

static void open_directory(void)
{
    strcpy(keys_dir, "/tmp/bodega-keys-XXXXXX");
    assert_non_null(mkdtemp(keys_dir));
    first_key = test_key_make("2026-01", 1);
    test_key_write(&first_key, keys_dir);
    snprintf(password_file, sizeof password_file, "%s/password", keys_dir);
    write_file(password_file, "a first password\n");
    snprintf(keys_setting, sizeof keys_setting, "AUTH_KEYS_DIR=%s", keys_dir);
    snprintf(admin_setting, sizeof admin_setting, "AUTH_BOOTSTRAP_ADMIN_EMAIL=" ADMIN);
    snprintf(file_setting, sizeof file_setting, "AUTH_BOOTSTRAP_ADMIN_PASSWORD_FILE=%s", password_file);
    snprintf(mode_setting, sizeof mode_setting, "AUTH_MODE=required");
}

static int open_shop(void **state)
{
    (void)state;
    open_directory();
    shop.settings = settings;
    shop_open(&shop);
    make_person(OWNER, "owner@example.com");
    make_person(OTHER, "other@example.com");
    log_everybody_in();
    return 0;
}

static void remove_key(const char *kid)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s.pem", keys_dir, kid);
    unlink(path);
}

static int close_shop(void **state)
{
    (void)state;
    shop_close(&shop);
    remove_key("2026-01");
    remove_key("2026-02");
    unlink(password_file);
    rmdir(keys_dir);
    return 0;
}

static void restart_in_mode(const char *mode)
{
    snprintf(mode_setting, sizeof mode_setting, "AUTH_MODE=%s", mode);
    for (int i = SHOP_SERVICES; i-- > 0;)
        assert_int_equal(shop_stop(&shop, i), 0);
    for (int i = 0; i < SHOP_SERVICES; i++)
        shop_start(&shop, i);
    shop_wait_ready(&shop);
}

static int in_required_mode(void **state)
{
    (void)state;
    if (strcmp(mode_setting, "AUTH_MODE=required") != 0)
        restart_in_mode("required");
    return 0;
}

/* Just after a start a loop may not have reached the user service and its keys yet: that is 503, and not for long. */
static void call_patiently(const char *method, const char *path, const char *body, const char *const *headers,
                           struct answer *out)
{
    int64_t give_up_ns = clock_now_ns() + 60 * NS_PER_S;
    for (;;) {
        http_call(&shop, method, path, body, headers, out);
        if (out->status != 503 || clock_now_ns() > give_up_ns)
            return;
        answer_done(out);
    }
}

/* token NULL: none. */
static void call_as(const char *token, const char *method, const char *path, const char *body, struct answer *out)
{
    char header[8192];
    const char *const headers[] = {header, NULL};
    snprintf(header, sizeof header, "Authorization: Bearer %s", token ? token : "");
    call_patiently(method, path, body, token ? headers : NULL, out);
}

/* --- each route for each role in each mode */

struct row {
    const char *method, *path, *body;                       /* %o: the owner's order, %u: the owner, %n: a number */
    int required[CALLERS], optional[CALLERS], off[CALLERS]; /* anonymous, owner, other, admin */
};

#define ALL(status)                                                                                                    \
    {                                                                                                                  \
        status, status, status, status                                                                                 \
    }

static const struct row matrix[] = {
    {"GET", "/health", NULL, ALL(200), ALL(200), ALL(200)},
    {"GET", "/ready", NULL, ALL(200), ALL(200), ALL(200)},
    {"GET", "/.well-known/jwks.json", NULL, ALL(200), ALL(200), ALL(200)},
    {"POST", "/api/users", "{\"email\":\"new-%n@example.com\",\"name\":\"N\"}", ALL(200), ALL(200), ALL(200)},
    {"POST", "/api/auth/login", "{\"email\":\"owner@example.com\",\"password\":\"password of owner@example.com\"}",
     ALL(200), ALL(200), ALL(200)},
    {"POST", "/api/auth/login", "{\"email\":\"new@example.com\",\"password\":\"wrong\"}", ALL(401), ALL(401), ALL(401)},
    {"GET", "/api/users/%u", NULL, {401, 200, 404, 200}, {200, 200, 404, 200}, ALL(200)},
    {"POST",
     "/api/orders",
     "{\"user_id\":\"%u\",\"product_id\":\"" PRODUCT "\",\"quantity\":1}",
     {401, 200, 403, 200},
     {200, 200, 403, 200},
     ALL(200)},
    {"GET", "/api/orders/%o", NULL, {401, 200, 404, 200}, {200, 200, 404, 200}, ALL(200)},
    {"POST", "/api/orders/%o/cancel", NULL, {401, 200, 404, 200}, {200, 200, 404, 200}, ALL(200)},
    {"GET", "/api/orders?user_id=%u", NULL, {401, 200, 404, 200}, {200, 200, 404, 200}, ALL(200)},
    {"GET", "/api/orders", NULL, {401, 200, 200, 200}, {400, 200, 200, 200}, ALL(400)},
    {"GET", "/api/inventory/" PRODUCT, NULL, ALL(200), ALL(200), ALL(200)},
    {"PUT", "/api/inventory/" PRODUCT, "{\"quantity\":1000}", {401, 403, 403, 200}, {200, 403, 403, 200}, ALL(200)},
    {"GET", "/nowhere", NULL, ALL(404), ALL(404), ALL(404)},
    {"DELETE", "/api/orders", NULL, ALL(405), ALL(405), ALL(405)},
    {"OPTIONS", "/api/orders", NULL, ALL(204), ALL(204), ALL(204)},
};

/* The text with its places filled. */
static void fill(const char *from, const char *order_id, char *out, size_t bytes)
{
    static unsigned number;
    size_t used = 0;
    for (; *from; from++) {
        char digits[16] = {*from};
        const char *piece = digits;
        if (*from == '%') {
            from++;
            snprintf(digits, sizeof digits, "%u", ++number);
            piece = *from == 'o' ? order_id : *from == 'u' ? people[OWNER].id : digits;
        }
        used += (size_t)snprintf(out + used, bytes - used, "%s", piece);
    }
}

static void make_order(char out[40])
{
    struct answer answer;
    char body[256];
    fill("{\"user_id\":\"%u\",\"product_id\":\"" PRODUCT "\",\"quantity\":1}", "", body, sizeof body);
    call_as(people[OWNER].token, "POST", "/api/orders", body, &answer);
    assert_answer(&answer, 200);
    snprintf(out, 40, "%s", answer_text(&answer, "id"));
    answer_done(&answer);
}

static void check_cell(const struct row *row, enum role_of_caller caller, const char *mode, int status)
{
    char order_id[40], path[256], body[256];
    struct answer answer;
    make_order(order_id);
    fill(row->path, order_id, path, sizeof path);
    fill(row->body ? row->body : "", order_id, body, sizeof body);
    call_as(caller == ANONYMOUS ? NULL : people[caller].token, row->method, path, row->body ? body : NULL, &answer);
    if (answer.status != status)
        fprintf(stderr, "%s %s as %s in mode %s\n", row->method, path, callers[caller], mode);
    assert_answer(&answer, status);
    if (status == 401)
        assert_string_equal(answer_header(&answer, "www-authenticate"), "Bearer");
    answer_done(&answer);
}

static void check_matrix(const char *mode)
{
    restart_in_mode(mode);
    shop_add_product(&shop, PRODUCT, 100000);
    for (size_t i = 0; i < array_count(matrix); i++) {
        const struct row *row = &matrix[i];
        const int *statuses = mode == modes[0] ? row->required : mode == modes[1] ? row->optional : row->off;
        for (int caller = ANONYMOUS; caller < CALLERS; caller++)
            check_cell(row, caller, mode, statuses[caller]);
    }
}

static void test_each_route_is_for_those_whom_the_contract_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < array_count(modes); i++)
        check_matrix(modes[i]);
}

static void test_a_list_without_a_user_is_the_callers_own(void **state)
{
    (void)state;
    char order_id[40];
    struct answer answer;
    shop_add_product(&shop, PRODUCT, 1000);
    make_order(order_id);
    call_as(people[OWNER].token, "GET", "/api/orders?limit=1", NULL, &answer);
    assert_answer(&answer, 200);
    const json_t *order = json_array_get(json_object_get(answer.json, "orders"), 0);
    assert_string_equal(json_string_value(json_object_get(order, "id")), order_id);
    answer_done(&answer);
}

/* A forbidden call has no effect, whatever it answers. */
static void test_a_stranger_cannot_cancel_or_order(void **state)
{
    (void)state;
    char order_id[40], path[80], body[256];
    struct answer answer;
    shop_add_product(&shop, PRODUCT, 1000);
    make_order(order_id);
    snprintf(path, sizeof path, "/api/orders/%s/cancel", order_id);
    call_as(people[OTHER].token, "POST", path, NULL, &answer);
    assert_answer(&answer, 404);
    answer_done(&answer);
    scoped_free char *status = shop_sql(&shop, "select status from orders where id = '%s'", order_id);
    assert_string_equal(status, "pending");
    fill("{\"user_id\":\"%u\",\"product_id\":\"" PRODUCT "\",\"quantity\":7}", "", body, sizeof body);
    call_as(people[OTHER].token, "POST", "/api/orders", body, &answer);
    assert_answer(&answer, 403);
    answer_done(&answer);
    assert_int_equal(shop_sql_number(&shop, "select count(*) from orders where quantity = 7"), 0);
}

/* --- tokens that are not good */

static struct claims claims_now(void)
{
    int64_t now_s = clock_wall_ns() / NS_PER_S;
    struct claims claims = {
        .role = ROLE_ADMIN, .issued_s = now_s - 10, .not_before_s = now_s - 10, .expires_s = now_s + 600};
    assert_true(uuid_parse(people[OWNER].id, &claims.user_id));
    return claims;
}

static char *payload_of(struct arena *arena, const char *token)
{
    struct jws jws;
    assert_true(jws_split(arena, token, strlen(token), &jws));
    return arena_text(arena, jws.payload.text, jws.payload.bytes);
}

static char *good_token(struct arena *arena)
{
    const struct claims claims = claims_now();
    return token_print(arena, &claims, first_key.kid, first_key.secret_key);
}

static char *expired(struct arena *arena)
{
    struct claims claims = claims_now();
    claims.expires_s = claims.issued_s - 60;
    return token_print(arena, &claims, first_key.kid, first_key.secret_key);
}

static char *not_yet_valid(struct arena *arena)
{
    struct claims claims = claims_now();
    claims.not_before_s += 120;
    return token_print(arena, &claims, first_key.kid, first_key.secret_key);
}

#define OUR_HEADER "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"2026-01\"}"

static char *with_claims_of(struct arena *arena, const char *issuer, const char *audience)
{
    const struct claims claims = claims_now();
    char user_id[UUID_TEXT_BYTES];
    return jws_sign(arena, OUR_HEADER,
                    arena_print(arena,
                                "{\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"%s\",\"role\":\"admin\",\"iat\":%lld,"
                                "\"nbf\":%lld,\"exp\":%lld}",
                                issuer, audience, uuid_format(claims.user_id, user_id), (long long)claims.issued_s,
                                (long long)claims.not_before_s, (long long)claims.expires_s),
                    first_key.secret_key);
}

static char *for_another_audience(struct arena *arena)
{
    return with_claims_of(arena, "bodega", "others");
}

static char *of_another_issuer(struct arena *arena)
{
    return with_claims_of(arena, "others", "bodega");
}

static char *unsigned_token(struct arena *arena)
{
    static const char header[] = "{\"alg\":\"none\",\"kid\":\"2026-01\"}";
    char *payload = payload_of(arena, good_token(arena));
    return arena_print(arena, "%s.%s.", base64url_print(arena, header, strlen(header)),
                       base64url_print(arena, payload, strlen(payload)));
}

static char *signed_with_the_public_key(struct arena *arena)
{
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"2026-01\"}";
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    char *payload = payload_of(arena, good_token(arena));
    char *text = arena_print(arena, "%s.%s", base64url_print(arena, header, strlen(header)),
                             base64url_print(arena, payload, strlen(payload)));
    crypto_auth_hmacsha256(mac, (unsigned char *)text, strlen(text), first_key.public_key);
    return arena_print(arena, "%s.%s", text, base64url_print(arena, mac, sizeof mac));
}

static char *of_an_unknown_key(struct arena *arena)
{
    const struct claims claims = claims_now();
    struct test_key key = test_key_make("stranger", 9);
    return token_print(arena, &claims, key.kid, key.secret_key);
}

static char *of_another_key_by_our_name(struct arena *arena)
{
    const struct claims claims = claims_now();
    struct test_key key = test_key_make("2026-01", 9);
    return token_print(arena, &claims, key.kid, key.secret_key);
}

static char *with_another_signature(struct arena *arena)
{
    char *token = good_token(arena);
    char *at = strrchr(token, '.') + 10;
    *at = *at == 'A' ? 'B' : 'A';
    return token;
}

static char *with_another_payload(struct arena *arena)
{
    char *token = good_token(arena), *signature = strrchr(token, '.');
    const struct claims claims = claims_now();
    struct claims longer = claims;
    longer.expires_s += 3600;
    char *other = token_print(arena, &longer, first_key.kid, first_key.secret_key);
    return arena_print(arena, "%.*s%s", (int)(strrchr(other, '.') - other), other, signature);
}

static char *oversized(struct arena *arena)
{
    char *filler = arena_alloc(arena, AUTH_TOKEN_BYTES_MAX);
    memset(filler, 'x', AUTH_TOKEN_BYTES_MAX - 1);
    char *payload = payload_of(arena, good_token(arena));
    payload[strlen(payload) - 1] = '\0';
    return jws_sign(arena, OUR_HEADER, arena_print(arena, "%s,\"x\":\"%s\"}", payload, filler), first_key.secret_key);
}

static char *two_of_them(struct arena *arena)
{
    return arena_print(arena, "%s,Bearer %s", good_token(arena), good_token(arena));
}

static char *empty(struct arena *arena)
{
    return arena_text(arena, "", 0);
}

static const struct {
    const char *name;
    char *(*make)(struct arena *arena);
} bad_tokens[] = {
    {"expired", expired},
    {"not yet valid", not_yet_valid},
    {"for another audience", for_another_audience},
    {"of another issuer", of_another_issuer},
    {"alg none", unsigned_token},
    {"HS256 with the public key", signed_with_the_public_key},
    {"of an unknown key", of_an_unknown_key},
    {"of another key by our name", of_another_key_by_our_name},
    {"with another signature", with_another_signature},
    {"with another payload", with_another_payload},
    {"oversized", oversized},
    {"two of them", two_of_them},
    {"empty", empty},
};

static void check_gateway(const char *name, const char *const *headers, int status)
{
    char path[80];
    struct answer answer;
    snprintf(path, sizeof path, "/api/users/%s", people[OWNER].id);
    call_patiently("GET", path, NULL, headers, &answer);
    if (answer.status != status)
        fprintf(stderr, "a token %s\n", name);
    assert_answer(&answer, status);
    if (status == 401)
        assert_non_null(strstr(answer_header(&answer, "www-authenticate"), "Bearer error=\"invalid_token\""));
    answer_done(&answer);
}

static void check_bad_tokens_at_the_gateway(void)
{
    struct arena arena;
    arena_init(&arena, 4096);
    const char *good = arena_print(&arena, "Authorization: Bearer %s", good_token(&arena));
    check_gateway("good", (const char *[]){good, NULL}, 200);
    check_gateway("good, in lower case",
                  (const char *[]){arena_print(&arena, "authorization: bearer %s", good_token(&arena)), NULL}, 200);
    for (size_t i = 0; i < array_count(bad_tokens); i++) {
        const char *header = arena_print(&arena, "Authorization: Bearer %s", bad_tokens[i].make(&arena));
        check_gateway(bad_tokens[i].name, (const char *[]){header, NULL}, 401);
    }
    check_gateway("in two headers", (const char *[]){good, good, NULL}, 401);
    check_gateway("of another scheme", (const char *[]){"Authorization: Basic YTpi", NULL}, 401);
    arena_done(&arena);
}

static void test_bad_tokens_are_unauthorized_at_the_gateway(void **state)
{
    (void)state;
    check_bad_tokens_at_the_gateway();
    restart_in_mode("optional");
    check_bad_tokens_at_the_gateway();
}

static struct rpc_client *client_of(struct request *req, enum shop_service service, char target[64],
                                    struct rpc_client_settings *client_settings)
{
    snprintf(target, 64, "127.0.0.1:%d", shop.services[service].port);
    *client_settings = (struct rpc_client_settings){
        .target = target, .message_bytes_max = 1 << 20, .calls_max = 100, .keepalive_ms = 30000};
    return rpc_client_open(req->worker->loop, shop.services[service].name, client_settings);
}

struct callee {
    enum shop_service service;
    struct rpc_procedure procedure;
    enum err anonymous, good; /* what it answers without a token, and with the owner's as admin */
    void *(*question)(struct request *req);
};

static void *ask_user(struct request *req)
{
    User__GetUserRequest *in = arena_new(req->arena, User__GetUserRequest);
    user__get_user_request__init(in);
    in->id = people[OWNER].id;
    return in;
}

static void *ask_order(struct request *req)
{
    Order__ListOrdersRequest *in = arena_new(req->arena, Order__ListOrdersRequest);
    order__list_orders_request__init(in);
    in->user_id = people[OWNER].id;
    return in;
}

static void *ask_stock(struct request *req)
{
    Inventory__SetInventoryRequest *in = arena_new(req->arena, Inventory__SetInventoryRequest);
    inventory__set_inventory_request__init(in);
    in->product_id = (char *)(uintptr_t)PRODUCT;
    in->quantity = 7;
    return in;
}

static void *ask_release(struct request *req)
{
    Inventory__ReleaseInventoryRequest *in = arena_new(req->arena, Inventory__ReleaseInventoryRequest);
    inventory__release_inventory_request__init(in);
    in->order_id = (char *)(uintptr_t)PRODUCT;
    return in;
}

static void *ask_resolve(struct request *req)
{
    Order__ResolveOrderRequest *in = arena_new(req->arena, Order__ResolveOrderRequest);
    order__resolve_order_request__init(in);
    in->order_id = (char *)(uintptr_t)PRODUCT;
    return in;
}

static const struct callee callees[] = {
    {SHOP_USER, RPC_PROCEDURE("user.User/GetUser", user__get_user_request, user__user_response), ERR_UNAUTHENTICATED,
     ERR_OK, ask_user},
    {SHOP_ORDER, RPC_PROCEDURE("order.Order/ListOrders", order__list_orders_request, order__list_orders_response),
     ERR_UNAUTHENTICATED, ERR_OK, ask_order},
    {SHOP_INVENTORY,
     RPC_PROCEDURE("inventory.Inventory/SetInventory", inventory__set_inventory_request, inventory__inventory_response),
     ERR_UNAUTHENTICATED, ERR_OK, ask_stock},
};

/* What services ask each other, without a user. */
static const struct callee internals[] = {
    {SHOP_INVENTORY,
     RPC_PROCEDURE("inventory.Inventory/ReleaseInventory", inventory__release_inventory_request,
                   inventory__release_inventory_response),
     ERR_OK, ERR_OK, ask_release},
    {SHOP_ORDER, RPC_PROCEDURE("order.Order/ResolveOrder", order__resolve_order_request, order__resolve_order_response),
     ERR_OK, ERR_OK, ask_resolve},
};

static enum err ask_as(struct request *req, struct rpc_client *client, const struct callee *callee, const char *token)
{
    struct principal principal = {.authorization = arena_print(req->arena, "Bearer %s", token ? token : "")};
    void *answer;
    enum err err;
    int64_t give_up_ns = clock_now_ns() + 60 * NS_PER_S;
    do {
        req->deadline_ns = clock_now_ns() + 20 * NS_PER_S;
        req->principal = token ? &principal : NULL;
        err = rpc_call(req, client, &callee->procedure, callee->question(req), &answer);
        req->principal = NULL;
    } while (err == ERR_UNAVAILABLE && clock_now_ns() < give_up_ns);
    return err;
}

static void ask_with_bad_tokens(struct request *req, void *arg)
{
    const struct callee *callee = arg;
    char target[64];
    struct rpc_client_settings client_settings;
    struct rpc_client *client = client_of(req, callee->service, target, &client_settings);
    assert_int_equal(ask_as(req, client, callee, NULL), callee->anonymous);
    assert_int_equal(ask_as(req, client, callee, good_token(req->arena)), callee->good);
    for (size_t i = 0; i < array_count(bad_tokens); i++) {
        enum err err = ask_as(req, client, callee, bad_tokens[i].make(req->arena));
        if (err != callee->anonymous)
            fprintf(stderr, "%s: a token %s\n", callee->procedure.name, bad_tokens[i].name);
        assert_int_equal(err, callee->anonymous);
    }
    rpc_client_close(client);
}

static void test_bad_tokens_are_unauthenticated_at_each_service(void **state)
{
    (void)state;
    for (size_t i = 0; i < array_count(callees); i++)
        test_in_fiber(NULL, ask_with_bad_tokens, (void *)(uintptr_t)&callees[i]);
    for (size_t i = 0; i < array_count(internals); i++)
        test_in_fiber(NULL, ask_with_bad_tokens, (void *)(uintptr_t)&internals[i]);
}

/* A service believes nobody but the token. */
static void ask_as_a_customer(struct request *req, void *arg)
{
    (void)arg;
    char targets[3][64];
    struct rpc_client_settings client_settings[3];
    static const enum err as_other[] = {ERR_NOT_FOUND, ERR_NOT_FOUND, ERR_PERMISSION_DENIED};
    static const enum err as_owner[] = {ERR_OK, ERR_OK, ERR_PERMISSION_DENIED};
    for (size_t i = 0; i < array_count(callees); i++) {
        struct rpc_client *client = client_of(req, callees[i].service, targets[i], &client_settings[i]);
        assert_int_equal(ask_as(req, client, &callees[i], people[OTHER].token), as_other[i]);
        assert_int_equal(ask_as(req, client, &callees[i], people[OWNER].token), as_owner[i]);
        assert_int_equal(ask_as(req, client, &callees[i], people[ADMINISTRATOR].token), ERR_OK);
        rpc_client_close(client);
    }
}

static void test_services_check_owner_and_role_themselves(void **state)
{
    (void)state;
    test_in_fiber(NULL, ask_as_a_customer, NULL);
}

/* --- keys that change */

static int status_with(const char *token, const char *path)
{
    char header[2048];
    const char *const headers[] = {header, NULL};
    struct answer answer;
    snprintf(header, sizeof header, "Authorization: Bearer %s", token);
    http_call(&shop, "GET", path, NULL, headers, &answer);
    int status = answer.status;
    answer_done(&answer);
    return status;
}

/* On whichever loop. */
static void await_keys(const char *token, const char *path)
{
    for (int i = 0; i < 50; i++) {
        struct answer answer;
        call_as(token, "GET", path, NULL, &answer);
        assert_answer(&answer, 200);
        answer_done(&answer);
    }
}

static bool signs(const char *token, const char *kid)
{
    struct arena arena;
    struct jws jws;
    arena_init(&arena, 1024);
    assert_true(jws_split(&arena, token, strlen(token), &jws));
    bool found = strstr(jws.header.text, kid) != NULL;
    arena_done(&arena);
    return found;
}

static void owners_token(char *out, size_t bytes)
{
    token_for(people[OWNER].email, "password of owner@example.com", out, bytes);
}

static void test_keys_are_rotated_while_everybody_is_served(void **state)
{
    (void)state;
    char old[1024], new[1024], orders[80];
    struct test_key second = test_key_make("2026-02", 2);
    int64_t give_up_ns = clock_now_ns() + 60 * NS_PER_S;
    snprintf(orders, sizeof orders, "/api/orders?user_id=%s", people[OWNER].id);
    owners_token(old, sizeof old);
    assert_true(signs(old, "2026-01"));
    await_keys(old, orders);
    test_key_write(&second, keys_dir);
    do {
        assert_true(clock_now_ns() < give_up_ns);
        owners_token(new, sizeof new);
        assert_int_equal(status_with(new, orders), 200);
        assert_int_equal(status_with(old, orders), 200);
    } while (!signs(new, "2026-02"));
    remove_key("2026-01");
    while (status_with(old, orders) != 401) {
        assert_true(clock_now_ns() < give_up_ns);
        assert_int_equal(status_with(new, orders), 200);
    }
    assert_int_equal(status_with(new, orders), 200);
}

static void test_tokens_are_good_while_the_user_service_is_away(void **state)
{
    (void)state;
    char orders[80];
    snprintf(orders, sizeof orders, "/api/orders?user_id=%s", people[OWNER].id);
    await_keys(people[OWNER].token, orders);
    shop_kill(&shop, SHOP_USER);
    int64_t until_ns = clock_now_ns() + 2 * NS_PER_S; /* the keys are asked for again, in vain */
    while (clock_now_ns() < until_ns)
        assert_int_equal(status_with(people[OWNER].token, orders), 200);
    shop_start(&shop, SHOP_USER);
    shop_wait_ready(&shop);
    assert_int_equal(status_with(people[OWNER].token, orders), 200);
}

/* --- log-in */

/* A figure of the user service's, by its name for Prometheus. */
static long figure(const char *name)
{
    char url[64], prefix[80];
    struct answer answer;
    struct shop admin = shop;
    snprintf(url, sizeof url, "http://127.0.0.1:%d", shop.services[SHOP_USER].admin_port);
    snprintf(admin.base_url, sizeof admin.base_url, "%s", url);
    http_call(&admin, "GET", "/metrics", NULL, NULL, &answer);
    assert_int_equal(answer.status, 200);
    snprintf(prefix, sizeof prefix, "\n%s{", name);
    const char *line = strstr(answer.body, prefix);
    if (!line)
        fprintf(stderr, "no %s in %s\n", name, answer.body);
    assert_non_null(line);
    long value = strtol(strchr(line, '}') + 1, NULL, 10);
    answer_done(&answer);
    return value;
}

static void test_a_token_tells_its_kind_and_end(void **state)
{
    (void)state;
    struct answer answer;
    log_in("OWNER@example.com", "password of owner@example.com", &answer);
    assert_answer(&answer, 200);
    assert_string_equal(answer_text(&answer, "token_type"), "Bearer");
    assert_int_equal(answer_number(&answer, "expires_in"), 900);
    assert_string_equal(answer_header(&answer, "cache-control"), "no-store");
    assert_int_equal(json_object_size(answer.json), 3);
    answer_done(&answer);
}

static void test_whoever_cannot_log_in_gets_the_same_answer_for_the_same_work(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"owner@example.com", "password of other@example.com"},
        {"nobody@example.com", "password of owner@example.com"},
        {"passwordless@example.com", "anything at all"},
        {"not an address", "anything at all"},
        {"owner@example.com", ""},
    };
    struct answer answer;
    http_call(&shop, "POST", "/api/users", "{\"email\":\"passwordless@example.com\",\"name\":\"N\"}", NULL, &answer);
    assert_answer(&answer, 200);
    answer_done(&answer);
    long hashes = figure("bodega_auth_hashes_total");
    for (size_t i = 0; i < array_count(wrong); i++) {
        log_in(wrong[i][0], wrong[i][1], &answer);
        assert_answer(&answer, 401);
        assert_string_equal(answer_text(&answer, "title"), "Unauthorized");
        assert_string_equal(answer_text(&answer, "detail"), "email or password is wrong");
        assert_string_equal(answer_header(&answer, "www-authenticate"), "Bearer");
        answer_done(&answer);
        assert_int_equal(figure("bodega_auth_hashes_total"), hashes + (long)i + 1);
    }
}

static void test_passwords_have_a_length(void **state)
{
    (void)state;
    static const struct {
        const char *password;
        int status;
    } passwords[] = {{"1234567", 400},
                     {"12345678", 200},
                     {"", 400},
                     {"0123456789012345678901234567890123456789012345678901234567890123"
                      "0123456789012345678901234567890123456789012345678901234567890123",
                      200},
                     {"0123456789012345678901234567890123456789012345678901234567890123"
                      "01234567890123456789012345678901234567890123456789012345678901234",
                      400}};
    for (size_t i = 0; i < array_count(passwords); i++) {
        char body[512];
        struct answer answer;
        snprintf(body, sizeof body, "{\"email\":\"length-%zu@example.com\",\"name\":\"N\",\"password\":\"%s\"}", i,
                 passwords[i].password);
        http_call(&shop, "POST", "/api/users", body, NULL, &answer);
        assert_answer(&answer, passwords[i].status);
        if (passwords[i].status == 400)
            assert_int_equal(strncmp(answer_text(&answer, "detail"), "password: expected", 18), 0);
        answer_done(&answer);
    }
    assert_int_equal(shop_sql_number(&shop, "select count(*) from credentials join users on id = user_id"
                                            " where email like 'length-%%' and password_hash like '$argon2id$%%'"),
                     2);
}

static void restart_user_service_with(const char *yaml)
{
    char path[300];
    snprintf(path, sizeof path, "%s/user-service.yaml", shop.directory);
    if (yaml)
        write_file(path, yaml);
    else
        unlink(path);
    assert_int_equal(shop_stop(&shop, SHOP_USER), 0);
    shop_start(&shop, SHOP_USER);
    shop_wait_ready(&shop);
}

static void expect_login(const char *address, const char *email, const char *password, int status)
{
    struct answer answer;
    log_in_from(address, email, password, &answer);
    assert_answer(&answer, status);
    if (status == 503)
        assert_non_null(answer_header(&answer, "retry-after"));
    answer_done(&answer);
}

static void test_wrong_logins_are_throttled_by_account_and_by_address(void **state)
{
    (void)state;
    restart_user_service_with("auth:\n  account_failures_max: 2\n  address_failures_max: 4\n");
    static const char right[] = "password of owner@example.com";
    expect_login("10.1.0.1", "owner@example.com", right, 200);
    expect_login("10.1.0.1", "owner@example.com", right, 200);
    expect_login("10.1.0.1", "owner@example.com", right, 200);
    expect_login("10.1.0.1", "owner@example.com", "wrong", 401);
    expect_login("10.1.0.2", "Owner@example.com", "wrong", 401);
    expect_login("10.1.0.3", "owner@example.com", right, 503);
    expect_login("10.1.0.4", "nobody@example.com", "wrong", 401);
    expect_login("10.1.0.4", "nobody@example.com", "wrong", 401);
    expect_login("10.1.0.5", "nobody@example.com", "wrong", 503);
    expect_login("10.1.0.4", "other@example.com", "wrong", 401);
    expect_login("10.1.0.4", "a@example.com", "wrong", 401);
    expect_login("10.1.0.4", "b@example.com", "wrong", 503);
    expect_login("invented, 10.1.0.4", "b@example.com", "wrong", 503);
    expect_login("10.1.0.6", "b@example.com", "wrong", 401);
    assert_int_equal(figure("bodega_auth_logins_throttled_total"), 4);
    restart_user_service_with(NULL);
}

static void *log_in_once(void *arg)
{
    struct answer answer;
    log_in("owner@example.com", "password of owner@example.com", &answer);
    *(int *)arg = answer.status;
    answer_done(&answer);
    return NULL;
}

static long peak_memory_mb(pid_t pid)
{
    char path[64], line[256];
    long kb = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        sscanf(line, "VmHWM: %ld", &kb);
    fclose(file);
    return kb / 1024;
}

/* 64 hashes at once would take 1,216 MiB. */
static void test_64_logins_at_once_take_the_memory_of_two(void **state)
{
    (void)state;
    enum { LOGINS = 64 };
    pthread_t threads[LOGINS];
    int statuses[LOGINS], good = 0;
    restart_user_service_with("auth:\n  hash_queue_max: 20\nrpc:\n  deadline_ms: 60000\n");
    long before_mb = peak_memory_mb(shop.services[SHOP_USER].pid);
    for (int i = 0; i < LOGINS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_in_once, &statuses[i]), 0);
    assert_int_equal(status_with(people[OWNER].token, "/api/orders"), 200);
    for (int i = 0; i < LOGINS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(statuses[i] == 200 || statuses[i] == 503 || statuses[i] == 504);
        good += statuses[i] == 200;
    }
    assert_true(good > 0);
    assert_in_range(peak_memory_mb(shop.services[SHOP_USER].pid) - before_mb, 0, 600);
    assert_int_equal(figure("bodega_auth_hashes_queue_size"), 0);
    restart_user_service_with(NULL);
}

/* --- the first admin */

static void await_health(struct request *req, void *arg)
{
    const struct shop *of = arg;
    char target[64];
    struct rpc_client_settings client_settings = {
        .target = target, .message_bytes_max = 1 << 20, .calls_max = 100, .keepalive_ms = 30000};
    snprintf(target, sizeof target, "127.0.0.1:%d", of->services[SHOP_USER].port);
    struct rpc_client *client = rpc_client_open(req->worker->loop, "twin", &client_settings);
    int64_t give_up_ns = clock_now_ns() + 60 * NS_PER_S;
    do {
        assert_true(clock_now_ns() < give_up_ns);
        req->deadline_ns = clock_now_ns() + 2 * NS_PER_S;
        fiber_sleep_until(clock_now_ns() + 10 * NS_PER_MS);
    } while (rpc_check(req, client));
    rpc_client_close(client);
}

static void test_several_replicas_make_one_first_admin(void **state)
{
    (void)state;
    enum { TWINS = 3 };
    struct shop twins[TWINS];
    assert_int_equal(shop_stop(&shop, SHOP_USER), 0);
    scoped_free char *gone = shop_sql(&shop, "delete from users where email = '" ADMIN "'");
    (void)gone;
    for (int i = 0; i < TWINS; i++) {
        twins[i] = shop;
        twins[i].services[SHOP_USER].port = test_free_port();
        twins[i].services[SHOP_USER].admin_port = test_free_port();
        shop_start(&twins[i], SHOP_USER);
    }
    for (int i = 0; i < TWINS; i++)
        test_in_fiber(NULL, await_health, &twins[i]);
    assert_int_equal(shop_sql_number(&shop, "select count(*) from users where email = '" ADMIN "'"), 1);
    assert_int_equal(shop_sql_number(&shop, "select count(*) from credentials where role = 'admin'"), 1);
    for (int i = 0; i < TWINS; i++)
        assert_int_equal(shop_stop(&twins[i], SHOP_USER), 0);
    shop_start(&shop, SHOP_USER);
    shop_wait_ready(&shop);
    token_for(ADMIN, "a first password", people[ADMINISTRATOR].token, sizeof people[0].token);
    shop_add_product(&shop, PRODUCT, 1);
    struct answer answer;
    call_as(people[ADMINISTRATOR].token, "PUT", "/api/inventory/" PRODUCT, "{\"quantity\":5}", &answer);
    assert_answer(&answer, 200);
    answer_done(&answer);
}

static void test_the_admins_password_is_that_of_the_settings_and_so_is_a_squatters(void **state)
{
    (void)state;
    char ignored[1024];
    write_file(password_file, "another password");
    restart_user_service_with(NULL);
    expect_login("10.2.0.2", ADMIN, "a first password", 401);
    token_for(ADMIN, "another password", ignored, sizeof ignored);
    snprintf(admin_setting, sizeof admin_setting, "AUTH_BOOTSTRAP_ADMIN_EMAIL=OTHER@example.com");
    restart_user_service_with(NULL);
    expect_login("10.2.0.1", "other@example.com", "password of other@example.com", 401);
    token_for("other@example.com", "another password", ignored, sizeof ignored);
    scoped_free char *role = shop_sql(&shop, "select role from credentials join users on id = user_id"
                                             " where email = 'other@example.com'");
    assert_string_equal(role, "admin");
    snprintf(admin_setting, sizeof admin_setting, "AUTH_BOOTSTRAP_ADMIN_EMAIL=" ADMIN);
    write_file(password_file, "short\n");
    shop_stop(&shop, SHOP_USER);
    snprintf(admin_setting, sizeof admin_setting, "AUTH_BOOTSTRAP_ADMIN_EMAIL=nonsense");
    shop_start(&shop, SHOP_USER);
    assert_int_equal(shop_await_exit(&shop, SHOP_USER), 1);
    scoped_free char *log = shop_log(&shop, SHOP_USER);
    assert_non_null(strstr(log, "auth.bootstrap_admin.email"));
    snprintf(admin_setting, sizeof admin_setting, "AUTH_BOOTSTRAP_ADMIN_EMAIL=" ADMIN);
    write_file(password_file, "a first password\n");
    shop_start(&shop, SHOP_USER);
    shop_wait_ready(&shop);
}

/* --- what may not be told */

static void test_no_log_tells_a_token_or_a_password(void **state)
{
    (void)state;
    static const char *const secrets[] = {"password of", "a first password", "another password",
                                          "eyJ",         "$argon2",          "PRIVATE"};
    for (int i = 0; i < SHOP_SERVICES; i++) {
        scoped_free char *log = shop_log(&shop, i);
        for (size_t k = 0; k < array_count(secrets); k++)
            assert_null(strstr(log, secrets[k]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_route_is_for_those_whom_the_contract_names),
        cmocka_unit_test_setup(test_a_list_without_a_user_is_the_callers_own, in_required_mode),
        cmocka_unit_test(test_a_stranger_cannot_cancel_or_order),
        cmocka_unit_test(test_bad_tokens_are_unauthenticated_at_each_service),
        cmocka_unit_test(test_services_check_owner_and_role_themselves),
        cmocka_unit_test(test_tokens_are_good_while_the_user_service_is_away),
        cmocka_unit_test(test_a_token_tells_its_kind_and_end),
        cmocka_unit_test(test_whoever_cannot_log_in_gets_the_same_answer_for_the_same_work),
        cmocka_unit_test(test_passwords_have_a_length),
        cmocka_unit_test(test_wrong_logins_are_throttled_by_account_and_by_address),
        cmocka_unit_test(test_64_logins_at_once_take_the_memory_of_two),
        cmocka_unit_test(test_several_replicas_make_one_first_admin),
        cmocka_unit_test(test_the_admins_password_is_that_of_the_settings_and_so_is_a_squatters),
        cmocka_unit_test(test_bad_tokens_are_unauthorized_at_the_gateway),
        cmocka_unit_test(test_keys_are_rotated_while_everybody_is_served), /* what comes now has another key */
        cmocka_unit_test(test_no_log_tells_a_token_or_a_password),
    };
    return cmocka_run_group_tests_name("access", tests, open_shop, close_shop);
}
