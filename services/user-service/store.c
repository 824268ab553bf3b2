#include "common/db.h"
#include "user.h"

enum err user_insert(struct request *req, const char *email, const char *name, const char *password_hash,
                     struct user *out)
{
    static const struct db_statement insert = {
        .name = "user_insert",
        .summary = "INSERT users",
        .sql = "with given as ("
               "    select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) with ordinality"
               "        as g (id, email, name, password_hash, ord)"
               "), made as ("
               "    insert into users (id, email, name) select id, email, name from given order by lower(email)"
               "    on conflict do nothing returning id, created_at"
               "), secured as ("
               "    insert into credentials (user_id, password_hash)"
               "    select id, password_hash from given join made using (id) where password_hash is not null"
               ") select ord, created_at from given join made using (id)",
        .params = "uttt",
        .columns = "z",
        .coalesce_rows = 128,
    };
    struct db_rows rows;
    struct user user = {.id = uuid_v7(), .email = email, .name = name};
    enum err err = db_query(req, &insert,
                            DB_PARAMS(db_uuid(user.id), db_text(email), db_text(name), db_text(password_hash)), &rows);
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

enum err credentials_find(struct request *req, const char *email, struct credentials *out)
{
    static const struct db_statement by_email = {
        .name = "credentials_by_email",
        .summary = "SELECT users, credentials",
        .sql = "select id, password_hash, role from users join credentials on user_id = id"
               " where lower(email) = lower($1)",
        .params = "t",
        .columns = "utt",
    };
    struct db_rows rows;
    struct credentials found = {0};
    enum err err = db_query(req, &by_email, DB_PARAMS(db_text(email)), &rows);
    if (err)
        return err;
    if (rows.count > 0) {
        found.user_id = db_get_uuid(&rows, 0, 0);
        found.password_hash = db_get_text(&rows, 0, 1);
        role_parse(db_get_text(&rows, 0, 2), &found.role);
    }
    *out = found;
    return ERR_OK;
}

enum err admin_put(struct request *req, const char *email, const char *password_hash)
{
    static const struct db_statement put = {
        .name = "admin_put",
        .summary = "INSERT users, credentials",
        .sql = "with made as ("
               "    insert into users (id, email, name) values ($1, $2, 'Admin') on conflict do nothing returning id"
               "), who as ("
               "    select id from made union all select id from users where lower(email) = lower($2)"
               ") insert into credentials (user_id, password_hash, role) select id, $3, 'admin' from who"
               " on conflict (user_id) do update"
               "    set password_hash = excluded.password_hash, role = excluded.role, updated_at = now()"
               " returning user_id",
        .params = "utt",
        .columns = "u",
    };
    struct db_rows rows;
    enum err err = db_query(req, &put, DB_PARAMS(db_uuid(uuid_v7()), db_text(email), db_text(password_hash)), &rows);
    if (err)
        return err;
    return rows.count > 0 ? ERR_OK : fail(req, ERR_UNAVAILABLE, "the first admin is being made elsewhere");
}
