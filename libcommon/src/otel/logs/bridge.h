/* Lines of common/log.h become log records as well, of scope "libcommon.log": the message is the body, fields are
 * attributes. A line longer than log.h's own limit is cut. */
#ifndef OTEL_LOGS_BRIDGE_H
#define OTEL_LOGS_BRIDGE_H

void bridge_start(void);
void bridge_stop(void);
/* For threads of the SDK: what they log stays on stderr. An export that fails would otherwise make records to
 * export. */
void bridge_mute(void);

#endif
