#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "collector/pages.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/utf8.h"

enum { HTML_FIRST_BYTES = 16384, VALUE_SHOWN_MAX = 8192, SERVICES_MAX = 64 };

/* --- bytes */

static void put(struct html *html, const char *data, size_t bytes)
{
    if (html->size + bytes > html->room) {
        size_t room = html->room ? html->room : HTML_FIRST_BYTES;
        while (room < html->size + bytes)
            room *= 2;
        char *larger = arena_alloc_raw(html->req->arena, room);
        if (html->size)
            memcpy(larger, html->data, html->size);
        html->data = larger;
        html->room = room;
    }
    memcpy(html->data + html->size, data, bytes);
    html->size += bytes;
}

static const char *escape_of(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return (unsigned char)c < ' ' && c != '\n' && c != '\t' ? "\xef\xbf\xbd" : NULL;
    }
}

static void put_escaped(struct html *html, const char *text)
{
    for (size_t shown = 0; *text; shown++) {
        if (shown == VALUE_SHOWN_MAX) {
            put(html, "…", strlen("…"));
            return;
        }
        size_t step = utf8_sequence(text);
        const char *escape = step == 0 ? "\xef\xbf\xbd" : escape_of(*text);
        put(html, escape ? escape : text, escape ? strlen(escape) : step);
        text += step ? step : 1;
    }
}

void html_add(struct html *html, const char *form, ...)
{
    va_list args;
    va_start(args, form);
    for (;;) {
        const char *mark = strchrnul(form, '$');
        put(html, form, (size_t)(mark - form));
        if (!*mark)
            break;
        const char *text = va_arg(args, const char *);
        put_escaped(html, text ? text : "");
        form = mark + 1;
    }
    va_end(args);
}

/* --- texts */

const char *text_of(struct html *html, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = arena_vprint(html->req->arena, format, args);
    va_end(args);
    return text;
}

const char *duration_text(struct html *html, double nanoseconds)
{
    if (nanoseconds < 1e3)
        return text_of(html, "%.0f ns", nanoseconds);
    if (nanoseconds < 1e6)
        return text_of(html, "%.3g µs", nanoseconds / 1e3);
    if (nanoseconds < 1e9)
        return text_of(html, nanoseconds < 1e8 ? "%.3g ms" : "%.0f ms", nanoseconds / 1e6);
    return text_of(html, "%.2f s", nanoseconds / 1e9);
}

const char *clock_text(struct html *html, uint64_t wall_ns)
{
    time_t seconds = (time_t)(wall_ns / (uint64_t)NS_PER_S);
    struct tm tm;
    if (wall_ns == 0 || !gmtime_r(&seconds, &tm))
        return "";
    return text_of(html, "%02d:%02d:%02d.%03u", tm.tm_hour, tm.tm_min, tm.tm_sec,
                   (unsigned)(wall_ns % (uint64_t)NS_PER_S / (uint64_t)NS_PER_MS));
}

static const char *bytes_text(struct html *html, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    unsigned unit = 0;
    while (fabs(bytes) >= 1024 && unit + 1 < array_count(units)) {
        bytes /= 1024;
        unit++;
    }
    return text_of(html, "%.3g %s", bytes, units[unit]);
}

const char *figure_text(struct html *html, double value, const char *unit)
{
    if (isnan(value))
        return "–";
    if (strcmp(unit, "By") == 0)
        return bytes_text(html, value);
    if (strcmp(unit, "s") == 0 && fabs(value) < 1000)
        return value == 0 ? "0" : duration_text(html, value * 1e9);
    const char *name = *unit == '{' ? "" : strcmp(unit, "1") == 0 ? "" : unit;
    if (fabs(value) >= 1e6)
        return text_of(html, "%.3gM %s", value / 1e6, name);
    return fabs(value) >= 1000 ? text_of(html, "%.0f %s", value, name) : text_of(html, "%.3g %s", value, name);
}

const char *id_text(struct html *html, const uint8_t *id, size_t bytes)
{
    return hash_hex(id, bytes, arena_alloc(html->req->arena, 2 * bytes + 1));
}

const char *query_text(struct html *html, const char *value)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = arena_alloc(html->req->arena, 3 * strlen(value) + 1), *at = out;
    for (const unsigned char *c = (const unsigned char *)value; *c; c++) {
        if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '-' ||
            *c == '.' || *c == '_') {
            *at++ = (char)*c;
            continue;
        }
        *at++ = '%';
        *at++ = digits[*c >> 4];
        *at++ = digits[*c & 15];
    }
    return out;
}

/* --- services, coloured in the order in which they were seen */

static char *services[SERVICES_MAX];
static unsigned service_count;

static unsigned service_place(const char *service)
{
    unsigned place = 0;
    while (place < service_count && strcmp(services[place], service) != 0)
        place++;
    if (place == service_count && service_count < SERVICES_MAX)
        services[service_count++] = mem_text(service);
    return place;
}

const char *service_hue(struct html *html, const char *service)
{
    static const unsigned hues[] = {212, 150, 28, 275, 340, 180, 48, 100, 240, 0, 310, 195};
    return text_of(html, "%u", hues[service_place(service) % array_count(hues)]);
}

void html_service(struct html *html, const char *service)
{
    html_add(html, "<span class=service style=\"--h:$\">$</span>", service_hue(html, service), service);
}

static void look_for_services(const struct collector *collector)
{
    list_each (node, &collector->store.traces) {
        list_each (span, &container_of(node, struct kept_trace, list)->spans)
            service_place(container_of(span, struct kept_span, list)->origin->service);
    }
    list_each (node, &collector->series.all)
        service_place(container_of(node, struct series, list)->origin->service);
}

void html_filter(struct html *html, const char *path, const char *chosen)
{
    look_for_services(collector_of(html->req));
    html_add(html, "<nav class=filter><a href=\"$\" class=\"$\">all services</a>", path, chosen ? "" : "on");
    for (unsigned i = 0; i < service_count; i++)
        html_add(html, "<a href=\"$?service=$\" class=\"$\"><i style=\"--h:$\"></i>$</a>", path,
                 query_text(html, services[i]), chosen && strcmp(chosen, services[i]) == 0 ? "on" : "",
                 service_hue(html, services[i]), services[i]);
    html_add(html, "</nav>");
}

/* --- pieces */

void html_attributes(struct html *html, OTLP_COMMON(KeyValue) * *attributes, size_t count)
{
    html_add(html, "<dl>");
    for (size_t i = 0; i < count; i++)
        html_add(html, "<dt>$</dt><dd>$</dd>", attributes[i]->key, value_text(html->req->arena, attributes[i]->value));
    html_add(html, "</dl>");
}

void html_begin(struct html *html, struct request *req, const char *title, const char *tab)
{
    *html = (struct html){.req = req};
    html_add(
        html,
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>$</title>"
        "<meta name=viewport content=\"width=device-width,initial-scale=1\">"
        "<link rel=icon href=\"data:,\"><link rel=stylesheet href=/style.css><script src=/page.js defer></script>"
        "</head><body data-tab=\"$\"><header><b>Telemetry</b><nav><a href=/ class=\"$\">Traces</a>"
        "<a href=/metrics class=\"$\">Metrics</a></nav><span class=live title=\"the page follows\"></span></header>"
        "<main>",
        title, tab, strcmp(tab, "metrics") != 0 ? "on" : "", strcmp(tab, "metrics") == 0 ? "on" : "");
}

enum err html_end(struct html *html, struct response *res)
{
    html_add(html, "</main></body></html>\n");
    res->content_type = "text/html; charset=utf-8";
    res->body = (struct bytes){html->data, html->size};
    response_header(html->req, res, "Content-Security-Policy",
                    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; connect-src 'self'; "
                    "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
    response_header(html->req, res, "X-Content-Type-Options", "nosniff");
    response_header(html->req, res, "Cache-Control", "no-store");
    return ERR_OK;
}
