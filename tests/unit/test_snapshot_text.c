/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <stdio.h>

#include "snapshot_render.h"
#include "snapshot_sample.h"

static int make_sample(void **state)
{
    struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
    sample_snapshot(snapshot);
    *state = snapshot;
    return 0;
}

static const struct snapshot_options all = {0};

static void one_screen(void **state)
{
    expect(*state, &all,
           "/srv/bin/demo (pid 4242): 9 tasks: 1 running, 1 queued, 4 suspended, 1 never polled, 2 "
           "finished\n"
           "stopped for 3.1 ms; 3 threads; tokio multi_thread: found 5 of 5 owned\n"
           "\n"
           "  TASKS  CELL BYTES FUTURE B  FUTURE                         AWAIT                   "
           "WAITS FOR OR IS\n"
           "      2       2,048      960  demo::handler                  src/frame.rs:12         "
           "socket read\n"
           "      1       1,024      960  demo::handler                  src/conn.rs:90 select!  "
           "several futures\n"
           "      1       1,024      960  demo::handler                                          "
           "running\n"
           "      1         512      448  demo::job                      src/job.rs:5            "
           "never polled\n"
           "      1           ?        ?  blocking: unknown future                               "
           "queued\n"
           "      1           0    3,000  root: main::{async block#0}    src/main.rs:20\n"
           "\n"
           "Finished, and still there: 2 tasks\n"
           "      1         512  demo::job\n"
           "       its JoinHandle is kept but was not awaited: the output stays "
           "until it is\n"
           "      1         512  demo::job\n"
           "       2 wakers or abort handles keep the cell\n"
           "\n"
           "6 futures, total 7,288 B, mean 1,215 B, largest 3,000 B\n"
           "Heap: it was not looked at; what tasks hold is not known.\n"
           "Note: one thread was in a system call\n"
           "More: --task 1 shows one of the first group whole; --json has all tasks.\n");
}

static void by_type(void **state)
{
    const struct snapshot_options options = {.group = SNAPSHOT_GROUP_TYPE, .top = 2};
    expect(*state, &options,
           "/srv/bin/demo (pid 4242): 9 tasks: 1 running, 1 queued, 4 suspended, 1 never polled, 2 "
           "finished\n"
           "stopped for 3.1 ms; 3 threads; tokio multi_thread: found 5 of 5 owned\n"
           "\n"
           "  TASKS  CELL BYTES FUTURE B  FUTURE\n"
           "      4       4,096      960  demo::handler\n"
           "      3       1,536      448  demo::job\n"
           "\n"
           "6 futures, total 7,288 B, mean 1,215 B, largest 3,000 B\n"
           "Heap: it was not looked at; what tasks hold is not known.\n"
           "Note: one thread was in a system call\n"
           "Left out: 2 groups with 2 tasks; --top N shows more\n"
           "More: --task 1 shows one of the first group whole; --json has all tasks.\n");
}

static void by_await(void **state)
{
    const struct snapshot_options options = {.group = SNAPSHOT_GROUP_AWAIT};
    expect(*state, &options,
           "/srv/bin/demo (pid 4242): 9 tasks: 1 running, 1 queued, 4 suspended, 1 never polled, 2 "
           "finished\n"
           "stopped for 3.1 ms; 3 threads; tokio multi_thread: found 5 of 5 owned\n"
           "\n"
           "  TASKS  CELL BYTES  FUTURE THAT AWAITS           AWAIT\n"
           "      2       2,048  demo::read_frame             src/frame.rs:12\n"
           "      1       1,024  demo::handler                src/conn.rs:90 select!\n"
           "      1           0  demo::main::{async block#0}  src/main.rs:20\n"
           "      5 tasks at no await, or at one that is not known\n"
           "\n"
           "6 futures, total 7,288 B, mean 1,215 B, largest 3,000 B\n"
           "Heap: it was not looked at; what tasks hold is not known.\n"
           "Note: one thread was in a system call\n"
           "More: --task 1 shows one of the first group whole; --json has all tasks.\n");
}

static void one_task(void **state)
{
    const struct snapshot_options chain = {.task = 1}, fork = {.task = 3}, kept = {.task = 5};
    expect(*state, &chain,
           "Task 1: demo::handler, suspended\n"
           "async task of tokio multi_thread (runtime 1), id 10 there\n"
           "cell 1,024 B at 0x7f0000001000, future 960 B\n"
           "\n"
           "demo::handler  src/conn.rs:88\n"
           "│         24 B  conn: TcpStream\n"
           "│      2,048 B  buffer: [u8; 2048]\n"
           "└─ demo::read_frame  src/frame.rs:12\n"
           "   └─ tokio::io::Read  waits for: socket read\n"
           "\n"
           "Note: one thread was in a system call\n");
    expect(*state, &fork,
           "Task 3: demo::handler, suspended\n"
           "async task of tokio multi_thread (runtime 1), id 12 there\n"
           "cell 1,024 B at 0x7f0000003000, future 960 B\n"
           "\n"
           "demo::handler  src/conn.rs:90 in select!\n"
           "├─ tokio::time::Sleep  waits for: sleep\n"
           "└─ tokio::sync::mpsc::Recv  waits for: channel receive\n"
           "\n"
           "Note: one thread was in a system call\n");
    expect(*state, &kept,
           "Task 5: demo::job, finished\n"
           "async task of tokio multi_thread (runtime 1), id 14 there\n"
           "cell 512 B at 0x7f0000005000, future 448 B\n"
           "Or, of equal code: demo::other_job\n"
           "Still there: 2 wakers or abort handles keep the cell\n"
           "\n"
           "Note: one thread was in a system call\n");
}

/* Children of several parents, not in drawing order. */
static void trees_are_drawn_in_order(void **state)
{
    struct snapshot *snapshot = *state;
    const struct snapshot_options options = {.task = 4};
    static const uint32_t parents[] = {0, 1, 1, 2, 3, 2};
    struct snapshot_task *task = &snapshot_tasks(snapshot, NULL)[3];
    for (uint32_t i = 0; i < 6; i++) {
        const struct snapshot_frame frame = {.parent = parents[i],
                                             .state = i == 0  ? 4
                                                      : i < 3 ? 2
                                                              : 5};
        uint32_t id = snapshot_add(snapshot, SNAPSHOT_FRAMES, &frame);
        task->first_frame = i ? task->first_frame : id;
        task->nr_frames++;
    }
    expect_line(snapshot, &options,
                "demo::handler  src/conn.rs:90 in select!\n"
                "├─ demo::read_frame  src/frame.rs:12\n"
                "│  ├─ tokio::time::Sleep  waits for: sleep\n"
                "│  └─ tokio::time::Sleep  waits for: sleep\n"
                "└─ demo::read_frame  src/frame.rs:12\n"
                "   └─ tokio::time::Sleep  waits for: sleep\n");
}

static void deep_trees_stay_on_the_screen(void **state)
{
    struct snapshot *snapshot = *state;
    const struct snapshot_options options = {.task = 4};
    struct snapshot_task *task = &snapshot_tasks(snapshot, NULL)[3];
    task->nr_frames = 5000;
    for (uint32_t i = 0; i < task->nr_frames; i++) {
        const struct snapshot_frame frame = {.parent = i, .state = 2};
        uint32_t id = snapshot_add(snapshot, SNAPSHOT_FRAMES, &frame);
        task->first_frame = i ? task->first_frame : id;
    }
    char *shown = render(snapshot, &options, 100);
    unsigned lines = 0;
    for (char *line = strtok(shown, "\n"); line; line = strtok(NULL, "\n"), lines++)
        assert_true(display_width(line) <= 100);
    assert_true(lines >= 5000);
    free(shown);
}

static void names_are_escaped(void **state)
{
    struct snapshot *snapshot = *state;
    char *strings = snapshot->tables[SNAPSHOT_STRINGS].rows;
    size_t nr = snapshot->tables[SNAPSHOT_STRINGS].nr;
    for (size_t i = 1; i < nr; i++) /* every name, file and note: "demo" becomes ESC [ 3 1 */
        if (strings[i] && strings[i - 1] == 0)
            strings[i] = '\x1b';
    for (uint32_t task = 0; task <= 9; task++) {
        const struct snapshot_options options = {.task = task};
        char *shown = render(snapshot, &options, 100);
        assert_null(strchr(shown, '\x1b'));
        assert_non_null(strstr(shown, "\\x1b"));
        free(shown);
    }
}

static void fits_every_width(void **state)
{
    struct snapshot *snapshot = *state;
    snapshot_kinds(snapshot, NULL)[0].future = snapshot_add_string(
        snapshot, "demo::a_very::long_path::to_some::module::<impl Service<Request>>::handler");
    for (unsigned columns = 80; columns <= 120; columns++) {
        char *shown = render(snapshot, &all, columns);
        for (char *line = strtok(shown, "\n"); line; line = strtok(NULL, "\n"))
            assert_true(display_width(line) <= columns);
        free(shown);
    }
}

static void left_out(void **state)
{
    const struct snapshot_options top = {.top = 1};
    expect_line(*state, &top, "Left out: 6 groups with 6 tasks; --top N shows more\n");
    const struct snapshot_options match = {.match = "frame.rs"};
    expect_line(*state, &match, "(pid 4242): 2 of 9 tasks: 2 suspended\n");
    const struct snapshot_options nothing = {.match = "nowhere"};
    expect(*state, &nothing,
           "/srv/bin/demo (pid 4242): none of its 9 tasks is selected by --match\n"
           "Note: one thread was in a system call\n");
}

static void what_is_unknown(void **state)
{
    struct snapshot *snapshot = *state;
    struct snapshot_facts *facts = snapshot_facts(snapshot);
    struct snapshot_runtime *runtime = snapshot_runtimes(snapshot, NULL);
    struct snapshot_task *tasks = snapshot_tasks(snapshot, NULL);
    facts->is_core = 1;
    facts->detail = SNAPSHOT_DETAIL_NAMES;
    runtime->owned_tasks = UINT64_MAX;
    tasks[3].finished_because = FINISHED_UNKNOWN;
    snapshot_kinds(snapshot, NULL)[0].cell_bytes = UINT64_MAX;
    snapshot_kinds(snapshot, NULL)[0].future_bytes = UINT64_MAX;
    snapshot_str reason = snapshot_add_string(snapshot, "no layouts: build with debug = 2");
    snapshot_facts(snapshot)->detail_reason = reason;
    snapshot_runtimes(snapshot, NULL)->owned_reason = reason;
    expect_line(snapshot, &all, "/srv/bin/demo (core of pid 4242): 9 tasks");
    expect_line(snapshot, &all,
                "from a core; 3 threads; tokio multi_thread: found 5, owned unknown\n"
                "Note: no layouts: build with debug = 2\n"
                "Why not more: no layouts: build with debug = 2\n");
    expect_line(snapshot, &all, "      2           ?        ?  demo::handler ");
    expect_line(snapshot, &all, "demo::job\n       why is not known\n");
    expect_line(snapshot, &all,
                "6 futures, total 3,448 B, mean 1,724 B, largest 3,000 B; size unknown of 4\n");
}

static void no_tasks(void **state)
{
    (void)state;
    struct snapshot snapshot;
    snapshot_init(&snapshot);
    snapshot_facts(&snapshot)->pid = 7;
    expect(&snapshot, &all, "unknown program (pid 7): no async tasks and no runtime were found\n");
    const struct snapshot_runtime runtime = {0};
    snapshot_add(&snapshot, SNAPSHOT_RUNTIMES, &runtime);
    expect(&snapshot, &all,
           "unknown program (pid 7): no tasks: 1 runtime was found and is empty\n");
    snapshot_deinit(&snapshot);
}

static void no_such_task(void **state)
{
    const struct snapshot_options options = {.task = 10};
    struct snapshot_report report;
    struct error err = {0};
    assert_false(snapshot_report_init(&report, *state, &options, &err));
    assert_int_equal(err.code, ERROR_USAGE);
    assert_string_equal(err.message, "no task 10: its tasks are 1 to 9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_screen, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(by_type, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(by_await, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(one_task, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(trees_are_drawn_in_order, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(deep_trees_stay_on_the_screen, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(names_are_escaped, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(fits_every_width, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(left_out, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(what_is_unknown, make_sample, free_sample),
        cmocka_unit_test(no_tasks),
        cmocka_unit_test_setup_teardown(no_such_task, make_sample, free_sample),
    };
    return cmocka_run_group_tests_name("snapshot_text", tests, NULL, NULL);
}
