/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "model/run_rows.h"
#include "snapshot_sample.h"

/* --- a table of every reference in a snapshot ------------------------------------------------ */

enum target {
    STRING,
    ID,
    SOME,
    SPAN,
    KIND,
    ORDERED, /* as ID, but other rows are not right for it either */
};

struct reference {
    enum snapshot_table_id table;
    size_t offset; /* of the field in its row */
    enum target target;
    uint32_t limit; /* KIND: the first value that is wrong; ID and SPAN: the table */
};

#define FIELD(table, row, field, target, limit)                                                    \
    {                                                                                              \
        table, offsetof(struct snapshot_##row, field), target, limit                               \
    }

static const struct reference references[] = {
    FIELD(SNAPSHOT_FACTS, facts, is_core, KIND, 2),
    FIELD(SNAPSHOT_FACTS, facts, program, STRING, 0),
    FIELD(SNAPSHOT_FACTS, facts, detail, KIND, NR_SNAPSHOT_DETAILS),
    FIELD(SNAPSHOT_FACTS, facts, detail_reason, STRING, 0),
    FIELD(SNAPSHOT_IMAGES, image, path, STRING, 0),
    FIELD(SNAPSHOT_IMAGES, image, build_id, STRING, 0),
    FIELD(SNAPSHOT_IMAGES, image, detail, KIND, NR_SNAPSHOT_DETAILS),
    FIELD(SNAPSHOT_IMAGES, image, detail_reason, STRING, 0),
    FIELD(SNAPSHOT_RUNTIMES, runtime, name, STRING, 0),
    FIELD(SNAPSHOT_RUNTIMES, runtime, owned_reason, STRING, 0),
    FIELD(SNAPSHOT_KINDS, kind, image, ID, SNAPSHOT_IMAGES),
    FIELD(SNAPSHOT_KINDS, kind, kind, KIND, NR_TASK_KINDS),
    FIELD(SNAPSHOT_KINDS, kind, scheduler, KIND, NR_TASK_SCHEDULERS),
    FIELD(SNAPSHOT_KINDS, kind, future, STRING, 0),
    FIELD(SNAPSHOT_KINDS, kind, full, STRING, 0),
    FIELD(SNAPSHOT_KINDS, kind, reason, STRING, 0),
    FIELD(SNAPSHOT_KINDS, kind, first_also, SPAN, SNAPSHOT_ALSO),
    FIELD(SNAPSHOT_ALSO, also, future, STRING, 0),
    FIELD(SNAPSHOT_STATES, state, future, STRING, 0),
    FIELD(SNAPSHOT_STATES, state, full, STRING, 0),
    FIELD(SNAPSHOT_STATES, state, state, STRING, 0),
    FIELD(SNAPSHOT_STATES, state, file, STRING, 0),
    FIELD(SNAPSHOT_STATES, state, macro, STRING, 0),
    FIELD(SNAPSHOT_STATES, state, waits_for, STRING, 0),
    FIELD(SNAPSHOT_STATES, state, first_slot, SPAN, SNAPSHOT_SLOTS),
    FIELD(SNAPSHOT_SLOTS, slot, name, STRING, 0),
    FIELD(SNAPSHOT_SLOTS, slot, type, STRING, 0),
    FIELD(SNAPSHOT_TASKS, task, runtime, ID, SNAPSHOT_RUNTIMES),
    FIELD(SNAPSHOT_TASKS, task, kind, SOME, SNAPSHOT_KINDS),
    FIELD(SNAPSHOT_TASKS, task, status, KIND, NR_TASK_STATUSES),
    FIELD(SNAPSHOT_TASKS, task, finished_because, KIND, NR_FINISHED_BECAUSE),
    FIELD(SNAPSHOT_TASKS, task, first_frame, SPAN, SNAPSHOT_FRAMES),
    FIELD(SNAPSHOT_TASKS, task, reason, STRING, 0),
    FIELD(SNAPSHOT_TASKS, task, held_is, KIND, NR_HELD_IS),
    FIELD(SNAPSHOT_TASKS, task, held_reason, STRING, 0),
    FIELD(SNAPSHOT_TASKS, task, first_keeper, SPAN, SNAPSHOT_KEEPERS),
    FIELD(SNAPSHOT_FRAMES, frame, state, ORDERED, SNAPSHOT_STATES),
    FIELD(SNAPSHOT_FRAMES, frame, first_holding, SPAN, SNAPSHOT_HOLDINGS),
    FIELD(SNAPSHOT_NOTES, note, text, STRING, 0),
    FIELD(SNAPSHOT_HOLDINGS, holding, slot, ORDERED, SNAPSHOT_SLOTS),
    FIELD(SNAPSHOT_HOLDINGS, holding, status, KIND, NR_SLOT_STATUSES),
    FIELD(SNAPSHOT_HOLDINGS, holding, is, KIND, NR_HELD_IS),
    FIELD(SNAPSHOT_SHARED, shared, type, STRING, 0),
    FIELD(SNAPSHOT_SHARED, shared, first_task, SPAN, SNAPSHOT_SHARED_TASKS),
    FIELD(SNAPSHOT_SHARED_TASKS, shared_task, task, SOME, SNAPSHOT_TASKS),
    FIELD(SNAPSHOT_KEEPERS, keeper, block_class, KIND, NR_BLOCK_CLASSES),
    FIELD(SNAPSHOT_KEEPERS, keeper, task, ID, SNAPSHOT_TASKS),
    FIELD(SNAPSHOT_KEEPERS, keeper, slot, STRING, 0),
    FIELD(SNAPSHOT_KEEPERS, keeper, place, STRING, 0),
    FIELD(SNAPSHOT_HEAP, heap, allocator, STRING, 0),
    FIELD(SNAPSHOT_HEAP, heap, how, STRING, 0),
    FIELD(SNAPSHOT_HEAP, heap, problem, STRING, 0),
    FIELD(SNAPSHOT_SITE_FRAMES, site_frame, function, STRING, 0),
    FIELD(SNAPSHOT_SITE_FRAMES, site_frame, full, STRING, 0),
    FIELD(SNAPSHOT_SITE_FRAMES, site_frame, file, STRING, 0),
    FIELD(SNAPSHOT_SITE_FRAMES, site_frame, kind, KIND, NR_RUN_FRAME_KINDS),
    FIELD(SNAPSHOT_SITES, site, first_frame, SPAN, SNAPSHOT_SITE_FRAMES),
    FIELD(SNAPSHOT_MAKERS, maker, kind, KIND, NR_MAKER_KINDS),
    FIELD(SNAPSHOT_MAKERS, maker, task, ID, SNAPSHOT_TASKS),
    FIELD(SNAPSHOT_MAKERS, maker, name, STRING, 0),
    FIELD(SNAPSHOT_ORIGINS, origin, holding, ORDERED, SNAPSHOT_HOLDINGS),
    FIELD(SNAPSHOT_ORIGINS, origin, maker, ID, SNAPSHOT_MAKERS),
    FIELD(SNAPSHOT_ORIGINS, origin, site, ID, SNAPSHOT_SITES),
    FIELD(SNAPSHOT_SPAWNS, spawn, task, SOME, SNAPSHOT_TASKS),
    FIELD(SNAPSHOT_SPAWNS, spawn, maker, ID, SNAPSHOT_MAKERS),
    FIELD(SNAPSHOT_SPAWNS, spawn, site, ID, SNAPSHOT_SITES),
};

static int make_sample(void **state)
{
    struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
    sample_snapshot_held(snapshot);
    *state = snapshot;
    return 0;
}

static int free_sample(void **state)
{
    snapshot_deinit(*state);
    free(*state);
    return 0;
}

static bool is_valid(const struct snapshot *snapshot)
{
    const char *problem = "untouched";
    bool ok = snapshot_check(snapshot, &problem);
    assert_true(ok ? problem == NULL : problem && *problem);
    return ok;
}

/* Whether the snapshot is valid while the field holds `value`. */
static bool valid_with(const struct snapshot *snapshot, uint32_t *field, uint32_t value)
{
    uint32_t before = *field;
    *field = value;
    bool ok = is_valid(snapshot);
    *field = before;
    return ok;
}

static size_t limit_of(const struct snapshot *snapshot, const struct reference *reference)
{
    return reference->target == STRING ? snapshot->tables[SNAPSHOT_STRINGS].nr
           : reference->target == KIND ? reference->limit
                                       : snapshot->tables[reference->limit].nr + 1;
}

static void check_row(const struct snapshot *snapshot, const struct reference *reference,
                      uint32_t *field)
{
    uint32_t wrong = (uint32_t)limit_of(snapshot, reference);
    if (reference->target == SPAN) {
        uint32_t nr = field[1];
        field[1] = nr ? nr : 1;
        assert_false(valid_with(snapshot, field, 0));
        assert_false(valid_with(snapshot, field, wrong));
        assert_false(valid_with(snapshot, field, UINT32_MAX));
        assert_false(valid_with(snapshot, &field[1], wrong));
        assert_false(valid_with(snapshot, &field[1], UINT32_MAX));
        field[1] = nr;
        return;
    }
    assert_false(valid_with(snapshot, field, wrong));
    assert_false(valid_with(snapshot, field, UINT32_MAX));
    if (reference->target == ORDERED)
        return;
    assert_true(valid_with(snapshot, field, wrong - 1));
    assert_int_equal(valid_with(snapshot, field, 0), reference->target != SOME);
}

/* --- tests ----------------------------------------------------------------------------------- */

static void sample_has_every_table(void **state)
{
    const struct snapshot *snapshot = *state;
    assert_true(is_valid(snapshot));
    for (size_t i = 0; i < NR_SNAPSHOT_TABLES; i++)
        assert_true(snapshot->tables[i].nr > 0);
}

static void each_reference_is_checked(void **state)
{
    const struct snapshot *snapshot = *state;
    for (size_t i = 0; i < sizeof(references) / sizeof(*references); i++) {
        const struct table *table = &snapshot->tables[references[i].table];
        for (size_t row = 0; row < table->nr; row++)
            check_row(snapshot, &references[i],
                      (uint32_t *)((char *)table->rows +
                                   row * snapshot_row_bytes[references[i].table] +
                                   references[i].offset));
    }
    assert_true(is_valid(snapshot));
}

static void parents_stand_before(void **state)
{
    const struct snapshot *snapshot = *state;
    size_t nr;
    const struct snapshot_task *tasks = snapshot_tasks(snapshot, &nr);
    for (size_t i = 0; i < nr; i++)
        for (uint32_t f = 0; f < tasks[i].nr_frames; f++) {
            struct snapshot_frame *frame =
                &snapshot_frames(snapshot, NULL)[tasks[i].first_frame - 1 + f];
            assert_true(valid_with(snapshot, &frame->parent, f));
            assert_false(valid_with(snapshot, &frame->parent, f + 1)); /* itself */
            assert_false(valid_with(snapshot, &frame->parent, UINT32_MAX));
        }
}

/* Else a small file could describe any number of frames. */
static void trees_are_not_shared(void **state)
{
    const struct snapshot *snapshot = *state;
    struct snapshot_task *tasks = snapshot_tasks(snapshot, NULL);
    tasks[3].first_frame = 1;
    tasks[3].nr_frames = 3;
    assert_false(is_valid(snapshot));
}

static uint32_t *slot_of(const struct snapshot *snapshot, uint32_t holding)
{
    return &snapshot_holdings(snapshot, NULL)[holding - 1].slot;
}

/* Frame 1 has slots 1 and 2 and what is hidden; frame 4 has slots 1 and 2; frame 11 has slot 3. */
static void holdings_are_in_order(void **state)
{
    const struct snapshot *snapshot = *state;
    assert_false(valid_with(snapshot, slot_of(snapshot, 1), 0)); /* hidden, but not the last */
    assert_false(valid_with(snapshot, slot_of(snapshot, 1), 2)); /* one slot twice */
    assert_false(valid_with(snapshot, slot_of(snapshot, 1), 3)); /* of another state */
    assert_false(valid_with(snapshot, slot_of(snapshot, 3), 2)); /* twice, at the end */
    assert_false(valid_with(snapshot, slot_of(snapshot, 5), 1)); /* backwards */
    struct snapshot_holding *rows = snapshot_holdings(snapshot, NULL);
    rows[4].what = HOLDING_BOX;
    assert_true(valid_with(snapshot, slot_of(snapshot, 5), 0)); /* one is left out */
    rows[4].what = HOLDING_FIELD;
    assert_true(valid_with(snapshot, slot_of(snapshot, 5), 3)); /* of any type */
    assert_false(valid_with(snapshot, slot_of(snapshot, 5), 0));
    assert_false(valid_with(snapshot, &rows[4].what, NR_HOLDING_WHATS));
    rows[4].what = HOLDING_SLOT;
    assert_false(valid_with(snapshot, &rows[2].what, HOLDING_SLOT));   /* has none */
    assert_false(valid_with(snapshot, &rows[0].what, HOLDING_HIDDEN)); /* before a variable */
    assert_false(valid_with(snapshot, slot_of(snapshot, 6), 2));
    struct snapshot_frame *frames = snapshot_frames(snapshot, NULL);
    assert_false(valid_with(snapshot, &frames[0].state, 8)); /* its slots are others */
    assert_false(valid_with(snapshot, &frames[0].state, 2)); /* has none */
}

/* Holdings are not shared: else a small file could describe any number of them. */
static void holdings_belong_to_one_frame(void **state)
{
    const struct snapshot *snapshot = *state;
    struct snapshot_frame *frames = snapshot_frames(snapshot, NULL);
    frames[3].nr_holdings = 3;
    frames[3].first_holding = 1;
    assert_false(is_valid(snapshot));
}

static void one_heap_at_most(void **state)
{
    struct snapshot *snapshot = *state;
    const struct snapshot_heap second = {0};
    snapshot->tables[SNAPSHOT_HEAP].nr = 0;
    assert_true(is_valid(snapshot));
    snapshot->tables[SNAPSHOT_HEAP].nr = 1;
    snapshot_add(snapshot, SNAPSHOT_HEAP, &second);
    assert_false(is_valid(snapshot));
}

static void strings_and_facts(void **state)
{
    struct snapshot *snapshot = *state;
    struct table *strings = &snapshot->tables[SNAPSHOT_STRINGS];
    struct table *facts = &snapshot->tables[SNAPSHOT_FACTS];
    char *bytes = strings->rows;
    bytes[0] = 'x';
    assert_false(is_valid(snapshot));
    bytes[0] = 0;
    bytes[strings->nr - 1] = 'x';
    assert_false(is_valid(snapshot));
    bytes[strings->nr - 1] = 0;
    facts->nr = 0;
    assert_false(is_valid(snapshot));
    const struct snapshot_facts second = {0};
    facts->nr = 1;
    snapshot_add(snapshot, SNAPSHOT_FACTS, &second);
    assert_false(is_valid(snapshot));
}

static void new_ones_are_valid(void **state)
{
    (void)state;
    struct snapshot snapshot;
    snapshot_init(&snapshot);
    assert_true(is_valid(&snapshot));
    assert_int_equal(snapshot_add_string(&snapshot, "").v, 0);
    snapshot_str a = snapshot_add_string(&snapshot, "a name");
    assert_int_equal(a.v, 1);
    for (int i = 0; i < 1000; i++)
        snapshot_add_string(&snapshot, "more");
    assert_string_equal(snapshot_string(&snapshot, a), "a name");
    assert_string_equal(snapshot_string(&snapshot, (snapshot_str){0}), "");
    const struct snapshot_note note = {a};
    for (uint32_t i = 1; i <= 100; i++)
        assert_int_equal(snapshot_add(&snapshot, SNAPSHOT_NOTES, &note), i);
    assert_true(is_valid(&snapshot));
    snapshot_deinit(&snapshot);
    assert_false(is_valid(&snapshot)); /* no facts, no strings */
}

/* Origins are found by their holding, so they must stand in its order. */
static void origins_by_holding(void **state)
{
    struct snapshot *snapshot = *state;
    size_t nr;
    struct snapshot_origin *origins = snapshot_origins(snapshot, NULL);
    const struct snapshot_origin *found = snapshot_origins_of(snapshot, 4, &nr);
    assert_int_equal(nr, 3);
    assert_ptr_equal(found, &origins[1]);
    snapshot_origins_of(snapshot, 2, &nr);
    assert_int_equal(nr, 0);
    snapshot_origins_of(snapshot, 0, &nr);
    assert_int_equal(nr, 0);
    snapshot_origins_of(snapshot, UINT32_MAX, &nr);
    assert_int_equal(nr, 0);
    assert_non_null(snapshot_spawn_of(snapshot, 1));
    assert_null(snapshot_spawn_of(snapshot, 2));
    assert_null(snapshot_spawn_of(snapshot, 0));
    origins[1].holding = 6;
    assert_false(is_valid(snapshot));
    origins[1].holding = 4;
    struct snapshot_site *site = snapshot_sites(snapshot, NULL);
    site->own = site->nr_frames + 1;
    assert_false(is_valid(snapshot));
    site->own = 0;
    site->outside = UINT32_MAX;
    assert_false(is_valid(snapshot));
    site->outside = 0;
    assert_true(is_valid(snapshot));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sample_has_every_table, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(each_reference_is_checked, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(origins_by_holding, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(parents_stand_before, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(trees_are_not_shared, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(holdings_are_in_order, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(holdings_belong_to_one_frame, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(one_heap_at_most, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(strings_and_facts, make_sample, free_sample),
        cmocka_unit_test(new_ones_are_valid),
    };
    return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
