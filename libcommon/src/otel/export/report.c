#include "otel/export/report.h"

#include "common/clock.h"
#include "common/log.h"

enum { LINE_EVERY_S = 60 };

void report_init(struct report *report, const char *exporter, const char *endpoint)
{
    *report = (struct report){.exporter = exporter, .endpoint = endpoint};
}

/* May a line of this kind be written again? */
static bool is_due(int64_t *line_ns)
{
    int64_t now_ns = clock_now_ns();
    if (*line_ns != 0 && now_ns < *line_ns + LINE_EVERY_S * NS_PER_S)
        return false;
    *line_ns = now_ns;
    return true;
}

static void tell_failing(struct report *report, const char *error, const char *detail)
{
    if (!is_due(&report->failing_line_ns))
        return;
    log_event(LOG_WARN, report->told ? "telemetry is still not delivered" : "telemetry is not delivered",
              log_text("exporter", report->exporter), log_text("endpoint", report->endpoint), log_text("error", error),
              log_text("detail", detail), log_int("lost", (int64_t)report->lost));
    report->told = true;
    report->lost = 0;
}

/* One failed attempt happens; the second in a row is worth a line. */
void report_trouble(struct report *report, const char *error, const char *detail)
{
    if (report->failing)
        tell_failing(report, error, detail);
    report->failing = true;
}

void report_lost(struct report *report, const char *error, const char *detail, uint64_t items)
{
    report->failing = true;
    report->lost += items;
    tell_failing(report, error, detail);
}

void report_works(struct report *report)
{
    report->failing = false;
    if (!report->told)
        return;
    report->told = false;
    log_event(LOG_INFO, "telemetry is delivered again", log_text("exporter", report->exporter),
              log_text("endpoint", report->endpoint), log_int("lost", (int64_t)report->lost));
    report->lost = 0;
}

static uint64_t hash_text(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return hash;
}

/* The same message is told once, with what it rejected until another one comes. */
void report_partial(struct report *report, uint64_t rejected, const char *message)
{
    uint64_t text = hash_text(message);
    report->rejected += rejected;
    if (text == report->partial_text || !is_due(&report->partial_line_ns))
        return;
    log_event(LOG_WARN, rejected ? "telemetry was rejected in part" : "the telemetry receiver warns",
              log_text("exporter", report->exporter), log_text("endpoint", report->endpoint),
              log_text("detail", message), log_int("rejected", (int64_t)report->rejected));
    report->partial_text = text;
    report->rejected = 0;
}

void report_odd(struct report *report, const char *what)
{
    if (!is_due(&report->odd_line_ns))
        return;
    log_event(LOG_WARN, "the telemetry receiver's answer cannot be read", log_text("exporter", report->exporter),
              log_text("endpoint", report->endpoint), log_text("detail", what));
}
