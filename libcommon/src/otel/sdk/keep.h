/* Copies of settings and resource for what stays through a reload: processors, readers and their exporters outlive the
 * configuration that they were made from. Everything lands in the arena. */
#ifndef OTEL_SDK_KEEP_H
#define OTEL_SDK_KEEP_H

#include "common/arena.h"
#include "otel/sdk/model.h"

struct exporter_settings exporter_settings_copy(struct arena *arena, const struct exporter_settings *settings);
struct sdk_resource resource_copy(struct arena *arena, const struct sdk_resource *resource);
bool resource_equal(const struct sdk_resource *a, const struct sdk_resource *b);

#endif
