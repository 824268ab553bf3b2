/* Admission: how many requests may be in work at once, so that who is let in is answered soon and the rest at once.
 *
 * More than enough work in progress makes nothing faster, it only makes everybody wait. So a limit looks at how long
 * its requests take. When most of a tenth of a second's took longer than the target, and somebody was turned away,
 * there is a queue, here or behind, and fewer are let in, half as many while nearly all are slow; when most are quick,
 * more are again. It begins at four times the least and comes back there while nobody is turned away, so that a burst
 * or a hiccup turns nobody away; it stays within least and most. The least is what a shop needs at once to be busy:
 * below it less is done and hardly anybody waits less. A service behind another has the larger least, so that it is the
 * outermost that turns away. A limit belongs to a server and is shared by its loops: any thread. Source: additive
 * increase, multiplicative decrease as in TCP; the ideas of WeChat's DAGOR and of adaptive limits in proxies. */
#ifndef COMMON_LIMIT_H
#define COMMON_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct limit {
    unsigned least, first, most; /* private, the same below */
    int64_t target_ns;
    atomic_uint in_flight, now;
    atomic_uint quick, slow; /* of this window */
    atomic_bool busy, full;  /* in this window: more than half in use; somebody was turned away */
    _Atomic int64_t window_ends_ns;
};

/* target_ms 0: always most. */
void limit_init(struct limit *limit, unsigned least, unsigned most, int target_ms);
/* False: one too many. Otherwise limit_leave() is owed. */
bool limit_enter(struct limit *limit);
/* begin_ns: when it entered. */
void limit_leave(struct limit *limit, int64_t begin_ns, int64_t now_ns);
unsigned limit_in_flight(const struct limit *limit);
unsigned limit_now(const struct limit *limit);

#endif
