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
    char hash[AUTH_HASH_BYTES];
    bool secured = in->password[0];
    enum err err = user_check(req, in->email, in->name);
    if (!err && secured)
        err = new_password_check(req, in->password);
    if (!err && secured)
        err = password_hash(req, in->password, hash);
    if (!err)
        err = user_insert(req, in->email, in->name, secured ? hash : NULL, &user);
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
    if (!err && !auth_owns(req, id))
        err = fail(req, ERR_NOT_FOUND, "no such user");
    if (!err)
        err = user_find(req, id, &user);
    if (err)
        return err;
    answer_user(req, &user, answer);
    return ERR_OK;
}

/* Whoever is wrong, in whatever way, gets the same answer for the same work. */
static enum err prove(struct request *req, const User__LoginRequest *in, struct credentials *out)
{
    bool right;
    struct credentials found = {0};
    enum err err = is_email(in->email) ? credentials_find(req, in->email, &found) : ERR_OK;
    if (!err)
        err = password_check(req, in->password, found.password_hash, &right);
    if (err)
        return err;
    if (!right) {
        login_failed(in->email, in->client_address);
        return fail(req, ERR_UNAUTHENTICATED, "email or password is wrong");
    }
    *out = found;
    return ERR_OK;
}

enum err login(struct request *req, const void *message, void *answer)
{
    const User__LoginRequest *in = message;
    User__LoginResponse *out = answer;
    struct credentials credentials = {0};
    enum err err = login_admit(req, in->email, in->client_address);
    if (!err)
        err = prove(req, in, &credentials);
    service_count("bodega.logins", err_name(err));
    if (err)
        return err;
    out->access_token = auth_token(req, credentials.user_id, credentials.role);
    out->token_type = arena_print(req->arena, "Bearer");
    out->expires_in = AUTH_TOKEN_LIFE_S;
    return ERR_OK;
}

enum err list_keys(struct request *req, const void *message, void *answer)
{
    User__ListKeysResponse *out = answer;
    (void)message;
    out->jwks = auth_jwks(req);
    return ERR_OK;
}
