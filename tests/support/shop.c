#include "support/shop.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"

static const char *const names[SHOP_PROCESSES] = {"user-service", "inventory-service", "order-service", "api-gateway",
                                                  "user-service", "inventory-service", "order-service", "api-gateway"};

/* One handle a thread, so that connections are reused; it goes with its thread. */
static pthread_key_t handle_key;
static pthread_once_t handle_once = PTHREAD_ONCE_INIT;

static void make_handle_key(void)
{
    pthread_key_create(&handle_key, curl_easy_cleanup);
}

static CURL *thread_handle(void)
{
    pthread_once(&handle_once, make_handle_key);
    CURL *curl = pthread_getspecific(handle_key);
    if (curl) {
        curl_easy_reset(curl);
        return curl;
    }
    curl = curl_easy_init();
    pthread_setspecific(handle_key, curl);
    return curl;
}

/* --- processes */

void shop_binary(const char *name, char *out, size_t bytes)
{
    char self[512] = "";
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(length > 0);
    char *tests = strstr(self, "/tests/");
    assert_non_null(tests);
    *tests = '\0';
    snprintf(out, bytes, "%s/bin/%s", self, name);
}

static int processes(const struct shop *shop)
{
    return shop->twins ? SHOP_PROCESSES : SHOP_SERVICES;
}

static void set_peer(const struct shop *shop, const char *variable, enum shop_service service)
{
    char text[128];
    snprintf(text, sizeof text, "127.0.0.1:%d", shop->services[service].port);
    if (shop->twins)
        snprintf(text, sizeof text, "ipv4:127.0.0.1:%d,127.0.0.1:%d", shop->services[service].port,
                 shop->services[shop_twin(service)].port);
    setenv(variable, text, 1);
}

static void set_environment(const struct shop *shop, enum shop_service service)
{
    char text[128];
    bool is_gateway = service % SHOP_SERVICES == SHOP_GATEWAY;
    setenv("DATABASE_URL", shop->postgres.url, 1);
    setenv("REDIS_URL", shop->redis.url, 1);
    static const char *const peers[] = {"USER_SERVICE_ADDR", "INVENTORY_SERVICE_ADDR", "ORDER_SERVICE_ADDR"};
    for (int i = SHOP_USER; i <= SHOP_ORDER; i++)
        set_peer(shop, peers[i], i);
    snprintf(text, sizeof text, "127.0.0.1:%d", shop->services[service].port);
    setenv(is_gateway ? "HTTP_LISTEN" : "RPC_LISTEN", text, 1);
    snprintf(text, sizeof text, "127.0.0.1:%d", shop->services[service].admin_port);
    setenv("ADMIN_LISTEN", text, 1);
    /* Unless the test's settings say otherwise. */
    setenv("TLS_MODE", "off", 1);
    setenv("AUTH_MODE", "optional", 1);
    setenv("OTEL_SDK_DISABLED", "true", 1);
    for (const char *const *setting = shop->settings; setting && *setting; setting++)
        putenv((char *)(uintptr_t)*setting);
}

static void log_path(const struct shop *shop, enum shop_service service, char *out, size_t bytes)
{
    snprintf(out, bytes, "%s/%s%s.log", shop->directory, names[service], service < SHOP_SERVICES ? "" : "-twin");
}

static void file_path(const struct shop *shop, enum shop_service service, char *out, size_t bytes)
{
    snprintf(out, bytes, "%s/%s.yaml", shop->directory, names[service]);
}

void shop_start(struct shop *shop, enum shop_service service)
{
    char path[600], log[400], config[400], program[64];
    snprintf(program, sizeof program, "%s%s", shop->failpoints ? "../failpoints/bin/" : "", names[service]);
    shop_binary(program, path, sizeof path);
    log_path(shop, service, log, sizeof log);
    pid_t parent = getpid();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        /* As PostgreSQL's processes have: where the kernel shares the processor among sessions, each gets as much as in
         * a container of its own, and not all services together as much as one of those. */
        setsid();
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        set_environment(shop, service);
        file_path(shop, service, config, sizeof config);
        if (access(config, R_OK) == 0)
            setenv("BODEGA_CONFIG_FILE", config, 1);
        execl(path, names[service], (char *)NULL);
        perror(path);
        _exit(127);
    }
    shop->services[service].pid = pid;
}

int shop_await_exit(struct shop *shop, enum shop_service service)
{
    int status = 0;
    pid_t pid = shop->services[service].pid;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    shop->services[service].pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int end_service(struct shop *shop, enum shop_service service, int signal)
{
    if (shop->services[service].pid == 0)
        return -1;
    kill(shop->services[service].pid, signal);
    return shop_await_exit(shop, service);
}

void shop_kill(struct shop *shop, enum shop_service service)
{
    end_service(shop, service, SIGKILL);
}

int shop_stop(struct shop *shop, enum shop_service service)
{
    return end_service(shop, service, SIGTERM);
}

char *shop_log(struct shop *shop, enum shop_service service)
{
    char path[400];
    log_path(shop, service, path, sizeof path);
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t room = 0;
    if (!file || getdelim(&text, &room, '\0', file) < 0) {
        free(text);
        text = mem_text("");
    }
    if (file)
        fclose(file);
    return text;
}

static void print_logs(struct shop *shop)
{
    for (int i = 0; i < processes(shop); i++) {
        scoped_free char *log = shop_log(shop, i);
        size_t length = strlen(log);
        fprintf(stderr, "--- %s\n%s\n", names[i], log + (length > 4000 ? length - 4000 : 0));
    }
}

static void wait_ready(struct shop *shop, const char *base_url)
{
    int64_t give_up_ns = clock_now_ns() + 60 * NS_PER_S;
    for (;;) {
        struct answer answer;
        http_call_at(base_url, "GET", "/ready", NULL, NULL, &answer);
        int status = answer.status;
        answer_done(&answer);
        if (status == 200)
            return;
        if (clock_now_ns() > give_up_ns) {
            print_logs(shop);
            assert_int_equal(status, 200);
        }
        poll(NULL, 0, 10);
    }
}

static bool shop_serves(struct shop *shop, enum shop_service service)
{
    char url[64];
    struct answer answer;
    snprintf(url, sizeof url, "http://127.0.0.1:%d", shop->services[service].admin_port);
    http_call_at(url, "GET", "/readyz", NULL, NULL, &answer);
    answer_done(&answer);
    return answer.status == 200;
}

void shop_await(struct shop *shop, enum shop_service service)
{
    int64_t give_up_ns = clock_now_ns() + 60 * NS_PER_S;
    while (!shop_serves(shop, service)) {
        assert_true(clock_now_ns() < give_up_ns);
        poll(NULL, 0, 10);
    }
}

void shop_wait_ready(struct shop *shop)
{
    wait_ready(shop, shop->base_url);
    if (shop->twins)
        wait_ready(shop, shop->twin_url);
}

static void write_files(const struct shop *shop)
{
    char path[400];
    for (int i = 0; i < SHOP_SERVICES; i++) {
        if (!shop->files[i])
            continue;
        file_path(shop, i, path, sizeof path);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(shop->files[i], file);
        fclose(file);
    }
}

void shop_set_failpoints(struct shop *shop, enum shop_service service, const char *text)
{
    char url[64];
    struct answer answer;
    snprintf(url, sizeof url, "http://127.0.0.1:%d", shop->services[service].admin_port);
    http_call_at(url, "PUT", "/failpoints", text, (const char *[]){"Content-Type: text/plain", NULL}, &answer);
    assert_int_equal(answer.status, 200);
    answer_done(&answer);
}

void shop_open(struct shop *shop)
{
    struct shop wanted = *shop;
    *shop = (struct shop){.settings = wanted.settings,
                          .certificates = wanted.certificates,
                          .prepare = wanted.prepare,
                          .twins = wanted.twins,
                          .failpoints = wanted.failpoints};
    memcpy(shop->files, wanted.files, sizeof shop->files);
    curl_global_init(CURL_GLOBAL_ALL);
    test_postgres_open_with(&shop->postgres, shop->postgres_options);
    test_redis_open_secure(&shop->redis, shop->certificates);
    const char *tmp = getenv("TMPDIR");
    snprintf(shop->directory, sizeof shop->directory, "%s/bodega-shop-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(shop->directory));
    for (int i = 0; i < processes(shop); i++)
        shop->services[i] =
            (struct shop_process){.name = names[i], .port = test_free_port(), .admin_port = test_free_port()};
    snprintf(shop->base_url, sizeof shop->base_url, "http://127.0.0.1:%d", shop->services[SHOP_GATEWAY].port);
    snprintf(shop->twin_url, sizeof shop->twin_url, "http://127.0.0.1:%d",
             shop->services[shop_twin(SHOP_GATEWAY)].port);
    write_files(shop);
    if (shop->prepare)
        shop->prepare(shop);
    for (int i = 0; i < processes(shop); i++)
        shop_start(shop, i);
    shop_wait_ready(shop);
    for (int i = SHOP_SERVICES; i < processes(shop); i++)
        shop_await(shop, i);
}

/* For whoever reads a failed test's output. */
static void print_warnings(struct shop *shop)
{
    for (int i = 0; i < processes(shop); i++) {
        scoped_free char *log = shop_log(shop, i);
        for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n"))
            if (strstr(line, "\"level\":\"warn\"") || strstr(line, "\"level\":\"error\"") || *line != '{')
                fprintf(stderr, "%s\n", line);
    }
}

void shop_close(struct shop *shop)
{
    print_warnings(shop);
    for (int i = processes(shop); i-- > 0;) {
        int status = shop_stop(shop, i);
        if (status > 0) {
            print_logs(shop);
            assert_int_equal(status, 0);
        }
    }
    test_redis_close(&shop->redis);
    test_postgres_close(&shop->postgres);
    for (int i = 0; i < processes(shop); i++) {
        char path[400];
        log_path(shop, i, path, sizeof path);
        unlink(path);
        file_path(shop, i, path, sizeof path);
        unlink(path);
    }
    rmdir(shop->directory);
    curl_easy_cleanup(thread_handle()); /* the main thread's key has no end of its own */
    pthread_setspecific(handle_key, NULL);
    curl_global_cleanup();
}

/* --- the database */

__attribute__((format(printf, 2, 0))) static char *query(struct shop *shop, const char *format, va_list args)
{
    char *sql = NULL;
    assert_true(vasprintf(&sql, format, args) > 0);
    PGconn *connection = PQconnectdb(shop->postgres.url);
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        fprintf(stderr, "%s: %s\n", sql, PQerrorMessage(connection));
    assert_true(status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK);
    char *value = mem_text(PQntuples(result) > 0 && PQnfields(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(connection);
    free(sql);
    return value;
}

char *shop_sql(struct shop *shop, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *value = query(shop, format, args);
    va_end(args);
    return value;
}

long shop_sql_number(struct shop *shop, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    scoped_free char *value = query(shop, format, args);
    va_end(args);
    return strtol(value, NULL, 10);
}

void shop_add_product(struct shop *shop, const char *product_id, int quantity)
{
    scoped_free char *done = shop_sql(shop,
                                      "insert into inventory (product_id, quantity) values ('%s', %d)"
                                      " on conflict (product_id) do update set quantity = excluded.quantity",
                                      product_id, quantity);
    (void)done;
}

char *shop_add_user(struct shop *shop)
{
    static unsigned number;
    char body[128];
    struct answer answer;
    snprintf(body, sizeof body, "{\"email\":\"user-%d-%u@example.com\",\"name\":\"A User\"}", (int)getpid(), ++number);
    http_call(shop, "POST", "/api/users", body, NULL, &answer);
    assert_answer(&answer, 200);
    char *id = mem_text(answer_text(&answer, "id"));
    answer_done(&answer);
    return id;
}

/* --- HTTP */

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
    struct answer *answer = arg;
    size_t bytes = size * count;
    answer->body = mem_resize(answer->body, answer->body_bytes + bytes + 1, 1);
    memcpy(answer->body + answer->body_bytes, data, bytes);
    answer->body_bytes += bytes;
    answer->body[answer->body_bytes] = '\0';
    return bytes;
}

static size_t take_header(char *data, size_t size, size_t count, void *arg)
{
    struct answer *answer = arg;
    size_t bytes = size * count, used = strlen(answer->headers);
    if (strncmp(data, "HTTP/", 5) == 0)
        answer->headers[used = 0] = '\0'; /* after 100 Continue the real one begins */
    bool in_name = true;
    for (size_t i = 0; i < bytes && used + 1 < sizeof answer->headers; i++) {
        in_name = in_name && data[i] != ':';
        answer->headers[used++] = in_name ? (char)tolower((unsigned char)data[i]) : data[i];
    }
    answer->headers[used] = '\0';
    return bytes;
}

static struct curl_slist *header_list(const char *const *headers, bool body)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    bool typed = false;
    for (; headers && *headers; headers++) {
        list = curl_slist_append(list, *headers);
        typed |= strncasecmp(*headers, "content-type:", 13) == 0;
    }
    if (!typed)
        list = curl_slist_append(list, body ? "Content-Type: application/json" : "Content-Type:");
    return list;
}

void http_call_at(const char *base_url, const char *method, const char *path, const char *body,
                  const char *const *headers, struct answer *out)
{
    char url[16384];
    CURL *curl = thread_handle();
    *out = (struct answer){0};
    snprintf(url, sizeof url, "%s%s", base_url, path);
    struct curl_slist *list = header_list(headers, body != NULL);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, out);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 30000L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    }
    long status = 0;
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    out->status = (int)status;
    if (out->body)
        out->json = json_loadb(out->body, out->body_bytes, 0, NULL);
    curl_slist_free_all(list);
}

void http_call(struct shop *shop, const char *method, const char *path, const char *body, const char *const *headers,
               struct answer *out)
{
    http_call_at(shop->base_url, method, path, body, headers, out);
}

void answer_done(struct answer *answer)
{
    json_decref(answer->json);
    free(answer->body);
    answer->json = NULL;
    answer->body = NULL;
}

const char *answer_text(const struct answer *answer, const char *member)
{
    const char *text = json_string_value(json_object_get(answer->json, member));
    return text ? text : "";
}

long answer_number(const struct answer *answer, const char *member)
{
    json_t *value = json_object_get(answer->json, member);
    return json_is_integer(value) ? (long)json_integer_value(value) : -1;
}

const char *answer_header(const struct answer *answer, const char *name)
{
    static _Thread_local char value[1024];
    char prefix[128];
    snprintf(prefix, sizeof prefix, "\n%s: ", name);
    const char *at = strstr(answer->headers, prefix);
    if (!at)
        return NULL;
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at + strlen(prefix), "\r\n"), at + strlen(prefix));
    return value;
}

static bool is_problem(const struct answer *answer)
{
    const char *type = answer_header(answer, "content-type");
    return type && strncmp(type, "application/problem+json", 24) == 0 && *answer_text(answer, "title") &&
           answer_number(answer, "status") == answer->status && *answer_text(answer, "type") &&
           *answer_text(answer, "detail") && *answer_text(answer, "instance") &&
           strlen(answer_text(answer, "trace_id")) == 32;
}

void assert_answer(struct answer *answer, int status)
{
    bool ok = answer->status == status && answer_header(answer, "traceresponse") != NULL;
    if (ok && status >= 400 && answer->body_bytes > 0)
        ok = is_problem(answer);
    if (!ok)
        fprintf(stderr, "expected %d, got %d\n%s%s\n", status, answer->status, answer->headers,
                answer->body ? answer->body : "");
    assert_true(ok);
}
