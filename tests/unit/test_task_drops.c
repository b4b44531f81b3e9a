/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What tasks hold, end to end on tasks that are made by hand: cells in a heap of the test's own, whose
 * vtables are C functions (task_subjects.c), dropped in a copy of the test.
 */
#include "unit.h"

#include "drop_target.h"
#include "plan_sample.h"
#include "process/foreign_blocks.h"
#include "process/task_drops.h"
#include "task_subjects.h"

enum { MAX_TASKS = 300, MAX_KINDS = 8, ONE_REF = 1 << TOKIO_REF_SHIFT, BOXED_BYTES = 32 };

static struct {
    struct drop_target drop;
    struct cell_kind kinds[MAX_KINDS];
    struct task_cell rows[MAX_TASKS];
    struct subject_cell *cells[MAX_TASKS];
    struct task_frame frames[MAX_TASKS];
    struct task_runtime runtimes[1];
    struct process_plan plans[1];
    struct plan plan;
    uint8_t *plan_bytes;
    plan_type_id boxed; /* a future of BOXED_BYTES */
    struct task_cells all;
    struct task_futures futures;
    struct task_drops drops;
} world;

/* --- making tasks ---------------------------------------------------------------------------- */

static int begin(void **state)
{
    struct plan_builder builder;
    (void)state;
    memset(&world, 0, sizeof(world));
    drop_target_init(&world.drop);
    plan_builder_init(&builder);
    builder.facts.detail = PLAN_DETAIL_FULL;
    world.boxed = sample_struct(&builder, PLAN_TYPE_STRUCT, "demo::Boxed", BOXED_BYTES, NULL, 0);
    world.plan_bytes = sample_open(&builder, &world.plan);
    plan_builder_deinit(&builder);
    world.plans[0].plan = &world.plan;
    world.all = (struct task_cells){.target = &world.drop.target,
                                    .plans = world.plans,
                                    .nr_plans = 1,
                                    .kinds = world.kinds,
                                    .rows = world.rows,
                                    .runtimes = world.runtimes};
    world.futures = (struct task_futures){.cells = &world.all, .frames = world.frames};
    return 0;
}

static int finish(void **state)
{
    (void)state;
    task_drops_deinit(&world.drops);
    drop_target_end(&world.drop);
    free(world.plan_bytes);
    return 0;
}

static uint32_t kind_of(task_fn *const *vtable)
{
    for (uint32_t i = 0; i < world.all.nr_kinds; i++)
        if (world.kinds[i].vtable == (uint64_t)vtable)
            return i;
    struct cell_kind *kind = &world.kinds[world.all.nr_kinds];
    kind->vtable = (uint64_t)vtable;
    kind->layout = (struct cell_layout){.state = offsetof(struct subject_cell, state),
                                        .vtable = offsetof(struct subject_cell, vtable),
                                        .owner_id = offsetof(struct subject_cell, owner_id),
                                        .scheduler = offsetof(struct subject_cell, scheduler),
                                        .id = offsetof(struct subject_cell, id),
                                        .stage = offsetof(struct subject_cell, stage),
                                        .trailer = offsetof(struct subject_cell, trailer),
                                        .read_bytes = sizeof(struct subject_cell)};
    return (uint32_t)world.all.nr_kinds++;
}

/* The task's number. */
static uint32_t add_task(task_fn *const *vtable, uint64_t state)
{
    uint32_t task = (uint32_t)world.all.nr++;
    struct subject_cell *cell = drop_target_block(&world.drop, sizeof(*cell));
    *cell = (struct subject_cell){.state = state, .vtable = vtable, .id = task + 1};
    world.cells[task] = cell;
    world.rows[task] = (struct task_cell){.addr = (uint64_t)cell,
                                          .kind = kind_of(vtable),
                                          .state = state,
                                          .id = task + 1,
                                          .bytes = (const uint8_t *)cell};
    return task;
}

static void *give(uint32_t task, unsigned word, size_t size)
{
    void *block = drop_target_block(&world.drop, size);
    world.cells[task]->stage[word] = (uint64_t)block;
    return block;
}

static void add_frame(uint32_t task, const void *addr)
{
    world.frames[world.futures.nr++] =
        (struct task_frame){.task = task, .type = world.boxed, .addr = (uint64_t)addr};
}

static void read_all(void)
{
    drop_target_start(&world.drop);
    task_drops_read(&world.drops, &world.futures, &world.drop.blocks);
}

/* --- looking at them ------------------------------------------------------------------------- */

static uint64_t slot(uint32_t task, unsigned word)
{
    return (uint64_t)&world.cells[task]->stage[word];
}

static void expect_exact(uint32_t task, uint32_t nr_blocks)
{
    const struct task_drop *row = &world.drops.rows[task];
    if (row->reason)
        fail_msg("task %u: %s", task, row->reason);
    assert_true(row->was_run && row->is_exact);
    assert_int_equal(row->nr_blocks, nr_blocks);
    assert_int_equal(row->cell_block, drop_target_row(&world.drop, world.cells[task]));
}

static void expect_bound(uint32_t task, uint32_t nr_blocks, const char *reason)
{
    const struct task_drop *row = &world.drops.rows[task];
    assert_true(row->was_run);
    assert_false(row->is_exact);
    assert_non_null(row->reason);
    assert_string_equal(row->reason, reason);
    assert_int_equal(row->nr_blocks, nr_blocks);
}

static void expect_not_run(uint32_t task, const char *reason)
{
    const struct task_drop *row = &world.drops.rows[task];
    assert_false(row->was_run || row->is_exact);
    assert_non_null(row->reason);
    assert_string_equal(row->reason, reason);
    assert_int_equal(row->nr_blocks, 0);
    assert_int_equal(row->held_bytes, 0);
}

static void expect_holder(const void *block, uint32_t task_number)
{
    assert_int_equal(world.drops.holder[drop_target_row(&world.drop, block)], task_number);
}

static const struct drop_block *expect_held(uint32_t task, const void *block, uint64_t place,
                                            uint32_t nr_steps)
{
    const struct task_drop *drop = &world.drops.rows[task];
    const uint32_t wanted = drop_target_row(&world.drop, block);
    expect_holder(block, task + 1);
    for (uint32_t i = 0; i < drop->nr_blocks; i++) {
        const struct drop_block *row = &world.drops.drops[drop->first_block + i];
        if (row->block != wanted)
            continue;
        assert_int_equal(row->place, place);
        assert_int_equal(row->nr_steps, nr_steps);
        return row;
    }
    fail_msg("task %u does not hold block %u", task, wanted);
    return NULL;
}

/* --- held ------------------------------------------------------------------------------------ */

static void test_held(void **state)
{
    (void)state;
    uint32_t empty = add_task(task_usual, ONE_REF), full = add_task(task_usual, 3 * ONE_REF);
    void *block = give(full, 0, 1000);
    struct subject_node *first = give(full, 1, 24);
    first->next = drop_target_block(&world.drop, 24);
    first->next->next = drop_target_block(&world.drop, 24);
    void *nobodys = drop_target_block(&world.drop, 100);
    read_all();
    expect_exact(empty, 0);
    expect_exact(full, 4);
    assert_int_equal(world.drops.rows[empty].held_bytes, 0);
    assert_int_equal(world.drops.rows[full].held_bytes, 1000 + 3 * 24);
    expect_held(full, block, slot(full, 0), 0);
    expect_held(full, first, slot(full, 1), 0);
    expect_held(full, first->next, slot(full, 1), 1);
    expect_held(full, first->next->next, slot(full, 1), 2);
    expect_holder(nobodys, 0);
    expect_holder(world.cells[full], 0);
    assert_true(world.drops.nr_instructions > 0);
    /* Words 0 to 8 of the stage were read, not the others. */
    const struct task_drop *row = &world.drops.rows[full];
    assert_int_equal(row->nr_reads, 9);
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(world.drops.reads[row->first_read + i], slot(full, i));
}

/* More than one span of tasks, and each as if it were the only one. */
static void test_many_tasks(void **state)
{
    enum { NR = 200 };
    void *blocks[NR];
    (void)state;
    for (uint32_t i = 0; i < NR; i++) {
        add_task(i % 3 ? task_usual : task_reordered, ONE_REF);
        blocks[i] = i % 5 ? give(i, 8, 24 + 16 * i) : NULL;
    }
    read_all();
    for (uint32_t i = 0; i < NR; i++) {
        expect_exact(i, blocks[i] ? 1 : 0);
        if (blocks[i])
            expect_held(i, blocks[i], slot(i, 8), 0);
        assert_int_equal(world.drops.rows[i].held_bytes, blocks[i] ? 24 + 16 * i : 0);
        assert_int_equal(world.drops.rows[i].nr_reads, 9);
        assert_int_equal(world.drops.reads[world.drops.rows[i].first_read], slot(i, 0));
    }
    assert_int_equal(world.drops.nr_drops, NR - NR / 5);
}

static void test_boxed_future(void **state)
{
    (void)state;
    uint32_t task = add_task(task_usual, ONE_REF), other = add_task(task_usual, ONE_REF);
    uint64_t *box = give(task, 7, 48), *plain = give(other, 7, 48);
    box[3] = (uint64_t)drop_target_block(&world.drop, 200);
    plain[3] = (uint64_t)drop_target_block(&world.drop, 200);
    add_frame(task, world.cells[task]->stage); /* the one around: in the cell */
    add_frame(task, box);
    read_all();
    expect_exact(task, 2);
    expect_held(task, box, slot(task, 7), 0);
    expect_held(task, (void *)box[3], (uint64_t)&box[3], 0);
    expect_held(other, (void *)plain[3], slot(other, 7), 1);
    const struct task_drop *row = &world.drops.rows[task];
    assert_int_equal(row->nr_reads, 10);
    assert_int_equal(world.drops.reads[row->first_read + 9], (uint64_t)&box[3]);
}

/* --- vtables --------------------------------------------------------------------------------- */

static void test_slots(void **state)
{
    (void)state;
    uint32_t usual = add_task(task_usual, ONE_REF), fifth = add_task(task_reordered, ONE_REF);
    uint32_t none = add_task(task_without, ONE_REF);
    void *a = give(usual, 0, 24), *b = give(fifth, 0, 24), *c = give(none, 0, 24);
    read_all();
    expect_exact(usual, 1);
    expect_exact(fifth, 1);
    expect_held(usual, a, slot(usual, 0), 0);
    expect_held(fifth, b, slot(fifth, 0), 0);
    expect_not_run(none, "the code that drops it was not found");
    expect_holder(c, 0);
}

static void test_unreadable_vtable(void **state)
{
    (void)state;
    uint32_t task = add_task((task_fn *const *)16, ONE_REF);
    uint32_t no_code = add_task((task_fn *const *)world.drop.room, ONE_REF); /* all zeros */
    read_all();
    expect_not_run(task, "the code that drops it was not found");
    expect_bound(no_code, 0, "memory that is not mapped");
}

static void test_running(void **state)
{
    (void)state;
    uint32_t task = add_task(task_usual, ONE_REF | TOKIO_RUNNING);
    void *block = give(task, 0, 24);
    read_all();
    expect_not_run(task, "it is being polled: its variables change while they are looked at");
    expect_holder(block, 0);
}

/* What is left of a cell that was moved away or freed holds nothing, whatever it points to. */
static void test_copies(void **state)
{
    (void)state;
    uint32_t copy = add_task(task_usual, ONE_REF), task = add_task(task_usual, ONE_REF);
    void *block = give(task, 0, 24);
    world.cells[copy]->stage[0] = world.cells[task]->stage[0];
    world.rows[copy].is_copy = true;
    read_all();
    expect_exact(task, 1);
    expect_held(task, block, slot(task, 0), 0);
    assert_false(world.drops.rows[copy].was_run);
    assert_int_equal(world.drops.rows[copy].nr_blocks, 0);
}

/* --- bounds ---------------------------------------------------------------------------------- */

static void test_held_lock(void **state)
{
    (void)state;
    uint32_t locked = add_task(task_usual, ONE_REF), open = add_task(task_usual, ONE_REF);
    void *before = give(locked, 0, 24), *after = give(locked, 8, 40);
    uint64_t *lock = give(locked, 6, 24), *open_lock = give(open, 6, 24);
    lock[0] = 1;
    lock[1] = (uint64_t)drop_target_block(&world.drop, 500);
    open_lock[1] = (uint64_t)drop_target_block(&world.drop, 500);
    read_all();
    expect_bound(locked, 2, "it waits for a lock that a thread holds");
    expect_held(locked, before, slot(locked, 0), 0);
    expect_held(locked, after, slot(locked, 8), 0);
    expect_holder(lock, 0);
    expect_holder((void *)lock[1], 0);
    assert_int_equal(world.drops.rows[locked].held_bytes, 24 + 40);
    expect_exact(open, 2);
    expect_held(open, (void *)open_lock[1], slot(open, 6), 1);
}

/* The lock is waited for where no drop glue is: what was freed by then. */
static void test_lock_without_glue(void **state)
{
    (void)state;
    uint32_t open = add_task(task_locked, ONE_REF), locked = add_task(task_locked, ONE_REF);
    void *block = give(locked, 0, 24);
    world.cells[locked]->stage[9] = 1;
    read_all();
    expect_exact(open, 0);
    expect_bound(locked, 1, "it waits for a lock that a thread holds");
    expect_held(locked, block, slot(locked, 0), 0);
}

static void test_endless(void **state)
{
    (void)state;
    uint32_t task = add_task(task_endless, ONE_REF);
    void *block = give(task, 0, 24);
    read_all();
    expect_bound(task, 1, "it took too many instructions");
    expect_held(task, block, slot(task, 0), 0);
}

static void test_strange_frees(void **state)
{
    (void)state;
    uint32_t careless = add_task(task_careless, ONE_REF);
    uint32_t twice = add_task(task_usual, ONE_REF);
    give(careless, 0, 24);
    give(careless, 8, 24);
    world.cells[twice]->stage[0] = world.cells[twice]->stage[8] = (uint64_t)give(twice, 0, 24);
    read_all();
    expect_bound(careless, 1, "it frees what is no block of the heap");
    expect_bound(twice, 1, "it frees what is no block of the heap");
    assert_int_equal(world.drops.rows[twice].held_bytes, 24);
}

static void test_cell_that_stays(void **state)
{
    (void)state;
    uint32_t first = add_task(task_leaking, ONE_REF), task = add_task(task_leaking, ONE_REF);
    give(task, 0, 24);
    world.cells[task]->stage[9] = 1;
    read_all();
    expect_exact(first, 0);
    expect_bound(task, 1, "its own memory was not freed");
}

/* That cannot be; its bytes count once. */
static void test_one_block_of_two(void **state)
{
    (void)state;
    uint32_t first = add_task(task_usual, ONE_REF), second = add_task(task_usual, ONE_REF);
    void *block = give(first, 4, 24);
    give(first, 0, 40);
    give(second, 0, 40);
    world.cells[second]->stage[4] = (uint64_t)block;
    read_all();
    const struct task_drop *rows = world.drops.rows;
    uint32_t loser = rows[first].is_exact ? second : first;
    expect_exact(first + second - loser, 2);
    expect_bound(loser, 1, "another task's end frees the same blocks");
    assert_int_equal(rows[first].held_bytes + rows[second].held_bytes, 24 + 40 + 40);
    expect_held(first + second - loser, block, slot(first + second - loser, 4), 0);
}

/* The end of one drops the handle of another: what is in that one's cell is that one's. */
static void other_cells(bool is_finished_first)
{
    begin(NULL);
    uint32_t finished = is_finished_first ? add_task(task_usual, ONE_REF | TOKIO_COMPLETE) : 1;
    uint32_t task = add_task(task_usual, ONE_REF);
    if (!is_finished_first)
        add_task(task_usual, ONE_REF | TOKIO_COMPLETE);
    void *block = give(task, 0, 24), *output = give(finished, 8, 200);
    world.cells[task]->stage[5] = (uint64_t)world.cells[finished];
    read_all();
    expect_exact(finished, 1);
    expect_held(finished, output, slot(finished, 8), 0);
    expect_bound(task, 1, "its end frees finished tasks too, which are listed apart");
    expect_held(task, block, slot(task, 0), 0);
    expect_holder(world.cells[finished], 0);
    finish(NULL);
}

static void test_other_cells(void **state)
{
    (void)state;
    other_cells(true);
    other_cells(false);
}

/* --- shared ---------------------------------------------------------------------------------- */

static struct subject_arc *share(uint32_t task, unsigned word, uint64_t nr_owners)
{
    struct subject_arc *arc = give(task, word, sizeof(*arc));
    *arc = (struct subject_arc){.strong = nr_owners, .weak = 1};
    arc->first = drop_target_block(&world.drop, 300);
    arc->second = drop_target_block(&world.drop, 24);
    return arc;
}

static void expect_shared(const struct subject_arc *arc, uint64_t nr_owners, uint32_t nr_shares)
{
    const struct task_drops *drops = &world.drops;
    uint32_t row = 0, found = 0;
    while (row < drops->nr_shared && drops->shared[row].block != drop_target_row(&world.drop, arc))
        row++;
    assert_true(row < drops->nr_shared);
    assert_int_equal(drops->shared[row].nr_owners, nr_owners);
    assert_int_equal(drops->shared[row].nr_parts, 3);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t part = drops->parts[drops->shared[row].first_part + i];
        assert_int_equal(drops->sharer[part], row + 1);
        assert_int_equal(drops->holder[part], 0);
    }
    assert_int_equal(drops->sharer[drop_target_row(&world.drop, arc)], row + 1);
    assert_int_equal(drops->sharer[drop_target_row(&world.drop, arc->first)], row + 1);
    for (size_t i = 0; i < drops->nr_shares; i++)
        found += drops->shares[i].shared == row + 1;
    assert_int_equal(found, nr_shares);
}

static void test_shared(void **state)
{
    enum { NR = 70 }; /* of more than one span */
    (void)state;
    for (uint32_t i = 0; i < NR; i++)
        add_task(task_usual, ONE_REF);
    struct subject_arc *all = share(0, 2, NR), *outside = share(3, 3, 2), *own = share(5, 3, 1);
    for (uint32_t i = 1; i < NR; i++)
        world.cells[i]->stage[2] = (uint64_t)all;
    read_all();
    assert_int_equal(world.drops.nr_shared, 2);
    assert_int_equal(world.drops.nr_shares, NR + 1);
    expect_shared(all, NR, NR);
    expect_shared(outside, 2, 1);
    for (uint32_t i = 0; i < NR; i++) {
        const struct drop_share *row = &world.drops.shares[world.drops.rows[i].first_share];
        expect_exact(i, i == 5 ? 3 : 0);
        assert_int_equal(world.drops.rows[i].nr_shares, i == 3 ? 2 : 1);
        assert_int_equal(row->task, i);
        assert_int_equal(row->nr_refs, 1);
        assert_int_equal(row->place, slot(i, i == 3 && row->count == 2 ? 3 : 2));
    }
    expect_held(5, own->first, slot(5, 3), 1);
}

/* Both owners are one task: freed with it, or, with a third, two references of one share. */
static void test_two_references(void **state)
{
    (void)state;
    uint32_t sole = add_task(task_usual, ONE_REF), other = add_task(task_usual, ONE_REF);
    struct subject_arc *own = share(sole, 2, 2), *shared = share(other, 2, 3);
    world.cells[sole]->stage[3] = (uint64_t)own;
    world.cells[other]->stage[3] = (uint64_t)shared;
    read_all();
    expect_exact(sole, 3);
    expect_held(sole, own, slot(sole, 2), 0);
    expect_exact(other, 0);
    assert_int_equal(world.drops.nr_shares, 1);
    assert_int_equal(world.drops.shares[0].nr_refs, 2);
    assert_int_equal(world.drops.shares[0].count, 3);
    expect_shared(shared, 3, 1);
}

/* A Weak keeps the block: what it owned is held, the block itself is nobody's. */
static void test_weak(void **state)
{
    (void)state;
    uint32_t task = add_task(task_usual, ONE_REF);
    struct subject_arc *arc = share(task, 2, 1);
    arc->weak = 2;
    read_all();
    expect_exact(task, 2);
    expect_held(task, arc->first, slot(task, 2), 1);
    expect_holder(arc, 0);
    assert_int_equal(world.drops.nr_shared, 0);
}

static void test_runtimes_own(void **state)
{
    (void)state;
    uint32_t task = add_task(task_usual, ONE_REF);
    struct subject_arc *handle = share(task, 2, 9);
    world.runtimes[0].addr = (uint64_t)handle + 16;
    world.all.nr_runtimes = 1;
    read_all();
    expect_exact(task, 0);
    assert_int_equal(world.drops.nr_shares, 1);
    assert_int_equal(world.drops.shares[0].shared, 0);
    assert_int_equal(world.drops.nr_shared, 0);
}

static void test_no_tasks(void **state)
{
    (void)state;
    drop_target_block(&world.drop, 100);
    read_all();
    assert_int_equal(world.drops.nr_drops, 0);
}

/* --- other allocators ------------------------------------------------------------------------ */

static void expect_learnt(const struct heap_blocks *blocks, const void *block)
{
    uint32_t at = heap_blocks_find(blocks, (uint64_t)block);
    assert_true(at > 0);
    assert_int_equal(blocks->rows[at - 1].addr, (uint64_t)block);
    assert_int_equal(blocks->rows[at - 1].size_bytes, FOREIGN_BYTES);
}

/* What nothing but the tasks' own code tells: their cells, and what goes with them. */
static void test_blocks_of_another_allocator(void **state)
{
    (void)state;
    struct heap_blocks blocks = {0};
    uint32_t one = add_task(task_usual, ONE_REF), other = add_task(task_reordered, 2 * ONE_REF);
    uint32_t running = add_task(task_usual, ONE_REF | TOKIO_RUNNING);
    uint32_t copy = add_task(task_usual, ONE_REF);
    world.rows[copy].is_copy = true;
    void *block = give(one, 0, 1000), *unseen = give(running, 0, 50), *of_copy = give(copy, 0, 50);
    struct subject_node *first = give(other, 1, 24);
    first->next = drop_target_block(&world.drop, 24);
    void *nobodys = drop_target_block(&world.drop, 100);
    drop_target_start(&world.drop);
    assert_true(foreign_blocks_add(&blocks, &world.all)); /* the sizes are the allocator's */
    assert_int_equal(blocks.nr, 5);
    expect_learnt(&blocks, world.cells[one]);
    expect_learnt(&blocks, world.cells[other]);
    expect_learnt(&blocks, block);
    expect_learnt(&blocks, first);
    expect_learnt(&blocks, first->next);
    assert_int_equal(heap_blocks_find(&blocks, (uint64_t)unseen), 0);
    assert_int_equal(heap_blocks_find(&blocks, (uint64_t)of_copy), 0);
    assert_int_equal(heap_blocks_find(&blocks, (uint64_t)nobodys), 0);
    task_drops_read(&world.drops, &world.futures, &blocks);
    assert_true(world.drops.rows[one].is_exact && world.drops.rows[other].is_exact);
    assert_int_equal(world.drops.rows[one].held_bytes, FOREIGN_BYTES);
    assert_int_equal(world.drops.rows[other].held_bytes, 2 * FOREIGN_BYTES);
    heap_blocks_deinit(&blocks);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(test_held),
        TEST(test_many_tasks),
        TEST(test_boxed_future),
        TEST(test_slots),
        TEST(test_unreadable_vtable),
        TEST(test_running),
        TEST(test_copies),
        TEST(test_held_lock),
        TEST(test_lock_without_glue),
        TEST(test_endless),
        TEST(test_strange_frees),
        TEST(test_cell_that_stays),
        TEST(test_one_block_of_two),
        cmocka_unit_test(test_other_cells),
        TEST(test_shared),
        TEST(test_two_references),
        TEST(test_weak),
        TEST(test_runtimes_own),
        TEST(test_no_tasks),
        TEST(test_blocks_of_another_allocator),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
