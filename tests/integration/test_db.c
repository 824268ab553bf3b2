#include <arpa/inet.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/db.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/middleware.h"
#include "common/offload.h"
#include "support/collector.h"

static struct test_server server;

static const struct db_migration migrations[] = {
    {1, "001_things.sql",
     "create table things (id uuid primary key, name varchar(255) not null check (name <> 'bad'), n int);"
     "create unique index things_n on things (n);"},
    {2, "002_functions.sql",
     "create function raise_state(state text) returns int language plpgsql as $$ begin "
     "raise exception using errcode = state, message = 'raised on purpose', detail = 'secret detail'; end $$;"
     "create function slow(value text, seconds float8) returns text language plpgsql volatile as $$ begin "
     "perform pg_sleep(seconds); return value; end $$;"
     "create table odd_names (name varchar(10) not null);"
     "create table deferred (n int unique deferrable initially deferred);"},
};

/* --- the seam, as a middleware sees it */

static struct call last_call;
static unsigned calls_ended;
static char last_code[8];

static void remember_call(struct request *req, struct call *call, enum err err, void **state)
{
    (void)req;
    (void)err;
    (void)state;
    if (call->kind != CALL_DB)
        return;
    last_call = *call;
    calls_ended++;
    snprintf(last_code, sizeof last_code, "%s", call->code ? call->code : "");
}

static const struct middleware remember = {.name = "remember", .end = remember_call};

static int open_server(void **state)
{
    (void)state;
    char message[256] = "";
    log_init(NULL, LOG_OFF);
    middleware_use(&remember);
    test_postgres_open(&server);
    if (db_migrate(&(const struct db_settings){.url = server.url, .connect_timeout_ms = 5000}, migrations,
                   array_count(migrations), message, sizeof message)) {
        fprintf(stderr, "%s\n", message);
        return 1;
    }
    return 0;
}

static int close_server(void **state)
{
    (void)state;
    test_postgres_close(&server);
    return 0;
}

/* --- a database in a loop, and many fibers in it */

static struct db_settings usual(void)
{
    return (struct db_settings){.url = server.url,
                                .connections = 2,
                                .transactions = 2,
                                .queue_max = 1000,
                                .statement_timeout_ms = 5000,
                                .connect_timeout_ms = 5000};
}

static void with_settings(const struct db_settings *settings, void (*fn)(struct request *req, void *arg), void *arg)
{
    struct worker worker = {.loop = loop_new()};
    worker.db = db_open(worker.loop, settings);
    assert_non_null(worker.db);
    test_in_fiber(&worker, fn, arg);
    db_close(worker.db);
    loop_free(worker.loop);
}

struct visit {
    void (*fn)(struct request *req, void *arg);
    struct worker *worker;
};

/* What still runs in the pool is told to the loop before both end. */
static void visit_and_close(struct request *req, void *arg)
{
    struct visit *visit = arg;
    visit->fn(req, visit->worker);
    db_close(visit->worker->db);
    while (fiber_count(visit->worker->loop) > 1)
        fiber_sleep_until(clock_now_ns() + NS_PER_MS);
}

/* The offload pool ends before the loop that it posts to. */
static void with_look_ups(const struct db_settings *settings, void (*fn)(struct request *req, void *arg))
{
    struct worker worker = {.loop = loop_new()};
    struct visit visit = {fn, &worker};
    offload_start(1, 16);
    worker.db = db_open(worker.loop, settings);
    assert_non_null(worker.db);
    test_in_fiber(&worker, visit_and_close, &visit);
    offload_stop();
    loop_free(worker.loop);
}

static void with_db(void (*fn)(struct request *req, void *arg))
{
    struct db_settings settings = usual();
    with_settings(&settings, fn, NULL);
}

static void with_one_connection(void (*fn)(struct request *req, void *arg))
{
    struct db_settings settings = usual();
    settings.connections = settings.transactions = 1;
    with_settings(&settings, fn, NULL);
}

struct crowd {
    unsigned running;
    struct fiber_wait ended;
};

struct member {
    struct crowd *crowd;
    struct request req;
    struct arena arena;
    void (*fn)(struct member *member);
    unsigned number;
    enum err err;
    void *arg;
};

static void run_member(void *arg)
{
    struct member *member = arg;
    member->fn(member);
    if (--member->crowd->running == 0)
        fiber_wake(&member->crowd->ended, ERR_OK);
}

static struct member *crowd_start(struct request *req, struct crowd *crowd, unsigned count,
                                  void (*fn)(struct member *member))
{
    struct member *members = mem_array(count, sizeof *members);
    *crowd = (struct crowd){.running = count};
    for (unsigned i = 0; i < count; i++) {
        members[i].crowd = crowd;
        members[i].fn = fn;
        members[i].number = i;
        arena_init(&members[i].arena, 1024);
        request_init(&members[i].req, &members[i].arena, req->worker);
        members[i].req.deadline_ns = req->deadline_ns;
        fiber_start(req->worker->loop, run_member, &members[i]);
    }
    return members;
}

static void crowd_end(struct crowd *crowd, struct member *members, unsigned count)
{
    assert_int_equal(fiber_wait(&crowd->ended, CLOCK_NEVER), ERR_OK);
    for (unsigned i = 0; i < count; i++)
        arena_done(&members[i].arena);
    free(members);
}

static unsigned errors_of(const struct member *members, unsigned count, enum err err)
{
    unsigned errors = 0;
    for (unsigned i = 0; i < count; i++)
        errors += members[i].err == err;
    return errors;
}

/* --- statements */

static const struct db_statement clear_things = {"clear_things", "DELETE things", "delete from things", "", "", 0};
static const struct db_statement count_things = {
    "count_things", "SELECT things", "select count(*) from things", "", "l", 0};
static const struct db_statement update_things = {
    "update_things", "UPDATE things", "update things set n = 1 where false", "", "", 0};
static const struct db_statement thing_add = {
    "thing_add", "INSERT things", "insert into things (id, name, n) values ($1, $2, $3)", "uti", "", 0};
static const struct db_statement thing_name = {
    "thing_name", "SELECT things", "select name from things where id = $1", "u", "t", 0};
static const struct db_statement thing_named = {
    "thing_named", "SELECT things", "select id from things where name = $1", "t", "u", 0};
static const struct db_statement sleep_for = {"sleep_for", "SELECT", "select slow($1, $2::text::float8)", "tt", "t", 0};
static const struct db_statement echo_int = {"echo_int", "SELECT", "select $1 + 1", "i", "i", 0};
static const struct db_statement raise_error = {"raise_error", "SELECT", "select raise_state($1)", "t", "i", 0};
static const struct db_statement backend = {"backend", "SELECT", "select pg_backend_pid()", "", "i", 0};
static const struct db_statement kill_backend = {
    "kill_backend", "SELECT", "select pg_terminate_backend($1)", "i", "b", 0};
static const struct db_statement things_share = {
    "things_share",
    "INSERT things",
    "with given as (select * from unnest($1::uuid[], $2::text[], $3::int[]) with ordinality as g (id, name, n, ord)), "
    "added as (insert into things (id, name, n) select id, name, n from given returning id, name) "
    "select ord, added.id, added.name from added join given using (id)",
    "uti",
    "ut",
    16};

static int64_t things(struct request *req)
{
    struct db_rows rows;
    assert_int_equal(db_query(req, &count_things, DB_NO_PARAMS, &rows), ERR_OK);
    return db_get_int8(&rows, 0, 0);
}

static void clear(struct request *req)
{
    assert_int_equal(db_query(req, &clear_things, DB_NO_PARAMS, NULL), ERR_OK);
}

static enum err add_thing(struct request *req, struct uuid id, const char *name, int n)
{
    return db_query(req, &thing_add, DB_PARAMS(db_uuid(id), db_text(name), db_int4(n)), NULL);
}

static struct db_stats stats(struct request *req)
{
    return db_stats(req->worker->db);
}

static void wait_in_flight(struct request *req, unsigned count)
{
    while (stats(req).in_flight < count && clock_now_ns() < req->deadline_ns)
        fiber_sleep_until(clock_now_ns() + NS_PER_MS);
    assert_true(stats(req).in_flight >= count);
}

/* --- values */

static void every_type(struct request *req, void *arg)
{
    (void)arg;
    static const struct db_statement echo = {
        "echo_all",
        "SELECT",
        "select $1::uuid, $2::text, $3::int4, $4::int8, $5::bool, $6::timestamptz, $7::jsonb, $2::varchar, $2::name",
        "utilbzj",
        "utilbzjtt",
        0};
    struct uuid id = uuid_v7();
    struct db_rows rows;
    int64_t time = INT64_C(1785000000123456000);
    assert_int_equal(db_query(req, &echo,
                              DB_PARAMS(db_uuid(id), db_text("héllo"), db_int4(-7), db_int8(INT64_MIN), db_bool(true),
                                        db_time(time), db_json("{\"a\": [1, null]}")),
                              &rows),
                     ERR_OK);
    assert_int_equal(rows.count, 1);
    assert_true(uuid_equal(db_get_uuid(&rows, 0, 0), id));
    assert_string_equal(db_get_text(&rows, 0, 1), "héllo");
    assert_int_equal(db_get_int4(&rows, 0, 2), -7);
    assert_true(db_get_int8(&rows, 0, 3) == INT64_MIN);
    assert_true(db_get_bool(&rows, 0, 4));
    assert_true(db_get_time(&rows, 0, 5) == time);
    assert_string_equal(db_get_text(&rows, 0, 6), "{\"a\": [1, null]}");
    assert_string_equal(db_get_text(&rows, 0, 7), "héllo");
    assert_string_equal(db_get_text(&rows, 0, 8), "héllo");
    assert_false(db_is_null(&rows, 0, 0));

    assert_int_equal(db_query(req, &echo,
                              DB_PARAMS(db_null('u'), db_text(NULL), db_null('i'), db_null('l'), db_null('b'),
                                        db_null('z'), db_null('j')),
                              &rows),
                     ERR_OK);
    for (unsigned i = 0; i < 9; i++)
        assert_true(db_is_null(&rows, 0, i));
    assert_null(db_get_text(&rows, 0, 1));
    assert_int_equal(db_get_int4(&rows, 0, 2), 0);
    assert_true(db_get_time(&rows, 0, 5) == 0);
}

static void test_every_type_comes_back_as_it_was_sent(void **state)
{
    (void)state;
    with_db(every_type);
}

static void server_times(struct request *req, void *arg)
{
    (void)arg;
    static const struct db_statement as_text = {
        "time_text", "SELECT", "select to_char($1 at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), $1 = 'infinity'",
        "z",         "tb",     0};
    static const struct db_statement infinite = {
        "time_infinite",
        "SELECT",
        "select 'infinity'::timestamptz, '-infinity'::timestamptz, '4000-01-01'::timestamptz",
        "",
        "zzz",
        0};
    struct db_rows rows;
    assert_int_equal(db_query(req, &as_text, DB_PARAMS(db_time(-1)), &rows), ERR_OK);
    assert_string_equal(db_get_text(&rows, 0, 0), "1969-12-31 23:59:59.999999");
    assert_int_equal(db_query(req, &as_text, DB_PARAMS(db_time(INT64_MAX)), &rows), ERR_OK);
    assert_true(db_get_bool(&rows, 0, 1));
    assert_int_equal(db_query(req, &infinite, DB_NO_PARAMS, &rows), ERR_OK);
    assert_true(db_get_time(&rows, 0, 0) == INT64_MAX);
    assert_true(db_get_time(&rows, 0, 1) == INT64_MIN);
    assert_true(db_get_time(&rows, 0, 2) == INT64_MAX);
}

static void test_times_agree_with_the_servers_calendar(void **state)
{
    (void)state;
    with_db(server_times);
}

static void arrays(struct request *req, void *arg)
{
    (void)arg;
    static const struct db_statement unnest = {
        "unnest_all", "SELECT", "select * from unnest($1::uuid[], $2::text[], $3::int4[], $4::int8[])",
        "UTIL",       "util",   0};
    struct uuid ids[] = {uuid_v7(), uuid_v7(), uuid_v7()};
    const char *texts[] = {"one", NULL, ""};
    int32_t int4s[] = {1, -2, INT32_MAX};
    int64_t int8s[] = {INT64_MAX, 0, -1};
    struct db_rows rows;
    assert_int_equal(db_query(req, &unnest,
                              DB_PARAMS(db_uuids(ids, 3), db_texts(texts, 3), db_int4s(int4s, 3), db_int8s(int8s, 3)),
                              &rows),
                     ERR_OK);
    assert_int_equal(rows.count, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(uuid_equal(db_get_uuid(&rows, i, 0), ids[i]));
        assert_int_equal(db_get_int4(&rows, i, 2), int4s[i]);
        assert_true(db_get_int8(&rows, i, 3) == int8s[i]);
    }
    assert_string_equal(db_get_text(&rows, 0, 1), "one");
    assert_true(db_is_null(&rows, 1, 1));
    assert_string_equal(db_get_text(&rows, 2, 1), "");

    assert_int_equal(
        db_query(req, &unnest, DB_PARAMS(db_uuids(NULL, 0), db_texts(NULL, 0), db_int4s(NULL, 0), db_null('L')), &rows),
        ERR_OK);
    assert_int_equal(rows.count, 0);
}

static void test_arrays_arrive_with_nulls_and_empty(void **state)
{
    (void)state;
    with_db(arrays);
}

static void large_values(struct request *req, void *arg)
{
    (void)arg;
    static const struct db_statement repeat = {"repeat", "SELECT", "select $1 from generate_series(1, 20)",
                                               "t",      "t",      0};
    size_t size = 300000;
    char *text = mem_alloc(size + 1);
    memset(text, 'x', size);
    struct db_rows rows;
    for (unsigned round = 0; round < 3; round++) {
        assert_int_equal(db_query(req, &repeat, DB_PARAMS(db_text(text)), &rows), ERR_OK);
        assert_int_equal(rows.count, 20);
        for (unsigned i = 0; i < rows.count; i++)
            assert_int_equal(strlen(db_get_text(&rows, i, 0)), size);
    }
    free(text);
}

static void test_values_larger_than_any_buffer_pass(void **state)
{
    (void)state;
    with_db(large_values);
}

static void large_in_crowd(struct member *member)
{
    static const struct db_statement length = {"length", "SELECT", "select length($1)", "t", "i", 0};
    size_t size = 200000;
    char *text = arena_alloc(&member->arena, size + 1);
    memset(text, 'y', size);
    struct db_rows rows;
    member->err = db_query(&member->req, &length, DB_PARAMS(db_text(text)), &rows);
    if (!member->err && db_get_int4(&rows, 0, 0) != (int)size)
        member->err = ERR_DATA_LOSS;
}

static void blocked_socket(struct request *req, void *arg)
{
    (void)arg;
    struct crowd crowd;
    struct member *members = crowd_start(req, &crowd, 60, large_in_crowd);
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    assert_int_equal(errors_of(members, 60, ERR_OK), 60);
    crowd_end(&crowd, members, 60);
}

static void test_more_than_the_socket_takes_is_sent_bit_by_bit(void **state)
{
    (void)state;
    with_one_connection(blocked_socket);
}

/* --- errors */

static void expect_state(struct request *req, const char *sqlstate, enum err expected)
{
    struct db_rows rows = {.count = 77};
    assert_int_equal(db_query(req, &raise_error, DB_PARAMS(db_text(sqlstate)), &rows), expected);
    assert_int_equal(rows.count, 77);
    assert_int_equal(req->failure.err, expected);
    assert_null(strstr(req->failure.detail, "select"));
    assert_null(strstr(req->failure.detail, "secret"));
}

static void error_codes(struct request *req, void *arg)
{
    (void)arg;
    struct uuid id = uuid_v7();
    clear(req);
    assert_int_equal(add_thing(req, id, "first", 1), ERR_OK);
    assert_int_equal(add_thing(req, id, "again", 2), ERR_ALREADY_EXISTS);
    assert_string_equal(req->failure.detail, "database error in thing_add");
    assert_int_equal(add_thing(req, uuid_v7(), "bad", 2), ERR_FAILED_PRECONDITION);
    assert_int_equal(add_thing(req, uuid_v7(), NULL, 2), ERR_FAILED_PRECONDITION);
    expect_state(req, "40001", ERR_ABORTED);
    expect_state(req, "40P01", ERR_ABORTED);
    expect_state(req, "57014", ERR_DEADLINE_EXCEEDED);
    expect_state(req, "53300", ERR_UNAVAILABLE);
    expect_state(req, "57P01", ERR_UNAVAILABLE);
    expect_state(req, "22012", ERR_INTERNAL);
    expect_state(req, "P0001", ERR_INTERNAL);
    assert_int_equal(things(req), 1);
}

static void test_sqlstates_become_our_errors_without_sql_or_values(void **state)
{
    (void)state;
    with_db(error_codes);
}

/* What fn logs, in a buffer. */
static void logged(void (*fn)(struct request *req, void *arg), char *out, size_t bytes)
{
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    log_init(NULL, LOG_INFO);
    with_db(fn);
    log_flush();
    log_init(NULL, LOG_OFF);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    out[fread(out, 1, bytes - 1, file)] = '\0';
    fclose(file);
}

static void log_errors(struct request *req, void *arg)
{
    (void)arg;
    static const struct db_statement parse = {"parse_int", "SELECT", "select $1::text::int", "t", "i", 0};
    db_query(req, &raise_error, DB_PARAMS(db_text("P0001")), NULL);
    db_query(req, &parse, DB_PARAMS(db_text("confidential")), NULL);
}

static void test_the_log_has_statement_and_sqlstate_but_no_values(void **state)
{
    (void)state;
    char text[4096];
    logged(log_errors, text, sizeof text);
    assert_non_null(strstr(text, "raised on purpose"));
    assert_non_null(strstr(text, "P0001"));
    assert_non_null(strstr(text, "parse_int"));
    assert_non_null(strstr(text, "22P02"));
    assert_null(strstr(text, "secret"));
    assert_null(strstr(text, "confidential"));
}

static void wrong_shapes(struct request *req, void *arg)
{
    (void)arg;
    static const struct db_statement type = {"wrong_type", "SELECT", "select 1::int8", "", "i", 0};
    static const struct db_statement few = {"few_columns", "SELECT", "select 1::int4", "", "ii", 0};
    static const struct db_statement many = {"many_columns", "SELECT", "select 1::int4", "", "", 0};
    static const struct db_statement none = {"no_columns", "SET", "set application_name = 'x'", "", "t", 0};
    struct db_rows rows;
    assert_int_equal(db_query(req, &type, DB_NO_PARAMS, &rows), ERR_INTERNAL);
    assert_int_equal(db_query(req, &few, DB_NO_PARAMS, &rows), ERR_INTERNAL);
    assert_int_equal(db_query(req, &many, DB_NO_PARAMS, &rows), ERR_INTERNAL);
    assert_int_equal(db_query(req, &none, DB_NO_PARAMS, &rows), ERR_INTERNAL);
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), &rows), ERR_OK);
}

static void test_an_answer_of_another_shape_is_an_internal_error(void **state)
{
    (void)state;
    with_db(wrong_shapes);
}

static void fail_every_third(struct member *member)
{
    struct db_rows rows;
    if (member->number % 3 == 0)
        member->err = db_query(&member->req, &raise_error, DB_PARAMS(db_text("22012")), &rows);
    else
        member->err = db_query(&member->req, &echo_int, DB_PARAMS(db_int4((int)member->number)), &rows);
    if (!member->err && db_get_int4(&rows, 0, 0) != (int)member->number + 1)
        member->err = ERR_DATA_LOSS;
}

static void neighbours(struct request *req, void *arg)
{
    (void)arg;
    struct crowd crowd;
    struct member *members = crowd_start(req, &crowd, 90, fail_every_third);
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    assert_int_equal(errors_of(members, 90, ERR_INTERNAL), 30);
    assert_int_equal(errors_of(members, 90, ERR_OK), 60);
    crowd_end(&crowd, members, 90);
    assert_int_equal(stats(req).in_flight, 0);
    assert_int_equal(stats(req).waiting, 0);
    assert_int_equal(stats(req).errors, 30);
}

static void test_a_failed_query_hurts_none_of_its_pipeline(void **state)
{
    (void)state;
    with_one_connection(neighbours);
}

static const struct db_statement later_select = {"later_select", "SELECT later", "select n from later", "", "i", 0};

static void select_later(struct member *member)
{
    member->err = db_query(&member->req, &later_select, DB_NO_PARAMS, NULL);
}

static void failed_prepare(struct request *req, void *arg)
{
    (void)arg;
    static const struct db_statement create = {"later_create", "CREATE later", "create table later (n int)", "", "", 0};
    static const struct db_statement drop = {"later_drop", "DROP later", "drop table later", "", "", 0};
    struct crowd crowd;
    struct member *members = crowd_start(req, &crowd, 8, select_later);
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    assert_int_equal(errors_of(members, 8, ERR_INTERNAL), 8);
    crowd_end(&crowd, members, 8);
    assert_int_equal(db_query(req, &create, DB_NO_PARAMS, NULL), ERR_OK);
    members = crowd_start(req, &crowd, 8, select_later);
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    assert_int_equal(errors_of(members, 8, ERR_OK), 8);
    crowd_end(&crowd, members, 8);
    assert_int_equal(db_query(req, &drop, DB_NO_PARAMS, NULL), ERR_OK);
}

static void test_a_failed_prepare_is_tried_again(void **state)
{
    (void)state;
    with_one_connection(failed_prepare);
}

static void forgotten_statements(struct request *req, void *arg)
{
    (void)arg;
    static const struct db_statement forget = {"forget", "DEALLOCATE", "deallocate all", "", "", 0};
    static const struct db_statement widen = {
        "widen", "ALTER odd_names", "alter table odd_names alter name type text", "", "", 0};
    static const struct db_statement names = {"names", "SELECT odd_names", "select name from odd_names", "", "t", 0};
    assert_int_equal(db_query(req, &names, DB_NO_PARAMS, NULL), ERR_OK);
    assert_int_equal(db_query(req, &forget, DB_NO_PARAMS, NULL), ERR_OK);
    assert_int_equal(db_query(req, &names, DB_NO_PARAMS, NULL), ERR_OK);
    assert_int_equal(stats(req).reconnects, 0);
    assert_int_equal(db_query(req, &widen, DB_NO_PARAMS, NULL), ERR_OK);
    assert_int_equal(db_query(req, &names, DB_NO_PARAMS, NULL), ERR_OK);
    assert_int_equal(stats(req).reconnects, 1);
    assert_int_equal(stats(req).errors, 0);
}

static void test_statements_that_the_server_forgot_or_replanned_run_again(void **state)
{
    (void)state;
    with_one_connection(forgotten_statements);
}

static void deferred_error(struct request *req, void *arg)
{
    (void)arg;
    static const struct db_statement twice = {
        "deferred_twice", "INSERT deferred", "insert into deferred values (1), (1)", "", "", 0};
    assert_int_equal(db_query(req, &twice, DB_NO_PARAMS, NULL), ERR_ALREADY_EXISTS);
    assert_int_equal(things(req) >= 0, 1);
}

static void test_an_error_of_the_commit_itself_is_an_error(void **state)
{
    (void)state;
    with_one_connection(deferred_error);
}

/* --- time */

static void past_deadline(struct request *req, int64_t in_ms)
{
    req->deadline_ns = clock_now_ns() + in_ms * NS_PER_MS;
}

static void abandon(struct request *req, void *arg)
{
    (void)arg;
    struct db_rows rows;
    int64_t deadline_ns = req->deadline_ns;
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), &rows), ERR_OK);
    past_deadline(req, 30);
    assert_int_equal(db_query(req, &sleep_for, DB_PARAMS(db_text("late"), db_text("0.5")), &rows),
                     ERR_DEADLINE_EXCEEDED);
    assert_int_equal(stats(req).abandoned, 1);
    assert_int_equal(stats(req).in_flight, 1);
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), &rows), ERR_DEADLINE_EXCEEDED);
    req->deadline_ns = deadline_ns;
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(41)), &rows), ERR_OK);
    assert_int_equal(db_get_int4(&rows, 0, 0), 42);
    assert_int_equal(stats(req).in_flight, 0);
    assert_int_equal(stats(req).reconnects, 0);
}

static void test_an_abandoned_query_leaves_its_connection_healthy(void **state)
{
    (void)state;
    with_one_connection(abandon);
}

static void slow_query(struct member *member)
{
    member->err = db_query(&member->req, &sleep_for, DB_PARAMS(db_text("x"), db_text("0.5")), NULL);
}

static void quick_query(struct member *member)
{
    member->err = db_query(&member->req, &echo_int, DB_PARAMS(db_int4(1)), NULL);
}

static void never_sent(struct request *req, void *arg)
{
    (void)arg;
    int64_t deadline_ns = req->deadline_ns;
    struct crowd slow, quick;
    clear(req);
    struct member *sleeper = crowd_start(req, &slow, 1, slow_query);
    struct member *members = crowd_start(req, &quick, 100, quick_query);
    fiber_yield();
    past_deadline(req, 30);
    assert_int_equal(add_thing(req, uuid_v7(), "never", 1), ERR_DEADLINE_EXCEEDED);
    assert_true(stats(req).waiting > 0);
    req->deadline_ns = deadline_ns;
    crowd_end(&slow, sleeper, 1);
    crowd_end(&quick, members, 100);
    assert_int_equal(things(req), 0);
}

static void test_what_waited_until_its_deadline_is_never_sent(void **state)
{
    (void)state;
    with_one_connection(never_sent);
}

static void cancel_slow(struct request *req, void *arg)
{
    (void)arg;
    struct crowd crowd;
    struct member *members = crowd_start(req, &crowd, 1, slow_query);
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
    request_cancel(&members->req);
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    assert_int_equal(members->err, ERR_CANCELLED);
    crowd_end(&crowd, members, 1);
    assert_int_equal(stats(req).abandoned, 1);
}

static void test_a_cancelled_caller_leaves_at_once(void **state)
{
    (void)state;
    with_db(cancel_slow);
}

/* Another client of the server, which holds a lock that statements wait for. */
static PGconn *hold_lock(void)
{
    PGconn *holder = PQconnectdb(server.url);
    PQclear(PQexec(holder, "begin"));
    PGresult *result = PQexec(holder, "lock table things in exclusive mode");
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    return holder;
}

static int lock_waits(PGconn *holder)
{
    PGresult *result = PQexec(holder, "select count(*) from pg_stat_activity where wait_event_type = 'Lock'");
    int count = atoi(PQgetvalue(result, 0, 0));
    PQclear(result);
    return count;
}

static void await_lock_waits(PGconn *holder, int count)
{
    int64_t give_up_ns = clock_now_ns() + 10 * NS_PER_S;
    while (lock_waits(holder) != count && clock_now_ns() < give_up_ns)
        fiber_sleep_until(clock_now_ns() + 5 * NS_PER_MS);
    assert_int_equal(lock_waits(holder), count);
}

/* Long before the server's own limit nothing of it runs there any more, and the same connection goes on. */
static void blocked(struct request *req, void *arg)
{
    (void)arg;
    int64_t deadline_ns = req->deadline_ns;
    clear(req);
    PGconn *holder = hold_lock();
    past_deadline(req, 100);
    assert_int_equal(add_thing(req, uuid_v7(), "blocked", 1), ERR_DEADLINE_EXCEEDED);
    await_lock_waits(holder, 0);
    PQfinish(holder);
    req->deadline_ns = deadline_ns;
    assert_int_equal(things(req), 0);
    assert_true(stats(req).cancels >= 1);
    assert_int_equal(stats(req).reconnects, 0);
}

static void with_cancels(void (*fn)(struct request *req, void *arg))
{
    struct db_settings settings = usual();
    settings.connections = settings.transactions = 1;
    settings.statement_timeout_ms = 60000;
    with_look_ups(&settings, fn);
}

static void test_a_blocked_statement_is_cancelled_in_the_server(void **state)
{
    (void)state;
    with_cancels(blocked);
}

static void add_blocked(struct member *member)
{
    past_deadline(&member->req, 100 + 50 * member->number);
    member->err = db_query(&member->req, &things_share,
                           DB_PARAMS(db_uuid(uuid_v7()), db_text("blocked"), db_int4((int)member->number)), NULL);
}

static void blocked_together(struct request *req, void *arg)
{
    (void)arg;
    struct crowd crowd;
    clear(req);
    PGconn *holder = hold_lock();
    struct member *members = crowd_start(req, &crowd, 8, add_blocked);
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(members[i].err, ERR_DEADLINE_EXCEEDED);
    await_lock_waits(holder, 0);
    crowd_end(&crowd, members, 8);
    PQfinish(holder);
    assert_int_equal(things(req), 0);
    assert_int_equal(stats(req).reconnects, 0);
}

static void test_a_shared_execution_is_cancelled_when_its_last_caller_has_left(void **state)
{
    (void)state;
    with_cancels(blocked_together);
}

static void nap(struct member *member)
{
    member->err = db_query(&member->req, &sleep_for, DB_PARAMS(db_text("x"), db_text("0.002")), NULL);
}

/* The cancel request may hit what came next on the connection: nobody may notice. */
static void bystanders(struct request *req, void *arg)
{
    (void)arg;
    struct crowd quick;
    for (int round = 0; round < 20; round++) {
        int64_t deadline_ns = req->deadline_ns;
        past_deadline(req, 5);
        assert_int_equal(db_query(req, &sleep_for, DB_PARAMS(db_text("late"), db_text("0.024")), NULL),
                         ERR_DEADLINE_EXCEEDED);
        req->deadline_ns = deadline_ns;
        struct member *members = crowd_start(req, &quick, 10, nap);
        fiber_wait(&quick.ended, CLOCK_NEVER);
        assert_int_equal(errors_of(members, 10, ERR_OK), 10);
        crowd_end(&quick, members, 10);
    }
}

static void test_a_cancel_request_hurts_no_bystander(void **state)
{
    (void)state;
    with_cancels(bystanders);
}

static void blocked_transaction(struct request *req, void *arg)
{
    (void)arg;
    struct db_tx *tx;
    clear(req);
    int64_t deadline_ns = req->deadline_ns;
    PGconn *holder = hold_lock();
    past_deadline(req, 100);
    assert_int_equal(db_begin(req, &tx), ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &update_things, DB_NO_PARAMS, NULL), ERR_DEADLINE_EXCEEDED);
    db_rollback(tx);
    await_lock_waits(holder, 0);
    PQfinish(holder);
    req->deadline_ns = deadline_ns;
    assert_int_equal(things(req), 0);
}

static void test_a_transaction_left_in_the_middle_is_cancelled_in_the_server(void **state)
{
    (void)state;
    with_cancels(blocked_transaction);
}

static void timeout(struct request *req, void *arg)
{
    (void)arg;
    assert_int_equal(db_query(req, &sleep_for, DB_PARAMS(db_text("x"), db_text("30")), NULL), ERR_DEADLINE_EXCEEDED);
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
}

static void test_the_servers_statement_timeout_is_a_deadline(void **state)
{
    (void)state;
    struct db_settings settings = usual();
    settings.statement_timeout_ms = 100;
    with_settings(&settings, timeout, NULL);
}

static void queue_full(struct request *req, void *arg)
{
    (void)arg;
    struct crowd crowd;
    struct db_tx *tx;
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
    struct member *members = crowd_start(req, &crowd, 4, slow_query);
    fiber_yield();
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_UNAVAILABLE);
    assert_string_equal(req->failure.detail, "database overloaded");
    assert_int_equal(db_begin(req, &tx), ERR_UNAVAILABLE);
    assert_int_equal(stats(req).refused, 2);
    crowd_end(&crowd, members, 4);
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
}

static void test_beyond_the_queues_limit_callers_are_refused_at_once(void **state)
{
    (void)state;
    struct db_settings settings = usual();
    settings.queue_max = 4;
    with_settings(&settings, queue_full, NULL);
}

/* --- losing the server */

static void wait_until_up(struct request *req)
{
    while (!db_up(req->worker->db) && clock_now_ns() < req->deadline_ns)
        fiber_sleep_until(clock_now_ns() + 5 * NS_PER_MS);
    assert_true(db_up(req->worker->db));
}

static void restart(struct request *req, void *arg)
{
    (void)arg;
    struct crowd crowd;
    struct db_tx *tx;
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
    assert_true(db_up(req->worker->db));
    struct member *members = crowd_start(req, &crowd, 3, slow_query);
    wait_in_flight(req, 3);
    test_postgres_stop(&server);
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    assert_int_equal(errors_of(members, 3, ERR_UNAVAILABLE), 3);
    crowd_end(&crowd, members, 3);
    while (db_up(req->worker->db))
        fiber_sleep_until(clock_now_ns() + NS_PER_MS);
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_UNAVAILABLE);
    assert_int_equal(db_begin(req, &tx), ERR_UNAVAILABLE);
    assert_string_equal(req->failure.detail, "database unavailable");
    test_postgres_start(&server);
    wait_until_up(req);
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
    /* The first that is up may be one that had not been before. */
    while (stats(req).reconnects == 0 && clock_now_ns() < req->deadline_ns)
        fiber_sleep_until(clock_now_ns() + NS_PER_MS);
    assert_true(stats(req).reconnects >= 1);
}

static void test_a_stopped_server_fails_fast_and_comes_back(void **state)
{
    (void)state;
    with_db(restart);
}

static void nobody_there(struct request *req, void *arg)
{
    (void)arg;
    struct crowd crowd;
    struct member *members = crowd_start(req, &crowd, 10, quick_query);
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    assert_int_equal(errors_of(members, 10, ERR_UNAVAILABLE), 10);
    crowd_end(&crowd, members, 10);
    assert_false(db_up(req->worker->db));
    assert_int_equal(db_query(req, &things_share, DB_PARAMS(db_uuid(uuid_v7()), db_text("x"), db_int4(1)), NULL),
                     ERR_UNAVAILABLE);
    assert_int_equal(stats(req).connections_up, 0);
}

static void test_without_a_server_the_first_queries_fail_with_the_first_attempt(void **state)
{
    (void)state;
    char url[128];
    snprintf(url, sizeof url, "postgresql://postgres@127.0.0.1:%d/ecommerce", test_free_port());
    struct db_settings settings = usual();
    settings.url = url;
    with_settings(&settings, nobody_there, NULL);
}

static void test_a_server_that_does_not_speak_is_given_up_in_time(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(listen(fd, 10), 0);
    char url[128];
    snprintf(url, sizeof url, "postgresql://postgres@127.0.0.1:%d/ecommerce", ntohs(address.sin_port));
    struct db_settings settings = usual();
    settings.url = url;
    settings.connect_timeout_ms = 100;
    with_settings(&settings, nobody_there, NULL);
    close(fd);
}

static void a_name_without_address(struct request *req, void *arg)
{
    nobody_there(req, arg);
}

static void through_a_name(struct request *req, void *arg)
{
    (void)arg;
    struct db_tx *tx;
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
    assert_int_equal(db_begin(req, &tx), ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
    assert_int_equal(db_commit(req, tx), ERR_OK);
}

static void test_host_names_are_looked_up_beside_the_loop(void **state)
{
    (void)state;
    char url[256];
    struct db_settings settings = usual();
    settings.url = url;
    snprintf(url, sizeof url, "postgresql://postgres@localhost:%d/ecommerce", server.port);
    with_look_ups(&settings, through_a_name);
    snprintf(url, sizeof url, "postgresql://postgres@nowhere.invalid:%d,127.0.0.1:%d/ecommerce", server.port,
             server.port);
    with_look_ups(&settings, through_a_name);
    snprintf(url, sizeof url, "postgresql://postgres@nowhere.invalid:%d/ecommerce", server.port);
    with_look_ups(&settings, a_name_without_address);
    snprintf(url, sizeof url, "postgresql://postgres@nowhere.invalid:%d/ecommerce?hostaddr=127.0.0.1", server.port);
    with_look_ups(&settings, through_a_name);
}

static void test_a_url_that_is_none_is_refused(void **state)
{
    (void)state;
    struct db_settings settings = usual();
    struct loop *loop = loop_new();
    settings.url = "postgresql://host:port:port/?nonsense=1";
    assert_null(db_open(loop, &settings));
    loop_free(loop);
}

static void frozen_backend(struct request *req, void *arg)
{
    (void)arg;
    struct db_rows rows;
    assert_int_equal(db_query(req, &backend, DB_NO_PARAMS, &rows), ERR_OK);
    pid_t pid = db_get_int4(&rows, 0, 0);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_UNAVAILABLE);
    wait_until_up(req);
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
    assert_int_equal(kill(pid, SIGCONT), 0);
}

static void test_a_connection_that_answers_nothing_is_replaced(void **state)
{
    (void)state;
    struct db_settings settings = usual();
    settings.connections = 1;
    settings.statement_timeout_ms = 100;
    with_settings(&settings, frozen_backend, NULL);
}

static void terminated_while_idle(struct request *req, void *arg)
{
    (void)arg;
    struct db_rows rows;
    assert_int_equal(db_query(req, &backend, DB_NO_PARAMS, &rows), ERR_OK);
    assert_int_equal(db_query(req, &kill_backend, DB_PARAMS(db_int4(db_get_int4(&rows, 0, 0))), &rows),
                     ERR_UNAVAILABLE);
    wait_until_up(req);
    assert_int_equal(db_query(req, &backend, DB_NO_PARAMS, &rows), ERR_OK);
}

static void test_a_terminated_backend_is_replaced(void **state)
{
    (void)state;
    with_one_connection(terminated_while_idle);
}

/* --- coalesced writes */

static void share_one(struct member *member)
{
    char name[32];
    struct uuid id = uuid_v7();
    struct db_rows rows;
    snprintf(name, sizeof name, member->arg ? "bad" : "thing %u", member->number);
    member->err = db_query(&member->req, &things_share,
                           DB_PARAMS(db_uuid(id), db_text(name), db_int4((int)member->number)), &rows);
    if (member->err)
        return;
    bool own =
        rows.count == 1 && uuid_equal(db_get_uuid(&rows, 0, 0), id) && strcmp(db_get_text(&rows, 0, 1), name) == 0;
    if (!own)
        member->err = ERR_DATA_LOSS;
}

static void share(struct request *req, void *arg)
{
    (void)arg;
    struct crowd crowd;
    clear(req);
    struct member *members = crowd_start(req, &crowd, 200, share_one);
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    assert_int_equal(errors_of(members, 200, ERR_OK), 200);
    crowd_end(&crowd, members, 200);
    assert_int_equal(things(req), 200);
    assert_int_equal(stats(req).batched_rows, 200);
    assert_true(stats(req).batches < 100);
    assert_true(stats(req).batches >= 200 / things_share.coalesce_rows);
    assert_int_equal(stats(req).in_flight, 0);
    assert_int_equal(stats(req).waiting, 0);
}

static void test_writes_that_arrive_together_share_executions_and_get_their_own_rows(void **state)
{
    (void)state;
    with_db(share);
}

static void share_with_bad_row(struct request *req, void *arg)
{
    (void)arg;
    struct crowd crowd;
    clear(req);
    struct member *members = crowd_start(req, &crowd, 12, share_one);
    members[5].arg = members;
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    assert_int_equal(members[5].err, ERR_FAILED_PRECONDITION);
    assert_int_equal(errors_of(members, 12, ERR_OK), 11);
    crowd_end(&crowd, members, 12);
    assert_int_equal(things(req), 11);
    assert_int_equal(stats(req).in_flight, 0);
    members = crowd_start(req, &crowd, 12, share_one);
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    assert_int_equal(errors_of(members, 12, ERR_ALREADY_EXISTS), 11);
    crowd_end(&crowd, members, 12);
}

static void test_of_a_shared_execution_only_the_bad_row_fails(void **state)
{
    (void)state;
    with_db(share_with_bad_row);
}

static const struct db_statement slow_share = {
    "slow_share",
    "INSERT things",
    "with given as (select * from unnest($1::uuid[], $2::text[]) with ordinality as g (id, name, ord)), "
    "nap as materialized (select slow('x', 0.5) as x), "
    "added as (insert into things (id, name) select id, name from given, nap returning id) "
    "select ord from added join given using (id)",
    "ut",
    "",
    16};

static enum err share_slowly(struct request *req, const char *name)
{
    struct db_rows rows;
    enum err err = db_query(req, &slow_share, DB_PARAMS(db_uuid(uuid_v7()), db_text(name)), &rows);
    return err || rows.count == 1 ? err : ERR_DATA_LOSS;
}

static void share_slow(struct member *member)
{
    member->err = share_slowly(&member->req, "first");
}

static void left_rows(struct request *req, void *arg)
{
    (void)arg;
    struct crowd crowd;
    struct db_rows rows;
    int64_t deadline_ns = req->deadline_ns;
    clear(req);
    struct member *members = crowd_start(req, &crowd, 1, share_slow);
    wait_in_flight(req, 1);
    past_deadline(req, 30);
    assert_int_equal(share_slowly(req, "left unsent"), ERR_DEADLINE_EXCEEDED);
    req->deadline_ns = deadline_ns;
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    assert_int_equal(members->err, ERR_OK);
    crowd_end(&crowd, members, 1);
    past_deadline(req, 30);
    assert_int_equal(share_slowly(req, "left in flight"), ERR_DEADLINE_EXCEEDED);
    req->deadline_ns = deadline_ns;
    assert_int_equal(share_slowly(req, "last"), ERR_OK);
    assert_int_equal(db_query(req, &thing_named, DB_PARAMS(db_text("left unsent")), &rows), ERR_OK);
    assert_int_equal(rows.count, 0);
    assert_int_equal(things(req), 3);
    assert_int_equal(stats(req).abandoned, 2);
    assert_int_equal(stats(req).in_flight + stats(req).waiting, 0);
}

static void test_callers_that_left_are_dropped_from_the_next_execution(void **state)
{
    (void)state;
    with_db(left_rows);
}

static enum err number_query(struct request *req, const struct db_statement *statement, struct db_rows *rows)
{
    return db_query(req, statement, DB_PARAMS(db_int4(3)), rows);
}

static void wrong_shares(struct request *req, void *arg)
{
    (void)arg;
    static const struct db_statement wrong_ordinal = {
        "wrong_ordinal", "SELECT", "select 9::int8, n from unnest($1::int[]) n", "i", "i", 8};
    static const struct db_statement null_ordinal = {
        "null_ordinal", "SELECT", "select null::int8, n from unnest($1::int[]) n", "i", "i", 8};
    static const struct db_statement no_ordinal = {"no_ordinal", "SELECT", "select n from unnest($1::int[]) n",
                                                   "i",          "",       8};
    static const struct db_statement wrong_column = {
        "wrong_column", "SELECT", "select 1::int8, n from unnest($1::int[]) n", "i", "t", 8};
    static const struct db_statement broken = {"broken", "SELECT", "select nothing from nowhere where $1 is null",
                                               "i",      "i",      8};
    static const struct db_statement no_answer = {
        "no_answer",
        "INSERT things",
        "insert into things (id, name, n) select gen_random_uuid(), 'quiet', n from unnest($1::int[]) n",
        "i",
        "",
        8};
    static const struct db_statement many_rows = {
        "many_rows",
        "SELECT",
        "select ord, n from unnest($1::int[]) with ordinality as g (top, ord), generate_series(1, top) n order by n",
        "i",
        "i",
        8};
    struct db_rows rows;
    clear(req);
    assert_int_equal(number_query(req, &wrong_ordinal, &rows), ERR_INTERNAL);
    assert_int_equal(number_query(req, &null_ordinal, &rows), ERR_INTERNAL);
    assert_int_equal(number_query(req, &no_ordinal, &rows), ERR_INTERNAL);
    assert_int_equal(number_query(req, &wrong_column, &rows), ERR_INTERNAL);
    assert_int_equal(number_query(req, &broken, &rows), ERR_INTERNAL);
    assert_int_equal(number_query(req, &no_answer, &rows), ERR_OK);
    assert_int_equal(rows.count, 0);
    assert_int_equal(things(req), 1);
    assert_int_equal(number_query(req, &many_rows, &rows), ERR_OK);
    assert_int_equal(rows.count, 3);
    assert_int_equal(db_get_int4(&rows, 2, 0), 3);
}

static void test_a_shared_answer_must_name_its_callers(void **state)
{
    (void)state;
    with_db(wrong_shares);
}

/* --- transactions */

static void commit_and_rollback(struct request *req, void *arg)
{
    (void)arg;
    struct db_tx *tx;
    struct db_rows rows;
    struct uuid id = uuid_v7();
    clear(req);
    assert_int_equal(db_begin(req, &tx), ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &thing_add, DB_PARAMS(db_uuid(id), db_text("tx"), db_int4(1)), NULL), ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &thing_name, DB_PARAMS(db_uuid(id)), &rows), ERR_OK);
    assert_int_equal(rows.count, 1);
    assert_int_equal(things(req), 0);
    assert_int_equal(db_commit(req, tx), ERR_OK);
    assert_int_equal(things(req), 1);

    assert_int_equal(db_begin(req, &tx), ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &clear_things, DB_NO_PARAMS, NULL), ERR_OK);
    db_rollback(tx);
    db_rollback(NULL);
    assert_int_equal(things(req), 1);

    assert_int_equal(db_begin(req, &tx), ERR_OK);
    assert_int_equal(db_commit(req, tx), ERR_OK);
    assert_int_equal(db_begin(req, &tx), ERR_OK);
    db_rollback(tx);
}

static void test_a_transaction_is_seen_when_committed_only(void **state)
{
    (void)state;
    with_one_connection(commit_and_rollback);
}

static void failed_statement(struct request *req, void *arg)
{
    (void)arg;
    struct db_tx *tx;
    static const struct db_statement deferred = {
        "deferred_add", "INSERT deferred", "insert into deferred values (2), (2)", "", "", 0};
    clear(req);
    assert_int_equal(db_begin(req, &tx), ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &thing_add, DB_PARAMS(db_uuid(uuid_v7()), db_text("a"), db_int4(1)), NULL),
                     ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &thing_add, DB_PARAMS(db_uuid(uuid_v7()), db_text("bad"), db_int4(2)), NULL),
                     ERR_FAILED_PRECONDITION);
    assert_int_equal(db_commit(req, tx), ERR_ABORTED);
    assert_int_equal(things(req), 0);
    assert_int_equal(db_begin(req, &tx), ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &deferred, DB_NO_PARAMS, NULL), ERR_OK);
    assert_int_equal(db_commit(req, tx), ERR_ALREADY_EXISTS);
    assert_int_equal(db_begin(req, &tx), ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &raise_error, DB_PARAMS(db_text("22012")), NULL), ERR_INTERNAL);
    db_rollback(tx);
    assert_int_equal(db_begin(req, &tx), ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
    assert_int_equal(db_commit(req, tx), ERR_OK);
    assert_int_equal(stats(req).reconnects, 0);
}

static void test_a_transaction_with_a_failed_statement_does_not_commit(void **state)
{
    (void)state;
    with_one_connection(failed_statement);
}

static void conflict(struct request *req, void *arg)
{
    (void)arg;
    static const struct db_statement isolate = {"isolate", "SET", "set transaction isolation level repeatable read",
                                                "",        "",    0};
    static const struct db_statement rename = {"rename", "UPDATE things", "update things set name = $1", "t", "", 0};
    struct db_tx *one, *two;
    struct db_rows rows;
    clear(req);
    assert_int_equal(add_thing(req, uuid_v7(), "x", 1), ERR_OK);
    assert_int_equal(db_begin(req, &one), ERR_OK);
    assert_int_equal(db_tx_query(req, one, &isolate, DB_NO_PARAMS, NULL), ERR_OK);
    assert_int_equal(db_tx_query(req, one, &count_things, DB_NO_PARAMS, &rows), ERR_OK);
    assert_int_equal(db_begin(req, &two), ERR_OK);
    assert_int_equal(db_tx_query(req, two, &rename, DB_PARAMS(db_text("two")), NULL), ERR_OK);
    assert_int_equal(db_commit(req, two), ERR_OK);
    assert_int_equal(db_tx_query(req, one, &rename, DB_PARAMS(db_text("one")), NULL), ERR_ABORTED);
    db_rollback(one);
}

static void test_the_loser_of_a_conflict_is_aborted(void **state)
{
    (void)state;
    with_db(conflict);
}

static void begin_and_wait(struct member *member)
{
    struct db_tx *tx;
    member->err = db_begin(&member->req, &tx);
    if (member->err)
        return;
    member->err = db_tx_query(&member->req, tx, &thing_add,
                              DB_PARAMS(db_uuid(uuid_v7()), db_text("queue"), db_int4((int)member->number)), NULL);
    if (member->err)
        db_rollback(tx);
    else
        member->err = db_commit(&member->req, tx);
}

static void pool_waits(struct request *req, void *arg)
{
    (void)arg;
    struct db_tx *tx, *none = NULL;
    struct crowd crowd;
    int64_t deadline_ns = req->deadline_ns;
    clear(req);
    assert_int_equal(db_begin(req, &tx), ERR_OK);
    struct member *members = crowd_start(req, &crowd, 5, begin_and_wait);
    past_deadline(req, 20);
    assert_int_equal(db_begin(req, &none), ERR_DEADLINE_EXCEEDED);
    assert_null(none);
    req->deadline_ns = deadline_ns;
    assert_int_equal(things(req), 0);
    assert_int_equal(stats(req).waiting, 5);
    assert_int_equal(db_commit(req, tx), ERR_OK);
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    assert_int_equal(errors_of(members, 5, ERR_OK), 5);
    crowd_end(&crowd, members, 5);
    assert_int_equal(things(req), 5);
}

static void test_transactions_wait_their_turn_for_a_connection(void **state)
{
    (void)state;
    with_one_connection(pool_waits);
}

static void left_transaction(struct request *req, void *arg)
{
    (void)arg;
    struct db_tx *tx;
    int64_t deadline_ns = req->deadline_ns;
    clear(req);
    assert_int_equal(db_begin(req, &tx), ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &thing_add, DB_PARAMS(db_uuid(uuid_v7()), db_text("a"), db_int4(1)), NULL),
                     ERR_OK);
    past_deadline(req, 30);
    assert_int_equal(db_tx_query(req, tx, &sleep_for, DB_PARAMS(db_text("x"), db_text("0.5")), NULL),
                     ERR_DEADLINE_EXCEEDED);
    req->deadline_ns = deadline_ns;
    assert_int_equal(db_tx_query(req, tx, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_UNAVAILABLE);
    assert_int_equal(db_commit(req, tx), ERR_UNAVAILABLE);
    assert_int_equal(db_begin(req, &tx), ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
    assert_int_equal(db_commit(req, tx), ERR_OK);
    assert_int_equal(things(req), 0);
    assert_int_equal(stats(req).reconnects, 1);
}

static void test_a_transaction_left_in_the_middle_is_rolled_back(void **state)
{
    (void)state;
    with_one_connection(left_transaction);
}

static void lost_transaction(struct request *req, void *arg)
{
    (void)arg;
    struct db_tx *tx;
    struct db_rows rows;
    clear(req);
    assert_int_equal(db_begin(req, &tx), ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &thing_add, DB_PARAMS(db_uuid(uuid_v7()), db_text("a"), db_int4(1)), NULL),
                     ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &backend, DB_NO_PARAMS, &rows), ERR_OK);
    assert_int_equal(db_query(req, &kill_backend, DB_PARAMS(db_int4(db_get_int4(&rows, 0, 0))), NULL), ERR_OK);
    assert_int_equal(db_commit(req, tx), ERR_UNAVAILABLE);
    assert_int_equal(things(req), 0);
}

static void test_a_lost_transaction_cannot_commit(void **state)
{
    (void)state;
    with_db(lost_transaction);
}

/* --- the seam */

static void seen_calls(struct request *req, void *arg)
{
    (void)arg;
    char peer[64];
    struct db_tx *tx;
    snprintf(peer, sizeof peer, "127.0.0.1:%d", server.port);
    calls_ended = 0;
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
    assert_string_equal(last_call.name, "echo_int");
    assert_string_equal(last_call.method, "SELECT");
    assert_string_equal(last_call.text, "select $1 + 1");
    assert_string_equal(last_call.peer, peer);
    assert_int_equal(last_call.items, 1);
    assert_int_equal(last_call.status, ERR_OK);
    assert_null(last_call.code);
    assert_int_equal(db_query(req, &raise_error, DB_PARAMS(db_text("40001")), NULL), ERR_ABORTED);
    assert_int_equal(last_call.status, ERR_ABORTED);
    assert_string_equal(last_code, "40001");
    assert_int_equal(last_call.items, 0);
    assert_int_equal(db_begin(req, &tx), ERR_OK);
    assert_int_equal(db_tx_query(req, tx, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
    assert_int_equal(db_commit(req, tx), ERR_OK);
    assert_string_equal(last_call.name, "commit");
    assert_int_equal(calls_ended, 4);
}

static void test_middleware_sees_every_statement(void **state)
{
    (void)state;
    with_db(seen_calls);
}

/* --- closing */

static void any_work(struct member *member)
{
    struct db_tx *tx = NULL;
    switch (member->number % 3) {
    case 0:
        member->err = db_query(&member->req, &sleep_for, DB_PARAMS(db_text("x"), db_text("20")), NULL);
        break;
    case 1:
        member->err = share_slowly(&member->req, "closing");
        break;
    default:
        member->err = db_begin(&member->req, &tx);
        if (!member->err)
            member->err = db_tx_query(&member->req, tx, &sleep_for, DB_PARAMS(db_text("x"), db_text("20")), NULL);
        if (tx && db_commit(&member->req, tx) != ERR_UNAVAILABLE)
            member->err = ERR_DATA_LOSS;
    }
}

static void close_busy(struct request *req, void *arg)
{
    struct worker *worker = arg;
    struct crowd crowd;
    assert_int_equal(db_query(req, &echo_int, DB_PARAMS(db_int4(1)), NULL), ERR_OK);
    struct member *members = crowd_start(req, &crowd, 150, any_work);
    wait_in_flight(req, 20);
    assert_true(stats(req).waiting > 0);
    db_close(worker->db);
    worker->db = NULL;
    fiber_wait(&crowd.ended, CLOCK_NEVER);
    assert_int_equal(errors_of(members, 150, ERR_UNAVAILABLE), 150);
    crowd_end(&crowd, members, 150);
}

static void test_closing_ends_everything_in_flight(void **state)
{
    (void)state;
    struct db_settings settings = usual();
    settings.connections = 1;
    struct worker worker = {.loop = loop_new()};
    worker.db = db_open(worker.loop, &settings);
    test_in_fiber(&worker, close_busy, &worker);
    db_close(worker.db);
    loop_free(worker.loop);
}

static void test_closing_before_anything_began_is_harmless(void **state)
{
    (void)state;
    struct db_settings settings = usual();
    struct loop *loop = loop_new();
    db_close(db_open(loop, &settings));
    loop_free(loop);
}

static void close_while_looking_up(struct request *req, void *arg)
{
    struct worker *worker = arg;
    fiber_sleep_until(clock_now_ns() + NS_PER_MS);
    db_close(worker->db);
    worker->db = NULL;
    while (fiber_count(req->worker->loop) > 1)
        fiber_sleep_until(clock_now_ns() + NS_PER_MS);
}

static void test_closing_does_not_wait_for_name_look_ups(void **state)
{
    (void)state;
    char url[128];
    snprintf(url, sizeof url, "postgresql://postgres@localhost:%d/ecommerce", server.port);
    struct db_settings settings = usual();
    settings.url = url;
    with_look_ups(&settings, close_while_looking_up);
}

/* --- TLS */

static void over_tls(struct request *req, void *arg)
{
    static const struct db_statement used = {
        "tls_used", "SELECT", "select ssl from pg_stat_ssl where pid = pg_backend_pid()", "", "b", 0};
    struct db_rows rows;
    assert_int_equal(db_query(req, &used, DB_NO_PARAMS, &rows), ERR_OK);
    assert_true(db_get_bool(&rows, 0, 0));
    large_values(req, arg);
    share(req, arg);
}

static void test_tls_loses_no_bytes(void **state)
{
    (void)state;
    char url[600];
    struct test_certificates certificates;
    struct db_settings settings = usual();
    certificates_open(&certificates);
    test_postgres_secure(&server, &certificates);
    settings.url = url;
    snprintf(url, sizeof url, "postgresql://postgres@localhost:%d/ecommerce?sslmode=verify-full&sslrootcert=%s",
             server.port, certificates.ca);
    with_look_ups(&settings, over_tls);
    certificates_close(&certificates);
}

/* --- migrations */

static const struct db_migration steps[] = {
    {11, "011_one.sql", "create table step_one (n int); insert into step_one values (1);"},
    {12, "012_two.sql", "alter table step_one add column m int;"},
    {13, "013_three.sql", "create table step_three (n int);"},
};

static enum err migrate(const struct db_migration *list, unsigned count, char message[256])
{
    const struct db_settings settings = {.url = server.url, .connect_timeout_ms = 5000};
    return db_migrate(&settings, list, count, message, 256);
}

static void test_missing_migrations_are_applied_once_and_in_order(void **state)
{
    (void)state;
    char message[256] = "";
    assert_int_equal(migrate(steps, 1, message), ERR_OK);
    assert_int_equal(migrate(steps, 2, message), ERR_OK);
    assert_int_equal(migrate(steps, 2, message), ERR_OK);
    assert_int_equal(migrate(steps, 1, message), ERR_OK);
    assert_string_equal(message, "");
}

static void test_a_migration_changed_after_it_was_applied_is_refused_by_name(void **state)
{
    (void)state;
    char message[256] = "";
    struct db_migration changed[] = {steps[0], {12, "012_two.sql", "alter table step_one add column q int;"}};
    assert_int_equal(migrate(steps, 2, message), ERR_OK);
    assert_int_equal(migrate(changed, 2, message), ERR_FAILED_PRECONDITION);
    assert_non_null(strstr(message, "012_two.sql"));
}

static void test_a_failing_migration_leaves_nothing_behind(void **state)
{
    (void)state;
    char message[256] = "";
    struct db_migration broken[] = {
        {21, "021_broken.sql", "create table halfway (n int); select nothing from nowhere;"}};
    struct db_migration mended[] = {{21, "021_broken.sql", "create table halfway (n int);"}};
    assert_int_equal(migrate(broken, 1, message), ERR_INTERNAL);
    assert_non_null(strstr(message, "021_broken.sql"));
    assert_int_equal(migrate(mended, 1, message), ERR_OK);
}

static void *migrate_in_thread(void *arg)
{
    enum err *err = arg;
    char message[256];
    *err = migrate(steps, 3, message);
    return NULL;
}

static void test_services_that_migrate_at_once_wait_for_each_other(void **state)
{
    (void)state;
    pthread_t threads[4];
    enum err errs[4];
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, migrate_in_thread, &errs[i]), 0);
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(errs[i], ERR_OK);
    }
}

static void test_migrations_without_a_server_are_unavailable(void **state)
{
    (void)state;
    char message[256] = "", url[128];
    struct db_settings settings = {.url = url, .connect_timeout_ms = 1000};
    snprintf(url, sizeof url, "postgresql://postgres@127.0.0.1:%d/ecommerce", test_free_port());
    assert_int_equal(db_migrate(&settings, steps, 1, message, sizeof message), ERR_UNAVAILABLE);
    assert_true(strlen(message) > 0);
    settings.url = "postgresql://u:secret%zz@h/";
    assert_int_equal(db_migrate(&settings, steps, 1, message, sizeof message), ERR_INVALID_ARGUMENT);
    assert_null(strstr(message, "secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_comes_back_as_it_was_sent),
        cmocka_unit_test(test_times_agree_with_the_servers_calendar),
        cmocka_unit_test(test_arrays_arrive_with_nulls_and_empty),
        cmocka_unit_test(test_values_larger_than_any_buffer_pass),
        cmocka_unit_test(test_more_than_the_socket_takes_is_sent_bit_by_bit),
        cmocka_unit_test(test_sqlstates_become_our_errors_without_sql_or_values),
        cmocka_unit_test(test_the_log_has_statement_and_sqlstate_but_no_values),
        cmocka_unit_test(test_an_answer_of_another_shape_is_an_internal_error),
        cmocka_unit_test(test_a_failed_query_hurts_none_of_its_pipeline),
        cmocka_unit_test(test_a_failed_prepare_is_tried_again),
        cmocka_unit_test(test_statements_that_the_server_forgot_or_replanned_run_again),
        cmocka_unit_test(test_an_error_of_the_commit_itself_is_an_error),
        cmocka_unit_test(test_an_abandoned_query_leaves_its_connection_healthy),
        cmocka_unit_test(test_what_waited_until_its_deadline_is_never_sent),
        cmocka_unit_test(test_a_cancelled_caller_leaves_at_once),
        cmocka_unit_test(test_a_blocked_statement_is_cancelled_in_the_server),
        cmocka_unit_test(test_a_shared_execution_is_cancelled_when_its_last_caller_has_left),
        cmocka_unit_test(test_a_cancel_request_hurts_no_bystander),
        cmocka_unit_test(test_a_transaction_left_in_the_middle_is_cancelled_in_the_server),
        cmocka_unit_test(test_the_servers_statement_timeout_is_a_deadline),
        cmocka_unit_test(test_beyond_the_queues_limit_callers_are_refused_at_once),
        cmocka_unit_test(test_a_stopped_server_fails_fast_and_comes_back),
        cmocka_unit_test(test_without_a_server_the_first_queries_fail_with_the_first_attempt),
        cmocka_unit_test(test_a_server_that_does_not_speak_is_given_up_in_time),
        cmocka_unit_test(test_host_names_are_looked_up_beside_the_loop),
        cmocka_unit_test(test_a_url_that_is_none_is_refused),
        cmocka_unit_test(test_a_connection_that_answers_nothing_is_replaced),
        cmocka_unit_test(test_a_terminated_backend_is_replaced),
        cmocka_unit_test(test_writes_that_arrive_together_share_executions_and_get_their_own_rows),
        cmocka_unit_test(test_of_a_shared_execution_only_the_bad_row_fails),
        cmocka_unit_test(test_callers_that_left_are_dropped_from_the_next_execution),
        cmocka_unit_test(test_a_shared_answer_must_name_its_callers),
        cmocka_unit_test(test_a_transaction_is_seen_when_committed_only),
        cmocka_unit_test(test_a_transaction_with_a_failed_statement_does_not_commit),
        cmocka_unit_test(test_the_loser_of_a_conflict_is_aborted),
        cmocka_unit_test(test_transactions_wait_their_turn_for_a_connection),
        cmocka_unit_test(test_a_transaction_left_in_the_middle_is_rolled_back),
        cmocka_unit_test(test_a_lost_transaction_cannot_commit),
        cmocka_unit_test(test_middleware_sees_every_statement),
        cmocka_unit_test(test_closing_ends_everything_in_flight),
        cmocka_unit_test(test_closing_before_anything_began_is_harmless),
        cmocka_unit_test(test_closing_does_not_wait_for_name_look_ups),
        cmocka_unit_test(test_tls_loses_no_bytes),
        cmocka_unit_test(test_missing_migrations_are_applied_once_and_in_order),
        cmocka_unit_test(test_a_migration_changed_after_it_was_applied_is_refused_by_name),
        cmocka_unit_test(test_a_failing_migration_leaves_nothing_behind),
        cmocka_unit_test(test_services_that_migrate_at_once_wait_for_each_other),
        cmocka_unit_test(test_migrations_without_a_server_are_unavailable),
    };
    return cmocka_run_group_tests_name("db", tests, open_server, close_server);
}
