/* Who reports: this process' own resource, found and told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/support.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "otel/sdk/detect.h"
#include "otel/sdk/file.h"
#include "otel/sdk/provider.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct sdk_settings nothing;
static const struct sdk_settings everything = {
    .detect_host = true, .detect_process = true, .detect_container = true, .detect_service = true};

static const struct otel_value *value_of(const struct sdk_resource *resource, const char *key)
{
    for (unsigned i = 0; i < resource->attribute_count; i++)
        if (strcmp(resource->attributes[i].key, key) == 0)
            return &resource->attributes[i].value;
    return NULL;
}

static const char *text_of(const struct sdk_resource *resource, const char *key)
{
    const struct otel_value *value = value_of(resource, key);
    return value ? value->text : NULL;
}

static void assert_sorted(const struct sdk_resource *resource)
{
    for (unsigned i = 1; i < resource->attribute_count; i++)
        assert_true(strcmp(resource->attributes[i - 1].key, resource->attributes[i].key) < 0);
}

/* --- what counts */

static void test_without_detectors_there_are_sdk_and_service_only(void **state)
{
    (void)state;
    struct sdk_resource *resource = resource_new(&nothing, "shop", "1.2.3");
    assert_int_equal(resource->attribute_count, 5);
    assert_string_equal(text_of(resource, "telemetry.sdk.name"), "opentelemetry");
    assert_string_equal(text_of(resource, "telemetry.sdk.language"), "c");
    assert_string_equal(text_of(resource, "telemetry.sdk.version"), BODEGA_VERSION);
    assert_string_equal(text_of(resource, "service.name"), "shop");
    assert_string_equal(text_of(resource, "service.version"), "1.2.3");
    assert_non_null(strstr(resource->schema_url, "/schemas/"));
    assert_sorted(resource);
    resource_free(resource);
    resource_free(NULL);
}

static void test_unnamed_service_is_called_after_its_executable(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct sdk_resource *resource = resource_new(&nothing, i == 0 ? NULL : "", NULL);
        assert_string_equal(text_of(resource, "service.name"), "unknown_service:test_otel_resource");
        assert_null(value_of(resource, "service.version"));
        resource_free(resource);
    }
}

static void test_settings_win_over_options_and_detectors_and_stay_typed(void **state)
{
    (void)state;
    const bool flags[] = {true, false};
    const struct otel_attribute told[] = {
        otel_text("service.name", "first"),
        otel_text("service.name", "told"),
        otel_text("host.name", "elsewhere"),
        otel_int("shard", 7),
        otel_bools("flags", flags, 2),
        otel_text("", "no key"),
        {.key = NULL},
    };
    struct sdk_settings settings = everything;
    settings.resource_attributes = told;
    settings.resource_attribute_count = array_count(told);
    settings.resource_schema_url = "https://example.org/schema";
    struct sdk_resource *resource = resource_new(&settings, "option", NULL);
    assert_string_equal(text_of(resource, "service.name"), "told");
    assert_string_equal(text_of(resource, "host.name"), "elsewhere");
    assert_int_equal(value_of(resource, "shard")->integer, 7);
    assert_int_equal(value_of(resource, "flags")->count, 2);
    assert_true(value_of(resource, "flags")->booleans != flags);
    assert_string_equal(resource->schema_url, "https://example.org/schema");
    assert_null(value_of(resource, ""));
    assert_sorted(resource);
    resource_free(resource);
}

static void test_patterns_choose_among_what_was_detected(void **state)
{
    (void)state;
    const char *const included[] = {"host.*", "process.p?d", NULL}, *const excluded[] = {"*.arch", NULL};
    struct sdk_settings settings = everything;
    settings.detected_included = included;
    settings.detected_excluded = excluded;
    struct sdk_resource *resource = resource_new(&settings, "shop", NULL);
    assert_non_null(value_of(resource, "host.name"));
    assert_non_null(value_of(resource, "process.pid"));
    assert_null(value_of(resource, "host.arch"));
    assert_null(value_of(resource, "process.owner"));
    assert_null(value_of(resource, "os.type"));
    assert_string_equal(text_of(resource, "service.name"), "shop");
    assert_non_null(value_of(resource, "telemetry.sdk.name"));
    resource_free(resource);
}

/* --- detectors */

static void test_detected_host_is_this_one(void **state)
{
    (void)state;
    char name[256];
    gethostname(name, sizeof name);
    struct sdk_resource *resource = resource_new(&everything, NULL, NULL);
    assert_string_equal(text_of(resource, "host.name"), name);
#ifdef __x86_64__
    assert_string_equal(text_of(resource, "host.arch"), "amd64");
#endif
    assert_string_equal(text_of(resource, "os.type"), "linux");
    assert_non_null(strstr(text_of(resource, "os.description"), "Linux"));
    if (access("/etc/os-release", R_OK) == 0)
        assert_null(strchr(text_of(resource, "os.name"), '"'));
    assert_sorted(resource);
    resource_free(resource);
}

static void test_detected_process_is_this_one_and_its_arguments_stay_inside(void **state)
{
    (void)state;
    struct sdk_resource *resource = resource_new(&everything, NULL, NULL);
    char path[4096] = "";
    int64_t created = 0;
    assert_true(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    assert_int_equal(value_of(resource, "process.pid")->integer, getpid());
    assert_string_equal(text_of(resource, "process.executable.path"), path);
    assert_string_equal(text_of(resource, "process.executable.name"), "test_otel_resource");
    assert_true(clock_parse(text_of(resource, "process.creation.time"), &created));
    assert_in_range(created, clock_wall_ns() - 3600 * NS_PER_S, clock_wall_ns() + NS_PER_S);
    if (geteuid() == 0)
        assert_string_equal(text_of(resource, "process.owner"), "root");
    assert_non_null(value_of(resource, "process.command"));
    assert_null(value_of(resource, "process.command_args"));
    assert_null(value_of(resource, "process.command_line"));
    resource_free(resource);
}

static void test_instance_is_a_random_uuid_that_stays(void **state)
{
    (void)state;
    struct uuid id;
    struct sdk_resource *one = resource_new(&everything, NULL, NULL), *other = resource_new(&everything, NULL, NULL);
    assert_true(uuid_parse(text_of(one, "service.instance.id"), &id));
    assert_int_equal(id.bytes[6] >> 4, 4);
    assert_int_equal(id.bytes[8] >> 6, 2);
    assert_string_equal(text_of(one, "service.instance.id"), text_of(other, "service.instance.id"));
    assert_string_equal(text_of(one, "process.creation.time"), text_of(other, "process.creation.time"));
    resource_free(one);
    resource_free(other);
}

static void test_service_detector_reads_the_name_from_the_environment(void **state)
{
    (void)state;
    setenv("OTEL_SERVICE_NAME", "from-environment", 1);
    struct sdk_resource *detected = resource_new(&everything, "option", NULL);
    struct sdk_resource *plain = resource_new(&nothing, "option", NULL);
    unsetenv("OTEL_SERVICE_NAME");
    assert_string_equal(text_of(detected, "service.name"), "from-environment");
    assert_string_equal(text_of(plain, "service.name"), "option");
    resource_free(detected);
    resource_free(plain);
}

static void test_pod_is_known_by_the_downward_apis_variables(void **state)
{
    (void)state;
    setenv("K8S_POD_NAME", "shop-7d4b", 1);
    setenv("K8S_NODE_NAME", "node-1", 1);
    setenv("K8S_CLUSTER_NAME", "", 1);
    struct sdk_resource *resource = resource_new(&everything, NULL, NULL);
    unsetenv("K8S_POD_NAME");
    unsetenv("K8S_NODE_NAME");
    unsetenv("K8S_CLUSTER_NAME");
    assert_string_equal(text_of(resource, "k8s.pod.name"), "shop-7d4b");
    assert_string_equal(text_of(resource, "k8s.node.name"), "node-1");
    assert_null(value_of(resource, "k8s.cluster.name"));
    assert_null(value_of(resource, "k8s.pod.uid"));
    resource_free(resource);
}

static void test_container_id_is_found_where_the_runtimes_leave_it(void **state)
{
    (void)state;
    static const struct {
        const char *cgroup, *mountinfo;
    } found[] = {
        {"12:pids:/docker/" ID "\n1:name=systemd:/x\n", NULL},
        {"1:name=systemd:/x\n0::/system.slice/docker-" ID ".scope", NULL},
        {"0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-" ID ".scope\n", ""},
        {"0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:" ID "\n", NULL},
        {"0::/\n", "1 2 0:3 / / rw - overlay overlay rw\n"
                   "4 5 8:1 /var/lib/docker/containers/" ID "/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"},
        {NULL,
         "4 5 8:1 /containers/short/containers/storage/overlay-containers/" ID "/userdata/hostname /etc/hostname"},
    };
    static const struct {
        const char *cgroup, *mountinfo;
    } unknown[] = {
        {NULL, NULL},
        {"0::/\n", ""},
        {ID, NULL},
        {"0::/docker/" ID "f\n", NULL},
        {"0::/docker/g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", NULL},
        {"0::/", "4 5 8:1 /var/lib/containerd/sandboxes/" ID "/hostname /etc/hostname rw"},
        {"0::/", "4 5 8:1 /var/lib/docker/containers/" ID},
    };
    char id[CONTAINER_ID_BYTES];
    for (size_t i = 0; i < array_count(found); i++) {
        memset(id, 0, sizeof id);
        assert_true(detect_container_id(found[i].cgroup, found[i].mountinfo, id));
        assert_string_equal(id, ID);
    }
    for (size_t i = 0; i < array_count(unknown); i++)
        assert_false(detect_container_id(unknown[i].cgroup, unknown[i].mountinfo, id));
}

/* --- small files */

static void test_files_are_read_whole_up_to_a_limit(void **state)
{
    (void)state;
    enum { BYTES = 10000 };
    char path[] = "/tmp/test_otel_resource.XXXXXX", content[BYTES];
    int fd = mkstemp(path);
    memset(content, 'x', sizeof content);
    assert_int_equal(write(fd, content, sizeof content), BYTES);
    close(fd);
    struct arena arena;
    arena_init(&arena, 1024);
    assert_int_equal(strlen(file_text(&arena, path, 1 << 20)), BYTES);
    assert_int_equal(strlen(file_text(&arena, path, BYTES)), BYTES);
    assert_int_equal(strlen(file_text(&arena, path, 5000)), 5000);
    assert_non_null(file_text(&arena, "/proc/self/stat", 1 << 20));
    unlink(path);
    assert_null(file_text(&arena, path, 1 << 20));
    assert_null(file_text(&arena, "/proc/self", 1 << 20));
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_detectors_there_are_sdk_and_service_only),
        cmocka_unit_test(test_unnamed_service_is_called_after_its_executable),
        cmocka_unit_test(test_settings_win_over_options_and_detectors_and_stay_typed),
        cmocka_unit_test(test_patterns_choose_among_what_was_detected),
        cmocka_unit_test(test_detected_host_is_this_one),
        cmocka_unit_test(test_detected_process_is_this_one_and_its_arguments_stay_inside),
        cmocka_unit_test(test_instance_is_a_random_uuid_that_stays),
        cmocka_unit_test(test_service_detector_reads_the_name_from_the_environment),
        cmocka_unit_test(test_pod_is_known_by_the_downward_apis_variables),
        cmocka_unit_test(test_container_id_is_found_where_the_runtimes_leave_it),
        cmocka_unit_test(test_files_are_read_whole_up_to_a_limit),
    };
    return cmocka_run_group_tests_name("otel resource", tests, NULL, NULL);
}
