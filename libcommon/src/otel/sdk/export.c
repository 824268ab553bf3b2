#include "otel/sdk/export.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "otel/sdk/keep.h"

exporter_opener *exporting_opener = exporter_open;

static int default_port(const char *endpoint)
{
    return strncmp(endpoint, "https://", 8) == 0 ? 443 : 80;
}

/* "https://host:4317/path", "[::1]:4317", "unix:/run/x": what does not fit is left out. */
static void find_server(struct exporting *exporting, const char *endpoint)
{
    const char *host = strstr(endpoint, "://");
    host = host ? host + 3 : endpoint;
    const char *end = host + strcspn(host, "/?#");
    const char *at = memchr(host, '@', (size_t)(end - host));
    if (at)
        host = at + 1;
    bool bracketed = *host == '[';
    const char *host_end = bracketed ? memchr(host, ']', (size_t)(end - host)) : host;
    if (!host_end)
        return;
    while (host_end < end && *host_end != ':')
        host_end++;
    size_t length = (size_t)(host_end - host) - (bracketed ? 2 : 0);
    if (length == 0 || length >= sizeof exporting->server_address)
        return;
    memcpy(exporting->server_address, host + bracketed, length);
    exporting->server_address[length] = '\0';
    exporting->component.server_address = exporting->server_address;
    exporting->component.server_port = host_end < end ? atoi(host_end + 1) : default_port(endpoint);
}

bool exporting_open(struct exporting *exporting, const struct exporter_settings *settings, enum signal signal,
                    struct arena *arena, char *message, size_t message_bytes)
{
    memset(exporting, 0, sizeof *exporting);
    exporting->settings = exporter_settings_copy(arena, settings);
    exporting->exporter = exporting_opener(&exporting->settings, signal, message, message_bytes);
    if (!exporting->exporter)
        return false;
    exporting->component.role = COMPONENT_EXPORTER;
    exporting->component.signal = signal;
    exporting->component.type = exporting->exporter->methods->type;
    if (exporting->settings.endpoint)
        find_server(exporting, exporting->settings.endpoint);
    list_init(&exporting->component.list);
    component_add(&exporting->component);
    return true;
}

struct export_result exporting_send(struct exporting *exporting, const struct export_batch *batch, uint64_t items,
                                    int64_t deadline_ns)
{
    struct component *component = &exporting->component;
    int64_t start_ns = clock_now_ns();
    atomic_fetch_add(&component->inflight, items);
    struct export_result result = exporting->exporter->methods->export(exporting->exporter, batch, deadline_ns);
    atomic_fetch_sub(&component->inflight, items);
    uint64_t lost = result.ok ? result.rejected : items;
    if (lost > items)
        lost = items;
    if (lost > 0)
        component_failed(component, result.error ? result.error : "rejected", lost);
    atomic_fetch_add(&component->done, items - lost);
    component_operation(component, (double)(clock_now_ns() - start_ns) / NS_PER_S, result.error);
    return result;
}

void exporting_hurry(struct exporting *exporting, int64_t deadline_ns)
{
    exporting->exporter->methods->hurry(exporting->exporter, deadline_ns);
}

void exporting_close(struct exporting *exporting)
{
    exporting->exporter->methods->free(exporting->exporter);
    component_remove(&exporting->component);
}
