/* Redis streams for fibers: a producer, and consumers in a group.
 *
 * A struct stream belongs to one loop and holds one connection for commands; each consumer has
 * one more, for its blocking reads. Reconnects by itself with jittered back-off (100 ms to 2 s).
 * Loop thread only. Everything that a reply carries is copied into the request's arena.
 * Errors: ERR_UNAVAILABLE (no connection, lost meanwhile, queue full, Redis loading, read-only or
 * out of memory), ERR_DEADLINE_EXCEEDED, ERR_INTERNAL (Redis answered another error; it is logged).
 * After a connection lost and after a deadline an entry may or may not have been added. A Redis
 * that owes an answer for 10 s counts as gone.
 * Source: Redis streams; hiredis; OpenSSL. */
#ifndef COMMON_STREAM_H
#define COMMON_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/trace.h"

struct loop;
struct request;
struct stream;
struct stream_consumer;
struct worker;

struct stream_settings {
    const char
        *url; /* redis://[user:password@]host[:port][/db], rediss://… (TLS), or unix://[user:password@]/path[?db=n] */
    const char *password;                       /* instead of the url's; "" or NULL: the url's */
    const char *password_file;                  /* where it came from, read again for each new connection; or NULL */
    const char *ca_file, *cert_file, *key_file; /* PEM, for rediss://; "" or NULL: the system's authorities; none */
    int64_t length_max;                         /* XADD ... MAXLEN ~ this; 0: never trimmed */
    int queue_max;                              /* commands in flight; beyond it ERR_UNAVAILABLE */
    int connect_timeout_ms;
};

/* Connects in the background. Over TLS (1.2 or newer) the server's certificate must carry the url's host; changed files
 * count for new connections. NULL when url or files are no good (logged with the reason). settings is kept. */
struct stream *stream_open(struct loop *loop, const struct stream_settings *settings);
/* After its consumers have stopped. Ends what is in flight with ERR_UNAVAILABLE; NULL is allowed. */
void stream_close(struct stream *stream);
bool stream_up(const struct stream *stream);
enum err stream_await(struct request *req); /* until it is up; ERR_UNAVAILABLE at the request's deadline */

struct stream_entry {
    const char *key;            /* the stream */
    const char *data;           /* field `data`: a JSON text */
    struct trace_context trace; /* rides in further fields when valid */
    char id[48];                /* out: what Redis called it */
    enum err err;               /* out: its own fate */
};

/* Sends all in one go and waits for all answers. ERR_OK when each was taken; otherwise the first error, and
 * each entry's err tells. A call CALL_STREAM_SEND is announced for each entry. */
enum err stream_add(struct request *req, struct stream_entry *entries, unsigned count);

/* A run of Redis, from its start to its end. One that follows may lack what the one before took last: with
 * `appendfsync everysec` about a second, without persistence everything. */
struct stream_run {
    char id[64];      /* Redis's run_id; "" when it does not tell */
    int64_t began_ms; /* by its own clock, as ids are; never later than it did */
};

enum { STREAM_INHERITED_NOTHING = -1 };

/* Which run the connection for commands speaks with; asked once a connection. What the fiber sends next without a
 * wait between goes to that run, or fails. */
enum err stream_run(struct request *req, struct stream_run *out);
/* How long ago the newest of the entries was added that this run has from those before; STREAM_INHERITED_NOTHING when
 * there is none. Redis loses from the end: whatever was added later, to any stream, may be lost. */
enum err stream_inherited(struct request *req, const char *key, const struct stream_run *run, int64_t *out_age_ms);

struct stream_message {
    const char *id;
    const char *data;           /* NULL when the field is missing */
    struct trace_context trace; /* of its fields; trace_valid() tells whether there was one */
    unsigned deliveries;        /* 1 at first */
    bool done;                  /* set by the handler: acknowledge it. Left false: it comes again */
};

struct stream_consumer_settings {
    const char *key, *group;
    const char *name;        /* of this consumer, unique in the group */
    unsigned batch;          /* messages a read; default 100 */
    int block_ms;            /* of a read; default 2000 */
    int claim_idle_ms;       /* a message that nobody settled for so long is taken over; default 30000 */
    unsigned deliveries_max; /* then it goes to dead_key with the reason; default 5 */
    const char *dead_key;    /* NULL: it comes again for ever */
    int gone_ms; /* a member of the group that was silent for so long and holds no message is removed; default 600000.
                  * Longer than block_ms: who lives is removed only to come again */
};

/* Handles a batch; ERR_OK, or why it stopped early (logged; what is not done comes again after claim_idle_ms).
 * ERR_UNAVAILABLE says that a dependency is away: the consumer pauses, and the delivery is not counted. */
typedef enum err stream_handler(struct request *req, struct stream_message *messages, unsigned count);

/* Runs in fibers of its own until stopped: makes the group (and the stream) when missing, reads, hands over,
 * acknowledges, claims, moves to the dead-letter stream. settings and worker are kept. */
struct stream_consumer *stream_consume(const struct worker *worker, const struct stream_consumer_settings *settings,
                                       stream_handler *handler);
/* Stops reading, lets the batch in hand finish, frees. Waits: fiber only. */
void stream_consumer_stop(struct stream_consumer *consumer);

/* A message that was given up, in a dead-letter stream. */
struct stream_letter {
    const char *id;   /* there */
    const char *data; /* "" when the field is missing */
    const char *source_id, *reason;
};

enum err stream_letter_count(struct request *req, const char *dead_key, uint64_t *out_count);
/* Up to 20 behind the id `after` (NULL: from the first), oldest first. */
enum err stream_letters(struct request *req, const char *dead_key, const char *after, struct stream_letter **out,
                        unsigned *out_count);
/* Adds it to the end of `key` with the fields that it came with, and only then deletes it, in one step. After an error
 * that may have happened or not. */
enum err stream_letter_replay(struct request *req, const char *key, const char *dead_key, const char *id,
                              bool *out_found);

struct stream_stats {
    uint64_t added, received, settled, claimed, dead, errors, refused, reconnects;
    unsigned in_flight;
};

struct stream_stats stream_stats(const struct stream *stream); /* with all its consumers */

#endif
