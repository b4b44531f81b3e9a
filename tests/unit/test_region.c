/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* recording/region: making, reading, damaged headers, the walk over live blocks. */
#include "unit.h"

#include <unistd.h>

#include "recording/region.h"

static const struct region_options whole = {.stacks = REGION_STACKS_ALL};

/* Small enough to be copied. */
static const uint64_t few_rows[NR_REGION_TABLES] = {
    [REGION_THREADS] = 8,     [REGION_TASKS] = 64,       [REGION_TYPES] = 8,
    [REGION_TYPE_SUMS] = 8,   [REGION_NODES] = 64,       [REGION_SITES] = 64,
    [REGION_SITE_COUNTS] = 8, [REGION_LIFETIMES] = 8,    [REGION_IMAGES] = 4,
    [REGION_SLOTS] = 8,       [REGION_PLANS] = 4096,     [REGION_AWAITS] = 8,
    [REGION_AWAIT_ENDS] = 8,  [REGION_LIVE_INDEX] = 64,  [REGION_LIVE_CHUNKS] = 3,
    [REGION_NODE_INDEX] = 64, [REGION_AWAIT_INDEX] = 64,
};

static uint64_t pages_of(int fd)
{
    off_t data = 0;
    uint64_t bytes = 0;
    while ((data = lseek(fd, data, SEEK_DATA)) >= 0) {
        off_t hole = lseek(fd, data, SEEK_HOLE);
        bytes += (uint64_t)(hole - data);
        data = hole;
    }
    return bytes / 4096;
}

static void put_block(struct region *region, uint64_t addr, unsigned granule_log2, uint64_t bytes)
{
    uint32_t *index = region_rows(region, REGION_LIVE_INDEX);
    struct region_table *chunks = &region->header->tables[REGION_LIVE_CHUNKS];
    uint32_t *place = &index[addr >> REGION_SPAN_BITS];
    if (!*place)
        *place = chunks->nr_rows++ | granule_log2 << 24;
    uint8_t *base = region_rows(region, REGION_LIVE_CHUNKS);
    struct region_live *chunk =
        (struct region_live *)(base + (uint64_t)(*place & 0xffffff) * REGION_CHUNK_BYTES);
    struct region_live *entry = &chunk[(addr & ((1u << REGION_SPAN_BITS) - 1)) >> granule_log2];
    entry->block = bytes | (uint64_t)7 << 40;
    entry->owner =
        REGION_LIVE_PRESENT | 3 | (granule_log2 == 5 && addr & 16 ? REGION_LIVE_HALF : 0);
}

static void made_region_reads_back(void **state)
{
    (void)state;
    struct region region;
    struct error err;
    assert_true(region_make(&region, &whole, &err));
    struct region_view view;
    assert_true(region_view_fd(&view, region.fd, &err));
    assert_int_equal(region_nr_rows(&view, REGION_TASKS), 1);
    assert_int_equal(region_nr_rows(&view, REGION_TYPES), 2);
    assert_null(region_row(&view, REGION_TASKS, 0));
    assert_null(region_row(&view, REGION_TASKS, 1));
    assert_non_null(region_row(&view, REGION_TYPES, 1));
    struct region_task *tasks = region_rows(&region, REGION_TASKS);
    tasks[1].id = 77;
    region.header->tables[REGION_TASKS].nr_rows = 2;
    const struct region_task *task = region_row(&view, REGION_TASKS, 1);
    assert_int_equal(task->id, 77);
    assert_int_equal(view.header->sample_bytes, 512 << 10);
    assert_false(view.is_cut);
    region_view_close(&view);
    region_close(&region);
}

/* The size of what was made is that of what was written. */
static void reading_takes_no_memory(void **state)
{
    (void)state;
    struct region region;
    struct error err;
    assert_true(region_make(&region, &whole, &err));
    uint64_t before = pages_of(region.fd);
    assert_true(before <= 2);
    put_block(&region, 0x7f0000001230, 5, 10);
    uint64_t with_block = pages_of(region.fd);
    assert_int_equal(with_block, before + 2);
    struct region_view view;
    assert_true(region_view_fd(&view, region.fd, &err));
    struct region_block_walk walk;
    struct region_block block;
    region_blocks_begin(&walk, &view);
    assert_true(region_blocks_next(&walk, &block));
    assert_false(region_blocks_next(&walk, &block));
    region_blocks_end(&walk);
    assert_int_equal(pages_of(region.fd), with_block);
    region_view_close(&view);
    region_close(&region);
}

static void all_blocks_are_found(void **state)
{
    (void)state;
    static const uint64_t addrs[] = {0x1000010, 0x1000040,      0x3fffff0,
                                     0x4000000, 0x555555554ff0, 0x7fffffffffe0};
    struct region region;
    struct error err;
    assert_true(region_make(&region, &whole, &err));
    for (size_t i = 0; i < 6; i++)
        put_block(&region, addrs[i], i == 4 ? 3 : 5, 100 + i);
    struct region_view view;
    assert_true(region_view_fd(&view, region.fd, &err));
    struct region_block_walk walk;
    region_blocks_begin(&walk, &view);
    struct region_block block;
    for (size_t i = 0; i < 6; i++) {
        assert_true(region_blocks_next(&walk, &block));
        assert_int_equal(block.addr, addrs[i]);
        assert_int_equal(block.bytes, 100 + i);
        assert_int_equal(block.site, 7);
        assert_int_equal(block.task, 3);
        struct region_block found;
        assert_true(region_find_block(&view, addrs[i], &found));
        assert_int_equal(found.addr, addrs[i]);
    }
    assert_false(region_blocks_next(&walk, &block));
    region_blocks_end(&walk);
    assert_false(region_find_block(&view, 0x1000080, &block));
    assert_false(region_find_block(&view, UINT64_MAX, &block));
    region_view_close(&view);
    region_close(&region);
}

static void clock_is_near_the_systems(void **state)
{
    (void)state;
    struct region region;
    struct error err;
    assert_true(region_make(&region, &whole, &err));
    uint64_t before = region_clock_tick(&region);
    uint64_t after = region_clock_tick(&region);
    assert_true(after >= before);
    assert_int_equal(region.header->now_ns, after);
    if (region.has_tsc)
        assert_true(region.header->clocks[region.header->clock_index].mult);
    region_close(&region);
}

static void damaged_headers_are_refused_or_bounded(void **state)
{
    (void)state;
    struct region_options small = whole;
    small.max_rows = few_rows;
    struct region region;
    struct error err;
    assert_true(region_make(&region, &small, &err));
    put_block(&region, 0x1000010, 5, 10);
    /* The header and the tables before the chunks; what is beyond is cut. */
    uint64_t size = region.header->tables[REGION_LIVE_CHUNKS].offset_bytes + 65536;
    uint8_t *bytes = aligned_alloc(4096, size);
    uint64_t seed = 1;
    for (int round = 0; round < 4000; round++) {
        memcpy(bytes, region.header, size);
        for (int i = 0; i < round % 4; i++)
            bytes[random_below(&seed, sizeof(struct region_header))] ^=
                (uint8_t)(1 << random_below(&seed, 8));
        uint64_t cut = round % 3 ? size : random_below(&seed, size);
        struct region_view view;
        if (!region_view_bytes(&view, bytes, cut, &err))
            continue;
        assert_true(view.is_cut);
        volatile uint8_t sum = 0;
        for (int table = 0; table < NR_REGION_TABLES; table++)
            for (uint32_t id = 0; id < region_nr_rows(&view, table) && id < 5000; id++) {
                const uint8_t *row = region_row(&view, table, id);
                if (row)
                    sum = (uint8_t)(sum + row[0] + row[region_row_bytes[table] - 1]);
            }
        struct region_block_walk walk;
        struct region_block block;
        region_blocks_begin(&walk, &view);
        while (region_blocks_next(&walk, &block))
            sum = (uint8_t)(sum + block.bytes);
        region_blocks_end(&walk);
        region_view_close(&view);
    }
    free(bytes);
    region_close(&region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_region_reads_back),
        cmocka_unit_test(reading_takes_no_memory),
        cmocka_unit_test(all_blocks_are_found),
        cmocka_unit_test(clock_is_near_the_systems),
        cmocka_unit_test(damaged_headers_are_refused_or_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
