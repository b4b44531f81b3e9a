/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <unistd.h>

#include "model/names.h"
#include "plan_sample.h"

/* A plan that knows some impls; names_init over it. */
struct subject {
    struct plan_builder builder;
    struct plan plan;
    struct names names;
    uint8_t *bytes;
};

static void add_impl(struct subject *subject, const char *path, const char *display)
{
    struct plan_impl row = {plan_builder_string(&subject->builder, path),
                            plan_builder_string(&subject->builder, display)};
    plan_builder_add(&subject->builder, PLAN_IMPLS, &row);
}

static int make_subject(void **state)
{
    struct subject *subject = calloc(1, sizeof(*subject));
    plan_builder_init(&subject->builder);
    add_impl(subject, "demo::{impl#0}", "<demo::Svc as demo::Handler>");
    add_impl(subject, "demo::conn::{impl#1}", "demo::conn::Conn<T>");
    add_impl(subject, "demo::{impl#7}", "<demo::{impl#7}, demo::{impl#7}>"); /* hostile */
    subject->bytes = sample_open(&subject->builder, &subject->plan);
    names_init(&subject->names, &subject->plan);
    *state = subject;
    return 0;
}

static int free_subject(void **state)
{
    struct subject *subject = *state;
    names_deinit(&subject->names);
    plan_builder_deinit(&subject->builder);
    free(subject->bytes);
    free(subject);
    return 0;
}

static void expect_type(void **state, const char *raw, enum name_style style, const char *name)
{
    const struct subject *subject = *state;
    struct text text;
    text_init(&text);
    names_type(&subject->names, raw, style, &text);
    assert_string_equal(text_str(&text), name);
    text_deinit(&text);
}

static void expect_styles(void **state, const char *raw, const char *brief, const char *path,
                          const char *full)
{
    expect_type(state, raw, NAME_SHORT, brief);
    expect_type(state, raw, NAME_PATH, path);
    expect_type(state, raw, NAME_FULL, full);
}

static void expect_future(const char *path, const char *symbol, const char *name, const char *full)
{
    struct plan_builder builder;
    struct plan plan;
    struct names names;
    plan_builder_init(&builder);
    plan_str raw = plan_builder_string(&builder, path),
             poll = plan_builder_string(&builder, symbol);
    uint8_t *bytes = sample_open(&builder, &plan);
    names_init(&names, &plan);
    struct plan_future future = {.path = raw, .symbol = poll};
    struct text text;
    text_init(&text);
    names_future(&names, &future, NAME_SHORT, &text);
    assert_string_equal(text_str(&text), name);
    text_clear(&text);
    names_future(&names, &future, NAME_FULL, &text);
    assert_string_equal(text_str(&text), full);
    text_deinit(&text);
    names_deinit(&names);
    plan_builder_deinit(&builder);
    free(bytes);
}

static void plain_types(void **state)
{
    expect_styles(state, "u32", "u32", "u32", "u32");
    expect_styles(state, "", "", "", "");
    expect_styles(state, "alloc::string::String", "String", "alloc::string::String",
                  "alloc::string::String");
    expect_styles(state, "tokio::time::timeout::Timeout<tokio::time::sleep::Sleep>",
                  "Timeout<Sleep>", "tokio::time::timeout::Timeout<Sleep>",
                  "tokio::time::timeout::Timeout<tokio::time::sleep::Sleep>");
}

static void default_arguments_are_left_out(void **state)
{
    expect_styles(state, "alloc::vec::Vec<u8, alloc::alloc::Global>", "Vec<u8>",
                  "alloc::vec::Vec<u8>", "alloc::vec::Vec<u8, alloc::alloc::Global>");
    expect_type(state,
                "std::collections::hash::map::HashMap<alloc::string::String, u8, "
                "std::hash::random::RandomState>",
                NAME_SHORT, "HashMap<String, u8>");
    expect_type(state, "a::Map<u8, std::collections::hash::map::RandomState, alloc::alloc::Global>",
                NAME_SHORT, "Map<u8>");
    expect_type(state, "a::Only<alloc::alloc::Global>", NAME_SHORT, "Only");
}

static void nested_and_bracketed(void **state)
{
    expect_type(state, "(alloc::string::String, [core::option::Option<u8>; 3])", NAME_SHORT,
                "(String, [Option<u8>; 3])");
    expect_type(state, "*const fn(alloc::string::String) -> core::result::Result<u8, u16>",
                NAME_SHORT, "*const fn(String) -> Result<u8, u16>");
    expect_type(state,
                "core::pin::Pin<alloc::boxed::Box<dyn core::future::future::Future<Output=()> + "
                "core::marker::Send, alloc::alloc::Global>>",
                NAME_SHORT, "Pin<Box<dyn Future<Output = ()> + Send>>");
    expect_type(state, "a::F<fn(b::C) -> d::E, [g::H; 2]>", NAME_SHORT, "F<fn(C) -> E, [H; 2]>");
}

static void compiler_made_steps(void **state)
{
    expect_type(state, "demo::read::{async_fn_env#0}", NAME_SHORT, "demo::read");
    expect_type(state, "demo::read::{async_fn_env#0}<alloc::vec::Vec<u8>>", NAME_PATH,
                "demo::read<Vec<u8>>");
    expect_type(state, "demo::main::{async_fn#0}::{async_block_env#2}", NAME_PATH,
                "demo::main::{async block#2}");
    expect_type(state, "demo::main::{closure_env#3}", NAME_SHORT, "main::{closure#3}");
    expect_type(state, "demo::main::{closure#0}::{async_closure_env#0}", NAME_PATH,
                "demo::main::{async closure#0}");
    expect_type(state, "demo::main::{{closure}}", NAME_PATH, "demo::main::{closure}");
    expect_type(state, "demo::main::{closure#1}::{async_block_env#0}<u8>", NAME_PATH,
                "demo::main<u8>::{closure#1}::{async block#0}");
}

static void impls_by_table(void **state)
{
    expect_styles(state, "demo::{impl#0}::call::{async_fn_env#0}", "<Svc as Handler>::call",
                  "<Svc as Handler>::call", "<demo::Svc as demo::Handler>::call");
    expect_type(state, "demo::conn::{impl#1}::read::{async_fn_env#0}", NAME_PATH,
                "demo::conn::Conn<T>::read");
    /* Not in the table: shown as it is. */
    expect_type(state, "demo::{impl#3}::call::{async_fn_env#0}", NAME_PATH, "demo::{impl#3}::call");
}

/* Before Rust 1.67 the compiler wrapped each future. */
static void gen_future_is_unwrapped(void **state)
{
    expect_type(state, "core::future::from_generator::GenFuture<demo::read::{async_fn_env#0}>",
                NAME_PATH, "demo::read");
    expect_type(state,
                "alloc::boxed::Box<core::future::from_generator::GenFuture<"
                "demo::main::{async_block_env#0}>, alloc::alloc::Global>",
                NAME_SHORT, "Box<demo::main::{async block#0}>");
}

/* v0 symbols know the impl and the instance. */
static void symbols_v0(void **state)
{
    (void)state;
    expect_future("demo::{impl#0}::call::{async_fn_env#0}",
                  "<demo::Svc as demo::Handler>::call::{closure#0}", "<Svc as Handler>::call",
                  "<demo::Svc as demo::Handler>::call");
    expect_future("demo::{impl#0}::call::{async_fn_env#0}<u32>",
                  "<demo::Svc<u32> as demo::Handler>::call::{closure#0}",
                  "<Svc<u32> as Handler>::call", "<demo::Svc<u32> as demo::Handler>::call");
    expect_future("demo::{impl#2}::get::{async_fn_env#0}<u8>",
                  "<demo::Conn>::get::<u8>::{closure#0}", "demo::Conn::get<u8>",
                  "demo::Conn::get<u8>");
}

/* Legacy symbols have the parameter's name; DWARF has what it stands for. */
static void symbols_legacy(void **state)
{
    (void)state;
    expect_future("demo::{impl#0}::call::{async_fn_env#0}",
                  "<demo::Svc as demo::Handler>::call::{{closure}}", "<Svc as Handler>::call",
                  "<demo::Svc as demo::Handler>::call");
    expect_future("demo::{impl#0}::call::{async_fn_env#0}<u32>",
                  "<demo::Svc<T> as demo::Handler>::call::{{closure}}",
                  "<Svc<u32> as Handler>::call", "<demo::Svc<u32> as demo::Handler>::call");
    /* Two parameters: which is which is not known, so they stay. */
    expect_future("demo::{impl#0}::call::{async_fn_env#0}<u32, u8>",
                  "<demo::Svc<K,V> as demo::Handler>::call::{{closure}}",
                  "<Svc<K, V> as Handler>::call<u32, u8>",
                  "<demo::Svc<K, V> as demo::Handler>::call<u32, u8>");
}

static void symbols_that_do_not_fit(void **state)
{
    (void)state;
    /* A symbol with fewer steps than the path cannot be joined. */
    expect_future("demo::{impl#0}::call::{async_fn_env#0}", "call", "demo::{impl#0}::call",
                  "demo::{impl#0}::call");
    expect_future("demo::{impl#0}::call::{async_fn_env#0}", "", "demo::{impl#0}::call",
                  "demo::{impl#0}::call");
    /* The default method of a trait: Self is its first argument. */
    expect_future("demo::Job::run::{async_fn_env#0}<demo::A, alloc::vec::Vec<u8>>", "",
                  "<A as Job>::run<Vec<u8>>", "<demo::A as demo::Job>::run<alloc::vec::Vec<u8>>");
    expect_future("demo::job::run::{async_fn_env#0}<demo::A>", "", "demo::job::run<A>",
                  "demo::job::run<demo::A>");
    expect_future("demo::plain::{async_fn_env#0}", "<what as Ever>::x::{{closure}}", "demo::plain",
                  "demo::plain");
}

static void futures_keep_their_paths(void **state)
{
    (void)state;
    expect_future("demo::deep::er::run::{async_block_env#1}", "",
                  "demo::deep::er::run::{async block#1}", "demo::deep::er::run::{async block#1}");
}

/* An impl's display is not expanded again: it would double on each level. */
static void displays_do_not_recurse(void **state)
{
    const struct subject *subject = *state;
    struct text text;
    text_init(&text);
    alarm(10);
    names_type(&subject->names, "demo::{impl#7}::x", NAME_FULL, &text);
    alarm(0);
    assert_true(text.length < 1000);
    text_deinit(&text);
}

static void expect_bounded(void **state, const struct text *raw)
{
    const struct subject *subject = *state;
    alarm(20);
    for (int style = NAME_SHORT; style <= NAME_FULL; style++) {
        struct text text;
        text_init(&text);
        names_type(&subject->names, text_str(raw), (enum name_style)style, &text);
        assert_true(text.length <= 4 * raw->length + 1000);
        text_deinit(&text);
    }
    alarm(0);
}

static void ten_kilobyte_names(void **state)
{
    static const char *const pieces[] = {
        "a<",  "a::",        "<",          "(", "{",    "{closure#0}::", "a,", ">",
        "::<", "{impl#0}::", "GenFuture<", "x", " as ", "\x80",          "->"};
    for (size_t p = 0; p < sizeof(pieces) / sizeof(*pieces); p++) {
        struct text raw;
        text_init(&raw);
        while (raw.length < 10240)
            text_append_str(&raw, pieces[p]);
        expect_bounded(state, &raw);
        text_deinit(&raw);
    }
}

static void long_names_are_whole(void **state)
{
    struct text raw;
    text_init(&raw);
    for (int i = 0; i < 10240; i++)
        text_append_char(&raw, (char)('a' + i % 26));
    expect_type(state, text_str(&raw), NAME_SHORT, text_str(&raw));
    text_deinit(&raw);
}

static void random_names_are_safe(void **state)
{
    static const char *const pieces[] = {"a",           "::",
                                         "<",           ">",
                                         "(",           ")",
                                         "[",           "]",
                                         "{",           "}",
                                         ", ",          "{impl#0}",
                                         "{closure#1}", "{async_fn_env#0}",
                                         "demo",        "GenFuture<",
                                         "#",           "-",
                                         "; 3",         "alloc::alloc::Global"};
    uint64_t random = 17;
    for (int round = 0; round < 20000; round++) {
        struct text raw;
        text_init(&raw);
        for (uint64_t n = random_below(&random, 40); n; n--)
            text_append_str(&raw, pieces[random_below(&random, 20)]);
        const struct subject *subject = *state;
        struct text out;
        text_init(&out);
        char *exact = strdup(text_str(&raw)); /* a sanitizer sees one byte too many */
        names_type(&subject->names, exact, (enum name_style)random_below(&random, 3), &out);
        free(exact);
        text_deinit(&out);
        text_deinit(&raw);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_types),
        cmocka_unit_test(default_arguments_are_left_out),
        cmocka_unit_test(nested_and_bracketed),
        cmocka_unit_test(compiler_made_steps),
        cmocka_unit_test(impls_by_table),
        cmocka_unit_test(gen_future_is_unwrapped),
        cmocka_unit_test(symbols_v0),
        cmocka_unit_test(symbols_legacy),
        cmocka_unit_test(symbols_that_do_not_fit),
        cmocka_unit_test(futures_keep_their_paths),
        cmocka_unit_test(displays_do_not_recurse),
        cmocka_unit_test(ten_kilobyte_names),
        cmocka_unit_test(long_names_are_whole),
        cmocka_unit_test(random_names_are_safe),
    };
    return cmocka_run_group_tests_name("names", tests, make_subject, free_subject);
}
