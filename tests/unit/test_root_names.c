/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "model/root_names.h"

static struct name_span span(const char *text)
{
    return (struct name_span){text, strlen(text)};
}

static struct frame frame(const char *function, const char *name)
{
    return (struct frame){.function = function, .name = name};
}

static void assert_span(struct name_span found, const char *expected)
{
    assert_int_equal(found.length, strlen(expected));
    assert_memory_equal(found.text, expected, found.length);
}

static void expect_entry(const char *function, const char *name, const char *expected)
{
    struct name_span future;
    struct frame row = frame(function, name);
    bool is_entry = root_names_entry(&row, &future);
    assert_int_equal(is_entry, expected != NULL);
    if (expected)
        assert_span(future, expected);
}

static void tells_entries(void **state)
{
    (void)state;
    static const char block[] = "demo::main::{async_block_env#0}";
    static const char name[] = "block_on<demo::main::{async_block_env#0}>";
    expect_entry("tokio::runtime::runtime::Runtime::block_on", name, block);
    expect_entry("tokio::runtime::handle::Handle::block_on", name, block);
    expect_entry("<tokio::runtime::runtime::Runtime>::block_on::<demo::main::{closure#0}>", name,
                 block);
    expect_entry("tokio::runtime::local_runtime::runtime::LocalRuntime::block_on", "block_on<a::B>",
                 "a::B");
    /* inside of an entry, or of none: a thread that waits for a channel */
    expect_entry("tokio::runtime::park::CachedParkThread::block_on", name, NULL);
    expect_entry("tokio::runtime::runtime::Runtime::block_on_inner", "block_on_inner<a::B>", NULL);
    expect_entry("tokio::runtime::runtime::Runtime::block_on::{{closure}}", "{closure#0}<a::B>",
                 NULL);
    expect_entry("demo::runtime::Runtime::block_on", name, NULL);
    expect_entry("tokio::runtime::runtime::Runtime::block_on", "block_on", NULL);
    expect_entry("tokio::runtime::runtime::Runtime::block_on", "block_on<", NULL);
    expect_entry("tokio::runtime::runtime::Runtime::block_on", NULL, NULL);
}

static void tells_schedulers(void **state)
{
    (void)state;
    struct frame many =
        frame("tokio::runtime::scheduler::multi_thread::MultiThread::block_on", "block_on<A>");
    struct frame one = frame(
        "<tokio::runtime::scheduler::current_thread::CurrentThread>::block_on::<A>", "block_on<A>");
    struct frame none = frame("tokio::runtime::runtime::Runtime::block_on", "block_on<A>");
    struct frame unknown = {0};
    assert_int_equal(root_names_scheduler(&many), TASK_SCHEDULER_MULTI_THREAD);
    assert_int_equal(root_names_scheduler(&one), TASK_SCHEDULER_CURRENT_THREAD);
    assert_int_equal(root_names_scheduler(&none), TASK_SCHEDULER_UNKNOWN);
    assert_int_equal(root_names_scheduler(&unknown), TASK_SCHEDULER_UNKNOWN);
    assert_false(root_names_is_task(&unknown));
    assert_false(root_names_is_task(&one));
    struct frame task = frame("tokio::runtime::task::raw::RawTask::poll", "poll");
    assert_true(root_names_is_task(&task));
}

static void tells_who_runs(void **state)
{
    (void)state;
    static const char *const parked[] = {
        "tokio::runtime::park::Inner::park",
        "<tokio::runtime::park::Inner>::park",
        "tokio::runtime::driver::Driver::park",
        "tokio::runtime::scheduler::current_thread::Context::park_yield",
        "<tokio::runtime::scheduler::current_thread::Context>::park",
    };
    static const char *const own[] = {
        "tokio::runtime::park::CachedParkThread::block_on",
        "<tokio::task::local::LocalSet>::tick",
        "core::ops::function::FnOnce::call_once",
        "<core::pin::Pin<P> as core::future::future::Future>::poll",
        "syscall",
    };
    static const char *const foreign[] = {"demo::work", "<demo::Svc as demo::Call>::call",
                                          "tokio::sync::notify::Notify::notified"};
    struct frame none = {0};
    assert_false(root_names_is_parked(&none) || root_names_is_foreign(&none));
    for (size_t i = 0; i < sizeof(parked) / sizeof(*parked); i++) {
        struct frame row = frame(parked[i], NULL);
        assert_true(root_names_is_parked(&row));
        assert_false(root_names_is_foreign(&row));
    }
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
        struct frame row = frame(own[i], NULL);
        assert_false(root_names_is_parked(&row) || root_names_is_foreign(&row));
    }
    for (size_t i = 0; i < sizeof(foreign) / sizeof(*foreign); i++) {
        struct frame row = frame(foreign[i], NULL);
        assert_true(root_names_is_foreign(&row) && !root_names_is_parked(&row));
    }
}

static void looks_into_wrappers(void **state)
{
    (void)state;
    struct name_span inner;
    assert_true(root_names_local(
        span("tokio::task::local::{impl#4}::run_until::{async_fn_env#0}<demo::f<u8>>"), &inner));
    assert_span(inner, "demo::f<u8>");
    assert_true(root_names_local(span("tokio::task::local::RunUntil<demo::F>"), &inner));
    assert_span(inner, "demo::F");
    assert_false(root_names_local(span("demo::run_until::{async_fn_env#0}<demo::F>"), &inner));
    assert_false(root_names_local(span("tokio::task::local::LocalSet"), &inner));
    assert_true(root_names_is_local_set(span("tokio::task::local::LocalSet")));
    assert_true(root_names_is_local_set(span("&mut tokio::task::local::LocalSet")));
    assert_false(root_names_is_local_set(span("tokio::task::local::LocalSetX")));
    assert_span(root_names_behind_boxes(span("demo::F")), "demo::F");
    assert_span(root_names_behind_boxes(span(
                    "core::pin::Pin<alloc::boxed::Box<demo::F<(A, B)>, alloc::alloc::Global>>")),
                "demo::F<(A, B)>");
    assert_span(root_names_behind_boxes(span("core::pin::Pin<&mut demo::F>")), "demo::F");
    assert_span(
        root_names_behind_boxes(span("alloc::boxed::Box<fn(A) -> demo::F, alloc::alloc::Global>")),
        "fn(A) -> demo::F");
    assert_span(root_names_behind_boxes(span("core::pin::Pin<")), "");
}

static void expect_body(const char *function, const char *name, const char *future, bool expected)
{
    struct frame row = frame(function, name);
    assert_int_equal(root_names_is_body(&row, span(future)), expected);
}

static void tells_bodies(void **state)
{
    (void)state;
    expect_body("demo::work::{{closure}}", "{async_fn#0}", "demo::work::{async_fn_env#0}", true);
    expect_body("demo::work::{closure#0}::<u8>", "{async_fn#0}<u8>",
                "demo::work::{async_fn_env#0}<u8>", true);
    expect_body("demo::Svc::work::{{closure}}", "{async_fn#0}",
                "demo::{impl#3}::work::{async_fn_env#0}", true);
    expect_body("demo::main::{{closure}}::{{closure}}", "{async_block#0}",
                "demo::main::{closure#5}::{async_block_env#0}", true);
    expect_body("demo::rest::{{closure}}", "{async_fn#0}", "demo::work::{async_fn_env#0}", false);
    expect_body("demo::work::{{closure}}", "{async_fn#0}<u8>", "demo::work::{async_fn_env#0}<u16>",
                false);
    expect_body("demo::work::{{closure}}", "{closure#0}", "demo::work::{async_fn_env#0}", false);
    expect_body("demo::work", "work", "demo::work::{async_fn_env#0}", false);
    expect_body("<tokio::time::timeout::Timeout<T> as core::future::future::Future>::poll",
                "poll<demo::F>", "tokio::time::timeout::Timeout<demo::F>", true);
    expect_body("<demo::F as core::future::future::Future>::poll", "poll", "demo::F", true);
    expect_body("<demo::G as core::future::future::Future>::poll", "poll", "demo::F", false);
    expect_body("<demo::F as core::future::future::Future>::poll_next", "poll_next", "demo::F",
                false);
    expect_body(NULL, NULL, "demo::F", false);
    expect_body("demo::F::poll", "poll", "", false);
    expect_body("a::{{closure}}", "{async_fn#0}", "{async_fn_env#0}", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_entries),  cmocka_unit_test(tells_schedulers),
        cmocka_unit_test(tells_who_runs), cmocka_unit_test(looks_into_wrappers),
        cmocka_unit_test(tells_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
