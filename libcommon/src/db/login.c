#include "db/login.h"

#include <stdio.h>
#include <string.h>

#include "common/config.h"
#include "common/mem.h"

bool db_password(const struct db_settings *settings, char **out, char *message, unsigned message_bytes)
{
    char reason[512];
    const char *file = settings->password_file, *password = settings->password;
    if (!file || !*file) {
        *out = password && *password ? mem_text(password) : NULL;
        return true;
    }
    *out = config_secret(file, reason, sizeof reason);
    if (!*out)
        snprintf(message, message_bytes, "database.password_file: %s", reason);
    return *out != NULL;
}

/* What libpq 15 says, and what of ours it is about; the first that fits counts. */
static const struct {
    const char *words, *about;
} explanations[] = {
    {"certificate verify failed", "the server's certificate is none of sslrootcert in database.url"},
    {"does not match host name", "sslmode=verify-full in database.url wants the host's name in the certificate"},
    {"does not support SSL", "sslmode in database.url wants TLS"},
    {"root certificate file", "sslrootcert in database.url"},
    {"private key file", "sslkey in database.url"},
    {"certificate file", "sslcert in database.url"},
    {"requires a valid client certificate", "the server wants sslcert and sslkey in database.url"},
    {"alert unknown ca", "the server does not believe sslcert in database.url"},
    {"password authentication failed", "database.password, or the one in database.url"},
    {"no password supplied", "database.password, or one in database.url"},
};

void db_explain(const char *words, char *out, unsigned out_bytes)
{
    const char *about = NULL;
    for (unsigned i = 0; i < array_count(explanations) && !about; i++)
        if (strstr(words, explanations[i].words))
            about = explanations[i].about;
    snprintf(out, out_bytes, "%.*s%s%s%s", (int)strcspn(words, "\n"), words, about ? " (" : "", about ? about : "",
             about ? ")" : "");
}
