/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "analysis/run_ends.h"
#include "analysis/run_findings.h"
#include "analysis/run_left.h"
#include "analysis/run_timeline.h"
#include "analysis/run_types.h"

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

static uint32_t type(struct run *run, enum run_kind kind)
{
    const struct run_type row = {.kind = kind, .cell_bytes = 128};
    return run_add(run, RUN_TYPES, &row);
}

static const struct run_filter all;

/* --- what is left ---------------------------------------------------------------------------- */

static void left(struct run *run, uint32_t type_id, uint64_t bytes)
{
    const struct run_left row = {.type = type_id, .live_blocks = 1, .live_bytes = bytes};
    run_add(run, RUN_LEFTS, &row);
}

static void task_zero_is_what_is_outside_of_tasks(void **state)
{
    struct run *run = *state;
    struct run_selection selection;
    struct run_lefts lefts;
    const struct run_site_groups none = {0};
    left(run, type(run, RUN_KIND_ASYNC), 1000);
    left(run, type(run, RUN_KIND_ROOT), 1);
    left(run, type(run, RUN_KIND_WORKER), 20);
    left(run, type(run, RUN_KIND_THREAD), 300);
    left(run, type(run, RUN_KIND_BLOCKING), 5000);
    left(run, 0, 70000);
    left(run, 1, 1000);
    run_selection_init(&selection, run, &all);
    run_lefts_init(&lefts, run, &selection, &none);
    assert_int_equal(lefts.sum.live_bytes, 77321);
    assert_int_equal(lefts.task_zero.live_bytes, 70321);
    assert_int_equal(lefts.kinds[RUN_KIND_ROOT].live_bytes, 1);
    assert_int_equal(lefts.kinds[RUN_KIND_WORKER].live_bytes, 20);
    assert_int_equal(lefts.kinds[RUN_KIND_THREAD].live_bytes, 300);
    assert_int_equal(lefts.nr, 6); /* two rows of one type and place are one */
    assert_int_equal(lefts.rows[0].live_bytes, 70000);
    assert_int_equal(lefts.rows[2].live_bytes, 2000);
    run_lefts_deinit(&lefts);
    run_selection_deinit(&selection);
}

static void sums_stay_below_unknown(void **state)
{
    struct run *run = *state;
    struct run_selection selection;
    struct run_lefts lefts;
    const struct run_site_groups none = {0};
    left(run, 0, RUN_UNKNOWN - 5);
    left(run, 0, 100);
    run_selection_init(&selection, run, &all);
    run_lefts_init(&lefts, run, &selection, &none);
    assert_true(lefts.sum.live_bytes == RUN_UNKNOWN - 1);
    run_lefts_deinit(&lefts);
    run_selection_deinit(&selection);
}

/* --- tasks ----------------------------------------------------------------------------------- */

static void task(struct run *run, uint32_t type_id, uint64_t held_bytes, uint64_t spawned_ns)
{
    const struct run_task row = {.id = spawned_ns,
                                 .type = type_id,
                                 .spawned_ns = spawned_ns,
                                 .first_poll_ns = spawned_ns,
                                 .last_poll_ns = spawned_ns + 5,
                                 .cell_bytes = 128,
                                 .held_bytes = held_bytes};
    run_add(run, RUN_TASKS, &row);
}

static void unfinished_tasks_are_grouped(void **state)
{
    struct run *run = *state;
    struct run_selection selection;
    struct run_ends ends;
    const uint32_t a = type(run, RUN_KIND_ASYNC), b = type(run, RUN_KIND_ASYNC);
    task(run, a, 100, 30);
    task(run, a, 50, 20);
    task(run, a, RUN_UNKNOWN, 40);
    task(run, b, RUN_UNKNOWN, 10);
    const struct run_task ended = {.type = a, .end = RUN_END_FINISHED},
                          thread = {.type = b, .is_thread = 1};
    run_add(run, RUN_TASKS, &ended);
    run_add(run, RUN_TASKS, &thread);
    run_selection_init(&selection, run, &all);
    run_ends_init(&ends, run, &selection);
    assert_int_equal(ends.nr_unfinished, 2);
    assert_int_equal(ends.unfinished_tasks, 4);
    const struct run_unfinished *first = &ends.unfinished[0];
    assert_int_equal(first->tasks, 3);
    assert_int_equal(first->held_bytes, 150);
    assert_int_equal(first->held_unknown, 1);
    assert_int_equal(first->example, 2); /* the oldest */
    assert_int_equal(first->oldest_ns, 20);
    assert_int_equal(first->newest_ns, 40);
    assert_int_equal(first->first_last_poll_ns, 25);
    assert_int_equal(first->last_poll_ns, 45);
    assert_true(ends.unfinished[1].held_bytes == RUN_UNKNOWN);
    run_ends_deinit(&ends);
    run_selection_deinit(&selection);
}

/* What types count and no await tells is at an unknown place: the sum is the types'. */
static void early_ends_add_up(void **state)
{
    struct run *run = *state;
    struct run_selection selection;
    struct run_ends ends;
    const struct run_await await = {.future = run_add_string(run, "f")};
    const uint32_t place = run_add(run, RUN_AWAITS, &await), id = type(run, RUN_KIND_ASYNC);
    run_types(run, NULL)[0].ended[RUN_END_ABORTED] = 10;
    run_types(run, NULL)[0].ended[RUN_END_FINISHED] = 99;
    const struct run_await_end row = {
        .type = id, .await = place, .end = RUN_END_ABORTED, .tasks = 7};
    run_add(run, RUN_AWAIT_ENDS, &row);
    run_selection_init(&selection, run, &all);
    run_ends_init(&ends, run, &selection);
    assert_int_equal(ends.early_tasks, 10);
    assert_int_equal(ends.nr_early, 2);
    assert_int_equal(ends.early[0].tasks, 7);
    assert_int_equal(ends.early[0].await, place);
    assert_int_equal(ends.early[1].tasks, 3);
    assert_int_equal(ends.early[1].await, 0);
    run_ends_deinit(&ends);
    run_selection_deinit(&selection);
}

static void await_of_the_users_own_is_shown(void **state)
{
    struct run *run = *state;
    static const char *const files[] = {"src/main.rs", "src/conn.rs",
                                        "/home/me/.cargo/registry/src/x/tokio/src/net.rs", ""};
    for (uint32_t i = 0; i < 4; i++) {
        const struct run_await row = {.parent = i, .file = run_add_string(run, files[i])};
        run_add(run, RUN_AWAITS, &row);
    }
    const struct run_await far = {.file = run_add_string(run, files[2])};
    const uint32_t alone = run_add(run, RUN_AWAITS, &far);
    assert_int_equal(run_await_shown(run, 4), 2);
    assert_int_equal(run_await_shown(run, 1), 1);
    assert_int_equal(run_await_shown(run, alone), alone);
    assert_int_equal(run_await_shown(run, 0), 0);
}

static void folded_is_what_types_have_more(void **state)
{
    struct run *run = *state;
    struct run_selection selection;
    struct run_types_order order;
    type(run, RUN_KIND_ASYNC);
    struct run_type *row = run_types(run, NULL);
    row->tasks = 10;
    row->allocations = 100;
    const struct run_task live = {.type = 1, .allocations = 30};
    run_add(run, RUN_TASKS, &live);
    run_selection_init(&selection, run, &all);
    run_types_order_init(&order, run, &selection);
    assert_int_equal(order.folded.tasks, 9);
    assert_int_equal(order.folded.allocations, 70);
    run_types_order_deinit(&order);
    run_selection_deinit(&selection);
}

/* --- the timeline ---------------------------------------------------------------------------- */

static void step(struct run *run, uint64_t t_ns, uint64_t live_bytes, uint64_t live_tasks)
{
    const struct run_step row = {t_ns, live_bytes, live_bytes + 1, live_tasks};
    run_add(run, RUN_STEPS, &row);
}

static void columns_keep_the_peaks(void **state)
{
    struct run *run = *state;
    struct run_timeline timeline;
    for (uint32_t i = 0; i <= 1000; i++)
        step(run, i * 10, i == 537 ? 999999 : i, i == 123 ? 777 : 1);
    run_timeline_init(&timeline, run, 20);
    assert_int_equal(timeline.end_ns, 10000);
    assert_int_equal(timeline.most_bytes, 538);
    assert_int_equal(timeline.most_tasks, 124);
    uint64_t most_bytes = 0, most_tasks = 0;
    for (size_t i = 0; i < timeline.nr; i++) {
        const struct run_column *column = &timeline.columns[i];
        most_bytes = column->live_bytes > most_bytes ? column->live_bytes : most_bytes;
        most_tasks = column->live_tasks > most_tasks ? column->live_tasks : most_tasks;
        assert_true(column->step);
    }
    assert_int_equal(most_bytes, 999999);
    assert_int_equal(most_tasks, 777);
    assert_int_equal(timeline.columns[19].live_bytes, 1000);
    run_timeline_deinit(&timeline);
}

static void gaps_go_on_as_before(void **state)
{
    struct run *run = *state;
    struct run_timeline timeline;
    step(run, 500, 5, 1);
    step(run, 1000, 9, 2);
    run_timeline_init(&timeline, run, 11);
    assert_int_equal(timeline.columns[0].live_bytes, 0); /* before the first it is not known */
    assert_int_equal(timeline.columns[5].live_bytes, 5);
    assert_int_equal(timeline.columns[9].live_bytes, 5);
    assert_int_equal(timeline.columns[9].step, 0);
    assert_int_equal(timeline.columns[10].live_bytes, 9);
    run_timeline_deinit(&timeline);
}

static void types_of_a_step_by_size(void **state)
{
    struct run *run = *state;
    struct run_step_tops tops;
    type(run, RUN_KIND_ASYNC);
    type(run, RUN_KIND_ASYNC);
    step(run, 1, 10, 1);
    step(run, 2, 20, 1);
    const struct run_step_type rows[] = {{2, 1, 5}, {1, 2, 3}, {2, 2, 9}};
    for (size_t i = 0; i < 3; i++)
        run_add(run, RUN_STEP_TYPES, &rows[i]);
    run_step_tops_init(&tops, run);
    assert_int_equal(run_step_top(&tops, run, 2, 0)->type, 2);
    assert_int_equal(run_step_top(&tops, run, 2, 1)->live_bytes, 5);
    assert_null(run_step_top(&tops, run, 2, 2));
    assert_int_equal(run_step_top(&tops, run, 1, 0)->live_bytes, 3);
    assert_null(run_step_top(&tops, run, 1, 1));
    run_step_tops_deinit(&tops);
}

/* --- findings -------------------------------------------------------------------------------- */

static const struct run_finding *find(const struct run_findings *findings,
                                      enum run_finding_kind kind)
{
    for (size_t i = 0; i < findings->nr; i++)
        if (findings->rows[i].kind == kind)
            return &findings->rows[i];
    return NULL;
}

static void findings_of(struct run *run, struct run_findings *findings)
{
    const struct run_site_groups sites = {0};
    const struct run_lefts lefts = {0};
    const struct run_ends ends = {0};
    const struct run_parts parts = {run, &sites, &lefts, &ends};
    run_findings_init(findings, &parts);
}

static void growth_says_whose(void **state)
{
    struct run *run = *state;
    struct run_findings findings;
    type(run, RUN_KIND_ASYNC);
    type(run, RUN_KIND_ASYNC);
    for (uint32_t i = 0; i < 20; i++)
        step(run, i * 1000, i == 19 ? 0 : 1000000 * (uint64_t)i, 1); /* freed at the very end */
    const struct run_step_type rows[] = {{6, 1, 900}, {19, 1, 1000}, {6, 2, 10}, {19, 2, 800}};
    for (size_t i = 0; i < 4; i++)
        run_add(run, RUN_STEP_TYPES, &rows[i]);
    findings_of(run, &findings);
    const struct run_finding *growth = find(&findings, RUN_FINDING_GROWTH);
    assert_non_null(growth);
    assert_int_equal(growth->from, 6); /* the first step after a quarter of the time */
    assert_int_equal(growth->to, 19);
    assert_int_equal(growth->bytes, 18000000);
    assert_int_equal(growth->type, 2);
    assert_int_equal(growth->type_from_bytes, 10);
    assert_int_equal(growth->type_to_bytes, 800);
}

static void level_heaps_did_not_grow(void **state)
{
    struct run *run = *state;
    struct run_findings findings;
    for (uint32_t i = 0; i < 20; i++)
        step(run, i * 1000, 50000000 + i, 1);
    findings_of(run, &findings);
    assert_null(find(&findings, RUN_FINDING_GROWTH));
}

static void boxed_futures_are_fat_too(void **state)
{
    struct run *run = *state;
    struct run_findings findings;
    type(run, RUN_KIND_ASYNC);
    findings_of(run, &findings);
    assert_null(find(&findings, RUN_FINDING_FAT));
    run_types(run, NULL)[0].boxed_bytes = 65536;
    run_types(run, NULL)[0].live_cells = 4;
    run_types(run, NULL)[0].live_tasks = 1;
    findings_of(run, &findings);
    assert_int_equal(find(&findings, RUN_FINDING_FAT)->bytes, 65536 + 128);
    assert_int_equal(find(&findings, RUN_FINDING_KEPT)->count, 3);
    assert_int_equal(find(&findings, RUN_FINDING_KEPT)->bytes, 3 * 128);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_run, free_run)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(task_zero_is_what_is_outside_of_tasks),
        TEST(sums_stay_below_unknown),
        TEST(unfinished_tasks_are_grouped),
        TEST(early_ends_add_up),
        TEST(await_of_the_users_own_is_shown),
        TEST(folded_is_what_types_have_more),
        TEST(columns_keep_the_peaks),
        TEST(gaps_go_on_as_before),
        TEST(types_of_a_step_by_size),
        TEST(growth_says_whose),
        TEST(level_heaps_did_not_grow),
        TEST(boxed_futures_are_fat_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
