/* The user service's own words: what a user is, how it is judged and kept. */
#ifndef USER_SERVICE_USER_H
#define USER_SERVICE_USER_H

#include "common/rpc.h"
#include "common/service.h"

struct user {
    struct uuid id;
    const char *email, *name;
    int64_t created_at_ns;
};

/* What a user logs in with. */
struct credentials {
    struct uuid user_id;
    const char *password_hash; /* NULL: there is no such user, or no password */
    enum role role;
};

struct user_settings {
    struct service_settings service;
    const char *admin_email, *admin_password; /* of the first admin; "": none */
};

/* rules.c: decisions without I/O; a failure names the field and what was expected. */
bool is_email(const char *text);
enum err user_check(struct request *req, const char *email, const char *name);
enum err new_password_check(struct request *req, const char *password);

/* store.c */
/* password_hash NULL: the user cannot log in. */
enum err user_insert(struct request *req, const char *email, const char *name, const char *password_hash,
                     struct user *out);
enum err user_find(struct request *req, struct uuid id, struct user *out);
enum err credentials_find(struct request *req, const char *email, struct credentials *out);
/* Makes the user an admin with this password, and the user where there is none; ERR_UNAVAILABLE while somebody else
 * does the same. */
enum err admin_put(struct request *req, const char *email, const char *password_hash);

/* handlers.c */
rpc_handler create_user, get_user, login, list_keys;

/* admin.c: the first admin, as the settings name it. */
enum err admin_prepare(struct request *req);

#endif
