/* Where to go, as texts say it: the first byte tells which. r: the url of a Redis; d: hosts and, on a second line,
 * ports of a PostgreSQL; any other: the target of an HTTP request, by the server's own reader. Readers are total, stay
 * within the text, and leave the output alone when they refuse. */
#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"
#include "db/target.h"
#include "fuzz/fuzz.h"
#include "http/internal.h"
#include "stream/url.h"

/* --- redis */

static void check_redis(const char *text)
{
    struct stream_url url, untouched;
    const char *reason = NULL;
    memset(&url, 0x5a, sizeof url);
    memset(&untouched, 0x5a, sizeof untouched);
    if (!stream_url_parse(text, &url, &reason)) {
        FUZZ_CHECK(memcmp(&url, &untouched, sizeof url) == 0 && reason && *reason);
        return;
    }
    FUZZ_CHECK(!url.host != !url.path && url.peer && *url.peer);
    FUZZ_CHECK(!url.host || (*url.host && url.port >= 1 && url.port <= 65535));
    FUZZ_CHECK(!url.path || (url.path[0] == '/' && strlen(url.path) < 108));
    FUZZ_CHECK((!url.user || *url.user) && (!url.password || *url.password));
    FUZZ_CHECK(url.database >= 0 && (!url.secure || url.host));
    stream_url_done(&url);
}

/* --- postgresql */

static unsigned entries_in(const char *list)
{
    unsigned count = 1;
    while ((list = strchr(list, ',')))
        count++, list++;
    return count;
}

/* Names would be looked up, which is not this test's business. */
static void check_postgres(char *text)
{
    struct db_target target;
    char message[128], *rest = text;
    const char *hosts = strsep(&rest, "\n"), *ports = rest ? rest : "5432";
    if (db_target_blocks(hosts))
        return;
    for (unsigned turn = 0; turn < 3; turn++) {
        FUZZ_CHECK(db_target_find(hosts, ports, turn, &target, message, sizeof message) == ERR_OK);
        unsigned count = entries_in(target.hosts);
        FUZZ_CHECK(count >= 1 && count <= DB_ADDRESSES_MAX);
        FUZZ_CHECK(entries_in(target.ports) == count && entries_in(target.addresses) == count);
        db_target_done(&target);
    }
}

/* --- http */

static struct exchange exchange;

static bool is_utf8(const char *text)
{
    for (size_t step; *text; text += step)
        if ((step = utf8_sequence(text)) == 0)
            return false;
    return true;
}

static void check_segments(void)
{
    for (unsigned i = 0; i < exchange.segment_count && i < SEGMENTS_MAX; i++) {
        const struct text *segment = &exchange.segments[i];
        FUZZ_CHECK(strlen(segment->start) == segment->length && is_utf8(segment->start));
    }
}

static void check_query(void)
{
    FUZZ_CHECK(exchange.query_count <= QUERY_MAX);
    for (unsigned i = 0; i < exchange.query_count; i++) {
        const char *value = http_query(&exchange.req, exchange.query[i].name);
        FUZZ_CHECK(value == exchange.query[i].value && is_utf8(exchange.query[i].name) && is_utf8(value));
    }
}

static enum err no_handler(struct request *req, struct response *res)
{
    (void)res;
    FUZZ_CHECK(http_param(req, "id") && *http_param(req, "id"));
    return ERR_OK;
}

static void check_target(struct arena *arena, const char *text, bool options)
{
    static const struct http_route routes[] = {
        {"GET", "/", no_handler}, {"GET", "/a/:id", no_handler}, {"POST", "/a/:id/b", no_handler}};
    static struct http_server server;
    if (!server.routes) {
        server.routes = routes_new(routes, array_count(routes));
        server.route_count = array_count(routes);
    }
    memset(&exchange, 0, sizeof exchange);
    exchange.server = &server;
    exchange.req = (struct request){.arena = arena, .transport = &exchange};
    exchange.target = text;
    target_read(&exchange, options);
    if (exchange.refusal.status) {
        FUZZ_CHECK(exchange.refusal.status == 400);
        return;
    }
    check_segments();
    check_query();
    route_find(&exchange, options ? "OPTIONS" : "GET");
    FUZZ_CHECK(!exchange.handler != !exchange.refusal.status);
    if (exchange.handler == no_handler && exchange.route->count > 1)
        no_handler(&exchange.req, NULL);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct arena arena;
    if (bytes == 0)
        return 0;
    scoped_free char *text = mem_alloc(bytes);
    memcpy(text, data + 1, bytes - 1);
    arena_init(&arena, 4096);
    if (data[0] == 'r')
        check_redis(text);
    else if (data[0] == 'd')
        check_postgres(text);
    else
        check_target(&arena, text, data[0] & 1);
    arena_done(&arena);
    return 0;
}
