/* A table that only grows: who looks up takes no lock, who adds takes one. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "otel/sdk/model.h"

enum { SCOPES_MAX = 1000, BUCKETS = 256 };

struct scope_node {
    struct sdk_scope scope;
    struct scope_node *next;
};

static _Atomic(struct scope_node *) buckets[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned count;
static struct scope_node *last;

static unsigned hash(const char *text)
{
    unsigned h = 2166136261u;
    for (; text && *text; text++)
        h = (h ^ (unsigned char)*text) * 16777619u;
    return h;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static const struct sdk_scope *find(_Atomic(struct scope_node *) *bucket, const struct sdk_scope *wanted)
{
    for (struct scope_node *n = atomic_load_explicit(bucket, memory_order_acquire); n; n = n->next)
        if (same(n->scope.name, wanted->name) && same(n->scope.version, wanted->version) &&
            same(n->scope.schema_url, wanted->schema_url))
            return &n->scope;
    return NULL;
}

static const struct sdk_scope *add(_Atomic(struct scope_node *) *bucket, const struct sdk_scope *wanted)
{
    if (count == SCOPES_MAX)
        return &last->scope;
    if (++count == SCOPES_MAX)
        log_event(LOG_WARN, "too many instrumentation scopes: the last one stands for all further ones",
                  log_text("scope", wanted->name), log_int("most", SCOPES_MAX));
    last = mem_alloc(sizeof *last);
    last->scope = (struct sdk_scope){mem_text(wanted->name), mem_text(wanted->version), mem_text(wanted->schema_url)};
    last->next = atomic_load_explicit(bucket, memory_order_relaxed);
    atomic_store_explicit(bucket, last, memory_order_release);
    return &last->scope;
}

const struct sdk_scope *sdk_scope(const char *name, const char *version, const char *schema_url)
{
    const struct sdk_scope wanted = {name ? name : "", version, schema_url};
    _Atomic(struct scope_node *) *bucket = &buckets[(hash(wanted.name) ^ hash(version)) % BUCKETS];
    const struct sdk_scope *scope = find(bucket, &wanted);
    if (scope)
        return scope;
    pthread_mutex_lock(&lock);
    scope = find(bucket, &wanted); /* somebody else may have been faster */
    if (!scope)
        scope = add(bucket, &wanted);
    pthread_mutex_unlock(&lock);
    return scope;
}
