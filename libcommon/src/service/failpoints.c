/* The admin port's way to failpoints, in builds that have them: GET lists them, PUT sets what the body says. */
#include <string.h>

#include "common/failpoint.h"
#include "service/internal.h"

enum { LIST_BYTES = 8192 };

enum err get_failpoints(struct request *req, struct response *res)
{
    char *list = arena_alloc(req->arena, LIST_BYTES);
    failpoints_print(list, LIST_BYTES);
    res->content_type = "text/plain";
    res->body = (struct bytes){list, strlen(list)};
    return ERR_OK;
}

enum err put_failpoints(struct request *req, struct response *res)
{
    char message[256];
    if (failpoints_set(arena_text(req->arena, req->body.data, req->body.size), message, sizeof message))
        return fail(req, ERR_INVALID_ARGUMENT, "%s", message);
    return get_failpoints(req, res);
}
