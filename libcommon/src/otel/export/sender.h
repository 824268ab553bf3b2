/* The part that OTLP's two transports share: encode, keep to the size limit, try, wait, try again, tell.
 *
 * A transport makes one attempt at a time on the exporter's thread; only wake comes from elsewhere.
 * Source: OTLP 1.11, OTLP exporter specification (retry). */
#ifndef OTEL_EXPORT_SENDER_H
#define OTEL_EXPORT_SENDER_H

#include "otel/export/answer.h"
#include "otel/export/endpoint.h"
#include "otel/export/patience.h"
#include "otel/export/report.h"
#include "otel/sdk/exporter.h"

enum { SIGNALS = SIGNAL_LOGS + 1 };

#define SENDER_USER_AGENT "OTel-OTLP-Exporter-C/" BODEGA_VERSION

struct attempt {
    enum { ATTEMPT_DONE, ATTEMPT_AGAIN, ATTEMPT_NEVER } outcome; /* again: the specification allows to repeat it */
    const char *error;                                           /* static; NULL when done */
    int64_t delay_ns;                                            /* asked for by the receiver; NO_DELAY: not */
    char detail[ANSWER_TEXT_MAX];
    struct export_answer answer; /* when done */
    const char *odd;             /* done, but the answer cannot be read: why; static */
};

/* A transport may hold on to a message after the attempt, when that was given up: the next one then gets another body.
 */
struct request_body {
    _Atomic(unsigned) users;
    struct otlp_request request;
};
/* Any thread. */
void request_body_release(void *body);

struct sender {
    struct exporter exporter; /* first */
    const struct exporter_settings *settings;
    const struct transport *transport;
    struct endpoint endpoint;
    struct patience patience;
    struct report report;
    struct request_body *body; /* of the message that is being sent; NULL before the first */
    int64_t not_before_ns;     /* the receiver asked not to come earlier */
};

struct transport {
    /* There is a new message in sender->body. */
    void (*load)(struct sender *sender);
    /* Ends by the deadline, or by patience_limit() when that comes closer. */
    struct attempt (*attempt)(struct sender *sender, int64_t deadline_ns);
    /* Any thread, also when no attempt runs: the limit has come closer. */
    void (*wake)(struct sender *sender);
    void (*close)(struct sender *sender);
};

/* The endpoint has been read. settings and transport must outlive the sender. */
void sender_init(struct sender *sender, const struct exporter_methods *methods, const struct transport *transport,
                 const struct exporter_settings *settings, enum signal signal);

/* What an answer may have: the setting, or ANSWER_BYTES_MAX without one. */
size_t sender_answer_max(const struct sender *sender);

/* Methods of the exporters. */
struct export_result sender_export(struct exporter *exporter, const struct export_batch *batch, int64_t deadline_ns);
void sender_hurry(struct exporter *exporter, int64_t deadline_ns);
void sender_free(struct exporter *exporter);

/* For open.c. NULL with a message. */
extern const struct exporter_methods grpc_methods[SIGNALS], http_methods[SIGNALS];
struct exporter *grpc_exporter_open(const struct exporter_settings *settings, enum signal signal, char *message,
                                    size_t message_bytes);
struct exporter *http_exporter_open(const struct exporter_settings *settings, enum signal signal, char *message,
                                    size_t message_bytes);

#endif
