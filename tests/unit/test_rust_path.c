/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "base/rust_path.h"

static void finds_first_steps(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t length;
    } rows[] = {
        {"a::b", 1},         {"a", 1},         {"", 0},       {"<A as b::C>::d", 11},
        {"a<b::c>::d", 7},   {"(a::b)::c", 6}, {"a::", 1},    {"::a", 3},
        {"fn() -> a::b", 9}, {"<a", 2},        {"a>>::b", 3}, {"[a::b; 3]::c", 9},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_int_equal(rust_path_step(rows[i].path, strlen(rows[i].path)), rows[i].length);
}

static void goes_up_steps(void **state)
{
    (void)state;
    const char *path = "demo::<A as b::C>::call::{closure#0}";
    size_t length = strlen(path);
    assert_int_equal(rust_path_parent(path, length, 0), length);
    assert_int_equal(rust_path_parent(path, length, 1), strlen("demo::<A as b::C>::call"));
    assert_int_equal(rust_path_parent(path, length, 2), strlen("demo::<A as b::C>"));
    assert_int_equal(rust_path_parent(path, length, 3), strlen("demo"));
    assert_int_equal(rust_path_parent(path, length, 4), 0);
    assert_int_equal(rust_path_parent(path, length, 1000), 0);
    assert_int_equal(rust_path_parent("", 0, 1), 0);
}

static void reads_source_forms(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},
        {"a::b", "a::b"},
        {"a::<b::<c>>::d::<e>", "a<b<c>>::d<e>"},
        {"<a::B as c::D>::e::<f>", "<a::B as c::D>::e<f>"},
        /* Legacy symbols of an impl in another module. */
        {"demo::b::<impl demo::a::Handler for demo::a::Svc>::call::{{closure}}",
         "<demo::a::Svc as demo::a::Handler>::call::{{closure}}"},
        {"core::str::<impl str>::trim", "str::trim"},
        {"a::<impl T<fn(u8) for b> for c>::d", "<c as T<fn(u8) for b>>::d"},
        {"a::<impl ", "a::<impl "},
        {"::<", "<"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct text text;
        text_init(&text);
        text_append_str(&text, rows[i][0]);
        rust_path_source_form(&text);
        assert_string_equal(text_str(&text), rows[i][1]);
        assert_int_equal(text.length, strlen(rows[i][1]));
        text_deinit(&text);
    }
}

static void unwraps_one_pair(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"<demo::Conn>", "demo::Conn"},
        {"<X as Y>", "<X as Y>"},
        {"<a>::<b>", "<a>::<b>"},
        {"<>", ""},
        {"<", "<"},
        {"a", "a"},
        {"<Vec<X as Y>>", "Vec<X as Y>"},
        {"<fn() -> u8>", "fn() -> u8"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct text text;
        text_init(&text);
        text_append_str(&text, rows[i][0]);
        rust_path_unwrap(&text);
        assert_string_equal(text_str(&text), rows[i][1]);
        assert_int_equal(text.length, strlen(rows[i][1]));
        text_deinit(&text);
    }
}

/* Any bytes: the functions stay inside and steps add up to the path. */
static void any_input_is_safe(void **state)
{
    (void)state;
    static const char letters[] = "a:<>()[]{}-# ";
    uint64_t random = 7;
    for (int round = 0; round < 20000; round++) {
        size_t length = random_below(&random, 40);
        char *path = malloc(length + 1); /* exactly: a sanitizer sees one byte too many */
        for (size_t i = 0; i < length; i++)
            path[i] = letters[random_below(&random, sizeof(letters) - 1)];
        path[length] = 0;
        assert_true(rust_path_step(path, length) <= length);
        for (unsigned steps = 0; steps < 5; steps++)
            assert_true(rust_path_parent(path, length, steps) <= length);
        struct text text;
        text_init(&text);
        text_append(&text, path, length);
        rust_path_unwrap(&text);
        rust_path_source_form(&text);
        assert_true(text.length <= length + 8);
        assert_int_equal(strlen(text_str(&text)), text.length);
        text_deinit(&text);
        free(path);
    }
}

static void very_long_paths_end(void **state)
{
    (void)state;
    struct text text;
    text_init(&text);
    for (int i = 0; i < 5000; i++)
        text_append_str(&text, "a::");
    text_append_str(&text, "b");
    assert_true(rust_path_parent(text_str(&text), text.length, 1) <= text.length);
    text_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_first_steps),  cmocka_unit_test(goes_up_steps),
        cmocka_unit_test(reads_source_forms), cmocka_unit_test(unwraps_one_pair),
        cmocka_unit_test(any_input_is_safe),  cmocka_unit_test(very_long_paths_end),
    };
    return cmocka_run_group_tests_name("rust_path", tests, NULL, NULL);
}
