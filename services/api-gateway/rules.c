#include <stdlib.h>
#include <string.h>

#include "gateway.h"

/* Which characters a key may have is the order service's to say. */
enum err idempotency_key_read(struct request *req, const char *header, char **out)
{
    size_t length = header ? strlen(header) : 0;
    bool quoted = length >= 2 && header[0] == '"' && header[length - 1] == '"';
    if (header && (length == 0 || (quoted && length == 2)))
        return fail(req, ERR_INVALID_ARGUMENT, "Idempotency-Key: expected a key, got an empty one");
    *out = quoted ? arena_text(req->arena, header + 1, length - 2) : arena_text(req->arena, header, length);
    return ERR_OK;
}

enum err list_limit_read(struct request *req, const char *text, int32_t *out)
{
    if (!text) {
        *out = 0; /* the service's default */
        return ERR_OK;
    }
    size_t length = strlen(text);
    long value = length <= 3 && length == strspn(text, "0123456789") ? strtol(text, NULL, 10) : 0;
    if (value < 1 || value > LIST_LIMIT_MAX)
        return fail(req, ERR_INVALID_ARGUMENT, "limit: expected an integer from 1 to %d", LIST_LIMIT_MAX);
    *out = (int32_t)value;
    return ERR_OK;
}

enum err order_refused(struct request *req, enum err err)
{
    const char *detail = req->failure.detail;
    switch (err) {
    case ERR_FAILED_PRECONDITION:
        return fail_as(req, err, 400, "Insufficient inventory", "the product's stock does not suffice");
    case ERR_ALREADY_EXISTS:
        return fail_as(req, err, 422, "Idempotency-Key reused", "%s", detail);
    case ERR_ABORTED:
        return fail_as(req, err, 409, "Order abandoned", "%s", detail);
    default:
        return err;
    }
}

/* The list's entry at this place from the end, which is 1; empty when there are not so many. */
static struct bytes entry_from_end(const char *list, int place)
{
    const char *begin, *end = list + strlen(list);
    for (;; end = begin - 1) {
        for (begin = end; begin > list && begin[-1] != ',';)
            begin--;
        if (--place == 0)
            break;
        if (begin == list)
            return (struct bytes){"", 0};
    }
    while (begin < end && (*begin == ' ' || *begin == '\t'))
        begin++;
    return (struct bytes){begin, (size_t)(end - begin)};
}

/* Each proxy adds the address that it was called from at the end; what stands before may be anybody's invention. */
char *client_address(struct request *req, const char *peer, const char *forwarded_for, int proxies)
{
    struct bytes seen = {"", 0};
    if (proxies > 0 && forwarded_for)
        seen = entry_from_end(forwarded_for, proxies);
    if (seen.size > 0)
        return arena_text(req->arena, seen.data, seen.size);
    const char *colon = strrchr(peer, ':');
    return arena_text(req->arena, peer, colon ? (size_t)(colon - peer) : strlen(peer));
}
