/* How Redis lets us in, and how it does not: TLS with names and certificates, passwords, and what the log says then. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/offload.h"
#include "common/stream.h"
#include "stream/internal.h"
#include "support/collector.h"

enum { LARGE_BYTES = 1 << 20, LARGE_COUNT = 16 };

static struct test_server redis;
static struct test_certificates certificates, foreign;

/* In plain text, at the side. */
static void tell(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisContext *direct = redisConnect("127.0.0.1", redis.port);
    freeReplyObject(redisCommand(direct, "AUTH first")); /* one of them is right while there is one */
    freeReplyObject(redisCommand(direct, "AUTH second"));
    redisReply *reply = redisvCommand(direct, format, args);
    va_end(args);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        print_error("%s: %s\n", format, reply->str);
    assert_int_not_equal(reply->type, REDIS_REPLY_ERROR);
    freeReplyObject(reply);
    redisFree(direct);
}

static int open_redis(void **state)
{
    (void)state;
    certificates_open(&certificates);
    certificates_open(&foreign);
    test_redis_open_secure(&redis, &certificates);
    offload_start(1, 8);
    return 0;
}

static int close_redis(void **state)
{
    (void)state;
    offload_stop();
    test_redis_close(&redis);
    certificates_close(&certificates);
    certificates_close(&foreign);
    return 0;
}

/* --- a stream in a loop */

struct room {
    struct worker worker;
    struct stream_settings settings;
    const char *words; /* that a refusal is told with */
    void (*body)(struct request *req, struct room *room);
    unsigned seen;
    size_t seen_bytes;
};

#define until(req, condition)                                                                                          \
    do {                                                                                                               \
        while (!(condition)) {                                                                                         \
            assert_int_equal(request_check(req), ERR_OK);                                                              \
            fiber_sleep_until(clock_now_ns() + NS_PER_MS);                                                             \
        }                                                                                                              \
    } while (0)

static void run_body(struct request *req, void *arg)
{
    struct room *room = arg;
    req->deadline_ns = clock_now_ns() + 30 * NS_PER_S;
    room->body(req, room);
    stream_close(room->worker.stream);
    until(req, fiber_count(room->worker.loop) == 1);
}

static void use(struct stream_settings settings, const char *words,
                void (*body)(struct request *req, struct room *room))
{
    struct room *room = mem_alloc(sizeof *room);
    *room = (struct room){.settings = settings, .words = words, .body = body};
    room->settings.queue_max = 4096;
    if (room->settings.connect_timeout_ms == 0)
        room->settings.connect_timeout_ms = 5000;
    room->worker.loop = loop_new();
    room->worker.settings = room;
    room->worker.stream = stream_open(room->worker.loop, &room->settings);
    assert_non_null(room->worker.stream);
    test_in_fiber(&room->worker, run_body, room);
    loop_free(room->worker.loop);
    free(room);
}

static enum err add(struct request *req, const char *data)
{
    struct stream_entry entry = {.key = "s", .data = data};
    return stream_add(req, &entry, 1);
}

static void is_up(struct request *req, struct room *room)
{
    until(req, stream_up(room->worker.stream));
    assert_int_equal(add(req, "x"), ERR_OK);
}

static void is_refused(struct request *req, struct room *room)
{
    const struct link *link = room->worker.stream->link;
    until(req, link->errors >= 2); /* it tries again */
    assert_false(stream_up(room->worker.stream));
    assert_int_equal(add(req, "x"), ERR_UNAVAILABLE);
    if (!strstr(link->told, room->words))
        print_error("%s\n", link->told);
    assert_non_null(strstr(link->told, room->words));
}

static char url_text[300];

static const char *secure_url(const char *host)
{
    snprintf(url_text, sizeof url_text, "rediss://%s:%d", host, redis.tls_port);
    return url_text;
}

/* --- TLS */

static enum err take(struct request *req, struct stream_message *messages, unsigned count)
{
    struct room *room = (struct room *)(uintptr_t)req->worker->settings;
    for (unsigned i = 0; i < count; i++) {
        room->seen++;
        room->seen_bytes += strlen(messages[i].data);
        messages[i].done = true;
    }
    return ERR_OK;
}

/* More than the sockets hold in both directions, so that writing has to wait. */
static void large_messages(struct request *req, struct room *room)
{
    const struct stream_consumer_settings settings = {.key = "large", .group = "g", .name = "me"};
    struct stream_entry entries[LARGE_COUNT];
    char *data = arena_alloc(req->arena, LARGE_BYTES + 1);
    memset(data, 'x', LARGE_BYTES);
    data[LARGE_BYTES] = '\0';
    is_up(req, room);
    for (unsigned i = 0; i < LARGE_COUNT; i++)
        entries[i] = (struct stream_entry){.key = "large", .data = data};
    assert_int_equal(stream_add(req, entries, LARGE_COUNT), ERR_OK);
    struct stream_consumer *consumer = stream_consume(&room->worker, &settings, take);
    until(req, room->seen == LARGE_COUNT);
    assert_int_equal(room->seen_bytes, (size_t)LARGE_COUNT * LARGE_BYTES);
    stream_consumer_stop(consumer);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(add(req, "small"), ERR_OK);
}

static void test_messages_pass_over_tls_whole(void **state)
{
    (void)state;
    use((struct stream_settings){.url = secure_url("localhost"), .ca_file = certificates.ca}, NULL, large_messages);
    use((struct stream_settings){.url = secure_url("127.0.0.1"), .ca_file = certificates.ca}, NULL, is_up);
}

static void test_a_server_is_believed_only_with_the_right_name_and_authority(void **state)
{
    (void)state;
    /* Another way to write 127.0.0.1, which the certificate does not have. */
    use((struct stream_settings){.url = secure_url("127.1"), .ca_file = certificates.ca},
        "the server's certificate does not carry the host of redis.url", is_refused);
    use((struct stream_settings){.url = secure_url("localhost"), .ca_file = foreign.ca}, "(redis.tls.ca_file)",
        is_refused);
    use((struct stream_settings){.url = secure_url("localhost")}, "(redis.tls.ca_file)", is_refused);
}

static void test_plain_text_and_tls_do_not_mix(void **state)
{
    (void)state;
    char url[64];
    snprintf(url, sizeof url, "rediss://localhost:%d", redis.port);
    use((struct stream_settings){.url = url, .ca_file = certificates.ca, .connect_timeout_ms = 500},
        ", which redis.url wants", is_refused);
    snprintf(url, sizeof url, "redis://localhost:%d", redis.tls_port);
    use((struct stream_settings){.url = url}, "", is_refused);
}

static void test_a_client_certificate_is_shown(void **state)
{
    (void)state;
    struct stream_settings settings = {.url = secure_url("localhost"), .ca_file = certificates.ca};
    tell("CONFIG SET tls-auth-clients yes");
    use(settings, "", is_refused);
    settings.cert_file = certificates.client;
    settings.key_file = certificates.client_key;
    use(settings, NULL, is_up);
    tell("CONFIG SET tls-auth-clients optional");
}

static void comes_up_with_the_right_file(struct request *req, struct room *room)
{
    char command[700];
    is_refused(req, room);
    snprintf(command, sizeof command, "cp %s %s", certificates.ca, room->settings.ca_file);
    assert_int_equal(system(command), 0);
    is_up(req, room);
}

static void test_a_replaced_file_counts_for_the_next_connection(void **state)
{
    (void)state;
    char ca[600], command[1000];
    snprintf(ca, sizeof ca, "%s/changing.pem", certificates.home.directory);
    snprintf(command, sizeof command, "cp %s %s", foreign.ca, ca);
    assert_int_equal(system(command), 0);
    use((struct stream_settings){.url = secure_url("localhost"), .ca_file = ca}, "(redis.tls.ca_file)",
        comes_up_with_the_right_file);
}

static void cannot_be_used(struct stream_settings settings)
{
    struct loop *loop = loop_new();
    assert_null(stream_open(loop, &settings));
    loop_free(loop);
}

static void test_settings_that_make_no_sense_are_refused_at_once(void **state)
{
    (void)state;
    cannot_be_used((struct stream_settings){.url = "redis://localhost", .ca_file = certificates.ca});
    cannot_be_used((struct stream_settings){.url = "rediss://localhost", .ca_file = "/no/such"});
    cannot_be_used((struct stream_settings){.url = "rediss://localhost", .ca_file = certificates.client_key});
    cannot_be_used((struct stream_settings){.url = "rediss://localhost", .cert_file = certificates.client});
    cannot_be_used((struct stream_settings){
        .url = "rediss://localhost", .cert_file = certificates.client, .key_file = certificates.server_key});
}

/* --- passwords */

static char password_file[300];

static void write_password(const char *password)
{
    FILE *file = fopen(password_file, "w");
    assert_non_null(file);
    fprintf(file, "%s\n", password);
    fclose(file);
}

static void through_a_rotation(struct request *req, struct room *room)
{
    is_up(req, room);
    tell("CONFIG SET requirepass second");
    is_up(req, room); /* who is in stays in */
    write_password("second");
    tell("CLIENT KILL TYPE normal SKIPME yes");
    until(req, room->worker.stream->link->reconnects == 1);
    is_up(req, room);
}

static void test_a_password_file_is_read_for_each_new_connection(void **state)
{
    (void)state;
    char url[64];
    struct stream_settings settings = {.url = url, .password = "first", .password_file = password_file};
    snprintf(url, sizeof url, "redis://:stale@127.0.0.1:%d", redis.port);
    snprintf(password_file, sizeof password_file, "%s/password", certificates.home.directory);
    write_password("first");
    tell("CONFIG SET requirepass first");
    use(settings, NULL, through_a_rotation);
    unlink(password_file);
    use(settings, "redis.password_file: ", is_refused);
    tell("CONFIG SET requirepass %s", "");
}

static void test_a_password_of_its_own_takes_the_place_of_the_urls(void **state)
{
    (void)state;
    char url[64];
    tell("ACL SETUSER clerk on >third ~* +@all");
    snprintf(url, sizeof url, "redis://clerk@127.0.0.1:%d", redis.port);
    use((struct stream_settings){.url = url, .password = "third"}, NULL, is_up);
    snprintf(url, sizeof url, "redis://clerk:wrong@127.0.0.1:%d", redis.port);
    use((struct stream_settings){.url = url, .password = "third"}, NULL, is_up);
    use((struct stream_settings){.url = url, .password = ""}, "WRONGPASS", is_refused);
    cannot_be_used((struct stream_settings){.url = "redis://clerk@localhost"});
    tell("ACL DELUSER clerk");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_pass_over_tls_whole),
        cmocka_unit_test(test_a_server_is_believed_only_with_the_right_name_and_authority),
        cmocka_unit_test(test_plain_text_and_tls_do_not_mix),
        cmocka_unit_test(test_a_client_certificate_is_shown),
        cmocka_unit_test(test_a_replaced_file_counts_for_the_next_connection),
        cmocka_unit_test(test_settings_that_make_no_sense_are_refused_at_once),
        cmocka_unit_test(test_a_password_file_is_read_for_each_new_connection),
        cmocka_unit_test(test_a_password_of_its_own_takes_the_place_of_the_urls),
    };
    return cmocka_run_group_tests(tests, open_redis, close_redis);
}
