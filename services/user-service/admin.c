/* The first admin: made at the start of whichever replica comes first. Who has the address already becomes the admin;
 * and at each start the password is that of the settings. */
#include "user.h"

static enum err check_settings(struct request *req, const struct user_settings *settings)
{
    if (!is_email(settings->admin_email))
        return fail(req, ERR_INVALID_ARGUMENT, "auth.bootstrap_admin.email: expected an address like ann@example.com");
    enum err err = new_password_check(req, settings->admin_password);
    return err ? fail(req, err, "auth.bootstrap_admin.%s", req->failure.detail) : ERR_OK;
}

/* Whether there is nothing to do. */
static enum err is_as_wanted(struct request *req, const struct credentials *known, const char *password, bool *out)
{
    *out = false;
    if (!known->password_hash || known->role != ROLE_ADMIN)
        return ERR_OK;
    return password_check(req, password, known->password_hash, out);
}

enum err admin_prepare(struct request *req)
{
    const struct user_settings *settings = req->worker->settings;
    struct credentials known;
    char hash[AUTH_HASH_BYTES];
    bool done;
    if (!settings->admin_email[0] && !settings->admin_password[0])
        return ERR_OK;
    enum err err = check_settings(req, settings);
    if (!err)
        err = credentials_find(req, settings->admin_email, &known);
    if (!err)
        err = is_as_wanted(req, &known, settings->admin_password, &done);
    if (err || done)
        return err;
    err = password_hash(req, settings->admin_password, hash);
    return err ? err : admin_put(req, settings->admin_email, hash);
}
