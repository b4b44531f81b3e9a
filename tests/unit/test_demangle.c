/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <unistd.h>

#include "program/demangle.h"

static void expect(const char *symbol, const char *name)
{
    struct text text;
    text_init(&text);
    text_append_str(&text, "kept ");
    bool ok = demangle_rust(symbol, &text);
    assert_int_equal(ok, name != NULL);
    assert_memory_equal(text_str(&text), "kept ", 5);
    if (name)
        assert_string_equal(text_str(&text) + 5, name);
    else
        assert_int_equal(text.length, 5); /* nothing is left behind */
    text_deinit(&text);
}

static void legacy(void **state)
{
    (void)state;
    expect("_ZN4demo4main17h0123456789abcdefE", "demo::main");
    expect("_ZN4demo4main28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE",
           "demo::main::{{closure}}");
    expect("_ZN43_$LT$demo..Svc$u20$as$u20$demo..Handler$GT$4call17h0123456789abcdefE",
           "<demo::Svc as demo::Handler>::call");
}

static void v0(void **state)
{
    (void)state;
    expect("_RNvC4demo4main", "demo::main");
    expect("_RNCNvC4demo4main0B3_", "demo::main::{closure#0}");
    expect("_RNvXC4demoNtB2_3SvcNtB2_7Handler4call", "<demo::Svc as demo::Handler>::call");
    expect("_RINvC4demo4readhE", "demo::read::<u8>");
}

static void others_are_left_alone(void **state)
{
    (void)state;
    expect(NULL, NULL);
    expect("", NULL);
    expect("main", NULL);
    expect("_R", NULL);
    expect("_ZN", NULL);
    expect("_Z3fooi", NULL);             /* C++ */
    expect("_ZN4demo4mainE", NULL);      /* C++: no hash */
    expect("_RNvC4demo99999main", NULL); /* a name longer than the symbol */
    expect("_RNvC4demo4mai", NULL);
}

/* Back references that double: 2^60 bytes if nobody stopped it. */
static void bomb_is_bounded(void **state)
{
    (void)state;
    struct text symbol, text;
    text_init(&symbol);
    text_init(&text);
    text_append_str(&symbol, "_RINvC1a1bTuuE");
    /* Each tuple holds the one before it twice; positions count from behind "_R". */
    size_t at = strlen("INvC1a1b");
    for (int i = 0; i < 60; i++) {
        static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        char back[8];
        size_t value = at, nr = 0;
        char reversed[8];
        if (value) {
            for (value -= 1; nr == 0 || value; value /= 62)
                reversed[nr++] = digits[value % 62];
        }
        for (size_t k = 0; k < nr; k++)
            back[k] = reversed[nr - 1 - k];
        back[nr] = 0;
        at = symbol.length - 2;
        text_printf(&symbol, "TB%s_B%s_E", back, back);
    }
    text_append_str(&symbol, "E");
    alarm(10);
    bool ok = demangle_rust(text_str(&symbol), &text);
    alarm(0);
    assert_false(ok);
    assert_int_equal(text.length, 0);
    text_deinit(&symbol);
    text_deinit(&text);
}

/* A for<...> of 62^6 lifetimes inside an impl's path, where nothing is printed: see demangle.c. */
static void huge_binder_ends(void **state)
{
    (void)state;
    alarm(10);
    expect("_RNvMINvC1a1bFGzzzzzz_EuEu1c", NULL);
    expect("_RNvMINvC1a1bDGZZZZZZZZ_EL_Eu1c", NULL);
    alarm(0);
}

static void very_long_symbols_end(void **state)
{
    (void)state;
    struct text symbol;
    text_init(&symbol);
    text_append_str(&symbol, "_RNvC4demo");
    for (int i = 0; i < 30000; i++)
        text_append_str(&symbol, "Nv");
    alarm(10);
    expect(text_str(&symbol), NULL);
    for (int i = 0; i < 30000; i++)
        text_append_str(&symbol, "4abcd");
    expect(text_str(&symbol), NULL);
    text_clear(&symbol);
    text_append_str(&symbol, "_RMC0");
    for (int i = 0; i < 20000; i++)
        text_append_str(&symbol, "RR"); /* types nested without end */
    expect(text_str(&symbol), NULL);
    alarm(0);
    text_deinit(&symbol);
}

static void ten_kilobytes_are_whole(void **state)
{
    (void)state;
    struct text symbol, name;
    text_init(&symbol);
    text_init(&name);
    text_append_str(&symbol, "_RNvC4demo10000");
    text_append_str(&name, "demo::");
    for (int i = 0; i < 10000; i++) {
        text_append_char(&symbol, (char)('a' + i % 26));
        text_append_char(&name, (char)('a' + i % 26));
    }
    expect(text_str(&symbol), text_str(&name));
    text_deinit(&symbol);
    text_deinit(&name);
}

static void random_symbols_are_safe(void **state)
{
    (void)state;
    static const char letters[] = "NvCXMIBTESFDRKLhju_0123489abGz$.";
    uint64_t random = 11;
    alarm(60);
    for (int round = 0; round < 100000; round++) {
        char symbol[64] = "_R";
        size_t length = 2 + random_below(&random, 50);
        for (size_t i = 2; i < length; i++)
            symbol[i] = letters[random_below(&random, sizeof(letters) - 1)];
        struct text text;
        text_init(&text);
        bool ok = demangle_rust(symbol, &text);
        assert_true(ok || text.length == 0);
        text_deinit(&text);
    }
    alarm(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(legacy),
        cmocka_unit_test(v0),
        cmocka_unit_test(others_are_left_alone),
        cmocka_unit_test(bomb_is_bounded),
        cmocka_unit_test(huge_binder_ends),
        cmocka_unit_test(very_long_symbols_end),
        cmocka_unit_test(ten_kilobytes_are_whole),
        cmocka_unit_test(random_symbols_are_safe),
    };
    return cmocka_run_group_tests_name("demangle", tests, NULL, NULL);
}
