/* Records from the logger and from lines of the log, through real processors, into an exporter that keeps them. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/support.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/otel/logs.h"
#include "otel/logs/bridge.h"
#include "otel/sdk/copy.h"
#include "otel/sdk/export.h"
#include "otel/sdk/provider.h"

enum { KEPT_MAX = 20000, WAIT_MS = 10000 };

/* --- an exporter that keeps what it gets */

struct kept {
    struct exporter exporter; /* first */
    const char *endpoint;
    int64_t hurry_ns;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct arena arena;
    unsigned count, opened, freed, entered;
    bool closed, refuses; /* closed: exports wait until it is opened again */
    struct log_record records[KEPT_MAX];
    const char *by[KEPT_MAX]; /* endpoint of the exporter that got it */
} all = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void keep(const struct log_record *record, const char *endpoint)
{
    struct attribute_list list = {0};
    assert_true(all.count < KEPT_MAX);
    struct log_record *copy = &all.records[all.count];
    *copy = *record;
    copy->body = value_copy(&all.arena, &record->body, -1);
    copy->severity_text = text_copy(&all.arena, record->severity_text);
    copy->event_name = text_copy(&all.arena, record->event_name);
    for (unsigned i = 0; i < record->attribute_count; i++)
        attributes_set(&all.arena, &list, &record->attributes[i], 1000, -1);
    copy->attributes = list.items;
    all.by[all.count++] = text_copy(&all.arena, endpoint);
}

static void keep_of(const struct export_batch *batch, unsigned index, const char *endpoint)
{
    struct log_record record = {0};
    if (!batch->encoded) {
        keep(batch->logs[index], endpoint);
        return;
    }
    arena_init(&record.arena, 4096);
    encoded_read_log(batch->records[index], &record);
    keep(&record, endpoint);
    arena_done(&record.arena);
}

/* False when nothing changed until then. Under the lock. */
static bool wait_change(int64_t until_ns)
{
    struct timespec end = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
    return pthread_cond_clockwait(&all.changed, &all.lock, CLOCK_MONOTONIC, &end) == 0;
}

static struct export_result export_kept(struct exporter *exporter, const struct export_batch *batch,
                                        int64_t deadline_ns)
{
    struct kept *kept = (struct kept *)exporter;
    struct export_result result = {.ok = true};
    pthread_mutex_lock(&all.lock);
    all.entered++;
    pthread_cond_broadcast(&all.changed);
    while (all.closed && result.ok)
        if (!wait_change(deadline_ns < kept->hurry_ns ? deadline_ns : kept->hurry_ns))
            result = (struct export_result){.error = "timeout"};
    if (all.refuses)
        result = (struct export_result){.error = "UNAVAILABLE"};
    for (unsigned i = 0; result.ok && i < batch->count; i++)
        keep_of(batch, i, kept->endpoint);
    pthread_mutex_unlock(&all.lock);
    if (!result.ok)
        log_event(LOG_WARN, "telemetry is not delivered", log_text("error", result.error));
    return result;
}

static void hurry(struct exporter *exporter, int64_t deadline_ns)
{
    pthread_mutex_lock(&all.lock);
    ((struct kept *)exporter)->hurry_ns = deadline_ns;
    pthread_cond_broadcast(&all.changed);
    pthread_mutex_unlock(&all.lock);
}

static void free_kept(struct exporter *exporter)
{
    all.freed++;
    free(exporter);
}

static struct exporter *open_kept(const struct exporter_settings *settings, enum signal signal, char *message,
                                  size_t message_bytes)
{
    static const struct exporter_methods methods = {"kept", export_kept, hurry, free_kept};
    static const struct exporter_methods encoded = {"kept", export_kept, hurry, free_kept, .takes_encoded = true};
    if (strcmp(settings->endpoint, "broken") == 0) {
        snprintf(message, message_bytes, "cannot open it");
        return NULL;
    }
    struct kept *kept = mem_alloc(sizeof *kept);
    bool takes_encoded = strcmp(settings->endpoint, "encoded") == 0;
    kept->exporter = (struct exporter){takes_encoded ? &encoded : &methods, signal};
    kept->endpoint = settings->endpoint;
    kept->hurry_ns = CLOCK_NEVER - 1;
    all.opened++;
    return &kept->exporter;
}

static void open_gate(bool open)
{
    pthread_mutex_lock(&all.lock);
    all.closed = !open;
    pthread_cond_broadcast(&all.changed);
    pthread_mutex_unlock(&all.lock);
}

/* Until the exporter has been called so often. */
static void wait_entered(unsigned times)
{
    int64_t until_ns = clock_now_ns() + WAIT_MS * NS_PER_MS;
    pthread_mutex_lock(&all.lock);
    while (all.entered < times && wait_change(until_ns))
        ;
    unsigned entered = all.entered;
    pthread_mutex_unlock(&all.lock);
    assert_true(entered >= times);
}

/* --- the pipeline */

static const struct sdk_resource resource;
static struct processor_settings processors[2];
static struct sdk_settings settings;
static char message[256];

static int64_t soon(void)
{
    return clock_now_ns() + WAIT_MS * NS_PER_MS;
}

static bool commit(void)
{
    struct logs_pipeline *pipeline = logs_prepare(&settings, &resource, message, sizeof message);
    if (pipeline)
        logs_commit(pipeline, soon());
    return pipeline != NULL;
}

static int set_up(void **state)
{
    (void)state;
    arena_init(&all.arena, 4096);
    all.count = all.opened = all.freed = all.entered = 0;
    all.closed = all.refuses = false;
    exporting_opener = open_kept;
    for (unsigned i = 0; i < 2; i++)
        processors[i] = (struct processor_settings){.batch = true,
                                                    .schedule_delay_ms = 60000,
                                                    .export_timeout_ms = WAIT_MS,
                                                    .max_queue_size = 2048,
                                                    .max_export_batch_size = 512,
                                                    .exporter.endpoint = i == 0 ? "first" : "second"};
    settings = (struct sdk_settings){.log_processors = processors,
                                     .log_processor_count = 1,
                                     .log_limits = {.attribute_value_length = UNLIMITED, .attribute_count = 128}};
    log_level_set(LOG_INFO);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    open_gate(true);
    logs_stop(soon());
    arena_done(&all.arena);
    return all.opened == all.freed ? 0 : -1;
}

static const struct otel_value *attribute(const struct log_record *record, const char *key)
{
    for (unsigned i = 0; i < record->attribute_count; i++)
        if (strcmp(record->attributes[i].key, key) == 0)
            return &record->attributes[i].value;
    return NULL;
}

static const struct log_record *only_record(void)
{
    assert_true(logs_flush(soon()));
    assert_int_equal(all.count, 1);
    return &all.records[0];
}

static struct otel_log log_of(const char *body)
{
    return (struct otel_log){.severity = OTEL_INFO, .body = otel_value_text(body)};
}

static void emit(const char *body)
{
    struct otel_log log = log_of(body);
    otel_logger_emit(otel_logger("test", NULL, NULL), &log);
}

/* --- records */

static void test_record_arrives_with_all_that_was_said(void **state)
{
    (void)state;
    assert_true(commit());
    struct otel_logger *logger = otel_logger("shop.orders", "1.2", "https://example.org/schema");
    struct otel_attribute attributes[] = {otel_text("a", "1"), otel_int("b", 2), otel_text("a", "last")};
    struct otel_log log = {.time_wall_ns = 1234,
                           .observed_wall_ns = 5678,
                           .severity = OTEL_WARN,
                           .severity_text = "careful",
                           .event_name = "order.refused",
                           .body = otel_value_text("no stock"),
                           .attributes = attributes,
                           .attribute_count = 3};
    assert_true(otel_logger_enabled(logger, OTEL_WARN));
    otel_logger_emit(logger, &log);
    const struct log_record *record = only_record();
    assert_string_equal(record->scope->name, "shop.orders");
    assert_string_equal(record->scope->version, "1.2");
    assert_string_equal(record->scope->schema_url, "https://example.org/schema");
    assert_int_equal(record->time_wall_ns, 1234);
    assert_int_equal(record->observed_wall_ns, 5678);
    assert_int_equal(record->severity, OTEL_WARN);
    assert_string_equal(record->severity_text, "careful");
    assert_string_equal(record->event_name, "order.refused");
    assert_string_equal(record->body.text, "no stock");
    assert_int_equal(record->attribute_count, 2);
    assert_string_equal(attribute(record, "a")->text, "last");
    assert_int_equal(attribute(record, "b")->integer, 2);
}

static void test_unknown_time_stays_unknown_and_the_observed_one_is_now(void **state)
{
    (void)state;
    assert_true(commit());
    int64_t before = clock_wall_ns();
    emit("x");
    const struct log_record *record = only_record();
    assert_int_equal(record->time_wall_ns, 0);
    assert_in_range(record->observed_wall_ns, before, clock_wall_ns());
    assert_null(record->severity_text);
    assert_null(record->event_name);
}

static void test_record_joins_the_current_context_or_the_one_it_is_given(void **state)
{
    (void)state;
    static const uint8_t none[16];
    struct trace_context current = trace_new(), given = trace_new(), invalid = {.flags = 3};
    assert_true(commit());
    struct otel_log log = log_of("x");
    struct otel_logger *logger = otel_logger("test", NULL, NULL);
    otel_logger_emit(logger, &log);
    current.flags = 3;
    trace_attach(&current);
    otel_logger_emit(logger, &log);
    log.context = &given;
    otel_logger_emit(logger, &log);
    log.context = &invalid;
    otel_logger_emit(logger, &log);
    trace_attach(NULL);
    assert_true(logs_flush(soon()));
    assert_int_equal(all.count, 4);
    assert_memory_equal(all.records[0].trace_id, none, 16);
    assert_memory_equal(all.records[1].trace_id, current.trace_id, 16);
    assert_memory_equal(all.records[1].span_id, current.span_id, 8);
    assert_int_equal(all.records[1].flags, 3);
    assert_memory_equal(all.records[2].trace_id, given.trace_id, 16);
    assert_memory_equal(all.records[3].trace_id, none, 16);
    assert_int_equal(all.records[3].flags, 0);
}

static void test_attributes_are_kept_within_the_limits_and_the_rest_is_counted(void **state)
{
    (void)state;
    settings.log_limits = (struct limit_settings){.attribute_value_length = 3, .attribute_count = 2};
    assert_true(commit());
    struct otel_attribute attributes[] = {otel_text("a", "caf\xc3\xa9s"), otel_int("b", 2), otel_int("c", 3),
                                          otel_int("", 4)};
    struct otel_log log = log_of("a body is not cut");
    log.attributes = attributes;
    log.attribute_count = 4;
    otel_logger_emit(otel_logger("test", NULL, NULL), &log);
    assert_true(logs_flush(soon()));
    const struct log_record *record = &all.records[0];
    assert_string_equal(record->body.text, "a body is not cut");
    assert_int_equal(record->attribute_count, 2);
    assert_int_equal(record->attributes_dropped, 2);
    assert_string_equal(attribute(record, "a")->text, "caf");
}

static void emit_all_kinds(void)
{
    const struct otel_attribute attributes[] = {
        otel_text("plain", "val"),    otel_int("number", -2),      otel_bool("true", true),
        otel_real("real", 0.5),       otel_text("long", "longer"), otel_text("caf\xc3\xa9", "x"),
        otel_text("bad", "\xff"),     otel_text("plain", "again"), otel_text("", "no key"),
        otel_bytes("bytes", "\0", 2), otel_text("empty", ""),      otel_text("null", NULL),
    };
    struct otel_log log = {.time_wall_ns = 1, .observed_wall_ns = 2, .severity = OTEL_INFO, .severity_text = "info"};
    log.body = otel_value_text("b\xc3\xb6"
                               "dy");
    for (unsigned i = 0; i < array_count(attributes); i++)
        for (log.attribute_count = 0; log.attribute_count <= array_count(attributes) - i; log.attribute_count++) {
            log.attributes = attributes + i;
            otel_logger_emit(otel_logger("test", NULL, NULL), &log);
            log.body = otel_value_text(i % 2 ? "body" : "\xff");
            log.event_name = i % 3 ? "event" : "\xff event";
        }
}

static void assert_same_record(const struct log_record *a, const struct log_record *b)
{
    assert_int_equal(a->time_wall_ns, b->time_wall_ns);
    assert_int_equal(a->severity, b->severity);
    assert_string_equal(a->severity_text, b->severity_text);
    assert_string_equal(a->event_name ? a->event_name : "", b->event_name ? b->event_name : "");
    assert_true(value_equal(&a->body, &b->body));
    assert_int_equal(a->attribute_count, b->attribute_count);
    assert_int_equal(a->attributes_dropped, b->attributes_dropped);
    assert_true(attributes_equal(a->attributes, b->attributes, a->attribute_count));
}

/* Encoded at once from the caller's memory, where that is plain, or by way of a copy. */
static void test_an_encoded_record_says_the_same(void **state)
{
    (void)state;
    settings.log_limits = (struct limit_settings){.attribute_value_length = 5, .attribute_count = 9};
    processors[0].exporter.endpoint = "records";
    assert_true(commit());
    emit_all_kinds();
    assert_true(logs_flush(soon()));
    unsigned count = all.count;
    processors[0].exporter.endpoint = "encoded";
    assert_true(commit());
    emit_all_kinds();
    assert_true(logs_flush(soon()));
    assert_int_equal(all.count, 2 * count);
    for (unsigned i = 0; i < count; i++)
        assert_same_record(&all.records[i], &all.records[count + i]);
}

static void test_every_processor_gets_every_record_once(void **state)
{
    (void)state;
    enum { RECORDS = 300 };
    settings.log_processor_count = 2;
    assert_true(commit());
    for (unsigned i = 0; i < RECORDS; i++)
        emit("x");
    assert_true(logs_flush(soon()));
    unsigned first = 0;
    for (unsigned i = 0; i < all.count; i++)
        first += strcmp(all.by[i], "first") == 0;
    assert_int_equal(all.count, 2 * RECORDS);
    assert_int_equal(first, RECORDS);
}

static void test_full_queue_drops_what_does_not_fit(void **state)
{
    (void)state;
    processors[0].max_queue_size = 8;
    processors[0].max_export_batch_size = 4;
    assert_true(commit());
    open_gate(false);
    for (unsigned i = 0; i < 4; i++)
        emit("first batch");
    wait_entered(1);
    for (unsigned i = 0; i < 100; i++)
        emit("x");
    open_gate(true);
    logs_flush(soon());
    assert_int_equal(all.count, 4 + 8);
}

static void test_memory_is_used_again(void **state)
{
    (void)state;
    enum { RECORDS = 20000, BODY_BYTES = 2000, MOST_BYTES = 8 << 20 };
    char body[BODY_BYTES + 1];
    memset(body, 'x', BODY_BYTES);
    body[BODY_BYTES] = '\0';
    all.refuses = true;
    assert_true(commit());
    size_t before = mallinfo2().uordblks;
    for (unsigned i = 0; i < RECORDS; i++)
        emit(body);
    logs_flush(soon());
    assert_true(mallinfo2().uordblks < before + MOST_BYTES);
}

static void test_without_a_pipeline_nothing_happens(void **state)
{
    (void)state;
    struct otel_log log = log_of("x");
    assert_false(otel_logger_enabled(otel_logger("test", NULL, NULL), OTEL_FATAL));
    emit("x");
    otel_logger_emit(NULL, &log);
    assert_true(logs_flush(soon()));
    assert_true(logs_stop(soon()));
    settings.log_processor_count = 0;
    assert_true(commit());
    assert_false(otel_logger_enabled(otel_logger("test", NULL, NULL), OTEL_FATAL));
    emit("x");
    log_event(LOG_INFO, "not bridged");
    assert_true(logs_flush(soon()));
    assert_int_equal(all.count, 0);
}

static void test_stop_exports_the_rest_and_what_comes_later_is_not_recorded(void **state)
{
    (void)state;
    assert_true(commit());
    emit("x");
    assert_true(logs_stop(soon()));
    assert_int_equal(all.count, 1);
    emit("late");
    log_event(LOG_INFO, "late");
    assert_int_equal(all.count, 1);
    assert_true(commit());
    emit("again");
    assert_true(logs_flush(soon()));
    assert_int_equal(all.count, 2);
}

static void test_unnamed_logger_works(void **state)
{
    (void)state;
    assert_true(commit());
    struct otel_log log = log_of("x");
    log_level_set(LOG_OFF);
    struct otel_logger *logger = otel_logger(NULL, NULL, NULL);
    assert_ptr_equal(logger, otel_logger("", NULL, NULL));
    otel_logger_emit(logger, &log);
    assert_string_equal(only_record()->scope->name, "");
}

/* --- lines of the log */

static void test_line_becomes_a_record_with_its_fields_and_the_current_context(void **state)
{
    (void)state;
    struct trace_context current = trace_new();
    assert_true(commit());
    trace_attach(&current);
    log_event(LOG_ERROR, "it broke", log_text("what", "all \xff of it"), log_int("times", 3), log_real("ratio", 0.5),
              log_bool("fatal", false), log_text("nothing", NULL));
    trace_attach(NULL);
    const struct log_record *record = only_record();
    assert_string_equal(record->scope->name, "libcommon.log");
    assert_string_equal(record->body.text, "it broke");
    assert_int_equal(record->severity, OTEL_ERROR);
    assert_string_equal(record->severity_text, "error");
    assert_int_equal(record->time_wall_ns, record->observed_wall_ns);
    assert_int_equal(record->attribute_count, 5);
    assert_string_equal(attribute(record, "what")->text, "all \xef\xbf\xbd of it");
    assert_int_equal(attribute(record, "times")->integer, 3);
    assert_true(attribute(record, "ratio")->real == 0.5);
    assert_int_equal(attribute(record, "fatal")->type, OTEL_BOOL);
    assert_int_equal(attribute(record, "nothing")->type, OTEL_EMPTY);
    assert_memory_equal(record->trace_id, current.trace_id, 16);
}

static void test_lines_have_the_severity_of_their_level_and_follow_it(void **state)
{
    (void)state;
    static const enum otel_severity expected[] = {OTEL_DEBUG, OTEL_INFO, OTEL_WARN, OTEL_ERROR};
    assert_true(commit());
    log_event(LOG_DEBUG, "below the level");
    log_level_set(LOG_DEBUG);
    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++)
        log_event((enum log_level)level, "x");
    log_level_set(LOG_ERROR);
    log_event(LOG_WARN, "below the level");
    assert_true(logs_flush(soon()));
    assert_int_equal(all.count, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(all.records[i].severity, expected[i]);
}

static void test_endless_line_is_cut(void **state)
{
    (void)state;
    enum { BYTES = 100000 };
    char *text = mem_alloc(BYTES + 1);
    memset(text, 'x', BYTES);
    struct log_field fields[100];
    char keys[100][8];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(keys[i], sizeof keys[i], "k%u", i);
        fields[i] = log_int(keys[i], i);
    }
    fields[1] = log_text("k1", text);
    assert_true(commit());
    log_write(LOG_INFO, text, fields, 100);
    free(text);
    const struct log_record *record = only_record();
    assert_int_equal(record->body.count, 8192);
    assert_int_equal(attribute(record, "k1")->count, 8192);
    assert_int_equal(record->attribute_count, 64);
}

static void *log_muted(void *arg)
{
    bridge_mute();
    log_event(LOG_WARN, "of the SDK's own");
    return arg;
}

static void test_lines_of_the_sdks_threads_stay_on_stderr(void **state)
{
    (void)state;
    pthread_t thread;
    assert_true(commit());
    pthread_create(&thread, NULL, log_muted, NULL);
    pthread_join(thread, NULL);
    log_event(LOG_INFO, "another thread's");
    assert_string_equal(only_record()->body.text, "another thread's");
}

static void test_failing_export_does_not_make_records_to_export(void **state)
{
    (void)state;
    processors[0].schedule_delay_ms = 1;
    all.refuses = true;
    assert_true(commit());
    emit("lost");
    assert_false(logs_flush(soon()));
    wait_entered(1);
    all.refuses = false;
    assert_true(logs_flush(soon()));
    assert_int_equal(all.count, 0);
    assert_int_equal(all.entered, 1);
}

/* --- reloads */

static void test_equal_settings_keep_the_processor_and_its_queue(void **state)
{
    (void)state;
    assert_true(commit());
    emit("before");
    settings.log_limits.attribute_count = 1;
    assert_true(commit());
    assert_int_equal(all.opened, 1);
    assert_int_equal(all.count, 0);
    struct otel_attribute two[] = {otel_int("a", 1), otel_int("b", 2)};
    struct otel_log log = log_of("after");
    log.attributes = two;
    log.attribute_count = 2;
    otel_logger_emit(otel_logger("test", NULL, NULL), &log);
    assert_true(logs_flush(soon()));
    assert_string_equal(all.records[0].body.text, "before");
    assert_int_equal(all.records[1].attribute_count, 1);
}

static void test_equal_processors_stay_two(void **state)
{
    (void)state;
    settings.log_processor_count = 2;
    processors[1].exporter.endpoint = "first";
    assert_true(commit());
    assert_true(commit());
    emit("x");
    assert_true(logs_flush(soon()));
    assert_int_equal(all.opened, 2);
    assert_int_equal(all.count, 2);
}

static void test_replaced_processor_sends_what_it_holds_where_it_was_meant_to_go(void **state)
{
    (void)state;
    assert_true(commit());
    emit("before");
    processors[0].exporter.endpoint = "new";
    assert_true(commit());
    assert_int_equal(all.count, 1);
    assert_string_equal(all.by[0], "first");
    emit("after");
    assert_true(logs_flush(soon()));
    assert_string_equal(all.by[1], "new");
    assert_int_equal(all.freed, 1);
}

static void test_new_processor_inherits_what_the_old_one_could_not_send_in_time(void **state)
{
    (void)state;
    processors[0].max_export_batch_size = 1;
    assert_true(commit());
    open_gate(false);
    emit("stuck");
    wait_entered(1);
    emit("inherited");
    processors[0].exporter.endpoint = "new";
    struct logs_pipeline *pipeline = logs_prepare(&settings, &resource, message, sizeof message);
    logs_commit(pipeline, clock_now_ns());
    open_gate(true);
    assert_string_equal(only_record()->body.text, "inherited");
    assert_string_equal(all.by[0], "new");
}

static void test_exporter_that_cannot_be_opened_leaves_everything_as_it_was(void **state)
{
    (void)state;
    assert_true(commit());
    emit("before");
    processors[1].exporter.endpoint = "broken";
    settings.log_processor_count = 2;
    assert_false(commit());
    assert_string_equal(message, "cannot open it");
    emit("after");
    assert_true(logs_flush(soon()));
    assert_int_equal(all.count, 2);
    processors[0].exporter.endpoint = "would work";
    assert_false(commit());
    assert_int_equal(all.opened, 2);
    assert_int_equal(all.freed, 1);
}

static void test_prepared_pipeline_can_be_discarded(void **state)
{
    (void)state;
    assert_true(commit());
    emit("x");
    settings.log_processor_count = 2;
    logs_discard(logs_prepare(&settings, &resource, message, sizeof message));
    assert_int_equal(all.opened, 2);
    assert_int_equal(all.freed, 1);
    only_record();
}

struct talker {
    pthread_t thread;
    unsigned records;
};

static void *talk(void *arg)
{
    struct talker *talker = arg;
    for (unsigned i = 0; i < talker->records; i++) {
        if (i % 100)
            emit("x");
        else
            log_write(LOG_INFO, "x", &log_int("i", i), 1);
    }
    return NULL;
}

static void test_reloads_lose_nothing_while_threads_log(void **state)
{
    (void)state;
    enum { TALKERS = 4, RECORDS = 2000, RELOADS = 20 };
    static const char *const endpoints[] = {"one", "two"};
    struct talker talkers[TALKERS];
    processors[0].max_queue_size = TALKERS * RECORDS;
    assert_true(commit());
    for (unsigned i = 0; i < TALKERS; i++) {
        talkers[i].records = RECORDS;
        pthread_create(&talkers[i].thread, NULL, talk, &talkers[i]);
    }
    for (unsigned i = 0; i < RELOADS; i++) {
        processors[0].exporter.endpoint = endpoints[i % 2];
        assert_true(commit());
    }
    for (unsigned i = 0; i < TALKERS; i++)
        pthread_join(talkers[i].thread, NULL);
    assert_true(logs_flush(soon()));
    assert_int_equal(all.count, TALKERS * RECORDS);
}

int main(void)
{
#define LOG_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_record_arrives_with_all_that_was_said),
        LOG_TEST(test_unknown_time_stays_unknown_and_the_observed_one_is_now),
        LOG_TEST(test_record_joins_the_current_context_or_the_one_it_is_given),
        LOG_TEST(test_attributes_are_kept_within_the_limits_and_the_rest_is_counted),
        LOG_TEST(test_an_encoded_record_says_the_same),
        LOG_TEST(test_every_processor_gets_every_record_once),
        LOG_TEST(test_full_queue_drops_what_does_not_fit),
        LOG_TEST(test_memory_is_used_again),
        LOG_TEST(test_without_a_pipeline_nothing_happens),
        LOG_TEST(test_stop_exports_the_rest_and_what_comes_later_is_not_recorded),
        LOG_TEST(test_unnamed_logger_works),
        LOG_TEST(test_line_becomes_a_record_with_its_fields_and_the_current_context),
        LOG_TEST(test_lines_have_the_severity_of_their_level_and_follow_it),
        LOG_TEST(test_endless_line_is_cut),
        LOG_TEST(test_lines_of_the_sdks_threads_stay_on_stderr),
        LOG_TEST(test_failing_export_does_not_make_records_to_export),
        LOG_TEST(test_equal_settings_keep_the_processor_and_its_queue),
        LOG_TEST(test_equal_processors_stay_two),
        LOG_TEST(test_replaced_processor_sends_what_it_holds_where_it_was_meant_to_go),
        LOG_TEST(test_new_processor_inherits_what_the_old_one_could_not_send_in_time),
        LOG_TEST(test_exporter_that_cannot_be_opened_leaves_everything_as_it_was),
        LOG_TEST(test_prepared_pipeline_can_be_discarded),
        LOG_TEST(test_reloads_lose_nothing_while_threads_log),
    };
    return cmocka_run_group_tests_name("otel logs", tests, NULL, NULL);
}
