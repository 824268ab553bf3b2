/* The user service's own words: what a user is, how it is judged and kept. */
#ifndef USER_SERVICE_USER_H
#define USER_SERVICE_USER_H

#include "common/request.h"
#include "common/rpc.h"

struct user {
    struct uuid id;
    const char *email, *name;
    int64_t created_at_ns;
};

/* rules.c: decisions without I/O; a failure names the field and what was expected. */
enum err user_check(struct request *req, const char *email, const char *name);

/* store.c */
enum err user_insert(struct request *req, const char *email, const char *name, struct user *out);
enum err user_find(struct request *req, struct uuid id, struct user *out);

/* handlers.c */
rpc_handler create_user, get_user;

#endif
