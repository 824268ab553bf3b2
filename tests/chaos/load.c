#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chaos/chaos.h"
#include "common/clock.h"
#include "common/mem.h"

enum { STOP_PATIENCE_S = 60, RETRY_MS_MAX = 200 };

struct client {
    pthread_t thread;
    unsigned number;
    uint64_t random;
    struct history history;
};

static struct {
    struct shop *shop;
    char *user_id;
    struct uuid user;
    unsigned orders_per_s;
    int64_t begin_ns, give_up_ns;
    atomic_bool stop;
    atomic_ulong started, acknowledged, refused, abandoned, unknown, cancelled, cancels_unknown, calls, failed, strange;
    struct client clients[CLIENTS];
} load;

void chaos_product(unsigned number, char out[UUID_TEXT_BYTES])
{
    snprintf(out, UUID_TEXT_BYTES, "c0000000-0000-4000-8000-%012u", number);
}

/* --- calls: 0 when nobody knows what became of it */

static int call(struct client *client, const char *path, const char *body, const char *key, char *title, size_t bytes)
{
    struct answer answer;
    char header[80];
    const char *headers[] = {header, NULL};
    const char *base = random_below(&client->random, 2) ? load.shop->base_url : load.shop->twin_url;
    snprintf(header, sizeof header, "Idempotency-Key: %s", key ? key : "");
    http_call_at(base, "POST", path, body, key ? headers : NULL, &answer);
    atomic_fetch_add(&load.calls, 1);
    int status = answer.status;
    snprintf(title, bytes, "%s", answer_text(&answer, status == 200 ? "id" : "title"));
    answer_done(&answer);
    if (status == 0 || status >= 500)
        atomic_fetch_add(&load.failed, 1);
    return status == 0 || status >= 500 ? 0 : status;
}

static void tell_strange(const char *what, int status, const char *title)
{
    atomic_fetch_add(&load.strange, 1);
    print_error("%s was answered %d %s\n", what, status, title);
}

static enum outcome judge(const struct wish *wish, int status, const char *title)
{
    char id[UUID_TEXT_BYTES];
    if (status == 0)
        return OUTCOME_UNKNOWN;
    if (status == 200 && strcmp(title, uuid_format(wish->id, id)) == 0)
        return OUTCOME_ACKNOWLEDGED;
    if (status == 400 && strcmp(title, "Insufficient inventory") == 0)
        return OUTCOME_REFUSED;
    if (status == 409 && strcmp(title, "Order abandoned") == 0)
        return OUTCOME_ABANDONED;
    tell_strange("an order", status, title);
    return OUTCOME_UNKNOWN;
}

/* --- a careful client: the same key until the answer is known */

static bool may_go_on(void)
{
    return !atomic_load(&load.stop) || clock_now_ns() < load.give_up_ns;
}

static void pause_before_retry(struct client *client)
{
    usleep((20 + random_below(&client->random, RETRY_MS_MAX)) * 1000);
}

static void place(struct client *client, struct wish *wish, const char *key)
{
    char body[300], product[UUID_TEXT_BYTES], title[80];
    chaos_product(wish->product, product);
    snprintf(body, sizeof body, "{\"user_id\":\"%s\",\"product_id\":\"%s\",\"quantity\":%d}", load.user_id, product,
             wish->quantity);
    while (wish->outcome == OUTCOME_UNKNOWN && may_go_on()) {
        if (wish->tries++ > 0)
            pause_before_retry(client);
        int status = call(client, "/api/orders", body, key, title, sizeof title);
        wish->outcome = judge(wish, status, title);
    }
}

static void cancel(struct client *client, struct wish *wish)
{
    char path[100], id[UUID_TEXT_BYTES], title[80];
    snprintf(path, sizeof path, "/api/orders/%s/cancel", uuid_format(wish->id, id));
    for (bool again = false; wish->cancel != CANCEL_ACKNOWLEDGED && may_go_on(); again = true) {
        if (again)
            pause_before_retry(client);
        wish->cancel = CANCEL_ASKED;
        int status = call(client, path, NULL, NULL, title, sizeof title);
        if (status == 200)
            wish->cancel = CANCEL_ACKNOWLEDGED;
        else if (status != 0)
            tell_strange("a cancellation", status, title);
    }
}

static void count(const struct wish *wish)
{
    atomic_ulong *counters[] = {[OUTCOME_UNKNOWN] = &load.unknown,
                                [OUTCOME_ACKNOWLEDGED] = &load.acknowledged,
                                [OUTCOME_REFUSED] = &load.refused,
                                [OUTCOME_ABANDONED] = &load.abandoned};
    atomic_fetch_add(counters[wish->outcome], 1);
    if (wish->cancel != CANCEL_NO)
        atomic_fetch_add(wish->cancel == CANCEL_ACKNOWLEDGED ? &load.cancelled : &load.cancels_unknown, 1);
}

static void wish_something(struct client *client)
{
    char key[64];
    unsigned number = client->history.count++;
    client->history.wishes = mem_resize(client->history.wishes, client->history.count, sizeof(struct wish));
    struct wish *wish = &client->history.wishes[number];
    snprintf(key, sizeof key, "chaos-%u-%u", client->number, number);
    *wish = (struct wish){
        .id = uuid_v5(load.user, key, strlen(key)),
        .product = random_below(&client->random, 50) == 0 ? SCARCE : random_below(&client->random, SCARCE),
        .quantity = 1 + (int)random_below(&client->random, 3),
    };
    place(client, wish, key);
    if (wish->outcome == OUTCOME_ACKNOWLEDGED && wish->product != SCARCE && random_below(&client->random, 8) == 0)
        cancel(client, wish);
    count(wish);
}

/* All clients together keep the rate, as long as the shop does. */
static void wait_for_turn(void)
{
    int64_t turn = (int64_t)atomic_fetch_add(&load.started, 1);
    int64_t at_ns = load.begin_ns + turn * NS_PER_S / load.orders_per_s;
    while (clock_now_ns() < at_ns && !atomic_load(&load.stop))
        usleep(1000);
}

static void *run_client(void *arg)
{
    struct client *client = arg;
    for (;;) {
        wait_for_turn();
        if (atomic_load(&load.stop))
            return NULL;
        wish_something(client);
    }
}

/* --- outside */

void load_start(struct shop *shop, uint64_t seed, unsigned orders_per_s)
{
    char product[UUID_TEXT_BYTES];
    load.shop = shop;
    load.user_id = shop_add_user(shop);
    assert_true(uuid_parse(load.user_id, &load.user));
    load.orders_per_s = orders_per_s;
    for (unsigned i = 0; i < PRODUCTS; i++) {
        chaos_product(i, product);
        shop_add_product(shop, product, i == SCARCE ? SCARCE_STOCK : STOCK);
    }
    load.begin_ns = clock_now_ns();
    for (unsigned i = 0; i < CLIENTS; i++) {
        load.clients[i] = (struct client){.number = i, .random = seed * CLIENTS + i};
        assert_int_equal(pthread_create(&load.clients[i].thread, NULL, run_client, &load.clients[i]), 0);
    }
}

void load_stop(void)
{
    load.give_up_ns = clock_now_ns() + STOP_PATIENCE_S * NS_PER_S;
    atomic_store(&load.stop, true);
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(load.clients[i].thread, NULL);
}

const struct history *load_history(unsigned client)
{
    return &load.clients[client].history;
}

struct load_totals load_totals(void)
{
    return (struct load_totals){
        .acknowledged = atomic_load(&load.acknowledged),
        .refused = atomic_load(&load.refused),
        .abandoned = atomic_load(&load.abandoned),
        .unknown = atomic_load(&load.unknown),
        .cancelled = atomic_load(&load.cancelled),
        .cancels_unknown = atomic_load(&load.cancels_unknown),
        .calls = atomic_load(&load.calls),
        .failed = atomic_load(&load.failed),
        .strange = atomic_load(&load.strange),
    };
}

void load_free(void)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        free(load.clients[i].history.wishes);
    free(load.user_id);
}
