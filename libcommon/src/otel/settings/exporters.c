#include <limits.h>
#include <string.h>

#include "common/mem.h"
#include "otel/settings/pairs.h"
#include "otel/settings/sections.h"

#define AT(member) offsetof(struct exporter_settings, member)

/* --- headers: neither name nor value is ever shown */

struct header_draft {
    const char *name;
    const struct node *value;
};

static const struct field header_fields[] = {
    {"name", FIELD_NAME, offsetof(struct header_draft, name), .required = true},
    {"value", FIELD_KEEP, offsetof(struct header_draft, value), .required = true},
};

static enum err read_header(const struct reading *reading, const struct node *node, void *out)
{
    struct header_draft draft;
    const char *value;
    enum err err = schema_map(reading, node, TABLE(header_fields), &draft);
    if (err || node_is_null(draft.value))
        return err;
    if ((err = schema_text(reading, draft.value, &value)))
        return err;
    if (((struct exporter_settings *)out)->header_count == HEADERS_MAX)
        return node_wrong(reading, node, "more than %d headers", HEADERS_MAX);
    return headers_set(reading->arena, out, draft.name, value)
               ? ERR_OK
               : node_wrong(reading, node,
                            "expected a header's name and its value in printable ASCII, got something else");
}

static enum err read_headers(const struct reading *reading, const struct node *node, void *out)
{
    if (node->kind != NODE_LIST || node->count == 0)
        return schema_expected(reading, node, "a list of names and values");
    enum err err = ERR_OK;
    for (const struct node *item = node->first; item && !err; item = item->next)
        err = read_header(reading, item, out);
    return err;
}

static enum err read_headers_list(const struct reading *reading, const struct node *node, void *out)
{
    const char *text;
    enum err err = schema_text(reading, node, &text);
    if (err || headers_parse(reading->arena, out, text))
        return err;
    return schema_expected(reading, node, "headers as " PAIRS_EXPECTED);
}

/* --- where to, and how */

/* User and password in a URL are not shown. */
static enum err wrong_endpoint(const struct reading *reading, const struct node *node, const char *what)
{
    struct node shown = *node;
    shown.secret |= strchr(node->text, '@') != NULL;
    return schema_expected(reading, &shown, what);
}

static enum err read_endpoint(const struct reading *reading, const struct node *node, bool (*is_good)(const char *text),
                              const char *expected, void *out)
{
    const char *text;
    enum err err = schema_text(reading, node, &text);
    if (err)
        return err;
    if (!is_good(text))
        return wrong_endpoint(reading, node, expected);
    *(const char **)out = text;
    return ERR_OK;
}

static enum err read_url(const struct reading *reading, const struct node *node, void *out)
{
    return read_endpoint(reading, node, endpoint_is_url, URL_EXPECTED, out);
}

static enum err read_target(const struct reading *reading, const struct node *node, void *out)
{
    return read_endpoint(reading, node, endpoint_is_target, TARGET_EXPECTED, out);
}

static enum err read_output_stream(const struct reading *reading, const struct node *node, void *out)
{
    const char *text;
    enum err err = schema_text(reading, node, &text);
    if (err)
        return err;
    if (strcmp(text, "stdout") != 0 && (strncmp(text, "file:///", 8) != 0 || !text[8]))
        return schema_expected(reading, node, "stdout or file:///path");
    *(const char **)out = text;
    return ERR_OK;
}

static enum err read_encoding(const struct reading *reading, const struct node *node, void *out)
{
    (void)out;
    if (node->kind == NODE_SCALAR && strcmp(node->text, "json") == 0)
        return node_wrong(reading, node, "json is not supported by this SDK, expected protobuf");
    if (node->kind == NODE_SCALAR && strcmp(node->text, "protobuf") == 0)
        return ERR_OK;
    return schema_expected(reading, node, "protobuf");
}

static const struct field tls_fields[] = {
    {"insecure", FIELD_BOOL, offsetof(struct tls_settings, insecure)}, /* gRPC only */
    {"ca_file", FIELD_PATH, offsetof(struct tls_settings, ca_file)},
    {"key_file", FIELD_PATH, offsetof(struct tls_settings, key_file)},
    {"cert_file", FIELD_PATH, offsetof(struct tls_settings, cert_file)},
};

static enum err check_tls(const struct reading *reading, const struct node *node, const struct tls_settings *tls)
{
    if (!tls->key_file == !tls->cert_file)
        return ERR_OK;
    return node_wrong(reading, node, "%s must be set too", tls->key_file ? "cert_file" : "key_file");
}

static enum err read_grpc_tls(const struct reading *reading, const struct node *node, void *out)
{
    enum err err = schema_map(reading, node, TABLE(tls_fields), out);
    return err ? err : check_tls(reading, node, out);
}

static enum err read_http_tls(const struct reading *reading, const struct node *node, void *out)
{
    enum err err = schema_map(reading, node, tls_fields + 1, array_count(tls_fields) - 1, out);
    return err ? err : check_tls(reading, node, out);
}

static enum err read_compression(const struct reading *reading, const struct node *node, void *out)
{
    bool gzip = node->kind == NODE_SCALAR && strcmp(node->text, "gzip") == 0;
    if (!gzip && (node->kind != NODE_SCALAR || strcmp(node->text, "none") != 0))
        return schema_expected(reading, node, "gzip or none");
    *(bool *)out = gzip;
    return ERR_OK;
}

/* --- the kinds of exporters */

static const char *const strategies[] = {
    "underscore_escaping_with_suffixes",
    "underscore_escaping_without_suffixes/development",
    "no_utf8_escaping_with_suffixes/development",
    "no_translation/development",
    NULL,
};

static enum err read_strategy(const struct reading *reading, const struct node *node, void *out)
{
    int index;
    static const struct field field = {"translation_strategy", FIELD_CHOICE, .choices = strategies};
    enum err err = schema_field(reading, node, &field, &index);
    if (!err)
        *(const char **)out = strategies[index];
    return err;
}

static enum err read_labels(const struct reading *reading, const struct node *node, void *out)
{
    static const char *const all[] = {"*", NULL};
    struct patterns patterns = {.included = all};
    struct exporter_settings *exporter = out;
    enum err err = schema_patterns(reading, node, &patterns);
    exporter->resource_labels_included = patterns.included;
    exporter->resource_labels_excluded = patterns.excluded;
    return err;
}

enum { METRIC_FIELDS = 2 }; /* the last ones of these tables are for metrics only */

/* headers come after headers_list, whose entries they replace. */
static const struct field http_fields[] = {
    {"endpoint", FIELD_NULLABLE, AT(endpoint), .read = read_url},
    {"tls", FIELD_NULLABLE, AT(tls), .read = read_http_tls},
    {"headers_list", FIELD_NULLABLE, .read = read_headers_list},
    {"headers", FIELD_NODE, .read = read_headers},
    {"compression", FIELD_NULLABLE, AT(gzip), .read = read_compression},
    {"timeout", FIELD_INT, AT(timeout_ms), 0, INT_MAX},
    {"max_request_size", FIELD_COUNT, AT(request_bytes_max), 0, INT_MAX},
    {"max_response_size", FIELD_COUNT, AT(response_bytes_max), 1, INT_MAX},
    {"encoding", FIELD_NULLABLE, .read = read_encoding},
    {"temporality_preference", FIELD_CHOICE, AT(temporality), .choices = temporality_names},
    {"default_histogram_aggregation", FIELD_CHOICE, AT(default_histogram), .choices = histogram_names},
};

static const struct field grpc_fields[] = {
    {"endpoint", FIELD_NULLABLE, AT(endpoint), .read = read_target},
    {"tls", FIELD_NULLABLE, AT(tls), .read = read_grpc_tls},
    {"headers_list", FIELD_NULLABLE, .read = read_headers_list},
    {"headers", FIELD_NODE, .read = read_headers},
    {"compression", FIELD_NULLABLE, AT(gzip), .read = read_compression},
    {"timeout", FIELD_INT, AT(timeout_ms), 0, INT_MAX},
    {"max_request_size", FIELD_COUNT, AT(request_bytes_max), 0, INT_MAX},
    {"max_response_size", FIELD_COUNT, AT(response_bytes_max), 1, INT_MAX},
    {"temporality_preference", FIELD_CHOICE, AT(temporality), .choices = temporality_names},
    {"default_histogram_aggregation", FIELD_CHOICE, AT(default_histogram), .choices = histogram_names},
};

static const struct field file_fields[] = {
    {"output_stream", FIELD_NULLABLE, AT(output_stream), .read = read_output_stream},
    {"temporality_preference", FIELD_CHOICE, AT(temporality), .choices = temporality_names},
    {"default_histogram_aggregation", FIELD_CHOICE, AT(default_histogram), .choices = histogram_names},
};

static const struct field console_fields[] = {
    {"temporality_preference", FIELD_CHOICE, AT(temporality), .choices = temporality_names},
    {"default_histogram_aggregation", FIELD_CHOICE, AT(default_histogram), .choices = histogram_names},
};

/* Those with `with` are file_format 1.0's names. */
static const struct field prometheus_fields[] = {
    {"without_scope_info", FIELD_BOOL, AT(without_scope_info)},
    {"without_target_info/development", FIELD_BOOL, AT(without_target_info)},
    {"with_resource_constant_labels", FIELD_NODE, .read = read_labels},
    {"host", FIELD_TEXT, AT(host)},
    {"port", FIELD_INT, AT(port), 0, 65535},
    {"scope_info_enabled", FIELD_NOT, AT(without_scope_info)},
    {"target_info_enabled/development", FIELD_NOT, AT(without_target_info)},
    {"resource_constant_labels", FIELD_NODE, .read = read_labels},
    {"translation_strategy", FIELD_NULLABLE, AT(translation_strategy), .read = read_strategy},
};

static const struct variant exporters[] = {
    {"otlp_http", EXPORT_OTLP_HTTP, .fields = http_fields, array_count(http_fields) - METRIC_FIELDS},
    {"otlp_grpc", EXPORT_OTLP_GRPC, .fields = grpc_fields, array_count(grpc_fields) - METRIC_FIELDS},
    {"otlp_file/development", EXPORT_OTLP_FILE, .fields = file_fields, array_count(file_fields) - METRIC_FIELDS},
    {"console", EXPORT_CONSOLE},
};

static const struct variant push_exporters[] = {
    {"otlp_http", EXPORT_OTLP_HTTP, .fields = http_fields, array_count(http_fields)},
    {"otlp_grpc", EXPORT_OTLP_GRPC, .fields = grpc_fields, array_count(grpc_fields)},
    {"otlp_file/development", EXPORT_OTLP_FILE, .fields = file_fields, array_count(file_fields)},
    {"console", EXPORT_CONSOLE, .fields = console_fields, array_count(console_fields)},
};

static const struct variant pull_exporters[] = {
    {"prometheus/development", EXPORT_PROMETHEUS, .fields = prometheus_fields, array_count(prometheus_fields)},
};

static enum err read_kind(const struct reading *reading, const struct node *node, const struct variant *variants,
                          size_t count, struct exporter_settings *exporter)
{
    int kind;
    *exporter = exporter_defaults();
    enum err err = schema_variant(reading, node, variants, count, exporter, &kind);
    if (!err)
        exporter->kind = (enum exporter_kind)kind;
    return err;
}

enum err read_exporter(const struct reading *reading, const struct node *node, void *out)
{
    return read_kind(reading, node, TABLE(exporters), out);
}

enum err read_push_exporter(const struct reading *reading, const struct node *node, void *out)
{
    return read_kind(reading, node, TABLE(push_exporters), out);
}

enum err read_pull_exporter(const struct reading *reading, const struct node *node, void *out)
{
    return read_kind(reading, node, TABLE(pull_exporters), out);
}
