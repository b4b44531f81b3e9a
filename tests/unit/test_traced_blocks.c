/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The live region of a program, found and copied from outside: through the recorder's descriptor, a view of
 * the caller's, or the program's own mapping; of one instant with its memory; and not at all where the tracer
 * does not write.
 */
#include "unit.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "traced_world.h"

enum { LIMIT_MS = 60000, NR_BLOCKS = 40000, STRIDE = 48 };
#define FIRST_BLOCK UINT64_C(0x10000010)

static struct traced_world world;

/* Enough that several threads copy them. */
static uint64_t addr_of(unsigned number)
{
    /* The last ones lie in another span, with granules of 8 bytes. */
    return number < NR_BLOCKS / 2 ? FIRST_BLOCK + (uint64_t)number * STRIDE
                                  : UINT64_C(0x7f0000000008) + (uint64_t)number * 8;
}

static void put_blocks(struct traced_world *own)
{
    struct region *region = &own->region;
    for (unsigned i = 0; i < NR_BLOCKS; i++)
        traced_put_block(region, addr_of(i), i < NR_BLOCKS / 2 ? 5 : 3, i);
    struct region_task *tasks = region_rows(region, REGION_TASKS);
    tasks[TRACED_TASK] = (struct region_task){.id = 99,
                                              .runtime_task_id = 5,
                                              .kind = REGION_TASK_CELL,
                                              .type = 2,
                                              .cell_addr = 0x5000,
                                              .thread = 1};
    /* Two threads had one place, one after the other. */
    tasks[1] = (struct region_task){.id = 50, .kind = REGION_TASK_THREAD, .type = 1, .thread = 1};
    tasks[2] = (struct region_task){.id = 60, .kind = REGION_TASK_THREAD, .type = 1, .thread = 1};
    tasks[4] = (struct region_task){.id = 70, .kind = REGION_TASK_THREAD, .thread = 99};
    region->header->tables[REGION_TASKS].nr_rows = TRACED_TASK + 3;
    struct region_thread *threads = region_rows(region, REGION_THREADS);
    threads[1] = (struct region_thread){.tid = 77, .name = "a-name-of-15-by"};
    region->header->tables[REGION_THREADS].nr_rows = 2;
}

static void expect_blocks(const struct traced_blocks *traced)
{
    assert_true(traced->is_there);
    assert_int_equal(traced->nr_blocks, NR_BLOCKS);
    for (unsigned i = 0; i < NR_BLOCKS; i++) {
        const struct traced_block *block = traced_blocks_at(traced, addr_of(i));
        assert_non_null(block);
        assert_int_equal(block->bytes, i);
        assert_int_equal(block->site, TRACED_SITE);
        assert_int_equal(block->task, TRACED_TASK);
        assert_null(traced_blocks_at(traced, addr_of(i) + 1));
    }
    const struct traced_task *task = traced_blocks_task(traced, TRACED_TASK);
    assert_non_null(task);
    assert_int_equal(task->id, 99);
    assert_int_equal(task->runtime_task_id, 5);
    assert_int_equal(task->cell_addr, 0x5000);
    assert_int_equal(task->kind, REGION_TASK_CELL);
    assert_int_equal(task->type, 2);
    assert_null(traced_blocks_task(traced, 0));
    assert_null(traced_blocks_task(traced, TRACED_TASK + 2)); /* a free row */
    assert_null(traced_blocks_task(traced, TRACED_TASK + 3));
    assert_int_equal(traced->nr_threads, 2);
    assert_string_equal(traced->threads[1].name, "a-name-of-15-by");
    assert_int_equal(traced->threads[1].task, 2);
}

static void stop(void)
{
    struct error err = {0};
    if (!target_stop(&world.target, LIMIT_MS, &err))
        fail_msg("%s", err.message);
}

static void copy(struct traced_blocks *traced)
{
    traced_blocks_copy(traced, &world.target, UINT64_MAX);
    target_resume(&world.target);
    traced_blocks_finish(traced, &world.target);
}

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

/* --- where it is had from -------------------------------------------------------------------- */

static void test_of_the_recorder(void **state)
{
    (void)state;
    struct traced_blocks traced;
    traced_world_start(&world, put_blocks);
    const uint64_t nr_pages = pages_of(world.region.fd);
    traced_blocks_find(&traced, &world.target, NULL);
    assert_false(traced.is_clone);
    assert_true(traced.fd >= 0);
    stop();
    copy(&traced);
    expect_blocks(&traced);
    assert_int_equal(pages_of(world.region.fd), nr_pages); /* looking takes no memory of it */
    traced_blocks_deinit(&traced);
    traced_world_end(&world);
}

static void test_of_the_caller(void **state)
{
    (void)state;
    struct traced_blocks traced;
    struct region_view view, strange;
    struct region other;
    struct error err;
    static const struct region_options options = {.stacks = REGION_STACKS_ALL};
    traced_world_start(&world, put_blocks);
    assert_true(region_make(&other, &options, &err));
    assert_true(region_view_fd(&view, world.region.fd, &err));
    assert_true(region_view_fd(&strange, other.fd, &err));
    traced_blocks_find(&traced, &world.target, &view);
    assert_int_equal(traced.fd, -1);
    stop();
    copy(&traced);
    expect_blocks(&traced);
    traced_blocks_deinit(&traced);
    /* Another program's is not taken for its own. */
    traced_blocks_find(&traced, &world.target, &strange);
    assert_true(traced.fd >= 0);
    traced_blocks_deinit(&traced);
    region_view_close(&view);
    region_view_close(&strange);
    region_close(&other);
    traced_world_end(&world);
}

/* Nobody has it but the program, and asyncmem is not privileged. */
static void test_through_the_program(void **state)
{
    (void)state;
    struct traced_blocks traced;
    traced_world_start(&world, put_blocks);
    const uint64_t nr_pages = pages_of(world.region.fd);
    traced_blocks_find(&traced, &world.target, NULL);
    region_view_close(&traced.view);
    close(traced.fd);
    traced.fd = -1;
    traced.is_viewed = false;
    traced.is_clone = true;
    stop();
    copy(&traced);
    expect_blocks(&traced);
    assert_int_equal(pages_of(world.region.fd), nr_pages);
    /* What the program does now is not in it. */
    traced_put_block(&world.region, addr_of(NR_BLOCKS), 3, 1);
    struct region_block block;
    assert_false(region_find_block(&traced.view, addr_of(NR_BLOCKS), &block));
    traced_blocks_deinit(&traced);
    traced_world_end(&world);
}

/* --- when -------------------------------------------------------------------------------------- */

static void count_up(struct traced_world *own)
{
    __atomic_store_n(&own->shared[TRACED_READY], 1, __ATOMIC_RELEASE);
    for (uint64_t i = 1; !__atomic_load_n(&own->shared[TRACED_FINISH], __ATOMIC_ACQUIRE); i++) {
        own->shared[TRACED_COUNT] = i;
        traced_put_block(&own->region, FIRST_BLOCK, 5, i);
    }
}

/* Of the moment of the stop: no later, no earlier. */
static void test_of_the_stop(void **state)
{
    (void)state;
    traced_world_start(&world, count_up);
    for (unsigned i = 0; i < 50; i++) {
        struct traced_blocks traced;
        traced_blocks_find(&traced, &world.target, NULL);
        stop();
        const uint64_t count = world.shared[TRACED_COUNT];
        copy(&traced);
        assert_true(traced.is_there);
        if (traced.nr_blocks) { /* else it was just being made */
            assert_int_equal(traced.nr_blocks, 1);
            assert_true(count - traced.blocks[0].bytes <= 1);
        }
        traced_blocks_deinit(&traced);
    }
    traced_world_end(&world);
}

/* --- where nothing is to be had ---------------------------------------------------------------- */

static void expect_none(const char *why)
{
    struct traced_blocks traced;
    traced_blocks_find(&traced, &world.target, NULL);
    stop();
    copy(&traced);
    assert_false(traced.is_there);
    if (!strstr(traced.problem, why))
        fail_msg("\"%s\", not \"%s\"", traced.problem, why);
    traced_blocks_deinit(&traced);
}

static void test_of_a_silent_tracer(void **state)
{
    (void)state;
    traced_world_start(&world, put_blocks);
    struct region_header *header = world.region.header;
    header->state = REGION_NEW;
    expect_none("has not begun");
    header->state = REGION_OFF;
    strcpy(header->off_reason, "no memory");
    expect_none("stepped aside: no memory");
    memset(header->off_reason, 'x', sizeof(header->off_reason)); /* without an end */
    expect_none("xxx");
    header->state = 77;
    expect_none("stepped aside");
    header->state = REGION_TRACING;
    header->stop_writing = 1;
    expect_none("write nothing more");
    traced_world_end(&world);
}

static void test_of_a_damaged_region(void **state)
{
    (void)state;
    traced_world_start(&world, put_blocks);
    struct region_header *header = world.region.header;
    header->tables[REGION_TASKS].row_bytes = 8;
    expect_none("damaged");
    header->tables[REGION_TASKS].row_bytes = sizeof(struct region_task);
    header->version = 99;
    expect_none("another version");
    header->magic[0] = 'x';
    expect_none("");
    traced_world_end(&world);
}

/* All that the tables say of their rows may be wrong. */
static void test_of_random_bytes(void **state)
{
    (void)state;
    uint64_t random = 5;
    traced_world_start(&world, put_blocks);
    for (unsigned round = 0; round < 300; round++) {
        uint8_t *bytes = (uint8_t *)world.region.header->tables;
        size_t at = random_below(&random, sizeof(world.region.header->tables));
        const uint8_t kept = bytes[at];
        bytes[at] = (uint8_t)random_next(&random);
        /* Rows of terabytes would be read; that takes no more than time. */
        if (world.region.header->tables[REGION_TASKS].nr_rows < 1000 &&
            world.region.header->tables[REGION_THREADS].nr_rows < 1000) {
            struct traced_blocks traced;
            traced_blocks_find(&traced, &world.target, NULL);
            stop();
            copy(&traced);
            assert_true(traced.is_there || *traced.problem);
            for (size_t i = 1; i < traced.nr_blocks; i++)
                assert_true(traced.blocks[i - 1].addr < traced.blocks[i].addr);
            traced_blocks_deinit(&traced);
        }
        bytes[at] = kept;
    }
    traced_world_end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_the_recorder),     cmocka_unit_test(test_of_the_caller),
        cmocka_unit_test(test_through_the_program), cmocka_unit_test(test_of_the_stop),
        cmocka_unit_test(test_of_a_silent_tracer),  cmocka_unit_test(test_of_a_damaged_region),
        cmocka_unit_test(test_of_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
