/* Orders survive whatever dies. By itself a short run with a fixed seed; `make chaos MINUTES=10` for a long one with
 * the waiting times of production. $CHAOS_MINUTES, $SEED and $RATE (orders a second) say how. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "chaos/chaos.h"
#include "common/clock.h"

enum { SHORT_SECONDS = 20, SHORT_SEED = 5, RATE = 250, CONVERGED_MAX_S = 90, REPORT_EVERY_S = 15 };

static struct shop shop;

static long number_of(const char *variable, long otherwise)
{
    const char *text = getenv(variable);
    char *end;
    if (!text || !*text)
        return otherwise;
    long number = strtol(text, &end, 10);
    if (*end || number < 1) {
        fprintf(stderr, "chaos: %s: expected a number from 1 on, got \"%s\"\n", variable, text);
        exit(2);
    }
    return number;
}

static void report(int64_t begin_ns)
{
    struct load_totals load = load_totals();
    print_message(
        "%5.0f s: %lu orders acknowledged, %lu cancelled, %lu refused, %lu abandoned; %lu of %lu calls failed;"
        " %u kills\n",
        (double)(clock_now_ns() - begin_ns) / 1e9, load.acknowledged, load.cancelled, load.refused, load.abandoned,
        load.failed, load.calls, faults_kills());
    fflush(stdout);
}

static void strike_for(int64_t seconds, uint64_t seed)
{
    uint64_t random = seed;
    int64_t begin_ns = clock_now_ns(), until_ns = begin_ns + seconds * NS_PER_S;
    int64_t report_ns = begin_ns + REPORT_EVERY_S * NS_PER_S;
    while (clock_now_ns() < until_ns) {
        faults_next(&shop, &random);
        if (clock_now_ns() < report_ns)
            continue;
        report(begin_ns);
        report_ns += REPORT_EVERY_S * NS_PER_S;
    }
    report(begin_ns);
}

static void summarize(uint64_t seed)
{
    struct fault_totals faults = faults_totals();
    struct load_totals load = load_totals();
    print_message(
        "seed %llu: %u kills (services %u, PostgreSQL %u, Redis %u, of these %u with loss of its end), %u times "
        "connections cut, %u stalls\n",
        (unsigned long long)seed, faults_kills(), faults.services, faults.postgres, faults.redis, faults.redis_losses,
        faults.cuts, faults.stalls);
    print_message("the clients: %lu orders acknowledged, %lu refused, %lu abandoned, %lu unknown; %lu cancellations "
                  "acknowledged, %lu unknown; %lu strange answers\n",
                  load.acknowledged, load.refused, load.abandoned, load.unknown, load.cancelled, load.cancels_unknown,
                  load.strange);
}

static void test_nothing_is_lost_or_doubled_whatever_dies(void **state)
{
    (void)state;
    long minutes = number_of("CHAOS_MINUTES", 0);
    uint64_t seed = (uint64_t)number_of("SEED", minutes ? (long)time(NULL) : SHORT_SEED);
    print_message("seed %llu\n", (unsigned long long)seed);
    shop.twins = true;
    if (minutes == 0)
        shop.files[SHOP_INVENTORY] = "reservations:\n  resolve_after_s: 5\nconsumer:\n  claim_idle_ms: 2000\n";
    shop_open(&shop);
    load_start(&shop, seed, (unsigned)number_of("RATE", RATE));
    strike_for(minutes ? minutes * 60 : SHORT_SECONDS, seed);
    load_stop();
    double converged_s = check_converged(&shop, CONVERGED_MAX_S);
    summarize(seed);
    print_message(converged_s < 0 ? "it did not come to rest in %.0f s\n" : "all came to rest %.1f s after the load\n",
                  converged_s < 0 ? (double)CONVERGED_MAX_S : converged_s);
    unsigned long violations = check_everything(&shop) + load_totals().strange;
    bool good = violations == 0 && converged_s >= 0 && load_totals().acknowledged > 0;
    print_message("%s\n", good ? "nothing lost, nothing doubled" : "FAILED");
    load_free();
    shop_close(&shop);
    assert_true(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost_or_doubled_whatever_dies),
    };
    return cmocka_run_group_tests_name("chaos", tests, NULL, NULL);
}
