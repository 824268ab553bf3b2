/* How the database lets us in, and how it does not: TLS of every kind, passwords, and what the log says then. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/db.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/offload.h"
#include "support/collector.h"

static struct test_server plain, server;
static struct test_certificates certificates, foreign;
static char told[512];

static void remember_trouble(const struct log_line *line)
{
    for (unsigned i = 0; i < line->count && strcmp(line->message, "database connection failed") == 0; i++)
        if (strcmp(line->fields[i].key, "error") == 0)
            snprintf(told, sizeof told, "%s", line->fields[i].text);
}

static void sql(const char *command)
{
    char url[128];
    snprintf(url, sizeof url, "postgresql://postgres@127.0.0.1:%d/ecommerce", server.port);
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, command);
    ExecStatusType status = PQresultStatus(result);
    assert_true(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK);
    PQclear(result);
    PQfinish(conn);
}

static int open_servers(void **state)
{
    (void)state;
    log_sink_set(remember_trouble);
    certificates_open(&certificates);
    certificates_open(&foreign);
    test_postgres_open(&plain);
    test_postgres_open(&server);
    sql("create role clerk login password 'first'");
    sql("create role client login");
    test_postgres_secure(&server, &certificates);
    test_postgres_rule(&server, "host all clerk 127.0.0.1/32 scram-sha-256");
    test_postgres_rule(&server, "hostssl all client 127.0.0.1/32 cert map=client");
    return 0;
}

static int close_servers(void **state)
{
    (void)state;
    log_sink_set(NULL);
    test_postgres_close(&plain);
    test_postgres_close(&server);
    certificates_close(&certificates);
    certificates_close(&foreign);
    return 0;
}

/* --- a database as a service has it */

static struct db_settings settings_for(const char *url)
{
    return (struct db_settings){.url = url,
                                .connections = 1,
                                .transactions = 1,
                                .queue_max = 10,
                                .statement_timeout_ms = 5000,
                                .connect_timeout_ms = 5000};
}

static void with(const struct db_settings *settings, void (*fn)(struct request *req, void *arg))
{
    struct worker worker = {.loop = loop_new()};
    told[0] = '\0';
    offload_start(1, 16);
    worker.db = db_open(worker.loop, settings);
    assert_non_null(worker.db);
    test_in_fiber(&worker, fn, NULL);
    db_close(worker.db);
    offload_stop();
    loop_free(worker.loop);
}

static const struct db_statement is_secure = {
    "is_secure", "SELECT", "select ssl from pg_stat_ssl where pid = pg_backend_pid()", "", "b", 0};
static const struct db_statement who = {"who", "SELECT", "select current_user::text", "", "t", 0};

static void over_tls(struct request *req, void *arg)
{
    (void)arg;
    struct db_rows rows;
    assert_int_equal(db_query(req, &is_secure, DB_NO_PARAMS, &rows), ERR_OK);
    assert_true(db_get_bool(&rows, 0, 0));
}

static void not_at_all(struct request *req, void *arg)
{
    (void)arg;
    assert_int_equal(db_query(req, &is_secure, DB_NO_PARAMS, NULL), ERR_UNAVAILABLE);
}

static const struct db_migration nothing[] = {{1, "001_nothing.sql", "select 1"}};

/* Both ways to the database: that of the requests, and that of the migrations. */
static void opens(const struct db_settings *settings)
{
    char message[512] = "";
    with(settings, over_tls);
    assert_int_equal(db_migrate(settings, nothing, 1, message, sizeof message), ERR_OK);
}

static void refuses(const struct db_settings *settings, const char *words)
{
    char message[512] = "";
    with(settings, not_at_all);
    assert_int_equal(db_migrate(settings, nothing, 1, message, sizeof message), ERR_UNAVAILABLE);
    if (!strstr(told, words) || !strstr(message, words))
        fprintf(stderr, "%s\n%s\n", told, message);
    assert_non_null(strstr(told, words));
    assert_non_null(strstr(message, words));
}

static void url_refuses(const char *words, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void url_refuses(const char *words, const char *format, ...)
{
    char url[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(url, sizeof url, format, args);
    va_end(args);
    const struct db_settings settings = settings_for(url);
    refuses(&settings, words);
}

/* --- TLS */

static void test_a_server_is_believed_as_far_as_sslmode_says(void **state)
{
    (void)state;
    char url[1024] = "";
    const struct db_settings settings = settings_for(url);
    snprintf(url, sizeof url, "postgresql://postgres@localhost:%d/ecommerce?sslmode=verify-full&sslrootcert=%s",
             server.port, certificates.ca);
    opens(&settings);
    url_refuses("(sslmode=verify-full in database.url wants the host's name in the certificate)",
                "postgresql://postgres@127.0.0.2:%d/ecommerce?sslmode=verify-full&sslrootcert=%s&hostaddr=127.0.0.1",
                server.port, certificates.ca);
    snprintf(url, sizeof url,
             "postgresql://postgres@127.0.0.2:%d/ecommerce?sslmode=verify-ca&sslrootcert=%s&hostaddr=127.0.0.1",
             server.port, certificates.ca);
    opens(&settings);
    url_refuses("(the server's certificate is none of sslrootcert in database.url)",
                "postgresql://postgres@localhost:%d/ecommerce?sslmode=verify-full&sslrootcert=%s", server.port,
                foreign.ca);
    url_refuses("(sslrootcert in database.url)",
                "postgresql://postgres@localhost:%d/ecommerce?sslmode=verify-full&sslrootcert=/no/such", server.port);
}

static void test_a_plain_server_is_refused_where_tls_is_wanted(void **state)
{
    (void)state;
    url_refuses("(sslmode in database.url wants TLS)", "postgresql://postgres@127.0.0.1:%d/ecommerce?sslmode=require",
                plain.port);
}

static void test_a_client_certificate_is_a_login(void **state)
{
    (void)state;
    char url[1500] = "", command[1024];
    const struct db_settings settings = settings_for(url);
    /* The rule's map says which user the certificate's name may be. */
    snprintf(command, sizeof command, "echo 'client client client' >> %s/data/pg_ident.conf", server.directory);
    assert_int_equal(system(command), 0);
    test_postgres_stop(&server);
    test_postgres_start(&server);
    sql("grant create on schema public to client");
    sql("drop table if exists schema_migrations");
    snprintf(url, sizeof url,
             "postgresql://client@localhost:%d/ecommerce?sslmode=verify-full&sslrootcert=%s&sslcert=%s&sslkey=%s",
             server.port, certificates.ca, certificates.client, certificates.client_key);
    opens(&settings);
    url_refuses("sslcert", "postgresql://client@localhost:%d/ecommerce?sslmode=verify-full&sslrootcert=%s", server.port,
                certificates.ca);
    url_refuses("(sslkey in database.url)",
                "postgresql://client@localhost:%d/ecommerce?sslmode=require&sslcert=%s&sslkey=/no/such", server.port,
                certificates.client);
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

static void as_clerk(struct request *req, void *arg)
{
    (void)arg;
    struct db_rows rows;
    assert_int_equal(db_query(req, &who, DB_NO_PARAMS, &rows), ERR_OK);
    assert_string_equal(db_get_text(&rows, 0, 0), "clerk");
}

static void end_clerks(void)
{
    sql("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'clerk'");
}

static void through_a_rotation(struct request *req, void *arg)
{
    as_clerk(req, arg);
    sql("alter role clerk password 'second'");
    as_clerk(req, arg); /* who is in stays in */
    write_password("second");
    end_clerks();
    int64_t give_up_ns = clock_now_ns() + 10 * NS_PER_S;
    while (db_query(req, &who, DB_NO_PARAMS, NULL) && clock_now_ns() < give_up_ns)
        fiber_sleep_until(clock_now_ns() + 10 * NS_PER_MS);
    as_clerk(req, arg);
}

static void test_a_password_file_is_read_for_each_new_connection(void **state)
{
    (void)state;
    char url[256] = "", message[512] = "";
    struct db_settings settings = settings_for(url);
    snprintf(url, sizeof url, "postgresql://clerk:stale@127.0.0.1:%d/ecommerce", server.port);
    snprintf(password_file, sizeof password_file, "%s/password", certificates.home.directory);
    write_password("first");
    settings.password = "first";
    settings.password_file = password_file;
    with(&settings, through_a_rotation);
    sql("grant all on schema public to clerk");
    sql("drop table if exists schema_migrations");
    assert_int_equal(db_migrate(&settings, nothing, 1, message, sizeof message), ERR_OK);
    write_password("wrong");
    refuses(&settings, "(database.password, or the one in database.url)");
    assert_null(strstr(told, "wrong"));
    unlink(password_file);
    refuses(&settings, "database.password_file: ");
}

static void test_a_password_of_its_own_takes_the_place_of_the_urls(void **state)
{
    (void)state;
    char url[256] = "";
    struct db_settings settings = settings_for(url);
    sql("alter role clerk password 'third'");
    snprintf(url, sizeof url, "postgresql://clerk@127.0.0.1:%d/ecommerce", server.port);
    settings.password = "third";
    with(&settings, as_clerk);
    settings.password = "";
    refuses(&settings, "(database.password, or one in database.url)");
    snprintf(url, sizeof url, "postgresql://clerk:third@127.0.0.1:%d/ecommerce", server.port);
    with(&settings, as_clerk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_is_believed_as_far_as_sslmode_says),
        cmocka_unit_test(test_a_plain_server_is_refused_where_tls_is_wanted),
        cmocka_unit_test(test_a_client_certificate_is_a_login),
        cmocka_unit_test(test_a_password_file_is_read_for_each_new_connection),
        cmocka_unit_test(test_a_password_of_its_own_takes_the_place_of_the_urls),
    };
    return cmocka_run_group_tests(tests, open_servers, close_servers);
}
