/* The sections of a declarative configuration, each read from its node into its settings. */
#ifndef OTEL_SETTINGS_SECTIONS_H
#define OTEL_SETTINGS_SECTIONS_H

#include "otel/settings/defaults.h"
#include "otel/settings/schema.h"

/* Into struct sdk_settings. */
field_reader read_resource, read_propagator, read_attribute_limits, read_tracer_provider, read_meter_provider,
    read_logger_provider;
/* Into struct exporter_settings; of spans and of logs, of periodic readers, of pull readers. */
field_reader read_exporter, read_push_exporter, read_pull_exporter;
/* Into struct sampler_settings. */
field_reader read_sampler;

#endif
