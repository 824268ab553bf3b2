#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "otel/sdk/batch.h"
#include "otel/sdk/guard.h"
#include "otel/sdk/ring.h"
#include "support/exporter.h"
#include "support/support.h"

enum { HOUR_MS = 3600 * 1000, RECORDS = 64 };

static int64_t soon(void)
{
    return clock_now_ns() + 10 * NS_PER_S;
}

/* --- records: how often each was given back */

struct numbered {
    struct span_record record;
    atomic_int released;
};

static struct numbered records[RECORDS];

static void release(void *record)
{
    atomic_fetch_add(&((struct numbered *)record)->released, 1);
}

static const struct record_kind kind = {.signal = SIGNAL_TRACES, .release = release};

static int released(unsigned first, unsigned count)
{
    int sum = 0;
    for (unsigned i = first; i < first + count; i++)
        sum += atomic_load(&records[i].released);
    return sum;
}

static void add(struct batch_processor *batch, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        assert_true(batch_add(batch, &records[i].record));
}

static void assert_holds(const struct export_batch *batch, unsigned first, unsigned count)
{
    assert_int_equal(batch->count, count);
    for (unsigned i = 0; i < count; i++)
        assert_ptr_equal(batch->spans[i], &records[first + i].record);
}

/* --- processors */

static const struct otel_attribute service = {"service.name", {.type = OTEL_TEXT, .count = 4, .text = "shop"}};
static const struct sdk_resource resource = {&service, 1, "https://example.test/schema"};

static struct processor_settings settings(unsigned batch_max, unsigned queue_max, int delay_ms)
{
    return (struct processor_settings){.batch = true,
                                       .schedule_delay_ms = delay_ms,
                                       .export_timeout_ms = 30000,
                                       .max_queue_size = queue_max,
                                       .max_export_batch_size = batch_max,
                                       .exporter = {.kind = EXPORT_OTLP_GRPC, .endpoint = "http://[::1]:4317"}};
}

static struct batch_processor *start(const struct processor_settings *wanted)
{
    char message[256];
    return batch_start(wanted, &resource, &kind, message, sizeof message);
}

static int begin(void **state)
{
    (void)state;
    for (unsigned i = 0; i < RECORDS; i++)
        atomic_store(&records[i].released, 0);
    test_exporters_begin(false, NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    test_exporters_end();
    return 0;
}

static void test_a_full_batch_leaves_at_once(void **state)
{
    (void)state;
    struct processor_settings wanted = settings(4, 16, HOUR_MS);
    struct batch_processor *batch = start(&wanted);
    add(batch, 0, 4);
    const struct export_batch *out = test_export_await(test_exporter_at(0));
    assert_holds(out, 0, 4);
    assert_string_equal(out->resource->attributes[0].value.text, "shop");
    assert_string_equal(out->resource->schema_url, "https://example.test/schema");
    assert_int_equal(released(0, 4), 0);
    test_export_end(test_exporter_at(0));
    assert_true(batch_flush(batch, soon()));
    assert_int_equal(released(0, 4), 4);
    assert_true(batch_stop(batch, soon(), NULL));
}

static void test_a_smaller_batch_leaves_after_the_delay(void **state)
{
    (void)state;
    struct processor_settings wanted = settings(4, 16, 20);
    struct batch_processor *batch = start(&wanted);
    add(batch, 0, 1);
    assert_holds(test_export_await(test_exporter_at(0)), 0, 1);
    test_export_end(test_exporter_at(0));
    add(batch, 1, 3);
    assert_int_equal(test_export_await(test_exporter_at(0))->spans[0] == &records[1].record, 1);
    test_export_end(test_exporter_at(0));
    batch_stop(batch, 0, NULL);
}

static void test_a_simple_processor_sends_each_record_by_itself(void **state)
{
    (void)state;
    struct processor_settings wanted = {.batch = false};
    struct batch_processor *batch = start(&wanted);
    add(batch, 0, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_holds(test_export_await(test_exporter_at(0)), i, 1);
        test_export_end(test_exporter_at(0));
    }
    assert_true(batch_flush(batch, soon()));
    assert_true(batch_stop(batch, soon(), NULL));
}

static void test_without_a_delay_nothing_waits(void **state)
{
    (void)state;
    struct processor_settings wanted = settings(16, 16, 0);
    struct batch_processor *batch = start(&wanted);
    add(batch, 0, 1);
    assert_holds(test_export_await(test_exporter_at(0)), 0, 1);
    add(batch, 1, 3);
    test_export_end(test_exporter_at(0));
    assert_holds(test_export_await(test_exporter_at(0)), 1, 3);
    test_export_end(test_exporter_at(0));
    assert_true(batch_stop(batch, soon(), NULL));
}

static void test_a_full_queue_drops_what_comes_and_gives_it_back(void **state)
{
    (void)state;
    struct processor_settings wanted = settings(4, 5, HOUR_MS); /* the queue is just as long as it was told */
    struct batch_processor *batch = start(&wanted);
    add(batch, 0, 4);
    test_export_await(test_exporter_at(0));
    add(batch, 4, 5);
    assert_false(batch_add(batch, &records[9].record));
    assert_int_equal(released(9, 1), 1);
    test_export_end(test_exporter_at(0));
    assert_holds(test_export_await(test_exporter_at(0)), 4, 4);
    test_export_end(test_exporter_at(0));
    batch_stop(batch, 0, NULL);
    assert_int_equal(released(0, 10), 10);
}

static void *let_go_twice(void *arg)
{
    for (int i = 0; i < 2; i++) {
        test_export_await(arg);
        test_export_end(arg);
    }
    return NULL;
}

static void test_a_flush_sends_all_that_was_queued(void **state)
{
    (void)state;
    struct processor_settings wanted = settings(4, 16, HOUR_MS);
    struct batch_processor *batch = start(&wanted);
    pthread_t helper;
    add(batch, 0, 3);
    pthread_create(&helper, NULL, let_go_twice, test_exporter_at(0));
    assert_true(batch_flush(batch, soon()));
    assert_int_equal(released(0, 3), 3);
    add(batch, 3, 2);
    assert_true(batch_flush(batch, soon()));
    assert_int_equal(released(0, 5), 5);
    pthread_join(helper, NULL);
    assert_true(batch_flush(batch, soon())); /* nothing there */
    assert_true(batch_stop(batch, soon(), NULL));
}

static void flush_with(struct export_result result, bool expected)
{
    struct processor_settings wanted = settings(2, 16, HOUR_MS);
    struct batch_processor *batch = start(&wanted);
    test_exporter_at(0)->result = result;
    pthread_t helper;
    add(batch, 0, 3);
    pthread_create(&helper, NULL, let_go_twice, test_exporter_at(0));
    assert_int_equal(batch_flush(batch, soon()), expected);
    pthread_join(helper, NULL);
    assert_int_equal(released(0, 3), 3);
    assert_true(batch_flush(batch, soon()));
    assert_true(batch_stop(batch, soon(), NULL));
}

static void test_a_flush_tells_of_a_failed_export(void **state)
{
    (void)state;
    flush_with((struct export_result){.error = "UNAVAILABLE"}, false);
}

static void test_a_flush_tells_of_rejected_records(void **state)
{
    (void)state;
    flush_with((struct export_result){.ok = true, .rejected = 1}, false);
}

static void test_a_flush_gives_up_at_its_deadline(void **state)
{
    (void)state;
    struct processor_settings wanted = settings(2, 16, HOUR_MS);
    struct batch_processor *batch = start(&wanted);
    add(batch, 0, 1);
    assert_false(batch_flush(batch, clock_now_ns() + 10 * NS_PER_MS));
    test_export_await(test_exporter_at(0));
    test_export_end(test_exporter_at(0));
    assert_true(batch_stop(batch, soon(), NULL));
}

static void test_an_export_has_the_time_that_the_settings_give(void **state)
{
    (void)state;
    struct processor_settings wanted = settings(1, 16, HOUR_MS);
    struct batch_processor *batch = start(&wanted);
    add(batch, 0, 1);
    test_export_await(test_exporter_at(0));
    int64_t left_ns = test_exporter_at(0)->deadline_ns - clock_now_ns();
    assert_true(left_ns > 0 && left_ns <= 30 * NS_PER_S);
    test_export_end(test_exporter_at(0));
    batch_stop(batch, 0, NULL);

    wanted.export_timeout_ms = 0;
    batch = start(&wanted);
    add(batch, 1, 1);
    test_export_await(test_exporter_at(1));
    assert_true(test_exporter_at(1)->deadline_ns == CLOCK_NEVER);
    test_export_end(test_exporter_at(1));
    batch_stop(batch, 0, NULL);
}

static void test_a_stop_sends_what_is_left(void **state)
{
    (void)state;
    struct processor_settings wanted = settings(4, 16, HOUR_MS);
    struct batch_processor *batch = start(&wanted);
    pthread_t helper;
    add(batch, 0, 6);
    pthread_create(&helper, NULL, let_go_twice, test_exporter_at(0));
    assert_true(batch_stop(batch, soon(), NULL));
    pthread_join(helper, NULL);
    assert_int_equal(released(0, 6), 6);
    assert_int_equal(test_exporter_at(0)->items, 6);
    assert_true(test_exporter_at(0)->freed);
}

static void test_a_stop_hurries_the_export_that_hangs(void **state)
{
    (void)state;
    struct processor_settings wanted = settings(2, 16, HOUR_MS);
    struct batch_processor *batch = start(&wanted);
    add(batch, 0, 2);
    test_export_await(test_exporter_at(0));
    add(batch, 2, 3);
    int64_t deadline_ns = clock_now_ns() + 20 * NS_PER_MS;
    assert_false(batch_stop(batch, deadline_ns, NULL));
    assert_true(test_exporter_at(0)->hurried_ns == deadline_ns);
    assert_int_equal(released(0, 5), 5);
    assert_int_equal(test_exporter_at(0)->exports, 1);
}

static void test_what_a_stop_leaves_goes_to_the_heir(void **state)
{
    (void)state;
    struct processor_settings wanted = settings(2, 16, HOUR_MS);
    struct batch_processor *batch = start(&wanted), *heir = start(&wanted);
    add(batch, 0, 2);
    test_export_await(test_exporter_at(0));
    add(batch, 2, 2);
    assert_false(batch_stop(batch, clock_now_ns(), heir));
    assert_int_equal(released(2, 2), 0);
    assert_holds(test_export_await(test_exporter_at(1)), 2, 2);
    test_export_end(test_exporter_at(1));
    assert_true(batch_stop(heir, soon(), NULL));
    assert_int_equal(released(0, 4), 4);
}

static void test_several_share_the_time_of_a_stop(void **state)
{
    (void)state;
    struct processor_settings wanted = settings(1, 16, HOUR_MS);
    struct batch_processor *both[] = {start(&wanted), start(&wanted)}, *heirs[] = {NULL, NULL};
    add(both[0], 0, 1);
    add(both[1], 1, 1);
    test_export_await(test_exporter_at(0));
    test_export_await(test_exporter_at(1));
    int64_t deadline_ns = clock_now_ns() + 20 * NS_PER_MS;
    assert_false(batches_flush(both, 2, clock_now_ns()));
    assert_false(batches_stop(both, heirs, 2, deadline_ns));
    assert_true(test_exporter_at(1)->hurried_ns == deadline_ns);
    assert_int_equal(released(0, 2), 2);
}

static void test_an_exporter_that_cannot_be_opened_is_told(void **state)
{
    (void)state;
    char message[256] = "";
    struct processor_settings wanted = settings(4, 16, HOUR_MS);
    wanted.exporter.endpoint = "refused";
    assert_null(batch_start(&wanted, &resource, &kind, message, sizeof message));
    assert_string_equal(message, "exporter: refused");
}

static void test_the_settings_are_copied(void **state)
{
    (void)state;
    char endpoint[] = "http://one:4317";
    struct header_settings header = {"authorization", "secret"};
    struct processor_settings wanted = settings(4, 16, HOUR_MS);
    wanted.exporter.endpoint = endpoint;
    wanted.exporter.headers = &header;
    wanted.exporter.header_count = 1;
    struct batch_processor *batch = start(&wanted);
    assert_true(batch_matches(batch, &wanted, &resource));
    endpoint[7] = '2';
    assert_false(batch_matches(batch, &wanted, &resource));
    endpoint[7] = 'o';
    assert_true(batch_matches(batch, &wanted, &resource));
    wanted.schedule_delay_ms++;
    assert_false(batch_matches(batch, &wanted, &resource));
    wanted.schedule_delay_ms--;
    struct sdk_resource other = {&service, 0, "https://example.test/schema"};
    assert_false(batch_matches(batch, &wanted, &other));
    assert_true(batch_stop(batch, soon(), NULL));
}

/* --- the thread */

static char thread_name[16];
static sigset_t thread_mask;

static void look_at_thread(const struct export_batch *batch)
{
    (void)batch;
    prctl(PR_GET_NAME, thread_name);
    pthread_sigmask(SIG_SETMASK, NULL, &thread_mask);
}

static void test_its_thread_has_a_name_and_takes_no_signals(void **state)
{
    (void)state;
    test_exporters_begin(true, look_at_thread);
    struct processor_settings wanted = settings(4, 16, HOUR_MS);
    struct batch_processor *batch = start(&wanted);
    add(batch, 0, 1);
    assert_true(batch_flush(batch, soon()));
    assert_true(batch_stop(batch, soon(), NULL));
    assert_string_equal(thread_name, "otel-spans");
    assert_true(sigismember(&thread_mask, SIGTERM) && sigismember(&thread_mask, SIGUSR1));
    sigset_t own;
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    assert_false(sigismember(&own, SIGTERM));
}

static void test_a_record_wakes_a_thread_that_is_falling_asleep(void **state)
{
    (void)state;
    test_exporters_begin(true, NULL);
    struct processor_settings wanted = {.batch = false};
    struct batch_processor *batch = start(&wanted);
    for (unsigned i = 0; i < 6000; i++) {
        for (volatile unsigned spin = 0; spin < i % 600 * 8; spin++) /* at all stages of that */
            ;
        add(batch, i % RECORDS, 1);
        assert_true(test_exporter_reaches(test_exporter_at(0), i + 1));
    }
    assert_true(batch_stop(batch, soon(), NULL));
}

enum { MAKERS = 4, EACH = 2000 };

static atomic_uint given_back, accepted;

static void release_counted(void *record)
{
    atomic_fetch_add(&given_back, 1);
    free(record);
}

static const struct record_kind counted = {.signal = SIGNAL_TRACES, .release = release_counted};

static void *make(void *arg)
{
    for (unsigned i = 0; i < EACH; i++)
        if (batch_add(arg, mem_alloc(sizeof(struct span_record))))
            atomic_fetch_add(&accepted, 1);
    return NULL;
}

static void test_many_threads_lose_nothing(void **state)
{
    (void)state;
    test_exporters_begin(true, NULL);
    char message[256];
    struct processor_settings wanted = settings(32, 256, 5);
    struct batch_processor *batch = batch_start(&wanted, &resource, &counted, message, sizeof message);
    pthread_t makers[MAKERS];
    for (unsigned i = 0; i < MAKERS; i++)
        pthread_create(&makers[i], NULL, make, batch);
    for (unsigned i = 0; i < MAKERS; i++)
        pthread_join(makers[i], NULL);
    assert_true(batch_stop(batch, soon(), NULL));
    assert_int_equal(atomic_load(&given_back), MAKERS * EACH);
    assert_int_equal(test_exporter_at(0)->items, atomic_load(&accepted));
    assert_true(test_exporter_at(0)->largest <= 32);
}

/* --- the ring */

static void test_a_ring_keeps_order_and_its_limit(void **state)
{
    (void)state;
    struct ring ring;
    int items[8];
    void *out[8];
    uint64_t position;
    ring_init(&ring, 5);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 5; i++) {
            assert_true(ring_put(&ring, &items[i], &position));
            assert_int_equal(position, round * 5 + i);
        }
        assert_false(ring_put(&ring, &items[5], NULL));
        assert_ptr_equal(ring_take(&ring), &items[0]);
        assert_int_equal(ring_take_many(&ring, out, 8), 4);
        for (int i = 0; i < 4; i++)
            assert_ptr_equal(out[i], &items[i + 1]);
        assert_null(ring_take(&ring));
    }
    ring_done(&ring);
}

static struct ring shared;
static atomic_uint taken;

static void *put_and_take(void *arg)
{
    void *out[4];
    (void)arg;
    for (unsigned i = 0; i < EACH; i++) {
        while (!ring_put(&shared, &shared, NULL))
            atomic_fetch_add(&taken, ring_take_many(&shared, out, 4));
        if (ring_take(&shared))
            atomic_fetch_add(&taken, 1);
    }
    return NULL;
}

static void test_a_ring_has_many_at_both_ends(void **state)
{
    (void)state;
    pthread_t threads[MAKERS];
    ring_init(&shared, 3);
    for (unsigned i = 0; i < MAKERS; i++)
        pthread_create(&threads[i], NULL, put_and_take, NULL);
    for (unsigned i = 0; i < MAKERS; i++)
        pthread_join(threads[i], NULL);
    while (ring_take(&shared))
        atomic_fetch_add(&taken, 1);
    assert_int_equal(atomic_load(&taken), MAKERS * EACH);
    ring_done(&shared);
}

/* --- the guard */

static _Atomic(int *) current;
static atomic_bool stop_reading;

static void *read_current(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop_reading)) {
        struct guard_thread *outer = guard_enter(), *inner = guard_enter();
        const int *seen = atomic_load(&current);
        guard_exit(inner);
        sched_yield();
        if (seen && *seen != 42) /* freed memory would say otherwise, or the sanitizer does */
            abort();
        guard_exit(outer);
    }
    return NULL;
}

static void test_nobody_uses_what_was_swapped_once_the_wait_is_over(void **state)
{
    (void)state;
    pthread_t readers[MAKERS];
    for (unsigned i = 0; i < MAKERS; i++)
        pthread_create(&readers[i], NULL, read_current, NULL);
    for (unsigned i = 0; i < 300; i++) {
        int *fresh = mem_alloc(sizeof *fresh);
        *fresh = 42;
        int *old = atomic_exchange(&current, fresh);
        guard_wait();
        if (old)
            *old = 0;
        free(old);
    }
    atomic_store(&stop_reading, true);
    for (unsigned i = 0; i < MAKERS; i++)
        pthread_join(readers[i], NULL);
    free(atomic_load(&current));
}

/* The same where the kernel refuses membarrier(), as some sandboxes do: this program once more, behind a filter. */
static void refuse_membarrier(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = array_count(code), .filter = code};
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void test_the_wait_works_without_membarrier_too(void **state)
{
    (void)state;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        refuse_membarrier();
        execl("/proc/self/exe", "test_otel_batch", "fenced", NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int run_fenced(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nobody_uses_what_was_swapped_once_the_wait_is_over)};
    struct guard_thread *guard = guard_enter();
    bool fenced = guard->fenced;
    guard_exit(guard);
    return fenced ? cmocka_run_group_tests_name("otel batch, fenced", tests, NULL, NULL) : 1;
}

static void *tell_slot(void *arg)
{
    struct guard_thread *guard = guard_enter();
    *(unsigned *)arg = guard->slot;
    guard_exit(guard);
    return NULL;
}

static void test_a_thread_that_ends_gives_its_slot_back(void **state)
{
    (void)state;
    unsigned slots[2];
    for (unsigned i = 0; i < 2; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, tell_slot, &slots[i]);
        pthread_join(thread, NULL);
    }
    assert_int_equal(slots[0], slots[1]);
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "fenced") == 0)
        return run_fenced();
    const struct CMUnitTest tests[] = {
        test(test_a_full_batch_leaves_at_once),
        test(test_a_smaller_batch_leaves_after_the_delay),
        test(test_a_simple_processor_sends_each_record_by_itself),
        test(test_without_a_delay_nothing_waits),
        test(test_a_full_queue_drops_what_comes_and_gives_it_back),
        test(test_a_flush_sends_all_that_was_queued),
        test(test_a_flush_tells_of_a_failed_export),
        test(test_a_flush_tells_of_rejected_records),
        test(test_a_flush_gives_up_at_its_deadline),
        test(test_an_export_has_the_time_that_the_settings_give),
        test(test_a_stop_sends_what_is_left),
        test(test_a_stop_hurries_the_export_that_hangs),
        test(test_what_a_stop_leaves_goes_to_the_heir),
        test(test_several_share_the_time_of_a_stop),
        test(test_an_exporter_that_cannot_be_opened_is_told),
        test(test_the_settings_are_copied),
        test(test_its_thread_has_a_name_and_takes_no_signals),
        test(test_a_record_wakes_a_thread_that_is_falling_asleep),
        test(test_many_threads_lose_nothing),
        cmocka_unit_test(test_a_ring_keeps_order_and_its_limit),
        cmocka_unit_test(test_a_ring_has_many_at_both_ends),
        cmocka_unit_test(test_nobody_uses_what_was_swapped_once_the_wait_is_over),
        cmocka_unit_test(test_the_wait_works_without_membarrier_too),
        cmocka_unit_test(test_a_thread_that_ends_gives_its_slot_back),
    };
    return cmocka_run_group_tests_name("otel batch", tests, NULL, NULL);
}
