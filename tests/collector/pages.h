/* How the pages are written. Everything that came from outside goes through html_add(), which escapes it; a
 * Content-Security-Policy stands behind that. */
#ifndef COLLECTOR_PAGES_H
#define COLLECTOR_PAGES_H

#include <stdbool.h>
#include <stddef.h>

#include "collector/collector.h"

struct html {
    struct request *req;
    char *data;
    size_t size, room;
};

/* Each $ in form stands for a text, which is escaped; NULL is empty. form is ours. */
void html_add(struct html *html, const char *form, ...);
/* The page up to and from its content. tab: "traces", "metrics" or "". */
void html_begin(struct html *html, struct request *req, const char *title, const char *tab);
enum err html_end(struct html *html, struct response *res);

/* A text in the request's arena. */
const char *text_of(struct html *html, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *duration_text(struct html *html, double nanoseconds); /* "3.2 ms" */
const char *clock_text(struct html *html, uint64_t wall_ns);      /* "12:00:01.234" UTC */
const char *figure_text(struct html *html, double value, const char *unit);
const char *id_text(struct html *html, const uint8_t *id, size_t bytes);
const char *query_text(struct html *html, const char *value); /* percent-encoded */
/* The hue of a service, always the same: 0 to 359. */
const char *service_hue(struct html *html, const char *service);
/* A service's name with its colour. */
void html_service(struct html *html, const char *service);
/* Links to the same page for each service that was seen, and for all. */
void html_filter(struct html *html, const char *path, const char *chosen);
void html_attributes(struct html *html, OTLP_COMMON(KeyValue) * *attributes, size_t count);

/* chart.c */
enum { CHART_LINES_MAX = 6 };

struct chart_line {
    const struct series *series;
    double (*figure)(const struct sample *sample);
    const char *label;
    double last, scale; /* the figure is multiplied by scale */
    bool dashed;
};

struct chart {
    const char *title, *unit;
    struct chart_line lines[CHART_LINES_MAX];
    unsigned count, left_out;
};

/* Adds a line; of too many, those with the greatest last figure stay. A line without figures is left out. */
void chart_add(struct chart *chart, struct chart_line line);
void chart_draw(struct html *html, const struct chart *chart);
void spark_draw(struct html *html, const struct series *series);

double figure_value(const struct sample *sample);
double figure_rate(const struct sample *sample);
double figure_p50(const struct sample *sample);
double figure_p95(const struct sample *sample);

#endif
