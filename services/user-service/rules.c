#include <string.h>

#include "common/utf8.h"
#include "user.h"

enum {
    EMAIL_BYTES_MAX = 254,
    LABEL_BYTES_MAX = 63,
    NAME_CHARACTERS_MAX = 255,
    PASSWORD_BYTES_MIN = 8,
    PASSWORD_BYTES_MAX = 128,
};

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_local_part(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_alphanumeric(text[i]) && !strchr(".!#$%&'*+/=?^_`{|}~-", text[i]))
            return false;
    return length > 0;
}

static bool is_label(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_alphanumeric(text[i]) && text[i] != '-')
            return false;
    return length > 0 && length <= LABEL_BYTES_MAX && text[0] != '-' && text[length - 1] != '-';
}

/* HTML's rule for <input type=email>. */
bool is_email(const char *text)
{
    const char *at = strchr(text, '@');
    if (!at || strlen(text) > EMAIL_BYTES_MAX || !is_local_part(text, (size_t)(at - text)))
        return false;
    const char *label = at + 1;
    for (const char *dot; (dot = strchr(label, '.')); label = dot + 1)
        if (!is_label(label, (size_t)(dot - label)))
            return false;
    return is_label(label, strlen(label));
}

/* Unicode's White_Space less the control characters. */
static bool is_space(uint32_t c)
{
    return c == ' ' || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool is_name(const char *text)
{
    unsigned characters = 0;
    bool visible = false;
    while (*text) {
        uint32_t c = utf8_next(&text);
        bool control = c < 0x20 || (c >= 0x7f && c <= 0x9f);
        if (c == UINT32_MAX || control || ++characters > NAME_CHARACTERS_MAX)
            return false;
        visible |= !is_space(c);
    }
    return visible;
}

enum err user_check(struct request *req, const char *email, const char *name)
{
    if (!is_email(email))
        return fail(req, ERR_INVALID_ARGUMENT, "email: expected an address like ann@example.com of at most %d bytes",
                    EMAIL_BYTES_MAX);
    if (!is_name(name))
        return fail(req, ERR_INVALID_ARGUMENT,
                    "name: expected 1 to %d characters, not only white space, without control characters",
                    NAME_CHARACTERS_MAX);
    return ERR_OK;
}

enum err new_password_check(struct request *req, const char *password)
{
    size_t bytes = strlen(password);
    if (bytes >= PASSWORD_BYTES_MIN && bytes <= PASSWORD_BYTES_MAX)
        return ERR_OK;
    return fail(req, ERR_INVALID_ARGUMENT, "password: expected %d to %d bytes", PASSWORD_BYTES_MIN, PASSWORD_BYTES_MAX);
}
