#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/collector.h"
#include "common/clock.h"
#include "common/mem.h"

enum { DELAY_MS_MAX = 600000 };

/* A delivery that is held up; on its fiber's stack. */
struct hold {
    struct list list;
    struct fiber_wait wait;
};

void faults_init(struct faults *faults)
{
    faults->count = 0;
    list_init(&faults->held);
}

/* --- reading */

struct reader {
    struct request *req;
    json_t *json;
    enum err err;
};

static void refuse(struct reader *reader, const char *name, const char *expected)
{
    if (!reader->err)
        reader->err = fail(reader->req, ERR_INVALID_ARGUMENT, "%s: expected %s", name, expected);
}

static int64_t read_integer(struct reader *reader, const char *name, int64_t fallback, int64_t max)
{
    const json_t *value = json_object_get(reader->json, name);
    if (!value)
        return fallback;
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > max) {
        refuse(reader, name, "a number that makes sense");
        return fallback;
    }
    return json_integer_value(value);
}

static void read_text(struct reader *reader, const char *name, char *out, size_t bytes)
{
    const json_t *value = json_object_get(reader->json, name);
    if (!value)
        return;
    if (!json_is_string(value) || json_string_length(value) >= bytes)
        refuse(reader, name, "a short text");
    else
        snprintf(out, bytes, "%s", json_string_value(value));
}

static int read_choice(struct reader *reader, const char *name, const char *const *choices, unsigned count)
{
    const json_t *value = json_object_get(reader->json, name);
    if (!value)
        return -1;
    for (unsigned i = 0; i < count; i++)
        if (json_is_string(value) && strcmp(json_string_value(value), choices[i]) == 0)
            return (int)i;
    refuse(reader, name, "one of the names that the manual lists");
    return -1;
}

static void check_names(struct reader *reader)
{
    static const char *const known[] = {"kind",        "signal",         "protocol", "requests", "code",   "status",
                                        "retry_after", "retry_delay_ms", "delay_ms", "rejected", "message"};
    const char *name;
    json_t *value;
    json_object_foreach(reader->json, name, value)
    {
        bool found = false;
        for (unsigned i = 0; i < array_count(known); i++)
            found |= strcmp(name, known[i]) == 0;
        if (!found)
            refuse(reader, name, "no such member");
    }
}

static struct fault read_fault(struct reader *reader)
{
    static const char *const kinds[] = {"none", "fail", "hang", "partial", "slow"};
    struct fault fault = {
        .kind = (enum fault_kind)read_choice(reader, "kind", kinds, array_count(kinds)),
        .signal = read_choice(reader, "signal", signal_names, SIGNALS),
        .protocol = read_choice(reader, "protocol", protocol_names, PROTOCOLS),
        .requests = read_integer(reader, "requests", -1, INT64_MAX),
        .code = (enum err)read_integer(reader, "code", ERR_UNAVAILABLE, ERR_UNAUTHENTICATED),
        .status = (int)read_integer(reader, "status", 503, 599),
        .retry_delay_ms = (int)read_integer(reader, "retry_delay_ms", -1, DELAY_MS_MAX),
        .delay_ms = (int)read_integer(reader, "delay_ms", 0, DELAY_MS_MAX),
        .rejected = read_integer(reader, "rejected", 0, INT64_MAX),
    };
    read_text(reader, "message", fault.message, sizeof fault.message);
    read_text(reader, "retry_after", fault.retry_after, sizeof fault.retry_after);
    check_names(reader);
    if ((int)fault.kind <= (int)FAULT_NONE)
        refuse(reader, "kind", "fail, hang, partial or slow");
    if (fault.status < 200)
        refuse(reader, "status", "200 to 599");
    return fault;
}

enum err faults_add(struct request *req, struct faults *faults, struct bytes text)
{
    json_error_t error;
    struct reader reader = {.req = req, .json = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &error)};
    if (!json_is_object(reader.json)) {
        json_decref(reader.json);
        return fail(req, ERR_INVALID_ARGUMENT, "expected a JSON object");
    }
    struct fault fault = read_fault(&reader);
    json_decref(reader.json);
    if (reader.err)
        return reader.err;
    if (faults->count == FAULTS_MAX)
        return fail(req, ERR_RESOURCE_EXHAUSTED, "there are %d faults already", FAULTS_MAX);
    faults->table[faults->count++] = fault;
    return ERR_OK;
}

static const char *name_or_all(const char *const *names, int index)
{
    return index < 0 ? "all" : names[index];
}

json_t *faults_describe(const struct faults *faults)
{
    static const char *const kinds[] = {"none", "fail", "hang", "partial", "slow"};
    json_t *list = json_array();
    for (unsigned i = 0; i < faults->count; i++) {
        const struct fault *fault = &faults->table[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:i, s:i}", "kind", kinds[fault->kind], "signal",
                                              name_or_all(signal_names, fault->signal), "protocol",
                                              name_or_all(protocol_names, fault->protocol), "requests",
                                              (json_int_t)fault->requests, "code", (int)fault->code, "status",
                                              fault->status));
    }
    unsigned held = 0;
    list_each (node, &faults->held)
        held++;
    return json_pack("{s:o, s:i}", "faults", list, "held", (int)held);
}

/* --- taking */

struct fault faults_take(struct faults *faults, enum signal_kind signal, enum protocol protocol)
{
    for (unsigned i = 0; i < faults->count; i++) {
        struct fault *fault = &faults->table[i];
        if ((fault->signal >= 0 && fault->signal != (int)signal) ||
            (fault->protocol >= 0 && fault->protocol != (int)protocol) || fault->requests == 0)
            continue;
        if (fault->requests > 0)
            fault->requests--;
        return *fault;
    }
    return (struct fault){.kind = FAULT_NONE};
}

enum err faults_hold(struct request *req, struct faults *faults, int64_t until_ns)
{
    struct hold hold = {0};
    int64_t deadline_ns = req->deadline_ns;
    list_append(&faults->held, &hold.list);
    waiters_look(collector_of(req));
    if (until_ns < deadline_ns)
        req->deadline_ns = until_ns;
    enum err err = request_wait(req, &hold.wait);
    req->deadline_ns = deadline_ns;
    list_remove(&hold.list);
    return err == ERR_CANCELLED ? err : ERR_OK;
}

void faults_clear(struct faults *faults)
{
    faults->count = 0;
    list_each (node, &faults->held)
        fiber_wake(&container_of(node, struct hold, list)->wait, ERR_OK);
}
