/* One look at a table that only grows, in which a call is found by the addresses of its texts, and recognised by what
 * they say. Texts that have another address each time only make more sites of the same; beyond SITES_MAX calls do
 * without one, so that no caller fills it. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"
#include "otel/instrument/instrument.h"

enum { SLOTS = 2048, SITES_MAX = 1024, TEXTS_BYTES = 256 };

static _Atomic(struct call_site *) slots[SLOTS];
static unsigned site_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* A request's path and its sender are no part of a site. */
static const char *peer_of(const struct call *call)
{
    return call->kind == CALL_HTTP_SERVER ? NULL : call->peer;
}

static const char *text_of(const struct call *call)
{
    return call->kind == CALL_HTTP_SERVER ? NULL : call->text;
}

static uint64_t mix(uint64_t hash, const void *address)
{
    return (hash ^ (uintptr_t)address) * UINT64_C(0x9e3779b97f4a7c15);
}

static unsigned first_slot(const struct call *call)
{
    uint64_t hash = mix(mix(mix(mix((uint64_t)call->kind, call->name), call->method), call->place), peer_of(call));
    return (unsigned)(hash >> 32) % SLOTS;
}

/* The text is a statement's: it has its name, and lives as long. */
static bool is_of(const struct call_site *site, const struct call *call)
{
    return site->kind == call->kind && site->text == text_of(call) && same_text(site->name, call->name) &&
           same_text(site->method, call->method) && same_text(site->place, call->place) &&
           same_text(site->peer, peer_of(call));
}

static struct call_site *look_up(const struct call *call, unsigned *out_slot)
{
    unsigned slot = first_slot(call);
    struct call_site *site;
    while ((site = atomic_load_explicit(&slots[slot], memory_order_acquire)) && !is_of(site, call))
        slot = (slot + 1) % SLOTS;
    *out_slot = slot;
    return site;
}

static const char *utf8_or_null(const char *text)
{
    for (size_t at = 0, bytes; text[at]; at += bytes)
        if ((bytes = utf8_sequence(text + at)) == 0)
            return NULL;
    return text;
}

static const char *copy_text(struct arena *arena, const char *text)
{
    return text ? arena_text(arena, text, strlen(text)) : NULL;
}

static struct call_site *site_new(const struct call *call)
{
    const struct call_convention *convention = convention_of(call);
    struct call_site *site = mem_aligned(_Alignof(struct call_site), sizeof *site);
    struct otel_attribute constants[SITE_ATTRIBUTES_MAX];
    arena_init(&site->arena, TEXTS_BYTES);
    site->kind = call->kind;
    site->name = copy_text(&site->arena, call->name);
    site->method = copy_text(&site->arena, call->method);
    site->place = copy_text(&site->arena, call->place);
    site->peer = copy_text(&site->arena, peer_of(call));
    site->text = text_of(call);
    const struct call like = {.kind = site->kind, .name = site->name, .method = site->method};
    site->span_name = utf8_or_null(convention->name(&like, &site->arena));
    site->constants = otel_attribute_set_new(constants, convention->constants(call, constants));
    if (call->kind == CALL_HTTP_SERVER)
        site->active = series_active(call);
    return site;
}

static struct call_site *add(const struct call *call)
{
    unsigned slot;
    pthread_mutex_lock(&lock);
    struct call_site *site = look_up(call, &slot); /* another thread may have been first */
    if (!site && site_count < SITES_MAX) {
        site = site_new(call);
        site_count++;
        atomic_store_explicit(&slots[slot], site, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return site;
}

struct call_site *site_find(const struct call *call)
{
    unsigned slot;
    struct call_site *site = look_up(call, &slot);
    return site ? site : add(call);
}

const struct call_series *site_series(struct call_site *site, const struct call *call, const char *error)
{
    if (!site || error)
        return series_find(call, error);
    const struct call_series *usual = atomic_load_explicit(&site->usual, memory_order_acquire);
    if (usual && usual->status == call->status)
        return usual;
    usual = series_find(call, NULL);
    atomic_store_explicit(&site->usual, usual, memory_order_release);
    return usual;
}
