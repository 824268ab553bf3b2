#include "db/value.h"

#include <assert.h>
#include <ctype.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/mem.h"

enum {
    OID_NAME = 19,
    OID_TEXT = 25,
    OID_BPCHAR = 1042,
    OID_VARCHAR = 1043,
    JSONB_VERSION = 1,
    BUFFER_BYTES_LEAST = 256,
};

/* 2000-01-01, where PostgreSQL's time starts, after 1970-01-01. */
static const int64_t epoch_us = INT64_C(946684800) * 1000000;

static const struct type {
    char letter;
    uint32_t oid, array_oid;
} types[] = {
    {'u', 2950, 2951}, {'t', OID_TEXT, 1009}, {'i', 23, 1007},   {'l', 20, 1016},
    {'b', 16, 1000},   {'z', 1184, 1185},     {'j', 3802, 3807},
};

static const struct type *type_of(char letter)
{
    for (unsigned i = 0; i < array_count(types); i++)
        if (types[i].letter == letter)
            return &types[i];
    return NULL;
}

uint32_t db_letter_oid(char letter)
{
    const struct type *type = type_of((char)tolower((unsigned char)letter));
    if (!type || !letter)
        return 0;
    if (type->letter == letter)
        return type->oid;
    return strchr("UTIL", letter) ? type->array_oid : 0;
}

uint32_t db_letter_array_oid(char letter)
{
    const struct type *type = type_of(letter);
    return type ? type->array_oid : 0;
}

bool db_letter_reads(char letter, uint32_t oid)
{
    if (letter == 't')
        return oid == OID_TEXT || oid == OID_VARCHAR || oid == OID_BPCHAR || oid == OID_NAME;
    const struct type *type = type_of(letter);
    return type && type->oid == oid;
}

void db_buffer_done(struct db_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct db_buffer){0};
}

static char *buffer_extend(struct db_buffer *buffer, size_t bytes)
{
    if (buffer->room - buffer->size < bytes) {
        size_t room = buffer->room ? buffer->room * 2 : BUFFER_BYTES_LEAST;
        if (room < buffer->size + bytes)
            room = buffer->size + bytes;
        buffer->data = mem_resize(buffer->data, room, 1);
        buffer->room = room;
    }
    char *at = buffer->data + buffer->size;
    buffer->size += bytes;
    return at;
}

void db_put_bytes(struct db_buffer *buffer, const void *data, size_t bytes)
{
    if (bytes > 0)
        memcpy(buffer_extend(buffer, bytes), data, bytes);
}

void db_put_int32(struct db_buffer *buffer, int32_t value)
{
    uint32_t big = htobe32((uint32_t)value);
    memcpy(buffer_extend(buffer, sizeof big), &big, sizeof big);
}

static void put_int64(struct db_buffer *buffer, int64_t value)
{
    uint64_t big = htobe64((uint64_t)value);
    memcpy(buffer_extend(buffer, sizeof big), &big, sizeof big);
}

int32_t db_get_int32(const char *data)
{
    uint32_t big;
    memcpy(&big, data, sizeof big);
    return (int32_t)be32toh(big);
}

int64_t db_get_int64(const char *data)
{
    uint64_t big;
    memcpy(&big, data, sizeof big);
    return (int64_t)be64toh(big);
}

/* The ends of our range are PostgreSQL's infinities. */
static int64_t time_to_server(int64_t wall_ns)
{
    if (wall_ns == INT64_MAX || wall_ns == INT64_MIN)
        return wall_ns;
    int64_t us = wall_ns / NS_PER_US - (wall_ns % NS_PER_US < 0);
    return us - epoch_us;
}

static int64_t time_from_server(int64_t us)
{
    if (us > INT64_MAX / NS_PER_US - epoch_us)
        return INT64_MAX;
    if (us < INT64_MIN / NS_PER_US - epoch_us)
        return INT64_MIN;
    return (us + epoch_us) * NS_PER_US;
}

static void put_text(struct db_buffer *buffer, const char *text, bool jsonb)
{
    size_t length = strlen(text);
    assert(length < INT32_MAX);
    db_put_int32(buffer, (int32_t)(length + jsonb));
    if (jsonb)
        *buffer_extend(buffer, 1) = JSONB_VERSION;
    db_put_bytes(buffer, text, length);
}

size_t db_put_array_begin(struct db_buffer *buffer, uint32_t element_oid, unsigned count)
{
    size_t begin = buffer->size;
    db_put_int32(buffer, 0); /* the length, set at the end */
    db_put_int32(buffer, count > 0 ? 1 : 0);
    db_put_int32(buffer, 1); /* may have nulls: the server looks for itself */
    db_put_int32(buffer, (int32_t)element_oid);
    if (count > 0) {
        db_put_int32(buffer, (int32_t)count);
        db_put_int32(buffer, 1); /* the first index */
    }
    return begin;
}

void db_put_array_end(struct db_buffer *buffer, size_t begin)
{
    size_t bytes = buffer->size - begin - sizeof(int32_t);
    assert(bytes <= INT32_MAX);
    uint32_t big = htobe32((uint32_t)bytes);
    memcpy(buffer->data + begin, &big, sizeof big);
}

static struct db_value element(const struct db_value *array, unsigned i)
{
    switch (array->type) {
    case 'U':
        return db_uuid(((const struct uuid *)array->array)[i]);
    case 'T':
        return db_text(((const char *const *)array->array)[i]);
    case 'I':
        return db_int4(((const int32_t *)array->array)[i]);
    default:
        return db_int8(((const int64_t *)array->array)[i]);
    }
}

static void put_array(struct db_buffer *buffer, const struct db_value *array)
{
    uint32_t oid = db_letter_oid((char)tolower((unsigned char)array->type));
    size_t begin = db_put_array_begin(buffer, oid, array->count);
    for (unsigned i = 0; i < array->count; i++) {
        struct db_value value = element(array, i);
        db_put_value(buffer, &value);
    }
    db_put_array_end(buffer, begin);
}

static bool value_is_null(const struct db_value *value)
{
    return value->null || ((value->type == 't' || value->type == 'j') && !value->text);
}

void db_put_value(struct db_buffer *buffer, const struct db_value *value)
{
    if (value_is_null(value)) {
        db_put_int32(buffer, -1);
        return;
    }
    switch (value->type) {
    case 'u':
        db_put_int32(buffer, sizeof value->uuid.bytes);
        db_put_bytes(buffer, value->uuid.bytes, sizeof value->uuid.bytes);
        break;
    case 't':
    case 'j':
        put_text(buffer, value->text, value->type == 'j');
        break;
    case 'i':
        db_put_int32(buffer, sizeof value->int4);
        db_put_int32(buffer, value->int4);
        break;
    case 'l':
    case 'z':
        db_put_int32(buffer, sizeof value->int8);
        put_int64(buffer, value->type == 'z' ? time_to_server(value->int8) : value->int8);
        break;
    case 'b':
        db_put_int32(buffer, 1);
        *buffer_extend(buffer, 1) = value->boolean;
        break;
    default:
        put_array(buffer, value);
    }
}

static bool length_fits(char letter, const char *data, int length)
{
    switch (letter) {
    case 'u':
        return length == sizeof(struct uuid);
    case 'i':
        return length == sizeof(int32_t);
    case 'l':
    case 'z':
        return length == sizeof(int64_t);
    case 'b':
        return length == 1;
    case 'j':
        return length >= 1 && data[0] == JSONB_VERSION;
    default:
        return length >= 0;
    }
}

bool db_read_value(char letter, const char *data, int length, struct arena *arena, struct db_value *out)
{
    if (!length_fits(letter, data, length))
        return false;
    *out = (struct db_value){.type = letter};
    switch (letter) {
    case 'u':
        memcpy(out->uuid.bytes, data, sizeof out->uuid.bytes);
        break;
    case 'i':
        out->int4 = db_get_int32(data);
        break;
    case 'l':
        out->int8 = db_get_int64(data);
        break;
    case 'z':
        out->int8 = time_from_server(db_get_int64(data));
        break;
    case 'b':
        out->boolean = data[0] != 0;
        break;
    case 'j':
        out->text = arena_text(arena, data + 1, (size_t)length - 1);
        break;
    default:
        out->text = arena_text(arena, data, (size_t)length);
    }
    return true;
}
