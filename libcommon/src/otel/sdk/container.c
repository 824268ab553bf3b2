/* A container's id is 64 hexadecimal digits. With cgroups of version 1, or of version 2 and the host's namespace, it
 * ends the cgroup's path: .../<id>, .../docker-<id>.scope, ...:cri-containerd:<id>. Otherwise the files that Docker,
 * Podman and CRI-O mount into it betray it: .../containers/<id>/hostname,
 * .../overlay-containers/<id>/userdata/hostname. containerd mounts those of the pod's sandbox, whose id is another:
 * there it stays unknown. */
#include <string.h>

#include "common/hash.h"
#include "otel/sdk/detect.h"

enum { DIGITS = CONTAINER_ID_BYTES - 1 };

static bool is_id(const char *text, size_t bytes)
{
    if (bytes != DIGITS)
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (hash_digit(text[i]) < 0)
            return false;
    return true;
}

static void take(const char *id, char out[CONTAINER_ID_BYTES])
{
    memcpy(out, id, DIGITS);
    out[DIGITS] = '\0';
}

static bool in_cgroup_line(const char *line, size_t bytes, char out[CONTAINER_ID_BYTES])
{
    static const char scope[] = ".scope";
    size_t ending = sizeof scope - 1;
    if (bytes > ending && memcmp(line + bytes - ending, scope, ending) == 0)
        bytes -= ending;
    if (bytes <= DIGITS || !strchr("/-:", line[bytes - DIGITS - 1]) || !is_id(line + bytes - DIGITS, DIGITS))
        return false;
    take(line + bytes - DIGITS, out);
    return true;
}

static bool in_mount_line(const char *line, size_t bytes, char out[CONTAINER_ID_BYTES])
{
    static const char folder[] = "containers/"; /* overlay-containers/ too */
    size_t length = sizeof folder - 1;
    const char *end = line + bytes;
    for (const char *at = line; (at = memmem(at, (size_t)(end - at), folder, length)) != NULL;) {
        at += length;
        const char *slash = memchr(at, '/', (size_t)(end - at));
        if (!slash || !is_id(at, (size_t)(slash - at)))
            continue;
        take(at, out);
        return true;
    }
    return false;
}

static bool in_lines(const char *text, bool (*in_line)(const char *line, size_t bytes, char out[CONTAINER_ID_BYTES]),
                     char out[CONTAINER_ID_BYTES])
{
    while (text && *text) {
        size_t bytes = strcspn(text, "\n");
        if (in_line(text, bytes, out))
            return true;
        text += bytes + (text[bytes] == '\n');
    }
    return false;
}

bool detect_container_id(const char *cgroup, const char *mountinfo, char out[CONTAINER_ID_BYTES])
{
    return in_lines(cgroup, in_cgroup_line, out) || in_lines(mountinfo, in_mount_line, out);
}
