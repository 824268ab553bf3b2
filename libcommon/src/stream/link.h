/* One connection to Redis that keeps itself up: it connects in the background, logs in, and comes back
 * with jittered back-off after every failure. Commands are written once a turn of the loop; what waits
 * for answers when the connection breaks is told so. A server that owes an answer for longer than
 * reply_timeout_ms counts as gone. Loop thread only.
 *
 * A reply is bounded (bytes, elements); one that is too large, malformed or that nobody asked for
 * ends the connection. Hiredis 0.14 knows no TLS: over it, hiredis has a descriptor of its own that never has anything,
 * what it wants to send is taken from its buffer, and what comes is fed to its reader. Source: hiredis 0.14, async.h.
 */
#ifndef STREAM_LINK_H
#define STREAM_LINK_H

#include <hiredis/async.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/fiber.h"
#include "common/loop.h"
#include "common/stream.h"
#include "stream/tls.h"
#include "stream/url.h"

enum link_state { LINK_DOWN, LINK_RESOLVING, LINK_CONNECTING, LINK_SECURING, LINK_GREETING, LINK_UP, LINK_CLOSED };

struct link {
    struct loop *loop;
    const struct stream_url *url;
    const struct stream_settings *settings;
    int reply_timeout_ms;
    enum link_state state; /* read-only, the same below */
    unsigned in_flight;    /* commands sent or about to be sent, and not answered */
    uint64_t reconnects;   /* connections made after the first one */
    uint64_t errors;       /* failures to connect, and connections lost */
    /* private */
    redisAsyncContext *context;
    char *password;                   /* from its file, until it was sent */
    struct stream_tls *tls;           /* NULL: plain text */
    struct tls_session session;       /* of this connection, on watch.fd, which then is ours to close */
    struct link_lookup *lookup;       /* of the host's name, while it runs */
    redisReplyObjectFunctions *plain; /* hiredis's own, behind our bounds */
    struct loop_watch watch;
    struct loop_timer timer; /* by state: when to connect, when connecting took too long, when to look for a hang */
    struct loop_hook hook;
    struct fiber_queue waiters;
    bool dirty, flushing;
    bool watched;       /* the timer runs to find a hang */
    unsigned greetings; /* answers of the log-in still to come */
    unsigned attempts;  /* since it was last up */
    bool connected_before;
    int64_t progress_ns; /* the last answer, or the first command behind it */
    size_t reply_bytes, reply_elements;
    char reason[256], told[256]; /* why it went down; what was logged last */
};

/* What it is given must outlive the link. tls NULL: plain text. */
struct link *link_open(struct loop *loop, const struct stream_url *url, struct stream_tls *tls,
                       const struct stream_settings *settings, int reply_timeout_ms);
/* Ends the connection for good; what waits is told. Harmless when repeated. */
void link_close(struct link *link);
/* Closes and frees; no fiber may be in link_wait(). */
void link_free(struct link *link);

/* Waits until it is up: ERR_CANCELLED once closed, ERR_DEADLINE_EXCEEDED. Fiber only. */
enum err link_wait(struct link *link, int64_t deadline_ns);

/* Sends a command. fn gets the reply, or NULL when the connection broke, exactly once. False when it is not up. */
bool link_send(struct link *link, redisCallbackFn *fn, void *arg, int argc, const char **argv, const size_t *lengths);
/* Owed by every callback of link_send(), first thing. */
void link_answered(struct link *link);

#endif
