/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A live table and the blocks of glibc's metadata, put together: entries of glibc's blocks, blocks of another
 * allocator, and entries that cannot be true.
 */
#include "unit.h"

#include "process/heap_part.h"
#include "process/traced_heap.h"

#define HEAP UINT64_C(0x10000000)
#define FOREIGN UINT64_C(0x20000000)
#define END UINT64_C(0x30000000)
enum { MAX_ROWS = 64 };

static struct {
    struct mapping mappings[2];
    struct target target;
    struct heap_blocks blocks;
    struct traced_block entries[MAX_ROWS];
    struct traced_blocks traced;
    struct traced_heap heap;
} world;

static int begin(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    world.mappings[0] = (struct mapping){
        .start = HEAP, .end = HEAP + 0x10000, .readable = true, .writable = true, .path = "[heap]"};
    world.mappings[1] = (struct mapping){
        .start = FOREIGN, .end = END, .readable = true, .writable = true, .path = ""};
    world.target = (struct target){.is_core = true, .mappings = world.mappings, .nr_mappings = 2};
    world.traced = (struct traced_blocks){.is_there = true, .blocks = world.entries};
    return 0;
}

static int finish(void **state)
{
    (void)state;
    traced_heap_deinit(&world.heap);
    heap_blocks_deinit(&world.blocks);
    return 0;
}

/* By address, as all that is added. */
static void add_block(uint64_t addr, uint64_t size)
{
    heap_add_block(&world.blocks, addr, size);
}

static void add_entry(uint64_t addr, uint64_t bytes)
{
    world.entries[world.traced.nr_blocks++] = (struct traced_block){addr, bytes, 1, 2};
}

static void join(void)
{
    heap_index_build(&world.blocks);
    traced_heap_join(&world.heap, &world.blocks, &world.traced, &world.target);
    for (size_t i = 1; i < world.blocks.nr; i++)
        assert_true(world.blocks.rows[i - 1].addr + world.blocks.rows[i - 1].size_bytes <=
                    world.blocks.rows[i].addr);
}

/* The entry of the block at `addr`: position + 1. */
static uint32_t entry_at(uint64_t addr)
{
    uint32_t block = heap_blocks_find(&world.blocks, addr);
    assert_true(block != 0);
    return world.heap.entries[block - 1];
}

static uint64_t size_at(uint64_t addr)
{
    uint32_t block = heap_blocks_find(&world.blocks, addr);
    return block ? world.blocks.rows[block - 1].size_bytes : 0;
}

static void blocks_of_glibc(void **state)
{
    (void)state;
    add_block(HEAP + 16, 24);
    add_block(HEAP + 64, 104);
    add_block(HEAP + 256, 24);
    add_entry(HEAP + 16, 24);
    add_entry(HEAP + 256, 0);
    join();
    assert_int_equal(world.blocks.nr, 3);
    assert_int_equal(world.heap.nr_added + world.heap.nr_wrong, 0);
    assert_int_equal(entry_at(HEAP + 16), 1);
    assert_int_equal(entry_at(HEAP + 64), 0); /* made before the tracer */
    assert_int_equal(entry_at(HEAP + 256), 2);
}

static void blocks_of_another_allocator(void **state)
{
    (void)state;
    add_block(HEAP + 16, 24);
    add_block(END - 0x1000, 40); /* behind the others */
    add_entry(HEAP + 16, 20);
    add_entry(FOREIGN, 8);
    add_entry(FOREIGN + 8, 8);
    add_entry(FOREIGN + 4096, 0);
    join();
    assert_int_equal(world.blocks.nr, 5);
    assert_int_equal(world.heap.nr_added, 3);
    assert_int_equal(world.heap.added_bytes, 8 + 8 + 1);
    assert_int_equal(world.heap.nr_wrong, 0);
    assert_int_equal(world.heap.allocator, HEAP_UNKNOWN);
    assert_int_equal(entry_at(FOREIGN), 2);
    assert_int_equal(entry_at(FOREIGN + 8), 3);
    assert_int_equal(size_at(FOREIGN + 8), 8);
    assert_int_equal(world.blocks.live_bytes, 24 + 40 + 17);
    /* Nothing tells how big they really are. */
    assert_int_equal(world.heap.nr_requested, 3);
    assert_true(traced_heap_is_requested(&world.heap, FOREIGN + 8));
    assert_false(traced_heap_is_requested(&world.heap, FOREIGN + 16));
    assert_false(traced_heap_is_requested(&world.heap, HEAP + 16));
}

static void entries_that_cannot_be(void **state)
{
    (void)state;
    add_block(HEAP + 16, 24);
    add_block(HEAP + 64, 104);
    add_entry(HEAP + 16, 25);                   /* more than the block has */
    add_entry(HEAP + 72, 8);                    /* inside of one */
    add_entry(HEAP + 0x20000, 8);               /* no memory */
    add_entry(FOREIGN, 4097);                   /* reaches into the next one */
    add_entry(FOREIGN + 4096, 64);              /* right */
    add_entry(END - 64, 128);                   /* reaches out of the memory */
    add_entry(HEAP_ADDR_LIMIT - 8, UINT64_MAX); /* of all */
    join();
    assert_int_equal(world.blocks.nr, 3);
    assert_int_equal(world.heap.nr_wrong, 6);
    assert_int_equal(world.heap.nr_added, 1);
    assert_int_equal(entry_at(HEAP + 16), 0);
    assert_int_equal(entry_at(HEAP + 64), 0);
    assert_int_equal(entry_at(FOREIGN + 4096), 5);
}

static void nothing_to_join(void **state)
{
    (void)state;
    join();
    assert_int_equal(world.blocks.nr + world.heap.nr_added + world.heap.nr_wrong, 0);
}

/* Without glibc's heap the table is all there is. */
static void the_table_alone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MAX_ROWS; i++)
        add_entry(FOREIGN + 4096 * i, 100 + i);
    join();
    assert_int_equal(world.blocks.nr, MAX_ROWS);
    for (unsigned i = 0; i < MAX_ROWS; i++) {
        assert_int_equal(entry_at(FOREIGN + 4096 * i), i + 1);
        assert_int_equal(size_at(FOREIGN + 4096 * i + 99), 100 + i);
    }
}

/* Whatever stands in the table: blocks stay apart, and an entry is of the block that begins there. */
static void random_tables(void **state)
{
    uint64_t random = 7;
    for (unsigned round = 0; round < 2000; round++) {
        uint64_t own = HEAP, addr = HEAP;
        begin(state);
        for (unsigned i = 0; i < 20; i++) {
            own += 8 * (1 + random_below(&random, 20));
            uint64_t size = 8 * (1 + random_below(&random, 10));
            add_block(own, size);
            own += size;
        }
        for (unsigned i = 0; i < 40; i++) {
            addr += 8 * (1 + random_below(&random, 12));
            add_entry(addr, random_below(&random, 100));
        }
        join();
        for (size_t b = 0; b < world.blocks.nr; b++)
            if (world.heap.entries[b]) {
                const struct traced_block *entry = &world.entries[world.heap.entries[b] - 1];
                assert_int_equal(entry->addr, world.blocks.rows[b].addr);
                assert_true(entry->bytes <= world.blocks.rows[b].size_bytes);
            }
        finish(state);
    }
    begin(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blocks_of_glibc, begin, finish),
        cmocka_unit_test_setup_teardown(blocks_of_another_allocator, begin, finish),
        cmocka_unit_test_setup_teardown(entries_that_cannot_be, begin, finish),
        cmocka_unit_test_setup_teardown(nothing_to_join, begin, finish),
        cmocka_unit_test_setup_teardown(the_table_alone, begin, finish),
        cmocka_unit_test_setup_teardown(random_tables, begin, finish),
    };
    return cmocka_run_group_tests_name("traced_heap", tests, NULL, NULL);
}
