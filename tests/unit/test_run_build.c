/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "model/run_build.h"
#include "model/snapshot_file.h"
#include "region_sample.h"
#include "snapshot_sample.h"

struct fixture {
    struct region_sample sample;
    struct region_view view;
    struct run run;
    struct run_build_input input;
};

static int make(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct error err = {0};
    sample_region(&fixture->sample, REGION_STACKS_ALL);
    assert_true(region_view_fd(&fixture->view, fixture->sample.region.fd, &err));
    fixture->input = (struct run_build_input){.region = &fixture->view,
                                              .program = "/nowhere/program",
                                              .command = "program --serve",
                                              .ended_by = RUN_EXIT};
    *state = fixture;
    return 0;
}

static int release(void **state)
{
    struct fixture *fixture = *state;
    run_deinit(&fixture->run);
    region_view_close(&fixture->view);
    sample_region_free(&fixture->sample);
    free(fixture);
    return 0;
}

static struct run *build(struct fixture *fixture)
{
    struct error err = {0};
    run_deinit(&fixture->run);
    run_init(&fixture->run);
    assert_true(run_build(&fixture->run, &fixture->input, &err));
    return &fixture->run;
}

/* --- sums ------------------------------------------------------------------------------------ */

#define CHECK_COUNTS(row, truth)                                                                   \
    do {                                                                                           \
        assert_int_equal((row)->allocations, (truth)->allocations);                                \
        assert_int_equal((row)->allocated_bytes, (truth)->allocated_bytes);                        \
        assert_int_equal((row)->frees, (truth)->frees);                                            \
        assert_int_equal((row)->freed_bytes, (truth)->freed_bytes);                                \
        assert_int_equal((row)->live_blocks, (truth)->live_blocks);                                \
        assert_int_equal((row)->live_bytes, (truth)->live_bytes);                                  \
    } while (0)

#define ADD_COUNTS(sum, row)                                                                       \
    do {                                                                                           \
        (sum)->allocations += (row)->allocations;                                                  \
        (sum)->allocated_bytes += (row)->allocated_bytes;                                          \
        (sum)->frees += (row)->frees;                                                              \
        (sum)->freed_bytes += (row)->freed_bytes;                                                  \
        (sum)->live_blocks += (row)->live_blocks;                                                  \
        (sum)->live_bytes += (row)->live_bytes;                                                    \
    } while (0)

/* Totals equal the sums of their parts: by type, by site, and what is left. */
static void check_sums(const struct run *run)
{
    const struct run_facts *facts = run_facts(run);
    struct sample_counts types = {0}, sites = {0};
    size_t nr;
    uint64_t polls = 0, tasks = 0, temporary = 0, left_bytes = 0, left_blocks = 0;
    const struct run_type *type = run_types(run, &nr);
    for (size_t i = 0; i < nr; i++) {
        ADD_COUNTS(&types, &type[i]);
        polls += type[i].polls;
        tasks += type[i].kind == RUN_KIND_THREAD ? 0 : type[i].tasks;
        uint64_t ended = 0;
        for (int e = 0; e < NR_RUN_ENDS; e++)
            ended += type[i].ended[e];
        assert_int_equal(ended, type[i].tasks);
    }
    const struct run_site *site = run_sites(run, &nr);
    for (size_t i = 0; i < nr; i++) {
        ADD_COUNTS(&sites, &site[i]);
        temporary += site[i].temporary;
    }
    const struct run_left *left = run_lefts(run, &nr);
    for (size_t i = 0; i < nr; i++) {
        left_bytes += left[i].live_bytes;
        left_blocks += left[i].live_blocks;
        assert_true(left[i].type && left[i].site);
    }
    CHECK_COUNTS(facts, &types);
    CHECK_COUNTS(facts, &sites);
    assert_int_equal(facts->temporary, temporary);
    assert_int_equal(facts->polls, polls);
    assert_int_equal(facts->polls,
                     facts->polls_future + facts->polls_blocking + facts->polls_cancel);
    assert_int_equal(facts->tasks, tasks);
    assert_int_equal(facts->live_bytes, left_bytes);
    assert_int_equal(facts->live_blocks, left_blocks);
    assert_true(facts->peak_bytes >= facts->live_bytes);
}

struct shape {
    uint32_t threads[20], types[2], sites[6];
};

/* Twenty threads, so that some share the last stripe; two types, six sites, the last without a type. */
static void make_shape(struct region_sample *sample, struct shape *shape)
{
    for (size_t i = 0; i < 20; i++)
        shape->threads[i] = sample_thread(sample, "worker");
    shape->types[0] = sample_type(sample, 0x100);
    shape->types[1] = sample_type(sample, 0x200);
    uint32_t root = sample_node(sample, 0, 0x10010), poll = sample_node(sample, root, 0x10020);
    for (size_t i = 0; i < 6; i++)
        shape->sites[i] = sample_site(sample, sample_node(sample, poll, 0x11000 + 16 * i),
                                      i < 4    ? shape->types[i / 2]
                                      : i == 4 ? 1
                                               : 0);
}

/* As the tracer counts, in any order: by threads for tasks, freed by their own or by others. */
static void random_events(struct region_sample *sample, const struct shape *shape, uint64_t seed)
{
    uint32_t tasks[16];
    for (size_t i = 0; i < 16; i++)
        tasks[i] = sample_task(sample, shape->types[i % 2]);
    for (int event = 0; event < 1500; event++) {
        uint32_t thread = shape->threads[random_below(&seed, 20)];
        uint32_t which = (uint32_t)random_below(&seed, 20);
        bool is_own = which >= 16;
        uint32_t task = is_own ? sample_own_task(sample, thread) : tasks[which];
        uint32_t site = shape->sites[is_own ? 4 + which % 2 : which % 4];
        if (random_below(&seed, 5) < 3) {
            if (sample_task_row(sample, task)->id && !sample_task_row(sample, task)->end)
                sample_allocate(sample, thread, task, site, 1 + random_below(&seed, 5000));
        } else if (sample->nr_blocks) {
            uint32_t block = (uint32_t)random_below(&seed, sample->nr_blocks);
            if (sample->blocks[block].addr)
                sample_release(sample, thread, block, random_below(&seed, 2));
        }
        if (event == 700 || event == 1400) /* half of them end, most of these hold something */
            for (size_t i = event == 700 ? 0 : 8; i < (event == 700 ? 8 : 12); i++) {
                for (uint32_t b = 0; i % 4 == 0 && b < sample->nr_blocks; b++)
                    if (sample->blocks[b].addr && sample->blocks[b].task == tasks[i])
                        sample_release(sample, thread, b, b % 2);
                sample_end(sample, thread, tasks[i],
                           i % 2 ? REGION_END_ABORTED : REGION_END_FINISHED);
                if (event == 700)
                    tasks[i] = sample_task(sample, shape->types[i % 2]);
            }
    }
}

static uint32_t find_type(const struct run *run, enum run_kind kind, uint64_t tasks)
{
    size_t nr;
    const struct run_type *types = run_types(run, &nr);
    for (size_t i = 0; i < nr; i++)
        if (types[i].kind == kind && types[i].tasks == tasks)
            return (uint32_t)i + 1;
    fail();
    return 0;
}

static void counts_are_those_of_the_events(void **state)
{
    struct fixture *fixture = *state;
    const struct region_sample *sample = &fixture->sample;
    struct shape shape;
    size_t nr;
    make_shape(&fixture->sample, &shape);
    random_events(&fixture->sample, &shape, 42);
    const struct run *run = build(fixture);
    check_sums(run);
    CHECK_COUNTS(run_facts(run), &sample->all);
    assert_int_equal(run_facts(run)->tasks, 24);
    assert_int_equal(run_facts(run)->nr_threads, 20);
    assert_int_equal(run_facts(run)->pid, 1234);
    assert_string_equal(run_string(run, run_facts(run)->command), "program --serve");
    /* No row is needed for what does not fit. */
    const struct run_type *types = run_types(run, &nr);
    assert_int_equal(nr, 3);
    for (size_t i = 0; i < 2; i++) {
        CHECK_COUNTS(&types[i], &sample->by_type[shape.types[i]]);
        assert_int_equal(types[i].tasks, 12);
        assert_int_equal(types[i].kind, RUN_KIND_ASYNC);
    }
    CHECK_COUNTS(&types[2], &sample->by_type[1]);
    assert_int_equal(types[2].kind, RUN_KIND_THREAD);
    assert_true(sample->folded_of_type[shape.types[0]] > 0);
    const struct run_site *sites = run_sites(run, &nr);
    assert_int_equal(nr, 6);
    for (size_t i = 0; i < 6; i++) {
        size_t of = 0;
        while (sites[of].allocations != sample->by_site[shape.sites[i]].allocations)
            assert_true(++of < 6);
        CHECK_COUNTS(&sites[of], &sample->by_site[shape.sites[i]]);
        assert_int_equal(sites[of].type, i < 4 ? i / 2 + 1 : 3);
    }
}

static void each_task_has_its_counts(void **state)
{
    struct fixture *fixture = *state;
    struct region_sample *sample = &fixture->sample;
    struct shape shape;
    size_t nr, nr_threads = 0;
    make_shape(sample, &shape);
    random_events(sample, &shape, 7);
    const struct run *run = build(fixture);
    const struct run_task *tasks = run_tasks(run, &nr);
    for (size_t i = 0; i < nr; i++) {
        uint32_t row = 1;
        while (sample_task_row(sample, row)->id != tasks[i].id)
            row++;
        CHECK_COUNTS(&tasks[i], &sample->by_task[row]);
        nr_threads += tasks[i].is_thread;
        assert_string_equal(run_string(run, tasks[i].thread), tasks[i].is_thread ? "worker" : "");
    }
    assert_int_equal(nr_threads, 20);
    assert_int_equal(nr, 20 + 24 - sample->folded_of_type[shape.types[0]] -
                             sample->folded_of_type[shape.types[1]]);
}

/* --- what does not fit ----------------------------------------------------------------------- */

/* A thread was killed between two counts: nothing is shown less often than it was counted. */
static void half_counted(void **state)
{
    struct fixture *fixture = *state;
    struct region_sample *sample = &fixture->sample;
    struct shape shape;
    make_shape(sample, &shape);
    random_events(sample, &shape, 3);
    uint64_t before = sample->all.allocations;
    struct region_thread *thread = sample_row(sample, REGION_THREADS, shape.threads[0]);
    thread->allocations++; /* and not yet for task and site */
    thread->allocated_bytes += 100;
    const struct run *run = build(fixture);
    check_sums(run);
    assert_int_equal(run_facts(run)->allocations, before + 1);
    uint32_t rest = find_type(run, RUN_KIND_UNKNOWN, 0);
    assert_int_equal(run_types(run, NULL)[rest - 1].allocations, 1);
    assert_int_equal(run_types(run, NULL)[rest - 1].allocated_bytes, 100);
    struct region_site_counts *counts = sample_row(sample, REGION_SITE_COUNTS, shape.sites[0]);
    counts->allocations += 5; /* the site is ahead */
    check_sums(build(fixture));
    assert_int_equal(run_facts(&fixture->run)->allocations, before + 5);
}

static void without_stacks(void **state)
{
    struct fixture *fixture = *state;
    struct region_sample *sample = &fixture->sample;
    fixture->sample.region.header->stacks = REGION_STACKS_NONE;
    uint32_t thread = sample_thread(sample, "main"), type = sample_type(sample, 0x100);
    uint32_t task = sample_task(sample, type);
    sample_allocate(sample, thread, task, 0, 1000);
    sample_allocate(sample, thread, sample_own_task(sample, thread), 0, 50);
    struct region_site_counts *none = sample_row(sample, REGION_SITE_COUNTS, 0);
    *none = (struct region_site_counts){0};
    const struct run *run = build(fixture);
    size_t nr;
    const struct run_site *sites = run_sites(run, &nr);
    check_sums(run);
    assert_int_equal(nr, 1);
    assert_int_equal(sites[0].node, 0);
    assert_int_equal(sites[0].allocated_bytes, 1050);
    assert_int_equal(sites[0].live_bytes, 1050);
    assert_int_equal(run_facts(run)->stacks, RUN_STACKS_NONE);
}

/* A block whose task, or whose site, does not exist. */
static void blocks_of_nobody(void **state)
{
    struct fixture *fixture = *state;
    struct region_sample *sample = &fixture->sample;
    struct shape shape;
    make_shape(sample, &shape);
    sample_allocate(sample, shape.threads[0], sample_task(sample, shape.types[0]), shape.sites[0],
                    10);
    struct region_live *live = sample_row(sample, REGION_LIVE_CHUNKS, 1);
    live[1] = (struct region_live){.block = 100 | (uint64_t)shape.sites[0] << 40,
                                   .owner = 0xabcdef | REGION_LIVE_PRESENT};
    live[2] = (struct region_live){.block = 1000 | (uint64_t)0xffffff << 40,
                                   .owner = sample_own_task(sample, 1) | REGION_LIVE_PRESENT};
    const struct run *run = build(fixture);
    const struct run_facts *facts = run_facts(run);
    check_sums(run);
    assert_int_equal(facts->live_bytes, 1110);
    uint32_t rest = find_type(run, RUN_KIND_UNKNOWN, 0);
    assert_int_equal(run_types(run, NULL)[rest - 1].live_bytes, 100);
}

/* --- rows ------------------------------------------------------------------------------------ */

static void losts_and_notes(void **state)
{
    static const char *const notes[] = {"the recorder says so"};
    struct fixture *fixture = *state;
    struct region_header *header = fixture->sample.region.header;
    header->lost[LOST_TABLE_FULL] = 3;
    header->lost[NR_REGION_LOST - 1] = 1;
    header->state = REGION_OFF;
    memset(header->off_reason, 'x', sizeof(header->off_reason)); /* without an end */
    fixture->input.notes = notes;
    fixture->input.nr_notes = 1;
    const struct run *run = build(fixture);
    size_t nr;
    const struct run_lost *losts = run_losts(run, &nr);
    assert_int_equal(nr, 2);
    assert_string_equal(run_string(run, losts[0].cause), "table_full");
    assert_int_equal(losts[0].count, 3);
    assert_string_equal(run_string(run, losts[1].cause), "other");
    const struct run_note *rows = run_notes(run, &nr);
    assert_int_equal(nr, 2);
    assert_string_equal(run_string(run, rows[0].text), notes[0]);
    assert_non_null(strstr(run_string(run, rows[1].text), "stepped aside: xxx"));
}

static void steps_and_snapshots(void **state)
{
    struct fixture *fixture = *state;
    struct region_sample *sample = &fixture->sample;
    const struct run_step steps[] = {{100, 5, 6, 7}, {200, 8, 9, 10}};
    struct snapshot snapshot;
    struct text bytes;
    uint32_t thread = sample_thread(sample, "main"), type = sample_type(sample, 0x100);
    uint32_t task = sample_task(sample, type), done = sample_task(sample, type);
    struct region_task *row = sample_task_row(sample, task);
    row->runtime_task_id = 1;
    row->last_poll_ns = 400;
    sample_task_row(sample, done)->runtime_task_id = 2;
    sample_task_row(sample, done)->last_poll_ns = 501; /* after the snapshot */
    sample_snapshot_held(&snapshot);
    snapshot_tasks(&snapshot, NULL)[0].runtime_task_id = 1;
    snapshot_tasks(&snapshot, NULL)[1].runtime_task_id = 2;
    for (size_t i = 2; i < 9; i++)
        snapshot_tasks(&snapshot, NULL)[i].runtime_task_id = 0;
    text_init(&bytes);
    snapshot_file_pack(&snapshot, &bytes);
    row->spawned_ns = sample_task_row(sample, done)->spawned_ns = 10;
    const struct run_build_snapshot stored[] = {{.t_ns = 500,
                                                 .live_bytes = 5,
                                                 .why = RUN_SNAPSHOT_PEAK,
                                                 .bytes = bytes.data,
                                                 .nr_bytes = bytes.length}};
    const struct run_build_step_type step_types[] = {
        {2, type, 99}, {2, 77, 1}, {3, type, 1}, {0, type, 1}};
    fixture->input.steps = steps;
    fixture->input.nr_steps = 2;
    fixture->input.step_types = step_types;
    fixture->input.nr_step_types = 4;
    fixture->input.snapshots = stored;
    fixture->input.nr_snapshots = 1;
    const struct run *run = build(fixture);
    size_t nr;
    assert_memory_equal(run_steps(run, &nr), steps, sizeof(steps));
    assert_int_equal(nr, 2);
    assert_int_equal(run_step_types(run, &nr)[0].live_bytes, 99);
    assert_int_equal(nr, 1);
    assert_int_equal(run_snapshots(run, &nr)[0].nr_bytes, bytes.length);
    assert_memory_equal(run->tables[RUN_SNAPSHOT_BYTES].rows, bytes.data, bytes.length);
    /* Where the task is, and what it holds: known while it was not polled since. */
    const struct run_task *tasks = run_tasks(run, &nr);
    assert_int_equal(nr, 3);
    assert_int_equal(tasks[1].held_bytes, 400);
    assert_string_equal(run_string(run, tasks[1].waits_for), "socket read");
    const struct run_await *await = &run_awaits(run, NULL)[tasks[1].await - 1];
    await = &run_awaits(run, NULL)[await->parent - 1];
    assert_int_equal(await->line, 12);
    await = &run_awaits(run, NULL)[await->parent - 1];
    assert_int_equal(await->line, 88);
    assert_int_equal(await->parent, 0);
    assert_int_equal(tasks[2].held_bytes, RUN_UNKNOWN);
    assert_int_equal(tasks[2].await, 0);
    const struct run_await_end *ends = run_await_ends(run, &nr);
    assert_int_equal(nr, 2);
    assert_int_equal(ends[0].await, tasks[1].await);
    assert_int_equal(ends[0].held_bytes, 400);
    (void)thread;
    text_deinit(&bytes);
    snapshot_deinit(&snapshot);
}

static void ends_at_awaits(void **state)
{
    struct fixture *fixture = *state;
    struct region_sample *sample = &fixture->sample;
    uint32_t thread = sample_thread(sample, "main"), type = sample_type(sample, 0x100);
    uint32_t task = sample_task(sample, type);
    uint32_t root = sample_node(sample, 0, 0x10010), site = sample_site(sample, root, type);
    sample_allocate(sample, thread, task, site, 64);
    struct region_await *awaits = sample_row(sample, REGION_AWAITS, 0);
    sample->region.header->tables[REGION_AWAITS].nr_rows = 4;
    awaits[1] = (struct region_await){.image = 1, .type = 3};
    awaits[2] = (struct region_await){.image = 1, .type = 4, .parent = 1};
    awaits[3] = (struct region_await){.image = 1, .type = 4, .parent = 3}; /* its own parent */
    struct region_await_end *ends = sample_row(sample, REGION_AWAIT_ENDS, 0);
    sample->region.header->tables[REGION_AWAIT_ENDS].nr_rows = 4;
    ends[1] =
        (struct region_await_end){.type = type, .await = 2, .end = REGION_END_ABORTED, .tasks = 5};
    ends[2] =
        (struct region_await_end){.type = type, .await = 3, .end = REGION_END_DROPPED, .tasks = 1};
    ends[3] = (struct region_await_end){.type = type, .await = 2, .end = 77, .tasks = 1};
    sample_task_row(sample, task)->await = 2;
    sample_end(sample, thread, task, REGION_END_ABORTED);
    const struct run *run = build(fixture);
    size_t nr;
    const struct run_await_end *rows = run_await_ends(run, &nr);
    assert_int_equal(nr, 2);
    assert_int_equal(rows[0].tasks, 6);
    assert_int_equal(rows[0].end, RUN_END_ABORTED);
    assert_int_equal(run_awaits(run, NULL)[rows[0].await - 1].parent, 1);
    assert_int_equal(run_awaits(run, NULL)[rows[1].await - 1].parent, 0);
    assert_non_null(strstr(run_string(run, run_notes(run, NULL)[0].text), "damaged: 2 rows"));
}

/* --- anything at all ------------------------------------------------------------------------- */

/* Whatever stands in the region: a run that passes run_check, whose sums are right, or an error. */
static void any_bytes(void **state)
{
    struct fixture *fixture = *state;
    struct region_sample *sample = &fixture->sample;
    struct shape shape;
    uint64_t seed = 99;
    make_shape(sample, &shape);
    random_events(sample, &shape, 5);
    static const enum region_table_id tables[] = {
        REGION_THREADS, REGION_TASKS,      REGION_TYPES,     REGION_TYPE_SUMS,
        REGION_NODES,   REGION_SITES,      REGION_LIFETIMES, REGION_IMAGES,
        REGION_AWAITS,  REGION_AWAIT_ENDS, REGION_LIVE_INDEX};
    for (int i = 0; i < 3000; i++) {
        enum region_table_id table = tables[random_below(&seed, 11)];
        const struct region_table *place = &sample->region.header->tables[table];
        uint8_t *rows = sample_row(sample, table, 0);
        uint64_t bytes = place->max_rows * place->row_bytes;
        for (int n = 0; n < 4; n++) {
            uint64_t at = random_below(&seed, bytes / 4) * 4;
            uint32_t value = (uint32_t)random_next(&seed);
            value = n ? value % 70 : value;
            memcpy(rows + at, &value, sizeof(value));
        }
        sample->region.header->tables[table].nr_rows = (uint32_t)random_below(&seed, 80);
        struct error err = {0};
        const char *problem;
        struct run run;
        run_init(&run);
        if (run_build(&run, &fixture->input, &err))
            assert_true(run_check(&run, &problem));
        run_deinit(&run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counts_are_those_of_the_events, make, release),
        cmocka_unit_test_setup_teardown(each_task_has_its_counts, make, release),
        cmocka_unit_test_setup_teardown(half_counted, make, release),
        cmocka_unit_test_setup_teardown(without_stacks, make, release),
        cmocka_unit_test_setup_teardown(blocks_of_nobody, make, release),
        cmocka_unit_test_setup_teardown(losts_and_notes, make, release),
        cmocka_unit_test_setup_teardown(steps_and_snapshots, make, release),
        cmocka_unit_test_setup_teardown(ends_at_awaits, make, release),
        cmocka_unit_test_setup_teardown(any_bytes, make, release),
    };
    return cmocka_run_group_tests_name("run_build", tests, NULL, NULL);
}
