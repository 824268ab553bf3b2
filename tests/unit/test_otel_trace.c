#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fiber.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/otel/trace.h"
#include "otel/sdk/provider.h"
#include "otel/sdk/set.h"
#include "otel/trace/ids.h"
#include "otel/trace/pipeline.h"
#include "otel/trace/sampler.h"
#include "otel/trace/wall.h"
#include "support/exporter.h"
#include "support/support.h"

static const struct sampler_settings on = {.kind = SAMPLER_ALWAYS_ON}, off = {.kind = SAMPLER_ALWAYS_OFF};
static const struct sampler_settings parent_based = {.kind = SAMPLER_PARENT_BASED,
                                                     .root = &on,
                                                     .remote_parent_sampled = &on,
                                                     .remote_parent_not_sampled = &off,
                                                     .local_parent_sampled = &on,
                                                     .local_parent_not_sampled = &off};
static const struct otel_attribute service = {"service.name", {.type = OTEL_TEXT, .count = 4, .text = "shop"}};
static const struct sdk_resource resource = {&service, 1, NULL};
static const struct limit_settings limits = {UNLIMITED, 128, 128, 128, 128, 128};
static struct otel_tracer *tracer;
static char message[256];

static int64_t soon(void)
{
    return clock_now_ns() + 10 * NS_PER_S;
}

/* Each span is a batch, which the exporter keeps in its hands for the test to look at. */
static struct processor_settings simple = {.exporter.endpoint = "first"};

static struct sdk_settings settings_with(const struct sampler_settings *sampler, const struct limit_settings *within)
{
    return (struct sdk_settings){
        .sampler = *sampler, .span_limits = *within, .span_processors = &simple, .span_processor_count = 1};
}

static void commit(const struct sdk_settings *settings)
{
    struct traces_pipeline *pipeline = traces_prepare(settings, &resource, message, sizeof message);
    assert_non_null(pipeline);
    traces_commit(pipeline, soon());
}

static void start_with(const struct sampler_settings *sampler)
{
    struct sdk_settings settings = settings_with(sampler, &limits);
    commit(&settings);
}

static void start_within(const struct limit_settings *within)
{
    struct sdk_settings settings = settings_with(&parent_based, within);
    commit(&settings);
}

static int begin(void **state)
{
    (void)state;
    test_exporters_begin(false, NULL);
    tracer = otel_tracer("shop", "1.2", "https://example.test/1");
    trace_attach(NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    traces_stop(soon());
    test_exporters_end();
    return trace_current() != NULL;
}

/* The next span that came out; looked at until release_span(). */
static const struct span_record *exported_span(void)
{
    const struct export_batch *batch = test_export_await(test_exporter_at(0));
    assert_int_equal(batch->count, 1);
    return batch->spans[0];
}

static void release_span(void)
{
    test_export_end(test_exporter_at(0));
}

static const struct otel_attribute *attribute_of(const struct span_record *record, const char *key)
{
    for (unsigned i = 0; i < record->attribute_count; i++)
        if (strcmp(record->attributes[i].key, key) == 0)
            return &record->attributes[i];
    return NULL;
}

static struct trace_context remote_parent(uint8_t flags, const char *state)
{
    struct trace_context context;
    assert_true(trace_parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", &context));
    context.flags = flags;
    context.state = state;
    context.remote = true;
    return context;
}

/* --- what a span is */

static void test_a_span_tells_all_that_was_set(void **state)
{
    (void)state;
    start_with(&parent_based);
    struct trace_context linked = remote_parent(1, "vendor=1");
    struct otel_attribute link_attribute = otel_int("n", 3);
    struct otel_link link = {&linked, &link_attribute, 1};
    struct otel_attribute at_start[] = {otel_text("at.start", "yes"), otel_int("both", 1)};
    struct otel_span_options options = {
        .kind = OTEL_SPAN_SERVER, .attributes = at_start, .attribute_count = 2, .links = &link, .link_count = 1};
    struct otel_span span;
    int64_t before = clock_wall_ns();
    otel_span_start(&span, tracer, "first name", &options);
    assert_true(otel_span_recording(&span));
    otel_span_set(&span, otel_int("both", 2));
    otel_span_set_all(&span, OTEL_LIST(otel_bool("flag", true), otel_real("pi", 3.14)));
    otel_span_event(&span, "happened", OTEL_LIST(otel_int("times", 1)));
    otel_span_event_at(&span, "long ago", 5, NULL, 0);
    otel_span_status(&span, OTEL_STATUS_ERROR, "broken");
    otel_span_rename(&span, "GET /x");
    struct trace_context context = span.context;
    otel_span_end(&span);
    assert_false(otel_span_recording(&span));

    const struct span_record *record = exported_span();
    assert_string_equal(record->scope->name, "shop");
    assert_string_equal(record->scope->schema_url, "https://example.test/1");
    assert_string_equal(record->name, "GET /x");
    assert_int_equal(record->kind, OTEL_SPAN_SERVER);
    assert_memory_equal(record->trace_id, context.trace_id, 16);
    assert_memory_equal(record->span_id, context.span_id, 8);
    assert_int_equal(record->flags, 0x103); /* a root: sampled, random, and known to have no remote parent */
    assert_int_equal(record->attribute_count, 4);
    assert_int_equal(attribute_of(record, "both")->value.integer, 2);
    assert_string_equal(attribute_of(record, "at.start")->value.text, "yes");
    assert_true(attribute_of(record, "flag")->value.boolean);
    assert_true(attribute_of(record, "pi")->value.real == 3.14);
    assert_int_equal(record->event_count, 2);
    assert_string_equal(record->events[0].name, "happened");
    assert_int_equal(record->events[0].attributes[0].value.integer, 1);
    assert_int_equal(record->events[1].wall_ns, 5);
    assert_int_equal(record->link_count, 1);
    assert_memory_equal(record->links[0].trace_id, linked.trace_id, 16);
    assert_memory_equal(record->links[0].span_id, linked.span_id, 8);
    assert_int_equal(record->links[0].flags, 0x301);
    assert_string_equal(record->links[0].state, "vendor=1");
    assert_int_equal(record->links[0].attributes[0].value.integer, 3);
    assert_int_equal(record->status, OTEL_STATUS_ERROR);
    assert_string_equal(record->status_message, "broken");
    assert_true(record->start_wall_ns >= before - NS_PER_MS && record->end_wall_ns <= clock_wall_ns() + NS_PER_MS);
    assert_true(record->start_wall_ns <= record->events[0].wall_ns);
    assert_true(record->events[0].wall_ns <= record->end_wall_ns);
    release_span();
}

static void test_a_span_of_defaults_is_internal_and_bare(void **state)
{
    (void)state;
    start_with(&parent_based);
    struct otel_span span;
    otel_span_start(&span, tracer, NULL, NULL);
    otel_span_end(&span);
    const struct span_record *record = exported_span();
    const uint8_t none[8] = {0};
    assert_string_equal(record->name, "");
    assert_int_equal(record->kind, OTEL_SPAN_INTERNAL);
    assert_memory_equal(record->parent_span_id, none, 8);
    assert_int_equal(record->attribute_count + record->event_count + record->link_count, 0);
    assert_int_equal(record->status, OTEL_STATUS_UNSET);
    assert_null(record->state);
    assert_null(record->status_message);
    release_span();
}

static void test_a_child_belongs_to_its_parents_trace(void **state)
{
    (void)state;
    start_with(&parent_based);
    struct trace_context parent = remote_parent(3, "a=1,b=2");
    parent.baggage = "k=v";
    struct otel_span span, child;
    otel_span_start(&span, tracer, "child", &(struct otel_span_options){.parent = &parent});
    otel_span_start(&child, tracer, "grandchild", &(struct otel_span_options){.parent = &span.context});
    assert_memory_equal(child.context.trace_id, parent.trace_id, 16);
    assert_string_equal(child.context.state, "a=1,b=2");
    assert_string_equal(child.context.baggage, "k=v");
    assert_false(span.context.remote);
    assert_ptr_equal(child.context.span, &child);
    uint8_t span_id[8];
    memcpy(span_id, span.context.span_id, 8);
    otel_span_end(&span); /* the tracestate of the child is its own */
    const struct span_record *record = exported_span();
    assert_memory_equal(record->parent_span_id, parent.span_id, 8);
    assert_int_equal(record->flags, 0x303);
    assert_string_equal(record->state, "a=1,b=2");
    release_span();
    assert_string_equal(child.context.state, "a=1,b=2");
    otel_span_end(&child);
    assert_null(child.context.state);
    record = exported_span();
    assert_memory_equal(record->parent_span_id, span_id, 8);
    assert_int_equal(record->flags, 0x103);
    release_span();
}

static void test_the_random_flag_is_the_parents(void **state)
{
    (void)state;
    start_with(&on);
    struct trace_context parent = remote_parent(1, NULL);
    struct otel_span span;
    otel_span_start(&span, tracer, "child", &(struct otel_span_options){.parent = &parent});
    assert_int_equal(span.context.flags, 1);
    otel_span_end(&span);
    exported_span();
    release_span();
}

static void test_a_trace_id_without_a_span_id_makes_a_root_of_that_trace(void **state)
{
    (void)state;
    start_with(&parent_based);
    struct trace_context parent = remote_parent(0, "ot=rv:00000000000001");
    memset(parent.span_id, 0, 8);
    struct otel_span span;
    otel_span_start(&span, tracer, "root", &(struct otel_span_options){.parent = &parent});
    assert_memory_equal(span.context.trace_id, parent.trace_id, 16);
    assert_int_equal(span.context.flags, 1);
    otel_span_end(&span);
    const struct span_record *record = exported_span();
    const uint8_t none[8] = {0};
    assert_memory_equal(record->parent_span_id, none, 8);
    assert_int_equal(record->flags, 0x101);
    assert_string_equal(record->state, "ot=rv:00000000000001");
    release_span();
}

static void test_no_parent_is_a_new_trace(void **state)
{
    (void)state;
    start_with(&parent_based);
    struct otel_span outer, inner;
    otel_span_start(&outer, tracer, "outer", NULL);
    otel_span_enter(&outer);
    otel_span_start(&inner, tracer, "inner", &(struct otel_span_options){.parent = &otel_no_parent});
    assert_memory_not_equal(inner.context.trace_id, outer.context.trace_id, 16);
    otel_span_end(&inner);
    exported_span();
    release_span();
    otel_span_end(&outer);
    exported_span();
    release_span();
}

static void test_ends_count_once_and_nothing_after_them(void **state)
{
    (void)state;
    start_with(&parent_based);
    struct otel_span span;
    otel_span_start(&span, tracer, "once", NULL);
    otel_span_end_at(&span, 77);
    otel_span_end(&span);
    otel_span_set(&span, otel_int("late", 1));
    otel_span_set_all(&span, OTEL_LIST(otel_int("late", 1)));
    otel_span_event(&span, "late", NULL, 0);
    otel_span_event_at(&span, "late", 1, NULL, 0);
    otel_span_link(&span, &(struct trace_context){{1}, {1}}, NULL, 0);
    otel_span_status(&span, OTEL_STATUS_ERROR, "late");
    otel_span_exception(&span, "late", NULL, NULL);
    otel_span_rename(&span, "late");
    const struct span_record *record = exported_span();
    assert_string_equal(record->name, "once");
    assert_int_equal(record->end_wall_ns, 77);
    assert_int_equal(record->attribute_count + record->event_count + record->link_count, 0);
    assert_int_equal(record->status, OTEL_STATUS_UNSET);
    release_span();
    assert_true(traces_flush(soon()));
    assert_int_equal(test_exporter_items(test_exporter_at(0)), 1);
}

static void test_no_span_is_no_harm(void **state)
{
    (void)state;
    otel_span_start(NULL, tracer, "none", NULL);
    otel_span_enter(NULL);
    otel_span_set(NULL, otel_int("k", 1));
    otel_span_set_all(NULL, OTEL_LIST(otel_int("k", 1)));
    otel_span_event(NULL, "e", NULL, 0);
    otel_span_link(NULL, &otel_no_parent, NULL, 0);
    otel_span_status(NULL, OTEL_STATUS_OK, NULL);
    otel_span_exception(NULL, "t", NULL, NULL);
    otel_span_rename(NULL, "n");
    otel_span_end(NULL);
    assert_false(otel_span_recording(NULL));
}

static void test_times_may_be_given(void **state)
{
    (void)state;
    start_with(&parent_based);
    struct otel_span span;
    otel_span_start(&span, tracer, "given", &(struct otel_span_options){.start_wall_ns = 1000});
    otel_span_event(&span, "now", NULL, 0);
    otel_span_end(&span);
    const struct span_record *record = exported_span();
    assert_int_equal(record->start_wall_ns, 1000);
    int64_t now = clock_wall_ns();
    assert_true(llabs(now - record->end_wall_ns) < 10 * NS_PER_S);
    assert_true(llabs(now - record->events[0].wall_ns) < 10 * NS_PER_S);
    release_span();
}

static void set_statuses(const enum otel_status *statuses, unsigned count)
{
    struct otel_span span;
    otel_span_start(&span, tracer, "status", NULL);
    for (unsigned i = 0; i < count; i++)
        otel_span_status(&span, statuses[i], "why");
    otel_span_end(&span);
}

static void test_ok_is_final_and_only_errors_have_a_description(void **state)
{
    (void)state;
    start_with(&parent_based);
    set_statuses((enum otel_status[]){OTEL_STATUS_ERROR, OTEL_STATUS_OK, OTEL_STATUS_ERROR, OTEL_STATUS_UNSET}, 4);
    assert_int_equal(exported_span()->status, OTEL_STATUS_OK);
    assert_null(exported_span()->status_message);
    release_span();
    set_statuses((enum otel_status[]){OTEL_STATUS_ERROR, OTEL_STATUS_UNSET}, 2);
    assert_int_equal(exported_span()->status, OTEL_STATUS_ERROR);
    assert_string_equal(exported_span()->status_message, "why");
    release_span();
}

static void test_an_exception_is_an_event(void **state)
{
    (void)state;
    start_with(&parent_based);
    struct otel_span span;
    otel_span_start(&span, tracer, "throws", NULL);
    otel_span_exception(&span, "IOError", "disk full", "at write()");
    otel_span_exception(&span, "Bare", NULL, NULL);
    otel_span_end(&span);
    const struct span_record *record = exported_span();
    assert_int_equal(record->event_count, 2);
    assert_string_equal(record->events[0].name, "exception");
    assert_int_equal(record->events[0].attribute_count, 3);
    assert_string_equal(record->events[0].attributes[0].key, "exception.type");
    assert_string_equal(record->events[0].attributes[1].key, "exception.message");
    assert_string_equal(record->events[0].attributes[1].value.text, "disk full");
    assert_string_equal(record->events[0].attributes[2].key, "exception.stacktrace");
    assert_int_equal(record->events[1].attribute_count, 1);
    assert_int_equal(record->status, OTEL_STATUS_UNSET);
    release_span();
}

/* --- limits */

static void test_what_is_beyond_the_limits_is_counted(void **state)
{
    (void)state;
    start_within(&(struct limit_settings){4, 2, 3, 5, 1, 1});
    struct trace_context context = remote_parent(0, NULL);
    struct otel_attribute two[] = {otel_text("a", "12345"), otel_int("b", 1)};
    struct otel_span span;
    otel_span_start(&span, tracer, "longer than four", NULL);
    otel_span_set(&span, otel_text("text", "abcdef"));
    otel_span_set(&span, otel_int("", 1));
    otel_span_set(&span, otel_int("two", 2));
    otel_span_set(&span, otel_int("three", 3));
    for (int i = 0; i < 7; i++) {
        otel_span_event(&span, "event", two, 2);
        otel_span_link(&span, &context, two, 2);
    }
    otel_span_end(&span);
    const struct span_record *record = exported_span();
    assert_string_equal(record->name, "longer than four");
    assert_int_equal(record->attribute_count, 2);
    assert_int_equal(record->attributes_dropped, 2);
    assert_string_equal(record->attributes[0].value.text, "abcd");
    assert_int_equal(record->event_count, 3);
    assert_int_equal(record->events_dropped, 4);
    assert_int_equal(record->events[2].attribute_count, 1);
    assert_int_equal(record->events[2].attributes_dropped, 1);
    assert_string_equal(record->events[2].attributes[0].value.text, "1234");
    assert_int_equal(record->link_count, 5);
    assert_int_equal(record->links_dropped, 2);
    assert_int_equal(record->links[4].attribute_count, 1);
    assert_int_equal(record->links[4].attributes_dropped, 1);
    release_span();
}

static void test_limits_of_nothing_allow_nothing(void **state)
{
    (void)state;
    start_within(&(struct limit_settings){0, 0, 0, 0, 0, 0});
    struct trace_context context = remote_parent(0, NULL);
    struct otel_span span;
    otel_span_start(&span, tracer, "strict", NULL);
    otel_span_set(&span, otel_int("a", 1));
    otel_span_event(&span, "event", NULL, 0);
    otel_span_link(&span, &context, NULL, 0);
    otel_span_end(&span);
    const struct span_record *record = exported_span();
    assert_int_equal(record->attribute_count + record->event_count + record->link_count, 0);
    assert_int_equal(record->attributes_dropped + record->events_dropped + record->links_dropped, 3);
    release_span();
}

/* --- sets of attributes */

/* What the span of options says that has further attributes and then sets, which end with NULL, by an exporter of the
 * endpoint; in the arena's memory. */
static struct span_record span_with_sets(const char *endpoint, const struct limit_settings *within,
                                         const struct otel_span_options *options, const struct otel_attribute *further,
                                         unsigned count, struct otel_attribute_set *const *sets, struct arena *arena)
{
    struct processor_settings processor = {.exporter.endpoint = endpoint};
    struct sdk_settings settings = settings_with(&parent_based, within);
    settings.span_processors = &processor;
    commit(&settings);
    struct otel_span span;
    otel_span_start(&span, tracer, "with a set", options);
    for (unsigned i = 0; i < count; i++)
        otel_span_set(&span, further[i]);
    for (; *sets; sets++)
        otel_span_set_shared(&span, *sets);
    otel_span_end(&span);
    const struct export_batch *batch = test_export_await(test_exporter_at(0));
    struct span_record record = {0};
    if (batch->encoded) {
        arena_init(&record.arena, 4096);
        encoded_read_span(batch->records[0], &record);
    } else {
        record = *batch->spans[0];
    }
    struct attribute_list list = {0};
    for (unsigned i = 0; i < record.attribute_count; i++)
        attributes_set(arena, &list, &record.attributes[i], 1000, -1);
    assert_int_equal(list.count, record.attribute_count); /* no key twice */
    if (batch->encoded)
        arena_done(&record.arena);
    record.list.items = list.items;
    test_export_end(test_exporter_at(0));
    traces_stop(soon());
    test_exporters_end();
    test_exporters_begin(false, NULL);
    return record;
}

static struct span_record span_by(const char *endpoint, const struct limit_settings *within,
                                  const struct otel_span_options *options, const struct otel_attribute *further,
                                  unsigned count, struct arena *arena)
{
    return span_with_sets(endpoint, within, options, further, count, &(struct otel_attribute_set *){NULL}, arena);
}

static void assert_same_attributes(const struct span_record *a, const struct span_record *b)
{
    assert_int_equal(a->attribute_count, b->attribute_count);
    assert_int_equal(a->attributes_dropped, b->attributes_dropped);
    for (unsigned i = 0; i < a->attribute_count; i++) {
        const struct otel_attribute *other = attribute_of(b, a->attributes[i].key);
        assert_non_null(other);
        assert_true(value_equal(&a->attributes[i].value, &other->value));
    }
}

static void test_a_set_is_as_if_its_attributes_were_set(void **state)
{
    (void)state;
    const struct otel_attribute common[] = {otel_text("http.request.method", "GET"), otel_int("server.port", 8080),
                                            otel_text("", "no key"), otel_text("caf\xc3\xa9", "\xff")};
    struct otel_attribute_set *set = otel_attribute_set_new(common, array_count(common));
    const struct otel_attribute further[] = {otel_int("http.response.status_code", 200), otel_text("more", "1234567")};
    const struct limit_settings tight[] = {
        limits, {4, 128, 0, 0, 0, 0}, {UNLIMITED, 4, 0, 0, 0, 0}, {0, 2, 0, 0, 0, 0}};
    static const char *const ends[] = {"records", "encoded"};
    struct arena arena;
    arena_init(&arena, 4096);
    for (unsigned i = 0; i < 2 * array_count(tight); i++) {
        struct span_record by_set = span_by(ends[i % 2], &tight[i / 2], &(struct otel_span_options){.set = set},
                                            further, array_count(further), &arena);
        struct span_record one_by_one =
            span_by(ends[i % 2], &tight[i / 2],
                    &(struct otel_span_options){.attributes = set->list.items, .attribute_count = 3}, further,
                    array_count(further), &arena);
        assert_same_attributes(&by_set, &one_by_one);
    }
    arena_done(&arena);
    otel_attribute_set_free(set);
    otel_attribute_set_free(NULL);
}

/* More sets than a span holds as they are; the later ones say some keys anew, of the span's own and of other sets. */
static void test_sets_given_later_are_as_if_their_attributes_were_set(void **state)
{
    (void)state;
    const struct otel_attribute all[] = {otel_text("a", "first"), otel_int("b", 1),          otel_text("own", "mine"),
                                         otel_int("c", 2),        otel_int("d", 3),          otel_text("a", "second"),
                                         otel_text("own", "set"), otel_int("server.port", 5)};
    static const unsigned parts[] = {0, 2, 3, 4, 5, 7, 8};
    struct otel_attribute_set *sets[array_count(parts)] = {NULL};
    for (unsigned i = 0; i + 1 < array_count(parts); i++)
        sets[i] = otel_attribute_set_new(all + parts[i], parts[i + 1] - parts[i]);
    struct otel_attribute_set *const later[] = {sets[2], sets[3], sets[4], sets[5], NULL};
    const struct limit_settings within[] = {
        limits, {4, 128, 0, 0, 0, 0}, {5, 128, 0, 0, 0, 0}, {UNLIMITED, 3, 0, 0, 0, 0}};
    struct arena arena;
    arena_init(&arena, 4096);
    for (unsigned i = 0; i < 2 * array_count(within); i++) {
        const char *end = i % 2 ? "encoded" : "records";
        const struct otel_span_options with_set = {.set = sets[0]};
        struct span_record by_sets = span_with_sets(end, &within[i / 2], &with_set, &all[2], 1, later, &arena);
        struct span_record one_by_one =
            span_by(end, &within[i / 2], &(struct otel_span_options){0}, all, array_count(all), &arena);
        assert_same_attributes(&by_sets, &one_by_one);
    }
    arena_done(&arena);
    for (unsigned i = 0; sets[i]; i++)
        otel_attribute_set_free(sets[i]);
}

static void test_a_name_that_lives_is_needed_to_the_end_and_no_longer(void **state)
{
    (void)state;
    char name[] = "GET /lives";
    start_within(&limits);
    struct otel_span span;
    otel_span_start(&span, tracer, name, &(struct otel_span_options){.name_lives = true});
    otel_span_end(&span);
    memset(name, 'X', sizeof name - 1);
    assert_string_equal(exported_span()->name, "GET /lives");
    release_span();
    otel_span_start(&span, tracer, name, &(struct otel_span_options){.name_lives = true});
    otel_span_rename(&span, "renamed");
    otel_span_end(&span);
    assert_string_equal(exported_span()->name, "renamed");
    release_span();
}

static void test_what_is_set_later_counts_more_than_a_set(void **state)
{
    (void)state;
    const struct otel_attribute common[] = {otel_text("name", "first"), otel_text("name", "common"), otel_int("n", 1)};
    struct otel_attribute_set *set = otel_attribute_set_new(common, array_count(common));
    const struct otel_attribute mine[] = {otel_text("name", "mine")};
    const struct otel_span_options with_set = {.set = set},
                                   with_both = {.set = set, .attributes = mine, .attribute_count = 1};
    struct arena arena;
    arena_init(&arena, 4096);
    for (unsigned i = 0; i < 2; i++) {
        const char *end = i ? "encoded" : "records";
        struct span_record alone = span_by(end, &limits, &with_set, NULL, 0, &arena);
        assert_int_equal(alone.attribute_count, 2);
        assert_string_equal(attribute_of(&alone, "name")->value.text, "common");
        struct span_record given = span_by(end, &limits, &with_both, NULL, 0, &arena);
        assert_int_equal(given.attribute_count, 2);
        assert_string_equal(attribute_of(&given, "name")->value.text, "mine");
        struct span_record later = span_by(end, &limits, &with_set, mine, 1, &arena);
        assert_int_equal(later.attribute_count, 2);
        assert_string_equal(attribute_of(&later, "name")->value.text, "mine");
        assert_int_equal(attribute_of(&later, "n")->value.integer, 1);
    }
    arena_done(&arena);
    otel_attribute_set_free(set);
}

static void test_a_link_to_nowhere_needs_something_to_tell(void **state)
{
    (void)state;
    start_with(&parent_based);
    struct trace_context nowhere = {0}, with_state = {.state = "a=1"};
    struct otel_span span;
    otel_span_start(&span, tracer, "links", NULL);
    otel_span_link(&span, &nowhere, NULL, 0);
    otel_span_link(&span, NULL, OTEL_LIST(otel_int("k", 1)));
    otel_span_link(&span, &with_state, NULL, 0);
    otel_span_link(&span, &nowhere, OTEL_LIST(otel_int("k", 1)));
    otel_span_end(&span);
    const struct span_record *record = exported_span();
    assert_int_equal(record->link_count, 2);
    assert_string_equal(record->links[0].state, "a=1");
    assert_int_equal(record->links[1].attribute_count, 1);
    assert_int_equal(record->links_dropped, 0);
    release_span();
}

static void test_a_large_span_leaves_nothing_to_the_next(void **state)
{
    (void)state;
    start_with(&parent_based);
    char large[10000];
    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = '\0';
    for (int i = 0; i < 40; i++) { /* more than a thread has in hand */
        struct otel_span span;
        otel_span_start(&span, tracer, "large", NULL);
        for (int k = 0; k < 20; k++) {
            char key[16];
            snprintf(key, sizeof key, "key %d", k);
            otel_span_set(&span, otel_text(key, i % 2 ? "small" : large));
            otel_span_event(&span, key, NULL, 0);
        }
        otel_span_status(&span, OTEL_STATUS_ERROR, i % 2 ? NULL : "large");
        otel_span_end(&span);
        const struct span_record *record = exported_span();
        assert_int_equal(record->attribute_count, 20);
        assert_int_equal(record->attributes[19].value.count, i % 2 ? 5 : sizeof large - 1);
        assert_int_equal(record->event_count, 20);
        assert_int_equal(record->status_message == NULL, i % 2);
        release_span();
    }
}

/* --- the current span */

static void test_entering_makes_a_span_current_until_its_end(void **state)
{
    (void)state;
    start_with(&parent_based);
    test_exporter_at(0)->let_go = true;
    struct otel_span outer, inner;
    assert_null(otel_span_current());
    otel_span_start(&outer, tracer, "outer", NULL);
    assert_null(otel_span_current());
    otel_span_enter(&outer);
    otel_span_enter(&outer); /* again is no harm */
    assert_ptr_equal(otel_span_current(), &outer);
    otel_span_start(&inner, tracer, "inner", NULL);
    assert_memory_equal(inner.context.trace_id, outer.context.trace_id, 16);
    otel_span_enter(&inner);
    assert_ptr_equal(otel_span_current(), &inner);
    otel_span_end(&inner);
    assert_ptr_equal(otel_span_current(), &outer);
    otel_span_end(&outer);
    assert_null(otel_span_current());
    traces_stop(clock_now_ns());
}

static void test_spans_may_end_in_any_order(void **state)
{
    (void)state;
    struct otel_span spans[3];
    for (int i = 0; i < 3; i++) {
        otel_span_start(&spans[i], tracer, "span", NULL);
        otel_span_enter(&spans[i]);
    }
    otel_span_end(&spans[1]);
    assert_ptr_equal(otel_span_current(), &spans[2]);
    otel_span_end(&spans[0]);
    assert_ptr_equal(otel_span_current(), &spans[2]);
    otel_span_end(&spans[2]);
    assert_null(otel_span_current());
}

struct wanderer {
    unsigned number;
    bool *failed;
};

static void wander(void *arg)
{
    struct wanderer *wanderer = arg;
    struct otel_span outer, inner;
    otel_span_start(&outer, tracer, "outer", NULL);
    otel_span_enter(&outer);
    for (unsigned i = 0; i < 10 + wanderer->number; i++) {
        fiber_yield();
        otel_span_start(&inner, tracer, "inner", NULL);
        otel_span_enter(&inner);
        fiber_yield();
        *wanderer->failed |=
            otel_span_current() != &inner || memcmp(inner.context.trace_id, outer.context.trace_id, 16);
        otel_span_end(&inner);
        fiber_yield();
        *wanderer->failed |= otel_span_current() != &outer;
    }
    otel_span_end(&outer);
    *wanderer->failed |= otel_span_current() != NULL;
}

static void wander_together(struct request *req, void *arg)
{
    enum { WANDERERS = 5 };
    struct wanderer wanderers[WANDERERS];
    for (unsigned i = 0; i < WANDERERS; i++) {
        wanderers[i] = (struct wanderer){i, arg};
        fiber_start(req->worker->loop, wander, &wanderers[i]);
    }
    while (fiber_count(req->worker->loop) > 1)
        fiber_yield();
}

static void test_each_fiber_has_its_own_current_span(void **state)
{
    (void)state;
    bool failed = false;
    test_exporters_begin(true, NULL);
    start_with(&parent_based);
    test_in_fiber(NULL, wander_together, &failed);
    assert_false(failed);
}

/* --- without an SDK */

static void test_without_an_sdk_the_parents_context_goes_on(void **state)
{
    (void)state;
    struct trace_context parent = remote_parent(1, "a=1");
    parent.baggage = "k=v";
    struct otel_span span, child, root;
    assert_false(otel_tracer_enabled(tracer));
    otel_span_start(&root, tracer, "root", NULL);
    assert_false(trace_valid(&root.context));
    assert_false(otel_span_recording(&root));
    otel_span_start(&span, tracer, "child", &(struct otel_span_options){.parent = &parent});
    assert_memory_equal(span.context.span_id, parent.span_id, 8);
    assert_int_equal(span.context.flags, 1);
    assert_ptr_equal(span.context.state, parent.state);
    assert_true(span.context.remote);
    otel_span_start(&child, tracer, "grandchild", &(struct otel_span_options){.parent = &span.context});
    otel_span_end(&span);
    assert_string_equal(child.context.state, "a=1");
    assert_string_equal(child.context.baggage, "k=v");
    otel_span_set(&child, otel_int("k", 1));
    otel_span_end(&child);
    otel_span_end(&root);
}

static void test_a_span_that_outlives_the_sdk_ends_quietly(void **state)
{
    (void)state;
    start_with(&parent_based);
    assert_true(otel_tracer_enabled(tracer));
    struct otel_span span;
    otel_span_start(&span, tracer, "long", NULL);
    assert_true(traces_stop(soon()));
    assert_false(otel_tracer_enabled(tracer));
    otel_span_set(&span, otel_int("k", 1));
    otel_span_end(&span);
    assert_int_equal(test_exporter_at(0)->items, 0);
    assert_true(traces_stop(soon()));
    assert_true(traces_flush(soon()));
}

static void test_without_processors_spans_have_ids_all_the_same(void **state)
{
    (void)state;
    struct sdk_settings settings = settings_with(&parent_based, &limits);
    settings.span_processor_count = 0;
    commit(&settings);
    struct otel_span span;
    assert_false(otel_tracer_enabled(tracer));
    otel_span_start(&span, tracer, "span", NULL);
    assert_true(trace_valid(&span.context));
    assert_int_equal(span.context.flags, 3);
    otel_span_end(&span);
}

/* --- samplers */

static bool sampled(const struct sampler_settings *sampler, const struct trace_context *parent)
{
    struct arena arena;
    struct sampling sampling;
    arena_init(&arena, 256);
    struct sampling_question question = {.parent = parent,
                                         .trace_id = parent->trace_id,
                                         .is_root = !trace_valid(parent),
                                         .is_random = parent->flags & 2};
    sampler_ask(sampler_new(&arena, sampler), &question, &sampling);
    arena_done(&arena);
    return sampling.decision & SAMPLING_RECORD;
}

static void test_parent_based_asks_the_delegate_of_the_parent(void **state)
{
    (void)state;
    struct trace_context parents[5] = {{{0}}};
    for (int i = 1; i < 5; i++) {
        parents[i] = remote_parent(i % 2 ? 1 : 0, NULL);
        parents[i].remote = i <= 2;
    }
    const struct sampler_settings *delegates[5]; /* root, remote sampled, remote not, local sampled, local not */
    for (int wanted = 0; wanted < 5; wanted++) {
        for (int i = 0; i < 5; i++)
            delegates[i] = i == wanted ? &on : &off;
        struct sampler_settings sampler = {SAMPLER_PARENT_BASED, 0,           delegates[0], delegates[1], delegates[2],
                                           delegates[3],         delegates[4]};
        for (int i = 0; i < 5; i++)
            assert_int_equal(sampled(&sampler, &parents[i]), i == wanted);
    }
}

static void test_a_ratio_samples_its_share_and_a_greater_one_all_of_that(void **state)
{
    (void)state;
    enum { TRACES = 20000 };
    const double ratios[] = {0, 0.001, 0.25, 0.5, 0.75, 1};
    unsigned counts[6] = {0};
    for (int i = 0; i < TRACES; i++) {
        struct trace_context root = {.flags = 2};
        bool before = false;
        id_trace(root.trace_id);
        for (int r = 0; r < 6; r++) {
            struct sampler_settings sampler = {.kind = SAMPLER_TRACE_ID_RATIO, .ratio = ratios[r]};
            bool now = sampled(&sampler, &root);
            assert_true(now || !before);
            counts[r] += now;
            before = now;
        }
    }
    for (int r = 0; r < 6; r++) /* six standard deviations */
        assert_true(fabs(counts[r] - TRACES * ratios[r]) <= 6 * sqrt(TRACES * ratios[r] * (1 - ratios[r])));
}

static void test_a_ratio_looks_at_the_trace_id_only(void **state)
{
    (void)state;
    struct sampler_settings quarter = {.kind = SAMPLER_TRACE_ID_RATIO, .ratio = 0.25};
    struct trace_context parent = remote_parent(0, "ot=rv:ffffffffffffff");
    memcpy(parent.trace_id + 9, "\xbf\xff\xff\xff\xff\xff\xff", 7);
    assert_false(sampled(&quarter, &parent));
    memcpy(parent.trace_id + 9, "\xc0\0\0\0\0\0\0", 7);
    assert_true(sampled(&quarter, &parent));
    parent.state = "ot=rv:00000000000000";
    assert_true(sampled(&quarter, &parent));
}

/* The threshold in a span's tracestate, or what else it says. */
static void assert_state(double ratio, const char *state, const char *expected)
{
    start_with(&(struct sampler_settings){.kind = SAMPLER_PROBABILITY, .ratio = ratio});
    struct trace_context parent = remote_parent(2, state);
    memset(parent.trace_id + 9, 0xff, 7); /* without rv: sampled whenever anything is */
    struct otel_span span;
    otel_span_start(&span, tracer, "span", &(struct otel_span_options){.parent = &parent});
    if (expected)
        assert_string_equal(span.context.state, expected);
    else
        assert_null(span.context.state);
    assert_int_equal(otel_span_recording(&span), span.context.flags & 1);
    traces_stop(clock_now_ns());
    otel_span_end(&span);
    assert_true(!span.context.state || span.context.state == state); /* what was the SDK's is gone */
}

static void test_thresholds_are_those_of_the_specification(void **state)
{
    (void)state;
    /* probability, precision 4: the table of tracestate-probability-sampling */
    assert_state(1, NULL, "ot=th:0");
    assert_state(0.5, NULL, "ot=th:8");
    assert_state(1 / 3., NULL, "ot=th:aaab");
    assert_state(0.25, NULL, "ot=th:c");
    assert_state(0.2, NULL, "ot=th:cccd");
    assert_state(0.1, NULL, "ot=th:e666");
    assert_state(0.0625, NULL, "ot=th:f");
    assert_state(0.01, NULL, "ot=th:fd70a");
    assert_state(0.001, NULL, "ot=th:ffbe77");
    assert_state(0.0001, NULL, "ot=th:fff9724");
    assert_state(0.00001, NULL, "ot=th:ffff583a");
    assert_state(0.000001, NULL, "ot=th:ffffef39");
    assert_state(0.99, NULL, "ot=th:028f");
    assert_state(0x1p-56, NULL, "ot=th:ffffffffffffff");
    assert_state(0, NULL, NULL);
}

static void test_the_tracestate_of_others_stays(void **state)
{
    (void)state;
    assert_state(0.5, "vendor=1,other=2", "ot=th:8,vendor=1,other=2");
    assert_state(0.5, "vendor=1, ot=th:c;k1:13,other=2", "ot=k1:13;th:8,vendor=1,other=2");
    assert_state(0.5, "ot=rv:80000000000000;th:c", "ot=rv:80000000000000;th:8");
    assert_state(0.5, "ot=th:4;rv:7fffffffffffff;x:1,vendor=1", "ot=rv:7fffffffffffff;x:1,vendor=1");
    assert_state(0.5, "ot=rv:7fffffffffffff", "ot=rv:7fffffffffffff");
    assert_state(0.5, "ot=th:4;rv:0000000000000", "ot=rv:0000000000000;th:8"); /* a digit short: no rv */
    assert_state(0.5, "ot=rv:7FFFFFFFFFFFFF", "ot=rv:7FFFFFFFFFFFFF;th:8");
    assert_state(0, "ot=th:4", NULL);
    assert_state(0, "a=1", "a=1");
    assert_state(0.5, "ot=a=b", "ot=th:8"); /* malformed */
}

static void test_a_threshold_that_has_no_room_is_left_out(void **state)
{
    (void)state;
    char full[300] = "ot=x:", grown[300];
    size_t length = strlen(full);
    memset(full + length, 'a', 250);
    full[length + 250] = '\0';
    strcpy(grown, full);
    assert_state(0.25, full, grown);
}

static void test_unsampled_spans_have_ids_of_their_own(void **state)
{
    (void)state;
    start_with(&off);
    struct otel_span span, child;
    struct trace_context parent = remote_parent(3, "a=1");
    otel_span_start(&span, tracer, "span", &(struct otel_span_options){.parent = &parent});
    assert_memory_equal(span.context.trace_id, parent.trace_id, 16);
    assert_memory_not_equal(span.context.span_id, parent.span_id, 8);
    assert_int_equal(span.context.flags, 2);
    assert_false(otel_span_recording(&span));
    otel_span_start(&child, tracer, "child", &(struct otel_span_options){.parent = &span.context});
    otel_span_end(&span);
    assert_string_equal(child.context.state, "a=1");
    otel_span_end(&child);
    assert_true(traces_flush(soon()));
    assert_int_equal(test_exporter_items(test_exporter_at(0)), 0);
}

/* --- ids */

static void test_ids_differ_also_in_a_child_process(void **state)
{
    (void)state;
    uint8_t own[16], theirs[16];
    int pipes[2];
    id_trace(own);
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        id_trace(theirs);
        _exit(write(pipes[1], theirs, sizeof theirs) == sizeof theirs ? 0 : 1);
    }
    assert_int_equal(read(pipes[0], theirs, sizeof theirs), sizeof theirs);
    waitpid(pid, NULL, 0);
    id_trace(own);
    assert_memory_not_equal(own, theirs, sizeof own);
    close(pipes[0]);
    close(pipes[1]);
}

/* --- time */

static void test_the_time_of_spans_is_the_wall_clocks(void **state)
{
    (void)state;
    wall_init();
    struct moment first = wall_now();
    int64_t start_ns = clock_now_ns();
    for (int i = 0; i < 30; i++) { /* beyond some measurements */
        usleep(20000);
        int64_t before = clock_wall_ns(), now = wall_now().wall_ns, after = clock_wall_ns();
        assert_true(now >= before - NS_PER_MS && now <= after + NS_PER_MS);
        before = clock_wall_ns();
        now = wall_of(clock_now_ns());
        after = clock_wall_ns();
        assert_true(now >= before - NS_PER_MS && now <= after + NS_PER_MS);
    }
    assert_int_equal(wall_of(start_ns + 5) - wall_of(start_ns), 5);
    int64_t elapsed_ns = wall_since(first.wall_ns, first.ticks) - first.wall_ns;
    int64_t really_ns = clock_now_ns() - start_ns;
    assert_true(llabs(elapsed_ns - really_ns) <= really_ns / 100);
    assert_true(wall_since(1, UINT64_MAX) > first.wall_ns); /* ticks that went back */
}

/* --- swapping pipelines */

static void end_one(void)
{
    struct otel_span span;
    otel_span_start(&span, tracer, "span", NULL);
    otel_span_end(&span);
}

static void test_a_new_sampler_leaves_processors_and_queues_alone(void **state)
{
    (void)state;
    struct processor_settings batch = {.batch = true,
                                       .schedule_delay_ms = 3600 * 1000,
                                       .export_timeout_ms = 1000,
                                       .max_queue_size = 16,
                                       .max_export_batch_size = 4};
    struct sdk_settings settings = settings_with(&parent_based, &limits);
    settings.span_processors = &batch;
    commit(&settings);
    end_one();
    settings.sampler = off;
    struct processor_settings equal = batch;
    settings.span_processors = &equal;
    commit(&settings);
    end_one();
    settings.sampler = on;
    commit(&settings);
    end_one();
    end_one();
    end_one();
    assert_int_equal(test_export_await(test_exporter_at(0))->count, 4);
    assert_null(test_exporter_at(0)->next); /* no other was opened */
    release_span();
}

static void test_a_replaced_processor_sends_what_it_holds(void **state)
{
    (void)state;
    test_exporters_begin(true, NULL);
    struct processor_settings batch = {.batch = true,
                                       .schedule_delay_ms = 3600 * 1000,
                                       .export_timeout_ms = 1000,
                                       .max_queue_size = 16,
                                       .max_export_batch_size = 16,
                                       .exporter.endpoint = "one"};
    struct sdk_settings settings = settings_with(&parent_based, &limits);
    settings.span_processors = &batch;
    commit(&settings);
    end_one();
    batch.exporter.endpoint = "two";
    commit(&settings);
    assert_int_equal(test_exporter_at(0)->items, 1);
    assert_true(test_exporter_at(0)->freed);
    end_one();
    assert_true(traces_stop(soon()));
    assert_int_equal(test_exporter_at(1)->items, 1);
}

static void test_a_pipeline_that_cannot_be_made_changes_nothing(void **state)
{
    (void)state;
    test_exporters_begin(true, NULL);
    start_with(&parent_based);
    struct processor_settings two[] = {{.exporter.endpoint = "good"}, {.exporter.endpoint = "refused"}};
    struct sdk_settings settings = settings_with(&parent_based, &limits);
    settings.span_processors = two;
    settings.span_processor_count = 2;
    assert_null(traces_prepare(&settings, &resource, message, sizeof message));
    assert_string_equal(message, "exporter: refused");
    assert_true(test_exporter_at(1)->freed);
    settings.span_processor_count = 1;
    struct traces_pipeline *pipeline = traces_prepare(&settings, &resource, message, sizeof message);
    traces_discard(pipeline);
    assert_true(test_exporter_at(2)->freed);
    settings.span_processors = &simple; /* as it runs */
    traces_discard(traces_prepare(&settings, &resource, message, sizeof message));
    assert_false(test_exporter_at(0)->freed);
    end_one();
    assert_true(traces_flush(soon()));
    assert_int_equal(test_exporter_items(test_exporter_at(0)), 1);
}

static void test_every_processor_gets_every_span(void **state)
{
    (void)state;
    test_exporters_begin(true, NULL);
    struct processor_settings three[] = {
        {.exporter.endpoint = "one"},
        {.batch = true, .schedule_delay_ms = 5, .max_queue_size = 64, .max_export_batch_size = 8},
        {.exporter.endpoint = "three"}};
    struct sdk_settings settings = settings_with(&parent_based, &limits);
    settings.span_processors = three;
    settings.span_processor_count = 3;
    commit(&settings);
    for (int i = 0; i < 50; i++)
        end_one();
    assert_true(traces_flush(soon()));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(test_exporter_items(test_exporter_at(i)), 50);
}

static void test_records_and_encoded_ones_reach_those_who_take_them(void **state)
{
    (void)state;
    struct processor_settings four[] = {{.exporter.endpoint = "one"},
                                        {.exporter.endpoint = "encoded"},
                                        {.exporter.endpoint = "three"},
                                        {.batch = true,
                                         .schedule_delay_ms = 5,
                                         .max_queue_size = 64,
                                         .max_export_batch_size = 8,
                                         .exporter.endpoint = "encoded as well"}};
    struct sdk_settings settings = settings_with(&parent_based, &limits);
    test_exporters_begin(true, NULL);
    settings.span_processors = four;
    settings.span_processor_count = 4;
    commit(&settings);
    for (int i = 0; i < 50; i++)
        end_one();
    assert_true(traces_flush(soon()));
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(test_exporter_items(test_exporter_at(i)), 50);
}

static const struct processor_settings waiting = {
    .batch = true, .schedule_delay_ms = 3600 * 1000, .max_queue_size = 64, .max_export_batch_size = 64};

/* What one span says when it was left in the queue of one exporter and leaves by another. */
static const struct export_batch *left_to(const char *first, const char *second)
{
    struct processor_settings old = waiting, heir = {.exporter.endpoint = second};
    struct sdk_settings settings = settings_with(&parent_based, &limits);
    old.exporter.endpoint = first;
    settings.span_processors = &old;
    commit(&settings);
    struct otel_span span;
    otel_span_start(&span, tracer, "left behind", NULL);
    otel_span_set(&span, otel_text("key", "value"));
    otel_span_end(&span);
    settings.span_processors = &heir;
    struct traces_pipeline *pipeline = traces_prepare(&settings, &resource, message, sizeof message);
    assert_non_null(pipeline);
    traces_commit(pipeline, clock_now_ns());
    const struct export_batch *batch = test_export_await(test_exporter_at(1));
    assert_int_equal(batch->count, 1);
    return batch;
}

static void test_an_encoded_span_that_was_left_behind_is_read_back(void **state)
{
    (void)state;
    const struct export_batch *batch = left_to("encoded", "records");
    assert_false(batch->encoded);
    assert_string_equal(batch->spans[0]->name, "left behind");
    assert_string_equal(attribute_of(batch->spans[0], "key")->value.text, "value");
    test_export_end(test_exporter_at(1));
}

static void test_a_span_that_was_left_behind_is_encoded(void **state)
{
    (void)state;
    const struct export_batch *batch = left_to("records", "encoded");
    assert_true(batch->encoded);
    assert_ptr_equal(batch->records[0]->scope, tracer);
    test_export_end(test_exporter_at(1));
}

/* Nobody makes a record that all would turn away. */
static void test_a_span_that_finds_all_queues_full_is_counted(void **state)
{
    (void)state;
    struct processor_settings full = {.batch = true,
                                      .schedule_delay_ms = 3600 * 1000,
                                      .max_queue_size = 4,
                                      .max_export_batch_size = 1,
                                      .exporter.endpoint = "encoded"};
    struct sdk_settings settings = settings_with(&parent_based, &limits);
    settings.span_processors = &full;
    commit(&settings);
    end_one();
    test_export_await(test_exporter_at(0));
    for (int i = 0; i < 4; i++)
        end_one();
    const struct processors *set = &atomic_load(&traces_current)->processors;
    assert_true(batch_is_full(set->batches[0]));
    assert_false(processors_want_encoded(set));
    end_one();
    for (int i = 0; i < 5; i++) {
        test_export_await(test_exporter_at(0));
        test_export_end(test_exporter_at(0));
    }
    assert_int_equal(test_exporter_items(test_exporter_at(0)), 5);
}

static void test_a_record_lives_until_its_last_processor_is_done(void **state)
{
    (void)state;
    enum { OTHERS = 40 };
    struct processor_settings two[] = {{.exporter.endpoint = "one"}, {.exporter.endpoint = "two"}};
    struct sdk_settings settings = settings_with(&parent_based, &limits);
    struct otel_span others[OTHERS];
    settings.span_processors = two;
    settings.span_processor_count = 2;
    commit(&settings);
    end_one();
    exported_span();
    release_span();
    for (int i = 0; i < OTHERS; i++)
        otel_span_start(&others[i], tracer, "other", NULL);
    assert_string_equal(test_export_await(test_exporter_at(1))->spans[0]->name, "span");
    test_export_end(test_exporter_at(1));
    traces_stop(clock_now_ns());
    for (int i = 0; i < OTHERS; i++)
        otel_span_end(&others[i]);
}

/* --- all at the same time */

enum { WORKERS = 3, SPANS = 3000, SWAPS = 60 };

static atomic_uint seen, bad;

static void look_at_spans(const struct export_batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++) {
        const struct span_record *record = batch->spans[i];
        const struct otel_attribute *number = attribute_of(record, "number");
        bool good = number && attribute_of(record, "text") && strcmp(record->name, "work") == 0 &&
                    attribute_of(record, "text")->value.count == (uint32_t)number->value.integer % 50;
        atomic_fetch_add(good ? &seen : &bad, 1);
    }
}

static void *work(void *arg)
{
    char text[51];
    memset(text, 'x', sizeof text);
    (void)arg;
    for (unsigned i = 0; i < SPANS; i++) {
        struct otel_span span;
        otel_span_start(&span, tracer, "work", NULL);
        otel_span_enter(&span);
        otel_span_set(&span, otel_int("number", i));
        otel_span_set(&span, (struct otel_attribute){"text", {.type = OTEL_TEXT, .count = i % 50, .text = text}});
        otel_span_event(&span, "event", OTEL_LIST(otel_int("i", i)));
        otel_span_end(&span);
    }
    return NULL;
}

static void test_no_span_is_lost_or_torn_while_pipelines_are_swapped(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"one", "two", "three"};
    test_exporters_begin(true, look_at_spans);
    struct processor_settings batch = {.batch = true,
                                       .schedule_delay_ms = 1,
                                       .export_timeout_ms = 10000,
                                       .max_queue_size = WORKERS * SPANS,
                                       .max_export_batch_size = 64,
                                       .exporter.endpoint = "one"};
    struct sdk_settings settings = settings_with(&on, &limits);
    settings.span_processors = &batch;
    commit(&settings);
    pthread_t workers[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_create(&workers[i], NULL, work, NULL);
    for (unsigned i = 0; i < SWAPS; i++) {
        batch.exporter.endpoint = endpoints[i / 2 % 3]; /* every other time just the sampler */
        settings.sampler = i % 2 ? on : parent_based;
        commit(&settings);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    assert_true(traces_stop(soon()));
    assert_int_equal(atomic_load(&seen), WORKERS * SPANS);
    assert_int_equal(atomic_load(&bad), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_a_span_tells_all_that_was_set),
        test(test_a_span_of_defaults_is_internal_and_bare),
        test(test_a_child_belongs_to_its_parents_trace),
        test(test_the_random_flag_is_the_parents),
        test(test_a_trace_id_without_a_span_id_makes_a_root_of_that_trace),
        test(test_no_parent_is_a_new_trace),
        test(test_ends_count_once_and_nothing_after_them),
        test(test_no_span_is_no_harm),
        test(test_times_may_be_given),
        test(test_ok_is_final_and_only_errors_have_a_description),
        test(test_an_exception_is_an_event),
        test(test_what_is_beyond_the_limits_is_counted),
        test(test_limits_of_nothing_allow_nothing),
        test(test_a_set_is_as_if_its_attributes_were_set),
        test(test_sets_given_later_are_as_if_their_attributes_were_set),
        test(test_a_name_that_lives_is_needed_to_the_end_and_no_longer),
        test(test_what_is_set_later_counts_more_than_a_set),
        test(test_a_link_to_nowhere_needs_something_to_tell),
        test(test_a_large_span_leaves_nothing_to_the_next),
        test(test_entering_makes_a_span_current_until_its_end),
        test(test_spans_may_end_in_any_order),
        test(test_each_fiber_has_its_own_current_span),
        test(test_without_an_sdk_the_parents_context_goes_on),
        test(test_a_span_that_outlives_the_sdk_ends_quietly),
        test(test_without_processors_spans_have_ids_all_the_same),
        test(test_parent_based_asks_the_delegate_of_the_parent),
        test(test_a_ratio_samples_its_share_and_a_greater_one_all_of_that),
        test(test_a_ratio_looks_at_the_trace_id_only),
        test(test_thresholds_are_those_of_the_specification),
        test(test_the_tracestate_of_others_stays),
        test(test_a_threshold_that_has_no_room_is_left_out),
        test(test_unsampled_spans_have_ids_of_their_own),
        test(test_ids_differ_also_in_a_child_process),
        test(test_the_time_of_spans_is_the_wall_clocks),
        test(test_a_new_sampler_leaves_processors_and_queues_alone),
        test(test_a_replaced_processor_sends_what_it_holds),
        test(test_a_pipeline_that_cannot_be_made_changes_nothing),
        test(test_every_processor_gets_every_span),
        test(test_records_and_encoded_ones_reach_those_who_take_them),
        test(test_an_encoded_span_that_was_left_behind_is_read_back),
        test(test_a_span_that_was_left_behind_is_encoded),
        test(test_a_span_that_finds_all_queues_full_is_counted),
        test(test_a_record_lives_until_its_last_processor_is_done),
        test(test_no_span_is_lost_or_torn_while_pipelines_are_swapped),
    };
    return cmocka_run_group_tests_name("otel trace", tests, NULL, NULL);
}
