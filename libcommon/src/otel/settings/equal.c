/* What a hot reload can leave alone: settings by value. */
#include <string.h>

#include "otel/sdk/settings.h"

static bool texts_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool lists_equal(const char *const *a, const char *const *b)
{
    if (!a || !b)
        return a == b;
    for (; *a && *b; a++, b++)
        if (strcmp(*a, *b) != 0)
            return false;
    return *a == *b;
}

static bool headers_equal(const struct exporter_settings *a, const struct exporter_settings *b)
{
    if (a->header_count != b->header_count)
        return false;
    for (unsigned i = 0; i < a->header_count; i++)
        if (!texts_equal(a->headers[i].name, b->headers[i].name) ||
            !texts_equal(a->headers[i].value, b->headers[i].value))
            return false;
    return true;
}

static bool tls_equal(const struct tls_settings *a, const struct tls_settings *b)
{
    return texts_equal(a->ca_file, b->ca_file) && texts_equal(a->key_file, b->key_file) &&
           texts_equal(a->cert_file, b->cert_file) && a->insecure == b->insecure;
}

static bool transports_equal(const struct exporter_settings *a, const struct exporter_settings *b)
{
    return texts_equal(a->endpoint, b->endpoint) && tls_equal(&a->tls, &b->tls) && headers_equal(a, b) &&
           a->gzip == b->gzip && a->timeout_ms == b->timeout_ms && a->request_bytes_max == b->request_bytes_max &&
           a->response_bytes_max == b->response_bytes_max && texts_equal(a->output_stream, b->output_stream);
}

static bool scrapes_equal(const struct exporter_settings *a, const struct exporter_settings *b)
{
    return texts_equal(a->host, b->host) && a->port == b->port && a->without_scope_info == b->without_scope_info &&
           a->without_target_info == b->without_target_info &&
           lists_equal(a->resource_labels_included, b->resource_labels_included) &&
           lists_equal(a->resource_labels_excluded, b->resource_labels_excluded) &&
           texts_equal(a->translation_strategy, b->translation_strategy);
}

bool exporter_settings_equal(const struct exporter_settings *a, const struct exporter_settings *b)
{
    return a->kind == b->kind && a->temporality == b->temporality && a->default_histogram == b->default_histogram &&
           transports_equal(a, b) && scrapes_equal(a, b);
}

bool processor_settings_equal(const struct processor_settings *a, const struct processor_settings *b)
{
    return a->batch == b->batch && a->schedule_delay_ms == b->schedule_delay_ms &&
           a->export_timeout_ms == b->export_timeout_ms && a->max_queue_size == b->max_queue_size &&
           a->max_export_batch_size == b->max_export_batch_size && exporter_settings_equal(&a->exporter, &b->exporter);
}

bool reader_settings_equal(const struct reader_settings *a, const struct reader_settings *b)
{
    return a->pull == b->pull && a->interval_ms == b->interval_ms && a->timeout_ms == b->timeout_ms &&
           memcmp(a->cardinality_limits, b->cardinality_limits, sizeof a->cardinality_limits) == 0 &&
           exporter_settings_equal(&a->exporter, &b->exporter);
}

static bool selectors_equal(const struct view_settings *a, const struct view_settings *b)
{
    return texts_equal(a->instrument_name, b->instrument_name) && texts_equal(a->unit, b->unit) &&
           texts_equal(a->meter_name, b->meter_name) && texts_equal(a->meter_version, b->meter_version) &&
           texts_equal(a->meter_schema_url, b->meter_schema_url) && a->instrument_type == b->instrument_type;
}

static bool aggregations_equal(const struct view_settings *a, const struct view_settings *b)
{
    if (a->aggregation != b->aggregation || a->record_min_max != b->record_min_max || a->max_scale != b->max_scale ||
        a->max_size != b->max_size || a->has_boundaries != b->has_boundaries || a->bound_count != b->bound_count)
        return false;
    for (unsigned i = 0; i < a->bound_count; i++)
        if (a->boundaries[i] != b->boundaries[i])
            return false;
    return true;
}

static bool view_equal(const struct view_settings *a, const struct view_settings *b)
{
    return selectors_equal(a, b) && aggregations_equal(a, b) && texts_equal(a->name, b->name) &&
           texts_equal(a->description, b->description) && a->cardinality_limit == b->cardinality_limit &&
           lists_equal(a->keys_included, b->keys_included) && lists_equal(a->keys_excluded, b->keys_excluded);
}

bool views_equal(const struct sdk_settings *a, const struct sdk_settings *b)
{
    if (a->view_count != b->view_count)
        return false;
    for (unsigned i = 0; i < a->view_count; i++)
        if (!view_equal(&a->views[i], &b->views[i]))
            return false;
    return true;
}
