/* What no client should send, to the real gateway: requests that two servers in a row could read differently, broken,
 * cut off, overlong and slow ones. Each is answered or ended as RFC 9112 wants it, what follows on the same connection
 * is never taken for a request, and the gateway goes on serving. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "support/shop.h"

enum { RECEIVE_TIMEOUT_MS = 1000, ANSWERS_MAX = 1 << 17 };

#define HOST    "Host: shop\r\n"
#define JSON    "Content-Type: application/json\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define POST    "POST /api/users HTTP/1.1\r\n" HOST JSON
#define GET     "GET /health HTTP/1.1\r\n" HOST
#define HEALTH  GET "\r\n"

/* Comes behind everything that must end the connection; the user must never exist. */
#define SMUGGLED POST "Content-Length: 45\r\n\r\n{\"email\":\"smuggled@example.com\",\"name\":\"Eve\"}"

static struct shop shop;

static int open_shop(void **state)
{
    char path[300];
    (void)state;
    shop_open(&shop);
    snprintf(path, sizeof path, "%s/api-gateway.yaml", shop.directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "http:\n  receive_timeout_ms: %d\n", RECEIVE_TIMEOUT_MS);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(shop_stop(&shop, SHOP_GATEWAY), 0);
    shop_start(&shop, SHOP_GATEWAY);
    shop_wait_ready(&shop);
    return 0;
}

static int close_shop(void **state)
{
    (void)state;
    shop_close(&shop);
    return 0;
}

/* --- a client that writes what it likes */

static int connect_to_gateway(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)shop.services[SHOP_GATEWAY].port);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void put(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the gateway had enough; its answer tells */
        bytes += sent;
        length -= (size_t)sent;
    }
}

static void put_text(int fd, const char *text)
{
    put(fd, text, strlen(text));
}

/* Everything until the gateway ends the connection; false when it does not, or resets it. */
static bool read_all(int fd, char *out, size_t *out_bytes)
{
    ssize_t got;
    *out_bytes = 0;
    while ((got = recv(fd, out + *out_bytes, ANSWERS_MAX - 1 - *out_bytes, 0)) > 0)
        *out_bytes += (size_t)got;
    out[*out_bytes] = '\0';
    return got == 0;
}

/* The status of the answer at *at, which moves behind it; 0 at the end. It has to be whole. */
static int next_answer(const char **at, const char *end)
{
    int status;
    if (*at == end)
        return 0;
    assert_int_equal(sscanf(*at, "HTTP/1.1 %3d ", &status), 1);
    const char *body = strstr(*at, "\r\n\r\n");
    assert_non_null(body);
    const char *length = strcasestr(*at, "\r\nContent-Length: ");
    body += 4;
    if (length && length < body)
        body += atol(length + strlen("\r\nContent-Length: "));
    assert_true(body <= end);
    *at = body;
    return status;
}

/* Sends it, ends the connection's way there with it when asked to, and expects these answers, then the end. */
static bool talk(const char *bytes, size_t length, bool end, const int *statuses)
{
    static char answers[ANSWERS_MAX];
    size_t got;
    int fd = connect_to_gateway();
    put(fd, bytes, length);
    if (end)
        shutdown(fd, SHUT_WR);
    bool good = read_all(fd, answers, &got);
    close(fd);
    const char *at = answers;
    for (const int *status = statuses;; status++) {
        int found = next_answer(&at, answers + got);
        if (found != *status)
            print_error("expected %d, not %d: %s\n", *status, found, answers);
        good = good && found == *status;
        if (!good || !found)
            return good;
    }
}

static void assert_serving(void)
{
    static const char request[] = GET "Connection: close\r\n\r\n";
    assert_true(talk(request, sizeof request - 1, false, (const int[]){200, 0}));
    assert_int_equal(waitpid(shop.services[SHOP_GATEWAY].pid, NULL, WNOHANG), 0);
}

static void assert_nothing_smuggled(void)
{
    assert_int_equal(shop_sql_number(&shop, "select count(*) from users where email like 'smuggled%%'"), 0);
}

/* --- tables */

struct pattern {
    const char *name;
    const char *bytes;
    size_t length;
    int status; /* 0: ended without an answer */
};

#define PATTERN(name_, status_, bytes_)                                                                                \
    {                                                                                                                  \
        .name = (name_), .bytes = (bytes_), .length = sizeof(bytes_) - 1, .status = (status_)                          \
    }

static char *joined(const struct pattern *pattern, const char *rest, size_t *out_length)
{
    char *bytes = mem_alloc(pattern->length + strlen(rest) + 1);
    memcpy(bytes, pattern->bytes, pattern->length);
    strcpy(bytes + pattern->length, rest);
    *out_length = pattern->length + strlen(rest);
    return bytes;
}

/* One answer, the end of the connection, and what comes behind is not looked at. */
static void assert_refused(const struct pattern *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t length;
        scoped_free char *bytes = joined(&patterns[i], SMUGGLED, &length);
        if (!talk(bytes, length, false, (const int[]){patterns[i].status, 0})) {
            print_error("for %s\n", patterns[i].name);
            assert_true(false);
        }
        assert_serving();
    }
    assert_nothing_smuggled();
}

/* An answer, and the next request on the connection gets its own. */
static void assert_kept(const struct pattern *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t length;
        scoped_free char *bytes = joined(&patterns[i], GET "Connection: close\r\n\r\n", &length);
        if (!talk(bytes, length, false, (const int[]){patterns[i].status, 200, 0})) {
            print_error("for %s\n", patterns[i].name);
            assert_true(false);
        }
    }
}

/* --- how long is the body? */

static void test_two_ways_to_tell_the_length_are_refused(void **state)
{
    static const struct pattern patterns[] = {
        PATTERN("CL.TE", 400, POST "Content-Length: 6\r\n" CHUNKED "\r\n0\r\n\r\nG"),
        PATTERN("TE.CL", 400, POST CHUNKED "Content-Length: 4\r\n\r\n5c\r\n"),
        PATTERN("TE and CL of nothing", 400, POST CHUNKED "Content-Length: 0\r\n\r\n0\r\n\r\n"),
        PATTERN("the same length twice", 400, POST "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
        PATTERN("two lengths", 400, POST "Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}"),
        PATTERN("two lengths in a list", 400, POST "Content-Length: 2, 40\r\n\r\n{}"),
        PATTERN("the same length in a list", 400, POST "Content-Length: 2, 2\r\n\r\n{}"),
        PATTERN("chunked twice", 400, POST CHUNKED CHUNKED "\r\n0\r\n\r\n"),
        PATTERN("chunked twice in a list", 400, POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        PATTERN("chunks in HTTP/1.0", 400, "POST /api/users HTTP/1.0\r\n" HOST JSON CHUNKED "\r\n0\r\n\r\n"),
    };
    (void)state;
    assert_refused(patterns, array_count(patterns));
}

static void test_disguised_transfer_encodings_are_refused(void **state)
{
    static const struct pattern patterns[] = {
        PATTERN("another coding beside", 400, POST CHUNKED "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
        PATTERN("another coding before", 400, POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        PATTERN("chunked is not the last", 400, POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        PATTERN("identity", 400, POST "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}"),
        PATTERN("no coding", 400, POST "Transfer-Encoding:\r\nContent-Length: 2\r\n\r\n{}"),
        PATTERN("a letter before", 400, POST "Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\n{}"),
        PATTERN("a letter behind", 400, POST "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n"),
        PATTERN("a parameter", 400, POST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
        PATTERN("quoted", 400, POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
        PATTERN("a space behind", 400, POST "Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n"),
        PATTERN("a tab behind", 400, POST "Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n"),
        PATTERN("a comma behind", 400, POST "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"),
        PATTERN("a vertical tab before", 400,
                POST "Transfer-Encoding: \x0b"
                     "chunked\r\n\r\n0\r\n\r\n"),
        PATTERN("a NUL behind", 400, POST "Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n"),
        PATTERN("a space before the colon", 400, POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        PATTERN("folded", 400, POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        PATTERN("the colon folded", 400, POST "Transfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n"),
        PATTERN("behind a bare LF", 400, POST "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        PATTERN("behind a bare CR", 400, POST "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        PATTERN("a space in front", 400, POST " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        PATTERN("a NUL in the name", 400, POST "Transfer\0-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    };
    (void)state;
    assert_refused(patterns, array_count(patterns));
}

static void test_lengths_that_are_no_number_are_refused(void **state)
{
    static const struct pattern patterns[] = {
        PATTERN("plus", 400, POST "Content-Length: +2\r\n\r\n{}"),
        PATTERN("minus", 400, POST "Content-Length: -2\r\n\r\n{}"),
        PATTERN("hexadecimal", 400, POST "Content-Length: 0x2\r\n\r\n{}"),
        PATTERN("an exponent", 400, POST "Content-Length: 2e0\r\n\r\n{}"),
        PATTERN("a fraction", 400, POST "Content-Length: 2.0\r\n\r\n{}"),
        PATTERN("a space within", 400, POST "Content-Length: 2 2\r\n\r\n{}"),
        PATTERN("nothing", 400, POST "Content-Length:\r\n\r\n{}"),
        PATTERN("a word", 400, POST "Content-Length: two\r\n\r\n{}"),
        PATTERN("a semicolon", 400, POST "Content-Length: 2;\r\n\r\n{}"),
        PATTERN("a space before the colon", 400, POST "Content-Length : 2\r\n\r\n{}"),
        PATTERN("folded", 400, POST "Content-Length: 2\r\n 2\r\n\r\n{}"),
        PATTERN("more than a body may have", 413, POST "Content-Length: 65537\r\n\r\n{}"),
        PATTERN("64 bits overflow", 413, POST "Content-Length: 18446744073709551618\r\n\r\n{}"),
        PATTERN("many digits", 413, POST "Content-Length: 99999999999999999999999999999999\r\n\r\n{}"),
    };
    (void)state;
    assert_refused(patterns, array_count(patterns));
}

/* --- chunks */

static void test_malformed_chunks_are_refused(void **state)
{
    static const struct pattern patterns[] = {
        PATTERN("a bare LF behind the size", 400, POST CHUNKED "\r\n2\n{}\r\n0\r\n\r\n"),
        PATTERN("a bare LF behind the data", 400, POST CHUNKED "\r\n2\r\n{}\n0\r\n\r\n"),
        PATTERN("a bare LF behind the last size", 400, POST CHUNKED "\r\n2\r\n{}\r\n0\n\r\n"),
        PATTERN("a bare LF at the end", 400, POST CHUNKED "\r\n2\r\n{}\r\n0\r\n\n"),
        PATTERN("a bare LF in an extension", 400, POST CHUNKED "\r\n2;x\n{}\r\n0\r\n\r\n"),
        PATTERN("a bare CR in an extension", 400, POST CHUNKED "\r\n2;x\ry\r\n{}\r\n0\r\n\r\n"),
        PATTERN("a NUL in an extension", 400, POST CHUNKED "\r\n2;x\0y\r\n{}\r\n0\r\n\r\n"),
        PATTERN("a bare CR behind the size", 400, POST CHUNKED "\r\n2\r{}\r\n0\r\n\r\n"),
        PATTERN("no size", 400, POST CHUNKED "\r\n\r\n{}\r\n0\r\n\r\n"),
        PATTERN("no size but an extension", 400, POST CHUNKED "\r\n;x=y\r\n{}\r\n0\r\n\r\n"),
        PATTERN("letters", 400, POST CHUNKED "\r\nzz\r\n{}\r\n0\r\n\r\n"),
        PATTERN("plus", 400, POST CHUNKED "\r\n+2\r\n{}\r\n0\r\n\r\n"),
        PATTERN("minus", 400, POST CHUNKED "\r\n-2\r\n{}\r\n0\r\n\r\n"),
        PATTERN("0x", 400, POST CHUNKED "\r\n0x2\r\n{}\r\n0\r\n\r\n"),
        PATTERN("a space before the size", 400, POST CHUNKED "\r\n 2\r\n{}\r\n0\r\n\r\n"),
        PATTERN("a space behind the size", 400, POST CHUNKED "\r\n2 \r\n{}\r\n0\r\n\r\n"),
        PATTERN("more data than said", 400, POST CHUNKED "\r\n2\r\n{}}\r\n0\r\n\r\n"),
        PATTERN("less data than said", 400, POST CHUNKED "\r\n3\r\n{}\r\n0\r\n\r\n"),
        PATTERN("64 bits overflow", 413, POST CHUNKED "\r\n10000000000000002\r\n{}\r\n0\r\n\r\n"),
        PATTERN("many digits", 413, POST CHUNKED "\r\nfffffffffffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        PATTERN("a trailer without a colon", 400, POST CHUNKED "\r\n2\r\n{}\r\n0\r\nX\r\n\r\n"),
        PATTERN("a bare LF in a trailer", 400, POST CHUNKED "\r\n2\r\n{}\r\n0\r\nX: y\nZ: z\r\n\r\n"),
        PATTERN("a bare CR in a trailer", 400, POST CHUNKED "\r\n2\r\n{}\r\n0\r\nX: y\rZ: z\r\n\r\n"),
        PATTERN("a NUL in a trailer", 400, POST CHUNKED "\r\n2\r\n{}\r\n0\r\nX: y\0\r\n\r\n"),
        PATTERN("a NUL in front of a trailer", 400, POST CHUNKED "\r\n2\r\n{}\r\n0\r\n\0X: y\r\n\r\n"),
    };
    (void)state;
    assert_refused(patterns, array_count(patterns));
}

/* These are well-formed, if rare: the body ends where it should, and the next request is seen. */
static void test_rare_framing_is_understood(void **state)
{
    static const struct pattern patterns[] = {
        PATTERN("zeros before the length", 400, POST "Content-Length: 0002\r\n\r\n{}"),
        PATTERN("spaces before the length", 400, POST "Content-Length: \t 2\r\n\r\n{}"),
        PATTERN("a coding in capitals", 400, POST "Transfer-Encoding: CHUNKED\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        PATTERN("spaces before the coding", 400, POST "Transfer-Encoding: \t chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        PATTERN("no space before the coding", 400, POST "Transfer-Encoding:chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        PATTERN("zeros before the size", 400, POST CHUNKED "\r\n0002\r\n{}\r\n000\r\n\r\n"),
        PATTERN("extensions", 400, POST CHUNKED "\r\n1;a=\"b;c\";d\r\n{\r\n1\r\n}\r\n0;e\r\n\r\n"),
        PATTERN("trailers", 400, POST CHUNKED "\r\n2\r\n{}\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: x\r\n\r\n"),
        PATTERN("empty lines in front", 400, "\r\n\r\n" POST "Content-Length: 2\r\n\r\n{}"),
        PATTERN("another header by a letter", 400, POST "Transfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}"),
        PATTERN("the body of a GET", 200,
                GET "Content-Length: 40\r\n\r\nGET /api/users/x HTTP/1.1\r\nHost: x\r\n\r\n  "),
        PATTERN("the chunks of a GET", 200, GET CHUNKED "\r\n4\r\nGET \r\n0\r\n\r\n"),
        PATTERN("the body of a refused path", 404,
                "POST /nowhere HTTP/1.1\r\n" HOST JSON "Content-Length: 4\r\n\r\nGET "),
        PATTERN("the body of a refused type", 415, "POST /api/users HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nGET "),
    };
    (void)state;
    assert_kept(patterns, array_count(patterns));
}

/* --- heads */

static void test_malformed_heads_are_refused(void **state)
{
    static const struct pattern patterns[] = {
        PATTERN("bare LFs", 400, "GET /health HTTP/1.1\nHost: shop\n\n"),
        PATTERN("a bare LF behind the request line", 400, "GET /health HTTP/1.1\n" HOST "\r\n"),
        PATTERN("a bare LF at the end", 400, GET "\n"),
        PATTERN("a NUL and a LF", 400, "GET /health HTTP/1.1\r\nHost: shop\0\n\r\n"),
        PATTERN("a bare CR", 400, GET "X: a\rb\r\n\r\n"),
        PATTERN("a folded line", 400, GET "X: a\r\n b\r\n\r\n"),
        PATTERN("a folded first line", 400, "GET /health HTTP/1.1\r\n Host: shop\r\n\r\n"),
        PATTERN("a NUL in a value", 400, GET "X: a\0b\r\n\r\n"),
        PATTERN("a NUL in front of a line", 400, GET "\0X: a\r\n\r\n"),
        PATTERN("a NUL in front of the request", 400, "\0" HEALTH),
        PATTERN("a NUL in the target", 400, "GET /health\0 HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("a control character in a value", 400, GET "X: a\x01\r\n\r\n"),
        PATTERN("a control character in a name", 400, GET "X\x01: a\r\n\r\n"),
        PATTERN("a space before the colon", 400, GET "X : a\r\n\r\n"),
        PATTERN("a space in a name", 400, GET "X Y: a\r\n\r\n"),
        PATTERN("no colon", 400, GET "X\r\n\r\n"),
        PATTERN("no name", 400, GET ": a\r\n\r\n"),
        PATTERN("a colon and a LF", 400, GET "X: a\r\n:\n"),
        PATTERN("two hosts", 400, GET "Host: other\r\n\r\n"),
        PATTERN("no host", 400, "GET /health HTTP/1.1\r\n\r\n"),
        PATTERN("a path for a host", 400, "GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        PATTERN("a space in the host", 400, "GET /health HTTP/1.1\r\nHost: a b\r\n\r\n"),
        PATTERN("two types", 400, POST JSON "Content-Length: 2\r\n\r\n{}"),
        PATTERN("an expectation that is none", 417, POST "Expect: 200-ok\r\nContent-Length: 2\r\n\r\n{}"),
    };
    (void)state;
    assert_refused(patterns, array_count(patterns));
}

static void test_malformed_request_lines_are_refused(void **state)
{
    static const struct pattern patterns[] = {
        PATTERN("two spaces before the target", 400, "GET  /health HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("two spaces behind the target", 400, "GET /health  HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("a space within the target", 400, "GET /hea lth HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("a space in front", 0, " " HEALTH),
        PATTERN("a bare CR within the target", 400, "GET /hea\rlth HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("tabs", 0, "GET\t/health\tHTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("a space behind the version", 400, "GET /health HTTP/1.1 \r\n" HOST "\r\n"),
        PATTERN("a method that is no token", 400, "GE(T /health HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("no version", 400, "GET /health\r\n" HOST "\r\n"),
        PATTERN("a version in small letters", 400, "GET /health http/1.1\r\n" HOST "\r\n"),
        PATTERN("a version of two digits", 400, "GET /health HTTP/1.10\r\n" HOST "\r\n"),
        PATTERN("a version of one", 400, "GET /health HTTP/1\r\n" HOST "\r\n"),
        PATTERN("another protocol", 400, "GET /health ICAP/1.0\r\n" HOST "\r\n"),
        PATTERN("HTTP/0.9", 505, "GET /health HTTP/0.9\r\n\r\n"),
        PATTERN("HTTP/2.0", 505, "GET /health HTTP/2.0\r\n" HOST "\r\n"),
        PATTERN("HTTP/2's preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        PATTERN("TLS", 0, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    };
    (void)state;
    assert_refused(patterns, array_count(patterns));
}

static void test_targets_of_other_forms_are_answered(void **state)
{
    static const struct pattern patterns[] = {
        PATTERN("absolute", 200, "GET http://shop:8080/health HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("absolute, in capitals", 200, "GET HTTP://SHOP/health HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("absolute without a path", 404, "GET http://shop HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("another scheme", 400, "GET ftp://shop/health HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("authority", 400, "CONNECT shop:80 HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("authority for a GET", 400, "GET shop:80 HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("asterisk", 204, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("asterisk for a GET", 400, "GET * HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("a fragment", 400, "GET /health#top HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("bytes that are no ASCII", 400, "GET /h\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("dots", 404, "GET /api/../health HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("an encoded NUL", 400, "GET /health%00 HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("half an encoding", 400, "GET /health%2 HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("an encoding of no UTF-8", 400, "GET /health%ff HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("a later HTTP/1", 200, "GET /health HTTP/1.2\r\n" HOST "\r\n"),
        PATTERN("an unknown method", 405, "BREW /health HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("TRACE", 405, "TRACE /health HTTP/1.1\r\n" HOST "\r\n"),
        PATTERN("an upgrade to HTTP/2", 200,
                GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"),
        PATTERN("an upgrade to a web socket", 200,
                GET "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\r\n"),
    };
    (void)state;
    assert_kept(patterns, array_count(patterns));
}

/* --- expectations */

static void test_continue_comes_before_the_answer(void **state)
{
    static const char wanted[] =
        POST "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}" GET "Connection: close\r\n\r\n";
    static const char bodiless[] = GET "Expect: 100-continue\r\n\r\n" GET "Connection: close\r\n\r\n";
    static const struct pattern refused[] = {
        PATTERN("too large", 413, POST "Content-Length: 70000\r\nExpect: 100-continue\r\n\r\n"),
        PATTERN("a path that is none", 404,
                "POST /nowhere HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"),
    };
    (void)state;
    assert_true(talk(wanted, sizeof wanted - 1, false, (const int[]){100, 400, 200, 0}));
    assert_true(talk(bodiless, sizeof bodiless - 1, false, (const int[]){100, 200, 200, 0}));
    assert_refused(refused, array_count(refused));
}

/* --- too much */

static char *filled(const char *head, const char *piece, size_t bytes, const char *tail)
{
    size_t room = strlen(head) + bytes + strlen(piece) + strlen(tail) + 1;
    char *text = mem_alloc(room), *at = stpcpy(text, head), *end = at + bytes;
    while (at < end)
        at = stpcpy(at, piece);
    strcpy(at, tail);
    return text;
}

static void assert_too_much(const char *head, const char *piece, size_t bytes, const char *tail, int status)
{
    scoped_free char *text = filled(head, piece, bytes, tail);
    const struct pattern pattern = {.name = head, .bytes = text, .length = strlen(text), .status = status};
    assert_refused(&pattern, 1);
}

static void test_overlong_heads_are_refused(void **state)
{
    (void)state;
    assert_too_much("GET /", "u", 8193, " HTTP/1.1\r\n" HOST "\r\n", 414);
    assert_too_much("GET /", "u", 500000, " HTTP/1.1\r\n" HOST "\r\n", 414);
    assert_too_much("GET /health?", "a=b&", 9000, " HTTP/1.1\r\n" HOST "\r\n", 414);
    assert_too_much(GET "X: ", "h", 16384, "\r\n\r\n", 431);
    assert_too_much(GET "X: ", "h", 500000, "\r\n\r\n", 431);
    assert_too_much(GET, "a: b\r\n", 6 * 101, "\r\n", 431);
    assert_too_much(GET, "a:\r\n", 200000, "\r\n", 431);
    assert_too_much(GET "Cookie: ", "c;", 14000, "\r\n\r\n", 431);
}

static void test_overlong_bodies_are_refused(void **state)
{
    (void)state;
    assert_too_much(POST "Content-Length: 900000\r\n\r\n", "x", 900000, "", 413);
    assert_too_much(POST CHUNKED "\r\nfffff\r\n", "x", 500000, "", 413);
    assert_too_much(POST CHUNKED "\r\n", "1\r\nx\r\n", 6 * 65537, "", 413);
    assert_too_much(POST CHUNKED "\r\n2;", "x", 100000, "\r\n{}\r\n0\r\n\r\n", 400);
    assert_too_much(POST CHUNKED "\r\n", "0", 100000, "2\r\n{}\r\n0\r\n\r\n", 400);
    assert_too_much(POST CHUNKED "\r\n2\r\n{}\r\n0\r\nX: ", "y", 100000, "\r\n\r\n", 431);
    assert_too_much(POST CHUNKED "\r\n2\r\n{}\r\n0\r\n", "X: y\r\n", 100000, "\r\n\r\n", 431);
}

/* --- too little, too slow */

static const char good_request[] =
    POST "Idempotency-Key: k\r\nContent-Length: 43\r\n\r\n{\"email\":\"honest@example.com\",\"name\":\"Ann\"}";

/* All at once: some are only given up when their time is over. */
static void test_a_request_cut_at_any_byte_is_none(void **state)
{
    enum { CUTS = sizeof good_request - 2 };
    static char answer[ANSWERS_MAX];
    int fds[CUTS];
    (void)state;
    for (size_t i = 0; i < CUTS; i++) {
        fds[i] = connect_to_gateway();
        put(fds[i], good_request, i + 1);
        if (i % 2)
            shutdown(fds[i], SHUT_WR);
    }
    for (size_t i = 0; i < CUTS; i++) {
        size_t bytes;
        assert_true(read_all(fds[i], answer, &bytes));
        assert_int_equal(bytes, 0);
        close(fds[i]);
    }
    assert_int_equal(shop_sql_number(&shop, "select count(*) from users where email = 'honest@example.com'"), 0);
    assert_serving();
}

static void test_clients_that_reset_hurt_nobody(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good_request - 1; i++) {
        struct linger linger = {.l_onoff = 1};
        int fd = connect_to_gateway();
        put(fd, good_request, i);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        close(fd);
    }
    assert_serving();
}

static void test_a_byte_at_a_time_is_fast_enough(void **state)
{
    static char answer[ANSWERS_MAX];
    static const char last[] = GET "Connection: close\r\n\r\n";
    const char *at = answer;
    size_t bytes;
    (void)state;
    int fd = connect_to_gateway();
    for (size_t i = 0; i < sizeof last - 1; i++)
        put(fd, &last[i], 1);
    assert_true(read_all(fd, answer, &bytes));
    assert_int_equal(next_answer(&at, answer + bytes), 200);
    assert_ptr_equal(at, answer + bytes);
    close(fd);
}

/* Each way to stop in the middle is ended when its time is over, and not before; bytes that drip in gain none. */
static void test_slow_clients_are_ended(void **state)
{
    static const char *const starts[] = {"",
                                         "GET /hea",
                                         "GET /health HTTP/1.1\r\n",
                                         GET,
                                         POST "Content-Length: 40\r\n\r\n{",
                                         POST CHUNKED "\r\n5",
                                         POST CHUNKED "\r\n5\r\n{",
                                         POST CHUNKED "\r\nffffffffffffffff\r\n{",
                                         POST CHUNKED "\r\n2\r\n{}\r\n0\r\nX: "};
    enum { CLIENTS = array_count(starts) };
    static char answer[ANSWERS_MAX];
    int fds[CLIENTS], dripping = connect_to_gateway();
    size_t bytes;
    (void)state;
    struct timeval pace = {.tv_usec = 5000};
    setsockopt(dripping, SOL_SOCKET, SO_RCVTIMEO, &pace, sizeof pace);
    int64_t begin_ns = clock_now_ns();
    for (size_t i = 0; i < CLIENTS; i++) {
        fds[i] = connect_to_gateway();
        put_text(fds[i], starts[i]);
    }
    put_text(dripping, POST "Content-Length: 60000\r\n\r\n");
    while (recv(dripping, answer, 1, 0) < 0 && clock_now_ns() - begin_ns < 15 * NS_PER_S)
        put(dripping, "x", 1);
    close(dripping);
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_true(read_all(fds[i], answer, &bytes));
        assert_int_equal(bytes, 0);
        close(fds[i]);
    }
    int64_t took_ms = (clock_now_ns() - begin_ns) / NS_PER_MS;
    assert_true(took_ms >= RECEIVE_TIMEOUT_MS && took_ms < 15000);
    assert_serving();
}

static void test_a_client_that_says_no_more_is_answered(void **state)
{
    static const char two[] = HEALTH HEALTH;
    (void)state;
    assert_true(talk(HEALTH, strlen(HEALTH), true, (const int[]){200, 0}));
    assert_true(talk(good_request, sizeof good_request - 1, true, (const int[]){200, 0}));
    assert_int_equal(shop_sql_number(&shop, "select count(*) from users where email = 'honest@example.com'"), 1);
    /* Two at once: the first for sure. */
    int fd = connect_to_gateway();
    static char answer[ANSWERS_MAX];
    const char *at = answer;
    size_t bytes;
    put(fd, two, sizeof two - 1);
    shutdown(fd, SHUT_WR);
    assert_true(read_all(fd, answer, &bytes));
    assert_int_equal(next_answer(&at, answer + bytes), 200);
    close(fd);
    assert_serving();
}

static void test_the_gateway_has_served_on_and_nothing_came_through(void **state)
{
    struct answer answer;
    (void)state;
    assert_nothing_smuggled();
    http_call(&shop, "GET", "/ready", NULL, NULL, &answer);
    assert_int_equal(answer.status, 200);
    answer_done(&answer);
    assert_int_equal(shop_stop(&shop, SHOP_GATEWAY), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_ways_to_tell_the_length_are_refused),
        cmocka_unit_test(test_disguised_transfer_encodings_are_refused),
        cmocka_unit_test(test_lengths_that_are_no_number_are_refused),
        cmocka_unit_test(test_malformed_chunks_are_refused),
        cmocka_unit_test(test_rare_framing_is_understood),
        cmocka_unit_test(test_malformed_heads_are_refused),
        cmocka_unit_test(test_malformed_request_lines_are_refused),
        cmocka_unit_test(test_targets_of_other_forms_are_answered),
        cmocka_unit_test(test_continue_comes_before_the_answer),
        cmocka_unit_test(test_overlong_heads_are_refused),
        cmocka_unit_test(test_overlong_bodies_are_refused),
        cmocka_unit_test(test_a_request_cut_at_any_byte_is_none),
        cmocka_unit_test(test_clients_that_reset_hurt_nobody),
        cmocka_unit_test(test_a_byte_at_a_time_is_fast_enough),
        cmocka_unit_test(test_slow_clients_are_ended),
        cmocka_unit_test(test_a_client_that_says_no_more_is_answered),
        cmocka_unit_test(test_the_gateway_has_served_on_and_nothing_came_through),
    };
    return cmocka_run_group_tests_name("malformed HTTP", tests, open_shop, close_shop);
}
