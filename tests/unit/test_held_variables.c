/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <stdio.h>

#include "analysis/held_variables.h"
#include "snapshot_sample.h"

struct sample {
    struct snapshot snapshot;
    struct snapshot_groups groups;
};

static void group(struct sample *sample)
{
    const struct snapshot_filter filter = {0};
    snapshot_groups_init(&sample->groups, &sample->snapshot, &filter);
}

static int make_sample(void **state)
{
    struct sample *sample = calloc(1, sizeof(*sample));
    sample_snapshot_held(&sample->snapshot);
    group(sample);
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

static void regroup(struct sample *sample)
{
    snapshot_groups_deinit(&sample->groups);
    group(sample);
}

/* "conn 5300 >= of 2 tasks, 5000 in 2\n" */
static char *describe(const struct sample *sample, const struct snapshot_group_list *list)
{
    static const char *const is[NR_HELD_IS] = {"?", "=", ">="};
    static char text[1024];
    struct held_variables variables;
    held_variables_init(&variables, &sample->groups, list);
    *text = 0;
    for (size_t i = 0; i < variables.nr; i++) {
        const struct held_variable *row = &variables.rows[i];
        const struct snapshot_slot *slots = snapshot_slots(&sample->snapshot, NULL);
        sprintf(text + strlen(text), "%u %s %llu %s of %llu tasks, %llu in %u\n", row->group,
                row->slot ? snapshot_string(&sample->snapshot, slots[row->slot - 1].name) : "-",
                (unsigned long long)row->held.bytes, is[held_sum_is(&row->held)],
                (unsigned long long)row->nr_tasks, (unsigned long long)row->largest_bytes,
                row->largest_task);
    }
    held_variables_deinit(&variables);
    return text;
}

static void over_all_tasks(void **state)
{
    assert_string_equal(describe(*state, NULL), "0 names 90000 = of 1 tasks, 90000 in 8\n"
                                                "0 conn 5300 >= of 2 tasks, 5000 in 2\n"
                                                "0 - 40 = of 1 tasks, 40 in 1\n");
}

static void in_each_group(void **state)
{
    const struct sample *sample = *state;
    const struct snapshot_group_list *list = &sample->groups.by_type;
    assert_string_equal(describe(sample, list), "0 conn 5300 >= of 2 tasks, 5000 in 2\n"
                                                "0 - 40 = of 1 tasks, 40 in 1\n"
                                                "3 names 90000 = of 1 tasks, 90000 in 8\n");
    struct held_variables variables;
    size_t nr;
    held_variables_init(&variables, &sample->groups, list);
    assert_int_equal(variables.nr_groups, 4);
    assert_ptr_equal(held_variables_of(&variables, 0, &nr), variables.rows);
    assert_int_equal(nr, 2);
    held_variables_of(&variables, 1, &nr);
    assert_int_equal(nr, 0);
    assert_ptr_equal(held_variables_of(&variables, 3, &nr), variables.rows + 2);
    assert_int_equal(nr, 1);
    held_variables_deinit(&variables);
}

static void gone_ones_never_count(void **state)
{
    struct sample *sample = *state;
    struct snapshot_holding *holdings = snapshot_holdings(&sample->snapshot, NULL);
    holdings[1].heap_bytes = 777777; /* `buffer` of task 1, which is gone */
    holdings[5].status = SLOT_GONE;
    assert_string_equal(describe(sample, NULL), "0 conn 5300 >= of 2 tasks, 5000 in 2\n"
                                                "0 - 40 = of 1 tasks, 40 in 1\n");
}

/* Also where what is not exact is nothing so far, or not known at all. */
static void exact_only_if_all_are(void **state)
{
    struct sample *sample = *state;
    struct snapshot_holding *conn = &snapshot_holdings(&sample->snapshot, NULL)[3];
    conn->is = HELD_EXACT;
    assert_non_null(strstr(describe(sample, NULL), "conn 5300 = of 2 tasks"));
    conn->heap_bytes = 0;
    assert_non_null(strstr(describe(sample, NULL), "conn 300 = of 1 tasks, 300 in 1"));
    conn->is = HELD_AT_LEAST;
    assert_non_null(strstr(describe(sample, NULL), "conn 300 >= of 1 tasks, 300 in 1"));
    conn->is = HELD_UNKNOWN;
    assert_non_null(strstr(describe(sample, NULL), "conn 300 >= of 1 tasks, 300 in 1"));
}

/* A task with two such futures counts once. */
static void tasks_are_counted_once(void **state)
{
    struct sample *sample = *state;
    struct snapshot_frame *frames = snapshot_frames(&sample->snapshot, NULL);
    frames[1] = frames[3]; /* what frame 4 holds, in task 1 too */
    frames[1].parent = 1;
    assert_non_null(strstr(describe(sample, NULL), "conn 10300 >= of 2 tasks, 5000 in 1"));
}

/* Two states of one future have slots of their own for one variable. */
static void equal_names_are_one_variable(void **state)
{
    struct sample *sample = *state;
    struct snapshot *snapshot = &sample->snapshot;
    const struct snapshot_slot slot = {
        .name = snapshot_add_string(snapshot, "conn"), .offset_bytes = 8, .inline_bytes = 24};
    uint32_t id = snapshot_add(snapshot, SNAPSHOT_SLOTS, &slot);
    const struct snapshot_holding holding = {id, SLOT_LIVE, HELD_EXACT, 1, 7000, 7000};
    snapshot_states(snapshot, NULL)[3].first_slot = id; /* demo::handler in its other state */
    snapshot_states(snapshot, NULL)[3].nr_slots = 1;
    snapshot_frames(snapshot, NULL)[6].first_holding =
        snapshot_add(snapshot, SNAPSHOT_HOLDINGS, &holding);
    snapshot_frames(snapshot, NULL)[6].nr_holdings = 1;
    const char *problem;
    assert_true(snapshot_check(snapshot, &problem));
    regroup(sample);
    assert_non_null(strstr(describe(sample, NULL), "conn 12300 >= of 3 tasks, 7000 in 3"));
    const char *both = describe(sample, &sample->groups.by_both);
    assert_non_null(strstr(both, "conn 5300 >= of 2 tasks"));
    assert_non_null(strstr(both, "conn 7000 = of 1 tasks"));
}

static void sums_do_not_wrap(void **state)
{
    struct sample *sample = *state;
    struct snapshot_holding *holdings = snapshot_holdings(&sample->snapshot, NULL);
    holdings[0].heap_bytes = UINT64_MAX - 10;
    assert_non_null(strstr(describe(sample, NULL), "conn 18446744073709551605 >= of 2 tasks"));
}

static void without_an_account(void **state)
{
    (void)state;
    struct sample sample;
    sample_snapshot(&sample.snapshot);
    group(&sample);
    assert_false(sample.groups.has_held);
    assert_string_equal(describe(&sample, NULL), "");
    assert_string_equal(describe(&sample, &sample.groups.by_both), "");
    assert_int_equal(held_sum_is(&sample.groups.by_type.rows[0].held), HELD_UNKNOWN);
    snapshot_groups_deinit(&sample.groups);
    snapshot_deinit(&sample.snapshot);
}

/* --- sums of groups -------------------------------------------------------------------------- */

static void groups_sum_what_is_held(void **state)
{
    static const struct {
        uint64_t bytes;
        enum held_is is;
    } rows[] = {{5400, HELD_AT_LEAST}, {144, HELD_EXACT}, {0, HELD_UNKNOWN}, {90000, HELD_EXACT}};
    const struct sample *sample = *state;
    const struct snapshot_group_list *list = &sample->groups.by_type;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(list->rows[i].held.bytes, rows[i].bytes);
        assert_int_equal(held_sum_is(&list->rows[i].held), rows[i].is);
    }
}

static void most_bytes_first(void **state)
{
    const struct sample *sample = *state;
    const struct snapshot_groups *groups = &sample->groups;
    static const uint32_t by_type[] = {3, 0, 1, 2}; /* main, handlers, jobs, what is not known */
    const struct snapshot_group_list *lists[] = {&groups->by_type, &groups->by_await,
                                                 &groups->by_both};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(groups->by_type.by_bytes[i], by_type[i]);
    for (size_t l = 0; l < 3; l++)
        for (size_t i = 0; i + 1 < lists[l]->nr; i++) {
            const struct snapshot_group *a = &lists[l]->rows[lists[l]->by_bytes[i]],
                                        *b = &lists[l]->rows[lists[l]->by_bytes[i + 1]];
            assert_true(a->cells.bytes + a->held.bytes >= b->cells.bytes + b->held.bytes);
        }
}

/* of_task leads each task to the group that counted it. */
static void tasks_know_their_groups(void **state)
{
    const struct sample *sample = *state;
    const struct snapshot_groups *groups = &sample->groups;
    const struct snapshot_group_list *lists[] = {&groups->by_type, &groups->by_await,
                                                 &groups->by_both};
    for (size_t l = 0; l < 3; l++) {
        uint64_t counts[9] = {0};
        for (size_t i = 0; i < groups->nr_tasks; i++)
            if (lists[l]->of_task[i])
                counts[lists[l]->of_task[i] - 1]++;
        for (size_t i = 0; i < lists[l]->nr; i++) {
            assert_int_equal(counts[i], lists[l]->rows[i].nr_tasks);
            assert_int_equal(lists[l]->of_task[lists[l]->rows[i].first_task - 1], i + 1);
        }
    }
    assert_int_equal(groups->by_await.of_task[6], 0); /* running: at no await */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(over_all_tasks, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(in_each_group, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(gone_ones_never_count, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(exact_only_if_all_are, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(tasks_are_counted_once, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(equal_names_are_one_variable, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(sums_do_not_wrap, make_sample, free_sample),
        cmocka_unit_test(without_an_account),
        cmocka_unit_test_setup_teardown(groups_sum_what_is_held, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(most_bytes_first, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(tasks_know_their_groups, make_sample, free_sample),
    };
    return cmocka_run_group_tests_name("held_variables", tests, NULL, NULL);
}
