/* The head of a request, checked more strictly than libmicrohttpd does: what two servers in a row could
 * read differently (request smuggling) is refused and the connection closed. libmicrohttpd parses in
 * place, so names and values of a well-formed head lie one after the other in its buffer with a NUL each
 * for CR and LF. Wherever that does not hold, there was a bare LF, a folded line, a NUL or extra spaces. */
#include "http/internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"

struct head_scan {
    struct exchange *exchange;
    const char *next; /* where the next name must begin */
    bool broken, too_many;
};

static bool consists_of(const char *text, size_t length, const char *others)
{
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && (!c || !strchr(others, c)))
            return false;
    }
    return true;
}

static bool is_token(const char *text, size_t length)
{
    return length > 0 && consists_of(text, length, "-!#$%&'*+.^_`|~");
}

static bool has_control(const char *value, size_t length)
{
    bool found = false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)value[i];
        found |= (c < ' ' && c != '\t') || c == 0x7f;
    }
    return found;
}

static const char *without_trailing_space(struct arena *arena, const char *value, size_t *length)
{
    size_t kept = *length;
    while (kept > 0 && (value[kept - 1] == ' ' || value[kept - 1] == '\t'))
        kept--;
    if (kept == *length)
        return value;
    *length = kept;
    return arena_text(arena, value, kept);
}

static enum MHD_Result scan_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_length,
                                   const char *value, size_t value_length)
{
    (void)kind;
    struct head_scan *scan = cls;
    struct exchange *exchange = scan->exchange;
    if (!value || name != scan->next || !is_token(name, name_length) || has_control(value, value_length)) {
        scan->broken = true;
        return MHD_NO;
    }
    if (exchange->header_count == HEADERS_MAX) {
        scan->too_many = true;
        return MHD_NO;
    }
    scan->next = value + value_length + 2;
    value = without_trailing_space(exchange->req.arena, value, &value_length);
    exchange->headers[exchange->header_count++] = (struct header){
        .name = name,
        .value = value,
        .name_length = (uint32_t)name_length,
        .value_length = (uint32_t)value_length,
    };
    return MHD_YES;
}

static const struct header *find(const struct exchange *exchange, const char *name)
{
    size_t length = strlen(name);
    for (unsigned i = 0; i < exchange->header_count; i++) {
        const struct header *header = &exchange->headers[i];
        if (header->name_length == length && strcasecmp(header->name, name) == 0)
            return header;
    }
    return NULL;
}

const char *http_header(const struct request *req, const char *name)
{
    const struct header *header = find(req->transport, name);
    return header ? header->value : NULL;
}

bool http_header_at(const struct request *req, unsigned index, const char **out_name, const char **out_value)
{
    const struct exchange *exchange = req->transport;
    if (index >= exchange->header_count)
        return false;
    *out_name = exchange->headers[index].name;
    *out_value = exchange->headers[index].value;
    return true;
}

static void refuse_and_close(struct exchange *exchange, int status, const char *detail)
{
    exchange_refuse(exchange, status, ERR_INVALID_ARGUMENT, detail);
    exchange->early = true;
}

/* Where it is given twice, nobody knows which one counts. */
static bool is_single(const struct exchange *exchange, const char *name)
{
    size_t length = strlen(name);
    unsigned count = 0;
    for (unsigned i = 0; i < exchange->header_count; i++)
        if (exchange->headers[i].name_length == length && strcasecmp(exchange->headers[i].name, name) == 0)
            count++;
    return count <= 1;
}

static bool host_is_good(const struct exchange *exchange)
{
    const struct header *host = find(exchange, "Host");
    if (!host)
        return !exchange->http_1_1;
    return consists_of(host->value, host->value_length, ".:-_~%!$&'()*+,;=[]");
}

static void check_single(struct exchange *exchange)
{
    static const char *const singles[] = {"Host", "Content-Length", "Transfer-Encoding", "Content-Type",
                                          "Idempotency-Key"};
    for (size_t i = 0; i < array_count(singles); i++)
        if (!is_single(exchange, singles[i]))
            refuse_and_close(exchange, 400, "A header that may come once comes twice.");
}

/* libmicrohttpd compares what was received, with spaces behind it: what it does not take for chunks, it reads to the
 * end of the connection. */
static bool is_chunked(const struct exchange *exchange)
{
    const char *coding = MHD_lookup_connection_value(exchange->mhd, MHD_HEADER_KIND, "Transfer-Encoding");
    return exchange->http_1_1 && coding && strcasecmp(coding, "chunked") == 0;
}

static void check_framing(struct exchange *exchange)
{
    const struct header *coding = find(exchange, "Transfer-Encoding");
    const struct header *length = find(exchange, "Content-Length");
    exchange->chunked = coding != NULL;
    if (coding && (length || !is_chunked(exchange)))
        refuse_and_close(exchange, 400, "The body's length cannot be told.");
    if (!length)
        return;
    /* libmicrohttpd has refused what is no number. */
    exchange->content_length = strtoull(length->value, NULL, 10);
    if (exchange->content_length > (uint64_t)exchange->server->settings->body_bytes_max)
        refuse_and_close(exchange, 413, "The body is too large.");
}

static void check_expectation(struct exchange *exchange)
{
    const struct header *expect = find(exchange, "Expect");
    if (!expect || !exchange->http_1_1)
        return;
    exchange->expects_continue = strcasecmp(expect->value, "100-continue") == 0;
    if (!exchange->expects_continue)
        refuse_and_close(exchange, 417, "Only 100-continue can be expected.");
}

static void check_size(struct exchange *exchange, size_t head_bytes, bool too_many)
{
    const struct http_settings *settings = exchange->server->settings;
    if (exchange->target_bytes > (size_t)settings->uri_bytes_max)
        refuse_and_close(exchange, 414, "The request target is too long.");
    if (too_many || head_bytes - exchange->target_bytes > (size_t)settings->header_bytes_max)
        refuse_and_close(exchange, 431, "The headers are too large.");
}

bool head_is_type(const struct exchange *exchange, const char *type)
{
    const struct header *given = find(exchange, "Content-Type");
    size_t length = strlen(type);
    if (!given || strncasecmp(given->value, type, length) != 0)
        return false;
    const char *rest = given->value + length;
    return rest[strspn(rest, " \t")] == '\0' || rest[strspn(rest, " \t")] == ';';
}

void head_read(struct exchange *exchange, const char *url, const char *method, const char *version)
{
    size_t method_length = strlen(method);
    struct head_scan scan = {.exchange = exchange, .next = version + strlen(version) + 2};
    bool line_good = is_token(method, method_length) && url == method + method_length + 1 &&
                     version == url + exchange->target_bytes + 1 && !strchr(exchange->target, ' ') &&
                     !has_control(exchange->target, strlen(exchange->target));
    exchange->http_1_1 = strcmp(version, "HTTP/1.0") != 0;
    MHD_get_connection_values_n(exchange->mhd, MHD_HEADER_KIND, scan_header, &scan);
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(exchange->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    size_t head_bytes = size ? size->header_size : 0;
    check_size(exchange, head_bytes, scan.too_many);
    if (!line_good || scan.broken || (!scan.too_many && scan.next + 2 != method + head_bytes))
        refuse_and_close(exchange, 400, "The request's head is malformed.");
    check_single(exchange);
    check_framing(exchange);
    check_expectation(exchange);
    if (!host_is_good(exchange))
        refuse_and_close(exchange, 400, "Host is missing or malformed.");
}
