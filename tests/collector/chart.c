/* Small charts as SVG: lines over the time of their samples, from zero up. */
#include <math.h>
#include <string.h>

#include "collector/pages.h"

enum { WIDTH = 340, HEIGHT = 116, LEFT = 4, RIGHT = 4, TOP = 15, BOTTOM = 16, SPARK_WIDTH = 120, SPARK_HEIGHT = 22 };

struct frame {
    uint64_t from_ns, to_ns;
    double least, most;
    int x, y, width, height; /* of the drawing inside the picture */
};

double figure_value(const struct sample *sample)
{
    return sample->value;
}

double figure_rate(const struct sample *sample)
{
    return sample->rate;
}

double figure_p50(const struct sample *sample)
{
    return sample->p50;
}

double figure_p95(const struct sample *sample)
{
    return sample->p95;
}

/* --- lines */

static double last_figure(const struct chart_line *line)
{
    for (unsigned i = line->series->sample_count; i-- > 0;) {
        double figure = line->figure(series_sample(line->series, i));
        if (isfinite(figure))
            return figure * line->scale;
    }
    return NAN;
}

void chart_add(struct chart *chart, struct chart_line line)
{
    line.scale = line.scale > 0 ? line.scale : 1;
    line.last = last_figure(&line);
    if (isnan(line.last))
        return;
    unsigned place = chart->count;
    while (place > 0 && chart->lines[place - 1].last < line.last)
        place--;
    if (chart->count < CHART_LINES_MAX)
        chart->count++;
    else
        chart->left_out++;
    if (place == CHART_LINES_MAX)
        return;
    memmove(&chart->lines[place + 1], &chart->lines[place], (chart->count - place - 1) * sizeof line);
    chart->lines[place] = line;
}

static void widen(struct frame *frame, const struct chart_line *line)
{
    for (unsigned i = 0; i < line->series->sample_count; i++) {
        const struct sample *sample = series_sample(line->series, i);
        double figure = line->figure(sample) * line->scale;
        if (!isfinite(figure))
            continue;
        frame->from_ns = sample->time_ns < frame->from_ns ? sample->time_ns : frame->from_ns;
        frame->to_ns = sample->time_ns > frame->to_ns ? sample->time_ns : frame->to_ns;
        frame->most = figure > frame->most ? figure : frame->most;
        frame->least = figure < frame->least ? figure : frame->least;
    }
}

/* The next round number above: 1, 2 or 5 times a power of ten; of bytes, a power of two. */
static double rounded(double most, const char *unit)
{
    if (most <= 0)
        return 1;
    if (strcmp(unit, "By") == 0)
        return exp2(ceil(log2(most)));
    double power = pow(10, floor(log10(most)));
    double steps[] = {1, 2, 5, 10};
    for (unsigned i = 0; i < 4; i++)
        if (steps[i] * power >= most)
            return steps[i] * power;
    return most;
}

static void put_points(struct html *html, const struct frame *frame, const struct chart_line *line)
{
    double span_ns = frame->to_ns > frame->from_ns ? (double)(frame->to_ns - frame->from_ns) : 1;
    double range = frame->most > frame->least ? frame->most - frame->least : 1;
    for (unsigned i = 0; i < line->series->sample_count; i++) {
        const struct sample *sample = series_sample(line->series, i);
        double figure = line->figure(sample) * line->scale;
        if (!isfinite(figure))
            continue;
        double x = frame->x + frame->width * (double)(sample->time_ns - frame->from_ns) / span_ns;
        double y = frame->y + frame->height * (1 - (figure - frame->least) / range);
        html_add(html, "$,$ ", text_of(html, "%.1f", x), text_of(html, "%.1f", y));
    }
}

/* --- pictures */

static void put_legend(struct html *html, const struct chart *chart)
{
    html_add(html, "<figcaption>");
    for (unsigned i = 0; i < chart->count; i++)
        html_add(html, "<span class=\"key k$\"><i></i>$<b>$</b></span>", text_of(html, "%u", i), chart->lines[i].label,
                 figure_text(html, chart->lines[i].last, chart->unit));
    if (chart->left_out > 0)
        html_add(html, "<span class=note>and $ more</span>", text_of(html, "%u", chart->left_out));
    html_add(html, "</figcaption>");
}

void chart_draw(struct html *html, const struct chart *chart)
{
    struct frame frame = {.from_ns = UINT64_MAX, .x = LEFT, .y = TOP, .width = WIDTH - LEFT - RIGHT};
    frame.height = HEIGHT - TOP - BOTTOM;
    if (chart->count == 0)
        return;
    for (unsigned i = 0; i < chart->count; i++)
        widen(&frame, &chart->lines[i]);
    frame.most = rounded(frame.most, chart->unit);
    html_add(html, "<figure><h3>$</h3><svg viewBox=\"0 0 $ $\" role=img aria-label=\"$\">", chart->title,
             text_of(html, "%d", WIDTH), text_of(html, "%d", HEIGHT), chart->title);
    html_add(html, "<path class=grid d=\"M$\"/>",
             text_of(html, "%d %dh%dM%d %dh%dM%d %dh%d", LEFT, TOP, frame.width, LEFT, TOP + frame.height / 2,
                     frame.width, LEFT, TOP + frame.height, frame.width));
    html_add(html, "<text x=4 y=11>$</text><text x=4 y=$>$</text><text x=$ y=$ class=end>$</text>",
             figure_text(html, frame.most, chart->unit), text_of(html, "%d", HEIGHT - 4),
             clock_text(html, frame.from_ns), text_of(html, "%d", WIDTH - RIGHT), text_of(html, "%d", HEIGHT - 4),
             clock_text(html, frame.to_ns));
    for (unsigned i = chart->count; i-- > 0;) {
        html_add(html, "<polyline class=\"k$$\" points=\"", text_of(html, "%u", i),
                 chart->lines[i].dashed ? " dashed" : "");
        put_points(html, &frame, &chart->lines[i]);
        html_add(html, "\"><title>$</title></polyline>", chart->lines[i].label);
    }
    html_add(html, "</svg>");
    put_legend(html, chart);
    html_add(html, "</figure>");
}

void spark_draw(struct html *html, const struct series *series)
{
    struct chart_line line = {.series = series, .figure = figure_value, .scale = 1};
    struct frame frame = {.from_ns = UINT64_MAX,
                          .x = 1,
                          .y = 2,
                          .width = SPARK_WIDTH - 2,
                          .height = SPARK_HEIGHT - 4,
                          .least = INFINITY,
                          .most = -INFINITY};
    widen(&frame, &line);
    if (frame.from_ns == UINT64_MAX)
        return;
    html_add(html, "<svg class=spark viewBox=\"0 0 $ $\" aria-hidden=true><polyline class=k0 points=\"",
             text_of(html, "%d", SPARK_WIDTH), text_of(html, "%d", SPARK_HEIGHT));
    put_points(html, &frame, &line);
    html_add(html, "\"/></svg>");
}
