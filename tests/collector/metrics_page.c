/* The metrics: a few charts that say how a service does, and every series in a table. */
#include <stdlib.h>
#include <string.h>

#include "collector/pages.h"
#include "common/mem.h"

enum { ROWS_MAX = 400, LABEL_BYTES_MAX = 120 };

static bool starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* --- which series a chart is about */

static bool is_server_duration(const char *name)
{
    return strcmp(name, "http.server.request.duration") == 0 || strcmp(name, "rpc.server.call.duration") == 0 ||
           strcmp(name, "messaging.process.duration") == 0;
}

static bool is_client_duration(const char *name)
{
    return strcmp(name, "rpc.client.call.duration") == 0 || strcmp(name, "http.client.request.duration") == 0 ||
           strcmp(name, "db.client.operation.duration") == 0;
}

static bool is_about_orders(const char *name)
{
    return strstr(name, "order") != NULL;
}

static bool is_memory(const char *name)
{
    return starts(name, "process.memory");
}

static bool is_sdk_loss(const char *name)
{
    return starts(name, "otel.sdk.");
}

static const struct theme {
    const char *title;
    bool (*matches)(const char *name);
    double (*figure)(const struct sample *sample);
    double (*second)(const struct sample *sample); /* a line of its own, dashed; or NULL */
    const char *unit;                              /* NULL: the metric's own */
    const char *wanted;                            /* an attribute that the series has to have; or NULL */
} themes[] = {
    {"Requests per second", is_server_duration, figure_rate, NULL, "/s", NULL},
    {"Duration, p95 and p50", is_server_duration, figure_p95, figure_p50, NULL, NULL},
    {"Calls to others, p95", is_client_duration, figure_p95, NULL, NULL, NULL},
    {"Orders", is_about_orders, figure_value, NULL, NULL, NULL},
    {"Memory", is_memory, figure_value, NULL, NULL, NULL},
    {"Telemetry dropped or failed", is_sdk_loss, figure_value, NULL, NULL, "error.type"},
};

/* --- labels */

static bool has_attribute(struct html *html, const struct series *series, const char *key)
{
    const OTLP_METRICS(Metric) *metric = series_last(series, html->req->arena);
    size_t count = 0;
    OTLP_COMMON(KeyValue) **attributes = metric ? metric_attributes(metric, &count) : NULL;
    for (size_t i = 0; i < count; i++)
        if (strcmp(attributes[i]->key, key) == 0)
            return true;
    return false;
}

/* What tells this series from its sisters: the values of its attributes, without those that say nothing. */
static const char *label_of(struct html *html, const OTLP_METRICS(Metric) * metric)
{
    static const char *const silent[] = {"url.scheme",      "network.protocol.version", "network.protocol.name",
                                         "rpc.system.name", "db.system.name",           "server.address",
                                         "server.port",     "otel.component.type"};
    size_t count;
    OTLP_COMMON(KeyValue) **attributes = metric_attributes(metric, &count);
    const char *label = "";
    for (size_t i = 0; i < count && strlen(label) < LABEL_BYTES_MAX; i++) {
        bool is_silent = false;
        for (unsigned k = 0; k < array_count(silent); k++)
            is_silent |= strcmp(attributes[i]->key, silent[k]) == 0;
        if (!is_silent)
            label = text_of(html, "%s%s%.*s", label, *label ? " " : "", LABEL_BYTES_MAX,
                            value_text(html->req->arena, attributes[i]->value));
    }
    return *label ? label : metric->name;
}

/* --- charts */

static void add_series(struct html *html, struct chart *chart, const struct theme *theme, const struct series *series)
{
    const OTLP_METRICS(Metric) *metric = series_last(series, html->req->arena);
    if (!metric)
        return;
    const char *label = label_of(html, metric);
    chart->unit = theme->unit ? theme->unit : arena_text(html->req->arena, metric->unit, strlen(metric->unit));
    if (theme->wanted) /* it may be about several metrics */
        label = text_of(html, "%s: %s", metric->name, label);
    const char *first = theme->second ? text_of(html, "%s p95", label) : label;
    chart_add(chart, (struct chart_line){.series = series, .figure = theme->figure, .label = first});
    label = text_of(html, "%s p50", label);
    if (theme->second)
        chart_add(chart,
                  (struct chart_line){.series = series, .figure = theme->second, .label = label, .dashed = true});
}

static void put_chart(struct html *html, const char *service, const struct theme *theme)
{
    const struct series_table *table = &collector_of(html->req)->series;
    struct chart chart = {.title = theme->title, .unit = ""};
    list_each (node, &table->all) {
        const struct series *series = container_of(node, struct series, list);
        if (strcmp(series->origin->service, service) == 0 && theme->matches(series->name) &&
            (!theme->wanted || has_attribute(html, series, theme->wanted)))
            add_series(html, &chart, theme, series);
    }
    chart_draw(html, &chart);
}

static bool is_first_of_service(const struct series_table *table, const struct series *series)
{
    list_each (node, &table->all) {
        const struct series *other = container_of(node, struct series, list);
        if (other == series)
            return true;
        if (strcmp(other->origin->service, series->origin->service) == 0)
            return false;
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_charts(struct html *html, const char *chosen)
{
    const struct series_table *table = &collector_of(html->req)->series;
    const char *services[64];
    unsigned count = 0;
    list_each (node, &table->all) {
        const struct series *series = container_of(node, struct series, list);
        if (count < array_count(services) && (!chosen || strcmp(series->origin->service, chosen) == 0) &&
            is_first_of_service(table, series))
            services[count++] = series->origin->service;
    }
    qsort(services, count, sizeof *services, by_name);
    for (unsigned i = 0; i < count; i++) {
        html_add(html, "<h2 class=of-service><i style=\"--h:$\"></i>$</h2><section class=charts>",
                 service_hue(html, services[i]), services[i]);
        for (unsigned k = 0; k < array_count(themes); k++)
            put_chart(html, services[i], &themes[k]);
        html_add(html, "</section>");
    }
}

/* --- the table */

static int by_name_and_service(const void *a, const void *b)
{
    const struct series *x = *(const struct series *const *)a, *y = *(const struct series *const *)b;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->origin->service, y->origin->service);
}

static void put_labels(struct html *html, const OTLP_METRICS(Metric) * metric)
{
    size_t count;
    OTLP_COMMON(KeyValue) **attributes = metric_attributes(metric, &count);
    for (size_t i = 0; i < count; i++)
        html_add(html, "<code>$=$</code> ", attributes[i]->key, value_text(html->req->arena, attributes[i]->value));
}

static void put_series(struct html *html, const struct series *series)
{
    const OTLP_METRICS(Metric) *metric = series_last(series, html->req->arena);
    if (!metric || series->sample_count == 0)
        return;
    bool counts = metric->data_case == OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_HISTOGRAM ||
                  metric->data_case == OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_EXPONENTIAL_HISTOGRAM ||
                  metric->data_case == OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_SUMMARY;
    const struct sample *last = series_sample(series, series->sample_count - 1);
    html_add(html, "<tr><td title=\"$\">$<td>", metric->description, metric->name);
    html_service(html, series->origin->service);
    html_add(html, "<td class=labels>");
    put_labels(html, metric);
    html_add(html, "<td class=num>$<td>", figure_text(html, last->value, counts ? "1" : metric->unit));
    spark_draw(html, series);
}

static const struct series **take_series(struct html *html, const char *service, const char *name, unsigned *out_count)
{
    const struct series_table *table = &collector_of(html->req)->series;
    const struct series **list = arena_array(html->req->arena, const struct series *, table->count + 1);
    *out_count = 0;
    list_each (node, &table->all) {
        const struct series *series = container_of(node, struct series, list);
        if ((!service || strcmp(series->origin->service, service) == 0) && (!name || strstr(series->name, name)))
            list[(*out_count)++] = series;
    }
    qsort(list, *out_count, sizeof *list, by_name_and_service);
    return list;
}

static void put_table(struct html *html, const char *service, const char *name)
{
    unsigned count;
    const struct series **list = take_series(html, service, name, &count);
    html_add(html, "<h2>All series</h2><form class=find action=/metrics>");
    if (service)
        html_add(html, "<input type=hidden name=service value=\"$\">", service);
    html_add(html,
             "<input name=name value=\"$\" placeholder=\"part of a name\" aria-label=\"part of a name\">"
             "<button>find</button><span class=note>$ series</span></form>",
             name, text_of(html, "%u", count));
    html_add(html, "<table><thead><tr><th>metric<th>service<th>attributes<th class=num>last<th>history<tbody>");
    for (unsigned i = 0; i < count && i < ROWS_MAX; i++)
        put_series(html, list[i]);
    html_add(html, "</table>");
    if (count > ROWS_MAX)
        html_add(html, "<p class=note>The first $ are shown.</p>", text_of(html, "%d", ROWS_MAX));
}

enum err show_metrics(struct request *req, struct response *res)
{
    struct html html;
    const char *service = http_query(req, "service"), *name = http_query(req, "name");
    if (name && !*name)
        name = NULL;
    html_begin(&html, req, "Metrics", "metrics");
    html_filter(&html, "/metrics", service);
    if (collector_of(req)->series.count == 0)
        html_add(&html, "<p class=empty>No metric yet. The first come with the services' next report.</p>");
    else {
        put_charts(&html, service);
        put_table(&html, service, name);
    }
    return html_end(&html, res);
}
