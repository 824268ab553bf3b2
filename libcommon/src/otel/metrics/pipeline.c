#include "otel/metrics/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "otel/metrics/pattern.h"
#include "otel/metrics/pull.h"

enum { READERS_MAX = 62 }; /* ids are bits; a reload has the old ones beside the new */

struct metrics_pipeline {
    const struct view_settings *views;
    unsigned view_count;
    enum exemplar_filter exemplar_filter;
    unsigned count;
    struct member {
        struct reader *reader;
        struct pull_server *server; /* of configured pull readers */
        bool reader_is_old, server_is_old;
    } members[READERS_MAX + 1];
};

pthread_mutex_t pull_lock = PTHREAD_MUTEX_INITIALIZER;
static struct metrics_pipeline *current; /* changed under all locks */

/* --- prepare */

static bool views_acceptable(const struct sdk_settings *settings, char *message, size_t message_bytes)
{
    for (unsigned i = 0; i < settings->view_count; i++) {
        const struct view_settings *view = &settings->views[i];
        if (!view->name || (view->instrument_name && !pattern_is_wild(view->instrument_name)))
            continue;
        snprintf(message, message_bytes,
                 "meter_provider.views[%u]: stream.name \"%s\" needs a selector.instrument_name without * and ?", i,
                 view->name);
        return false;
    }
    return true;
}

static bool has_reader(const struct metrics_pipeline *pipeline, const struct reader *reader)
{
    for (unsigned i = 0; pipeline && i < pipeline->count; i++)
        if (pipeline->members[i].reader == reader)
            return true;
    return false;
}

static bool has_id(const struct metrics_pipeline *pipeline, int id)
{
    for (unsigned i = 0; pipeline && i < pipeline->count; i++)
        if (pipeline->members[i].reader && pipeline->members[i].reader->id == id)
            return true;
    return false;
}

static bool has_server(const struct metrics_pipeline *pipeline, const struct pull_server *server)
{
    for (unsigned i = 0; pipeline && i < pipeline->count; i++)
        if (pipeline->members[i].server == server)
            return true;
    return false;
}

/* The reader that was made from the same settings. */
static struct reader *find_equal(const struct metrics_pipeline *next, const struct reader_settings *settings,
                                 const struct sdk_resource *resource)
{
    for (unsigned i = 0; current && i < current->count; i++) {
        struct reader *reader = current->members[i].reader;
        if (!has_reader(next, reader) && reader_matches(reader, settings, resource))
            return reader;
    }
    return NULL;
}

/* The id, and so the sums, of an old reader of the same sort that has no place any more; else a free one. */
static int choose_id(const struct metrics_pipeline *next, bool pull)
{
    int id = 0;
    for (unsigned i = 0; current && i < current->count; i++)
        if (current->members[i].reader->pull == pull && !has_id(next, current->members[i].reader->id))
            return current->members[i].reader->id;
    while (has_id(next, id) || has_id(current, id))
        id++;
    return id;
}

static struct pull_server *find_server(const struct metrics_pipeline *next, const char *host, int port)
{
    for (unsigned i = 0; current && i < current->count; i++) {
        struct pull_server *server = current->members[i].server;
        if (server && !has_server(next, server) && pull_server_is_at(server, host, port))
            return server;
    }
    return NULL;
}

static bool open_server(struct metrics_pipeline *next, struct member *member, char *message, size_t message_bytes)
{
    const struct exporter_settings *settings = &member->reader->settings.exporter;
    const char *host = settings->host ? settings->host : "localhost";
    member->server = find_server(next, host, settings->port);
    member->server_is_old = member->server != NULL;
    if (!member->server)
        member->server = pull_server_open(host, settings->port, message, message_bytes);
    return member->server != NULL;
}

static void keep_equal_readers(struct metrics_pipeline *next, const struct reader_settings *const *wanted,
                               const struct sdk_resource *resource)
{
    for (unsigned i = 0; i < next->count; i++) {
        next->members[i].reader = find_equal(next, wanted[i], resource);
        next->members[i].reader_is_old = next->members[i].reader != NULL;
    }
}

static bool open_readers(struct metrics_pipeline *next, const struct reader_settings *const *wanted,
                         const struct sdk_resource *resource, char *message, size_t message_bytes)
{
    keep_equal_readers(next, wanted, resource);
    for (unsigned i = 0; i < next->count; i++) {
        struct member *member = &next->members[i];
        if (!member->reader)
            member->reader = reader_open(wanted[i], resource, choose_id(next, wanted[i]->pull), message, message_bytes);
        if (!member->reader)
            return false;
    }
    return true;
}

/* A port of -1 stands for none. */
enum { NO_PORT = -1 };

static bool open_servers(struct metrics_pipeline *next, char *message, size_t message_bytes)
{
    for (unsigned i = 0; i < next->count; i++) {
        const struct reader *reader = next->members[i].reader;
        bool listens = reader->pull && reader->settings.exporter.port != NO_PORT;
        if (listens && !open_server(next, &next->members[i], message, message_bytes))
            return false;
    }
    return true;
}

/* otel_metrics_text() shows what a pull reader collects: without a configured one there is one for it alone. */
static const struct reader_settings text_only = {
    .pull = true,
    .exporter = {
        .kind = EXPORT_PROMETHEUS, .port = NO_PORT, .translation_strategy = "underscore_escaping_with_suffixes"}};

/* Returns false when there are too many. */
static bool choose_readers(struct metrics_pipeline *next, const struct sdk_settings *settings,
                           const struct reader_settings *wanted[READERS_MAX + 1])
{
    bool pulls = false;
    for (unsigned i = 0; !settings->disabled && i < settings->reader_count; i++) {
        if (settings->readers[i].exporter.kind == EXPORT_NONE)
            continue;
        if (next->count == READERS_MAX / 2)
            return false;
        wanted[next->count++] = &settings->readers[i];
        pulls |= settings->readers[i].pull;
    }
    if (!pulls && !settings->disabled)
        wanted[next->count++] = &text_only;
    return true;
}

struct metrics_pipeline *metrics_prepare(const struct sdk_settings *settings, const struct sdk_resource *resource,
                                         char *message, size_t message_bytes)
{
    const struct reader_settings *wanted[READERS_MAX + 1];
    if (!views_acceptable(settings, message, message_bytes))
        return NULL;
    struct metrics_pipeline *next = mem_alloc(sizeof *next);
    next->views = settings->views;
    next->view_count = settings->view_count;
    next->exemplar_filter = settings->exemplar_filter;
    bool few = choose_readers(next, settings, wanted);
    if (!few)
        snprintf(message, message_bytes, "meter_provider.readers: at most %d", READERS_MAX / 2);
    if (few && open_readers(next, wanted, resource, message, message_bytes) &&
        open_servers(next, message, message_bytes))
        return next;
    metrics_discard(next);
    return NULL;
}

void metrics_discard(struct metrics_pipeline *pipeline)
{
    for (unsigned i = 0; i < pipeline->count; i++) {
        struct member *member = &pipeline->members[i];
        if (member->server && !member->server_is_old)
            pull_server_close(member->server);
        if (member->reader && !member->reader_is_old)
            reader_discard(member->reader);
    }
    free(pipeline);
}

/* --- routes */

struct route_maker {
    struct instrument *instrument;
    const struct route *old; /* whose stores are used again */
    struct store **stores;
    unsigned count;
    int64_t wall_ns;
};

static struct store *find_store(struct store *const *stores, unsigned count, const struct stream *stream, uint64_t bit)
{
    for (unsigned i = 0; i < count; i++)
        if (!(stores[i]->readers_next & bit) && stream_equal(&stores[i]->stream, stream))
            return stores[i];
    return NULL;
}

static void add_stream(struct route_maker *maker, const struct stream *stream, uint64_t bit)
{
    struct store *store = find_store(maker->stores, maker->count, stream, bit);
    if (!store) {
        store = maker->old ? find_store(maker->old->stores, maker->old->count, stream, bit) : NULL;
        store = store ? store_take(store) : store_new(stream, maker->instrument, maker->wall_ns);
        maker->stores = mem_resize(maker->stores, maker->count + 1, sizeof(struct store *));
        maker->stores[maker->count++] = store;
    }
    store->readers_next |= bit;
}

static void add_streams(struct route_maker *maker, const struct metrics_pipeline *pipeline)
{
    struct stream *streams = mem_array(pipeline->view_count + 1, sizeof *streams);
    for (unsigned i = 0; i < pipeline->count; i++) {
        const struct reader *reader = pipeline->members[i].reader;
        struct stream_reader shape = reader_streams(reader);
        unsigned count = streams_resolve(maker->instrument, &shape, pipeline->views, pipeline->view_count, streams);
        for (unsigned s = 0; s < count; s++)
            add_stream(maker, &streams[s], UINT64_C(1) << reader->id);
    }
    free(streams);
}

static void check_views(struct instrument *instrument, const struct metrics_pipeline *pipeline)
{
    if (instrument->warned & WARNED_OF_VIEW || !views_misfit(instrument, pipeline->views, pipeline->view_count))
        return;
    instrument->warned |= WARNED_OF_VIEW;
    log_event(LOG_WARN, "a view is ignored: an asynchronous instrument has no histogram",
              log_text("instrument", instrument->name), log_text("meter", instrument->scope->name));
}

/* The route under pipeline, NULL for none; the stores know their readers_next. */
static struct route *route_new(struct instrument *instrument, const struct metrics_pipeline *pipeline,
                               const struct route *old)
{
    struct route_maker maker = {.instrument = instrument, .old = old, .wall_ns = clock_wall_ns()};
    if (!pipeline)
        return NULL;
    check_views(instrument, pipeline);
    add_streams(&maker, pipeline);
    struct route *route = mem_alloc(sizeof *route + sizeof(struct store *) * maker.count);
    route->count = maker.count;
    if (maker.count)
        memcpy(route->stores, maker.stores, sizeof(struct store *) * maker.count);
    free(maker.stores);
    return route;
}

static void use_next_readers(const struct route *route)
{
    for (unsigned i = 0; route && i < route->count; i++)
        route->stores[i]->readers = route->stores[i]->readers_next;
}

static void remember_readers(const struct route *route)
{
    for (unsigned i = 0; route && i < route->count; i++)
        route->stores[i]->readers_before = route->stores[i]->readers;
}

static void forget_next_readers(const struct route *route)
{
    for (unsigned i = 0; route && i < route->count; i++)
        route->stores[i]->readers_next = 0;
}

struct route *pipeline_route(const struct instrument *instrument)
{
    struct route *route = route_new((struct instrument *)(uintptr_t)instrument, current, NULL);
    use_next_readers(route);
    forget_next_readers(route);
    return route;
}

struct reader *pipeline_text_reader(void)
{
    for (unsigned i = 0; current && i < current->count; i++)
        if (current->members[i].reader->pull)
            return current->members[i].reader;
    return NULL;
}

/* --- commit */

/* What recording threads may still be reading. */
struct replaced {
    struct route **routes;
    struct binding **bindings;
    unsigned route_count, binding_count;
};

static void replace_bindings(struct instrument *instrument, const struct route *route, struct replaced *replaced)
{
    for (struct bound *bound = instrument->bound; bound; bound = bound->next) {
        struct binding *old = atomic_exchange(&bound->binding, binding_new(bound, route));
        replaced->bindings = mem_resize(replaced->bindings, replaced->binding_count + 1, sizeof(struct binding *));
        replaced->bindings[replaced->binding_count++] = old;
    }
}

static void replace_route(struct instrument *instrument, const struct metrics_pipeline *next, struct replaced *replaced)
{
    struct route *old = atomic_load(&instrument->route);
    remember_readers(old);
    struct route *route = route_new(instrument, next, old);
    use_next_readers(old);
    use_next_readers(route);
    forget_next_readers(route);
    atomic_store(&instrument->route, route);
    replace_bindings(instrument, route, replaced);
    replaced->routes = mem_resize(replaced->routes, replaced->route_count + 1, sizeof(struct route *));
    replaced->routes[replaced->route_count++] = old;
}

static void replace_routes(const struct metrics_pipeline *next, struct replaced *replaced)
{
    for (struct instrument *i = instruments_first(); i; i = instrument_next(i))
        replace_route(i, next, replaced);
    for (struct instrument *i = instruments_first(); i; i = instrument_next(i))
        instrument_check_names(i);
}

static void free_replaced(struct replaced *replaced)
{
    for (unsigned i = 0; i < replaced->binding_count; i++)
        binding_free(replaced->bindings[i]);
    for (unsigned i = 0; i < replaced->route_count; i++) {
        struct route *route = replaced->routes[i];
        for (unsigned s = 0; route && s < route->count; s++)
            store_give(route->stores[s]);
        free(route);
    }
    free(replaced->bindings);
    free(replaced->routes);
}

/* A store without readers has left: it is told once more by those that it had. One that stays is told once more by a
 * reader that leaves without a successor. */
static void retire_store(struct store *store, const struct metrics_pipeline *old, const struct metrics_pipeline *next)
{
    bool leaves = store->readers == 0;
    for (unsigned i = 0; old && i < old->count; i++) {
        struct reader *reader = old->members[i].reader;
        if (reader->pull || !(store->readers_before & UINT64_C(1) << reader->id))
            continue;
        if (leaves || !has_id(next, reader->id))
            reader_retire(reader, store);
    }
}

static void retire_stores(const struct replaced *replaced, const struct metrics_pipeline *old,
                          const struct metrics_pipeline *next)
{
    for (unsigned i = 0; i < replaced->route_count; i++) {
        const struct route *route = replaced->routes[i];
        for (unsigned s = 0; route && s < route->count; s++) {
            struct store *store = route->stores[s];
            if (store->readers == 0) {
                store_drain(store, 0);
                store_drain(store, 1);
            }
            retire_store(store, old, next);
        }
    }
}

/* Those that export are told the last totals of what may be about to leave. */
static void observe_for_old(const struct metrics_pipeline *old)
{
    for (unsigned i = 0; old && i < old->count; i++)
        if (!old->members[i].reader->pull)
            collect_observe(old->members[i].reader->id);
}

/* Recordings go to the new routes; the old ones are read out and gone. */
static void swap(struct metrics_pipeline *old, struct metrics_pipeline *next)
{
    struct replaced replaced = {0};
    pthread_mutex_lock(&collect_lock);
    observe_for_old(old);
    pthread_mutex_lock(&registry_lock);
    replace_routes(next, &replaced);
    current = next;
    pthread_mutex_unlock(&registry_lock);
    if (next)
        atomic_store(&exemplar_filter, (int)next->exemplar_filter);
    collect_drain(); /* waits until nobody reads the old routes */
    retire_stores(&replaced, old, next);
    free_replaced(&replaced);
    pthread_mutex_unlock(&collect_lock);
}

static void set_servers(const struct metrics_pipeline *next)
{
    for (unsigned i = 0; next && i < next->count; i++)
        if (next->members[i].server)
            pull_server_set(next->members[i].server, next->members[i].reader);
}

static void start_readers(const struct metrics_pipeline *next)
{
    for (unsigned i = 0; next && i < next->count; i++) {
        const struct member *member = &next->members[i];
        if (member->reader->pull)
            continue;
        if (member->reader_is_old)
            reader_wake(member->reader);
        else
            reader_start(member->reader);
    }
}

static bool close_old(struct metrics_pipeline *old, const struct metrics_pipeline *next, int64_t deadline_ns)
{
    bool ok = true;
    for (unsigned i = 0; i < old->count; i++)
        if (!has_reader(next, old->members[i].reader))
            reader_leave(old->members[i].reader, deadline_ns);
    for (unsigned i = 0; i < old->count; i++)
        if (old->members[i].server && !has_server(next, old->members[i].server))
            pull_server_close(old->members[i].server);
    for (unsigned i = 0; i < old->count; i++)
        if (!has_reader(next, old->members[i].reader))
            ok &= reader_close(old->members[i].reader);
    free(old);
    return ok;
}

/* next NULL: the end. */
static bool commit(struct metrics_pipeline *next, int64_t deadline_ns)
{
    struct metrics_pipeline *old = current;
    pthread_mutex_lock(&pull_lock);
    swap(old, next);
    set_servers(next);
    pthread_mutex_unlock(&pull_lock);
    start_readers(next);
    return !old || close_old(old, next, deadline_ns);
}

void metrics_commit(struct metrics_pipeline *pipeline, int64_t deadline_ns)
{
    commit(pipeline, deadline_ns);
}

bool metrics_stop(int64_t deadline_ns)
{
    return commit(NULL, deadline_ns);
}

bool metrics_flush(int64_t deadline_ns)
{
    uint64_t rounds[READERS_MAX + 1];
    bool ok = true;
    for (unsigned i = 0; current && i < current->count; i++)
        if (!current->members[i].reader->pull)
            rounds[i] = reader_ask(current->members[i].reader, deadline_ns);
    for (unsigned i = 0; current && i < current->count; i++)
        if (!current->members[i].reader->pull)
            ok &= reader_await(current->members[i].reader, rounds[i], deadline_ns);
    return ok;
}
