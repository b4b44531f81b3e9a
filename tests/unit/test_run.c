/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "run_sample.h"

/* --- a table of every reference in a run ------------------------------------------------------ */

enum target { STRING, ID, SOME, SPAN, KIND, KIND16, PARENT };

struct reference {
    enum run_table_id table;
    size_t offset; /* of the field in its row */
    enum target target;
    uint32_t limit; /* KIND: the first value that is wrong; ID and SPAN: the table */
};

#define FIELD(table, row, field, target, limit)                                                    \
    {                                                                                              \
        table, offsetof(struct run_##row, field), target, limit                                    \
    }

static const struct reference references[] = {
    FIELD(RUN_FACTS, facts, program, STRING, 0),
    FIELD(RUN_FACTS, facts, command, STRING, 0),
    FIELD(RUN_FACTS, facts, detail_reason, STRING, 0),
    FIELD(RUN_FACTS, facts, ended_by, KIND, NR_RUN_ENDED_BY),
    FIELD(RUN_FACTS, facts, stacks, KIND, NR_RUN_STACKS),
    FIELD(RUN_FACTS, facts, detail, KIND, 3),
    FIELD(RUN_LOSTS, lost, cause, STRING, 0),
    FIELD(RUN_LOSTS, lost, text, STRING, 0),
    FIELD(RUN_NOTES, note, text, STRING, 0),
    FIELD(RUN_IMAGES, image, path, STRING, 0),
    FIELD(RUN_IMAGES, image, build_id, STRING, 0),
    FIELD(RUN_IMAGES, image, detail_reason, STRING, 0),
    FIELD(RUN_IMAGES, image, detail, KIND, 3),
    FIELD(RUN_TYPES, type, future, STRING, 0),
    FIELD(RUN_TYPES, type, full, STRING, 0),
    FIELD(RUN_TYPES, type, reason, STRING, 0),
    FIELD(RUN_TYPES, type, runtime, STRING, 0),
    FIELD(RUN_TYPES, type, kind, KIND, NR_RUN_KINDS),
    FIELD(RUN_TYPES, type, image, ID, RUN_IMAGES),
    FIELD(RUN_TASKS, task, type, SOME, RUN_TYPES),
    FIELD(RUN_TASKS, task, end, KIND, NR_RUN_ENDS),
    FIELD(RUN_TASKS, task, site, ID, RUN_SITES),
    FIELD(RUN_TASKS, task, await, ID, RUN_AWAITS),
    FIELD(RUN_TASKS, task, is_thread, KIND, 2),
    FIELD(RUN_TASKS, task, thread, STRING, 0),
    FIELD(RUN_TASKS, task, waits_for, STRING, 0),
    FIELD(RUN_AWAITS, await, parent, PARENT, 0),
    FIELD(RUN_AWAITS, await, future, STRING, 0),
    FIELD(RUN_AWAITS, await, full, STRING, 0),
    FIELD(RUN_AWAITS, await, state, STRING, 0),
    FIELD(RUN_AWAITS, await, file, STRING, 0),
    FIELD(RUN_AWAITS, await, waits_for, STRING, 0),
    FIELD(RUN_AWAIT_ENDS, await_end, type, SOME, RUN_TYPES),
    FIELD(RUN_AWAIT_ENDS, await_end, await, ID, RUN_AWAITS),
    FIELD(RUN_AWAIT_ENDS, await_end, end, KIND, NR_RUN_ENDS),
    FIELD(RUN_FRAMES, frame, function, STRING, 0),
    FIELD(RUN_FRAMES, frame, full, STRING, 0),
    FIELD(RUN_FRAMES, frame, file, STRING, 0),
    FIELD(RUN_FRAMES, frame, kind, KIND16, NR_RUN_FRAME_KINDS),
    FIELD(RUN_FRAMES, frame, is_inlined, KIND16, 2),
    FIELD(RUN_PLACES, place, first_frame, SPAN, RUN_FRAMES),
    FIELD(RUN_PLACES, place, image, ID, RUN_IMAGES),
    FIELD(RUN_NODES, node, parent, PARENT, 0),
    FIELD(RUN_NODES, node, place, SOME, RUN_PLACES),
    FIELD(RUN_SITES, site, node, ID, RUN_NODES),
    FIELD(RUN_SITES, site, lifetimes, ID, RUN_LIFETIMES),
    FIELD(RUN_SITES, site, type, ID, RUN_TYPES),
    FIELD(RUN_SITES, site, kind, KIND, NR_RUN_KINDS),
    FIELD(RUN_LIFETIMES, lifetimes, site, SOME, RUN_SITES),
    FIELD(RUN_LEFTS, left, type, ID, RUN_TYPES),
    FIELD(RUN_LEFTS, left, site, ID, RUN_SITES),
    FIELD(RUN_STEP_TYPES, step_type, step, SOME, RUN_STEPS),
    FIELD(RUN_STEP_TYPES, step_type, type, ID, RUN_TYPES),
    FIELD(RUN_SNAPSHOTS, snapshot, why, KIND, NR_RUN_SNAPSHOT_WHYS),
    FIELD(RUN_RUNTIMES, runtime, name, STRING, 0),
    FIELD(RUN_RUNTIMES, runtime, kind, KIND, NR_RUN_KINDS),
};

/* A row in every table. */
static int make_sample(void **state)
{
    static const struct run_sample_size size = {.seed = 5,
                                                .nr_types = 4,
                                                .nr_tasks = 12,
                                                .nr_sites = 10,
                                                .nr_steps = 8,
                                                .depth = 6,
                                                .has_snapshot = 1};
    struct run *run = calloc(1, sizeof(*run));
    run_sample(run, &size);
    const struct run_lost lost = {run_add_string(run, "stack_cut"), {0}, 1};
    const struct run_note note = {run_add_string(run, "a note")};
    const struct run_lifetimes lifetimes = {.site = 1};
    run_add(run, RUN_LOSTS, &lost);
    run_add(run, RUN_NOTES, &note);
    run_add(run, RUN_LIFETIMES, &lifetimes);
    *state = run;
    return 0;
}

static int free_sample(void **state)
{
    run_deinit(*state);
    free(*state);
    return 0;
}

static bool is_valid(const struct run *run)
{
    const char *problem = "untouched";
    bool ok = run_check(run, &problem);
    assert_true(ok ? problem == NULL : problem && *problem);
    return ok;
}

/* Whether the run is valid while the field of `bytes` bytes holds `value`. */
static bool valid_with(const struct run *run, void *field, uint64_t value, size_t bytes)
{
    uint64_t before = 0;
    memcpy(&before, field, bytes);
    memcpy(field, &value, bytes);
    bool ok = is_valid(run);
    memcpy(field, &before, bytes);
    return ok;
}

static void check_span(const struct run *run, uint32_t *field, uint32_t wrong)
{
    uint32_t nr = field[1];
    field[1] = nr ? nr : 1;
    assert_false(valid_with(run, field, 0, 4));
    assert_false(valid_with(run, field, wrong, 4));
    assert_false(valid_with(run, field, UINT32_MAX, 4));
    assert_false(valid_with(run, &field[1], wrong, 4));
    assert_false(valid_with(run, &field[1], UINT32_MAX, 4));
    field[1] = nr;
}

static void check_row(const struct run *run, const struct reference *reference, uint32_t row,
                      void *field)
{
    enum target target = reference->target;
    size_t bytes = target == KIND16 ? 2 : 4;
    uint32_t wrong = target == STRING   ? (uint32_t)run->tables[RUN_STRINGS].nr
                     : target == PARENT ? row + 1
                     : target == KIND || target == KIND16
                         ? reference->limit
                         : (uint32_t)run->tables[reference->limit].nr + 1;
    if (target == SPAN) {
        check_span(run, field, wrong);
        return;
    }
    assert_false(valid_with(run, field, wrong, bytes));
    assert_false(valid_with(run, field, UINT64_MAX, bytes));
    assert_true(valid_with(run, field, wrong - 1, bytes));
    assert_int_equal(valid_with(run, field, 0, bytes), target != SOME);
}

/* --- tests ----------------------------------------------------------------------------------- */

static void each_reference_is_checked(void **state)
{
    const struct run *run = *state;
    assert_true(is_valid(run));
    for (size_t i = 0; i < sizeof(references) / sizeof(*references); i++) {
        const struct table *table = &run->tables[references[i].table];
        assert_true(table->nr > 0);
        for (uint32_t row = 0; row < table->nr; row++)
            check_row(run, &references[i], row,
                      (char *)table->rows + row * run_row_bytes[references[i].table] +
                          references[i].offset);
    }
    assert_true(is_valid(run));
}

/* Frames belong to one place each: else a small file could describe any number of them. */
static void frames_are_not_shared(void **state)
{
    const struct run *run = *state;
    struct run_place *places = run_places(run, NULL);
    places[0].first_frame = 1;
    places[0].nr_frames = (uint32_t)run->tables[RUN_FRAMES].nr;
    assert_false(is_valid(run));
}

static void snapshots_lie_inside(void **state)
{
    const struct run *run = *state;
    size_t nr;
    struct run_snapshot *snapshots = run_snapshots(run, &nr);
    assert_true(nr > 0);
    assert_false(valid_with(run, &snapshots[0].first_byte, 1, 8)); /* the last byte is outside */
    assert_false(valid_with(run, &snapshots[0].first_byte, UINT64_MAX, 8));
    assert_false(valid_with(run, &snapshots[0].nr_bytes, snapshots[0].nr_bytes + 1, 8));
    assert_false(valid_with(run, &snapshots[0].nr_bytes, UINT64_MAX, 8));
    assert_true(valid_with(run, &snapshots[0].nr_bytes, 0, 8));
}

static void strings_and_facts(void **state)
{
    struct run *run = *state;
    struct table *strings = &run->tables[RUN_STRINGS];
    char *bytes = strings->rows;
    bytes[0] = 'x';
    assert_false(is_valid(run));
    bytes[0] = 0;
    bytes[strings->nr - 1] = 'x';
    assert_false(is_valid(run));
    bytes[strings->nr - 1] = 0;
    run->tables[RUN_FACTS].nr = 0;
    assert_false(is_valid(run));
    run->tables[RUN_FACTS].nr = 1;
    run_add(run, RUN_FACTS, run_facts(run));
    assert_false(is_valid(run));
}

static void new_ones_are_valid(void **state)
{
    struct run run;
    (void)state;
    run_init(&run);
    assert_true(is_valid(&run));
    assert_string_equal(run_string(&run, run_facts(&run)->program), "");
    assert_int_equal(run_add_string(&run, "").v, 0);
    run_deinit(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_reference_is_checked, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(frames_are_not_shared, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(snapshots_lie_inside, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(strings_and_facts, make_sample, free_sample),
        cmocka_unit_test(new_ones_are_valid),
    };
    return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
