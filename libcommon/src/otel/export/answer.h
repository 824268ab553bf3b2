/* What a receiver answers: pure readers of outside bytes. Any bytes give a result or false; nothing is allocated.
 * Texts are cut to ANSWER_TEXT_MAX bytes. Source: OTLP 1.11, google.rpc.Status, RFC 9110 section 10.2.3. */
#ifndef OTEL_EXPORT_ANSWER_H
#define OTEL_EXPORT_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ANSWER_TEXT_MAX = 256, ANSWER_BYTES_MAX = 4 << 20, DELAY_S_MAX = 3600 };
enum { NO_DELAY = -1 };

struct export_answer {
    bool partial;      /* partial_success is there, and says something */
    uint64_t rejected; /* spans, data points or log records; a negative number counts as 0 */
    char message[ANSWER_TEXT_MAX];
};

struct status_answer {
    int code;
    int64_t delay_ns; /* of RetryInfo, at most DELAY_S_MAX; NO_DELAY when there is none */
    char message[ANSWER_TEXT_MAX];
};

/* Export…ServiceResponse, whose numbers are the same for the three signals. False: malformed, out untouched. */
bool export_answer_read(const uint8_t *data, size_t bytes, struct export_answer *out);
/* google.rpc.Status: from grpc-status-details-bin, or the body of an HTTP failure. The same. */
bool status_answer_read(const uint8_t *data, size_t bytes, struct status_answer *out);
/* The value of Retry-After, seconds or any of HTTP's three forms of a date; NO_DELAY for anything else. */
int64_t retry_after_read(const char *text, int64_t wall_now_ns);

#endif
