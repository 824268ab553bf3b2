#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config.h"
#include "common/mem.h"
#include "support/support.h"

struct sample {
    int level;
    const char *listen;
    int body_bytes_max;
    bool gzip;
    int64_t length_max;
    const char *title;
    const char *url;
    const char *token;
    const char *token_file;
    const char *optional_listen;
    int any;
    const char *callers, *peer, *optional_callers;
};

#define AT(member) offsetof(struct sample, member)

static const char *const levels[] = {"debug", "info", "off", NULL};

static const struct setting table[] = {
    {"log.level", SETTING_CHOICE, AT(level), "info", "T_LOG_LEVEL", .choices = levels, .help = "what to log"},
    {"http.listen", SETTING_ADDRESS, AT(listen), "127.0.0.1:8080", "T_HTTP_LISTEN", .help = "address"},
    {"http.body_bytes_max", SETTING_INT, AT(body_bytes_max), "65536", "T_BODY", 1024, 16777216, .help = "bytes"},
    {"http.deep.gzip", SETTING_BOOL, AT(gzip), "true", "T_GZIP"},
    {"redis.length_max", SETTING_LONG, AT(length_max), "9000000000", "T_LENGTH", 0, INT64_MAX},
    {"title", SETTING_TEXT, AT(title), "a \"shop\"\n\\", "T_TITLE"},
    {"database.url", SETTING_SECRET, AT(url), NULL, "T_DATABASE_URL", .help = "where the database is"},
    {"auth.token", SETTING_SECRET, AT(token), "", NULL, .file_offset = AT(token_file)},
    {"http.second_listen", SETTING_ADDRESS, AT(optional_listen), "", NULL},
    {"any", SETTING_INT, AT(any), "-3", NULL},
    {"tls.allow", SETTING_NAMES, AT(callers), "gateway,orders", NULL},
    {"tls.peer", SETTING_NAMES, AT(peer), "users", NULL, .max = 1},
    {"tls.more", SETTING_NAMES, AT(optional_callers), "", NULL},
};

enum { COUNT = array_count(table) };

static char directory[] = "/tmp/test_config_XXXXXX";
static char settings_path[64], secret_path[64], message[512];

static void write_file(const char *path, const char *text, size_t bytes)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    fclose(file);
}

static int enter_directory(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    snprintf(settings_path, sizeof settings_path, "%s/orders.yaml", directory);
    snprintf(secret_path, sizeof secret_path, "%s/secret", directory);
    return chdir(directory);
}

static int leave_directory(void **state)
{
    (void)state;
    unlink(settings_path);
    unlink(secret_path);
    return rmdir(directory);
}

/* Each test starts with what is required and nothing else. */
static int reset(void **state)
{
    (void)state;
    static const char *const names[] = {"T_LOG_LEVEL", "T_HTTP_LISTEN",      "T_BODY", "T_GZIP", "T_LENGTH",
                                        "T_TITLE",     "T_DATABASE_URL_FILE"};
    for (unsigned i = 0; i < array_count(names); i++)
        unsetenv(names[i]);
    return setenv("T_DATABASE_URL", "postgres://here", 1);
}

static enum err load_bytes(struct config **config, const char *yaml, size_t bytes, struct sample *out)
{
    write_file("orders.yaml", yaml, bytes);
    memset(out, 0, sizeof *out);
    message[0] = '\0';
    return config_load(config, "orders.yaml", table, COUNT, out, message, sizeof message);
}

static struct config *load(const char *yaml, struct sample *out)
{
    struct config *config = NULL;
    enum err err = load_bytes(&config, yaml, strlen(yaml), out);
    assert_string_equal(message, "");
    assert_int_equal(err, ERR_OK);
    return config;
}

static void refuse_bytes(const char *yaml, size_t bytes, const char *expected)
{
    struct sample sample, untouched = {0};
    struct config *config = NULL;
    assert_int_equal(load_bytes(&config, yaml, bytes, &sample), ERR_INVALID_ARGUMENT);
    assert_string_equal(message, expected);
    assert_null(config);
    assert_memory_equal(&sample, &untouched, sizeof sample);
}

static void refuse(const char *yaml, const char *expected)
{
    refuse_bytes(yaml, strlen(yaml), expected);
}

/* --- values */

static void assert_built_in(const struct sample *s)
{
    assert_int_equal(s->level, 1);
    assert_string_equal(s->listen, "127.0.0.1:8080");
    assert_int_equal(s->body_bytes_max, 65536);
    assert_true(s->gzip);
    assert_int_equal(s->length_max, 9000000000);
    assert_string_equal(s->title, "a \"shop\"\n\\");
    assert_string_equal(s->url, "postgres://here");
    assert_string_equal(s->token, "");
    assert_string_equal(s->optional_listen, "");
    assert_int_equal(s->any, -3);
    assert_string_equal(s->callers, "gateway,orders");
    assert_string_equal(s->peer, "users");
    assert_string_equal(s->optional_callers, "");
}

static void test_nothing_but_the_environment_is_enough(void **state)
{
    (void)state;
    struct sample sample = {0};
    struct config *config;
    assert_int_equal(config_load(&config, NULL, table, COUNT, &sample, message, sizeof message), ERR_OK);
    assert_built_in(&sample);
    config_free(config);
}

static void test_empty_files_leave_the_built_in_values(void **state)
{
    (void)state;
    static const char *const files[] = {"",      "\n\n",         "# only a comment\n",
                                        "---\n", "---\n...\n",   "{}\n",
                                        "~\n",   "\xef\xbb\xbf", "http:\nredis:\n  # nothing set\n"};
    for (unsigned i = 0; i < array_count(files); i++) {
        struct sample sample;
        struct config *config = load(files[i], &sample);
        assert_built_in(&sample);
        config_free(config);
    }
}

static void test_file_sets_every_type(void **state)
{
    (void)state;
    struct sample s;
    struct config *config = load("log: {level: 'off'}\n"
                                 "http:\n"
                                 "  listen: \"[::1]:80\"\n"
                                 "  body_bytes_max: 1024\n"
                                 "  second_listen: :0\n"
                                 "  deep:\n"
                                 "    gzip: false\n"
                                 "redis:\n"
                                 "  length_max: 9223372036854775807\n"
                                 "title: \"Tante Emma \\u00e9 \\t\"\n"
                                 "auth:\n"
                                 "  token: |\n"
                                 "    two\n"
                                 "    lines\n"
                                 "any: -2147483648\n",
                                 &s);
    assert_int_equal(s.level, 2);
    assert_string_equal(s.listen, "[::1]:80");
    assert_int_equal(s.body_bytes_max, 1024);
    assert_string_equal(s.optional_listen, ":0");
    assert_false(s.gzip);
    assert_int_equal(s.length_max, INT64_MAX);
    assert_string_equal(s.title, "Tante Emma \u00e9 \t");
    assert_string_equal(s.token, "two\nlines\n");
    assert_int_equal(s.any, INT_MIN);
    config_free(config);
}

static void test_environment_beats_the_file(void **state)
{
    (void)state;
    struct sample s;
    setenv("T_LOG_LEVEL", "debug", 1);
    setenv("T_HTTP_LISTEN", "example.org:65535", 1);
    setenv("T_BODY", "2048", 1);
    setenv("T_GZIP", "false", 1);
    setenv("T_LENGTH", "0", 1);
    setenv("T_TITLE", "- [it's: \x7f \"all\" text] #", 1);
    struct config *config = load("log: {level: off}\ntitle: file\ndatabase: {url: file}\n", &s);
    assert_int_equal(s.level, 0);
    assert_string_equal(s.listen, "example.org:65535");
    assert_int_equal(s.body_bytes_max, 2048);
    assert_false(s.gzip);
    assert_int_equal(s.length_max, 0);
    assert_string_equal(s.title, "- [it's: \x7f \"all\" text] #");
    assert_string_equal(s.url, "postgres://here");
    config_free(config);
}

static void test_empty_variable_counts_as_unset(void **state)
{
    (void)state;
    struct sample s;
    setenv("T_HTTP_LISTEN", "", 1);
    setenv("T_BODY", "", 1);
    struct config *config = load("http: {body_bytes_max: 4096}", &s);
    assert_string_equal(s.listen, "127.0.0.1:8080");
    assert_int_equal(s.body_bytes_max, 4096);
    config_free(config);
}

static void test_dotted_key_is_the_same_key(void **state)
{
    (void)state;
    struct sample s;
    struct config *config = load("http.listen: :9\n", &s);
    assert_string_equal(s.listen, ":9");
    config_free(config);
    refuse("http.listen: :9\nhttp:\n  listen: :8\n",
           "orders.yaml:3: duplicate key \"http.listen\", it is on line 1 too");
}

static void test_table_without_settings_loads(void **state)
{
    (void)state;
    struct config *config;
    assert_int_equal(config_load(&config, NULL, table, 0, NULL, message, sizeof message), ERR_OK);
    config_free(config);
    config_free(NULL);
}

/* --- what is wrong in a file */

static void test_wrong_values_are_told_with_line_key_and_expectation(void **state)
{
    (void)state;
    refuse("# orders\nhttp:\n  body_bytes_max: many\n",
           "orders.yaml:3: http.body_bytes_max: expected an integer from 1024 to 16777216, got \"many\"");
    refuse("http: {body_bytes_max: 1023}",
           "orders.yaml:1: http.body_bytes_max: expected an integer from 1024 to 16777216, got \"1023\"");
    refuse("any: 2147483648", "orders.yaml:1: any: expected an integer, got \"2147483648\"");
    refuse("any: 99999999999999999999", "orders.yaml:1: any: expected an integer, got \"99999999999999999999\"");
    refuse("any: 1.0", "orders.yaml:1: any: expected an integer, got \"1.0\"");
    refuse("any: 010", "orders.yaml:1: any: expected an integer, got \"010\"");
    refuse("any: 0x10", "orders.yaml:1: any: expected an integer, got \"0x10\"");
    refuse("any: ''", "orders.yaml:1: any: expected an integer, got \"\"");
    refuse("any:", "orders.yaml:1: any: expected an integer, got nothing");
    refuse("title: null", "orders.yaml:1: title: expected a text, got nothing");
    refuse("log: {level: loud}", "orders.yaml:1: log.level: expected debug, info or off, got \"loud\"");
    refuse("http: {deep: {gzip: yes}}", "orders.yaml:1: http.deep.gzip: expected true or false, got \"yes\"");
    refuse("title: \"a\\0b\"", "orders.yaml:1: title: expected a text, got \"a\\x00b\"");
}

static void test_addresses_have_a_host_and_a_port(void **state)
{
    (void)state;
    static const char *const bad[] = {"x",     "host",   "host:",  ":65536",      "host:-1",  "::1:80",    "[::1]",
                                      "[]:80", "[x]:80", "a b:80", "http://x:80", "h:123456", "[::1]x:80", "h:8o"};
    for (unsigned i = 0; i < array_count(bad); i++) {
        char yaml[64], expected[128];
        snprintf(yaml, sizeof yaml, "http: {listen: '%s'}", bad[i]);
        snprintf(expected, sizeof expected, "orders.yaml:1: http.listen: expected host:port, got \"%s\"", bad[i]);
        refuse(yaml, expected);
    }
    refuse("http: {listen: ''}", "orders.yaml:1: http.listen: expected host:port, got \"\"");
}

static void test_a_list_of_names_has_names(void **state)
{
    (void)state;
    static const char *const bad[] = {"", " ", ",", " , ,", "ä.example", "a,b "};
    char yaml[64], expected[160];
    for (unsigned i = 0; i < array_count(bad); i++) {
        snprintf(yaml, sizeof yaml, "tls: {allow: '%s'}", bad[i]);
        snprintf(expected, sizeof expected,
                 "orders.yaml:1: tls.allow: expected DNS or URI names, separated by commas, got \"%s\"", bad[i]);
        refuse(yaml, expected);
    }
    refuse("tls: {allow: \"a\\tb\"}",
           "orders.yaml:1: tls.allow: expected DNS or URI names, separated by commas, got \"a\\x09b\"");
    refuse("tls: {peer: ''}", "orders.yaml:1: tls.peer: expected a DNS or URI name, got \"\"");
    refuse("tls: {peer: 'a,b'}", "orders.yaml:1: tls.peer: expected a DNS or URI name, got \"a,b\"");
    refuse("tls: {more: ','}", "orders.yaml:1: tls.more: expected DNS or URI names, separated by commas, got \",\"");
    struct sample settings;
    struct config *config =
        load("tls: {allow: ' a.example , spiffe://x/y,', peer: users.example, more: ''}", &settings);
    assert_string_equal(settings.callers, " a.example , spiffe://x/y,");
    assert_string_equal(settings.peer, "users.example");
    assert_string_equal(settings.optional_callers, "");
    config_free(config);
}

static void test_long_and_strange_values_are_shown_cut_and_escaped(void **state)
{
    (void)state;
    refuse("any: \"\\e[2J\\n\u00e9\"", "orders.yaml:1: any: expected an integer, got \"\\x1b[2J\\x0a\u00e9\"");
    char yaml[1024] = "any: ";
    memset(yaml + 5, 'y', 1000);
    yaml[1005] = '\0';
    char expected[256];
    snprintf(expected, sizeof expected, "orders.yaml:1: any: expected an integer, got \"%.64s...\"", yaml + 5);
    refuse(yaml, expected);
}

static void test_values_and_mappings_do_not_stand_for_each_other(void **state)
{
    (void)state;
    refuse("http:\n  listen:\n    port: 1\n", "orders.yaml:2: http.listen: expected host:port, got a mapping");
    refuse("http:\n  listen: [a, b]\n", "orders.yaml:2: http.listen: expected host:port, got a list");
    refuse("http: 8080\n", "orders.yaml:1: http: expected a mapping, got \"8080\"");
    refuse("\nhttp: []\n", "orders.yaml:2: http: expected a mapping, got a list");
    refuse("- http\n", "orders.yaml:1: expected a mapping of settings");
    refuse("hello\n", "orders.yaml:1: expected a mapping of settings");
    refuse("? [a]\n: b\n", "orders.yaml:1: expected a key");
    refuse("database: {url_file: {}}", "orders.yaml:1: database.url_file: expected a text, got a mapping");
    refuse("database: {url_file: }", "orders.yaml:1: database.url_file: expected a text, got nothing");
}

static void test_unknown_keys_name_the_nearest_known_one(void **state)
{
    (void)state;
    refuse("\nhtp:\n  listen: :80\n", "orders.yaml:2: unknown key \"htp.listen\", did you mean \"http.listen\"?");
    refuse("http:\n  lisen: :80\n", "orders.yaml:2: unknown key \"http.lisen\", did you mean \"http.listen\"?");
    refuse("database: {url_fil: x}",
           "orders.yaml:1: unknown key \"database.url_fil\", did you mean \"database.url_file\"?");
    refuse("http: {listen_file: x}", "orders.yaml:1: unknown key \"http.listen_file\"");
    refuse("completely: different", "orders.yaml:1: unknown key \"completely\"");
    refuse("foo: {}", "orders.yaml:1: unknown key \"foo\"");
    refuse("foo: [1]", "orders.yaml:1: unknown key \"foo\"");
    refuse("<<: {any: 1}", "orders.yaml:1: unknown key \"<<.any\"");
    refuse("a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}", "orders.yaml:1: unknown key \"a.b.c.d.e.f.g.h\"");
    char yaml[600];
    memset(yaml, 'k', 590);
    strcpy(yaml + 590, ": 1");
    refuse(yaml, "orders.yaml:1: this key is none of ours");
}

static void test_duplicate_keys_are_refused(void **state)
{
    (void)state;
    refuse("any: 1\ntitle: a\nany: 2\n", "orders.yaml:3: duplicate key \"any\", it is on line 1 too");
    refuse("http: {}\nany: 1\nhttp: {}\n", "orders.yaml:3: duplicate key \"http\", it is on line 1 too");
}

static void test_what_yaml_can_do_beyond_settings_is_refused(void **state)
{
    (void)state;
    refuse("title: &a x\n", "orders.yaml:1: anchors and aliases are not supported");
    refuse("title: x\nany: *a\n", "orders.yaml:2: anchors and aliases are not supported");
    refuse("a: &a [x, x]\nb: &b [*a, *a]\n", "orders.yaml:1: anchors and aliases are not supported");
    refuse("title: !!str 5\n", "orders.yaml:1: tags are not supported");
    refuse("any: 1\n---\nany: 2\n", "orders.yaml:2: a second document");
}

static void test_syntax_errors_have_a_line(void **state)
{
    (void)state;
    struct sample sample;
    struct config *config;
    const char *yaml = "http:\n  listen: :80\n bad\nany: 1\n";
    assert_int_equal(load_bytes(&config, yaml, strlen(yaml), &sample), ERR_INVALID_ARGUMENT);
    assert_memory_equal(message, "orders.yaml:", 12);
    assert_true(atoi(message + 12) >= 3);
    refuse("any: 1\nhttp: {\n", "orders.yaml:3: did not find expected node content, while parsing a flow node");
    refuse("title: \"open\n", "orders.yaml:2: found unexpected end of stream, while scanning a quoted scalar");
}

static void test_only_utf8_is_read(void **state)
{
    (void)state;
    refuse("any: 1\ntitle: \xe9t\xe9\n", "orders.yaml:2: invalid trailing UTF-8 octet");
    refuse_bytes("\xff\xfe\x61\x00", 4, "orders.yaml:1: invalid leading UTF-8 octet");
    refuse_bytes("any: 1\n\0", 8, "orders.yaml:2: control characters are not allowed");
    setenv("T_TITLE", "\xc3(", 1);
    refuse("", "environment variable T_TITLE: expected a text, got \"\\xc3(\"");
}

static void test_what_is_no_readable_file_is_told(void **state)
{
    (void)state;
    struct sample sample = {0};
    struct config *config;
    assert_int_equal(config_load(&config, "/no/such.yaml", table, COUNT, &sample, message, sizeof message),
                     ERR_INVALID_ARGUMENT);
    assert_string_equal(message, "/no/such.yaml: cannot be read: No such file or directory");
    assert_int_equal(config_load(&config, "/tmp", table, COUNT, &sample, message, sizeof message),
                     ERR_INVALID_ARGUMENT);
    assert_string_equal(message, "/tmp: cannot be read: it is a directory");
    assert_int_equal(config_load(&config, "/dev/zero", table, COUNT, &sample, message, sizeof message),
                     ERR_INVALID_ARGUMENT);
    assert_string_equal(message, "/dev/zero: cannot be read: it is not a regular file");
}

static void test_file_beyond_one_mebibyte_is_refused(void **state)
{
    (void)state;
    size_t bytes = 1 << 20;
    char *yaml = mem_alloc(bytes + 2);
    memset(yaml, '#', bytes + 1);
    refuse_bytes(yaml, bytes + 1, "orders.yaml: cannot be read: larger than 1048576 bytes");
    struct sample sample;
    struct config *config;
    assert_int_equal(load_bytes(&config, yaml, bytes, &sample), ERR_OK);
    config_free(config);
    free(yaml);
}

static void test_deep_nesting_ends_at_once(void **state)
{
    (void)state;
    size_t bytes = 1 << 20;
    char *yaml = mem_alloc(bytes);
    memset(yaml, '[', bytes);
    refuse_bytes(yaml, bytes, "orders.yaml:1: expected a mapping of settings");
    memset(yaml, '{', bytes);
    refuse_bytes(yaml, bytes, "orders.yaml:1: expected a key");
    free(yaml);
}

/* --- what is wrong elsewhere */

static void test_wrong_variable_is_named(void **state)
{
    (void)state;
    setenv("T_HTTP_LISTEN", "x", 1);
    refuse("", "environment variable T_HTTP_LISTEN: expected host:port, got \"x\"");
    unsetenv("T_HTTP_LISTEN");
    setenv("T_BODY", "12 ", 1);
    refuse("", "environment variable T_BODY: expected an integer from 1024 to 16777216, got \"12 \"");
}

static void test_missing_setting_is_named_with_its_variable(void **state)
{
    (void)state;
    unsetenv("T_DATABASE_URL");
    refuse("any: 1", "orders.yaml: database.url: must be set (or environment variable T_DATABASE_URL)");
    refuse("database: {url: ''}", "orders.yaml: database.url: must be set (or environment variable T_DATABASE_URL)");
    struct sample sample = {0};
    struct config *config;
    assert_int_equal(config_load(&config, NULL, table, COUNT, &sample, message, sizeof message), ERR_INVALID_ARGUMENT);
    assert_string_equal(message, "database.url: must be set (or environment variable T_DATABASE_URL)");
    const struct setting lonely = {"key", SETTING_TEXT, 0, NULL, NULL};
    assert_int_equal(config_load(&config, NULL, &lonely, 1, &sample, message, sizeof message), ERR_INVALID_ARGUMENT);
    assert_string_equal(message, "key: must be set");
}

static void test_wrong_built_in_value_is_our_own_mistake_and_told(void **state)
{
    (void)state;
    int number;
    struct config *config;
    const struct setting bad = {"key", SETTING_INT, 0, "many", NULL};
    assert_int_equal(config_load(&config, NULL, &bad, 1, &number, message, sizeof message), ERR_INVALID_ARGUMENT);
    assert_string_equal(message, "built-in value of key: expected an integer, got \"many\"");
}

/* --- secrets */

static void test_secret_comes_from_a_file_less_one_newline(void **state)
{
    (void)state;
    struct sample s;
    unsetenv("T_DATABASE_URL");
    write_file("secret", "s3cret\r\n", 8);
    struct config *config = load("database: {url_file: secret}", &s);
    assert_string_equal(s.url, "s3cret");
    config_free(config);
    write_file("secret", "s3cret\n\n", 8);
    config = load("database: {url: '', url_file: secret}", &s);
    assert_string_equal(s.url, "s3cret\n");
    config_free(config);
    setenv("T_DATABASE_URL_FILE", secret_path, 1);
    config = load("database: {url: other}", &s);
    assert_string_equal(s.url, "s3cret\n");
    config_free(config);
}

static void test_a_secrets_file_is_known_and_can_be_read_again(void **state)
{
    (void)state;
    struct sample s;
    char reason[128] = "";
    write_file("secret", "first\n", 6);
    struct config *config = load("auth: {token_file: secret}", &s);
    assert_string_equal(s.token, "first");
    assert_string_equal(s.token_file, "secret");
    write_file("secret", "second\n", 7);
    char *again = config_secret(s.token_file, reason, sizeof reason);
    assert_string_equal(again, "second");
    config_forget(again);
    write_file("secret", "\n", 1);
    assert_null(config_secret(s.token_file, reason, sizeof reason));
    assert_string_equal(reason, "\"secret\" is empty");
    config_free(config);
    config = load("auth: {token: direct}", &s);
    assert_string_equal(s.token, "direct");
    assert_null(s.token_file);
    config_free(config);
}

static void test_secret_is_said_in_one_way_only(void **state)
{
    (void)state;
    setenv("T_DATABASE_URL_FILE", "secret", 1);
    refuse("", "environment variable T_DATABASE_URL_FILE: T_DATABASE_URL is set too; expected one of them");
    unsetenv("T_DATABASE_URL_FILE");
    unsetenv("T_DATABASE_URL");
    refuse("database:\n  url: a\n  url_file: b\n",
           "orders.yaml:3: database.url_file: database.url is set too, on line 2; expected one of them");
}

static void test_unusable_secret_file_is_told(void **state)
{
    (void)state;
    unsetenv("T_DATABASE_URL");
    refuse("database: {url_file: /no/such}",
           "orders.yaml:1: database.url_file: \"/no/such\" cannot be read: No such file or directory");
    write_file("secret", "\n", 1);
    refuse("database: {url_file: secret}", "orders.yaml:1: database.url_file: \"secret\" is empty");
    write_file("secret", "a\0b", 3);
    refuse("database: {url_file: secret}",
           "orders.yaml:1: database.url_file: expected a text in \"secret\", got something else");
    setenv("T_DATABASE_URL_FILE", "/no/such", 1);
    refuse("", "environment variable T_DATABASE_URL_FILE: \"/no/such\" cannot be read: No such file or directory");
}

static void test_secret_is_never_shown(void **state)
{
    (void)state;
    refuse("database: {url: \"s3cret\\0\"}", "orders.yaml:1: database.url: expected a text, got something else");
    setenv("T_DATABASE_URL", "s3cret\xff", 1);
    refuse("", "environment variable T_DATABASE_URL: expected a text, got something else");
}

/* --- printing and the path */

static void test_printed_settings_load_as_the_built_in_ones(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    config_print(table, COUNT, file);
    fclose(file);
    struct sample sample;
    struct config *config = load(text, &sample);
    assert_built_in(&sample);
    config_free(config);
    assert_non_null(strstr(text, "http:\n"));
    assert_non_null(strstr(text, "  deep:\n    # (true or false; environment variable T_GZIP)\n    gzip: true\n"));
    assert_non_null(strstr(text, "  second_listen: \"\"\n"));
    assert_non_null(strstr(text, "  # bytes (an integer from 1024 to 16777216; environment variable T_BODY)\n"
                                 "  body_bytes_max: 65536\n"));
    assert_non_null(strstr(text, "  # where the database is (a text; or url_file: a file that holds it; environment "
                                 "variable T_DATABASE_URL or T_DATABASE_URL_FILE; must be set)\n  # url: \"\"\n"));
    assert_null(strstr(strstr(text, "http:\n") + 1, "\nhttp:\n"));
    free(text);
}

static void test_path_comes_from_the_variable_first(void **state)
{
    (void)state;
    char buffer[64];
    setenv("T_CONFIG", "somewhere.yaml", 1);
    assert_string_equal(config_path("T_CONFIG", "orders", buffer, sizeof buffer), "somewhere.yaml");
    setenv("T_CONFIG", "", 1);
    assert_null(config_path("T_CONFIG", "no-such-service", buffer, sizeof buffer));
    assert_string_equal(config_path("T_CONFIG", "../../dev/null/../zero", buffer, 8) ? "" : "none", "none");
}

/* --- whatever bytes */

static void test_any_bytes_give_settings_or_a_message(void **state)
{
    (void)state;
    static const char seed[] =
        "http:\n  listen: \":80\"\n  deep: {gzip: 'false'}\nlog: {level: off}\ntitle: |\n  a\nany: 7\n";
    static const char bytes[] = ":{}[]#&*!|>'\"%@`,?- \n\t\\~x0\xc3\xa9\xff";
    unsigned random = 12345;
    for (unsigned round = 0; round < 2000; round++) {
        char yaml[sizeof seed];
        memcpy(yaml, seed, sizeof seed);
        for (unsigned i = 0; i < 1 + round % 6; i++) {
            random = random * 1103515245 + 12345;
            yaml[(random >> 8) % (sizeof seed - 1)] = bytes[(random >> 20) % (sizeof bytes - 1)];
        }
        struct sample sample;
        struct config *config = NULL;
        enum err err = load_bytes(&config, yaml, sizeof seed - 1, &sample);
        assert_true(err == ERR_OK ? config != NULL : err == ERR_INVALID_ARGUMENT && message[0]);
        config_free(config);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_but_the_environment_is_enough),
        TEST(test_empty_files_leave_the_built_in_values),
        TEST(test_file_sets_every_type),
        TEST(test_environment_beats_the_file),
        TEST(test_empty_variable_counts_as_unset),
        TEST(test_dotted_key_is_the_same_key),
        TEST(test_table_without_settings_loads),
        TEST(test_wrong_values_are_told_with_line_key_and_expectation),
        TEST(test_addresses_have_a_host_and_a_port),
        TEST(test_a_list_of_names_has_names),
        TEST(test_long_and_strange_values_are_shown_cut_and_escaped),
        TEST(test_values_and_mappings_do_not_stand_for_each_other),
        TEST(test_unknown_keys_name_the_nearest_known_one),
        TEST(test_duplicate_keys_are_refused),
        TEST(test_what_yaml_can_do_beyond_settings_is_refused),
        TEST(test_syntax_errors_have_a_line),
        TEST(test_only_utf8_is_read),
        TEST(test_what_is_no_readable_file_is_told),
        TEST(test_file_beyond_one_mebibyte_is_refused),
        TEST(test_deep_nesting_ends_at_once),
        TEST(test_wrong_variable_is_named),
        TEST(test_missing_setting_is_named_with_its_variable),
        TEST(test_wrong_built_in_value_is_our_own_mistake_and_told),
        TEST(test_secret_comes_from_a_file_less_one_newline),
        TEST(test_a_secrets_file_is_known_and_can_be_read_again),
        TEST(test_secret_is_said_in_one_way_only),
        TEST(test_unusable_secret_file_is_told),
        TEST(test_secret_is_never_shown),
        TEST(test_printed_settings_load_as_the_built_in_ones),
        TEST(test_path_comes_from_the_variable_first),
        TEST(test_any_bytes_give_settings_or_a_message),
    };
    return cmocka_run_group_tests_name("config", tests, enter_directory, leave_directory);
}
