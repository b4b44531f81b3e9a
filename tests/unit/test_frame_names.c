/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "model/frame_names.h"

static const struct {
    const char *function, *name, *file;
    const char *shown;
    enum run_frame_kind kind;
} functions[] = {
    {"demo::serve_conn::{{closure}}", "{async_fn#0}", "/home/me/demo/src/main.rs", "serve_conn",
     RUN_FRAME_POLL},
    {"demo::serve_conn::{closure#0}", "{async_fn#0}<demo::Tcp>", "/home/me/demo/src/main.rs",
     "serve_conn", RUN_FRAME_POLL},
    {"demo::main::{{closure}}::{{closure}}", "{async_block#2}", "/home/me/demo/src/main.rs",
     "main::{async block#2}", RUN_FRAME_POLL},
    {"demo::main::{{closure}}", "{closure#1}", "/home/me/demo/src/main.rs", "main::{closure#1}",
     RUN_FRAME_USER},
    {"demo::main::{{closure}}", NULL, NULL, "main::{closure}", RUN_FRAME_USER},
    {"<demo::conn::Conn as demo::Handler>::call::{{closure}}", "{async_fn#0}",
     "/home/me/demo/src/conn.rs", "<Conn as Handler>::call", RUN_FRAME_POLL},
    {"demo::conn::<impl demo::Handler for demo::conn::Conn>::call", "call",
     "/home/me/demo/src/conn.rs", "<Conn as Handler>::call", RUN_FRAME_USER},
    {"bytes::bytes_mut::BytesMut::reserve", "reserve",
     "/root/.cargo/registry/src/index.crates.io-1/bytes-1.0/src/bytes_mut.rs", "BytesMut::reserve",
     RUN_FRAME_LIBRARY},
    {"bytes::bytes_mut::BytesMut::reserve", NULL, NULL, "BytesMut::reserve", RUN_FRAME_LIBRARY},
    {"<alloc::vec::Vec<u8>>::reserve::<T>", "reserve<u8>",
     "/rustc/abc/library/alloc/src/vec/mod.rs", "Vec::reserve", RUN_FRAME_STD},
    {"alloc::vec::Vec<T,A>::reserve", "reserve<u8, alloc::alloc::Global>",
     "/rustc/abc/library/alloc/src/vec/mod.rs", "Vec::reserve", RUN_FRAME_STD},
    {"<T as core::convert::Into<U>>::into", "into", NULL, "<T as Into<U>>::into", RUN_FRAME_STD},
    {"<&mut demo::Reader as demo::Read>::read", "read", "/home/me/demo/src/main.rs",
     "<&mut Reader as Read>::read", RUN_FRAME_USER},
    {"tokio::runtime::task::raw::poll", "poll<T, S>",
     "/root/.cargo/registry/src/x/tokio-1.53.1/src/runtime/task/raw.rs", "poll", RUN_FRAME_RUNTIME},
    {"<tokio::net::tcp::listener::TcpListener>::accept::{closure#0}", "{async_fn#0}",
     "/root/.cargo/registry/src/x/tokio-1.53.1/src/net/tcp/listener.rs", "TcpListener::accept",
     RUN_FRAME_LIBRARY},
    {"std::panicking::try", "try<F>", "/rustc/abc/library/std/src/panicking.rs", "try",
     RUN_FRAME_RUNTIME},
    {"__rust_alloc", NULL, NULL, "__rust_alloc", RUN_FRAME_STD},
    {"main", NULL, NULL, "main", RUN_FRAME_RUNTIME},
    {"__libc_start_call_main", NULL, NULL, "__libc_start_call_main", RUN_FRAME_RUNTIME},
    {"main", "main", "/home/me/c/main.c", "main", RUN_FRAME_USER},
    {"__libc_start_main_impl", "__libc_start_main_impl", "./csu/../csu/libc-start.c",
     "__libc_start_main_impl", RUN_FRAME_RUNTIME},
    {"deflateInit_", NULL, NULL, "deflateInit_", RUN_FRAME_LIBRARY},
};

static void names_and_kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
        const struct frame frame = {.function = functions[i].function,
                                    .name = functions[i].name,
                                    .file = functions[i].file};
        struct text shown;
        text_init(&shown);
        frame_short_name(&frame, &shown);
        assert_string_equal(text_str(&shown), functions[i].shown);
        if (frame_kind(&frame, "/home/me/demo/demo") != functions[i].kind)
            fail_msg("%s is of kind %d", functions[i].function,
                     frame_kind(&frame, "/home/me/demo/demo"));
        text_deinit(&shown);
    }
}

static void the_tracer_is_its_own_kind(void **state)
{
    const struct frame frame = {.function = "task_hook_poll"};
    (void)state;
    assert_int_equal(frame_kind(&frame, "/usr/lib/asyncmem/libasyncmem-trace.so"),
                     RUN_FRAME_TRACER);
}

static void what_the_system_brings(void **state)
{
    const struct frame frame = {.function = "qsort_r", .file = "./stdlib/msort.c"};
    (void)state;
    assert_int_equal(frame_kind(&frame, "/usr/lib/x86_64-linux-gnu/libc.so.6"), RUN_FRAME_LIBRARY);
    assert_int_equal(frame_kind(&frame, "/home/me/c/program"), RUN_FRAME_USER);
}

/* Any text is a name to somebody. */
static void any_text(void **state)
{
    static const char *const parts[] = {
        "<", ">", "::",          "{",      "}", "a", "B",     " as ", "impl ",        "#",   "&",
        "(", ")", "{{closure}}", "<impl ", "[", "]", " for ", "\xff", "{async_fn#0}", "dyn "};
    uint64_t seed = 4;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct text function, name, shown;
        text_init(&function);
        text_init(&name);
        text_init(&shown);
        for (uint64_t n = random_below(&seed, 14); n--;)
            text_append_str(&function, parts[random_below(&seed, 21)]);
        for (uint64_t n = random_below(&seed, 3); n--;)
            text_append_str(&name, parts[random_below(&seed, 21)]);
        const struct frame frame = {.function = text_str(&function), .name = text_str(&name)};
        frame_short_name(&frame, &shown);
        assert_true(frame_kind(&frame, "") < NR_RUN_FRAME_KINDS);
        text_deinit(&function);
        text_deinit(&name);
        text_deinit(&shown);
    }
}

static void nothing_known(void **state)
{
    const struct frame frame = {0};
    struct text shown;
    (void)state;
    text_init(&shown);
    frame_short_name(&frame, &shown);
    assert_string_equal(text_str(&shown), "");
    assert_int_equal(frame_kind(&frame, ""), RUN_FRAME_LIBRARY);
    text_deinit(&shown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_kinds),        cmocka_unit_test(the_tracer_is_its_own_kind),
        cmocka_unit_test(what_the_system_brings), cmocka_unit_test(any_text),
        cmocka_unit_test(nothing_known),
    };
    return cmocka_run_group_tests_name("frame_names", tests, NULL, NULL);
}
