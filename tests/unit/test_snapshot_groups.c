/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <stdio.h>

#include "analysis/snapshot_groups.h"
#include "snapshot_sample.h"

struct sample {
    struct snapshot snapshot;
    struct snapshot_groups groups;
};

static int make_sample(void **state)
{
    const struct snapshot_filter all = {0};
    struct sample *sample = calloc(1, sizeof(*sample));
    sample_snapshot(&sample->snapshot);
    snapshot_groups_init(&sample->groups, &sample->snapshot, &all);
    *state = sample;
    return 0;
}

static int free_sample(void **state)
{
    struct sample *sample = *state;
    snapshot_groups_deinit(&sample->groups);
    snapshot_deinit(&sample->snapshot);
    free(sample);
    return 0;
}

static void regroup(struct sample *sample, const char *match, uint32_t task)
{
    const struct snapshot_filter filter = {match, task};
    snapshot_groups_deinit(&sample->groups);
    snapshot_groups_init(&sample->groups, &sample->snapshot, &filter);
}

static const struct snapshot_state *state_of(const struct sample *sample, uint32_t id)
{
    return &snapshot_states(&sample->snapshot, NULL)[id - 1];
}

static const char *file_of(const struct sample *sample, uint32_t id)
{
    return snapshot_string(&sample->snapshot, state_of(sample, id)->file);
}

static void by_type(void **state)
{
    static const struct {
        const char *name;
        uint64_t nr_tasks, bytes, nr_unknown;
    } rows[] = {{"demo::handler", 4, 4096, 0},
                {"demo::job", 3, 1536, 0},
                {"", 1, 0, 1},
                {"demo::main::{async block#0}", 1, 0, 0}};
    const struct sample *sample = *state;
    const struct snapshot_group_list *list = &sample->groups.by_type;
    assert_int_equal(list->nr, 4);
    for (size_t i = 0; i < list->nr; i++) {
        assert_string_equal(list->rows[i].name, rows[i].name);
        assert_int_equal(list->rows[i].nr_tasks, rows[i].nr_tasks);
        assert_int_equal(list->rows[i].cells.bytes, rows[i].bytes);
        assert_int_equal(list->rows[i].cells.nr_unknown, rows[i].nr_unknown);
    }
    assert_int_equal(list->rows[0].by_status[TASK_SUSPENDED], 3);
    assert_int_equal(list->rows[0].by_status[TASK_RUNNING], 1);
    assert_int_equal(list->rows[1].by_status[TASK_FINISHED], 2);
}

static void by_await(void **state)
{
    static const struct {
        const char *future, *file;
        uint32_t line;
        uint64_t nr_tasks;
    } rows[] = {{"demo::read_frame", "src/frame.rs", 12, 2},
                {"demo::handler", "src/conn.rs", 90, 1},
                {"demo::main::{async block#0}", "src/main.rs", 20, 1}};
    const struct sample *sample = *state;
    const struct snapshot_group_list *list = &sample->groups.by_await;
    assert_int_equal(list->nr, 3); /* never polled, running and finished tasks are at none */
    for (size_t i = 0; i < list->nr; i++) {
        assert_string_equal(list->rows[i].name, rows[i].future);
        assert_string_equal(file_of(sample, list->rows[i].await.state), rows[i].file);
        assert_int_equal(state_of(sample, list->rows[i].await.state)->line, rows[i].line);
        assert_int_equal(list->rows[i].nr_tasks, rows[i].nr_tasks);
    }
}

static void the_chain_ends_where_it_forks(void **state)
{
    const struct sample *sample = *state;
    const struct snapshot_await *awaits = sample->groups.awaits;
    assert_string_equal(file_of(sample, awaits[0].state), "src/frame.rs");
    assert_int_equal(awaits[0].innermost, 3); /* the socket read below it */
    assert_false(awaits[0].forks);
    assert_int_equal(awaits[2].state, 4);
    assert_int_equal(awaits[2].innermost, 4);
    assert_true(awaits[2].forks);
    assert_int_equal(awaits[5].state, 0); /* never polled: at no await */
    assert_int_equal(awaits[5].innermost, 7);
    assert_int_equal(awaits[6].innermost, 0); /* running: no tree */
}

static void by_both(void **state)
{
    const struct sample *sample = *state;
    const struct snapshot_group_list *list = &sample->groups.by_both;
    uint64_t tasks = 0;
    assert_int_equal(list->nr, 8); /* all but tasks 1 and 2 stand alone */
    for (size_t i = 0; i < list->nr; i++)
        tasks += list->rows[i].nr_tasks;
    assert_int_equal(tasks, 9);
    assert_int_equal(list->rows[0].nr_tasks, 2);
    assert_int_equal(list->rows[0].first_task, 1);
}

static void futures_are_of_tasks_that_have_one(void **state)
{
    const struct sample *sample = *state;
    const struct snapshot_futures *futures = &sample->groups.futures;
    assert_int_equal(futures->nr, 6); /* 4 handlers, 1 job, main; neither finished nor blocking */
    assert_int_equal(futures->sum.bytes, 4 * 960 + 448 + 3000);
    assert_int_equal(futures->sum.nr_unknown, 0);
    assert_int_equal(futures->largest_bytes, 3000);
}

static void unknown_sizes_are_counted_apart(void **state)
{
    struct sample *sample = *state;
    struct snapshot_kind *kinds = snapshot_kinds(&sample->snapshot, NULL);
    kinds[0].future_bytes = kinds[0].cell_bytes = UINT64_MAX;
    regroup(sample, NULL, 0);
    assert_int_equal(sample->groups.futures.sum.nr_unknown, 4);
    assert_int_equal(sample->groups.futures.sum.bytes, 448 + 3000);
    assert_int_equal(sample->groups.by_type.rows[0].cells.nr_unknown, 4);
    kinds[0].cell_bytes = UINT64_MAX - 1; /* sums do not wrap */
    regroup(sample, NULL, 0);
    assert_int_equal(sample->groups.by_type.rows[0].cells.nr_unknown, 3);
    assert_true(sample->groups.by_type.rows[0].cells.bytes == UINT64_MAX - 1);
}

/* The same name or place may be there as several strings, kinds and states. */
static void equal_texts_are_one_group(void **state)
{
    struct sample *sample = *state;
    struct snapshot *snapshot = &sample->snapshot;
    struct snapshot_state copy = *state_of(sample, 4);
    copy.future = snapshot_add_string(snapshot, "demo::handler");
    copy.file = snapshot_add_string(snapshot, "src/conn.rs");
    uint32_t id = snapshot_add(snapshot, SNAPSHOT_STATES, &copy);
    snapshot_frames(snapshot, NULL)[9].state = id; /* of task 6 ... */
    snapshot_tasks(snapshot, NULL)[5].status = TASK_SUSPENDED;
    struct snapshot_kind kind = snapshot_kinds(snapshot, NULL)[0];
    kind.future = snapshot_add_string(snapshot, "demo::handler");
    kind.image = 0;
    snapshot_tasks(snapshot, NULL)[5].kind = snapshot_add(snapshot, SNAPSHOT_KINDS, &kind);
    regroup(sample, NULL, 0);
    assert_int_equal(sample->groups.by_type.rows[0].nr_tasks, 5);
    assert_int_equal(sample->groups.by_await.nr, 3);
    assert_int_equal(sample->groups.by_await.rows[0].nr_tasks, 2);
    assert_int_equal(sample->groups.by_await.rows[1].nr_tasks, 2);
}

static void expect_match(struct sample *sample, const char *match, const char *ids)
{
    char found[64] = "";
    regroup(sample, match, 0);
    for (size_t i = 0; i < sample->groups.nr_tasks; i++)
        sprintf(found + strlen(found), "%u ", sample->groups.tasks[i]);
    assert_string_equal(found, ids);
}

static void filters(void **state)
{
    struct sample *sample = *state;
    expect_match(sample, "HANDLER", "1 2 3 7 ");
    expect_match(sample, "frame.rs", "1 2 ");
    expect_match(sample, "mpsc", "3 ");
    expect_match(sample, "select!", "3 ");
    expect_match(sample, "sleep", "3 ");
    expect_match(sample, "finished", "4 5 ");
    expect_match(sample, "never_polled", "6 ");
    expect_match(sample, "other_job", "4 5 6 ");
    expect_match(sample, "nowhere", "");
    assert_int_equal(sample->groups.by_both.nr, 0);
    regroup(sample, NULL, 8);
    assert_int_equal(sample->groups.nr_tasks, 1);
    assert_int_equal(sample->groups.tasks[0], 8);
    regroup(sample, "handler", 8);
    assert_int_equal(sample->groups.nr_tasks, 0);
}

static void of_nothing(void **state)
{
    (void)state;
    const struct snapshot_filter filter = {.match = "x"};
    struct snapshot snapshot;
    struct snapshot_groups groups;
    snapshot_init(&snapshot);
    snapshot_groups_init(&groups, &snapshot, &filter);
    assert_int_equal(groups.nr_tasks + groups.by_type.nr + groups.by_await.nr + groups.by_both.nr,
                     0);
    snapshot_groups_deinit(&groups);
    snapshot_deinit(&snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_type, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(by_await, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(the_chain_ends_where_it_forks, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(by_both, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(futures_are_of_tasks_that_have_one, make_sample,
                                        free_sample),
        cmocka_unit_test_setup_teardown(unknown_sizes_are_counted_apart, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(equal_texts_are_one_group, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(filters, make_sample, free_sample),
        cmocka_unit_test(of_nothing),
    };
    return cmocka_run_group_tests_name("snapshot_groups", tests, NULL, NULL);
}
