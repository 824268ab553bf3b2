/* What becomes of messages that were delivered before and not settled. */
#ifndef STREAM_RESCUE_H
#define STREAM_RESCUE_H

#include "stream/batch.h"
#include "stream/internal.h"

/* Learns how often each message was delivered, and leaves out those that are somebody else's by now. */
enum err rescue_count(struct stream_consumer *consumer, struct request *req, struct batch *batch);
/* Moves messages with too many deliveries to the dead-letter stream and takes them out of the batch. */
enum err rescue_bury(struct stream_consumer *consumer, struct request *req, struct batch *batch);
/* Acknowledges entries that were trimmed or deleted while they were pending: nobody can handle them any more. */
enum err rescue_forget(struct stream_consumer *consumer, struct request *req, const struct batch *batch);
/* The same for those whose ids a Redis before 7 keeps to itself. */
enum err rescue_forget_nameless(struct stream_consumer *consumer, struct request *req);
/* Removes members of the group that are gone and hold nothing. */
enum err rescue_dismiss(struct stream_consumer *consumer, struct request *req);
/* Takes back the last delivery of what is not done: its failure was not the message's. */
enum err rescue_uncount(struct stream_consumer *consumer, struct request *req, const struct batch *batch);

#endif
