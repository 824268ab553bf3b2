/* A call that is like one before it finds its bound metrics here by what both repeat: one look at a table that only
 * grows. Beyond SERIES_MAX kinds of call the rest share one series a kind, so that no caller fills it. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "common/mem.h"
#include "otel/instrument/instrument.h"

enum { SLOTS = 2048, SERIES_MAX = 1024, KINDS = CALL_STREAM_SETTLE + 1 };

struct entry {
    struct call_series series;
    struct call key; /* texts are copies */
    const char *error;
    uint32_t hash;
};

static _Atomic(struct entry *) slots[SLOTS];
static unsigned entry_count;
static struct entry *rest[KINDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint32_t mix(uint32_t hash, const char *text)
{
    for (; text && *text; text++)
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash * 16777619u;
}

/* Names are told apart by their ends mostly, and hashed whole; a place is one for all calls of a name. */
static uint32_t hash_of(const struct call *call, const char *error)
{
    uint32_t hash = 2166136261u ^ (uint32_t)call->kind ^ (uint32_t)call->status << 8;
    hash = mix(hash, call->name);
    if (call->kind == CALL_HTTP_SERVER)
        hash = mix(hash, call->method);
    return mix(hash, error);
}

static bool same(const struct entry *entry, const struct call *call, const char *error)
{
    const struct call *key = &entry->key;
    return key->kind == call->kind && key->status == call->status && same_text(key->name, call->name) &&
           same_text(key->method, call->method) && same_text(key->place, call->place) && same_text(entry->error, error);
}

static struct entry *look_up(const struct call *call, const char *error, uint32_t hash, unsigned *out_slot)
{
    unsigned slot = hash % SLOTS;
    struct entry *entry;
    while ((entry = atomic_load_explicit(&slots[slot], memory_order_acquire)) &&
           (entry->hash != hash || !same(entry, call, error)))
        slot = (slot + 1) % SLOTS;
    *out_slot = slot;
    return entry;
}

/* --- binding */

static struct otel_meter *meter(void)
{
    return otel_meter("bodega.libcommon", BODEGA_VERSION, SEMCONV_SCHEMA_URL);
}

static struct otel_histogram *histogram(const char *name, const char *description, const double *bounds, unsigned count)
{
    const struct otel_instrument_options options = {
        .unit = "s", .description = description, .number = OTEL_NUMBER_REAL, .bounds = bounds, .bound_count = count};
    return otel_histogram(meter(), name, &options);
}

static struct otel_counter *counter(const char *name, const char *unit, const char *description)
{
    const struct otel_instrument_options options = {.unit = unit, .description = description};
    return otel_counter(meter(), name, &options);
}

/* The names that dashboards of HTTP services know since long before the conventions. */
static void bind_classic(struct call_series *series, const struct call *call, const struct duration *duration)
{
    const struct otel_attribute attributes[] = {otel_text("method", call->method), otel_text("path", call->name),
                                                otel_int("status", call->status)};
    series->requests =
        otel_counter_bind(counter("http_requests_total", NULL, "HTTP requests answered."), attributes, 3);
    series->request_duration =
        otel_histogram_bind(histogram("http_request_duration_seconds", "Time to answer an HTTP request.",
                                      duration->bounds, duration->bound_count),
                            attributes, 2);
}

static void bind(struct call_series *series, const struct call *call, const char *error)
{
    const struct call_convention *convention = convention_of(call);
    const struct duration *duration = &convention->duration;
    struct otel_attribute attributes[SERIES_ATTRIBUTES_MAX];
    unsigned count = convention->attributes(call, error, attributes);
    series->duration = otel_histogram_bind(
        histogram(duration->name, duration->description, duration->bounds, duration->bound_count), attributes, count);
    if (call->kind == CALL_HTTP_SERVER)
        bind_classic(series, call, duration);
    if (call->kind == CALL_STREAM_SEND)
        series->messages = otel_counter_bind(
            counter("messaging.client.sent.messages", "{message}", "Messages that were tried to send."), attributes,
            count);
    if (call->kind == CALL_STREAM_RECEIVE)
        series->messages = otel_counter_bind(
            counter("messaging.client.consumed.messages", "{message}", "Messages delivered."), attributes, count);
}

static const struct otel_attribute_set *outcome_of(const struct call *call, const char *error)
{
    struct otel_attribute attributes[SITE_ATTRIBUTES_MAX];
    return otel_attribute_set_new(attributes, convention_of(call)->outcome(call, error, attributes));
}

static struct entry *entry_new(const struct call *call, const char *error, uint32_t hash)
{
    struct entry *entry = mem_alloc(sizeof *entry);
    entry->hash = hash;
    entry->key = (struct call){.kind = call->kind,
                               .status = call->status,
                               .name = mem_text(call->name),
                               .method = mem_text(call->method),
                               .place = mem_text(call->place)};
    entry->error = mem_text(error);
    entry->series.status = call->status;
    bind(&entry->series, call, error);
    return entry;
}

static struct entry *rest_of(const struct call *call)
{
    struct call any = {.kind = call->kind, .name = "_OTHER", .method = "_OTHER"};
    if (!rest[call->kind])
        rest[call->kind] = entry_new(&any, NULL, 0);
    return rest[call->kind];
}

static struct entry *add(const struct call *call, const char *error, uint32_t hash)
{
    unsigned slot;
    pthread_mutex_lock(&lock);
    struct entry *entry = look_up(call, error, hash, &slot); /* another thread may have been first */
    if (!entry && entry_count == SERIES_MAX) {
        entry = rest_of(call);
    } else if (!entry) {
        entry = entry_new(call, error, hash);
        entry->series.outcome = outcome_of(call, error);
        entry_count++;
        atomic_store_explicit(&slots[slot], entry, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return entry;
}

const struct call_series *series_find(const struct call *call, const char *error)
{
    unsigned slot;
    uint32_t hash = hash_of(call, error);
    struct entry *entry = look_up(call, error, hash, &slot);
    return &(entry ? entry : add(call, error, hash))->series;
}

/* --- requests in work */

struct otel_bound_counter *series_active(const struct call *call)
{
    const struct otel_instrument_options options = {.unit = "{request}", .description = "HTTP requests in work."};
    const struct otel_attribute attributes[] = {otel_text(ATTR_HTTP_METHOD, call->method),
                                                otel_text(ATTR_URL_SCHEME, "http")};
    return otel_up_down_counter_bind(otel_up_down_counter(meter(), "http.server.active_requests", &options), attributes,
                                     2);
}
