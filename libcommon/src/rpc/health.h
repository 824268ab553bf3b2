/* grpc.health.v1, as both sides know it. */
#ifndef RPC_HEALTH_H
#define RPC_HEALTH_H

#include "common/rpc.h"

struct rpc_lane;
struct rpc_place;

enum { RPC_WATCHERS_MAX = 128 };

extern const struct rpc_procedure rpc_health_check, rpc_health_watch;

rpc_handler rpc_answer_health_check;
void rpc_watch_arrived(struct rpc_place *place);
/* Tells every watcher of the lane what it does not know yet. */
void rpc_watchers_tell(struct rpc_lane *lane);

#endif
