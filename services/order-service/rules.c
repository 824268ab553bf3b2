#include <string.h>

#include "common/hash.h"
#include "order.h"

enum { KEY_BYTES_MAX = 255 };

static bool is_key(const char *key)
{
    size_t length = strlen(key);
    for (size_t i = 0; i < length; i++)
        if (key[i] <= ' ' || key[i] > '~' || key[i] == '"')
            return false;
    return length <= KEY_BYTES_MAX;
}

enum err draft_check(struct request *req, const char *user_id, const char *product_id, int32_t quantity,
                     const char *key, struct draft *out)
{
    struct draft draft = {.quantity = quantity};
    enum err err = request_uuid(req, "user_id", user_id, &draft.user_id);
    if (!err)
        err = request_uuid(req, "product_id", product_id, &draft.product_id);
    if (err)
        return err;
    if (quantity < 1 || quantity > QUANTITY_MAX)
        return fail(req, ERR_INVALID_ARGUMENT, "quantity: expected an integer from 1 to %d", QUANTITY_MAX);
    if (!is_key(key))
        return fail(req, ERR_INVALID_ARGUMENT,
                    "idempotency_key: expected 1 to %d visible ASCII characters without a double quote", KEY_BYTES_MAX);
    draft.id = *key ? uuid_v5(draft.user_id, key, strlen(key)) : uuid_v7();
    *out = draft;
    return ERR_OK;
}

enum err order_replay(struct request *req, const struct draft *draft, const struct order *known)
{
    if (uuid_equal(draft->product_id, known->product_id) && draft->quantity == known->quantity)
        return ERR_OK;
    return fail(req, ERR_ALREADY_EXISTS, "this idempotency key belongs to an order with another body");
}

bool nothing_written(enum err err)
{
    return err != ERR_OK && err != ERR_UNAVAILABLE && err != ERR_DEADLINE_EXCEEDED && err != ERR_CANCELLED;
}

/* Hexadecimal: eight bytes of time, then the id. */
char *cursor_print(struct cursor cursor, char out[CURSOR_TEXT_BYTES])
{
    uint8_t bytes[24];
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)cursor.created_at_ns >> (56 - 8 * i));
    memcpy(bytes + 8, cursor.id.bytes, sizeof cursor.id.bytes);
    return hash_hex(bytes, sizeof bytes, out);
}

enum err cursor_read(struct request *req, const char *text, struct cursor *out)
{
    struct cursor cursor = {.created_at_ns = INT64_MAX};
    uint8_t bytes[24];
    if (!*text) {
        memset(cursor.id.bytes, 0xff, sizeof cursor.id.bytes);
        *out = cursor;
        return ERR_OK;
    }
    if (strlen(text) != 2 * sizeof bytes || !hash_unhex(text, sizeof bytes, bytes))
        return fail(req, ERR_INVALID_ARGUMENT, "cursor: expected the next_cursor of the page before");
    cursor.created_at_ns = 0;
    for (unsigned i = 0; i < 8; i++)
        cursor.created_at_ns = (int64_t)((uint64_t)cursor.created_at_ns << 8 | bytes[i]);
    memcpy(cursor.id.bytes, bytes + 8, sizeof cursor.id.bytes);
    *out = cursor;
    return ERR_OK;
}

enum err list_limit_read(struct request *req, int32_t limit, unsigned *out)
{
    if (limit < 0 || limit > LIST_LIMIT_MAX)
        return fail(req, ERR_INVALID_ARGUMENT, "limit: expected an integer from 1 to %d", LIST_LIMIT_MAX);
    *out = limit ? (unsigned)limit : LIST_LIMIT;
    return ERR_OK;
}
