#include <string.h>

#include "../../services/user-service/user.h"
#include "common/utf8.h"
#include "fuzz/fuzz.h"
#include "fuzz/rpc.h"
#include "user.pb-c.h"

static void check_draft(struct request *req, const void *message)
{
    const User__CreateUserRequest *in = message;
    enum err err = user_check(req, in->email, in->name);
    if (err) {
        rpc_check_refusal(req, err);
        return;
    }
    const char *at = strchr(in->email, '@');
    FUZZ_CHECK(at && at > in->email && at[1] && !strchr(at + 1, '@') && strlen(in->email) <= 254);
    for (const char *c = in->email; *c; c++)
        FUZZ_CHECK(*c > ' ' && *c <= '~');
    FUZZ_CHECK(*in->name && strlen(in->name) <= 4 * 255);
    for (const char *c = in->name; *c;)
        FUZZ_CHECK(utf8_next(&c) != UINT32_MAX);
}

static void check_id(struct request *req, const void *message)
{
    const User__GetUserRequest *in = message;
    struct uuid id;
    rpc_check_refusal(req, request_uuid(req, "id", in->id, &id));
}

const struct rpc_subject user_subjects[] = {
    {&user__create_user_request__descriptor, check_draft},
    {&user__get_user_request__descriptor, check_id},
};
