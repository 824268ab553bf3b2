#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "chaos/chaos.h"

enum { WAIT_MS_MIN = 300, WAIT_MS_MAX = 3000, DEAD_MS_MAX = 1000, STALL_MS_MAX = 2000, LOSS_MS_MAX = 1000 };

static struct fault_totals totals;

static void sleep_up_to(uint64_t *random, unsigned ms_max)
{
    usleep(random_below(random, ms_max) * 1000);
}

static enum shop_service any_service(uint64_t *random)
{
    return (enum shop_service)random_below(random, SHOP_PROCESSES);
}

static void kill_service(struct shop *shop, uint64_t *random)
{
    enum shop_service service = any_service(random);
    shop_kill(shop, service);
    sleep_up_to(random, DEAD_MS_MAX);
    shop_start(shop, service);
    totals.services++;
}

/* Both of one kind: for a moment nobody can do its work. */
static void kill_twins(struct shop *shop, uint64_t *random)
{
    enum shop_service service = (enum shop_service)random_below(random, SHOP_SERVICES);
    shop_kill(shop, service);
    shop_kill(shop, shop_twin(service));
    sleep_up_to(random, DEAD_MS_MAX);
    shop_start(shop, service);
    shop_start(shop, shop_twin(service));
    totals.services += 2;
}

static void kill_postgres(struct shop *shop, uint64_t *random)
{
    test_postgres_kill(&shop->postgres);
    sleep_up_to(random, DEAD_MS_MAX);
    test_postgres_start(&shop->postgres);
    totals.postgres++;
}

static void kill_redis(struct shop *shop, uint64_t *random)
{
    test_redis_stop(&shop->redis);
    sleep_up_to(random, DEAD_MS_MAX);
    test_redis_start(&shop->redis);
    totals.redis++;
}

/* As a power cut: AOF everysec has not reached the disk for up to a second. */
static void lose_end_of_redis(struct shop *shop, uint64_t *random)
{
    long mark = test_redis_mark(&shop->redis);
    sleep_up_to(random, LOSS_MS_MAX);
    test_redis_stop(&shop->redis);
    test_redis_lose(&shop->redis, mark);
    sleep_up_to(random, DEAD_MS_MAX);
    test_redis_start(&shop->redis);
    totals.redis++;
    totals.redis_losses++;
}

static void cut_database(struct shop *shop, uint64_t *random)
{
    (void)random;
    free(shop_sql(shop, "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = 'ecommerce' and"
                        " pid <> pg_backend_pid() and random() < 0.5"));
    totals.cuts++;
}

static void cut_redis(struct shop *shop, uint64_t *random)
{
    (void)random;
    redisContext *context = redisConnect("127.0.0.1", shop->redis.port);
    freeReplyObject(redisCommand(context, "CLIENT KILL TYPE normal SKIPME yes"));
    redisFree(context);
    totals.cuts++;
}

static void stall_service(struct shop *shop, uint64_t *random)
{
    enum shop_service service = any_service(random);
    kill(shop->services[service].pid, SIGSTOP);
    sleep_up_to(random, STALL_MS_MAX);
    kill(shop->services[service].pid, SIGCONT);
    totals.stalls++;
}

void faults_next(struct shop *shop, uint64_t *random)
{
    static const struct {
        unsigned of_100;
        void (*strike)(struct shop *shop, uint64_t *random);
    } faults[] = {
        {40, kill_service},     {8, kill_twins},   {10, kill_postgres}, {8, kill_redis},
        {8, lose_end_of_redis}, {8, cut_database}, {8, cut_redis},      {10, stall_service},
    };
    usleep((WAIT_MS_MIN + random_below(random, WAIT_MS_MAX - WAIT_MS_MIN)) * 1000);
    unsigned point = random_below(random, 100), i = 0;
    for (; point >= faults[i].of_100; i++)
        point -= faults[i].of_100;
    faults[i].strike(shop, random);
}

struct fault_totals faults_totals(void)
{
    return totals;
}

unsigned faults_kills(void)
{
    return totals.services + totals.postgres + totals.redis;
}
