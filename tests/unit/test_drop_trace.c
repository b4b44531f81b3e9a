/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From what a run did to rows, on runs that are made by hand: what was freed, read and counted in a
 * heap of which only the addresses matter.  Big ones must end; what they take is not measured.
 */
#include "unit.h"

#include "heap_world.h"
#include "process/drop_trace.h"

enum { CELL_BYTES = 1032, STAGE = 48, TRAILER = 1024 };

static struct world world;
static struct drop_run run;
static struct drop_trace trace;
static struct drop_rows rows;
static struct addr_range futures[2];
static uint8_t *is_cell;
static uint32_t cell; /* its block, the first one */

/* --- a run ----------------------------------------------------------------------------------- */

/* `nr` blocks at most, of so many bytes in all. */
static void begin(size_t nr, uint64_t bytes)
{
    world_init(&world, nr + 1, (bytes + CELL_BYTES + WORLD_PAGE) / WORLD_PAGE * WORLD_PAGE);
    is_cell = calloc(nr + 1, 1);
    cell = world_add_block(&world, CELL_BYTES);
    is_cell[cell] = true;
    uint64_t addr = world.blocks.rows[cell].addr;
    futures[0] = (struct addr_range){addr + STAGE, addr + TRAILER};
    run = (struct drop_run){.blocks = &world.blocks, .futures = futures, .nr_futures = 1};
    run.emulator = emulator_new(&world.target, NULL, 1 << 20);
    trace = (struct drop_trace){.blocks = &world.blocks, .cell_block = cell};
}

static int finish(void **state)
{
    (void)state;
    drop_run_deinit(&run);
    drop_rows_deinit(&rows);
    free(is_cell);
    is_cell = NULL;
    world_free(&world);
    return 0;
}

static uint64_t addr_of(uint32_t block)
{
    return world.blocks.rows[block].addr;
}

/* The place of a word of the cell. */
static uint64_t slot(unsigned number)
{
    return addr_of(cell) + STAGE + 8 * number;
}

static void load(uint64_t addr, uint64_t value)
{
    run.loads = array_reserve(run.loads, &run.loads_capacity, run.nr_loads + 1, sizeof(*run.loads));
    run.loads[run.nr_loads++] = (struct drop_load){value, addr};
}

static void set_free(uint32_t block)
{
    drop_run_add_free(&run, addr_of(block));
}

static void lower(uint64_t addr, uint64_t before)
{
    run.changes =
        array_reserve(run.changes, &run.changes_capacity, run.nr_changes + 1, sizeof(*run.changes));
    run.changes[run.nr_changes++] = (struct drop_change){addr, before};
}

static void read_word(uint64_t addr)
{
    run.reads = array_reserve(run.reads, &run.reads_capacity, run.nr_reads + 1, sizeof(*run.reads));
    run.reads[run.nr_reads++] = addr;
}

static void take(void)
{
    drop_trace_take(&trace, &run, is_cell, &rows);
}

static void check_block(uint32_t block, uint64_t from, uint64_t place, uint32_t nr_steps)
{
    for (size_t i = 0; i < rows.nr_blocks; i++)
        if (rows.blocks[i].block == block) {
            assert_int_equal(rows.blocks[i].from, from);
            assert_int_equal(rows.blocks[i].place, place);
            assert_int_equal(rows.blocks[i].nr_steps, nr_steps);
            return;
        }
    fail_msg("block %u is not in the rows", block);
}

/* --- chains ---------------------------------------------------------------------------------- */

static void test_vector_of_boxes(void **state)
{
    enum { NR = 5 };
    uint32_t boxes[NR];
    (void)state;
    begin(NR + 2, 1000);
    uint32_t buffer = world_add_block(&world, 104);
    load(slot(4), addr_of(buffer));
    for (unsigned i = 0; i < NR; i++) {
        boxes[i] = world_add_block(&world, 24);
        load(addr_of(buffer) + 8 * i, addr_of(boxes[i]));
        set_free(boxes[i]);
    }
    set_free(buffer);
    set_free(cell);
    take();
    assert_int_equal(rows.nr_blocks, NR + 1);
    check_block(buffer, slot(4), slot(4), 0);
    for (unsigned i = 0; i < NR; i++)
        check_block(boxes[i], addr_of(buffer) + 8 * i, slot(4), 1);
    assert_true(trace.cell_was_freed);
    assert_false(trace.has_strange_free);
    assert_int_equal(trace.nr_other_cells, 0);
    assert_int_equal(rows.nr_shares, 0);
}

/* Each node is freed before the next one is looked at, or all in the end. */
static void linked_list(bool is_freed_last)
{
    enum { NR = 100000, FIRST = 1 };
    begin(NR + 1, NR * 32);
    for (uint32_t i = 0; i < NR; i++) {
        uint32_t node = world_add_block(&world, 24);
        load(i ? addr_of(node - 1) + 8 : slot(7), addr_of(node));
        if (!is_freed_last)
            set_free(node);
    }
    for (uint32_t i = NR; is_freed_last && i-- > 0;)
        set_free(FIRST + i);
    take();
    assert_int_equal(rows.nr_blocks, NR);
    for (uint32_t i = 0; i < NR; i++) {
        const struct drop_block *row = &rows.blocks[i]; /* by address */
        assert_int_equal(row->block, FIRST + i);
        assert_int_equal(row->place, slot(7));
        assert_int_equal(row->nr_steps, i);
        assert_int_equal(row->from, i ? addr_of(FIRST + i - 1) + 8 : slot(7));
    }
    finish(NULL);
}

static void test_linked_list(void **state)
{
    (void)state;
    linked_list(false);
    linked_list(true);
}

/* A receiver's end frees its mail; the channel is the senders', too, and stays. */
static void test_through_a_block_that_stays(void **state)
{
    (void)state;
    begin(5, 1000);
    uint32_t channel = world_add_block(&world, 200), page = world_add_block(&world, 296);
    uint32_t text = world_add_block(&world, 24), other = world_add_block(&world, 24);
    load(slot(3), addr_of(channel));
    load(addr_of(channel) + 64, addr_of(page));
    load(addr_of(page) + 16, addr_of(text));
    /* The channel knows this one, too, but the cell is asked first. */
    load(addr_of(channel) + 80, addr_of(other));
    load(slot(5), addr_of(other));
    set_free(text);
    set_free(page);
    set_free(other);
    lower(addr_of(channel), 2);
    set_free(cell);
    take();
    assert_int_equal(rows.nr_blocks, 3);
    check_block(page, addr_of(channel) + 64, slot(3), 1);
    check_block(text, addr_of(page) + 16, slot(3), 2);
    check_block(other, slot(5), slot(5), 0);
    assert_int_equal(rows.nr_shares, 1);
    assert_int_equal(rows.shares[0].block, channel);
    assert_int_equal(rows.shares[0].place, slot(3));
}

/* Children are made before their parents: addresses tell nothing. */
static void test_tree(void **state)
{
    enum { DEPTH = 17, NR = (1 << DEPTH) - 1 };
    (void)state;
    begin(NR + 1, (uint64_t)NR * 32);
    for (uint32_t i = 0; i < NR; i++)
        world_add_block(&world, 24);
    /* Node n (1 is the root) is block NR + 1 - n. */
    load(slot(0), addr_of(NR));
    for (uint32_t n = 1; 2 * n + 1 <= NR; n++) {
        load(addr_of(NR + 1 - n), addr_of(NR + 1 - 2 * n));
        load(addr_of(NR + 1 - n) + 16, addr_of(NR - 2 * n));
    }
    for (uint32_t n = NR; n; n--)
        set_free(NR + 1 - n);
    take();
    assert_int_equal(rows.nr_blocks, NR);
    for (uint32_t i = 0; i < NR; i++) {
        uint32_t n = NR + 1 - rows.blocks[i].block;
        assert_int_equal(rows.blocks[i].place, slot(0));
        assert_int_equal(rows.blocks[i].nr_steps, 31 - __builtin_clz(n));
    }
}

static void test_many_blocks(void **state)
{
    enum { NR = 200000 };
    uint64_t random = 3;
    (void)state;
    begin(NR + 1, (uint64_t)NR * 32);
    for (uint32_t i = 0; i < NR; i++) {
        uint32_t block = world_add_block(&world, 24);
        /* Each is found from one before it; many pointers are read several times. */
        uint32_t parent = i ? 1 + (uint32_t)random_below(&random, i) : 0;
        load(parent ? addr_of(parent) : slot(1), addr_of(block));
        load(addr_of(block), addr_of(1 + (uint32_t)random_below(&random, i + 1)));
        set_free(block);
        lower(addr_of(block), 1);
        read_word(slot(i % 100));
    }
    take();
    assert_int_equal(rows.nr_blocks, NR);
    for (uint32_t i = 0; i < NR; i++)
        assert_int_equal(rows.blocks[i].place, slot(1));
    assert_int_equal(rows.nr_shares, 0);
    assert_int_equal(rows.nr_reads, 100);
}

/* --- which pointer --------------------------------------------------------------------------- */

static void test_first_pointer_wins(void **state)
{
    (void)state;
    begin(8, 1000);
    uint32_t a = world_add_block(&world, 24), b = world_add_block(&world, 24);
    uint32_t other = world_add_block(&world, 24); /* stays: nobody's */
    load(addr_of(other), addr_of(a));             /* neither in a future nor in what goes */
    load(WORLD_GLOBALS, addr_of(a));
    load(addr_of(a) + 8, addr_of(a)); /* its own */
    load(slot(2), addr_of(a));
    load(slot(1), addr_of(a));
    load(addr_of(a) + 16, addr_of(b));
    load(slot(9), addr_of(b));
    set_free(a);
    set_free(b);
    take();
    assert_int_equal(rows.nr_blocks, 2);
    check_block(a, slot(2), slot(2), 0);
    check_block(b, addr_of(a) + 16, slot(2), 1);
}

static void test_interior_pointers(void **state)
{
    (void)state;
    begin(8, 1000);
    uint32_t a = world_add_block(&world, 104), b = world_add_block(&world, 24);
    uint32_t c = world_add_block(&world, 24);
    load(slot(0), addr_of(a) + 40);
    load(addr_of(a) + 96, addr_of(b) + 23);
    load(slot(1), addr_of(c) + 24); /* its end: in no block */
    set_free(a);
    set_free(b);
    set_free(c);
    take();
    check_block(a, slot(0), slot(0), 0);
    check_block(b, addr_of(a) + 96, slot(0), 1);
    check_block(c, 0, 0, 0);
}

/* Blocks that lead to each other, and one that nothing leads to. */
static void test_unknown_places(void **state)
{
    (void)state;
    begin(8, 1000);
    uint32_t a = world_add_block(&world, 24), b = world_add_block(&world, 24);
    uint32_t lost = world_add_block(&world, 24), below = world_add_block(&world, 24);
    load(addr_of(b), addr_of(a));
    load(addr_of(a), addr_of(b));
    load(addr_of(lost), addr_of(below));
    for (uint32_t block = a; block <= below; block++)
        set_free(block);
    take();
    assert_int_equal(rows.nr_blocks, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(rows.blocks[i].place, 0);
    check_block(below, addr_of(lost), 0, 1);
}

/* A future in a box: pointers in it are at their place; the box's own is where it was read. */
static void test_boxed_future(void **state)
{
    (void)state;
    begin(8, 1000);
    uint32_t box = world_add_block(&world, 104), inner = world_add_block(&world, 24);
    uint32_t beside = world_add_block(&world, 24);
    futures[1] = (struct addr_range){addr_of(box), addr_of(box) + 64};
    run.nr_futures = 2;
    load(slot(3), addr_of(box));
    load(addr_of(box) + 56, addr_of(inner));
    load(addr_of(box) + 64, addr_of(beside)); /* behind the future */
    set_free(inner);
    set_free(beside);
    set_free(box);
    take();
    check_block(box, slot(3), slot(3), 0);
    check_block(inner, addr_of(box) + 56, addr_of(box) + 56, 0);
    check_block(beside, addr_of(box) + 64, slot(3), 1);
}

/* --- frees ----------------------------------------------------------------------------------- */

static void test_strange_frees(void **state)
{
    (void)state;
    begin(8, 1000);
    uint32_t a = world_add_block(&world, 24);
    set_free(a);
    take();
    assert_false(trace.has_strange_free);
    assert_false(trace.cell_was_freed);
    set_free(a); /* twice */
    take();
    assert_true(trace.has_strange_free);
    assert_int_equal(rows.nr_blocks, 2); /* once in each of the two runs */
    const uint64_t no_blocks[] = {addr_of(a) + 8, WORLD_GLOBALS, WORLD_HEAP};
    for (size_t i = 0; i < 3; i++) {
        trace.has_strange_free = false;
        run.nr_frees = 0;
        drop_run_add_free(&run, no_blocks[i]);
        take();
        assert_true(trace.has_strange_free);
        assert_int_equal(rows.nr_blocks, 2);
    }
}

static void test_cells(void **state)
{
    (void)state;
    begin(8, 1000);
    uint32_t a = world_add_block(&world, 24), other = world_add_block(&world, 24);
    uint32_t third = world_add_block(&world, 24);
    is_cell[other] = is_cell[third] = true;
    load(slot(0), addr_of(a));
    load(slot(1), addr_of(other));
    lower(addr_of(third), 5); /* its references are not what is shared */
    set_free(a);
    set_free(other);
    set_free(third);
    set_free(cell);
    take();
    assert_true(trace.cell_was_freed);
    assert_int_equal(trace.nr_other_cells, 2);
    assert_int_equal(rows.nr_blocks, 1);
    assert_int_equal(rows.nr_shares, 0);
    check_block(a, slot(0), slot(0), 0);
}

static void test_requested_bytes(void **state)
{
    (void)state;
    begin(8, 1000);
    uint32_t a = world_add_block(&world, 40), b = world_add_block(&world, 40);
    run.sized_addr = addr_of(b);
    run.sized_bytes = 33;
    set_free(a);
    set_free(b);
    take();
    assert_int_equal(rows.blocks[0].requested_bytes, ~(uint64_t)0);
    assert_int_equal(rows.blocks[1].requested_bytes, 33);
}

/* --- counts ---------------------------------------------------------------------------------- */

static void check_share(uint32_t block, struct drop_share wanted)
{
    for (size_t i = 0; i < rows.nr_shares; i++) {
        const struct drop_share *row = &rows.shares[i];
        if (row->block != block)
            continue;
        assert_int_equal(row->nr_refs, wanted.nr_refs);
        assert_int_equal(row->from, wanted.from);
        assert_int_equal(row->place, wanted.place);
        assert_int_equal(row->count_addr, wanted.count_addr);
        assert_int_equal(row->count, wanted.count);
        return;
    }
    fail_msg("block %u is not shared", block);
}

static void test_shares(void **state)
{
    (void)state;
    begin(8, 1000);
    uint32_t arc = world_add_block(&world, 504), deep = world_add_block(&world, 24);
    uint32_t box = world_add_block(&world, 24);
    load(slot(0), addr_of(arc));
    load(slot(1), addr_of(arc));
    load(slot(2), addr_of(box));
    load(addr_of(box) + 8, addr_of(deep));
    lower(addr_of(arc), 7);
    lower(addr_of(arc), 6);
    lower(addr_of(arc), 5);
    lower(addr_of(deep), 2);
    set_free(box);
    take();
    assert_int_equal(rows.nr_shares, 2);
    check_share(arc, (struct drop_share){.nr_refs = 3,
                                         .from = slot(0),
                                         .place = slot(0),
                                         .count_addr = addr_of(arc),
                                         .count = 7});
    check_share(deep, (struct drop_share){.nr_refs = 1,
                                          .from = addr_of(box) + 8,
                                          .place = slot(2),
                                          .count_addr = addr_of(deep),
                                          .count = 2});
}

/* As Bytes' own: a small block that points to the bytes and has its count behind. */
static void test_count_behind_a_pointer(void **state)
{
    (void)state;
    begin(8, 2000);
    uint32_t bytes = world_add_block(&world, 104), small = world_add_block(&world, 40);
    uint32_t big = world_add_block(&world, 1000), plain = world_add_block(&world, 40);
    uint32_t interior = world_add_block(&world, 40);
    *world_word(&world, addr_of(small)) = addr_of(bytes);
    *world_word(&world, addr_of(big)) = addr_of(bytes);
    *world_word(&world, addr_of(interior)) = addr_of(bytes) + 8;
    lower(addr_of(small) + 16, 3);
    lower(addr_of(big) + 16, 3);      /* may be any number in it */
    lower(addr_of(plain) + 16, 3);    /* no pointer before it */
    lower(addr_of(interior) + 16, 3); /* not to a block's begin */
    take();
    assert_int_equal(rows.nr_shares, 1);
    check_share(small,
                (struct drop_share){.nr_refs = 1, .count_addr = addr_of(small) + 16, .count = 3});
}

/* The last owner went, a Weak keeps the block: what it owned is found through it. */
static void test_kept_by_a_weak(void **state)
{
    (void)state;
    begin(8, 1000);
    uint32_t arc = world_add_block(&world, 56), owned = world_add_block(&world, 24);
    load(slot(5), addr_of(arc));
    lower(addr_of(arc), 1);
    load(addr_of(arc) + 16, addr_of(owned));
    set_free(owned);
    lower(addr_of(arc) + 8, 2);
    take();
    assert_int_equal(rows.nr_blocks, 1);
    check_block(owned, addr_of(arc) + 16, slot(5), 1);
    assert_int_equal(rows.nr_shares, 0);
}

/* Given up twice, by the only two: freed, and not shared. */
static void test_all_owners(void **state)
{
    (void)state;
    begin(8, 1000);
    uint32_t arc = world_add_block(&world, 56);
    load(slot(5), addr_of(arc));
    load(slot(6), addr_of(arc));
    lower(addr_of(arc), 2);
    lower(addr_of(arc), 1);
    set_free(arc);
    take();
    assert_int_equal(rows.nr_shares, 0);
    assert_int_equal(rows.nr_blocks, 1);
    check_block(arc, slot(5), slot(5), 0);
}

/* --- reads ----------------------------------------------------------------------------------- */

static void test_reads(void **state)
{
    static const unsigned order[] = {9, 2, 2, 7, 0, 9, 2};
    (void)state;
    begin(1, 100);
    for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++)
        read_word(slot(order[i]));
    take();
    assert_int_equal(rows.nr_reads, 4);
    run.nr_reads = 0;
    read_word(slot(1)); /* the next task's come behind */
    take();
    const unsigned wanted[] = {0, 2, 7, 9, 1};
    assert_int_equal(rows.nr_reads, 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(rows.reads[i], slot(wanted[i]));
}

static void test_nothing(void **state)
{
    (void)state;
    begin(1, 100);
    take();
    assert_true(!rows.nr_blocks && !rows.nr_shares && !rows.nr_reads);
    assert_true(!trace.cell_was_freed && !trace.has_strange_free && !trace.nr_other_cells);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_vector_of_boxes, finish),
        cmocka_unit_test(test_linked_list),
        cmocka_unit_test_teardown(test_tree, finish),
        cmocka_unit_test_teardown(test_through_a_block_that_stays, finish),
        cmocka_unit_test_teardown(test_many_blocks, finish),
        cmocka_unit_test_teardown(test_first_pointer_wins, finish),
        cmocka_unit_test_teardown(test_interior_pointers, finish),
        cmocka_unit_test_teardown(test_unknown_places, finish),
        cmocka_unit_test_teardown(test_boxed_future, finish),
        cmocka_unit_test_teardown(test_strange_frees, finish),
        cmocka_unit_test_teardown(test_cells, finish),
        cmocka_unit_test_teardown(test_requested_bytes, finish),
        cmocka_unit_test_teardown(test_shares, finish),
        cmocka_unit_test_teardown(test_count_behind_a_pointer, finish),
        cmocka_unit_test_teardown(test_kept_by_a_weak, finish),
        cmocka_unit_test_teardown(test_all_owners, finish),
        cmocka_unit_test_teardown(test_reads, finish),
        cmocka_unit_test_teardown(test_nothing, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
