/* OTLP/HTTP with protobuf bodies on libcurl. The multi interface holds the connections between exports, and its wait
 * can be ended from another thread. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/clock.h"
#include "common/mem.h"
#include "otel/export/gzip.h"
#include "otel/export/pem.h"
#include "otel/export/quiet.h"
#include "otel/export/sender.h"
#include "otel/sdk/buffer.h"

enum { RETRY_AFTER_MAX = 64, CONTENT_TYPE_MAX = 64, WAIT_MAX_MS = 60000 };

struct http_sender {
    struct sender sender; /* first */
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    struct gzip *gzip;
    struct buffer joined, packed; /* the request in one piece, and that by gzip */
    uint64_t pem_version;
    /* of the attempt that runs */
    struct buffer body;
    bool body_too_long;
    char retry_after[RETRY_AFTER_MAX], content_type[CONTENT_TYPE_MAX];
    char curl_detail[CURL_ERROR_SIZE];
};

/* --- the answer, as it comes */

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_sender *http = arg;
    size_t bytes = size * count;
    http->body_too_long = bytes > sender_answer_max(&http->sender) - http->body.size;
    if (http->body_too_long)
        return 0; /* ends the transfer */
    buffer_add(&http->body, data, bytes);
    return bytes;
}

static void keep_header(const char *line, size_t bytes, const char *name, char *out, size_t out_bytes)
{
    size_t name_bytes = strlen(name);
    if (bytes <= name_bytes || strncasecmp(line, name, name_bytes) != 0 || line[name_bytes] != ':')
        return;
    const char *begin = line + name_bytes + 1, *end = line + bytes;
    while (begin < end && (*begin == ' ' || *begin == '\t'))
        begin++;
    while (end > begin && (unsigned char)end[-1] <= ' ')
        end--;
    if ((size_t)(end - begin) < out_bytes)
        snprintf(out, out_bytes, "%.*s", (int)(end - begin), begin);
}

static size_t take_header(char *line, size_t size, size_t count, void *arg)
{
    struct http_sender *http = arg;
    keep_header(line, size * count, "retry-after", http->retry_after, sizeof http->retry_after);
    keep_header(line, size * count, "content-type", http->content_type, sizeof http->content_type);
    return size * count;
}

/* --- what it means */

/* error.type has to be static, and few. */
static const char *status_text(long status)
{
    static const struct {
        long status;
        const char *text;
    } known[] = {
        {300, "300"}, {301, "301"}, {302, "302"}, {303, "303"}, {304, "304"}, {307, "307"}, {308, "308"}, {400, "400"},
        {401, "401"}, {402, "402"}, {403, "403"}, {404, "404"}, {405, "405"}, {406, "406"}, {407, "407"}, {408, "408"},
        {409, "409"}, {410, "410"}, {411, "411"}, {412, "412"}, {413, "413"}, {414, "414"}, {415, "415"}, {417, "417"},
        {421, "421"}, {422, "422"}, {425, "425"}, {426, "426"}, {428, "428"}, {429, "429"}, {431, "431"}, {451, "451"},
        {500, "500"}, {501, "501"}, {502, "502"}, {503, "503"}, {504, "504"}, {505, "505"}, {507, "507"}, {511, "511"},
    };
    for (size_t i = 0; i < array_count(known); i++)
        if (known[i].status == status)
            return known[i].text;
    return "_OTHER";
}

static bool is_repeatable(long status)
{
    return status == 429 || status == 502 || status == 503 || status == 504;
}

static bool is_protobuf(const struct http_sender *http)
{
    static const char type[] = "application/x-protobuf";
    return strncasecmp(http->content_type, type, sizeof type - 1) == 0;
}

static struct attempt read_failure(const struct http_sender *http, long status)
{
    struct attempt attempt = {.error = status_text(status), .delay_ns = NO_DELAY};
    struct status_answer told;
    if (is_protobuf(http) && status_answer_read(http->body.data, http->body.size, &told) && told.message[0])
        memcpy(attempt.detail, told.message, sizeof attempt.detail);
    else
        snprintf(attempt.detail, sizeof attempt.detail, "HTTP status %ld", status);
    attempt.outcome = is_repeatable(status) ? ATTEMPT_AGAIN : ATTEMPT_NEVER;
    if (http->retry_after[0])
        attempt.delay_ns = retry_after_read(http->retry_after, clock_wall_ns());
    return attempt;
}

static struct attempt read_success(const struct http_sender *http)
{
    struct attempt attempt = {.outcome = ATTEMPT_DONE};
    if (http->body_too_long)
        attempt.odd = "longer than the limit";
    else if (http->body.size == 0)
        return attempt; /* an empty message: all of it was taken */
    else if (!is_protobuf(http))
        attempt.odd = "not of type application/x-protobuf: is the endpoint an OTLP receiver?";
    else if (!export_answer_read(http->body.data, http->body.size, &attempt.answer))
        attempt.odd = "no protobuf message of the expected kind";
    return attempt;
}

/* Whatever keeps the request from getting there, or the answer from coming back, may pass. What is left are mistakes of
 * the settings. */
static struct attempt read_trouble(const struct http_sender *http, CURLcode code)
{
    static const struct {
        CURLcode code;
        const char *error;
        bool passes;
    } known[] = {
        {CURLE_COULDNT_RESOLVE_PROXY, "name_resolution", true},
        {CURLE_COULDNT_RESOLVE_HOST, "name_resolution", true},
        {CURLE_COULDNT_CONNECT, "connection", true},
        {CURLE_OPERATION_TIMEDOUT, "timeout", true},
        {CURLE_SEND_ERROR, "connection", true},
        {CURLE_RECV_ERROR, "connection", true},
        {CURLE_GOT_NOTHING, "connection", true},
        {CURLE_PARTIAL_FILE, "connection", true},
        {CURLE_SSL_CONNECT_ERROR, "tls", true},
        {CURLE_PEER_FAILED_VERIFICATION, "tls", true},
        {CURLE_PROXY, "proxy", true},
        {CURLE_SSL_CERTPROBLEM, "tls", false},
        {CURLE_SSL_CACERT_BADFILE, "tls", false},
    };
    struct attempt attempt = {.outcome = ATTEMPT_NEVER, .error = "_OTHER", .delay_ns = NO_DELAY};
    for (size_t i = 0; i < array_count(known); i++) {
        if (known[i].code != code)
            continue;
        attempt.error = known[i].error;
        attempt.outcome = known[i].passes ? ATTEMPT_AGAIN : ATTEMPT_NEVER;
    }
    const char *detail = http->curl_detail[0] ? http->curl_detail : curl_easy_strerror(code);
    snprintf(attempt.detail, sizeof attempt.detail, "%s", detail);
    return attempt;
}

static struct attempt read_result(const struct http_sender *http, CURLcode code)
{
    long status = 0;
    curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK && !(http->body_too_long && status >= 200))
        return read_trouble(http, code);
    return status >= 200 && status < 300 ? read_success(http) : read_failure(http, status);
}

/* --- one request */

static bool is_finished(struct http_sender *http, CURLcode *out)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(http->multi, &left));) {
        if (message->msg != CURLMSG_DONE)
            continue;
        *out = message->data.result;
        return true;
    }
    return false;
}

static int wait_ms(int64_t left_ns)
{
    int64_t ms = left_ns / NS_PER_MS + 1;
    return ms < WAIT_MAX_MS ? (int)ms : WAIT_MAX_MS;
}

static CURLcode transfer(struct http_sender *http, int64_t deadline_ns)
{
    for (;;) {
        int running;
        CURLcode code;
        if (curl_multi_perform(http->multi, &running) != CURLM_OK)
            return CURLE_RECV_ERROR;
        if (is_finished(http, &code))
            return code;
        int64_t left_ns = patience_limit(&http->sender.patience, deadline_ns) - clock_now_ns();
        if (left_ns <= 0)
            return CURLE_OPERATION_TIMEDOUT;
        curl_multi_poll(http->multi, NULL, 0, wait_ms(left_ns), NULL);
    }
}

static struct attempt attempt(struct sender *sender, int64_t deadline_ns)
{
    struct http_sender *http = (struct http_sender *)sender;
    buffer_reset(&http->body);
    http->body_too_long = false;
    http->retry_after[0] = http->content_type[0] = http->curl_detail[0] = '\0';
    struct quiet quiet;
    quiet_begin(&quiet);
    CURLcode code = CURLE_FAILED_INIT;
    if (curl_multi_add_handle(http->multi, http->easy) == CURLM_OK) {
        code = transfer(http, deadline_ns);
        curl_multi_remove_handle(http->multi, http->easy);
    }
    quiet_end(&quiet);
    return read_result(http, code);
}

static void wake(struct sender *sender)
{
    curl_multi_wakeup(((struct http_sender *)sender)->multi);
}

/* Certificates are replaced while the process lives: a new connection pushes out the one that was made with the old
 * ones, for only one is kept. */
static void follow_files(struct http_sender *http)
{
    uint64_t version = pem_files_version(&http->sender.settings->tls);
    if (!http->sender.endpoint.secure || version == http->pem_version)
        return;
    http->pem_version = version;
    curl_easy_setopt(http->easy, CURLOPT_FRESH_CONNECT, 1L);
}

static void load(struct sender *sender)
{
    struct http_sender *http = (struct http_sender *)sender;
    struct otlp_message body = otlp_join(&sender->body->request, &http->joined);
    curl_easy_setopt(http->easy, CURLOPT_FRESH_CONNECT, 0L);
    follow_files(http);
    if (http->gzip) {
        gzip_pack(http->gzip, body.data, body.size, &http->packed);
        body = (struct otlp_message){http->packed.data, http->packed.size};
    }
    curl_easy_setopt(http->easy, CURLOPT_POSTFIELDS, body.data);
    curl_easy_setopt(http->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.size);
}

/* --- life */

static bool is_token(const char *name)
{
    static const char others[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return *name && name[strspn(name, others)] == '\0';
}

static bool is_field_value(const char *value)
{
    for (; *value; value++)
        if (((unsigned char)*value < ' ' && *value != '\t') || *value == 0x7f)
            return false;
    return true;
}

static bool is_own_header(const char *name)
{
    static const char *const own[] = {"content-type", "content-encoding", "content-length", "transfer-encoding",
                                      "connection"};
    for (size_t i = 0; i < array_count(own); i++)
        if (strcasecmp(name, own[i]) == 0)
            return true;
    return false;
}

static void header_add(struct http_sender *http, const char *line)
{
    struct curl_slist *longer = curl_slist_append(http->headers, line);
    if (!longer)
        abort(); /* out of memory */
    http->headers = longer;
}

static bool headers_make(struct http_sender *http, char *message, size_t message_bytes)
{
    const struct exporter_settings *settings = http->sender.settings;
    header_add(http, "Content-Type: application/x-protobuf");
    header_add(http, "Expect:"); /* no 100-continue: it costs a round trip */
    if (settings->gzip)
        header_add(http, "Content-Encoding: gzip");
    for (unsigned i = 0; i < settings->header_count; i++) {
        const char *name = settings->headers[i].name;
        const char *value = settings->headers[i].value ? settings->headers[i].value : "";
        if (!is_token(name) || !is_field_value(value) || is_own_header(name)) {
            snprintf(message, message_bytes, "header %s: not allowed in HTTP, or its value is not", name);
            return false;
        }
        /* To curl, "name;" is a header without a value, and "name:" none at all. */
        char *line = *value ? mem_print("%s: %s", name, value) : mem_print("%s;", name);
        header_add(http, line);
        explicit_bzero(line, strlen(line));
        free(line);
    }
    return true;
}

static bool endpoint_check(struct http_sender *http, char *message, size_t message_bytes)
{
    const struct exporter_settings *settings = http->sender.settings;
    struct pem_files files;
    if (!endpoint_read(settings->endpoint, false, true, &http->sender.endpoint, message, message_bytes))
        return false;
    if (!http->sender.endpoint.secure)
        return true;
    if (!pem_files_read(&settings->tls, &files, message, message_bytes))
        return false;
    http->pem_version = files.version;
    pem_files_free(&files); /* curl reads them itself, for each connection */
    return true;
}

static void easy_tls(CURL *easy, const struct tls_settings *tls)
{
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (tls->ca_file) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca_file);
        curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L); /* it may be replaced */
    }
    if (!tls->cert_file)
        return;
    curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->cert_file);
    curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key_file);
}

static void easy_prepare(struct http_sender *http)
{
    CURL *easy = http->easy;
    curl_easy_setopt(easy, CURLOPT_URL, http->sender.settings->endpoint);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, http->headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, SENDER_USER_AGENT);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* does not wait for a name look-up that was given up */
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)WAIT_MAX_MS);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, http);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, http);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, http->curl_detail);
    if (http->sender.endpoint.secure)
        easy_tls(easy, &http->sender.settings->tls);
}

/* For the life of the process: others may use libcurl too. */
static void curl_begin(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort(); /* out of memory */
}

static void close_http(struct sender *sender)
{
    struct http_sender *http = (struct http_sender *)sender;
    struct quiet quiet;
    quiet_begin(&quiet);
    curl_easy_cleanup(http->easy);
    curl_multi_cleanup(http->multi);
    quiet_end(&quiet);
    curl_slist_free_all(http->headers);
    gzip_free(http->gzip);
    buffer_free(&http->packed);
    buffer_free(&http->joined);
    buffer_free(&http->body);
}

static const struct transport http_transport = {
    .load = load,
    .attempt = attempt,
    .wake = wake,
    .close = close_http,
};

#define METHODS(name)                                                                                                  \
    {                                                                                                                  \
        .type = name, .export = sender_export, .hurry = sender_hurry, .free = sender_free, .takes_encoded = true       \
    }
const struct exporter_methods http_methods[SIGNALS] = {
    [SIGNAL_TRACES] = METHODS("otlp_http_span_exporter"),
    [SIGNAL_METRICS] = METHODS("otlp_http_metric_exporter"),
    [SIGNAL_LOGS] = METHODS("otlp_http_log_exporter"),
};

struct exporter *http_exporter_open(const struct exporter_settings *settings, enum signal signal, char *message,
                                    size_t message_bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, curl_begin);
    struct http_sender *http = mem_alloc(sizeof *http);
    sender_init(&http->sender, &http_methods[signal], &http_transport, settings, signal);
    http->multi = curl_multi_init();
    http->easy = curl_easy_init();
    if (!http->multi || !http->easy)
        abort(); /* out of memory */
    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, 1L);
    if (!endpoint_check(http, message, message_bytes) || !headers_make(http, message, message_bytes)) {
        sender_free(&http->sender.exporter);
        return NULL;
    }
    http->gzip = settings->gzip ? gzip_new() : NULL;
    easy_prepare(http);
    return &http->sender.exporter;
}
