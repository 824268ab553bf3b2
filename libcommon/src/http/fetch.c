#include "common/fetch.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "otel/sdk/buffer.h"

struct answer {
    struct request *req;
    const char *wanted;
    struct buffer body;
    const char *value; /* of the wanted header */
};

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
    struct answer *answer = arg;
    size_t bytes = size * count;
    if (bytes > FETCH_BODY_BYTES_MAX - answer->body.size)
        return 0; /* ends the transfer */
    buffer_add(&answer->body, data, bytes);
    return bytes;
}

static size_t take_header(char *line, size_t size, size_t count, void *arg)
{
    struct answer *answer = arg;
    size_t bytes = size * count, name_bytes = answer->wanted ? strlen(answer->wanted) : 0;
    if (name_bytes == 0 || bytes <= name_bytes || strncasecmp(line, answer->wanted, name_bytes) != 0 ||
        line[name_bytes] != ':')
        return bytes;
    const char *begin = line + name_bytes + 1, *end = line + bytes;
    while (begin < end && (*begin == ' ' || *begin == '\t'))
        begin++;
    while (end > begin && (unsigned char)end[-1] <= ' ')
        end--;
    answer->value = arena_text(answer->req->arena, begin, (size_t)(end - begin));
    return bytes;
}

static struct curl_slist *header_list(const struct fetch *call)
{
    struct curl_slist *list = NULL;
    if (call->body)
        list = curl_slist_append(list, "Content-Type: application/json");
    for (const char *const *header = call->headers; header && *header; header++) {
        struct curl_slist *longer = curl_slist_append(list, *header);
        if (!longer)
            abort(); /* out of memory */
        list = longer;
    }
    return list;
}

static CURLcode perform(CURL *easy, const struct fetch *call, struct answer *answer, char *detail)
{
    struct curl_slist *headers = header_list(call);
    curl_easy_setopt(easy, CURLOPT_URL, call->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    if (call->body)
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, answer);
    CURLcode code = curl_easy_perform(easy);
    curl_slist_free_all(headers);
    return code;
}

static enum err read_trouble(struct request *req, CURLcode code, const char *detail)
{
    const char *text = detail[0] ? detail : curl_easy_strerror(code);
    if (code == CURLE_WRITE_ERROR)
        return fail(req, ERR_RESOURCE_EXHAUSTED, "the answer is longer than %d bytes", FETCH_BODY_BYTES_MAX);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return fail(req, ERR_DEADLINE_EXCEEDED, "%s", text);
    return fail(req, ERR_UNAVAILABLE, "%s", text);
}

enum err fetch(struct request *req, const struct fetch *call, struct fetched *out)
{
    char detail[CURL_ERROR_SIZE] = "";
    struct answer answer = {.req = req, .wanted = call->wanted};
    CURL *easy = curl_easy_init();
    if (!easy)
        abort(); /* out of memory */
    CURLcode code = perform(easy, call, &answer, detail);
    enum err err = code == CURLE_OK ? ERR_OK : read_trouble(req, code, detail);
    if (!err) {
        long status = 0;
        const char *text = (const char *)answer.body.data; /* NULL when there is none */
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        *out = (struct fetched){
            .status = (int)status,
            .body = {text ? arena_text(req->arena, text, answer.body.size) : "", answer.body.size},
            .wanted = answer.value,
        };
    }
    buffer_free(&answer.body);
    curl_easy_cleanup(easy);
    return err;
}
