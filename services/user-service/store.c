#include "common/db.h"
#include "user.h"

enum err user_insert(struct request *req, const char *email, const char *name, struct user *out)
{
    static const struct db_statement insert = {
        .name = "user_insert",
        .summary = "INSERT users",
        .sql =
            "with given as ("
            "    select * from unnest($1::uuid[], $2::text[], $3::text[]) with ordinality as g (id, email, name, ord)"
            "), made as ("
            "    insert into users (id, email, name) select id, email, name from given order by lower(email)"
            "    on conflict do nothing returning id, created_at"
            ") select ord, created_at from given join made using (id)",
        .params = "utt",
        .columns = "z",
        .coalesce_rows = 128,
    };
    struct db_rows rows;
    struct user user = {.id = uuid_v7(), .email = email, .name = name};
    enum err err = db_query(req, &insert, DB_PARAMS(db_uuid(user.id), db_text(email), db_text(name)), &rows);
    if (err)
        return err;
    if (rows.count == 0)
        return fail(req, ERR_ALREADY_EXISTS, "a user with this email exists already");
    user.created_at_ns = db_get_time(&rows, 0, 0);
    *out = user;
    return ERR_OK;
}

enum err user_find(struct request *req, struct uuid id, struct user *out)
{
    static const struct db_statement by_id = {
        .name = "user_by_id",
        .summary = "SELECT users",
        .sql = "select email, name, created_at from users where id = $1",
        .params = "u",
        .columns = "ttz",
    };
    struct db_rows rows;
    enum err err = db_query(req, &by_id, DB_PARAMS(db_uuid(id)), &rows);
    if (err)
        return err;
    if (rows.count == 0)
        return fail(req, ERR_NOT_FOUND, "no such user");
    *out = (struct user){
        .id = id,
        .email = db_get_text(&rows, 0, 0),
        .name = db_get_text(&rows, 0, 1),
        .created_at_ns = db_get_time(&rows, 0, 2),
    };
    return ERR_OK;
}
