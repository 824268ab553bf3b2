/* What a reload changes, for its log line. */
#ifndef OTEL_SDK_CHANGE_H
#define OTEL_SDK_CHANGE_H

#include "otel/sdk/settings.h"

/* "traces, log level"; "nothing" when all is equal. Cut to bytes; returns out. */
char *settings_changes(const struct sdk_settings *old, const struct sdk_settings *now, char *out, size_t bytes);

#endif
