/* Logs: records with severity, attributes and an event's name, joined to the span in which they were made; and lines of
 * common/log.h, which go the same way beside standard error.
 *
 *   OTEL_LOGS_EXPORTER=console ./logs        prints them; without it they go to the collector on this machine */
#include <stdio.h>

#include "common/log.h"
#include "common/otel/otel.h"

/* An event has a name that stays the same; what differs is in its attributes. */
static void tell_sign_in(struct otel_logger *logger, const char *user, int tries)
{
    const struct otel_attribute attributes[] = {otel_text("app.user", user), otel_int("app.tries", tries)};
    const struct otel_log log = {.severity = OTEL_INFO,
                                 .severity_text = "INFO",
                                 .event_name = "app.signed_in",
                                 .attributes = attributes,
                                 .attribute_count = 2};
    otel_logger_emit(logger, &log);
}

static void tell(struct otel_logger *logger, enum otel_severity severity, const char *text)
{
    const struct otel_log log = {.severity = severity, .body = otel_value_text(text)};
    otel_logger_emit(logger, &log);
}

static void sign_in(struct otel_logger *logger, const char *user)
{
    struct otel_span span;
    otel_span_start(&span, otel_tracer("logs-example", "1.0.0", NULL), "sign in", NULL);
    otel_span_enter(&span);
    tell(logger, OTEL_WARN, "wrong password"); /* trace and span are the current ones */
    tell_sign_in(logger, user, 2);
    log_event(LOG_INFO, "mail sent", log_text("to", user)); /* this one too */
    otel_span_end(&span);
}

int main(void)
{
    char message[256];
    const struct otel_options options = {.service_name = "logs-example", .service_version = "1.0.0"};
    log_init("logs-example", LOG_INFO);
    if (otel_start(&options, message, sizeof message)) {
        fprintf(stderr, "%s\n", message);
        return 1;
    }
    struct otel_logger *logger = otel_logger("logs-example", "1.0.0", NULL);
    if (otel_logger_enabled(logger, OTEL_DEBUG)) /* where a text is dear to make */
        tell(logger, OTEL_DEBUG, "started");
    sign_in(logger, "ada");
    tell(logger, OTEL_ERROR, "no more users");
    if (!otel_stop(2000))
        fprintf(stderr, "not every record could be sent\n");
    return 0;
}
