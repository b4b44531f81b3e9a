/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "analysis/run_select.h"
#include "analysis/run_sites.h"
#include "analysis/run_stacks.h"

static uint32_t frame(struct run *run, const char *full, const char *function, const char *file,
                      enum run_frame_kind kind)
{
    const struct run_frame row = {.function = run_add_string(run, function),
                                  .full = run_add_string(run, full),
                                  .file = run_add_string(run, file),
                                  .line = 7,
                                  .kind = (uint16_t)kind};
    return run_add(run, RUN_FRAMES, &row);
}

/* A frame of its own place, called by `parent`; its node. */
static uint32_t call(struct run *run, uint32_t parent, const char *full, const char *function,
                     enum run_frame_kind kind)
{
    static const char *const files[NR_RUN_FRAME_KINDS] = {
        [RUN_FRAME_USER] = "src/main.rs",
        [RUN_FRAME_POLL] = "src/main.rs",
        [RUN_FRAME_LIBRARY] = "/home/me/.cargo/registry/src/index/lib/src/lib.rs",
        [RUN_FRAME_STD] = "/rustc/abc/library/alloc/src/lib.rs",
        [RUN_FRAME_RUNTIME] = "/home/me/.cargo/registry/src/index/tokio/src/task.rs",
        [RUN_FRAME_TRACER] = "",
    };
    const struct run_place place = {.first_frame = frame(run, full, function, files[kind], kind),
                                    .nr_frames = 1};
    const struct run_node node = {parent, run_add(run, RUN_PLACES, &place)};
    return run_add(run, RUN_NODES, &node);
}

static uint32_t unknown(struct run *run, uint32_t parent, uint64_t offset)
{
    const struct run_place place = {.offset = offset};
    const struct run_node node = {parent, run_add(run, RUN_PLACES, &place)};
    return run_add(run, RUN_NODES, &node);
}

static int make_run(void **state)
{
    struct run *run = calloc(1, sizeof(*run));
    run_init(run);
    *state = run;
    return 0;
}

static int free_run(void **state)
{
    run_deinit(*state);
    free(*state);
    return 0;
}

static const char *name_of(const struct run *run, const struct run_stack_frame *shown)
{
    if (!shown->place)
        return "none";
    return shown->frame ? run_string(run, run_frames(run, NULL)[shown->frame - 1].function) : "?";
}

/* "a > b ... c", outermost first; "..." is a gap. */
static void expect_fold(const struct run *run, uint32_t node, const char *expected)
{
    struct run_stack_parts parts;
    struct run_stack stack;
    char text[4096] = "";
    run_stack_parts_init(&parts, run);
    run_stack_fold(&parts, node, &stack);
    for (uint32_t i = 0; i < stack.nr_shown; i++) {
        strcat(text, !i ? "" : stack.shown[i].gap_before ? " ... " : " > ");
        strcat(text, name_of(run, &stack.shown[i]));
    }
    assert_string_equal(text, expected);
    run_stack_parts_deinit(&parts);
}

static void expect_ends(const struct run *run, uint32_t node, const char *own, const char *outside)
{
    struct run_stack_parts parts;
    struct run_stack stack;
    run_stack_parts_init(&parts, run);
    run_stack_ends(&parts, node, &stack);
    assert_string_equal(name_of(run, &stack.own), own);
    assert_string_equal(name_of(run, &stack.outside), outside);
    run_stack_parts_deinit(&parts);
}

/* The example of the documents: serve_conn → read_body → BytesMut::reserve. */
static uint32_t serve_conn(struct run *run)
{
    uint32_t node = call(run, 0, "clone3", "clone3", RUN_FRAME_LIBRARY);
    node = call(run, node, "std::rt::thread", "thread_start", RUN_FRAME_RUNTIME);
    node = call(run, node, "tokio::runtime::task::raw::poll", "poll", RUN_FRAME_RUNTIME);
    node = call(run, node, "demo::serve_conn::{{closure}}", "serve_conn", RUN_FRAME_POLL);
    node = call(run, node, "<core::pin::Pin<P> as Future>::poll", "<Pin as Future>::poll",
                RUN_FRAME_STD);
    return call(run, node, "demo::read_body::{{closure}}", "read_body", RUN_FRAME_POLL);
}

/* main only drives the runtime; a root future that it runs itself is another thing. */
static void a_task_on_the_thread_of_main(void **state)
{
    struct run *run = *state;
    uint32_t main = call(run, 0, "demo::main", "main", RUN_FRAME_USER);
    uint32_t drives = call(run, main, "tokio::runtime::runtime::Runtime::block_on", "block_on",
                           RUN_FRAME_RUNTIME);
    uint32_t node = call(run, drives, "tokio::runtime::task::harness::Harness<T,S>::poll", "poll",
                         RUN_FRAME_RUNTIME);
    expect_fold(run, call(run, node, "demo::handle::{{closure}}", "handle", RUN_FRAME_POLL),
                "handle");
    expect_fold(run, call(run, drives, "demo::root::{{closure}}", "root", RUN_FRAME_POLL),
                "main > root");
}

static void poll_runtime_and_std_are_folded(void **state)
{
    struct run *run = *state;
    uint32_t node = serve_conn(run);
    node = call(run, node, "bytes::BytesMut::reserve", "BytesMut::reserve", RUN_FRAME_LIBRARY);
    node = call(run, node, "alloc::vec::Vec<T>::reserve", "Vec::reserve", RUN_FRAME_STD);
    node = call(run, node, "alloc::alloc::alloc", "alloc", RUN_FRAME_STD);
    node = call(run, node, "malloc", "malloc", RUN_FRAME_TRACER);
    expect_fold(run, node, "serve_conn > read_body > BytesMut::reserve");
    expect_ends(run, node, "read_body", "BytesMut::reserve");
    expect_fold(run, 0, "");
    expect_ends(run, 0, "none", "none");
}

/* Of other crates the first called and the one that allocates; between the user's own, the first called. */
static void other_crates_are_shortened(void **state)
{
    struct run *run = *state;
    uint32_t node = call(run, 0, "demo::main", "main", RUN_FRAME_USER);
    node = call(run, node, "hyper::serve", "serve", RUN_FRAME_LIBRARY);
    node = call(run, node, "hyper::inner", "inner", RUN_FRAME_LIBRARY);
    node = call(run, node, "hyper::call", "call", RUN_FRAME_LIBRARY);
    node = call(run, node, "demo::route", "route", RUN_FRAME_USER);
    const uint32_t route = node;
    node = call(run, node, "serde_json::to_vec", "to_vec", RUN_FRAME_LIBRARY);
    node = call(run, node, "serde_json::write", "write", RUN_FRAME_LIBRARY);
    node = call(run, node, "serde_json::grow", "grow", RUN_FRAME_LIBRARY);
    expect_fold(run, node, "main > serve ... route > to_vec ... grow");
    expect_ends(run, node, "route", "grow");
    expect_fold(run, route, "main > serve ... route");
    expect_ends(run, route, "route", "route");
}

/* Bodies of others' async functions are steps of the program; closures are not. */
static void async_functions_of_libraries_stay(void **state)
{
    struct run *run = *state;
    uint32_t node = call(run, 0, "redis::run::{{closure}}", "run", RUN_FRAME_LIBRARY);
    node = call(run, node, "redis::read_frame::{{closure}}", "read_frame", RUN_FRAME_LIBRARY);
    node = call(run, node, "redis::check::{{closure}}", "check::{closure#0}", RUN_FRAME_LIBRARY);
    node = call(run, node, "redis::parse", "parse", RUN_FRAME_LIBRARY);
    node = call(run, node, "bytes::copy", "copy", RUN_FRAME_LIBRARY);
    expect_fold(run, node, "run > read_frame > check::{closure#0} ... copy");
    /* Nothing is the user's own: the crate of the task stands for it. */
    expect_ends(run, node, "parse", "copy");
}

static void what_is_nobodys_site(void **state)
{
    struct run *run = *state;
    uint32_t node = unknown(run, 0, 16);
    node = call(run, node, "__libc_start_main", "__libc_start_main", RUN_FRAME_LIBRARY);
    node = unknown(run, node, 32);
    node = call(run, node, "demo::main", "main", RUN_FRAME_USER);
    const uint32_t own = node;
    node = call(run, node, "<demo::Counting as core::alloc::global::GlobalAlloc>::alloc",
                "<Counting as GlobalAlloc>::alloc", RUN_FRAME_USER);
    expect_fold(run, node, "main");
    expect_ends(run, node, "main", "main");
    const uint32_t spawned =
        call(run, call(run, own, "tokio::task::spawn", "spawn", RUN_FRAME_RUNTIME),
             "tokio::runtime::new_task", "new_task", RUN_FRAME_RUNTIME);
    expect_fold(run, spawned, "main > spawn");
    expect_ends(run, spawned, "main", "main");
    expect_fold(run, unknown(run, unknown(run, 0, 1), 2), "? > ?");
}

/* What #[instrument] and #[tokio::main] make of a function. */
static void blocks_of_a_function_are_the_function(void **state)
{
    struct run *run = *state;
    uint32_t node = call(run, 0, "demo::main", "main", RUN_FRAME_USER);
    node = call(run, node, "demo::main::{{closure}}", "main::{async block#0}", RUN_FRAME_POLL);
    node = call(run, node, "demo::apply::{{closure}}", "Set::apply", RUN_FRAME_POLL);
    node = call(run, node, "demo::apply::{{closure}}::{{closure}}",
                "Set::apply::{async block#0}::{closure#1}", RUN_FRAME_POLL);
    expect_fold(run, node, "main::{async block#0} > Set::apply::{async block#0}::{closure#1}");
    assert_int_equal(run_stack_name_bytes("Set::apply::{async block#0}::{closure#1}"), 10);
    assert_int_equal(run_stack_name_bytes("{closure#1}"), 11);
    assert_int_equal(run_stack_name_bytes("a::b"), 4);
    assert_int_equal(run_stack_name_bytes("}"), 1);
    assert_int_equal(run_stack_name_bytes(""), 0);
}

static void repetitions_and_long_stacks(void **state)
{
    struct run *run = *state;
    uint32_t node = call(run, 0, "demo::main", "main", RUN_FRAME_USER);
    for (int i = 0; i < 20; i++)
        node = call(run, node, "demo::insert", "insert", RUN_FRAME_USER);
    expect_fold(run, node, "main > insert");
    struct run_stack_parts parts;
    struct run_stack stack;
    for (int i = 0; i < 200; i++)
        node = call(run, node, "demo::a", i % 2 ? "a" : "b", RUN_FRAME_USER);
    run_stack_parts_init(&parts, run);
    run_stack_fold(&parts, node, &stack);
    assert_int_equal(stack.nr_shown, RUN_STACK_SHOWN);
    assert_string_equal(name_of(run, &stack.shown[0]), "main");
    assert_true(stack.shown[1].gap_before);
    assert_string_equal(name_of(run, &stack.shown[RUN_STACK_SHOWN - 1]), "a");
    run_stack_parts_deinit(&parts);
}

/* --- groups ---------------------------------------------------------------------------------- */

static void site(struct run *run, uint32_t node, uint64_t bytes, uint64_t error_bytes)
{
    const struct run_site row = {.node = node,
                                 .allocations = 1,
                                 .allocated_bytes = bytes,
                                 .temporary = bytes < 100,
                                 .peak_bytes = RUN_UNKNOWN,
                                 .error_bytes = error_bytes};
    run_add(run, RUN_SITES, &row);
}

static void sites_are_grouped_by_the_users_line(void **state)
{
    struct run *run = *state;
    struct run_selection selection;
    struct run_stack_parts parts;
    struct run_site_groups groups;
    const uint32_t body = serve_conn(run);
    const uint32_t reserve =
        call(run, body, "bytes::BytesMut::reserve", "BytesMut::reserve", RUN_FRAME_LIBRARY);
    site(run, reserve, 10, 3);
    site(run, call(run, reserve, "alloc::alloc::alloc", "alloc", RUN_FRAME_STD), 500, 4);
    site(run, call(run, body, "bytes::Bytes::copy", "Bytes::copy", RUN_FRAME_LIBRARY), 300, 0);
    site(run, body, 20, 0);
    site(run, 0, 40, 0);
    const struct run_filter all = {0};
    run_selection_init(&selection, run, &all);
    run_stack_parts_init(&parts, run);
    run_site_groups_init(&groups, &parts, &selection);
    assert_int_equal(groups.nr, 4);
    const struct run_site_group *first = &groups.rows[groups.by_allocated[0]];
    assert_int_equal(first->allocated_bytes, 510);
    assert_int_equal(first->nr_stacks, 2);
    assert_int_equal(first->biggest, 2);
    assert_int_equal(first->error_bytes, 5); /* of independent samples: 3, 4 */
    assert_int_equal(first->temporary, 1);
    assert_int_equal(groups.of_site[0], groups.of_site[1]);
    assert_int_equal(groups.sum.allocated_bytes, 870);
    assert_true(groups.sum.peak_bytes == RUN_UNKNOWN);
    run_site_groups_deinit(&groups);
    run_stack_parts_deinit(&parts);
    run_selection_deinit(&selection);
}

static void match_looks_at_the_whole_stack(void **state)
{
    struct run *run = *state;
    struct run_selection selection;
    site(run, serve_conn(run), 10, 0);
    site(run, call(run, 0, "demo::main", "main", RUN_FRAME_USER), 10, 0);
    const struct run_filter filter = {.match = "SERVE_"};
    run_selection_init(&selection, run, &filter);
    assert_true(selection.sites[0]);
    assert_false(selection.sites[1]);
    run_selection_deinit(&selection);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_run, free_run)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(poll_runtime_and_std_are_folded),
        TEST(other_crates_are_shortened),
        TEST(a_task_on_the_thread_of_main),
        TEST(async_functions_of_libraries_stay),
        TEST(what_is_nobodys_site),
        TEST(blocks_of_a_function_are_the_function),
        TEST(repetitions_and_long_stacks),
        TEST(sites_are_grouped_by_the_users_line),
        TEST(match_looks_at_the_whole_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
