/* Resource detectors: what a process finds out about itself, its host and its container. What cannot be found is left
 * out. Any thread. Source: semantic conventions 1.44, resource/; OpenTelemetry specification, resource/sdk.
 *
 * host       host.name, host.id (machine-id), host.arch; os.type, os.description, os.name, os.version
 * process    process.pid, .creation.time, .executable.name, .executable.path, .command, .owner. Arguments are left out:
 *            they may hold secrets. C has no runtime of its own
 * container  container.id; k8s.* from the variables that a pod's manifest fills by the downward API: K8S_POD_NAME,
 *            K8S_POD_UID, K8S_NAMESPACE_NAME, K8S_NODE_NAME, K8S_DEPLOYMENT_NAME, K8S_CONTAINER_NAME, K8S_CLUSTER_NAME
 * service    service.instance.id, a random UUID, the same as long as the process lives; service.name from
 *            OTEL_SERVICE_NAME */
#ifndef OTEL_SDK_DETECT_H
#define OTEL_SDK_DETECT_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/otel/value.h"

enum { FINDINGS_MAX = 40, CONTAINER_ID_BYTES = 65 };

struct findings {
    struct arena *arena; /* of all texts */
    unsigned count;
    struct otel_attribute items[FINDINGS_MAX];
};

void detect_host(struct findings *findings);
void detect_process(struct findings *findings);
void detect_container(struct findings *findings);
void detect_service(struct findings *findings);

/* The executable's name, in the arena, or NULL. */
const char *detect_executable(struct arena *arena);
/* From the texts of /proc/self/cgroup and /proc/self/mountinfo, either may be NULL. False when neither tells. */
bool detect_container_id(const char *cgroup, const char *mountinfo, char out[CONTAINER_ID_BYTES]);

#endif
