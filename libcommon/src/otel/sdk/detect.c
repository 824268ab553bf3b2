#include "otel/sdk/detect.h"

#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "otel/sdk/file.h"

enum { SMALL_FILE_BYTES = 1 << 16, MOUNTS_BYTES = 1 << 20, PATH_BYTES = 4096 };

static void found(struct findings *findings, const char *key, const char *text)
{
    if (text && *text && findings->count < FINDINGS_MAX)
        findings->items[findings->count++] = otel_text(key, text);
}

static void found_copy(struct findings *findings, const char *key, const char *text)
{
    found(findings, key, arena_text(findings->arena, text, strlen(text)));
}

static const char *first_line(struct arena *arena, const char *path)
{
    char *text = file_text(arena, path, SMALL_FILE_BYTES);
    if (text)
        text[strcspn(text, "\n")] = '\0';
    return text;
}

/* --- host */

static const char *arch_name(const char *machine)
{
    static const struct {
        const char *machine, *name;
    } known[] = {{"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armv6l", "arm32"}, {"armv7l", "arm32"},
                 {"armv8l", "arm32"}, {"i386", "x86"},      {"i486", "x86"},     {"i586", "x86"},
                 {"i686", "x86"},     {"ia64", "ia64"},     {"ppc", "ppc32"},    {"ppc64", "ppc64"},
                 {"ppc64le", "ppc64"}};
    for (size_t i = 0; i < array_count(known); i++)
        if (strcmp(known[i].machine, machine) == 0)
            return known[i].name;
    return machine;
}

/* The value of KEY=value or KEY="value" in os-release, or NULL. */
static const char *release_value(struct arena *arena, const char *text, const char *key)
{
    size_t length = strlen(key);
    for (; text && *text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL) {
        if (strncmp(text, key, length) != 0 || text[length] != '=')
            continue;
        const char *value = text + length + 1;
        const char *end = *value == '"' || *value == '\'' ? strchr(value + 1, *value) : NULL;
        return end ? arena_text(arena, value + 1, (size_t)(end - value - 1))
                   : arena_text(arena, value, strcspn(value, "\n"));
    }
    return NULL;
}

static void detect_os(struct findings *findings, const struct utsname *kernel)
{
    const char *release = file_text(findings->arena, "/etc/os-release", SMALL_FILE_BYTES);
    if (!release)
        release = file_text(findings->arena, "/usr/lib/os-release", SMALL_FILE_BYTES);
    const char *pretty = release_value(findings->arena, release, "PRETTY_NAME");
    found(findings, "os.type", "linux");
    found(findings, "os.name", release_value(findings->arena, release, "NAME"));
    found(findings, "os.version", release_value(findings->arena, release, "VERSION_ID"));
    found(findings, "os.description",
          arena_print(findings->arena, "%s%s%s %s", pretty ? pretty : "", pretty ? ", " : "", kernel->sysname,
                      kernel->release));
}

void detect_host(struct findings *findings)
{
    struct utsname kernel;
    if (uname(&kernel) == 0) {
        found_copy(findings, "host.name", kernel.nodename);
        found_copy(findings, "host.arch", arch_name(kernel.machine));
        detect_os(findings, &kernel);
    }
    const char *id = first_line(findings->arena, "/etc/machine-id");
    found(findings, "host.id", id && *id ? id : first_line(findings->arena, "/var/lib/dbus/machine-id"));
}

/* --- process */

static const char *executable_path(struct arena *arena)
{
    char path[PATH_BYTES];
    ssize_t bytes = readlink("/proc/self/exe", path, sizeof path);
    return bytes > 0 ? arena_text(arena, path, (size_t)bytes) : NULL;
}

const char *detect_executable(struct arena *arena)
{
    const char *path = executable_path(arena);
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path;
}

/* The user's name by /etc/passwd alone: the name service would load libraries into a static program. */
static const char *owner(struct arena *arena)
{
    FILE *file = fopen("/etc/passwd", "re");
    if (!file)
        return NULL;
    char buffer[PATH_BYTES];
    struct passwd entry, *it = NULL;
    const char *name = NULL;
    while (!name && fgetpwent_r(file, &entry, buffer, sizeof buffer, &it) == 0)
        if (it->pw_uid == geteuid())
            name = arena_text(arena, it->pw_name, strlen(it->pw_name));
    fclose(file);
    return name;
}

/* Clock ticks from boot to this process' start: the 22nd field, counted behind the name's closing parenthesis. */
static bool start_ticks(struct arena *arena, long long *out)
{
    enum { FIELDS_BETWEEN = 20 };
    const char *text = first_line(arena, "/proc/self/stat");
    text = text ? strrchr(text, ')') : NULL;
    for (unsigned i = 0; text && i < FIELDS_BETWEEN; i++)
        text = strchr(text + 1, ' ');
    return text && sscanf(text, "%lld", out) == 1;
}

static void found_creation(struct findings *findings)
{
    static _Atomic(int64_t) created; /* once: each reckoning would be off by some microseconds */
    long long ticks;
    struct timespec boot;
    char text[CLOCK_TEXT_BYTES];
    if (!created && start_ticks(findings->arena, &ticks) && clock_gettime(CLOCK_BOOTTIME, &boot) == 0) {
        int64_t since_boot_ns = ticks * (NS_PER_S / sysconf(_SC_CLK_TCK));
        created = clock_wall_ns() - (boot.tv_sec * NS_PER_S + boot.tv_nsec - since_boot_ns);
    }
    if (created)
        found_copy(findings, "process.creation.time", clock_format(created, text));
}

void detect_process(struct findings *findings)
{
    if (findings->count < FINDINGS_MAX)
        findings->items[findings->count++] = otel_int("process.pid", getpid());
    found_creation(findings);
    found(findings, "process.executable.name", detect_executable(findings->arena));
    found(findings, "process.executable.path", executable_path(findings->arena));
    found(findings, "process.command", file_text(findings->arena, "/proc/self/cmdline", PATH_BYTES)); /* up to a NUL */
    found(findings, "process.owner", owner(findings->arena));
}

/* --- container */

void detect_container(struct findings *findings)
{
    static const char *const variables[][2] = {
        {"k8s.pod.name", "K8S_POD_NAME"},
        {"k8s.pod.uid", "K8S_POD_UID"},
        {"k8s.namespace.name", "K8S_NAMESPACE_NAME"},
        {"k8s.node.name", "K8S_NODE_NAME"},
        {"k8s.deployment.name", "K8S_DEPLOYMENT_NAME"},
        {"k8s.container.name", "K8S_CONTAINER_NAME"},
        {"k8s.cluster.name", "K8S_CLUSTER_NAME"},
    };
    char id[CONTAINER_ID_BYTES];
    if (detect_container_id(file_text(findings->arena, "/proc/self/cgroup", SMALL_FILE_BYTES),
                            file_text(findings->arena, "/proc/self/mountinfo", MOUNTS_BYTES), id))
        found_copy(findings, "container.id", id);
    for (size_t i = 0; i < array_count(variables); i++) {
        const char *value = getenv(variables[i][1]);
        if (value)
            found_copy(findings, variables[i][0], value);
    }
}

/* --- service */

static char instance[UUID_TEXT_BYTES];

/* Version 4 of RFC 9562: random but for the version and the variant. */
static void make_instance(void)
{
    struct uuid id;
    random_bytes(id.bytes, sizeof id.bytes);
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x40);
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
    uuid_format(id, instance);
}

void detect_service(struct findings *findings)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_instance);
    found(findings, "service.instance.id", instance);
    const char *name = getenv("OTEL_SERVICE_NAME");
    if (name)
        found_copy(findings, "service.name", name);
}
