#include "otel/export/sender.h"

#include <limits.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/mem.h"
#include "otel/export/items.h"
#include "otel/sdk/buffer.h"

void sender_init(struct sender *sender, const struct exporter_methods *methods, const struct transport *transport,
                 const struct exporter_settings *settings, enum signal signal)
{
    sender->exporter = (struct exporter){methods, signal};
    sender->settings = settings;
    sender->transport = transport;
    patience_init(&sender->patience);
    report_init(&sender->report, methods->type, sender->endpoint.shown);
}

size_t sender_answer_max(const struct sender *sender)
{
    return sender->settings->response_bytes_max ? sender->settings->response_bytes_max : ANSWER_BYTES_MAX;
}

/* --- waiting */

static bool is_hurried(const struct sender *sender)
{
    return patience_limit(&sender->patience, CLOCK_NEVER) != CLOCK_NEVER;
}

/* The receiver's own wish is kept even by those who hurry: when there is no time for it, they leave. */
static bool wait_as_asked(struct sender *sender, int64_t deadline_ns)
{
    for (;;) {
        int64_t limit_ns = patience_limit(&sender->patience, deadline_ns), now_ns = clock_now_ns();
        if (now_ns >= sender->not_before_ns)
            return true;
        if (now_ns >= limit_ns || (is_hurried(sender) && sender->not_before_ns >= limit_ns))
            return false;
        patience_wait(&sender->patience, sender->not_before_ns < limit_ns ? sender->not_before_ns : limit_ns);
    }
}

/* False when the next attempt would come too late. Those who hurry try again at once. */
static bool wait_before(struct sender *sender, const struct attempt *attempt, unsigned number, int64_t deadline_ns)
{
    int64_t now_ns = clock_now_ns();
    if (attempt->delay_ns > 0) {
        sender->not_before_ns = now_ns + pause_asked_ns(attempt->delay_ns);
        return wait_as_asked(sender, deadline_ns);
    }
    int64_t until_ns = now_ns + pause_ns(number);
    if (until_ns >= patience_limit(&sender->patience, deadline_ns))
        return false;
    patience_wait(&sender->patience, until_ns);
    return true;
}

/* --- one message */

static int64_t attempt_deadline(const struct sender *sender, int64_t deadline_ns)
{
    int64_t limit_ns = patience_limit(&sender->patience, deadline_ns);
    int64_t own_ns = clock_now_ns() + sender->settings->timeout_ms * NS_PER_MS;
    return sender->settings->timeout_ms > 0 && own_ns < limit_ns ? own_ns : limit_ns;
}

static void settle(struct sender *sender, const struct attempt *attempt)
{
    report_works(&sender->report);
    if (attempt->odd)
        report_odd(&sender->report, attempt->odd);
    if (attempt->answer.partial)
        report_partial(&sender->report, attempt->answer.rejected, attempt->answer.message);
}

/* The number of items that were not taken; *out_error when it is all of them. */
static uint64_t send_message(struct sender *sender, uint64_t items, int64_t deadline_ns, const char **out_error)
{
    struct attempt attempt = {.error = "timeout", .detail = "no time was left to send it"};
    sender->transport->load(sender);
    bool ready = wait_as_asked(sender, deadline_ns);
    for (unsigned number = 1; ready && attempt_deadline(sender, deadline_ns) > clock_now_ns(); number++) {
        attempt = sender->transport->attempt(sender, attempt_deadline(sender, deadline_ns));
        if (attempt.outcome == ATTEMPT_DONE) {
            settle(sender, &attempt);
            return attempt.answer.rejected < items ? attempt.answer.rejected : items;
        }
        if (attempt.outcome == ATTEMPT_NEVER)
            break;
        report_trouble(&sender->report, attempt.error, attempt.detail);
        ready = wait_before(sender, &attempt, number, deadline_ns);
    }
    report_lost(&sender->report, attempt.error, attempt.detail, items);
    *out_error = attempt.error;
    return items;
}

/* --- one batch, in as many messages as the size limit wants */

struct tally {
    uint64_t lost;     /* never taken */
    uint64_t rejected; /* taken, then refused */
    const char *error;
};

static size_t request_max(const struct sender *sender)
{
    return sender->settings->request_bytes_max ? sender->settings->request_bytes_max : SIZE_MAX;
}

void request_body_release(void *released)
{
    struct request_body *body = released;
    if (!body || atomic_fetch_sub(&body->users, 1) != 1)
        return;
    otlp_request_free(&body->request);
    free(body);
}

static struct request_body *fresh_body(struct sender *sender)
{
    if (sender->body && atomic_load(&sender->body->users) == 1)
        return sender->body;
    request_body_release(sender->body);
    sender->body = mem_alloc(sizeof *sender->body);
    sender->body->users = 1;
    return sender->body;
}

static void send_batch(struct sender *sender, const struct export_batch *batch, int64_t deadline_ns,
                       struct tally *tally)
{
    struct export_batch halves[2];
    struct metric spare[2];
    struct otlp_request *request = &fresh_body(sender)->request;
    otlp_encode(request, batch);
    if (request->size <= request_max(sender)) {
        const char *error = NULL;
        uint64_t lost = send_message(sender, batch_items(batch), deadline_ns, &error);
        *(error ? &tally->lost : &tally->rejected) += lost;
        tally->error = error ? error : tally->error;
    } else if (batch_split(batch, halves, spare)) {
        send_batch(sender, &halves[0], deadline_ns, tally);
        send_batch(sender, &halves[1], deadline_ns, tally);
    } else {
        tally->error = "message_too_large";
        tally->lost += 1;
        report_lost(&sender->report, tally->error, "a single record is beyond the limit of a message", 1);
    }
}

struct export_result sender_export(struct exporter *exporter, const struct export_batch *batch, int64_t deadline_ns)
{
    struct sender *sender = (struct sender *)exporter;
    struct tally tally = {0};
    uint64_t items = batch_items(batch);
    if (items == 0)
        return (struct export_result){.ok = true};
    send_batch(sender, batch, deadline_ns, &tally);
    if (tally.lost == items)
        return (struct export_result){.error = tally.error};
    uint64_t rejected = tally.lost + tally.rejected;
    /* With an error, and yet in part: some of the batch's messages were taken. */
    return (struct export_result){
        .ok = true, .rejected = rejected < UINT_MAX ? (unsigned)rejected : UINT_MAX, .error = tally.error};
}

void sender_hurry(struct exporter *exporter, int64_t deadline_ns)
{
    struct sender *sender = (struct sender *)exporter;
    patience_hurry(&sender->patience, deadline_ns);
    sender->transport->wake(sender);
}

void sender_free(struct exporter *exporter)
{
    struct sender *sender = (struct sender *)exporter;
    sender->transport->close(sender);
    request_body_release(sender->body);
    patience_done(&sender->patience);
    free(sender);
}
