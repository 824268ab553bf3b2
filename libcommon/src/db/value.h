/* PostgreSQL's binary formats: letters of struct db_statement to types, values to bytes and back.
 *
 * A buffer holds values as the protocol's Bind message does: each an int32 length in network
 * order (-1 for NULL) and its bytes. Pure functions; any thread.
 * Source: PostgreSQL 15, src/backend/utils/adt/{uuid,varlena,int,int8,bool,timestamp,jsonb,arrayfuncs}.c. */
#ifndef DB_VALUE_H
#define DB_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"

struct arena;

struct db_buffer {
    char *data;
    size_t size, room;
};

void db_buffer_done(struct db_buffer *buffer);
void db_put_int32(struct db_buffer *buffer, int32_t value);
void db_put_bytes(struct db_buffer *buffer, const void *data, size_t bytes);
int32_t db_get_int32(const char *data);
int64_t db_get_int64(const char *data);

/* The type's OID, of the array type for upper case; 0 for a letter that is none. */
uint32_t db_letter_oid(char letter);
/* The OID of an array of a (lower-case) letter's type. */
uint32_t db_letter_array_oid(char letter);
/* Whether a column of this type is read by this letter. */
bool db_letter_reads(char letter, uint32_t oid);

void db_put_value(struct db_buffer *buffer, const struct db_value *value);
/* Begins an array; its elements follow by db_put_value(), then db_put_array_end() with what this returned. */
size_t db_put_array_begin(struct db_buffer *buffer, uint32_t element_oid, unsigned count);
void db_put_array_end(struct db_buffer *buffer, size_t begin);
/* False when the bytes are no value of that type. */
bool db_read_value(char letter, const char *data, int length, struct arena *arena, struct db_value *out);

#endif
