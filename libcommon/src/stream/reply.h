/* What Redis answered, copied into an arena: hiredis frees its own form as soon as its callback returns.
 * Readers below accept anything, NULL too, and say so when it is not what was asked for. */
#ifndef STREAM_REPLY_H
#define STREAM_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct redisReply;

struct reply {
    enum { REPLY_NIL, REPLY_TEXT, REPLY_STATUS, REPLY_ERROR, REPLY_INTEGER, REPLY_LIST } type;
    const char *text; /* of a text, status or error; with a NUL behind its length */
    size_t length;
    int64_t integer;
    const struct reply *items; /* of a list */
    unsigned count;
};

void reply_copy(struct arena *arena, const struct redisReply *from, struct reply *out);
/* The text, or NULL for anything else. */
const char *reply_text(const struct reply *reply);
/* Item i of a list, or NULL. */
const struct reply *reply_item(const struct reply *reply, unsigned i);
unsigned reply_count(const struct reply *reply); /* 0 for anything but a list */
/* An error whose text begins with this word; NULL: any error. */
bool reply_is_error(const struct reply *reply, const char *word);
/* The field's value in a flat list of names and values, or NULL. */
const struct reply *reply_field(const struct reply *fields, const char *name);

#endif
