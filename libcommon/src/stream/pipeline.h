/* Commands that go out together, and the fiber that waits for all of their answers.
 *
 * The pipeline outlives its fiber: what is answered after a deadline is thrown away.
 * Answers are copied into the request's arena. Fiber only. */
#ifndef STREAM_PIPELINE_H
#define STREAM_PIPELINE_H

#include "common/err.h"
#include "stream/link.h"
#include "stream/reply.h"

struct pipeline;
struct request;

/* For at most count_max commands. */
struct pipeline *pipeline_begin(struct request *req, struct link *link, unsigned count_max);
/* False when the connection is not up: this command was not sent. lengths NULL: the arguments are texts. */
bool pipeline_send(struct pipeline *pipeline, int argc, const char **argv, const size_t *lengths);
/* Waits, and ends the pipeline in every case. out_replies gets the answers, in order; out_count how many came. Fewer
 * than were sent: ERR_UNAVAILABLE, ERR_DEADLINE_EXCEEDED or ERR_CANCELLED, recorded; whether the rest happened is
 * unknown. */
enum err pipeline_end(struct pipeline *pipeline, const struct reply **out_replies, unsigned *out_count);

/* One command and its answer, which may be an error reply. */
enum err pipeline_ask(struct request *req, struct link *link, int argc, const char **argv, const struct reply **out);
/* What an answer means for its command: an error reply is logged (at most once a second) and becomes ERR_INTERNAL, or
 * ERR_UNAVAILABLE when it will pass by itself. */
enum err pipeline_judge(struct request *req, const char *command, const struct reply *reply);

#endif
