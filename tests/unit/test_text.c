/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "base/error.h"
#include "base/text.h"

static void empty_text_is_a_string(void **state)
{
    (void)state;
    struct text text;
    text_init(&text);
    assert_string_equal(text_str(&text), "");
    text_clear(&text);
    text_append(&text, NULL, 0);
    assert_string_equal(text_str(&text), "");
    text_deinit(&text);
    text_deinit(&text);
}

static void appends_in_order(void **state)
{
    (void)state;
    struct text text;
    text_init(&text);
    text_append_str(&text, "ab");
    text_append_char(&text, 'c');
    text_append(&text, "defg", 2);
    text_printf(&text, "%d-%s", 42, "x");
    text_printf(&text, "%s", "");
    assert_string_equal(text_str(&text), "abcde42-x");
    assert_int_equal(text.length, strlen("abcde42-x"));
    text_clear(&text);
    assert_string_equal(text_str(&text), "");
    assert_int_equal(text.length, 0);
    text_deinit(&text);
}

static void grows_far(void **state)
{
    (void)state;
    struct text text;
    text_init(&text);
    for (int i = 0; i < 10000; i++)
        text_printf(&text, "%05d", i);
    assert_int_equal(text.length, 50000);
    assert_memory_equal(text_str(&text) + 5 * 1234, "01234", 5);
    assert_int_equal(strlen(text_str(&text)), 50000);
    text_deinit(&text);
}

static void compares_ends(void **state)
{
    (void)state;
    assert_true(str_starts_with("abc", "ab"));
    assert_true(str_starts_with("abc", ""));
    assert_false(str_starts_with("ab", "abc"));
    assert_true(str_ends_with("abc", "bc"));
    assert_true(str_ends_with("abc", ""));
    assert_false(str_ends_with("bc", "abc"));
    assert_false(str_ends_with("abd", "bc"));
}

static void errors_are_one_line(void **state)
{
    (void)state;
    struct error err;
    assert_false(error_set(&err, ERROR_INPUT, "%s", "a\nb\x1b[31m\x7f"));
    assert_string_equal(err.message, "a?b?[31m?");
    assert_int_equal(err.code, ERROR_INPUT);
    assert_false(error_prefix(&err, "x\n%d", 3));
    assert_string_equal(err.message, "x?3: a?b?[31m?");
    assert_false(error_set(NULL, ERROR_INPUT, "nobody asks"));
    assert_false(error_prefix(NULL, "nobody asks"));
}

static void long_errors_are_cut(void **state)
{
    (void)state;
    char name[4000];
    struct error err;
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    error_set(&err, ERROR_INPUT, "%s", name);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    error_prefix(&err, "%s", name);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_text_is_a_string),
        cmocka_unit_test(appends_in_order),
        cmocka_unit_test(grows_far),
        cmocka_unit_test(compares_ends),
        cmocka_unit_test(errors_are_one_line),
        cmocka_unit_test(long_errors_are_cut),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
