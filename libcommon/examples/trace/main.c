/* Tracing: an order in three spans, and a fourth in the part that ships it, which gets the trace context in the headers
 * of a request, as it would from another machine.
 *
 *   OTEL_TRACES_EXPORTER=console ./trace     prints the spans; without it they go to the collector on this machine */
#include <stdio.h>
#include <string.h>

#include "common/otel/otel.h"

static struct otel_tracer *tracer;

/* A request's headers: whatever your HTTP library has. */
struct headers {
    struct carrier carrier; /* first */
    struct header {
        char name[32], value[256];
    } list[8];
    unsigned count;
};

static const char *header_get(const struct carrier *carrier, const char *name)
{
    const struct headers *headers = (const struct headers *)carrier;
    for (unsigned i = 0; i < headers->count; i++)
        if (strcmp(headers->list[i].name, name) == 0)
            return headers->list[i].value;
    return NULL;
}

static void header_set(const struct carrier *carrier, const char *name, const char *value)
{
    struct headers *headers = (struct headers *)(uintptr_t)carrier;
    if (headers->count == sizeof headers->list / sizeof headers->list[0])
        return;
    struct header *header = &headers->list[headers->count++];
    snprintf(header->name, sizeof header->name, "%s", name);
    snprintf(header->value, sizeof header->value, "%s", value);
}

/* The other side: its span is a child of the caller's, and fails. */
static void ship(const struct headers *request, struct arena *arena)
{
    struct otel_span span;
    struct trace_context caller = {0};
    otel_extract(&request->carrier, arena, &caller);
    const struct otel_span_options options = {.kind = OTEL_SPAN_SERVER, .parent = &caller};
    otel_span_start(&span, tracer, "POST /shipments", &options);
    otel_span_set(&span, otel_text("app.customer", otel_baggage_get(&caller, "customer", arena)));
    otel_span_exception(&span, "OutOfBoxes", "no box fits a lamp", NULL);
    otel_span_status(&span, OTEL_STATUS_ERROR, "no box fits a lamp");
    otel_span_end(&span);
}

static void ask_for_shipment(struct arena *arena)
{
    struct otel_span span;
    struct headers request = {.carrier = {.get = header_get, .set = header_set}};
    const struct otel_span_options options = {.kind = OTEL_SPAN_CLIENT};
    otel_span_start(&span, tracer, "POST", &options); /* a child of the span that is entered */
    struct trace_context outgoing = span.context;
    otel_baggage_set(&outgoing, "customer", "Ada Lovelace", NULL, arena);
    otel_inject(&outgoing, &request.carrier);
    ship(&request, arena);
    otel_span_end(&span);
}

static void price(int quantity)
{
    struct otel_span span;
    otel_span_start(&span, tracer, "price", NULL);
    otel_span_event(&span, "rebate", OTEL_LIST(otel_text("app.code", "AUTUMN"), otel_real("app.percent", 7.5)));
    otel_span_set(&span, otel_int("app.cents", 4900 * quantity));
    otel_span_end(&span);
}

/* earlier: another trace that has to do with this one. */
static void take_order(const struct trace_context *earlier)
{
    struct arena arena;
    struct otel_span span;
    const struct otel_attribute attributes[] = {otel_text("app.product", "lamp"), otel_int("app.quantity", 2)};
    const struct otel_link link = {.context = earlier};
    const struct otel_span_options options = {
        .attributes = attributes, .attribute_count = 2, .links = &link, .link_count = 1};
    arena_init(&arena, 1024);
    otel_span_start(&span, tracer, "take order", &options);
    otel_span_enter(&span); /* until its end */
    price(2);
    ask_for_shipment(&arena);
    otel_span_end(&span);
    arena_done(&arena);
}

int main(void)
{
    char message[256];
    const struct otel_options options = {.service_name = "trace-example", .service_version = "1.0.0"};
    if (otel_start(&options, message, sizeof message)) {
        fprintf(stderr, "%s\n", message);
        return 1;
    }
    tracer = otel_tracer("trace-example", "1.0.0", NULL);
    struct otel_span cart;
    otel_span_start(&cart, tracer, "fill cart", NULL);
    otel_span_end(&cart);
    take_order(&cart.context);
    if (!otel_stop(2000))
        fprintf(stderr, "not every span could be sent\n");
    return 0;
}
