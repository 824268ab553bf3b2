#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/log.h"
#include "common/mem.h"
#include "otel/metrics/pipeline.h"
#include "otel/metrics/store.h"

enum { NAME_BYTES_MAX = 255, UNIT_BYTES_MAX = 63, INSTRUMENTS_MAX = 10000, REFUSED_MAX = 100 };

struct otel_meter {
    struct otel_meter *next;
    const struct sdk_scope *scope;
    struct instrument *instruments;
};

pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct otel_meter *meters;
static _Atomic(struct instrument *) first;
static struct instrument *last;
static unsigned instrument_count;

/* What malformed names get: it has no route and never will. */
static struct instrument nowhere = {.name = "", .unit = ""};

struct instrument *instruments_first(void)
{
    return atomic_load_explicit(&first, memory_order_acquire);
}

static struct otel_meter *find_meter(const struct sdk_scope *scope)
{
    for (struct otel_meter *m = meters; m; m = m->next)
        if (m->scope == scope)
            return m;
    return NULL;
}

static struct otel_meter *add_meter(const struct sdk_scope *scope)
{
    struct otel_meter *meter = mem_alloc(sizeof *meter);
    meter->scope = scope;
    meter->next = meters;
    meters = meter;
    if (!scope->name[0])
        log_event(LOG_ERROR, "a meter has no name");
    return meter;
}

struct otel_meter *otel_meter(const char *name, const char *version, const char *schema_url)
{
    const struct sdk_scope *scope = sdk_scope(name, version, schema_url);
    pthread_mutex_lock(&registry_lock);
    struct otel_meter *meter = find_meter(scope);
    if (!meter)
        meter = add_meter(scope);
    pthread_mutex_unlock(&registry_lock);
    return meter;
}

/* --- what an instrument may be called */

static bool name_valid(const char *name)
{
    size_t length = name ? strlen(name) : 0;
    if (length == 0 || length > NAME_BYTES_MAX || !isascii(name[0]) || !isalpha(name[0]))
        return false;
    for (const char *c = name; *c; c++)
        if (!isascii(*c) || (!isalnum(*c) && !strchr("_.-/", *c)))
            return false;
    return true;
}

static bool unit_valid(const char *unit)
{
    if (!unit)
        return true;
    for (const char *c = unit; *c; c++)
        if (!isascii(*c))
            return false;
    return strlen(unit) <= UNIT_BYTES_MAX;
}

/* Once a name; beyond the most of them nothing is said any more. */
static void refuse(const struct otel_meter *meter, const char *name, const char *reason)
{
    static const char *refused[REFUSED_MAX];
    static unsigned count;
    name = name ? name : "";
    for (unsigned i = 0; i < count; i++)
        if (strcmp(refused[i], name) == 0)
            return;
    if (count == REFUSED_MAX)
        return;
    refused[count++] = mem_text(name);
    log_event(LOG_ERROR, "an instrument is not recorded", log_text("instrument", name),
              log_text("meter", meter->scope->name), log_text("reason", reason));
}

/* --- identity */

static struct instrument *find_same(const struct otel_meter *meter, const struct instrument *wanted)
{
    for (struct instrument *i = meter->instruments; i; i = i->sibling)
        if (i->kind == wanted->kind && i->integer == wanted->integer && strcasecmp(i->name, wanted->name) == 0 &&
            strcmp(i->unit, wanted->unit) == 0)
            return i;
    return NULL;
}

static bool same_keys(const char *const *a, const char *const *b)
{
    if (!a || !b)
        return a == b;
    for (; *a && *b; a++, b++)
        if (strcmp(*a, *b) != 0)
            return false;
    return *a == *b;
}

static bool same_advice(const struct instrument *a, const struct instrument *b)
{
    if (a->bound_count != b->bound_count || !a->bounds != !b->bounds || !same_keys(a->keys, b->keys))
        return false;
    return a->bound_count == 0 || memcmp(a->bounds, b->bounds, sizeof *a->bounds * a->bound_count) == 0;
}

static void warn_of_words(struct instrument *instrument, const char *message, const char *advice)
{
    if (instrument->warned & WARNED_OF_WORDS)
        return;
    instrument->warned |= WARNED_OF_WORDS;
    log_event(LOG_WARN, message, log_text("instrument", instrument->name), log_text("meter", instrument->scope->name),
              log_text("advice", advice));
}

static struct description *describe(const char *text, struct description *shorter)
{
    size_t bytes = strlen(text) + 1;
    struct description *description = mem_alloc(sizeof *description + bytes);
    memcpy(description->text, text, bytes);
    description->shorter = shorter;
    return description;
}

static bool views_describe(const struct instrument *instrument)
{
    const struct route *route = instrument_route(instrument);
    for (unsigned i = 0; route && i < route->count; i++)
        if (!route->stores[i]->stream.description)
            return false;
    return route && route->count > 0;
}

/* Of two descriptions the longer one is kept, as the data model recommends. */
static void compare_description(struct instrument *old, const char *text)
{
    const char *before = instrument_description(old);
    if (strcmp(before, text) == 0)
        return;
    if (strlen(text) > strlen(before))
        atomic_store(&old->description, describe(text, atomic_load(&old->description)));
    if (!views_describe(old))
        warn_of_words(old, "an instrument was asked for with another description", "a view can set stream.description");
}

/* Otherwise the first one's words count. */
static void compare_rest(struct instrument *old, const struct instrument *wanted, const char *description)
{
    if (strcmp(old->name, wanted->name) != 0)
        warn_of_words(old, "an instrument was asked for in another case",
                      "names have no case: write it as the first time");
    if (!same_advice(old, wanted))
        warn_of_words(old, "an instrument was asked for with other advice", "the first one's bounds and keys count");
    compare_description(old, description);
}

/* --- conflicts */

static bool same_stream_name(const struct store *a, const struct store *b)
{
    return a != b && (a->readers & b->readers) != 0 && strcasecmp(a->stream.name, b->stream.name) == 0;
}

static bool any_shares_name(const struct store *store, const struct route *route)
{
    for (unsigned i = 0; route && i < route->count; i++)
        if (same_stream_name(store, route->stores[i]))
            return true;
    return false;
}

/* The other instrument of the meter that has a stream of this name, which may be the same one. */
static struct instrument *find_rival(const struct instrument *instrument, struct instrument *from)
{
    const struct route *route = instrument_route(instrument);
    for (struct instrument *i = from; i; i = i->sibling)
        for (unsigned s = 0; route && s < route->count; s++)
            if (any_shares_name(route->stores[s], instrument_route(i)))
                return i;
    return NULL;
}

void instrument_check_names(struct instrument *instrument)
{
    if (instrument->warned & WARNED_OF_NAME)
        return;
    struct instrument *rival = find_rival(instrument, find_meter(instrument->scope)->instruments);
    if (!rival)
        return;
    instrument->warned |= WARNED_OF_NAME;
    rival->warned |= WARNED_OF_NAME;
    log_event(LOG_WARN, "two metrics have one name", log_text("instrument", instrument->name),
              log_text("other", rival->name), log_text("meter", instrument->scope->name),
              log_text("advice", "a view that selects one of them, by instrument_type or unit if the names are the "
                                 "same, can give it another stream.name"));
}

/* --- making */

static const double *copy_bounds(const struct otel_instrument_options *options, const char *name)
{
    if (!options->bounds)
        return NULL;
    if (!bounds_valid(options->bounds, options->bound_count)) {
        log_event(LOG_ERROR, "bounds are not used: they must be finite and ascend", log_text("instrument", name));
        return NULL;
    }
    double *copy = mem_array(options->bound_count + 1, sizeof *copy);
    memcpy(copy, options->bounds, sizeof *copy * options->bound_count);
    return copy;
}

static const char *const *copy_keys(const char *const *keys)
{
    size_t count = 0;
    if (!keys)
        return NULL;
    while (keys[count])
        count++;
    const char **copy = mem_array(count + 1, sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = mem_text(keys[i]);
    return copy;
}

static struct instrument *add_instrument(struct otel_meter *meter, const struct instrument *wanted,
                                         const struct otel_instrument_options *options)
{
    struct instrument *instrument = mem_alloc(sizeof *instrument);
    instrument->scope = meter->scope;
    instrument->name = mem_text(wanted->name);
    instrument->unit = mem_text(wanted->unit);
    instrument->description = describe(options->description ? options->description : "", NULL);
    instrument->kind = wanted->kind;
    instrument->integer = wanted->integer;
    instrument->bounds = copy_bounds(options, instrument->name);
    instrument->bound_count = instrument->bounds ? options->bound_count : 0;
    instrument->keys = copy_keys(options->attribute_keys);
    instrument->sibling = meter->instruments;
    meter->instruments = instrument;
    instrument->route = pipeline_route(instrument);
    atomic_store_explicit(last ? &last->next : &first, instrument, memory_order_release);
    last = instrument;
    instrument_count++;
    instrument_check_names(instrument);
    return instrument;
}

static struct instrument *get_valid(struct otel_meter *meter, const struct instrument *wanted,
                                    const struct otel_instrument_options *options)
{
    struct instrument *instrument = find_same(meter, wanted);
    if (instrument)
        compare_rest(instrument, wanted, options->description ? options->description : "");
    else if (instrument_count < INSTRUMENTS_MAX)
        instrument = add_instrument(meter, wanted, options);
    else
        refuse(meter, wanted->name, "there are 10,000 instruments already");
    return instrument ? instrument : &nowhere;
}

struct instrument *instrument_get(struct otel_meter *meter, enum instrument_kind kind, const char *name,
                                  const struct otel_instrument_options *options)
{
    static const struct otel_instrument_options none;
    options = options ? options : &none;
    struct instrument wanted = {.name = name,
                                .unit = options->unit ? options->unit : "",
                                .kind = kind,
                                .integer = options->number == OTEL_NUMBER_INT,
                                .bounds = options->bounds,
                                .bound_count = options->bounds ? options->bound_count : 0,
                                .keys = options->attribute_keys};
    struct instrument *instrument = &nowhere;
    pthread_mutex_lock(&registry_lock);
    if (!name_valid(name))
        refuse(meter, name, "the name is malformed");
    else if (!unit_valid(options->unit))
        refuse(meter, name, "the unit is malformed");
    else
        instrument = get_valid(meter, &wanted, options);
    pthread_mutex_unlock(&registry_lock);
    return instrument;
}
