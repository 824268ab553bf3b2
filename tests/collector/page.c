/* The list of traces. */
#include <string.h>

#include "collector/pages.h"
#include "common/mem.h"

enum { ROWS_MAX = 100 };

struct row {
    const struct kept_trace *trace;
    const struct kept_span *root;
    uint64_t start_ns, end_ns;
};

static const char *span_name(struct arena *arena, const struct kept_span *kept)
{
    const OTLP_TRACE(Span) *span = decode_message(arena, &opentelemetry__proto__trace__v1__span__descriptor,
                                                  (struct bytes){(const char *)kept->packed, kept->bytes});
    return span ? span->name : "";
}

static unsigned take_rows(const struct store *store, const char *service, struct row rows[ROWS_MAX])
{
    unsigned count = 0;
    for (struct list *node = store->traces.prev; node != &store->traces && count < ROWS_MAX; node = node->prev) {
        const struct kept_trace *trace = container_of(node, struct kept_trace, list);
        if (list_empty(&trace->spans) || (service && !trace_has_service(trace, service)))
            continue;
        rows[count] = (struct row){.trace = trace, .root = trace_root(trace)};
        trace_times(trace, &rows[count].start_ns, &rows[count].end_ns);
        count++;
    }
    return count;
}

static void put_services(struct html *html, const struct row *row)
{
    enum { SHOWN_MAX = 8 };
    const char *seen[SHOWN_MAX];
    unsigned count = 0;
    list_each (node, &row->trace->spans) {
        const char *service = container_of(node, struct kept_span, list)->origin->service;
        unsigned i = 0;
        while (i < count && strcmp(seen[i], service) != 0)
            i++;
        if (i < count || count == SHOWN_MAX)
            continue;
        seen[count++] = service;
        html_add(html, "<i style=\"--h:$\" title=\"$\"></i>", service_hue(html, service), service);
    }
}

static void put_row(struct html *html, const struct row *row, uint64_t longest_ns)
{
    uint64_t duration_ns = row->end_ns - row->start_ns;
    const char *service = row->root->origin->service;
    double share = longest_ns ? 100.0 * (double)duration_ns / (double)longest_ns : 0;
    html_add(html, "<a class=\"row$\" href=\"/trace/$\"><time>$</time><span class=name>$$</span>",
             trace_has_error(row->trace) ? " bad" : "", id_text(html, row->trace->id, TRACE_ID_BYTES),
             clock_text(html, row->start_ns), span_name(html->req->arena, row->root),
             row->root->is_root ? "" : " (its root is not here)");
    html_service(html, service);
    html_add(html, "<span class=dots>");
    put_services(html, row);
    html_add(html, "</span><span class=num>$</span>", text_of(html, "%u", row->trace->span_count));
    html_add(html, "<span class=length><i style=\"--h:$;width:$%\"></i></span><span class=num>$</span></a>",
             service_hue(html, service), text_of(html, "%.2f", share < 0.5 ? 0.5 : share),
             duration_text(html, (double)duration_ns));
}

static void put_summary(struct html *html, unsigned shown)
{
    const struct collector *collector = collector_of(html->req);
    const struct counts *counts = &collector->counts;
    html_add(html, "<p class=note>$ of $ traces · $ spans, $ points and $ log records received",
             text_of(html, "%u", shown), text_of(html, "%u", collector->store.trace_count),
             text_of(html, "%llu", (unsigned long long)counts->items[SIGNAL_TRACES]),
             text_of(html, "%llu", (unsigned long long)counts->items[SIGNAL_METRICS]),
             text_of(html, "%llu", (unsigned long long)counts->items[SIGNAL_LOGS]));
    if (counts->dropped_traces)
        html_add(html, " · $ older traces dropped", text_of(html, "%llu", (unsigned long long)counts->dropped_traces));
    if (counts->invalid_items)
        html_add(html, " · <b class=bad>$ refused: $</b>",
                 text_of(html, "%llu", (unsigned long long)counts->invalid_items), counts->invalid_reason);
    html_add(html, "</p>");
}

enum err show_traces(struct request *req, struct response *res)
{
    struct html html;
    const char *service = http_query(req, "service");
    struct row *rows = arena_array(req->arena, struct row, ROWS_MAX);
    unsigned count = take_rows(&collector_of(req)->store, service, rows);
    uint64_t longest_ns = 0;
    for (unsigned i = 0; i < count; i++)
        longest_ns = rows[i].end_ns - rows[i].start_ns > longest_ns ? rows[i].end_ns - rows[i].start_ns : longest_ns;
    html_begin(&html, req, "Traces", "traces");
    html_filter(&html, "/", service);
    put_summary(&html, count);
    html_add(&html, "<section class=list>");
    if (count > 0)
        html_add(&html, "<div class=\"row head\"><span>time (UTC)</span><span>root</span><span>service</span>"
                        "<span>seen in</span><span class=num>spans</span><span></span><span class=num>duration</span>"
                        "</div>");
    else
        html_add(&html, "<p class=empty>No trace yet. Send OTLP, and it shows up here.</p>");
    for (unsigned i = 0; i < count; i++)
        put_row(&html, &rows[i], longest_ns);
    html_add(&html, "</section>");
    return html_end(&html, res);
}
