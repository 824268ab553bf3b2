#include "common/service.h"
#include "user.h"
#include "user.pb-c.h"

static void answer_user(struct request *req, const struct user *user, User__UserResponse *out)
{
    out->id = uuid_print(req->arena, user->id);
    out->email = arena_print(req->arena, "%s", user->email);
    out->name = arena_print(req->arena, "%s", user->name);
    out->created_at = clock_format(user->created_at_ns, arena_alloc(req->arena, CLOCK_TEXT_BYTES));
}

enum err create_user(struct request *req, const void *message, void *answer)
{
    const User__CreateUserRequest *in = message;
    struct user user;
    enum err err = user_check(req, in->email, in->name);
    if (!err)
        err = user_insert(req, in->email, in->name, &user);
    service_count("bodega.users.requested", err_name(err));
    if (err)
        return err;
    answer_user(req, &user, answer);
    return ERR_OK;
}

enum err get_user(struct request *req, const void *message, void *answer)
{
    const User__GetUserRequest *in = message;
    struct uuid id;
    struct user user;
    enum err err = request_uuid(req, "id", in->id, &id);
    if (!err)
        err = user_find(req, id, &user);
    if (err)
        return err;
    answer_user(req, &user, answer);
    return ERR_OK;
}
