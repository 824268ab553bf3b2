#include "stream/reply.h"

#include <hiredis/hiredis.h>
#include <string.h>

#include "common/arena.h"

static void copy_list(struct arena *arena, const redisReply *from, struct reply *out)
{
    struct reply *items = arena_array(arena, struct reply, from->elements);
    for (size_t i = 0; i < from->elements; i++)
        reply_copy(arena, from->element[i], &items[i]);
    *out = (struct reply){.type = REPLY_LIST, .items = items, .count = (unsigned)from->elements};
}

static void copy_text(struct arena *arena, const redisReply *from, struct reply *out)
{
    *out = (struct reply){.text = arena_text(arena, from->str, from->len), .length = from->len};
    out->type = from->type == REDIS_REPLY_ERROR    ? REPLY_ERROR
                : from->type == REDIS_REPLY_STATUS ? REPLY_STATUS
                                                   : REPLY_TEXT;
}

/* Recursion ends: hiredis refuses replies nested deeper than 7. */
void reply_copy(struct arena *arena, const redisReply *from, struct reply *out)
{
    switch (from ? from->type : REDIS_REPLY_NIL) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        copy_text(arena, from, out);
        break;
    case REDIS_REPLY_INTEGER:
        *out = (struct reply){.type = REPLY_INTEGER, .integer = from->integer};
        break;
    case REDIS_REPLY_ARRAY:
        copy_list(arena, from, out);
        break;
    default:
        *out = (struct reply){.type = REPLY_NIL};
    }
}

const char *reply_text(const struct reply *reply)
{
    return reply && reply->type == REPLY_TEXT ? reply->text : NULL;
}

unsigned reply_count(const struct reply *reply)
{
    return reply && reply->type == REPLY_LIST ? reply->count : 0;
}

const struct reply *reply_item(const struct reply *reply, unsigned i)
{
    return i < reply_count(reply) ? &reply->items[i] : NULL;
}

bool reply_is_error(const struct reply *reply, const char *word)
{
    if (!reply || reply->type != REPLY_ERROR)
        return false;
    size_t length = word ? strlen(word) : 0;
    return !word || (strncmp(reply->text, word, length) == 0 && (reply->text[length] == ' ' || !reply->text[length]));
}

const struct reply *reply_field(const struct reply *fields, const char *name)
{
    for (unsigned i = 0; i + 1 < reply_count(fields); i += 2) {
        const char *key = reply_text(&fields->items[i]);
        if (key && strcmp(key, name) == 0 && reply_text(&fields->items[i + 1]))
            return &fields->items[i + 1];
    }
    return NULL;
}
