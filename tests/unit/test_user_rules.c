#include <string.h>

#include "../../services/user-service/user.h"
#include "common/mem.h"
#include "support/support.h"

static void check_emails(struct request *req, void *arg)
{
    (void)arg;
    static const char *const good[] = {"a@b", "ann@example.com", "a.b+c@sub.example.co", "!#$%&'*+/=?^_`{|}~-@x1.y-z"};
    static const char *const bad[] = {"",      "a",          "@",          "a@",    "@b",    "a@b.",
                                      "a@.b",  "a@b..c",     "a@-b",       "a@b-",  "a b@c", "a@b c",
                                      "a@b@c", "\xc3\xa4@b", "a@\xc3\xa4", "a@b\n", "(a)@b"};
    for (size_t i = 0; i < array_count(good); i++)
        assert_int_equal(user_check(req, good[i], "n"), ERR_OK);
    for (size_t i = 0; i < array_count(bad); i++) {
        assert_int_equal(user_check(req, bad[i], "n"), ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(req->failure.detail, "email"));
    }
}

static void test_emails_follow_the_rule_of_html(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_emails, NULL);
}

static void check_lengths(struct request *req, void *arg)
{
    (void)arg;
    char label[80] = "a@", email[300];
    memset(label + 2, 'l', 63);
    label[65] = '\0';
    assert_int_equal(user_check(req, label, "n"), ERR_OK);
    label[65] = 'l';
    label[66] = '\0';
    assert_int_equal(user_check(req, label, "n"), ERR_INVALID_ARGUMENT);
    memset(email, 'e', sizeof email);
    strcpy(email + 252, "@b");
    assert_int_equal(user_check(req, email, "n"), ERR_OK);
    strcpy(email + 253, "@b");
    assert_int_equal(user_check(req, email, "n"), ERR_INVALID_ARGUMENT);
}

static void test_emails_have_a_longest_form(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_lengths, NULL);
}

static void check_names(struct request *req, void *arg)
{
    (void)arg;
    static const char *const good[] = {"a", " a ", "\xe4\xb8\xad\xe6\x96\x87", "O'Neil", "\xf0\x9f\x98\x80"};
    static const char *const bad[] = {"",         " ",    "\xc2\xa0", "\xe3\x80\x80 \xe2\x80\x83", "a\tb", "a\x7f",
                                      "\xc2\x85", "\xff", "a\xc3"};
    for (size_t i = 0; i < array_count(good); i++)
        assert_int_equal(user_check(req, "a@b", good[i]), ERR_OK);
    for (size_t i = 0; i < array_count(bad); i++) {
        assert_int_equal(user_check(req, "a@b", bad[i]), ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(req->failure.detail, "name"));
    }
    char name[1024] = "";
    for (int i = 0; i < 255; i++)
        strcat(name, "\xc3\xa9");
    assert_int_equal(user_check(req, "a@b", name), ERR_OK);
    strcat(name, "x");
    assert_int_equal(user_check(req, "a@b", name), ERR_INVALID_ARGUMENT);
}

static void test_names_are_visible_text_of_255_characters(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_names, NULL);
}

static void check_passwords(struct request *req, void *arg)
{
    char password[200] = "";
    (void)arg;
    for (unsigned bytes = 0; bytes < 140; bytes++) {
        bool good = bytes >= 8 && bytes <= 128;
        assert_int_equal(new_password_check(req, password), good ? ERR_OK : ERR_INVALID_ARGUMENT);
        strcat(password, "p");
    }
    assert_string_equal(req->failure.detail, "password: expected 8 to 128 bytes");
}

static void test_passwords_have_8_to_128_bytes(void **state)
{
    (void)state;
    test_in_fiber(NULL, check_passwords, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_emails_follow_the_rule_of_html),
        cmocka_unit_test(test_emails_have_a_longest_form),
        cmocka_unit_test(test_passwords_have_8_to_128_bytes),
        cmocka_unit_test(test_names_are_visible_text_of_255_characters),
    };
    return cmocka_run_group_tests_name("user rules", tests, NULL, NULL);
}
