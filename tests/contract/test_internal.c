/* What only services ask each other, in a shop as strict as it gets: TLS everywhere, tokens required. Orders go their
 * whole way, and who calls in a service's place needs that service's certificate. The order service's one carries
 * another name than the built-in, the others' the built-in ones. */
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/rpc.h"
#include "inventory.pb-c.h"
#include "order.pb-c.h"
#include "support/collector.h"
#include "support/server.h"
#include "support/shop.h"

#define ORDER_NAME "spiffe://shop/orders"

static struct shop shop;
static struct test_certificates certificates;
static char database_url[700], redis_url[64], redis_ca[400];
static const char *const settings[] = {database_url,
                                       redis_url,
                                       redis_ca,
                                       "TLS_MODE=mutual",
                                       "AUTH_MODE=required",
                                       "OTEL_SDK_DISABLED=false",
                                       "OTEL_TRACES_EXPORTER=none",
                                       "OTEL_METRICS_EXPORTER=none",
                                       "OTEL_LOGS_EXPORTER=none",
                                       NULL};

/* --- the shop */

static void name_files(const char *service, char certificate[400], char key[400])
{
    snprintf(certificate, 400, "%s/%s.crt", shop.directory, service);
    snprintf(key, 400, "%s/%s.key", shop.directory, service);
}

static void issue(enum shop_service service)
{
    char certificate[400], key[400], names[80];
    name_files(shop.services[service].name, certificate, key);
    snprintf(names, sizeof names, "DNS:%s", shop.services[service].name);
    certificates_issue(&certificates, service == SHOP_ORDER ? "URI:" ORDER_NAME : names, certificate, key);
}

/* More of the section tls, and what follows it. */
static const char *const of_service[SHOP_SERVICES] = {
    [SHOP_USER] = "  allow: api-gateway,inventory-service," ORDER_NAME "\n",
    [SHOP_INVENTORY] = "  allow: api-gateway, " ORDER_NAME "\n  allow_internal: " ORDER_NAME "\n"
                       "  peers: {order-service: \"" ORDER_NAME "\"}\nreservations: {resolve_after_s: 3}\n",
    [SHOP_ORDER] = "",
    [SHOP_GATEWAY] = "  peers: {order-service: \"" ORDER_NAME "\"}\n",
};

static void write_settings(enum shop_service service)
{
    char certificate[400], key[400], path[400];
    name_files(shop.services[service].name, certificate, key);
    snprintf(path, sizeof path, "%s/%s.yaml", shop.directory, shop.services[service].name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "tls:\n  cert_file: %s\n  key_file: %s\n  ca_file: %s\n%s", certificate, key, certificates.ca,
            of_service[service]);
    fclose(file);
}

static void prepare(struct shop *s)
{
    for (int i = 0; i < SHOP_SERVICES; i++) {
        issue(i);
        write_settings(i);
    }
    test_postgres_secure(&s->postgres, &certificates);
    snprintf(database_url, sizeof database_url,
             "DATABASE_URL=postgres://postgres@localhost:%d/ecommerce?sslmode=verify-full&sslrootcert=%s",
             s->postgres.port, certificates.ca);
    snprintf(redis_url, sizeof redis_url, "REDIS_URL=rediss://localhost:%d", s->redis.tls_port);
    snprintf(redis_ca, sizeof redis_ca, "REDIS_TLS_CA_FILE=%s", certificates.ca);
}

static int open_shop(void **state)
{
    (void)state;
    certificates_open(&certificates);
    shop.settings = settings;
    shop.certificates = &certificates;
    shop.prepare = prepare;
    shop_open(&shop);
    return 0;
}

static int close_shop(void **state)
{
    (void)state;
    char certificate[400], key[400];
    for (int i = 0; i < SHOP_SERVICES; i++) {
        name_files(shop.services[i].name, certificate, key);
        unlink(certificate);
        unlink(key);
    }
    shop_close(&shop);
    certificates_close(&certificates);
    return 0;
}

static const char *new_product(int quantity)
{
    static unsigned products;
    static char id[40];
    snprintf(id, sizeof id, "60000000-0000-4000-8000-%012u", ++products);
    shop_add_product(&shop, id, quantity);
    return id;
}

static const char *new_order_id(void)
{
    static unsigned orders;
    static char id[40];
    snprintf(id, sizeof id, "70000000-0000-4000-8000-%012u", ++orders);
    return id;
}

static void await_number(long wanted, const char *query, const char *id)
{
    int64_t give_up_ns = clock_now_ns() + 60 * NS_PER_S;
    long number;
    while ((number = shop_sql_number(&shop, "%s = '%s'", query, id)) != wanted && clock_now_ns() < give_up_ns)
        poll(NULL, 0, 20);
    assert_int_equal(number, wanted);
}

/* --- clients of the gateway */

static void call(const char *token, const char *method, const char *path, const char *body, struct answer *out)
{
    char header[2048];
    const char *const headers[] = {header, NULL};
    int64_t give_up_ns = clock_now_ns() + 60 * NS_PER_S;
    snprintf(header, sizeof header, "Authorization: Bearer %s", token);
    http_call(&shop, method, path, body, *token ? headers : NULL, out);
    /* A loop that has not had the keys of tokens yet. */
    while (out->status == 503 && clock_now_ns() < give_up_ns) {
        answer_done(out);
        http_call(&shop, method, path, body, *token ? headers : NULL, out);
    }
}

static void take(struct answer *answer, const char *member, char *out, size_t bytes)
{
    assert_answer(answer, 200);
    snprintf(out, bytes, "%s", answer_text(answer, member));
    answer_done(answer);
}

static void test_an_order_goes_its_whole_way_with_tls_and_tokens(void **state)
{
    (void)state;
    char user[40], order[40], token[1500], body[200], path[80];
    const char *product = new_product(10);
    struct answer answer;
    call("", "POST", "/api/users", "{\"email\":\"a@b.example\",\"name\":\"A\",\"password\":\"a long one\"}", &answer);
    take(&answer, "id", user, sizeof user);
    call("", "POST", "/api/auth/login", "{\"email\":\"a@b.example\",\"password\":\"a long one\"}", &answer);
    take(&answer, "access_token", token, sizeof token);
    snprintf(body, sizeof body, "{\"user_id\":\"%s\",\"product_id\":\"%s\",\"quantity\":3}", user, product);
    call("", "POST", "/api/orders", body, &answer);
    assert_answer(&answer, 401);
    answer_done(&answer);
    call(token, "POST", "/api/orders", body, &answer);
    take(&answer, "id", order, sizeof order);
    await_number(1, "select count(*) from reservations where state = 'committed' and order_id", order);
    await_number(7, "select quantity from inventory where product_id", product);
    snprintf(path, sizeof path, "/api/orders/%s/cancel", order);
    call(token, "POST", path, NULL, &answer);
    assert_answer(&answer, 200);
    answer_done(&answer);
    await_number(10, "select quantity from inventory where product_id", product);
}

/* --- clients in a service's place */

static const struct rpc_procedure deduct = RPC_PROCEDURE(
    "inventory.Inventory/DeductInventory", inventory__deduct_inventory_request, inventory__deduct_inventory_response);
static const struct rpc_procedure release =
    RPC_PROCEDURE("inventory.Inventory/ReleaseInventory", inventory__release_inventory_request,
                  inventory__release_inventory_response);
static const struct rpc_procedure resolve =
    RPC_PROCEDURE("order.Order/ResolveOrder", order__resolve_order_request, order__resolve_order_response);
static const struct rpc_procedure get_stock =
    RPC_PROCEDURE("inventory.Inventory/GetInventory", inventory__get_inventory_request, inventory__inventory_response);

/* One call to the service, as whom that certificate is; "" for plain text. */
struct errand {
    const char *caller;
    enum shop_service service;
    const struct rpc_procedure *procedure;
    const char *order_id, *product_id;
    enum err err;
    bool done; /* what the answer says */
};

static char *text(const char *value)
{
    return (char *)(uintptr_t)value;
}

static void ask(struct request *req, struct rpc_client *client, struct errand *errand)
{
    Inventory__DeductInventoryRequest deduction = INVENTORY__DEDUCT_INVENTORY_REQUEST__INIT;
    Inventory__ReleaseInventoryRequest releasing = INVENTORY__RELEASE_INVENTORY_REQUEST__INIT;
    Inventory__GetInventoryRequest looking = INVENTORY__GET_INVENTORY_REQUEST__INIT;
    Order__ResolveOrderRequest question = ORDER__RESOLVE_ORDER_REQUEST__INIT;
    deduction.order_id = releasing.order_id = question.order_id = text(errand->order_id);
    deduction.product_id = looking.product_id = text(errand->product_id);
    deduction.quantity = 1;
    const void *in = &looking;
    if (errand->procedure == &deduct)
        in = &deduction;
    else if (errand->procedure == &release)
        in = &releasing;
    else if (errand->procedure == &resolve)
        in = &question;
    void *out = NULL;
    errand->err = rpc_call(req, client, errand->procedure, in, &out);
    if (errand->err)
        return;
    if (errand->procedure == &deduct)
        errand->done = ((const Inventory__DeductInventoryResponse *)out)->success;
    else if (errand->procedure == &release)
        errand->done = ((const Inventory__ReleaseInventoryResponse *)out)->released;
    else if (errand->procedure == &resolve)
        errand->done = ((const Order__ResolveOrderResponse *)out)->exists;
}

static struct rpc_identity *identity_of(const char *service)
{
    char certificate[400], key[400], message[600];
    struct rpc_identity *identity = NULL;
    if (!*service)
        return NULL;
    name_files(service, certificate, key);
    const struct rpc_identity_settings files = {certificate, key, certificates.ca};
    assert_int_equal(rpc_identity_open(&identity, &files, message, sizeof message), ERR_OK);
    return identity;
}

struct trip {
    struct errand *errand;
    struct rpc_client_settings settings;
};

static void run_errand(struct request *req, void *arg)
{
    struct trip *trip = arg;
    struct rpc_client *client = rpc_client_open(req->worker->loop, "peer", &trip->settings);
    ask(req, client, trip->errand);
    rpc_client_close(client);
}

static enum err call_as(struct errand *errand)
{
    char target[64];
    snprintf(target, sizeof target, "127.0.0.1:%d", shop.services[errand->service].port);
    struct rpc_identity *identity = identity_of(errand->caller);
    struct trip trip = {errand,
                        {.target = target,
                         .message_bytes_max = 4096,
                         .calls_max = 10,
                         .keepalive_ms = 30000,
                         .identity = identity,
                         .peer_name = errand->service == SHOP_ORDER ? ORDER_NAME : "inventory-service"}};
    test_in_fiber(NULL, run_errand, &trip);
    rpc_identity_close(identity);
    return errand->err;
}

static long denied(enum shop_service service)
{
    static const char name[] = "\nbodega_auth_denied_total{";
    char url[64];
    struct answer answer;
    snprintf(url, sizeof url, "http://127.0.0.1:%d", shop.services[service].admin_port);
    http_call_at(url, "GET", "/metrics", NULL, NULL, &answer);
    const char *line = answer.body ? strstr(answer.body, name) : NULL;
    assert_non_null(line);
    long value = strtol(strchr(line, '}') + 1, NULL, 10);
    answer_done(&answer);
    return value;
}

static void expect_denied(struct errand errand)
{
    long before = denied(errand.service);
    int64_t give_up_ns = clock_now_ns() + 60 * NS_PER_S;
    assert_int_equal(call_as(&errand), ERR_PERMISSION_DENIED);
    while (denied(errand.service) == before && clock_now_ns() < give_up_ns)
        poll(NULL, 0, 20);
    assert_int_equal(denied(errand.service), before + 1);
}

static void test_the_gateway_may_not_do_what_only_services_ask_each_other(void **state)
{
    (void)state;
    const char *product = new_product(5), *order = new_order_id();
    struct errand look = {"api-gateway", SHOP_INVENTORY, &get_stock, order, product};
    assert_int_equal(call_as(&look), ERR_OK);
    expect_denied((struct errand){"api-gateway", SHOP_INVENTORY, &deduct, order, product});
    expect_denied((struct errand){"api-gateway", SHOP_INVENTORY, &release, order, product});
    expect_denied((struct errand){"api-gateway", SHOP_ORDER, &resolve, order, product});
    assert_int_equal(shop_sql_number(&shop, "select quantity from inventory where product_id = '%s'", product), 5);
    assert_int_equal(shop_sql_number(&shop, "select count(*) from reservations where order_id = '%s'", order), 0);
    assert_int_equal(shop_sql_number(&shop, "select count(*) from outbox where order_id = '%s'", order), 0);
}

static void test_the_service_that_is_named_may(void **state)
{
    (void)state;
    const char *product = new_product(5), *order = new_order_id();
    struct errand taking = {"order-service", SHOP_INVENTORY, &deduct, order, product};
    struct errand giving = {"order-service", SHOP_INVENTORY, &release, order, product};
    struct errand asking = {"inventory-service", SHOP_ORDER, &resolve, order, product};
    assert_int_equal(call_as(&taking), ERR_OK);
    assert_true(taking.done);
    assert_int_equal(call_as(&giving), ERR_OK);
    assert_true(giving.done);
    assert_int_equal(call_as(&asking), ERR_OK);
    assert_false(asking.done);
    assert_int_equal(shop_sql_number(&shop, "select quantity from inventory where product_id = '%s'", product), 5);
}

/* The sweeper asks Order.ResolveOrder about stock that was taken for an order that never came. */
static void test_the_sweeper_may_ask_what_became_of_an_order(void **state)
{
    (void)state;
    const char *product = new_product(5), *order = new_order_id();
    struct errand taking = {"order-service", SHOP_INVENTORY, &deduct, order, product};
    assert_int_equal(call_as(&taking), ERR_OK);
    assert_true(taking.done);
    await_number(1, "select count(*) from reservations where state = 'released' and order_id", order);
    await_number(5, "select quantity from inventory where product_id", product);
    await_number(1, "select count(*) from outbox where payload is null and order_id", order);
}

/* Whether the inventory service goes on speaking, in TLS, with somebody of that certificate; NULL: none. */
static bool is_heard(const char *caller)
{
    static const unsigned char http2[] = "\2h2";
    char byte, address[64], certificate[400], key[400];
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_alpn_protos(context, http2, 3);
    if (caller) {
        name_files(caller, certificate, key);
        assert_int_equal(SSL_CTX_use_certificate_chain_file(context, certificate), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM), 1);
    }
    snprintf(address, sizeof address, "127.0.0.1:%d", shop.services[SHOP_INVENTORY].port);
    BIO *bio = BIO_new_ssl_connect(context);
    BIO_set_conn_hostname(bio, address);
    bool heard = BIO_do_connect(bio) == 1 && BIO_read(bio, &byte, 1) == 1; /* its HTTP/2 settings come first */
    BIO_free_all(bio);
    SSL_CTX_free(context);
    return heard;
}

static void test_nobody_calls_without_a_certificate_or_with_that_of_a_stranger(void **state)
{
    (void)state;
    const char *product = new_product(5), *order = new_order_id();
    static const char *const nobodies[] = {"", "user-service"};
    for (unsigned i = 0; i < array_count(nobodies); i++) {
        struct errand taking = {nobodies[i], SHOP_INVENTORY, &deduct, order, product};
        struct errand asking = {nobodies[i], SHOP_ORDER, &resolve, order, product};
        assert_int_equal(call_as(&taking), ERR_UNAVAILABLE);
        assert_int_equal(call_as(&asking), ERR_UNAVAILABLE);
    }
    assert_false(is_heard(NULL));
    assert_false(is_heard("user-service"));
    assert_true(is_heard("order-service"));
    assert_int_equal(shop_sql_number(&shop, "select quantity from inventory where product_id = '%s'", product), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_order_goes_its_whole_way_with_tls_and_tokens),
        cmocka_unit_test(test_the_gateway_may_not_do_what_only_services_ask_each_other),
        cmocka_unit_test(test_the_service_that_is_named_may),
        cmocka_unit_test(test_the_sweeper_may_ask_what_became_of_an_order),
        cmocka_unit_test(test_nobody_calls_without_a_certificate_or_with_that_of_a_stranger),
    };
    return cmocka_run_group_tests(tests, open_shop, close_shop);
}
