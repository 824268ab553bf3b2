/* Metrics: a shop's counters, a histogram of its answers' times, and what it has on the shelf.
 *
 *   OTEL_METRICS_EXPORTER=console ./metrics  prints them; without it they go to the collector on this machine */
#include <stdio.h>

#include "common/otel/otel.h"

static int64_t on_shelf = 100;

/* Called when somebody collects, on a thread of the SDK's: this one tells what is now, so nothing is counted twice. */
static void observe_shelf(struct otel_observation *observation, void *arg)
{
    const int64_t *lamps = arg;
    otel_observation_add(observation, (double)*lamps, OTEL_LIST(otel_text("app.product", "lamp")));
}

struct shop {
    struct otel_counter *refusals;
    struct otel_bound_counter *orders, *open; /* bound: the attributes are looked up once, not at each addition */
    struct otel_bound_histogram *seconds;
};

static void open_shop(struct shop *shop)
{
    static const double bounds[] = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1};
    const struct otel_attribute lamp = otel_text("app.product", "lamp");
    struct otel_meter *meter = otel_meter("metrics-example", "1.0.0", NULL);

    const struct otel_instrument_options orders = {.unit = "{order}", .description = "Orders taken."};
    shop->orders = otel_counter_bind(otel_counter(meter, "app.orders", &orders), &lamp, 1);

    const struct otel_instrument_options refusals = {.unit = "{order}", .description = "Orders refused."};
    shop->refusals = otel_counter(meter, "app.refusals", &refusals);

    const struct otel_instrument_options open = {.unit = "{order}", .description = "Orders in work."};
    shop->open = otel_up_down_counter_bind(otel_up_down_counter(meter, "app.orders.open", &open), &lamp, 1);

    const struct otel_instrument_options seconds = {.unit = "s",
                                                    .description = "Time to answer.",
                                                    .number = OTEL_NUMBER_REAL,
                                                    .bounds = bounds,
                                                    .bound_count = sizeof bounds / sizeof bounds[0]};
    shop->seconds = otel_histogram_bind(otel_histogram(meter, "app.order.duration", &seconds), &lamp, 1);

    const struct otel_instrument_options shelf = {.unit = "{lamp}", .description = "What is there to sell."};
    otel_observe(meter, OTEL_OBSERVABLE_GAUGE, "app.shelf", &shelf, observe_shelf, &on_shelf);
}

static void take_order(struct shop *shop, int number)
{
    const char *reason = number % 20 == 0 ? "no address" : number % 33 == 0 ? "no money" : NULL;
    otel_bound_add(shop->open, 1);
    if (reason) {
        otel_counter_add(shop->refusals, 1, OTEL_LIST(otel_text("app.reason", reason)));
    } else {
        otel_bound_add(shop->orders, 1);
        on_shelf--;
    }
    otel_bound_record(shop->seconds, 0.0004 * number);
    otel_bound_add(shop->open, -1);
}

int main(void)
{
    char message[256];
    const struct otel_options options = {.service_name = "metrics-example", .service_version = "1.0.0"};
    if (otel_start(&options, message, sizeof message)) {
        fprintf(stderr, "%s\n", message);
        return 1;
    }
    struct shop shop;
    open_shop(&shop);
    for (int number = 1; number <= 100; number++)
        take_order(&shop, number);
    if (!otel_stop(2000)) /* collects and sends once more */
        fprintf(stderr, "not every metric could be sent\n");
    return 0;
}
