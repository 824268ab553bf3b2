/* Services that prove to each other who they are: a real server and real clients over loopback, certificates made
 * afresh, and OpenSSL as the stranger. The server's loop runs in a thread of its own, the client's is the test's. */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/collector.h"

#include "common/clock.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/rpc.h"
#include "user.pb-c.h"

/* Asked again when a connection has just ended by its age, as the gateway does it. */
static const struct rpc_procedure get_user = {.name = "user.User/GetUser",
                                              .in = &user__get_user_request__descriptor,
                                              .out = &user__user_response__descriptor,
                                              .repeatable = true};

static atomic_int handled;

/* Answers with the caller's name. */
static enum err tell_caller(struct request *req, const void *in, void *out)
{
    (void)in;
    User__UserResponse *answer = out;
    answer->name = (char *)(uintptr_t)(req->peer_name ? req->peer_name : "nobody");
    atomic_fetch_add(&handled, 1);
    return ERR_OK;
}

static const struct rpc_method methods[] = {
    {RPC_PROCEDURE("user.User/GetUser", user__get_user_request, user__user_response), tell_caller},
};

/* --- files */

static struct test_certificates certificates, foreign;

/* As Kubernetes mounts them: name -> ..data/name, and ..data -> a directory that changes. */
struct mount {
    char directory[400];
    char cert[500], key[500], ca[500];
    int versions;
};

static void print_path(char *out, size_t bytes, const char *directory, const char *name)
{
    snprintf(out, bytes, "%s/%s", directory, name);
}

static void copy_file(const char *from, const char *to)
{
    char command[1200];
    snprintf(command, sizeof command, "cp %s %s", from, to);
    assert_int_equal(system(command), 0);
}

static void link_to(const char *target, const char *path)
{
    char fresh[600];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    assert_int_equal(symlink(target, fresh), 0);
    assert_int_equal(rename(fresh, path), 0);
}

/* A directory that is not mounted yet. */
static void new_version(struct mount *mount, char out[600])
{
    snprintf(out, 600, "%s/..version-%d", mount->directory, ++mount->versions);
    assert_int_equal(mkdir(out, 0700), 0);
}

static void mount_version(const struct mount *mount, const char *version)
{
    char data[600];
    print_path(data, sizeof data, mount->directory, "..data");
    link_to(version, data);
}

/* Returns the certificate's serial number. */
static long mount_identity(struct mount *mount, struct test_certificates *authority, const char *names)
{
    char version[600], cert[700], key[700], ca[700];
    new_version(mount, version);
    print_path(cert, sizeof cert, version, "tls.crt");
    print_path(key, sizeof key, version, "tls.key");
    print_path(ca, sizeof ca, version, "ca.crt");
    long serial = certificates_issue(authority, names, cert, key);
    copy_file(authority->ca, ca);
    mount_version(mount, version);
    return serial;
}

static void mount_open(struct mount *mount)
{
    *mount = (struct mount){0};
    snprintf(mount->directory, sizeof mount->directory, "%s/mount-XXXXXX", certificates.home.directory);
    assert_non_null(mkdtemp(mount->directory));
    print_path(mount->cert, sizeof mount->cert, mount->directory, "tls.crt");
    print_path(mount->key, sizeof mount->key, mount->directory, "tls.key");
    print_path(mount->ca, sizeof mount->ca, mount->directory, "ca.crt");
    link_to("..data/tls.crt", mount->cert);
    link_to("..data/tls.key", mount->key);
    link_to("..data/ca.crt", mount->ca);
}

static struct rpc_identity *identity_of(const struct mount *mount)
{
    char message[600];
    struct rpc_identity *identity = NULL;
    const struct rpc_identity_settings settings = {mount->cert, mount->key, mount->ca};
    enum err err = rpc_identity_open(&identity, &settings, message, sizeof message);
    if (err)
        fprintf(stderr, "%s\n", message);
    assert_int_equal(err, ERR_OK);
    return identity;
}

/* A caller or a server with a certificate of its own. */
struct party {
    struct mount mount;
    struct rpc_identity *identity;
};

static void party_open(struct party *party, struct test_certificates *authority, const char *names)
{
    mount_open(&party->mount);
    mount_identity(&party->mount, authority, names);
    party->identity = identity_of(&party->mount);
}

static void party_close(struct party *party)
{
    rpc_identity_close(party->identity);
}

/* --- the server */

struct house {
    struct party party;
    struct rpc_server_settings settings;
    struct worker worker;
    pthread_t thread;
    struct rpc_server *server;
    char target[32];
};

static void *run_loop(void *loop)
{
    loop_run(loop);
    return NULL;
}

static void house_open(struct house *house, int connection_age_ms)
{
    *house = (struct house){0};
    party_open(&house->party, &certificates, "DNS:user-service,DNS:users.shop.svc");
    house->settings = (struct rpc_server_settings){
        .listen = "127.0.0.1:0",
        .message_bytes_max = 4096,
        .requests_max = 100,
        .streams_max = 100,
        .deadline_ms = 10000,
        .connection_age_ms = connection_age_ms,
        .identity = house->party.identity,
        .allow = "api-gateway, spiffe://shop/orders",
    };
    house->worker.loop = loop_new();
    assert_int_equal(pthread_create(&house->thread, NULL, run_loop, house->worker.loop), 0);
    assert_int_equal(
        rpc_server_open(&house->server, &house->settings, methods, array_count(methods), &house->worker, 1), ERR_OK);
    rpc_server_serving(house->server, true);
    snprintf(house->target, sizeof house->target, "127.0.0.1:%d", rpc_server_port(house->server));
}

static void house_close(struct house *house)
{
    rpc_server_close(house->server);
    loop_stop(house->worker.loop);
    pthread_join(house->thread, NULL);
    loop_free(house->worker.loop);
    party_close(&house->party);
}

/* --- clients */

struct visit {
    struct house *house;
    struct rpc_client_settings settings;
    void (*fn)(struct request *req, struct rpc_client *client, struct house *house);
};

static void run_visit(struct request *req, void *arg)
{
    struct visit *visit = arg;
    struct rpc_client *client = rpc_client_open(loop_current(), "user-service", &visit->settings);
    visit->fn(req, client, visit->house);
    rpc_client_close(client);
}

static void visit_as(struct house *house, struct rpc_identity *identity, const char *peer_name,
                     void (*fn)(struct request *req, struct rpc_client *client, struct house *house))
{
    struct visit visit = {.house = house,
                          .fn = fn,
                          .settings = {.target = house->target,
                                       .message_bytes_max = 4096,
                                       .calls_max = 10,
                                       .retries_max = 2,
                                       .identity = identity,
                                       .peer_name = peer_name}};
    test_in_fiber(NULL, run_visit, &visit);
}

static enum err get(struct request *req, struct rpc_client *client, User__UserResponse **out)
{
    User__GetUserRequest question = USER__GET_USER_REQUEST__INIT;
    question.id = (char *)(uintptr_t) "id";
    return rpc_call(req, client, &get_user, &question, out);
}

static const char *expected_caller;

static void is_known(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    User__UserResponse *answer;
    assert_int_equal(get(req, client, &answer), ERR_OK);
    assert_string_equal(answer->name, expected_caller);
}

static void is_refused(struct request *req, struct rpc_client *client, struct house *house)
{
    (void)house;
    User__UserResponse *answer;
    int before = atomic_load(&handled);
    assert_int_equal(get(req, client, &answer), ERR_UNAVAILABLE);
    assert_int_equal(rpc_check(req, client), ERR_UNAVAILABLE);
    assert_int_equal(atomic_load(&handled), before);
}

/* --- who may */

static void meet(struct house *house, struct test_certificates *authority, const char *names, const char *peer_name,
                 void (*fn)(struct request *req, struct rpc_client *client, struct house *house))
{
    struct party party;
    party_open(&party, authority, names);
    visit_as(house, party.identity, peer_name, fn);
    party_close(&party);
}

static void test_a_caller_on_the_list_is_served_and_known_by_its_name(void **state)
{
    (void)state;
    struct house house;
    house_open(&house, 0);
    expected_caller = "api-gateway";
    meet(&house, &certificates, "DNS:other,DNS:api-gateway", "user-service", is_known);
    meet(&house, &certificates, "DNS:api-gateway", "users.shop.svc", is_known);
    expected_caller = "spiffe://shop/orders";
    meet(&house, &certificates, "URI:spiffe://shop/orders", "user-service", is_known);
    assert_int_equal(rpc_identity_stats(house.party.identity).refused, 0);
    house_close(&house);
}

static void test_a_caller_that_is_not_on_the_list_is_refused_and_counted(void **state)
{
    (void)state;
    struct house house;
    house_open(&house, 0);
    static const char *const strangers[] = {"DNS:inventory-service", "DNS:api-gateway.evil.example", "DNS:api",
                                            "email:api-gateway@shop.example", "IP:127.0.0.1"};
    for (unsigned i = 0; i < array_count(strangers); i++) {
        uint64_t before = rpc_identity_stats(house.party.identity).refused;
        meet(&house, &certificates, strangers[i], "user-service", is_refused);
        assert_true(rpc_identity_stats(house.party.identity).refused > before);
    }
    house_close(&house);
}

static void test_a_peer_without_the_expected_name_is_refused_and_counted(void **state)
{
    (void)state;
    struct house house;
    struct party party;
    house_open(&house, 0);
    party_open(&party, &certificates, "DNS:api-gateway");
    visit_as(&house, party.identity, "order-service", is_refused);
    assert_true(rpc_identity_stats(party.identity).refused > 0);
    expected_caller = "api-gateway";
    visit_as(&house, party.identity, "user-service", is_known);
    party_close(&party);
    house_close(&house);
}

static void test_the_right_name_from_another_authority_is_refused(void **state)
{
    (void)state;
    struct house house;
    struct party party;
    house_open(&house, 0);
    meet(&house, &foreign, "DNS:api-gateway", "user-service", is_refused);
    /* It believes our authority, but shows a certificate of its own. */
    mount_open(&party.mount);
    mount_identity(&party.mount, &foreign, "DNS:api-gateway");
    copy_file(certificates.ca, party.mount.ca);
    party.identity = identity_of(&party.mount);
    visit_as(&house, party.identity, "user-service", is_refused);
    party_close(&party);
    visit_as(&house, NULL, NULL, is_refused); /* in plain text */
    house_close(&house);
}

/* --- strangers */

static int connect_to(const struct house *house)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)rpc_server_port(house->server));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Whether the server goes on speaking with it; the serial number of the server's certificate. */
static bool stranger(const struct house *house, const struct mount *mount, int version, long *out_serial)
{
    static const unsigned char http2[] = "\2h2";
    char byte;
    int fd = connect_to(house);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0");
    SSL_CTX_set_max_proto_version(context, version);
    SSL_CTX_set_alpn_protos(context, http2, 3);
    if (mount) {
        assert_int_equal(SSL_CTX_use_certificate_chain_file(context, mount->cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(context, mount->key, SSL_FILETYPE_PEM), 1);
    }
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    bool welcome = SSL_connect(ssl) == 1 && SSL_read(ssl, &byte, 1) == 1; /* its HTTP/2 settings come first */
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    if (certificate && out_serial)
        *out_serial = ASN1_INTEGER_get(X509_get_serialNumber(certificate));
    X509_free(certificate);
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
    return welcome;
}

static void test_nobody_gets_in_without_a_certificate_or_by_an_old_protocol(void **state)
{
    (void)state;
    struct house house;
    struct party party;
    house_open(&house, 0);
    party_open(&party, &certificates, "DNS:api-gateway");
    assert_true(stranger(&house, &party.mount, TLS1_3_VERSION, NULL));
    assert_true(stranger(&house, &party.mount, TLS1_2_VERSION, NULL));
    assert_false(stranger(&house, &party.mount, TLS1_1_VERSION, NULL));
    assert_false(stranger(&house, NULL, TLS1_3_VERSION, NULL));
    assert_false(stranger(&house, NULL, TLS1_2_VERSION, NULL));
    party_close(&party);
    house_close(&house);
}

/* --- rotation */

static struct party rotating;

static void call_until_served(struct request *req, struct rpc_client *client, struct house *house, long serial)
{
    long now = 0;
    int64_t give_up_ns = clock_now_ns() + 30 * NS_PER_S;
    while (now != serial && clock_now_ns() < give_up_ns) {
        req->deadline_ns = clock_now_ns() + 10 * NS_PER_S;
        is_known(req, client, house);
        stranger(house, &rotating.mount, TLS1_3_VERSION, &now);
    }
    assert_int_equal(now, serial);
}

/* It is counted after it has been served. */
static void await_replaced(const struct house *house)
{
    int64_t give_up_ns = clock_now_ns() + 30 * NS_PER_S;
    while (rpc_identity_stats(house->party.identity).replaced == 0 && clock_now_ns() < give_up_ns)
        fiber_sleep_until(clock_now_ns() + NS_PER_MS);
    assert_true(rpc_identity_stats(house->party.identity).replaced > 0);
}

static void call_until_told(struct request *req, struct rpc_client *client, struct house *house)
{
    int64_t give_up_ns = clock_now_ns() + 30 * NS_PER_S;
    while (rpc_identity_stats(house->party.identity).bad_files == 0 && clock_now_ns() < give_up_ns) {
        req->deadline_ns = clock_now_ns() + 10 * NS_PER_S;
        is_known(req, client, house);
        fiber_sleep_until(clock_now_ns() + NS_PER_MS);
    }
    assert_int_equal(rpc_identity_stats(house->party.identity).bad_files, 1);
}

/* Connections end after a tenth of a second, so that there are new ones all the time. */
static void rotates(struct request *req, struct rpc_client *client, struct house *house)
{
    struct mount *server = &house->party.mount;
    char version[600], broken[700], other_key[700];
    is_known(req, client, house);
    long serial = mount_identity(server, &certificates, "DNS:user-service");
    call_until_served(req, client, house, serial);
    await_replaced(house);
    serial = mount_identity(server, &certificates, "DNS:user-service");
    mount_identity(&rotating.mount, &certificates, "DNS:api-gateway");
    call_until_served(req, client, house, serial);
    /* A certificate with another one's key changes nothing. */
    new_version(server, version);
    print_path(broken, sizeof broken, version, "tls.crt");
    print_path(other_key, sizeof other_key, version, "other.key");
    certificates_issue(&certificates, "DNS:user-service", broken, other_key);
    print_path(broken, sizeof broken, version, "tls.key");
    copy_file(certificates.server_key, broken);
    print_path(broken, sizeof broken, version, "ca.crt");
    copy_file(certificates.ca, broken);
    mount_version(server, version);
    call_until_told(req, client, house);
    call_until_served(req, client, house, serial);
}

static void test_replaced_files_count_without_a_restart_and_no_call_fails(void **state)
{
    (void)state;
    struct house house;
    house_open(&house, 100);
    party_open(&rotating, &certificates, "DNS:api-gateway");
    expected_caller = "api-gateway";
    visit_as(&house, rotating.identity, "user-service", rotates);
    int64_t left_s = rpc_identity_stats(house.party.identity).expires_s - clock_wall_ns() / NS_PER_S;
    assert_true(left_s > 23 * 3600 && left_s <= 24 * 3600);
    party_close(&rotating);
    house_close(&house);
}

static void test_an_authority_is_replaced_by_way_of_both(void **state)
{
    (void)state;
    struct house house;
    struct party party;
    char both[700], command[1600];
    house_open(&house, 0);
    meet(&house, &foreign, "DNS:api-gateway", "user-service", is_refused);
    snprintf(both, sizeof both, "%s/both.pem", house.party.mount.directory);
    snprintf(command, sizeof command, "cat %s %s > %s", certificates.ca, foreign.ca, both);
    assert_int_equal(system(command), 0);
    link_to(both, house.party.mount.ca);
    mount_open(&party.mount);
    mount_identity(&party.mount, &foreign, "DNS:api-gateway");
    int64_t give_up_ns = clock_now_ns() + 30 * NS_PER_S;
    while (!stranger(&house, &party.mount, TLS1_3_VERSION, NULL) && clock_now_ns() < give_up_ns)
        usleep(10000);
    link_to(both, party.mount.ca);
    party.identity = identity_of(&party.mount);
    expected_caller = "api-gateway";
    visit_as(&house, party.identity, "user-service", is_known);
    party_close(&party);
    house_close(&house);
}

/* --- wrong files */

static void refused_with(const char *cert, const char *key, const char *ca, const char *named, const char *reason)
{
    char message[600] = "";
    struct rpc_identity *identity = NULL;
    const struct rpc_identity_settings settings = {cert, key, ca};
    assert_int_equal(rpc_identity_open(&identity, &settings, message, sizeof message), ERR_INVALID_ARGUMENT);
    assert_null(identity);
    if (strncmp(message, named, strlen(named)) != 0 || !strstr(message, reason))
        fprintf(stderr, "%s\n", message);
    assert_int_equal(strncmp(message, named, strlen(named)), 0);
    assert_non_null(strstr(message, reason));
}

static void test_wrong_files_are_refused_by_name(void **state)
{
    (void)state;
    const struct test_certificates *c = &certificates;
    refused_with("/no/such.crt", c->server_key, c->ca, "/no/such.crt", "No such file or directory");
    refused_with(c->server, "/no/such.key", c->ca, "/no/such.key", "No such file or directory");
    refused_with(c->server, c->server_key, "/no/such", "/no/such", "No such file or directory");
    refused_with(c->server_key, c->server_key, c->ca, c->server_key, "holds no certificate in PEM");
    refused_with(c->server, c->server, c->ca, c->server, "holds no private key in PEM that can be read");
    refused_with(c->server, c->client_key, c->ca, c->client_key, "is not the key of the certificate");
    refused_with(c->server, c->server_key, c->server_key, c->server_key, "holds no certificate in PEM");
}

static int make_certificates(void **state)
{
    (void)state;
    certificates_open(&certificates);
    certificates_open(&foreign);
    return 0;
}

static int wipe_certificates(void **state)
{
    (void)state;
    certificates_close(&certificates);
    certificates_close(&foreign);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_caller_on_the_list_is_served_and_known_by_its_name),
        cmocka_unit_test(test_a_caller_that_is_not_on_the_list_is_refused_and_counted),
        cmocka_unit_test(test_a_peer_without_the_expected_name_is_refused_and_counted),
        cmocka_unit_test(test_the_right_name_from_another_authority_is_refused),
        cmocka_unit_test(test_nobody_gets_in_without_a_certificate_or_by_an_old_protocol),
        cmocka_unit_test(test_replaced_files_count_without_a_restart_and_no_call_fails),
        cmocka_unit_test(test_an_authority_is_replaced_by_way_of_both),
        cmocka_unit_test(test_wrong_files_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, make_certificates, wipe_certificates);
}
