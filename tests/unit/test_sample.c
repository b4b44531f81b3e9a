/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The timeline: bounded, its peaks kept, and only the largest types shown. */
#include "recorder/sample.h"

#include <unistd.h>

#include "unit.h"

static const uint64_t few_rows[NR_REGION_TABLES] = {
    [REGION_THREADS] = 8,     [REGION_TASKS] = 64,      [REGION_TYPES] = 256,
    [REGION_TYPE_SUMS] = 256, [REGION_NODES] = 8,       [REGION_SITES] = 8,
    [REGION_SITE_COUNTS] = 8, [REGION_LIFETIMES] = 8,   [REGION_IMAGES] = 8,
    [REGION_SLOTS] = 8,       [REGION_PLANS] = 4096,    [REGION_AWAITS] = 8,
    [REGION_AWAIT_ENDS] = 8,  [REGION_LIVE_INDEX] = 8,  [REGION_LIVE_CHUNKS] = 2,
    [REGION_NODE_INDEX] = 8,  [REGION_AWAIT_INDEX] = 8,
};

struct world {
    struct region region;
    struct region_view view;
    struct sampler *sampler;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    const struct region_options options = {.max_rows = few_rows};
    struct error err;
    assert_true(region_make(&world->region, &options, &err));
    assert_true(region_view_fd(&world->view, world->region.fd, &err));
    world->sampler = malloc(sizeof(*world->sampler));
    sampler_init(world->sampler, getpid());
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    sampler_deinit(world->sampler);
    free(world->sampler);
    region_view_close(&world->view);
    region_close(&world->region);
    free(world);
    return 0;
}

static uint64_t look(struct world *world, uint64_t now_ns, int64_t live_bytes)
{
    world->region.header->live_bytes = (uint64_t)live_bytes;
    world->sampler->types_next_ns = 0;
    return sampler_look(world->sampler, &world->view, now_ns);
}

static struct region_task *add_task(struct world *world, uint32_t type, uint64_t bytes)
{
    struct region_table *table = &world->region.header->tables[REGION_TASKS];
    struct region_task *task =
        (struct region_task *)region_rows(&world->region, REGION_TASKS) + table->nr_rows++;
    *task = (struct region_task){
        .id = table->nr_rows, .kind = REGION_TASK_CELL, .type = type, .allocated_bytes = bytes};
    return task;
}

static void test_unpublished_bytes_count(void **state)
{
    struct world *world = *state;
    struct region_thread *threads = region_rows(&world->region, REGION_THREADS);
    world->region.header->tables[REGION_THREADS].nr_rows = 3;
    threads[1].unpublished = 70;
    threads[2].unpublished = -30;
    assert_int_equal(look(world, 1, 1000), 1040);
    threads[2].unpublished = -5000; /* one thread has published, the other has not yet */
    assert_int_equal(look(world, 2, 1000), 0);
}

static void test_one_step_a_look_at_first(void **state)
{
    struct world *world = *state;
    for (uint64_t i = 0; i < 100; i++)
        look(world, i, (int64_t)i * 10);
    assert_int_equal(world->sampler->nr_steps, 100);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(world->sampler->steps[i].t_ns, i);
        assert_int_equal(world->sampler->steps[i].live_bytes, i * 10);
    }
}

/* However long it lasts: never more steps, never out of order, and the highest look is among them. */
static void test_bounded_with_its_peak(void **state)
{
    struct world *world = *state;
    uint64_t random = 7, highest = 0, highest_at = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t live = random_below(&random, 1 << 20);
        if (live > highest) {
            highest = live;
            highest_at = i;
        }
        look(world, i, (int64_t)live);
        assert_true(world->sampler->nr_steps <= SAMPLE_MAX_STEPS);
    }
    bool found = false;
    assert_true(world->sampler->nr_steps > SAMPLE_MAX_STEPS / 2 - 2);
    for (size_t i = 0; i < world->sampler->nr_steps; i++) {
        const struct run_step *step = &world->sampler->steps[i];
        assert_true(!i || step->t_ns > step[-1].t_ns);
        found |= step->live_bytes == highest && step->t_ns == highest_at;
    }
    assert_true(found);
}

static void test_values_of_types_stay_with_their_step(void **state)
{
    struct world *world = *state;
    size_t nr;
    world->region.header->tables[REGION_TYPES].nr_rows = 4;
    struct region_task *task = add_task(world, 3, 0);
    for (uint64_t i = 1; i < 5000; i++) {
        task->allocated_bytes = i;
        task->freed_bytes = i / 2;
        look(world, i, (int64_t)i);
    }
    struct run_build_step_type *rows = sampler_step_types(world->sampler, &nr);
    assert_true(nr >= world->sampler->nr_steps - 1);
    for (size_t i = 0; i < nr; i++) {
        uint64_t t = world->sampler->steps[rows[i].step - 1].t_ns;
        assert_int_equal(rows[i].type, 3);
        assert_int_equal(rows[i].live_bytes, t - t / 2);
    }
    free(rows);
}

static void test_the_largest_types_are_shown(void **state)
{
    struct world *world = *state;
    size_t nr;
    struct region_task *tasks[50];
    world->region.header->tables[REGION_TYPES].nr_rows = 256;
    for (uint32_t i = 0; i < 50; i++)
        tasks[i] = add_task(world, 2 + i, 1000 + i);
    look(world, 1, 1);
    tasks[7]->allocated_bytes = 1 << 20; /* its peak is past at the next look */
    look(world, 2, 2);
    tasks[7]->foreign_freed_bytes = 1 << 20;
    look(world, 3, 3);
    struct run_build_step_type *rows = sampler_step_types(world->sampler, &nr);
    assert_int_equal(nr, 3 * SAMPLE_SHOWN_TYPES);
    for (size_t i = 0; i < nr; i++) {
        assert_true(rows[i].type == 2 + 7 || rows[i].type > 2 + 40);
        if (rows[i].type == 2 + 7)
            assert_int_equal(rows[i].live_bytes, rows[i].step == 1   ? 1007
                                                 : rows[i].step == 2 ? 1 << 20
                                                                     : 0);
    }
    free(rows);
}

/* Rows that no tracer would write. */
static void test_hostile_rows(void **state)
{
    struct world *world = *state;
    size_t nr;
    add_task(world, 0xffffffff, 1);
    add_task(world, 2, 1)->freed_bytes = 1000;
    world->region.header->tables[REGION_TASKS].nr_rows = 0xffffffff;
    world->region.header->tables[REGION_THREADS].nr_rows = 0xffffffff;
    world->region.header->tables[REGION_TYPES].nr_rows = 0xffffffff;
    look(world, 1, -5);
    free(sampler_step_types(world->sampler, &nr));
    assert_int_equal(world->sampler->steps[0].live_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unpublished_bytes_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_step_a_look_at_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounded_with_its_peak, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_values_of_types_stay_with_their_step, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_largest_types_are_shown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hostile_rows, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
