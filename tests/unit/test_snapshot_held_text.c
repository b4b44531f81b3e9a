/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The text of a snapshot where the heap was looked at. */
#include "unit.h"

#include <stdio.h>

#include "snapshot_render.h"
#include "snapshot_sample.h"

static int make_held(void **state)
{
    struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
    sample_snapshot_held(snapshot);
    *state = snapshot;
    return 0;
}

static const struct snapshot_options all = {0};

static void one_screen(void **state)
{
    const struct snapshot_options options = {0};
    expect(*state, &options,
           "/srv/bin/demo (pid 4242): 9 tasks: 1 running, 1 queued, 4 suspended, 1 never polled, 2 "
           "finished\n"
           "stopped for 3.1 ms; 3 threads; tokio multi_thread: found 5 of 5 owned\n"
           "Of 140 kB resident, 110 kB is live heap: it is really in use.\n"
           "1 task of `main::{async block#0}` waits at main.rs:20 and holds 90.0 kB: 90.0 kB in "
           "`names`.\n"
           "\n"
           "  TASKS  CELL BYTES  HELD BYTES  FUTURE                      AWAIT                   "
           "WAITS FOR OR IS\n"
           "      1           0      90,000  root: main::{async block#…  src/main.rs:20\n"
           "       90,000 B in names\n"
           "      2       2,048    >= 5,400  demo::handler               src/frame.rs:12         "
           "socket read\n"
           "       >= 5,300 B in conn\n"
           "      1       1,024           0  demo::handler               src/conn.rs:90 select!  "
           "several futures\n"
           "      1       1,024           ?  demo::handler                                       "
           "running\n"
           "      1         512          16  demo::job                   src/job.rs:5            "
           "never polled\n"
           "       16 B in no variable (boxed futures, outputs)\n"
           "      1           ?           ?  blocking: unknown future                            "
           "queued\n"
           "\n"
           "Finished, and still there: 2 tasks\n"
           "      1         512         128  demo::job\n"
           "       its JoinHandle is kept but was not awaited: the output stays until it is\n"
           "       kept by `names` of task 8 (root: demo::main::{async block#0}), in a block of "
           "4,096 B\n"
           "      1         512           0  demo::job\n"
           "       2 wakers or abort handles keep the cell\n"
           "       kept by the stack of thread 4243\n"
           "\n"
           "Shared: 2 blocks owned by several, the biggest first\n"
           "          2,048  demo::Config: 3 owners, among them tasks 1, 2\n"
           "             64  unknown type: 7 owners, no task\n"
           "\n"
           "Heap: 110,000 B live in 321 blocks of glibc malloc (from a copy-on-write child, made "
           "in 0.2 ms)\n"
           "         95,544  86 %  held by tasks\n"
           "          8,000   7 %  cells of tasks\n"
           "          2,112   1 %  shared: owned by several together\n"
           "             96  <1 %  maybe held: one task reaches it, by pointers of unknown type\n"
           "          3,000   2 %  the runtime's own\n"
           "          1,000  <1 %  other: of globals, of stacks, of nothing that is a task's\n"
           "            248  <1 %  unknown: nothing points to it\n"
           "         20,000        retained: freed, and kept by the allocator\n"
           "        140,000        resident, code and stacks included (RSS)\n"
           "\n"
           "6 futures, total 7,288 B, mean 1,215 B, largest 3,000 B\n"
           "Note: one thread was in a system call\n"
           "More: --task 8 shows one of the first group whole; --json has all tasks.\n");
}

static void by_variable(void **state)
{
    const struct snapshot_options options = {.group = SNAPSHOT_GROUP_VARIABLE, .top = 2};
    expect(*state, &options,
           "/srv/bin/demo (pid 4242): 9 tasks: 1 running, 1 queued, 4 suspended, 1 never polled, 2 "
           "finished\n"
           "stopped for 3.1 ms; 3 threads; tokio multi_thread: found 5 of 5 owned\n"
           "Of 140 kB resident, 110 kB is live heap: it is really in use.\n"
           "1 task of `main::{async block#0}` waits at main.rs:20 and holds 90.0 kB: 90.0 kB in "
           "`names`.\n"
           "\n"
           "  TASKS  HEAP BYTES     BIGGEST  FUTURE                       VARIABLE  TYPE\n"
           "      1      90,000      90,000  demo::main::{async block#0}  names     Vec<String>\n"
           "      2    >= 5,300       5,000  demo::handler                conn      TcpStream\n"
           "       most of it from read_body (src/conn.rs:41)\n"
           "\n"
           "Shared: 2 blocks owned by several, the biggest first\n"
           "          2,048  demo::Config: 3 owners, among them tasks 1, 2\n"
           "             64  unknown type: 7 owners, no task\n"
           "\n"
           "Heap: 110,000 B live in 321 blocks of glibc malloc (from a copy-on-write child, made "
           "in 0.2 ms)\n"
           "         95,544  86 %  held by tasks\n"
           "          8,000   7 %  cells of tasks\n"
           "          2,112   1 %  shared: owned by several together\n"
           "             96  <1 %  maybe held: one task reaches it, by pointers of unknown type\n"
           "          3,000   2 %  the runtime's own\n"
           "          1,000  <1 %  other: of globals, of stacks, of nothing that is a task's\n"
           "            248  <1 %  unknown: nothing points to it\n"
           "         20,000        retained: freed, and kept by the allocator\n"
           "        140,000        resident, code and stacks included (RSS)\n"
           "\n"
           "6 futures, total 7,288 B, mean 1,215 B, largest 3,000 B\n"
           "Note: one thread was in a system call\n"
           "Left out: 1 variable; --top N shows more\n"
           "More: --task 8 shows one of the first group whole; --json has all tasks.\n");
}

static void one_task(void **state)
{
    const struct snapshot_options first = {.task = 1}, second = {.task = 2}, kept = {.task = 4},
                                  running = {.task = 7};
    expect(*state, &first,
           "Task 1: demo::handler, suspended\n"
           "async task of tokio multi_thread (runtime 1), id 10 there\n"
           "cell 1,024 B at 0x7f0000001000, future 960 B\n"
           "Spawned by: thread main, in read_body (src/conn.rs:41)\n"
           "holds 400 B in the heap, 60 B of it in no variable below (boxed futures, outputs); "
           "shares 2,048 B\n"
           "  with others; its cell's block has 1,032 B\n"
           "Shares: 2,048 B demo::Config of 3 owners\n"
           "\n"
           "demo::handler  src/conn.rs:88\n"
           "│         24 B            300 B heap  conn: TcpStream\n"
           "│                 280 B from read_body (src/conn.rs:41), allocated by itself\n"
           "│      2,048 B           gone          buffer: [u8; 2048]\n"
           "│                          40 B heap  (hidden variable)\n"
           "└─ demo::read_frame  src/frame.rs:12\n"
           "   └─ tokio::io::Read  waits for: socket read\n"
           "\n"
           "Note: one thread was in a system call\n");
    expect(
        *state, &second,
        "Task 2: demo::handler, suspended\n"
        "async task of tokio multi_thread (runtime 1), id 11 there\n"
        "cell 1,024 B at 0x7f0000002000, future 960 B\n"
        "holds at least 5,000 B in the heap; maybe 96 B more; shares 2,048 B with others; its "
        "cell's block\n"
        "  has 1,032 B\n"
        "Why not exact: its drop code waits for a lock\n"
        "Shares: 2,048 B demo::Config of 3 owners\n"
        "\n"
        "demo::handler  src/conn.rs:88\n"
        "│         24 B       >= 5,000 B heap  conn: TcpStream\n"
        "│                 3.00 kB from read_body (src/conn.rs:41), allocated by task 3 handler\n"
        "│                 500 B from Map::insert (.cargo/maps.rs:7), allocated by thread main\n"
        "│                 1 block that the tracer does not know\n"
        "│      2,048 B              ? B heap  unsure: buffer: [u8; 2048]\n"
        "└─ demo::read_frame  src/frame.rs:12\n"
        "   └─ tokio::io::Read  waits for: socket read\n"
        "\n"
        "Note: one thread was in a system call\n");
    expect(*state, &kept,
           "Task 4: demo::job, finished\n"
           "async task of tokio multi_thread (runtime 1), id 13 there\n"
           "cell 512 B at 0x7f0000004000, future 448 B\n"
           "Or, of equal code: demo::other_job\n"
           "Still there: its JoinHandle is kept but was not awaited: the output stays until it is\n"
           "holds 128 B in the heap; its cell's block has 1,032 B\n"
           "Kept by: `names` of task 8 (root: demo::main::{async block#0}), in a block of 4,096 B\n"
           "\n"
           "Note: one thread was in a system call\n");
    expect(*state, &running,
           "Task 7: demo::handler, running\n"
           "async task of tokio multi_thread (runtime 1), id 16 there\n"
           "cell 1,024 B at 0x7f0000007000, future 960 B\n"
           "Await tree: it is running: its future changes as it is read\n"
           "what it holds in the heap is not known\n"
           "\n"
           "Note: one thread was in a system call\n");
}

/* Long sentences are broken at spaces; the next line begins with two. */
static void join_sentences(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        bool is_break = strncmp(from, "\n  ", 3) == 0;
        *to++ = is_break ? ' ' : *from;
        from += is_break ? 2 : 0;
    }
    *to = 0;
}

/* The sentence that tells whether memory is in use, for figures in MB. */
static void expect_verdict(struct snapshot *snapshot, const uint64_t mega_bytes[3],
                           const char *sentence)
{
    const struct snapshot_options none = {.group = SNAPSHOT_GROUP_TYPE};
    struct snapshot_heap *heap = snapshot_heaps(snapshot, NULL);
    uint64_t *fields[] = {&heap->rss_bytes, &heap->live_bytes, &heap->retained_bytes};
    for (int i = 0; i < 3; i++)
        *fields[i] = mega_bytes[i] == UINT64_MAX ? UINT64_MAX : mega_bytes[i] * 1000000;
    char *shown = render(snapshot, &none, 120);
    join_sentences(shown);
    if (!strstr(shown, sentence))
        fail_msg("no '%s' in:\n%s", sentence, shown);
    free(shown);
}

static void live_or_retained(void **state)
{
    static const struct {
        uint64_t mega_bytes[3]; /* resident, live, retained */
        const char *sentence;
    } cases[] = {
        {{512, 498, 2}, "\nOf 512 MB resident, 498 MB is live heap: it is really in use.\n"},
        {{512, 384, 300}, "\nOf 512 MB resident, 384 MB is live heap: it is really in use.\n"},
        {{512, 20, 450},
         "\nOnly 20.0 MB of 512 MB resident is live heap; glibc malloc keeps up to 450 MB that was "
         "freed: it can be used again, but was not given back to the system.\n"},
        {{512, 20, 9000},
         "glibc malloc keeps up to 492 MB that was freed"}, /* no more than is there */
        {{512, 60, 130}, "keeps up to 130 MB that was freed"},
        {{512, 200, 100},
         "\n200 MB of 512 MB resident is live heap, and up to 100 MB was freed and is kept by "
         "glibc "
         "malloc; the rest is code, stacks and other mappings.\n"},
        {{12, 1, 0},
         "\n1.00 MB of 12.0 MB resident is live heap; the rest is code, stacks and other "
         "mappings.\n"},
        {{12, 1, UINT64_MAX}, "\n1.00 MB of 12.0 MB resident is live heap; the rest is"},
        {{100, 900, 5},
         "\n900 MB of heap is live, more than the 100 MB that is resident: a part of it was never "
         "touched, or is swapped out.\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        expect_verdict(*state, cases[i].mega_bytes, cases[i].sentence);
}

/* What was not walked to its end is a bound, and never "only". */
static void an_account_with_holes(void **state)
{
    struct snapshot *snapshot = *state;
    snapshot_str problem = snapshot_add_string(snapshot, "an arena could not be read");
    snapshot_heaps(snapshot, NULL)->problem = problem;
    static const uint64_t retained[3] = {512, 20, 450};
    expect_verdict(
        snapshot, retained,
        "\nAt least 20.0 MB of 512 MB resident is live heap, and up to 450 MB was freed");
    expect_line(snapshot, &all, "\nWhat is missing there: an arena could not be read\n");
    struct snapshot_heap *heap = snapshot_heaps(snapshot, NULL);
    heap->live_bytes = heap->nr_blocks = heap->retained_bytes = UINT64_MAX;
    heap->how = heap->allocator = (snapshot_str){0};
    expect_line(snapshot, &all, "\nHeap: what is live is not known of the allocator\n");
    expect_line(snapshot, &all, "              ?        retained:");
}

static void what_holds_most_is_first(void **state)
{
    struct snapshot *snapshot = *state;
    struct snapshot_task *tasks = snapshot_tasks(snapshot, NULL);
    tasks[1].held_is = HELD_EXACT;
    snapshot_holdings(snapshot, NULL)[3].heap_bytes = 331000000;
    snapshot_holdings(snapshot, NULL)[3].is = HELD_EXACT;
    tasks[1].held_bytes = 397999600;
    expect_line(snapshot, &all,
                "\n2 tasks of `handler` wait at frame.rs:12 and hold 398 MB: 331 MB in `conn`.\n");
    expect_line(snapshot, &all, "\n      2       2,048  398,000,000  demo::handler");
    expect_line(
        snapshot, &all,
        "\n       331,000,300 B in conn, 66,999,660 B in no variable (boxed futures, outputs)\n");
}

/* What is held by tasks without a tree, or in states that are no await. */
static void sentences_of_other_tasks(void **state)
{
    struct snapshot *snapshot = *state;
    struct snapshot_task *tasks = snapshot_tasks(snapshot, NULL);
    tasks[3].held_bytes = 5000000;
    expect_line(snapshot, &all, "\n1 task of `job` is finished and holds 5.00 MB.\n");
    tasks[8].held_is = HELD_AT_LEAST;
    tasks[8].held_bytes = 6000000;
    expect_line(snapshot, &all,
                "\n1 task of `unknown future` is queued and holds at least 6.00 MB.\n");
}

static void more_columns_on_a_wide_screen(void **state)
{
    char *shown = render(*state, &all, 120);
    assert_non_null(strstr(shown, "TASKS  CELL BYTES  HELD BYTES FUTURE B  FUTURE "));
    assert_non_null(strstr(shown, "      2       2,048    >= 5,400      960  demo::handler "));
    free(shown);
}

static void gone_is_dim(void **state)
{
    const struct snapshot_options options = {.task = 1};
    struct snapshot_report report;
    struct error err = {0};
    char *bytes = NULL;
    size_t size;
    struct display display = {.out = open_memstream(&bytes, &size), .columns = 100, .colour = true};
    assert_true(snapshot_report_init(&report, *state, &options, &err));
    snapshot_write_text(&report, &display);
    snapshot_report_deinit(&report);
    fclose(display.out);
    assert_non_null(strstr(bytes, "\n│         24 B            300 B heap  conn: TcpStream\n"));
    assert_non_null(strstr(bytes, "\x1b[2m│      2,048 B           gone          buffer: [u8; "
                                  "2048]\n\x1b[0m"));
    free(bytes);
}

static void keepers_in_words(void **state)
{
    static const struct {
        enum block_class class;
        uint32_t task;
        const char *words;
    } cases[] = {
        {BLOCK_CELL, 1, "kept by the cell of task 1 (demo::handler)\n"},
        {BLOCK_HELD, 1, "kept by `names` of task 1 (demo::handler), in a block of 4,096 B\n"},
        {BLOCK_MAYBE_HELD, 1,
         "kept by `names` of task 1 (demo::handler), which maybe holds a block of 4,096 B\n"},
        {BLOCK_SHARED, 0, "kept by a block of 4,096 B that several own\n"},
        {BLOCK_RUNTIME, 0, "kept by a block of 4,096 B of the runtime\n"},
        {BLOCK_OTHER, 0, "kept by a block of 4,096 B that is no task's\n"},
        {BLOCK_UNKNOWN, 0, "kept by a block of 4,096 B to which nothing points\n"},
    };
    struct snapshot_keeper *keeper = snapshot_keepers(*state, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        keeper->block_class = cases[i].class;
        keeper->task = cases[i].task;
        expect_line(*state, &all, cases[i].words);
    }
}

static void names_are_escaped(void **state)
{
    struct snapshot *snapshot = *state;
    char *strings = snapshot->tables[SNAPSHOT_STRINGS].rows;
    for (size_t i = 1; i < snapshot->tables[SNAPSHOT_STRINGS].nr; i++)
        if (strings[i] && strings[i - 1] == 0)
            strings[i] = '\x1b';
    for (uint32_t task = 0; task <= 9; task++)
        for (int group = 0; group < NR_SNAPSHOT_GROUPINGS; group++) {
            const struct snapshot_options options = {.task = task,
                                                     .group = (enum snapshot_grouping)group};
            char *shown = render(snapshot, &options, 100);
            assert_null(strchr(shown, '\x1b'));
            free(shown);
        }
}

/* Figures as wide as they can be, and long names. */
static void fits_every_width(void **state)
{
    struct snapshot *snapshot = *state;
    size_t nr;
    struct snapshot_task *tasks = snapshot_tasks(snapshot, &nr);
    snapshot_kinds(snapshot, NULL)[0].future = snapshot_add_string(
        snapshot, "demo::a_very::long_path::to_some::module::<impl Service<Request>>::handler");
    for (size_t i = 0; i < nr; i++) {
        tasks[i].held_is = HELD_AT_LEAST;
        tasks[i].held_bytes = UINT64_MAX - 1 - i;
    }
    snapshot_heaps(snapshot, NULL)->live_bytes = UINT64_MAX - 1;
    for (unsigned columns = 80; columns <= 120; columns++)
        for (int group = 0; group < NR_SNAPSHOT_GROUPINGS; group++) {
            const struct snapshot_options options = {.group = (enum snapshot_grouping)group};
            char *shown = render(snapshot, &options, columns);
            for (char *line = strtok(shown, "\n"); line; line = strtok(NULL, "\n"))
                assert_true(display_width(line) <= columns);
            free(shown);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_screen, make_held, free_sample),
        cmocka_unit_test_setup_teardown(by_variable, make_held, free_sample),
        cmocka_unit_test_setup_teardown(one_task, make_held, free_sample),
        cmocka_unit_test_setup_teardown(live_or_retained, make_held, free_sample),
        cmocka_unit_test_setup_teardown(an_account_with_holes, make_held, free_sample),
        cmocka_unit_test_setup_teardown(what_holds_most_is_first, make_held, free_sample),
        cmocka_unit_test_setup_teardown(sentences_of_other_tasks, make_held, free_sample),
        cmocka_unit_test_setup_teardown(more_columns_on_a_wide_screen, make_held, free_sample),
        cmocka_unit_test_setup_teardown(gone_is_dim, make_held, free_sample),
        cmocka_unit_test_setup_teardown(keepers_in_words, make_held, free_sample),
        cmocka_unit_test_setup_teardown(names_are_escaped, make_held, free_sample),
        cmocka_unit_test_setup_teardown(fits_every_width, make_held, free_sample),
    };
    return cmocka_run_group_tests_name("snapshot_held_text", tests, NULL, NULL);
}
