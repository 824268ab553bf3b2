/* `api-gateway smoke`, as helm test and whoever has installed a shop runs it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/mem.h"
#include "support/collector.h"
#include "support/shop.h"

static struct test_collector collector;
static struct shop shop;
static char password_file[64];
static char metrics[64]; /* the gateway's page of them */

#define AS_ADMIN "--admin", "admin@bodega.example", "--admin-password-file", password_file

static int open_shop(void **state)
{
    (void)state;
    static char endpoint[80], admin[64], password_setting[320];
    static const char *settings[] = {"OTEL_SDK_DISABLED=false",
                                     "OTEL_BSP_SCHEDULE_DELAY=50",
                                     "AUTH_MODE=required",
                                     "AUTH_BOOTSTRAP_ADMIN_EMAIL=admin@bodega.example",
                                     password_setting,
                                     endpoint,
                                     NULL,
                                     NULL};
    enum { ADMIN_SLOT = 6 };
    int port = test_free_port();
    snprintf(password_file, sizeof password_file, "/tmp/bodega-smoke-%d", getpid());
    FILE *file = fopen(password_file, "w");
    fputs("a long password\n", file);
    fclose(file);
    snprintf(password_setting, sizeof password_setting, "AUTH_BOOTSTRAP_ADMIN_PASSWORD_FILE=%s", password_file);
    collector_open(&collector, NULL);
    snprintf(endpoint, sizeof endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT=http://%s", collector.grpc);
    snprintf(admin, sizeof admin, "ADMIN_LISTEN=127.0.0.1:%d", port);
    snprintf(metrics, sizeof metrics, "http://127.0.0.1:%d/metrics", port);
    shop.settings = settings;
    shop_open(&shop);
    settings[ADMIN_SLOT] = admin; /* the gateway's only */
    shop_kill(&shop, SHOP_GATEWAY);
    shop_start(&shop, SHOP_GATEWAY);
    settings[ADMIN_SLOT] = NULL;
    shop_wait_ready(&shop);
    return 0;
}

static int close_shop(void **state)
{
    (void)state;
    unlink(password_file);
    shop_close(&shop);
    collector_close(&collector);
    return 0;
}

/* What `api-gateway smoke` with up to nine arguments prints. */
static int smoke(char *output, size_t bytes, const char *const *arguments)
{
    char program[600];
    char *argv[12] = {(char *)(uintptr_t) "api-gateway", (char *)(uintptr_t) "smoke"};
    int ends[2], status;
    for (int i = 0; arguments[i]; i++)
        argv[i + 2] = (char *)(uintptr_t)arguments[i];
    shop_binary("api-gateway", program, sizeof program);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        execv(program, argv);
        _exit(127);
    }
    close(ends[1]);
    size_t used = 0;
    for (ssize_t n; (n = read(ends[0], output + used, bytes - 1 - used)) > 0;)
        used += (size_t)n;
    output[used] = '\0';
    close(ends[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect_smoke(const char *const *arguments, int status, const char *words)
{
    char output[8192];
    int got = smoke(output, sizeof output, arguments);
    if (got != status || !strstr(output, words))
        fprintf(stderr, "expected %d and \"%s\", got %d and: %s\n", status, words, got, output);
    assert_int_equal(got, status);
    assert_non_null(strstr(output, words));
}

static void test_a_shop_that_works_passes_with_its_trace(void **state)
{
    (void)state;
    expect_smoke((const char *[]){AS_ADMIN, "--metrics", metrics, shop.base_url, NULL}, 0, "ok      trace ");
    assert_int_equal(shop_sql_number(&shop, "select count(*) from orders"), 1); /* ordered twice with one key */
    assert_int_equal(shop_sql_number(&shop, "select count(*) from orders where status = 'cancelled'"), 1);
    assert_int_equal(shop_sql_number(&shop, "select sum(quantity) from inventory"), 5);
}

static void test_a_slash_behind_the_url_does_not_matter(void **state)
{
    (void)state;
    char url[80];
    snprintf(url, sizeof url, "%s//", shop.base_url);
    expect_smoke((const char *[]){AS_ADMIN, url, NULL}, 0, "ok      cancel ");
}

static void test_spans_that_no_receiver_took_fail_it(void **state)
{
    (void)state;
    char page[80];
    snprintf(page, sizeof page, "%s/health", shop.base_url); /* has no counts at all */
    expect_smoke((const char *[]){AS_ADMIN, "--timeout", "3", "--metrics", page, shop.base_url, NULL}, 1,
                 "failed  trace ");
}

static void test_who_is_no_admin_sets_no_stock(void **state)
{
    (void)state;
    expect_smoke((const char *[]){shop.base_url, NULL}, 1, "failed  stock      status 401");
}

static void test_a_shop_without_stock_keeping_is_not_ready(void **state)
{
    (void)state;
    shop_kill(&shop, SHOP_INVENTORY);
    expect_smoke((const char *[]){"--timeout", "1", shop.base_url, NULL}, 1, "failed  ready ");
    shop_start(&shop, SHOP_INVENTORY);
    shop_wait_ready(&shop);
}

static void test_nobody_at_the_address_is_told(void **state)
{
    (void)state;
    expect_smoke((const char *[]){"--timeout", "1", "http://127.0.0.1:1", NULL}, 1, "failed  ready ");
    expect_smoke((const char *[]){"--timeout", "1", "ftp://127.0.0.1:1", NULL}, 1, "failed  ready ");
}

static void test_wrong_options_are_told(void **state)
{
    (void)state;
    expect_smoke((const char *[]){"--help", NULL}, 0, "usage:");
    expect_smoke((const char *[]){NULL}, 2, "expected one URL");
    expect_smoke((const char *[]){"--timeout", "soon", shop.base_url, NULL}, 2, "got \"soon\"");
    expect_smoke((const char *[]){"--admin", "a@b", shop.base_url, NULL}, 2, "go together");
    expect_smoke((const char *[]){"--admin", "a@b", "--admin-password-file", "/nowhere", shop.base_url, NULL}, 1,
                 "failed  log-in     /nowhere cannot be read");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_shop_that_works_passes_with_its_trace),
        cmocka_unit_test(test_a_slash_behind_the_url_does_not_matter),
        cmocka_unit_test(test_spans_that_no_receiver_took_fail_it),
        cmocka_unit_test(test_who_is_no_admin_sets_no_stock),
        cmocka_unit_test(test_a_shop_without_stock_keeping_is_not_ready),
        cmocka_unit_test(test_nobody_at_the_address_is_told),
        cmocka_unit_test(test_wrong_options_are_told),
    };
    return cmocka_run_group_tests_name("smoke", tests, open_shop, close_shop);
}
