#include "auth/password.h"

#include <assert.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/jws.h"
#include "common/auth.h"
#include "common/clock.h"

enum { PASSES = 2, MEMORY_BYTES = 19 * 1024 * 1024 };

_Static_assert((int)AUTH_HASH_BYTES >= (int)crypto_pwhash_STRBYTES, "a hash has its place");

/* Of random bytes, with the same cost: nobody has a password for it. */
static const char nobodys[crypto_pwhash_STRBYTES] = "$argon2id$v=19$m=19456,t=2,p=1$9vqkZg0yB0Wc3vR0uFJ8XA$"
                                                    "4n1zq0hQ2VwH5yVb7m3oXkq8cGJr0tTzN5yE6fUu1aM";

static struct offload_pool *pool;
static atomic_uint_fast64_t computed;

void password_pool_open(unsigned threads, unsigned queue_max)
{
    jws_library();
    assert(crypto_pwhash_str_needs_rehash(nobodys, PASSES, MEMORY_BYTES) == 0);
    atomic_store(&computed, 0);
    pool = offload_pool_open(threads, queue_max);
}

void password_pool_close(void)
{
    offload_pool_close(pool);
    pool = NULL;
}

struct offload_stats password_stats(void)
{
    struct offload_stats stats = offload_pool_stats(pool);
    stats.done = atomic_load(&computed);
    return stats;
}

/* What is computed elsewhere; the password stays until then. */
struct job {
    const char *password;
    char hash[crypto_pwhash_STRBYTES]; /* to check against, or "": make one */
    int64_t deadline_ns;
    bool late, right;
};

/* What is no hash is told at once: that is no work done. */
static bool costs_a_hash(const char hash[crypto_pwhash_STRBYTES])
{
    return !hash[0] || crypto_pwhash_str_needs_rehash(hash, PASSES, MEMORY_BYTES) >= 0;
}

static void compute(void *arg)
{
    struct job *job = arg;
    size_t bytes = strlen(job->password);
    job->late = clock_now_ns() >= job->deadline_ns;
    if (job->late)
        return;
    if (costs_a_hash(job->hash))
        atomic_fetch_add(&computed, 1);
    if (job->hash[0])
        job->right = crypto_pwhash_str_verify(job->hash, job->password, bytes) == 0;
    else if (crypto_pwhash_str(job->hash, job->password, bytes, PASSES, MEMORY_BYTES) != 0)
        abort(); /* out of memory */
}

static enum err run(struct request *req, struct job *job)
{
    enum err err = request_check(req);
    if (!err)
        err = offload_pool_run(pool, req, compute, job);
    if (!err && job->late)
        return fail(req, ERR_DEADLINE_EXCEEDED, "the request's time is over");
    return err;
}

enum err password_hash(struct request *req, const char *password, char out[AUTH_HASH_BYTES])
{
    struct job job = {.password = password, .deadline_ns = req->deadline_ns};
    enum err err = run(req, &job);
    if (!err)
        memcpy(out, job.hash, sizeof job.hash);
    return err;
}

enum err password_check(struct request *req, const char *password, const char *hash, bool *out_right)
{
    struct job job = {.password = password, .deadline_ns = req->deadline_ns};
    snprintf(job.hash, sizeof job.hash, "%s", hash ? hash : nobodys);
    enum err err = run(req, &job);
    if (!err)
        *out_right = hash && job.right;
    return err;
}
