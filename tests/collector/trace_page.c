/* One trace: a waterfall whose rows open, and its logs. A span whose parent is not here, or is itself below it,
 * stands at the top level. */
#include <stdlib.h>
#include <string.h>

#include "collector/pages.h"
#include "common/mem.h"

enum { INDENT_MAX = 24, TICKS = 4, LOGS_SHOWN_MAX = 500 };

struct bar {
    const struct kept_span *kept;
    const OTLP_TRACE(Span) * span;
    int parent; /* place in the table; less than 0: none here */
    bool shown;
};

struct waterfall {
    struct html *html;
    const struct kept_trace *trace;
    uint64_t start_ns, end_ns;
    struct bar *bars;
    int count;
};

static const char *hex(struct html *html, ProtobufCBinaryData id)
{
    return id_text(html, id.data, id.len < 32 ? id.len : 32);
}

/* --- order */

static int by_start(const void *a, const void *b)
{
    const struct bar *x = a, *y = b;
    if (x->kept->start_ns != y->kept->start_ns)
        return x->kept->start_ns < y->kept->start_ns ? -1 : 1;
    return (x->kept->end_ns < y->kept->end_ns) - (x->kept->end_ns > y->kept->end_ns);
}

static int find_parent(const struct waterfall *fall, const struct bar *bar)
{
    for (int i = 0; !bar->kept->is_root && i < fall->count; i++)
        if (&fall->bars[i] != bar && memcmp(fall->bars[i].kept->span_id, bar->kept->parent_id, SPAN_ID_BYTES) == 0)
            return i;
    return -1;
}

static void take_bars(struct waterfall *fall)
{
    struct arena *arena = fall->html->req->arena;
    fall->bars = arena_array(arena, struct bar, fall->trace->span_count + 1);
    list_each (node, &fall->trace->spans) {
        const struct kept_span *kept = container_of(node, struct kept_span, list);
        const OTLP_TRACE(Span) *span = decode_message(arena, &opentelemetry__proto__trace__v1__span__descriptor,
                                                      (struct bytes){(const char *)kept->packed, kept->bytes});
        if (span)
            fall->bars[fall->count++] = (struct bar){.kept = kept, .span = span};
    }
    qsort(fall->bars, (size_t)fall->count, sizeof *fall->bars, by_start);
    for (int i = 0; i < fall->count; i++)
        fall->bars[i].parent = find_parent(fall, &fall->bars[i]);
}

/* --- what a row opens to */

static void put_events(struct waterfall *fall, const OTLP_TRACE(Span) * span)
{
    struct html *html = fall->html;
    for (size_t i = 0; i < span->n_events; i++) {
        const OTLP_TRACE(Span__Event) *event = span->events[i];
        double after_ns = (double)event->time_unix_nano - (double)fall->start_ns;
        html_add(html, "<h4>event <b>$</b> at $</h4>", event->name, duration_text(html, after_ns > 0 ? after_ns : 0));
        html_attributes(html, event->attributes, event->n_attributes);
    }
}

static void put_links(struct html *html, const OTLP_TRACE(Span) * span)
{
    for (size_t i = 0; i < span->n_links; i++) {
        const OTLP_TRACE(Span__Link) *link = span->links[i];
        const char *trace_id = hex(html, link->trace_id), *span_id = hex(html, link->span_id);
        html_add(html, "<h4>link to <a href=\"/trace/$#s$\">$ / $</a></h4>", trace_id, span_id, trace_id, span_id);
        html_attributes(html, link->attributes, link->n_attributes);
    }
}

static void put_fact(struct html *html, const char *name, const char *value)
{
    if (value && *value)
        html_add(html, "<dt>$</dt><dd>$</dd>", name, value);
}

static void put_number(struct html *html, const char *name, unsigned number)
{
    if (number > 0)
        put_fact(html, name, text_of(html, "%u", number));
}

static void put_facts(struct html *html, const OTLP_TRACE(Span) * span)
{
    html_add(html, "<dl class=facts>");
    put_fact(html, "span", hex(html, span->span_id));
    put_fact(html, "parent", hex(html, span->parent_span_id));
    put_fact(html, "started", clock_text(html, span->start_time_unix_nano));
    put_fact(html, "status", span_status_name(span->status ? (int)span->status->code : 0));
    put_fact(html, "status message", span->status ? span->status->message : "");
    put_fact(html, "flags", text_of(html, "0x%03x", span->flags));
    put_fact(html, "tracestate", span->trace_state);
    put_number(html, "dropped attributes", span->dropped_attributes_count);
    put_number(html, "dropped events", span->dropped_events_count);
    put_number(html, "dropped links", span->dropped_links_count);
    html_add(html, "</dl>");
}

static void put_origin(struct html *html, const struct origin *origin)
{
    struct arena *arena = html->req->arena;
    const OTLP_TRACE(ResourceSpans) *resource =
        decode_message(arena, &opentelemetry__proto__trace__v1__resource_spans__descriptor,
                       (struct bytes){(const char *)origin->packed, origin->resource_bytes});
    const OTLP_TRACE(ScopeSpans) *scope =
        decode_message(arena, &opentelemetry__proto__trace__v1__scope_spans__descriptor,
                       (struct bytes){(const char *)origin->packed + origin->resource_bytes, origin->scope_bytes});
    if (scope && scope->scope)
        html_add(html, "<h4>scope <b>$</b> $</h4>", scope->scope->name, scope->scope->version);
    if (resource && resource->resource) {
        html_add(html, "<details><summary>resource</summary>");
        html_attributes(html, resource->resource->attributes, resource->resource->n_attributes);
        html_add(html, "</details>");
    }
}

static void put_inside(struct waterfall *fall, const struct bar *bar)
{
    struct html *html = fall->html;
    html_add(html, "<div class=inside>");
    put_facts(html, bar->span);
    if (bar->span->n_attributes > 0)
        html_add(html, "<h4>attributes</h4>");
    html_attributes(html, bar->span->attributes, bar->span->n_attributes);
    put_events(fall, bar->span);
    put_links(html, bar->span);
    put_origin(html, bar->kept->origin);
    html_add(html, "</div>");
}

/* --- rows */

static double share_of(const struct waterfall *fall, uint64_t at_ns)
{
    uint64_t whole_ns = fall->end_ns - fall->start_ns;
    if (whole_ns == 0 || at_ns <= fall->start_ns)
        return 0;
    double share = 100.0 * (double)(at_ns - fall->start_ns) / (double)whole_ns;
    return share > 100 ? 100 : share;
}

static void put_marks(struct waterfall *fall, const OTLP_TRACE(Span) * span)
{
    for (size_t i = 0; i < span->n_events; i++)
        html_add(fall->html, "<u style=\"left:$%\" title=\"$\"></u>",
                 text_of(fall->html, "%.3f", share_of(fall, span->events[i]->time_unix_nano)), span->events[i]->name);
}

static void put_bar(struct waterfall *fall, const struct bar *bar)
{
    struct html *html = fall->html;
    double left = share_of(fall, bar->kept->start_ns), right = share_of(fall, bar->kept->end_ns);
    const char *duration = duration_text(html, (double)(bar->kept->end_ns - bar->kept->start_ns));
    html_add(html, "<span class=track><i style=\"left:$%;width:$%\"></i>", text_of(html, "%.3f", left),
             text_of(html, "%.3f", right - left));
    put_marks(fall, bar->span);
    if (right < 80)
        html_add(html, "<em style=\"left:$%\">$</em></span>", text_of(html, "%.3f", right), duration);
    else if (left > 20)
        html_add(html, "<em class=before style=\"right:$%\">$</em></span>", text_of(html, "%.3f", 100 - left),
                 duration);
    else
        html_add(html, "<em class=within style=\"right:$%\">$</em></span>", text_of(html, "%.3f", 100 - right),
                 duration);
}

static void put_span(struct waterfall *fall, struct bar *bar, int depth)
{
    struct html *html = fall->html;
    bool orphan = bar->parent < 0 && !bar->kept->is_root;
    bar->shown = true;
    html_add(html, "<details class=\"span$\" id=\"s$\" style=\"--h:$;--d:$\"><summary><span class=name title=\"$\">",
             bar->kept->is_error ? " bad" : "", hex(html, bar->span->span_id),
             service_hue(html, bar->kept->origin->service),
             text_of(html, "%d", depth < INDENT_MAX ? depth : INDENT_MAX), bar->kept->origin->service);
    html_add(html, "<i></i>$<small>$$$</small></span>", bar->span->name, span_kind_name((int)bar->span->kind),
             bar->span->n_links > 0 ? " · linked" : "", orphan ? " · parent not here" : "");
    put_bar(fall, bar);
    html_add(html, "</summary>");
    put_inside(fall, bar);
    html_add(html, "</details>");
}

/* The row and what hangs below it, without recursion: a sender chooses how deep a trace is. */
static void put_tree(struct waterfall *fall, int top)
{
    int depth = 0, at = top;
    int *next = arena_array(fall->html->req->arena, int, (size_t)fall->count);
    put_span(fall, &fall->bars[top], 0);
    while (at >= 0) {
        int child = next[at];
        while (child < fall->count && (fall->bars[child].parent != at || fall->bars[child].shown))
            child++;
        next[at] = child + 1;
        if (child < fall->count) {
            put_span(fall, &fall->bars[child], ++depth);
            at = child;
        } else {
            at = at == top ? -1 : fall->bars[at].parent;
            depth--;
        }
    }
}

static void put_axis(struct waterfall *fall)
{
    struct html *html = fall->html;
    double whole_ns = (double)(fall->end_ns - fall->start_ns);
    html_add(html, "<div class=axis><span></span><span class=track>");
    for (int i = 0; i <= TICKS; i++)
        html_add(html, "<b class=\"$\" style=\"left:$%\">$</b>", i == TICKS ? "last" : "",
                 text_of(html, "%.2f", 100.0 * i / TICKS), duration_text(html, whole_ns * i / TICKS));
    html_add(html, "</span></div>");
}

static void put_waterfall(struct waterfall *fall)
{
    html_add(fall->html, "<section class=fall>");
    put_axis(fall);
    for (int i = 0; i < fall->count; i++)
        if (fall->bars[i].parent < 0)
            put_tree(fall, i);
    for (int i = 0; i < fall->count; i++) /* circles */
        if (!fall->bars[i].shown)
            put_tree(fall, i);
    html_add(fall->html, "</section>");
}

/* --- logs */

static const char *severity_class(int number)
{
    return number >= 17 ? "error" : number >= 13 ? "warn" : number >= 9 ? "info" : "debug";
}

static const char *severity_text(const OTLP_LOGS(LogRecord) * record)
{
    return *record->severity_text ? record->severity_text : severity_class((int)record->severity_number);
}

struct log_row {
    const struct kept_log *kept;
    const OTLP_LOGS(LogRecord) * record;
    uint64_t at_ns;
};

static void put_log(struct waterfall *fall, const struct log_row *row)
{
    struct html *html = fall->html;
    const OTLP_LOGS(LogRecord) *record = row->record;
    uint64_t at_ns = row->at_ns;
    double after_ns = at_ns > fall->start_ns ? (double)(at_ns - fall->start_ns) : 0;
    const char *severity = severity_class((int)record->severity_number);
    html_add(html, "<details class=log><summary><span class=num>+$</span><span class=\"level $\">$</span>",
             duration_text(html, after_ns), severity, severity_text(record));
    html_service(html, row->kept->origin->service);
    html_add(html, "<span class=name>$</span>", value_text(html->req->arena, record->body));
    html_add(html, "</summary><div class=inside><dl class=facts>");
    put_fact(html, "time", clock_text(html, at_ns));
    put_fact(html, "event name", record->event_name);
    html_add(html, "<dt>span</dt><dd><a href=\"#s$\">$</a></dd></dl>", hex(html, record->span_id),
             hex(html, record->span_id));
    html_attributes(html, record->attributes, record->n_attributes);
    html_add(html, "</div></details>");
}

static int by_time(const void *a, const void *b)
{
    const struct log_row *x = a, *y = b;
    return (x->at_ns > y->at_ns) - (x->at_ns < y->at_ns);
}

static unsigned take_logs(struct waterfall *fall, struct log_row rows[LOGS_SHOWN_MAX])
{
    unsigned count = 0;
    list_each (node, &collector_of(fall->html->req)->store.logs) {
        const struct kept_log *log = container_of(node, struct kept_log, list);
        if (memcmp(log->trace_id, fall->trace->id, TRACE_ID_BYTES) != 0 || count == LOGS_SHOWN_MAX)
            continue;
        const OTLP_LOGS(LogRecord) *record =
            decode_message(fall->html->req->arena, &opentelemetry__proto__logs__v1__log_record__descriptor,
                           (struct bytes){(const char *)log->packed, log->bytes});
        if (record)
            rows[count++] = (struct log_row){
                .kept = log,
                .record = record,
                .at_ns = record->time_unix_nano ? record->time_unix_nano : record->observed_time_unix_nano,
            };
    }
    qsort(rows, count, sizeof *rows, by_time);
    return count;
}

static void put_logs(struct waterfall *fall)
{
    struct log_row *rows = arena_array(fall->html->req->arena, struct log_row, LOGS_SHOWN_MAX);
    unsigned count = take_logs(fall, rows);
    html_add(fall->html, "<h2>Logs</h2><section class=logs>");
    for (unsigned i = 0; i < count; i++)
        put_log(fall, &rows[i]);
    if (count == 0)
        html_add(fall->html, "<p class=empty>No log record belongs to this trace.</p>");
    html_add(fall->html, "</section>");
}

/* --- the page */

static void put_head(struct waterfall *fall)
{
    struct html *html = fall->html;
    const struct kept_span *root = trace_root(fall->trace);
    const char *name = "";
    for (int i = 0; i < fall->count; i++)
        if (fall->bars[i].kept == root)
            name = fall->bars[i].span->name;
    const char *id = id_text(html, fall->trace->id, TRACE_ID_BYTES);
    html_add(html, "<h1>$</h1><p class=note>$ · $ · $ spans · trace $ · <a href=\"/api/traces/$\">JSON</a>", name,
             clock_text(html, fall->start_ns), duration_text(html, (double)(fall->end_ns - fall->start_ns)),
             text_of(html, "%d", fall->count), id, id);
    if (fall->trace->dropped)
        html_add(html, " · <b class=bad>$ more spans were dropped</b>", text_of(html, "%u", fall->trace->dropped));
    html_add(html, "</p><p class=legend>");
    const char *last = "";
    for (int i = 0; i < fall->count; i++) {
        const char *service = fall->bars[i].kept->origin->service;
        bool seen = strcmp(last, service) == 0;
        for (int k = 0; k < i && !seen; k++)
            seen = strcmp(fall->bars[k].kept->origin->service, service) == 0;
        if (!seen)
            html_service(html, service);
        last = service;
    }
    html_add(html, "</p>");
}

enum err show_trace(struct request *req, struct response *res)
{
    uint8_t id[TRACE_ID_BYTES];
    enum err err = read_trace_id(req, http_param(req, "id"), id);
    if (err)
        return err;
    struct html html;
    struct waterfall fall = {.html = &html, .trace = store_trace(&collector_of(req)->store, id)};
    html_begin(&html, req, "Trace", "");
    if (fall.trace && !list_empty(&fall.trace->spans)) {
        trace_times(fall.trace, &fall.start_ns, &fall.end_ns);
        take_bars(&fall);
        put_head(&fall);
        put_waterfall(&fall);
        put_logs(&fall);
    } else {
        res->status = 404;
        html_add(&html,
                 "<p class=empty>The trace $ is not here: it has not come, or newer ones have pushed it out.</p>",
                 http_param(req, "id"));
    }
    return html_end(&html, res);
}
