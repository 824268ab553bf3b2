#include "support/collector.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/mem.h"
#include "support/shop.h"

enum { READY_MS = 10000, CALL_MS = 30000 };

/* --- the process */

static void run_collector(const struct test_collector *collector, const char *program, int out, pid_t parent)
{
    const char *arguments[COLLECTOR_OPTIONS_MAX + 16] = {"otlp-collector", "--grpc", collector->grpc, "--http",
                                                         collector->http,  "--page", collector->page, "--quiet"};
    unsigned count = 8;
    for (unsigned i = 0; collector->options[i]; i++)
        arguments[count++] = collector->options[i];
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || dup2(out, STDOUT_FILENO) < 0)
        _exit(126);
    execv(program, (char *const *)(uintptr_t)arguments);
    _exit(127);
}

/* It says so on stdout when it listens. */
static void await_ready(int fd)
{
    char line[256];
    size_t used = 0;
    while (used == 0 || line[used - 1] != '\n') {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&poll_fd, 1, READY_MS), 1);
        ssize_t count = read(fd, line + used, sizeof line - used);
        assert_true(count > 0);
        used += (size_t)count;
        assert_true(used < sizeof line);
    }
}

void collector_start(struct test_collector *collector)
{
    char program[600];
    int ends[2];
    shop_binary("otlp-collector", program, sizeof program);
    assert_int_equal(pipe(ends), 0);
    pid_t parent = getpid();
    collector->pid = fork();
    assert_true(collector->pid >= 0);
    if (collector->pid == 0)
        run_collector(collector, program, ends[1], parent);
    close(ends[1]);
    await_ready(ends[0]);
    close(ends[0]);
}

void collector_open(struct test_collector *collector, const char *const *options)
{
    *collector = (struct test_collector){
        .grpc_port = test_free_port(),
        .http_port = test_free_port(),
        .page_port = test_free_port(),
    };
    snprintf(collector->grpc, sizeof collector->grpc, "127.0.0.1:%d", collector->grpc_port);
    snprintf(collector->http, sizeof collector->http, "127.0.0.1:%d", collector->http_port);
    snprintf(collector->page, sizeof collector->page, "127.0.0.1:%d", collector->page_port);
    for (unsigned i = 0; options && options[i]; i++) {
        assert_true(i < COLLECTOR_OPTIONS_MAX);
        collector->options[i] = options[i];
    }
    collector_start(collector);
}

static int end_with(struct test_collector *collector, int signal)
{
    int status = 0;
    if (collector->pid == 0)
        return -1;
    kill(collector->pid, signal);
    while (waitpid(collector->pid, &status, 0) < 0 && errno == EINTR)
        ;
    collector->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int collector_stop(struct test_collector *collector)
{
    return end_with(collector, SIGTERM);
}

void collector_kill(struct test_collector *collector)
{
    end_with(collector, SIGKILL);
}

/* Ends it gently, so that a sanitizer can say what it has found. */
void collector_close(struct test_collector *collector)
{
    if (collector->pid > 0)
        assert_int_equal(collector_stop(collector), 0);
}

/* --- talking to it */

struct text {
    char *data;
    size_t size;
};

static size_t keep(char *data, size_t unit, size_t count, void *arg)
{
    struct text *text = arg;
    text->data = mem_resize(text->data, text->size + unit * count + 1, 1);
    memcpy(text->data + text->size, data, unit * count);
    text->size += unit * count;
    text->data[text->size] = '\0';
    return unit * count;
}

int collector_call(struct test_collector *collector, const char *method, const char *path, const char *json,
                   char **out_text)
{
    struct text text = {mem_text(""), 0};
    long status = 0;
    CURL *curl = curl_easy_init();
    scoped_free char *url = mem_print("http://%s%s", collector->page, path);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)CALL_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &text);
    if (json) {
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, json);
    }
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (out_text)
        *out_text = text.data;
    else
        free(text.data);
    return (int)status;
}

/* The JSON of a 200; the answer is printed otherwise. */
static json_t *call_json(struct test_collector *collector, const char *method, const char *path, const char *body)
{
    scoped_free char *text = NULL;
    int status = collector_call(collector, method, path, body, &text);
    if (status != 200)
        print_error("%s %s: %d %s\n", method, path, status, text);
    assert_int_equal(status, 200);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    return json;
}

__attribute__((format(printf, 1, 0))) static char *vprint(const char *format, va_list args)
{
    char *text = NULL;
    assert_true(vasprintf(&text, format, args) >= 0);
    return text;
}

json_t *collector_get(struct test_collector *collector, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    scoped_free char *path = vprint(format, args);
    va_end(args);
    return call_json(collector, "GET", path, NULL);
}

json_t *collector_wait(struct test_collector *collector, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    scoped_free char *query = vprint(format, args);
    va_end(args);
    scoped_free char *path = mem_print("/api/wait?timeout_ms=25000&%s", query);
    return call_json(collector, "GET", path, NULL);
}

long collector_count(struct test_collector *collector, const char *path)
{
    json_t *counts = collector_get(collector, "/counts");
    long count = (long)json_integer_value(collector_at(counts, path));
    json_decref(counts);
    return count;
}

void collector_fault(struct test_collector *collector, const char *json)
{
    json_decref(call_json(collector, "POST", "/faults", json));
}

void collector_clear_faults(struct test_collector *collector)
{
    json_decref(call_json(collector, "DELETE", "/faults", NULL));
}

void collector_wipe(struct test_collector *collector)
{
    json_decref(call_json(collector, "DELETE", "/api/data", NULL));
}

/* --- reading its answers */

json_t *collector_at(json_t *json, const char *path)
{
    while (json && *path) {
        size_t length = strcspn(path, ".");
        scoped_free char *name = mem_print("%.*s", (int)length, path);
        json = json_is_array(json) ? json_array_get(json, (size_t)atol(name)) : json_object_get(json, name);
        path += length + (path[length] == '.');
    }
    return json;
}

static json_t *find(json_t *list, const char *member, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        const char *value = json_string_value(json_object_get(item, member));
        if (value && strcmp(value, text) == 0)
            return item;
    }
    return NULL;
}

json_t *collector_attribute(json_t *holder, const char *key)
{
    return json_object_get(find(json_object_get(holder, "attributes"), "key", key), "value");
}

json_t *collector_named(json_t *list, const char *name)
{
    return find(list, "name", name);
}
