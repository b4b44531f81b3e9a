/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The trie of stacks: one row a key, also from many threads while its index grows; and when tables are full. */
#include "unit.h"

#include <pthread.h>

#include "../tracer/stack_region.h"
#include "tracer/image_ranges.h"
#include "tracer/stack_nodes.h"

enum { THREADS = 16, PARENTS = 50, CHILDREN = 400 };

static struct region_header *region;
static struct stack_nodes nodes;

static void open_region(uint32_t max_nodes, uint32_t max_sites, uint32_t max_index)
{
    region = stack_region_new(max_nodes, max_sites, max_index);
    assert_non_null(region);
    nodes = stack_nodes_of(region);
    stack_region_use(region);
}

static struct stack_node_key key_of(uint32_t parent, uint64_t pc)
{
    return (struct stack_node_key){.pc = pc, .parent = parent, .image = 1};
}

struct worker {
    pthread_t thread;
    uint32_t step; /* each goes through the children in an order of its own */
    struct stack_nodes nodes;
    uint32_t found[PARENTS][CHILDREN];
};

static void *fill(void *data)
{
    struct worker *worker = data;
    for (uint32_t i = 0; i < PARENTS * CHILDREN; i++) {
        uint32_t at = (uint32_t)((uint64_t)i * worker->step % (PARENTS * CHILDREN));
        uint32_t parent = at / CHILDREN, child = at % CHILDREN;
        struct stack_node_key root = key_of(0, 0x1000 + parent);
        uint32_t node = stack_node(&worker->nodes, &root);
        struct stack_node_key key = key_of(node, 0x2000 + child);
        worker->found[parent][child] = stack_node(&worker->nodes, &key);
    }
    return NULL;
}

static void one_row_a_key(void **state)
{
    (void)state;
    static struct worker workers[THREADS];
    static const uint32_t steps[] = {1, 7, 7919, 19999};
    open_region(1 << 20, 16, 1 << 20);
    for (int i = 0; i < THREADS; i++) {
        workers[i].step = steps[i % 4];
        workers[i].nodes = nodes;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, fill, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    const struct region_node *rows =
        (const void *)((const char *)region + region->tables[REGION_NODES].offset_bytes);
    for (uint32_t parent = 0; parent < PARENTS; parent++) {
        for (uint32_t child = 0; child < CHILDREN; child++) {
            for (int i = 0; i < THREADS; i++) {
                uint32_t node = workers[i].found[parent][child];
                assert_in_range(node, 1, region->tables[REGION_NODES].nr_rows - 1);
                assert_int_equal(rows[node].pc, 0x2000 + child);
                assert_in_range(rows[node].parent, 1, node - 1);
                assert_int_equal(rows[rows[node].parent].pc, 0x1000 + parent);
                assert_int_equal(node, workers[0].found[parent][child]);
            }
        }
    }
    uint32_t nr = 0;
    for (uint32_t row = 1; row < region->tables[REGION_NODES].nr_rows; row++)
        nr += rows[row].pc != 0; /* others came too late */
    assert_int_equal(nr, PARENTS + PARENTS * CHILDREN);
    stack_region_free(region);
}

static void images_and_flags_are_of_the_key(void **state)
{
    (void)state;
    open_region(100, 16, 8192);
    struct stack_node_key key = key_of(0, 77);
    uint32_t first = stack_node(&nodes, &key);
    key.image = 2;
    uint32_t second = stack_node(&nodes, &key);
    key.flags = REGION_NODE_EXACT;
    uint32_t third = stack_node(&nodes, &key);
    assert_int_not_equal(first, second);
    assert_int_not_equal(second, third);
    assert_int_equal(stack_node(&nodes, &key), third);
    uint32_t site = stack_node_site(&nodes, third);
    assert_int_not_equal(site, 0);
    assert_int_equal(stack_node_site(&nodes, third), site);
    assert_int_not_equal(stack_node_site(&nodes, second), site);
    stack_region_free(region);
}

static void full_tables_are_told(void **state)
{
    (void)state;
    uint32_t nr_nodes = 0, nr_sites = 0;
    open_region(50, 10, 8192);
    for (uint64_t pc = 1; pc <= 100; pc++) {
        struct stack_node_key key = key_of(0, pc);
        uint32_t node = stack_node(&nodes, &key);
        nr_nodes += node != 0;
        nr_sites += node && stack_node_site(&nodes, node);
    }
    assert_int_equal(nr_nodes, 49);
    assert_int_equal(nr_sites, 9);
    assert_int_equal(region->lost[LOST_TABLE_FULL], 51 + 40);
    stack_region_free(region);
}

/* A thread that stopped in the middle of a doubling keeps nobody waiting, and a key has one row. */
static void stopped_in_a_doubling(void **state)
{
    (void)state;
    enum { INDEX_AT = 16, SLOTS = 4096, CLOSED = 1 << 24 };
    open_region(1 << 16, 16, 1 << 17);
    for (uint64_t pc = 1; pc <= 5000; pc++) {
        if (pc == 1000) {
            for (uint32_t slot = 0; slot < SLOTS; slot += 3) {
                uint32_t *there = &nodes.index[INDEX_AT + slot];
                *there = *there ? *there : CLOSED;
            }
        }
        struct stack_node_key key = key_of(0, pc * 8);
        assert_int_equal(stack_node(&nodes, &key), pc);
    }
    for (uint64_t pc = 1; pc <= 5000; pc++) {
        struct stack_node_key key = key_of(0, pc * 8);
        assert_int_equal(stack_node(&nodes, &key), pc);
    }
    stack_region_free(region);
}

/* An index that cannot grow fills up, and still finds what is in it. */
static void small_index(void **state)
{
    (void)state;
    open_region(1 << 16, 16, 16 + 4096);
    for (int round = 0; round < 2; round++) {
        for (uint64_t pc = 1; pc <= 4000; pc++) {
            struct stack_node_key key = key_of(0, pc * 8);
            assert_int_equal(stack_node(&nodes, &key), pc);
        }
    }
    stack_region_free(region);
}

static void ranges(void **state)
{
    (void)state;
    struct image_range list[] = {
        {0x5000, 0x6000, 3, 0}, {0x1000, 0x2000, 1, 0}, {0x2000, 0x2800, 2, 0}};
    uint32_t generation = image_ranges_generation();
    assert_int_equal(image_ranges_find(0x1000).image, 0);
    assert_true(image_ranges_set(list, 3));
    assert_int_not_equal(image_ranges_generation(), generation);
    assert_int_equal(image_ranges_find(0xfff).image, 0);
    assert_int_equal(image_ranges_find(0x1000).image, 1);
    assert_int_equal(image_ranges_find(0x1fff).image, 1);
    assert_int_equal(image_ranges_find(0x2000).image, 2);
    assert_int_equal(image_ranges_find(0x2800).image, 0);
    assert_int_equal(image_ranges_find(0x5fff).image, 3);
    assert_int_equal(image_ranges_find(UINTPTR_MAX).image, 0);
    assert_true(image_ranges_set(list, 1));
    assert_int_equal(image_ranges_find(0x1000).image, 0);
    static struct image_range many[2000];
    for (uint32_t i = 0; i < 2000; i++)
        many[i] = (struct image_range){i * 16, i * 16 + 8, i + 1, 0};
    assert_true(image_ranges_set(many, 2000));
    assert_int_equal(image_ranges_find(1999 * 16 + 7).image, 2000);
    assert_int_equal(image_ranges_find(1999 * 16 + 8).image, 0);
    assert_true(image_ranges_set(NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_row_a_key),
        cmocka_unit_test(images_and_flags_are_of_the_key),
        cmocka_unit_test(full_tables_are_told),
        cmocka_unit_test(stopped_in_a_doubling),
        cmocka_unit_test(small_index),
        cmocka_unit_test(ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
